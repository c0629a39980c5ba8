//! Bytes that may be held at one time, shared by all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, timeout};

/// The budget had no room in the time one was willing to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// A number of bytes of which requests hold parts. Waiters are served in order.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    free: Arc<Semaphore>,
    total: usize,
    peak: AtomicUsize,
}

/// Bytes held from a [`ByteBudget`]; given back on drop.
#[derive(Debug, Default)]
pub(crate) struct Charge(Option<OwnedSemaphorePermit>);

impl ByteBudget {
    pub(crate) fn new(total: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(total)),
            total,
            peak: AtomicUsize::new(0),
        }
    }

    /// Adds `bytes` to `charge`, waiting at most `wait` for room.
    pub(crate) async fn grow(
        &self,
        charge: &mut Charge,
        bytes: u32,
        wait: Duration,
    ) -> Result<(), Exhausted> {
        if bytes == 0 {
            return Ok(());
        }
        let acquired = timeout(wait, Arc::clone(&self.free).acquire_many_owned(bytes)).await;
        let Ok(Ok(permit)) = acquired else {
            return Err(Exhausted);
        };
        match &mut charge.0 {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        self.peak.fetch_max(self.in_use(), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn in_use(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_charge_is_bounded_and_given_back() {
        let budget = ByteBudget::new(100);
        let wait = Duration::from_millis(5);
        let mut first = Charge::default();
        budget.grow(&mut first, 60, wait).await.unwrap();
        budget.grow(&mut first, 30, wait).await.unwrap();
        let mut second = Charge::default();
        assert_eq!(budget.grow(&mut second, 11, wait).await, Err(Exhausted));
        assert_eq!(budget.in_use(), 90);
        drop(first);
        budget.grow(&mut second, 100, wait).await.unwrap();
        drop(second);
        assert_eq!((budget.in_use(), budget.peak()), (0, 100));
    }
}
