//! The mask polynomial p = a_0 + sum_j p_j(X_j), of degree 3 in row and 2 in column variables, that hides the round
//! polynomials (Xie, Zhang, Zhang, Papamanthou, Song: Libra, Crypto 2019, section 4.1).

use veilsum_crypto::field::Fe;
use veilsum_params::Layout;

/// Positions and degrees of the coefficients of each variable: a_0 is coefficient 0.
pub(crate) fn blocks(layout: &Layout) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (rows, columns) = (layout.row_vars as usize, layout.col_vars as usize);
    (0..rows + columns).map(move |j| {
        if j < rows {
            (1 + 3 * j, 3)
        } else {
            (1 + 3 * rows + 2 * (j - rows), 2)
        }
    })
}

/// The coefficients' weights in p(point).
pub(crate) fn basis(layout: &Layout, point: &[Fe]) -> Vec<Fe> {
    let mut out = vec![Fe::ONE];
    for ((_, degree), &x) in blocks(layout).zip(point) {
        let mut power = Fe::ONE;
        for _ in 0..degree {
            power *= x;
            out.push(power);
        }
    }
    out
}

/// The coefficients' weights in the sum of p over the hypercube.
pub(crate) fn sums(layout: &Layout) -> Vec<Fe> {
    let variables = layout.row_vars + layout.col_vars;
    let half = Fe::pow2(variables - 1);
    let mut out = vec![half; layout.mask_coefficients() as usize];
    out[0] = half + half;
    out
}

/// The prover's side: what the mask adds to each round polynomial.
pub(crate) struct MaskRounds<'a> {
    pi: &'a [Fe],
    blocks: Vec<(usize, usize)>,
    round: usize,
    /// a_0 + sum of p_i(r_i) over the variables that are bound.
    bound: Fe,
    /// Sum of p_i(1) over the variables after the current one.
    tail: Fe,
}

impl<'a> MaskRounds<'a> {
    pub(crate) fn new(layout: &Layout, pi: &'a [Fe]) -> Self {
        let blocks: Vec<_> = blocks(layout).collect();
        let tail = pi[1..].iter().copied().sum::<Fe>() - Self::at_one(pi, blocks[0]);
        Self {
            pi,
            blocks,
            round: 0,
            bound: pi[0],
            tail,
        }
    }

    fn at_one(pi: &[Fe], (start, degree): (usize, usize)) -> Fe {
        pi[start..start + degree].iter().copied().sum()
    }

    /// c_0, c_2, c_3 of this round's part.
    pub(crate) fn coefficients(&self) -> [Fe; 3] {
        let left = (self.blocks.len() - 1 - self.round) as u32;
        let scale = Fe::pow2(left);
        let (start, degree) = self.blocks[self.round];
        let mut c0 = scale * self.bound;
        if left > 0 {
            c0 += Fe::pow2(left - 1) * self.tail;
        }
        let c3 = if degree == 3 {
            scale * self.pi[start + 2]
        } else {
            Fe::ZERO
        };
        [c0, scale * self.pi[start + 1], c3]
    }

    /// Binds the current variable.
    pub(crate) fn bind(&mut self, x: Fe) {
        let (start, degree) = self.blocks[self.round];
        let mut power = Fe::ONE;
        for a in &self.pi[start..start + degree] {
            power *= x;
            self.bound += power * *a;
        }
        self.round += 1;
        if let Some(&next) = self.blocks.get(self.round) {
            self.tail -= Self::at_one(self.pi, next);
        }
    }
}

/// Value at x of the round polynomial with coefficients c_0, c_2, c_3 whose values at 0 and 1 add up to `claim`.
pub(crate) fn evaluate(claim: Fe, [c0, c2, c3]: [Fe; 3], x: Fe) -> Fe {
    let c1 = claim - c0 - c0 - c2 - c3;
    c0 + x * (c1 + x * (c2 + x * c3))
}
