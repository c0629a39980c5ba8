//! What an operator sees of a server while it runs.

use std::sync::Arc;

use veilsum_transport::{ServerCounters, ServerStats};

use super::handler::Shared;
use crate::requests::ServerStatus;

/// Reads what a server does, also while [`crate::Server::run`] has it.
#[derive(Clone)]
pub struct Observer {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: ServerCounters,
}

impl Observer {
    /// The newest round; none before there is one.
    #[must_use]
    pub fn status(&self) -> Option<ServerStatus> {
        self.shared.status()
    }

    /// What the transport counted.
    #[must_use]
    pub fn transport(&self) -> ServerStats {
        self.counters.stats()
    }

    /// Whether the log of the newest round can be written.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.is_healthy()
    }
}
