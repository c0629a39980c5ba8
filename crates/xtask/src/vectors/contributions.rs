//! Contributions: header, body, proof.

use super::files::Files;
use crate::error::TaskError;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as B;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::json;
use veilsum_crypto::field::Fe;
use veilsum_crypto::{blinding_base, labels};
use veilsum_params::ClientId;
use veilsum_proof::ProofCheck;
use veilsum_proof::adversarial::{Deviation as ProofDeviation, Escape, Forgery};
use veilsum_protocol::{
    Bytes, Check, Message, Upload, build_contribution, check_header, decode_body,
    verify_contribution,
};
use veilsum_sim::{Deviation, World, forge_with};
use veilsum_wire::{Contribution, Signed, Wire};

fn encode(contribution: &Contribution) -> Vec<u8> {
    let upload = Upload {
        header: contribution.header.clone(),
        body: Bytes(contribution.body.to_bytes()),
    };
    Message::Contribution(upload).to_bytes()
}

/// What the code says about an upload as it travels.
fn verdict(world: &World, bytes: &[u8]) -> Result<(), &'static str> {
    let Ok(Message::Contribution(upload)) = Message::from_bytes(bytes) else {
        return Err("malformed");
    };
    let ctx = &world.context;
    check_header(ctx, &upload.header)
        .and_then(|()| decode_body(ctx, &upload.body.0))
        .and_then(|body| verify_contribution(ctx, &world.round, upload.header, body))
        .map(|_| ())
        .map_err(|refusal| refusal.check.id())
}

struct Maker<'a> {
    files: &'a mut Files,
    world: &'a World,
    round: &'static str,
    client: ClientId,
    good: Contribution,
}

impl<'a> Maker<'a> {
    /// Begins with an honest contribution, made by the code that clients use.
    fn new(files: &'a mut Files, world: &'a World, round: &'static str) -> Result<Self, TaskError> {
        let client = *world
            .context
            .cohort()
            .first()
            .ok_or(TaskError::Vector("a cohort without clients".into()))?;
        let update = world.updates.get(&client).cloned().unwrap_or_default();
        let (identity, _) = world.keys(client)?;
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let good = build_contribution(
            &world.context,
            &world.round,
            client,
            identity,
            &update,
            &mut rng,
        )
        .map_err(veilsum_sim::SimError::from)?;
        let mut maker = Self {
            files,
            world,
            round,
            client,
            good,
        };
        maker.add("honest", None, &encode(&maker.good.clone()))?;
        Ok(maker)
    }

    fn add(
        &mut self,
        name: &str,
        expected: Option<&'static str>,
        bytes: &[u8],
    ) -> Result<(), TaskError> {
        let id = format!("{}/{name}", self.round);
        let got = verdict(self.world, bytes).err();
        if got != expected {
            return Err(TaskError::Vector(format!(
                "{id} should end with {expected:?} and ends with {got:?}"
            )));
        }
        let path = format!("{id}.upload");
        // What a forger makes shares its secrets, hence most of its bytes, with what it makes without cheating.
        let bases = ["honest", "forged"].map(|base| (format!("{}/{base}.upload", self.round), 0));
        let mut more = if bases.iter().any(|(base, _)| *base == path) {
            self.files.whole(&path, bytes.to_vec())
        } else {
            self.files.changed(&path, &bases, bytes)
        };
        more["expect"] = json!(expected.unwrap_or("valid"));
        self.files.vector(&id, "contribution", self.round, more);
        Ok(())
    }

    /// A change of header or body; digests and signature are made to fit where `fit` says so.
    fn change(
        &mut self,
        name: &str,
        check: Check,
        fit: bool,
        edit: impl FnOnce(&mut Contribution),
    ) -> Result<(), TaskError> {
        let mut c = self.good.clone();
        edit(&mut c);
        let mut content = c.header.content.clone();
        let ctx = &self.world.context;
        if fit {
            let digests = c.body.digests(ctx.params(), ctx.layout());
            content.share_root = digests.share_root;
            content.row_root = digests.row_root;
            content.other_rows = digests.other_rows;
            content.masked_vector = digests.masked_vector;
            content.key_ciphertext = digests.key_ciphertext;
            content.proof = digests.proof;
        }
        if let Ok((identity, _)) = self.world.keys(content.client) {
            c.header = Signed::sign(content, identity);
        }
        self.add(name, Some(check.id()), &encode(&c))
    }

    /// Bytes of the proof changed behind the prover's back, everything around made to fit.
    fn proof(
        &mut self,
        name: &str,
        check: ProofCheck,
        edit: impl FnOnce(&mut veilsum_proof::Proof),
    ) -> Result<(), TaskError> {
        let layout = self.world.context.layout().clone();
        let mut proof = veilsum_proof::Proof::decode(&layout, &self.good.body.proof)
            .map_err(|check| TaskError::Vector(check.to_string()))?;
        edit(&mut proof);
        self.change(name, Check::Proof(check), true, |c| {
            c.body.proof = proof.encode(&layout);
        })
    }

    fn forged(
        &mut self,
        name: &str,
        expected: Option<Check>,
        deviation: &Deviation,
        edit: impl Fn(&mut Forgery),
    ) -> Result<(), TaskError> {
        // An escape does not exist for all randomness.
        let made = (0..64).find_map(|seed| {
            let mut rng = ChaCha20Rng::seed_from_u64(1000 + seed);
            forge_with(self.world, self.client, deviation, &edit, &mut rng).ok()
        });
        let made = made.ok_or_else(|| TaskError::Vector(format!("{name} cannot be forged")))?;
        self.add(
            name,
            expected.map(|check| check.id()),
            &encode(&made.contribution),
        )
    }

    fn cheat(
        &mut self,
        name: &str,
        check: ProofCheck,
        edit: impl Fn(&mut Forgery),
    ) -> Result<(), TaskError> {
        self.forged(name, Some(Check::Proof(check)), &Deviation::default(), edit)
    }

    /// Cheats that do not depend on the mode.
    fn common(&mut self) -> Result<(), TaskError> {
        let layout = self.world.context.layout().clone();
        let padded = (layout.x_rows * layout.columns) as usize - 1;
        let delta = i128::try_from(layout.delta / 2).unwrap_or(0);
        self.forged("forged", None, &Deviation::default(), |_| {})?;
        self.cheat("norm-denied-by-mask", ProofCheck::E3, move |f| {
            f.deviation = ProofDeviation {
                norm: Some(f.norm + Fe::ONE),
                escape: Some(Escape::Mask),
                ..ProofDeviation::default()
            };
        })?;
        self.cheat("a01-junk-in-key", ProofCheck::E5, |f| {
            f.key_junk = vec![(3, blinding_base())];
        })?;
        self.cheat("a02-junk-in-x-row", ProofCheck::E1, |f| {
            f.row_junk = vec![(0, blinding_base())];
        })?;
        self.cheat("a08-padding", ProofCheck::E4, move |f| {
            f.entries[padded] = Fe::ONE;
            f.norm += Fe::ONE;
        })?;
        self.cheat(
            "a06-projection-outside",
            ProofCheck::ProjectionInterval,
            move |f| {
                f.deviation.keep_rejected = true;
                f.first_mask = Some(delta);
            },
        )
    }
}

fn cheats(m: &mut Maker<'_>) -> Result<(), TaskError> {
    m.cheat("norm-denied-in-sumcheck", ProofCheck::E4, |f| {
        f.norm += Fe::ONE;
        f.deviation.norm = Some(f.norm);
    })?;
    m.cheat("norm-denied-by-value", ProofCheck::E2, |f| {
        f.deviation = ProofDeviation {
            norm: Some(f.norm + Fe::ONE),
            escape: Some(Escape::Value),
            ..ProofDeviation::default()
        };
    })?;
    m.cheat("slack-of-another-norm", ProofCheck::E9, |f| {
        f.deviation.committed_slack = Some(Fe::ZERO);
    })?;
    m.cheat("norm-outside-the-sum", ProofCheck::E6, |f| {
        f.deviation.norm = Some(f.norm + Fe::ONE);
        f.deviation.norm_in_sum = Some(f.norm);
    })?;
    m.cheat("another-r-in-key", ProofCheck::E5, |f| {
        f.key_r = Some(f.r + Fe::ONE);
    })?;
    m.cheat("another-r-shared", ProofCheck::E7, |f| f.r += Fe::ONE)?;
    m.cheat("r-z-not-anchored", ProofCheck::E8, |f| {
        f.f_z_junk = Some(B);
    })?;
    m.cheat("another-update-in-key", ProofCheck::E4, |f| {
        f.key[5] += Fe::ONE;
    })
}

pub(super) fn direct(files: &mut Files, world: &World) -> Result<(), TaskError> {
    let mut m = Maker::new(files, world, "direct")?;
    m.common()?;
    cheats(&mut m)?;
    let dim = world.setup.dim as usize;
    let mut over = vec![0i64; dim];
    over[0] = i64::from(world.setup.norm_bound);
    over[dim - 1] = -1;
    let deviation = Deviation {
        update: Some(over.clone()),
        ..Deviation::default()
    };
    let range = Some(Check::Proof(ProofCheck::NormRange));
    m.forged("norm-one-unit-over", range, &deviation, |f| {
        f.deviation.range_slack = Some(Fe::ZERO);
    })?;
    over[dim - 1] = 0;
    let deviation = Deviation {
        update: Some(over),
        ..Deviation::default()
    };
    m.forged("norm-at-the-bound", None, &deviation, |_| {})?;
    let other = m.world.context.cohort().get(1).copied();
    let deviation = Deviation {
        proof_of: other,
        ..Deviation::default()
    };
    let e2 = Some(Check::Proof(ProofCheck::E2));
    m.forged("a11-proof-of-another", e2, &deviation, |_| {})?;
    let deviation = Deviation {
        knowledge_of: other,
        ..Deviation::default()
    };
    m.forged(
        "a03-knowledge",
        Some(Check::HeaderKnowledge),
        &deviation,
        |_| {},
    )?;
    let deviation = Deviation {
        ephemeral_identity: true,
        ..Deviation::default()
    };
    m.forged(
        "ephemeral-identity",
        Some(Check::HeaderIdentity),
        &deviation,
        |_| {},
    )?;
    for (name, degree) in [("degree-higher", 1), ("degree-lower", -1)] {
        let deviation = Deviation {
            degree,
            ..Deviation::default()
        };
        m.forged(name, Some(Check::HeaderCommitments), &deviation, |_| {})?;
    }
    headers_and_bodies(&mut m)?;
    m.proof("response-u", ProofCheck::E2, |p| {
        p.responses.u[7] += Fe::ONE
    })?;
    m.proof("response-pi", ProofCheck::E4, |p| {
        p.responses.pi[2] += Fe::ONE
    })?;
    m.proof("response-v-k", ProofCheck::E6, |p| {
        p.responses.v_k += Fe::ONE
    })?;
    m.proof("response-r", ProofCheck::E1, |p| p.responses.r += Fe::ONE)?;
    m.proof("response-rho", ProofCheck::E3, |p| {
        p.responses.rho += Fe::ONE
    })?;
    m.proof("response-nu", ProofCheck::E9, |p| p.responses.nu += Fe::ONE)?;
    m.proof("announcement", ProofCheck::E2, |p| p.scalars[1] += Fe::ONE)?;
    m.proof("sum", ProofCheck::E2, |p| p.sum += Fe::ONE)?;
    m.proof("range-scalar", ProofCheck::E2, |p| p.range[32 * 18] ^= 1)?;
    m.proof("point", ProofCheck::PointEncoding, |p| p.points[0][0] ^= 1)?;
    m.proof("v-x-point", ProofCheck::PointEncoding, |p| {
        p.v_x = [0xff; 32]
    })?;
    m.proof("z-high", ProofCheck::ProjectionInterval, |p| {
        p.z[308] = u128::from(u64::MAX) >> 24
    })?;
    m.proof("z-low", ProofCheck::ProjectionInterval, |p| p.z[0] = 0)
}

fn headers_and_bodies(m: &mut Maker<'_>) -> Result<(), TaskError> {
    let world = m.world;
    let outside = world
        .identities
        .keys()
        .find(|c| !world.context.in_cohort(**c))
        .copied();
    let outside = outside.ok_or(TaskError::Vector("everybody is in the cohort".into()))?;
    let other = m.world.context.cohort().get(1).copied();
    m.change("another-round", Check::HeaderParams, false, |c| {
        c.header.content.params_digest.0[0] ^= 1;
    })?;
    m.change("not-sampled", Check::HeaderCohort, false, |c| {
        c.header.content.client = outside;
    })?;
    let mut stolen = m.good.clone();
    stolen.header.content.client = other.unwrap_or(outside);
    m.add(
        "in-another-name",
        Some(Check::HeaderSignature.id()),
        &encode(&stolen),
    )?;
    let mut tampered = m.good.clone();
    tampered.header.signature.0[40] ^= 1;
    m.add(
        "signature",
        Some(Check::HeaderSignature.id()),
        &encode(&tampered),
    )?;
    m.change("share-root", Check::BodyShareRoot, false, |c| {
        c.body.shares[1][3] ^= 1
    })?;
    m.change("row-root", Check::BodyRowRoot, false, |c| {
        c.body.matrix.swap(0, 1)
    })?;
    m.change("other-rows", Check::BodyOtherRows, false, |c| {
        c.body.matrix[3][0] ^= 1
    })?;
    m.change("key-ciphertext", Check::BodyKeyCiphertext, false, |c| {
        c.body.key_ciphertext.swap(0, 1)
    })?;
    m.change("proof-bytes", Check::BodyProof, false, |c| {
        c.body.proof[0] ^= 1
    })?;
    m.change("masked-vector", Check::BodyMaskedVector, false, |c| {
        c.header.content.masked_vector.0[0] ^= 1;
    })?;
    let knowledge = Check::HeaderKnowledge;
    m.change("shares-swapped", knowledge, true, |c| {
        c.body.shares.swap(0, 1)
    })?;
    m.change("rows-swapped", Check::Proof(ProofCheck::E2), true, |c| {
        c.body.matrix.swap(0, 1)
    })?;
    m.change(
        "row-point",
        Check::Proof(ProofCheck::PointEncoding),
        true,
        |c| c.body.matrix[0][31] ^= 0x80,
    )?;
    m.change(
        "key-point",
        Check::Proof(ProofCheck::PointEncoding),
        true,
        |c| {
            c.body.key_ciphertext[9] = [0xff; 32];
        },
    )?;
    m.change(
        "scalar",
        Check::Proof(ProofCheck::ScalarEncoding),
        true,
        |c| {
            let end = c.body.proof.len();
            c.body.proof[end - 32..].fill(0xff);
        },
    )?;
    for (name, longer) in [("body-longer", true), ("body-shorter", false)] {
        let mut body = m.good.body.to_bytes();
        if longer {
            body.push(0);
        } else {
            body.pop();
        }
        let upload = Upload {
            header: m.good.header.clone(),
            body: Bytes(body),
        };
        let bytes = Message::Contribution(upload).to_bytes();
        m.add(name, Some(Check::BodyLength.id()), &bytes)?;
    }
    let mut bytes = encode(&m.good);
    bytes.push(0);
    m.add("trailing-byte", Some("malformed"), &bytes)?;
    let mut point = encode(&m.good);
    let at = 1 + 32 + 4 + 4;
    point[at..at + 32].fill(0xff);
    m.add("commitment-point", Some("malformed"), &point)?;
    let mut scalar = encode(&m.good);
    let at = 1 + 32 + 4 + 4 + 32 * usize::from(world.setup.threshold) + 32 + 32 + 32;
    scalar[at..at + 32].fill(0xff);
    m.add("knowledge-scalar", Some("malformed"), &scalar)?;
    let mut count = encode(&m.good);
    count[37..41].fill(0xff);
    m.add("huge-count", Some("malformed"), &count)
}

pub(super) fn masked(files: &mut Files, world: &World) -> Result<(), TaskError> {
    let Some(k) = world.context.layout().masked_constants().cloned() else {
        return Err(TaskError::Vector("the round is not masked".into()));
    };
    let layout = world.context.layout().clone();
    let mut m = Maker::new(files, world, "masked")?;
    m.common()?;
    let columns = layout.columns as usize;
    let first_e = layout.x_rows as usize * columns;
    let first_bit = first_e + k.ring_len as usize + 8192;
    let step = Fe::pow2(k.cut);
    let (last, slot) = (k.ring_len as usize - 1, Fe::pow2(k.shift));
    let at = move |f: &Forgery, j: usize| Fe::from_limbs_unchecked(f.y[j]);
    for (name, j) in [("y-first", 0), ("y-last", last)] {
        m.cheat(name, ProofCheck::E4, move |f| {
            f.y[j] = (at(f, j) + step).to_limbs()
        })?;
    }
    m.cheat("bits-that-are-not-bits", ProofCheck::E4, move |f| {
        f.entries[first_bit] += Fe::from_u64(2);
        f.entries[first_bit + 1] -= Fe::ONE;
    })?;
    m.cheat("bits-behind-the-slacks", ProofCheck::E4, move |f| {
        let end = f.entries.len() - 1;
        f.entries[end] = Fe::from_u64(2);
    })?;
    m.cheat("another-noise", ProofCheck::E4, move |f| {
        f.entries[first_e + 11] += step
    })?;
    m.cheat("another-slot", ProofCheck::E4, move |f| {
        f.y[3] = (at(f, 3) + slot).to_limbs()
    })?;
    m.cheat("another-key", ProofCheck::E4, move |f| {
        f.entries[first_e + k.ring_len as usize + 8191] += Fe::ONE;
    })?;
    m.change("proof-bytes", Check::BodyProof, false, |c| {
        c.body.proof[0] ^= 1
    })?;
    m.change("masked-vector", Check::BodyMaskedVector, false, |c| {
        c.body.masked_vector[5] ^= 1
    })?;
    m.proof("response-n-x", ProofCheck::E6, |p| {
        p.responses.n_x += Fe::ONE
    })
}

pub(super) fn two_blocks(files: &mut Files, world: &World) -> Result<(), TaskError> {
    let mut m = Maker::new(files, world, "two-blocks")?;
    let end = m.good.body.masked_vector.len() - 1;
    m.change("y-changed", Check::Proof(ProofCheck::E2), true, move |c| {
        c.body.masked_vector[end - 40] ^= 1;
    })?;
    let other = veilsum_crypto::Digest::of(labels::MASKED_VECTOR_DIGEST, &[]);
    m.change("masked-vector", Check::BodyMaskedVector, false, move |c| {
        c.header.content.masked_vector = other;
    })
}
