//! The learning half end to end, with fixed seeds.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_encoding::Encoder;

use super::*;

const SEED: [u8; 32] = [7; 32];
const CLIENTS: usize = 20;
const ROUNDS: u32 = 5;

fn federation(config: DemoConfig) -> Federation {
    Federation::new(config, SEED, CLIENTS, Sharding::Iid).unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn row(pixel: &str, label: &str) -> String {
    format!("{},{label}\n", vec![pixel; PIXELS].join(","))
}

#[test]
fn embedded_data_are_the_digits() {
    let digits = embedded_digits().unwrap();
    assert_eq!(digits.len(), 1797);
    let mut counts = [0; CLASSES];
    for digit in &digits {
        counts[usize::from(digit.label)] += 1;
        assert!(digit.pixels.iter().all(|p| (0.0..=1.0).contains(p)));
    }
    // The class counts of the test part, as its publishers give them.
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    assert_eq!(
        digits[0].pixels[..6],
        [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0]
    );
}

#[test]
fn damaged_data_are_refused() {
    let parse = |text: &str| parse_digits(&gzip(text));
    let good = row("16", "9");
    assert_eq!(
        parse(&good).unwrap(),
        [Digit {
            pixels: [1.0; PIXELS],
            label: 9
        }]
    );
    assert_eq!(parse(good.trim_end()), Err(DataError::NoLineEnd));
    assert_eq!(parse(""), Err(DataError::NoLineEnd));
    assert_eq!(
        parse(&format!("{good}\n")),
        Err(DataError::FieldCount { row: 2, got: 1 })
    );
    assert_eq!(
        parse(&format!("{good}1,{good}")),
        Err(DataError::FieldCount { row: 2, got: 66 })
    );
    assert_eq!(
        parse(&good.replacen("16,", "", 1)),
        Err(DataError::FieldCount { row: 1, got: 64 })
    );
    for bad in ["17", "-1", "+1", "", " 1", "01", "1.0", "nan", "016", "99"] {
        let column = 3;
        let text = good.replacen("16,16,16", &format!("16,16,{bad}"), 1);
        assert_eq!(
            parse(&text),
            Err(DataError::Field {
                row: 1,
                column,
                max: 16
            }),
            "pixel {bad:?}"
        );
    }
    for bad in ["10", "", "a", "9\r"] {
        let text = format!("{good}{}", row("0", bad));
        assert_eq!(
            parse(&text),
            Err(DataError::Field {
                row: 2,
                column: 65,
                max: 9
            }),
            "label {bad:?}"
        );
    }
    assert_eq!(parse("\u{e9}\n"), Err(DataError::NotText));
    assert_eq!(
        parse(&"0".repeat(MAX_CSV_BYTES + 1)),
        Err(DataError::TooLarge)
    );
    let mut bytes = gzip(&good);
    bytes.extend([0; 3]);
    assert_eq!(
        parse_digits(&bytes),
        Err(DataError::TrailingBytes { bytes: 3 })
    );
    for damaged in [&[][..], b"not gzip", &bytes[..bytes.len() - 8]] {
        assert!(matches!(parse_digits(damaged), Err(DataError::Gzip { .. })));
    }
    let crc = bytes.len() - 3 - 8;
    bytes.truncate(bytes.len() - 3);
    bytes[crc] ^= 1;
    assert!(matches!(parse_digits(&bytes), Err(DataError::Gzip { .. })));
}

#[test]
fn shards_are_disjoint_complete_and_even() {
    let key = |digit: &Digit| (digit.pixels.map(f32::to_bits), digit.label);
    let mut all: Vec<_> = embedded_digits().unwrap().iter().map(key).collect();
    all.sort_unstable();
    for clients in [1, 3, 20, 999, 1399, 1400] {
        for sharding in [
            Sharding::Iid,
            Sharding::LabelSkew { percent: 50 },
            Sharding::LabelSkew { percent: 100 },
        ] {
            let federation = Federation::new(DemoConfig::small(), SEED, clients, sharding).unwrap();
            assert_eq!(federation.clients(), clients);
            assert_eq!(federation.test_examples().len(), TEST_EXAMPLES);
            let sizes: Vec<usize> = federation.shards().iter().map(Vec::len).collect();
            assert!(
                sizes
                    .iter()
                    .all(|&s| s == 1400 / clients || s == 1400_usize.div_ceil(clients))
            );
            let dealt = federation
                .shards()
                .iter()
                .flatten()
                .chain(federation.test_examples());
            let mut dealt: Vec<_> = dealt.map(key).collect();
            dealt.sort_unstable();
            assert_eq!(dealt, all);
        }
    }
}

#[test]
fn label_skew_concentrates_labels() {
    let concentration = |sharding| {
        let federation = Federation::new(DemoConfig::small(), SEED, CLIENTS, sharding).unwrap();
        let top = |shard: &Vec<Digit>| {
            (0..10)
                .map(|l| shard.iter().filter(|d| d.label == l).count())
                .max()
                .unwrap()
        };
        federation.shards().iter().map(top).sum::<usize>() as f64 / 1400.0
    };
    let [iid, mild, full] =
        [0, 50, 100].map(|percent| concentration(Sharding::LabelSkew { percent }));
    assert_eq!(iid, concentration(Sharding::Iid));
    assert!(
        iid < 0.25 && (0.4..0.7).contains(&mild) && full > 0.8,
        "{iid} {mild} {full}"
    );
}

#[test]
fn impossible_federations_are_refused() {
    let new = |clients, sharding| {
        Federation::new(DemoConfig::small(), SEED, clients, sharding).unwrap_err()
    };
    for clients in [0, 1401, usize::MAX] {
        let error = LearningError::ClientCount {
            clients,
            examples: 1400,
        };
        assert_eq!(new(clients, Sharding::Iid), error);
    }
    assert_eq!(
        new(2, Sharding::LabelSkew { percent: 101 }),
        LearningError::SkewPercent { percent: 101 }
    );
    let federation = federation(DemoConfig::small());
    let global = federation.initial_parameters();
    for client in [20, 1 << 16, usize::MAX] {
        let error = LearningError::NoSuchClient {
            client,
            clients: 20,
        };
        assert_eq!(
            federation.local_update(client, 0, &global),
            Err(error.clone())
        );
        let attackers = BTreeMap::from([(client, Attack::Scaled)]);
        assert_eq!(plain_averaging(&federation, 1, &attackers), Err(error));
    }
}

#[test]
fn impossible_training_is_refused() {
    let examples = embedded_digits().unwrap();
    let model = Model::Softmax;
    let good = DemoConfig::small().training;
    let update = |global: &[f32], examples: &[Digit], training| {
        model
            .local_update(
                global,
                examples,
                &training,
                &mut ChaCha20Rng::from_seed(SEED),
            )
            .unwrap_err()
    };
    let global = vec![0.0; 650];
    for settings in [
        Training { epochs: 0, ..good },
        Training { batch: 0, ..good },
        Training {
            learning_rate: 0.0,
            ..good
        },
        Training {
            learning_rate: -1.0,
            ..good
        },
        Training {
            learning_rate: f32::NAN,
            ..good
        },
        Training {
            learning_rate: f32::INFINITY,
            ..good
        },
    ] {
        assert_eq!(
            update(&global, &examples, settings),
            LearningError::Settings
        );
    }
    assert_eq!(update(&global, &[], good), LearningError::NoExamples);
    let length = LearningError::ParameterCount {
        expected: 650,
        got: 649,
    };
    assert_eq!(update(&global[1..], &examples, good), length);
    assert_eq!(model.accuracy(&global[1..], &examples), Err(length.clone()));
    assert_eq!(model.canonical_bytes(&global[1..]), Err(length));
    assert_eq!(model.accuracy(&global, &[]), Err(LearningError::NoExamples));
    let mut diverged = global.clone();
    diverged[12] = f32::NEG_INFINITY;
    assert_eq!(
        update(&diverged, &examples, good),
        LearningError::NotFinite { index: 12 }
    );
    assert_eq!(
        model.canonical_bytes(&diverged),
        Err(LearningError::NotFinite { index: 12 })
    );
    assert_eq!(model.accuracy(&[f32::NAN; 650], &examples), Ok(0.0));

    assert_eq!(mean_update(&[]), Err(LearningError::NoUpdates));
    let ragged = LearningError::ParameterCount {
        expected: 2,
        got: 1,
    };
    assert_eq!(
        mean_update(&[vec![1.0, 2.0], vec![1.0]]),
        Err(ragged.clone())
    );
    assert_eq!(apply_mean(&[0.0; 2], &[0.0]), Err(ragged));
}

#[test]
fn averaging_and_attacks_do_the_arithmetic() {
    let mean = mean_update(&[vec![1.0, -2.0], vec![2.0, 4.0]]).unwrap();
    assert_eq!(mean, [1.5, 1.0]);
    assert_eq!(apply_mean(&[0.5, -1.0], &mean).unwrap(), [2.0, 0.0]);
    assert_eq!(Attack::Scaled.apply(&[1.5, -0.25]), [150.0, -25.0]);
    assert_eq!(
        Attack::ScaledAndFlipped.apply(&[1.5, -0.25]),
        [-150.0, 25.0]
    );
}

#[test]
fn canonical_bytes_are_fixed() {
    let mut parameters = vec![0.0; 650];
    (parameters[0], parameters[1]) = (1.0, -0.0);
    let bytes = Model::Softmax.canonical_bytes(&parameters).unwrap();
    assert_eq!(bytes.len(), 9 + 4 * 650);
    assert_eq!(
        bytes[..17],
        [1, 0x8a, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0]
    );
    let bytes = Model::Mlp.canonical_bytes(&vec![0.5; 52_510]).unwrap();
    assert_eq!(
        bytes[..13],
        [2, 0x1e, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3f]
    );
    assert_eq!(
        (
            Model::Softmax.parameter_count(),
            Model::Mlp.parameter_count()
        ),
        (650, 52_510)
    );
}

/// Two rounds of plain averaging, folded into one number. A change here changes what seeded demos produce.
fn fingerprint(config: DemoConfig, seed: [u8; 32]) -> u64 {
    let federation = Federation::new(config, seed, CLIENTS, Sharding::Iid).unwrap();
    let mut global = federation.initial_parameters();
    for round in 0..2 {
        let updates: Vec<_> = (0..CLIENTS)
            .map(|c| federation.local_update(c, round, &global).unwrap())
            .collect();
        global = apply_mean(&global, &mean_update(&updates).unwrap()).unwrap();
    }
    let bytes = config.model.canonical_bytes(&global).unwrap();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn the_seed_decides_everything() {
    let (small, large) = (DemoConfig::small(), DemoConfig::large());
    let found = (fingerprint(small, SEED), fingerprint(large, SEED));
    assert_eq!(
        found,
        (16_807_054_926_593_754_788, 12_932_219_995_028_358_968)
    );
    assert_ne!(fingerprint(small, [8; 32]), fingerprint(small, SEED));
    let federation = federation(small);
    let global = federation.initial_parameters();
    let update = |client, round| federation.local_update(client, round, &global).unwrap();
    assert_eq!(update(3, 1), update(3, 1));
    assert_ne!(
        update(3, 1),
        update(3, 2),
        "the order of examples differs by round"
    );
}

/// Accuracy after five rounds of 20 clients whose updates are clipped, quantised, summed as integers and decoded; and how many
/// updates were clipped.
fn quantised(federation: &Federation) -> (f64, u32) {
    let config = federation.config();
    let dim = config.model.parameter_count();
    let encoder = Encoder::new(dim, config.scale_bits, config.norm_bound).unwrap();
    assert_eq!(encoder.clip_norm(), config.clip_norm());
    let mut rng = ChaCha20Rng::from_seed(SEED);
    let mut global = federation.initial_parameters();
    let mut clipped = 0;
    for round in 0..ROUNDS {
        let mut sum = vec![0; dim];
        for client in 0..federation.clients() {
            let update = federation.local_update(client, round, &global).unwrap();
            let encoded = encoder.encode(&update, &mut rng).unwrap();
            clipped += u32::from(encoded.clipped());
            sum.iter_mut()
                .zip(encoded.values())
                .for_each(|(s, x)| *s += x);
        }
        global = apply_mean(&global, &encoder.decode_mean(&sum, CLIENTS as u64).unwrap()).unwrap();
    }
    (federation.accuracy(&global).unwrap(), clipped)
}

fn accuracies(config: DemoConfig) {
    let federation = federation(config);
    let plain = plain_averaging(&federation, ROUNDS, &BTreeMap::new()).unwrap();
    assert!(plain[4] >= 0.90, "plain averaging reaches {plain:?}");
    let (accuracy, clipped) = quantised(&federation);
    assert!(
        accuracy >= 0.90 && (accuracy - plain[4]).abs() < 0.02,
        "quantised: {accuracy}, plain {plain:?}"
    );
    assert_eq!(clipped, 0, "honest updates fit within the clip norm");
    for attack in [Attack::Scaled, Attack::ScaledAndFlipped] {
        let ruined = plain_averaging(&federation, ROUNDS, &BTreeMap::from([(3, attack)])).unwrap();
        assert!(ruined[4] < 0.5, "{attack:?} leaves {ruined:?}");
    }
    let skewed =
        Federation::new(config, SEED, CLIENTS, Sharding::LabelSkew { percent: 50 }).unwrap();
    let (accuracy, _) = quantised(&skewed);
    assert!(accuracy >= 0.88, "quantised with label skew: {accuracy}");
    println!(
        "{:?}: plain {plain:.3?}, skewed {accuracy:.3}",
        config.model
    );
}

#[test]
fn small_model_learns_and_plain_averaging_is_ruined() {
    accuracies(DemoConfig::small());
}

#[test]
fn large_model_learns_and_plain_averaging_is_ruined() {
    accuracies(DemoConfig::large());
}

/// An attacked update is far outside the norm that honest clients can prove, in every round.
#[test]
fn scaled_updates_exceed_the_clip_norm() {
    for config in [DemoConfig::small(), DemoConfig::large()] {
        let federation = federation(config);
        let mut global = federation.initial_parameters();
        for round in 0..ROUNDS {
            let updates: Vec<_> = (0..CLIENTS)
                .map(|c| federation.local_update(c, round, &global).unwrap())
                .collect();
            for update in &updates {
                let attacked = Attack::Scaled.apply(update);
                let norm = attacked
                    .iter()
                    .map(|&u| f64::from(u).powi(2))
                    .sum::<f64>()
                    .sqrt();
                assert!(
                    norm > 5.0 * config.clip_norm(),
                    "norm {norm} in round {round}"
                );
            }
            global = apply_mean(&global, &mean_update(&updates).unwrap()).unwrap();
        }
    }
}
