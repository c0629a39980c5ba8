//! Checkers that know the truth of a round.

use crate::opened::{opened, spanned};
use crate::scenario::Bounds;
use crate::twice::{CONTRIBUTION, Statements};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_audit::FaultKind;
use veilsum_params::ClientId;
use veilsum_protocol::{
    Conviction, Culprit, Evidence, EvidenceKind, Message, Outcome, Party, Record, RoundContext,
    ServerStatement, judge_with,
};
use veilsum_sim::{Report, truth};
use veilsum_wire::{Announcement, Wire};

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
    /// For whatever mattered somebody holds evidence that an audit confirms.
    Evidence,
    /// An audit of an honest server's transcript finds nothing wrong in it.
    Audit,
    /// Nobody honest signs two different statements of which a party makes one.
    Twice,
    /// An adversary is convicted of nothing but what its line in the table says.
    Table,
    /// The log of the round gives back the same server, and the same seed the same round.
    Same,
}

impl Checker {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Sum,
        Self::Framing,
        Self::End,
        Self::Light,
        Self::Inclusion,
        Self::OpenedOnce,
        Self::Evidence,
        Self::Audit,
        Self::Twice,
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

/// What the checkers know of a round, be it simulated or one of real processes.
#[derive(Debug)]
pub struct Truth<'a> {
    /// The round.
    pub context: &'a RoundContext,
    /// The proof's part of it.
    pub round: &'a veilsum_proof::Round,
    /// The announcement that everybody goes by.
    pub announcement: Announcement,
    /// What every honest client contributes.
    pub updates: &'a BTreeMap<ClientId, Vec<i64>>,
    /// Whom they take for corrupted.
    pub corrupt: BTreeSet<Party>,
    /// What others than honest clients contributed; none where it is no vector that can be summed.
    pub vectors: BTreeMap<ClientId, Option<Vec<i64>>>,
    /// Who cheats, and the checks under which it may be convicted.
    pub cheats: BTreeMap<Party, BTreeSet<&'static str>>,
}

/// What is known of a round when it was checked.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// Who is convicted, under which checks.
    pub convicted: BTreeSet<(Party, &'static str)>,
    /// How many sums over honest contributions everything that was revealed opens.
    pub opened: usize,
}

struct Run<'a> {
    truth: &'a Truth<'a>,
    report: &'a Report,
    bounds: Bounds,
    /// Everything that anybody could be convicted of who sees everything that was sent.
    convictions: Vec<Conviction>,
    /// What an audit makes of the transcript and of the evidence that honest parties hold.
    audit: veilsum_audit::Report,
    violations: Vec<Violation>,
}

pub(crate) fn party(culprit: Culprit) -> Party {
    match culprit {
        Culprit::Client(client) => Party::Client(client),
        Culprit::Member { index, .. } => Party::Member(index),
        Culprit::Server => Party::Server,
    }
}

/// Whether this is about a result: a client that refuses one holds the signed result, and whoever has the transcript as
/// well makes evidence of the two.
fn is_about_a_result(evidence: &Evidence) -> bool {
    match evidence {
        Evidence::WrongSecret { .. } | Evidence::WrongVector { .. } => true,
        Evidence::ServerEquivocation { first, second, .. } => [first, second]
            .iter()
            .any(|s| matches!(s, ServerStatement::Result { .. })),
        _ => false,
    }
}

/// Checks a round: `report` has what was sent in it, what honest parties hold at its end, and the server's log. `audit` is given
/// the evidence that honest parties hold or could put together, and says what an audit of the transcript with it finds.
///
/// # Errors
/// Those of `audit`.
pub fn check<E>(
    truth: &Truth<'_>,
    report: &Report,
    audit: impl FnOnce(&[&Evidence]) -> Result<veilsum_audit::Report, E>,
) -> Result<Verdict, E> {
    let judge = |e: &_| judge_with(truth.context, Some(truth.round), e);
    let accusations = truth::accusations(truth.context, &truth.announcement, report);
    let convicting: Vec<(&Evidence, Conviction)> = accusations
        .iter()
        .filter_map(|e| Some((e, judge(e).ok()?)))
        .collect();
    let assembled = convicting.iter().map(|(e, _)| *e);
    let held: Vec<&Evidence> = report
        .evidence
        .iter()
        .chain(assembled.filter(|e| is_about_a_result(e)))
        .collect();
    let audit = audit(&held)?;
    let shown = audit.convicted.iter().map(|c| Conviction {
        kind: c.kind,
        culprit: c.culprit,
        check: c.check,
    });
    let mut run = Run {
        truth,
        report,
        bounds: Bounds::of(truth.context, &truth.corrupt),
        convictions: convicting.iter().map(|(_, c)| *c).chain(shown).collect(),
        audit,
        violations: Vec::new(),
    };
    run.framing();
    run.sum();
    run.end();
    run.inclusion();
    let opened = run.opened_once();
    run.evidence();
    run.audit();
    run.twice();
    run.table();
    Ok(Verdict {
        convicted: run
            .convictions
            .iter()
            .map(|c| (party(c.culprit), c.check.id()))
            .collect(),
        violations: run.violations,
        opened,
    })
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

    /// Whether the audit convicts somebody of this.
    fn convicts(&self, kind: EvidenceKind, culprit: impl Fn(Culprit) -> bool) -> bool {
        self.audit
            .convicted
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
        let mut sum = vec![0i64; self.truth.context.params().dim as usize];
        for client in clients {
            let vector = match self.truth.vectors.get(client) {
                Some(vector) => vector.as_ref(),
                None => self.truth.updates.get(client),
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
        // Whom the server and as many members as sign for rows deceive together is promised nothing.
        let light = self.server_is_honest() || !self.bounds.privacy_is_lost();
        if light
            && self.report.light.values().any(Result::is_ok)
            && self.report.published.len() == 1
        {
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
        self.server_is_honest() && self.bounds.are_live()
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

    fn opened_once(&mut self) -> usize {
        let truth = self.truth;
        let dealers: Vec<ClientId> = truth
            .context
            .roster()
            .entries()
            .iter()
            .map(|entry| &entry.client)
            .filter(|c| !self.is_corrupt(Party::Client(**c)))
            .copied()
            .collect();
        let basis = opened(truth.context, self.report, &truth.corrupt, &dealers);
        let few = truth.context.params().n_min as usize;
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
        let safe = match self.bounds.sums(self.server_is_honest()) {
            None => true,
            Some(1) => basis.len() <= 1 && basis.iter().all(|row| allowed.contains(row)),
            Some(most) => basis.len() <= most && spanned(allowed, &basis),
        };
        if !safe {
            let what = format!("{} sums are open: {basis:?} of {dealers:?}", basis.len());
            self.find(Checker::OpenedOnce, what);
        }
        basis.len()
    }

    fn audit(&mut self) {
        if !self.server_is_honest() || self.report.outcome.is_none() {
            return;
        }
        let faults: Vec<String> = self.audit.faults.iter().map(ToString::to_string).collect();
        for what in faults {
            self.find(Checker::Audit, what);
        }
        let ends = match (self.report.outcome, self.audit.outcome) {
            (Some(Outcome::Certified { .. }), veilsum_audit::Outcome::Result { summed }) => {
                summed == truth::summed(self.report).len()
            }
            (Some(Outcome::Void), veilsum_audit::Outcome::Void) => true,
            _ => false,
        };
        if !ends {
            let what = format!(
                "it ended with {:?}, the audit says: {}",
                self.report.outcome, self.audit.outcome
            );
            self.find(Checker::Audit, what);
        }
    }

    fn evidence(&mut self) {
        let nothing: Vec<String> = self
            .audit
            .faults
            .iter()
            .filter(|f| {
                matches!(
                    f.kind,
                    FaultKind::EvidenceFile { .. } | FaultKind::OtherRound { .. }
                )
            })
            .map(ToString::to_string)
            .collect();
        for what in nothing {
            let what = format!("somebody keeps evidence that an audit does not confirm: {what}");
            self.find(Checker::Evidence, what);
        }
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

    fn twice(&mut self) {
        let mut statements = Statements::new(self.truth.context);
        for (_, message) in &self.report.sent {
            statements.message(message);
        }
        for record in &self.report.records() {
            statements.record(record);
        }
        for bytes in &self.report.other_logs {
            if let Ok(record) = Record::from_bytes(bytes) {
                statements.record(&record);
            }
        }
        let mut found = statements.twice();
        if !self.server_is_honest() {
            // The simulated one shows members headers of its own making under the keys of honest clients, which no real one has:
            // of those, only what clients sent themselves is theirs.
            let mut sent = Statements::new(self.truth.context);
            for (from, message) in &self.report.sent {
                if matches!(from, Party::Client(_)) {
                    sent.message(message);
                }
            }
            found.retain(|(_, kind)| *kind != CONTRIBUTION);
            found.extend(sent.twice());
        }
        for (party, kind) in found {
            if !self.is_corrupt(party) {
                self.find(Checker::Twice, format!("{party} signed a second {kind}"));
            }
        }
    }

    fn table(&mut self) {
        let allowed = &self.truth.cheats;
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
