//! What an operator sees of a server while it runs.

use std::sync::Arc;

use veilsum_params::ClientId;
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
    /// All tasks, each with its newest round. Waits for rounds that are busy, as when a sum is opened; no thread waits.
    pub async fn status(&self) -> Vec<TaskStatus> {
        self.shared.status_soon().await
    }

    /// Tells the server what it would find out by waiting ([`crate::ServerTimes::quiet`]): that a client does not come again in
    /// this round, neither with a contribution nor as a member. Whatever it sends all the same is taken.
    pub async fn departed(&self, round: u64, client: ClientId) {
        if let Some(run) = self.shared.round(round) {
            run.note_departed(client).await;
        }
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

    /// Of each task, how many rounds were due since the start and could not be begun: their parameters did not fit the roster.
    #[must_use]
    pub fn not_begun(&self) -> Vec<(String, u64)> {
        self.shared.not_begun()
    }

    /// Whether the logs of the newest rounds of all tasks can be written, and their last contributions could be stored. Of a
    /// round that is busy what was known before; nothing waits.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.is_healthy()
    }
}
