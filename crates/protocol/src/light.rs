use crate::{
    Check, FinalTerms, Refusal, RoundContext, check_certificate, check_finals, check_header,
    strictly_increasing,
};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use rand_core::CryptoRngCore;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::Family;
use veilsum_params::MemberIndex;
use veilsum_wire::{
    Header, LightBundle, ResultContent, RoundResult, entry_is_under_root, result_vector_digest,
    slice_rows,
};

/// Generators `0..count` of a family.
pub(crate) fn generators(family: Family, count: u32) -> Vec<RistrettoPoint> {
    (0..count)
        .into_par_iter()
        .map(|i| family.generator(i.into()).point)
        .collect()
}

/// The scalar of an integer, centred.
pub(crate) fn centred(value: i64) -> Scalar {
    let magnitude = Scalar::from(value.unsigned_abs());
    if value < 0 { -magnitude } else { magnitude }
}

/// Checks a published result as a client that holds nothing but its own header (`specs/protocol.md`, "Light check"):
/// certificate and t Finals for a root that holds the own header, row sums that 2t - m distinct members signed, R against
/// the certified sum of F_0, and that x_U and R open the row sums. The weights of the last step are drawn from `rng` here,
/// after the whole result is there: a server that knew them before could solve for a false sum (A4).
///
/// # Errors
/// The first check that fails.
pub fn light_check(
    ctx: &RoundContext,
    own: &Header,
    result: &RoundResult,
    bundle: &LightBundle,
    rng: &mut impl CryptoRngCore,
) -> Result<(), Refusal> {
    let content = &result.signed.content;
    result
        .signed
        .verify(ctx.server_key())
        .map_err(|_| Check::ResultSignature)?;
    let layout = ctx.layout();
    if content.params_digest != *ctx.digest()
        || result.vector.len() != layout.dim as usize
        || content.vector_digest != result_vector_digest(&result.vector)
        || !strictly_increasing(&content.convicted)
    {
        return Err(Check::ResultContent.into());
    }
    let (root, count) = (content.root, bundle.count);
    if !(ctx.params().n_min..=ctx.params().n_max).contains(&count) {
        return Err(Check::ProposalCount.into());
    }
    check_certificate(ctx, &root, count, &bundle.certificate)?;
    let sum_f0 = bundle
        .finals
        .first()
        .ok_or(Check::LightFinals)?
        .content
        .sum_f0;
    let terms = FinalTerms {
        root,
        count,
        convicted: content.convicted.clone(),
        sum_f0,
    };
    check_finals(ctx, &terms, &bundle.finals)?;

    check_header(ctx, own)?;
    let client = own.content.client;
    if !entry_is_under_root(
        &root,
        count,
        bundle.position,
        client,
        &own.content.digest(),
        &bundle.path,
    ) {
        return Err(Check::LightEntry.into());
    }
    if content.convicted.contains(&client) {
        return Err(Check::LightConvictedSelf.into());
    }

    let rows = certified_rows(ctx, content, bundle)?;
    if RISTRETTO_BASEPOINT_TABLE * &content.r_sum != *sum_f0.point() {
        return Err(Check::LightSecret.into());
    }
    let summed = u64::from(count).saturating_sub(content.convicted.len() as u64);
    let largest = summed.saturating_mul(layout.norm_bound.into());
    if result.vector.iter().any(|x| x.unsigned_abs() > largest) {
        return Err(Check::LightBounds.into());
    }
    if rows_open(ctx, &rows, &content.r_sum, &result.vector, rng) {
        Ok(())
    } else {
        Err(Check::LightSum.into())
    }
}

/// The summed X-rows K*_a, each in a slice whose values at least 2t - m distinct members signed for this root and Conv:
/// fewer than that many are corrupted, so one of them is honest (A15).
fn certified_rows(
    ctx: &RoundContext,
    result: &ResultContent,
    bundle: &LightBundle,
) -> Result<Vec<RistrettoPoint>, Refusal> {
    let mut signers: BTreeMap<u16, BTreeSet<MemberIndex>> = BTreeMap::new();
    for list in &bundle.row_lists {
        let (client, key) = ctx.member(list.member).ok_or(Check::RowsSignature)?;
        let signed = bundle.signed_list(result, list).ok_or(Refusal {
            check: Check::RowsContent,
            culprit: Some(client),
        })?;
        signed.verify(key).map_err(|_| Check::RowsSignature)?;
        for slice in &list.slices {
            signers.entry(*slice).or_default().insert(list.member);
        }
    }
    let needed = usize::try_from(ctx.params().row_signers())
        .unwrap_or(usize::MAX)
        .max(1);
    let m = ctx.members();
    let mut values = bundle.rows.iter();
    let mut rows = Vec::with_capacity(ctx.layout().x_rows as usize);
    for slice in 0..m {
        let wanted = slice_rows(ctx.layout(), m.into(), slice.into()).len();
        if wanted == 0 {
            continue;
        }
        let got = values
            .next()
            .filter(|v| v.slice == slice && v.values.len() == wanted)
            .ok_or(Check::LightRows)?;
        if signers.get(&slice).map_or(0, BTreeSet::len) < needed {
            return Err(Check::LightRows.into());
        }
        for value in &got.values {
            rows.push(
                CompressedRistretto(*value)
                    .decompress()
                    .ok_or(Check::LightRows)?,
            );
        }
    }
    if values.next().is_some() {
        return Err(Check::LightRows.into());
    }
    Ok(rows)
}

/// Whether summed X-rows open to a vector under R: sum chi_a K*_a = <sum chi_a x_U[a, .], G> + R sum chi_a V_a, with entries
/// beyond d taken as zero. The weights chi come from `rng`, which nobody may know who chose the vector (A4).
pub fn rows_open(
    ctx: &RoundContext,
    rows: &[RistrettoPoint],
    r_sum: &Scalar,
    vector: &[i64],
    rng: &mut impl CryptoRngCore,
) -> bool {
    let layout = ctx.layout();
    let columns = layout.columns as usize;
    let weights: Vec<Scalar> = rows
        .iter()
        .map(|_| {
            let mut half = [0u8; 16];
            rng.fill_bytes(&mut half);
            Scalar::from(u128::from_le_bytes(half))
        })
        .collect();
    // One element of the list for each column, so that columns beyond d in a single short row are zero.
    let mut folded = vec![Scalar::ZERO; columns];
    for (weight, row) in weights.iter().zip(vector.chunks(columns)) {
        for (sum, x) in folded.iter_mut().zip(row) {
            *sum += weight * centred(*x);
        }
    }
    let blinding: Vec<Scalar> = weights.iter().map(|w| w * r_sum).collect();
    let expected = RistrettoPoint::vartime_multiscalar_mul(
        folded.iter().chain(&blinding),
        generators(Family::Column, layout.columns)
            .iter()
            .chain(&generators(Family::Row, layout.x_rows)),
    );
    rows.len() == layout.x_rows as usize
        && RistrettoPoint::vartime_multiscalar_mul(&weights, rows) == expected
}
