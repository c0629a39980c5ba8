//! Taking contributions and proposing U.

use super::{ServerRound, Stop};
use crate::machine::Outputs;
use crate::set::AgreedSet;
use crate::{
    Blame, Bytes, Check, Event, Evidence, Fault, Message, Output, Owed, Party, Record, Refusal,
    VerifiedContribution, check_header,
};
use veilsum_crypto::{CIPHERTEXT_LEN, Digest, labels, merkle};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{
    Body, Header, MemberPackage, Proposal, ProposalContent, ReceiptContent, RowsRequest, ShareLeaf,
    Signed, Wire, proposal_root, row_leaves, share_leaves,
};

/// What the server keeps of a contribution: all but the large parts, which are in the body store and in the sums.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) header: Header,
    pub(super) header_digest: Digest,
    pub(super) body: Digest,
    pub(super) receipt: Option<Signed<ReceiptContent>>,
    shares: Vec<[u8; CIPHERTEXT_LEN]>,
    share_tree: merkle::Tree,
    pub(super) x_rows: Vec<[u8; 32]>,
    pub(super) row_tree: merkle::Tree,
    /// Whether the header was checked in this process: a log that is read again is believed until U is fixed.
    pub(super) checked: bool,
}

impl Stored {
    fn share_leaf(&self, member: MemberIndex) -> Option<ShareLeaf> {
        let slot = member.slot()?;
        let ciphertext = *self.shares.get(slot)?;
        Some(ShareLeaf {
            ciphertext,
            path: self.share_tree.path(slot),
        })
    }
}

impl ServerRound {
    /// As [`Self::standing`], for a header that nobody checked.
    pub(super) fn admission(
        &mut self,
        header: &Header,
        out: &mut Outputs,
    ) -> Result<Option<Signed<ReceiptContent>>, Refusal> {
        let known = self.standing(header, out)?;
        if known.is_some() {
            return Ok(known);
        }
        if let Err(refusal) = check_header(&self.context, header) {
            self.take_invalid(header.clone(), Bytes(Vec::new()), &refusal, out);
            return Err(refusal);
        }
        Ok(None)
    }

    /// The receipt of a contribution that is durable, or nothing for one that may be taken if it verifies.
    pub(super) fn standing(
        &mut self,
        header: &Header,
        out: &mut Outputs,
    ) -> Result<Option<Signed<ReceiptContent>>, Refusal> {
        let client = header.content.client;
        if let Some(stored) = self.stored.get(&client) {
            if stored.header_digest == header.content.digest() {
                // A receipt that is not signed yet is on its way: the contribution was stored in this very call.
                return stored
                    .receipt
                    .clone()
                    .map(Some)
                    .ok_or(Check::ContributionClosed.into());
            }
            let first = stored.header.clone();
            // Only what the client signed speaks against it.
            check_header(&self.context, header)?;
            let evidence = Evidence::ClientEquivocation {
                first,
                second: header.clone(),
                other_params: Vec::new(),
            };
            self.convict(evidence, false, out);
            return Err(Refusal {
                check: Check::ContributionDuplicate,
                culprit: Some(client),
            });
        }
        if self.set.is_some() || self.void.is_some() || self.closed {
            return Err(Check::ContributionClosed.into());
        }
        Ok(None)
    }

    /// Records what convicts the client of a contribution that verification refused, where it signed what was refused.
    pub(super) fn take_invalid(
        &mut self,
        header: Header,
        body: Bytes,
        refusal: &Refusal,
        out: &mut Outputs,
    ) {
        let signed = refusal.check.info().blame == Blame::Client
            && refusal.culprit == Some(header.content.client);
        if self.closed || !signed {
            return;
        }
        let evidence = if check_header(&self.context, &header).is_err() {
            Evidence::InvalidHeader { header }
        } else {
            Evidence::InvalidProof { header, body }
        };
        self.convict(evidence, false, out);
    }

    pub(super) fn take_contribution(
        &mut self,
        contribution: VerifiedContribution,
        body: Digest,
        out: &mut Outputs,
    ) -> Result<(), Stop> {
        let client = contribution.client();
        // Verification checked the header; for another round it would have been another one's.
        if contribution.header().content.params_digest != *self.context.digest() {
            return Err(Check::HeaderParams.into());
        }
        if let Some(receipt) = self.standing(contribution.header(), out)? {
            out.send(Party::Client(client), Message::Receipt(receipt));
            return Ok(());
        }
        self.sums
            .add_verified(&self.round, &contribution)
            .map_err(Fault::Open)?;
        let (header, decoded) = contribution.into_parts();
        self.store(header.clone(), body, decoded, true);
        out.persist(Record::ServerContribution { header, body });
        out.event(Event::Contributed(client));
        Ok(())
    }

    /// Keeps a contribution that is in the sums.
    pub(super) fn store(&mut self, header: Header, body: Digest, decoded: Body, checked: bool) {
        let (layout, client) = (self.context.layout(), header.content.client);
        let stored = Stored {
            header_digest: header.content.digest(),
            header,
            body,
            receipt: None,
            share_tree: merkle::Tree::new(labels::SHARE_TREE, share_leaves(&decoded.shares)),
            shares: decoded.shares,
            row_tree: merkle::Tree::new(
                labels::ROW_TREE,
                row_leaves(layout, self.context.members().into(), &decoded.matrix),
            ),
            checked,
            x_rows: decoded
                .matrix
                .into_iter()
                .take(layout.x_rows as usize)
                .collect(),
        };
        self.stored.insert(client, stored);
        self.without_receipt.insert(client);
    }

    pub(super) fn sign_receipts(&mut self, out: &mut Outputs) {
        for client in std::mem::take(&mut self.without_receipt) {
            let Some(stored) = self.stored.get_mut(&client) else {
                continue;
            };
            let params_digest = *self.context.digest();
            let content = ReceiptContent {
                params_digest,
                client,
                header_digest: stored.header_digest,
            };
            let receipt = Signed::sign(content, &self.identity);
            out.persist(Record::ServerReceipt {
                sent: receipt.clone(),
            });
            out.send(Party::Client(client), Message::Receipt(receipt.clone()));
            stored.receipt = Some(receipt);
        }
    }

    /// U is everything durable now (A16): the caller's exclusive access to the machine is the critical section.
    pub(super) fn propose(&mut self, out: &mut Outputs) -> Result<(), Refusal> {
        if self.set.is_some() || self.void.is_some() {
            return Ok(());
        }
        let got = u32::try_from(self.stored.len()).unwrap_or(u32::MAX);
        let want = self.context.params().n_min;
        if got < want {
            out.event(Event::TooFew { got, want });
            return Ok(());
        }
        let entries: Vec<(ClientId, Digest)> = self
            .stored
            .iter()
            .map(|(c, s)| (*c, s.header_digest))
            .collect();
        let content = ProposalContent {
            params_digest: *self.context.digest(),
            root: proposal_root(&entries),
        };
        let proposal = Proposal {
            signed: Signed::sign(content, &self.identity),
            entries,
        };
        self.fix_set(proposal.clone())?;
        let root = proposal.signed.content.root;
        out.persist(Record::ServerProposal { sent: proposal });
        out.event(Event::Proposed { root, count: got });
        self.send_packages(out);
        Ok(())
    }

    /// The server puts its own proposal through the check that members make: what it proposes they accept.
    pub(super) fn fix_set(&mut self, proposal: Proposal) -> Result<(), Refusal> {
        let headers = self.stored.values().map(|s| s.header.clone()).collect();
        let (ctx, stored) = (&self.context, &self.stored);
        let checked = |client| stored.get(&client).is_some_and(|s| s.checked);
        let check = |header: &Header| match checked(header.content.client) {
            true => Ok(()),
            false => check_header(ctx, header),
        };
        self.set = Some(AgreedSet::check_with(ctx, proposal, headers, check)?);
        Ok(())
    }

    pub(super) fn send_packages(&self, out: &mut Outputs) {
        if self.set.is_none() {
            return;
        }
        for member in (1..=self.context.members()).map(MemberIndex) {
            if !self.endorsements.contains_key(&member) && !self.finals.contains_key(&member) {
                out.owe(member, Owed::Package);
            }
        }
    }

    /// Makes a message that an [`Output::Owe`] stands for: about |U| times the size of a header, or of a slice of rows.
    /// None before U is fixed, and for a member or slice that there is not.
    pub fn owed(&self, to: MemberIndex, what: Owed) -> Option<Message> {
        let set = self.set.as_ref()?;
        match what {
            Owed::Package => {
                let shares = self.stored.values().map(|stored| stored.share_leaf(to));
                Some(Message::Package(MemberPackage {
                    proposal: set.proposal().clone(),
                    headers: set.headers().to_vec(),
                    shares: shares.collect::<Option<_>>()?,
                }))
            }
            Owed::Rows { slice } => (slice < self.context.members()).then(|| {
                Message::RowsRequest(RowsRequest {
                    root: set.root(),
                    slice,
                    leaves: self.row_leaves(slice),
                })
            }),
        }
    }

    /// The bytes of the same message up to what is one member's own. They are written without making the message, which
    /// is several times larger.
    pub fn owed_shared(&self, what: Owed) -> Option<Vec<u8>> {
        let set = self.set.as_ref()?;
        let Owed::Package = what else {
            return Some(self.owed(MemberIndex(1), what)?.to_bytes());
        };
        let empty = MemberPackage {
            proposal: set.proposal().clone(),
            headers: Vec::new(),
            shares: Vec::new(),
        };
        let mut bytes = vec![Message::Package(empty).tag()];
        set.proposal().encode(&mut bytes);
        set.count().encode(&mut bytes);
        set.headers().iter().for_each(|h| h.encode(&mut bytes));
        Some(bytes)
    }

    /// The bytes behind those of [`Self::owed_shared`]: none where all members get the same.
    pub fn owed_own(&self, to: MemberIndex, what: Owed) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        if what == Owed::Package {
            self.set.as_ref()?.count().encode(&mut bytes);
            for stored in self.stored.values() {
                stored.share_leaf(to)?.encode(&mut bytes);
            }
        }
        Some(bytes)
    }

    /// Puts the messages in place of what [`Output::Owe`] announces, for drivers that keep all of them in memory.
    pub fn with_owed(&self, outputs: Vec<Output>) -> Vec<Output> {
        let fill = |output| match output {
            Output::Owe { to, what } => {
                self.owed(to, what).map_or(output, |message| Output::Send {
                    to: Party::Member(to),
                    message,
                })
            }
            other => other,
        };
        outputs.into_iter().map(fill).collect()
    }
}
