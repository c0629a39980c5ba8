//! From which round on a roster is good under its beacon (`specs/protocol.md`, "Beacon"): nobody may know the value that a
//! roster's first round is drawn with while entries of that roster can still be chosen.

use thiserror::Error;

use crate::BeaconRule;

/// Chains of drand whose clock is known: public key, time of round 1 in seconds since 1970, seconds between rounds, as their
/// `/info` says.
const CHAINS: [(&str, u64, u64); 2] = [
    (
        "868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801af31",
        1_595_431_050,
        30,
    ),
    (
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
        1_692_803_367,
        3,
    ),
];

/// What whoever signs a roster knows of values that are out already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Nothing: a roster with a beacon is not signed.
    Unknown,
    /// The time, in seconds since 1970: says it for the chains of drand whose clock is known.
    At(u64),
    /// The newest beacon round whose value anybody can know.
    Until(u64),
}

/// Why a roster cannot follow another one, or cannot be signed now, under its beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Rounds of the roster before would be drawn again among other entries.
    #[error(
        "its first round is {first_round}, and that of the roster before is {known}: a value that is known would draw among entries that were chosen after it; a later roster begins at a later round (`veilsum registrar sign --first-round`)"
    )]
    Round {
        /// The first round of the roster.
        first_round: u64,
        /// That of the one before.
        known: u64,
    },
    /// The same beacon, not further on.
    #[error(
        "its first beacon round is {first_beacon}, and that of the roster before is {known}: a later roster begins at a later beacon round"
    )]
    Beacon {
        /// The first beacon round of the roster.
        first_beacon: u64,
        /// That of the one before.
        known: u64,
    },
    /// The value of its first round is out already.
    #[error(
        "its first beacon round is {first_beacon}, and values are out up to beacon round {published}: begin at a later round (`veilsum registrar sign --first-round`), or with a rule that begins later (`veilsum registrar beacon`)"
    )]
    Published {
        /// The first beacon round of the roster.
        first_beacon: u64,
        /// The newest one whose value can be known.
        published: u64,
    },
    /// Nothing says which values are out.
    #[error(
        "which values of its beacon are out already is not known: say the newest round that anybody can know (`veilsum registrar sign --latest-beacon`)"
    )]
    Unknown,
}

impl BeaconRule {
    /// Whether a roster with this rule may come after one with the rule `last`: it begins at a later round, and at a later
    /// beacon round of the same source. Rosters without a beacon are not concerned.
    ///
    /// # Errors
    /// [`StartError::Round`], [`StartError::Beacon`].
    pub fn follows(&self, last: &Self) -> Result<(), StartError> {
        if self.scheme == 0 || last.scheme == 0 {
            return Ok(());
        }
        if self.first_round <= last.first_round {
            return Err(StartError::Round {
                first_round: self.first_round,
                known: last.first_round,
            });
        }
        // Of another source the beacon rounds have nothing to do with those of the one before.
        let source = |rule: &Self| rule.source_digest(&[0; 32]);
        if source(self) == source(last) && self.first_beacon <= last.first_beacon {
            return Err(StartError::Beacon {
                first_beacon: self.first_beacon,
                known: last.first_beacon,
            });
        }
        Ok(())
    }

    /// Whether the value of the rule's first round is still to come. Without a beacon nothing is drawn that it could tell.
    ///
    /// # Errors
    /// [`StartError::Published`], [`StartError::Unknown`].
    pub fn is_ahead(&self, published: Published) -> Result<(), StartError> {
        if self.scheme == 0 {
            return Ok(());
        }
        let published = match published {
            Published::Unknown => None,
            Published::At(now) => self.published_at(now),
            Published::Until(round) => Some(round),
        };
        let published = published.ok_or(StartError::Unknown)?;
        if self.first_beacon <= published {
            return Err(StartError::Published {
                first_beacon: self.first_beacon,
                published,
            });
        }
        Ok(())
    }

    /// The newest round at a time in seconds since 1970, of a chain whose clock is known; 0 before there is any.
    fn published_at(&self, now: u64) -> Option<u64> {
        let key: String = self.public_key.iter().map(|b| format!("{b:02x}")).collect();
        let (_, genesis, period) = CHAINS.into_iter().find(|chain| chain.0 == key)?;
        let passed = now.checked_sub(genesis).map(|passed| passed / period);
        Some(passed.map_or(0, |passed| passed.saturating_add(1)))
    }

    /// The same rule from a later round on: every round keeps its beacon round. `None` for a round before its first.
    pub fn from_round(&self, first_round: u64) -> Option<Self> {
        Some(Self {
            first_beacon: self.beacon_round(first_round)?,
            first_round,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digits: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    fn quicknet(first_round: u64, first_beacon: u64) -> BeaconRule {
        BeaconRule {
            scheme: 2,
            public_key: key(CHAINS[1].0),
            first_round,
            first_beacon,
            stride: 10,
            ..BeaconRule::operator()
        }
    }

    #[test]
    fn the_first_value_is_still_to_come() {
        // The first second of 20 April 2026, when drand published round 27946612 of quicknet.
        let now = 1_776_643_200;
        let published = 27_946_612;
        let refused = |first_beacon| StartError::Published {
            first_beacon,
            published,
        };
        for (at, out) in [
            (now - 1, published - 1),
            (now, published),
            (now + 2, published),
        ] {
            assert_eq!(quicknet(1, 1).published_at(at), Some(out));
        }
        assert_eq!(quicknet(1, 1).published_at(1_692_803_366), Some(0));
        let judged = |first_beacon, known| quicknet(1, first_beacon).is_ahead(known);
        assert_eq!(
            judged(published, Published::At(now)),
            Err(refused(published))
        );
        assert_eq!(judged(published + 1, Published::At(now)), Ok(()));
        assert_eq!(judged(5, Published::Until(4)), Ok(()));
        assert_eq!(judged(5, Published::Unknown), Err(StartError::Unknown));
        let mut other = quicknet(1, published + 1);
        other.public_key.pop();
        assert_eq!(other.is_ahead(Published::At(now)), Err(StartError::Unknown));
        assert_eq!(BeaconRule::operator().is_ahead(Published::Unknown), Ok(()));
    }

    #[test]
    fn a_later_rule_begins_later() {
        let last = quicknet(5, 100);
        let round = |first_round| StartError::Round {
            first_round,
            known: 5,
        };
        for first_round in [0, 4, 5] {
            assert_eq!(
                quicknet(first_round, 999).follows(&last),
                Err(round(first_round))
            );
        }
        let beacon = StartError::Beacon {
            first_beacon: 100,
            known: 100,
        };
        assert_eq!(quicknet(6, 100).follows(&last), Err(beacon));
        assert_eq!(quicknet(6, 101).follows(&last), Ok(()));
        let mut chained = quicknet(6, 1);
        (chained.scheme, chained.public_key) = (1, key(CHAINS[0].0));
        assert_eq!(chained.follows(&last), Ok(()));
        assert_eq!(quicknet(1, 1).follows(&BeaconRule::operator()), Ok(()));
        let moved = last.from_round(9).unwrap();
        assert_eq!(
            (moved.beacon_round(9), moved.beacon_round(8)),
            (Some(140), None)
        );
        assert_eq!(moved.follows(&last), Ok(()));
        assert_eq!(last.from_round(4), None);
    }
}
