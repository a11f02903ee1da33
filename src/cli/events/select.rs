//! Which events a command means: ids and positions, or a filter.

use std::time::Duration;

use crate::cli::failure::{Exit, Failure};
use crate::config::parse_duration;
use crate::domain::event::Seq;
use crate::store::operator::Operator;
use crate::store::stored_event::{EventFilter, Found, StoredEvent};

/// The most ids in one command.
const IDS_MAX: usize = 1_000;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filter")]
pub(super) struct FilterOptions {
    /// Events of this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,

    /// Events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// Events with this error: PAYLOAD_TOO_LARGE, VALIDATION_ERROR, ABLY_ERROR, or a code of Ably's
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// Events written since then: an age (90m, 2h) or a time (2026-01-23T10:30:00Z)
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Since>,

    /// Include failed events that were discarded
    #[arg(long)]
    pub(super) discarded: bool,
}

impl FilterOptions {
    /// Whether it narrows anything down.
    pub(super) fn is_empty(&self) -> bool {
        let Self { tenant, event_type, code, since, discarded: _ } = self;
        tenant.is_none() && event_type.is_none() && code.is_none() && since.is_none()
    }

    /// The filter, by the database's clock.
    pub(super) fn filter(&self, operator: &Operator) -> EventFilter {
        let since_ms = self.since.map(|since| match since {
            Since::Ago(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                operator.now_ms().saturating_sub(age).max(0)
            }
            Since::At(ms) => ms,
        });
        EventFilter {
            tenant: self.tenant.clone(),
            event_type: self.event_type.clone(),
            code: self.code.clone(),
            since_ms,
            discarded: self.discarded,
        }
    }
}

/// A time in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Before now.
    Ago(Duration),
    /// In ms since 1970.
    At(i64),
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(age) = parse_duration(text) {
        return Ok(Since::Ago(age));
    }
    let at = text.parse::<jiff::Timestamp>();
    at.map(|at| Since::At(at.as_millisecond())).map_err(|_| {
        "expected an age such as 90m or 2h, or a time such as 2026-01-23T10:30:00Z".to_owned()
    })
}

/// A word that names an event: `id:WORD`, `seq:NUMBER`, or either without its prefix.
struct Word<'w> {
    text: &'w str,
    id: Option<&'w str>,
    seq: Option<i64>,
}

impl<'w> Word<'w> {
    fn new(text: &'w str) -> Self {
        if let Some(id) = text.strip_prefix("id:") {
            return Self { text, id: Some(id), seq: None };
        }
        match text.strip_prefix("seq:") {
            Some(number) => Self { text, id: None, seq: number.parse().ok() },
            None => Self { text, id: Some(text), seq: text.parse().ok() },
        }
    }

    fn position(&self, found: &[Found]) -> Result<Seq, Failure> {
        let by_id = found.iter().find(|f| f.by_id && Some(f.id.as_str()) == self.id);
        let by_seq = found.iter().find(|f| !f.by_id && Some(f.seq.0) == self.seq);
        match (by_id, by_seq) {
            (Some(one), Some(other)) if one.seq != other.seq => Err(Failure::new(
                Exit::BadData,
                format!("{} is the id of one event and the position of another", self.text),
                format!("write id:{0} or seq:{0}", self.text),
            )),
            (Some(found), _) | (None, Some(found)) => Ok(found.seq),
            (None, None) => Err(Failure::new(
                Exit::BadData,
                format!("there is no event with the id or position {:?}", self.text),
                "copy the id from `outbox-relay events list`; it may have been pruned",
            )),
        }
    }
}

/// The events that words name, by position; all of them, or none.
///
/// # Errors
/// When a word names none or several.
pub(super) async fn events(
    operator: &mut Operator,
    words: &[String],
    payload: bool,
) -> Result<Vec<StoredEvent>, Failure> {
    if words.len() > IDS_MAX {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} ids are more than {IDS_MAX}", words.len()),
            "use a filter, or several commands",
        ));
    }
    let words: Vec<Word<'_>> = words.iter().map(|word| Word::new(word)).collect();
    let ids: Vec<&str> = words.iter().filter_map(|word| word.id).collect();
    let seqs: Vec<i64> = words.iter().filter_map(|word| word.seq).collect();
    let found = operator.find(&ids, &seqs).await?;
    let mut seqs: Vec<Seq> =
        words.iter().map(|word| word.position(&found)).collect::<Result<_, _>>()?;
    seqs.sort_unstable();
    seqs.dedup();
    Ok(operator.events(&seqs, payload).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_age_or_a_moment() {
        assert_eq!(parse_since("2h"), Ok(Since::Ago(Duration::from_secs(7_200))));
        assert_eq!(parse_since("1970-01-01T00:00:01+00:00"), Ok(Since::At(1_000)));
        assert!(parse_since("2").is_err() && parse_since("yesterday").is_err());
    }

    #[test]
    fn a_number_that_is_both_id_and_position_is_refused() {
        let found = [
            Found { seq: Seq(7), id: "12".into(), by_id: true },
            Found { seq: Seq(12), id: "x".into(), by_id: false },
        ];
        assert_eq!(Word::new("12").position(&found).unwrap_err().exit, Exit::BadData);
        assert_eq!(Word::new("id:12").position(&found), Ok(Seq(7)));
        assert_eq!(Word::new("seq:12").position(&found), Ok(Seq(12)));
        assert_eq!(Word::new("seq:x").position(&found).unwrap_err().exit, Exit::BadData);
        assert_eq!(Word::new("12").position(&found[1..]), Ok(Seq(12)));
    }
}
