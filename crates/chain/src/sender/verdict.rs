//! What a look at the chain means for an entry of the outbox. No clock, no node.

use streams::{
    id::{Epoch, Timestamp},
    proof::ProofBytes,
    records::Fate,
};

use crate::api::MessageLookup;

/// Where a message was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// In a tipset, under one of its CIDs.
    OnChain(MessageLookup),
    /// Not on chain, and its nonce is still free: to be pushed.
    Nowhere,
    /// Not on chain, and at the head its nonce is used: by another message, or by this one in a tipset that the
    /// search does not know yet. To be looked at again.
    NonceUsed,
    /// Not on chain, and its nonce is used in a state that is final.
    NonceFinal,
}

/// The entry's new fate; `None` when nothing changed.
pub(super) fn fate(
    current: &Fate,
    seen: &Seen,
    pushed: bool,
    (head, confidence): (Epoch, Epoch),
    now: Timestamp,
) -> Option<Fate> {
    match seen {
        Seen::OnChain(lookup) => {
            let was = match current {
                Fate::Landed { cid, height, exit_code, settled, .. }
                    if (*height, *exit_code) == (lookup.height, lookup.receipt.exit_code)
                        && *cid == lookup.cid.to_string() =>
                {
                    Some(*settled)
                }
                _ => None,
            };
            // One look that says otherwise may be a lie: a landing is believed when a second one agrees.
            let settled = was.is_some() && head - lookup.height >= confidence;
            if was == Some(settled) {
                return None;
            }
            Some(Fate::Landed {
                cid: lookup.cid.to_string(),
                height: lookup.height,
                exit_code: lookup.receipt.exit_code,
                return_value: ProofBytes(lookup.receipt.return_value.clone()),
                gas_used: lookup.receipt.gas_used,
                at: now,
                settled,
            })
        }
        Seen::NonceFinal => Some(Fate::Displaced { at: now }),
        // It was in a tipset that a reorg took away; the nonce says whether it is elsewhere already.
        Seen::NonceUsed | Seen::Nowhere if matches!(current, Fate::Landed { .. }) => Some(Fate::Pushed { at: now }),
        Seen::Nowhere if pushed && matches!(current, Fate::Journaled {}) => Some(Fate::Pushed { at: now }),
        Seen::NonceUsed | Seen::Nowhere => None,
    }
}

/// Whether the sectors it carries may rely on it: only a fork deeper than the confidence changes it.
pub(super) const fn is_settled(fate: &Fate) -> bool {
    matches!(fate, Fate::Landed { settled: true, .. } | Fate::Displaced { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::Receipt, cids};

    const NOW: Timestamp = Timestamp(9);

    fn lookup(height: Epoch, exit_code: u32) -> MessageLookup {
        let receipt = Receipt { exit_code, return_value: vec![1], gas_used: 7 };
        MessageLookup { cid: cids::of_cbor(b"m"), receipt, tipset: Vec::new(), height }
    }

    fn landed(height: Epoch, exit_code: u32, settled: bool) -> Fate {
        let cid = cids::of_cbor(b"m").to_string();
        Fate::Landed { cid, height, exit_code, return_value: ProofBytes(vec![1]), gas_used: 7, at: NOW, settled }
    }

    #[test]
    fn a_message_goes_from_journal_to_settled() {
        let pushed = Fate::Pushed { at: NOW };
        assert_eq!(fate(&Fate::Journaled {}, &Seen::Nowhere, true, (10, 5), NOW), Some(pushed.clone()));
        assert_eq!(fate(&Fate::Journaled {}, &Seen::Nowhere, false, (10, 5), NOW), None, "the node did not take it");
        assert_eq!(fate(&pushed, &Seen::Nowhere, true, (10, 5), NOW), None);
        assert_eq!(fate(&pushed, &Seen::OnChain(lookup(10, 0)), false, (10, 5), NOW), Some(landed(10, 0, false)));
        assert_eq!(fate(&landed(10, 0, false), &Seen::OnChain(lookup(10, 0)), false, (14, 5), NOW), None);
        let at_depth = fate(&landed(10, 0, false), &Seen::OnChain(lookup(10, 0)), false, (15, 5), NOW);
        assert_eq!(at_depth, Some(landed(10, 0, true)));
    }

    #[test]
    fn a_landing_is_believed_when_two_looks_agree() {
        let deep = (30, 5);
        let pushed = Fate::Pushed { at: NOW };
        assert_eq!(fate(&pushed, &Seen::OnChain(lookup(10, 0)), false, deep, NOW), Some(landed(10, 0, false)));
        let lied = fate(&landed(10, 0, false), &Seen::OnChain(lookup(10, 16)), false, deep, NOW);
        assert_eq!(lied, Some(landed(10, 16, false)), "another exit code than before");
        let again = fate(&landed(10, 16, false), &Seen::OnChain(lookup(10, 0)), false, deep, NOW);
        assert_eq!(again, Some(landed(10, 0, false)));
        let settled = fate(&landed(10, 0, false), &Seen::OnChain(lookup(10, 0)), false, deep, NOW);
        assert_eq!(settled, Some(landed(10, 0, true)));
        assert_eq!(fate(&landed(10, 0, true), &Seen::OnChain(lookup(10, 0)), false, deep, NOW), None);
        let moved = fate(&landed(10, 0, true), &Seen::OnChain(lookup(12, 0)), false, deep, NOW);
        assert_eq!(moved, Some(landed(12, 0, false)), "a fork put it elsewhere");
        assert_eq!(fate(&landed(10, 0, true), &Seen::Nowhere, false, deep, NOW), Some(pushed));
    }

    #[test]
    fn failing_on_chain_is_not_the_same_as_never_landing() {
        let pushed = Fate::Pushed { at: NOW };
        assert_eq!(fate(&pushed, &Seen::OnChain(lookup(10, 16)), false, (20, 5), NOW), Some(landed(10, 16, false)));
        assert_eq!(fate(&pushed, &Seen::NonceUsed, false, (20, 5), NOW), None, "not final yet");
        let displaced = fate(&pushed, &Seen::NonceFinal, false, (20, 5), NOW).unwrap();
        assert_eq!(displaced, Fate::Displaced { at: NOW });
        assert!(is_settled(&displaced) && is_settled(&landed(10, 16, true)) && !is_settled(&landed(10, 0, false)));
    }

    #[test]
    fn a_reorg_takes_a_landing_back() {
        for seen in [Seen::Nowhere, Seen::NonceUsed] {
            assert_eq!(fate(&landed(10, 0, false), &seen, false, (11, 5), NOW), Some(Fate::Pushed { at: NOW }));
        }
        let elsewhere = fate(&landed(10, 0, false), &Seen::OnChain(lookup(11, 0)), false, (11, 5), NOW);
        assert_eq!(elsewhere, Some(landed(11, 0, false)));
    }
}
