//! Which column of an application's outbox is what, found by name and type. Pure.

use std::fmt;

use crate::store::error::StoreError;
use crate::store::relation::{Column, Relation};

/// What a column can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The event's identity.
    Id,
    /// Whose event it is.
    TenantId,
    /// What happened.
    EventType,
    /// What the event says.
    Payload,
    /// Waiting, published or failed.
    Status,
    /// Kind of the thing the event is about.
    AggregateType,
    /// Which one of its kind.
    AggregateId,
    /// When the row was written.
    CreatedAt,
    /// When it happened.
    OccurredAt,
    /// When it was published.
    PublishedAt,
    /// Why it failed.
    Error,
    /// Extras of the message.
    Headers,
}

/// All roles with the names that are looked for, without underscores and in lower case; the best first.
const ROLES: [(Role, &str, &[&str], bool); 12] = [
    (Role::Id, "id", &["id", "eventid"], true),
    (Role::TenantId, "tenant_id", &["tenantid", "tenant"], true),
    (Role::EventType, "event_type", &["eventtype", "type"], true),
    (Role::Payload, "payload", &["payload", "data"], true),
    (Role::Status, "status", &["status"], true),
    (Role::AggregateType, "aggregate_type", &["aggregatetype"], true),
    (Role::AggregateId, "aggregate_id", &["aggregateid"], true),
    (Role::CreatedAt, "created_at", &["createdat"], false),
    (Role::OccurredAt, "occurred_at", &["occurredat"], false),
    (Role::PublishedAt, "published_at", &["publishedat"], false),
    (Role::Error, "error", &["error", "lasterror", "errormessage"], false),
    (Role::Headers, "headers", &["headers"], false),
];

impl Role {
    /// The name in `--column`.
    pub fn as_str(self) -> &'static str {
        ROLES.iter().find(|(role, ..)| *role == self).map_or("", |(_, name, ..)| name)
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        ROLES.iter().find(|(_, known, ..)| *known == name).map(|(role, ..)| *role)
    }

    /// Whether a column of this type can be it.
    fn takes(self, column: &Column) -> Result<(), &'static str> {
        let base = column.base.as_str();
        let text = ["text", "character varying", "character"].contains(&base);
        let json = ["json", "jsonb"].contains(&base);
        let time = ["timestamp with time zone", "timestamp without time zone"].contains(&base);
        let (fits, wanted) = match self {
            Self::Payload | Self::Headers => (json, "json or jsonb"),
            Self::Status => (text || base == "enum", "an enum or text"),
            Self::CreatedAt | Self::OccurredAt | Self::PublishedAt => {
                (time, "timestamp or timestamptz")
            }
            Self::Error => (text || json, "text, json or jsonb"),
            Self::Id => {
                let number = ["bigint", "integer"].contains(&base);
                (text || number || base == "uuid", "text, uuid, bigint or integer")
            }
            // Whatever it is, its text is taken.
            Self::TenantId | Self::EventType | Self::AggregateType | Self::AggregateId => {
                (true, "")
            }
        };
        if fits { Ok(()) } else { Err(wanted) }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the user said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Columns named by hand.
    pub columns: Vec<(Role, String)>,
    /// The status of a row that waits, if it is not `pending` in any case.
    pub pending: Option<String>,
    /// The status of a published row.
    pub published: Option<String>,
    /// The status of a row that can never be published.
    pub failed: Option<String>,
    /// The status that other programs see while the event waits; the published one unless said otherwise.
    pub waiting_as: Option<String>,
}

/// The columns and statuses of an application's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    columns: Vec<(Role, Column)>,
    /// Status of a row that is to be published.
    pub pending: String,
    /// Status of a published row.
    pub published: String,
    /// Status of a row that failed for good.
    pub failed: String,
    /// Status of a row whose event waits.
    pub waiting_as: String,
}

impl Mapping {
    /// Finds the columns of a table.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] says what is missing and how to name it.
    pub fn find(relation: &Relation, wishes: &Wishes) -> Result<Self, StoreError> {
        let mut columns = Vec::new();
        let mut missing = Vec::new();
        for (role, _, names, required) in ROLES {
            match find_column(relation, wishes, role, names)? {
                Some(column) => columns.push((role, column)),
                None if required => missing.push(role),
                None => {}
            }
        }
        if !missing.is_empty() {
            return Err(unmapped(relation, &missing));
        }
        let of = |role| columns.iter().find(|(known, _)| *known == role).map(|(_, column)| column);
        if let Some(id) = of(Role::Id).filter(|id| !id.indexed) {
            return unfit(
                format!("no index of {} begins with column {:?}", relation.name, id.name),
                "outcomes are written back by id: make it the primary key, or give it a unique index",
            );
        }
        let Some(status) = of(Role::Status) else {
            return Err(unmapped(relation, &[Role::Status]));
        };
        let [pending, published, failed, waiting_as] = statuses(relation, status, wishes)?;
        Ok(Self { columns, pending, published, failed, waiting_as })
    }

    /// The column that has this role.
    pub fn column(&self, role: Role) -> Option<&Column> {
        self.columns.iter().find(|(known, _)| *known == role).map(|(_, column)| column)
    }

    /// Roles and columns, in a fixed order.
    pub fn columns(&self) -> impl Iterator<Item = (Role, &Column)> {
        self.columns.iter().map(|(role, column)| (*role, column))
    }

    /// Whether rows that wait look like anything but pending.
    pub fn hides(&self) -> bool {
        self.waiting_as != self.pending
    }
}

fn find_column(
    relation: &Relation,
    wishes: &Wishes,
    role: Role,
    names: &[&str],
) -> Result<Option<Column>, StoreError> {
    let named = wishes.columns.iter().find(|(wished, _)| *wished == role);
    let column = if let Some((_, name)) = named {
        let found = relation.columns.iter().find(|column| column.name == *name);
        if found.is_none() {
            let all: Vec<&str> = relation.columns.iter().map(|c| c.name.as_str()).collect();
            return unfit(
                format!("{} has no column {name:?}", relation.name),
                format!("its columns are: {}", all.join(", ")),
            );
        }
        found
    } else {
        let plain = |name: &str| name.replace('_', "").to_lowercase();
        let mut found = names.iter().map(|wanted| {
            let fits = |column: &&Column| plain(&column.name) == *wanted;
            relation.columns.iter().filter(fits).collect::<Vec<_>>()
        });
        match found.find(|columns| !columns.is_empty()).as_deref() {
            Some([one]) => Some(*one),
            Some([one, other, ..]) => {
                return unfit(
                    format!("{} has both {:?} and {:?}", relation.name, one.name, other.name),
                    format!("say which it is: --column {role}={}", one.name),
                );
            }
            _ => None,
        }
    };
    if let Some((column, wanted)) = column.and_then(|c| Some((c, role.takes(c).err()?))) {
        return unfit(
            format!(
                "column {:?} of {} is {}, and {role} must be {wanted}",
                column.name, relation.name, column.sql_type
            ),
            format!("name another with --column {role}=COLUMN"),
        );
    }
    let written = [Role::Status, Role::PublishedAt, Role::Error].contains(&role);
    if let Some(column) = column.filter(|column| written && column.generated) {
        return unfit(
            format!(
                "column {:?} of {} is generated, and nothing can be written to it",
                column.name, relation.name
            ),
            format!("name another with --column {role}=COLUMN"),
        );
    }
    Ok(column.cloned())
}

fn unmapped(relation: &Relation, missing: &[Role]) -> StoreError {
    let names: Vec<&str> = missing.iter().map(|role| role.as_str()).collect();
    let flags: Vec<String> = names.iter().map(|name| format!("--column {name}=COLUMN")).collect();
    let all: Vec<&str> = relation.columns.iter().map(|c| c.name.as_str()).collect();
    StoreError::Unfit {
        cause: format!("no column of {} looks like {}", relation.name, names.join(", ")),
        remedy: format!("name it: {} (its columns are: {})", flags.join(" "), all.join(", ")),
    }
}

/// The four statuses: as wished, else the enum's own spelling, else that of the default.
fn statuses(
    relation: &Relation,
    column: &Column,
    wishes: &Wishes,
) -> Result<[String; 4], StoreError> {
    let is_upper = |text: &str| text.chars().any(char::is_uppercase);
    let default = column.default.as_deref().and_then(|sql| sql.split('\'').nth(1));
    let pick = |wish: &Option<String>, word: &str| {
        let wanted = wish.as_deref().unwrap_or(word);
        if column.base != "enum" {
            let upper = wish.is_none() && default.is_some_and(is_upper);
            return Ok(if upper { wanted.to_uppercase() } else { wanted.to_owned() });
        }
        let same = |label: &&String| {
            *label == wanted || (wish.is_none() && label.eq_ignore_ascii_case(wanted))
        };
        column.labels.iter().find(same).cloned().ok_or_else(|| StoreError::Unfit {
            cause: format!(
                "type {} of {}.{:?} has no value {wanted:?}",
                column.sql_type, relation.name, column.name
            ),
            remedy: format!(
                "name the one that means it, such as --{word} {}",
                column.labels.join(" or ")
            ),
        })
    };
    let published = pick(&wishes.published, "published")?;
    let waiting = match &wishes.waiting_as {
        None => published.clone(),
        Some(wish) => pick(&Some(wish.clone()), "waiting-as")?,
    };
    Ok([pick(&wishes.pending, "pending")?, published, pick(&wishes.failed, "failed")?, waiting])
}

fn unfit<T>(cause: impl Into<String>, remedy: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Unfit { cause: cause.into(), remedy: remedy.into() })
}
