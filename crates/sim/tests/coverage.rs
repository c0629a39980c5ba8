//! Every check of server and members is tripped by a test that carries its name.

use veilsum_protocol::Check;

const TESTS: &str = concat!(
    include_str!("attacks.rs"),
    include_str!("member_set.rs"),
    include_str!("member_closing.rs"),
    include_str!("server_collecting.rs"),
    include_str!("server_closing.rs"),
);

/// Checks that the protocol crate's own tests trip: those of clients, of contributions and of light clients.
const ELSEWHERE: &[&str] = &[
    "announcement.",
    "header.",
    "body.",
    "contribution.masked",
    "receipt.",
    "request.",
    "evidence.",
    "sum.",
    "result.",
    "light.",
];

#[test]
fn every_check_has_a_test_with_its_name() {
    let names: Vec<&str> = TESTS
        .split("#[test]\n")
        .filter_map(|part| {
            part.strip_prefix("fn ")?
                .split_once('(')
                .map(|(name, _)| name)
        })
        .collect();
    assert!(names.len() > 90);
    let untested: Vec<&str> = Check::ALL
        .iter()
        .map(|check| check.id())
        .filter(|id| !ELSEWHERE.iter().any(|prefix| id.starts_with(prefix)))
        .filter(|id| {
            let name = id.replace(['.', '-'], "_");
            !names.iter().any(|test| test.ends_with(&name))
        })
        .collect();
    assert_eq!(untested, Vec::<&str>::new());
}

/// The tests of the proof and of the protocol crate, where attacks are run that need no simulated round.
const OTHERS: &str = concat!(
    include_str!("../../proof/tests/attacks.rs"),
    include_str!("../../protocol/tests/checks/client.rs"),
    include_str!("../../protocol/tests/checks/light.rs"),
);

#[test]
fn every_attack_that_shaped_the_protocol_is_run() {
    let tests = [TESTS, OTHERS].concat();
    let run = |number: u32| tests.contains(&format!("#[test]\nfn a{number:02}_"));
    let missing: Vec<u32> = (1..=18).filter(|number| !run(*number)).collect();
    assert_eq!(missing, Vec::<u32>::new());
    assert!(!run(19));
}
