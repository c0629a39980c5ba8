use crate::world::stream;
use crate::{Deviation, Forged, SimError, World, forge};
use std::collections::BTreeMap;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{complain, row_leaf, share_leaf};
use veilsum_wire::{
    Certificate, ComplaintContent, ComplaintListContent, Contribution, Convicted, ConvictedContent,
    EndorseContent, MemberPackage, Proposal, ProposalContent, RevealRequest, RowsRequest,
    ShareLeaf, Signed, UnmaskRequest, complaints_digest, proposal_root,
};

/// The hands of a server that signs whatever it likes, and of members that it corrupted: makes every message of the
/// closing for any set, without any check.
#[derive(Debug)]
pub struct Hands<'w> {
    /// Where.
    pub world: &'w World,
    /// What the clients contributed.
    pub contributions: BTreeMap<ClientId, Contribution>,
}

impl<'w> Hands<'w> {
    /// Contributions of the whole roster, those that were not sampled included; deviations where given.
    ///
    /// # Errors
    /// As [`forge`].
    pub fn new(
        world: &'w World,
        deviations: &BTreeMap<ClientId, Deviation>,
    ) -> Result<Self, SimError> {
        let mut contributions = BTreeMap::new();
        for client in world.identities.keys() {
            let deviation = deviations.get(client).cloned().unwrap_or_default();
            let mut rng = stream(world.setup.seed, 5000 + u64::from(client.0));
            let Forged { contribution, .. } = forge(world, *client, &deviation, &mut rng)?;
            contributions.insert(*client, contribution);
        }
        Ok(Self {
            world,
            contributions,
        })
    }

    /// Signs a proposal of these clients, in this order.
    pub fn proposal(&self, clients: &[ClientId]) -> Proposal {
        let of = |c: &ClientId| {
            self.contributions
                .get(c)
                .map(|k| (*c, k.header.content.digest()))
        };
        let entries: Vec<_> = clients.iter().filter_map(of).collect();
        let content = ProposalContent {
            params_digest: self.world.digest(),
            root: proposal_root(&entries),
        };
        Proposal {
            signed: Signed::sign(content, &self.world.server),
            entries,
        }
    }

    /// A member's share of a dealer, with its path; empty for an unknown dealer or member.
    ///
    pub fn leaf(&self, dealer: ClientId, member: MemberIndex) -> ShareLeaf {
        let leaf = self
            .contributions
            .get(&dealer)
            .and_then(|c| share_leaf(&c.body, member));
        leaf.unwrap_or(ShareLeaf {
            ciphertext: [0; 48],
            path: Vec::new(),
        })
    }

    /// The package of a proposal for one member.
    pub fn package(&self, proposal: &Proposal, member: MemberIndex) -> MemberPackage {
        let contributions = || {
            proposal
                .entries
                .iter()
                .filter_map(|(c, _)| self.contributions.get(c))
        };
        MemberPackage {
            proposal: proposal.clone(),
            headers: contributions().map(|c| c.header.clone()).collect(),
            shares: contributions()
                .map(|c| self.leaf(c.header.content.client, member))
                .collect(),
        }
    }

    /// A corrupted member's endorsement of anything.
    ///
    /// # Errors
    /// [`SimError::NoParty`].
    pub fn endorsement(
        &self,
        proposal: &Proposal,
        member: MemberIndex,
    ) -> Result<Signed<EndorseContent>, SimError> {
        let (_, identity, _) = self.world.member_keys(member)?;
        let content = EndorseContent {
            params_digest: self.world.digest(),
            root: proposal.signed.content.root,
            member,
            count: u32::try_from(proposal.entries.len()).unwrap_or(u32::MAX),
            complaints: complaints_digest(&[]),
        };
        Ok(Signed::sign(content, identity))
    }

    /// A certificate by members that this server corrupted.
    ///
    /// # Errors
    /// [`SimError::NoParty`].
    pub fn certificate(
        &self,
        proposal: &Proposal,
        members: &[u16],
    ) -> Result<Certificate, SimError> {
        let endorsements = members
            .iter()
            .map(|j| self.endorsement(proposal, MemberIndex(*j)));
        Ok(Certificate {
            endorsements: endorsements.collect::<Result<_, _>>()?,
        })
    }

    /// A member's complaint about a dealer, whether it has a reason or not.
    ///
    /// # Errors
    /// [`SimError::NoParty`].
    pub fn complaint(
        &self,
        proposal: &Proposal,
        dealer: ClientId,
        member: MemberIndex,
    ) -> Result<Signed<ComplaintContent>, SimError> {
        let (_, identity, share_key) = self.world.member_keys(member)?;
        let no_dealer = SimError::NoParty(veilsum_protocol::Party::Client(dealer));
        let header = &self
            .contributions
            .get(&dealer)
            .ok_or(no_dealer)?
            .header
            .content;
        let (root, leaf) = (proposal.signed.content.root, self.leaf(dealer, member));
        let mut rng = stream(self.world.setup.seed, 9000);
        Ok(complain(
            &self.world.context,
            &root,
            header,
            member,
            share_key,
            identity,
            &leaf,
            &mut rng,
        ))
    }

    /// A request to unmask.
    pub fn unmask_request(
        &self,
        proposal: &Proposal,
        certificate: &Certificate,
        convicted: &[ClientId],
        complaints: &[Signed<ComplaintContent>],
    ) -> UnmaskRequest {
        let (params_digest, root) = (self.world.digest(), proposal.signed.content.root);
        let list = ComplaintListContent {
            params_digest,
            root,
            convicted: convicted.to_vec(),
        };
        UnmaskRequest {
            certificate: certificate.clone(),
            list: Signed::sign(list, &self.world.server),
            complaints: complaints.to_vec(),
        }
    }

    /// A request to reveal.
    pub fn reveal_request(
        &self,
        proposal: &Proposal,
        complaints: &[Signed<ComplaintContent>],
    ) -> RevealRequest {
        RevealRequest {
            root: proposal.signed.content.root,
            complaints: complaints.to_vec(),
        }
    }

    /// A fixed list.
    pub fn convicted(
        &self,
        proposal: &Proposal,
        certificate: &Certificate,
        convicted: &[ClientId],
        complaints: &[Signed<ComplaintContent>],
    ) -> Convicted {
        let (params_digest, root) = (self.world.digest(), proposal.signed.content.root);
        let content = ConvictedContent {
            params_digest,
            root,
            convicted: convicted.to_vec(),
        };
        Convicted {
            signed: Signed::sign(content, &self.world.server),
            certificate: certificate.clone(),
            complaints: complaints.to_vec(),
        }
    }

    /// A request for row sums.
    pub fn rows_request(&self, proposal: &Proposal, slice: u16) -> RowsRequest {
        let contributions = proposal
            .entries
            .iter()
            .filter_map(|(c, _)| self.contributions.get(c));
        let leaves = contributions
            .map(|c| row_leaf(&self.world.context, &c.body.matrix, slice))
            .collect();
        RowsRequest {
            root: proposal.signed.content.root,
            slice,
            leaves,
        }
    }
}
