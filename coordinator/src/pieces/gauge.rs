//! Length, digest and commitment of a payload that passes by once.

use std::io::{self, BufReader, Read};

use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256 as Hasher};
use streams::proof::{Bytes32, Commitment};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

use super::store::{Measured, TakeError};

/// Chunks that may wait for the commitment: the payload is held up, memory is not filled.
const CHUNKS_MAX: usize = 8;

/// Measures a payload whose length is known beforehand. Memory does not grow with it.
pub(super) struct Gauge {
    announced: u64,
    seen: u64,
    hasher: Hasher,
    chunks: Sender<Bytes>,
    commitment: JoinHandle<Result<(Commitment, u64), prover::CommitmentError>>,
}

impl Gauge {
    pub(super) fn new(announced: u64) -> Self {
        let (chunks, received) = mpsc::channel(CHUNKS_MAX);
        let passing = BufReader::with_capacity(256 << 10, Passing { received, chunk: Bytes::new() });
        // It hashes for as long as the payload comes: no work for a thread that serves others.
        let commitment = tokio::task::spawn_blocking(move || prover::piece_commitment(passing, announced));
        Self { announced, seen: 0, hasher: Hasher::new(), chunks, commitment }
    }

    /// Takes the next chunk.
    pub(super) async fn take(&mut self, chunk: &Bytes) -> Result<(), TakeError> {
        self.seen = self.seen.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.seen > self.announced {
            return Err(self.wrong_length());
        }
        self.hasher.update(chunk);
        // A thread that is gone has failed: `finish` says how.
        let _received = self.chunks.send(chunk.clone()).await;
        Ok(())
    }

    /// What passed by, if it was all.
    pub(super) async fn finish(self) -> Result<Measured, TakeError> {
        if self.seen != self.announced {
            return Err(self.wrong_length());
        }
        let Self { seen, hasher, chunks, commitment, .. } = self;
        drop(chunks);
        let computed = commitment.await.map_err(|e| TakeError::Transfer(e.to_string()))?;
        let (commitment, padded_bytes) = computed?;
        let payload_sha256 = Bytes32(hasher.finalize().into());
        Ok(Measured { payload_bytes: seen, payload_sha256, padded_bytes, commitment })
    }

    fn wrong_length(&self) -> TakeError {
        TakeError::WrongLength { found: self.seen, wanted: self.announced }
    }
}

/// What was taken, as a file would be read.
struct Passing {
    received: Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Passing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.received.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = self.chunk.len().min(into.len());
        if let Some(into) = into.get_mut(..count) {
            self.chunk.copy_to_slice(into);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_finds_what_reading_a_file_finds() {
        for length in [1_usize, 127, 128, 5_000, 700_000] {
            let payload: Vec<u8> = (0_u8..=250).cycle().take(length).collect();
            let announced = u64::try_from(length).unwrap();
            let (commitment, padded_bytes) = prover::piece_commitment(&*payload, announced).unwrap();
            let mut gauge = Gauge::new(announced);
            for chunk in payload.chunks(4_099) {
                gauge.take(&Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            let found = gauge.finish().await.unwrap();
            assert_eq!(
                (found.commitment, found.padded_bytes, found.payload_bytes),
                (commitment, padded_bytes, announced)
            );
            assert_eq!(found.payload_sha256, Bytes32(Hasher::digest(&payload).into()));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_length_than_announced_is_an_error() {
        let mut gauge = Gauge::new(3);
        gauge.take(&Bytes::from_static(b"ab")).await.unwrap();
        let error = gauge.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "it has 2 bytes, 3 were announced");
        let mut gauge = Gauge::new(3);
        assert!(gauge.take(&Bytes::from_static(b"abcd")).await.is_err());
    }
}
