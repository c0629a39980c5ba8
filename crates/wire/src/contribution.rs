use crate::codec::message;
use crate::{Content, Reader, Signed, Wire, WireError};
use std::ops::Range;
use veilsum_crypto::labels::{self, Label};
use veilsum_crypto::{CIPHERTEXT_LEN, CanonicalPoint, Digest, Hasher, KnowledgeProof, merkle};
use veilsum_params::{ClientId, Layout, RoundParams, UploadSizes};

message! {
    /// What a client signs about its contribution (`specs/protocol.md`, "Header").
    HeaderContent {
        /// Digest of the round parameters.
        params_digest: Digest,
        /// The contributing client, dealer of the shares.
        client: ClientId,
        /// F_0..F_(t-1): Feldman commitments; F_0 = r B.
        commitments: Vec<CanonicalPoint>,
        /// F_z = r_z B.
        f_z: CanonicalPoint,
        /// E = e B: ephemeral key of the share encryption.
        ephemeral: CanonicalPoint,
        /// Proof of knowledge of e.
        knowledge: KnowledgeProof,
        /// Merkle root over the encrypted shares.
        share_root: Digest,
        /// Merkle root over the slices of X-rows of K.
        row_root: Digest,
        /// Digest of the other rows of K.
        other_rows: Digest,
        /// Digest of the masked vector y.
        masked_vector: Digest,
        /// Digest of the key ciphertext C.
        key_ciphertext: Digest,
        /// Digest of the proof.
        proof: Digest,
    }
}

impl Content for HeaderContent {
    const LABEL: Label = labels::SIGN_HEADER;
}

impl HeaderContent {
    /// Digest of the signed content: what receipts, proposals and complaints name.
    pub fn digest(&self) -> Digest {
        Digest::of(labels::HEADER_DIGEST, &self.to_bytes())
    }

    /// digest_K, the one commitment to the matrix K: its X-rows by their Merkle root, the others by their digest.
    pub fn matrix_digest(&self) -> Digest {
        Hasher::new(labels::MATRIX_DIGEST)
            .update(&self.row_root.0)
            .update(&self.other_rows.0)
            .finish()
    }
}

/// A signed header.
pub type Header = Signed<HeaderContent>;

/// The large part of a contribution. No part carries a length: all are derived from the round's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// y, packed; empty in direct mode.
    pub masked_vector: Vec<u8>,
    /// C, compressed points; their encoding is checked by the proof's verifier.
    pub key_ciphertext: Vec<[u8; 32]>,
    /// K, compressed points; their encoding is checked by the proof's verifier.
    pub matrix: Vec<[u8; 32]>,
    /// The proof's bytes.
    pub proof: Vec<u8>,
    /// The encrypted shares of members 1..=m.
    pub shares: Vec<[u8; CIPHERTEXT_LEN]>,
}

/// Digests and roots of a body, as its header must state them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigests {
    /// Merkle root over the encrypted shares.
    pub share_root: Digest,
    /// Merkle root over the slices of X-rows of K.
    pub row_root: Digest,
    /// Digest of the other rows of K.
    pub other_rows: Digest,
    /// Digest of y.
    pub masked_vector: Digest,
    /// Digest of C.
    pub key_ciphertext: Digest,
    /// Digest of the proof.
    pub proof: Digest,
}

/// The X-rows of slice `q` of `m`: floor(q R / m) .. floor((q + 1) R / m).
pub fn slice_rows(layout: &Layout, m: u32, q: u32) -> Range<usize> {
    let bound = |q: u32| {
        usize::try_from(u64::from(q) * u64::from(layout.x_rows) / u64::from(m.max(1)))
            .unwrap_or(usize::MAX)
    };
    bound(q)..bound(q + 1)
}

/// Leaves of the row tree for a given list of X-rows and m slices.
pub fn row_leaves(layout: &Layout, m: u32, matrix: &[[u8; 32]]) -> Vec<Digest> {
    (0..m)
        .map(|q| {
            let rows = matrix.get(slice_rows(layout, m, q)).unwrap_or_default();
            merkle::leaf(labels::ROW_TREE, q.into(), rows.as_flattened())
        })
        .collect()
}

/// Leaves of the share tree.
pub fn share_leaves(shares: &[[u8; CIPHERTEXT_LEN]]) -> Vec<Digest> {
    shares
        .iter()
        .zip(0u64..)
        .map(|(s, i)| merkle::leaf(labels::SHARE_TREE, i, s))
        .collect()
}

/// Row root and digest of the other rows of a matrix K.
pub fn matrix_roots(layout: &Layout, m: u32, matrix: &[[u8; 32]]) -> (Digest, Digest) {
    let others = matrix.get(layout.x_rows as usize..).unwrap_or_default();
    (
        merkle::root(labels::ROW_TREE, &row_leaves(layout, m, matrix)),
        Digest::of(labels::OTHER_ROWS_DIGEST, others.as_flattened()),
    )
}

impl Body {
    /// Exact number of bytes of a body in a round.
    pub fn encoded_len(params: &RoundParams, layout: &Layout) -> u64 {
        UploadSizes::of(layout, params.committee_size(), params.threshold.into()).body()
    }

    /// The encoding: y || C || K || proof || shares.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            self.masked_vector.len()
                + 32 * (self.key_ciphertext.len() + self.matrix.len())
                + self.proof.len()
                + CIPHERTEXT_LEN * self.shares.len(),
        );
        out.extend_from_slice(&self.masked_vector);
        out.extend_from_slice(self.key_ciphertext.as_flattened());
        out.extend_from_slice(self.matrix.as_flattened());
        out.extend_from_slice(&self.proof);
        out.extend_from_slice(self.shares.as_flattened());
        out
    }

    /// Reads a body whose part lengths follow from the parameters.
    ///
    /// # Errors
    /// [`WireError::Length`] for any other length, before anything is allocated.
    pub fn from_bytes(
        bytes: &[u8],
        params: &RoundParams,
        layout: &Layout,
    ) -> Result<Self, WireError> {
        let sizes = UploadSizes::of(layout, params.committee_size(), params.threshold.into());
        let wrong = WireError::Length {
            got: bytes.len() as u64,
            want: sizes.body(),
        };
        if bytes.len() as u64 != sizes.body() {
            return Err(wrong);
        }
        let mut r = Reader::new(bytes);
        let mut part = |len: u64| r.take(usize::try_from(len).map_err(|_| wrong)?);
        Ok(Self {
            masked_vector: part(sizes.masked_vector)?.to_vec(),
            key_ciphertext: part(sizes.key_ciphertext)?.as_chunks().0.to_vec(),
            matrix: part(sizes.matrix_commitment)?.as_chunks().0.to_vec(),
            proof: part(sizes.proof)?.to_vec(),
            shares: part(sizes.shares)?.as_chunks().0.to_vec(),
        })
    }

    /// Recomputes everything that the header states about the body.
    pub fn digests(&self, params: &RoundParams, layout: &Layout) -> BodyDigests {
        let (row_root, other_rows) = matrix_roots(layout, params.committee_size(), &self.matrix);
        BodyDigests {
            share_root: merkle::root(labels::SHARE_TREE, &share_leaves(&self.shares)),
            row_root,
            other_rows,
            masked_vector: Digest::of(labels::MASKED_VECTOR_DIGEST, &self.masked_vector),
            key_ciphertext: Digest::of(
                labels::KEY_CIPHERTEXT_DIGEST,
                self.key_ciphertext.as_flattened(),
            ),
            proof: Digest::of(labels::PROOF_DIGEST, &self.proof),
        }
    }
}

impl BodyDigests {
    /// The digests that a header states.
    pub fn stated(header: &HeaderContent) -> Self {
        Self {
            share_root: header.share_root,
            row_root: header.row_root,
            other_rows: header.other_rows,
            masked_vector: header.masked_vector,
            key_ciphertext: header.key_ciphertext,
            proof: header.proof,
        }
    }
}

/// What a client uploads for one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// Signed header.
    pub header: Header,
    /// Body.
    pub body: Body,
}
