//! Whose fault an error is.

use std::path::Path;

use streams::id::StoreId;

use super::*;

#[test]
fn another_store_is_tried_only_for_what_is_the_stores_fault() {
    let target = PersistentStore::new(StoreId(uuid::Uuid::nil()), "/kept".into());
    let io = |path: &str| StoreError::io("write", Path::new(path))(std::io::ErrorKind::StorageFull.into());
    assert!(is_of(&target, &io("/kept/partial/s-t01000-1/sealed")));
    assert!(!is_of(&target, &io("/local/sectors")));
    assert!(!is_of(&target, &StoreError::Source { path: "/kept/x".into(), source: std::io::ErrorKind::Other.into() }));
    assert!(!is_of(&target, &StoreError::Interrupted));
    let limit = Duration::from_secs(1);
    assert!(is_of(&target, &StoreError::Silent { path: "/kept".into(), limit }));
    assert!(!is_of(&target, &StoreError::Silent { path: "/local".into(), limit }));
}

#[test]
fn the_challenge_is_of_this_copy() {
    let [a, b] = [Bytes32([1; 32]), Bytes32([2; 32])];
    assert_eq!(challenge(a, b), challenge(a, b));
    assert_ne!(challenge(a, b), challenge(b, a));
}

#[test]
fn each_reason_to_wait_has_a_word() {
    let of = |why| code_of(&Verdict::No(why));
    assert_eq!(of(WhyNot::NoRoom { needed: 2, room: 1 }), Some("no-space"));
    assert_eq!(of(WhyNot::SetAside(Condition::Hanging { for_s: 30 })), Some("store-hangs"));
    assert_eq!(of(WhyNot::SetAside(Condition::ReadOnly)), Some("read-only"));
    assert_eq!(of(WhyNot::Retired), None);
}

#[test]
fn a_slow_copy_is_told_while_it_is_made() {
    let after = |mib: u64, s| slow(mib << 20, Duration::from_secs(s));
    assert_eq!(after(1, 59), None);
    assert_eq!(after(1_200, 60), None);
    let told = after(1_199, 60).unwrap();
    assert!(told.starts_with("a copy to it makes 19.9 MiB a second"), "{told}");
    assert!(after(0, 61).unwrap().contains("makes 0 B a second"));
}
