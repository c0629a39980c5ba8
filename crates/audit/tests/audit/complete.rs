//! What must be in a log at its end, and what a report counts.

use crate::common::{Played, audited, play, report};
use crate::statements::{first, played, refused};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use veilsum_audit::{FaultKind, Outcome, Report};
use veilsum_params::MemberIndex;
use veilsum_protocol::{Check, OpenError, Record};
use veilsum_sim::{Deviation, Plan, Setup, World, forge};
use veilsum_wire::{RowsContent, Signed, result_vector_digest};

/// What is missing at the end of a log, not before one of its records.
fn missing(report: &Report) -> Vec<&'static str> {
    let at_the_end = report.faults.iter().filter(|fault| fault.record.is_none());
    at_the_end
        .filter_map(|fault| match fault.kind {
            FaultKind::Missing { what } => Some(what),
            _ => None,
        })
        .collect()
}

const PARTS: [(u8, &str); 7] = [
    (0x23, "a proposal"),
    (0x24, "a certificate (t endorsements)"),
    (0x25, "the list of convicted dealers"),
    (0x28, "the closing of the round"),
    (0x29, "the fixed list of convicted dealers"),
    (0x2a, "the last of t Finals"),
    (0x2c, "the result"),
];

#[test]
fn a_log_that_ends_early_lacks_what_would_follow() {
    for (i, (tag, _)) in PARTS.iter().enumerate() {
        let found = audited(played(), true, |records| {
            records.truncate(first(records, *tag));
        });
        let expected: Vec<&str> = PARTS.iter().skip(i).map(|(_, what)| *what).collect();
        assert_eq!(missing(&found), expected, "{tag:#04x}");
        assert_eq!(found.outcome, Outcome::Unfinished);
    }
    // One of t is not enough less.
    let threshold = usize::from(played().world.context.threshold());
    for (tag, what) in [(0x24, PARTS[1].1), (0x2a, PARTS[5].1)] {
        let mut left = 0;
        let found = audited(played(), true, |records| {
            records.retain(|record| {
                left += usize::from(record.tag() == tag);
                record.tag() != tag || left < threshold
            });
        });
        assert!(missing(&found).contains(&what), "{:?}", found.faults);
    }
    // A contribution without its receipt.
    let mut of = None;
    let found = audited(played(), true, |records| {
        if let Record::ServerReceipt { sent } = records.remove(first(records, 0x22)) {
            of = Some(sent.content.client);
        }
    });
    let client = of.unwrap();
    let kinds: Vec<&FaultKind> = found.faults.iter().map(|fault| &fault.kind).collect();
    assert_eq!(kinds, [&FaultKind::NoReceipt { client }]);
}

#[test]
fn a_report_counts_what_stands_in_the_log() {
    let found = report(&played().transcript(&played().records, &[]), true);
    assert_eq!(found.sizes.result, 8 * 12);
    for part in &found.members {
        let lists = played().records.iter().filter_map(|record| match record {
            Record::ServerRows { accepted } => Some(&accepted.signed.content),
            _ => None,
        });
        let own = lists.filter(|content| content.member == part.index);
        let slices = own.map(|content| content.slices.len()).max();
        assert_eq!(part.slices, slices.unwrap_or(0), "{}", part.index);
    }
    let silent = found.members.iter().filter(|part| part.slices == 0).count();
    assert!(silent > 0 && silent < found.members.len(), "{silent}");
}

/// An honest round in which every slice holds rows.
fn wide() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let setup = Setup {
            dim: 300,
            ..Setup::small(25)
        };
        play(World::new(setup).unwrap(), Plan::default())
    })
}

#[test]
fn lists_of_row_sums_are_in_order_and_hold_their_values() {
    let honest = report(&wide().transcript(&wide().records, &[]), true);
    assert_eq!(honest.faults, []);
    let longest = |record: &Record| match record {
        Record::ServerRows { accepted } => accepted.signed.content.slices.len() > 1,
        _ => false,
    };
    let at = wide().records.iter().position(longest).unwrap();
    let with = |change: &dyn Fn(&mut RowsContent), values: bool| {
        let found = audited(wide(), true, |records| {
            let Record::ServerRows { accepted } = &mut records[at] else {
                return;
            };
            let mut content = accepted.signed.content.clone();
            change(&mut content);
            let (_, key, _) = wide().world.member_keys(content.member).unwrap();
            accepted.signed = Signed::sign(content, key);
            if values {
                accepted.values.values[0][0] ^= 1;
            }
        });
        refused(&found, at, &[Check::RowsContent]);
    };
    with(&|content| content.slices.reverse(), false);
    with(
        &|content| {
            content
                .slices
                .push(content.slices[content.slices.len() - 1])
        },
        false,
    );
    // Values that are not those of the list.
    with(&|_| (), true);
}

#[test]
fn a_slice_without_its_signers_is_told() {
    let want = usize::try_from(wide().world.context.params().row_signers()).unwrap();
    let found = audited(wide(), true, |records| {
        records.retain(|record| record.tag() != 0x2b);
    });
    let slices: Vec<u16> = (0..wide().world.context.members()).collect();
    let expected: Vec<FaultKind> = slices
        .into_iter()
        .map(|slice| FaultKind::RowSigners {
            slice,
            got: 0,
            want,
        })
        .collect();
    let kinds: Vec<FaultKind> = found.faults.into_iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, expected);
}

/// A round all of whose dealers are convicted: its sum is zero, and nothing is there to decode.
#[test]
fn a_sum_over_nobody_is_zero_and_nothing_else() {
    let world = World::new(Setup::small(26)).unwrap();
    let deviation = Deviation {
        bad_shares: vec![MemberIndex(2)],
        ..Deviation::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(26);
    let uploads: BTreeMap<_, _> = world
        .context
        .cohort()
        .iter()
        .map(|client| {
            let forged = forge(&world, *client, &deviation, &mut rng).unwrap();
            (*client, vec![forged.upload()])
        })
        .collect();
    let plan = Plan {
        uploads,
        ..Plan::default()
    };
    let played = play(world, plan);
    let honest = report(&played.transcript(&played.records, &[]), false);
    assert_eq!(honest.faults, []);
    assert_eq!(honest.outcome, Outcome::Result { summed: 0 });
    let found = audited(&played, false, |records| {
        for record in records {
            if let Record::ServerResult { sent } = record {
                sent.vector[0] = 1;
                let mut content = sent.signed.content.clone();
                content.vector_digest = result_vector_digest(&sent.vector);
                sent.signed = Signed::sign(content, &played.world.server);
            }
        }
    });
    let kinds: Vec<FaultKind> = found.faults.into_iter().map(|fault| fault.kind).collect();
    let cause = Some(OpenError::Empty);
    let expected = [FaultKind::Sum { row: 0 }, FaultKind::Decoding { cause }];
    assert_eq!(kinds, expected);
}
