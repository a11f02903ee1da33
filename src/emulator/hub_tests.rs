//! The channels without sockets or clock.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::emulator::attach::{Attached, Start};
use crate::emulator::history::HistoryQuery;
use crate::emulator::mailbox::{Inbox, mailbox};

const T0: u64 = 1_795_408_783_100;

fn channels(config: &EmulatorConfig) -> Channels {
    Channels::new(Limits::from(config), "series".into())
}

fn group(json: &str) -> Group {
    Group::parse(json, 65_536, || "made".into()).unwrap()
}

fn put(channels: &mut Channels, id: &str, now_ms: u64) -> Result<Published, u32> {
    let json = format!(r#"{{"id":"{id}","data":"{id}"}}"#);
    channels.publish("c", &group(&json), None, now_ms).map_err(|refused| refused.code)
}

fn attach(channels: &mut Channels, start: Start<'_>, now_ms: u64) -> (Attached, Inbox) {
    let (mailbox, inbox) = mailbox(1 << 20, CancellationToken::new(), None);
    (channels.subscribe("c", mailbox, start, now_ms).unwrap(), inbox)
}

fn ids(attached: &Attached) -> Vec<String> {
    let unseen = attached.backlog.iter().flat_map(|r| r.frame.messages.iter().skip(r.skip));
    unseen.map(|m| m.id.clone()).collect()
}

#[test]
fn a_repeated_id_is_answered_as_the_first_and_delivers_nothing() {
    let mut channels = channels(&EmulatorConfig::default());
    let first = put(&mut channels, "a", T0).unwrap();
    let again = put(&mut channels, "a", T0 + 119_999).unwrap();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!(again.first, first.first);
    assert_eq!((channels.accepted, channels.duplicates), (1, 1));
    let later = put(&mut channels, "a", T0 + 120_000).unwrap();
    assert!(!later.duplicate, "the window is over");
    let other = channels.publish("other", &group(r#"{"id":"a"}"#), None, T0 + 120_000).unwrap();
    assert!(!other.duplicate, "each channel has its own ids");
}

#[test]
fn a_group_is_one_unit_for_dedup_and_rate() {
    let config = EmulatorConfig { channel_rate_per_second: 2, ..EmulatorConfig::default() };
    let mut channels = channels(&config);
    let one = group(r#"[{"id":"g:0","data":"1"},{"id":"g:1","data":"2"}]"#);
    let regrouped = group(r#"[{"id":"g:0","data":"1"},{"id":"g:1"},{"id":"g:2"}]"#);
    assert_eq!(channels.publish("c", &one, None, T0).unwrap().first.count, 2);
    let again = channels.publish("c", &regrouped, None, T0).unwrap();
    assert!(again.duplicate, "the base is the key, whatever the group holds");
    assert_eq!(again.first.count, 2);
    let refused = channels.publish("c", &one, None, T0).unwrap_err();
    assert_eq!((refused.status, refused.code), (429, 42_913));
    assert!(channels.publish("d", &one, None, T0).is_ok(), "other channels go on");
    assert!(channels.publish("c", &one, None, T0 + 500).is_ok());
}

#[test]
fn a_channel_takes_1_mib_a_second() {
    let mut channels = channels(&EmulatorConfig::default());
    let large = group(&format!(r#"{{"data":"{}"}}"#, "x".repeat(65_536)));
    for _ in 0..16 {
        channels.publish("c", &large, None, T0).unwrap();
    }
    assert_eq!(channels.publish("c", &large, None, T0).unwrap_err().code, 42_914);
}

#[test]
fn remembered_ids_and_channels_are_bounded_and_make_room_again() {
    let mut channels = channels(&EmulatorConfig {
        remembered_ids_max: 2,
        channels_max: 2,
        ..EmulatorConfig::default()
    });
    put(&mut channels, "a", T0).unwrap();
    channels.publish("d", &group(r#"{"id":"a"}"#), None, T0).unwrap();
    assert_eq!(put(&mut channels, "b", T0), Err(50_004));
    assert!(put(&mut channels, "a", T0).unwrap().duplicate, "never forgotten early");
    assert_eq!(channels.publish("e", &group("{}"), None, T0).unwrap_err().code, 40_114);
    channels.sweep(T0 + 120_001);
    assert_eq!(channels.len(), 0);
    assert!(put(&mut channels, "b", T0 + 120_001).is_ok());
}

#[test]
fn a_position_is_resumed_exactly_where_it_was() {
    let mut channels = channels(&EmulatorConfig::default());
    let (attached, _inbox) = attach(&mut channels, Start::Now, T0);
    assert!(!attached.resumed);
    put(&mut channels, "a", T0).unwrap();
    channels.publish("c", &group(r#"[{"id":"g:0"},{"id":"g:1"},{"id":"g:2"}]"#), None, T0).unwrap();
    put(&mut channels, "b", T0 + 5).unwrap();
    let (from_start, _inbox) = attach(&mut channels, Start::After(&attached.position), T0 + 6);
    assert!(from_start.resumed);
    assert_eq!(ids(&from_start), ["a", "g:0", "g:1", "g:2", "b"]);
    assert_eq!(from_start.position, attached.position, "cut off again, it would miss nothing");
    let inside = from_start.backlog[1].frame.message_serial(1);
    let (inside, _inbox) = attach(&mut channels, Start::After(&inside), T0 + 6);
    assert_eq!(ids(&inside), ["g:2", "b"]);
    assert!(inside.position < from_start.backlog[1].frame.channel_serial());
    let after_group = from_start.backlog[1].frame.channel_serial();
    let (after_group, _inbox) = attach(&mut channels, Start::After(&after_group), T0 + 6);
    assert_eq!(ids(&after_group), ["b"]);
}

#[test]
fn a_position_that_cannot_be_continued_is_not_resumed() {
    let config = EmulatorConfig { retained_messages_max: 2, ..EmulatorConfig::default() };
    let mut channels = channels(&config);
    let (attached, _inbox) = attach(&mut channels, Start::Now, T0);
    let start = attached.position;
    put(&mut channels, "a", T0).unwrap();
    put(&mut channels, "b", T0).unwrap();
    assert!(attach(&mut channels, Start::After(&start), T0).0.resumed);
    assert!(!attach(&mut channels, Start::After(&start), T0 + 120_001).0.resumed, "too old");
    put(&mut channels, "c", T0).unwrap();
    assert!(!attach(&mut channels, Start::After(&start), T0).0.resumed, "evicted");
    let foreign = start.replace("series", "another");
    assert!(!attach(&mut channels, Start::After(&foreign), T0).0.resumed);
    assert!(!attach(&mut channels, Start::After("nonsense"), T0).0.resumed);
}

#[test]
fn a_channel_that_was_swept_does_not_pretend_continuity() {
    let mut channels = channels(&EmulatorConfig::default());
    put(&mut channels, "a", T0).unwrap();
    let before_a = Serial::START.in_series("series");
    channels.sweep(T0 + 130_000);
    assert_eq!(channels.len(), 0);
    let (attached, _inbox) = attach(&mut channels, Start::After(&before_a), T0 + 130_000);
    assert!(!attached.resumed);
}

#[test]
fn rewind_counts_messages_or_time() {
    let mut channels = channels(&EmulatorConfig::default());
    channels.publish("c", &group(r#"[{"id":"g:0"},{"id":"g:1"}]"#), None, T0).unwrap();
    put(&mut channels, "a", T0 + 10_000).unwrap();
    let ephemeral = group(r#"{"id":"e","extras":{"ephemeral":true}}"#);
    channels.publish("c", &ephemeral, None, T0 + 10_000).unwrap();
    for (text, expected) in
        [("2", &["g:1", "a"][..]), ("5s", &["a"]), ("1m", &["g:0", "g:1", "a"]), ("0", &[])]
    {
        let (attached, _inbox) = attach(&mut channels, Start::rewind(text).unwrap(), T0 + 12_000);
        assert_eq!(ids(&attached), expected, "{text}");
        assert!(!attached.resumed);
    }
    assert!(Start::rewind("x").is_err());
}

#[test]
fn history_has_pages_in_both_directions() {
    let mut channels = channels(&EmulatorConfig::default());
    channels.publish("c", &group(r#"[{"id":"g:0"},{"id":"g:1"}]"#), None, T0).unwrap();
    for (index, id) in ["a", "b", "d"].iter().enumerate() {
        put(&mut channels, id, T0 + 10 * (1 + index as u64)).unwrap();
    }
    let page = |query: &str| {
        let pairs = query.split('&').filter_map(|p| p.split_once('='));
        let params = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let query = HistoryQuery::parse(&params).unwrap();
        let page = channels.history("c", &query, T0 + 100);
        let ids: Vec<_> =
            page.items.iter().map(|(f, index)| f.messages[*index].id.clone()).collect();
        (ids, query.links(&page, "messages"))
    };
    let walk = |query: &str| {
        let (mut all, mut query) = (Vec::new(), query.to_owned());
        loop {
            let (ids, links) = page(&query);
            all.push(ids.join(","));
            let next = links.split(", ").find(|l| l.contains("rel=\"next\""));
            let Some(next) = next else { return all.join(" ") };
            let from = next.find('?').unwrap() + 1;
            query = next[from..next.find('>').unwrap()].to_owned();
        }
    };
    assert_eq!(walk(""), "d,b,a,g:1,g:0");
    assert_eq!(walk("limit=2"), "d,b a,g:1 g:0");
    assert_eq!(walk("limit=1&direction=forwards"), "g:0 g:1 a b d");
    assert_eq!(walk(&format!("start={}&end={}", T0 + 10, T0 + 20)), "b,a");
    for bad in [("limit", "0"), ("limit", "1001"), ("direction", "up"), ("start", "x")] {
        let params = [(bad.0.to_owned(), bad.1.to_owned())].into();
        assert_eq!(HistoryQuery::parse(&params).unwrap_err().code, 40_003);
    }
}

#[tokio::test]
async fn every_subscriber_sees_one_order_and_a_slow_one_is_cut_off_alone() {
    let mut channels =
        channels(&EmulatorConfig { channel_rate_per_second: 0, ..EmulatorConfig::default() });
    let (_attached, mut inbox) = attach(&mut channels, Start::Now, T0);
    let cut = CancellationToken::new();
    let (slow, _slow_inbox) = mailbox(5_000, cut.clone(), None);
    channels.subscribe("c", slow, Start::Now, T0).unwrap();
    for index in 0..20 {
        put(&mut channels, &index.to_string(), T0).unwrap();
    }
    assert!(cut.is_cancelled());
    assert_eq!(channels.slow_disconnected, 1);
    for index in 0..20 {
        let next = tokio::time::timeout(Duration::from_secs(1), inbox.next()).await.unwrap();
        assert_eq!(next.unwrap().frame.messages[0].id, index.to_string());
    }
}

#[test]
fn memory_is_bounded_over_all_channels() {
    let mut channels = channels(&EmulatorConfig {
        channel_rate_per_second: 0,
        retained_bytes_max: 100_000,
        ..EmulatorConfig::default()
    });
    for index in 0..1_000 {
        let name = format!("c{}", index % 7);
        channels.publish(&name, &group(r#"{"data":"xxxxxxxxxx"}"#), None, T0).unwrap();
    }
    let held: usize =
        (0..7).map(|i| channels.existing(&format!("c{i}")).unwrap().history.len()).sum();
    assert_eq!(held, channels.ring.len());
    assert!(channels.ring_bytes <= 100_000 && channels.ring.len() > 50);
}

#[test]
fn what_history_no_longer_reaches_is_not_kept_in_memory() {
    let mut channels = channels(&EmulatorConfig::default());
    for n in 0..1_000_u64 {
        put(&mut channels, &n.to_string(), T0 + n * 1_000).unwrap();
    }
    assert_eq!(channels.ring.len(), 121, "one a second for two minutes");
    channels.sweep(T0 + 2_000_000);
    assert_eq!((channels.ring.len(), channels.ring_messages, channels.ring_bytes), (0, 0, 0));
}
