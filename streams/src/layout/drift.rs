//! Comparing settings as the server writes them, so that a setting nobody thought of is seen too.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Drift;

/// What the server fills in by itself, or an operator may choose freely.
const FREE: [&str; 8] = [
    "consumer_limits",
    "description",
    "duplicate_window",
    "mirror_direct",
    "name",
    "pause_until",
    "placement",
    "republish",
];

/// Settings counted in nanoseconds.
const DURATIONS: [&str; 6] =
    ["ack_wait", "max_age", "subject_delete_marker_ttl", "inactive_threshold", "max_expires", "priority_timeout"];

/// Every setting of `found` that is not as in `wanted`.
pub(super) fn of<T: Serialize>(what: &str, wanted: &T, found: &T) -> Vec<Drift> {
    let (wanted, found) = (fields(wanted), fields(found));
    let mut names: Vec<&String> = wanted.keys().chain(found.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut drift = Vec::new();
    for name in names {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        let (want, have) = (wanted.get(name).unwrap_or(&Value::Null), found.get(name).unwrap_or(&Value::Null));
        if name == "metadata" {
            drift.extend(metadata(what, want, have));
        } else if !is_same(want, have) {
            drift.push(Drift {
                of: what.to_owned(),
                setting: name.clone(),
                found: show(name, have),
                wanted: show(name, want),
            });
        }
    }
    drift
}

fn fields<T: Serialize>(config: &T) -> serde_json::Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

/// The server adds keys of its own, and operators may add theirs: only ours are compared.
fn metadata(what: &str, wanted: &Value, found: &Value) -> Vec<Drift> {
    let none = serde_json::Map::new();
    let wanted = wanted.as_object().unwrap_or(&none);
    let differs = wanted.iter().filter(|(key, want)| found.get(key) != Some(want));
    differs
        .map(|(key, want)| Drift {
            of: what.to_owned(),
            setting: format!("metadata {key}"),
            found: found.get(key).map_or_else(|| "absent".to_owned(), plain),
            wanted: plain(want),
        })
        .collect()
}

fn is_same(a: &Value, b: &Value) -> bool {
    a == b || (is_default(a) && is_default(b))
}

/// "Not set", which the server writes in many ways: absent, 0, -1 for no limit, empty, `none`.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => matches!(number.as_i64(), Some(0 | -1)),
        Value::String(text) => text.is_empty() || text == "none" || text == "default",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_default),
    }
}

fn show(name: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(nanos) if DURATIONS.contains(&name) && nanos > 0 => format!("{:?}", Duration::from_nanos(nanos)),
        _ if is_default(value) => "not set".to_owned(),
        _ => plain(value),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of;

    fn lines(wanted: &serde_json::Value, found: &serde_json::Value) -> Vec<String> {
        of("stream TASKS", wanted, found).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_changed_setting_is_named_with_both_values() {
        let wanted = json!({"max_msgs_per_subject": 1, "max_age": 60_000_000_000_u64});
        let found = json!({"max_msgs_per_subject": 5, "max_age": 0});
        assert_eq!(
            lines(&wanted, &found),
            ["stream TASKS: max_age is not set, want 60s", "stream TASKS: max_msgs_per_subject is 5, want 1"]
        );
    }

    #[test]
    fn a_setting_nobody_planned_is_seen() {
        assert_eq!(
            lines(&json!({"name": "TASKS"}), &json!({"name": "TASKS", "persist_mode": "async"})),
            ["stream TASKS: persist_mode is async, want not set"]
        );
    }

    #[test]
    fn ways_to_write_nothing_are_the_same() {
        let wanted = json!({"max_bytes": 0, "sealed": false, "metadata": {"class": "io"}});
        let found = json!({"max_bytes": -1, "compression": "none", "metadata": {"class": "io", "_nats.level": "4"}});
        assert_eq!(lines(&wanted, &found), Vec::<String>::new());
    }

    #[test]
    fn a_threshold_that_was_edited_is_seen() {
        let key = "io.nats.monitor.redelivery-critical";
        assert_eq!(
            lines(&json!({"metadata": {key: "5"}}), &json!({"metadata": {}})),
            ["stream TASKS: metadata io.nats.monitor.redelivery-critical is absent, want 5"]
        );
    }
}
