//! What happened, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Refusal;

/// Counters of a server since it started. Counters of bytes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections whose handshake succeeded.
    pub connections_accepted: u64,
    /// Connections open now, handshakes included.
    pub connections_open: u64,
    /// Connections refused because there were too many.
    pub refused_connections_total: u64,
    /// Connections refused because their source had too many.
    pub refused_connections_source: u64,
    /// Connections refused because too many handshakes were under way.
    pub refused_handshakes: u64,
    /// Connections refused because the server was shutting down.
    pub refused_shutting_down: u64,
    /// Handshakes that were answered with a request to show the address.
    pub retries: u64,
    /// Handshakes that failed: no common protocol, garbage, or a client that did not like the key.
    pub handshakes_failed: u64,
    /// Handshakes that were not completed in time.
    pub handshakes_timed_out: u64,
    /// Connections closed because they carried no request for too long.
    pub closed_silent: u64,
    /// Connections closed because of too many refusals that were the peer's fault.
    pub closed_faults: u64,
    /// Streams that a peer opened.
    pub requests_started: u64,
    /// Requests that the handler answered and whose answer was written.
    pub requests_answered: u64,
    /// Requests whose peer went away, or did not take the answer.
    pub requests_gone: u64,
    /// Refusals by reason; a reason that never occurred has no entry.
    pub refused: BTreeMap<Refusal, u64>,
    /// Bytes of requests that were read.
    pub bytes_in: u64,
    /// Bytes of responses that were written.
    pub bytes_out: u64,
    /// Bytes of requests in memory now.
    pub memory_in_use: u64,
    /// The most bytes of requests that were in memory at one time.
    pub memory_peak: u64,
    /// Bytes of bodies in the spool now.
    pub spool_in_use: u64,
    /// The most bytes of bodies that were in the spool at one time.
    pub spool_peak: u64,
}

impl ServerStats {
    /// How many requests were refused for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused.get(&refusal).copied().unwrap_or(0)
    }
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections_accepted: Counter,
    pub(crate) refused_connections_total: Counter,
    pub(crate) refused_connections_source: Counter,
    pub(crate) refused_handshakes: Counter,
    pub(crate) refused_shutting_down: Counter,
    pub(crate) retries: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) handshakes_timed_out: Counter,
    pub(crate) closed_silent: Counter,
    pub(crate) closed_faults: Counter,
    pub(crate) requests_started: Counter,
    pub(crate) requests_answered: Counter,
    pub(crate) requests_gone: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

impl Counters {
    pub(crate) fn refused(&self, refusal: Refusal) {
        let index = Refusal::ALL.into_iter().position(|known| known == refusal);
        if let Some(counter) = index.and_then(|index| self.refused.get(index)) {
            counter.one();
        }
    }

    /// The counters; what is not a counter is zero.
    pub(crate) fn snapshot(&self) -> ServerStats {
        let refused = Refusal::ALL.into_iter().zip(&self.refused);
        ServerStats {
            connections_accepted: self.connections_accepted.get(),
            refused_connections_total: self.refused_connections_total.get(),
            refused_connections_source: self.refused_connections_source.get(),
            refused_handshakes: self.refused_handshakes.get(),
            refused_shutting_down: self.refused_shutting_down.get(),
            retries: self.retries.get(),
            handshakes_failed: self.handshakes_failed.get(),
            handshakes_timed_out: self.handshakes_timed_out.get(),
            closed_silent: self.closed_silent.get(),
            closed_faults: self.closed_faults.get(),
            requests_started: self.requests_started.get(),
            requests_answered: self.requests_answered.get(),
            requests_gone: self.requests_gone.get(),
            refused: refused
                .map(|(refusal, counter)| (refusal, counter.get()))
                .filter(|(_, count)| *count > 0)
                .collect(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            ..ServerStats::default()
        }
    }
}
