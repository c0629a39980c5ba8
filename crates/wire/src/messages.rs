use crate::codec::message;
use crate::{BeaconProof, Content, Header, Signed, Wire};
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::labels::{self, Label};
use veilsum_crypto::{
    CIPHERTEXT_LEN, CanonicalPoint, Digest, DleqProof, Hasher, Signature, merkle,
};
use veilsum_params::{ClientId, MemberIndex, RoundParams};

pub use crate::contribution::{BodyDigests, matrix_roots, row_leaves, share_leaves};

macro_rules! contents {
    ($($name:ident: $label:ident;)*) => {$(
        impl Content for $name {
            const LABEL: Label = labels::$label;
        }
    )*};
}
contents! {
    AnnouncementContent: SIGN_ANNOUNCEMENT;
    ReceiptContent: SIGN_RECEIPT;
    ProposalContent: SIGN_PROPOSAL;
    ComplaintContent: SIGN_COMPLAINT;
    EndorseContent: SIGN_ENDORSE;
    ComplaintListContent: SIGN_COMPLAINT_LIST;
    UnmaskContent: SIGN_UNMASK;
    RevealContent: SIGN_REVEAL;
    ConvictedContent: SIGN_CONVICTED;
    FinalContent: SIGN_FINAL;
    RowsContent: SIGN_ROWS;
    ResultContent: SIGN_RESULT;
    VoidContent: SIGN_VOID;
    LogHeadContent: SIGN_LOG_HEAD;
    RequestContent: SIGN_REQUEST;
}

message! {
    /// Signed by the server: these are the parameters of this round, and there are no others.
    AnnouncementContent {
        /// The round.
        round_id: u64,
        /// Digest of its parameters.
        params_digest: Digest,
    }
}
message! {
    /// The announcement of a round.
    Announcement {
        /// Signed by the server.
        signed: Signed<AnnouncementContent>,
        /// The parameters whose digest is signed.
        params: RoundParams,
        /// Why the beacon's value in them is the right one. It proves itself, so it is not signed.
        beacon: BeaconProof,
    }
}
message! {
    /// Signed by the server: this contribution was verified and is durable.
    ReceiptContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Whose contribution.
        client: ClientId,
        /// Digest of its header.
        header_digest: Digest,
    }
}
message! {
    /// Signed by the server: U is the set under this root.
    ProposalContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root over U.
        root: Digest,
    }
}
message! {
    /// The proposal of U.
    Proposal {
        /// Signed by the server.
        signed: Signed<ProposalContent>,
        /// (client, header digest) of U, ids strictly increasing; [`proposal_root`] of it is signed.
        entries: Vec<(ClientId, Digest)>,
    }
}
message! {
    /// One encrypted share and its path to the share root.
    ShareLeaf {
        /// The ciphertext.
        ciphertext: [u8; CIPHERTEXT_LEN],
        /// The Merkle path.
        path: Vec<Digest>,
    }
}
message! {
    /// What the server sends to one member: the proposal, all headers of U in its order, the member's own shares.
    MemberPackage {
        /// The proposal.
        proposal: Proposal,
        /// Headers of U, in the proposal's order.
        headers: Vec<Header>,
        /// The member's shares, in the proposal's order.
        shares: Vec<ShareLeaf>,
    }
}
message! {
    /// Signed by a member: this dealer's share for me is bad, and here is what it takes to see it.
    ComplaintContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// Digest of the dealer's header.
        header_digest: Digest,
        /// The complaining member.
        member: MemberIndex,
        /// Its ciphertext and the path to the header's share root.
        share: ShareLeaf,
        /// D = sk E.
        point: CanonicalPoint,
        /// Proof that D is right, bound to everything above.
        equality: DleqProof,
    }
}
message! {
    /// Signed by a member: it endorses this root, once per round.
    EndorseContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// The endorsing member.
        member: MemberIndex,
        /// |U|.
        count: u32,
        /// [`complaints_digest`] of its complaints.
        complaints: Digest,
    }
}
message! {
    /// An endorsement with the member's complaints.
    Endorse {
        /// Signed by the member.
        signed: Signed<EndorseContent>,
        /// All its complaints.
        complaints: Vec<Signed<ComplaintContent>>,
    }
}
message! {
    /// t endorsements of one root.
    Certificate {
        /// Endorsements by distinct members, by increasing index.
        endorsements: Vec<Signed<EndorseContent>>,
    }
}
message! {
    /// Signed by the server: dealers against which it holds complaints that count; may grow.
    ComplaintListContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// Convicted dealers, ids strictly increasing.
        convicted: Vec<ClientId>,
    }
}
message! {
    /// What the server sends to ask for unmasking: the certificate, and the complaints that count.
    UnmaskRequest {
        /// t endorsements of the root.
        certificate: Certificate,
        /// The list.
        list: Signed<ComplaintListContent>,
        /// One complaint that counts for each dealer of the list, in its order.
        complaints: Vec<Signed<ComplaintContent>>,
    }
}
message! {
    /// Signed by a member, once per round: the sum of its shares over U minus the convicted dealers.
    UnmaskContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// The member.
        member: MemberIndex,
        /// Conv_j: dealers left out, ids strictly increasing.
        convicted: Vec<ClientId>,
        /// sigma_j.
        sum: Scalar,
    }
}
message! {
    /// An unmask message with all the member's complaints.
    Unmask {
        /// Signed by the member.
        signed: Signed<UnmaskContent>,
        /// All its complaints.
        complaints: Vec<Signed<ComplaintContent>>,
    }
}
message! {
    /// What the server sends to ask for the shares of dealers that were convicted after a member unmasked.
    RevealRequest {
        /// Root of the proposal.
        root: Digest,
        /// One complaint that counts for each dealer whose share is asked for.
        complaints: Vec<Signed<ComplaintContent>>,
    }
}
message! {
    /// Signed by a member: its share of a convicted dealer.
    RevealContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// The member.
        member: MemberIndex,
        /// Digest of the dealer's header.
        header_digest: Digest,
        /// f(j) of that dealer.
        share: Scalar,
    }
}
message! {
    /// Signed by the server, once per round: the convicted dealers, fixed.
    ConvictedContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// Conv: ids strictly increasing.
        convicted: Vec<ClientId>,
    }
}
message! {
    /// What the server sends to ask for Finals: the fixed list and what it rests on.
    Convicted {
        /// Signed by the server.
        signed: Signed<ConvictedContent>,
        /// t endorsements of the root.
        certificate: Certificate,
        /// One complaint that counts for each dealer of the list, in its order.
        complaints: Vec<Signed<ComplaintContent>>,
    }
}
message! {
    /// Signed by a member, once per round: what the sum is over.
    FinalContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// The member.
        member: MemberIndex,
        /// |U|.
        count: u32,
        /// Conv.
        convicted: Vec<ClientId>,
        /// Sum of F_0 over U minus Conv.
        sum_f0: CanonicalPoint,
    }
}
message! {
    /// The rows of one slice of one contribution, with the path to its row root.
    RowLeaf {
        /// Compressed X-rows of the slice.
        rows: Vec<[u8; 32]>,
        /// The Merkle path.
        path: Vec<Digest>,
    }
}
message! {
    /// What the server sends to ask a member for the sum of a slice: its rows of every contribution of U, in the
    /// proposal's order.
    RowsRequest {
        /// Root of the proposal.
        root: Digest,
        /// The slice.
        slice: u16,
        /// One leaf for each contribution of U.
        leaves: Vec<RowLeaf>,
    }
}
message! {
    /// Signed by a member: hashes of the row sums of the slices that it was asked for.
    RowsContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// [`convicted_digest`] of the Conv of its Final.
        convicted: Digest,
        /// The member.
        member: MemberIndex,
        /// (slice, [`row_values_digest`]), slices strictly increasing.
        slices: Vec<(u16, Digest)>,
    }
}
message! {
    /// The summed rows of one slice.
    RowValues {
        /// The slice.
        slice: u16,
        /// Sum of K_a over U minus Conv for the rows of the slice, compressed.
        values: Vec<[u8; 32]>,
    }
}
message! {
    /// A member's answer to a [`RowsRequest`]: its signed list so far and the values of the slice.
    Rows {
        /// Signed by the member.
        signed: Signed<RowsContent>,
        /// The values of the slice that was asked for.
        values: RowValues,
    }
}
message! {
    /// Signed by the server, once per round: the result.
    ResultContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Root of the proposal.
        root: Digest,
        /// Conv.
        convicted: Vec<ClientId>,
        /// R: sum of r over U minus Conv.
        r_sum: Scalar,
        /// [`result_vector_digest`] of x_U.
        vector_digest: Digest,
    }
}
message! {
    /// The result of a round.
    RoundResult {
        /// Signed by the server.
        signed: Signed<ResultContent>,
        /// x_U: the summed integer coordinates, d of them.
        vector: Vec<i64>,
    }
}
message! {
    /// A member's signed list of row sums as a light client downloads it: the root, Conv and values are in the bundle already,
    /// so the [`RowsContent`] that was signed is put together again and only which slices it lists is sent.
    RowList {
        /// The member.
        member: MemberIndex,
        /// The slices of its list, strictly increasing.
        slices: Vec<u16>,
        /// Its signature over the [`RowsContent`] of these slices with the values of the bundle.
        signature: Signature,
    }
}
impl RowList {
    /// The short form of a signed list.
    pub fn of(signed: &Signed<RowsContent>) -> Self {
        Self {
            member: signed.content.member,
            slices: signed.content.slices.iter().map(|(q, _)| *q).collect(),
            signature: signed.signature,
        }
    }
}
impl LightBundle {
    /// The signed list of a short form, with the values of this bundle and the root and Conv of the result; its signature is
    /// not checked. None when it lists a slice that is not in the bundle, or slices out of order.
    pub fn signed_list(
        &self,
        result: &ResultContent,
        list: &RowList,
    ) -> Option<Signed<RowsContent>> {
        let ordered = list.slices.is_sorted_by(|a, b| a < b);
        let slices: Option<Vec<(u16, Digest)>> = list
            .slices
            .iter()
            .map(|q| {
                let row = self.rows.iter().rev().find(|row| row.slice == *q)?;
                Some((*q, row_values_digest(&row.values)))
            })
            .collect();
        Some(Signed {
            content: RowsContent {
                params_digest: result.params_digest,
                root: result.root,
                convicted: convicted_digest(&result.convicted),
                member: list.member,
                slices: slices.filter(|_| ordered)?,
            },
            signature: list.signature,
        })
    }
}
message! {
    /// What a light client downloads beside the result (`specs/protocol.md`, "Light check").
    LightBundle {
        /// The proposal's entries are not needed: the own one with its path is.
        certificate: Certificate,
        /// |U|.
        count: u32,
        /// Place of the own entry in U.
        position: u32,
        /// Path of the own (client, header digest) entry.
        path: Vec<Digest>,
        /// t equal Finals.
        finals: Vec<Signed<FinalContent>>,
        /// Each non-empty slice once.
        rows: Vec<RowValues>,
        /// Signed lists of slices, one for each member.
        row_lists: Vec<RowList>,
    }
}
impl LightBundle {
    /// Its bytes in three parts, of which the first and the last are the same for all clients of a round.
    pub fn to_parts(&self) -> [Vec<u8>; 3] {
        [
            (self.certificate.clone(), self.count).to_bytes(),
            (self.position, self.path.clone()).to_bytes(),
            (
                (self.finals.clone(), self.rows.clone()),
                self.row_lists.clone(),
            )
                .to_bytes(),
        ]
    }
}
message! {
    /// Signed by the server: this round has no result and never will.
    VoidContent {
        /// Digest of the round parameters.
        params_digest: Digest,
    }
}
message! {
    /// Signed by a client: it makes this kind of request in this round. The parameters name the server and the round, so that it
    /// counts nowhere else; within the round the same bytes may come any number of times.
    RequestContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// The client.
        client: ClientId,
        /// The kind of the request.
        kind: u16,
    }
}
message! {
    /// Signed by the owner of a log: it is closed with this head.
    LogHeadContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// Records before the closing one.
        records: u64,
        /// Chain value after them.
        head: Digest,
    }
}

fn entry_leaf(client: ClientId, header_digest: &Digest) -> Vec<u8> {
    (client, *header_digest).to_bytes()
}

/// Merkle leaves of a proposal's entries.
pub fn proposal_leaves(entries: &[(ClientId, Digest)]) -> Vec<Digest> {
    entries
        .iter()
        .zip(0u64..)
        .map(|((c, d), i)| merkle::leaf(labels::PROPOSAL_TREE, i, &entry_leaf(*c, d)))
        .collect()
}

/// root = H(count, Merkle root of the entries).
pub fn proposal_root(entries: &[(ClientId, Digest)]) -> Digest {
    root_of(
        entries.len() as u64,
        &merkle::root(labels::PROPOSAL_TREE, &proposal_leaves(entries)),
    )
}

fn root_of(count: u64, tree: &Digest) -> Digest {
    Hasher::new(labels::PROPOSAL_ROOT)
        .u64(count)
        .update(&tree.0)
        .finish()
}

/// Whether (client, header digest) is entry `position` of the `count` entries under `root`.
pub fn entry_is_under_root(
    root: &Digest,
    count: u32,
    position: u32,
    client: ClientId,
    header_digest: &Digest,
    path: &[Digest],
) -> bool {
    let (count_len, at) = (count as usize, position as usize);
    merkle::root_from_path(
        labels::PROPOSAL_TREE,
        at,
        count_len,
        &entry_leaf(client, header_digest),
        path,
    )
    .is_ok_and(|tree| root_of(count.into(), &tree) == *root)
}

/// Digest of a list of complaints, in its order.
pub fn complaints_digest(complaints: &[Signed<ComplaintContent>]) -> Digest {
    let mut h = Hasher::new(labels::COMPLAINTS_DIGEST);
    h.u64(complaints.len() as u64);
    for c in complaints {
        h.update(&c.to_bytes());
    }
    h.finish()
}

/// Digest of a list of convicted dealers.
pub fn convicted_digest(convicted: &[ClientId]) -> Digest {
    Digest::of(labels::CONVICTED_DIGEST, &convicted.to_vec().to_bytes())
}

/// Digest of the values of a summed slice.
pub fn row_values_digest(values: &[[u8; 32]]) -> Digest {
    Digest::of(labels::ROW_VALUES_DIGEST, values.as_flattened())
}

/// Digest of a result vector.
pub fn result_vector_digest(vector: &[i64]) -> Digest {
    let mut h = Hasher::new(labels::RESULT_VECTOR_DIGEST);
    h.u64(vector.len() as u64);
    for v in vector {
        h.update(&v.to_le_bytes());
    }
    h.finish()
}

/// What a complaint's equality proof is bound to: all of the complaint but the proof itself.
pub fn complaint_binding(c: &ComplaintContent) -> Digest {
    let mut h = Hasher::new(labels::COMPLAINT_BINDING);
    h.update(&c.params_digest.0)
        .update(&c.root.0)
        .update(&c.header_digest.0)
        .update(&c.member.to_bytes())
        .update(&c.share.to_bytes())
        .update(c.point.as_bytes());
    h.finish()
}
