//! Bounded discrete logarithms of sums, outward from zero (`specs/protocol.md`, "Opening").

use crate::CryptoError;
use rayon::prelude::*;
use std::ops::RangeInclusive;
use veilsum_simd::{Engine, FixedBaseTable, Point};

/// Entries of the first table for each point; a wider search makes a larger one.
const FIRST_ENTRIES_PER_POINT: u64 = 8;
/// Bounds of the first table, and the largest one (16 to 24 bytes an entry).
const FIRST_ENTRIES: (u64, u64) = (1 << 8, 1 << 16);
const ENTRIES_MAX: u64 = 1 << 22;
/// A table is worth four times its entries in look-ups; then one of four times the size is.
const WORTH: u64 = 4;
/// Points that one task makes and encodes together.
const TASK: usize = 512;
/// Look-ups between two looks at what is left.
const AT_ONCE: usize = 1 << 15;

/// What stands in one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// k B; the second logarithm is zero.
    Single,
    /// (low + 2^`beta_log2` high) B, with 2^`beta_log2` more than twice the radius.
    Pair {
        /// log2 of the packing base, at most 63.
        beta_log2: u32,
    },
}

/// The integers in each point, low and high, when the Euclidean norm of all of them together is at most `radius`. Variable
/// time: for sums that are published anyway. The same on any number of threads and any backend.
///
/// The search goes outward from zero for all points alike and makes larger tables as it gets wider. What is not found within
/// distance rho is farther away, so at most (radius / rho)^2 points can be left; whatever the points are, the look-ups in the
/// last table are no more than 4 radius^2 / entries for pairs and 2 sqrt(points) radius / entries for single integers. A
/// sum of vectors of norm at most B has norm at most their number times B.
///
/// # Errors
/// [`CryptoError::DiscreteLog`] when there are no such integers: the first point that was not found, or the one farthest
/// out.
pub fn solve(
    engine: Engine,
    points: &[Point],
    packing: Packing,
    radius: u64,
) -> Result<Vec<[i64; 2]>, CryptoError> {
    Search::new(engine, points, packing, radius)?.run()
}

struct Search<'a> {
    engine: Engine,
    points: &'a [Point],
    plane: Plane,
    radius: u64,
    /// Multiples of B.
    base: FixedBaseTable,
    found: Vec<Option<[i64; 2]>>,
    /// Positions without an answer, ascending.
    left: Vec<usize>,
    /// Sum of the squares found.
    energy: u128,
}

/// One axis or two.
#[derive(Clone, Copy)]
struct Plane {
    /// 0 for a single axis.
    beta_log2: u32,
    /// Bits of the largest value that is multiplied.
    bits: u32,
}

impl Plane {
    fn flat(self) -> bool {
        self.beta_log2 == 0
    }
    fn value(self, [low, high]: [i64; 2]) -> i128 {
        i128::from(low) + (i128::from(high) << self.beta_log2)
    }
    /// The representation with the smallest low.
    fn reduced(self, [low, high]: [i64; 2]) -> [i64; 2] {
        if self.flat() {
            return [low, 0];
        }
        let half = 1i64 << (self.beta_log2 - 1);
        let carry = low.saturating_add(half) >> self.beta_log2;
        [low - (carry << self.beta_log2), high.saturating_add(carry)]
    }
    /// Half the side of a table of at most `entries`.
    fn half(self, entries: u64, radius: u64) -> i64 {
        let side = if self.flat() {
            entries
        } else {
            entries.isqrt()
        };
        signed((side.saturating_sub(1) / 2).max(1).min(radius.max(1)))
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn squares([low, high]: [i64; 2]) -> u128 {
    u128::from(low.unsigned_abs()).pow(2) + u128::from(high.unsigned_abs()).pow(2)
}

/// Eight bytes of an encoding.
fn key(encoding: &[u8; 32]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| encoding[i + 8]))
}

/// The points of one square (or interval) around zero, by the encodings of their doubles.
struct Table {
    half: i64,
    /// Side of the square.
    side: i64,
    entries: u64,
    /// Open addressing by the low bits of the key: its high 40 bits, and the index.
    slots: Vec<u64>,
}

const INDEX_BITS: u32 = 24;
const EMPTY: u64 = u64::MAX;

impl Table {
    fn new(half: i64, plane: Plane, keys: &[u64]) -> Self {
        let capacity = (2 * keys.len()).next_power_of_two().max(2);
        let mut slots = vec![EMPTY; capacity];
        for (key, index) in keys.iter().zip(0u64..) {
            let mut at = *key as usize & (capacity - 1);
            while slots[at] != EMPTY {
                at = (at + 1) & (capacity - 1);
            }
            slots[at] = key >> INDEX_BITS << INDEX_BITS | index;
        }
        Self {
            half,
            side: 2 * half + 1,
            entries: keys.len() as u64,
            slots,
        }
        .checked(plane)
    }

    fn checked(self, plane: Plane) -> Self {
        debug_assert_eq!(self.entries, Self::count(self.half, plane));
        self
    }

    fn count(half: i64, plane: Plane) -> u64 {
        let side = 2 * half.unsigned_abs() + 1;
        if plane.flat() { side } else { side * side }
    }

    /// What stands at an index, row by row.
    fn pair(half: i64, plane: Plane, index: u64) -> [i64; 2] {
        let side = 2 * half.unsigned_abs() + 1;
        let (row, column) = (signed(index / side), signed(index % side));
        [column - half, if plane.flat() { 0 } else { row - half }]
    }

    /// Indices whose keys agree as far as they are kept: nearly always none or the right one.
    fn candidates(&self, key: u64) -> impl Iterator<Item = u64> {
        let mask = self.slots.len() - 1;
        let start = key as usize & mask;
        (0..self.slots.len())
            .map(move |i| self.slots[(start + i) & mask])
            .take_while(|slot| *slot != EMPTY)
            .filter(move |slot| slot >> INDEX_BITS == key >> INDEX_BITS)
            .map(|slot| slot & ((1 << INDEX_BITS) - 1))
    }
}

/// Multiples of one step: i step for i = first, first + 1, ..
struct Multiples {
    step: Point,
    first: usize,
    points: Vec<Point>,
}

impl Multiples {
    fn new(step: Point) -> Self {
        Self {
            step,
            first: 0,
            points: vec![Point::IDENTITY],
        }
    }
    fn extend(&mut self, last: usize) {
        while let (true, Some(point)) = (self.first + self.points.len() <= last, self.points.last())
        {
            self.points.push(*point + self.step);
        }
    }
    /// Drops what lies before `first`; the last one stays.
    fn forget(&mut self, first: usize) {
        let gone = first.saturating_sub(self.first);
        let gone = gone.min(self.points.len().saturating_sub(1));
        self.points.drain(..gone);
        self.first += gone;
    }
    /// What takes i steps away.
    fn away(&self, i: i64) -> Point {
        let at = (i.unsigned_abs() as usize).checked_sub(self.first);
        let point = at.and_then(|at| self.points.get(at)).copied();
        let point = point.unwrap_or_default();
        if i > 0 { -point } else { point }
    }
}

/// Multiples of the table's side, to shift points by whole squares.
struct Shifts {
    /// i side B.
    low: Multiples,
    /// i side beta B; on a single axis nothing but zero is asked for.
    high: Multiples,
}

impl Shifts {
    /// For rings `first` to `last`, and none before them ever again.
    fn extend(&mut self, plane: Plane, first: i64, last: i64) {
        let (first, last) = (first.unsigned_abs() as usize, last.unsigned_abs() as usize);
        self.low.extend(last);
        if plane.flat() {
            // An axis may have millions of rings, and each has two cells only.
            self.low.forget(first);
        } else {
            self.high.extend(last);
        }
    }
    /// What moves square `cell` to the origin.
    fn offset(&self, [low, high]: [i64; 2]) -> Point {
        self.low.away(low) + self.high.away(high)
    }
}

/// The squares whose larger coordinate is `ring`.
fn ring_cells(ring: i64, plane: Plane) -> Vec<[i64; 2]> {
    if ring == 0 {
        return vec![[0, 0]];
    }
    if plane.flat() {
        return vec![[ring, 0], [-ring, 0]];
    }
    let rows = (-ring..=ring).flat_map(|i| [[i, ring], [i, -ring]]);
    let columns = (1 - ring..ring).flat_map(|j| [[ring, j], [-ring, j]]);
    rows.chain(columns).collect()
}

impl<'a> Search<'a> {
    fn new(
        engine: Engine,
        points: &'a [Point],
        packing: Packing,
        radius: u64,
    ) -> Result<Self, CryptoError> {
        let beta_log2 = match packing {
            Packing::Single => 0,
            Packing::Pair { beta_log2 } => beta_log2,
        };
        // Squares at the rim reach beyond the radius by less than a table's side.
        let reach = u128::from(radius) + 2 * u128::from(ENTRIES_MAX);
        let bits = beta_log2 + (u128::BITS - reach.leading_zeros()) + 1;
        let too_wide = beta_log2 > 63 || (beta_log2 > 0 && radius >= 1 << (beta_log2 - 1));
        let base = FixedBaseTable::new(engine, &Point::BASE, bits);
        match base {
            Ok(base) if !too_wide && bits <= 120 && radius < 1 << 62 => Ok(Self {
                engine,
                points,
                plane: Plane { beta_log2, bits },
                radius,
                base,
                found: vec![None; points.len()],
                left: (0..points.len()).collect(),
                energy: 0,
            }),
            _ => Err(CryptoError::Packing { beta_log2, radius }),
        }
    }

    fn run(mut self) -> Result<Vec<[i64; 2]>, CryptoError> {
        let wanted = FIRST_ENTRIES_PER_POINT.saturating_mul(self.points.len() as u64);
        let mut entries = wanted.clamp(FIRST_ENTRIES.0, FIRST_ENTRIES.1);
        // Everything with both coordinates up to this was looked at; -1 for nothing.
        let mut covered = -1i64;
        while !self.left.is_empty() {
            let table = self.table(self.plane.half(entries, self.radius))?;
            let step = |pair| Ok::<_, CryptoError>(Multiples::new(self.times(pair)?));
            let mut shifts = Shifts {
                low: step([table.side, 0])?,
                high: step([0, if self.plane.flat() { 0 } else { table.side }])?,
            };
            // The first ring that reaches beyond what is covered.
            let mut ring = match covered.checked_sub(table.half) {
                Some(beyond) if beyond >= 0 => beyond / table.side + 1,
                _ => 0,
            };
            let mut looked = 0u64;
            let grows = entries < ENTRIES_MAX && table.half.unsigned_abs() < self.radius;
            while !(self.left.is_empty() || grows && looked > WORTH * table.entries) {
                self.within_radius(covered)?;
                let last = ring + self.rings_at_once() - 1;
                shifts.extend(self.plane, ring, last);
                looked += self.look(&table, &shifts, ring..=last)?;
                covered = last * table.side + table.half;
                ring = last + 1;
            }
            entries = (WORTH * entries).min(ENTRIES_MAX);
        }
        if self.energy > u128::from(self.radius).pow(2) {
            let farthest = self.found.iter().enumerate();
            let position = farthest
                .max_by_key(|(at, pair)| (pair.map(squares), usize::MAX - at))
                .map_or(0, |(at, _)| at);
            return Err(CryptoError::DiscreteLog { position });
        }
        let answers = self.found.into_iter().enumerate();
        answers
            .map(|(position, pair)| pair.ok_or(CryptoError::DiscreteLog { position }))
            .collect()
    }

    /// A ring of an axis has two cells, which for the last few points are no work for a thread: as many rings as fill a
    /// look.
    fn rings_at_once(&self) -> i64 {
        if !self.plane.flat() {
            return 1;
        }
        signed((AT_ONCE / 2 / self.left.len().max(1)) as u64).max(1)
    }

    /// Points that are left have a coordinate beyond `covered`: refuses when the radius does not allow that many.
    fn within_radius(&self, covered: i64) -> Result<(), CryptoError> {
        let Some(&position) = self.left.first() else {
            return Ok(());
        };
        let nearest = u128::from(covered.saturating_add(1).unsigned_abs()).pow(2);
        let least = nearest.saturating_mul(self.left.len() as u128);
        if self.energy.saturating_add(least) > u128::from(self.radius).pow(2) {
            return Err(CryptoError::DiscreteLog { position });
        }
        Ok(())
    }

    fn times(&self, pair: [i64; 2]) -> Result<Point, CryptoError> {
        let value = self.plane.value(pair);
        let product = self.base.mul_small(&[value], self.plane.bits);
        let product = product.ok().and_then(|p| p.first().copied());
        product.ok_or(CryptoError::Packing {
            beta_log2: self.plane.beta_log2,
            radius: self.radius,
        })
    }

    fn keys(&self, points: &[Point]) -> Vec<u64> {
        self.engine
            .double_and_compress(points)
            .iter()
            .map(key)
            .collect()
    }

    fn table(&self, half: i64) -> Result<Table, CryptoError> {
        let plane = self.plane;
        let count = Table::count(half, plane);
        // From the end of a row to the start of the next.
        let wrap = if plane.flat() { 0 } else { 1 };
        let wrap = self.times([-2 * half, wrap])?;
        let starts: Vec<u64> = (0..count).step_by(TASK).collect();
        let parts: Vec<Vec<u64>> = starts
            .into_par_iter()
            .map(|start| {
                let mut at = self.times(Table::pair(half, plane, start))?;
                let mut points = Vec::with_capacity(TASK);
                for index in start..count.min(start + TASK as u64) {
                    points.push(at);
                    let end_of_row = Table::pair(half, plane, index)[0] == half;
                    at += if end_of_row { wrap } else { Point::BASE };
                }
                Ok(self.keys(&points))
            })
            .collect::<Result<_, CryptoError>>()?;
        Ok(Table::new(half, plane, &parts.concat()))
    }

    /// Looks for all points that are left in some rings of squares; gives the number of look-ups.
    fn look(
        &mut self,
        table: &Table,
        shifts: &Shifts,
        rings: RangeInclusive<i64>,
    ) -> Result<u64, CryptoError> {
        let reachable = u128::from(self.radius).pow(2).saturating_sub(self.energy);
        let nearest = |i: i64| (i.abs() * table.side - table.half).max(0);
        let plane = self.plane;
        let mut cells: Vec<[i64; 2]> = rings.flat_map(|ring| ring_cells(ring, plane)).collect();
        cells.retain(|[i, j]| squares([nearest(*i), nearest(*j)]) <= reachable);
        let mut looked = 0;
        let mut rest = cells.as_slice();
        while let (false, false) = (rest.is_empty(), self.left.is_empty()) {
            let (now, later) = rest.split_at(rest.len().min(AT_ONCE.div_ceil(self.left.len())));
            rest = later;
            looked += (now.len() * self.left.len()) as u64;
            let hits = self.hits(table, shifts, now);
            self.confirm(&hits)?;
        }
        Ok(looked)
    }

    /// Positions with the pairs that the table suggests for them.
    fn hits(&self, table: &Table, shifts: &Shifts, cells: &[[i64; 2]]) -> Vec<(usize, [i64; 2])> {
        let total = cells.len() * self.left.len();
        let starts: Vec<usize> = (0..total).step_by(TASK).collect();
        let parts: Vec<Vec<(usize, [i64; 2])>> = starts
            .into_par_iter()
            .map(|start| {
                // Candidates of one square stand together, so its offset is made once.
                let all = start..total.min(start + TASK);
                let mut offset = None;
                let candidates: Vec<Point> = all
                    .clone()
                    .filter_map(|k| {
                        let (cell, at) = (k / self.left.len(), k % self.left.len());
                        if at == 0 || offset.is_none() {
                            offset = Some(shifts.offset(*cells.get(cell)?));
                        }
                        let point = self.points.get(*self.left.get(at)?)?;
                        Some(*point + offset?)
                    })
                    .collect();
                let keys = self.keys(&candidates);
                all.zip(keys)
                    .flat_map(|(k, key)| {
                        let (cell, at) = (k / self.left.len(), k % self.left.len());
                        table.candidates(key).filter_map(move |index| {
                            let [low, high] = Table::pair(table.half, self.plane, index);
                            let [i, j] = *cells.get(cell)?;
                            let pair = [low + i * table.side, high + j * table.side];
                            Some((*self.left.get(at)?, self.plane.reduced(pair)))
                        })
                    })
                    .collect()
            })
            .collect();
        parts.concat()
    }

    /// Takes the pairs that are right: parts of keys may agree by chance, the points decide.
    fn confirm(&mut self, hits: &[(usize, [i64; 2])]) -> Result<(), CryptoError> {
        let right: Vec<Vec<(usize, [i64; 2])>> = hits
            .par_chunks(TASK)
            .map(|hits| {
                let values: Vec<i128> = hits.iter().map(|(_, p)| self.plane.value(*p)).collect();
                let products = self.base.mul_small(&values, self.plane.bits);
                let products = products.map_err(|_| CryptoError::Packing {
                    beta_log2: self.plane.beta_log2,
                    radius: self.radius,
                })?;
                let right = |((at, _), product): &(&(usize, [i64; 2]), Point)| {
                    self.points.get(*at).is_some_and(|point| point == product)
                };
                let claims = hits.iter().zip(products);
                Ok(claims.filter(right).map(|(hit, _)| *hit).collect())
            })
            .collect::<Result<_, CryptoError>>()?;
        for (at, pair) in right.into_iter().flatten() {
            if let Some(answer @ None) = self.found.get_mut(at) {
                *answer = Some(pair);
                self.energy = self.energy.saturating_add(squares(pair));
            }
        }
        let found = &self.found;
        self.left
            .retain(|at| found.get(*at).is_some_and(Option::is_none));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
