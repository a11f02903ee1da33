//! A database of its own for every test, in one cluster for the whole test process.
//!
//! Databases, not schemas: NOTIFY and advisory locks cross schemas, and a neighbour's notification
//! would hide a missed one. The cluster ends with the process, through its guard. With
//! `TEST_DATABASE_URL` set, the databases are made there instead.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

/// No statement of this file takes longer than this on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Has PostgreSQL tell its statistics at the end of this command. Version 14 cannot be told to: it tells what is
/// half a second old.
pub(crate) const FLUSH_STATISTICS: &str = "do $$ begin
   if current_setting('server_version_num')::int >= 150000 then perform pg_stat_force_next_flush();
   else perform pg_sleep(0.6); end if;
 end $$";

/// The server that all tests of this process share.
enum Cluster {
    Private(PrivatePostgres),
    Given(String),
}

impl Cluster {
    fn dsn(&self, database: &str) -> String {
        match self {
            Self::Private(postgres) => postgres.dsn(database),
            Self::Given(url) => with_database(url, database),
        }
    }

    /// The database from which others are made and dropped.
    fn admin_dsn(&self) -> String {
        match self {
            Self::Private(postgres) => postgres.dsn("postgres"),
            Self::Given(url) => url.clone(),
        }
    }
}

/// `url`, URL or keywords, with another database.
fn with_database(url: &str, database: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url} dbname={database}");
    };
    let (rest, query) =
        rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let authority = rest.split('/').next().unwrap_or(rest);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{authority}/{database}{query}")
}

/// Starts the cluster on first use. Not on the calling test's runtime: that one ends with its test.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
        Ok(url) if !url.is_empty() => Cluster::Given(url),
        _ => Cluster::Private(
            std::thread::spawn(start).join().expect("the cluster's start panicked"),
        ),
    })
}

fn start() -> PrivatePostgres {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let settings =
        [("max_connections", "300")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = PostgresOptions { settings: settings.to_vec(), ..PostgresOptions::default() };
    runtime.block_on(PrivatePostgres::start(options)).unwrap_or_else(|error| panic!("{error}"))
}

/// A connection whose driver ends with it.
pub(crate) struct TestClient {
    client: Client,
    _driver: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl Deref for TestClient {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for TestClient {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Connects as the superuser.
pub(crate) async fn connect(dsn: &str) -> TestClient {
    let config: Config = dsn.parse().expect("connection string");
    let (client, connection) = tokio::time::timeout(LIMIT, config.connect(NoTls))
        .await
        .expect("connect in time")
        .unwrap_or_else(|error| panic!("connect: {error:?}"));
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    TestClient { client, _driver: driver }
}

/// An empty database, or a copy of a [`Template`].
///
/// It is not dropped at the end of its test: a drop waits 0.1 s for the last session to go, and the
/// cluster's end takes them all. On a given server they stay; their names begin with `t_`.
pub(crate) struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Makes an empty one; `hint` becomes part of its name.
    pub(crate) async fn create(hint: &str) -> Self {
        Self::copy_of("template0", hint).await
    }

    /// Makes a copy of `template`, which `prepare` fills on its first use in this process.
    pub(crate) async fn create_from<F>(template: &'static Template, hint: &str, prepare: F) -> Self
    where
        F: AsyncFnOnce(&Self),
    {
        Self::copy_of(&template.database(prepare).await, hint).await
    }

    async fn copy_of(template: &str, hint: &str) -> Self {
        let name = fresh_name(hint);
        // Two thirds of the default's time; version 14 has no other and no such option.
        let strategy = match cluster() {
            Cluster::Private(postgres) if !postgres.version().starts_with("14.") => {
                "strategy file_copy"
            }
            Cluster::Private(_) | Cluster::Given(_) => "",
        };
        run(&format!("create database {name} template {template} {strategy}")).await;
        Self { name }
    }

    /// Its connection string, as the superuser.
    pub(crate) fn dsn(&self) -> String {
        cluster().dsn(&self.name)
    }

    /// The same as a URL, for programs that do not know the keyword form.
    pub(crate) fn url(&self) -> String {
        match cluster() {
            Cluster::Private(postgres) => postgres.url(&self.name),
            Cluster::Given(url) => with_database(url, &self.name),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A new connection to it.
    pub(crate) async fn connect(&self) -> TestClient {
        connect(&self.dsn()).await
    }
}

/// A database that others are copied from; make it a `static`.
pub(crate) struct Template {
    hint: &'static str,
    database: OnceCell<String>,
}

impl Template {
    /// `hint` becomes part of its name.
    pub(crate) const fn new(hint: &'static str) -> Self {
        Self { hint, database: OnceCell::const_new() }
    }

    async fn database<F: AsyncFnOnce(&TestDatabase)>(&self, prepare: F) -> String {
        let make = async || {
            let database = TestDatabase::create(self.hint).await;
            prepare(&database).await;
            // A session that has not quite gone would fail the copy: nobody may come in, all must go.
            run(&format!("alter database {} with allow_connections false", database.name)).await;
            let others = format!(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{}'",
                database.name
            );
            run(&others).await;
            database.name
        };
        self.database.get_or_init(make).await.clone()
    }
}

/// Runs one statement in the admin database.
async fn run(statement: &str) {
    let client = connect(&cluster().admin_dsn()).await;
    tokio::time::timeout(LIMIT, client.batch_execute(statement))
        .await
        .expect("statement in time")
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

/// A name that no other test, process or run has: what is left of 63 bytes goes to the hint.
fn fresh_name(hint: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let hint: String = hint
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(30)
        .collect();
    format!("t_{hint}_{}_{count}_{:08x}", std::process::id(), fastrand::u32(..))
}

#[tokio::test]
async fn two_databases_do_not_see_each_other() {
    let (one, two) = (TestDatabase::create("one").await, TestDatabase::create("two").await);
    one.connect().await.batch_execute("create table only_here ()").await.unwrap();
    let row =
        two.connect().await.query_one("select to_regclass('only_here')::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<String>>(0), None);
}

#[tokio::test]
async fn copies_of_a_template_have_what_it_was_prepared_with() {
    static TEMPLATE: Template = Template::new("template");
    for hint in ["first copy", "second copy"] {
        let copy = TestDatabase::create_from(&TEMPLATE, hint, async |template| {
            template
                .connect()
                .await
                .batch_execute("create table kept (x) as select 7")
                .await
                .unwrap();
        })
        .await;
        let row = copy.connect().await.query_one("select x from kept", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 7, "{}", copy.name());
    }
}

#[test]
fn a_given_url_keeps_everything_but_its_database() {
    for (url, expected) in [
        ("postgresql://u:p@h:5/db?sslmode=disable", "postgresql://u:p@h:5/t?sslmode=disable"),
        ("postgres://u@h", "postgres://u@h/t"),
        ("host=/s user=u dbname=db", "host=/s user=u dbname=db dbname=t"),
    ] {
        assert_eq!(with_database(url, "t"), expected);
    }
}
