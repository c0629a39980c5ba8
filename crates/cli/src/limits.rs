//! `[limits]` and `[times]` of the server's configuration: what peers may cost, and for how long they are waited for.

use std::ops::RangeInclusive;
use std::time::Duration;

use veilsum::transport::Rate;
use veilsum::{ServerOptions, ServerTimes, default_verifiers};

use crate::fields::{FieldError, Fields, Section};

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(value) = from {
        *to = value;
    }
}

/// Bounds of the server; what is left out keeps its default.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitsConfig {
    /// Connections at one time.
    connections: Option<usize>,
    /// Connections at one time from one IPv4 address or one IPv6 /64 network.
    connections_per_address: Option<usize>,
    /// Handshakes at one time.
    handshakes: Option<usize>,
    /// Requests in work at one time; each client that waits has two.
    requests: Option<u32>,
    /// MiB of requests in memory at one time.
    memory_mib: Option<usize>,
    /// GiB of uploads in the spool at one time.
    spool_gib: Option<usize>,
    /// Contributions that are verified at the same time.
    verifiers: Option<usize>,
}

/// No machine has more of anything that is counted, and none of it may be zero: nobody would be served.
const COUNT: RangeInclusive<u64> = 1..=1_000_000;
/// MiB: up to 1 TiB.
const MEMORY_MIB: RangeInclusive<u64> = 1..=1 << 20;
/// GiB: up to 1 PiB.
const SPOOL_GIB: RangeInclusive<u64> = 1..=1 << 20;
/// Each is a thread, and holds a contribution.
const VERIFIERS: RangeInclusive<u64> = 1..=1024;
/// Seconds: up to a day. Who must be heard within no time at all is never waited for.
const QUIET: RangeInclusive<u64> = 1..=24 * 3600;
/// Seconds: up to 30 days.
const GIVE_UP: RangeInclusive<u64> = 1..=30 * 24 * 3600;
/// Seconds: up to a day.
const LINGER: RangeInclusive<u64> = 0..=24 * 3600;

impl LimitsConfig {
    /// Reads the section; what is wrong with it is kept in `fields`.
    pub(crate) fn read<'i>(fields: &mut Fields<'i>, outer: &mut Section<'i>) -> Self {
        let mut s = fields.section(outer, "limits");
        let read = Self {
            connections: fields.optional_in(&mut s, "connections", COUNT),
            connections_per_address: fields.optional_in(&mut s, "connections_per_address", COUNT),
            handshakes: fields.optional_in(&mut s, "handshakes", COUNT),
            requests: fields.optional_in(&mut s, "requests", COUNT),
            memory_mib: fields.optional_in(&mut s, "memory_mib", MEMORY_MIB),
            spool_gib: fields.optional_in(&mut s, "spool_gib", SPOOL_GIB),
            verifiers: fields.optional_in(&mut s, "verifiers", VERIFIERS),
        };
        fields.end(s);
        read
    }

    /// How many contributions are verified at the same time: as many as there are processors if that is not given.
    pub(crate) fn verifiers(&self) -> usize {
        self.verifiers.unwrap_or_else(default_verifiers)
    }

    /// Sets what is given.
    pub(crate) fn apply(&self, options: &mut ServerOptions) {
        let transport = &mut options.transport;
        set(&mut transport.max_connections, self.connections);
        set(
            &mut transport.max_connections_per_source,
            self.connections_per_address,
        );
        // As many clients behind one address as it may have connections, each with some requests before it is known.
        if let Some(clients) = self
            .connections_per_address
            .and_then(|n| u32::try_from(n).ok())
        {
            transport.service.requests_per_source = clients;
            transport.service.source_rate = Rate {
                burst: clients.saturating_mul(4),
                per_second: clients,
            };
        }
        set(&mut transport.max_handshakes, self.handshakes);
        set(&mut transport.service.max_requests, self.requests);
        set(
            &mut transport.service.memory_total,
            self.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        );
        set(
            &mut transport.service.spool_total,
            self.spool_gib.map(|gib| gib.saturating_mul(1 << 30)),
        );
        set(&mut options.verifiers, self.verifiers);
    }
}

/// Times of the server in seconds; what is left out keeps its default. None of them decides what a result is.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimesConfig {
    /// A client or member that is not heard for this long is not waited for.
    quiet_seconds: Option<u32>,
    /// How long members may look at their shares before the others go on without their word.
    patience_seconds: Option<u32>,
    /// After this long in closing the round is declared void, if it still can be.
    give_up_seconds: Option<u32>,
    /// How long a round that has ended waits for those who have not heard the end.
    linger_seconds: Option<u32>,
}

impl TimesConfig {
    /// Reads the section; what is wrong with it is kept in `fields`.
    pub(crate) fn read<'i>(fields: &mut Fields<'i>, outer: &mut Section<'i>) -> Self {
        let mut s = fields.section(outer, "times");
        let read = Self {
            quiet_seconds: fields.optional_in(&mut s, "quiet_seconds", QUIET),
            patience_seconds: fields.optional_in(&mut s, "patience_seconds", GIVE_UP),
            give_up_seconds: fields.optional_in(&mut s, "give_up_seconds", GIVE_UP),
            linger_seconds: fields.optional_in(&mut s, "linger_seconds", LINGER),
        };
        fields.end(s);
        let times = read.times(ServerTimes::default());
        // Else one member that never answers makes every round void.
        if times.patience > times.give_up / 2 {
            fields.add(FieldError::Clash {
                first: "times.patience_seconds".to_owned(),
                second: "times.give_up_seconds".to_owned(),
                what: "a round must not be given up before twice the patience with its members is over",
            });
        }
        read
    }

    /// Sets what is given.
    pub(crate) fn apply(&self, options: &mut ServerOptions) {
        options.times = self.times(options.times);
    }

    fn times(&self, mut times: ServerTimes) -> ServerTimes {
        let seconds = |given: Option<u32>| given.map(|s| Duration::from_secs(s.into()));
        set(&mut times.quiet, seconds(self.quiet_seconds));
        set(&mut times.give_up, seconds(self.give_up_seconds));
        // Who waits longer for the silent has slower clients.
        times.patience = (4 * times.quiet).min(times.give_up / 2);
        set(&mut times.patience, seconds(self.patience_seconds));
        set(&mut times.linger, seconds(self.linger_seconds));
        times
    }
}
