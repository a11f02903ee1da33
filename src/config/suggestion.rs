//! "Did you mean": the known name that is nearest to an unknown one.

/// The least similarity of a suggestion, of 1. Below it suggestions mislead more than they help;
/// clap draws its line at 0.7 with the same measure.
const SIMILARITY_MIN: f64 = 0.75;

/// The candidate that is nearest to `unknown`, if one is near enough. Case, dashes and underscores
/// make no difference.
pub(super) fn nearest<'a>(
    unknown: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let unknown = folded(unknown);
    candidates
        .into_iter()
        .map(|candidate| (similarity(&unknown, &folded(candidate)), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Jaro's measure, which does not see two letters swapped in a short name (`lgo`): one slip of
/// typing in three letters or more counts as similar too.
fn similarity(a: &str, b: &str) -> f64 {
    let slip = a.chars().count() >= 3 && strsim::osa_distance(a, b) <= 1;
    strsim::jaro(a, b).max(if slip { SIMILARITY_MIN } else { 0.0 })
}

/// Whether two names differ in case, dashes and underscores at most.
pub(super) fn same(a: &str, b: &str) -> bool {
    folded(a) == folded(b)
}

fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["max_in_flight", "batch_tenants", "sweep_interval"];

    #[test]
    fn a_slip_finds_its_name() {
        assert_eq!(nearest("max_inflight", NAMES), Some("max_in_flight"));
        assert_eq!(nearest("max-in-flight", NAMES), Some("max_in_flight"));
        assert_eq!(nearest("sweepInterval", NAMES), Some("sweep_interval"));
        assert_eq!(nearest("batch_tenant", NAMES), Some("batch_tenants"));
        assert_eq!(nearest("lgo", ["relay", "log"]), Some("log"));
    }

    #[test]
    fn a_strange_name_finds_nothing() {
        assert_eq!(nearest("colour", NAMES), None);
        assert_eq!(nearest("", NAMES), None);
    }
}
