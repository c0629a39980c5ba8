//! Who is there: whoever has a request open, or had one a short while ago.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{Duration, Instant};
use veilsum_params::ClientId;
use veilsum_protocol::Party;

use super::{Core, RoundRun, Wake};

#[derive(Debug, Default)]
pub(in crate::server) struct Presence {
    open: u32,
    pub(super) last: Option<Instant>,
    /// It is known not to come again.
    left: bool,
}

impl RoundRun {
    /// Counts a waiting request of a member, or of a client that prepares its contribution, for as long as the guard lives.
    pub(in crate::server) async fn present(self: &Arc<Self>, who: Party) -> PresenceGuard {
        self.with(|core| {
            if let Some(presence) = core.presence(who) {
                presence.open = presence.open.saturating_add(1);
            }
        })
        .await;
        PresenceGuard {
            run: Arc::clone(self),
            who,
        }
    }

    /// Takes a client, and the member that it is, for gone whenever it has no request open.
    pub(in crate::server) async fn note_departed(&self, client: ClientId) {
        let member = self.context.params().member_index(client);
        let parties = [Some(Party::Client(client)), member.map(Party::Member)];
        self.with(|core| {
            for who in parties.into_iter().flatten() {
                if let Some(presence) = core.presence(who) {
                    presence.left = true;
                }
            }
        })
        .await;
        self.bump(Wake::Driver);
    }
}

/// See [`RoundRun::present`].
pub(in crate::server) struct PresenceGuard {
    run: Arc<RoundRun>,
    who: Party,
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        let (run, who) = (Arc::clone(&self.run), self.who);
        let leave = move |core: &mut Core| {
            if let Some(presence) = core.presence(who) {
                presence.open = presence.open.saturating_sub(1);
                presence.last = Some(Instant::now());
            }
        };
        // A task that is dropped must not wait for the lock.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                run.with(leave).await;
                run.bump(Wake::Driver);
            })),
            Err(_) => leave(&mut run.lock()),
        }
    }
}

impl Presence {
    pub(super) fn gone_for(&self, quiet: Duration) -> bool {
        self.has_left() || self.open == 0 && self.last.is_none_or(|last| last.elapsed() >= quiet)
    }

    pub(super) fn has_left(&self) -> bool {
        self.left && self.open == 0
    }
}

impl Core {
    pub(super) fn presence(&mut self, who: Party) -> Option<&mut Presence> {
        match who {
            Party::Server => None,
            Party::Client(client) => Some(self.clients.entry(client).or_default()),
            Party::Member(index) => Some(self.members.entry(index).or_default()),
        }
    }
}
