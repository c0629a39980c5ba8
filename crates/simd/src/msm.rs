//! Multiscalar multiplication in variable time, on public data: bucket method with signed digits (Pippenger; Bernstein,
//! Doumen, Lange, Oosterwijk, Indocrypt 2012), and interleaved non-adjacent forms for few terms.

use crate::SimdError;
use crate::backend::{Engine, Kind};
use crate::edwards::Point;
use crate::edwards64::{WordNiels, WordPoint};
use crate::scalar::{SCALAR_BITS, bits_at, is_canonical, words};

/// One list of scalars and points of a multiscalar multiplication. Public data only.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum MsmGroup<'a> {
    /// Scalars of 32 bytes, canonical little-endian.
    Full {
        /// Scalars, as many as points.
        scalars: &'a [[u8; 32]],
        /// Points.
        points: &'a [Point],
    },
    /// Scalars below 2^128, such as random weights of a batch verification.
    Short {
        /// Scalars, as many as points.
        scalars: &'a [u128],
        /// Points.
        points: &'a [Point],
    },
}

impl<'a> MsmGroup<'a> {
    fn lengths(&self) -> (usize, usize) {
        match self {
            Self::Full { scalars, points } => (scalars.len(), points.len()),
            Self::Short { scalars, points } => (scalars.len(), points.len()),
        }
    }

    fn points(&self) -> &'a [Point] {
        match self {
            Self::Full { points, .. } | Self::Short { points, .. } => points,
        }
    }

    /// Cost of a term against the others.
    fn weight(&self) -> usize {
        match self {
            Self::Full { .. } => 2,
            Self::Short { .. } => 1,
        }
    }

    fn split_at(&self, at: usize) -> (Self, Self) {
        match self {
            Self::Full { scalars, points } => {
                let (s0, s1) = scalars.split_at(at);
                let (p0, p1) = points.split_at(at);
                (
                    Self::Full {
                        scalars: s0,
                        points: p0,
                    },
                    Self::Full {
                        scalars: s1,
                        points: p1,
                    },
                )
            }
            Self::Short { scalars, points } => {
                let (s0, s1) = scalars.split_at(at);
                let (p0, p1) = points.split_at(at);
                (
                    Self::Short {
                        scalars: s0,
                        points: p0,
                    },
                    Self::Short {
                        scalars: s1,
                        points: p1,
                    },
                )
            }
        }
    }
}

/// Cuts groups into at most `parts` lists of about the same cost, for [`Engine::msm_groups_vartime`] on several threads;
/// the sum of the results ([`Point::sum`]) is the whole. Fewer, larger parts are cheaper in total.
///
/// # Errors
/// [`SimdError::LengthMismatch`] when scalars and points of a group do not pair up.
pub fn split_msm<'a>(
    groups: &[MsmGroup<'a>],
    parts: usize,
) -> Result<Vec<Vec<MsmGroup<'a>>>, SimdError> {
    check_lengths(groups)?;
    let total: usize = groups.iter().map(|g| g.lengths().0 * g.weight()).sum();
    let quota = total.div_ceil(parts.max(1)).max(1);
    let mut out = Vec::new();
    let mut part = Vec::new();
    let mut room = quota;
    for group in groups {
        let mut rest = *group;
        while rest.lengths().0 > 0 {
            let take = room.div_ceil(rest.weight()).min(rest.lengths().0);
            let (head, tail) = rest.split_at(take);
            part.push(head);
            room = room.saturating_sub(take * rest.weight());
            rest = tail;
            if room == 0 {
                out.push(core::mem::take(&mut part));
                room = quota;
            }
        }
    }
    if !part.is_empty() {
        out.push(part);
    }
    Ok(out)
}

/// Group operations that a multiscalar multiplication made. Additions of the neutral element that only fill a vector are
/// not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsmWork {
    /// Additions and subtractions of two points.
    pub additions: u64,
    /// Doublings.
    pub doublings: u64,
}

/// More points than this are refused: their digits alone would take gigabytes.
const MAX_POINTS: usize = 1 << 26;

/// Fewer terms than this are cheaper one after the other than in eight lanes.
#[cfg(target_arch = "x86_64")]
const FEW_TERMS: usize = 14;

fn short_words(scalar: u128) -> [u64; 4] {
    [scalar as u64, (scalar >> 64) as u64, 0, 0]
}

fn check_lengths(groups: &[MsmGroup<'_>]) -> Result<(), SimdError> {
    for (group, g) in groups.iter().enumerate() {
        let (left, right) = g.lengths();
        if left != right {
            return Err(SimdError::LengthMismatch { group, left, right });
        }
    }
    Ok(())
}

/// Terms in one list, full-width ones first.
pub(crate) struct Terms<P> {
    pub(crate) points: Vec<P>,
    scalars: Vec<[u64; 4]>,
    /// Number of terms with full-width scalars.
    full: usize,
}

/// Signed digits by window, lowest first; window k holds the digits of the first `live[k]` terms.
pub(crate) struct Windows {
    pub(crate) width: u32,
    pub(crate) digits: Vec<Vec<i16>>,
}

pub(crate) fn run(engine: Engine, groups: &[MsmGroup<'_>]) -> Result<(Point, MsmWork), SimdError> {
    check_lengths(groups)?;
    let count: usize = groups.iter().map(|g| g.lengths().0).sum();
    if count > MAX_POINTS {
        return Err(SimdError::TooManyPoints {
            count,
            max: MAX_POINTS,
        });
    }
    let mut scalars = Vec::with_capacity(count);
    let mut points = Vec::with_capacity(count);
    for (group, g) in groups.iter().enumerate() {
        if let MsmGroup::Full { scalars: s, .. } = g {
            for (index, s) in s.iter().enumerate() {
                if !bool::from(is_canonical(s)) {
                    return Err(SimdError::ScalarNotCanonical { group, index });
                }
                scalars.push(words(s));
            }
            points.extend_from_slice(g.points());
        }
    }
    let full = scalars.len();
    for g in groups {
        if let MsmGroup::Short { scalars: s, .. } = g {
            scalars.extend(s.iter().copied().map(short_words));
            points.extend_from_slice(g.points());
        }
    }
    if count == 0 {
        return Ok((Point::IDENTITY, MsmWork::default()));
    }
    let mut work = MsmWork::default();
    let sum = match engine.kind {
        Kind::Portable => {
            if count < 160 {
                straus(&scalars, &points, &mut work)
            } else {
                let terms = Terms {
                    points: WordNiels::batch(&points),
                    scalars,
                    full,
                };
                pippenger(&terms, &terms.windows(1), &mut work)
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Ifma(token) => {
            if count < FEW_TERMS {
                straus(&scalars, &points, &mut work)
            } else {
                let terms = Terms {
                    points: crate::ifma::to_niels(token, &points),
                    scalars,
                    full,
                };
                let plans = crate::ifma::Plans::new(&terms.windows(8));
                crate::ifma::msm(token, &terms.points, &plans, &mut work)
            }
        }
    };
    Ok((sum, work))
}

/// The sums of several lists of points under the same half-width scalars: what depends on the scalars alone is made once.
pub(crate) fn run_same_scalars(
    engine: Engine,
    scalars: &[u128],
    lists: &[&[Point]],
) -> Result<Vec<(Point, MsmWork)>, SimdError> {
    let single = |points: &&[Point]| run(engine, &[MsmGroup::Short { scalars, points }]);
    #[cfg(target_arch = "x86_64")]
    if let Kind::Ifma(token) = engine.kind
        && (FEW_TERMS..=MAX_POINTS).contains(&scalars.len())
    {
        for points in lists {
            check_lengths(&[MsmGroup::Short { scalars, points }])?;
        }
        let terms = Terms {
            points: vec![(); scalars.len()],
            scalars: scalars.iter().copied().map(short_words).collect(),
            full: 0,
        };
        let plans = crate::ifma::Plans::new(&terms.windows(8));
        let sum = |points: &&[Point]| {
            let mut work = MsmWork::default();
            let points = crate::ifma::to_niels(token, points);
            let sum = crate::ifma::msm(token, &points, &plans, &mut work);
            (sum, work)
        };
        return Ok(lists.iter().map(sum).collect());
    }
    lists.iter().map(single).collect()
}

/// Adds points to sums of the same places.
pub(crate) fn add_each(
    engine: Engine,
    sums: &mut [Point],
    points: &[Point],
) -> Result<(), SimdError> {
    if sums.len() != points.len() {
        return Err(SimdError::LengthMismatch {
            group: 0,
            left: sums.len(),
            right: points.len(),
        });
    }
    match engine.kind {
        Kind::Portable => {
            for (sum, point) in sums.iter_mut().zip(points) {
                *sum += *point;
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Ifma(token) => crate::ifma::add_each(token, sums, points),
    }
    Ok(())
}

impl<P> Terms<P> {
    fn window_counts(&self, width: u32) -> (usize, usize) {
        let full = if self.full > 0 { SCALAR_BITS + 1 } else { 0 };
        let short: u32 = if self.full < self.points.len() {
            129
        } else {
            0
        };
        (
            full.div_ceil(width) as usize,
            short.div_ceil(width) as usize,
        )
    }

    /// Digits for the width that costs least when `lanes` windows are worked on together.
    fn windows(&self, lanes: usize) -> Windows {
        let all = self.points.len();
        let cost = |width: u32| {
            let (full, short) = self.window_counts(width);
            let count = full.max(short);
            (0..count)
                .step_by(lanes)
                .map(|k| {
                    let live = if k < short { all } else { self.full };
                    // A bucket costs two additions, of which the lanes save one (see there).
                    let buckets = if lanes > 1 { 12 } else { 24 };
                    live * 10 + (buckets << (width - 1))
                })
                .sum::<usize>()
        };
        let width = (2..=14).min_by_key(|w| cost(*w)).unwrap_or(8);
        let (full, short) = self.window_counts(width);
        let mut digits: Vec<Vec<i16>> = (0..full.max(short))
            .map(|k| vec![0; if k < short { all } else { self.full }])
            .collect();
        for (i, s) in self.scalars.iter().enumerate() {
            let count = if i < self.full { full } else { short };
            let mut carry = 0i32;
            for (k, window) in digits[..count].iter_mut().enumerate() {
                let raw = bits_at(s, k * width as usize, width) as i32 + carry;
                carry = (raw + (1 << (width - 1)) - 1) >> width;
                if k + 1 == count {
                    carry = 0;
                }
                window[i] = (raw - (carry << width)) as i16;
            }
        }
        Windows { width, digits }
    }
}

/// Joins window sums, lowest first.
pub(crate) fn join_windows(sums: &[Point], width: u32, work: &mut MsmWork) -> Point {
    work.additions += sums.len() as u64;
    work.doublings += u64::from(width) * sums.len() as u64;
    sums.iter()
        .rev()
        .fold(Point::IDENTITY, |acc, s| acc.double_times(width) + *s)
}

fn pippenger(terms: &Terms<WordNiels>, windows: &Windows, work: &mut MsmWork) -> Point {
    let mut buckets = vec![WordPoint::IDENTITY; 1 << (windows.width - 1)];
    let sums: Vec<Point> = windows
        .digits
        .iter()
        .map(|digits| {
            buckets.fill(WordPoint::IDENTITY);
            work.additions += 2 * buckets.len() as u64;
            for (d, p) in digits.iter().zip(&terms.points) {
                work.additions += u64::from(*d != 0);
                if *d > 0 {
                    let b = &mut buckets[usize::from(d.unsigned_abs()) - 1];
                    *b = b.add_affine(p);
                } else if *d < 0 {
                    let b = &mut buckets[usize::from(d.unsigned_abs()) - 1];
                    *b = b.sub_affine(p);
                }
            }
            let (mut running, mut sum) = (Point::IDENTITY, Point::IDENTITY);
            for b in buckets.iter().rev() {
                running += Point::from(b);
                sum += running;
            }
            sum
        })
        .collect();
    join_windows(&sums, windows.width, work)
}

/// Non-adjacent form of width 5: odd digits below 16, lowest first.
fn naf(mut s: [u64; 4]) -> [i8; 257] {
    let mut out = [0i8; 257];
    for digit in &mut out {
        if s[0] & 1 == 1 {
            let low = (s[0] & 31) as i8;
            let d = if low >= 16 { low - 32 } else { low };
            *digit = d;
            // s - d has five zero bits at the bottom; s < 2^253, so adding at most 15 cannot run over.
            let (mut carry, mut i) = (i128::from(-d), 0);
            while i < 4 {
                let v = i128::from(s[i]) + carry;
                s[i] = v as u64;
                carry = v >> 64;
                i += 1;
            }
        }
        for i in 0..4 {
            let above = if i < 3 { s[i + 1] << 63 } else { 0 };
            s[i] = (s[i] >> 1) | above;
        }
    }
    out
}

fn straus(scalars: &[[u64; 4]], points: &[Point], work: &mut MsmWork) -> Point {
    let nafs: Vec<[i8; 257]> = scalars.iter().map(|s| naf(*s)).collect();
    // Odd multiples 1, 3, .., 15.
    let tables: Vec<[_; 8]> = points
        .iter()
        .map(|p| {
            let twice = p.double().cached();
            let mut q = *p;
            core::array::from_fn(|_| {
                let c = (q.cached(), (-q).cached());
                q = q.add_cached(&twice);
                c
            })
        })
        .collect();
    work.additions += 8 * points.len() as u64;
    work.doublings += points.len() as u64;
    let mut acc = Point::IDENTITY;
    let top = (0..257)
        .rev()
        .find(|i| nafs.iter().any(|n| n[*i] != 0))
        .map_or(0, |i| i + 1);
    for i in (0..top).rev() {
        acc = acc.double();
        work.doublings += 1;
        for (n, t) in nafs.iter().zip(&tables) {
            let d = n[i];
            work.additions += u64::from(d != 0);
            if d > 0 {
                acc = acc.add_cached(&t[usize::from(d.unsigned_abs()) / 2].0);
            } else if d < 0 {
                acc = acc.add_cached(&t[usize::from(d.unsigned_abs()) / 2].1);
            }
        }
    }
    acc
}
