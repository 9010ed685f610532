//! As much of the NATS protocol as it takes to find single messages in a stream of bytes.
//!
//! A frame is a line, and for the four operations that carry one, a payload. Everything else is passed as it is.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// A line longer than this is not NATS.
const LINE_MAX: u64 = 1 << 20;

/// One operation as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Everything, to be passed on.
    pub(super) bytes: Vec<u8>,
    /// What it carries, when it carries something.
    pub(super) message: Option<Message>,
}

/// A published or delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) subject: String,
    /// Where an answer goes.
    pub(super) reply: Option<String>,
    /// Where the payload begins in the frame, after headers.
    payload_at: usize,
}

impl Frame {
    /// The payload, without headers.
    pub(super) fn payload(&self) -> &[u8] {
        let Some(message) = &self.message else { return &[] };
        let end = self.bytes.len().saturating_sub(2);
        self.bytes.get(message.payload_at..end).unwrap_or_default()
    }
}

/// Reads the next frame; none at the end of the stream.
pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Frame>> {
    let mut bytes = Vec::new();
    let length = from.take(LINE_MAX).read_until(b'\n', &mut bytes).await?;
    if length == 0 {
        return Ok(None);
    }
    let Some(head) = Head::parse(&bytes) else { return Ok(Some(Frame { bytes, message: None })) };
    let payload_at = length.saturating_add(head.header_bytes);
    let total = length.saturating_add(head.total_bytes).saturating_add(2);
    let line = bytes.len();
    bytes.resize(total, 0);
    from.read_exact(bytes.get_mut(line..).unwrap_or_default()).await?;
    Ok(Some(Frame { bytes, message: Some(Message { subject: head.subject, reply: head.reply, payload_at }) }))
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    subject: String,
    reply: Option<String>,
    header_bytes: usize,
    total_bytes: usize,
}

impl Head {
    /// `PUB s [r] n`, `HPUB s [r] h n`, `MSG s sid [r] n`, `HMSG s sid [r] h n`.
    fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (operation, rest) = words.split_first()?;
        let (has_id, has_headers) = match operation.to_ascii_uppercase().as_str() {
            "PUB" => (false, false),
            "HPUB" => (false, true),
            "MSG" => (true, false),
            "HMSG" => (true, true),
            _ => return None,
        };
        let (subject, rest) = rest.split_first()?;
        let rest = if has_id { rest.get(1..)? } else { rest };
        let (total, rest) = rest.split_last()?;
        let (header_bytes, rest) = if has_headers {
            let (header, rest) = rest.split_last()?;
            (header.parse().ok()?, rest)
        } else {
            (0, rest)
        };
        let reply = rest.first().map(|reply| (*reply).to_owned());
        Some(Self { subject: (*subject).to_owned(), reply, header_bytes, total_bytes: total.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_operation_is_a_frame() {
        let text = b"INFO {\"a\":1}\r\nPING\r\nPUB a.b 5\r\nhe\r\no\r\nHPUB $KV.x _INBOX.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\nMSG _INBOX.1 7 2\r\nok\r\nHMSG s 7 r 12 12\r\nNATS/1.0\r\n\r\n\r\n+OK\r\n";
        let mut from = tokio::io::BufReader::new(&text[..]);
        let mut frames = Vec::new();
        while let Some(frame) = read(&mut from).await.unwrap() {
            frames.push(frame);
        }
        let all: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
        assert_eq!(all, text, "nothing is added and nothing is lost");
        let said: Vec<_> = frames
            .iter()
            .filter_map(|f| f.message.as_ref().map(|m| (m.subject.as_str(), m.reply.as_deref(), f.payload())))
            .collect();
        let expected: Vec<(&str, Option<&str>, &[u8])> = vec![
            ("a.b", None, b"he\r\no"),
            ("$KV.x", Some("_INBOX.1"), b"hi"),
            ("_INBOX.1", None, b"ok"),
            ("s", Some("r"), b""),
        ];
        assert_eq!(said, expected);
    }
}
