//! A small world for the tests: rounds, updates, contexts.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code that every test binary uses a part of"
)]

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::convert::Infallible;
use std::sync::Arc;
use veilsum_crypto::{CanonicalPoint, Digest, Hasher, labels};
use veilsum_params::{ClientId, Layout, RING_DEGREE};
use veilsum_proof::{
    Context, ContributeError, Contribution, MaskedWitness, Parts, Prepared, Round, Statement,
    Witness, contribute,
};
use veilsum_rlwe::{Limbs, SecretVec, Seed, sample_key};

pub fn round(layout: &Layout, digest: u8) -> Round {
    Round::new(
        Arc::new(Prepared::new(layout).unwrap()),
        Digest([digest; 32]),
    )
    .unwrap()
}

pub fn direct(dim: u32) -> Layout {
    Layout::direct(dim, 32_767, 100).unwrap()
}

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// An update of the round's dimension within its norm bound.
pub fn update(layout: &Layout, seed: u64) -> Vec<i64> {
    let mut rng = rng(seed);
    let spread = (f64::from(layout.norm_bound) / f64::from(layout.dim).sqrt()) as i64;
    (0..layout.dim)
        .map(|_| (rng.next_u64() % (2 * spread as u64 + 1)) as i64 - spread)
        .collect()
}

pub fn digest_points(label: labels::Label, points: &[[u8; 32]]) -> Digest {
    let mut h = Hasher::new(label);
    points.iter().for_each(|p| {
        h.update(p);
    });
    h.finish()
}

pub fn context(r: &Scalar, client: u32, k: &[[u8; 32]], c: &[[u8; 32]]) -> Context {
    Context {
        client: ClientId(client),
        commitments: vec![
            CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * r),
            CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &Scalar::from(77u8)),
        ],
        ephemeral: CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &Scalar::from(99u8)),
        share_root: Digest([4; 32]),
        row_root: digest_points(labels::ROW_TREE, k),
        y_digest: Digest::of(labels::MASKED_VECTOR_DIGEST, b""),
        c_digest: digest_points(labels::KEY_CIPHERTEXT_DIGEST, c),
        k_digest: digest_points(labels::MATRIX_DIGEST, k),
    }
}

pub fn honest(
    round: &Round,
    update: &[i64],
    seed: u64,
) -> Result<Contribution, ContributeError<Infallible>> {
    let mut rng = rng(seed);
    let r = Scalar::random(&mut rng);
    let witness = Witness {
        update,
        r: &r,
        masked: None,
    };
    contribute(
        round,
        &witness,
        |p: &Parts<'_>| Ok(context(&r, 7, p.k, p.c)),
        &mut rng,
    )
}

pub fn statement(c: &Contribution) -> Statement<'_> {
    Statement {
        context: &c.context,
        f_z: &c.f_z,
        y: &[],
        c: &c.c,
        k: &c.k,
        proof: &c.proof,
    }
}

/// A masked layout of a small dimension.
pub fn masked(dim: u32) -> Layout {
    let layout = Layout::derive(dim, 32_767, 100, 20, 14).unwrap();
    assert!(layout.masked_constants().is_some());
    layout
}

/// What a client in masked mode holds.
pub struct MaskedClient {
    pub r: Scalar,
    pub update: Vec<i64>,
    pub key: SecretVec<i64>,
    pub noise: SecretVec<i128>,
    pub y: Vec<Limbs>,
}

impl MaskedClient {
    pub fn new(round: &Round, seed: u64) -> Self {
        let mut rng = rng(seed);
        let layout = round.layout();
        let update = update(layout, seed);
        let key = sample_key(RING_DEGREE as usize, &mut rng);
        let masking = round.masking().unwrap();
        let masked = masking
            .masking()
            .mask(&key, &update, &Seed::random(&mut rng))
            .unwrap();
        Self {
            r: Scalar::random(&mut rng),
            update,
            key,
            noise: masked.noise,
            y: masked.y,
        }
    }

    pub fn witness(&self) -> Witness<'_> {
        let masked = MaskedWitness {
            key: &self.key,
            noise: &self.noise,
            y: &self.y,
        };
        Witness {
            update: &self.update,
            r: &self.r,
            masked: Some(masked),
        }
    }

    pub fn context(&self, k: &[[u8; 32]], c: &[[u8; 32]]) -> Context {
        let mut context = context(&self.r, 7, k, c);
        let bytes: Vec<u8> = self
            .y
            .iter()
            .flatten()
            .flat_map(|l| l.to_le_bytes())
            .collect();
        context.y_digest = Digest::of(labels::MASKED_VECTOR_DIGEST, &bytes);
        context
    }

    pub fn contribute(
        &self,
        round: &Round,
        seed: u64,
    ) -> Result<Contribution, ContributeError<Infallible>> {
        contribute(
            round,
            &self.witness(),
            |p: &Parts<'_>| Ok(self.context(p.k, p.c)),
            &mut rng(seed),
        )
    }

    pub fn statement<'a>(&'a self, c: &'a Contribution) -> Statement<'a> {
        Statement {
            y: &self.y,
            ..statement(c)
        }
    }
}
