//! Whether the chain that a node shows is still the one it showed before.
//!
//! Heads that were looked at are remembered back to finality. A new head that has the last one among its ancestors
//! changes nothing that was known; one that does not is on another branch, and everything above the newest remembered
//! head that both share has to be looked at again. That costs one call a head, and a handful at a fork.

use std::collections::BTreeMap;

use streams::id::Epoch;

use crate::{
    api::{ChainApi, TipSet, TipSetKey},
    error::ChainError,
};

/// What a new head means for what was read at earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is the head of the last look.
    Not,
    /// The last head is among its ancestors: what was there is there.
    On,
    /// It is lower than the last head. The node is behind, or has just left a branch and not caught up: what it says
    /// now must not be used against what is known.
    Behind {
        /// The height of the last head.
        seen: Epoch,
    },
    /// Another branch: what happened above `since` may be gone, or elsewhere. The first look is such a one, since
    /// nothing is known of what was there before.
    Forked {
        /// The height up to which nothing changed.
        since: Epoch,
    },
}

/// The heads that were looked at.
#[derive(Debug)]
pub struct Heads {
    seen: BTreeMap<Epoch, TipSetKey>,
    finality: Epoch,
}

impl Heads {
    /// Nothing was looked at yet. What lies `finality` epochs back cannot change.
    #[must_use]
    pub const fn new(finality: Epoch) -> Self {
        Self { seen: BTreeMap::new(), finality }
    }

    /// Looks at a head. After an error the look counts as not made.
    pub async fn look(&mut self, chain: &dyn ChainApi, head: &TipSet) -> Result<Moved, ChainError> {
        let deepest = head.height.saturating_sub(self.finality).max(0);
        let Some((newest, key)) = self.seen.last_key_value() else {
            self.seen.insert(head.height, head.key.clone());
            return Ok(Moved::Forked { since: deepest });
        };
        if *key == head.key {
            return Ok(Moved::Not);
        }
        if head.height < *newest {
            return Ok(Moved::Behind { seen: *newest });
        }
        let moved = if *key == head.parents || self.has(chain, *newest, head).await? {
            Moved::On
        } else {
            let since = self.shared(chain, head).await?;
            self.seen.retain(|height, _| since.is_some_and(|since| *height <= since));
            Moved::Forked { since: since.unwrap_or(deepest) }
        };
        self.seen.insert(head.height, head.key.clone());
        self.seen = self.seen.split_off(&deepest);
        Ok(moved)
    }

    /// Whether the remembered head at `height` is an ancestor of `head`.
    async fn has(&self, chain: &dyn ChainApi, height: Epoch, head: &TipSet) -> Result<bool, ChainError> {
        let there = chain.tipset_by_height(height, &head.key).await?;
        Ok(self.seen.get(&height).is_some_and(|key| *key == there.key))
    }

    /// The newest remembered head that is an ancestor of `head`. Those that are come before those that are not.
    async fn shared(&self, chain: &dyn ChainApi, head: &TipSet) -> Result<Option<Epoch>, ChainError> {
        let heights: Vec<Epoch> = self.seen.keys().copied().collect();
        let (mut shared, mut unknown) = (None, heights.as_slice());
        while let Some(height) = unknown.get(unknown.len() / 2).copied() {
            let (below, above) = unknown.split_at(unknown.len() / 2);
            if self.has(chain, height, head).await? {
                shared = Some(height);
                unknown = above.get(1..).unwrap_or_default();
            } else {
                unknown = below;
            }
        }
        Ok(shared)
    }
}
