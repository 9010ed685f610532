use host::durable;
use tempfile::TempDir;

use super::*;

/// A tree as files, of which each line here is one: path and content.
fn tree(files: &[(String, String)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        durable::create_dir_all(path.parent().unwrap()).unwrap();
        durable::write(&path, text.as_bytes()).unwrap();
    }
    root
}

/// Two EPYC 7763: 2 × 64 cores with two threads each, 8 cores an L3, one node a socket, four GPUs. As their kernel lays
/// it out: cpu N and cpu N + 128 are one core.
fn two_sockets() -> Vec<(String, String)> {
    let mut files = vec![
        ("sys/devices/system/cpu/online".to_owned(), "0-255\n".to_owned()),
        ("sys/devices/system/node/online".to_owned(), "0-1\n".to_owned()),
        ("proc/meminfo".to_owned(), "MemTotal:       1056316348 kB\nMemFree:        1040000000 kB\n".to_owned()),
    ];
    for cpu in 0..256 {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}");
        let core = cpu % 128;
        files.push((format!("{dir}/topology/thread_siblings_list"), format!("{core},{}\n", core + 128)));
        let first = core / 8 * 8;
        for (index, level) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
            files.push((format!("{dir}/cache/index{index}/level"), format!("{level}\n")));
        }
        let shared = format!("{first}-{},{}-{}\n", first + 7, first + 128, first + 135);
        files.push((format!("{dir}/cache/index3/shared_cpu_list"), shared));
    }
    for node in 0..2u32 {
        let dir = format!("sys/devices/system/node/node{node}");
        let first = node * 64;
        files.push((format!("{dir}/cpulist"), format!("{first}-{},{}-{}\n", first + 63, first + 128, first + 191)));
        files.push((format!("{dir}/meminfo"), format!("Node {node} MemTotal:       528158174 kB\n")));
    }
    for (bus, node) in [("0000:01:00.0", 0), ("0000:41:00.0", 0), ("0000:81:00.0", 1), ("0000:c1:00.0", 1)] {
        let information = format!("Model: \t\t NVIDIA RTX A5000\nIRQ:   \t\t 180\nBus Location: \t {bus}\n");
        files.push((format!("proc/driver/nvidia/gpus/{bus}/information"), information));
        files.push((format!("sys/bus/pci/devices/{bus}/numa_node"), format!("{node}\n")));
    }
    files
}

#[test]
fn two_sockets_with_four_gpus_are_read() {
    let host = host(tree(&two_sockets()).path());
    assert_eq!((host.cpus.len(), host.cores.len(), host.l3.len()), (256, 128, 16));
    assert_eq!(host.cores.to_string(), "0-127");
    assert_eq!(host.l3[9].to_string(), "72-79,200-207");
    let nodes: Vec<String> = host.nodes.iter().map(|node| format!("{} {}", node.id, node.cpus)).collect();
    assert_eq!(nodes, ["0 0-63,128-191", "1 64-127,192-255"]);
    assert_eq!(host.memory_bytes, 1_056_316_348 * 1024);
    assert_eq!(host.nodes[1].memory_bytes, 528_158_174 * 1024);
    let gpus: Vec<(&str, Option<u32>)> = host.gpus.iter().map(|gpu| (gpu.name.as_str(), gpu.node)).collect();
    let a5000 = "NVIDIA RTX A5000";
    assert_eq!(gpus, [(a5000, Some(0)), (a5000, Some(0)), (a5000, Some(1)), (a5000, Some(1))]);
}

/// A virtual machine with two processors, one L3, one node, no GPU, and a node file that says it is nowhere.
#[test]
fn a_small_virtual_machine_is_read() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let root = tree(&[
        file("sys/devices/system/cpu/online", "0-1\n"),
        file("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0\n"),
        file("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1\n"),
        file("sys/devices/system/cpu/cpu0/cache/index3/level", "3\n"),
        file("sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", "0-1\n"),
        file("sys/devices/system/cpu/cpu1/cache/index3/level", "3\n"),
        file("sys/devices/system/cpu/cpu1/cache/index3/shared_cpu_list", "0-1\n"),
        file("sys/devices/system/node/online", "0\n"),
        file("sys/devices/system/node/node0/cpulist", "0-1\n"),
        file("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:       24737308 kB\n"),
        file("proc/meminfo", "MemTotal:       24737308 kB\n"),
    ]);
    let host = host(root.path());
    assert_eq!((host.cpus.len(), host.cores.len(), host.l3.len(), host.nodes.len()), (2, 2, 1, 1));
    assert_eq!((host.memory_bytes, host.gpus), (24_737_308 * 1024, vec![]));
}

#[test]
fn gpus_behind_device_files_alone_are_counted() {
    let file = |path: &str| (path.to_owned(), "x".to_owned());
    let nvidia = tree(&[file("dev/nvidia0"), file("dev/nvidia1"), file("dev/nvidiactl"), file("dev/nvidia-uvm")]);
    assert_eq!(host(nvidia.path()).gpus.len(), 2);
    let other = tree(&[file("dev/dri/renderD128")]);
    assert_eq!(host(other.path()).gpus.len(), 1);
    assert_eq!(host(tree(&[file("dev/null")]).path()).gpus.len(), 0);
}

#[test]
fn this_host_is_read() {
    let host = host(Path::new("/"));
    assert!(host.memory_bytes > 1 << 28, "{host:?}");
    assert!(host.cpus.len() >= 1 && host.cores.len() <= host.cpus.len(), "{host:?}");
}

#[test]
fn lists_of_processors_are_read_and_written() {
    let round = |text: &str| text.parse::<Cpus>().map(|cpus| cpus.to_string());
    assert_eq!(round("0-3,8,10-11\n").unwrap(), "0-3,8,10-11");
    assert_eq!(round("3,2,1,1").unwrap(), "1-3");
    assert_eq!(round("").unwrap(), "");
    for bad in ["3-1", "a", "0-", "0-99999"] {
        assert!(round(bad).is_err(), "{bad}");
    }
}

#[test]
fn gpus_that_were_not_given_are_not_there() {
    let gpu = |id: &str, name: &str| Gpu { id: id.to_owned(), name: name.to_owned(), node: None };
    let given = |visible: &str| {
        let mut found = host(Path::new("/nowhere"));
        found.gpus = vec![gpu("0", "A"), gpu("1", "B")];
        found.limit_gpus(visible);
        found.gpus
    };
    assert_eq!(given("1"), [gpu("1", "B")]);
    assert_eq!(given("1, 0"), [gpu("1", "B"), gpu("0", "A")]);
    assert_eq!(given("GPU-8f2c"), [gpu("GPU-8f2c", "NVIDIA")]);
    assert_eq!(given("0,0,7,1"), [gpu("0", "A")], "up to the first that is none");
    for none in ["", "-1", "NoDevFiles"] {
        assert_eq!(given(none), []);
    }
}
