//! The repository's `nats.conf` with another address and another folder.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// What is shipped.
const SHIPPED: &str = include_str!("../../../nats.conf");

/// The shipped configuration, listening at `host` and keeping its store in `store`.
pub(super) fn with(host: IpAddr, port: Option<u16>, store: &Path) -> String {
    let listen = match (port, host) {
        (Some(port), _) => SocketAddr::new(host, port).to_string(),
        // The server takes -1 for "any that is free".
        (None, IpAddr::V4(host)) => format!("{host}:-1"),
        (None, IpAddr::V6(host)) => format!("[{host}]:-1"),
    };
    let store = store.to_string_lossy();
    let lines = SHIPPED.lines().map(|line| {
        let indent = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
        match line.trim_start() {
            setting if setting.starts_with("listen:") => format!("listen: {}", quote(&listen)),
            setting if setting.starts_with("store_dir:") => format!("{indent}store_dir: {}", quote(&store)),
            _ => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SHIPPED, with};

    /// The lines that are not comments.
    fn settings(text: &str) -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn what_is_shipped_syncs_before_it_acknowledges() {
        assert!(settings(SHIPPED).contains(&"sync_interval: always".to_owned()));
        assert!(!settings(SHIPPED).iter().any(|line| line.contains("persist_mode")));
    }

    #[test]
    fn address_and_folder_are_replaced_and_nothing_else() {
        let changed = with("127.0.0.1".parse().unwrap(), Some(4333), Path::new("/tmp/a \"b\""));
        let expected: Vec<String> = settings(SHIPPED)
            .into_iter()
            .map(|line| match line.as_str() {
                "listen: \"127.0.0.1:4222\"" => "listen: \"127.0.0.1:4333\"".to_owned(),
                "store_dir: \"/var/lib/sealstream/nats\"" => "store_dir: \"/tmp/a \\\"b\\\"\"".to_owned(),
                _ => line,
            })
            .collect();
        assert_eq!(settings(&changed), expected);
        assert!(changed.contains("4333") && changed.contains("/tmp/a"), "{changed}");
    }

    #[test]
    fn any_free_port_can_be_asked_for() {
        let changed = with("::1".parse().unwrap(), None, Path::new("/tmp/x"));
        assert!(settings(&changed).contains(&"listen: \"[::1]:-1\"".to_owned()));
    }
}
