//! Checkers that know the truth of a round.

use crate::adversary::{Fate, find};
use crate::opened::opened;
use crate::scenario::Scenario;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_params::ClientId;
use veilsum_protocol::{Conviction, Culprit, EvidenceKind, Message, Outcome, Party, judge_with};
use veilsum_sim::{Report, World, truth};

/// What is checked about a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checker {
    /// A published sum that an honest party accepts is exactly that of U minus the convicted.
    Sum,
    /// Nobody honest can be convicted, by anybody, with anything that was ever sent.
    Framing,
    /// Within the liveness bound, under an honest server, the round ends.
    End,
    /// Then every honest client in U verifies the result.
    Light,
    /// Every honest client with a receipt is in U, or the server is convicted.
    Inclusion,
    /// Everything that was revealed opens one sum over one set at most.
    OpenedOnce,
    /// Whatever mattered left evidence that convicts.
    Evidence,
    /// An adversary is convicted of nothing but what its line in the table says.
    Table,
    /// The log of the round gives back the same server, and the same seed the same round.
    Same,
}

impl Checker {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Sum,
        Self::Framing,
        Self::End,
        Self::Light,
        Self::Inclusion,
        Self::OpenedOnce,
        Self::Evidence,
        Self::Table,
        Self::Same,
    ];
}

/// Something that must not happen, and happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Who found it.
    pub checker: Checker,
    /// What it is.
    pub what: String,
}

/// What the checkers know of a round.
pub(crate) struct Truth<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) world: &'a World,
    /// Whom they take for corrupted.
    pub(crate) corrupt: BTreeSet<Party>,
    /// What others than honest clients contributed; none where it is no vector that can be summed.
    pub(crate) vectors: BTreeMap<ClientId, Option<Vec<i64>>>,
}

/// What is known of a round when it was checked.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) convicted: BTreeSet<(Party, &'static str)>,
}

struct Run<'a> {
    truth: &'a Truth<'a>,
    report: &'a Report,
    convictions: Vec<Conviction>,
    violations: Vec<Violation>,
}

fn party(culprit: Culprit) -> Party {
    match culprit {
        Culprit::Client(client) => Party::Client(client),
        Culprit::Member { index, .. } => Party::Member(index),
        Culprit::Server => Party::Server,
    }
}

/// Checks a round.
pub(crate) fn check(truth: &Truth<'_>, report: &Report) -> Verdict {
    let judge = |e: &_| judge_with(&truth.world.context, Some(&truth.world.round), e);
    let mut run = Run {
        truth,
        report,
        convictions: truth::accusations(truth.world, report)
            .iter()
            .filter_map(|e| judge(e).ok())
            .collect(),
        violations: Vec::new(),
    };
    for evidence in &report.evidence {
        match judge(evidence) {
            Ok(conviction) => run.convictions.push(conviction),
            Err(why) => run.find(
                Checker::Evidence,
                format!("somebody keeps evidence that proves nothing: {why}"),
            ),
        }
    }
    run.framing();
    run.sum();
    run.end();
    run.inclusion();
    run.opened_once();
    run.evidence();
    run.table();
    Verdict {
        convicted: run
            .convictions
            .iter()
            .map(|c| (party(c.culprit), c.check.id()))
            .collect(),
        violations: run.violations,
    }
}

impl Run<'_> {
    fn find(&mut self, checker: Checker, what: String) {
        let violation = Violation { checker, what };
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    fn is_corrupt(&self, party: Party) -> bool {
        self.truth.corrupt.contains(&party)
    }

    fn server_is_honest(&self) -> bool {
        !self.is_corrupt(Party::Server)
    }

    fn convicts(&self, kind: EvidenceKind, culprit: impl Fn(Culprit) -> bool) -> bool {
        self.convictions
            .iter()
            .any(|c| c.kind == kind && culprit(c.culprit))
    }

    fn framing(&mut self) {
        let framed: BTreeSet<_> = self
            .convictions
            .iter()
            .filter(|c| !self.is_corrupt(party(c.culprit)))
            .map(|c| (party(c.culprit), c.check.id()))
            .collect();
        for (party, check) in framed {
            self.find(
                Checker::Framing,
                format!("{party} is honest and convicted: {check}"),
            );
        }
    }

    /// The sum of what these clients contributed; none where a cheat contributed no vector.
    fn plain_sum(&self, clients: &BTreeSet<ClientId>) -> Option<Vec<i64>> {
        let mut sum = vec![0i64; self.truth.world.setup.dim as usize];
        for client in clients {
            let vector = match self.truth.vectors.get(client) {
                Some(vector) => vector.as_ref(),
                None => self.truth.world.updates.get(client),
            };
            for (s, x) in sum.iter_mut().zip(vector?) {
                *s += x;
            }
        }
        Some(sum)
    }

    fn sum(&mut self) {
        let mut accepted = Vec::new();
        if self.server_is_honest() {
            accepted.extend(&self.report.result);
        }
        if self.report.light.values().any(Result::is_ok) && self.report.published.len() == 1 {
            accepted.extend(&self.report.published);
        }
        for result in accepted {
            let content = &result.signed.content;
            let set = self.report.sent.iter().find_map(|(_, m)| match m {
                Message::Package(p) if p.proposal.signed.content.root == content.root => {
                    Some(p.proposal.entries.iter().map(|(c, _)| *c))
                }
                _ => None,
            });
            let Some(set) = set else {
                self.find(
                    Checker::Sum,
                    "a result over a set that nobody was told of".to_owned(),
                );
                continue;
            };
            let summed: BTreeSet<ClientId> =
                set.filter(|c| !content.convicted.contains(c)).collect();
            match self.plain_sum(&summed) {
                None if self.server_is_honest() => {
                    self.find(
                        Checker::Sum,
                        format!("an invalid contribution is in {summed:?}"),
                    );
                }
                Some(sum) if sum != result.vector => {
                    self.find(Checker::Sum, format!("not the sum over {summed:?}"));
                }
                _ => {}
            }
        }
    }

    /// Whether the round must end: enough members answer.
    fn within_bounds(&self) -> bool {
        let world = self.truth.world;
        let faulty = world
            .members()
            .filter(|j| self.is_corrupt(Party::Member(*j)))
            .count();
        self.server_is_honest()
            && faulty <= (world.setup.members as usize).saturating_sub(world.setup.threshold.into())
    }

    fn end(&mut self) {
        if !self.within_bounds() {
            return;
        }
        if !self.report.faults.is_empty() {
            self.find(
                Checker::End,
                format!("the server fails: {:?}", self.report.faults),
            );
        }
        let Some(outcome) = self.report.outcome else {
            let last = self.report.refused.last();
            let what = format!(
                "no end after {} ticks; last refusal {last:?}",
                self.report.ticks
            );
            return self.find(Checker::End, what);
        };
        if outcome == Outcome::Void {
            return;
        }
        let summed = truth::summed(self.report);
        for client in summed.iter().filter(|c| self.report.honest.contains(c)) {
            match self.report.light.get(client) {
                Some(Ok(())) => {}
                other => self.find(Checker::Light, format!("{client} in U: {other:?}")),
            }
        }
    }

    fn inclusion(&mut self) {
        let in_all = |client: &ClientId| {
            self.report.sent.iter().all(|(from, m)| match (from, m) {
                (Party::Server, Message::Package(p)) => {
                    p.proposal.entries.iter().any(|(c, _)| c == client)
                }
                _ => true,
            })
        };
        let missing: Vec<ClientId> = self
            .report
            .receipts
            .keys()
            .filter(|c| self.report.honest.contains(c) && !in_all(c))
            .copied()
            .collect();
        let is_server = |culprit| culprit == Culprit::Server;
        let convicted = self.convicts(EvidenceKind::ReceiptWithoutInclusion, is_server)
            || self.convicts(EvidenceKind::ServerEquivocation, is_server);
        for client in missing {
            if self.server_is_honest() || !convicted {
                self.find(
                    Checker::Inclusion,
                    format!("{client} has a receipt and is not in U"),
                );
            }
        }
    }

    fn opened_once(&mut self) {
        let truth = self.truth;
        let dealers: Vec<ClientId> = truth
            .world
            .identities
            .keys()
            .filter(|c| !self.is_corrupt(Party::Client(**c)))
            .copied()
            .collect();
        let basis = opened(truth.world, self.report, &truth.corrupt, &dealers);
        let few = truth.world.setup.n_min as usize;
        let sets = self.report.sent.iter().filter_map(|(_, m)| match m {
            Message::Package(p) => Some(&p.proposal.entries),
            _ => None,
        });
        let allowed: BTreeSet<Vec<u64>> = sets
            .filter(|entries| entries.len() >= few)
            .map(|entries| {
                let is_in = |c: &ClientId| entries.iter().any(|(e, _)| e == c);
                dealers.iter().map(|c| u64::from(is_in(c))).collect()
            })
            .collect();
        if basis.len() > 1 || !basis.iter().all(|row| allowed.contains(row)) {
            let what = format!("{} sums are open: {basis:?} of {dealers:?}", basis.len());
            self.find(Checker::OpenedOnce, what);
        }
    }

    fn evidence(&mut self) {
        let mut missing = BTreeSet::new();
        for (by, from, refusal) in &self.report.refused {
            let Some(kind) = refusal.check.info().evidence else {
                continue;
            };
            if self.is_corrupt(*by) && *by != Party::Server {
                continue;
            }
            let guilty = |culprit| match (culprit, refusal.culprit) {
                (Culprit::Server, _) => *from == Party::Server,
                (Culprit::Client(client) | Culprit::Member { client, .. }, Some(named)) => {
                    client == named
                }
                (other, None) => party(other) == *from,
            };
            if !self.convicts(kind, guilty) {
                missing.insert(format!(
                    "{by} refused {from} ({}) and nobody can show it",
                    refusal.check.id()
                ));
            }
        }
        for what in missing {
            self.find(Checker::Evidence, what);
        }
        // Two results that two honest clients accept would be a split view; one of the two is false or signed twice.
        let accepting = self.report.light.values().filter(|l| l.is_ok()).count();
        let is_server = |culprit| culprit == Culprit::Server;
        if self.report.published.len() > 1
            && accepting > 0
            && !self.convicts(EvidenceKind::ServerEquivocation, is_server)
        {
            self.find(
                Checker::Evidence,
                "two results and nobody can show it".to_owned(),
            );
        }
    }

    fn table(&mut self) {
        let scenario = self.truth.scenario;
        let mut allowed: BTreeMap<Party, BTreeSet<&str>> = BTreeMap::new();
        for actor in &scenario.actors {
            let Some(adversary) = find(&actor.name) else {
                continue;
            };
            let party = match adversary.side {
                crate::Side::Client => {
                    let cohort = self.truth.world.context.cohort();
                    cohort.get(usize::from(actor.at)).map(|c| Party::Client(*c))
                }
                crate::Side::Member => Some(Party::Member(veilsum_params::MemberIndex(actor.at))),
                crate::Side::Server => Some(Party::Server),
                crate::Side::Network => None,
            };
            if let (Some(party), Fate::Caught(checks)) = (party, adversary.fate) {
                allowed.entry(party).or_default().extend(checks);
            }
        }
        let beyond: BTreeSet<String> = self
            .convictions
            .iter()
            .map(|c| (party(c.culprit), c.check.id()))
            .filter(|(party, _)| self.is_corrupt(*party))
            .filter(|(party, check)| !allowed.get(party).is_some_and(|a| a.contains(check)))
            .map(|(party, check)| {
                format!("{party} is convicted of {check}, which the table does not say")
            })
            .collect();
        for what in beyond {
            self.find(Checker::Table, what);
        }
    }
}
