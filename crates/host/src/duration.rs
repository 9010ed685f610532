//! Durations as people write them, `90s` or `1h 30m`: `#[serde(with = "host::duration")]`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// Writes `1h 30m`.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Reads `90s`, `1h 30m`, `250ms`. A bare number is refused, since nobody can tell its unit.
///
/// # Errors
///
/// Text that is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| D::Error::custom(format!("duration {text:?}: {error}")))
}

/// The same for `Option<Duration>`: `#[serde(with = "host::duration::option", default)]`.
pub mod option {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Writes the duration, or nothing.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration, or nothing.
    ///
    /// # Errors
    ///
    /// Text that is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| {
                humantime::parse_duration(&text)
                    .map_err(|error| D::Error::custom(format!("duration {text:?}: {error}")))
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Waits {
        #[serde(with = "crate::duration")]
        beat: Duration,
        #[serde(with = "crate::duration::option", default)]
        total: Option<Duration>,
    }

    #[test]
    fn durations_are_words() {
        let waits = Waits { beat: Duration::from_millis(90_250), total: None };
        assert_eq!(serde_json::to_string(&waits).unwrap(), r#"{"beat":"1m 30s 250ms","total":null}"#);
        assert_eq!(serde_json::from_str::<Waits>(r#"{"beat":"1m 30s 250ms"}"#).unwrap(), waits);
        let waits = serde_json::from_str::<Waits>(r#"{"beat":"15s","total":"1h"}"#).unwrap();
        assert_eq!(waits.total, Some(Duration::from_secs(3_600)));
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        let error = serde_json::from_str::<Waits>(r#"{"beat":"15"}"#).unwrap_err().to_string();
        assert!(error.starts_with("duration \"15\": "), "{error}");
        assert!(serde_json::from_str::<Waits>(r#"{"beat":15}"#).is_err());
    }
}
