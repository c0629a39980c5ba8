//! Whose requests are in work, and how often each may come: by source as long as nothing is known of the sender, by identity
//! from then on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::config::ServiceConfig;
use crate::source::Source;

/// A source may always have this many requests in work, however many the others have: so that those with few are never kept
/// out by those with many.
const ALWAYS: u32 = 8;
/// From this many sources or identities on those that are at rest are forgotten.
const REMEMBERED: usize = 1 << 14;

/// Requests that may come at once, and how many more with each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: u32,
    /// With each second.
    pub per_second: u32,
}

impl Rate {
    /// Nothing is held back.
    pub const UNLIMITED: Self = Self {
        burst: u32::MAX,
        per_second: u32::MAX,
    };
}

/// What one source or one identity uses.
#[derive(Clone, Copy, Debug)]
struct Use {
    open: u32,
    bodies: u32,
    /// When all that was used of the rate is given back.
    rested_at: Instant,
}

impl Use {
    fn new(now: Instant) -> Self {
        Self {
            open: 0,
            bodies: 0,
            rested_at: now,
        }
    }

    fn is_at_rest(&self, now: Instant) -> bool {
        self.open == 0 && self.bodies == 0 && self.rested_at <= now
    }

    /// How long one more request has to wait, if that is no longer than `most`; it is counted then.
    fn take(&mut self, rate: Rate, now: Instant, most: Duration) -> Option<Duration> {
        let each = Duration::from_secs(1) / rate.per_second.max(1);
        let next = self.rested_at.max(now) + each;
        let wait = (next - now).saturating_sub(each.saturating_mul(rate.burst));
        if wait > most {
            return None;
        }
        self.rested_at = next;
        Some(wait)
    }
}

#[derive(Debug, Default)]
struct State {
    total: u32,
    unknown: u32,
    sources: BTreeMap<Source, Use>,
    identities: BTreeMap<u64, Use>,
}

/// The shares of all senders.
#[derive(Debug)]
pub(crate) struct Shares {
    state: Mutex<State>,
    idle: Notify,
    max_requests: u32,
    per_source: u32,
    per_identity: u32,
    bodies_per_identity: u32,
    source_rate: Rate,
    identity_rate: Rate,
    most: Duration,
}

/// There is no place for the request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoShare;

fn forget<K: Ord + Copy>(uses: &mut BTreeMap<K, Use>, now: Instant) {
    if uses.len() >= REMEMBERED {
        uses.retain(|_, used| !used.is_at_rest(now));
    }
}

impl Shares {
    pub(crate) fn new(config: &ServiceConfig) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            idle: Notify::new(),
            max_requests: config.max_requests,
            per_source: config.requests_per_source,
            per_identity: config.requests_per_identity,
            bodies_per_identity: config.bodies_per_identity,
            source_rate: config.source_rate,
            identity_rate: config.identity_rate,
            most: config.admission_wait,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request of which only the source is known. Requests of unknown senders get half of all places.
    pub(crate) fn begin(self: &Arc<Self>, source: Source) -> Result<Share, NoShare> {
        let now = Instant::now();
        let mut state = self.state();
        forget(&mut state.sources, now);
        let open = state.sources.get(&source).map_or(0, |used| used.open);
        let half = self.max_requests.div_ceil(2);
        if open >= self.per_source || (state.unknown >= half && open >= ALWAYS.min(half)) {
            return Err(NoShare);
        }
        let used = state.sources.entry(source).or_insert_with(|| Use::new(now));
        used.open = used.open.saturating_add(1);
        state.unknown = state.unknown.saturating_add(1);
        state.total = state.total.saturating_add(1);
        drop(state);
        Ok(Share {
            shares: Arc::clone(self),
            source,
            identity: None,
        })
    }

    /// Waits until no request is in work.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.state().total == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// The place of one request, free again on drop.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    source: Source,
    identity: Option<u64>,
}

impl Share {
    fn leave_source(state: &mut State, source: Source) {
        state.unknown = state.unknown.saturating_sub(1);
        if let Some(used) = state.sources.get_mut(&source) {
            used.open = used.open.saturating_sub(1);
        }
    }

    /// Counts the request to its sender instead of its source.
    pub(crate) fn identify(&mut self, identity: u64) -> Result<(), NoShare> {
        if self.identity.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        let shares = Arc::clone(&self.shares);
        let mut state = shares.state();
        forget(&mut state.identities, now);
        let used = state.identities.entry(identity);
        let used = used.or_insert_with(|| Use::new(now));
        if used.open >= shares.per_identity {
            return Err(NoShare);
        }
        used.open = used.open.saturating_add(1);
        Self::leave_source(&mut state, self.source);
        self.identity = Some(identity);
        Ok(())
    }

    /// How long the request has to wait for its sender's rate, or its source's as long as the sender is not known.
    pub(crate) fn wait(&self) -> Result<Duration, NoShare> {
        self.wait_at(Instant::now())
    }

    fn wait_at(&self, now: Instant) -> Result<Duration, NoShare> {
        let shares = &self.shares;
        let mut state = shares.state();
        let (used, rate) = match self.identity {
            Some(identity) => (state.identities.get_mut(&identity), shares.identity_rate),
            None => (state.sources.get_mut(&self.source), shares.source_rate),
        };
        let used = used.ok_or(NoShare)?;
        used.take(rate, now, shares.most).ok_or(NoShare)
    }

    /// A place in the spool: for those who are known few at a time, however many connections they have.
    pub(crate) fn body(&self) -> Result<BodyShare, NoShare> {
        if let Some(identity) = self.identity {
            let mut state = self.shares.state();
            let used = state.identities.get_mut(&identity).ok_or(NoShare)?;
            if used.bodies >= self.shares.bodies_per_identity {
                return Err(NoShare);
            }
            used.bodies = used.bodies.saturating_add(1);
        }
        Ok(BodyShare {
            shares: Arc::clone(&self.shares),
            identity: self.identity,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.shares.state();
        match self.identity {
            Some(identity) => {
                if let Some(used) = state.identities.get_mut(&identity) {
                    used.open = used.open.saturating_sub(1);
                }
            }
            None => Self::leave_source(&mut state, self.source),
        }
        state.total = state.total.saturating_sub(1);
        if state.total == 0 {
            self.shares.idle.notify_waiters();
        }
    }
}

/// See [`Share::body`].
#[derive(Debug)]
pub(crate) struct BodyShare {
    shares: Arc<Shares>,
    identity: Option<u64>,
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if let Some(identity) = self.identity
            && let Some(used) = self.shares.state().identities.get_mut(&identity)
        {
            used.bodies = used.bodies.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([10, 0, 0, last]))
    }

    fn shares(change: impl FnOnce(&mut ServiceConfig)) -> Arc<Shares> {
        let mut config = ServiceConfig::new("unused");
        change(&mut config);
        Shares::new(&config)
    }

    #[tokio::test]
    async fn who_has_many_requests_keeps_nobody_out() {
        let shares = shares(|config| {
            config.max_requests = 40;
            config.requests_per_source = 20;
            config.requests_per_identity = 2;
        });
        let greedy: Vec<_> = (0..20).map(|_| shares.begin(source(1)).unwrap()).collect();
        assert_eq!(shares.begin(source(1)).unwrap_err(), NoShare, "its share");
        // Half of all places are gone to one source, and the others get in nevertheless.
        let mut few: Vec<_> = (0..8).map(|_| shares.begin(source(2)).unwrap()).collect();
        assert_eq!(shares.begin(source(2)).unwrap_err(), NoShare);
        // Whoever is known takes no place of its source any more.
        few[0].identify(7).unwrap();
        few[1].identify(7).unwrap();
        assert_eq!(few[2].identify(7), Err(NoShare));
        few[2].identify(8).unwrap();
        let more: Vec<_> = (0..3).map(|_| shares.begin(source(2)).unwrap()).collect();
        assert_eq!(shares.begin(source(2)).unwrap_err(), NoShare);
        let first = few[0].body().unwrap();
        let second = few[1].body().unwrap();
        assert_eq!(few[0].body().unwrap_err(), NoShare);
        drop(first);
        drop((few[0].body().unwrap(), second));
        let waiting = tokio::spawn({
            let shares = Arc::clone(&shares);
            async move { shares.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop((greedy, few, more));
        waiting.await.unwrap();
        let state = shares.state();
        assert_eq!((state.total, state.unknown), (0, 0));
        let open = |used: &Use| used.open + used.bodies;
        assert_eq!(state.sources.values().map(open).sum::<u32>(), 0);
        assert_eq!(state.identities.values().map(open).sum::<u32>(), 0);
    }

    #[test]
    fn a_rate_lets_bursts_through_and_then_holds_back() {
        let shares = shares(|config| {
            config.source_rate = Rate {
                burst: 5,
                per_second: 10,
            };
            config.identity_rate = Rate {
                burst: 2,
                per_second: 1,
            };
            config.admission_wait = Duration::from_secs(1);
        });
        let mut share = shares.begin(source(1)).unwrap();
        let other = shares.begin(source(2)).unwrap();
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(share.wait_at(now), Ok(Duration::ZERO));
        }
        for waited in 1..=10 {
            assert_eq!(share.wait_at(now), Ok(Duration::from_millis(100 * waited)));
        }
        assert_eq!(
            share.wait_at(now),
            Err(NoShare),
            "longer than anybody waits"
        );
        assert_eq!(other.wait_at(now), Ok(Duration::ZERO));
        share.identify(3).unwrap();
        let now = Instant::now();
        assert_eq!(share.wait_at(now), Ok(Duration::ZERO), "a rate of its own");
        assert_eq!(share.wait_at(now), Ok(Duration::ZERO));
        assert_eq!(share.wait_at(now), Ok(Duration::from_secs(1)));
        assert_eq!(share.wait_at(now), Err(NoShare));
        let later = now + Duration::from_secs(3);
        assert_eq!(share.wait_at(later), Ok(Duration::ZERO));
    }
}
