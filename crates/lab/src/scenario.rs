use crate::adversary::{Adversary, Side, TABLE};
use crate::canary::Canary;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use veilsum_protocol::{Party, RoundContext};
use veilsum_sim::{Cut, Faults, Setup, SimError, Tables, World};

/// One adversary and whom it took over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its name in the table of adversaries.
    pub name: String,
    /// A client's place in the cohort, or a member's index; 0 for servers and the network.
    pub at: u16,
}

/// Parties that are cut off for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// First tick.
    pub from: u64,
    /// First tick after it.
    pub until: u64,
    /// Bits as in [`Cut`].
    pub parties: u64,
}

/// A simulated round as it is stored: everything else follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scenario {
    /// Seed of keys, updates, network and adversaries.
    pub seed: u64,
    /// Number of coordinates.
    pub dim: u32,
    /// Clients in the cohort.
    pub cohort: u32,
    /// Clients in the roster that were not sampled.
    pub outsiders: u32,
    /// Smallest sum.
    pub n_min: u32,
    /// Committee size.
    pub members: u32,
    /// Threshold.
    pub threshold: u16,
    /// Largest delay of a message in ticks.
    pub delay: u64,
    /// Lost messages in 1000.
    pub lost: u32,
    /// Doubled messages in 1000.
    pub doubled: u32,
    /// Garbled messages in 1000.
    pub garbled: u32,
    /// Parties that are cut off.
    pub cut: Option<CutOff>,
    /// How far clocks run apart.
    pub skew: u64,
    /// The server stops after this record.
    pub server_stops_after: Option<usize>,
    /// Member stops in 1000 messages.
    pub member_stops: u32,
    /// Client stops in 1000 messages.
    pub client_stops: u32,
    /// Disk failures in 1000 changes.
    pub disk: u32,
    /// Places in the cohort of clients that never come.
    pub absent: Vec<u16>,
    /// Who cheats.
    pub actors: Vec<Actor>,
    /// What the checkers are not told, to see them fail.
    pub canary: Option<Canary>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            dim: 12,
            cohort: 7,
            outsiders: 0,
            n_min: 5,
            members: 5,
            threshold: 4,
            delay: 1,
            lost: 0,
            doubled: 0,
            garbled: 0,
            cut: None,
            skew: 0,
            server_stops_after: None,
            member_stops: 0,
            client_stops: 0,
            disk: 0,
            absent: Vec::new(),
            actors: Vec::new(),
            canary: None,
        }
    }
}

/// What a committee with some corrupted members still promises (`specs/protocol.md`, "Parties and promises").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    members: usize,
    threshold: usize,
    corrupt: usize,
}

impl Bounds {
    pub(crate) fn of(context: &RoundContext, corrupt: &BTreeSet<Party>) -> Self {
        let is_member = |p: &&Party| matches!(p, Party::Member(_));
        Self {
            members: context.members().into(),
            threshold: context.threshold().into(),
            corrupt: corrupt.iter().filter(is_member).count(),
        }
    }

    /// At most m - t are faulty: the round ends.
    pub(crate) fn are_live(self) -> bool {
        self.corrupt + self.threshold <= self.members
    }

    /// 2t - m or more are corrupted: two sets can be certified.
    pub(crate) fn privacy_is_lost(self) -> bool {
        self.corrupt + self.members >= 2 * self.threshold
    }

    /// How many sums can be opened; none where the corrupted members open everything alone. A sum takes t - c honest
    /// members, and each of them unmasks once; an honest server asks for one sum only.
    pub(crate) fn sums(self, server_is_honest: bool) -> Option<usize> {
        let missing = self
            .threshold
            .checked_sub(self.corrupt)
            .filter(|n| *n > 0)?;
        match server_is_honest {
            true => Some(1),
            false => Some((self.members - self.corrupt) / missing),
        }
    }

    /// All names.
    pub(crate) const NAMES: [&str; 6] = [
        "none-corrupted",
        "within-bounds",
        "at-liveness-bound",
        "liveness-lost",
        "privacy-lost",
        "captured",
    ];

    /// In words, for the report.
    pub(crate) fn name(self) -> &'static str {
        match self.corrupt {
            0 => "none-corrupted",
            c if c >= self.threshold => "captured",
            _ if self.privacy_is_lost() => "privacy-lost",
            _ if !self.are_live() => "liveness-lost",
            c if c + self.threshold == self.members => "at-liveness-bound",
            _ => "within-bounds",
        }
    }
}

/// The draws of a scenario.
pub(crate) struct Draw(pub(crate) ChaCha20Rng);

impl Draw {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n.max(1)
    }
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(list.len() as u64)).ok()?;
        list.get(at)
    }
    /// Some distinct numbers out of `from..from + n`, in order.
    fn some(&mut self, from: u16, n: u16, count: u16) -> Vec<u16> {
        let mut all: Vec<u16> = (from..from.saturating_add(n)).collect();
        let mut out = Vec::new();
        for _ in 0..count.min(n) {
            let at = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
            out.push(all.swap_remove(at));
        }
        out.sort_unstable();
        out
    }
}

/// An update within the bound. Those of clients at different places are linearly independent (each has one coordinate
/// that exceeds all its others together), so every miscount shows: one left out, one summed twice, one scaled.
fn telling(setup: &Setup, place: u32, d: &mut Draw) -> Vec<i64> {
    let (bound, dim) = (f64::from(setup.norm_bound), f64::from(setup.dim));
    let spread = (bound * (7.0 / 16.0 / dim).sqrt())
        .min(bound / (2.0 * f64::from(setup.roster)))
        .max(1.0) as u64;
    let own = place % setup.dim;
    let large = u64::from(setup.norm_bound / 2);
    (0..setup.dim)
        .map(|i| {
            let (low, span) = if i == own {
                (large, large / 2)
            } else {
                (0, spread)
            };
            let magnitude = i64::try_from(low + d.below(span)).unwrap_or(0);
            if d.one_in(2) { magnitude } else { -magnitude }
        })
        .collect()
}

/// Committees: cohort, members, threshold.
const SIZES: [(u32, u32, u16); 4] = [(5, 4, 3), (7, 5, 4), (8, 7, 5), (9, 8, 6)];
/// Dimensions of direct rounds: one row, and as many rows as slices and more.
const DIMS: [u32; 3] = [12, 60, 300];
/// The dimension of masked rounds.
const MASKED_DIM: u32 = 6_000;
/// One round in so many is masked.
const MASKED_EVERY: u64 = 9;

impl Scenario {
    /// The `index`-th round of a run; `only` restricts the adversaries to one, which is then always there.
    pub fn draw(seed: u64, index: u64, only: Option<&Adversary>) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        let mut d = Draw(ChaCha20Rng::from_seed(key));
        let masked = index % MASKED_EVERY == MASKED_EVERY - 1;
        let &(cohort, members, threshold) = match masked {
            true => &SIZES[0],
            false => d.pick(&SIZES).unwrap_or(&SIZES[0]),
        };
        let mut s = Self {
            seed: d.0.next_u64(),
            dim: match masked {
                true => MASKED_DIM,
                false => d.pick(&DIMS).copied().unwrap_or(12),
            },
            cohort,
            outsiders: u32::try_from(d.below(3)).unwrap_or(0),
            n_min: (2 * cohort).div_ceil(3).max(3),
            members,
            threshold,
            ..Self::default()
        };
        s.draw_faults(&mut d);
        s.draw_actors(&mut d, only);
        s
    }

    fn draw_faults(&mut self, d: &mut Draw) {
        if d.one_in(10) {
            return;
        }
        let mut rate = |most: u64| {
            if d.one_in(3) {
                0
            } else {
                u32::try_from(d.below(most)).unwrap_or(0)
            }
        };
        self.lost = rate(200);
        self.doubled = rate(200);
        self.garbled = rate(60);
        self.member_stops = rate(80);
        self.client_stops = rate(150);
        self.disk = rate(40);
        self.delay = 1 + d.below(12);
        if d.one_in(2) {
            self.skew = 1 + d.below(25);
        }
        if d.one_in(2) {
            self.server_stops_after = usize::try_from(1 + d.below(45)).ok();
        }
        if d.one_in(2) {
            let from = d.below(200);
            self.cut = Some(CutOff {
                from,
                until: from + 20 + d.below(300),
                parties: d.0.next_u64() & d.0.next_u64(),
            });
        }
    }

    fn draw_actors(&mut self, d: &mut Draw, only: Option<&Adversary>) {
        let u16_of = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let (n, m) = (u16_of(self.cohort), u16_of(self.members));
        let spare = n - u16_of(self.n_min);
        let privacy = 2 * self.threshold - m - 1;
        let liveness = m - self.threshold;
        let side = |side| {
            let fits = move |a: &&Adversary| a.side == side;
            TABLE
                .iter()
                .filter(fits)
                .map(|a| a.name)
                .collect::<Vec<_>>()
        };
        let (clients, members, servers, network) = (
            side(Side::Client),
            side(Side::Member),
            side(Side::Server),
            side(Side::Network),
        );
        let mut add = |d: &mut Draw, names: &[&str], at: u16| {
            if let Some(name) = d.pick(names) {
                self.actors.push(Actor {
                    name: (*name).to_owned(),
                    at,
                });
            }
        };
        // Mostly no more than leave enough for a sum.
        let most = spare + u16::from(d.one_in(8));
        let cheats = u16::try_from(d.below(u64::from(most) + 1)).unwrap_or(0);
        for at in d.some(0, n, cheats) {
            add(d, &clients, at);
        }
        // Mostly up to what liveness allows; at times up to what privacy allows, as many as it does not, or a whole quorum.
        let lost = privacy + 1;
        let (least, most) = match d.below(24) {
            0..=3 => (0, privacy),
            4 | 5 => (lost, self.threshold - 1),
            6 => (self.threshold, m),
            _ => (0, liveness.min(privacy)),
        };
        let corrupt = least + u16::try_from(d.below(u64::from(most - least) + 1)).unwrap_or(0);
        let spread = corrupt >= lost && d.one_in(2);
        let together = d.one_in(3);
        let shared: Vec<&str> = d.pick(&members).copied().into_iter().collect();
        for at in d.some(1, m, corrupt) {
            add(d, if together { &shared } else { &members }, at);
        }
        if spread {
            add(d, &["three-sets", "says-anything"], 0);
        } else if d.one_in(3) {
            add(d, &servers, 0);
        }
        if d.one_in(3) {
            add(d, &network, 0);
        }
        if d.one_in(4) {
            let gone =
                u16::try_from(d.below(u64::from(spare.saturating_sub(cheats)) + 1)).unwrap_or(0);
            self.absent = d.some(0, n, gone);
        }
        if let Some(only) = only {
            self.actors.retain(|a| {
                TABLE
                    .iter()
                    .any(|t| t.name == a.name && t.side != only.side)
            });
            let at = match only.side {
                Side::Client => u16::try_from(d.below(n.into())).unwrap_or(0),
                Side::Member => 1 + u16::try_from(d.below(m.into())).unwrap_or(0),
                Side::Server | Side::Network => 0,
            };
            self.actors.push(Actor {
                name: only.name.to_owned(),
                at,
            });
        }
        let cheating = |place: &u16| {
            self.actors.iter().any(|a| {
                a.at == *place
                    && TABLE
                        .iter()
                        .any(|t| t.name == a.name && t.side == Side::Client)
            })
        };
        self.absent.retain(|place| !cheating(place));
    }

    /// The set-up of its world.
    pub fn setup(&self) -> Setup {
        Setup {
            seed: self.seed,
            dim: self.dim,
            norm_bound: 1000,
            roster: self.cohort + self.outsiders,
            cohort: self.cohort,
            n_min: self.n_min,
            members: self.members,
            threshold: self.threshold,
        }
    }

    /// Its world: every client's update is one that shows any miscount.
    pub(crate) fn world(&self, round_id: u64, tables: &Tables) -> Result<World, SimError> {
        let mut world = World::with_tables(self.setup(), round_id, tables)?;
        let mut d = Draw(ChaCha20Rng::seed_from_u64(self.seed ^ 0x3ec7));
        for (place, update) in (0..).zip(world.updates.values_mut()) {
            *update = telling(&world.setup, place, &mut d);
        }
        Ok(world)
    }

    /// What the network, machines and disks suffer.
    pub fn faults(&self) -> Faults {
        Faults {
            delay: self.delay,
            lost: self.lost,
            doubled: self.doubled,
            garbled: self.garbled,
            cut: self.cut.map(|c| Cut {
                from: c.from,
                until: c.until,
                parties: c.parties,
            }),
            skew: self.skew,
            server_stops_after: self.server_stops_after,
            member_stops: self.member_stops,
            client_stops: self.client_stops,
            disk: self.disk,
        }
    }
}
