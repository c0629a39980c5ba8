use crate::ProofCheck;
use crate::verifier::require;
use veilsum_crypto::field::Fe;
use veilsum_params::{Layout, PROJECTIONS};

/// Number of point announcements: E1, E3, E5, E7, E8, E9.
pub(crate) const POINTS: usize = 6;
/// Number of scalar announcements: E2, E4, E6.
pub(crate) const SCALARS: usize = 3;

/// One contribution's proof (`specs/protocol.md`, "The proof"), decoded: scalars canonical, points not yet decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// z_t, the masked projections: T integers of `layout.z_bytes()` bytes.
    pub z: Vec<u128>,
    /// V_x, commitment to the norm slack of the update.
    pub v_x: [u8; 32],
    /// Com_pi, commitment to the mask polynomial.
    pub com_pi: [u8; 32],
    /// S, the claimed sum.
    pub sum: Fe,
    /// Round polynomials without their linear coefficients: c_0, c_2, c_3 for each row variable, c_0, c_2 for each column
    /// variable.
    pub rounds: Vec<Fe>,
    /// v, the witness's multilinear extension at the sumcheck's point.
    pub v: Fe,
    /// Bulletproofs range proof of V_x.
    pub range: Vec<u8>,
    /// Announcements of E1, E3, E5, E7, E8, E9.
    pub points: [[u8; 32]; POINTS],
    /// Announcements of E2, E4, E6.
    pub scalars: [Fe; SCALARS],
    /// Responses.
    pub responses: Responses,
}

/// Responses of the closing argument, or the secrets or nonces that they are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responses {
    /// Folded row, C entries.
    pub u: Vec<Fe>,
    /// Coefficients of the mask polynomial.
    pub pi: Vec<Fe>,
    /// Blinding of X-rows, C and F_0.
    pub r: Fe,
    /// Blinding of the other rows.
    pub r_z: Fe,
    /// Blinding of Com_pi.
    pub rho: Fe,
    /// Folded key.
    pub v_k: Fe,
    /// Squared norm of the update.
    pub n_x: Fe,
    /// Blinding of V_x.
    pub nu: Fe,
}

impl Responses {
    /// The last six in their order on the wire.
    fn tail(&self) -> [Fe; 6] {
        [self.r, self.r_z, self.rho, self.v_k, self.n_x, self.nu]
    }
}

impl zeroize::Zeroize for Responses {
    fn zeroize(&mut self) {
        self.u.zeroize();
        self.pi.zeroize();
        for v in [
            &mut self.r,
            &mut self.r_z,
            &mut self.rho,
            &mut self.v_k,
            &mut self.n_x,
            &mut self.nu,
        ] {
            v.zeroize();
        }
    }
}

/// Number of scalars in the round polynomials.
pub(crate) fn round_scalars(layout: &Layout) -> usize {
    3 * layout.row_vars as usize + 2 * layout.col_vars as usize
}

/// Bytes of the range proof: 9 + 2 log2(bits) group and field elements.
pub(crate) fn range_len(layout: &Layout) -> usize {
    32 * (9 + 2 * layout.range_bits.trailing_zeros() as usize)
}

/// Bytes of an encoded proof; the same as `UploadSizes::of(layout, ..).proof`.
pub fn proof_len(layout: &Layout) -> usize {
    let scalars = 1
        + round_scalars(layout)
        + 1
        + SCALARS
        + layout.columns as usize
        + layout.mask_coefficients() as usize
        + 6;
    PROJECTIONS * layout.z_bytes() as usize + 32 * (2 + POINTS + scalars) + range_len(layout)
}

/// z as on the wire and in the transcript.
pub(crate) fn z_bytes(layout: &Layout, z: &[u128]) -> Vec<u8> {
    let width = layout.z_bytes() as usize;
    z.iter()
        .flat_map(|z| z.to_le_bytes().into_iter().take(width))
        .collect()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ProofCheck> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(ProofCheck::Length)?;
        self.0 = rest;
        Ok(head)
    }
    fn array(&mut self) -> Result<[u8; 32], ProofCheck> {
        self.take(32)?.try_into().map_err(|_| ProofCheck::Length)
    }
    fn scalar(&mut self) -> Result<Fe, ProofCheck> {
        let mut limbs = [0u64; 4];
        for (limb, bytes) in limbs.iter_mut().zip(self.array()?.as_chunks().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Fe::from_canonical_limbs(limbs).ok_or(ProofCheck::ScalarEncoding)
    }
    fn scalars(&mut self, count: usize) -> Result<Vec<Fe>, ProofCheck> {
        (0..count).map(|_| self.scalar()).collect()
    }
}

impl Proof {
    /// The canonical encoding, `proof_len(layout)` bytes for a proof of that layout.
    pub fn encode(&self, layout: &Layout) -> Vec<u8> {
        let mut out = z_bytes(layout, &self.z);
        out.reserve(proof_len(layout).saturating_sub(out.len()));
        out.extend_from_slice(&self.v_x);
        out.extend_from_slice(&self.com_pi);
        let put = |out: &mut Vec<u8>, v: &Fe| out.extend_from_slice(&v.to_bytes());
        put(&mut out, &self.sum);
        self.rounds.iter().for_each(|v| put(&mut out, v));
        put(&mut out, &self.v);
        out.extend_from_slice(&self.range);
        self.points.iter().for_each(|p| out.extend_from_slice(p));
        self.scalars.iter().for_each(|v| put(&mut out, v));
        let r = &self.responses;
        r.u.iter()
            .chain(&r.pi)
            .chain(&r.tail())
            .for_each(|v| put(&mut out, v));
        out
    }

    /// Decodes a proof for `layout`; what it allocates is bounded by the layout.
    ///
    /// # Errors
    /// [`ProofCheck::Length`], [`ProofCheck::ScalarEncoding`]. Points are decoded by the verifier.
    pub fn decode(layout: &Layout, bytes: &[u8]) -> Result<Self, ProofCheck> {
        require(bytes.len() == proof_len(layout), ProofCheck::Length)?;
        let mut input = Reader(bytes);
        let width = layout.z_bytes() as usize;
        let z = input
            .take(PROJECTIONS * width)?
            .chunks_exact(width)
            .map(|bytes| {
                let mut wide = [0; 16];
                wide.iter_mut().zip(bytes).for_each(|(w, b)| *w = *b);
                u128::from_le_bytes(wide)
            })
            .collect();
        let v_x = input.array()?;
        let com_pi = input.array()?;
        let sum = input.scalar()?;
        let rounds = input.scalars(round_scalars(layout))?;
        let v = input.scalar()?;
        let range = input.take(range_len(layout))?.to_vec();
        let mut points = [[0; 32]; POINTS];
        for p in &mut points {
            *p = input.array()?;
        }
        let mut scalars = [Fe::ZERO; SCALARS];
        for s in &mut scalars {
            *s = input.scalar()?;
        }
        let responses = Responses {
            u: input.scalars(layout.columns as usize)?,
            pi: input.scalars(layout.mask_coefficients() as usize)?,
            r: input.scalar()?,
            r_z: input.scalar()?,
            rho: input.scalar()?,
            v_k: input.scalar()?,
            n_x: input.scalar()?,
            nu: input.scalar()?,
        };
        Ok(Self {
            z,
            v_x,
            com_pi,
            sum,
            rounds,
            v,
            range,
            points,
            scalars,
            responses,
        })
    }
}
