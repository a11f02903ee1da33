//! `outbox-relay doctor`: looks at everything that a relay depends on, and says what to do about what is
//! wrong. Changes nothing, publishes nothing.

use std::time::Duration;

use super::failure::{Exit, Failure};
use super::{Context, assemble, operate, output};
use crate::config::parse_duration;
use crate::doctor::{self, Level, Report};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// One JSON object
    #[arg(long)]
    json: bool,

    /// Print only the SQL that mends what SQL can mend, for psql
    #[arg(long, conflicts_with = "json")]
    fix_sql: bool,

    /// Exit with 3 when there are warnings
    #[arg(long)]
    strict: bool,

    /// A transaction open for longer holds vacuum back
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    max_snapshot_age: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let stop = &context.stop;
    operate::unless_stopped(stop, Box::pin(examine(options, context))).await
}

async fn examine(options: &Options, context: &Context) -> Result<(), Failure> {
    let subject = assemble::doctor(&context.configuration, options.max_snapshot_age);
    let report = Box::pin(doctor::examine(&subject)).await;
    if options.json {
        operate::json(&report.json())?;
    } else if options.fix_sql {
        report.fixes().iter().try_for_each(|sql| output::line(sql))?;
    } else {
        report.lines().iter().try_for_each(|line| output::line(line))?;
    }
    verdict(&report, options.strict)
}

fn verdict(report: &Report, strict: bool) -> Result<(), Failure> {
    let (critical, warnings) = (report.count(Level::Critical), report.count(Level::Warning));
    let remedy = "do what stands behind each of them; `doctor --fix-sql` prints what SQL can mend";
    if critical > 0 {
        let cause =
            format!("{}, {warnings} warnings", operate::counted(critical, "critical finding"));
        return Err(Failure::new(Exit::Critical, cause, remedy));
    }
    if strict && warnings > 0 {
        let cause = operate::counted(warnings, "warning");
        return Err(Failure::new(Exit::Warnings, cause, remedy));
    }
    Ok(())
}
