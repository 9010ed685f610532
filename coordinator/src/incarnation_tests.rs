use super::*;

const NETWORK: &str = "net";

/// What it is, what is remembered, what is found, what follows.
type Case = (&'static str, Option<Memory>, Found, Result<Standing, Lost>);

fn life(incarnation: u32, began_at: u64) -> ClusterRecord {
    ClusterRecord {
        incarnation: Incarnation(incarnation),
        network: NETWORK.to_owned(),
        began_at: Timestamp(began_at),
        because: "a test".to_owned(),
    }
}

fn memory(incarnation: u32, sectors: u64) -> Memory {
    let mut memory = Memory::of(life(incarnation, 100));
    memory.sequences.insert("KV_SECTORS".to_owned(), sectors);
    memory
}

fn found(life: Option<ClusterRecord>, sectors: u64) -> Found {
    Found { life, next: None, sequences: BTreeMap::from([("KV_SECTORS".to_owned(), sectors)]) }
}

#[test]
fn what_is_found_and_what_is_remembered_decide() {
    let same = Ok(Standing::Same(Incarnation(2)));
    let cases: Vec<Case> = vec![
        ("a first start", None, Found::default(), Ok(Standing::First)),
        ("wiped", Some(memory(2, 9)), Found::default(), Err(Lost::Wiped(Incarnation(2)))),
        ("wiped, and an empty layout made", Some(memory(2, 9)), found(None, 0), Err(Lost::Wiped(Incarnation(2)))),
        ("as remembered", Some(memory(2, 9)), found(Some(life(2, 100)), 9), same),
        (
            "further than a standby remembers",
            Some(memory(2, 3)),
            found(Some(life(2, 100)), 9),
            Ok(Standing::Same(Incarnation(2))),
        ),
        ("rebuilt by another", Some(memory(1, 900)), found(Some(life(2, 100)), 9), Ok(Standing::Unknown(life(2, 100)))),
        ("known to others alone", None, found(Some(life(2, 100)), 9), Ok(Standing::Unknown(life(2, 100)))),
        (
            "an older backup of this life",
            Some(memory(2, 10)),
            found(Some(life(2, 100)), 9),
            Err(Lost::WentBack { what: "stream KV_SECTORS".to_owned(), remembered: 10, found: 9 }),
        ),
        (
            "a backup of an earlier life",
            Some(memory(3, 1)),
            found(Some(life(2, 100)), 9),
            Err(Lost::WentBack { what: "its incarnation".to_owned(), remembered: 3, found: 2 }),
        ),
        ("begun anew by another", Some(memory(2, 1)), found(Some(life(2, 101)), 9), Err(Lost::Other(Incarnation(2)))),
    ];
    for (what, memory, found, wanted) in cases {
        assert_eq!(compare(memory.as_ref(), &found, NETWORK), wanted, "{what}");
    }
}

#[test]
fn another_network_is_refused_whatever_is_remembered() {
    let there = found(Some(life(2, 100)), 9);
    for memory in [None, Some(memory(2, 9))] {
        let refused = compare(memory.as_ref(), &there, "othernet").unwrap_err();
        assert_eq!(refused, Lost::WrongNetwork { queue: NETWORK.to_owned(), node: "othernet".to_owned() });
    }
}

#[test]
fn a_rebuild_that_was_cut_off_is_refused_by_those_who_remember_and_those_who_do_not() {
    for memory in [None, Some(memory(2, 9))] {
        let there = Found { next: Some(life(3, 200)), ..found(Some(life(2, 100)), 9) };
        let begun = Lost::Unfinished { life: Incarnation(3), because: life(3, 200).because };
        assert_eq!(compare(memory.as_ref(), &there, NETWORK), Err(begun));
    }
}

#[test]
fn a_key_of_the_outbox_is_read_back() {
    assert_eq!(sender_and_nonce("f3abc.17"), Some(("f3abc", 17)));
    assert_eq!(sender_and_nonce("f3abc"), None);
}
