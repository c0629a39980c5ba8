//! Multiscalar multiplication in variable time: eight windows side by side.
//!
//! Instead of buckets in memory, the terms of each window are sorted by falling digit and added to ONE running sum,
//! which stays in registers. The running sum after the last term with a digit of at least b is what bucket b
//! contributes: the window sum is the sum of these over all b. That also saves the second half of the usual reduction.

use core::arch::x86_64::*;

use super::field::{F8, Mem5};
use super::point::{MemP8, N8, P8};
use super::{Token, enter};
use crate::edwards::{AffineNiels, Point};
use crate::field51::Fe;
use crate::msm::{MsmWork, Windows, join_windows};

/// Affine forms of public points; free of inversions when all have Z = 1.
pub(crate) fn to_niels(token: Token, points: &[Point]) -> Vec<AffineNiels> {
    enter!(token, to_niels_inner(points))
}

#[target_feature(enable = "avx512ifma")]
fn to_niels_inner(points: &[Point]) -> Vec<AffineNiels> {
    let affine = points.iter().all(|p| p.z.0 == Fe::ONE.0);
    let mut z: Vec<Mem5> = Vec::new();
    if !affine {
        z.reserve(points.len().div_ceil(8));
        for chunk in points.chunks(8) {
            let one = Point::IDENTITY;
            let mut mem = [[0; 8]; 5];
            F8::gather(core::array::from_fn(|i| &chunk.get(i).unwrap_or(&one).z)).store(&mut mem);
            z.push(mem);
        }
        F8::invert_batch(&mut z);
    }
    let one = super::field::splat_fe(&Fe::ONE);
    let mut out = Vec::with_capacity(points.len().next_multiple_of(8) + 1);
    for (i, chunk) in points.chunks(8).enumerate() {
        let z_inv = z.get(i).map_or(one, |m| F8::load(m));
        let n = P8::gather_slice(chunk).affine_with_zinv(z_inv);
        let parts = [n.ymx.scatter(), n.ypx.scatter(), n.t2d.scatter()];
        for lane in 0..chunk.len() {
            let mut a = AffineNiels([0; 16]);
            for (part, words) in parts.iter().zip(a.0.chunks_mut(5)) {
                words.copy_from_slice(&part[lane].0);
            }
            out.push(a);
        }
    }
    out
}

/// The additions of all windows: the same for every list of points with the same scalars.
pub(crate) struct Plans {
    groups: Vec<Plan>,
    windows: usize,
    width: u32,
}

impl Plans {
    pub(crate) fn new(windows: &Windows) -> Self {
        let plan = |group: &[Vec<i16>]| Plan::new(group, windows.width);
        Self {
            groups: windows.digits.chunks(8).map(plan).collect(),
            windows: windows.digits.len(),
            width: windows.width,
        }
    }
}

pub(crate) fn msm(
    token: Token,
    points: &[AffineNiels],
    plans: &Plans,
    work: &mut MsmWork,
) -> Point {
    // Index 0 is the identity: what a lane adds once its terms are used up.
    let mut padded = Vec::with_capacity(points.len() + 1);
    padded.push(AffineNiels::IDENTITY);
    padded.extend_from_slice(points);
    let mut sums = Vec::with_capacity(8 * plans.groups.len());
    for plan in &plans.groups {
        let lanes = plans.windows.saturating_sub(sums.len()).min(8);
        work.additions += plan.terms + (plan.at.len() * lanes) as u64;
        sums.extend_from_slice(&enter!(token, group_sums(&padded, plan)));
    }
    sums.truncate(plans.windows);
    join_windows(&sums, plans.width, work)
}

/// Adds points to sums of the same places, as many as both have.
pub(crate) fn add_each(token: Token, sums: &mut [Point], points: &[Point]) {
    enter!(token, add_each_inner(sums, points));
}

#[target_feature(enable = "avx512ifma")]
fn add_each_inner(sums: &mut [Point], points: &[Point]) {
    for (sums, points) in sums.chunks_mut(8).zip(points.chunks(8)) {
        let added = P8::gather_slice(sums).add(&P8::gather_slice(points));
        let added = added.scatter();
        for ((sum, _), added) in sums.iter_mut().zip(points).zip(added) {
            *sum = added;
        }
    }
}

/// The additions of eight windows.
struct Plan {
    /// Per step and lane: index of the point, shifted left by one, and the sign in bit 0.
    steps: Vec<[u32; 8]>,
    /// Per step: lanes whose digit changes after it.
    ends: Vec<u8>,
    /// Per magnitude from the largest to 1 and lane: how many changes come before the sum that it contributes.
    at: Vec<[u32; 8]>,
    /// Most changes in a lane.
    slots: usize,
    /// Terms of all lanes.
    terms: u64,
}

impl Plan {
    fn new(windows: &[Vec<i16>], width: u32) -> Self {
        let top = 1usize << (width - 1);
        let mut at = vec![[0u32; 8]; top];
        let mut counts = vec![[0u32; 8]; top + 1];
        for (lane, digits) in windows.iter().enumerate() {
            for d in digits {
                counts[usize::from(d.unsigned_abs())][lane] += 1;
            }
        }
        let mut next = vec![[0u32; 8]; top + 1];
        let mut length = 0;
        let mut slots = 0;
        let mut terms = 0;
        let mut lane_ends: [Vec<u32>; 8] = Default::default();
        for lane in 0..windows.len() {
            let mut position = 0;
            for b in (1..=top).rev() {
                next[b][lane] = position;
                if counts[b][lane] > 0 {
                    position += counts[b][lane];
                    lane_ends[lane].push(position - 1);
                }
                at[top - b][lane] = lane_ends[lane].len() as u32;
            }
            terms += u64::from(position);
            length = length.max(position as usize);
            slots = slots.max(lane_ends[lane].len());
        }
        let mut steps = vec![[0u32; 8]; length];
        let mut ends = vec![0u8; length];
        for (lane, digits) in windows.iter().enumerate() {
            for (i, d) in (1u32..).zip(digits) {
                if *d != 0 {
                    let slot = &mut next[usize::from(d.unsigned_abs())][lane];
                    steps[*slot as usize][lane] = i << 1 | u32::from(*d < 0);
                    *slot += 1;
                }
            }
            for e in &lane_ends[lane] {
                ends[*e as usize] |= 1 << lane;
            }
        }
        Self {
            steps,
            ends,
            at,
            slots,
            terms,
        }
    }
}

/// A point of one lane, as in [`P8`].
type Lane = [u64; 20];

#[target_feature(enable = "avx512ifma")]
fn group_sums(points: &[AffineNiels], plan: &Plan) -> [Point; 8] {
    let mut identity: Lane = [0; 20];
    identity[0] = 1;
    identity[5] = 1;
    identity[10] = 1;
    // Slot 0 of a lane is the sum before any term.
    let stride = plan.slots + 1;
    let mut kept: Vec<Lane> = vec![identity; 8 * stride];
    let mut used = [0usize; 8];
    let mut sum = P8::identity();
    let mut staging = MemP8::ZERO;
    for (i, (step, end)) in plan.steps.iter().zip(&plan.ends).enumerate() {
        if let Some(ahead) = plan.steps.get(i + 8) {
            for s in ahead {
                prefetch(&points[(*s >> 1) as usize]);
            }
        }
        let mut negative = 0u8;
        for (lane, s) in step.iter().enumerate() {
            negative |= ((*s & 1) as u8) << lane;
        }
        let term = N8::gather(step.map(|s| &points[(s >> 1) as usize])).neg_if(negative);
        sum = sum.add_affine(&term);
        if *end != 0 {
            staging.store(&sum);
            let mut left = *end;
            while left != 0 {
                let lane = left.trailing_zeros() as usize;
                left &= left - 1;
                used[lane] += 1;
                let slot = &mut kept[lane * stride + used[lane]];
                for (limb, word) in slot.iter_mut().enumerate() {
                    *word = staging.0[limb / 5][limb % 5][lane];
                }
            }
        }
    }
    let mut total = P8::identity();
    let mut parts = MemP8::ZERO;
    for at in &plan.at {
        for (lane, at) in at.iter().enumerate() {
            let slot = &kept[lane * stride + *at as usize];
            for (limb, word) in slot.iter().enumerate() {
                parts.0[limb / 5][limb % 5][lane] = *word;
            }
        }
        total = total.add(&parts.load());
    }
    total.scatter()
}

/// Fetches both cache lines of a point that is needed some steps from now.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn prefetch(point: &AffineNiels) {
    let at = core::ptr::from_ref(point).cast::<i8>();
    _mm_prefetch::<_MM_HINT_T0>(at);
    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(64));
}
