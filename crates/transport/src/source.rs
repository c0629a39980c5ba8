//! Where connections come from, and how many each source has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One IPv4 address, or one IPv6 /64 network: the least that a provider gives to one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            v4 @ IpAddr::V4(_) => Self(v4),
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
        }
    }
}

/// Why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    Total,
    Source,
    Handshakes,
}

#[derive(Debug, Default)]
struct Places {
    total: usize,
    handshakes: usize,
    sources: BTreeMap<Source, usize>,
}

/// The connections that are open, counted by source.
#[derive(Debug)]
pub(crate) struct Connections {
    places: Mutex<Places>,
    max_total: usize,
    max_source: usize,
    max_handshakes: usize,
}

impl Connections {
    pub(crate) fn new(max_total: usize, max_source: usize, max_handshakes: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Mutex::default(),
            max_total,
            max_source,
            max_handshakes,
        })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self) -> usize {
        self.places().total
    }

    /// A place for a connection that begins its handshake.
    pub(crate) fn admit(self: &Arc<Self>, source: Source) -> Result<Place, NoPlace> {
        let mut places = self.places();
        if places.total >= self.max_total {
            return Err(NoPlace::Total);
        }
        if places.handshakes >= self.max_handshakes {
            return Err(NoPlace::Handshakes);
        }
        if places
            .sources
            .get(&source)
            .is_some_and(|count| *count >= self.max_source)
        {
            return Err(NoPlace::Source);
        }
        places.total = places.total.saturating_add(1);
        places.handshakes = places.handshakes.saturating_add(1);
        let count = places.sources.entry(source).or_default();
        *count = count.saturating_add(1);
        drop(places);
        Ok(Place {
            connections: Arc::clone(self),
            source,
            handshaking: true,
        })
    }
}

/// The place of one connection, free again on drop.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    source: Source,
    handshaking: bool,
}

impl Place {
    /// Counts the connection no longer among the handshakes.
    pub(crate) fn established(&mut self) {
        if core::mem::take(&mut self.handshaking) {
            let mut places = self.connections.places();
            places.handshakes = places.handshakes.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.established();
        let mut places = self.connections.places();
        places.total = places.total.saturating_sub(1);
        if let Some(count) = places.sources.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                places.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.2"), source("10.0.0.1"));
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
    }

    #[test]
    fn each_bound_holds_and_places_come_back() {
        let connections = Connections::new(3, 2, 2);
        let (a, b) = (source("10.0.0.1"), source("10.0.0.2"));
        let mut first = connections.admit(a).unwrap();
        let mut second = connections.admit(a).unwrap();
        assert_eq!(connections.admit(b).unwrap_err(), NoPlace::Handshakes);
        first.established();
        second.established();
        assert_eq!(connections.admit(a).unwrap_err(), NoPlace::Source);
        let third = connections.admit(b).unwrap();
        assert_eq!(connections.admit(b).unwrap_err(), NoPlace::Total);
        drop(first);
        let fourth = connections.admit(a).unwrap();
        drop((second, third, fourth));
        assert_eq!(connections.open(), 0);
        assert!(connections.places().sources.is_empty());
        assert_eq!(connections.places().handshakes, 0);
    }
}
