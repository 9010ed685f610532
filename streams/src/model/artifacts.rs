//! The object store's side of [`Connection`].

use bytes::Bytes;

use super::connection::Connection;
use crate::error::QueueError;

const STREAM: &str = "OBJ_ARTIFACTS";

impl Connection {
    pub(crate) async fn put_object(&self, name: &str, bytes: Bytes) -> Result<(), QueueError> {
        self.object(name, |objects| drop(objects.insert(name.to_owned(), bytes))).await
    }

    pub(crate) async fn get_object(&self, name: &str) -> Result<Bytes, QueueError> {
        let found = self.object(name, |objects| objects.get(name).cloned()).await?;
        found.ok_or_else(|| QueueError::Missing { what: format!("artifact {name}") })
    }

    pub(crate) async fn delete_object(&self, name: &str) -> Result<(), QueueError> {
        self.object(name, |objects| drop(objects.remove(name))).await
    }

    async fn object<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut std::collections::BTreeMap<String, Bytes>) -> T,
    ) -> Result<T, QueueError> {
        self.there().await;
        let done = {
            let (mut server, _) = self.shared.server();
            server.streams.contains_key(STREAM).then(|| act(&mut server.objects))
        };
        self.back().await;
        done.ok_or_else(|| QueueError::Missing { what: format!("artifact {name}") })
    }
}
