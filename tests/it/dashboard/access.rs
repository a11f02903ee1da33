//! Who gets in, and whose requests are believed.

use super::*;

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_nothing_is_shown_without_it() {
    let site = Site::start("guarded_ui", &[("OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN", TOKEN)]).await;
    let pages = ["", "api/session", "api/live", "api/events", "assets/app.js", "api/nothing", "x"];
    for page in pages {
        let get = || site.client.get(format!("{}{page}", site.page()));
        let refused = get().send().await.unwrap();
        assert_eq!(refused.status(), 401, "{page}");
        let asks = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(asks.starts_with("Basic realm="), "a browser asks for the password: {asks}");
        assert!(refused.headers().contains_key("content-security-policy"));
        for wrong in ["", "wrong", "a-dashboard-token-of-test", "a-dashboard-token-of-tests-"] {
            assert_eq!(status(get().bearer_auth(wrong)).await, 401, "{page} {wrong}");
            assert_eq!(status(get().basic_auth("alice", Some(wrong))).await, 401, "{page} {wrong}");
        }
    }
    for page in ["", "api/session", "api/events", "assets/app.js"] {
        let get = || site.client.get(format!("{}{page}", site.page()));
        assert_eq!(status(get().bearer_auth(TOKEN)).await, 200, "{page}");
        assert_eq!(status(get().basic_auth("alice", Some(TOKEN))).await, 200, "{page}");
    }
    // The scraper's token is another, and probes want none.
    assert_eq!(status(site.client.get(format!("{}/readyz", site.url))).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_this_machine_by_address_gets_in() {
    let site =
        Site::start("rebinding", &[("OUTBOX_RELAY_HTTP_TOKEN", "a-token-of-scrapers")]).await;
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
        let get = site.client.get(site.api("session")).header("host", host);
        assert_eq!(status(get).await, 403, "{host}");
    }
    assert_eq!(status(site.client.get(site.api("session"))).await, 200);
    assert_eq!(status(site.client.get(site.api("session")).header("host", "localhost")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_another_site_has_a_browser_send_changes_nothing() {
    let site = Site::acting("forged").await;
    let client = site.outbox.connect().await;
    site.fail_three(&client).await;
    let csrf = site.get("session").await.1["csrf"].as_str().unwrap().to_owned();
    let body = json!({ "filter": {} }).to_string();
    let post = |headers: &[(&str, &str)]| {
        let mut request = site.client.post(site.api("requeue")).body(body.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        status(request)
    };
    let json = ("content-type", "application/json");
    let token = ("x-csrf-token", csrf.as_str());
    assert_eq!(post(&[]).await, 403);
    assert_eq!(post(&[json]).await, 403, "no token");
    assert_eq!(post(&[json, ("x-csrf-token", "0")]).await, 403, "a wrong token");
    assert_eq!(post(&[token]).await, 403, "a form's kind");
    assert_eq!(post(&[json, token, ("origin", "http://evil.example")]).await, 403);
    assert_eq!(post(&[json, token, ("origin", "null")]).await, 403);
    assert_eq!(post(&[json, token, ("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(post(&[json, token, ("sec-fetch-site", "same-site")]).await, 403);
    for path in ["discard", "release", "pause", "resume", "doctor"] {
        let request = site.client.post(site.api(path)).header("content-type", "application/json");
        assert_eq!(status(request.body("{}")).await, 403, "{path}");
    }
    assert_eq!(count(&client, "failed").await, 3);
    let audits = client.query_one("select count(*) from outbox.audit", &[]).await.unwrap();
    assert_eq!(audits.get::<_, i64>(0), 0);
    // No page of another site may read the token either.
    let answer = site.client.get(site.api("session")).header("origin", "http://evil.example");
    let answer = answer.send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    assert_eq!(answer.headers()["cross-origin-resource-policy"], "same-origin");
    assert_eq!(post(&[json, token, ("origin", &site.url)]).await, 200, "our own page");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_refuses_every_order_and_still_examines() {
    let site = Site::start("readonly", &[]).await;
    let client = site.fill().await;
    for (path, body) in [
        ("requeue", json!({ "filter": {} })),
        ("requeue", json!({ "filter": {}, "dryRun": true })),
        ("discard", json!({ "filter": {}, "reason": "x" })),
        ("release", json!({ "tenant": "held" })),
        ("pause", json!({ "scope": "all" })),
        ("resume", json!({ "scope": "tenant", "target": "paused" })),
    ] {
        let (status, said) = site.post(path, &body).await;
        assert_eq!(status, 403, "{path}");
        assert_eq!(said["error"], "this dashboard is read-only");
    }
    assert_eq!(count(&client, "failed").await, 3);
    let (status, examined) = site.post("doctor", &json!({})).await;
    assert_eq!(status, 200, "{examined}");
    assert!(examined["report"]["checks"].as_array().unwrap().len() > 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_wants_a_token_for_the_dashboard_too() {
    let (outbox, ably) = (Outbox::create("openui").await, LocalAbly::start().await);
    let start = |more: &[(&str, &str)]| {
        let mut command = RelayCommand::new(&outbox.database.dsn(), &ably)
            .env("OUTBOX_RELAY_HTTP_LISTEN", "0.0.0.0:0")
            .env("OUTBOX_RELAY_HTTP_TOKEN", "a-token-of-scrapers");
        for (name, value) in more {
            command = command.env(name, value);
        }
        command.start()
    };
    let on = ("OUTBOX_RELAY_HTTP_DASHBOARD", "on");
    let mut open = start(&[on]);
    assert_eq!(open.wait(), Some(78));
    open.wait_for_log("http.dashboard_token is not set", 1);
    // By itself it is not there where others reach it.
    let client = http();
    let quiet = start(&[]);
    let port = url_of(&quiet).rsplit(':').next().unwrap().to_owned();
    let url = format!("http://127.0.0.1:{port}/dashboard/");
    assert_eq!(status(client.get(&url)).await, 404);
    let guarded = start(&[on, ("OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN", TOKEN)]);
    let port = url_of(&guarded).rsplit(':').next().unwrap().to_owned();
    let url = format!("http://127.0.0.1:{port}/dashboard/");
    assert_eq!(status(client.get(&url)).await, 401);
    assert_eq!(status(client.get(&url).bearer_auth(TOKEN)).await, 200);
}
