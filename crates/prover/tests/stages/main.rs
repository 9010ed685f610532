//! Every stage but the two SNARKs, through the real program and real job directories, at 2 KiB.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod bench;
mod interrupted;

use std::{fs, path::Path};

use bench::{Bench, PROOF, SEED, damage, run_prover, sector, ticket};
use prover::job::{JobResult, Output, PieceCommitment, PieceFile, REQUEST, Replica, Work};
use streams::{
    id::SectorNumber,
    message::FailureClass,
    proof::{Bytes32, Drawn},
    stage::Stage,
};

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

    // Two replicas that were taken for each other: each is whole, and neither is what the chain has.
    let mut swapped = sectors.clone();
    (swapped[0].comm_r, swapped[1].comm_r) = (sectors[1].comm_r, sectors[0].comm_r);
    let Output::VanillaPost { proven, bad: named } = good.done(good.vanilla(&[3, 5], swapped)) else {
        panic!("not vanilla-post")
    };
    assert_eq!(proven, []);
    assert!(named.iter().all(|(_, why)| why.contains("not the one on chain")) && named.len() == 2, "{named:?}");

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
