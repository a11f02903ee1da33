//! The schema as files of another migration tool: written, and compared.

use std::fs;
use std::io;
use std::path::Path;

use super::super::failure::{Exit, Failure};
use super::super::output;
use crate::store::migration_files::{File, Format, format_of, missing, stale};
use crate::store::schema_name::SchemaName;

/// How deep files are looked for: Prisma's are one directory down.
const DEPTH_MAX: usize = 2;

/// Adds what a directory lacks.
pub(super) fn write(format: Format, schema: &SchemaName, dir: &Path) -> Result<(), Failure> {
    let there = if dir.exists() { read(dir)? } else { Vec::new() };
    if let Some(other) = format_of(&there).filter(|other| *other != format) {
        let cause = format!("{} has the outbox for {other:?} already", dir.display());
        return Err(Failure::new(Exit::Usage, cause, "choose another directory, or that --format"));
    }
    let files = missing(format, schema, &there, &label(dir));
    for file in &files {
        let path = dir.join(&file.path);
        let written = fs::create_dir_all(path.parent().unwrap_or(dir))
            .and_then(|()| fs::write(&path, &file.text));
        written.map_err(|error| trouble(&path, &error))?;
        output::line(&path.display().to_string())?;
    }
    if files.is_empty() {
        output::line("nothing to do: the directory has this version's schema")?;
    }
    Ok(())
}

/// Says whether the application's copy is stale.
pub(super) fn verify(schema: &SchemaName, dir: &Path) -> Result<(), Failure> {
    let there = read(dir)?;
    let Some(format) = format_of(&there) else {
        let cause = format!("{} has no files of outbox-relay", dir.display());
        return Err(Failure::new(
            Exit::BadData,
            cause,
            "write them with `outbox-relay migrate print --out DIR`, with the --format of your tool",
        ));
    };
    let problems = stale(format, schema, &there);
    if problems.is_empty() {
        return output::line("the files are as this version wants them");
    }
    Err(Failure::new(
        Exit::BadData,
        problems.join("; "),
        "add what is missing with `outbox-relay migrate print --out DIR`, with the --format of your tool; restore what was edited",
    ))
}

/// What Django calls the app: the directory above `migrations`.
fn label(dir: &Path) -> String {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match name(&dir) {
        Some(last) if last != "migrations" => last,
        _ => dir.parent().and_then(name).unwrap_or_else(|| "outbox".to_owned()),
    }
}

fn read(dir: &Path) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    walk(dir, "", DEPTH_MAX, &mut files).map_err(|error| trouble(dir, &error))?;
    files.sort_by(|a: &File, b: &File| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(dir: &Path, prefix: &str, depth: usize, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            if depth > 1 {
                walk(&entry.path(), &format!("{path}/"), depth - 1, files)?;
            }
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            // What is no text is not ours.
            files.push(File { path, text });
        }
    }
    Ok(())
}

fn trouble(path: &Path, error: &io::Error) -> Failure {
    let cause = format!("{}: {error}", path.display());
    Failure::new(Exit::Usage, cause, "name a directory that can be read and written")
}
