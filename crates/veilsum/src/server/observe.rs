//! What an operator sees of a server while it runs.

use std::sync::Arc;

use veilsum_transport::{ServerCounters, ServerStats};

use super::shared::Shared;
use crate::status::TaskStatus;

/// Reads what a server does, also while [`crate::Server::run`] has it.
#[derive(Clone)]
pub struct Observer {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: ServerCounters,
}

impl Observer {
    /// All tasks, each with its newest round.
    #[must_use]
    pub fn status(&self) -> Vec<TaskStatus> {
        self.shared.status()
    }

    /// What the transport counted.
    #[must_use]
    pub fn transport(&self) -> ServerStats {
        self.counters.stats()
    }

    /// Of each task, how many contributions could not be stored since the start, and were answered so.
    #[must_use]
    pub fn storage_failures(&self) -> Vec<(String, u64)> {
        self.shared.storage_failures()
    }

    /// Whether the logs of the newest rounds of all tasks can be written, and their last contributions could be stored.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.is_healthy()
    }
}
