//! The repository's `nats.conf` with another address and another folder.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use super::Member;

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

/// The same for one server of several: with a name of its own, and the routes to the others.
pub(super) fn with_member(conf: &str, member: &Member) -> String {
    let named = conf.lines().map(|line| {
        if line.starts_with("server_name:") {
            format!("server_name: {}\n", quote(&member.name))
        } else {
            format!("{line}\n")
        }
    });
    let routes: Vec<String> = member.routes.iter().map(|at| quote(&format!("nats://{at}"))).collect();
    let cluster = format!(
        "\ncluster {{\n  name: sealstream\n  listen: {}\n  routes: [{}]\n}}\n",
        quote(&member.listen.to_string()),
        routes.join(", ")
    );
    named.chain([cluster]).collect()
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Member, SHIPPED, with, with_member};

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

    #[test]
    fn a_member_has_its_own_name_and_every_route_and_syncs_as_one_server_does() {
        let one = with("127.0.0.1".parse().unwrap(), Some(4333), Path::new("/tmp/x"));
        let routes = ["127.0.0.1:6001", "127.0.0.1:6002", "127.0.0.1:6003"].map(|at| at.parse().unwrap()).to_vec();
        let listen = "127.0.0.1:6002".parse().unwrap();
        let member = with_member(&one, &Member { name: "queue-2".to_owned(), listen, routes });
        let said = settings(&member);
        for line in ["server_name: \"queue-2\"", "listen: \"127.0.0.1:6002\"", "sync_interval: always"] {
            assert!(said.contains(&line.to_owned()), "{line}: {member}");
        }
        assert!(!said.contains(&"server_name: sealstream".to_owned()), "{member}");
        assert!(member.contains("\"nats://127.0.0.1:6001\", \"nats://127.0.0.1:6002\""), "{member}");
    }
}
