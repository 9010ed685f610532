//! The file in which a server says where it listens (`--ports_file_dir`).

use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

/// The port of process `pid`, once it has written its file. A file that is half written is not there yet.
pub(super) fn read(dir: &Path, pid: u32) -> Option<u16> {
    let text = std::fs::read(dir.join(format!("nats-server_{pid}.ports"))).ok()?;
    port(&text)
}

fn port(text: &[u8]) -> Option<u16> {
    let ports: Ports = serde_json::from_slice(text).ok()?;
    ports.nats.first()?.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::port;

    #[test]
    fn a_port_is_read_from_a_whole_file_only() {
        assert_eq!(port(br#"{"nats":["nats://127.0.0.1:42191"]}"#), Some(42191));
        assert_eq!(port(br#"{"nats":["nats://[::1]:4222"],"monitoring":["http://127.0.0.1:8222"]}"#), Some(4222));
        assert_eq!(port(br#"{"nats":["nats://127.0.0.1:42"#), None);
        assert_eq!(port(b""), None);
    }
}
