//! What a check has found, and how it is told.

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    Skipped,
    /// Works, and will not always.
    Warning,
    /// Events are not published, or may get lost.
    Critical,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One check's result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    category: &'static str,
    check: &'static str,
    level: Level,
    says: String,
    measured: Value,
    remedy: Option<String>,
    fix_sql: Option<String>,
}

impl Finding {
    fn new(category: &'static str, check: &'static str, level: Level, says: String) -> Self {
        let (measured, remedy, fix_sql) = (Value::Null, None, None);
        Self { category, check, level, says, measured, remedy, fix_sql }
    }

    pub(super) fn ok(category: &'static str, check: &'static str, says: impl Into<String>) -> Self {
        Self::new(category, check, Level::Ok, says.into())
    }

    pub(super) fn skipped(
        category: &'static str,
        check: &'static str,
        says: impl Into<String>,
    ) -> Self {
        Self::new(category, check, Level::Skipped, says.into())
    }

    pub(super) fn warning(
        category: &'static str,
        check: &'static str,
        says: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let finding = Self::new(category, check, Level::Warning, says.into());
        Self { remedy: Some(remedy.into()), ..finding }
    }

    pub(super) fn critical(
        category: &'static str,
        check: &'static str,
        says: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Critical, ..Self::warning(category, check, says, remedy) }
    }

    /// The number or text that was judged.
    pub(super) fn measured(self, value: impl Into<Value>) -> Self {
        Self { measured: value.into(), ..self }
    }

    /// Statements that mend it.
    pub(super) fn sql(self, sql: impl Into<String>) -> Self {
        Self { fix_sql: Some(sql.into()), ..self }
    }
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub struct Report(Vec<Finding>);

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// How many are of this level.
    pub fn count(&self, level: Level) -> i64 {
        i64::try_from(self.0.iter().filter(|f| f.level == level).count()).unwrap_or(i64::MAX)
    }

    /// One object: `worst` and `checks`.
    pub fn json(&self) -> Value {
        let worst = self.0.iter().map(|f| f.level).max().unwrap_or(Level::Ok);
        let check = |f: &Finding| {
            json!({
                "category": f.category, "check": f.check, "level": f.level.as_str(), "says": f.says,
                "measured": f.measured, "remedy": f.remedy, "fixSql": f.fix_sql,
            })
        };
        let checks: Vec<Value> = self.0.iter().map(check).collect();
        json!({ "v": 1, "worst": worst.as_str(), "checks": checks })
    }

    /// The statements that mend what SQL can mend, each with what is wrong as a comment.
    pub fn fixes(&self) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|f| Some((f, f.fix_sql.as_ref()?)))
            .map(|(f, sql)| {
                format!("-- {}.{}: {}\n{sql}", f.category, f.check, f.says.replace('\n', " "))
            })
            .collect()
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut category = "";
        for finding in &self.0 {
            if finding.category != category {
                category = finding.category;
                lines.push(format!("{}{category}", if lines.is_empty() { "" } else { "\n" }));
            }
            let mark = match finding.level {
                Level::Ok => "ok      ",
                Level::Skipped => "skipped ",
                Level::Warning => "WARNING ",
                Level::Critical => "CRITICAL",
            };
            lines.push(format!("  {mark} {:<14} {}", finding.check, finding.says));
            lines.extend(finding.remedy.iter().map(|remedy| format!("{:26}-> {remedy}", "")));
            if let Some(sql) = &finding.fix_sql {
                lines.extend(sql.lines().map(|line| format!("{:29}{line}", "")));
            }
        }
        lines
    }
}
