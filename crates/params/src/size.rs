use crate::{Layout, Mode, PROJECTIONS};

/// Bytes of a compressed point or of a canonical scalar.
pub const COMPRESSED_BYTES: u64 = 32;
/// Bytes of one encrypted share: 32 of plaintext, 16 of tag.
pub const SHARE_CIPHERTEXT_BYTES: u64 = 48;

/// Bytes of each part of one contribution, exactly as `specs/wire.md` lays them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadSizes {
    /// Signed header.
    pub header: u64,
    /// Masked vector y (0 in direct mode).
    pub masked_vector: u64,
    /// Key ciphertext C.
    pub key_ciphertext: u64,
    /// Matrix commitment K.
    pub matrix_commitment: u64,
    /// Proof.
    pub proof: u64,
    /// Encrypted shares.
    pub shares: u64,
}

impl UploadSizes {
    /// Sizes for a layout with committee size `m` and threshold `t`.
    pub fn of(layout: &Layout, m: u32, t: u32) -> Self {
        let points = |n: u64| COMPRESSED_BYTES * n;
        let masked_vector = match &layout.mode {
            Mode::Direct => 0,
            Mode::Masked(k) => (u64::from(k.ring_len) * u64::from(252 - k.cut)).div_ceil(8),
        };
        // params digest, client, count of F, F, F_z, E and its proof of knowledge (2), six digests, signature
        let header = 32 + 4 + 4 + 32 + 64 + 32 + 6 * 32 + 64 + points(t.into());
        let rounds = 3 * u64::from(layout.row_vars) + 2 * u64::from(layout.col_vars);
        let mask_coefficients = u64::from(layout.mask_coefficients());
        let range_proof = 32 * (9 + 2 * u64::from(layout.range_bits.trailing_zeros()));
        let proof = PROJECTIONS as u64 * u64::from(layout.z_bytes())
            + points(2) // V_x, Com_pi
            + 32 // S
            + 32 * rounds
            + 32 // v
            + range_proof
            + points(6) + 3 * 32 // announcements
            + 32 * (u64::from(layout.columns) + mask_coefficients + 6); // responses
        Self {
            header,
            masked_vector,
            key_ciphertext: points(layout.key_points().into()),
            matrix_commitment: points(layout.rows().into()),
            proof,
            shares: SHARE_CIPHERTEXT_BYTES * u64::from(m),
        }
    }

    /// Bytes of the body: everything but the header.
    pub fn body(&self) -> u64 {
        self.masked_vector + self.key_ciphertext + self.matrix_commitment + self.proof + self.shares
    }

    /// Bytes of the whole contribution.
    pub fn total(&self) -> u64 {
        self.header + self.body()
    }
}
