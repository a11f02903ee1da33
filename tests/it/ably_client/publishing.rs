//! What is sent, and how answers become results.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_relay::ably::{BatchMode, Client, ClientConfig, REQUEST_CHANNELS_MAX};
use outbox_relay::domain::failure::FailureClass;
use serde_json::json as value;

use super::server::{Reply, Server, accept, accept_spec, bytes, json};
use super::{client, config, soon, spec, specs};

#[tokio::test]
async fn one_spec_goes_to_its_channel_with_ablys_headers() {
    let server = Server::start(accept).await;
    let results = soon(client(&[&server]).publish(&[spec("a/b é")])).await;
    assert_eq!(results[0].as_ref().unwrap().serials, [Some("s".to_owned())]);
    let request = server.requests().remove(0);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/channels/tenant%3Aa%2Fb%20%C3%A9/messages");
    assert_eq!(
        String::from_utf8(request.body.clone()).unwrap(),
        r#"[{"id":"id-a/b é","name":"kitchen.task","data":"{\"n\":1}","encoding":"json"}]"#
    );
    for (name, text) in [
        // base64 of app.key and the secret
        ("authorization", "Basic YXBwLmtleTpzM2NyZXRTRUNSRVRzM2NyZXQ="),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-ably-version", "6"),
        ("ably-agent", concat!("outbox-relay/", env!("CARGO_PKG_VERSION"))),
        ("host", server.url().trim_start_matches("http://")),
    ] {
        assert_eq!(request.header(name), Some(text), "{name}");
    }
}

#[tokio::test]
async fn several_specs_are_one_request_and_each_has_its_own_result() {
    let server = Server::start(|request| {
        let mut results: Vec<_> =
            request.json().as_array().unwrap().iter().map(accept_spec).collect();
        let error = value!({"code": 42913, "statusCode": 429, "message": "rate"});
        results[1] = value!({"successCount": 0, "failureCount": 1,
            "results": [{"channel": "tenant:1", "error": error}]});
        json(201, &serde_json::Value::from(results).to_string())
    })
    .await;
    let results = soon(client(&[&server]).publish(&specs(3))).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert_eq!(results[1].as_ref().unwrap_err().class, FailureClass::ThrottledChannel);
    let requests = server.requests();
    assert_eq!((requests.len(), requests[0].path.as_str()), (1, "/messages"));
    assert_eq!(requests[0].json()[2]["channels"], "tenant:2");
    assert_eq!(requests[0].json()[2]["messages"][0]["id"], "id-2");
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = Server::start(accept).await;
    let client = client(&[&server]);
    for count in [1, 2, 3] {
        assert!(soon(client.publish(&specs(count))).await.iter().all(Result::is_ok));
    }
    let connections: Vec<_> = server.requests().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn without_batches_each_spec_is_a_request_and_eight_are_out_at_once() {
    let server = Server::start(|request| {
        let channel = request.path.split('/').nth(2).unwrap().replace("%3A", ":");
        let body = value!({"channel": channel, "messageId": channel});
        Reply::Gather(8, bytes(201, "", &body.to_string()))
    })
    .await;
    let config = ClientConfig {
        batch: BatchMode::Off,
        request_timeout: Duration::from_secs(10),
        retry_duration_max: Duration::from_secs(15),
        ..config(&server.url(), &[])
    };
    let results = soon(Client::new(config).unwrap().publish(&specs(30))).await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.as_ref().unwrap().message_id, Some(format!("tenant:{n}")));
    }
    assert_eq!((server.requests().len(), server.at_once()), (30, 8));
}

#[tokio::test]
async fn a_server_without_a_batch_endpoint_is_remembered() {
    let server = Server::start(|request| match request.path.as_str() {
        "/messages" => Reply::Raw(bytes(404, "Content-Type: text/plain\r\n", "404 page not found")),
        _ => accept(request),
    })
    .await;
    let client = client(&[&server]);
    for requests in [1 + 3, 1 + 3 + 3] {
        assert!(soon(client.publish(&specs(3))).await.iter().all(Result::is_ok));
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn a_server_that_has_nothing_at_all_is_not_taken_for_one_without_batches() {
    let deployed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&deployed);
    let server = Server::start(move |request| match flag.load(Ordering::SeqCst) {
        true => accept(request),
        false => Reply::Raw(bytes(404, "", "nothing here")),
    })
    .await;
    let client = client(&[&server]);
    for result in soon(client.publish(&specs(3))).await {
        assert_eq!(result.unwrap_err().class, FailureClass::Configuration);
    }
    deployed.store(true, Ordering::SeqCst);
    assert!(soon(client.publish(&specs(3))).await.iter().all(Result::is_ok));
    assert_eq!(server.requests().pop().unwrap().path, "/messages");
}

#[tokio::test]
async fn a_refusal_of_the_whole_batch_is_traced_to_its_spec() {
    let server = Server::start(|request| {
        let bad = r#"{"error":{"code":40013,"statusCode":400,"message":"bad data"}}"#;
        if request.path == "/messages" || request.path.contains("%3A1/") {
            return json(400, bad);
        }
        accept(request)
    })
    .await;
    let results = soon(client(&[&server]).publish(&specs(3))).await;
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let failure = results[1].as_ref().unwrap_err();
    assert_eq!((failure.class, failure.code), (FailureClass::Content, Some(40_013)));
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_wrong_key_is_told_once_and_not_for_every_spec() {
    let body = r#"{"error":{"code":40101,"statusCode":401,"message":"invalid key"}}"#;
    for batch in [BatchMode::Auto, BatchMode::Off] {
        let server = Server::start(move |_| json(401, body)).await;
        let config = ClientConfig { batch, ..config(&server.url(), &[]) };
        let results = soon(Client::new(config).unwrap().publish(&specs(50))).await;
        assert_eq!(results.len(), 50);
        for result in results {
            assert_eq!(result.unwrap_err().class, FailureClass::Configuration);
        }
        // Those that were already out when the first answer came.
        assert!(server.requests().len() <= 8, "{}", server.requests().len());
    }
}

#[tokio::test]
async fn the_time_is_asked_without_the_key() {
    let server = Server::start(|_| json(200, "[1795408783100]")).await;
    assert_eq!(soon(client(&[&server]).time()).await, Ok(1_795_408_783_100));
    let request = server.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/time"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("x-ably-version"), Some("6"));
}

#[tokio::test]
async fn nothing_is_sent_for_nothing_or_for_what_breaks_the_limits() {
    let server = Server::start(accept).await;
    let client = client(&[&server]);
    assert!(soon(client.publish(&[])).await.is_empty());
    let results = soon(client.publish(&specs(REQUEST_CHANNELS_MAX + 1))).await;
    assert_eq!(results.len(), REQUEST_CHANNELS_MAX + 1);
    assert!(
        results.iter().all(|r| r.as_ref().is_err_and(|f| f.class == FailureClass::Configuration))
    );
    assert!(server.requests().is_empty());
    assert!(soon(client.publish(&specs(REQUEST_CHANNELS_MAX))).await.iter().all(Result::is_ok));
}
