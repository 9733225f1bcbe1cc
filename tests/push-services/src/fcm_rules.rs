//! What the service demands of a `messages:send` body.

use std::collections::BTreeMap;

use serde_json::Value;

/// The longest payload, in bytes: keys and values together.
const PAYLOAD_LIMIT: usize = 4096;

/// A message whose form is right.
pub(crate) struct Message {
    pub(crate) device: String,
    pub(crate) data: BTreeMap<String, String>,
    pub(crate) priority: Option<String>,
    pub(crate) ttl: Option<String>,
    pub(crate) package: Option<String>,
    pub(crate) has_notification: bool,
}

/// Which field is wrong, and why.
pub(crate) type Violation = (&'static str, &'static str);

/// Reads and checks a body.
pub(crate) fn read(body: &[u8]) -> Result<Message, Violation> {
    let body: Value = serde_json::from_slice(body).map_err(|_| ("", "Invalid JSON payload received."))?;
    let message = body.get("message").and_then(Value::as_object).ok_or(("message", "is required"))?;
    let known = [
        "name",
        "token",
        "fid",
        "topic",
        "condition",
        "data",
        "notification",
        "android",
        "apns",
        "webpush",
        "fcm_options",
    ];
    if message.keys().any(|key| !known.contains(&key.as_str())) {
        return Err(("message", "Unknown name: Cannot find field."));
    }
    let targets = ["token", "fid", "topic", "condition"];
    let mut given = targets.iter().filter_map(|name| message.get(*name));
    let (Some(target), None) = (given.next(), given.next()) else {
        return Err(("message", "Recipient of the message is not set, or more than one is."));
    };
    let device = target.as_str().filter(|text| !text.is_empty());
    let device = device.ok_or(("message.token", "is not a registration token"))?.to_owned();

    let mut data = BTreeMap::new();
    let mut size = 0;
    if let Some(fields) = message.get("data") {
        for (key, value) in fields.as_object().ok_or(("message.data", "is not an object"))? {
            let reserved = ["from", "message_type"].contains(&key.as_str())
                || key.starts_with("google")
                || key.starts_with("gcm");
            if key.is_empty() || reserved {
                return Err(("message.data", "Invalid data payload key"));
            }
            let value = value.as_str().ok_or(("message.data", "a value is not a string"))?;
            size += key.len() + value.len();
            data.insert(key.clone(), value.to_owned());
        }
    }
    if size > PAYLOAD_LIMIT {
        return Err(("message", "Message too big"));
    }

    let android =
        message.get("android").map(|value| value.as_object().ok_or(("message.android", "is not an object")));
    let android = android.transpose()?;
    let text = |name: &str| android.and_then(|fields| fields.get(name));
    let priority = match text("priority") {
        None => None,
        Some(value) => match value.as_str() {
            Some(level) if ["HIGH", "NORMAL", "high", "normal"].contains(&level) => Some(level.to_owned()),
            Some(_) | None => return Err(("message.android.priority", "is neither HIGH nor NORMAL")),
        },
    };
    let ttl = match text("ttl") {
        None => None,
        Some(value) => match value.as_str() {
            Some(span) if is_duration(span) => Some(span.to_owned()),
            Some(_) | None => return Err(("message.android.ttl", "Illegal duration format")),
        },
    };
    let package = text("restricted_package_name").and_then(Value::as_str).map(str::to_owned);
    let has_notification = message.contains_key("notification")
        || android.is_some_and(|fields| fields.contains_key("notification"));
    Ok(Message { device, data, priority, ttl, package, has_notification })
}

/// protobuf JSON `Duration`: seconds with up to nine fractional digits and an `s`.
fn is_duration(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && fraction.len() <= 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> &'static str {
        read(body.as_bytes()).err().map_or("accepted", |(field, _)| field)
    }

    #[test]
    fn bodies_are_graded_field_by_field() {
        let cases = [
            (
                r#"{"message":{"token":"t","data":{"a":"1"},"android":{"priority":"HIGH","ttl":"0s"}}}"#,
                "accepted",
            ),
            (r#"{"message":{"fid":"f","data":{"a":"1"},"android":{"ttl":"3.5s"}}}"#, "accepted"),
            (r#"{"message":{"token":"t","data":{"a":1}}}"#, "message.data"),
            (r#"{"message":{"token":"t","data":{"from":"x"}}}"#, "message.data"),
            (r#"{"message":{"token":"t","data":{"gcm.x":"x"}}}"#, "message.data"),
            (r#"{"message":{"token":"t","data":{"googleplay":"x"}}}"#, "message.data"),
            (r#"{"message":{"token":"t","android":{"priority":10}}}"#, "message.android.priority"),
            (r#"{"message":{"token":"t","android":{"ttl":"20"}}}"#, "message.android.ttl"),
            (r#"{"message":{"token":"t","android":{"ttl":20}}}"#, "message.android.ttl"),
            (r#"{"message":{"data":{}}}"#, "message"),
            (r#"{"message":{"token":"t","fid":"f"}}"#, "message"),
            (r#"{"message":{"token":""}}"#, "message.token"),
            (r#"{"message":{"token":"t","priority":"HIGH"}}"#, "message"),
            (r#"{}"#, "message"),
        ];
        for (body, field) in cases {
            assert_eq!(refused(body), field, "{body}");
        }
        let big = format!(r#"{{"message":{{"token":"t","data":{{"e":"{}"}}}}}}"#, "x".repeat(4096));
        assert_eq!(refused(&big), "message");
    }
}
