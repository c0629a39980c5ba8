//! What everything that was revealed opens.

use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party, RoundContext};
use veilsum_sim::Report;

/// Linear algebra over this prime: evaluation points and sets are small, so nothing is lost by a smaller field.
const P: u128 = (1 << 61) - 1;

fn mul(a: u64, b: u64) -> u64 {
    u64::try_from(u128::from(a) * u128::from(b) % P).unwrap_or(0)
}

fn sub(a: u64, b: u64) -> u64 {
    u64::try_from((u128::from(a) + P - u128::from(b)) % P).unwrap_or(0)
}

fn invert(a: u64) -> u64 {
    let (mut base, mut exponent, mut out) = (a, P - 2, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            out = mul(out, base);
        }
        base = mul(base, base);
        exponent >>= 1;
    }
    out
}

/// The reduced row echelon form of `rows`, zero rows left out; pivots are looked for in the order of the columns.
fn reduce(mut rows: Vec<Vec<u64>>, columns: usize) -> Vec<(usize, Vec<u64>)> {
    let mut done: Vec<(usize, Vec<u64>)> = Vec::new();
    for column in 0..columns {
        let Some(at) = rows
            .iter()
            .position(|r| r.get(column).is_some_and(|v| *v != 0))
        else {
            continue;
        };
        let mut pivot = rows.swap_remove(at);
        let scale = invert(pivot.get(column).copied().unwrap_or(1));
        pivot.iter_mut().for_each(|v| *v = mul(*v, scale));
        let clear = |row: &mut Vec<u64>| {
            let factor = row.get(column).copied().unwrap_or(0);
            if factor != 0 {
                for (v, p) in row.iter_mut().zip(&pivot) {
                    *v = sub(*v, mul(factor, *p));
                }
            }
        };
        rows.iter_mut().for_each(clear);
        done.iter_mut().for_each(|(_, row)| clear(row));
        done.push((column, pivot));
    }
    done
}

/// Whether every row is a combination of those of `base`.
pub(crate) fn spanned(base: BTreeSet<Vec<u64>>, rows: &[Vec<u64>]) -> bool {
    let columns = rows.first().map_or(0, Vec::len);
    let mut all: Vec<Vec<u64>> = base.into_iter().collect();
    let rank = reduce(all.clone(), columns).len();
    all.extend_from_slice(rows);
    reduce(all, columns).len() == rank
}

/// The linear functions of honest dealers' secrets r that are known from what honest members said and corrupted members
/// know, as a basis in reduced form: coefficients by dealer, in the order of `dealers`.
pub(crate) fn opened(
    context: &RoundContext,
    report: &Report,
    corrupt: &BTreeSet<Party>,
    dealers: &[ClientId],
) -> Vec<Vec<u64>> {
    let t = usize::from(context.threshold());
    // Coefficients of x^1 .. x^(t-1) of all dealers first, the secrets last: rows of the reduced form whose pivot is among
    // the secrets are the functions of the secrets alone.
    let n = dealers.len();
    let column = |dealer: usize, power: usize| match power {
        0 => (t - 1) * n + dealer,
        k => (k - 1) * n + dealer,
    };
    let row = |j: MemberIndex, summed: &dyn Fn(&ClientId) -> bool| {
        let mut row = vec![0; n * t];
        for (at, _) in dealers.iter().enumerate().filter(|(_, c)| summed(c)) {
            let mut power = 1;
            for k in 0..t {
                if let Some(v) = row.get_mut(column(at, k)) {
                    *v = power;
                }
                power = mul(power, j.0.into());
            }
        }
        row
    };
    let mut sets: BTreeMap<Digest, Vec<ClientId>> = BTreeMap::new();
    let mut headers: BTreeMap<Digest, ClientId> = BTreeMap::new();
    for (_, message) in &report.sent {
        if let Message::Package(package) = message {
            let clients = package.proposal.entries.iter().map(|(c, _)| *c).collect();
            sets.insert(package.proposal.signed.content.root, clients);
            headers.extend(package.proposal.entries.iter().map(|(c, d)| (*d, *c)));
        }
    }
    let mut rows = BTreeSet::new();
    for (from, message) in &report.sent {
        let Party::Member(j) = *from else { continue };
        if corrupt.contains(from) {
            continue;
        }
        match message {
            Message::Unmask(m) => {
                let content = &m.signed.content;
                let set = sets.get(&content.root).cloned().unwrap_or_default();
                rows.insert(row(j, &|c| {
                    set.contains(c) && !content.convicted.contains(c)
                }));
                for complaint in &m.complaints {
                    let dealer = headers.get(&complaint.content.header_digest);
                    rows.insert(row(j, &|c| Some(c) == dealer));
                }
            }
            Message::Endorse(m) => {
                for complaint in &m.complaints {
                    let dealer = headers.get(&complaint.content.header_digest);
                    rows.insert(row(j, &|c| Some(c) == dealer));
                }
            }
            Message::Reveal(m) => {
                let dealer = headers.get(&m.content.header_digest);
                rows.insert(row(j, &|c| Some(c) == dealer));
            }
            _ => {}
        }
    }
    for j in (1..=context.members())
        .map(MemberIndex)
        .filter(|j| corrupt.contains(&Party::Member(*j)))
    {
        for dealer in dealers {
            rows.insert(row(j, &|c| c == dealer));
        }
    }
    reduce(rows.into_iter().collect(), n * t)
        .into_iter()
        .filter(|(pivot, _)| *pivot >= (t - 1) * n)
        .map(|(_, row)| row.get((t - 1) * n..).unwrap_or_default().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_rows_give_back_what_they_span() {
        // x + y and x - y span both.
        let rows = vec![vec![1, 1, 0], vec![1, sub(0, 1), 0]];
        let reduced = reduce(rows, 3);
        assert_eq!(reduced, [(0, vec![1, 0, 0]), (1, vec![0, 1, 0])]);
        assert_eq!(mul(invert(12_345), 12_345), 1);
        let base = BTreeSet::from([vec![1, 1, 0], vec![1, 0, 0]]);
        assert!(spanned(base.clone(), &[vec![0, 5, 0]]));
        assert!(!spanned(base, &[vec![0, 5, 0], vec![0, 0, 1]]));
    }
}
