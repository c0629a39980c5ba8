//! Every label of the protocol, side by side: no two purposes share one (`specs/wire.md`, "Labels").
//!
//! A label names the protocol version, so that nothing made for one version means anything in another.

/// A domain-separation label; only this module makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(&'static str);

impl Label {
    /// The label's text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
    /// The label's bytes.
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Label = Label(concat!("veilsum/v1 ", $text));)*
        /// All labels, for the test that they differ and for the table in `specs/wire.md`.
        pub const ALL: &[(&str, Label)] = &[$((stringify!($name), $name)),*];
    };
}

labels! {
    /// Digest of the round parameters.
    PARAMS_DIGEST = "params digest";
    /// Digest of a roster.
    ROSTER_DIGEST = "roster digest";
    /// Digest of a global model or task.
    MODEL_DIGEST = "model digest";
    /// Digest of a header's signed content.
    HEADER_DIGEST = "header digest";
    /// Digest of the masked vector y.
    MASKED_VECTOR_DIGEST = "masked vector digest";
    /// Digest of the key ciphertext C.
    KEY_CIPHERTEXT_DIGEST = "key ciphertext digest";
    /// Digest of the proof bytes.
    PROOF_DIGEST = "proof digest";
    /// Digest of the rows of K that are not X-rows.
    OTHER_ROWS_DIGEST = "other rows digest";
    /// The one commitment to K.
    MATRIX_DIGEST = "matrix digest";
    /// Digest of a proof's result vector x_U.
    RESULT_VECTOR_DIGEST = "result vector digest";
    /// Digest of a member's set of complaints.
    COMPLAINTS_DIGEST = "complaints digest";
    /// Digest of the values of one summed row slice.
    ROW_VALUES_DIGEST = "row values digest";
    /// Digest of a list of convicted dealers.
    CONVICTED_DIGEST = "convicted digest";
    /// Digest at the end of a file that stands for itself.
    FILE_DIGEST = "file digest";
    /// Merkle tree over encrypted shares.
    SHARE_TREE = "share tree";
    /// Merkle tree over slices of X-rows.
    ROW_TREE = "row tree";
    /// Merkle tree over the proposal's (client, header digest) list.
    PROPOSAL_TREE = "proposal tree";
    /// Root of a proposal: count and Merkle root.
    PROPOSAL_ROOT = "proposal root";
    /// Key of one encrypted share.
    SHARE_KEY = "share key";
    /// Associated data of one encrypted share.
    SHARE_AD = "share associated data";
    /// Proof of knowledge of the ephemeral secret.
    EPHEMERAL_PROOF = "ephemeral proof of knowledge";
    /// Equality of discrete logarithms in a complaint.
    COMPLAINT_PROOF = "complaint equality proof";
    /// What a complaint's equality proof is bound to.
    COMPLAINT_BINDING = "complaint binding";
    /// Transcript of the contribution's proof.
    CONTRIBUTION_PROOF = "contribution proof";
    /// Seed of one attempt of the prover: fresh randomness together with the witness.
    PROVER_SEED = "prover seed";
    /// One stream of that randomness, bound to the transcript so far.
    PROVER_STREAM = "prover stream";
    /// Nonce of a proof about a discrete logarithm: fresh randomness together with secret and statement.
    PROVER_NONCE = "prover nonce";
    /// XOF of the projection vectors c_t, d_t.
    PROJECTION_XOF = "projection xof";
    /// XOF of the key-link weights theta_l.
    THETA_XOF = "theta xof";
    /// XOF of the public ring elements a_b.
    RING_XOF = "ring xof";
    /// Sampling of the cohort.
    COHORT_XOF = "cohort xof";
    /// Sampling of the committee.
    COMMITTEE_XOF = "committee xof";
    /// Weights of batch verification.
    BATCH_XOF = "batch xof";
    /// Digest of the source of beacon values that a roster names.
    BEACON_SOURCE = "beacon source";
    /// Commitment to one participant's secret in a round of a commit-reveal beacon.
    BEACON_COMMITMENT = "beacon commitment";
    /// Digest of the list of commitments of a round of a commit-reveal beacon.
    BEACON_LIST = "beacon list";
    /// Value of a round of a commit-reveal beacon.
    BEACON_VALUE = "beacon value";
    /// Digest of what a request to join asks for.
    JOIN_PURPOSE = "join purpose";
    /// Proof of possession of a share key in a request to join.
    SHARE_KEY_PROOF = "share key proof of possession";
    /// Signature over a request to join, by the identity key that it brings.
    SIGN_JOIN = "sign join";
    /// Signature over a commitment by a participant of a commit-reveal beacon.
    SIGN_BEACON_COMMIT = "sign beacon commit";
    /// Signature over a revealed secret by a participant of a commit-reveal beacon.
    SIGN_BEACON_REVEAL = "sign beacon reveal";
    /// Signature over a share key by its owner's identity key.
    SIGN_SHARE_KEY = "sign share key";
    /// Signature over a roster by the registrar.
    SIGN_ROSTER = "sign roster";
    /// Signature over a round announcement by the server.
    SIGN_ANNOUNCEMENT = "sign announcement";
    /// Signature over a contribution's header by its client.
    SIGN_HEADER = "sign header";
    /// Signature over a receipt by the server.
    SIGN_RECEIPT = "sign receipt";
    /// Signature over a proposal by the server.
    SIGN_PROPOSAL = "sign proposal";
    /// Signature over an endorsement by a member.
    SIGN_ENDORSE = "sign endorse";
    /// Signature over a complaint by a member.
    SIGN_COMPLAINT = "sign complaint";
    /// Signature over the server's list of counting complaints.
    SIGN_COMPLAINT_LIST = "sign complaint list";
    /// Signature over an unmask message by a member.
    SIGN_UNMASK = "sign unmask";
    /// Signature over a reveal by a member.
    SIGN_REVEAL = "sign reveal";
    /// Signature over the fixed list of convicted dealers by the server.
    SIGN_CONVICTED = "sign convicted";
    /// Signature over Final by a member.
    SIGN_FINAL = "sign final";
    /// Signature over row sums by a member.
    SIGN_ROWS = "sign rows";
    /// Signature over the result by the server.
    SIGN_RESULT = "sign result";
    /// Signature over the declaration that a round is void, by the server.
    SIGN_VOID = "sign void";
    /// Signature over the head of a closed log.
    SIGN_LOG_HEAD = "sign log head";
    /// Signature over a request to the server by the client that makes it.
    SIGN_REQUEST = "sign request";
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_purposes_share_a_label() {
        let distinct: BTreeSet<_> = ALL.iter().map(|(_, l)| l.as_str()).collect();
        assert_eq!(distinct.len(), ALL.len());
    }
}
