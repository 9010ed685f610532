//! The `agent.toml` that is made, and how it is written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use streams::stage::Class;

use super::{Imported, source::Setting};

/// The stages that venus-worker runs in one process.
const SERVED: &str = r#"serve = ["pc1-cpu", "pc2-gpu", "c2-gpu"]"#;

/// What becomes of the settings.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Option<Taken<String>>,
    stores: Vec<Taken<Store>>,
    slots: BTreeMap<Class, Vec<Taken<u32>>>,
    /// By table, `machine.locks` or `stages.pc1`, and by key.
    keys: BTreeMap<String, BTreeMap<String, Key>>,
    /// Settings that become none of ours, with what to do instead.
    said: Vec<Taken<String>>,
    /// Tables that venus-worker ignores: line, name, what it was taken for.
    misspelt: BTreeSet<(usize, String, &'static str)>,
}

/// Something made of a setting.
#[derive(Debug)]
struct Taken<T> {
    from: String,
    what: T,
}

/// A key of ours and what it was made of.
#[derive(Debug)]
struct Key {
    value: toml::Value,
    of: Vec<String>,
}

#[derive(Debug)]
struct Store {
    path: String,
    persistent: bool,
}

impl<T> Taken<T> {
    fn of(setting: &Setting, what: T) -> Self {
        Self { from: setting.quoted(), what }
    }
}

impl Draft {
    pub(super) fn name(&mut self, setting: &Setting, name: &str) {
        self.name = Some(Taken::of(setting, name.to_owned()));
    }

    pub(super) fn store(&mut self, setting: &Setting, path: &str, persistent: bool) {
        self.stores.push(Taken::of(setting, Store { path: path.to_owned(), persistent }));
    }

    pub(super) fn slots(&mut self, setting: &Setting, class: Class, slots: u32) {
        self.slots.entry(class).or_default().push(Taken::of(setting, slots));
    }

    /// A key that has one value: where two settings disagree, the first holds, and that is said.
    pub(super) fn key(&mut self, setting: &Setting, table: &str, key: &str, value: toml::Value) {
        let of = setting.quoted();
        let keys = self.keys.entry(table.to_owned()).or_default();
        match keys.get_mut(key) {
            None => drop(keys.insert(key.to_owned(), Key { value, of: vec![of] })),
            Some(there) if there.value == value => there.of.push(of),
            Some(there) => {
                let held = format!("{table}.{key} has one value, and holds {} from before", there.value);
                self.say(setting, held);
            }
        }
    }

    /// Values of a key that is a list: those of several settings stand one after the other.
    pub(super) fn list(&mut self, setting: &Setting, table: &str, key: &str, values: Vec<toml::Value>) {
        let keys = self.keys.entry(table.to_owned()).or_default();
        let there =
            keys.entry(key.to_owned()).or_insert_with(|| Key { value: toml::Value::Array(Vec::new()), of: Vec::new() });
        there.of.push(setting.quoted());
        if let toml::Value::Array(all) = &mut there.value {
            all.extend(values);
        }
    }

    /// A setting that becomes none of ours.
    pub(super) fn say(&mut self, setting: &Setting, instead: impl Into<String>) {
        self.said.push(Taken::of(setting, instead.into()));
    }

    pub(super) fn misspelt(&mut self, line: usize, was: String, meant: &'static str) {
        self.misspelt.insert((line, was, meant));
    }

    pub(super) fn render(self, name: &str) -> Imported {
        let mut notes = Vec::new();
        for (line, was, meant) in &self.misspelt {
            notes.push(format!(
                "line {line}: there is no table [{was}]; venus-worker ignores it with all that is in it: read as [{meant}]"
            ));
        }
        for said in &self.said {
            notes.push(format!("{}: {}", said.from, said.what));
        }
        let mut text = String::new();
        self.head(name, &mut text);
        self.top(&mut text);
        text.push_str(
            "[nats]\n# Where nats-server is: all that an agent speaks to.\nurl = \"nats://127.0.0.1:4222\"\n",
        );
        for (class, taken) in &self.slots {
            let _ = write!(text, "\n[classes.{class}]\n");
            for taken in taken {
                let _ = writeln!(text, "# {}", taken.from);
            }
            // Of several limits on stages of one class the widest: each of them was allowed on its own.
            let slots = taken.iter().map(|taken| taken.what).max().unwrap_or(1);
            let _ = writeln!(text, "slots = {slots}");
        }
        for (table, keys) in &self.keys {
            let _ = write!(text, "\n[{table}]\n");
            for (key, Key { value, of }) in keys {
                for of in of {
                    let _ = writeln!(text, "# {of}");
                }
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        if !self.said.is_empty() {
            text.push_str("\n# What has no key here, each with what to do instead:\n");
            for said in &self.said {
                let _ = write!(text, "#\n# {}\n#     {}\n", said.from, said.what);
            }
        }
        Imported { text, notes }
    }

    fn head(&self, name: &str, text: &mut String) {
        let _ = writeln!(
            text,
            "# Made of {name} by `sealer-agent config import`. `line` is the line there; nothing of it is left out."
        );
        for (line, was, meant) in &self.misspelt {
            let _ = writeln!(
                text,
                "#\n# line {line}: there is no table [{was}]; venus-worker ignores it with all that is in it.\n#     \
                 It is read as [{meant}] here."
            );
        }
        for (persistent, how) in [(false, "store init"), (true, "store init --persistent")] {
            let paths: Vec<String> = self
                .stores
                .iter()
                .filter(|store| store.what.persistent == persistent)
                .map(|store| store.what.path.clone())
                .collect();
            if !paths.is_empty() {
                let _ = writeln!(text, "#\n# Once, on this host:  sealer-agent {how} {}", paths.join(" "));
            }
        }
        text.push('\n');
    }

    fn top(&self, text: &mut String) {
        if let Some(name) = &self.name {
            let _ = write!(text, "# {}\nname = {}\n\n", name.from, quoted(&name.what));
        }
        let _ = writeln!(
            text,
            "# venus-worker does all of this in one process, and so can one agent; or give each class an agent of its own.\n\
             # A -gpu class needs a GPU, or `allow_cpu = true`.\n{SERVED}\n"
        );
        if self.stores.is_empty() {
            return;
        }
        text.push_str("stores = [\n");
        for store in &self.stores {
            let kind = if store.what.persistent { "persistent" } else { "local" };
            let _ = writeln!(text, "    # {}: {kind}\n    {},", store.from, quoted(&store.what.path));
        }
        text.push_str("]\n\n");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
