//! Who does what in the demo. Only the client tasks are told; the server's task is not.

use std::collections::BTreeMap;

use thiserror::Error;
use veilsum::params::ClientId;

use crate::cheat::CheatingServer;
use crate::learning::DemoConfig;

/// What a malicious client does, in every round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Scales its update by 100, skips the clip, commits to the unclipped vector and proves with the best cheat there is.
    Scaled,
    /// Sends a proof that was made for another client.
    ProofOfAnother,
    /// Deals one member a share that is not on its polynomial.
    BadShare,
    /// Helps a cheating server: commits to an update over the norm bound, small enough in each coordinate for the sum to
    /// open, with the best proof there is.
    OverNorm,
}

impl Attack {
    /// The kinds that malicious clients take in turn, in this order.
    pub const ALL: [Self; 3] = [Self::Scaled, Self::ProofOfAnother, Self::BadShare];
}

/// When a client vanishes, in every round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropout {
    /// After it joined, before it contributed.
    BeforeContributing,
    /// After it endorsed as a committee member.
    AfterEndorsing,
}

impl Dropout {
    /// All kinds, in the order in which dropouts take them in turn.
    pub const ALL: [Self; 2] = [Self::BeforeContributing, Self::AfterEndorsing];
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Follows the protocol.
    Honest,
    /// Attacks.
    Malicious(Attack),
    /// Vanishes.
    Dropout(Dropout),
}

/// Why a demo cannot be run as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Too few or too many clients.
    #[error("--clients is {got}, the demo takes {min} to {max}", min = MIN_CLIENTS, max = MAX_CLIENTS)]
    Clients {
        /// How many were asked for.
        got: u32,
    },
    /// No rounds, or too many.
    #[error("--rounds is {got}, the demo takes 1 to {max}", max = MAX_ROUNDS)]
    Rounds {
        /// How many were asked for.
        got: u32,
    },
    /// More attackers than the round's parameters withstand.
    #[error(
        "--malicious is {got}, of {clients} clients at most {max} may be malicious: take more clients or fewer attackers"
    )]
    Malicious {
        /// How many were asked for.
        got: u32,
        /// How many clients there are.
        clients: u32,
        /// How many may be.
        max: u32,
    },
    /// Too few would be left.
    #[error(
        "with --malicious {malicious} and --dropouts {dropouts} only {left} of {clients} clients are left to {what}, {needed} are needed: take more clients, or fewer of those"
    )]
    TooFewLeft {
        /// For what.
        what: &'static str,
        /// Attackers.
        malicious: u32,
        /// Dropouts.
        dropouts: u32,
        /// Clients.
        clients: u32,
        /// How many are left.
        left: u32,
        /// How many are needed.
        needed: u32,
    },
}

/// Fewest clients of a demo: a committee of four withstands one.
pub const MIN_CLIENTS: u32 = 4;
/// Most clients of a demo: each has some examples to train on.
pub const MAX_CLIENTS: u32 = 200;
/// Most rounds of a demo.
pub const MAX_ROUNDS: u32 = 1000;

/// The demo that is to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is trained, and how updates are encoded.
    pub config: DemoConfig,
    /// Rounds.
    pub rounds: u32,
    /// Decides data, training, and who attacks whom.
    pub seed: [u8; 32],
    /// What each client does. Client numbers are these places plus one.
    pub behaviours: Vec<Behaviour>,
    /// What the server does, if it cheats.
    pub cheating_server: Option<CheatingServer>,
}

impl Plan {
    /// A plan with attackers and dropouts at places that the seed decides.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(
        config: DemoConfig,
        clients: u32,
        malicious: u32,
        dropouts: u32,
        rounds: u32,
        seed: u64,
    ) -> Result<Self, PlanError> {
        if !(MIN_CLIENTS..=MAX_CLIENTS).contains(&clients) {
            return Err(PlanError::Clients { got: clients });
        }
        let seed = blake3::derive_key("veilsum demo v1 seed", &seed.to_le_bytes());
        // Before a place is drawn: more special clients than clients are caught by the limits below in any case.
        let special = Attack::ALL
            .iter()
            .cycle()
            .take(usize_of(malicious))
            .map(|a| Behaviour::Malicious(*a));
        let special = special.chain(
            Dropout::ALL
                .iter()
                .cycle()
                .take(usize_of(dropouts))
                .map(|d| Behaviour::Dropout(*d)),
        );
        let places = places(&seed, usize_of(clients));
        let by_place: BTreeMap<usize, Behaviour> = places.into_iter().zip(special).collect();
        let behaviours = (0..usize_of(clients))
            .map(|place| by_place.get(&place).copied().unwrap_or(Behaviour::Honest))
            .collect();
        let plan = Self {
            config,
            rounds,
            seed,
            behaviours,
            cheating_server: None,
        };
        plan.check(malicious, dropouts)?;
        Ok(plan)
    }

    /// Checks a plan, wherever its behaviours come from.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn validate(&self) -> Result<(), PlanError> {
        let count = |wanted: fn(&Behaviour) -> bool| {
            u32::try_from(self.behaviours.iter().filter(|b| wanted(b)).count()).unwrap_or(u32::MAX)
        };
        self.check(
            count(|b| matches!(b, Behaviour::Malicious(_))),
            count(|b| matches!(b, Behaviour::Dropout(_))),
        )
    }

    fn check(&self, malicious: u32, dropouts: u32) -> Result<(), PlanError> {
        let clients = self.clients();
        if !(MIN_CLIENTS..=MAX_CLIENTS).contains(&clients) {
            return Err(PlanError::Clients { got: clients });
        }
        if !(1..=MAX_ROUNDS).contains(&self.rounds) {
            return Err(PlanError::Rounds { got: self.rounds });
        }
        let max = self.malicious_max();
        if malicious > max {
            return Err(PlanError::Malicious {
                got: malicious,
                clients,
                max,
            });
        }
        let too_few = |what, lost: u32, needed| {
            let left = clients.saturating_sub(lost);
            if left >= needed {
                return Ok(());
            }
            Err(PlanError::TooFewLeft {
                what,
                malicious,
                dropouts,
                clients,
                left,
                needed,
            })
        };
        // The client that a cheating server singles out may be missing in the closing.
        let singled_out = u32::from(self.cheating_server.is_some());
        let dropouts = dropouts.saturating_add(singled_out);
        // At most: some attackers are only convicted in closing, and some dropouts have contributed.
        too_few(
            "contribute",
            malicious.saturating_add(dropouts),
            self.n_min(),
        )?;
        too_few("open the sum", dropouts, self.threshold())
    }

    /// The same plan with a server that cheats.
    ///
    /// # Errors
    /// [`PlanError::TooFewLeft`] when too few clients are left beside the one that it singles out.
    pub fn with_cheating_server(mut self, kind: CheatingServer) -> Result<Self, PlanError> {
        self.cheating_server = Some(kind);
        self.validate()?;
        Ok(self)
    }

    /// The honest client that a cheating server singles out, and the one that helps it: the first and the last.
    pub(crate) fn cast(&self) -> Option<(ClientId, ClientId)> {
        let mut honest = self
            .behaviours
            .iter()
            .zip(1..)
            .filter(|(behaviour, _)| **behaviour == Behaviour::Honest)
            .map(|(_, id)| ClientId(id));
        Some((honest.next()?, honest.last()?))
    }

    /// Number of clients, and of committee members.
    #[must_use]
    pub fn clients(&self) -> u32 {
        u32::try_from(self.behaviours.len()).unwrap_or(u32::MAX)
    }
    /// Shares that reconstruct.
    #[must_use]
    pub fn threshold(&self) -> u32 {
        2 * self.clients() / 3 + 1
    }
    /// Least number of contributions that are summed.
    #[must_use]
    pub fn n_min(&self) -> u32 {
        (2 * self.clients()).div_ceil(3)
    }
    /// Malicious clients that the rounds state to withstand: as many as the committee does, fewer than would leave a sum
    /// of one honest client.
    #[must_use]
    pub fn malicious_max(&self) -> u32 {
        let committee = (2 * self.threshold()).saturating_sub(self.clients() + 1);
        committee.min(self.n_min().saturating_sub(2))
    }
}

pub(crate) fn usize_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// All places in an order that the seed decides.
fn places(seed: &[u8; 32], count: usize) -> Vec<usize> {
    let mut keyed: Vec<([u8; 32], usize)> = (0..count)
        .map(|place| {
            (
                *blake3::keyed_hash(seed, &place.to_le_bytes()).as_bytes(),
                place,
            )
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(clients: u32, malicious: u32, dropouts: u32) -> Result<Plan, PlanError> {
        Plan::new(DemoConfig::small(), clients, malicious, dropouts, 1, 1)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let plan = plan(20, 3, 2).unwrap();
        assert_eq!(
            (plan.threshold(), plan.n_min(), plan.malicious_max()),
            (14, 14, 7)
        );
        for attack in Attack::ALL {
            assert_eq!(
                plan.behaviours
                    .iter()
                    .filter(|b| **b == Behaviour::Malicious(attack))
                    .count(),
                1
            );
        }
        for dropout in Dropout::ALL {
            assert_eq!(
                plan.behaviours
                    .iter()
                    .filter(|b| **b == Behaviour::Dropout(dropout))
                    .count(),
                1
            );
        }
        plan.validate().unwrap();
    }

    #[test]
    fn impossible_demos_are_refused() {
        assert_eq!(plan(3, 0, 0), Err(PlanError::Clients { got: 3 }));
        assert_eq!(
            plan(20, 8, 0),
            Err(PlanError::Malicious {
                got: 8,
                clients: 20,
                max: 7
            })
        );
        assert!(matches!(
            plan(20, 3, 4),
            Err(PlanError::TooFewLeft {
                what: "contribute",
                left: 13,
                needed: 14,
                ..
            })
        ));
        assert!(matches!(
            plan(20, u32::MAX, u32::MAX),
            Err(PlanError::Malicious { .. })
        ));
        assert!(plan(20, 0, 6).is_ok());
        assert!(plan(20, 0, 7).is_err());
    }
}
