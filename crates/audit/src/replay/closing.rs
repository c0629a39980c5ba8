//! What the committee and the server say after the proposal.

use super::{Closed, Replay};
use crate::FaultKind;
use crate::report::plural;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use std::collections::BTreeSet;
use std::sync::Arc;
use veilsum_crypto::feldman::{self, SecretShare};
use veilsum_crypto::{CanonicalPoint, Digest};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{
    Check, Evidence, FinalTerms, MemberStatement, ServerStatement, Verdict, strictly_increasing,
};
use veilsum_store::{Bodies, BodyDigest};
use veilsum_wire::{
    ComplaintContent, ComplaintListContent, ConvictedContent, Endorse, FinalContent, ResultContent,
    RevealContent, RoundResult, Rows, Signed, Unmask, UnmaskContent, Wire, complaints_digest,
    convicted_digest, result_vector_digest, row_values_digest,
};

impl Replay<'_> {
    /// Summed Feldman commitments of U minus a list.
    fn commitments(&mut self, without: &[ClientId]) -> Arc<Vec<RistrettoPoint>> {
        if let Some(known) = self.summed.get(without) {
            return Arc::clone(known);
        }
        let left_out: BTreeSet<&ClientId> = without.iter().collect();
        let mut sums = vec![RistrettoPoint::identity(); self.ctx.threshold().into()];
        for (client, _) in self.proposal.iter().flat_map(|p| &p.entries) {
            let Some(taken) = self
                .taken
                .get(client)
                .filter(|_| !left_out.contains(client))
            else {
                continue;
            };
            for (sum, commitment) in sums.iter_mut().zip(&taken.header.content.commitments) {
                *sum += commitment.point();
            }
        }
        let sums = Arc::new(sums);
        // Before the proposal there is no U; and contributions after it are no part of it.
        if self.proposal.is_some() {
            self.summed.insert(without.to_vec(), Arc::clone(&sums));
        }
        sums
    }

    fn sum_f0(&mut self, without: &[ClientId]) -> CanonicalPoint {
        let first = self.commitments(without).first().copied();
        CanonicalPoint::from(first.unwrap_or_else(RistrettoPoint::identity))
    }

    fn holds_list(&self, list: &[ClientId]) -> bool {
        strictly_increasing(list) && list.iter().all(|c| self.in_set(*c))
    }

    fn equivocated(&mut self, first: MemberStatement, second: MemberStatement) {
        self.convict_if(Evidence::MemberEquivocation {
            first,
            second,
            other_params: Vec::new(),
        });
    }

    /// A statement of a member that does not fit the round's: it convicts beside one that does, which may come later.
    pub(super) fn foreign(&mut self, accepted: MemberStatement) {
        let what = "a statement about another root or list";
        let signed = match &accepted {
            MemberStatement::Endorse { signed } => {
                self.by_member(what, signed.content.member, signed, Check::EndorseSignature)
            }
            MemberStatement::Unmask { signed } => {
                self.by_member(what, signed.content.member, signed, Check::UnmaskSignature)
            }
            MemberStatement::Final { signed } => {
                self.by_member(what, signed.content.member, signed, Check::FinalSignature)
            }
        };
        if !signed {
            return;
        }
        if self.foreign.contains(&accepted) {
            self.fault(FaultKind::Repeated { what });
        }
        self.step(
            "server",
            "keeps a member's statement about another root or list",
        );
        self.foreign.push(accepted);
    }

    /// Judges those statements beside the fitting ones.
    pub(super) fn judge_foreign(&mut self) {
        for second in std::mem::take(&mut self.foreign) {
            let first = match &second {
                MemberStatement::Endorse { signed } => self
                    .endorsed
                    .get(&signed.content.member)
                    .map(|signed| MemberStatement::Endorse {
                        signed: signed.clone(),
                    }),
                MemberStatement::Unmask { signed } => self
                    .unmasked
                    .get(&signed.content.member)
                    .map(|signed| MemberStatement::Unmask {
                        signed: signed.clone(),
                    }),
                MemberStatement::Final { signed } => {
                    self.finals
                        .get(&signed.content.member)
                        .map(|signed| MemberStatement::Final {
                            signed: signed.clone(),
                        })
                }
            };
            if let Some(first) = first {
                self.equivocated(first, second);
            }
        }
    }

    pub(super) fn endorse(&mut self, accepted: &Endorse) {
        let (signed, content) = (&accepted.signed, &accepted.signed.content);
        let member = content.member;
        if !self.by_member("an endorsement", member, signed, Check::EndorseSignature) {
            return;
        }
        let count = self.proposal.as_ref().map(|p| p.entries.len());
        if content.params_digest != *self.ctx.digest()
            || Some(content.root) != self.root()
            || usize::try_from(content.count).ok() != count
        {
            self.refuse("an endorsement", Check::EndorseContent);
        }
        if complaints_digest(&accepted.complaints) != content.complaints {
            self.refuse("an endorsement", Check::EndorseComplaints);
        }
        if let Some(first) = self.endorsed.get(&member).cloned() {
            self.fault(FaultKind::Repeated {
                what: "an endorsement",
            });
            self.equivocated(
                MemberStatement::Endorse { signed: first },
                MemberStatement::Endorse {
                    signed: signed.clone(),
                },
            );
            return;
        }
        let complaints = match accepted.complaints.len() {
            0 => String::new(),
            n => format!(", with {}", plural(n, "complaint")),
        };
        self.step(member, format!("endorses U{complaints}"));
        self.endorsed.insert(member, signed.clone());
        self.complaints(&accepted.complaints);
    }

    pub(super) fn list(&mut self, sent: &Signed<ComplaintListContent>) {
        let (what, content) = ("the list of convicted dealers", &sent.content);
        if !self.by_server(what, sent, Check::ListSignature) {
            return;
        }
        if self.endorsed.len() < usize::from(self.ctx.threshold()) {
            self.missing("a certificate (t endorsements) before the list of convicted dealers");
        }
        if content.params_digest != *self.ctx.digest()
            || Some(content.root) != self.root()
            || !self.holds_list(&content.convicted)
        {
            self.refuse(what, Check::ListContent);
        }
        if !content
            .convicted
            .iter()
            .all(|c| self.counting.contains_key(c))
        {
            self.refuse(what, Check::ListComplaints);
        }
        if let Some(before) = &self.list {
            let now: BTreeSet<&ClientId> = content.convicted.iter().collect();
            let grown = before.len() < now.len() && before.iter().all(|c| now.contains(c));
            if !grown {
                self.fault(FaultKind::Repeated { what });
            }
        }
        if self.closed.is_some() {
            self.fault(FaultKind::Order { what });
        }
        let text = format!(
            "asks to unmask without {}",
            plural(content.convicted.len(), "dealer")
        );
        self.step("server", text);
        self.list = Some(content.convicted.clone());
    }

    pub(super) fn unmask(&mut self, accepted: &Unmask) {
        let (signed, content) = (&accepted.signed, &accepted.signed.content);
        let (what, member) = ("an unmask message", content.member);
        if !self.by_member(what, member, signed, Check::UnmaskSignature) {
            return;
        }
        if self.list.is_none() {
            self.fault(FaultKind::Order { what });
        }
        if content.params_digest != *self.ctx.digest()
            || Some(content.root) != self.root()
            || !self.holds_list(&content.convicted)
        {
            self.refuse(what, Check::UnmaskContent);
            return;
        }
        if let Some(first) = self.unmasked.get(&member).cloned() {
            self.fault(FaultKind::Repeated { what });
            self.equivocated(
                MemberStatement::Unmask { signed: first },
                MemberStatement::Unmask {
                    signed: signed.clone(),
                },
            );
            return;
        }
        let own = self.complaints(&accepted.complaints);
        let counts =
            |c: &ClientId| self.counting.contains_key(c) || own.contains(&Verdict::Counts(*c));
        if !content.convicted.iter().all(counts) {
            self.refuse(what, Check::UnmaskConvicted);
        }
        if !self.sum_fits(content) {
            self.refuse(what, Check::UnmaskSum);
            let headers = self.headers();
            self.convict_if(Evidence::BadUnmask {
                unmask: signed.clone(),
                headers,
            });
        }
        self.step(member, "unmasks");
        self.unmasked.insert(member, signed.clone());
    }

    fn sum_fits(&mut self, content: &UnmaskContent) -> bool {
        let commitments = self.commitments(&content.convicted);
        let t = self.ctx.threshold();
        feldman::verify_summed(&commitments, t, content.member, &content.sum).is_ok()
    }

    pub(super) fn reveal(&mut self, accepted: Signed<RevealContent>) {
        let (what, content) = ("a reveal", &accepted.content);
        let member = content.member;
        if !self.by_member(what, member, &accepted, Check::RevealSignature) {
            return;
        }
        let header = self
            .headers()
            .into_iter()
            .find(|h| h.content.digest() == content.header_digest);
        let Some(header) = header.filter(|h| {
            content.params_digest == *self.ctx.digest()
                && Some(content.root) == self.root()
                && self.counting.contains_key(&h.content.client)
        }) else {
            self.refuse(what, Check::RevealContent);
            return;
        };
        let dealer = header.content.client;
        let t = self.ctx.threshold();
        if feldman::verify_share(&header.content.commitments, t, member, &content.share).is_err() {
            self.refuse(what, Check::RevealShare);
            self.convict_if(Evidence::BadReveal {
                reveal: accepted.clone(),
                header,
            });
        }
        self.step(member, format!("reveals its share of {dealer}"));
        if self.revealed.insert((member, dealer), accepted).is_some() {
            self.fault(FaultKind::Repeated { what });
        }
    }

    pub(super) fn close(
        &mut self,
        convicted: Vec<ClientId>,
        complaints: &[Signed<ComplaintContent>],
        sums: &[Signed<UnmaskContent>],
        reveals: &[Signed<RevealContent>],
        r_sum: Scalar,
    ) {
        let what = "the closing of the round";
        if self.closed.is_some() {
            self.fault(FaultKind::Repeated { what });
            return;
        }
        if !self.holds_list(&convicted) {
            self.refuse(what, Check::ConvictedInSet);
        }
        // Exactly the dealers that complaints in the log convict, each with one of them.
        let dealers: Vec<ClientId> = self.counting.keys().copied().collect();
        let verdicts = self.complaints(complaints);
        let shown = verdicts.len() == convicted.len()
            && convicted
                .iter()
                .zip(&verdicts)
                .all(|(c, verdict)| *verdict == Verdict::Counts(*c));
        if dealers != convicted || !shown {
            self.refuse(what, Check::ConvictedComplaints);
        }
        match self.combine(&convicted, sums, reveals) {
            Ok(combined) if combined == r_sum => {}
            Ok(_) => self.refuse(what, Check::SumCommitment),
            Err(check) => self.refuse(what, check),
        }
        if RISTRETTO_BASEPOINT_TABLE * &r_sum != *self.sum_f0(&convicted).point() {
            self.refuse(what, Check::SumCommitment);
        }
        let text = format!(
            "has t sums and leaves out {}",
            plural(convicted.len(), "dealer")
        );
        self.step("server", text);
        self.closed = Some(Closed { convicted, r_sum });
    }

    /// R from the sums and reveals that the closing names, all of which must be in the log.
    fn combine(
        &self,
        convicted: &[ClientId],
        sums: &[Signed<UnmaskContent>],
        reveals: &[Signed<RevealContent>],
    ) -> Result<Scalar, Check> {
        let mut shares = Vec::new();
        for sum in sums {
            let member = sum.content.member;
            if self.unmasked.get(&member) != Some(sum) {
                return Err(Check::UnmaskContent);
            }
            let mut value = sum.content.sum;
            let own: BTreeSet<&ClientId> = sum.content.convicted.iter().collect();
            for dealer in convicted {
                if own.contains(dealer) {
                    continue;
                }
                let reveal = self
                    .revealed
                    .get(&(member, *dealer))
                    .filter(|reveal| reveals.contains(reveal))
                    .ok_or(Check::RevealContent)?;
                value -= reveal.content.share;
            }
            shares.push(SecretShare::new(member, value));
        }
        feldman::combine(&shares, self.ctx.threshold()).map_err(|_| Check::SumCommitment)
    }

    pub(super) fn fix(&mut self, sent: Signed<ConvictedContent>) {
        let what = "the fixed list of convicted dealers";
        if !self.by_server(what, &sent, Check::ConvictedSignature) {
            return;
        }
        if let Some(first) = self.fixed.clone() {
            self.fault(FaultKind::Repeated { what });
            self.convict_if(Evidence::ServerEquivocation {
                first: ServerStatement::Convicted { signed: first },
                second: ServerStatement::Convicted { signed: sent },
                other_params: Vec::new(),
            });
            return;
        }
        match &self.closed {
            None => self.missing("the closing before the fixed list"),
            Some(closed) if closed.convicted != sent.content.convicted => {
                self.refuse(what, Check::ConvictedComplaints);
            }
            Some(_) => {}
        }
        if sent.content.params_digest != *self.ctx.digest()
            || Some(sent.content.root) != self.root()
        {
            self.refuse(what, Check::ConvictedOrder);
        }
        self.step("server", "fixes the list of convicted dealers");
        self.fixed = Some(sent);
    }

    pub(super) fn finalise(&mut self, accepted: Signed<FinalContent>) {
        let (what, member) = ("a Final", accepted.content.member);
        if !self.by_member(what, member, &accepted, Check::FinalSignature) {
            return;
        }
        if self.fixed.is_none() {
            self.fault(FaultKind::Order { what });
        }
        if let Some(first) = self.finals.get(&member).cloned() {
            self.fault(FaultKind::Repeated { what });
            self.equivocated(
                MemberStatement::Final { signed: first },
                MemberStatement::Final { signed: accepted },
            );
            return;
        }
        let terms = self.terms(member);
        if Some(&accepted.content) != terms.as_ref() {
            self.refuse(what, Check::FinalContent);
        }
        self.step(member, "signs its Final");
        self.finals.insert(member, accepted);
    }

    fn terms(&mut self, member: MemberIndex) -> Option<FinalContent> {
        let convicted = self.closed.as_ref()?.convicted.clone();
        let terms = FinalTerms {
            root: self.root()?,
            count: u32::try_from(self.proposal.as_ref()?.entries.len()).ok()?,
            sum_f0: self.sum_f0(&convicted),
            convicted,
        };
        Some(terms.content(*self.ctx.digest(), member))
    }

    /// The vector of a result that is in a body of its own: none if that cannot be read, and an empty one if it is of no
    /// round of these parameters. The record's own word for its length is no reason to read more.
    pub(super) fn vector_of(
        &mut self,
        bodies: &Bodies,
        body: &Digest,
        len: u64,
    ) -> Option<Vec<i64>> {
        let whole = 4 + 8 * u64::from(self.ctx.layout().dim);
        if len != whole {
            return Some(Vec::new());
        }
        match bodies.read_verified(&BodyDigest(body.0), whole) {
            Ok(bytes) => Some(Wire::from_bytes(&bytes).unwrap_or_default()),
            Err(cause) => {
                self.fault(FaultKind::ResultBody(cause));
                None
            }
        }
    }

    /// The result; `vector` is asked for only when it is the first one that the server signed, and gives none if that is a
    /// fault of its own.
    pub(super) fn publish(
        &mut self,
        signed: Signed<ResultContent>,
        vector: impl FnOnce(&mut Self) -> Option<Vec<i64>>,
    ) {
        let what = "the result";
        if !self.by_server(what, &signed, Check::ResultSignature) {
            return;
        }
        if let Some((_, first)) = &self.result {
            let first = first.signed.clone();
            self.fault(FaultKind::Repeated { what });
            self.convict_if(Evidence::ServerEquivocation {
                first: ServerStatement::Result { signed: first },
                second: ServerStatement::Result { signed },
                other_params: Vec::new(),
            });
            return;
        }
        if self.finals.len() < usize::from(self.ctx.threshold()) {
            self.missing("t Finals before the result");
        }
        let vector = vector(self);
        let content = &signed.content;
        let fits = self
            .closed
            .as_ref()
            .is_some_and(|closed| closed.convicted == content.convicted);
        let signed_for = |vector: &Vec<i64>| {
            content.vector_digest == result_vector_digest(vector)
                && vector.len() == self.ctx.layout().dim as usize
        };
        if content.params_digest != *self.ctx.digest()
            || Some(content.root) != self.root()
            || !fits
            || !vector.as_ref().is_none_or(signed_for)
        {
            self.refuse(what, Check::ResultContent);
        }
        if self
            .closed
            .as_ref()
            .is_some_and(|closed| closed.r_sum != content.r_sum)
        {
            self.refuse(what, Check::SumCommitment);
            let (result, headers) = (signed.clone(), self.headers());
            self.convict_if(Evidence::WrongSecret { result, headers });
        }
        let vector = vector.unwrap_or_default();
        self.step("server", format!("publishes {} coordinates", vector.len()));
        self.result = Some((self.at, RoundResult { signed, vector }));
    }

    pub(super) fn rows(&mut self, accepted: Rows) {
        let (what, content) = ("row sums", &accepted.signed.content);
        let member = content.member;
        if !self.by_member(what, member, &accepted.signed, Check::RowsSignature) {
            return;
        }
        let Some(closed) = &self.closed else {
            self.fault(FaultKind::Order { what });
            return;
        };
        let stated = content.slices.iter().any(|(q, digest)| {
            *q == accepted.values.slice && *digest == row_values_digest(&accepted.values.values)
        });
        if content.params_digest != *self.ctx.digest()
            || Some(content.root) != self.root()
            || content.convicted != convicted_digest(&closed.convicted)
            || !content.slices.is_sorted_by(|(a, _), (b, _)| a < b)
            || !stated
        {
            self.refuse(what, Check::RowsContent);
        }
        if self.result.is_none() {
            self.missing("the result before row sums");
        }
        if self.rows.iter().any(|(_, known)| *known == accepted) {
            self.fault(FaultKind::Repeated { what });
        }
        self.step(
            member,
            format!("signs the sum of slice {}", accepted.values.slice),
        );
        self.rows.push((self.at, accepted));
    }
}
