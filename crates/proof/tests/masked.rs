//! Masked mode: honest contributions verify; cheaters are stopped by exactly the check that the test names.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;
mod oracle;

use common::*;
use oracle::Oracle;
use std::sync::Arc;
use veilsum_crypto::field::Fe;
use veilsum_crypto::{Digest, Family, blinding_base};
use veilsum_params::{Layout, Masked, RING_DEGREE, SIGMA_E_LOG2, UploadSizes};
use veilsum_proof::adversarial::{Deviation, Escape, Forgery};
use veilsum_proof::{
    ContributeError, Contribution, MaskedWitness, Parts, Prepared, ProofCheck, ProofError, Round,
    Statement, Witness, contribute, verify, verify_batch,
};
use veilsum_rlwe::{Bound, Limbs};
use veilsum_simd::{Backend, Engine};

#[test]
fn honest_contributions_verify() {
    // One truncated block, one full block, and several blocks of which the last is truncated.
    for (dim, last) in [(6_000, 1024), (57_344, 0), (60_000, 512)] {
        let layout = masked(dim);
        let len = layout.masked_constants().unwrap().ring_len;
        assert_eq!(len % RING_DEGREE, last);
        let round = round(&layout, 1);
        let clients: Vec<_> = (0..3).map(|i| MaskedClient::new(&round, i)).collect();
        let made: Vec<_> = clients
            .iter()
            .map(|c| c.contribute(&round, 2).unwrap())
            .collect();
        assert_eq!(
            made[0].proof.len() as u64,
            UploadSizes::of(&layout, 20, 14).proof
        );
        let statements: Vec<_> = clients
            .iter()
            .zip(&made)
            .map(|(client, c)| client.statement(c))
            .collect();
        assert_eq!(verify(&round, &statements[0]), Ok(()), "dim {dim}");
        assert_eq!(verify_batch(&round, &statements, &[1; 32]), [Ok(()); 3]);
    }
}

#[test]
fn a_false_witness_is_refused_before_a_proof_exists() {
    let layout = masked(6_000);
    let round = round(&layout, 1);
    let client = MaskedClient::new(&round, 1);
    let refuse = |witness: Witness<'_>, error: ProofError| {
        let got = contribute(
            &round,
            &witness,
            |p: &Parts<'_>| Ok::<_, ()>(client.context(p.k, p.c)),
            &mut rng(1),
        );
        assert_eq!(got, Err(ContributeError::Proof(error)));
    };
    let honest = client.witness();
    let parts = honest.masked.unwrap();
    let k = layout.masked_constants().unwrap();
    let with = |masked: MaskedWitness<'_>, error: ProofError| {
        refuse(
            Witness {
                masked: Some(masked),
                ..honest
            },
            error,
        )
    };
    let mut y = client.y.clone();
    y[5][0] ^= 1;
    with(MaskedWitness { y: &y, ..parts }, ProofError::MaskedVector);
    let mut noise = client.noise.to_vec();
    noise[7] += 1;
    with(
        MaskedWitness {
            noise: &noise,
            ..parts
        },
        ProofError::MaskedVector,
    );
    noise[7] = i128::try_from(k.e_bound).unwrap() + 1;
    with(
        MaskedWitness {
            noise: &noise,
            ..parts
        },
        ProofError::Norm { what: "the noise" },
    );
    let key = vec![100; 8192];
    with(
        MaskedWitness { key: &key, ..parts },
        ProofError::Norm { what: "the key" },
    );
    with(
        MaskedWitness {
            key: &key[1..],
            ..parts
        },
        ProofError::Length {
            what: "the key",
            got: 8191,
            want: 8192,
        },
    );
    refuse(
        Witness {
            masked: None,
            ..honest
        },
        ProofError::Mode { layout: "masked" },
    );
}

/// Integers of a cheater's choice, with the y that belongs to them.
struct Choice {
    round: Round,
    client: MaskedClient,
    update: Vec<i64>,
    noise: Vec<i128>,
    key: Vec<i64>,
}

impl Choice {
    fn new() -> Self {
        Self::of(&masked(6_000))
    }

    fn of(layout: &Layout) -> Self {
        let round = round(layout, 1);
        let client = MaskedClient::new(&round, 1);
        let (update, noise, key) = (
            client.update.clone(),
            client.noise.to_vec(),
            client.key.to_vec(),
        );
        Self {
            round,
            client,
            update,
            noise,
            key,
        }
    }

    fn constants(&self) -> &Masked {
        self.round.layout().masked_constants().unwrap()
    }

    /// y for these integers, `tail` standing in the slots after the update.
    fn y(&self, tail: &[i64]) -> Vec<Limbs> {
        let masking = self.round.masking().unwrap();
        let k = self.constants();
        let count = k.ring_len as usize;
        let bound = u64::MAX >> 4;
        let basis = masking
            .ring
            .basis(Bound::from(bound), Bound::FULL, 1)
            .unwrap();
        let s = masking
            .ring
            .transform_small(basis, &self.key, bound)
            .unwrap();
        let mut y = Vec::new();
        for block in 0..u64::from(k.blocks) {
            let a = masking
                .ring
                .transform_full(basis, &masking.expander.block(block, 8192))
                .unwrap();
            y.extend(masking.ring.mul(&s, &a).unwrap().iter().copied());
        }
        let coordinates: Vec<i64> = self.update.iter().chain(tail).copied().collect();
        (0..count)
            .map(|j| {
                let mut sum = Fe::from_limbs_unchecked(y[j]) + Fe::from_i128(self.noise[j]);
                for (slot, x) in coordinates.iter().skip(j).step_by(count).enumerate() {
                    sum += Fe::pow2(k.shift + slot as u32 * k.slot_bits) * Fe::from_i64(*x);
                }
                sum.to_limbs()
            })
            .collect()
    }

    /// Bits of the slack of squares; `None` when it is negative.
    fn bits(bound: u128, squares: Fe, count: u32) -> Option<Vec<Fe>> {
        let limbs = (Fe::from_u128(bound).square() - squares).to_limbs();
        let bit = |i: usize| limbs[i / 64] >> (i % 64) & 1;
        let fits = (count as usize..256).all(|i| bit(i) == 0);
        fits.then(|| (0..count as usize).map(|i| Fe::from_u64(bit(i))).collect())
    }

    /// A forgery that commits to these integers; slack bits are zero where the slack is negative.
    fn forgery(&self) -> Forgery {
        let (layout, k) = (self.round.layout(), self.constants());
        let mut entries: Vec<Fe> = self.update.iter().map(|v| Fe::from_i64(*v)).collect();
        entries.resize((layout.x_rows * layout.columns) as usize, Fe::ZERO);
        let noise: Vec<Fe> = self.noise.iter().map(|v| Fe::from_i128(*v)).collect();
        let key: Vec<Fe> = self.key.iter().map(|v| Fe::from_i64(*v)).collect();
        let squares = |v: &[Fe]| v.iter().map(|v| v.square()).sum();
        let e = Self::bits(k.e_bound, squares(&noise), k.e_slack_bits);
        let s = Self::bits(k.s_bound.into(), squares(&key), k.s_slack_bits);
        entries.extend(noise);
        entries.extend(key);
        entries.extend(e.unwrap_or_else(|| vec![Fe::ZERO; k.e_slack_bits as usize]));
        entries.extend(s.unwrap_or_else(|| vec![Fe::ZERO; k.s_slack_bits as usize]));
        entries.resize(
            (layout.projected_rows() * layout.columns) as usize,
            Fe::ZERO,
        );
        Forgery::new(&self.round, entries, &self.client.r, self.y(&[]))
    }

    fn first_noise(&self) -> usize {
        (self.round.layout().x_rows * self.round.layout().columns) as usize
    }
    fn first_bit(&self) -> usize {
        self.first_noise() + self.constants().ring_len as usize + 8192
    }

    fn prove(&self, f: &Forgery) -> Contribution {
        f.contribute(&self.round, |p| self.client.context(p.k, p.c), &mut rng(5))
            .unwrap()
    }

    fn verdict(&self, f: &Forgery) -> Result<(), ProofCheck> {
        let c = self.prove(f);
        verify(
            &self.round,
            &Statement {
                y: &f.y,
                ..statement(&c)
            },
        )
    }

    fn cheat(&self, f: &Forgery, check: ProofCheck) {
        let c = self.prove(f);
        let s = Statement {
            y: &f.y,
            ..statement(&c)
        };
        assert_eq!(verify(&self.round, &s), Err(check));
        assert_eq!(Oracle::new(&self.round).failures(&s), [check]);
    }
}

#[test]
fn a_choice_that_does_not_cheat_is_accepted() {
    let w = Choice::new();
    let f = w.forgery();
    assert!(f.y == w.client.y);
    assert_eq!(w.verdict(&f), Ok(()));
}

#[test]
fn noise_at_the_bound_is_accepted_and_one_unit_over_is_not() {
    let mut w = Choice::new();
    w.noise.fill(0);
    w.noise[3] = i128::try_from(w.constants().e_bound).unwrap();
    assert_eq!(w.verdict(&w.forgery()), Ok(()));
    w.noise[4] = 1;
    w.cheat(&w.forgery(), ProofCheck::E4);
    // The slack -1 as an entry that is not a bit.
    let mut f = w.forgery();
    f.entries[w.first_bit()] = -Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
    // The same, explained by another mask polynomial.
    f.deviation = Deviation {
        escape: Some(Escape::Mask),
        ..Deviation::default()
    };
    w.cheat(&f, ProofCheck::E3);
}

#[test]
fn a_key_at_the_bound_is_accepted_and_one_unit_over_is_not() {
    let mut w = Choice::new();
    w.key.fill(0);
    w.key[8191] = -i64::try_from(w.constants().s_bound).unwrap();
    assert_eq!(w.verdict(&w.forgery()), Ok(()));
    w.key[0] = 1;
    w.cheat(&w.forgery(), ProofCheck::E4);
    let mut f = w.forgery();
    f.entries[w.first_bit() + w.constants().e_slack_bits as usize] = -Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
}

/// The commitments take noise as large as masking makes it, and a key with all of its norm in one coordinate.
#[test]
fn the_largest_noise_and_key_entries_are_committed_to() {
    // Rounding decides how large noise is, or the Gaussian does.
    let fine = Layout::derive(6_000, i32::MAX as u32, 20, 20, 14).unwrap();
    for (layout, rounded) in [(masked(6_000), true), (fine, false)] {
        let mut w = Choice::of(&layout);
        let k = w.constants().clone();
        assert_eq!(k.cut > SIGMA_E_LOG2 + 5, rounded);
        let largest = (1i128 << (SIGMA_E_LOG2 + 4)) - 1 + (1 << (k.cut - 1));
        (w.noise[0], w.noise[1]) = (largest, -largest);
        w.key.fill(0);
        w.key[8191] = -i64::try_from(k.s_bound).unwrap();
        w.client.y = w.y(&[]);
        let witness = Witness {
            update: &w.update,
            r: &w.client.r,
            masked: Some(MaskedWitness {
                key: &w.key,
                noise: &w.noise,
                y: &w.client.y,
            }),
        };
        let bind = |p: &Parts<'_>| Ok::<_, ()>(w.client.context(p.k, p.c));
        let made = contribute(&w.round, &witness, bind, &mut rng(3)).unwrap();
        assert_eq!(verify(&w.round, &w.client.statement(&made)), Ok(()));
    }
}

#[test]
fn bits_that_are_not_bits() {
    let w = Choice::new();
    let mut f = w.forgery();
    let first = w.first_bit();
    f.entries[first] += Fe::from_u64(2);
    f.entries[first + 1] -= Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn a_masked_vector_that_is_off_by_one() {
    let w = Choice::new();
    for at in [0, w.constants().ring_len as usize - 1] {
        let mut f = w.forgery();
        f.y[at] = (Fe::from_limbs_unchecked(f.y[at]) + Fe::ONE).to_limbs();
        w.cheat(&f, ProofCheck::E4);
    }
}

#[test]
fn noise_that_is_not_what_rounding_left() {
    let mut w = Choice::new();
    let y = w.y(&[]);
    w.noise[11] += 1;
    let mut f = w.forgery();
    f.y = y;
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn another_update_in_the_masked_vector() {
    let mut w = Choice::new();
    let y = w.y(&[]);
    w.update[0] += if w.update[0] > 0 { -1 } else { 1 };
    let mut f = w.forgery();
    f.y = y;
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn a08_padding_in_rows_and_masked_vector() {
    let w = Choice::new();
    assert!(w.round.layout().padding() > 0);
    let mut f = w.forgery();
    f.y = w.y(&[1]);
    f.entries[w.update.len()] = Fe::ONE;
    f.norm += Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
    // In the masked vector only.
    let mut f = w.forgery();
    f.y = w.y(&[1]);
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn another_key_in_the_ciphertext() {
    let w = Choice::new();
    let mut f = w.forgery();
    f.key[9] += Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
    let mut f = w.forgery();
    f.key_junk = vec![(9, blinding_base())];
    w.cheat(&f, ProofCheck::E5);
    let mut f = w.forgery();
    f.row_junk = vec![(w.round.layout().x_rows as usize, blinding_base())];
    w.cheat(&f, ProofCheck::E1);
}

#[test]
fn a_huge_entry_of_the_noise_with_a_wrapped_norm() {
    let mut w = Choice::new();
    let root = veilsum_proof::adversarial::sqrt(-Fe::ONE).unwrap();
    w.noise.fill(0);
    let mut f = w.forgery();
    let (big, at) = (Fe::pow2(125) + Fe::ONE, w.first_noise());
    f.entries[at] = big;
    f.entries[at + 1] = big * root;
    for (j, e) in [big, big * root].into_iter().enumerate() {
        f.y[j] = (Fe::from_limbs_unchecked(f.y[j]) + e).to_limbs();
    }
    f.deviation.keep_rejected = true;
    assert_eq!(w.verdict(&f), Err(ProofCheck::ProjectionInterval));
}

#[test]
fn a_proof_is_bound_to_its_masked_vector_and_round() {
    let w = Choice::new();
    let f = w.forgery();
    let c = w.prove(&f);
    let other = MaskedClient::new(&w.round, 2);
    assert_eq!(
        verify(
            &w.round,
            &Statement {
                y: &other.y,
                ..statement(&c)
            }
        ),
        Err(ProofCheck::E6)
    );
    assert_eq!(
        verify(
            &w.round,
            &Statement {
                y: &f.y[1..],
                ..statement(&c)
            }
        ),
        Err(ProofCheck::Shape)
    );
    let mut y = f.y.clone();
    y[0] = [u64::MAX; 4];
    assert_eq!(
        verify(
            &w.round,
            &Statement {
                y: &y,
                ..statement(&c)
            }
        ),
        Err(ProofCheck::Shape)
    );
    let s = Statement {
        y: &f.y,
        ..statement(&c)
    };
    // Another round or model, another client, and layouts of the same shape for other bounds: other challenges.
    let layout = w.round.layout();
    assert_eq!(verify(&round(layout, 2), &s), Err(ProofCheck::E2));
    let mut context = c.context.clone();
    context.client.0 += 1;
    let of_another = Statement {
        context: &context,
        ..s
    };
    assert_eq!(verify(&w.round, &of_another), Err(ProofCheck::E2));
    for (bound, n_max) in [(32_766, 100), (32_767, 99)] {
        let other = Layout::derive(layout.dim, bound, n_max, 20, 14).unwrap();
        let shape = |l: &Layout| {
            (
                l.columns,
                l.rows(),
                l.masked_constants().map(|k| k.ring_len),
            )
        };
        assert_eq!(shape(&other), shape(layout));
        assert_eq!(verify(&round(&other, 1), &s), Err(ProofCheck::E2));
    }
}

#[test]
fn an_update_one_unit_over_the_norm_bound() {
    let mut w = Choice::new();
    w.update.fill(0);
    w.update[2] = -i64::from(w.round.layout().norm_bound);
    assert_eq!(w.verdict(&w.forgery()), Ok(()));
    w.update[5999] = 1;
    // V_x commits to -1; the range proof is for 0.
    let mut f = w.forgery();
    f.deviation.range_slack = Some(Fe::ZERO);
    w.cheat(&f, ProofCheck::NormRange);
    // The norm is claimed to be at the bound.
    f.deviation.range_slack = None;
    f.norm -= Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn another_r_in_rows_ciphertext_or_dealing() {
    let w = Choice::new();
    let mut f = w.forgery();
    let shared = f.r;
    f.key_r = Some(f.r + Fe::ONE);
    w.cheat(&f, ProofCheck::E5);
    f.r += Fe::ONE;
    f.key_r = Some(shared);
    f.claimed_r = Some(shared);
    w.cheat(&f, ProofCheck::E1);
    f.key_r = None;
    f.claimed_r = None;
    w.cheat(&f, ProofCheck::E7);
}

#[test]
fn another_r_z_in_one_of_the_rows_of_noise_key_bits_or_masks() {
    let w = Choice::new();
    let (layout, k) = (w.round.layout(), w.constants());
    let noise = layout.x_rows;
    let key = noise + k.e_rows;
    let bits = key + k.s_rows;
    for row in [noise, key, bits, layout.projected_rows()] {
        let mut f = w.forgery();
        let blinding = Family::Row.generator(row.into()).point;
        f.row_junk = vec![(row as usize, blinding)];
        w.cheat(&f, ProofCheck::E1);
    }
    let mut f = w.forgery();
    f.f_z_junk = Some(blinding_base());
    w.cheat(&f, ProofCheck::E8);
}

#[test]
fn bytes_do_not_depend_on_threads_or_backend() {
    let layout = masked(60_000);
    let make = |threads: usize, backend: Backend| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let engine = Engine::new(backend).unwrap();
            let prepared = Arc::new(Prepared::with_engine(&layout, engine).unwrap());
            let round = Round::new(prepared, Digest([9; 32])).unwrap();
            let client = MaskedClient::new(&round, 3);
            let made = client.contribute(&round, 4).unwrap();
            assert_eq!(verify(&round, &client.statement(&made)), Ok(()));
            (client.y.clone(), made)
        })
    };
    let one = make(1, Backend::Portable);
    assert!(make(3, Backend::Portable) == one);
    assert!(make(4, Backend::Auto) == one);
}
