//! Answers as Ably, its edge and strangers give them.

use proptest::prelude::*;

use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        header_code: None,
        header_message: None,
        content_type: "application/json".into(),
        retry_after: None,
        from_cloudfront: false,
        body: Body::Whole(Bytes::copy_from_slice(body.as_bytes())),
        key: Arc::new(ApiKey::parse("app.key:topsecret").unwrap()),
    }
}

fn specs(answer: &Answer, channels: &[&str]) -> Vec<SpecResult> {
    match batch(answer, channels) {
        Batch::Specs(results) => results,
        other @ (Batch::Whole(_) | Batch::NoEndpoint(_)) => panic!("{other:?}"),
    }
}

const OUTAGE: FailureClass = FailureClass::Outage;

#[test]
fn a_single_success_is_one_that_names_its_channel_and_message() {
    let full =
        answer(201, r#"{"channel":"tenant:a","messageId":"m:0","serials":["s1",null,"s3"]}"#);
    assert_eq!(
        single(&full, "tenant:a"),
        Ok(Accepted {
            message_id: Some("m:0".into()),
            serials: vec![Some("s1".into()), None, Some("s3".into())]
        })
    );
    for (status, body) in [
        (200, r#"{"channel":"tenant:a","messageId":"m"}"#),
        (201, r#"{"serials":["s"]}"#),
        (201, r#"{"messageId":"m","error":null}"#),
        (204, ""),
    ] {
        assert!(single(&answer(status, body), "tenant:a").is_ok(), "{body}");
    }
}

#[test]
fn a_single_answer_that_confirms_nothing_is_sent_again() {
    for (status, body) in [
        (201, r#"{"channel":"tenant:b","messageId":"m"}"#),
        (201, r#"{"channel":7,"messageId":"m"}"#),
        (201, r#"{"channel":"tenant:a"}"#),
        (201, r#"{"channel":"tenant:a","serials":[]}"#),
        (201, r#"{"channel":"tenant:a","messageId":"m""#),
        (201, "{}"),
        (201, "[]"),
        (201, "null"),
        (201, ""),
        (200, "<html>Sign in to the hotel's network</html>"),
        (200, r#"{"error":{"message":"odd"}}"#),
        (302, ""),
    ] {
        let failure = single(&answer(status, body), "tenant:a").unwrap_err();
        assert_eq!((failure.class, failure.status), (OUTAGE, Some(status)), "{body}: {failure}");
    }
}

#[test]
fn an_error_is_read_from_the_body_then_the_headers_then_the_status() {
    let json = r#"{"error":{"code":40160,"statusCode":401,"message":"no\ncapability"}}"#;
    let failure = single(&answer(401, json), "tenant:a").unwrap_err();
    assert_eq!(failure.to_string(), "no capability (HTTP 401, Ably code 40160)");
    assert_eq!(failure.class, FailureClass::Capability);

    let html = Answer {
        header_code: Some(42_922),
        header_message: Some("flood".into()),
        content_type: "text/html".into(),
        retry_after: Some(Duration::from_secs(3)),
        ..answer(429, "<html><h1>Too many</h1></html>")
    };
    let failure = single(&html, "tenant:a").unwrap_err();
    assert_eq!(failure.to_string(), "flood (HTTP 429, Ably code 42922)");
    assert_eq!(failure.class, FailureClass::ThrottledAccount);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));

    let html = Answer { header_code: None, header_message: None, ..html };
    let failure = single(&html, "tenant:a").unwrap_err();
    let text = "the answer is not Ably's (text/html); check ABLY_ENDPOINT (HTTP 429)";
    assert_eq!(
        (failure.class, failure.to_string().as_str()),
        (FailureClass::ThrottledAccount, text)
    );

    let both = Answer { header_code: Some(50_003), ..answer(503, r#"{"error":"late"}"#) };
    assert_eq!(single(&both, "tenant:a").unwrap_err().code, Some(50_003));
    for (status, class) in [(500, OUTAGE), (413, FailureClass::Content)] {
        assert_eq!(single(&answer(status, "{\"err"), "a").unwrap_err().class, class);
    }
}

#[test]
fn a_body_that_did_not_arrive_whole_confirms_nothing_but_its_headers_count() {
    for body in [Body::Broken("connection reset".into()), Body::TooLarge] {
        let ok = Answer { body: body.clone(), ..answer(201, "") };
        let failure = single(&ok, "tenant:a").unwrap_err();
        assert_eq!(failure.class, OUTAGE, "{failure}");
        assert!(
            matches!(batch(&ok, &["tenant:a", "tenant:b"]), Batch::Whole(f) if f.class == OUTAGE)
        );
        let refused = Answer { body, header_code: Some(40_101), ..answer(401, "") };
        let failure = single(&refused, "tenant:a").unwrap_err();
        assert_eq!(failure.class, FailureClass::Configuration, "{failure}");
    }
}

#[test]
fn a_batch_that_went_through_is_read_spec_by_spec() {
    let body = r#"[
        {"successCount":1,"failureCount":0,"results":[{"channel":"a","messageId":"m1","serials":["s"]}]},
        {"successCount":0,"failureCount":1,"results":[{"channel":"b","error":{"code":42913,"statusCode":429,"message":"rate"}}]},
        {"results":[{"channel":"c","messageId":"m3"}]},
        {"results":[{"channel":"x","messageId":"m4"}]},
        {"successCount":0,"failureCount":0,"results":[]},
        {"successCount":2,"failureCount":0,"results":[{"channel":"f","messageId":"m6"}]},
        {"results":[{"channel":"g","messageId":"m7"},{"channel":"g","messageId":"m7"}]},
        {"results":[{"channel":"h","error":"odd"}]},
        {"results":[{"messageId":"m9"}]},
        {"results":{"channel":"j","messageId":"m10"}},
        {"results":[{"channel":"k"}]},
        7
    ]"#;
    let channels = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let results = specs(&answer(201, body), &channels);
    assert_eq!(results[0].as_ref().unwrap().serials, [Some("s".to_owned())]);
    let rate = results[1].as_ref().unwrap_err();
    assert_eq!((rate.class, rate.status), (FailureClass::ThrottledChannel, Some(429)));
    assert_eq!(results[2].as_ref().unwrap().message_id.as_deref(), Some("m3"));
    for (result, channel) in results.iter().zip(channels).skip(3) {
        assert_eq!(result.as_ref().unwrap_err().class, OUTAGE, "{channel}: {result:?}");
    }
}

#[test]
fn a_batch_with_too_few_or_too_many_results_confirms_nothing() {
    let one = r#"{"results":[{"channel":"a","messageId":"m"}]}"#;
    for body in ["[]".to_owned(), format!("[{one}]"), format!("[{one},{one},{one}]")] {
        let results = specs(&answer(201, &body), &["a", "a"]);
        assert_eq!(results.len(), 2);
        assert!(results.iter().all(|r| r.as_ref().is_err_and(|f| f.class == OUTAGE)), "{body}");
    }
}

#[test]
fn the_older_shapes_of_a_batchs_answer_are_read_too() {
    let flat = r#"[{"channel":"a","messageId":"m1"},{"channel":"b","error":{"code":40160,"statusCode":401,"message":"no"}}]"#;
    let wrapped = format!(
        r#"{{"error":{{"code":40020,"statusCode":400,"message":"includes errors"}},"batchResponse":{flat}}}"#
    );
    for (status, body) in [(201, flat.to_owned()), (200, flat.to_owned()), (400, wrapped)] {
        let results = specs(&answer(status, &body), &["a", "b"]);
        assert_eq!(results[0].as_ref().unwrap().message_id.as_deref(), Some("m1"));
        assert_eq!(results[1].as_ref().unwrap_err().class, FailureClass::Capability);
    }
}

#[test]
fn a_batch_may_fail_as_a_whole_or_have_no_endpoint() {
    let error = |code| format!(r#"{{"error":{{"code":{code},"statusCode":401,"message":"x"}}}}"#);
    let whole = |status, body: &str| match batch(&answer(status, body), &["a", "b"]) {
        Batch::Whole(failure) => failure.class,
        other @ (Batch::Specs(_) | Batch::NoEndpoint(_)) => panic!("{other:?}"),
    };
    assert_eq!(whole(401, &error(40_101)), FailureClass::Configuration);
    assert_eq!(whole(404, &error(40_400)), FailureClass::Configuration);
    assert_eq!(whole(400, &error(40_000)), FailureClass::Content);
    assert_eq!(whole(503, "<html>"), OUTAGE);
    assert_eq!(whole(204, ""), OUTAGE);
    assert_eq!(whole(201, r#"{"channel":"a","messageId":"m"}"#), OUTAGE);
    // Results are no results when the status says that the request was refused.
    assert_eq!(whole(401, r#"[{"channel":"a","messageId":"m"},{}]"#), FailureClass::Configuration);
    for status in [404, 405] {
        let stranger = batch(&answer(status, "404 page not found"), &["a", "b"]);
        assert!(matches!(stranger, Batch::NoEndpoint(_)), "{stranger:?}");
    }
}

#[test]
fn the_time_is_one_number() {
    assert_eq!(time(&answer(200, "[1795408783100]")), Ok(1_795_408_783_100));
    for body in ["[]", "[1,2]", "[1.5]", "[\"1\"]", "1", "", "<html>"] {
        assert_eq!(time(&answer(200, body)).unwrap_err().class, OUTAGE, "{body}");
    }
    assert_eq!(time(&answer(503, "[1]")).unwrap_err().status, Some(503));
}

#[test]
fn retry_after_is_seconds_or_a_date_and_bounded() {
    let sent = Some("Mon, 23 Nov 2026 10:00:00 GMT");
    for (text, seconds) in [
        ("0", Some(0)),
        (" 7 ", Some(7)),
        ("86400", Some(60)),
        ("18446744073709551615", Some(60)),
        ("Mon, 23 Nov 2026 10:00:09 GMT", Some(9)),
        ("Mon, 23 Nov 2026 09:00:00 GMT", Some(0)),
        ("Tue, 24 Nov 2026 10:00:00 GMT", Some(60)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(retry_after(text, sent), seconds.map(Duration::from_secs), "{text}");
    }
    let date = "Mon, 23 Nov 2026 10:00:09 GMT";
    assert_eq!(retry_after(date, None), None, "our own clock is not asked");
    assert_eq!(retry_after("7", None), Some(Duration::from_secs(7)));
}

#[test]
fn a_message_is_one_short_line_without_the_secret() {
    let long = "x".repeat(290) + " topsecret " + &"é\\n".repeat(500);
    let body = format!(r#"{{"error":{{"code":40101,"message":"{long}"}}}}"#);
    let failure = single(&answer(401, &body), "a").unwrap_err();
    assert!(failure.message.chars().count() <= 300);
    assert!(!failure.message.contains('\n') && !failure.message.contains("tops"), "{failure}");
    let header = Answer { header_message: Some("for topsecret".into()), ..answer(401, "") };
    assert_eq!(single(&header, "a").unwrap_err().message, "for [redacted]");
    let result = format!(r#"[{{"channel":"a","error":{{"message":"{long}"}}}}]"#);
    let failure = specs(&answer(201, &result), &["a"]).remove(0).unwrap_err();
    assert!(failure.message.chars().count() <= 300 && !failure.message.contains("tops"));
    assert!(!format!("{header:?}").contains("\"topsecret"));
}

/// JSON that is often near to what Ably says.
fn jsonish() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"b\"".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let key = prop_oneof![
            Just("results"),
            Just("channel"),
            Just("messageId"),
            Just("serials"),
            Just("error"),
            Just("successCount"),
            Just("batchResponse"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((key, inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// Whether `value` holds, anywhere, an object that names the channel and has no error.
fn confirms(value: &Value, channel: &str) -> bool {
    match value {
        Value::Object(object) => {
            (object.get("channel").is_some_and(|c| c == channel) && !has_error(object))
                || object.values().any(|v| confirms(v, channel))
        }
        Value::Array(values) => values.iter().any(|v| confirms(v, channel)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_confirm_nothing(
        status in 100_u16..600, bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let answer = Answer { body: Body::Whole(bytes.into()), ..answer(status, "") };
        prop_assert!(status == 204 || single(&answer, "a").is_err());
        if let Batch::Specs(results) = batch(&answer, &["a", "b"]) {
            prop_assert!(results.len() == 2 && results.iter().all(Result::is_err));
        }
        _ = time(&answer);
    }

    #[test]
    fn a_spec_succeeds_only_by_a_result_for_its_channel(
        status in prop_oneof![Just(200_u16), Just(201), Just(400), Just(500)], body in jsonish(),
    ) {
        let answer = answer(status, &body);
        let value: Value = serde_json::from_str(&body).unwrap();
        if let Batch::Specs(results) = batch(&answer, &["a", "b"]) {
            prop_assert_eq!(results.len(), 2);
            for (result, channel) in results.iter().zip(["a", "b"]) {
                prop_assert!(result.is_err() || confirms(&value, channel), "{}", body);
            }
        }
        if single(&answer, "a").is_ok() {
            prop_assert!(status < 300 && (confirms(&value, "a") || value.get("channel").is_none()));
        }
    }
}
