//! Rounds whose parties are killed (SIGKILL) at random moments of every phase and started again, as processes over QUIC. What is
//! left of each round is audited and given to the checkers of the laboratory.

mod cheat;
mod logs;
mod plan;
mod round;
mod seen;

pub use plan::{CLIENTS, Kill, Phase, Plan, Trigger, Victim};
pub use round::{Ran, run_round};
pub use seen::{Cheat, Copy, Seen, Tables};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::Deployment;

/// In a run of so many kills each pair of phase and victim must have had one.
pub const EVERY_PAIR_FROM: u32 = 200;

/// What was done; nothing of it went wrong, or [`run`] would have said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rounds that ended with a result.
    pub rounds: u32,
    /// Those in masked mode.
    pub masked: u32,
    /// Those with a committee that is smaller than the cohort.
    pub small_committees: u32,
    /// Clients that sent a false proof, and were refused.
    pub cheats: u32,
    /// Clients that joined and went away.
    pub dropouts: u32,
    /// Kills by the phase in which the server's log was, and by victim.
    pub kills: BTreeMap<(Phase, Victim), u32>,
    /// Servers that were killed between writing the result and saying so.
    pub told_before: u32,
    /// Times that a server was started once more for a client that came back when the round was over and the server had left.
    pub called_back: u32,
}

impl Tally {
    /// All kills.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.kills.values().sum()
    }

    /// Kills of this pair.
    #[must_use]
    pub fn of(&self, phase: Phase, victim: Victim) -> u32 {
        self.kills.get(&(phase, victim)).copied().unwrap_or(0)
    }

    /// Pairs of phase and victim without a kill.
    #[must_use]
    pub fn missed(&self) -> Vec<(Phase, Victim)> {
        let all = Phase::ALL
            .into_iter()
            .flat_map(|phase| Victim::ALL.map(|victim| (phase, victim)));
        all.filter(|(phase, victim)| self.of(*phase, *victim) == 0)
            .collect()
    }

    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.masked += other.masked;
        self.small_committees += other.small_committees;
        self.cheats += other.cheats;
        self.dropouts += other.dropouts;
        self.told_before += other.told_before;
        self.called_back += other.called_back;
        for (pair, kills) in &other.kills {
            *self.kills.entry(*pair).or_default() += kills;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} kills in {} rounds ({} masked, {} with a committee smaller than the cohort, {} with a malicious client, {} with \
             a drop-out)",
            self.total(),
            self.rounds,
            self.masked,
            self.small_committees,
            self.cheats,
            self.dropouts
        )?;
        for phase in Phase::ALL {
            write!(f, "{:<13}", format!("{phase:?}"))?;
            for victim in Victim::ALL {
                let kills = self.of(phase, victim);
                write!(f, " {:>12}", format!("{victim:?} {kills}"))?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{} servers were killed before they said what they had written, {} were called back for late clients",
            self.told_before, self.called_back
        )
    }
}

/// Runs rounds until at least `points` parties were killed, each at a moment that `seed` decides as far as processes let it.
///
/// Every round must end with the exact sum, accepted by every client that contributed; the audit of its transcript and the
/// checkers of the laboratory must find nothing, whoever signed something must not have signed anything else, and no record
/// that was whole may be gone.
///
/// # Panics
/// When a round ends otherwise, with the seed and the round.
pub fn run(points: u32, seed: u64, mut progress: impl FnMut(&Tally)) -> Tally {
    let deployment = Deployment::new(CLIENTS);
    let mut tables = Tables::default();
    let mut tally = Tally::default();
    for round in 1.. {
        if tally.total() >= points {
            break;
        }
        let plan = Plan::draw(seed, round);
        let at = format!("seed {seed}, {plan:?}");
        let ran =
            run_round(&deployment, &plan, &mut tables).unwrap_or_else(|why| panic!("{at}: {why}"));
        let found = ran.seen.check();
        assert_eq!(found, [], "{at}");
        tally.add(&ran.tally);
        progress(&tally);
    }
    tally
}

/// As [`run`], in `jobs` deployments side by side; job j has the seed `seed + j`. `progress` hears what all of them did so far.
///
/// # Panics
/// As [`run`], when all other jobs are over; also when a long run ([`EVERY_PAIR_FROM`]) has hit a pair of phase and victim
/// never.
pub fn run_in(jobs: u32, points: u32, seed: u64, progress: impl Fn(&Tally) + Sync) -> Tally {
    let tallies = Mutex::new(BTreeMap::new());
    let done = || {
        let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Tally::default();
        tallies.values().for_each(|tally| sum.add(tally));
        sum
    };
    let job = |job: u32| {
        let own = points / jobs + u32::from(job < points % jobs);
        run(own, seed + u64::from(job), |tally| {
            tallies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(job, tally.clone());
            progress(&done());
        });
    };
    std::thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = (0..jobs).map(|j| scope.spawn(move || job(j))).collect();
        for thread in threads {
            if let Err(panicked) = thread.join() {
                std::panic::resume_unwind(panicked);
            }
        }
    });
    let tally = done();
    let missed = tally.missed();
    assert!(
        points < EVERY_PAIR_FROM || missed.is_empty(),
        "nobody was killed in {missed:?}: {tally}"
    );
    tally
}
