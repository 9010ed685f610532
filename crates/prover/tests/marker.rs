//! What ships holds no fake proofs.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{fs, path::Path};

use prover::FAKE_PROOFS_MARKER;

fn contains_marker(program: &Path) -> bool {
    let marker = FAKE_PROOFS_MARKER.as_bytes();
    fs::read(program).unwrap().windows(marker.len()).any(|window| window == marker)
}

/// The programs that ship, of those built beside the prover.
#[cfg(not(feature = "fake-proofs"))]
#[test]
fn shipped_programs_hold_no_fake_proofs() {
    let prover = Path::new(env!("CARGO_BIN_EXE_prover"));
    for name in ["prover", "coordinator", "sealer-agent", "poster"] {
        let program = prover.with_file_name(name);
        if program.exists() {
            assert!(!contains_marker(&program), "{} accepts fake proofs", program.display());
        }
    }
}

#[cfg(feature = "fake-proofs")]
#[test]
fn the_marker_is_found_where_fake_proofs_are() {
    assert!(contains_marker(Path::new(env!("CARGO_BIN_EXE_fake-prover"))));
}

/// The search can fail: this test holds the marker itself.
#[test]
fn the_marker_is_found_in_a_program_that_holds_it() {
    assert!(contains_marker(&std::env::current_exe().unwrap()));
}
