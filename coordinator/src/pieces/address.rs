//! `s3://bucket/key`.

use std::{fmt, str::FromStr};

use object_store::path::Path;

/// An object by its bucket and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Url {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

/// A text that names no object, with why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoS3Url(String);

/// What every such text begins with.
pub(crate) const SCHEME: &str = "s3://";

/// The longest key that S3 takes.
const KEY_BYTES_MAX: usize = 1024;

impl S3Url {
    /// A place for objects: a bucket, and a prefix that may be empty.
    pub(crate) fn parse_store(text: &str) -> Result<Self, NoS3Url> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| NoS3Url("it does not begin with s3://".to_owned()))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Self::new(bucket, prefix.trim_end_matches('/'))
    }

    fn new(bucket: &str, key: &str) -> Result<Self, NoS3Url> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(fits) {
            let rule = "3 to 63 lower-case letters, digits, dots and hyphens";
            return Err(NoS3Url(format!("\"{bucket}\" is no name of a bucket: {rule}")));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(NoS3Url(format!("its key is longer than {KEY_BYTES_MAX} bytes")));
        }
        if key.starts_with('/') {
            return Err(NoS3Url("its key begins with a slash".to_owned()));
        }
        Path::parse(key).map_err(|error| NoS3Url(format!("its key cannot be used: {error}")))?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl FromStr for S3Url {
    type Err = NoS3Url;

    fn from_str(text: &str) -> Result<Self, NoS3Url> {
        let url = Self::parse_store(text)?;
        if url.key.is_empty() || text.ends_with('/') {
            return Err(NoS3Url("it names no object: s3://<bucket>/<key>".to_owned()));
        }
        Ok(url)
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_printed() {
        for text in ["s3://abc/k", "s3://my.bucket-1/a/b c/d=e+f.car", "s3://abc/données"] {
            assert_eq!(text.parse::<S3Url>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_object_is_refused() {
        let long = format!("s3://abc/{}", "k".repeat(1025));
        for text in
            ["abc/k", "S3://abc/k", "s3:///k", "s3://ab/k", "s3://ABC/k", "s3://abc", "s3://abc/", "s3://abc/k/"]
                .into_iter()
                .chain(["s3://abc//k", "s3://abc/a//b", "s3://abc/../k", "s3://a b/k", long.as_str()])
        {
            assert!(text.parse::<S3Url>().is_err(), "{text}");
        }
    }
}
