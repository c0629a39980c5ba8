use crate::{COMPRESSED_BYTES, ParameterError, UploadSizes, limits};
use num_bigint::BigUint;

/// Number of random projections, T: (3/4)^309 < 2^-128 (`specs/protocol.md`, "Random projection").
pub const PROJECTIONS: usize = 309;
/// Degree N of the ring `F[X]/(X^N + 1)` of masked mode.
pub const RING_DEGREE: u32 = 8192;
/// Base-2 logarithm of the standard deviation of e.
pub const SIGMA_E_LOG2: u32 = 55;
/// Standard deviation of s.
pub const SIGMA_S: u64 = 8;
/// The projection masks exceed the honest projections by this many bits: a restart happens with probability 2^-10.
pub const SLACK_BITS_GAMMA: u32 = 10;

/// Discrete logarithms in a group of order 2^252.
const GROUP_BITS: u32 = 126;
/// Ring-LWE with N = 8192, sigma_s = 8, sigma_e = 2^55, q = l.
const LATTICE_BITS: u32 = 140;
const COLUMNS_MIN: u32 = 64;
const COLUMNS_MAX: u32 = 4096;
/// Payload bits of one ring coefficient: |value| < 2^251 < l/2.
const PAYLOAD_BITS: u32 = 251;
const GAMMA_MAX: u32 = 120;
const B_E_BITS_MAX: u32 = 100;
/// Baby steps that fit the decoder's memory: (d (n_max B_x)^2) <= 2^96 (`specs/parameters.md`, "Mode").
const DIRECT_DECODE_LOG2: u64 = 96;

/// Constants of masked mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// Slots in one ring coefficient.
    pub kappa: u32,
    /// Bits of one slot (sw), sign included.
    pub slot_bits: u32,
    /// The slots stand above this many bits of noise.
    pub shift: u32,
    /// y is rounded to multiples of 2^cut.
    pub cut: u32,
    /// Number of ring coefficients, M_e; a multiple of the number of columns.
    pub ring_len: u32,
    /// Blocks of [`RING_DEGREE`] coefficients, the last one truncated.
    pub blocks: u32,
    /// B_s: bound on the norm of s.
    pub s_bound: u64,
    /// B_e: bound on the norm of e (at most 100 bits).
    pub e_bound: u128,
    /// Bits of B_e^2, and so of the norm slack of e in the R-rows.
    pub e_slack_bits: u32,
    /// Bits of B_s^2, and so of the norm slack of s in the R-rows.
    pub s_slack_bits: u32,
    /// log2 of beta, the base in which two key coordinates share one point.
    pub beta_log2: u32,
    /// Rows that hold e.
    pub e_rows: u32,
    /// Rows that hold s.
    pub s_rows: u32,
    /// Rows that hold the bits of the two norm slacks.
    pub r_rows: u32,
}

/// How an update travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The update itself is the key vector; small dimensions.
    Direct,
    /// Ring-LWE masking under a short key; large dimensions.
    Masked(Masked),
}

/// Every constant of a round, derived from its parameters by [`Layout::derive`] (`specs/parameters.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of coordinates, d.
    pub dim: u32,
    /// B_x.
    pub norm_bound: u32,
    /// Largest number of summed clients.
    pub n_max: u32,
    /// Direct or masked.
    pub mode: Mode,
    /// Columns of the witness matrix, C, a power of two.
    pub columns: u32,
    /// log2 of the columns.
    pub col_vars: u32,
    /// log2 of the rows, zero rows up to a power of two included.
    pub row_vars: u32,
    /// Rows that hold the update.
    pub x_rows: u32,
    /// Rows that hold the projection masks and the uniform entry.
    pub z_rows: u32,
    /// Delta: no honest projection exceeds it in absolute value.
    pub delta: u128,
    /// Bits of the projection masks.
    pub gamma: u32,
    /// Width of the Bulletproofs range proof of the norm slack of x: 32 or 64.
    pub range_bits: u32,
}

fn big(v: impl Into<BigUint>) -> BigUint {
    v.into()
}

fn bits(v: &BigUint) -> u32 {
    u32::try_from(v.bits()).unwrap_or(u32::MAX)
}

/// isqrt(count * bound^2) + 1: no vector of `count` coefficients 0/1 times a block of norm `bound` exceeds it.
fn cauchy_schwarz(count: u32, bound: u128) -> BigUint {
    (big(count) * big(bound) * big(bound)).sqrt() + 1u32
}

/// (terms) 2^(2(gamma+1)) + 2^value_bits < l/2, with l/2 > 2^251.
fn no_wrap(terms: &BigUint, gamma: u32, value_bits: u32) -> bool {
    (terms << (2 * (gamma + 1))) + (big(1u32) << value_bits) < (big(1u32) << PAYLOAD_BITS)
}

fn log2_ceil(v: u32) -> u32 {
    v.next_power_of_two().trailing_zeros()
}

impl Layout {
    /// Derives every constant, in integers only; refuses what cannot hold the sum of `n_max` updates.
    ///
    /// Both modes are tried; the smaller upload wins, direct mode on a tie. `m` and `t` are the committee's size and
    /// threshold, which only the upload's size depends on. Source: `specs/parameters.md`.
    ///
    /// # Errors
    /// [`ParameterError::NoLayout`]; [`ParameterError::Range`] for a zero or too large argument.
    pub fn derive(
        dim: u32,
        norm_bound: u32,
        n_max: u32,
        m: u32,
        t: u32,
    ) -> Result<Self, ParameterError> {
        for (field, got, max) in [
            ("dim", dim, limits::DIM_MAX),
            ("norm_bound", norm_bound, u32::MAX),
            ("n_max", n_max, limits::N_MAX),
        ] {
            if got == 0 || got > max {
                return Err(ParameterError::Range {
                    field,
                    got: got.into(),
                    min: 1,
                    max: max.into(),
                });
            }
        }
        let refuse = |reason| ParameterError::NoLayout {
            dim,
            norm_bound,
            n_max,
            reason,
        };
        let size = |layout: &Self| UploadSizes::of(layout, m, t).total();
        let direct = Self::direct(dim, norm_bound, n_max);
        if let Ok(direct) = &direct
            && size(direct) <= u64::from(RING_DEGREE) / 2 * COMPRESSED_BYTES
        {
            // A masked contribution's N/2 points C are as long already, and looking for the best one takes milliseconds.
            return Ok(direct.clone());
        }
        let masked = Self::masked(dim, norm_bound, n_max, &size);
        match (direct, masked) {
            (Ok(direct), Some(masked)) => Ok(if size(&masked) < size(&direct) {
                masked
            } else {
                direct
            }),
            (Ok(direct), None) => Ok(direct),
            (Err(_), Some(masked)) => Ok(masked),
            (Err(reason), None) => Err(refuse(reason)),
        }
    }

    /// The layout in direct mode, whether or not masked mode would be smaller.
    ///
    /// # Errors
    /// What does not fit.
    pub fn direct(dim: u32, norm_bound: u32, n_max: u32) -> Result<Self, &'static str> {
        let largest = big(n_max) * big(norm_bound);
        if big(dim) * &largest * &largest > (big(1u32) << DIRECT_DECODE_LOG2) {
            return Err("the discrete logarithms of the sum are out of reach");
        }
        let columns = columns_for(2 * u64::from(dim));
        Self::finish(dim, norm_bound, n_max, columns, Mode::Direct)
            .ok_or("a quadratic form could wrap modulo the group order")
    }

    /// The masked layout with the smallest upload (ties: the smaller kappa).
    fn masked(dim: u32, norm_bound: u32, n_max: u32, size: &dyn Fn(&Self) -> u64) -> Option<Self> {
        let slot_bits = bits(&(big(n_max) * big(norm_bound))) + 1;
        let mut best: Option<(u64, Self)> = None;
        for kappa in 1..=PAYLOAD_BITS / slot_bits {
            // Wider rounding needs more noise bits, never fewer: the first cut that fails ends the search.
            let mut widest = None;
            for cut in 0..PAYLOAD_BITS {
                match Self::masked_with(dim, norm_bound, n_max, kappa, slot_bits, cut) {
                    Some(layout) => widest = Some(layout),
                    None => break,
                }
            }
            if let Some(layout) = widest {
                let bytes = size(&layout);
                if best.as_ref().is_none_or(|(least, _)| bytes < *least) {
                    best = Some((bytes, layout));
                }
            }
        }
        best.map(|(_, layout)| layout)
    }

    fn masked_with(
        dim: u32,
        norm_bound: u32,
        n_max: u32,
        kappa: u32,
        slot_bits: u32,
        cut: u32,
    ) -> Option<Self> {
        let least_len = dim.div_ceil(kappa);
        let columns =
            columns_for(2 * (u64::from(dim) + u64::from(least_len) + u64::from(RING_DEGREE) + 512));
        let ring_len = least_len.div_ceil(columns) * columns;
        let gaussian =
            (((big(121u32) * big(ring_len)) << (2 * SIGMA_E_LOG2)) / 100u32).sqrt() + 1u32;
        let rounding = if cut == 0 {
            big(0u32)
        } else {
            (big(ring_len) << (2 * (cut - 1))).sqrt() + 1u32
        };
        let e_bound = gaussian + rounding;
        if bits(&e_bound) > B_E_BITS_MAX {
            return None;
        }
        let shift = bits(&(big(n_max) * &e_bound)) + 1;
        if shift + kappa * slot_bits > PAYLOAD_BITS {
            return None;
        }
        let s_bound = u64::try_from(
            (big(121u32 * RING_DEGREE) * big(SIGMA_S * SIGMA_S) / 100u32).sqrt() + 1u32,
        )
        .ok()?;
        let e_slack_bits = bits(&(&e_bound * &e_bound));
        let s_slack_bits = bits(&(big(s_bound) * big(s_bound)));
        let mode = Mode::Masked(Masked {
            kappa,
            slot_bits,
            shift,
            cut,
            ring_len,
            blocks: ring_len.div_ceil(RING_DEGREE),
            s_bound,
            e_bound: u128::try_from(&e_bound).ok()?,
            e_slack_bits,
            s_slack_bits,
            beta_log2: bits(&(big(2 * u64::from(n_max)) * big(s_bound))),
            e_rows: ring_len / columns,
            s_rows: RING_DEGREE / columns,
            r_rows: (e_slack_bits + s_slack_bits).div_ceil(columns),
        });
        Self::finish(dim, norm_bound, n_max, columns, mode)
    }

    fn finish(dim: u32, norm_bound: u32, n_max: u32, columns: u32, mode: Mode) -> Option<Self> {
        let x_rows = dim.div_ceil(columns);
        let z_rows = u32::try_from(PROJECTIONS + 1).ok()?.div_ceil(columns);
        let mut delta = cauchy_schwarz(dim, norm_bound.into());
        let mut rows = x_rows + z_rows;
        if let Mode::Masked(k) = &mode {
            delta += cauchy_schwarz(k.ring_len, k.e_bound)
                + cauchy_schwarz(RING_DEGREE, k.s_bound.into())
                + (k.e_slack_bits + k.s_slack_bits);
            rows += k.e_rows + k.s_rows + k.r_rows;
        }
        let masks = big(2 * PROJECTIONS as u64) * &delta;
        let gamma = bits(&(masks - 1u32)) + SLACK_BITS_GAMMA;
        if gamma > GAMMA_MAX {
            return None;
        }
        let norm_squared = u64::from(norm_bound) * u64::from(norm_bound);
        let range_bits = if norm_squared < 1 << 32 { 32 } else { 64 };
        let mut fits = no_wrap(&big(dim), gamma, range_bits);
        if let Mode::Masked(k) = &mode {
            // The slack bits are proved to be bits before their weighted sums are read, so those have their honest width.
            fits &= no_wrap(&big(k.ring_len), gamma, k.e_slack_bits)
                && no_wrap(&big(RING_DEGREE), gamma, k.s_slack_bits)
                && no_wrap(
                    &big(2 * u64::from(k.r_rows) * u64::from(columns)),
                    gamma,
                    gamma + 1,
                );
        }
        fits.then(|| Self {
            dim,
            norm_bound,
            n_max,
            mode,
            columns,
            col_vars: columns.trailing_zeros(),
            row_vars: log2_ceil(rows),
            x_rows,
            z_rows,
            delta: u128::try_from(&delta).unwrap_or(u128::MAX),
            gamma,
            range_bits,
        })
    }

    /// Constants of masked mode; `None` in direct mode.
    pub fn masked_constants(&self) -> Option<&Masked> {
        match &self.mode {
            Mode::Direct => None,
            Mode::Masked(k) => Some(k),
        }
    }

    /// Rows of the witness matrix, without the implicit zero rows.
    pub fn rows(&self) -> u32 {
        self.projected_rows() + self.z_rows
    }

    /// Rows that the random projections cover: all but the Z-rows.
    pub fn projected_rows(&self) -> u32 {
        self.x_rows
            + self
                .masked_constants()
                .map_or(0, |k| k.e_rows + k.s_rows + k.r_rows)
    }

    /// Points of the key ciphertext: d in direct mode, N/2 in masked mode.
    pub fn key_points(&self) -> u32 {
        self.masked_constants()
            .map_or(self.dim, |_| RING_DEGREE / 2)
    }

    /// Bytes of one projection answer on the wire.
    pub fn z_bytes(&self) -> u32 {
        self.gamma.div_ceil(8)
    }

    /// Coefficients of the mask polynomial: 1 + 3 for each row variable + 2 for each column variable.
    pub fn mask_coefficients(&self) -> u32 {
        1 + 3 * self.row_vars + 2 * self.col_vars
    }

    /// Entries of the X-rows beyond the update, which must be zero.
    pub fn padding(&self) -> u32 {
        self.x_rows * self.columns - self.dim
    }

    /// Bits of the packed y on the wire: 252 - cut a coefficient; `None` in direct mode.
    pub fn masked_coefficient_bits(&self) -> Option<u32> {
        self.masked_constants().map(|k| 252 - k.cut)
    }

    /// Bits of security against the best known attack on the privacy of one contribution: the discrete logarithm in
    /// ristretto255, and in masked mode the Ring-LWE problem, whichever is less.
    pub fn security_bits(&self) -> u32 {
        self.lattice_bits()
            .map_or(GROUP_BITS, |lattice| lattice.min(GROUP_BITS))
    }

    /// The classical Ring-LWE estimate of masked mode (`specs/parameters.md`, "Ring-LWE constants").
    pub fn lattice_bits(&self) -> Option<u32> {
        self.masked_constants().map(|_| LATTICE_BITS)
    }
}

/// The smallest power of two in 64..=4096 whose square is at least `area`; 4096 when none is.
fn columns_for(area: u64) -> u32 {
    let mut columns = COLUMNS_MIN;
    while columns < COLUMNS_MAX && u64::from(columns) * u64::from(columns) < area {
        columns *= 2;
    }
    columns
}
