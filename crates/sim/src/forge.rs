use crate::{SimError, World};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRngCore;
use veilsum_crypto::field::Fe;
use veilsum_crypto::{
    CanonicalPoint, Digest, EphemeralSecret, blinding_base, feldman, labels, merkle,
};
use veilsum_params::{ClientId, Layout, MemberIndex};
use veilsum_proof::adversarial::{self, Escape, Forgery};
use veilsum_proof::{Context, Parts, ProofError, Round};
use veilsum_protocol::{Bytes, Upload};
use veilsum_rlwe::{Limbs, Seed, sample_key};
use veilsum_wire::{Body, Contribution, HeaderContent, Signed, matrix_roots, share_leaves};

/// Where a client leaves the protocol. Everything else about its contribution is honest, the proof included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deviation {
    /// Members that get a share that is not on the polynomial.
    pub bad_shares: Vec<MemberIndex>,
    /// Members that get bytes that do not decrypt.
    pub garbled_shares: Vec<MemberIndex>,
    /// Polynomial commitments beyond the threshold (a polynomial of higher degree), or missing ones.
    pub degree: i16,
    /// The proof is made for this client instead.
    pub proof_of: Option<ClientId>,
    /// The update that is contributed instead of the client's own: any integers, whatever their norm.
    pub update: Option<Vec<i64>>,
    /// The proof of knowledge of e is made for another dealing.
    pub knowledge_of: Option<ClientId>,
    /// E is the identity.
    pub ephemeral_identity: bool,
    /// The row root is that of other X-rows than those of K; the proof is bound to it as to a right one.
    pub row_root_of_others: bool,
    /// Where the commitments or the proof lie.
    pub cheat: Option<ProofCheat>,
}

/// Lies in commitments and proofs; each gets past every equation but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProofCheat {
    /// A point of the key ciphertext holds another base (A1).
    KeyJunk,
    /// An X-row holds another base (A2).
    RowJunk,
    /// The padding is not zero (A8).
    Padding,
    /// Projections outside of their interval are sent all the same (A6).
    Projection,
    /// Squares that add up to zero modulo the group order.
    Wrap,
    /// The key ciphertext is blinded with another r.
    OtherKeySecret,
    /// Another r than the shared one is in commitment and ciphertext.
    OtherSecret,
    /// F_z is not r_z B.
    Anchor,
    /// The norm is over by one, and the slack that is proved to be in range is not the committed one.
    RangeOfAnother,
    /// The norm is over by one, and the committed slack is false.
    SlackOfAnother,
    /// The norm is over by one, denied by a false opening.
    FalseValue,
    /// The norm is over by one, denied by another mask polynomial.
    FalseMask,
    /// The norm is over by one, denied in the claimed sum alone.
    FalseSum,
    /// The key ciphertext carries another coordinate than the one committed to.
    OtherKey,
    /// Masked mode: the masked vector is off by one.
    MaskedVector,
}

impl ProofCheat {
    /// The cheats of direct mode.
    pub const DIRECT: [Self; 14] = [
        Self::KeyJunk,
        Self::RowJunk,
        Self::Padding,
        Self::Projection,
        Self::Wrap,
        Self::OtherKeySecret,
        Self::OtherSecret,
        Self::Anchor,
        Self::RangeOfAnother,
        Self::SlackOfAnother,
        Self::FalseValue,
        Self::FalseMask,
        Self::FalseSum,
        Self::OtherKey,
    ];

    /// An update whose squared norm is one over the bound, where that is what is lied about.
    fn update(self, layout: &Layout) -> Option<Vec<i64>> {
        let over = matches!(
            self,
            Self::RangeOfAnother
                | Self::SlackOfAnother
                | Self::FalseValue
                | Self::FalseMask
                | Self::FalseSum
        );
        over.then(|| {
            let entry = |at| match at {
                0 => layout.norm_bound.into(),
                1 => 1,
                _ => 0,
            };
            (0..layout.dim).map(entry).collect()
        })
    }

    fn apply(self, f: &mut Forgery, layout: &Layout) -> Result<(), ProofError> {
        let dim = layout.dim as usize;
        let bound = Fe::from_u64(layout.norm_bound.into()).square();
        let escape = |escape| adversarial::Deviation {
            norm: Some(bound),
            escape: Some(escape),
            ..adversarial::Deviation::default()
        };
        match self {
            Self::KeyJunk => f.key_junk = vec![(0, blinding_base())],
            Self::RowJunk => f.row_junk = vec![(0, blinding_base())],
            Self::Padding => {
                *f.entries.get_mut(dim).ok_or(ProofError::Internal)? = Fe::ONE;
                f.norm += Fe::ONE;
            }
            Self::Projection => {
                let half = i128::try_from(layout.delta / 2).map_err(|_| ProofError::Internal)?;
                f.deviation.keep_rejected = true;
                f.first_mask = Some(half);
            }
            Self::Wrap => {
                let root = adversarial::sqrt(-Fe::ONE).ok_or(ProofError::Internal)?;
                let big = Fe::pow2(126) + Fe::from_u64(12_345);
                for (at, entry) in f.entries.iter_mut().take(dim).enumerate() {
                    *entry = match at {
                        0 => big,
                        1 => big * root,
                        _ => Fe::ZERO,
                    };
                }
                if layout.masked_constants().is_none() {
                    f.key = f.entries.iter().take(dim).copied().collect();
                }
                f.norm = Fe::ZERO;
                f.deviation.keep_rejected = true;
            }
            Self::OtherKeySecret => f.key_r = Some(f.r + Fe::ONE),
            Self::OtherSecret => f.r += Fe::ONE,
            Self::Anchor => f.f_z_junk = Some(RISTRETTO_BASEPOINT_POINT),
            Self::RangeOfAnother => f.deviation.range_slack = Some(Fe::ZERO),
            Self::SlackOfAnother => f.deviation.committed_slack = Some(Fe::ZERO),
            Self::FalseValue => f.deviation = escape(Escape::Value),
            Self::FalseMask => f.deviation = escape(Escape::Mask),
            Self::FalseSum => {
                f.deviation.norm = Some(bound);
                f.deviation.norm_in_sum = Some(bound + Fe::ONE);
            }
            Self::OtherKey => *f.key.first_mut().ok_or(ProofError::Internal)? += Fe::ONE,
            Self::MaskedVector => {
                // The lowest bit that travels.
                let cut = layout.masked_constants().map_or(0, |k| k.cut);
                let first = f.y.first_mut().ok_or(ProofError::Internal)?;
                let limb = first
                    .get_mut(cut as usize / 64)
                    .ok_or(ProofError::Internal)?;
                *limb ^= 1 << (cut % 64);
            }
        }
        Ok(())
    }
}

/// A forged contribution and the secret that it shares.
#[derive(Clone, Debug)]
pub struct Forged {
    /// What is uploaded.
    pub contribution: Contribution,
    /// r.
    pub r: Scalar,
}

impl Forged {
    /// As it travels.
    pub fn upload(&self) -> Upload {
        let Contribution { header, body } = &self.contribution;
        Upload {
            header: header.clone(),
            body: Bytes(body.to_bytes()),
        }
    }
}

/// A contribution of `client` that leaves the protocol where `deviation` says.
///
/// # Errors
/// [`SimError`] for a client that is not in the world, or a deviation that the prover cannot carry out.
pub fn forge(
    world: &World,
    client: ClientId,
    deviation: &Deviation,
    rng: &mut impl CryptoRngCore,
) -> Result<Forged, SimError> {
    forge_with(world, client, deviation, |_| {}, rng)
}

/// What a client in masked mode commits to beside its update, and y.
struct MaskedParts {
    entries: Vec<Fe>,
    y: Vec<Limbs>,
}

/// The bits of bound^2 - sum of squares, lowest first; zeros where it is negative.
fn slack_bits(bound: u128, values: &[Fe], count: u32) -> Vec<Fe> {
    let squares: Fe = values.iter().map(|v| v.square()).sum();
    let limbs = (Fe::from_u128(bound).square() - squares).to_limbs();
    (0..count as usize)
        .map(|i| Fe::from_u64(limbs.get(i / 64).map_or(0, |limb| limb >> (i % 64) & 1)))
        .collect()
}

fn masked_parts(
    world: &World,
    update: &[i64],
    rng: &mut impl CryptoRngCore,
) -> Result<Option<MaskedParts>, SimError> {
    let (Some(k), Some(ring)) = (
        world.context.layout().masked_constants(),
        world.round.masking(),
    ) else {
        return Ok(None);
    };
    let key = sample_key(ring.ring.degree(), rng);
    let masked = ring.masking().mask(&key, update, &Seed::random(rng))?;
    let noise: Vec<Fe> = masked.noise.iter().map(|v| Fe::from_i128(*v)).collect();
    let key: Vec<Fe> = key.iter().map(|v| Fe::from_i64(*v)).collect();
    let e = slack_bits(k.e_bound, &noise, k.e_slack_bits);
    let s = slack_bits(k.s_bound.into(), &key, k.s_slack_bits);
    Ok(Some(MaskedParts {
        entries: [noise, key, e, s].concat(),
        y: masked.y,
    }))
}

/// As [`forge`]; `edit` changes what is committed to and proved before the prover runs.
///
/// # Errors
/// As [`forge`].
pub fn forge_with(
    world: &World,
    client: ClientId,
    deviation: &Deviation,
    edit: impl FnOnce(&mut Forgery),
    rng: &mut impl CryptoRngCore,
) -> Result<Forged, SimError> {
    let (identity, _) = world.keys(client)?;
    let (ctx, digest, round): (_, Digest, &Round) = (&world.context, world.digest(), &world.round);
    let layout = ctx.layout();
    let r = Scalar::random(rng);
    let degree = i32::from(ctx.threshold()) + i32::from(deviation.degree);
    let degree = u16::try_from(degree.max(2)).unwrap_or(u16::MAX);
    let dealing = feldman::deal(&r, degree, ctx.members().max(degree), rng)?;
    let ephemeral = EphemeralSecret::generate(rng);
    let mut shares = Vec::new();
    for (share, key) in dealing.shares.iter().zip(ctx.share_keys()) {
        let bad = deviation.bad_shares.contains(&share.index);
        let value = share.expose() + if bad { Scalar::ONE } else { Scalar::ZERO };
        let mut sealed = ephemeral.encrypt(&digest, client, share.index, key, &value)?;
        if deviation.garbled_shares.contains(&share.index) {
            sealed[0] ^= 1;
        }
        shares.push(sealed);
    }
    let share_root = merkle::root(labels::SHARE_TREE, &share_leaves(&shares));
    let known = deviation.knowledge_of.unwrap_or(client);
    let knowledge = ephemeral.prove(&digest, known, &dealing.commitments, &share_root, rng);
    let update = deviation
        .update
        .clone()
        .or_else(|| deviation.cheat?.update(layout))
        .or_else(|| world.updates.get(&client).cloned())
        .unwrap_or_default();
    let mut entries: Vec<Fe> = update.iter().map(|x| Fe::from_i64(*x)).collect();
    let columns = layout.columns as usize;
    entries.resize(layout.x_rows as usize * columns, Fe::ZERO);
    let masked = masked_parts(world, &update, rng)?;
    let mut y = Vec::new();
    if let Some(parts) = masked {
        entries.extend(parts.entries);
        y = parts.y;
    }
    entries.resize(layout.projected_rows() as usize * columns, Fe::ZERO);
    let mut forgery = Forgery::new(round, entries, &r, y);
    edit(&mut forgery);
    if let Some(cheat) = deviation.cheat {
        cheat.apply(&mut forgery, layout)?;
    }
    let packed = match round.masking() {
        Some(ring) => ring.layout.pack_masked(&forgery.y)?,
        None => Vec::new(),
    };
    let shown = if deviation.ephemeral_identity {
        CanonicalPoint::from(RistrettoPoint::default())
    } else {
        *ephemeral.public()
    };
    let prover = deviation.proof_of.unwrap_or(client);
    let roots = |k: &[[u8; 32]]| {
        let mut rows = k.to_vec();
        if let (true, Some(first)) = (deviation.row_root_of_others, rows.first_mut()) {
            *first = *shown.as_bytes();
        }
        matrix_roots(layout, ctx.members().into(), &rows)
    };
    let header = |k: &[[u8; 32]], c: &[[u8; 32]], f_z: CanonicalPoint, proof: Digest| {
        let (row_root, other_rows) = roots(k);
        HeaderContent {
            params_digest: digest,
            client,
            commitments: dealing.commitments.clone(),
            f_z,
            ephemeral: shown,
            knowledge,
            share_root,
            row_root,
            other_rows,
            masked_vector: Digest::of(labels::MASKED_VECTOR_DIGEST, &packed),
            key_ciphertext: Digest::of(labels::KEY_CIPHERTEXT_DIGEST, c.as_flattened()),
            proof,
        }
    };
    let bind = |parts: &Parts<'_>| {
        let h = header(parts.k, parts.c, *parts.f_z, Digest::default());
        Context {
            client: prover,
            commitments: h.commitments.clone(),
            ephemeral: h.ephemeral,
            share_root: h.share_root,
            row_root: h.row_root,
            y_digest: h.masked_vector,
            c_digest: h.key_ciphertext,
            k_digest: h.matrix_digest(),
        }
    };
    // An escape may not exist for some randomness.
    let mut made = Err(ProofError::Restarts { attempts: 0 });
    for _ in 0..16 {
        made = forgery.contribute(round, bind, rng);
        if made.is_ok() {
            break;
        }
    }
    let made = made?;
    let content = header(
        &made.k,
        &made.c,
        made.f_z,
        Digest::of(labels::PROOF_DIGEST, &made.proof),
    );
    let body = Body {
        masked_vector: packed,
        key_ciphertext: made.c,
        matrix: made.k,
        proof: made.proof,
        shares,
    };
    Ok(Forged {
        contribution: Contribution {
            header: Signed::sign(content, identity),
            body,
        },
        r,
    })
}
