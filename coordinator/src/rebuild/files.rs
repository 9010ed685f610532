//! What the stores hold of one sector, and which of it can be used.

use streams::{
    inventory::Holding,
    message::Facts,
    proof::{Commitment, Drawn},
    sector::{Attached, Persisted, Placement, Sealed},
    stage::Stage,
};

/// Everything that is held of one sector, in any store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    holdings: &'a [Holding],
}

impl<'a> Files<'a> {
    pub(crate) const fn new(holdings: &'a [Holding]) -> Self {
        Self { holdings }
    }

    /// Any of them: all agree on pieces and proof type.
    pub(crate) fn any(self) -> Option<&'a Holding> {
        self.holdings.first()
    }

    /// The folder in a local store that got furthest, of the latest generation.
    pub(crate) fn local(self) -> Option<&'a Holding> {
        let furthest = |holding: &Holding| (holding.generation, holding.done.iter().map(Facts::stage).max());
        self.locals().max_by_key(|holding| (furthest(holding), holding.placed_at))
    }

    /// The local folder that has this replica.
    pub(crate) fn local_with(self, comm_r: Commitment) -> Option<&'a Holding> {
        self.locals().find(|holding| replica(holding).is_some_and(|(_, found)| found == comm_r))
    }

    /// A persisted copy of this replica.
    pub(crate) fn persisted_with(self, comm_r: Commitment) -> Option<(&'a Holding, Persisted)> {
        self.holdings
            .iter()
            .filter(|holding| holding.persistent && replica(holding).is_some_and(|(_, found)| found == comm_r))
            .find_map(|holding| Some((holding, self.copy(holding)?)))
    }

    /// What sealing made, of this replica: as the local folder says, or the persisted copy where there is no local one
    /// any more.
    pub(crate) fn sealed_with(self, comm_r: Commitment) -> Option<Sealed> {
        let persisted = self.persisted_with(comm_r);
        let from = self.local_with(comm_r).or_else(|| persisted.as_ref().map(|(holding, _)| *holding))?;
        let (comm_d, comm_r) = replica(from)?;
        let persisted = persisted.map(|(_, copy)| copy);
        Some(Sealed { at: placement(from), ticket: from.ticket?, comm_d, comm_r, persisted })
    }

    /// This replica, where it was sealed elsewhere and attached.
    pub(crate) fn attached_with(self, comm_r: Commitment) -> Option<Attached> {
        let holding = self.holdings.iter().find(|holding| holding.attached == Some(comm_r))?;
        Some(Attached { comm_r, store: holding.store, place: holding.place.clone() })
    }

    /// The digest is in the copy's own manifest, or in that of the folder it was copied from.
    fn copy(self, holding: &Holding) -> Option<Persisted> {
        let told = |facts: &Facts| match facts {
            Facts::Persist { store, sealed_sha256 } if *store == holding.store => Some(*sealed_sha256),
            _ => None,
        };
        let digest = holding
            .sealed_sha256
            .or_else(|| self.holdings.iter().flat_map(|other| other.done.iter()).find_map(told))?;
        Some(Persisted { store: holding.store, place: holding.place.clone(), sealed_sha256: digest })
    }

    fn locals(self) -> impl Iterator<Item = &'a Holding> {
        self.holdings.iter().filter(|holding| !holding.persistent)
    }
}

/// Where a holding is, as a record names it. A folder of before any ticket belongs to the first generation.
pub(crate) fn placement(holding: &Holding) -> Placement {
    Placement { place: holding.place.clone(), store: holding.store, generation: holding.generation.max(1) }
}

/// Whether a stage's files are there.
pub(crate) fn has(holding: &Holding, stage: Stage) -> bool {
    holding.done.iter().any(|facts| facts.stage() == stage)
}

/// Tree-d's root, once tree-d is built.
pub(crate) fn tree_d(holding: &Holding) -> Option<Commitment> {
    holding.done.iter().find_map(|facts| match facts {
        Facts::TreeD { comm_d } => Some(*comm_d),
        _ => None,
    })
}

/// CommD and CommR, once PC2 is done.
pub(crate) fn replica(holding: &Holding) -> Option<(Commitment, Commitment)> {
    holding.done.iter().find_map(|facts| match facts {
        Facts::Pc2 { comm_d, comm_r } => Some((*comm_d, *comm_r)),
        _ => None,
    })
}

/// The ticket, once PC1 was claimed.
pub(crate) const fn ticket(holding: &Holding) -> Option<Drawn> {
    holding.ticket
}
