//! Masking against the definition over big integers, and sums at the limits of a layout.

use num_bigint::BigInt;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_rlwe::field::{self, ORDER};
use veilsum_rlwe::masking::{KEY_BOUND, LayoutError, Vector, norm_squared};
use veilsum_rlwe::{
    Expander, Limbs, MaskError, MaskLayout, MaskShape, Masked, Masking, Ring, RingError,
    SamplerError, Seed, sample_key,
};

fn big(limbs: &[u64]) -> BigInt {
    limbs
        .iter()
        .rev()
        .fold(BigInt::ZERO, |acc, &limb| (acc << 64) + limb)
}

fn order() -> BigInt {
    big(&ORDER)
}

fn reduce(value: &BigInt) -> BigInt {
    let l = order();
    ((value % &l) + &l) % &l
}

fn centre(value: &BigInt) -> BigInt {
    let reduced = reduce(value);
    if &reduced * 2 > order() {
        reduced - order()
    } else {
        reduced
    }
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

const SHAPE: MaskShape = MaskShape {
    coordinates: 130,
    coefficients: 56,
    slots: 3,
    slot_width: 25,
    shift: 95,
    cut: 76,
    log2_sigma: 55,
};

fn random_update(rng: &mut ChaCha20Rng, layout: &MaskLayout, bound: i64) -> Vec<i64> {
    (0..layout.coordinates())
        .map(|_| match rng.next_u32() % 4 {
            0 => bound,
            1 => -bound,
            _ => (rng.next_u64() >> 1).cast_signed() % (bound + 1),
        })
        .collect()
}

/// `a_b s` over the integers, reduced.
fn product(element: &[Limbs], key: &[i64]) -> Vec<BigInt> {
    let n = key.len();
    (0..n)
        .map(|k| {
            let sum = (0..n).fold(BigInt::ZERO, |acc, i| {
                if i <= k {
                    acc + big(&element[i]) * key[k - i]
                } else {
                    acc - big(&element[i]) * key[n + k - i]
                }
            });
            reduce(&sum)
        })
        .collect()
}

#[test]
fn masked_vectors_follow_the_definition() {
    let ring = Ring::new(16).unwrap();
    let expander = Expander::new("veilsum test masking", &[9; 32]);
    for (cut, log2_sigma) in [(76, 55), (0, 55), (1, 10), (64, 20), (63, 56), (90, 55)] {
        let layout = MaskLayout::new(MaskShape {
            cut,
            log2_sigma,
            ..SHAPE
        })
        .unwrap();
        let masking = Masking {
            ring: &ring,
            expander: &expander,
            layout: &layout,
        };
        assert_eq!(masking.blocks(), 4);
        let mut rng = rng(1);
        let key = sample_key(16, &mut rng);
        let update = random_update(&mut rng, &layout, (1 << 24) - 1);
        let masked = masking
            .mask(&key, &update, &Seed::random(&mut rng))
            .unwrap();
        let half = if cut == 0 { 0 } else { 1i128 << (cut - 1) };
        let mut norm = BigInt::ZERO;
        for (j, (y, &e)) in masked.y.iter().zip(masked.noise.iter()).enumerate() {
            let product = &product(&expander.block(j as u64 / 16, 16), &key)[j % 16];
            let packed = (0..3usize).fold(BigInt::ZERO, |acc, k| {
                let value = update.get(k * 56 + j).copied().unwrap_or(0);
                acc + (BigInt::from(value) << (95 + 25 * k))
            });
            let y = big(y);
            assert_eq!(&y % (1u128 << cut), BigInt::ZERO, "rounded");
            assert!(y < (BigInt::from(1) << 252));
            assert_eq!(
                centre(&(y - product - packed)),
                BigInt::from(e),
                "e is defined by the relation"
            );
            assert!(e.abs() <= (16i128 << log2_sigma) + half);
            norm += BigInt::from(e) * e;
        }
        assert_eq!(big(&norm_squared(&masked.noise)), norm);
        // Noise of the declared width is really there: rounding alone would not exceed half a step.
        if cut + 2 < log2_sigma {
            let root = norm.sqrt();
            let expected = BigInt::from(56).sqrt() << log2_sigma;
            assert!(root > &expected / 2 && root < &expected * 2);
        }
        let packed = layout.pack_masked(&masked.y).unwrap();
        assert_eq!(packed.len(), (56usize * (252 - cut as usize)).div_ceil(8));
        assert_eq!(layout.unpack_masked(&packed).unwrap(), masked.y);
    }
}

#[test]
fn bytes_do_not_depend_on_threads_or_on_who_drives() {
    let ring = Ring::new(16).unwrap();
    let expander = Expander::new("veilsum test masking", &[9; 32]);
    // Rounding finer than the noise, so that other noise shows in y.
    let layout = MaskLayout::new(MaskShape { cut: 40, ..SHAPE }).unwrap();
    let masking = Masking {
        ring: &ring,
        expander: &expander,
        layout: &layout,
    };
    let mut rng = rng(2);
    let key = sample_key(16, &mut rng);
    let update = random_update(&mut rng, &layout, 1000);
    let seed = Seed::random(&mut rng);
    let run = |threads| -> Masked {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| masking.mask(&key, &update, &seed).unwrap())
    };
    let one = run(1);
    assert_eq!(one, run(3));
    let key_hat = masking.transform_key(&key).unwrap();
    for block in [3, 0, 2, 1] {
        let range = block * 16..(block * 16 + 16).min(56);
        let mut y = vec![[0; 4]; range.len()];
        let mut e = vec![0; range.len()];
        masking
            .mask_block(block, &key_hat, &update, &seed, &mut y, &mut e)
            .unwrap();
        assert_eq!((&y[..], &e[..]), (&one.y[range.clone()], &one.noise[range]));
    }
    // Different blocks have different noise, and different seeds too.
    assert_ne!(one.noise[..16], one.noise[16..32]);
    assert_ne!(
        one.y,
        masking
            .mask(&key, &update, &Seed::random(&mut rng))
            .unwrap()
            .y
    );
}

#[test]
fn sums_open_exactly() {
    let ring = Ring::new(32).unwrap();
    let expander = Expander::new("veilsum test masking", &[8; 32]);
    let layout = MaskLayout::new(SHAPE).unwrap();
    let masking = Masking {
        ring: &ring,
        expander: &expander,
        layout: &layout,
    };
    let mut rng = rng(3);
    let mut sum_y = vec![[0; 4]; 56];
    let mut sum_key = vec![0i64; 32];
    let mut sum_x = vec![0i64; 130];
    let mut sum_e = vec![0i128; 56];
    for client in 0..25 {
        let key = match client {
            // A key with its whole norm on one coordinate.
            0 => (0..32).map(|i| if i == 5 { 128 } else { 0 }).collect(),
            _ => sample_key(32, &mut rng).to_vec(),
        };
        let update = random_update(&mut rng, &layout, (1 << 15) - 1);
        let masked = masking
            .mask(&key, &update, &Seed::random(&mut rng))
            .unwrap();
        field::accumulate(
            &mut sum_y,
            &layout
                .unpack_masked(&layout.pack_masked(&masked.y).unwrap())
                .unwrap(),
        );
        sum_key.iter_mut().zip(&key).for_each(|(sum, s)| *sum += s);
        sum_x.iter_mut().zip(&update).for_each(|(sum, x)| *sum += x);
        sum_e
            .iter_mut()
            .zip(masked.noise.iter())
            .for_each(|(sum, e)| *sum += e);
    }
    let opened = masking.open(&sum_y, &sum_key, 25 * 128).unwrap();
    assert_eq!(opened.sums, sum_x);
    assert_eq!(opened.noise, sum_e);
    // A wrong key sum does not pass for a right one.
    sum_key[7] += 1;
    assert!(matches!(
        masking.open(&sum_y, &sum_key, 25 * 128),
        Err(MaskError::Undecodable { .. })
    ));
    sum_key[7] -= 1;
    // Nor does a changed padding slot: coordinate 130 is slot 2 of coefficient 18.
    let mut tampered = sum_y.clone();
    tampered[18] = field::add(&tampered[18], &[0, 0, 3 << (95 + 50 - 128), 0]);
    assert_eq!(
        masking.open(&tampered, &sum_key, 25 * 128).unwrap_err(),
        MaskError::Padding { index: 130 }
    );
    assert_eq!(
        masking.open(&sum_y, &sum_key, 1).unwrap_err(),
        MaskError::Ring(RingError::BeyondBound { bound: 1 })
    );
    sum_y[3] = ORDER;
    assert_eq!(
        masking.open(&sum_y, &sum_key, 3200).unwrap_err(),
        MaskError::Coefficient { index: 3 }
    );
}

/// All `n_max` clients at the same bound with the noise at its bound and equal signs, in layouts that leave no bit over.
#[test]
fn sums_at_every_bound_decode() {
    let mut rng = rng(4);
    for _ in 0..400 {
        let n_max = 1 + rng.next_u64() % 2000;
        let b_x = 1 + (rng.next_u64() >> (34 + rng.next_u32() % 28));
        let b_e = u128::from(1 + rng.next_u64()) << (rng.next_u32() % 50);
        let b_e = b_e.max(1 << 61);
        let slot_width = u64::BITS - (n_max * b_x).leading_zeros() + 1;
        let shift = u128::BITS - (u128::from(n_max) * b_e).leading_zeros() + 1;
        let slots = (251 - shift) / slot_width;
        let shape = MaskShape {
            coordinates: 3 * slots as usize,
            coefficients: 3,
            slots,
            slot_width,
            shift,
            cut: 0,
            log2_sigma: 5,
        };
        let layout = MaskLayout::new(shape).unwrap();
        let b_x = b_x.cast_signed();
        let b_e = b_e.cast_signed();
        let mut clients: Vec<Vec<i64>> = vec![
            vec![b_x; 3 * slots as usize],
            vec![-b_x; 3 * slots as usize],
        ];
        clients.push(
            (0..3 * slots as usize)
                .map(|i| if i % 2 == 0 { b_x } else { -b_x })
                .collect(),
        );
        clients.push(
            (0..3 * slots as usize)
                .map(|_| if rng.next_u32() & 1 == 0 { b_x } else { -b_x })
                .collect(),
        );
        for update in clients {
            for e in [b_e, -b_e, 0] {
                let sum: Vec<Limbs> = (0..3)
                    .map(|j| {
                        // One client's coefficient, n_max times over: 256-bit two's complement.
                        let one = big(&layout.pack_slots(j, &update));
                        let total = (one + e) * n_max;
                        let wrapped: BigInt = ((total % (BigInt::from(1) << 256))
                            + (BigInt::from(1) << 256))
                            % (BigInt::from(1) << 256);
                        let (_, mut digits) = wrapped.to_u64_digits();
                        digits.resize(4, 0);
                        digits.try_into().unwrap()
                    })
                    .collect();
                let opened = layout.unpack_slots(&sum).unwrap();
                let factor = n_max.cast_signed();
                assert_eq!(
                    opened.sums,
                    update.iter().map(|x| x * factor).collect::<Vec<_>>()
                );
                assert_eq!(opened.noise, vec![e * i128::from(factor); 3]);
            }
        }
    }
}

#[test]
fn values_beyond_all_parts_are_refused() {
    let shape = MaskShape {
        coordinates: 4,
        coefficients: 2,
        slots: 2,
        slot_width: 10,
        shift: 40,
        cut: 0,
        log2_sigma: 5,
    };
    let layout = MaskLayout::new(shape).unwrap();
    let zero = [0; 4];
    // The largest value of all parts together is 2^39 - 1 + (2^9 - 1) 2^40 + (2^9 - 1) 2^50; one above it is refused.
    let largest = (1u64 << 39) - 1 + (511 << 40) + (511 << 50);
    assert_eq!(
        layout
            .unpack_slots(&[zero, [largest, 0, 0, 0]])
            .unwrap()
            .sums,
        [0, 511, 0, 511]
    );
    for bad in [
        [largest + 1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1 << 62],
    ] {
        assert_eq!(
            layout.unpack_slots(&[zero, bad]).unwrap_err(),
            MaskError::Undecodable { index: 1 }
        );
    }
    // The smallest is one below the negated largest in every part; below it, too.
    let smallest = (1u64 << 39) + (512 << 40) + (512 << 50);
    let negative = |value: u64| [value.wrapping_neg(), u64::MAX, u64::MAX, u64::MAX];
    let opened = layout.unpack_slots(&[negative(smallest), zero]).unwrap();
    assert_eq!(
        (opened.sums, opened.noise),
        (vec![-512, 0, -512, 0], vec![-(1 << 39), 0])
    );
    for bad in [
        negative(smallest + 1),
        [0, 0, 0, 1 << 63],
        [0, u64::MAX, u64::MAX, u64::MAX],
    ] {
        assert_eq!(
            layout.unpack_slots(&[bad, zero]).unwrap_err(),
            MaskError::Undecodable { index: 0 }
        );
    }
    assert!(matches!(
        layout.unpack_slots(&[zero]),
        Err(MaskError::Length {
            what: Vector::Masked,
            got: 1,
            expected: 2
        })
    ));
}

#[test]
fn packed_form_is_strict() {
    // 3 coefficients of 252 - 75 = 177 bits: 531 bits, 67 bytes, five spare bits.
    let shape = MaskShape {
        coordinates: 3,
        coefficients: 3,
        slots: 1,
        cut: 75,
        ..SHAPE
    };
    let layout = MaskLayout::new(shape).unwrap();
    assert_eq!((layout.coefficient_bits(), layout.packed_len()), (177, 67));
    let mut rng = rng(5);
    for _ in 0..200 {
        let mut bytes = vec![0u8; 67];
        rng.fill_bytes(&mut bytes);
        bytes[66] &= 7;
        let y = layout.unpack_masked(&bytes).unwrap();
        // The definition: bits j 177 .. (j + 1) 177 of the whole, times 2^75.
        let whole = BigInt::from_bytes_le(num_bigint::Sign::Plus, &bytes);
        for (j, y) in y.iter().enumerate() {
            let k: BigInt = (&whole >> (177 * j)) % (BigInt::from(1) << 177);
            assert_eq!(big(y), k << 75);
        }
        assert_eq!(layout.pack_masked(&y).unwrap(), bytes);
        for bit in 3..8 {
            let mut spoiled = bytes.clone();
            spoiled[66] |= 1 << bit;
            assert_eq!(
                layout.unpack_masked(&spoiled).unwrap_err(),
                MaskError::SpareBits
            );
        }
    }
    for got in [0, 66, 68, 1000] {
        assert_eq!(
            layout.unpack_masked(&vec![0; got]).unwrap_err(),
            MaskError::PackedLength { got, expected: 67 }
        );
    }
    let bad = |limbs| layout.pack_masked(&[[0; 4], limbs, [0; 4]]).unwrap_err();
    assert_eq!(bad([1, 0, 0, 0]), MaskError::Coefficient { index: 1 });
    assert_eq!(bad([0, 1 << 10, 0, 0]), MaskError::Coefficient { index: 1 });
    assert_eq!(bad([0, 0, 0, 1 << 60]), MaskError::Coefficient { index: 1 });
    assert!(
        layout
            .pack_masked(&[[0; 4], [0, 1 << 11, 0, (1 << 60) - 1], [0; 4]])
            .is_ok()
    );
    assert!(matches!(
        layout.pack_masked(&[]),
        Err(MaskError::Length {
            what: Vector::Masked,
            got: 0,
            expected: 3
        })
    ));
    for cut in 0..95 {
        let layout = MaskLayout::new(MaskShape { cut, ..shape }).unwrap();
        let bits = 3 * layout.coefficient_bits() as usize;
        let mut bytes = vec![0xff; layout.packed_len()];
        if !bits.is_multiple_of(8) {
            *bytes.last_mut().unwrap() = (1 << (bits % 8)) - 1;
        }
        let y = layout.unpack_masked(&bytes).unwrap();
        assert_eq!(
            big(&y[2]),
            (BigInt::from(1) << 252) - (BigInt::from(1) << cut)
        );
        assert_eq!(layout.pack_masked(&y).unwrap(), bytes);
    }
}

#[test]
fn inputs_are_checked() {
    let ring = Ring::new(16).unwrap();
    let expander = Expander::new("veilsum test masking", &[9; 32]);
    let layout = MaskLayout::new(SHAPE).unwrap();
    let masking = Masking {
        ring: &ring,
        expander: &expander,
        layout: &layout,
    };
    let seed = Seed::new([1; 32]);
    let (key, update) = (vec![0i64; 16], vec![0i64; 130]);
    let refuse = |key: &[i64], update: &[i64]| masking.mask(key, update, &seed).unwrap_err();
    assert_eq!(
        refuse(&key[1..], &update),
        MaskError::Length {
            what: Vector::Key,
            got: 15,
            expected: 16
        }
    );
    assert_eq!(
        refuse(&key, &update[1..]),
        MaskError::Length {
            what: Vector::Update,
            got: 129,
            expected: 130
        }
    );
    for bad in [1i64 << 24, -(1 << 24), i64::MIN, i64::MAX] {
        let mut update = update.clone();
        update[129] = bad;
        assert_eq!(
            refuse(&key, &update),
            MaskError::UpdateBeyondSlot { slot_width: 25 }
        );
    }
    let mut long = key.clone();
    long[3] = -1 - i64::try_from(KEY_BOUND).unwrap();
    assert_eq!(
        refuse(&long, &update),
        MaskError::Ring(RingError::BeyondBound { bound: KEY_BOUND })
    );
    let shape = |change: fn(&mut MaskShape)| {
        let mut shape = SHAPE;
        change(&mut shape);
        match MaskLayout::new(shape) {
            Err(MaskError::Layout(error)) => Some(error),
            _ => None,
        }
    };
    assert!(matches!(
        shape(|s| s.coordinates = 0),
        Some(LayoutError::Size { .. })
    ));
    assert!(matches!(
        shape(|s| s.coefficients = 0),
        Some(LayoutError::Size { .. })
    ));
    assert!(matches!(
        shape(|s| s.coefficients = usize::MAX),
        Some(LayoutError::Size { .. })
    ));
    assert!(matches!(
        shape(|s| s.coordinates = 56 * 3 + 1),
        Some(LayoutError::TooFewSlots { .. })
    ));
    assert!(matches!(
        shape(|s| s.slots = 0),
        Some(LayoutError::Slot { .. })
    ));
    assert!(matches!(
        shape(|s| s.slot_width = 1),
        Some(LayoutError::Slot { .. })
    ));
    assert!(matches!(
        shape(|s| s.slot_width = 64),
        Some(LayoutError::Slot { .. })
    ));
    assert!(matches!(
        shape(|s| s.slots = 7),
        Some(LayoutError::TooManyBits { .. })
    ));
    assert!(matches!(
        shape(|s| s.slots = u32::MAX),
        Some(LayoutError::TooManyBits { .. })
    ));
    assert!(matches!(
        shape(|s| s.shift = u32::MAX),
        Some(LayoutError::TooManyBits { .. })
    ));
    assert!(matches!(
        shape(|s| s.shift = 128),
        Some(LayoutError::Noise { .. })
    ));
    assert!(matches!(
        shape(|s| s.cut = 95),
        Some(LayoutError::Noise { .. })
    ));
    assert!(matches!(
        shape(|s| s.log2_sigma = 90),
        Some(LayoutError::Noise { .. })
    ));
    // A width that fits the layout but not the sampler.
    let wide = MaskLayout::new(MaskShape {
        log2_sigma: 57,
        ..SHAPE
    })
    .unwrap();
    let masking = Masking {
        layout: &wide,
        ..masking
    };
    assert_eq!(
        masking.mask(&key, &update, &seed).unwrap_err(),
        MaskError::Sampler(SamplerError::Width { log2_sigma: 57 })
    );
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let key = sample_key(16, &mut rng(6));
    assert_eq!(format!("{key:?}"), "SecretVec(<16 values redacted>)");
    assert_eq!(format!("{:?}", Seed::new([77; 32])), "Seed(<redacted>)");
    let masked = Masked {
        y: vec![[5; 4]],
        noise: veilsum_rlwe::SecretVec::new(vec![12345]),
    };
    assert!(!format!("{masked:?}").contains("12345"));
    let ring = Ring::new(16).unwrap();
    let basis = ring
        .basis(128.into(), veilsum_rlwe::Bound::FULL, 1)
        .unwrap();
    let debug = format!("{:?}", ring.transform_small(basis, &[99; 16], 128).unwrap());
    assert!(!debug.contains("99") && !debug.contains("residues"));
}
