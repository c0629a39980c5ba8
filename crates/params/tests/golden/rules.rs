//! What every layout must keep, checked without the formulas that it was derived with.

use num_bigint::BigInt;
use proptest::prelude::*;
use veilsum_params::{Layout, Masked, Mode, PROJECTIONS, RING_DEGREE, UploadSizes, limits};

fn pow2(bits: u32) -> BigInt {
    BigInt::from(1) << bits
}

/// The group order l.
fn order() -> BigInt {
    pow2(252) + BigInt::parse_bytes(b"27742317777372353535851937790883648493", 10).unwrap()
}

/// Dimensions, bounds and cohorts of all sizes, small ones as often as large ones.
fn arguments() -> impl Strategy<Value = (u32, u32, u32, u32, u32)> {
    let scale = |max_bits: u32| (0..=max_bits).prop_flat_map(|b| 1u64..=1 << b);
    (scale(26), scale(32), scale(20), 2u32..=512).prop_map(|(d, bound, n_max, m)| {
        (
            u32::try_from(d).unwrap().min(limits::DIM_MAX),
            u32::try_from(bound.min(u32::MAX.into())).unwrap(),
            u32::try_from(n_max).unwrap(),
            m,
            2 * m / 3 + 1,
        )
    })
}

/// The remainder of `v` modulo 2^bits that is nearest to zero.
fn centred(v: &BigInt, bits: u32) -> BigInt {
    let half = pow2(bits - 1);
    let (zero, modulus) = (BigInt::from(0), pow2(bits));
    let mut rest = (v + &half) % &modulus;
    if rest < zero {
        rest += modulus;
    }
    rest - half
}

/// The sums of `n_max` honest contributions at the edge of their bounds, with signs from `signs`, are read back.
fn slots_hold_the_sum(l: &Layout, k: &Masked, signs: u32) {
    let n = BigInt::from(l.n_max);
    let signed = |i: u32, v: BigInt| if signs >> (i % 32) & 1 == 1 { -v } else { v };
    let noise = signed(31, &n * BigInt::from(k.e_bound));
    let slots: Vec<BigInt> = (0..k.kappa)
        .map(|i| signed(i, &n * BigInt::from(l.norm_bound)))
        .collect();
    let mut packed = noise.clone();
    for (i, slot) in (0..).zip(&slots) {
        packed += slot << (k.shift + i * k.slot_bits);
    }
    // As a field element it is unique, because twice its size is below the order.
    let magnitude = packed.magnitude().clone();
    assert!(BigInt::from(magnitude) * 2 < order());
    let read = centred(&packed, k.shift);
    assert_eq!(read, noise);
    packed = (packed - read) >> k.shift;
    for slot in slots {
        let read = centred(&packed, k.slot_bits);
        assert_eq!(read, slot);
        packed = (packed - read) >> k.slot_bits;
    }
    assert_eq!(packed, BigInt::from(0));
    // Two key coordinates share a point: sum low + beta high is read back from its residue modulo beta.
    let low = signed(30, &n * BigInt::from(k.s_bound));
    let high = signed(29, &n * BigInt::from(k.s_bound));
    let both = &low + (&high << k.beta_log2);
    assert_eq!(centred(&both, k.beta_log2), low);
}

/// (terms) (2^(gamma+1))^2 + 2^value_bits < l / 2: a quadratic form of entries that passed the projections is read as
/// an integer.
fn cannot_wrap(terms: u64, gamma: u32, value_bits: u32) {
    let largest = BigInt::from(terms) * pow2(gamma + 1) * pow2(gamma + 1) + pow2(value_bits);
    assert!(largest * 2 < order());
}

fn check(l: &Layout, m: u32, t: u32) {
    assert!(l.columns.is_power_of_two() && (64..=4096).contains(&l.columns));
    assert_eq!(1 << l.col_vars, l.columns);
    assert!(l.rows() <= 1 << l.row_vars && l.rows() > 1 << l.row_vars >> 1);
    assert!(l.x_rows * l.columns >= l.dim && l.padding() < l.columns);
    assert!(l.z_rows * l.columns > u32::try_from(PROJECTIONS).unwrap());
    assert!(l.gamma <= 120 && l.z_bytes() * 8 >= l.gamma);
    // A restart has probability at most 2^-10: the union over T projections of 2 Delta values out of 2^gamma.
    let rejected = BigInt::from(2 * PROJECTIONS) * BigInt::from(l.delta);
    assert!(&rejected << 10u32 <= pow2(l.gamma));
    assert!(
        rejected << 11u32 > pow2(l.gamma) - 1,
        "gamma is wider than need be"
    );
    // The honest projections: every block by Cauchy-Schwarz with its bound.
    let mut honest = (BigInt::from(l.dim) * BigInt::from(l.norm_bound).pow(2)).sqrt();
    cannot_wrap(l.dim.into(), l.gamma, l.range_bits);
    assert!(BigInt::from(l.norm_bound).pow(2) < pow2(l.range_bits));
    match &l.mode {
        Mode::Direct => {
            let sum = BigInt::from(l.n_max) * BigInt::from(l.norm_bound);
            assert!(BigInt::from(l.dim) * sum.pow(2) <= pow2(96));
        }
        Mode::Masked(k) => {
            assert!(k.ring_len.is_multiple_of(l.columns) && k.kappa * k.ring_len >= l.dim);
            assert!(k.ring_len - l.columns < l.dim.div_ceil(k.kappa));
            assert_eq!(k.e_rows * l.columns, k.ring_len);
            assert_eq!(k.s_rows * l.columns, RING_DEGREE);
            assert!(
                k.blocks * RING_DEGREE >= k.ring_len && (k.blocks - 1) * RING_DEGREE < k.ring_len
            );
            assert!(k.shift + k.kappa * k.slot_bits <= 251 && k.cut < 252);
            for signs in [0, u32::MAX, 0x5555_5555, 0xaaaa_aaaa, 0x8000_0000] {
                slots_hold_the_sum(l, k, signs);
            }
            // 100 B_e^2 >= 121 sigma_e^2 M_e: an honest noise vector passes but with negligible probability.
            let gaussian = BigInt::from(121u32) * pow2(110) * BigInt::from(k.ring_len);
            let e_squared = BigInt::from(k.e_bound).pow(2);
            assert!(&e_squared * 100 >= gaussian);
            let half_step = if k.cut == 0 {
                BigInt::from(0)
            } else {
                pow2(k.cut - 1)
            };
            assert!(e_squared >= half_step.pow(2) * k.ring_len);
            let s_squared = BigInt::from(k.s_bound).pow(2);
            assert!(&s_squared * 100 >= BigInt::from(121u32 * 64 * RING_DEGREE));
            assert!(e_squared < pow2(k.e_slack_bits) && e_squared >= pow2(k.e_slack_bits - 1));
            assert!(s_squared < pow2(k.s_slack_bits) && s_squared >= pow2(k.s_slack_bits - 1));
            assert!(k.e_bound < 1 << 100);
            assert!(k.r_rows * l.columns >= k.e_slack_bits + k.s_slack_bits);
            honest += (e_squared.clone() * k.ring_len).sqrt() + (s_squared * RING_DEGREE).sqrt();
            honest += k.e_slack_bits + k.s_slack_bits;
            cannot_wrap(k.ring_len.into(), l.gamma, k.e_slack_bits);
            cannot_wrap(RING_DEGREE.into(), l.gamma, k.s_slack_bits);
            cannot_wrap(2 * u64::from(k.r_rows * l.columns), l.gamma, l.gamma + 1);
        }
    }
    assert!(BigInt::from(l.delta) > honest);
    if let Ok(direct) = Layout::direct(l.dim, l.norm_bound, l.n_max) {
        assert!(UploadSizes::of(l, m, t).total() <= UploadSizes::of(&direct, m, t).total());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_layout_keeps_every_rule((d, bound, n_max, m, t) in arguments()) {
        check(&Layout::derive(d, bound, n_max, m, t).unwrap(), m, t);
    }
}

/// There is a layout in every corner of the allowed ranges: `NoLayout` guards a later change of the limits.
#[test]
fn the_corners_of_the_ranges_have_layouts() {
    for d in [1, 2, 63, 64, 65, 8192, limits::DIM_MAX] {
        for bound in [1, 2, 65_535, 65_536, u32::MAX] {
            for n_max in [1, 2, limits::N_MAX] {
                for (m, t) in [(2, 2), (512, 342)] {
                    check(&Layout::derive(d, bound, n_max, m, t).unwrap(), m, t);
                }
            }
        }
    }
}
