//! PostgreSQL servers for the connection tests: with TLS, without, and a standby.

use std::path::PathBuf;
use std::sync::LazyLock;

use super::certificates::{Authority, Certificate};
pub(super) use crate::support::server_process::free_port;
use crate::support::server_process::{
    ServerProcess, as_server, binaries, private_directory, psql, write_private,
};

/// The superuser's password: everything that URLs, libpq's quotes and SCRAM trip over.
pub(super) const PASSWORD: &str = r"p@ss:w/rd#?%&=+ 'q' \é";

pub(super) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("The CA"));
pub(super) static WRONG_AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::new("Another CA"));
/// An authority that is the server's certificate itself, as `openssl req -x509` makes them.
pub(super) static SELF_SIGNED: LazyLock<Certificate> = LazyLock::new(Certificate::self_signed);

/// Has TLS with a certificate for `localhost`.
pub(super) static WITH_TLS: LazyLock<Cluster> = LazyLock::new(|| {
    let certificate = AUTHORITY.server("localhost");
    Cluster::start("tls", Some(&certificate), false)
});
/// Has none; the role `writer` is read-only by default here, and only here.
pub(super) static WITHOUT_TLS: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start("plain", None, false));
/// Never leaves recovery, and shows a self-signed Ed25519 certificate.
pub(super) static STANDBY: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start("standby", Some(&SELF_SIGNED), true));

const HBA: &str = "
local     all all       trust
hostssl   all certified 127.0.0.1/32 cert
hostnossl all tlsonly   127.0.0.1/32 reject
hostssl   all plainonly 127.0.0.1/32 reject
host      all all       127.0.0.1/32 scram-sha-256
";

pub(super) struct Cluster {
    pub(super) port: u16,
    pub(super) directory: PathBuf,
    _server: ServerProcess,
}

impl Cluster {
    fn start(name: &str, certificate: Option<&Certificate>, standby: bool) -> Self {
        // The port may be taken between our look and the server's; then everything anew.
        let cluster = (0..3).find_map(|_| Self::try_start(name, certificate, standby));
        let cluster = cluster.expect("the server starts");
        if !standby {
            cluster.roles(certificate.is_none());
        }
        cluster
    }

    fn try_start(name: &str, certificate: Option<&Certificate>, standby: bool) -> Option<Self> {
        let directory = private_directory(name);
        let data = directory.join("data");
        let password = directory.join("password");
        write_private(&password, &format!("{PASSWORD}\n"));
        let mut initdb = as_server(&binaries().join("initdb"), &directory);
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]);
        let made = initdb.output().expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        write_private(&data.join("pg_hba.conf"), HBA);
        if let Some(certificate) = certificate {
            write_private(&data.join("server.crt"), &certificate.chain);
            write_private(&data.join("server.key"), &certificate.key);
            write_private(&data.join("root.crt"), &AUTHORITY.pem);
        }
        if standby {
            write_private(&data.join("standby.signal"), "");
        }
        let port = free_port();
        let mut arguments = vec!["-p".to_owned(), port.to_string()];
        let tls = ["ssl=on", "ssl_ca_file=root.crt"].iter().filter(|_| certificate.is_some());
        for setting in ["listen_addresses=127.0.0.1"].iter().chain(tls) {
            arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let server = ServerProcess::boot(&directory, &arguments)?;
        Some(Self { port, directory, _server: server })
    }

    fn roles(&self, writer_is_read_only: bool) {
        let password = PASSWORD.replace('\'', "''");
        let mut sql = String::from("CREATE DATABASE \"app/two\";");
        for (role, options) in [
            ("writer", ""),
            ("certified", ""),
            ("tlsonly", ""),
            ("plainonly", ""),
            ("crowded", "CONNECTION LIMIT 0"),
        ] {
            sql += &format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' {options};");
        }
        if writer_is_read_only {
            sql += "ALTER ROLE writer SET default_transaction_read_only = on;";
        }
        for statement in sql.split_terminator(';') {
            let mut psql = as_server(&psql(), &self.directory);
            psql.arg("-h").arg(&self.directory).args(["-p", &self.port.to_string()]);
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-c", statement]);
            let ran = psql.output().expect("psql starts");
            assert!(ran.status.success(), "psql: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }

    /// The server in keyword form as `user` over TCP, with its password and `more`.
    pub(super) fn dsn(&self, user: &str, more: &str) -> String {
        let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
        let port = self.port;
        format!(
            "host=localhost port={port} dbname=postgres user={user} password='{password}' {more}"
        )
    }
}
