//! How a store is: what decides whether anything is put there. Pure.

use std::{fmt, io};

use streams::id::StoreId;

use super::StoreError;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It can be worked with.
    Ok,
    /// Its path leads to no store, or to another one.
    Missing { expected: StoreId, found: Option<StoreId> },
    /// Its file system takes no writes.
    ReadOnly,
    /// Nothing more fits.
    Full,
    /// It did not answer in time.
    Hanging { for_s: u64 },
    /// Its disk, or a file of ours on it, has an error.
    Failing { why: String },
}

impl Condition {
    /// One word, for tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing { .. } => "missing",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
            Self::Hanging { .. } => "hanging",
            Self::Failing { .. } => "failing",
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        *self == Self::Ok
    }

    /// Whether what it holds can be read.
    pub(crate) const fn can_be_read(&self) -> bool {
        matches!(self, Self::Ok | Self::ReadOnly | Self::Full)
    }

    /// Whether a look at the store shows this again. What only a write shows is believed for a while without one.
    pub(crate) const fn is_seen_by_looking(&self) -> bool {
        matches!(self, Self::Ok | Self::Missing { .. } | Self::ReadOnly)
    }

    /// What an error says of the store it came from; nothing when it is about one sector.
    pub(crate) fn told_by(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::Away { store, found, .. } => Some(Self::Missing { expected: *store, found: *found }),
            StoreError::Silent { limit, .. } => Some(Self::Hanging { for_s: limit.as_secs() }),
            StoreError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Self::Full),
                io::ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
                _ => Some(Self::Failing { why: format!("{error}: {source}") }),
            },
            StoreError::NotInitialised { .. }
            | StoreError::AlreadyInitialised { .. }
            | StoreError::Foreign { .. }
            | StoreError::NotPersistent { .. }
            | StoreError::Twice { .. }
            | StoreError::SectorMissing { .. }
            | StoreError::Incomplete { .. }
            | StoreError::Differs { .. }
            | StoreError::Source { .. }
            | StoreError::Locked { .. }
            | StoreError::Interrupted
            | StoreError::Text { .. } => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("it can be worked with"),
            Self::Missing { expected, found: None } => {
                write!(f, "no store is mounted there, and {expected} is expected")
            }
            Self::Missing { expected, found: Some(found) } => {
                write!(f, "store {found} is mounted there, and {expected} is expected")
            }
            Self::ReadOnly => f.write_str("its file system is mounted read-only"),
            Self::Full => f.write_str("its file system has no room"),
            Self::Hanging { for_s } => write!(f, "it has not answered for {for_s} s"),
            Self::Failing { why } => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn errors_of_the_disk_have_names_and_those_of_a_sector_blame_no_store() {
        let of = |kind: io::ErrorKind| Condition::told_by(&StoreError::io("write", Path::new("/s"))(kind.into()));
        let name = |kind| of(kind).unwrap().name();
        assert_eq!(name(io::ErrorKind::StorageFull), "full");
        assert_eq!(name(io::ErrorKind::QuotaExceeded), "full");
        assert_eq!(name(io::ErrorKind::ReadOnlyFilesystem), "read-only");
        assert_eq!(name(io::ErrorKind::Other), "failing");
        assert_eq!(Condition::told_by(&StoreError::Locked { path: "/s".into() }), None);
    }

    #[test]
    fn a_missing_store_is_told_with_both_names() {
        let [expected, found] = [1, 2].map(|n| StoreId(uuid::Uuid::from_u128(n)));
        let words = Condition::Missing { expected, found: Some(found) }.to_string();
        assert!(words.contains(&expected.to_string()) && words.contains(&found.to_string()), "{words}");
    }
}
