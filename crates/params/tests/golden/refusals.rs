//! Every refusal of parameters, exactly.

use veilsum_params::{
    Beacon, ClientId, Layout, MemberSlot, ParameterError, Policy, RoundParams, limits,
};

fn params() -> RoundParams {
    RoundParams {
        protocol_version: 1,
        generator_set: 1,
        round_id: 7,
        epoch: 1,
        server_key: [1; 32],
        model_digest: [2; 32],
        roster_digest: [3; 32],
        beacon: Beacon {
            source: [4; 32],
            round: 5,
            value: [6; 32],
        },
        dim: 650,
        scale_bits: 12,
        norm_bound: 32767,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: 20,
        n_max: 20,
        n_min: 14,
        malicious_max: 6,
        threshold: 14,
        committee: (1..=20)
            .map(|c| MemberSlot {
                client: ClientId(c),
                share_key: [9; 32],
            })
            .collect(),
        contribute_deadline_ms: 0,
    }
}

fn refused(change: impl FnOnce(&mut RoundParams)) -> ParameterError {
    let mut params = params();
    change(&mut params);
    params.layout().unwrap_err()
}

fn range(field: &'static str, got: u64, min: u64, max: u64) -> ParameterError {
    ParameterError::Range {
        field,
        got,
        min,
        max,
    }
}

#[test]
fn the_sample_is_accepted() {
    assert_eq!(params().layout(), Layout::derive(650, 32767, 20, 20, 14));
}

#[test]
fn versions_must_be_this_librarys() {
    for got in [0, 2, u16::MAX] {
        assert_eq!(
            refused(|p| p.protocol_version = got),
            ParameterError::Version {
                what: "protocol",
                got,
                want: 1
            }
        );
        assert_eq!(
            refused(|p| p.generator_set = got),
            ParameterError::Version {
                what: "generator set",
                got,
                want: 1
            }
        );
    }
}

#[test]
fn reserved_fields_must_be_neutral() {
    let reserved = |field, got, neutral| ParameterError::Reserved {
        field,
        got,
        neutral,
    };
    assert_eq!(refused(|p| p.weight_max = 0), reserved("weight_max", 0, 1));
    assert_eq!(refused(|p| p.weight_max = 2), reserved("weight_max", 2, 1));
    assert_eq!(refused(|p| p.predicates = 1), reserved("predicates", 1, 0));
    assert_eq!(refused(|p| p.groups = 0), reserved("groups", 0, 1));
    assert_eq!(refused(|p| p.groups = 2), reserved("groups", 2, 1));
}

#[test]
fn every_field_has_its_range() {
    let dim_max = u64::from(limits::DIM_MAX);
    let n_max = u64::from(limits::N_MAX);
    assert_eq!(refused(|p| p.dim = 0), range("dim", 0, 1, dim_max));
    assert_eq!(
        refused(|p| p.dim = limits::DIM_MAX + 1),
        range("dim", dim_max + 1, 1, dim_max)
    );
    assert_eq!(
        refused(|p| p.scale_bits = 41),
        range("scale_bits", 41, 0, 40)
    );
    assert_eq!(
        refused(|p| p.norm_bound = 0),
        range("norm_bound", 0, 1, u32::MAX.into())
    );
    assert_eq!(refused(|p| p.n_max = 1), range("n_max", 1, 2, n_max));
    assert_eq!(
        refused(|p| p.n_max = limits::N_MAX + 1),
        range("n_max", n_max + 1, 2, n_max)
    );
    assert_eq!(
        refused(|p| p.cohort_size = 1),
        range("cohort_size", 1, 2, 20)
    );
    assert_eq!(
        refused(|p| p.cohort_size = 21),
        range("cohort_size", 21, 2, 20)
    );
    assert_eq!(refused(|p| p.n_min = 13), range("n_min", 13, 14, 20));
    assert_eq!(refused(|p| p.n_min = 21), range("n_min", 21, 14, 20));
    assert_eq!(
        refused(|p| p.malicious_max = 13),
        range("malicious_max", 13, 0, 12)
    );
    assert_eq!(
        refused(|p| p.threshold = 13),
        range("threshold", 13, 14, 20)
    );
    assert_eq!(
        refused(|p| p.threshold = 21),
        range("threshold", 21, 14, 20)
    );
}

#[test]
fn the_committee_is_a_list_of_two_to_512_distinct_clients_of_the_cohort() {
    assert_eq!(
        refused(|p| p.committee.truncate(1)),
        range("committee size", 1, 2, 20)
    );
    assert_eq!(
        refused(|p| p.committee.clear()),
        range("committee size", 0, 2, 20)
    );
    let member = |c| MemberSlot {
        client: ClientId(c),
        share_key: [1; 32],
    };
    assert_eq!(
        refused(|p| p.committee.push(member(99))),
        range("committee size", 21, 2, 20)
    );
    let large = |p: &mut RoundParams| {
        (p.cohort_size, p.n_max, p.n_min) = (1000, 1000, 700);
        p.committee = (0..513).map(member).collect();
    };
    assert_eq!(refused(large), range("committee size", 513, 2, 512));
    assert_eq!(
        refused(|p| p.committee[19] = p.committee[3]),
        ParameterError::DuplicateMember { client: 4 }
    );
}

#[test]
fn a_layout_is_only_derived_from_arguments_in_their_ranges() {
    assert_eq!(
        Layout::derive(0, 1, 2, 2, 2),
        Err(range("dim", 0, 1, limits::DIM_MAX.into()))
    );
    assert_eq!(
        Layout::derive(u32::MAX, 1, 2, 2, 2),
        Err(range("dim", u32::MAX.into(), 1, limits::DIM_MAX.into()))
    );
    assert_eq!(
        Layout::derive(1, 0, 2, 2, 2),
        Err(range("norm_bound", 0, 1, u32::MAX.into()))
    );
    assert_eq!(
        Layout::derive(1, 1, 0, 2, 2),
        Err(range("n_max", 0, 1, limits::N_MAX.into()))
    );
    assert_eq!(
        Layout::derive(1, 1, limits::N_MAX + 1, 2, 2),
        Err(range(
            "n_max",
            u64::from(limits::N_MAX) + 1,
            1,
            limits::N_MAX.into()
        ))
    );
}

#[test]
fn direct_mode_is_refused_where_the_sum_could_not_be_decoded() {
    // 4 (2^20 2^27)^2 = 2^96 is the last that fits.
    assert!(Layout::direct(4, 1 << 27, 1 << 20).is_ok());
    assert_eq!(
        Layout::direct(5, 1 << 27, 1 << 20),
        Err("the discrete logarithms of the sum are out of reach")
    );
    assert!(
        Layout::derive(5, 1 << 27, 1 << 20, 2, 2)
            .unwrap()
            .masked_constants()
            .is_some()
    );
}

#[test]
fn every_floor_of_a_policy_holds() {
    let policy = Policy {
        n_min: 14,
        committee: 20,
        malicious_max: 6,
        dim_max: 650,
        n_max: 20,
        unproven_draw: false,
    };
    assert_eq!(params().check_policy(&policy), Ok(()));
    let below = |field, got, floor| Err(ParameterError::BelowFloor { field, got, floor });
    let check = |change: fn(&mut Policy)| {
        let mut stricter = policy;
        change(&mut stricter);
        params().check_policy(&stricter)
    };
    assert_eq!(check(|p| p.n_min = 15), below("n_min", 14, 15));
    assert_eq!(check(|p| p.committee = 21), below("committee size", 20, 21));
    assert_eq!(check(|p| p.malicious_max = 7), below("malicious_max", 6, 7));
    assert_eq!(check(|p| p.dim_max = 649), Err(range("dim", 650, 1, 649)));
    assert_eq!(check(|p| p.n_max = 19), Err(range("n_max", 20, 1, 19)));
}
