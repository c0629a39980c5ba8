//! Whole demos over QUIC: who is caught, and that the comparisons can fail.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use veilsum::params::ClientId;
use veilsum::protocol::{Culprit, Fault, Record, RoundContext, judge};
use veilsum::store::{ClosedLog, RealDisk};
use veilsum::wire::{Roster, Signed, Wire};
use veilsum::{ServerError, registrar_from_text, request_from_text};
use veilsum_demo::learning::DemoConfig;
use veilsum_demo::{
    Attack, Behaviour, CheatingServer, DemoError, DemoReport, Dropout, Interference, Plan, run_with,
};

fn plan(clients: usize, special: &[(usize, Behaviour)]) -> Plan {
    let mut behaviours = vec![Behaviour::Honest; clients];
    for (place, behaviour) in special {
        behaviours[*place] = *behaviour;
    }
    Plan {
        config: DemoConfig::small(),
        rounds: 1,
        seed: [5; 32],
        behaviours,
        cheating_server: None,
    }
}

async fn demo(plan: &Plan, added_to_sum: i64) -> DemoReport {
    let interference = Interference {
        added_to_sum,
        ..Interference::default()
    };
    under(plan, interference).await
}

async fn under(plan: &Plan, interference: Interference) -> DemoReport {
    let out = tempfile::tempdir().unwrap();
    run_with(plan, out.path().to_owned(), interference, |_| {})
        .await
        .unwrap()
}

fn reasons(report: &DemoReport) -> BTreeMap<ClientId, &'static str> {
    report.rounds[0]
        .rejected
        .iter()
        .map(|(client, check)| (*client, check.id()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_moves_with_the_attacker() {
    let kinds = [
        (Attack::Scaled, "proof.norm-range"),
        (Attack::ProofOfAnother, "proof.E2"),
        (Attack::BadShare, "share.value"),
    ];
    for (attack, reason) in kinds {
        for place in [1, 6] {
            let report = demo(&plan(10, &[(place, Behaviour::Malicious(attack))]), 0).await;
            let culprit = ClientId(u32::try_from(place).unwrap() + 1);
            assert_eq!(
                reasons(&report),
                BTreeMap::from([(culprit, reason)]),
                "{attack:?}"
            );
            assert_eq!(
                (report.rounds[0].accepted, report.rounds[0].light_checks),
                (9, 9)
            );
            assert!(report.held() && report.rounds[0].dropped.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_late_still_tells_of_its_bad_share() {
    let plan = plan(10, &[(1, Behaviour::Malicious(Attack::BadShare))]);
    let late = Interference {
        late_member: true,
        ..Interference::default()
    };
    let report = under(&plan, late).await;
    assert_eq!(
        reasons(&report),
        BTreeMap::from([(ClientId(2), "share.value")])
    );
    assert!(report.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unit_added_to_the_sum_is_noticed() {
    let plan = plan(5, &[]);
    let honest = demo(&plan, 0).await;
    assert!(honest.rounds[0].sum_exact && reasons(&honest).is_empty());
    let tampered = demo(&plan, 1).await;
    assert!(!tampered.rounds[0].sum_exact && !tampered.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dropouts_cost_themselves_only() {
    let special = [
        (0, Behaviour::Dropout(Dropout::BeforeContributing)),
        (4, Behaviour::Dropout(Dropout::AfterEndorsing)),
    ];
    let report = demo(&plan(10, &special), 0).await;
    let round = &report.rounds[0];
    assert_eq!((round.accepted, round.light_checks), (9, 8));
    assert_eq!(
        round.dropped.iter().copied().collect::<Vec<_>>(),
        [ClientId(1), ClientId(5)]
    );
    assert!(report.held() && round.rejected.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_shows_who_was_rejected_and_convicts() {
    let out = tempfile::tempdir().unwrap();
    let plan = plan(5, &[(2, Behaviour::Malicious(Attack::Scaled))]);
    let report = run_with(
        &plan,
        out.path().to_owned(),
        Interference::default(),
        |_| {},
    )
    .await
    .unwrap();
    assert_eq!(reasons(&report).len(), 1);
    let log = ClosedLog::read(Arc::new(RealDisk), &report.transcripts.join("1")).unwrap();
    let records: Vec<Record> = log
        .records()
        .unwrap()
        .map(|record| Record::from_bytes(&record.unwrap().payload).unwrap())
        .collect();
    let Some(Record::ServerAnnouncement { sent }) = records.first() else {
        panic!("the announcement comes first")
    };
    let registrar = registrar_from_text(&fs::read(out.path().join("registrar.pub")).unwrap());
    let registrar = registrar.unwrap();
    let roster = Signed::from_bytes(&fs::read(out.path().join("roster.bin")).unwrap()).unwrap();
    let roster = Arc::new(Roster::verify(roster, &registrar).unwrap());
    // Everybody in the roster has asked to be, and proved that it has its keys.
    let asked = roster.entries().iter().map(|entry| {
        let file = out.path().join(format!("requests/{}.join", entry.client));
        let request = request_from_text(&fs::read(file).unwrap()).unwrap();
        assert_eq!(request.admissible(&registrar, roster.epoch()), Ok(entry));
    });
    assert_eq!(asked.count(), 5);
    let context = RoundContext::new(sent.params.clone(), roster).unwrap();
    let convicted: Vec<(Culprit, &str)> = records
        .iter()
        .filter_map(|record| match record {
            Record::ServerEvidence { evidence } => Some(judge(&context, evidence).unwrap()),
            _ => None,
        })
        .map(|conviction| (conviction.culprit, conviction.check.id()))
        .collect();
    assert_eq!(
        convicted,
        [(Culprit::Client(ClientId(3)), "proof.norm-range")]
    );
}

/// A server that takes a contribution whose sum nobody can open ends the round, and says so, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_does_not_open_ends_the_demo() {
    let mut plan = plan(5, &[]);
    plan.cheating_server = Some(CheatingServer::AcceptsInvalid);
    let out = tempfile::tempdir().unwrap();
    let interference = Interference {
        planted: Attack::Scaled,
        ..Interference::default()
    };
    let run = run_with(&plan, out.path().to_owned(), interference, |_| {});
    // Less than it takes to give a round up, and far more than a demo takes.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(400), run).await;
    let fault = match ended.unwrap().unwrap_err() {
        DemoError::Server(ServerError::Fault(fault)) => fault,
        other => panic!("{other}"),
    };
    assert!(matches!(fault, Fault::Open(_)), "{fault}");
}
