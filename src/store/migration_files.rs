//! The schema as files of other migration tools. Pure: what is there goes in, what is to be written comes out.
//!
//! One file a migration, and one for all functions and triggers, with a hash of them in its name: when they change,
//! a new file is added, for these tools never run a file again (Flyway does, so there they are files of its
//! own kind). Files that are there are never changed, and new ones come behind everything that is there, so
//! that a directory of the application's own migrations can be used as well as an empty one.

use sha2::{Digest, Sha256};

use super::migrate::{STEPS, preamble};
use super::schema_name::SchemaName;

/// The number of the first file where nothing is there yet.
const FIRST_STAMP: u64 = 20_260_101_000_001;

/// What every name of ours begins with, behind its number.
const PREFIX: &str = "outbox_relay_";

/// A migration tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One file, `outbox.sql`.
    Sql,
    /// `prisma/migrations`.
    Prisma,
    /// Drizzle's folder of migrations, with its journal.
    Drizzle,
    /// `migrations` of sqlx.
    Sqlx,
    /// Flyway's versioned and repeatable migrations.
    Flyway,
    /// `db/migrate`.
    Rails,
    /// `migrations` of a Django app.
    Django,
}

impl Format {
    /// All of them, by the names that users write.
    pub const ALL: [(&'static str, Self); 7] = [
        ("sql", Self::Sql),
        ("prisma", Self::Prisma),
        ("drizzle", Self::Drizzle),
        ("sqlx", Self::Sqlx),
        ("flyway", Self::Flyway),
        ("rails", Self::Rails),
        ("django", Self::Django),
    ];
}

/// A file, its path relative to the directory, with `/` between the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: String,
    /// What.
    pub text: String,
}

/// One thing to apply.
struct Piece {
    /// Name without number, such as `outbox_relay_0001_outbox`.
    name: String,
    sql: String,
}

/// The files to write so that the directory has this version's schema; none when it has it. `label` is the name of
/// the Django app.
pub fn missing(format: Format, schema: &SchemaName, there: &[File], label: &str) -> Vec<File> {
    if format == Format::Sql {
        let all = File { path: "outbox.sql".into(), text: super::migrate::print(schema) };
        return if there.contains(&all) { Vec::new() } else { vec![all] };
    }
    let mut out = Vec::new();
    let mut last = last_number(format, there);
    let mut previous = newest_name(format, there);
    for piece in pieces(format, schema) {
        if there.iter().any(|file| is_of(format, &file.path, &piece.name)) {
            continue;
        }
        last = last.wrapping_add(1);
        let file = render(format, last, &piece, previous.as_deref(), label);
        previous = Some(file.path.trim_end_matches(".py").to_owned());
        out.push(file);
    }
    if format == Format::Flyway {
        out.extend(repeatables(schema).filter(|file| !there.contains(file)));
    }
    if format == Format::Drizzle && !out.is_empty() {
        out.push(journal(there, &out));
    }
    if format == Format::Django && !there.iter().any(|file| file.path == "__init__.py") {
        out.push(File { path: "__init__.py".into(), text: String::new() });
    }
    out
}

/// What is wrong with the application's copy, one line each.
pub fn stale(format: Format, schema: &SchemaName, there: &[File]) -> Vec<String> {
    if format == Format::Sql {
        let fresh = missing(format, schema, there, "");
        return fresh.iter().map(|file| format!("{} is of another version", file.path)).collect();
    }
    let mut problems = Vec::new();
    for piece in pieces(format, schema) {
        match there.iter().find(|file| is_of(format, &file.path, &piece.name)) {
            None => problems.push(format!("{} is missing", piece.name)),
            Some(file) if !contains_sql(format, &file.text, &piece.sql) => {
                problems.push(format!("{} was edited, or is of another version", file.path));
            }
            Some(_) => {}
        }
    }
    if format == Format::Flyway {
        for file in repeatables(schema).filter(|file| !there.contains(file)) {
            problems.push(format!("{} is missing, or of another version", file.path));
        }
    }
    problems
}

/// The tool whose files are in a directory; none when there is none of ours.
pub fn format_of(there: &[File]) -> Option<Format> {
    let ours = there.iter().find(|file| file.path.contains("outbox_relay_0001"));
    let Some(File { path, .. }) = ours else {
        return there.iter().any(|file| file.path == "outbox.sql").then_some(Format::Sql);
    };
    Some(if path.ends_with("/migration.sql") {
        Format::Prisma
    } else if path.ends_with(".rb") {
        Format::Rails
    } else if path.ends_with(".py") {
        Format::Django
    } else if path.starts_with('V') {
        Format::Flyway
    } else if there.iter().any(|file| file.path == JOURNAL) {
        Format::Drizzle
    } else {
        Format::Sqlx
    })
}

const JOURNAL: &str = "meta/_journal.json";

fn pieces(format: Format, schema: &SchemaName) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut functions = String::new();
    for step in &STEPS {
        let sql = step.script(schema);
        if step.is_repeatable() {
            functions.push_str(&sql);
            continue;
        }
        let sql = if out.is_empty() { preamble(schema) + "\n" + &sql } else { sql };
        out.push(Piece { name: format!("{PREFIX}{}", step.name), sql });
    }
    if format != Format::Flyway {
        let hash = Sha256::digest(&functions);
        let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        out.push(Piece { name: format!("{PREFIX}functions_{hash:08x}"), sql: functions });
    }
    out
}

/// Flyway's own kind: applied again when their text has changed.
fn repeatables(schema: &SchemaName) -> impl Iterator<Item = File> {
    STEPS.iter().filter(|step| step.is_repeatable()).map(|step| File {
        path: format!("R__{PREFIX}{}.sql", step.name),
        text: step.script(schema),
    })
}

fn render(format: Format, number: u64, piece: &Piece, previous: Option<&str>, label: &str) -> File {
    let Piece { name, sql } = piece;
    let (path, text) = match format {
        Format::Sql => (format!("{name}.sql"), sql.clone()),
        Format::Prisma => (format!("{number}_{name}/migration.sql"), sql.clone()),
        Format::Drizzle => (format!("{number:04}_{name}.sql"), sql.clone()),
        Format::Sqlx => (format!("{number}_{name}.sql"), sql.clone()),
        Format::Flyway => (format!("V{number}__{name}.sql"), sql.clone()),
        Format::Rails => (format!("{number}_{name}.rb"), rails(name, sql)),
        Format::Django => (format!("{number:04}_{name}.py"), django(sql, previous, label)),
    };
    File { path, text }
}

fn rails(name: &str, sql: &str) -> String {
    let class: String = name
        .split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        })
        .collect();
    format!(
        "class {class} < ActiveRecord::Migration[6.1]\n  def up\n    execute <<-'OUTBOX_RELAY_SQL'\n{sql}OUTBOX_RELAY_SQL\n  end\n\n  \
         def down\n    raise ActiveRecord::IrreversibleMigration\n  end\nend\n"
    )
    .replace("\nOUTBOX_RELAY_SQL\n", "\n    OUTBOX_RELAY_SQL\n")
}

fn django(sql: &str, previous: Option<&str>, label: &str) -> String {
    let dependency =
        previous.map(|name| format!("({}, {})", python(label), python(name))).unwrap_or_default();
    format!(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [{dependency}]\n\n    \
         operations = [\n        migrations.RunSQL(\n            sql={},\n            reverse_sql=migrations.RunSQL.noop,\n        ),\n    ]\n",
        python_text(sql)
    )
}

fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// SQL as a literal of Python that can be read, where its quotes allow that.
fn python_text(sql: &str) -> String {
    if sql.contains("\"\"\"") { python(sql) } else { format!("r\"\"\"\n{sql}\"\"\"") }
}

fn contains_sql(format: Format, text: &str, sql: &str) -> bool {
    // An editor may have changed the ends of lines.
    let text = text.replace("\r\n", "\n");
    match format {
        Format::Rails => text.contains(&format!("\n{sql}    OUTBOX")),
        Format::Django => text.contains(&python_text(sql)),
        Format::Sql | Format::Prisma | Format::Drizzle | Format::Sqlx | Format::Flyway => {
            text == sql
        }
    }
}

/// A path without its number and ending.
fn is_of(format: Format, path: &str, name: &str) -> bool {
    let stem = match format {
        Format::Prisma => path.strip_suffix("/migration.sql"),
        Format::Rails => path.strip_suffix(".rb"),
        Format::Django => path.strip_suffix(".py"),
        Format::Sql | Format::Drizzle | Format::Sqlx | Format::Flyway => path.strip_suffix(".sql"),
    };
    let digits = |c: char| c.is_ascii_digit() || c == 'V';
    stem.is_some_and(|stem| stem.trim_start_matches(digits).trim_start_matches('_') == name)
}

/// The highest number that is there; one below the first of ours where there is none.
fn last_number(format: Format, there: &[File]) -> u64 {
    let number = |file: &File| {
        let path = file.path.trim_start_matches('V');
        let digits: String = path.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let none = match format {
        Format::Django => 0,
        // Its first is 0000; the sum below wraps to it.
        Format::Drizzle => u64::MAX,
        Format::Sql | Format::Prisma | Format::Sqlx | Format::Flyway | Format::Rails => {
            FIRST_STAMP - 1
        }
    };
    let highest = there.iter().filter_map(number).max();
    match (format, highest) {
        (Format::Drizzle | Format::Django, Some(number)) => number,
        (_, Some(number)) => number.max(none),
        (_, None) => none,
    }
}

/// The last Django migration that is there.
fn newest_name(format: Format, there: &[File]) -> Option<String> {
    let names = there.iter().filter_map(|file| file.path.strip_suffix(".py"));
    let numbered = names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit()));
    (format == Format::Django).then(|| numbered.max().map(str::to_owned)).flatten()
}

/// Drizzle's list of migrations with the new ones behind those that are there.
fn journal(there: &[File], new: &[File]) -> File {
    let old = there.iter().find(|file| file.path == JOURNAL);
    let old = old.and_then(|file| serde_json::from_str::<serde_json::Value>(&file.text).ok());
    let mut journal = old.unwrap_or_else(
        || serde_json::json!({ "version": "7", "dialect": "postgresql", "entries": [] }),
    );
    if let Some(entries) = journal["entries"].as_array_mut() {
        // It applies what is later than the last it has applied; the number makes a time of its own.
        let last =
            entries.iter().filter_map(|e| e["when"].as_u64()).max().unwrap_or(1_767_225_600_000);
        for (when, file) in (last + 1..).zip(new) {
            let tag = file.path.trim_end_matches(".sql");
            let entry = serde_json::json!({
                "idx": entries.len(), "version": "7", "when": when, "tag": tag, "breakpoints": true,
            });
            entries.push(entry);
        }
    }
    let text = serde_json::to_string_pretty(&journal).unwrap_or_default() + "\n";
    File { path: JOURNAL.into(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_complete_and_recognised_and_an_edit_is_found() {
        for name in ["outbox", "o'\"\"\"x"] {
            let schema = SchemaName::new(name).unwrap();
            for (_, format) in Format::ALL {
                let files = missing(format, &schema, &[], "app");
                assert!(files.len() == 1 || files.len() > 4, "{format:?}");
                assert_eq!(missing(format, &schema, &[], "app"), files, "always the same");
                assert_eq!(missing(format, &schema, &files, "app"), [], "{format:?}");
                assert_eq!(stale(format, &schema, &files), [""; 0], "{format:?}");
                assert_eq!(format_of(&files), Some(format));
                for gone in files.iter().filter(|f| f.path != "__init__.py" && f.path != JOURNAL) {
                    let mut other = files.clone();
                    other.retain(|file| file != gone);
                    assert_eq!(stale(format, &schema, &other).len(), 1, "{format:?} {}", gone.path);
                    other.push(File { path: gone.path.clone(), text: gone.text.replace('a', "b") });
                    assert_eq!(stale(format, &schema, &other).len(), 1, "{format:?} {}", gone.path);
                }
            }
        }
    }

    #[test]
    fn new_files_come_behind_everything_that_is_there() {
        let schema = SchemaName::new("outbox").unwrap();
        let file = |path: &str| File { path: path.into(), text: String::new() };
        let there = [file("20270203040506_own/migration.sql")];
        assert!(
            missing(Format::Prisma, &schema, &there, "")[0].path.starts_with("20270203040507_")
        );
        let there = [file("0001_initial.py"), file("0007_more.py"), file("__init__.py")];
        let new = missing(Format::Django, &schema, &there, "shop");
        assert_eq!(new[0].path, "0008_outbox_relay_0001_outbox.py");
        assert!(
            new[0].text.contains(r#"dependencies = [("shop", "0007_more")]"#),
            "{}",
            new[0].text
        );
        assert!(new[1].text.contains(r#"[("shop", "0008_outbox_relay_0001_outbox")]"#));
        let journal = File {
            path: JOURNAL.into(),
            text: r#"{"version":"7","dialect":"postgresql","entries":[{"idx":0,"when":5,"tag":"0000_own"}]}"#.into(),
        };
        let new = missing(Format::Drizzle, &schema, &[file("0000_own.sql"), journal], "");
        assert_eq!(new[0].path, "0001_outbox_relay_0001_outbox.sql");
        let text = &new.last().unwrap().text;
        assert!(text.contains("0000_own") && text.contains("\"when\": 6"), "{text}");
        assert_eq!(
            missing(Format::Drizzle, &schema, &[], "")[0].path,
            "0000_outbox_relay_0001_outbox.sql"
        );
    }
}
