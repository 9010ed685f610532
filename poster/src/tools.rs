//! What the work on a window needs from outside.

use std::{sync::Arc, time::Duration};

use chain::ChainApi;
use host::clock::Clock;
use streams::nats::Nats;

use crate::{check::Checker, hand_out::Desk, plan::Policy, posts::Posts, replicas::Replicas, submit::Submitter};

/// Connections and rules, shared by all windows.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) nats: Nats,
    pub(crate) desk: Desk,
    pub(crate) checker: Checker,
    pub(crate) posts: Posts,
    pub(crate) replicas: Replicas,
    pub(crate) submitter: Submitter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
    /// Who holds leases: unique to this run.
    pub(crate) holder: String,
    pub(crate) lease_ttl: Duration,
}
