//! The large part of an audit: proofs, and what was committed to, added up.

use crate::replay::Taken;
use crate::{FaultKind, Options, Progress};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::labels::Label;
use veilsum_crypto::{CIPHERTEXT_LEN, Digest, Hasher, labels, merkle};
use veilsum_params::{ClientId, UploadSizes};
use veilsum_proof::{ProofCheck, Round};
use veilsum_protocol::{
    Check, RoundContext, RoundSums, VerifiedContribution, check_digests, decode_body,
    verify_contributions,
};
use veilsum_store::{Bodies, BodyDigest, BodyReader, StoreError};
use veilsum_wire::{Body, BodyDigests, matrix_roots, share_leaves};

/// So many contributions are in memory and verified together.
const BATCH: usize = 32;
/// What is hashed and not kept is read in pieces of this many bytes.
const PIECE: usize = 1 << 16;

/// What the bodies came to.
pub(crate) struct Added {
    /// Sum of the X-rows over the set.
    pub(crate) rows: Vec<RistrettoPoint>,
    /// Sums of C and y over the set; none when only the sum is settled.
    pub(crate) sums: Option<RoundSums>,
    /// Contributions of the set that could not be added.
    pub(crate) missing: BTreeSet<ClientId>,
    /// Why contributions are invalid.
    pub(crate) refused: BTreeMap<ClientId, Check>,
    /// What is wrong.
    pub(crate) faults: Vec<(u64, FaultKind)>,
}

pub(crate) fn body_of(
    ctx: &RoundContext,
    bodies: &Bodies,
    digest: &Digest,
) -> Result<Vec<u8>, StoreError> {
    let max = Body::encoded_len(ctx.params(), ctx.layout());
    bodies.read_verified(&BodyDigest(digest.0), max)
}

/// A contribution that may be added: its rows, and all of it where there is more to be added.
struct Verified {
    rows: Vec<[u8; 32]>,
    whole: Option<VerifiedContribution>,
}

/// A contribution's client, its record, and what came of it.
type Verdict = (ClientId, u64, Result<Verified, FaultKind>);

/// Verifies the bodies of all contributions and adds up those of `set`.
pub(crate) fn add_up(
    ctx: &RoundContext,
    round: Option<&Round>,
    bodies: &Bodies,
    taken: &BTreeMap<ClientId, Taken>,
    set: &BTreeSet<ClientId>,
    options: &Options<'_>,
) -> Added {
    let mut added = Added {
        rows: vec![RistrettoPoint::identity(); ctx.layout().x_rows as usize],
        sums: round.map(|_| RoundSums::new(ctx)),
        missing: set.clone(),
        refused: BTreeMap::new(),
        faults: Vec::new(),
    };
    let all: Vec<(&ClientId, &Taken)> = taken.iter().collect();
    let total = all.len();
    let mut done = 0;
    for batch in all.chunks(BATCH) {
        let verdicts = match round {
            Some(round) => verify(ctx, round, bodies, batch, &options.seed),
            None => batch
                .par_iter()
                .map(|(client, taken)| {
                    let client = **client;
                    let rows = rows_only(ctx, bodies, client, taken);
                    let verified = rows.and_then(|rows| match options.sum_only {
                        true => Ok(Verified { rows, whole: None }),
                        // Without tables no body is of the right length, and none comes here.
                        false => Err(FaultKind::Unverified { client }),
                    });
                    (client, taken.record, verified)
                })
                .collect(),
        };
        for (client, record, verdict) in verdicts {
            let outcome = verdict.and_then(|verified| added.add(round, client, set, &verified));
            let Err(kind) = outcome else { continue };
            if let FaultKind::Contribution { client, check } = kind {
                added.refused.insert(client, check);
            }
            added.faults.push((record, kind));
        }
        done += batch.len();
        (options.progress)(Progress { done, total });
    }
    added
}

/// Header, digests and proof, the proofs of a batch folded together.
fn verify(
    ctx: &RoundContext,
    round: &Round,
    bodies: &Bodies,
    batch: &[(&ClientId, &Taken)],
    seed: &[u8; 32],
) -> Vec<Verdict> {
    let read: Vec<Result<Body, FaultKind>> = batch
        .par_iter()
        .map(|(client, taken)| {
            let client = **client;
            let bytes = body_of(ctx, bodies, &taken.body)
                .map_err(|cause| FaultKind::Body { client, cause })?;
            decode_body(ctx, &bytes).map_err(|refusal| FaultKind::Contribution {
                client,
                check: refusal.check,
            })
        })
        .collect();
    let (mut verdicts, mut of, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for ((client, taken), body) in batch.iter().zip(read) {
        match body {
            Ok(body) => {
                of.push((**client, taken.record));
                whole.push((taken.header.clone(), body));
            }
            Err(kind) => verdicts.push((**client, taken.record, Err(kind))),
        }
    }
    let verified = verify_contributions(ctx, round, whole, seed);
    for ((client, record), verdict) in of.into_iter().zip(verified) {
        let verdict = match verdict {
            Ok(verified) => Ok(Verified {
                rows: verified.x_rows().to_vec(),
                whole: Some(verified),
            }),
            Err(refusal) => Err(FaultKind::Contribution {
                client,
                check: refusal.check,
            }),
        };
        verdicts.push((client, record, verdict));
    }
    verdicts
}

/// What settles the sum: that these rows are the ones that the client signed. The rest of the body is not needed, but a
/// changed byte in it is still a changed transcript: it is hashed piece by piece and not kept.
fn rows_only(
    ctx: &RoundContext,
    bodies: &Bodies,
    client: ClientId,
    taken: &Taken,
) -> Result<Vec<[u8; 32]>, FaultKind> {
    let broken = |cause| FaultKind::Body { client, cause };
    let refused = |check| FaultKind::Contribution { client, check };
    let (params, layout) = (ctx.params(), ctx.layout());
    let sizes = UploadSizes::of(layout, params.committee_size(), params.threshold.into());
    let mut reader = bodies.open(&BodyDigest(taken.body.0)).map_err(broken)?;
    if reader.len().map_err(broken)? != sizes.body() {
        // Which of the two it is, the digest tells.
        reader.finish().map_err(broken)?;
        return Err(refused(Check::BodyLength));
    }
    let masked_vector = hashed(
        &mut reader,
        sizes.masked_vector,
        labels::MASKED_VECTOR_DIGEST,
    );
    let masked_vector = masked_vector.map_err(broken)?;
    let key_ciphertext = hashed(
        &mut reader,
        sizes.key_ciphertext,
        labels::KEY_CIPHERTEXT_DIGEST,
    );
    let key_ciphertext = key_ciphertext.map_err(broken)?;
    let matrix = kept(&mut reader, sizes.matrix_commitment).map_err(broken)?;
    let proof = hashed(&mut reader, sizes.proof, labels::PROOF_DIGEST).map_err(broken)?;
    let shares = kept(&mut reader, sizes.shares).map_err(broken)?;
    reader.finish().map_err(broken)?;
    let mut rows = matrix.as_chunks().0.to_vec();
    let (row_root, other_rows) = matrix_roots(layout, params.committee_size(), &rows);
    let shares = shares.as_chunks::<CIPHERTEXT_LEN>().0;
    let digests = BodyDigests {
        share_root: merkle::root(labels::SHARE_TREE, &share_leaves(shares)),
        row_root,
        other_rows,
        masked_vector,
        key_ciphertext,
        proof,
    };
    if let Some(check) = taken.refused {
        return Err(refused(check));
    }
    check_digests(&taken.header.content, &digests).map_err(|refusal| refused(refusal.check))?;
    rows.truncate(layout.x_rows as usize);
    Ok(rows)
}

/// The digest of the next `len` bytes.
fn hashed(reader: &mut BodyReader, len: u64, label: Label) -> Result<Digest, StoreError> {
    let (mut hasher, mut left) = (Hasher::new(label), len);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let Some(part) = piece.get_mut(..wanted) else {
            break;
        };
        let count = reader.read(part)?;
        if count == 0 {
            // The file shrank since its length was asked for: the digest of the body says so.
            break;
        }
        hasher.update(part.get(..count).unwrap_or_default());
        left = left.saturating_sub(count as u64);
    }
    Ok(hasher.finish())
}

/// The next `len` bytes, of a file that is known to hold them.
fn kept(reader: &mut BodyReader, len: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            count => filled = filled.saturating_add(count),
        }
    }
    Ok(bytes)
}

impl Added {
    fn add(
        &mut self,
        round: Option<&Round>,
        client: ClientId,
        set: &BTreeSet<ClientId>,
        verified: &Verified,
    ) -> Result<(), FaultKind> {
        if !set.contains(&client) {
            return Ok(());
        }
        let points: Option<Vec<RistrettoPoint>> = verified
            .rows
            .par_iter()
            .map(|row| CompressedRistretto(*row).decompress())
            .collect();
        // A server that looks at proofs takes no row that is no point; who settles the sum alone must not pass over it.
        let refused = |check| FaultKind::Contribution { client, check };
        let points = points
            .filter(|points| points.len() == self.rows.len())
            .ok_or(refused(Check::Proof(ProofCheck::PointEncoding)))?;
        if let (Some(sums), Some(round), Some(whole)) = (&mut self.sums, round, &verified.whole) {
            sums.add_verified(round, whole)
                .map_err(|_| refused(Check::Proof(ProofCheck::PointEncoding)))?;
        }
        for (sum, point) in self.rows.iter_mut().zip(points) {
            *sum += point;
        }
        self.missing.remove(&client);
        Ok(())
    }
}
