//! U as server and members hold it.

use crate::{Check, Refusal, RoundContext, check_header, strictly_increasing};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::traits::Identity;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use veilsum_crypto::{CanonicalPoint, Digest, VerifyingKey, labels, merkle};
use veilsum_params::ClientId;
use veilsum_wire::{Header, Proposal, ProposalContent, Signed, proposal_leaves, proposal_root};

/// U: a proposal whose entries were checked, with their headers.
#[derive(Clone, Debug)]
pub(crate) struct AgreedSet {
    proposal: Proposal,
    headers: Vec<Header>,
    places: BTreeMap<Digest, usize>,
    tree: OnceLock<merkle::Tree>,
    count: u32,
    summed: Vec<RistrettoPoint>,
}

/// What everybody checks first of a proposal: that the server signed it, for this round.
///
/// # Errors
/// `proposal.signature`, `proposal.round`.
pub(crate) fn check_proposal<'a>(
    server_key: &VerifyingKey,
    params_digest: &Digest,
    signed: &'a Signed<ProposalContent>,
) -> Result<&'a ProposalContent, Refusal> {
    let content = signed
        .verify(server_key)
        .map_err(|_| Check::ProposalSignature)?;
    if content.params_digest != *params_digest {
        return Err(Check::ProposalRound.into());
    }
    Ok(content)
}

impl AgreedSet {
    /// What a member checks before it endorses (step 2), all but its shares; the server passes its own proposals through
    /// the same checks.
    ///
    /// # Errors
    /// The first check that fails.
    pub(crate) fn check(
        ctx: &RoundContext,
        proposal: Proposal,
        headers: Vec<Header>,
    ) -> Result<Self, Refusal> {
        Self::check_with(ctx, proposal, headers, |header| check_header(ctx, header))
    }

    /// As [`Self::check`], for a server that checked the headers when they came.
    pub(crate) fn check_with(
        ctx: &RoundContext,
        proposal: Proposal,
        headers: Vec<Header>,
        check: impl Fn(&Header) -> Result<(), Refusal>,
    ) -> Result<Self, Refusal> {
        let content = check_proposal(ctx.server_key(), ctx.digest(), &proposal.signed)?;
        let entries = &proposal.entries;
        let count = u32::try_from(entries.len()).map_err(|_| Check::ProposalCount)?;
        if !(ctx.params().n_min..=ctx.params().n_max).contains(&count) {
            return Err(Check::ProposalCount.into());
        }
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(Check::ProposalOrder.into());
        }
        if !entries.iter().all(|(client, _)| ctx.in_cohort(*client)) {
            return Err(Check::ProposalCohort.into());
        }
        if proposal_root(entries) != content.root {
            return Err(Check::ProposalRoot.into());
        }
        if headers.len() != entries.len() {
            return Err(Check::ProposalHeaders.into());
        }
        let mut places = BTreeMap::new();
        let mut summed = vec![RistrettoPoint::identity(); usize::from(ctx.threshold())];
        for (place, (header, (client, digest))) in headers.iter().zip(entries).enumerate() {
            if header.content.client != *client || header.content.digest() != *digest {
                return Err(Check::ProposalHeaders.into());
            }
            check(header)?;
            for (sum, commitment) in summed.iter_mut().zip(&header.content.commitments) {
                *sum += commitment.point();
            }
            places.insert(*digest, place);
        }
        Ok(Self {
            proposal,
            headers,
            places,
            tree: OnceLock::new(),
            count,
            summed,
        })
    }

    pub(crate) fn proposal(&self) -> &Proposal {
        &self.proposal
    }
    pub(crate) fn root(&self) -> Digest {
        self.proposal.signed.content.root
    }
    pub(crate) fn entries(&self) -> &[(ClientId, Digest)] {
        &self.proposal.entries
    }
    /// |U|.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
    /// Headers in the proposal's order.
    pub(crate) fn headers(&self) -> &[Header] {
        &self.headers
    }
    pub(crate) fn place(&self, client: ClientId) -> Option<usize> {
        self.entries()
            .binary_search_by_key(&client, |(c, _)| *c)
            .ok()
    }
    pub(crate) fn contains(&self, client: ClientId) -> bool {
        self.place(client).is_some()
    }
    pub(crate) fn header(&self, client: ClientId) -> Option<&Header> {
        self.headers.get(self.place(client)?)
    }
    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<&Header> {
        self.headers.get(*self.places.get(digest)?)
    }
    /// The path of the entry at `place` to the Merkle root of the entries.
    pub(crate) fn path(&self, place: usize) -> Vec<Digest> {
        let tree = || {
            merkle::Tree::new(
                labels::PROPOSAL_TREE,
                proposal_leaves(&self.proposal.entries),
            )
        };
        self.tree.get_or_init(tree).path(place)
    }
    /// Summed Feldman commitments of U minus the clients of an ordered list.
    pub(crate) fn commitments_without(&self, convicted: &[ClientId]) -> Vec<RistrettoPoint> {
        let mut summed = self.summed.clone();
        for header in convicted.iter().filter_map(|c| self.header(*c)) {
            for (sum, commitment) in summed.iter_mut().zip(&header.content.commitments) {
                *sum -= commitment.point();
            }
        }
        summed
    }
    /// Sum of F_0 over U minus the clients of an ordered list.
    pub(crate) fn sum_f0(&self, convicted: &[ClientId]) -> CanonicalPoint {
        let first = self.commitments_without(convicted).first().copied();
        CanonicalPoint::from(first.unwrap_or_else(RistrettoPoint::identity))
    }
    /// Whether a list is in order and all of it in U.
    pub(crate) fn holds_list(&self, list: &[ClientId]) -> bool {
        strictly_increasing(list) && list.iter().all(|c| self.contains(*c))
    }
}
