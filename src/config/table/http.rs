//! What `run` answers, and to whom.

use super::Setting;
use crate::config::check::{http_listen, http_token, publish_token};
use crate::config::settings::{DashboardMode, switch};
use crate::config::value::Kind;

pub(super) const HTTP: &[Setting] = &[
    Setting {
        key: "http.listen",
        env: &["OUTBOX_RELAY_HTTP_LISTEN"],
        flag: None,
        default: Some("off"),
        example: "127.0.0.1:9464",
        kind: Kind::Text {
            check: http_listen,
            expected: "off, or an address with a port",
            set: |s, v| s.http_listen = v,
        },
        doc: "Where `run` answers `/livez`, `/readyz`, `/metrics`, `/outbox/publish` and `/dashboard/`. An address that other machines reach (`0.0.0.0:9464`) needs `http.token`.",
    },
    Setting {
        key: "http.token",
        env: &["OUTBOX_RELAY_HTTP_TOKEN"],
        flag: None,
        default: None,
        example: "a-long-random-text",
        kind: Kind::Secret {
            check: http_token,
            expected: "at least 16 visible ASCII characters",
            plain_in_file: false,
            set: |s, v| s.http_token = Some(v),
        },
        doc: "What `/metrics` and `/readyz?verbose` want as `Authorization: Bearer …`. Not set: everybody on this machine may read them, and nobody else. `/livez` and `/readyz` want nothing.",
    },
    Setting {
        key: "http.publish_token",
        env: &["OUTBOX_PUBLISH_TOKEN"],
        flag: None,
        default: None,
        example: "a-long-random-text",
        kind: Kind::Secret {
            check: publish_token,
            expected: "visible ASCII characters",
            plain_in_file: false,
            set: |s, v| s.http_publish_token = Some(v),
        },
        doc: "What `/outbox/publish` wants as `Authorization: Bearer …`. Not set: it answers 401 to everybody.",
    },
    Setting {
        key: "http.dashboard",
        env: &["OUTBOX_RELAY_HTTP_DASHBOARD"],
        flag: None,
        default: Some("auto"),
        example: "on",
        kind: Kind::Choice {
            names: DashboardMode::NAMES,
            set: |s, v| DashboardMode::named(v).map(|mode| s.http_dashboard = mode).is_some(),
        },
        doc: "Whether `/dashboard/` is served where `http.listen` says: `auto` does on a loopback address and not elsewhere; `on` where other machines reach it needs `http.dashboard_token`.",
    },
    Setting {
        key: "http.dashboard_token",
        env: &["OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN"],
        flag: None,
        default: None,
        example: "a-long-random-text",
        kind: Kind::Secret {
            check: http_token,
            expected: "at least 16 visible ASCII characters",
            plain_in_file: false,
            set: |s, v| s.http_dashboard_token = Some(v),
        },
        doc: "What the dashboard wants: as `Authorization: Bearer …`, or as the password when a browser asks, with your name as the user, which the audit log then shows. Not set: everybody on this machine may look, and nobody else.",
    },
    Setting {
        key: "http.dashboard_actions",
        env: &["OUTBOX_RELAY_HTTP_DASHBOARD_ACTIONS"],
        flag: None,
        default: Some("off"),
        example: "on",
        kind: Kind::Choice {
            names: &["off", "on"],
            set: |s, v| switch(v).map(|on| s.http_dashboard_actions = on).is_some(),
        },
        doc: "Whether the dashboard may requeue, discard, release, pause and resume. `off` shows everything and changes nothing.",
    },
];
