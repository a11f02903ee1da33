//! The page: files of this repository, as they are, in the binary.

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::answer;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! file {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_str!(concat!("assets/", $name)))
    };
}

const PAGE: &str = include_str!("assets/index.html");

const FILES: &[(&str, &str, &str)] = &[
    file!("icon.svg", "image/svg+xml"),
    file!("theme.css", STYLE),
    file!("layout.css", STYLE),
    file!("parts.css", STYLE),
    file!("app.js", JAVASCRIPT),
    file!("api.js", JAVASCRIPT),
    file!("audit.js", JAVASCRIPT),
    file!("chart.js", JAVASCRIPT),
    file!("charts.js", JAVASCRIPT),
    file!("dead_letters.js", JAVASCRIPT),
    file!("dialog.js", JAVASCRIPT),
    file!("doctor.js", JAVASCRIPT),
    file!("dom.js", JAVASCRIPT),
    file!("event.js", JAVASCRIPT),
    file!("events.js", JAVASCRIPT),
    file!("format.js", JAVASCRIPT),
    file!("holds.js", JAVASCRIPT),
    file!("live.js", JAVASCRIPT),
    file!("overview.js", JAVASCRIPT),
    file!("theme.js", JAVASCRIPT),
];

pub(super) async fn page() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], PAGE)
        .into_response()
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], *text).into_response()
        }
        None => answer::nothing_here().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_file_and_nothing_from_elsewhere() {
        for (name, kind, text) in FILES {
            assert!(PAGE.contains(&format!("assets/{name}\"")), "{name} is not in the page");
            assert!(text.lines().count() <= 400, "{name} is too long");
            // A vector picture names its own language.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("://"), "{name} of {kind} names something elsewhere");
        }
        assert!(!PAGE.contains("://") && !PAGE.contains("style=") && !PAGE.contains(" on"));
    }
}
