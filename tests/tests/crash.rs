//! A short run of what `cargo run -p veilsum-e2e --release --bin crash` does for hours, and whether it can fail.

use std::collections::BTreeSet;
use std::fs;

use veilsum::ClientKeys;
use veilsum::params::ClientId;
use veilsum::protocol::{Party, Record};
use veilsum::wire::{EndorseContent, ReceiptContent, Signed, Wire};
use veilsum_e2e::Deployment;
use veilsum_e2e::crash::{CLIENTS, Kill, Phase, Plan, Seen, Tables, Trigger, Victim};
use veilsum_e2e::crash::{run, run_round};
use veilsum_lab::Checker;

#[test]
fn killed_parties_go_on_where_their_logs_end() {
    let tally = run(20, 7, |_| {});
    println!("{tally}");
    for victim in Victim::ALL {
        let kills: u32 = Phase::ALL.iter().map(|p| tally.of(*p, victim)).sum();
        assert!(kills > 0, "{victim:?}: {tally}");
    }
}

fn found(seen: &Seen) -> BTreeSet<Checker> {
    seen.check().iter().map(|v| v.checker).collect()
}

/// Each alteration of what real processes left is found by its checker, and without it there is nothing to find.
#[test]
fn the_checkers_find_what_is_wrong_with_a_real_round() {
    let deployment = Deployment::new(CLIENTS);
    let plan = Plan {
        cheat: true,
        dropout: true,
        ..Plan::quiet(1, 300)
    };
    let mut seen = run_round(&deployment, &plan, &mut Tables::default())
        .unwrap()
        .seen;
    assert_eq!(seen.check(), []);
    let cheat = *seen.corrupt.first().unwrap();
    assert_eq!(seen.cheats[&cheat].len(), 1);

    // One coordinate of one client is another than what it contributed.
    let first = *seen.updates.keys().next().unwrap();
    seen.updates.get_mut(&first).unwrap()[0] += 1;
    assert_eq!(found(&seen), [Checker::Sum].into());
    seen.updates.get_mut(&first).unwrap()[0] -= 1;

    // The malicious client is taken for honest.
    let corrupt = std::mem::take(&mut seen.corrupt);
    assert!(found(&seen).contains(&Checker::Framing));
    seen.corrupt = corrupt;

    // What it is convicted of is not what it did.
    let cheats = std::mem::take(&mut seen.cheats);
    assert_eq!(found(&seen), [Checker::Table].into());
    seen.cheats = cheats;

    // Somebody in U has not checked the result.
    let light = seen.report.light.remove(&first).unwrap();
    assert_eq!(found(&seen), [Checker::Light].into());
    seen.report.light.insert(first, light);

    // The client that went away has a receipt for a contribution, signed by the server.
    let gone = |c: &&ClientId| !seen.updates.contains_key(c) && Party::Client(**c) != cheat;
    let gone = *seen.context.cohort().iter().find(gone).unwrap();
    let receipt = ReceiptContent {
        params_digest: *seen.context.digest(),
        client: gone,
        header_digest: seen.report.receipts[&first].content.header_digest,
    };
    let receipt = Signed::sign(receipt, &seen.server);
    seen.report.receipts.insert(gone, receipt.clone());
    assert!(found(&seen).contains(&Checker::Inclusion));
    seen.report.receipts.remove(&gone);

    // In a copy of a log a member endorses something else; the same endorsement once more is nothing.
    let endorsed = |bytes: &Vec<u8>| match Record::from_bytes(bytes) {
        Ok(Record::MemberEndorse { sent }) => Some(sent),
        _ => None,
    };
    let mut endorse = seen.report.other_logs.iter().find_map(endorsed).unwrap();
    let content = &endorse.signed.content;
    let (client, _) = seen.context.member(content.member).unwrap();
    let keys = fs::read(deployment.file(&format!("client-{}.key", client.0))).unwrap();
    let keys = ClientKeys::from_text(&keys).unwrap();
    let logs = seen.report.other_logs.clone();
    for (count, twice) in [
        (content.count, BTreeSet::new()),
        (content.count + 1, [Checker::Twice].into()),
    ] {
        let content = EndorseContent {
            count,
            ..endorse.signed.content.clone()
        };
        endorse.signed = Signed::sign(content, keys.identity());
        let sent = endorse.clone();
        let again = Record::MemberEndorse { sent }.to_bytes();
        seen.report.other_logs.push(again);
        assert_eq!(found(&seen), twice, "{count}");
        seen.report.other_logs.clone_from(&logs);
    }

    // The proposal is cut out of the server's log: it gives back no server.
    let is_proposal =
        |bytes: &Vec<u8>| matches!(Record::from_bytes(bytes), Ok(Record::ServerProposal { .. }));
    let at = seen.report.log.iter().position(is_proposal).unwrap();
    let record = seen.report.log.remove(at);
    assert!(found(&seen).contains(&Checker::Same));
    seen.report.log.insert(at, record);

    // Another one was refused, of whom nobody can show anything.
    let refused = seen.report.refused.clone();
    seen.report.refused[0].1 = Party::Client(first);
    seen.report.refused[0].2.culprit = Some(first);
    assert_eq!(found(&seen), [Checker::Evidence].into());
    seen.report.refused = refused;
    assert_eq!(seen.check(), []);

    // A body in the transcript is not what was sent.
    let bodies = fs::read_dir(seen.transcript.join("bodies")).unwrap();
    let body = bodies.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = fs::read(&body).unwrap();
    bytes[100] ^= 1;
    fs::write(&body, bytes).unwrap();
    assert!(found(&seen).contains(&Checker::Audit));
}

/// A client that loses its state when it is killed contributes a second time: whatever the round makes of it, the copy of the log
/// that was taken at the kill shows it.
#[test]
fn a_client_that_forgets_its_log_is_found_to_sign_twice() {
    let deployment = Deployment::new(CLIENTS);
    let mut plan = Plan::quiet(1, 5);
    plan.forgets = true;
    plan.kills.push(Kill {
        victim: Victim::Client,
        which: 0,
        phase: Phase::Contributing,
        trigger: Trigger::Receipt,
        pause: std::time::Duration::ZERO,
        down: std::time::Duration::ZERO,
    });
    let ran = run_round(&deployment, &plan, &mut Tables::default()).unwrap();
    let found = ran.seen.check();
    let twice = |v: &&veilsum_lab::Violation| {
        v.checker == Checker::Twice && v.what.ends_with("signed a second contribution")
    };
    assert_eq!(found.iter().filter(twice).count(), 1, "{found:#?}");
}
