//! Certificate, unmasking, the fixed list of convicted dealers, Finals.

use super::{Closing, ServerRound};
use crate::machine::Outputs;
use crate::{
    Check, Event, Evidence, Fault, FinalTerms, MemberStatement, Message, Party, Record, Refusal,
    Verdict, judge_complaint, strictly_increasing,
};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::scalar::Scalar;
use std::collections::btree_map::Entry;
use veilsum_crypto::feldman::{self, SecretShare};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{
    Certificate, ComplaintContent, ComplaintListContent, Convicted, ConvictedContent, Endorse,
    FinalContent, RevealContent, RevealRequest, Signed, Unmask, UnmaskContent, UnmaskRequest,
    complaints_digest,
};

impl ServerRound {
    /// Whom a complaint convicts, if anybody.
    fn judge(&self, complaint: &Signed<ComplaintContent>) -> Verdict {
        let set = self.set.as_ref();
        match set
            .and_then(|set| Some((set.root(), set.by_digest(&complaint.content.header_digest)?)))
        {
            Some((root, header)) => {
                judge_complaint(&self.context, &root, &header.content, complaint)
            }
            None => Verdict::NotApplicable(Check::ComplaintApplicable),
        }
    }

    /// Acts on complaints of a message that is in the log: dealers and false complainers are convicted alike.
    fn act_on(
        &mut self,
        complaints: &[Signed<ComplaintContent>],
        verdicts: &[Verdict],
        out: &mut Outputs,
    ) {
        for (complaint, verdict) in complaints.iter().zip(verdicts) {
            let header = self
                .set
                .as_ref()
                .and_then(|s| s.by_digest(&complaint.content.header_digest))
                .cloned();
            let evidence =
                header.and_then(|header| Evidence::of_complaint(*verdict, &header, complaint));
            let from = Party::Member(complaint.content.member);
            match *verdict {
                Verdict::Counts(dealer) => {
                    if let Entry::Vacant(place) = self.counting.entry(dealer) {
                        place.insert(complaint.clone());
                        out.event(Event::ConvictedDealer(dealer));
                    }
                }
                Verdict::False { member, check } => out.reject(
                    from,
                    Refusal {
                        check,
                        culprit: Some(member),
                    },
                ),
                Verdict::NotApplicable(check) => out.reject(from, check.into()),
            }
            if let Some(evidence) = evidence {
                self.convict(evidence, true, out);
            }
        }
    }

    pub(super) fn take_endorse(
        &mut self,
        endorse: Endorse,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let content = &endorse.signed.content;
        let member = content.member;
        let (_, key) = self.context.member(member).ok_or(Check::EndorseSignature)?;
        endorse
            .signed
            .verify(key)
            .map_err(|_| Check::EndorseSignature)?;
        let Some(set) = &self.set else {
            return Err(Check::EndorseContent.into());
        };
        if content.params_digest != *self.context.digest() {
            return Err(Check::EndorseContent.into());
        }
        if content.root != set.root() {
            let signed = endorse.signed;
            let second = MemberStatement::Endorse {
                signed: signed.clone(),
            };
            if let Entry::Vacant(place) = self.foreign_endorsements.entry(member) {
                place.insert(signed);
                out.persist(Record::ServerForeign {
                    accepted: second.clone(),
                });
            }
            let Some(own) = self.endorsements.get(&member).cloned() else {
                return Err(self.culprit(Check::EndorseContent, member));
            };
            return Err(self.two_statements(MemberStatement::Endorse { signed: own }, second, out));
        }
        if content.count != set.count() {
            return Err(self.culprit(Check::EndorseContent, member));
        }
        if complaints_digest(&endorse.complaints) != content.complaints
            || endorse.complaints.len() > set.headers().len()
        {
            return Err(Check::EndorseComplaints.into());
        }
        // Whatever comes after the first one adds nothing: all complaints travel with the unmask message again.
        if self.endorsements.contains_key(&member) {
            return Ok(());
        }
        let verdicts: Vec<Verdict> = endorse.complaints.iter().map(|c| self.judge(c)).collect();
        self.endorsements.insert(member, endorse.signed.clone());
        out.persist(Record::ServerEndorse {
            accepted: endorse.clone(),
        });
        self.act_on(&endorse.complaints, &verdicts, out);
        if let Some(foreign) = self.foreign_endorsements.get(&member).cloned() {
            let (first, second) = (
                MemberStatement::Endorse {
                    signed: endorse.signed,
                },
                MemberStatement::Endorse { signed: foreign },
            );
            let refusal = self.two_statements(first, second, out);
            out.reject(Party::Member(member), refusal);
        }
        Ok(())
    }

    /// Convicts a member of two statements that exclude each other.
    fn two_statements(
        &mut self,
        first: MemberStatement,
        second: MemberStatement,
        out: &mut Outputs,
    ) -> Refusal {
        let refusal = self.culprit(second.check(), first.member());
        let evidence = Evidence::MemberEquivocation {
            first,
            second,
            other_params: Vec::new(),
        };
        self.convict(evidence, false, out);
        refusal
    }

    /// t endorsements by increasing index.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let t = usize::from(self.context.threshold());
        let endorsements: Vec<_> = self.endorsements.values().take(t).cloned().collect();
        (endorsements.len() == t).then_some(Certificate { endorsements })
    }

    /// With a certificate, asks for unmasking; again with a longer list when more dealers are convicted.
    pub(super) fn certify(&mut self, out: &mut Outputs) {
        let (Some(set), None) = (&self.set, &self.closing) else {
            return;
        };
        if self.endorsements.len() < usize::from(self.context.threshold()) {
            return;
        }
        let convicted: Vec<ClientId> = self.counting.keys().copied().collect();
        if self
            .list
            .as_ref()
            .is_some_and(|list| list.content.convicted == convicted)
        {
            return;
        }
        let root = set.root();
        let content = ComplaintListContent {
            params_digest: *self.context.digest(),
            root,
            convicted,
        };
        let list = Signed::sign(content, &self.identity);
        out.persist(Record::ServerList { sent: list.clone() });
        if self.list.is_none() {
            out.event(Event::Certified { root });
        }
        self.list = Some(list);
        self.send_unmask_requests(out);
    }

    pub(super) fn send_unmask_requests(&self, out: &mut Outputs) {
        let (Some(list), None, Some(certificate)) = (&self.list, &self.closing, self.certificate())
        else {
            return;
        };
        let listed = list.content.convicted.iter();
        let complaints: Vec<_> = listed
            .filter_map(|dealer| self.counting.get(dealer))
            .cloned()
            .collect();
        for member in (1..=self.context.members()).map(MemberIndex) {
            if !self.unmasks.contains_key(&member) {
                let (certificate, list, complaints) =
                    (certificate.clone(), list.clone(), complaints.clone());
                let request = UnmaskRequest {
                    certificate,
                    list,
                    complaints,
                };
                out.send(Party::Member(member), Message::UnmaskRequest(request));
            }
        }
    }

    pub(super) fn take_unmask(&mut self, unmask: Unmask, out: &mut Outputs) -> Result<(), Refusal> {
        let content = &unmask.signed.content;
        let member = content.member;
        let (_, key) = self.context.member(member).ok_or(Check::UnmaskSignature)?;
        unmask
            .signed
            .verify(key)
            .map_err(|_| Check::UnmaskSignature)?;
        let (Some(set), Some(_)) = (&self.set, &self.list) else {
            return Err(Check::UnmaskContent.into());
        };
        let about_this =
            content.params_digest == *self.context.digest() && content.root == set.root();
        if !about_this
            || !strictly_increasing(&content.convicted)
            || unmask.complaints.len() > set.headers().len()
        {
            return Err(self.culprit(Check::UnmaskContent, member));
        }
        if let Some(first) = self.unmasks.get(&member) {
            if first.content == *content {
                return Ok(());
            }
            let first = MemberStatement::Unmask {
                signed: first.clone(),
            };
            let second = MemberStatement::Unmask {
                signed: unmask.signed,
            };
            return Err(self.two_statements(first, second, out));
        }
        let verdicts: Vec<Verdict> = unmask.complaints.iter().map(|c| self.judge(c)).collect();
        let counts = |dealer: &ClientId| {
            self.counting.contains_key(dealer) || verdicts.contains(&Verdict::Counts(*dealer))
        };
        if !content.convicted.iter().all(counts) {
            return Err(self.culprit(Check::UnmaskConvicted, member));
        }
        let commitments = set.commitments_without(&content.convicted);
        if feldman::verify_summed(&commitments, self.context.threshold(), member, &content.sum)
            .is_err()
        {
            let evidence = Evidence::BadUnmask {
                headers: set.headers().to_vec(),
                unmask: unmask.signed,
            };
            self.convict(evidence, false, out);
            return Err(self.culprit(Check::UnmaskSum, member));
        }
        self.unmasks.insert(member, unmask.signed.clone());
        // No signature covers these complaints: what applies to nothing is not written down, or members could fill the log.
        let applicable = unmask.complaints.iter().zip(&verdicts);
        let applicable = applicable.filter(|(_, v)| !matches!(v, Verdict::NotApplicable(_)));
        out.persist(Record::ServerUnmask {
            accepted: Unmask {
                signed: unmask.signed,
                complaints: applicable.map(|(complaint, _)| complaint.clone()).collect(),
            },
        });
        self.act_on(&unmask.complaints, &verdicts, out);
        Ok(())
    }

    /// Dealers whose shares a member's sum holds although they are convicted, and that it has not revealed.
    fn missing_reveals(&self, member: MemberIndex, sum: &UnmaskContent) -> Vec<ClientId> {
        let not_left_out = self
            .counting
            .keys()
            .filter(|c| sum.convicted.binary_search(c).is_err());
        not_left_out
            .filter(|c| !self.reveals.contains_key(&(member, **c)))
            .copied()
            .collect()
    }

    pub(super) fn send_reveal_requests(&mut self, out: &mut Outputs) {
        let (Some(set), None) = (&self.set, &self.closing) else {
            return;
        };
        let root = set.root();
        for (member, unmask) in &self.unmasks {
            let missing = self.missing_reveals(*member, &unmask.content);
            if missing.is_empty() || self.asked.get(member) == Some(&missing) {
                continue;
            }
            let complaints = missing
                .iter()
                .filter_map(|dealer| self.counting.get(dealer))
                .cloned()
                .collect();
            out.send(
                Party::Member(*member),
                Message::RevealRequest(RevealRequest { root, complaints }),
            );
            self.asked.insert(*member, missing);
        }
    }

    pub(super) fn take_reveal(
        &mut self,
        reveal: Signed<RevealContent>,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let content = &reveal.content;
        let member = content.member;
        let (_, key) = self.context.member(member).ok_or(Check::RevealSignature)?;
        reveal.verify(key).map_err(|_| Check::RevealSignature)?;
        let refuse = || self.culprit(Check::RevealContent, member);
        let set = self.set.as_ref().ok_or_else(refuse)?;
        if content.params_digest != *self.context.digest() || content.root != set.root() {
            return Err(refuse());
        }
        let header = set.by_digest(&content.header_digest).ok_or_else(refuse)?;
        let dealer = header.content.client;
        if !self.counting.contains_key(&dealer) {
            return Err(refuse());
        }
        if self.reveals.contains_key(&(member, dealer)) {
            return Ok(());
        }
        let commitments = &header.content.commitments;
        if feldman::verify_share(
            commitments,
            self.context.threshold(),
            member,
            &content.share,
        )
        .is_err()
        {
            let evidence = Evidence::BadReveal {
                header: header.clone(),
                reveal,
            };
            self.convict(evidence, false, out);
            return Err(self.culprit(Check::RevealShare, member));
        }
        out.persist(Record::ServerReveal {
            accepted: reveal.clone(),
        });
        self.reveals.insert((member, dealer), reveal);
        Ok(())
    }

    /// With t sums aligned to U minus Conv: R, one record of all that Conv rests on, and only then Conv is signed (A17).
    pub(super) fn fix_convicted(&mut self, out: &mut Outputs) -> Result<(), Fault> {
        if self.closing.is_none() && self.list.is_some() {
            self.send_reveal_requests(out);
            self.align(out)?;
        }
        if let (Some(closing), Some(set), None) = (&self.closing, &self.set, &self.convicted) {
            let (params_digest, root, convicted) = (
                *self.context.digest(),
                set.root(),
                closing.convicted.clone(),
            );
            let signed = Signed::sign(
                ConvictedContent {
                    params_digest,
                    root,
                    convicted,
                },
                &self.identity,
            );
            out.persist(Record::ServerConvicted {
                sent: signed.clone(),
            });
            let convicted = u32::try_from(closing.convicted.len()).unwrap_or(u32::MAX);
            out.event(Event::Fixed { convicted });
            self.convicted = Some(signed);
            self.send_convicted(out);
        }
        Ok(())
    }

    fn align(&mut self, out: &mut Outputs) -> Result<(), Fault> {
        let Some(set) = &self.set else { return Ok(()) };
        let (t, convicted) = (
            self.context.threshold(),
            self.counting.keys().copied().collect::<Vec<_>>(),
        );
        let aligned = self
            .unmasks
            .iter()
            .filter(|(j, u)| self.missing_reveals(**j, &u.content).is_empty());
        let (mut shares, mut sums, mut reveals) = (Vec::new(), Vec::new(), Vec::new());
        for (member, unmask) in aligned.take(t.into()) {
            let mut value = unmask.content.sum;
            for dealer in convicted
                .iter()
                .filter(|c| unmask.content.convicted.binary_search(c).is_err())
            {
                if let Some(reveal) = self.reveals.get(&(*member, *dealer)) {
                    value -= reveal.content.share;
                    reveals.push(reveal.clone());
                }
            }
            shares.push(SecretShare::new(*member, value));
            sums.push(unmask.clone());
        }
        if shares.len() < usize::from(t) {
            return Ok(());
        }
        let r_sum: Scalar = feldman::combine(&shares, t).map_err(|_| Fault::Secret)?;
        if RISTRETTO_BASEPOINT_TABLE * &r_sum != *set.sum_f0(&convicted).point() {
            return Err(Fault::Secret);
        }
        let complaints: Vec<_> = self.counting.values().cloned().collect();
        let closing = Closing {
            convicted,
            complaints,
            r_sum,
        };
        let (convicted, complaints) = (closing.convicted.clone(), closing.complaints.clone());
        out.persist(Record::ServerClosing {
            convicted,
            complaints,
            sums,
            reveals,
            r_sum,
        });
        self.closing = Some(closing);
        Ok(())
    }

    pub(super) fn send_convicted(&self, out: &mut Outputs) {
        let (Some(signed), Some(closing), Some(certificate)) =
            (&self.convicted, &self.closing, self.certificate())
        else {
            return;
        };
        for member in (1..=self.context.members()).map(MemberIndex) {
            if !self.finals.contains_key(&member) {
                let (signed, certificate, complaints) = (
                    signed.clone(),
                    certificate.clone(),
                    closing.complaints.clone(),
                );
                out.send(
                    Party::Member(member),
                    Message::Convicted(Convicted {
                        signed,
                        certificate,
                        complaints,
                    }),
                );
            }
        }
    }

    /// What t equal Finals must say.
    pub(super) fn final_terms(&self) -> Option<FinalTerms> {
        let (set, closing) = (self.set.as_ref()?, self.closing.as_ref()?);
        let convicted = closing.convicted.clone();
        Some(FinalTerms {
            root: set.root(),
            count: set.count(),
            sum_f0: set.sum_f0(&convicted),
            convicted,
        })
    }

    pub(super) fn take_final(
        &mut self,
        signed: Signed<FinalContent>,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let member = signed.content.member;
        let (_, key) = self.context.member(member).ok_or(Check::FinalSignature)?;
        signed.verify(key).map_err(|_| Check::FinalSignature)?;
        let (Some(terms), Some(_)) = (self.final_terms(), &self.convicted) else {
            return Err(Check::FinalContent.into());
        };
        if signed.content.params_digest != *self.context.digest() {
            return Err(self.culprit(Check::FinalContent, member));
        }
        if signed.content != terms.content(*self.context.digest(), member) {
            let second = MemberStatement::Final {
                signed: signed.clone(),
            };
            if let Entry::Vacant(place) = self.foreign_finals.entry(member) {
                place.insert(signed);
                out.persist(Record::ServerForeign {
                    accepted: second.clone(),
                });
            }
            let Some(own) = self.finals.get(&member).cloned() else {
                return Err(self.culprit(Check::FinalContent, member));
            };
            return Err(self.two_statements(MemberStatement::Final { signed: own }, second, out));
        }
        if self.finals.contains_key(&member) {
            return Ok(());
        }
        self.finals.insert(member, signed.clone());
        out.persist(Record::ServerFinal {
            accepted: signed.clone(),
        });
        if let Some(foreign) = self.foreign_finals.get(&member).cloned() {
            let (first, second) = (
                MemberStatement::Final { signed },
                MemberStatement::Final { signed: foreign },
            );
            let refusal = self.two_statements(first, second, out);
            out.reject(Party::Member(member), refusal);
        }
        Ok(())
    }
}
