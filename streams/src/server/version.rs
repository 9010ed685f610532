//! Which server versions do not lose data.

use std::{fmt, str::FromStr};

/// A released or pre-released server version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    pre: Option<String>,
}

/// A version that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooOld {
    /// It lacks fixes for lost data.
    #[error("version {found} lacks fixes for lost data, {floor} is the oldest good one of its line")]
    BelowFloor {
        /// What it is.
        found: String,
        /// What it must be.
        floor: &'static str,
    },
    /// It cannot be read.
    #[error("version \"{found}\" cannot be read")]
    Unreadable {
        /// What it says.
        found: String,
    },
}

/// The oldest good release of each line that has one: anything older lacks fixes for lost data.
const FLOORS: [(u64, u64, u64, &str); 3] = [(2, 12, 15, "2.12.15"), (2, 14, 5, "2.14.5"), (2, 15, 1, "2.15.1")];

impl FromStr for Version {
    type Err = TooOld;

    fn from_str(text: &str) -> Result<Self, TooOld> {
        let unreadable = || TooOld::Unreadable { found: text.to_owned() };
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (numbers, pre) = match bare.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre.to_owned())),
            None => (bare, None),
        };
        let mut parts = numbers.split('.').map(str::parse::<u64>);
        let mut part = || parts.next().and_then(Result::ok).ok_or_else(unreadable);
        let version = Self { major: part()?, minor: part()?, patch: part()?, pre };
        if parts.next().is_some() { Err(unreadable()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match &self.pre {
            Some(pre) => write!(f, "-{pre}"),
            None => Ok(()),
        }
    }
}

impl Version {
    fn reaches(&self, major: u64, minor: u64, patch: u64) -> bool {
        let (have, want) = ((self.major, self.minor, self.patch), (major, minor, patch));
        have > want || (have == want && self.pre.is_none())
    }
}

/// Accepts a version that has the fixes for lost data.
pub fn check_version(text: &str) -> Result<Version, TooOld> {
    let version: Version = text.parse()?;
    let floor = FLOORS.iter().find(|(major, minor, ..)| (*major, *minor) >= (version.major, version.minor));
    match floor {
        // A line without a floor of its own (2.13) has no good release: it must move up to the next line's.
        Some(&(major, minor, patch, floor)) if !version.reaches(major, minor, patch) => {
            Err(TooOld::BelowFloor { found: version.to_string(), floor })
        }
        _ => Ok(version),
    }
}

#[cfg(test)]
mod tests {
    use super::check_version;

    #[test]
    fn versions_that_lose_data_are_refused() {
        for bad in [
            "2.9.10",
            "2.11.9",
            "2.12.14",
            "2.13.0",
            "2.14.4",
            "2.15.0",
            "2.15.1-RC.2",
            "1.4.1",
            "",
            "2.15",
            "two",
            "2.15.1.4",
        ] {
            assert!(check_version(bad).is_err(), "{bad} should be refused");
        }
    }

    #[test]
    fn versions_with_the_fixes_are_accepted() {
        for good in ["2.12.15", "2.12.30", "2.14.5", "2.14.9", "2.15.1", "v2.15.1", "2.15.2-RC.1", "2.16.0", "3.0.0"] {
            assert!(check_version(good).is_ok(), "{good} should be accepted");
        }
    }

    #[test]
    fn a_refusal_names_both_versions() {
        let error = check_version("2.14.4").unwrap_err().to_string();
        assert!(error.contains("2.14.4") && error.contains("2.14.5"), "{error}");
    }
}
