//! Provers that cheat, for tests: each gets past every check but one.

use crate::ProofError;
use veilsum_crypto::field::Fe;

/// Where a prover leaves the protocol. The default is honest.
#[derive(Clone, Default)]
pub struct Deviation {
    /// Sends the answers even if some are outside the interval.
    pub keep_rejected: bool,
    /// The squared norm that is claimed everywhere.
    pub norm: Option<Fe>,
    /// The squared norm that S is computed with.
    pub norm_in_sum: Option<Fe>,
    /// The slack that V_x commits to.
    pub committed_slack: Option<Fe>,
    /// The slack that the range proof is made for.
    pub range_slack: Option<Fe>,
    /// What happens after the sumcheck.
    pub escape: Option<Escape>,
}

/// How a prover explains the last claim of a sumcheck about something false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Not at all: E4 fails.
    None,
    /// By a false value v: E2 fails.
    Value,
    /// By another mask polynomial with the same sum: E3 fails.
    Mask,
}

impl Deviation {
    pub(crate) fn any(&self) -> bool {
        self.escape.is_some()
    }

    pub(crate) fn after_sumcheck(
        &self,
        lambda: Fe,
        mu: Fe,
        claim: Fe,
        basis: &[Fe],
        v: &mut Fe,
        pi: &mut [Fe],
    ) -> Result<(), ProofError> {
        let explained = veilsum_crypto::field::inner_product(pi, basis);
        match self.escape {
            None | Some(Escape::None) => {}
            Some(Escape::Value) => {
                // lambda v + mu v^2 = claim - p(r)
                let root = sqrt(lambda.square() + Fe::from_u64(4) * mu * (claim - explained)).ok_or(ProofError::Internal)?;
                *v = (root - lambda) * invert(mu + mu);
            }
            Some(Escape::Mask) => {
                // Adds x to a_0 and y to the first linear coefficient: the sum stays if x = -y / 2.
                let missing = claim - lambda * *v - mu * v.square() - explained;
                let half = invert(Fe::from_u64(2));
                let y = missing * invert(basis[1] - half);
                pi[1] += y;
                pi[0] -= half * y;
            }
        }
        Ok(())
    }
}

fn power(base: Fe, exponent: [u64; 4]) -> Fe {
    let mut out = Fe::ONE;
    for limb in exponent.iter().rev() {
        for bit in (0..64).rev() {
            out = out.square();
            if limb >> bit & 1 == 1 {
                out *= base;
            }
        }
    }
    out
}

fn shifted(mut v: [u64; 4], bits: u32) -> [u64; 4] {
    for i in 0..4 {
        v[i] = v[i] >> bits | v.get(i + 1).map_or(0, |next| next << (64 - bits));
    }
    v
}

/// 1 / v.
pub fn invert(v: Fe) -> Fe {
    let [a, b, c, d] = veilsum_crypto::field::ORDER;
    power(v, [a - 2, b, c, d])
}

/// A square root modulo l, if there is one; l = 5 mod 8.
pub fn sqrt(v: Fe) -> Option<Fe> {
    let [a, b, c, d] = veilsum_crypto::field::ORDER;
    let root = power(v, shifted([a + 3, b, c, d], 3));
    let unit = power(Fe::from_u64(2), shifted([a - 1, b, c, d], 2));
    [root, root * unit].into_iter().find(|r| r.square() == v)
}
