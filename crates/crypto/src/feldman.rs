//! Feldman verifiable secret sharing of the scalar r (`specs/protocol.md`, "Sharing").
//!
//! Splitting and combining are `vsss-rs`. Verification is one multiscalar multiplication of our own: the library's check
//! neither counts the commitments (a dealer could commit to a polynomial of higher degree) nor lets the verifier fix the
//! generator, and is several times slower. Shares leave this module as zeroizing scalars only, because the library's
//! types print their secrets and do not zeroise.

use crate::{CanonicalPoint, CryptoError, Xof, labels};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use rand_core::CryptoRngCore;
use veilsum_params::MemberIndex;
use vsss_rs::{DefaultShare, IdentifierPrimeField, ReadableShareSet, Share, ValueGroup, feldman};
use zeroize::{Zeroize, Zeroizing};

type Id = IdentifierPrimeField<Scalar>;
type VsssShare = DefaultShare<Id, Id>;
type Verifier = ValueGroup<RistrettoPoint>;

/// What a dealer makes of its secret.
#[derive(Debug)]
pub struct Dealing {
    /// F_0..F_(t-1), commitments to the coefficients; F_0 = secret * B.
    pub commitments: Vec<CanonicalPoint>,
    /// f(1)..f(m).
    pub shares: Vec<SecretShare>,
}

/// One evaluation f(j), zeroised on drop.
#[derive(Clone)]
pub struct SecretShare {
    /// The evaluation point j.
    pub index: MemberIndex,
    value: Zeroizing<Scalar>,
}

impl zeroize::ZeroizeOnDrop for SecretShare {}
const _: fn(&SecretShare) = |s| crate::wiped(&s.value);

impl SecretShare {
    /// A share from its parts.
    pub fn new(index: MemberIndex, value: Scalar) -> Self {
        Self {
            index,
            value: Zeroizing::new(value),
        }
    }
    /// The value; the caller keeps it secret.
    pub fn expose(&self) -> &Scalar {
        &self.value
    }
}

impl std::fmt::Debug for SecretShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "SecretShare {{ index: {}, value: <redacted> }}",
            self.index.0
        )
    }
}

/// Shares `secret` among members 1..=m such that any t of them determine it.
///
/// # Errors
/// [`CryptoError::Sharing`] unless 2 <= t <= m.
pub fn deal(
    secret: &Scalar,
    threshold: u16,
    members: u16,
    rng: &mut impl CryptoRngCore,
) -> Result<Dealing, CryptoError> {
    let mut wrapped = IdentifierPrimeField(*secret);
    let split = feldman::split_secret::<VsssShare, Verifier>(
        threshold.into(),
        members.into(),
        &wrapped,
        Some(ValueGroup(RISTRETTO_BASEPOINT_POINT)),
        rng,
    );
    wrapped.0.zeroize();
    let (mut shares, verifiers) = split.map_err(|_| CryptoError::Sharing)?;
    // The library puts the generator first; it is agreed, not dealt, so it is left out.
    let commitments = verifiers
        .iter()
        .skip(1)
        .map(|v| CanonicalPoint::from(v.0))
        .collect();
    let dealt = (1..=members)
        .zip(&shares)
        .map(|(j, share)| SecretShare::new(MemberIndex(j), share.value().0))
        .collect();
    for share in &mut shares {
        share.value_mut().0.zeroize();
    }
    Ok(Dealing {
        commitments,
        shares: dealt,
    })
}

fn powers(index: MemberIndex, count: usize) -> Vec<Scalar> {
    let x = Scalar::from(index.0);
    std::iter::successors(Some(Scalar::ONE), |p| Some(p * x))
        .take(count)
        .collect()
}

/// Checks that f(index) = `value` for the polynomial committed in `commitments`, which must be exactly `threshold` many.
///
/// # Errors
/// [`CryptoError::CommitmentCount`], [`CryptoError::Share`].
pub fn verify_share(
    commitments: &[CanonicalPoint],
    threshold: u16,
    index: MemberIndex,
    value: &Scalar,
) -> Result<(), CryptoError> {
    verify_value(
        commitments.iter().map(|c| *c.point()),
        commitments.len(),
        threshold,
        index,
        value,
    )
}

/// As [`verify_share`] for commitments that were summed over dealers.
///
/// # Errors
/// [`CryptoError::CommitmentCount`], [`CryptoError::Share`].
pub fn verify_summed(
    commitments: &[RistrettoPoint],
    threshold: u16,
    index: MemberIndex,
    value: &Scalar,
) -> Result<(), CryptoError> {
    verify_value(
        commitments.iter().copied(),
        commitments.len(),
        threshold,
        index,
        value,
    )
}

fn verify_value(
    commitments: impl Iterator<Item = RistrettoPoint>,
    got: usize,
    threshold: u16,
    index: MemberIndex,
    value: &Scalar,
) -> Result<(), CryptoError> {
    let want = usize::from(threshold);
    if got != want {
        return Err(CryptoError::CommitmentCount { got, want });
    }
    if index.0 == 0 {
        return Err(CryptoError::Share);
    }
    let scalars = powers(index, got).into_iter().chain([-value]);
    let points = commitments.chain([RISTRETTO_BASEPOINT_POINT]);
    if RistrettoPoint::vartime_multiscalar_mul(scalars, points).is_identity() {
        Ok(())
    } else {
        Err(CryptoError::Share)
    }
}

/// Checks one member's shares of many dealers at once, with random 128-bit weights that nobody could know before the
/// shares were fixed (`seed` is fresh local randomness). On failure the caller checks one by one.
///
/// # Errors
/// [`CryptoError::Share`] if any share is wrong, [`CryptoError::CommitmentCount`].
pub fn verify_batch(
    dealers: &[(&[CanonicalPoint], &Scalar)],
    threshold: u16,
    index: MemberIndex,
    seed: &[u8; 32],
) -> Result<(), CryptoError> {
    let t = usize::from(threshold);
    let mut summed = Zeroizing::new(Scalar::ZERO);
    let mut scalars = Vec::with_capacity(dealers.len() * t + 1);
    let mut points = Vec::with_capacity(dealers.len() * t + 1);
    let powers = powers(index, t);
    for (i, (commitments, value)) in dealers.iter().enumerate() {
        if commitments.len() != t {
            return Err(CryptoError::CommitmentCount {
                got: commitments.len(),
                want: t,
            });
        }
        let mut half = [0u8; 16];
        Xof::new(labels::BATCH_XOF, seed, i as u64).fill(&mut half);
        let weight = Scalar::from(u128::from_le_bytes(half));
        *summed += weight * *value;
        for (power, commitment) in powers.iter().zip(*commitments) {
            scalars.push(weight * power);
            points.push(*commitment.point());
        }
    }
    scalars.push(-*summed);
    points.push(RISTRETTO_BASEPOINT_POINT);
    if index.0 != 0 && RistrettoPoint::vartime_multiscalar_mul(&scalars, &points).is_identity() {
        Ok(())
    } else {
        Err(CryptoError::Share)
    }
}

/// The secret that `shares` (at least t of them, distinct points) determine.
///
/// # Errors
/// [`CryptoError::Sharing`] for fewer than `threshold` shares or doubled points.
pub fn combine(shares: &[SecretShare], threshold: u16) -> Result<Scalar, CryptoError> {
    if shares.len() < usize::from(threshold) {
        return Err(CryptoError::Sharing);
    }
    let mut wrapped: Vec<VsssShare> = shares
        .iter()
        .map(|s| {
            VsssShare::with_identifier_and_value(
                IdentifierPrimeField(Scalar::from(s.index.0)),
                IdentifierPrimeField(*s.expose()),
            )
        })
        .collect();
    let secret = wrapped
        .combine()
        .map(|v| v.0)
        .map_err(|_| CryptoError::Sharing);
    for share in &mut wrapped {
        share.value_mut().0.zeroize();
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn any_t_shares_combine_and_a_wrong_one_is_found() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for (t, m) in [(2u16, 2u16), (2, 3), (3, 4), (14, 20)] {
            let secret = Scalar::random(&mut rng);
            let d = deal(&secret, t, m, &mut rng).unwrap();
            assert_eq!(d.commitments.len(), usize::from(t));
            assert_eq!(
                *d.commitments[0].point(),
                secret * RISTRETTO_BASEPOINT_POINT
            );
            for s in &d.shares {
                assert_eq!(verify_share(&d.commitments, t, s.index, s.expose()), Ok(()));
                assert_eq!(
                    verify_share(&d.commitments, t, s.index, &(s.expose() + Scalar::ONE)),
                    Err(CryptoError::Share)
                );
                assert_eq!(
                    verify_share(&d.commitments, t + 1, s.index, s.expose()),
                    Err(CryptoError::CommitmentCount {
                        got: t.into(),
                        want: usize::from(t) + 1
                    })
                );
            }
            let (tu, mu) = (usize::from(t), usize::from(m));
            assert_eq!(combine(&d.shares[..tu], t), Ok(secret));
            assert_eq!(combine(&d.shares[mu - tu..], t), Ok(secret));
            assert_eq!(combine(&d.shares[..tu - 1], t), Err(CryptoError::Sharing));
            let doubled = vec![d.shares[0].clone(); tu];
            assert_eq!(combine(&doubled, t), Err(CryptoError::Sharing));
            assert!(format!("{:?}", d.shares[0]).contains("<redacted>"));
        }
        assert!(deal(&Scalar::ONE, 1, 3, &mut rng).is_err());
        assert!(deal(&Scalar::ONE, 4, 3, &mut rng).is_err());
    }

    #[test]
    fn a_batch_fails_when_one_share_is_wrong_even_if_the_errors_cancel() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let dealings: Vec<_> = (0..5)
            .map(|_| deal(&Scalar::random(&mut rng), 3, 4, &mut rng).unwrap())
            .collect();
        let mut values: Vec<Scalar> = dealings.iter().map(|d| *d.shares[1].expose()).collect();
        let check = |values: &[Scalar]| {
            let list: Vec<_> = dealings
                .iter()
                .zip(values)
                .map(|(d, v)| (&d.commitments[..], v))
                .collect();
            verify_batch(&list, 3, MemberIndex(2), &[9; 32])
        };
        assert_eq!(check(&values), Ok(()));
        values[1] += Scalar::ONE;
        values[3] -= Scalar::ONE;
        assert_eq!(check(&values), Err(CryptoError::Share));
    }
}
