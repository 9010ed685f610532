//! Every stage but the two SNARKs, through the real program and real job directories, at 2 KiB.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prover::job::{JobResult, Output, PieceCommitment, PieceFile, REQUEST, RESULT, Replica, Request, Work};
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    message::{FailureClass, decode, encode},
    proof::{Bytes32, Commitment, Drawn, SealProof},
    stage::Stage,
};

const PROOF: SealProof = SealProof::Drg2KiBV1_1;
const SEED: Drawn = Drawn { epoch: 20, value: Bytes32([7; 32]) };

fn ticket(byte: u8) -> Drawn {
    Drawn { epoch: 10, value: Bytes32([byte; 32]) }
}

fn sector(number: u64) -> SectorId {
    SectorId { miner: MinerId(1000), number: SectorNumber(number) }
}

/// A folder for one sector and its jobs.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, work: Work) -> JobResult {
        let job = self.path(&format!("job-{}", work.name()));
        fs::create_dir_all(&job).unwrap();
        host::durable::write(&job.join(REQUEST), &encode(&Request { proof: PROOF, work }).unwrap()).unwrap();
        run_prover(&job)
    }

    fn done(&self, work: Work) -> Output {
        match self.run(work) {
            JobResult::Done { output, .. } => output,
            refused @ JobResult::Refused { .. } => panic!("{refused:?}"),
        }
    }

    fn refused(&self, work: Work) -> (FailureClass, String, String) {
        match self.run(work) {
            JobResult::Refused { class, code, message } => (class, code, message),
            done @ JobResult::Done { .. } => panic!("{done:?}"),
        }
    }

    fn pc1(&self, number: u64, ticket: Drawn, pieces: &[PieceCommitment]) -> Work {
        Work::Pc1 {
            sector: sector(number),
            ticket,
            pieces: pieces.to_vec(),
            staged: (!pieces.is_empty()).then(|| self.path("staged")),
            cache: self.path("cache"),
            sealed: self.path("sealed"),
            pc1_output: self.path("pc1.json"),
        }
    }

    fn pc2(&self, number: u64, is_cc: bool) -> Work {
        Work::Pc2 {
            sector: sector(number),
            pc1_output: self.path("pc1.json"),
            staged: (!is_cc).then(|| self.path("staged")),
            cache: self.path("cache"),
            sealed: self.path("sealed"),
        }
    }

    /// PC1 and PC2 of a sector without data.
    fn seal_cc(&self, number: u64, ticket: Drawn) -> (Commitment, Commitment) {
        assert_eq!(self.done(self.pc1(number, ticket, &[])), Output::Pc1 {});
        let Output::Pc2 { comm_d, comm_r } = self.done(self.pc2(number, true)) else { panic!("not pc2") };
        (comm_d, comm_r)
    }

    fn c1(&self, number: u64, pieces: &[PieceCommitment], comm_d: Commitment, comm_r: Commitment) -> Work {
        Work::C1 {
            sector: sector(number),
            ticket: ticket(1),
            seed: SEED,
            pieces: pieces.to_vec(),
            comm_d,
            comm_r,
            cache: self.path("cache"),
            sealed: self.path("sealed"),
            c1_output: self.path("c1.json"),
        }
    }

    fn vanilla(&self, order: &[u64], sectors: Vec<Replica>) -> Work {
        Work::VanillaPost {
            miner: MinerId(1000),
            randomness: Bytes32([0xff; 32]),
            order: order.iter().copied().map(SectorNumber).collect(),
            sectors,
            output: self.path("vanilla.json"),
        }
    }
}

fn prover(job: &Path) -> Command {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_prover"));
    command.arg(job).env("FIL_PROOFS_PARENT_CACHE", cache.join("filecoin-parents"));
    command.env("FIL_PROOFS_PARAMETER_CACHE", cache.join("no-parameters")).env("RUST_LOG", "error");
    command
}

fn run_prover(job: &Path) -> JobResult {
    let output = prover(job).output().unwrap();
    let result = host::durable::read(&job.join(RESULT)).unwrap();
    let result = result.unwrap_or_else(|| panic!("no result: {}", String::from_utf8_lossy(&output.stderr)));
    decode(&result).unwrap()
}

/// Overwrites a file, or makes one of a sector's length, with bytes that are field elements and nothing else.
fn damage(path: &Path) {
    let length = fs::metadata(path).map_or(2048, |m| m.len());
    let bytes: Vec<u8> = (0..length).map(|_| 0x11).collect();
    host::durable::write(path, &bytes).unwrap();
}

/// Two pieces with a gap before each, their payloads shorter than the pieces.
fn add_pieces(bench: &Bench) -> (Vec<PieceCommitment>, Vec<Vec<u8>>) {
    let payloads: Vec<Vec<u8>> = [400_usize, 127].iter().map(|n| (1..=251).cycle().take(*n).collect()).collect();
    let places = [(512, 512), (128, 1280)];
    let files: Vec<PieceFile> = payloads
        .iter()
        .zip(places)
        .map(|(payload, (padded_bytes, offset_padded))| {
            let path = bench.path(&format!("payload-{offset_padded}"));
            host::durable::write(&path, payload).unwrap();
            PieceFile { path, padded_bytes, offset_padded }
        })
        .collect();
    let output = bench.done(Work::AddPiece { pieces: files, staged: bench.path("staged") });
    let Output::AddPiece { pieces } = output else { panic!("not add-piece") };
    for (payload, commitment) in payloads.iter().zip(&pieces) {
        let length = u64::try_from(payload.len()).unwrap();
        assert_eq!(prover::piece_commitment(&**payload, length).unwrap().0, *commitment);
    }
    let pieces = pieces
        .into_iter()
        .zip(places)
        .map(|(commitment, (padded_bytes, offset_padded))| PieceCommitment { commitment, padded_bytes, offset_padded })
        .collect();
    (pieces, payloads)
}

#[test]
fn data_goes_in_and_comes_out_again() {
    let bench = Bench::new();
    let (pieces, payloads) = add_pieces(&bench);
    let staged = Some(bench.path("staged"));
    let Output::TreeD { comm_d } = bench.done(Work::TreeD { staged, cache: bench.path("cache") }) else {
        panic!("not tree-d")
    };
    assert_eq!(comm_d, prover::comm_d(PROOF, &pieces).unwrap());
    let tree_d = bench.path("cache/sc-02-data-tree-d.dat");
    let written = fs::metadata(&tree_d).unwrap().modified().unwrap();

    bench.done(bench.pc1(1, ticket(1), &pieces));
    assert_eq!(fs::metadata(&tree_d).unwrap().modified().unwrap(), written, "PC1 built tree-d again");
    let Output::Pc2 { comm_d: of_pc2, comm_r } = bench.done(bench.pc2(1, false)) else { panic!("not pc2") };
    assert_eq!(of_pc2, comm_d);
    bench.done(bench.c1(1, &pieces, comm_d, comm_r));

    assert_eq!(bench.done(Work::Finalize { cache: bench.path("cache") }), Output::Finalize {});
    let mut left: Vec<_> =
        fs::read_dir(bench.path("cache")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["p_aux", "sc-02-data-tree-r-last.dat", "t_aux"]);

    let unseal = |ticket: Drawn, offset_padded: u64, length_unpadded| Work::Unseal {
        sector: sector(1),
        ticket,
        comm_d,
        sealed: bench.path("sealed"),
        scratch: bench.path("scratch"),
        output: bench.path("unsealed"),
        offset_unpadded: offset_padded / 128 * 127,
        length_unpadded,
    };
    for (payload, piece) in payloads.iter().zip(&pieces) {
        bench.done(unseal(ticket(1), piece.offset_padded, u64::try_from(payload.len()).unwrap()));
        assert_eq!(&fs::read(bench.path("unsealed")).unwrap(), payload);
    }
    fs::remove_file(bench.path("unsealed")).unwrap();
    let (class, code, message) = bench.refused(unseal(ticket(2), 0, 127));
    assert_eq!((class, code.as_str()), (FailureClass::Park, "bad-input"), "{message}");
    let (.., message) = bench.refused(unseal(ticket(1), 1920, 128));
    assert!(message.contains("not within"), "{message}");
    assert!(!bench.path("unsealed").exists(), "garbage was delivered");
}

#[test]
fn tree_d_is_the_library_s_own_byte_for_byte() {
    let (ours, theirs) = (Bench::new(), Bench::new());
    let (pieces, _) = add_pieces(&ours);
    fs::copy(ours.path("staged"), theirs.path("staged")).unwrap();
    ours.done(Work::TreeD { staged: Some(ours.path("staged")), cache: ours.path("cache") });
    theirs.done(theirs.pc1(1, ticket(1), &pieces));
    let tree = |bench: &Bench| fs::read(bench.path("cache/sc-02-data-tree-d.dat")).unwrap();
    assert_eq!(tree(&ours), tree(&theirs));
}

#[test]
fn a_cc_sector_is_zeros() {
    let bench = Bench::new();
    let Output::TreeD { comm_d } = bench.done(Work::TreeD { staged: None, cache: bench.path("cache") }) else {
        panic!("not tree-d")
    };
    assert_eq!(comm_d, prover::comm_d(PROOF, &[]).unwrap());
    // What lies where the replica goes must not become a part of it.
    damage(&bench.path("sealed"));
    let (of_pc2, comm_r) = bench.seal_cc(1, ticket(1));
    assert_eq!(of_pc2, comm_d);
    assert_eq!(bench.done(bench.c1(1, &[], comm_d, comm_r)), Output::C1 {});
}

#[test]
fn layers_of_another_ticket_are_not_used() {
    let (reused, fresh) = (Bench::new(), Bench::new());
    let first = reused.seal_cc(1, ticket(1));
    let second = reused.seal_cc(1, ticket(2));
    assert_ne!(first, second);
    assert_eq!(second, fresh.seal_cc(1, ticket(2)));
}

#[test]
fn layers_of_the_same_work_are_kept_and_torn_ones_are_not() {
    let bench = Bench::new();
    bench.done(bench.pc1(1, ticket(1), &[]));
    let layer = |n: u32| bench.path(&format!("cache/sc-02-data-layer-{n}.dat"));
    let changed = |n: u32| fs::metadata(layer(n)).unwrap().modified().unwrap();
    let (first, second) = (changed(1), changed(2));
    fs::File::options().write(true).open(layer(2)).unwrap().set_len(1000).unwrap();
    bench.done(bench.pc1(1, ticket(1), &[]));
    assert_eq!(changed(1), first);
    assert_ne!(changed(2), second);
}

/// What a kill in the middle of a layer leaves: a file of full length that the tag does not vouch for.
#[test]
fn a_layer_that_was_not_noted_is_made_again() {
    let (bench, fresh) = (Bench::new(), Bench::new());
    let (_, comm_r) = fresh.seal_cc(1, ticket(1));
    bench.done(bench.pc1(1, ticket(1), &[]));
    let layer = |n: u32| bench.path(&format!("cache/sc-02-data-layer-{n}.dat"));
    let first = fs::metadata(layer(1)).unwrap().modified().unwrap();
    let tag = fs::read_to_string(bench.path("cache.tag")).unwrap();
    let noted = tag.replace("\"layers_synced\":2", "\"layers_synced\":1");
    assert_ne!(tag, noted);
    host::durable::write(&bench.path("cache.tag"), noted.as_bytes()).unwrap();
    damage(&layer(2));
    bench.done(bench.pc1(1, ticket(1), &[]));
    assert_eq!(fs::metadata(layer(1)).unwrap().modified().unwrap(), first, "the whole layer is kept");
    let Output::Pc2 { comm_r: again, .. } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    assert_eq!(again, comm_r);
}

/// Killed at whatever it does, some milliseconds later each time.
#[test]
fn a_killed_pc2_begins_from_clean_inputs() {
    let (bench, fresh) = (Bench::new(), Bench::new());
    let (_, comm_r) = fresh.seal_cc(1, ticket(1));
    bench.done(bench.pc1(1, ticket(1), &[]));
    let job = bench.path("job-pc2");
    fs::create_dir_all(&job).unwrap();
    let request = Request { proof: PROOF, work: bench.pc2(1, true) };
    host::durable::write(&job.join(REQUEST), &encode(&request).unwrap()).unwrap();
    let mut killed = 0;
    for pause_ms in [0, 2, 5, 10, 20, 40] {
        let mut child = prover(&job).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && !bench.path("job-pc2/progress.json").exists() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        host::durable::remove_file(&job.join("progress.json")).unwrap();
    }
    assert!(killed > 0, "every run came to its end");
    let Output::Pc2 { comm_r: again, .. } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    assert_eq!(again, comm_r);
}

#[test]
fn an_interrupted_pc2_leaves_no_trace() {
    let bench = Bench::new();
    let (_, comm_r) = bench.seal_cc(1, ticket(1));
    damage(&bench.path("sealed"));
    damage(&bench.path("cache/p_aux"));
    let Output::Pc2 { comm_r: again, .. } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    assert_eq!(again, comm_r);
}

#[test]
fn a_folder_with_something_else_in_it_is_no_cache() {
    let bench = Bench::new();
    fs::create_dir(bench.path("cache")).unwrap();
    let precious = bench.path("cache/thesis.txt");
    host::durable::write(&precious, b"ten years").unwrap();
    let (class, code, message) = bench.refused(bench.pc1(1, ticket(1), &[]));
    assert_eq!((class, code.as_str()), (FailureClass::Park, "bad-input"), "{message}");
    assert!(precious.exists());
}

#[test]
fn pc2_refuses_the_cache_of_another_sector() {
    let bench = Bench::new();
    bench.done(bench.pc1(1, ticket(1), &[]));
    let (class, code, _) = bench.refused(bench.pc2(2, true));
    assert_eq!((class, code.as_str()), (FailureClass::RedoFrom(Stage::Pc1), "wrong-cache"));
}

#[test]
fn c1_notices_a_damaged_layer() {
    let bench = Bench::new();
    bench.done(bench.pc1(1, ticket(1), &[]));
    damage(&bench.path("cache/sc-02-data-layer-1.dat"));
    let Output::Pc2 { comm_d, comm_r } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    let (class, code, message) = bench.refused(bench.c1(1, &[], comm_d, comm_r));
    assert_eq!((class, code.as_str()), (FailureClass::RedoFrom(Stage::Pc1), "damaged-sector"), "{message}");
}

#[test]
fn staged_data_that_differs_from_its_pieces_is_found_in_pc1() {
    let bench = Bench::new();
    let (pieces, _) = add_pieces(&bench);
    let mut staged = fs::read(bench.path("staged")).unwrap();
    staged[600] ^= 1;
    host::durable::write(&bench.path("staged"), &staged).unwrap();
    let (class, code, message) = bench.refused(bench.pc1(1, ticket(1), &pieces));
    assert_eq!((class, code.as_str()), (FailureClass::RedoFrom(Stage::AddPiece), "data-differs"), "{message}");
}

#[test]
fn a_replica_that_cannot_be_proven_is_named_and_the_others_go_on() {
    let (good, bad) = (Bench::new(), Bench::new());
    let replica = |bench: &Bench, number| {
        let (_, comm_r) = bench.seal_cc(number, ticket(1));
        Replica { number: SectorNumber(number), comm_r, sealed: bench.path("sealed"), cache: bench.path("cache") }
    };
    let sectors = vec![replica(&good, 3), replica(&bad, 5)];
    let all = [SectorNumber(3), SectorNumber(5)];
    let Output::VanillaPost { proven, bad: none } = good.done(good.vanilla(&[3, 5], sectors.clone())) else {
        panic!("not vanilla-post")
    };
    assert_eq!((proven.as_slice(), none.as_slice()), (all.as_slice(), [].as_slice()));
    let proofs: Vec<String> = serde_json::from_slice(&fs::read(good.path("vanilla.json")).unwrap()).unwrap();
    assert_eq!(proofs.len(), 2);

    damage(&bad.path("sealed"));
    let Output::VanillaPost { proven, bad: named } = good.done(good.vanilla(&[3, 5], sectors.clone())) else {
        panic!("not vanilla-post")
    };
    assert_eq!(proven, [SectorNumber(3)]);
    assert_eq!(named.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [SectorNumber(5)]);
    let (.., message) = good.refused(good.vanilla(&[5, 3], sectors));
    assert!(message.contains("ascending"), "{message}");
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let (path, staged) = (bench.path("payload"), bench.path("staged"));
    host::durable::write(&path, &[1; 200]).unwrap();
    let piece =
        |path: &Path, padded_bytes, offset_padded| PieceFile { path: path.to_owned(), padded_bytes, offset_padded };
    for (pieces, why) in [
        (vec![piece(&path, 256, 0), piece(&path, 256, 128)], "multiple of its size"),
        (vec![piece(&path, 256, 256), piece(&path, 256, 0)], "overlaps"),
        (vec![piece(&path, 128, 0)], "do not fit"),
        (vec![piece(&bench.path("nowhere"), 256, 0)], "No such file"),
    ] {
        let (class, code, message) = bench.refused(Work::AddPiece { pieces, staged: staged.clone() });
        assert_eq!((class, code.as_str()), (FailureClass::Park, "bad-input"), "{message}");
        assert!(message.contains(why), "{message}");
    }
    assert!(!staged.exists());
    let (.., code, message) = bench.refused(bench.pc2(1, true));
    assert_eq!(code, "bad-input", "{message}");
    let job = bench.path("job-malformed");
    fs::create_dir(&job).unwrap();
    host::durable::write(&job.join(REQUEST), b"{\"v\":99}").unwrap();
    let JobResult::Refused { code, message, .. } = run_prover(&job) else { panic!("a malformed request was done") };
    assert!(code == "bad-input" && message.contains("version 99"), "{code}: {message}");
}

#[test]
fn missing_parameters_are_named_with_what_to_do() {
    let bench = Bench::new();
    let zero = Bytes32([0; 32]);
    let (class, code, message) = bench.refused(Work::C2 {
        sector: sector(1),
        comm_d: zero,
        comm_r: zero,
        ticket: ticket(1),
        seed: SEED,
        c1_output: bench.path("c1.json"),
    });
    assert_eq!((class, code.as_str()), (FailureClass::RetryElsewhere, "missing-params"), "{message}");
    assert!(message.contains("prover params"), "{message}");
}
