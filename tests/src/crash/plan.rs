//! What is done to a round: drawn before it begins, so that a seed and a number give the same plan again.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Clients of the cohort.
pub const CLIENTS: u32 = 8;
/// The committee of rounds in which not everybody is on it.
const FEW: u32 = 5;
/// Coordinates: one row in direct mode, several, some thousand, and as many as make a masked round.
const DIMS: [u32; 4] = [5, 300, 4_000, 6_000];
/// Kills that are tried in one round: a round has to end some time.
const KILLS: u32 = 10;

/// How far a round is, by the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No contribution is stored.
    Opening,
    /// Contributions are.
    Contributing,
    /// U is proposed: complaints, unmasking, Finals, sums of rows.
    Closing,
    /// The result is in the log.
    Over,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Contributing, Self::Closing, Self::Over];
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The server.
    Server,
    /// A client on the committee.
    Member,
    /// A client that is not.
    Client,
}

impl Victim {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Server, Self::Member, Self::Client];
}

/// What a kill waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// So many records of the server's log in this phase.
    Server(u64),
    /// So many records of the member's own log.
    Own(u64),
    /// The receipt of the client is in its own log.
    Receipt,
}

/// One kill. Whether it comes about is up to the processes: a round may be past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Who.
    pub victim: Victim,
    /// Which of several.
    pub which: u32,
    /// In which phase; later it is not done any more.
    pub phase: Phase,
    /// When in that phase.
    pub trigger: Trigger,
    /// How long after that.
    pub pause: Duration,
    /// How long until it is started again.
    pub down: Duration,
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its number.
    pub round: u64,
    /// Coordinates.
    pub dim: u32,
    /// Members of the committee.
    pub committee: u32,
    /// Whether a client that is not a member sends a contribution with a false proof.
    pub cheat: bool,
    /// Whether one that is not a member joins and goes away.
    pub dropout: bool,
    /// Seed of all updates.
    pub updates: u64,
    /// Whether clients that are killed lose everything that they keep: for tests of the checkers.
    pub forgets: bool,
    /// What is done to it.
    pub kills: Vec<Kill>,
}

impl Plan {
    /// A round in which nobody is killed.
    #[must_use]
    pub fn quiet(round: u64, dim: u32) -> Self {
        Self {
            round,
            dim,
            committee: FEW,
            cheat: false,
            dropout: false,
            updates: round,
            forgets: false,
            kills: Vec::new(),
        }
    }

    /// The plan of a round.
    #[must_use]
    pub fn draw(seed: u64, round: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(round);
        let mut below = |n: u32| rng.next_u32() % n.max(1);
        let all = below(3) == 0;
        let mut plan = Self {
            round,
            dim: DIMS[usize::try_from(below(4)).unwrap_or(0)],
            committee: if all { CLIENTS } else { FEW },
            // Somebody who is not on the committee; a member that is silent is another thing, which the lab has.
            cheat: !all && below(3) == 0,
            dropout: !all && below(4) == 0,
            updates: u64::from(below(u32::MAX)),
            forgets: false,
            kills: Vec::new(),
        };
        for _ in 0..KILLS {
            let victim = match below(if all { 2 } else { 3 }) {
                0 => Victim::Server,
                1 => Victim::Member,
                _ => Victim::Client,
            };
            let phase = Phase::ALL[usize::try_from(below(4)).unwrap_or(0)];
            let (records, pause) = match phase {
                Phase::Opening => (below(2), below(40)),
                Phase::Contributing => (1 + below(2 * CLIENTS), below(6)),
                Phase::Closing => (1 + below(5 * plan.committee + 6), below(6)),
                Phase::Over => (1, below(12)),
            };
            let own = victim == Victim::Member && phase == Phase::Closing && below(2) == 0;
            let trigger = if own {
                Trigger::Own(u64::from(1 + below(8)))
            } else {
                Trigger::Server(records.into())
            };
            // Started again at once or after a while, in which the others go on.
            let down = below(2) * below(800);
            plan.kills.push(Kill {
                victim,
                which: below(CLIENTS),
                phase,
                trigger,
                pause: Duration::from_millis(pause.into()),
                down: Duration::from_millis(down.into()),
            });
        }
        plan
    }

    /// Clients whose contributions are summed.
    #[must_use]
    pub const fn summed(&self) -> u32 {
        CLIENTS - self.cheat as u32 - self.dropout as u32
    }

    /// A client's update, within the norm bound.
    #[must_use]
    pub fn update(&self, client: u32, norm_bound: u32) -> Vec<i64> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.updates);
        rng.set_stream(client.into());
        let largest = f64::from(norm_bound) / f64::from(self.dim).sqrt();
        let most = i64::from(largest as u32);
        let span = u64::try_from(2 * most + 1).unwrap_or(1);
        (0..self.dim)
            .map(|_| i64::try_from(rng.next_u64() % span).unwrap_or(0) - most)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_plans_again_and_they_have_everything() {
        let plans: Vec<Plan> = (1..=60).map(|round| Plan::draw(3, round)).collect();
        let again: Vec<Plan> = (1..=60).map(|round| Plan::draw(3, round)).collect();
        assert_eq!(plans, again);
        assert_ne!(plans[0], Plan::draw(4, 1));
        for dim in DIMS {
            assert!(plans.iter().any(|p| p.dim == dim), "{dim}");
        }
        assert!(plans.iter().any(|p| p.cheat));
        assert!(plans.iter().any(|p| p.dropout));
        assert!(plans.iter().any(|p| p.committee == CLIENTS));
        for phase in Phase::ALL {
            for victim in Victim::ALL {
                let mut kills = plans.iter().flat_map(|p| &p.kills);
                assert!(kills.any(|k| k.phase == phase && k.victim == victim));
            }
        }
    }
}
