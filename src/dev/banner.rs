//! What `dev` says first: where everything is, in lines to paste.

use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use super::wording::Style;
use crate::store::schema_name::SchemaName;

/// Where everything is.
#[derive(Debug)]
pub struct Banner<'a> {
    /// The database.
    pub database: Database<'a>,
    /// The outbox's schema.
    pub schema: &'a SchemaName,
    /// The emulator's address.
    pub emulator: SocketAddr,
    /// Where the dashboard is.
    pub dashboard: &'a str,
    /// The key that it takes; never a secret of somebody's.
    pub key: &'a str,
    /// The sample tenants, at least one.
    pub tenants: &'a [&'a str],
    /// Sample events a second.
    pub rate: u32,
}

/// Whose database it is.
#[derive(Debug, Clone, Copy)]
pub enum Database<'a> {
    /// Ours, for as long as `dev` runs.
    Private {
        /// Of the server.
        version: &'a str,
        /// Directory of its socket.
        socket_dir: &'a Path,
        /// Its name.
        name: &'a str,
        /// Connection string.
        url: &'a str,
    },
    /// The user's.
    Own {
        /// User, host and name, without the password.
        description: &'a str,
        /// The outbox was not there before.
        created: bool,
    },
}

#[derive(Serialize)]
struct Started<'a> {
    r#type: &'static str,
    database: StartedDatabase<'a>,
    schema: &'a str,
    dashboard: &'a str,
    emulator: StartedEmulator<'a>,
    tenants: &'a [&'a str],
    rate: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum StartedDatabase<'a> {
    Private { private: bool, version: &'a str, psql: String, url: &'a str },
    Own { private: bool, description: &'a str, created: bool },
}

#[derive(Serialize)]
struct StartedEmulator<'a> {
    url: String,
    host: String,
    port: u16,
    key: &'a str,
    sse: String,
}

impl Banner<'_> {
    /// The lines for a person.
    pub fn text(&self, style: Style) -> String {
        let mut lines = vec![style.bold("outbox-relay dev"), String::new()];
        let mut line = |label: &str, text: &str| {
            lines.push(format!("  {} {text}", style.dim(&format!("{label:<9}"))));
        };
        let enqueue = self.enqueue();
        match self.database {
            Database::Private { version, socket_dir, name, .. } => {
                let psql = psql(socket_dir, name);
                line("database", &format!("PostgreSQL {version}, private, gone when this ends"));
                line("psql", &psql);
                line("enqueue", &format!("{psql} -c \"{enqueue}\""));
            }
            Database::Own { description, created } => {
                let schema = self.schema;
                let outbox = if created { "was created" } else { "was there" };
                line("database", &format!("{description}, yours; schema {schema} {outbox}"));
                line("", "sample events stay in it; whatever is written to this outbox now goes");
                line("", "to the emulator only");
                line("enqueue", &format!("{enqueue};"));
            }
        }
        line("dashboard", self.dashboard);
        let (tenant, host, port) = (self.tenant(), self.emulator.ip(), self.emulator.port());
        let key = self.key;
        line("emulator", &format!("http://{}  key {key}", self.emulator));
        line("curl", &format!("curl -N '{}'", self.sse()));
        line(
            "ably",
            &format!(
                "new Ably.Realtime({{ key: '{key}', endpoint: '{host}', port: {port}, tls: false, \
                 useBinaryProtocol: false }})"
            ),
        );
        line(
            "",
            &format!(
                "  .channels.get('tenant:{tenant}').subscribe((m) => console.log(m.name, m.data))"
            ),
        );
        lines.push(String::new());
        let heading = format!(
            "{} sample events a second, as a subscriber receives them; the last column is the time \
             since COMMIT. Ctrl-C ends.",
            self.rate
        );
        lines.push(style.dim(&heading));
        lines.join("\n")
    }

    /// The same as one JSON object.
    pub fn json(&self) -> String {
        let database = match self.database {
            Database::Private { version, socket_dir, name, url } => StartedDatabase::Private {
                private: true,
                version,
                psql: psql(socket_dir, name),
                url,
            },
            Database::Own { description, created } => {
                StartedDatabase::Own { private: false, description, created }
            }
        };
        let started = Started {
            r#type: "started",
            database,
            schema: self.schema.as_str(),
            dashboard: self.dashboard,
            emulator: StartedEmulator {
                url: format!("http://{}", self.emulator),
                host: self.emulator.ip().to_string(),
                port: self.emulator.port(),
                key: self.key,
                sse: self.sse(),
            },
            tenants: self.tenants,
            rate: self.rate,
        };
        // Strings and numbers always serialise.
        serde_json::to_string(&started).unwrap_or_default()
    }

    fn tenant(&self) -> &str {
        self.tenants.first().copied().unwrap_or("bistro-nord")
    }

    /// No double quotes and no dollars, so that it can stand in a shell's double quotes. A schema that
    /// has to be quoted is the exception. The time ends in Z, as its schema wants it.
    fn enqueue(&self) -> String {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let schema = if self.schema.as_str().chars().all(plain) {
            self.schema.to_string()
        } else {
            self.schema.fill(r#":"schema""#)
        };
        format!(
            "select {schema}.enqueue('{}', 'kitchen.task.claimed', jsonb_build_object('taskId', \
             'mine', 'employeeId', 'me', 'claimedAt', (to_jsonb(now() at time zone 'UTC') #>> '{{}}') || 'Z'), \
             'KitchenTask', 'mine')",
            self.tenant()
        )
    }

    fn sse(&self) -> String {
        let (emulator, tenant, key) = (self.emulator, self.tenant(), self.key);
        format!("http://{emulator}/sse?v=1.2&channels=tenant:{tenant}&key={key}")
    }
}

fn psql(socket_dir: &Path, name: &str) -> String {
    format!("psql -h {} -U postgres -d {name}", socket_dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner<'a>(database: Database<'a>, schema: &'a SchemaName) -> Banner<'a> {
        let emulator = SocketAddr::from(([127, 0, 0, 1], 4711));
        let tenants = &["bistro-nord", "cantina-sud"];
        let dashboard = "http://127.0.0.1:9464/dashboard/";
        Banner {
            database,
            schema,
            emulator,
            dashboard,
            key: "dev.local:emulator",
            tenants,
            rate: 10,
        }
    }

    fn private() -> Database<'static> {
        Database::Private {
            version: "18.1",
            socket_dir: Path::new("/dev/shm/d"),
            name: "postgres",
            url: "postgresql://postgres@%2Fd:5432/postgres",
        }
    }

    #[test]
    fn every_way_in_is_a_line_to_paste() {
        let schema = SchemaName::new("outbox").unwrap();
        let text = banner(private(), &schema).text(Style::plain());
        for part in [
            "psql -h /dev/shm/d -U postgres -d postgres",
            "-c \"select outbox.enqueue('bistro-nord', 'kitchen.task.claimed', jsonb_build_object(",
            "http://127.0.0.1:4711",
            "curl -N 'http://127.0.0.1:4711/sse?v=1.2&channels=tenant:bistro-nord&key=dev.local:emulator'",
            "{ key: 'dev.local:emulator', endpoint: '127.0.0.1', port: 4711, tls: false, useBinaryProtocol: false }",
            ".channels.get('tenant:bistro-nord')",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().count() <= 14, "{text}");
    }

    #[test]
    fn a_database_of_the_users_own_is_called_that() {
        let schema = SchemaName::new("My outbox").unwrap();
        let own = Database::Own { description: "me@db:5432/app", created: true };
        let text = banner(own, &schema).text(Style::plain());
        assert!(text.contains("me@db:5432/app, yours; schema My outbox was created"), "{text}");
        assert!(text.contains("select \"My outbox\".enqueue("), "{text}");
        assert!(!text.contains("psql"), "{text}");
    }

    #[test]
    fn as_json_it_is_one_line_that_says_the_same() {
        let schema = SchemaName::new("outbox").unwrap();
        let json = banner(private(), &schema).json();
        assert!(json.starts_with(r#"{"type":"started","database":{"private":true,"#), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["emulator"]["port"], 4711);
        assert_eq!(value["database"]["psql"], "psql -h /dev/shm/d -U postgres -d postgres");
        assert_eq!(value["tenants"][1], "cantina-sud");
        assert!(!json.contains('\n'));
    }
}
