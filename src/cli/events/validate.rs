//! `outbox-relay events validate`: needs no database and no Ably.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::cli::failure::{Exit, Failure};
use crate::cli::{Context, assemble, operate};
use crate::registry::documents::{DOCUMENT_BYTES_MAX, Document, Documents};
use crate::registry::event_types::Registry;
use crate::registry::problem::{Problem, Problems};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes one event, an array of events, or one event a line, each the envelope that subscribers receive.
Answers one line an event:
  {\"valid\":true,\"eventType\":\"kitchen.task.claimed\"}
  {\"valid\":false,\"problems\":[{\"path\":\"/payload/taskId\",\"message\":\"is required\"}]}

Examples:
  outbox-relay events validate sample.json
  outbox-relay events validate --registry schemas < events.jsonl")]
pub(super) struct Options {
    /// A file of events; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// The answer to one event.
#[derive(Serialize)]
struct Answer<'a> {
    valid: bool,
    #[serde(rename = "eventType", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a Problems>,
}

/// Events that were looked at.
#[derive(Default)]
struct Count {
    valid: u64,
    invalid: u64,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let registry = assemble::registry(&context.configuration.settings)?;
    let file = options.file.clone();
    // On a thread of its own: reading a terminal or a pipe waits, and Ctrl-C must still be heard.
    let mut work = JoinSet::new();
    work.spawn_blocking(move || validate(&file, &registry));
    let count = match work.join_next().await {
        Some(Ok(count)) => count?,
        Some(Err(error)) => return Err(Failure::internal(error)),
        None => return Err(Failure::internal("nothing was read")),
    };
    match count {
        Count { valid: 0, invalid: 0 } => Err(Failure::new(
            Exit::BadData,
            "there is no event in the input",
            "give a file of events, or pipe them in: one a line",
        )),
        Count { invalid: 0, .. } => Ok(()),
        Count { valid, invalid } => Err(Failure::new(
            Exit::BadData,
            format!(
                "{} not valid, of {}",
                if invalid == 1 {
                    "1 event is".to_owned()
                } else {
                    format!("{invalid} events are")
                },
                valid + invalid
            ),
            "mend what the problems name: the events, or the schemas of the registry",
        )),
    }
}

fn validate(path: &Path, registry: &Registry) -> Result<Count, Failure> {
    let unreadable = |error: std::io::Error| {
        let cause = format!("{}: cannot be read: {error}", path.display());
        Failure::new(Exit::BadData, cause, "name a file of events, or - for standard input")
    };
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut count = Count::default();
    let mut documents = Documents::new(BufReader::with_capacity(64 * 1024, input));
    while let Some(document) = documents.next().map_err(unreadable)? {
        let bytes = match document {
            Document::Text(bytes) => bytes,
            Document::TooLong => {
                let what =
                    format!("is longer than {DOCUMENT_BYTES_MAX} bytes; write one event a line");
                answer(&mut count, Err(Problem::new("", what).into()))?;
                continue;
            }
        };
        // Some editors and shells begin a file with a mark of its encoding.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        match serde_json::from_slice::<Value>(text) {
            Ok(Value::Array(events)) => {
                events.iter().try_for_each(|event| answer(&mut count, registry.check(event)))?;
            }
            Ok(event) => answer(&mut count, registry.check(&event))?,
            Err(error) => {
                let problem = Problem::new("", format!("is not JSON: {error}"));
                answer(&mut count, Err(problem.into()))?;
            }
        }
    }
    Ok(count)
}

fn answer(count: &mut Count, checked: Result<&str, Problems>) -> Result<(), Failure> {
    match checked {
        Ok(event_type) => {
            count.valid += 1;
            operate::json(&Answer { valid: true, event_type: Some(event_type), problems: None })
        }
        Err(problems) => {
            count.invalid += 1;
            operate::json(&Answer { valid: false, event_type: None, problems: Some(&problems) })
        }
    }
}
