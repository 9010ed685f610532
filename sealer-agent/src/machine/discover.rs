//! What a host has, read from `/proc`, `/sys` and `/dev` below a root, so that recorded trees can be read too.

use std::{fs, path::Path};

use serde::Serialize;

/// What a host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Host {
    /// Processors, hyper-threads counted each.
    pub(crate) cpus: Cpus,
    /// One of each physical core.
    pub(crate) cores: Cpus,
    /// Processors that share an L3 cache, each group by itself: the neighbourhood of one PC1.
    pub(crate) l3: Vec<Cpus>,
    /// NUMA nodes.
    pub(crate) nodes: Vec<Node>,
    /// Memory in all.
    pub(crate) memory_bytes: u64,
    /// GPUs, in the order in which CUDA counts them when told to go by bus (`CUDA_DEVICE_ORDER=PCI_BUS_ID`).
    pub(crate) gpus: Vec<Gpu>,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    pub(crate) id: u32,
    pub(crate) cpus: Cpus,
    pub(crate) memory_bytes: u64,
}

/// A GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Gpu {
    /// What CUDA calls it: its number by bus, or the UUID by which this agent was given it.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The NUMA node it is attached to, where that is known.
    pub(crate) node: Option<u32>,
}

/// A set of processors, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpus(Vec<u32>);

/// Reads what there is. What cannot be read is not there: a container may hide any of it.
pub(crate) fn host(root: &Path) -> Host {
    let cpus = list(&root.join("sys/devices/system/cpu/online"));
    let mut cores = Vec::new();
    let mut l3: Vec<Cpus> = Vec::new();
    for cpu in &cpus.0 {
        let dir = root.join(format!("sys/devices/system/cpu/cpu{cpu}"));
        let siblings = list(&dir.join("topology/thread_siblings_list"));
        if siblings.0.first().is_none_or(|first| first == cpu) {
            cores.push(*cpu);
        }
        if let Some(group) = l3_of(&dir)
            && !l3.contains(&group)
        {
            l3.push(group);
        }
    }
    let memory_bytes = kib(&root.join("proc/meminfo"), "MemTotal:");
    Host { cpus, cores: Cpus(cores), l3, nodes: nodes(root), memory_bytes, gpus: gpus(root) }
}

fn l3_of(cpu: &Path) -> Option<Cpus> {
    let caches = fs::read_dir(cpu.join("cache")).ok()?;
    let level3 = caches.flatten().find(|cache| word(&cache.path().join("level")).as_deref() == Some("3"))?;
    Some(list(&level3.path().join("shared_cpu_list"))).filter(|group| !group.0.is_empty())
}

fn nodes(root: &Path) -> Vec<Node> {
    let all = root.join("sys/devices/system/node");
    let node = |id: u32| {
        let dir = all.join(format!("node{id}"));
        Node { id, cpus: list(&dir.join("cpulist")), memory_bytes: kib(&dir.join("meminfo"), "MemTotal:") }
    };
    list(&all.join("online")).0.into_iter().map(node).collect()
}

/// NVIDIA's driver lists its GPUs by bus. Of other GPUs only a device file tells, and of which kind it is nobody does.
fn gpus(root: &Path) -> Vec<Gpu> {
    let mut buses: Vec<String> = names(&root.join("proc/driver/nvidia/gpus"));
    buses.sort();
    let of_driver = |(id, bus): (usize, String)| {
        let text = fs::read_to_string(root.join("proc/driver/nvidia/gpus").join(&bus).join("information"));
        let text = text.unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("Model:")).map(str::trim);
        let node = word(&root.join("sys/bus/pci/devices").join(&bus).join("numa_node"));
        let name = model.unwrap_or("NVIDIA").to_owned();
        Gpu { id: id.to_string(), name, node: node.and_then(|node| node.parse().ok()) }
    };
    if !buses.is_empty() {
        return buses.into_iter().enumerate().map(of_driver).collect();
    }
    let devices = names(&root.join("dev"));
    let is_nvidia = |name: &&String| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let nvidia = devices.iter().filter(is_nvidia).count();
    let (count, name) = match nvidia {
        0 => (usize::from(devices.iter().any(|name| name == "dri")), "GPU"),
        count => (count, "NVIDIA"),
    };
    (0..count).map(|id| Gpu { id: id.to_string(), name: name.to_owned(), node: None }).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn word(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

fn list(file: &Path) -> Cpus {
    word(file).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A line such as `MemTotal: 24737308 kB`, or `Node 0 MemTotal: …`.
fn kib(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.split_once(name)?.1.split_ascii_whitespace().next()?.parse().ok());
    value.unwrap_or(0u64) * 1024
}

impl Host {
    /// Leaves the GPUs that `CUDA_VISIBLE_DEVICES` names, in its order; as CUDA does, up to the first that is none.
    pub(crate) fn limit_gpus(&mut self, visible: &str) {
        let there = std::mem::take(&mut self.gpus);
        for id in visible.split(',').map(str::trim) {
            let is_uuid = id.starts_with("GPU-") || id.starts_with("MIG-");
            match there.iter().find(|gpu| gpu.id == id) {
                _ if self.gpus.iter().any(|gpu| gpu.id == id) => {}
                Some(gpu) => self.gpus.push(gpu.clone()),
                None if is_uuid => self.gpus.push(Gpu { id: id.to_owned(), name: "NVIDIA".to_owned(), node: None }),
                None => break,
            }
        }
    }
}

impl Cpus {
    /// How many.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether each is in `other` too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|cpu| other.0.binary_search(cpu).is_ok())
    }

    /// Each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

/// A list that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no list of processors such as 0-7,64-71")]
pub(crate) struct BadCpus(String);

impl std::str::FromStr for Cpus {
    type Err = BadCpus;

    fn from_str(text: &str) -> Result<Self, BadCpus> {
        const MAX: u32 = 8192;
        let bad = || BadCpus(text.to_owned());
        let number = |word: &str| word.trim().parse::<u32>().ok().filter(|cpu| *cpu < MAX).ok_or_else(bad);
        let mut cpus = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(Self(cpus))
    }
}

impl std::fmt::Display for Cpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for cpu in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        let words = ranges.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.write_str(&words.collect::<Vec<_>>().join(","))
    }
}

impl Serialize for Cpus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
