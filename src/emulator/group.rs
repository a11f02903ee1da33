//! Ably's rules for what may be published: ids, names, data, extras, sizes, channel names.
//!
//! Where Ably's own reaction is not documented the stricter reading is taken: what passes here must
//! not be refused there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::Refused;
use crate::domain::channel::CHANNEL_BYTES_MAX;

/// Messages in one publish. Ably documents it for a batch's spec and 40034 for a plain publish.
pub(super) const GROUP_MESSAGES_MAX: usize = 1_000;

/// Keys of `extras` that Ably documents; any other is 40032.
const EXTRAS_KEYS: [&str; 4] = ["headers", "push", "ephemeral", "ref"];

/// A message as it is delivered, but for what its publish gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) data: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) client_id: Option<String>,
    /// As it was sent, unparsed.
    pub(super) extras: Option<String>,
}

/// The messages of one publish: all are taken or none.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) messages: Vec<Message>,
    /// What a repetition is recognised by: the id of a single message, the common base of several.
    /// `None` when the client gave no ids.
    pub(super) key: Option<String>,
    /// Size as Ably counts it.
    pub(super) bytes: usize,
    /// Delivered and forgotten: not in history nor replayed.
    pub(super) ephemeral: bool,
}

#[derive(Deserialize)]
struct Wire {
    id: Option<Value>,
    name: Option<Value>,
    data: Option<Box<RawValue>>,
    encoding: Option<String>,
    #[serde(rename = "clientId")]
    client_id: Option<String>,
    extras: Option<Box<RawValue>>,
}

/// A message that has passed every rule but the one about ids.
struct Draft {
    id: Option<String>,
    rest: Message,
    bytes: usize,
    ephemeral: bool,
}

impl Group {
    /// Reads one message object or an array of them. `base` makes the ids of messages without.
    ///
    /// # Errors
    /// Ably's refusal of the first rule that is broken.
    pub(super) fn parse(
        json: &str,
        bytes_max: usize,
        base: impl FnOnce() -> String,
    ) -> Result<Self, Refused> {
        let is_array = json.trim_start().starts_with('[');
        let wires: Vec<Wire> = if is_array {
            serde_json::from_str(json).map_err(|e| unreadable(&e))?
        } else {
            vec![serde_json::from_str(json).map_err(|e| unreadable(&e))?]
        };
        if wires.is_empty() {
            return Err(Refused::bad(40_030, "Nothing to publish: the array is empty"));
        }
        if wires.len() > GROUP_MESSAGES_MAX {
            return Err(Refused::bad(
                40_034,
                format!("Too many messages: {} (the limit is {GROUP_MESSAGES_MAX})", wires.len()),
            ));
        }
        let drafts = wires.into_iter().map(Draft::read).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = drafts.iter().map(|d| d.id.as_deref()).collect();
        let key = key_of(&ids, is_array)?.map(str::to_owned);
        let bytes = drafts.iter().map(|d| d.bytes).sum();
        if bytes > bytes_max {
            return Err(Refused::new(
                413,
                40_009,
                format!(
                    "Maximum message length exceeded (size was {bytes} bytes, limit is {bytes_max} bytes)"
                ),
            ));
        }
        let ephemeral = drafts.iter().filter(|d| d.ephemeral).count();
        if ephemeral != 0 && ephemeral != drafts.len() {
            return Err(Refused::bad(40_032, "Either all messages are ephemeral or none"));
        }
        let base = if key.is_none() { base() } else { String::new() };
        let message = |(index, draft): (usize, Draft)| Message {
            id: draft.id.unwrap_or_else(|| format!("{base}:{index}")),
            ..draft.rest
        };
        let messages = drafts.into_iter().enumerate().map(message).collect();
        Ok(Self { messages, key, bytes, ephemeral: ephemeral != 0 })
    }
}

impl Draft {
    fn read(wire: Wire) -> Result<Self, Refused> {
        let id = match wire.id {
            None => None,
            Some(Value::String(id)) if !id.is_empty() => Some(id),
            Some(_) => {
                return Err(Refused::bad(
                    40_031,
                    "Invalid message id: it must be a non-empty string",
                ));
            }
        };
        let name = match wire.name {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(Refused::bad(40_016, "Invalid message name: not a string")),
        };
        let (data, encoding) = read_data(wire.data.as_deref(), wire.encoding)?;
        let ephemeral = wire.extras.as_deref().map_or(Ok(false), check_extras)?;
        let extras = wire.extras.map(|e| e.get().to_owned());
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = length(&name)
            + data_bytes(data.as_deref(), encoding.as_deref())?
            + length(&wire.client_id)
            + length(&extras);
        let client_id = wire.client_id;
        let rest = Message { id: String::new(), name, data, encoding, client_id, extras };
        Ok(Self { id, rest, bytes, ephemeral })
    }
}

fn unreadable(error: &serde_json::Error) -> Refused {
    Refused::bad(40_001, format!("Invalid request body: {error}"))
}

/// An object or array becomes its own text and `json`, which is how Ably hands it to SSE clients.
fn read_data(
    data: Option<&RawValue>,
    encoding: Option<String>,
) -> Result<(Option<String>, Option<String>), Refused> {
    let Some(raw) = data.map(RawValue::get) else { return Ok((None, encoding)) };
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text = serde_json::from_str(raw).map_err(|e| unreadable(&e))?;
            Ok((Some(text), encoding))
        }
        Some(b'{' | b'[') => {
            let encoding = encoding.map_or_else(|| "json".to_owned(), |e| format!("{e}/json"));
            Ok((Some(raw.to_owned()), Some(encoding)))
        }
        _ => Err(Refused::bad(40_013, "Invalid message data: not a string, object or array")),
    }
}

/// Text counts as it is, binary without its base64.
fn data_bytes(data: Option<&str>, encoding: Option<&str>) -> Result<usize, Refused> {
    let Some(data) = data else { return Ok(0) };
    if encoding.and_then(|e| e.rsplit('/').next()) != Some("base64") {
        return Ok(data.len());
    }
    STANDARD
        .decode(data)
        .map(|bytes| bytes.len())
        .map_err(|_| Refused::bad(40_013, "Invalid message data: not base64, as its encoding says"))
}

/// Whether the message is ephemeral.
fn check_extras(extras: &RawValue) -> Result<bool, Refused> {
    let invalid = |what: &str| Refused::bad(40_032, format!("Invalid extras: {what}"));
    let Ok(Value::Object(extras)) = serde_json::from_str(extras.get()) else {
        return Err(invalid("not an object"));
    };
    if let Some(key) = extras.keys().find(|key| !EXTRAS_KEYS.contains(&key.as_str())) {
        return Err(invalid(&format!("unknown key {key:?}")));
    }
    match extras.get("headers") {
        None => {}
        Some(Value::Object(headers)) => {
            if let Some((name, _)) = headers.iter().find(|(_, v)| v.is_array() || v.is_object()) {
                return Err(invalid(&format!("header {name:?} is not a plain value")));
            }
        }
        Some(_) => return Err(invalid("headers is not an object")),
    }
    Ok(extras.get("ephemeral") == Some(&Value::Bool(true)))
}

/// What a publish is recognised by when it is repeated.
///
/// A single object goes by its whole id. Clients send a lone message as an array too, with an id of
/// their own (`evt`) or as `base:0`. Several messages share a base and are numbered.
fn key_of<'a>(ids: &[Option<&'a str>], is_array: bool) -> Result<Option<&'a str>, Refused> {
    if let [id] = ids {
        return Ok(id.map(|id| if is_array { id.strip_suffix(":0").unwrap_or(id) } else { id }));
    }
    if ids.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut base = None;
    for (index, id) in ids.iter().enumerate() {
        let own = id.and_then(|id| id.strip_suffix(&format!(":{index}")));
        match own {
            Some(own) if !own.is_empty() && base.is_none_or(|base| base == own) => base = Some(own),
            _ => {
                return Err(Refused::bad(
                    40_031,
                    format!(
                        "Invalid message id at index {index}: all messages of a publish need ids <base>:<index> with one base"
                    ),
                ));
            }
        }
    }
    Ok(base)
}

/// # Errors
/// 40010 for a name that Ably does not take.
pub(super) fn check_channel(name: &str) -> Result<(), Refused> {
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.starts_with(['[', ':']) {
        "it must not start with '[' or ':'"
    } else if name.contains(['\n', '\r']) {
        "it contains a line break"
    } else if name.len() > CHANNEL_BYTES_MAX {
        "it is longer than 2047 bytes"
    } else {
        return Ok(());
    };
    Err(Refused::bad(40_010, format!("Invalid channel name: {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Group, u32> {
        Group::parse(json, 65_536, || "base".into()).map_err(|refused| refused.code)
    }

    fn key(json: &str) -> Result<Option<String>, u32> {
        parse(json).map(|group| group.key)
    }

    #[test]
    fn ids_follow_ablys_rules() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(key("{}"), Ok(None));
        assert_eq!(key(r#"{"id":"evt"}"#), some("evt"));
        assert_eq!(key(r#"{"id":"evt:0"}"#), some("evt:0"));
        assert_eq!(key(r#"[{"id":"evt"}]"#), some("evt"));
        assert_eq!(key(r#"[{"id":"evt:0"}]"#), some("evt"));
        assert_eq!(key(r#"[{"id":"b:0"},{"id":"b:1"}]"#), some("b"));
        assert_eq!(key(r#"[{"id":"a:b:0"},{"id":"a:b:1"}]"#), some("a:b"));
        assert_eq!(key("[{},{}]"), Ok(None));
        for bad in [
            r#"{"id":""}"#,
            r#"{"id":7}"#,
            r#"[{"id":"a"},{"id":"b"}]"#,
            r#"[{"id":"a:0"},{"id":"b:1"}]"#,
            r#"[{"id":"a:1"},{"id":"a:0"}]"#,
            r#"[{"id":"a:0"},{}]"#,
            r#"[{},{"id":"a:1"}]"#,
            r#"[{"id":":0"},{"id":":1"}]"#,
            r#"[{"id":"a:0"},{"id":"a:01"}]"#,
        ] {
            assert_eq!(key(bad), Err(40_031), "{bad}");
        }
    }

    #[test]
    fn messages_without_ids_get_numbered_ones() {
        let group = parse("[{},{}]").unwrap();
        let ids: Vec<_> = group.messages.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["base:0", "base:1"]);
    }

    #[test]
    fn each_broken_rule_has_its_code() {
        for (json, code) in [
            ("", 40_001),
            ("{", 40_001),
            ("7", 40_001),
            (r#"{"encoding":7}"#, 40_001),
            ("[]", 40_030),
            (r#"{"name":7}"#, 40_016),
            (r#"{"data":7}"#, 40_013),
            (r#"{"data":true}"#, 40_013),
            (r#"{"data":"~","encoding":"base64"}"#, 40_013),
            (r#"{"extras":7}"#, 40_032),
            (r#"{"extras":{"other":1}}"#, 40_032),
            (r#"{"extras":{"headers":[]}}"#, 40_032),
            (r#"{"extras":{"headers":{"a":[1]}}}"#, 40_032),
            (r#"[{"extras":{"ephemeral":true}},{}]"#, 40_032),
        ] {
            assert_eq!(parse(json).map(|_| ()), Err(code), "{json}");
        }
        assert_eq!(parse(&format!("[{}]", vec!["{}"; 1_001].join(","))).map(|_| ()), Err(40_034));
        assert!(parse(&format!("[{}]", vec!["{}"; 1_000].join(","))).is_ok());
        assert!(parse(r#"{"name":null,"data":null,"extras":{"headers":{"a":null}}}"#).is_ok());
    }

    #[test]
    fn the_size_is_counted_in_bytes_of_name_data_client_and_extras_over_all_messages() {
        let size = |json: &str| parse(json).unwrap().bytes;
        assert_eq!(size(r#"{"id":"free","name":"é","data":"ab","encoding":"x"}"#), 4);
        assert_eq!(size(r#"{"clientId":"me","extras":{"headers":{}}}"#), 2 + 14);
        assert_eq!(size(r#"[{"data":{"a":1}},{"data":"12"}]"#), 9);
        assert_eq!(size(r#"{"data":"AAAA","encoding":"base64"}"#), 3);
        let of = |n: usize| format!(r#"{{"data":"{}"}}"#, "x".repeat(n));
        assert!(parse(&of(65_536)).is_ok());
        let refused = Group::parse(&of(65_537), 65_536, String::new).unwrap_err();
        assert_eq!((refused.status, refused.code), (413, 40_009));
        assert!(refused.message.contains("65537 bytes, limit is 65536 bytes"));
    }

    #[test]
    fn objects_become_their_own_text_to_the_digit() {
        let group = parse(r#"{"data":{"n": 12345678901234567890123}}"#).unwrap();
        let message = &group.messages[0];
        assert_eq!(message.data.as_deref(), Some(r#"{"n": 12345678901234567890123}"#));
        assert_eq!(message.encoding.as_deref(), Some("json"));
    }

    #[test]
    fn channel_names_that_ably_refuses_are_refused() {
        for bad in ["", "[x]y", ":x", "a\nb", &"x".repeat(2_048)] {
            assert_eq!(check_channel(bad).map_err(|r| r.code), Err(40_010), "{bad:?}");
        }
        for good in ["a", "tenant:a/b é", "a[", &"x".repeat(2_047)] {
            assert_eq!(check_channel(good), Ok(()), "{good:?}");
        }
    }
}
