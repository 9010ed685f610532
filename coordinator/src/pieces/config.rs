//! Where pieces and unsealed data are kept: in the data folder, or in a bucket.

use std::fmt;

use host::exit::{CliError, Exit};
use serde::{Deserialize, Serialize};

use super::address::S3Url;

/// Where AWS itself keeps what names no region.
const REGION: &str = "us-east-1";

/// `[pieces]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PiecesSection {
    /// `s3://bucket/prefix`; the data folder when absent.
    pub(crate) store: Option<String>,
    /// The base URL of the S3 service; that of AWS when absent.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: String,
    /// `AWS_ACCESS_KEY_ID` when absent.
    pub(crate) access_key_id: Option<Secret>,
    /// `AWS_SECRET_ACCESS_KEY` when absent.
    pub(crate) secret_access_key: Option<Secret>,
}

impl Default for PiecesSection {
    fn default() -> Self {
        Self { store: None, endpoint: None, region: REGION.to_owned(), access_key_id: None, secret_access_key: None }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A bucket, with what it takes to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BucketSettings {
    pub(super) bucket: String,
    /// What stands before every key of ours; may be empty.
    pub(super) prefix: String,
    /// Absent for AWS itself.
    pub(super) endpoint: Option<String>,
    pub(super) region: String,
    pub(super) access_key_id: Secret,
    pub(super) secret_access_key: Secret,
    /// Goes with keys that were lent for a time.
    pub(super) session_token: Option<Secret>,
}

impl PiecesSection {
    /// Complains about what cannot be meant; credentials are not looked for.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let wrong = |message: String| CliError::new(Exit::Config, message);
        let Some(store) = &self.store else {
            if let Some(endpoint) = &self.endpoint {
                return Err(wrong(format!("pieces.endpoint = \"{endpoint}\", and pieces.store names no bucket"))
                    .hint("set pieces.store to s3://<bucket>/<prefix>, or remove pieces.endpoint"));
            }
            return Ok(());
        };
        S3Url::parse_store(store).map_err(|why| {
            wrong(format!("pieces.store = \"{store}\": {why}"))
                .hint("use s3://<bucket>/<prefix>; without pieces.store, pieces are kept in the data folder")
        })?;
        if let Some(endpoint) = &self.endpoint {
            let is_url = reqwest::Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none());
            if !is_url {
                return Err(wrong(format!("pieces.endpoint = \"{endpoint}\" is no http or https URL"))
                    .hint("for example https://s3.example.net or http://10.0.0.5:9000"));
            }
        }
        if self.region.is_empty() {
            return Err(wrong("pieces.region is empty".to_owned()).hint("most services other than AWS take any"));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(wrong("pieces.access_key_id and pieces.secret_access_key go together".to_owned())
                .hint("set both, or neither and use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        Ok(())
    }

    /// The bucket, if one is named. Keys that the configuration does not say are asked of `environment`.
    pub(super) fn bucket(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<BucketSettings>, CliError> {
        self.check()?;
        let Some(S3Url { bucket, key: prefix }) = self.store.as_deref().and_then(|s| S3Url::parse_store(s).ok()) else {
            return Ok(None);
        };
        let said = |variable: &str| environment(variable).filter(|value| !value.is_empty()).map(Secret);
        let (key, session_token) = match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => (Some((id.clone(), secret.clone())), None),
            _ => (said("AWS_ACCESS_KEY_ID").zip(said("AWS_SECRET_ACCESS_KEY")), said("AWS_SESSION_TOKEN")),
        };
        let (access_key_id, secret_access_key) = key.ok_or_else(|| {
            let store = self.store.as_deref().unwrap_or_default();
            CliError::new(Exit::Config, format!("pieces.store = \"{store}\", and there are no credentials for it"))
                .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the two keys of [pieces]")
        })?;
        let (endpoint, region) = (self.endpoint.clone(), self.region.clone());
        let endpoint = endpoint.map(|url| url.trim_end_matches('/').to_owned());
        Ok(Some(BucketSettings { bucket, prefix, endpoint, region, access_key_id, secret_access_key, session_token }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(store: &str) -> PiecesSection {
        PiecesSection { store: Some(store.to_owned()), ..PiecesSection::default() }
    }

    fn environment(variable: &str) -> Option<String> {
        match variable {
            "AWS_ACCESS_KEY_ID" => Some("id-of-env".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("CANARY-of-env".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn the_data_folder_needs_nothing() {
        assert_eq!(PiecesSection::default().bucket(|_| None).unwrap(), None);
    }

    #[test]
    fn keys_come_from_the_configuration_else_from_the_environment() {
        let found = section("s3://pieces/of/a/miner/").bucket(environment).unwrap().unwrap();
        assert_eq!((found.bucket.as_str(), found.prefix.as_str()), ("pieces", "of/a/miner"));
        assert_eq!(found.access_key_id.0, "id-of-env");
        let own = |text: &str| Some(Secret(text.to_owned()));
        let said = PiecesSection {
            access_key_id: own("id"),
            secret_access_key: own("CANARY"),
            endpoint: Some("http://h:9000/".to_owned()),
            ..section("s3://pieces")
        };
        let found = said.bucket(environment).unwrap().unwrap();
        assert_eq!((found.access_key_id.0.as_str(), found.prefix.as_str()), ("id", ""));
        assert_eq!(found.endpoint.as_deref(), Some("http://h:9000"));
        assert!(!format!("{said:?} {found:?}").contains("CANARY"), "{said:?} {found:?}");
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let endpoint = |url: &str| PiecesSection { endpoint: Some(url.to_owned()), ..section("s3://pieces") };
        let lonely = PiecesSection { access_key_id: Some(Secret("id".to_owned())), ..section("s3://pieces") };
        for (section, words) in [
            (section("/mnt/pieces"), "pieces.store"),
            (section("s3://"), "pieces.store"),
            (section("s3://Not_A_Bucket"), "pieces.store"),
            (endpoint("h:9000"), "pieces.endpoint"),
            (endpoint("ftp://h"), "pieces.endpoint"),
            (PiecesSection { store: None, ..endpoint("http://h") }, "names no bucket"),
            (PiecesSection { region: String::new(), ..section("s3://pieces") }, "pieces.region"),
            (lonely, "go together"),
            (section("s3://pieces"), "no credentials"),
        ] {
            let error = section.bucket(|_| None).unwrap_err();
            assert!(error.to_string().contains(words) && error.hint.is_some(), "{section:?}: {error}");
        }
    }
}
