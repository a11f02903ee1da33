//! Asking before something is done that cannot be undone.

use std::io::{BufRead, IsTerminal, Write};

use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};

/// What to do instead of deleting.
pub(super) const HOW_MANY: &str = "--dry-run to see how many events are meant";

/// Makes sure that somebody means it: `--yes`, or an answer on a terminal. Whoever is no terminal must say
/// `--yes`: a schedule says it once, and a line pasted into the wrong script does nothing.
///
/// # Errors
/// When it is not meant, or nobody can be asked.
pub(super) async fn consent(
    yes: bool,
    what: &str,
    otherwise: &str,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Failure::new(
            Exit::Usage,
            format!("this {what}, and nobody can be asked: this is no terminal"),
            format!("add --yes, or {otherwise}"),
        ));
    }
    // A closed terminal gives no answer either.
    _ = write!(std::io::stderr(), "This {what}. Type yes to go on: ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer).unwrap_or_default()
    });
    let answer = tokio::select! {
        // The thread that reads is left behind; the process ends anyway.
        () = stop.cancelled() => String::new(),
        answer = answer => answer.unwrap_or_default(),
    };
    if means_yes(&answer) {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "not confirmed; nothing was done", "type yes, or pass --yes"))
}

fn means_yes(answer: &str) -> bool {
    answer.trim().eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_is_consent() {
        assert!(means_yes("yes\n") && means_yes(" YES "));
        assert!(!means_yes("") && !means_yes("y\n") && !means_yes("yes please"));
    }
}
