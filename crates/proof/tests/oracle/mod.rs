//! A second implementation, slow and plain: dalek's scalars and points, Lambda and mu as whole tables, a sumcheck that
//! evaluates everything, a verifier that lists every check that fails.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code that every test binary uses a part of"
)]

use bulletproofs::{BulletproofGens, PedersenGens, RangeProof};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as B;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, VartimeMultiscalarMul};
use merlin::Transcript;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_crypto::field::Fe;
use veilsum_crypto::{CanonicalPoint, Generators, Hasher, Xof, labels};
use veilsum_params::{Layout, Mode, PROJECTIONS};
use veilsum_proof::{
    Context, Contribution, Parts, Proof, ProofCheck, Responses, Round, Statement, Witness,
};

type Table = Vec<Scalar>;

fn signed(v: i128) -> Scalar {
    let s = Scalar::from(v.unsigned_abs());
    if v < 0 { -s } else { s }
}

fn limbs(v: &[u64; 4]) -> Scalar {
    let bytes: Vec<u8> = v.iter().flat_map(|l| l.to_le_bytes()).collect();
    Scalar::from_canonical_bytes(bytes.try_into().unwrap()).unwrap()
}

fn pow2(n: u32) -> Scalar {
    (0..n).fold(Scalar::ONE, |v, _| v + v)
}

fn dot(a: &[Scalar], b: &[Scalar]) -> Scalar {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn eq(point: &[Scalar], index: usize) -> Scalar {
    point
        .iter()
        .enumerate()
        .map(|(k, x)| {
            if index >> k & 1 == 1 {
                *x
            } else {
                Scalar::ONE - x
            }
        })
        .product()
}

fn eqs(point: &[Scalar], count: usize) -> Table {
    (0..count).map(|i| eq(point, i)).collect()
}

fn msm(scalars: &[Scalar], points: &[RistrettoPoint]) -> RistrettoPoint {
    assert_eq!(scalars.len(), points.len());
    RistrettoPoint::vartime_multiscalar_mul(scalars, points)
}

/// Sizes and generators.
pub struct Oracle<'a> {
    round: &'a Round,
    layout: &'a Layout,
    rows: usize,
    columns: usize,
    columns_g: Vec<RistrettoPoint>,
    rows_g: Vec<RistrettoPoint>,
    key_g: Vec<RistrettoPoint>,
    mask_g: Vec<RistrettoPoint>,
    mask_h: RistrettoPoint,
    bases: PedersenGens,
}

/// Everything that the transcript gives before S.
struct Drawn {
    tau: Table,
    theta: Table,
    lambda: Scalar,
    xi: Scalar,
}

/// Lambda, mu and the public sum.
struct Forms {
    lambda: Table,
    mu: Table,
    public: Scalar,
}

impl<'a> Oracle<'a> {
    pub fn new(round: &'a Round) -> Self {
        let layout = round.layout();
        let generators = Generators::for_layout(layout);
        let points = |g: &[veilsum_crypto::Generator]| g.iter().map(|g| g.point).collect();
        Self {
            round,
            layout,
            rows: 1 << layout.row_vars,
            columns: layout.columns as usize,
            columns_g: points(&generators.columns),
            rows_g: points(&generators.rows),
            key_g: points(&generators.key),
            mask_g: points(&generators.mask),
            mask_h: generators.mask_blinding.point,
            bases: PedersenGens::default(),
        }
    }

    fn start(&self, context: &Context, f_z: &CanonicalPoint) -> Transcript {
        let mut t = Transcript::new(b"veilsum/v1 contribution proof");
        let l = self.layout;
        t.append_message(
            b"mode",
            if matches!(l.mode, Mode::Direct) {
                b"direct"
            } else {
                b"masked"
            },
        );
        for (label, v) in [
            (&b"dim"[..], l.dim),
            (b"norm bound", l.norm_bound),
            (b"n_max", l.n_max),
        ] {
            t.append_message(
                match label {
                    b"dim" => b"dim",
                    b"norm bound" => b"norm bound",
                    _ => b"n_max",
                },
                &u64::from(v).to_le_bytes(),
            );
        }
        t.append_message(b"columns", &u64::from(l.columns).to_le_bytes());
        if let Some(k) = l.masked_constants() {
            t.append_message(b"kappa", &u64::from(k.kappa).to_le_bytes());
            t.append_message(b"cut", &u64::from(k.cut).to_le_bytes());
            t.append_message(b"ring_len", &u64::from(k.ring_len).to_le_bytes());
        }
        t.append_message(b"params", &self.round.params_digest().0);
        t.append_message(b"client", &u64::from(context.client.0).to_le_bytes());
        t.append_message(
            b"threshold",
            &(context.commitments.len() as u64).to_le_bytes(),
        );
        context
            .commitments
            .iter()
            .for_each(|f| t.append_message(b"F", f.as_bytes()));
        t.append_message(b"E", context.ephemeral.as_bytes());
        t.append_message(b"share root", &context.share_root.0);
        t.append_message(b"row root", &context.row_root.0);
        t.append_message(b"F_z", f_z.as_bytes());
        t.append_message(b"H(y)", &context.y_digest.0);
        t.append_message(b"H(C)", &context.c_digest.0);
        t.append_message(b"H(K)", &context.k_digest.0);
        t
    }

    /// c_t and d_t as bits.
    fn projections(&self, t: &mut Transcript) -> Vec<(Vec<bool>, Vec<bool>)> {
        let mut seed = [0; 32];
        t.challenge_bytes(b"projection seed", &mut seed);
        let bits = |xof: &mut Xof, count: usize| -> Vec<bool> {
            let mut bytes = vec![0; count.div_ceil(8)];
            xof.fill(&mut bytes);
            (0..count)
                .map(|i| bytes[i / 8] >> (i % 8) & 1 == 1)
                .collect()
        };
        (0..PROJECTIONS as u64)
            .map(|i| {
                let mut xof = Xof::new(labels::PROJECTION_XOF, &seed, i);
                let c = bits(&mut xof, self.layout.projected_rows() as usize);
                (c, bits(&mut xof, self.columns))
            })
            .collect()
    }

    fn draw(&self, t: &mut Transcript) -> Drawn {
        let tau_len = self.layout.masked_constants().map_or(0, |k| {
            let mut n = 0;
            while (1u32 << n) < k.e_rows {
                n += 1;
            }
            13.max(n + self.layout.col_vars)
        });
        let tau = (0..tau_len).map(|_| challenge(t, b"tau")).collect();
        let mut seed = [0; 32];
        t.challenge_bytes(b"theta seed", &mut seed);
        let mut xof = Xof::new(labels::THETA_XOF, &seed, 0);
        let theta = (0..self.layout.key_points())
            .map(|_| {
                let mut b = [0; 16];
                xof.fill(&mut b);
                Scalar::from(u128::from_le_bytes(b) >> 1)
            })
            .collect();
        Drawn {
            tau,
            theta,
            lambda: challenge(t, b"lambda"),
            xi: challenge(t, b"xi"),
        }
    }

    fn forms(
        &self,
        projections: &[(Vec<bool>, Vec<bool>)],
        z: &[u128],
        drawn: &Drawn,
        y: &[[u64; 4]],
    ) -> Forms {
        let (l, c) = (self.layout, self.columns);
        let powers: Table = std::iter::successors(Some(drawn.lambda), |p| Some(p * drawn.lambda))
            .take(7 + PROJECTIONS)
            .collect();
        let [norm_x, norm_e, norm_s, bits, key, lwe, padding] = powers[..7] else {
            unreachable!()
        };
        let mut lambda = vec![Scalar::ZERO; self.rows * c];
        let mut mu = lambda.clone();
        let mut public = Scalar::ZERO;
        let x_entries = l.x_rows as usize * c;
        mu[..x_entries].fill(norm_x);
        let first_z = l.projected_rows() as usize * c;
        for (t, ((rows, columns), z)) in projections.iter().zip(z).enumerate() {
            let weight = powers[7 + t];
            for (a, _) in rows.iter().enumerate().filter(|(_, bit)| **bit) {
                for (b, _) in columns.iter().enumerate().filter(|(_, bit)| **bit) {
                    lambda[a * c + b] += weight;
                }
            }
            lambda[first_z + t] += weight;
            public += weight * Scalar::from(*z);
        }
        let mut power = padding;
        for entry in &mut lambda[l.dim as usize..x_entries] {
            power *= drawn.xi;
            *entry += power;
        }
        match l.masked_constants() {
            None => lambda
                .iter_mut()
                .zip(&drawn.theta)
                .for_each(|(v, t)| *v += key * t),
            Some(k) => {
                let m = k.ring_len as usize;
                let at = eqs(&drawn.tau, m);
                for (i, entry) in lambda[..x_entries].iter_mut().enumerate() {
                    *entry += lwe * pow2(k.shift + (i / m) as u32 * k.slot_bits) * at[i % m];
                }
                for (entry, at) in lambda[x_entries..x_entries + m].iter_mut().zip(&at) {
                    *entry += lwe * at;
                }
                mu[x_entries..x_entries + m].fill(norm_e);
                let first_s = x_entries + m;
                mu[first_s..first_s + 8192].fill(norm_s);
                // (a s)_j is the sum over i of s_i a_(j-i), negated where j < i.
                let expander = self.round.masking().unwrap().expander;
                let mut sums = vec![Fe::ZERO; 8192];
                for block in 0..k.blocks as usize {
                    let a = expander.block(block as u64, 8192);
                    let a: Vec<Fe> = a.iter().map(|a| Fe::from(limbs(a))).collect();
                    for (j, at) in at[block * 8192..].iter().enumerate().take(8192) {
                        let at = Fe::from(*at);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            if j >= i {
                                *sum += a[j - i] * at;
                            } else {
                                *sum -= a[8192 + j - i] * at;
                            }
                        }
                    }
                }
                let weights: Table = sums.into_iter().map(Scalar::from).collect();
                for (i, weight) in weights.iter().enumerate() {
                    let beta = if i % 2 == 1 {
                        pow2(k.beta_log2)
                    } else {
                        Scalar::ONE
                    };
                    lambda[first_s + i] += lwe * weight + key * drawn.theta[i / 2] * beta;
                }
                let first_r = first_s + 8192;
                for i in first_r..first_z {
                    mu[i] = bits;
                    lambda[i] -= bits;
                }
                for i in 0..k.e_slack_bits {
                    lambda[first_r + i as usize] += norm_e * pow2(i);
                }
                for i in 0..k.s_slack_bits {
                    lambda[first_r + (k.e_slack_bits + i) as usize] += norm_s * pow2(i);
                }
                public += lwe
                    * y.iter()
                        .zip(&at)
                        .map(|(y, at)| limbs(y) * at)
                        .sum::<Scalar>();
                public += norm_e * Scalar::from(k.e_bound) * Scalar::from(k.e_bound);
                public += norm_s * Scalar::from(k.s_bound) * Scalar::from(k.s_bound);
            }
        }
        Forms { lambda, mu, public }
    }

    /// Degrees of the round polynomials.
    fn degrees(&self) -> Vec<usize> {
        [
            vec![3; self.layout.row_vars as usize],
            vec![2; self.layout.col_vars as usize],
        ]
        .concat()
    }

    fn basis(&self, point: &[Scalar]) -> Table {
        let mut out = vec![Scalar::ONE];
        for (x, degree) in point.iter().zip(self.degrees()) {
            out.extend((1..=degree).map(|k| std::iter::repeat_n(x, k).product::<Scalar>()));
        }
        out
    }

    /// The sumcheck's variables as bits of a table index: row bits stand above column bits, rows are bound first.
    fn variables(&self) -> Vec<u32> {
        let (r, c) = (self.layout.row_vars, self.layout.col_vars);
        (0..r).map(|k| c + k).chain(0..c).collect()
    }

    /// Lists every check that fails for a decodable statement.
    pub fn failures(&self, statement: &Statement<'_>) -> Vec<ProofCheck> {
        let proof = match Proof::decode(self.layout, statement.proof) {
            Ok(proof) => proof,
            Err(check) => return vec![check],
        };
        let point = |bytes: &[u8; 32]| CompressedRistretto(*bytes).decompress();
        let all = |bytes: &[[u8; 32]]| bytes.iter().map(point).collect::<Option<Vec<_>>>();
        let (Some(k), Some(c), Some(a), Some(v_x), Some(com_pi)) = (
            all(statement.k),
            all(statement.c),
            all(&proof.points),
            point(&proof.v_x),
            point(&proof.com_pi),
        ) else {
            return vec![ProofCheck::PointEncoding];
        };
        let mut failing = Vec::new();
        let mut check = |holds: bool, check: ProofCheck| {
            if !holds {
                failing.push(check)
            }
        };
        let mut t = self.start(statement.context, statement.f_z);
        let projections = self.projections(&mut t);
        let interval =
            |z: &u128| *z >= self.layout.delta && *z < (1 << self.layout.gamma) - self.layout.delta;
        check(proof.z.iter().all(interval), ProofCheck::ProjectionInterval);
        absorb_z(self.layout, &mut t, &proof.z);
        t.append_message(b"V_x", &proof.v_x);
        let mut range = t.clone();
        t.append_message(b"Com_pi", &proof.com_pi);
        let drawn = self.draw(&mut t);
        let forms = self.forms(&projections, &proof.z, &drawn, statement.y);
        let sum = Scalar::from(proof.sum);
        t.append_message(b"S", sum.as_bytes());
        let (mut claim, mut at, mut rest) = (sum, Vec::new(), &proof.rounds[..]);
        for degree in self.degrees() {
            let (round, left) = rest.split_at(degree);
            rest = left;
            let c: Table = round.iter().map(|v| Scalar::from(*v)).collect();
            let c3 = c.get(2).copied().unwrap_or_default();
            let x = absorb_round(&mut t, &c);
            claim = c[0] + (claim - c[0] - c[0] - c[1] - c3) * x + c[1] * x * x + c3 * x * x * x;
            at.push(x);
        }
        let challenge = close(&mut t, &proof);
        let (row_point, column_point) = at.split_at(self.layout.row_vars as usize);
        let (eq_a, eq_b) = (eqs(row_point, self.rows), eqs(column_point, self.columns));
        let value = |table: &[Scalar]| -> Scalar {
            table
                .chunks(self.columns)
                .zip(&eq_a)
                .map(|(row, eq)| eq * dot(row, &eq_b))
                .sum()
        };
        let (lambda, mu) = (value(&forms.lambda), value(&forms.mu));
        let s = |v: Fe| Scalar::from(v);
        let list = |v: &[Fe]| v.iter().map(|v| s(*v)).collect::<Table>();
        let r = &proof.responses;
        let (u, pi, v) = (list(&r.u), list(&r.pi), s(proof.v));
        let [a2, a4, a6] = proof.scalars.map(s);
        let [l_x, l_k] = [
            drawn.lambda,
            drawn.lambda * drawn.lambda * drawn.lambda * drawn.lambda * drawn.lambda,
        ];
        check(dot(&u, &eq_b) == a2 + challenge * v, ProofCheck::E2);
        check(
            dot(&pi, &self.basis(&at)) == a4 + challenge * (claim - lambda * v - mu * v * v),
            ProofCheck::E4,
        );
        let n = self.layout.row_vars + self.layout.col_vars;
        let mut sums = vec![pow2(n - 1); pi.len()];
        sums[0] = pow2(n);
        let e6 = l_k * s(r.v_k) + l_x * s(r.n_x) + dot(&pi, &sums);
        check(e6 == a6 + challenge * (sum - forms.public), ProofCheck::E6);

        let blinding: Table = (0..k.len())
            .map(|a| {
                eq_a[a]
                    * if a < self.layout.x_rows as usize {
                        s(r.r)
                    } else {
                        s(r.r_z)
                    }
            })
            .collect();
        let left = msm(&eq_a[..k.len()], &k) * challenge + a[0];
        check(
            left == msm(&u, &self.columns_g) + msm(&blinding, &self.rows_g),
            ProofCheck::E1,
        );
        let left = com_pi * challenge + a[1];
        check(
            left == msm(&pi, &self.mask_g) + self.mask_h * s(r.rho),
            ProofCheck::E3,
        );
        let left = msm(&drawn.theta, &c) * challenge + a[2];
        check(
            left == B * s(r.v_k) + msm(&drawn.theta, &self.key_g) * s(r.r),
            ProofCheck::E5,
        );
        check(
            statement.context.commitments[0].point() * challenge + a[3] == B * s(r.r),
            ProofCheck::E7,
        );
        check(
            statement.f_z.point() * challenge + a[4] == B * s(r.r_z),
            ProofCheck::E8,
        );
        let bound = Scalar::from(u64::from(self.layout.norm_bound).pow(2));
        let left = (B * bound - v_x) * challenge + a[5];
        check(
            left == B * s(r.n_x) - self.bases.B_blinding * s(r.nu),
            ProofCheck::E9,
        );
        let bits = self.layout.range_bits as usize;
        let in_range = RangeProof::from_bytes(&proof.range).is_ok_and(|p| {
            p.verify_single(
                &BulletproofGens::new(64, 1),
                &self.bases,
                &mut range,
                &CompressedRistretto(proof.v_x),
                bits,
            )
            .is_ok()
        });
        check(in_range, ProofCheck::NormRange);
        failing
    }

    /// The contribution that the prover must make from the same randomness.
    pub fn contribute(
        &self,
        witness: &Witness<'_>,
        bind: impl Fn(&Parts<'_>) -> Context,
        rng: &mut ChaCha20Rng,
    ) -> Contribution {
        let l = self.layout;
        let mut entries: Table = witness.update.iter().map(|v| signed((*v).into())).collect();
        entries.resize(l.x_rows as usize * self.columns, Scalar::ZERO);
        let mut key: Table = entries[..l.dim as usize].to_vec();
        let mut y = &[][..];
        if let (Some(k), Some(m)) = (l.masked_constants(), witness.masked) {
            y = m.y;
            entries.extend(m.noise.iter().map(|v| signed(*v)));
            let s: Table = m.key.iter().map(|v| signed((*v).into())).collect();
            entries.extend(&s);
            key = s
                .chunks(2)
                .map(|p| p[0] + pow2(k.beta_log2) * p[1])
                .collect();
            let noise: Table = m.noise.iter().map(|v| signed(*v)).collect();
            let slack =
                |bound: u128, v: &[Scalar]| Scalar::from(bound) * Scalar::from(bound) - dot(v, v);
            for (slack, bits) in [
                (slack(k.e_bound, &noise), k.e_slack_bits),
                (slack(k.s_bound.into(), &s), k.s_slack_bits),
            ] {
                entries.extend(
                    (0..bits as usize)
                        .map(|i| Scalar::from(slack.as_bytes()[i / 8] >> (i % 8) & 1)),
                );
            }
            entries.resize(l.projected_rows() as usize * self.columns, Scalar::ZERO);
        }
        let c: Vec<[u8; 32]> = key
            .iter()
            .zip(&self.key_g)
            .map(|(k, w)| (B * k + w * witness.r).compress().to_bytes())
            .collect();
        loop {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            let mut hasher = Hasher::new(labels::PROVER_SEED);
            hasher
                .update(&seed)
                .update(&self.round.params_digest().0)
                .update(witness.r.as_bytes());
            let masked = witness.masked;
            for v in witness
                .update
                .iter()
                .chain(masked.map_or(&[][..], |m| m.key))
            {
                hasher.update(&v.to_le_bytes());
            }
            for v in masked.map_or(&[][..], |m| m.noise) {
                hasher.update(&v.to_le_bytes());
            }
            let seed = hasher.finish().0;
            if let Some(done) = self.attempt(witness.r, &entries, &key, &c, y, &bind, seed) {
                return done;
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one straight function")]
    fn attempt(
        &self,
        r: &Scalar,
        entries: &[Scalar],
        key: &[Scalar],
        c: &[[u8; 32]],
        y: &[[u64; 4]],
        bind: &impl Fn(&Parts<'_>) -> Context,
        seed: [u8; 32],
    ) -> Option<Contribution> {
        let l = self.layout;
        let stream = |i: u64, t: Option<&Transcript>| {
            let mut challenge = [0; 32];
            if let Some(t) = t {
                t.clone().challenge_bytes(b"prover", &mut challenge);
            }
            let mut hasher = Hasher::new(labels::PROVER_STREAM);
            hasher.update(&seed).u64(i).update(&challenge);
            ChaCha20Rng::from_seed(hasher.finish().0)
        };
        let mut rng = stream(0, None);
        let (r_z, uniform) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
        let mut w = entries.to_vec();
        w.extend((0..PROJECTIONS).map(|_| {
            let mut b = [0; 16];
            rng.fill_bytes(&mut b);
            Scalar::from(u128::from_le_bytes(b) & ((1 << l.gamma) - 1))
        }));
        w.push(uniform);
        w.resize(self.rows * self.columns, Scalar::ZERO);
        let rows: Vec<RistrettoPoint> = (0..l.rows() as usize)
            .map(|a| {
                let blinding = if a < l.x_rows as usize { *r } else { r_z };
                msm(
                    &w[a * self.columns..(a + 1) * self.columns],
                    &self.columns_g,
                ) + self.rows_g[a] * blinding
            })
            .collect();
        let k: Vec<[u8; 32]> = rows.iter().map(|p| p.compress().to_bytes()).collect();
        let f_z = CanonicalPoint::from(B * r_z);
        let context = bind(&Parts {
            k: &k,
            c,
            f_z: &f_z,
        });
        let mut t = self.start(&context, &f_z);
        let projections = self.projections(&mut t);
        let first_z = l.projected_rows() as usize * self.columns;
        let mut z = Vec::new();
        for (i, (rows, columns)) in projections.iter().enumerate() {
            let mut sum = w[first_z + i];
            for a in (0..rows.len()).filter(|a| rows[*a]) {
                sum += (0..self.columns)
                    .filter(|b| columns[*b])
                    .map(|b| w[a * self.columns + b])
                    .sum::<Scalar>();
            }
            let bytes = sum.to_bytes();
            let value = u128::from_le_bytes(bytes[..16].try_into().unwrap());
            if bytes[16..] != [0; 16] || value < l.delta || value >= (1 << l.gamma) - l.delta {
                return None;
            }
            z.push(value);
        }
        absorb_z(l, &mut t, &z);
        let mut rng = stream(1, Some(&t));
        let pi: Table = (0..l.mask_coefficients())
            .map(|_| Scalar::random(&mut rng))
            .collect();
        let (rho, nu) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
        let n_x = dot(&entries[..l.dim as usize], &entries[..l.dim as usize]);
        let slack = Scalar::from(u64::from(l.norm_bound).pow(2)) - n_x;
        let v_x = self.bases.commit(slack, nu).compress().to_bytes();
        t.append_message(b"V_x", &v_x);
        let mut range = t.clone();
        let com_pi = (msm(&pi, &self.mask_g) + self.mask_h * rho)
            .compress()
            .to_bytes();
        t.append_message(b"Com_pi", &com_pi);
        let drawn = self.draw(&mut t);
        let forms = self.forms(&projections, &z, &drawn, y);
        let p = |point: &[Scalar]| dot(&pi, &self.basis(point));
        let value = |i: usize, f: &Forms, w: &[Scalar]| f.lambda[i] * w[i] + f.mu[i] * w[i] * w[i];
        let n = pow2(l.row_vars + l.col_vars);
        let half = pow2(l.row_vars + l.col_vars - 1);
        let mask_sum = n * pi[0] + half * pi[1..].iter().sum::<Scalar>();
        let sum = (0..w.len()).map(|i| value(i, &forms, &w)).sum::<Scalar>() + mask_sum;
        t.append_message(b"S", sum.as_bytes());

        let value_64 = u64::from_le_bytes(slack.to_bytes()[..8].try_into().unwrap());
        let range = RangeProof::prove_single_with_rng(
            &BulletproofGens::new(64, 1),
            &self.bases,
            &mut range,
            value_64,
            &nu,
            l.range_bits as usize,
            &mut stream(3, Some(&t)),
        )
        .unwrap()
        .0
        .to_bytes();

        let all_w = w.clone();
        let mut tables = [forms.lambda.clone(), forms.mu.clone(), w];
        let (mut rounds, mut point) = (Vec::new(), Vec::new());
        // Rows are bound first, so the table is put column by column.
        for table in &mut tables {
            *table = (0..self.columns)
                .flat_map(|b| (0..self.rows).map(move |a| (a, b)))
                .map(|(a, b)| table[a * self.columns + b])
                .collect();
        }
        let vars = self.degrees().len();
        for (j, degree) in self.degrees().into_iter().enumerate() {
            let values: Table = (0..=3u64)
                .map(|x| {
                    let x = Scalar::from(x);
                    let mut sum = Scalar::ZERO;
                    for i in 0..tables[0].len() / 2 {
                        let at = |t: &Table| t[2 * i] + x * (t[2 * i + 1] - t[2 * i]);
                        let [l, m, w] = [at(&tables[0]), at(&tables[1]), at(&tables[2])];
                        sum += l * w + m * w * w;
                    }
                    // The mask, summed over the variables that are left: each is 0 or 1 equally often.
                    let left = vars - j - 1;
                    let mut bound = point.clone();
                    bound.push(x);
                    bound.resize(vars, Scalar::ZERO);
                    let zeros = p(&bound);
                    let mut masks = pow2(left as u32) * zeros;
                    for k in j + 1..vars {
                        bound[k] = Scalar::ONE;
                        masks += pow2(left as u32 - 1) * (p(&bound) - zeros);
                        bound[k] = Scalar::ZERO;
                    }
                    sum + masks
                })
                .collect();
            let c = interpolate(&values);
            let sent: Table = [c[0], c[2], c[3]][..degree].to_vec();
            assert!(degree == 3 || c[3] == Scalar::ZERO);
            let x = absorb_round(&mut t, &sent);
            rounds.extend(sent.iter().map(Fe::from));
            point.push(x);
            for table in &mut tables {
                *table = table.chunks(2).map(|p| p[0] + x * (p[1] - p[0])).collect();
            }
        }
        let v = tables[2][0];
        let (row_point, column_point) = point.split_at(l.row_vars as usize);
        let (eq_a, eq_b) = (eqs(row_point, self.rows), eqs(column_point, self.columns));
        let u: Table = (0..self.columns)
            .map(|b| {
                (0..self.rows)
                    .map(|a| eq_a[a] * all_w[a * self.columns + b])
                    .sum()
            })
            .collect();
        let v_k = dot(&drawn.theta, key);

        let mut rng = stream(2, Some(&t));
        let mut next = || Scalar::random(&mut rng);
        let u_n: Table = (0..u.len()).map(|_| next()).collect();
        let pi_n: Table = (0..pi.len()).map(|_| next()).collect();
        let [r_n, r_z_n, rho_n, v_k_n, n_x_n, nu_n] = std::array::from_fn(|_| next());
        let mut sums = vec![half; pi.len()];
        sums[0] = n;
        let l_x = drawn.lambda;
        let l_k = l_x * l_x * l_x * l_x * l_x;
        let scalars = [
            dot(&u_n, &eq_b),
            dot(&pi_n, &self.basis(&point)),
            l_k * v_k_n + l_x * n_x_n + dot(&pi_n, &sums),
        ];
        let blinding: Table = (0..self.rows_g.len())
            .map(|a| eq_a[a] * if a < l.x_rows as usize { r_n } else { r_z_n })
            .collect();
        let points = [
            msm(&u_n, &self.columns_g) + msm(&blinding, &self.rows_g),
            msm(&pi_n, &self.mask_g) + self.mask_h * rho_n,
            B * v_k_n + msm(&drawn.theta, &self.key_g) * r_n,
            B * r_n,
            B * r_z_n,
            B * n_x_n - self.bases.B_blinding * nu_n,
        ]
        .map(|p| p.compress().to_bytes());
        let fe = |v: &[Scalar]| v.iter().map(Fe::from).collect::<Vec<_>>();
        let mut proof = Proof {
            z,
            v_x,
            com_pi,
            sum: Fe::from(sum),
            rounds,
            v: Fe::from(v),
            range,
            points,
            scalars: scalars.map(Fe::from),
            responses: Responses {
                u: fe(&u_n),
                pi: fe(&pi_n),
                r: Fe::from(r_n),
                r_z: Fe::from(r_z_n),
                rho: Fe::from(rho_n),
                v_k: Fe::from(v_k_n),
                n_x: Fe::from(n_x_n),
                nu: Fe::from(nu_n),
            },
        };
        let ch = close(&mut t, &proof);
        let respond = |n: &[Scalar], s: &[Scalar]| {
            n.iter()
                .zip(s)
                .map(|(n, s)| Fe::from(n + ch * s))
                .collect::<Vec<_>>()
        };
        let one = |n: Scalar, s: Scalar| Fe::from(n + ch * s);
        proof.responses = Responses {
            u: respond(&u_n, &u),
            pi: respond(&pi_n, &pi),
            r: one(r_n, *r),
            r_z: one(r_z_n, r_z),
            rho: one(rho_n, rho),
            v_k: one(v_k_n, v_k),
            n_x: one(n_x_n, n_x),
            nu: one(nu_n, nu),
        };
        Some(Contribution {
            k,
            c: c.to_vec(),
            f_z,
            proof: proof.encode(l),
            context,
        })
    }
}

/// Coefficients of the cubic with these values at 0, 1, 2, 3.
fn interpolate(values: &[Scalar]) -> Table {
    let mut out = vec![Scalar::ZERO; 4];
    for (i, value) in values.iter().enumerate() {
        let mut basis = vec![Scalar::ONE];
        for j in (0..4usize).filter(|j| *j != i) {
            let scale = (Scalar::from(i as u64) - Scalar::from(j as u64)).invert();
            let mut next = vec![Scalar::ZERO; basis.len() + 1];
            for (k, b) in basis.iter().enumerate() {
                next[k + 1] += b * scale;
                next[k] -= b * scale * Scalar::from(j as u64);
            }
            basis = next;
        }
        out.iter_mut()
            .zip(&basis)
            .for_each(|(o, b)| *o += value * b);
    }
    out
}

fn challenge(t: &mut Transcript, label: &'static [u8]) -> Scalar {
    let mut wide = [0; 64];
    t.challenge_bytes(label, &mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn absorb_z(layout: &Layout, t: &mut Transcript, z: &[u128]) {
    let bytes: Vec<u8> = z
        .iter()
        .flat_map(|z| z.to_le_bytes()[..layout.z_bytes() as usize].to_vec())
        .collect();
    t.append_message(b"z", &bytes);
}

fn absorb_round(t: &mut Transcript, c: &[Scalar]) -> Scalar {
    t.append_message(
        b"round polynomial",
        &c.iter().flat_map(|c| c.to_bytes()).collect::<Vec<_>>(),
    );
    challenge(t, b"round")
}

fn close(t: &mut Transcript, proof: &Proof) -> Scalar {
    t.append_message(b"v", &proof.v.to_bytes());
    t.append_message(b"range proof", &proof.range);
    proof
        .points
        .iter()
        .for_each(|p| t.append_message(b"announcement point", p));
    proof
        .scalars
        .iter()
        .for_each(|s| t.append_message(b"announcement scalar", &s.to_bytes()));
    challenge(t, b"closing")
}

/// The neutral point, for tests that need it.
pub fn identity() -> RistrettoPoint {
    RistrettoPoint::identity()
}
