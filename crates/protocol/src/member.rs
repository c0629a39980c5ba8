use crate::machine::Outputs;
use crate::set::{AgreedSet, check_proposal};
use crate::{
    Check, Event, Evidence, Message, Outcome, Output, Party, Record, Refusal, ReplayError,
    RoundContext, ServerStatement, Verdict, check_certificate, check_share_path, complain,
    judge_complaint, open_share, strictly_increasing,
};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use rand_core::CryptoRngCore;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use veilsum_crypto::feldman::{self, SecretShare};
use veilsum_crypto::{Digest, IdentityKey, ShareContext, ShareSecretKey, labels, merkle};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{
    Announcement, ComplaintContent, Convicted, Endorse, EndorseContent, FinalContent, Header,
    MemberPackage, RevealContent, RevealRequest, RowLeaf, RowValues, Rows, RowsContent,
    RowsRequest, ShareLeaf, Signed, Unmask, UnmaskContent, UnmaskRequest, VoidContent,
    complaints_digest, convicted_digest, row_values_digest, slice_rows,
};
use zeroize::Zeroizing;

/// A committee member in one round (`specs/protocol.md`, "Closing a round").
///
/// It signs at most one endorsement, one unmask message and one Final, ever: each is in its log before it leaves, and
/// afterwards only the same bytes are sent again. Members never wait for each other and read no clock.
#[derive(Debug)]
pub struct Member {
    context: Arc<RoundContext>,
    index: MemberIndex,
    identity: IdentityKey,
    share_key: ShareSecretKey,
    dealt: Option<Dealt>,
    endorse: Option<Endorse>,
    unmask: Option<Unmask>,
    reveals: BTreeMap<Digest, Signed<RevealContent>>,
    convicted: Option<Convicted>,
    signed_final: Option<Signed<FinalContent>>,
    rows: BTreeMap<u16, RowValues>,
    void: Option<Signed<VoidContent>>,
}

const _: fn(&Member) = |s| {
    veilsum_crypto::wiped(&s.identity);
    veilsum_crypto::wiped(&s.share_key);
};

/// U and what was dealt to this member in it.
#[derive(Debug)]
struct Dealt {
    set: AgreedSet,
    leaves: Vec<ShareLeaf>,
    /// In the proposal's order; none where the share is bad.
    shares: Vec<Option<SecretShare>>,
}

const _: fn(&Dealt) = |s| s.shares.iter().flatten().for_each(veilsum_crypto::wiped);

impl Dealt {
    /// Checks a package (step 2): the set, the paths of the shares, then the shares, all at once and one by one when that
    /// fails.
    fn check(
        ctx: &RoundContext,
        index: MemberIndex,
        share_key: &ShareSecretKey,
        package: MemberPackage,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, Refusal> {
        let set = AgreedSet::check(ctx, package.proposal, package.headers)?;
        let leaves = package.shares;
        if leaves.len() != set.headers().len() {
            return Err(Check::ShareMissing.into());
        }
        for (header, leaf) in set.headers().iter().zip(&leaves) {
            check_share_path(ctx, &header.content, index, leaf)?;
        }
        let shares = Self::open_all(ctx, index, share_key, set.headers(), &leaves, rng);
        Ok(Self {
            set,
            leaves,
            shares,
        })
    }

    fn open_all(
        ctx: &RoundContext,
        index: MemberIndex,
        share_key: &ShareSecretKey,
        headers: &[Header],
        leaves: &[ShareLeaf],
        rng: &mut impl CryptoRngCore,
    ) -> Vec<Option<SecretShare>> {
        let decrypted: Vec<Option<Zeroizing<Scalar>>> = headers
            .iter()
            .zip(leaves)
            .map(|(header, leaf)| {
                let context = ShareContext {
                    params_digest: ctx.digest(),
                    dealer: header.content.client,
                    index,
                    ephemeral: &header.content.ephemeral,
                    share_key: share_key.public(),
                };
                share_key.decrypt(&context, &leaf.ciphertext).ok()
            })
            .collect();
        let mut seed = [0u8; 32];
        rng.fill_bytes(&mut seed);
        let batch: Vec<_> = headers
            .iter()
            .zip(&decrypted)
            .filter_map(|(header, value)| {
                Some((&header.content.commitments[..], &**value.as_ref()?))
            })
            .collect();
        if feldman::verify_batch(&batch, ctx.threshold(), index, &seed).is_ok() {
            return decrypted
                .iter()
                .map(|v| v.as_ref().map(|v| SecretShare::new(index, **v)))
                .collect();
        }
        headers
            .iter()
            .zip(leaves)
            .map(|(header, leaf)| open_share(ctx, &header.content, index, share_key, leaf).ok())
            .collect()
    }

    /// Dealers whose share is bad, by increasing id.
    fn bad(&self) -> impl Iterator<Item = (&Header, &ShareLeaf)> {
        let dealt = self
            .set
            .headers()
            .iter()
            .zip(&self.leaves)
            .zip(&self.shares);
        dealt.filter_map(|((header, leaf), share)| share.is_none().then_some((header, leaf)))
    }

    fn share(&self, client: ClientId) -> Option<&SecretShare> {
        self.shares.get(self.set.place(client)?)?.as_ref()
    }
}

impl Member {
    /// Takes part in the round of `announcement`, whose context was made from it.
    ///
    /// # Errors
    /// `announcement.signature`, `announcement.digest`; `member.key` when the share key is not the one at this client's
    /// place on the committee, or the client has none.
    pub fn join(
        context: Arc<RoundContext>,
        announcement: Announcement,
        identity: IdentityKey,
        share_key: ShareSecretKey,
    ) -> Result<(Self, Vec<Output>), Refusal> {
        let member = Self::new(context, identity, share_key)?;
        member.check_announcement(&announcement)?;
        let mut out = Outputs::default();
        out.persist(Record::MemberAnnouncement { announcement });
        Ok((member, out.into_list()))
    }

    fn new(
        context: Arc<RoundContext>,
        identity: IdentityKey,
        share_key: ShareSecretKey,
    ) -> Result<Self, Refusal> {
        let own = identity.verifying_key();
        let index = (1..=context.members())
            .map(MemberIndex)
            .find(|j| context.member(*j).is_some_and(|(_, key)| *key == own))
            .ok_or(Check::MemberKey)?;
        if context.share_key(index) != Some(share_key.public()) {
            return Err(Check::MemberKey.into());
        }
        Ok(Self {
            context,
            index,
            identity,
            share_key,
            dealt: None,
            endorse: None,
            unmask: None,
            reveals: BTreeMap::new(),
            convicted: None,
            signed_final: None,
            rows: BTreeMap::new(),
            void: None,
        })
    }

    fn check_announcement(&self, announcement: &Announcement) -> Result<(), Refusal> {
        let signed = announcement.signed.verify(self.context.server_key());
        let content = signed.map_err(|_| Check::AnnouncementSignature)?;
        if content.params_digest != *self.context.digest()
            || announcement.params != *self.context.params()
        {
            return Err(Check::AnnouncementOther.into());
        }
        Ok(())
    }

    /// Rebuilds a member from the records of its log; it signs nothing that it signed before, and resends the same bytes.
    ///
    /// # Errors
    /// The record that does not fit: another round's log (`announcement.other`), or another order of records.
    pub fn replay(
        context: Arc<RoundContext>,
        identity: IdentityKey,
        share_key: ShareSecretKey,
        records: impl IntoIterator<Item = Record>,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, ReplayError> {
        let refused = |record, refusal| ReplayError::Refused { record, refusal };
        let mut member =
            Self::new(context, identity, share_key).map_err(|refusal| refused(0, refusal))?;
        let mut announced = false;
        for (at, record) in records.into_iter().enumerate() {
            let unexpected = ReplayError::Unexpected {
                record: at,
                tag: record.tag(),
            };
            match record {
                Record::MemberAnnouncement { announcement } => {
                    member
                        .check_announcement(&announcement)
                        .map_err(|refusal| refused(at, refusal))?;
                    announced = true;
                }
                _ if !announced => return Err(unexpected),
                Record::MemberVoid { accepted } => member.void = Some(accepted),
                Record::MemberPackage { package } => {
                    let (ctx, index) = (&member.context, member.index);
                    let dealt = Dealt::check(ctx, index, &member.share_key, package, rng);
                    member.dealt = Some(dealt.map_err(|refusal| refused(at, refusal))?);
                }
                _ if member.dealt.is_none() => return Err(unexpected),
                Record::MemberEndorse { sent } => member.endorse = Some(sent),
                Record::MemberUnmaskRequest { .. } => {}
                Record::MemberUnmask { sent } => member.unmask = Some(sent),
                Record::MemberReveal { sent } => {
                    member.reveals.insert(sent.content.header_digest, sent);
                }
                Record::MemberConvicted { accepted } => member.convicted = Some(accepted),
                Record::MemberFinal { sent } => member.signed_final = Some(sent),
                Record::MemberRows { sent } => {
                    member.rows.insert(sent.values.slice, sent.values);
                }
                _ => return Err(unexpected),
            }
        }
        if announced {
            Ok(member)
        } else {
            Err(ReplayError::Empty)
        }
    }

    /// The member's place.
    pub fn index(&self) -> MemberIndex {
        self.index
    }
    /// The root that it is bound to, once it recorded one.
    pub fn root(&self) -> Option<Digest> {
        self.dealt.as_ref().map(|d| d.set.root())
    }
    /// Whether its Final is signed: the round needs its share key no more.
    pub fn is_final(&self) -> bool {
        self.signed_final.is_some()
    }

    /// Takes a message of the server.
    pub fn handle(&mut self, message: Message, rng: &mut impl CryptoRngCore) -> Vec<Output> {
        let mut out = Outputs::default();
        let taken = match message {
            Message::Void(void) => self.take_void(void, &mut out),
            // A void round has no result: nothing more is signed for it, but a server that goes on is convicted.
            Message::Convicted(convicted) => self.take_convicted(convicted, &mut out),
            _ if self.void.is_some() => Ok(()),
            Message::Package(package) => self.take_package(package, &mut out, rng),
            Message::UnmaskRequest(request) => self.take_unmask_request(request, &mut out),
            Message::RevealRequest(request) => self.take_reveal_request(&request, &mut out),
            Message::RowsRequest(request) => self.take_rows_request(&request, &mut out),
            // Meant for this member's client, or for the server.
            _ => Ok(()),
        };
        if let Err(refusal) = taken {
            out.reject(Party::Server, refusal);
        }
        out.into_list()
    }

    fn send(&self, message: Message, out: &mut Outputs) {
        out.send(Party::Server, message);
    }

    fn equivocation(first: ServerStatement, second: ServerStatement, out: &mut Outputs) {
        let evidence = Evidence::ServerEquivocation {
            first,
            second,
            other_params: Vec::new(),
        };
        out.event(Event::Evidence(Box::new(evidence)));
    }

    fn take_package(
        &mut self,
        package: MemberPackage,
        out: &mut Outputs,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), Refusal> {
        let signed = &package.proposal.signed;
        let content = check_proposal(self.context.server_key(), self.context.digest(), signed)?;
        match &self.dealt {
            Some(dealt) if dealt.set.root() != content.root => {
                let first = ServerStatement::Proposal {
                    signed: dealt.set.proposal().signed.clone(),
                };
                Self::equivocation(
                    first,
                    ServerStatement::Proposal {
                        signed: signed.clone(),
                    },
                    out,
                );
                return Err(Check::ProposalEquivocation.into());
            }
            Some(_) => {}
            None => {
                let record = Record::MemberPackage {
                    package: package.clone(),
                };
                self.dealt = Some(Dealt::check(
                    &self.context,
                    self.index,
                    &self.share_key,
                    package,
                    rng,
                )?);
                out.persist(record);
            }
        }
        if let (None, Some(dealt)) = (&self.endorse, &self.dealt) {
            let endorse = self.sign_endorsement(dealt, rng);
            out.persist(Record::MemberEndorse {
                sent: endorse.clone(),
            });
            let complaints = u32::try_from(endorse.complaints.len()).unwrap_or(u32::MAX);
            out.event(Event::Endorsed {
                root: dealt.set.root(),
                complaints,
            });
            self.endorse = Some(endorse);
        }
        if let Some(endorse) = &self.endorse {
            self.send(Message::Endorse(endorse.clone()), out);
        }
        Ok(())
    }

    fn sign_endorsement(&self, dealt: &Dealt, rng: &mut impl CryptoRngCore) -> Endorse {
        let root = dealt.set.root();
        let complaints: Vec<Signed<ComplaintContent>> = dealt
            .bad()
            .map(|(header, leaf)| {
                complain(
                    &self.context,
                    &root,
                    &header.content,
                    self.index,
                    &self.share_key,
                    &self.identity,
                    leaf,
                    rng,
                )
            })
            .collect();
        let content = EndorseContent {
            params_digest: *self.context.digest(),
            root,
            member: self.index,
            count: dealt.set.count(),
            complaints: complaints_digest(&complaints),
        };
        Endorse {
            signed: Signed::sign(content, &self.identity),
            complaints,
        }
    }

    /// What was dealt under `root`, the one root of this member.
    fn dealt_under(&self, root: &Digest) -> Result<&Dealt, Refusal> {
        let dealt = self.dealt.as_ref().ok_or(Check::PackageMissing)?;
        if dealt.set.root() == *root {
            Ok(dealt)
        } else {
            Err(Check::MemberOneRoot.into())
        }
    }

    fn complaint_counts(
        &self,
        dealt: &Dealt,
        complaint: &Signed<ComplaintContent>,
    ) -> Option<ClientId> {
        let header = dealt.set.by_digest(&complaint.content.header_digest)?;
        match judge_complaint(&self.context, &dealt.set.root(), &header.content, complaint) {
            Verdict::Counts(dealer) => Some(dealer),
            Verdict::False { .. } | Verdict::NotApplicable(_) => None,
        }
    }

    /// Whether each dealer of a list has, in its order, one complaint that counts.
    fn complaints_cover(
        &self,
        dealt: &Dealt,
        list: &[ClientId],
        complaints: &[Signed<ComplaintContent>],
    ) -> bool {
        complaints.len() == list.len()
            && complaints
                .iter()
                .zip(list)
                .all(|(c, dealer)| self.complaint_counts(dealt, c) == Some(*dealer))
    }

    fn take_unmask_request(
        &mut self,
        request: UnmaskRequest,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let list = request
            .list
            .verify(self.context.server_key())
            .map_err(|_| Check::ListSignature)?;
        if list.params_digest != *self.context.digest() || !strictly_increasing(&list.convicted) {
            return Err(Check::ListContent.into());
        }
        let dealt = self.dealt_under(&list.root)?;
        if self.unmask.is_none() {
            check_certificate(
                &self.context,
                &list.root,
                dealt.set.count(),
                &request.certificate,
            )?;
            if !self.complaints_cover(dealt, &list.convicted, &request.complaints) {
                return Err(Check::ListComplaints.into());
            }
            let unmask = self.sign_unmask(dealt, &list.convicted)?;
            out.persist(Record::MemberUnmaskRequest { request });
            out.persist(Record::MemberUnmask {
                sent: unmask.clone(),
            });
            out.event(Event::Unmasked);
            self.unmask = Some(unmask);
        }
        if let Some(unmask) = &self.unmask {
            self.send(Message::Unmask(unmask.clone()), out);
        }
        Ok(())
    }

    fn sign_unmask(&self, dealt: &Dealt, list: &[ClientId]) -> Result<Unmask, Refusal> {
        // A member unmasks only under the root that it endorsed.
        let endorse = self.endorse.as_ref().ok_or(Check::PackageMissing)?;
        let own = dealt.bad().map(|(header, _)| header.content.client);
        let left_out: BTreeSet<ClientId> = own.chain(list.iter().copied()).collect();
        let shares = dealt.set.entries().iter().zip(&dealt.shares);
        let mut sum = Zeroizing::new(Scalar::ZERO);
        for (_, share) in shares.filter(|((client, _), _)| !left_out.contains(client)) {
            *sum += share.as_ref().ok_or(Check::DealtShare)?.expose();
        }
        let content = UnmaskContent {
            params_digest: *self.context.digest(),
            root: dealt.set.root(),
            member: self.index,
            convicted: left_out.into_iter().collect(),
            sum: *sum,
        };
        Ok(Unmask {
            signed: Signed::sign(content, &self.identity),
            complaints: endorse.complaints.clone(),
        })
    }

    fn take_reveal_request(
        &mut self,
        request: &RevealRequest,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let dealt = self.dealt_under(&request.root)?;
        // Without a sum there is nothing to align: the next request to unmask leaves these dealers out.
        let unmask = self.unmask.as_ref().ok_or(Check::RevealContent)?;
        let mut reveals = Vec::new();
        for complaint in &request.complaints {
            let dealer = self
                .complaint_counts(dealt, complaint)
                .ok_or(Check::ListComplaints)?;
            if unmask
                .signed
                .content
                .convicted
                .binary_search(&dealer)
                .is_ok()
            {
                continue;
            }
            let share = dealt.share(dealer).ok_or(Check::RevealContent)?;
            let content = RevealContent {
                params_digest: *self.context.digest(),
                root: request.root,
                member: self.index,
                header_digest: complaint.content.header_digest,
                share: *share.expose(),
            };
            reveals.push(Signed::sign(content, &self.identity));
        }
        for reveal in reveals {
            if let Entry::Vacant(place) = self.reveals.entry(reveal.content.header_digest) {
                out.persist(Record::MemberReveal {
                    sent: reveal.clone(),
                });
                place.insert(reveal.clone());
            }
            self.send(Message::Reveal(reveal), out);
        }
        Ok(())
    }

    fn take_convicted(&mut self, convicted: Convicted, out: &mut Outputs) -> Result<(), Refusal> {
        let signed = &convicted.signed;
        let content = signed
            .verify(self.context.server_key())
            .map_err(|_| Check::ConvictedSignature)?;
        if content.params_digest != *self.context.digest() {
            return Err(Check::ConvictedOrder.into());
        }
        let statement = || ServerStatement::Convicted {
            signed: signed.clone(),
        };
        if let Some(void) = &self.void {
            Self::equivocation(
                ServerStatement::Void {
                    signed: void.clone(),
                },
                statement(),
                out,
            );
            return Err(Check::VoidEquivocation.into());
        }
        if let Some(first) = self
            .convicted
            .as_ref()
            .filter(|first| first.signed.content != *content)
        {
            Self::equivocation(
                ServerStatement::Convicted {
                    signed: first.signed.clone(),
                },
                statement(),
                out,
            );
            return Err(Check::ConvictedEquivocation.into());
        }
        if let Some(dealt) = self.dealt.as_ref().filter(|d| d.set.root() != content.root) {
            let first = ServerStatement::Proposal {
                signed: dealt.set.proposal().signed.clone(),
            };
            Self::equivocation(first, statement(), out);
            return Err(Check::ProposalEquivocation.into());
        }
        let dealt = self.dealt_under(&content.root)?;
        if self.signed_final.is_none() {
            let list = &content.convicted;
            if !strictly_increasing(list) {
                return Err(Check::ConvictedOrder.into());
            }
            if !dealt.set.holds_list(list) {
                return Err(Check::ConvictedInSet.into());
            }
            check_certificate(
                &self.context,
                &content.root,
                dealt.set.count(),
                &convicted.certificate,
            )?;
            if !self.complaints_cover(dealt, list, &convicted.complaints) {
                return Err(Check::ConvictedComplaints.into());
            }
            let content = FinalContent {
                params_digest: *self.context.digest(),
                root: content.root,
                member: self.index,
                count: dealt.set.count(),
                convicted: list.clone(),
                sum_f0: dealt.set.sum_f0(list),
            };
            let signed_final = Signed::sign(content, &self.identity);
            out.persist(Record::MemberConvicted {
                accepted: convicted.clone(),
            });
            out.persist(Record::MemberFinal {
                sent: signed_final.clone(),
            });
            out.event(Event::Finalised);
            self.convicted = Some(convicted);
            self.signed_final = Some(signed_final);
        }
        if let Some(signed_final) = &self.signed_final {
            self.send(Message::Final(signed_final.clone()), out);
        }
        Ok(())
    }

    fn take_rows_request(
        &mut self,
        request: &RowsRequest,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let dealt = self.dealt_under(&request.root)?;
        let signed_final = self.signed_final.as_ref();
        let convicted = signed_final
            .map(|signed| &signed.content.convicted[..])
            .ok_or(Check::RowsBeforeFinal)?;
        let slice = request.slice;
        if !self.rows.contains_key(&slice) {
            let values = sum_rows(&self.context, &dealt.set, convicted, slice, &request.leaves)?;
            self.rows.insert(slice, RowValues { slice, values });
            let sent = self.sign_rows(slice, request.root, convicted)?;
            out.persist(Record::MemberRows { sent });
        }
        let rows = self.sign_rows(slice, request.root, convicted)?;
        self.send(Message::Rows(rows), out);
        Ok(())
    }

    /// The signed list of all slices so far, and the values of one: a public function of U, Conv and the slices.
    fn sign_rows(&self, slice: u16, root: Digest, convicted: &[ClientId]) -> Result<Rows, Refusal> {
        let slices = self
            .rows
            .iter()
            .map(|(q, rows)| (*q, row_values_digest(&rows.values)))
            .collect();
        let content = RowsContent {
            params_digest: *self.context.digest(),
            root,
            convicted: convicted_digest(convicted),
            member: self.index,
            slices,
        };
        let values = self.rows.get(&slice).ok_or(Check::RowsContent)?.clone();
        Ok(Rows {
            signed: Signed::sign(content, &self.identity),
            values,
        })
    }

    fn take_void(&mut self, void: Signed<VoidContent>, out: &mut Outputs) -> Result<(), Refusal> {
        let content = void
            .verify(self.context.server_key())
            .map_err(|_| Check::VoidSignature)?;
        if content.params_digest != *self.context.digest() {
            return Err(Check::VoidRound.into());
        }
        if let Some(convicted) = &self.convicted {
            let statement = ServerStatement::Convicted {
                signed: convicted.signed.clone(),
            };
            Self::equivocation(statement, ServerStatement::Void { signed: void }, out);
            return Err(Check::VoidEquivocation.into());
        }
        if self.void.is_none() {
            out.persist(Record::MemberVoid {
                accepted: void.clone(),
            });
            self.void = Some(void);
            out.done(Outcome::Void);
        }
        Ok(())
    }
}

/// The sum of one slice of the X-rows over U minus an ordered list, after every leaf was checked against its row root.
///
/// # Errors
/// `rows.path`, `rows.encoding`.
pub(crate) fn sum_rows(
    ctx: &RoundContext,
    set: &AgreedSet,
    convicted: &[ClientId],
    slice: u16,
    leaves: &[RowLeaf],
) -> Result<Vec<[u8; 32]>, Refusal> {
    let m = usize::from(ctx.members());
    if usize::from(slice) >= m || leaves.len() != set.headers().len() {
        return Err(Check::RowsRequestPath.into());
    }
    let len = slice_rows(ctx.layout(), ctx.members().into(), slice.into()).len();
    let mut sums = vec![RistrettoPoint::identity(); len];
    for (header, leaf) in set.headers().iter().zip(leaves) {
        let data = leaf.rows.as_flattened();
        let path = merkle::verify(
            labels::ROW_TREE,
            &header.content.row_root,
            slice.into(),
            m,
            data,
            &leaf.path,
        );
        if leaf.rows.len() != len || path.is_err() {
            return Err(Check::RowsRequestPath.into());
        }
        if convicted.binary_search(&header.content.client).is_ok() {
            continue;
        }
        for (sum, row) in sums.iter_mut().zip(&leaf.rows) {
            *sum += CompressedRistretto(*row)
                .decompress()
                .ok_or(Check::RowsEncoding)?;
        }
    }
    Ok(sums.iter().map(|sum| sum.compress().to_bytes()).collect())
}
