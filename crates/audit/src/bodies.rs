//! The large part of an audit: proofs, and what was committed to, added up.

use crate::replay::Taken;
use crate::{FaultKind, Options, Progress};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::{Digest, labels, merkle};
use veilsum_params::ClientId;
use veilsum_proof::Round;
use veilsum_protocol::{
    Check, RoundContext, RoundSums, check_body, check_header, decode_body, verify_contributions,
};
use veilsum_store::{Bodies, BodyDigest, StoreError};
use veilsum_wire::{Body, row_leaves};

/// So many contributions are in memory and verified together.
const BATCH: usize = 32;

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
        let read: Vec<Result<Body, FaultKind>> = batch
            .par_iter()
            .map(|(client, taken)| {
                let bytes = body_of(ctx, bodies, &taken.body).map_err(|cause| FaultKind::Body {
                    client: **client,
                    cause,
                })?;
                decode_body(ctx, &bytes).map_err(|refusal| FaultKind::Contribution {
                    client: **client,
                    check: refusal.check,
                })
            })
            .collect();
        let mut whole = Vec::new();
        for ((client, taken), body) in batch.iter().zip(read) {
            match body {
                Ok(body) => whole.push((**client, *taken, body)),
                Err(kind) => added.faults.push((taken.record, kind)),
            }
        }
        let verdicts: Vec<(ClientId, u64, Result<Body, Check>)> = match round {
            Some(round) => verify(ctx, round, whole, &options.seed),
            None => whole
                .into_par_iter()
                .map(|(client, taken, body)| {
                    let verdict = rows_only(ctx, taken, &body).map(|()| body);
                    (client, taken.record, verdict)
                })
                .collect(),
        };
        for (client, record, verdict) in verdicts {
            match verdict {
                Ok(body) => added.add(ctx, round, client, set, &body),
                Err(check) => {
                    added.refused.insert(client, check);
                    let kind = FaultKind::Contribution { client, check };
                    added.faults.push((record, kind));
                }
            }
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
    whole: Vec<(ClientId, &Taken, Body)>,
    seed: &[u8; 32],
) -> Vec<(ClientId, u64, Result<Body, Check>)> {
    let of: Vec<(ClientId, u64)> = whole.iter().map(|(c, t, _)| (*c, t.record)).collect();
    let contributions = whole
        .into_iter()
        .map(|(_, taken, body)| (taken.header.clone(), body))
        .collect();
    verify_contributions(ctx, round, contributions, seed)
        .into_iter()
        .zip(of)
        .map(|(verdict, (client, record))| {
            let verdict = verdict
                .map(|verified| verified.into_parts().1)
                .map_err(|refusal| refusal.check);
            (client, record, verdict)
        })
        .collect()
}

/// What settles the sum: that these rows are the ones that the client signed.
fn rows_only(ctx: &RoundContext, taken: &Taken, body: &Body) -> Result<(), Check> {
    check_header(ctx, &taken.header).map_err(|refusal| refusal.check)?;
    let leaves = row_leaves(ctx.layout(), ctx.members().into(), &body.matrix);
    if merkle::root(labels::ROW_TREE, &leaves) == taken.header.content.row_root {
        // The rest of the body is not needed, but a changed byte in it is still a changed transcript.
        check_body(ctx, &taken.header.content, body).map_err(|refusal| refusal.check)
    } else {
        Err(Check::BodyRowRoot)
    }
}

impl Added {
    fn add(
        &mut self,
        ctx: &RoundContext,
        round: Option<&Round>,
        client: ClientId,
        set: &BTreeSet<ClientId>,
        body: &Body,
    ) {
        if !set.contains(&client) {
            return;
        }
        let points: Option<Vec<RistrettoPoint>> = body
            .matrix
            .par_iter()
            .take(ctx.layout().x_rows as usize)
            .map(|row| CompressedRistretto(*row).decompress())
            .collect();
        let Some(points) = points.filter(|points| points.len() == self.rows.len()) else {
            return;
        };
        if let (Some(sums), Some(round)) = (&mut self.sums, round)
            && sums.add(round, body).is_err()
        {
            return;
        }
        for (sum, point) in self.rows.iter_mut().zip(points) {
            *sum += point;
        }
        self.missing.remove(&client);
    }
}
