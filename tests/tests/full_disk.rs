//! A disk that fills up in the middle of a round, through the program.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use veilsum_e2e::{Deployment, Running, json};

const CLIENTS: u32 = 6;
/// Ignored by whoever starts a process, the signal stays away and writing fails, as on a full disk.
const NO_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

fn start(deployment: &Deployment, address: &str, id: u32) -> Running {
    let values = [f64::from(id), -f64::from(id) / 4.0, 0.0, 0.5, 1.0];
    let update = deployment.update(&format!("update-{id}.npy"), &values);
    deployment.client(id, address, &update)
}

/// Limits (softly, so that it can be lifted) the size of the files that a process may write: with one byte its disk is full.
fn limit(server: &Running, bytes: &str) {
    let limited = Command::new("prlimit")
        .args(["--pid", &server.id().to_string()])
        .arg(format!("--fsize={bytes}:"))
        .status();
    assert!(
        limited.unwrap().success(),
        "prlimit of util-linux is needed"
    );
}

fn finished(running: Running) {
    let output = running.end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(
        json(&String::from_utf8_lossy(&output.stdout))["checked"],
        true
    );
}

#[test]
fn a_full_disk_is_told_and_loses_nothing_that_was_acknowledged() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server_by(&NO_SIGNAL);
    let address = deployment.address();
    let early: Vec<Running> = (1..=3).map(|id| start(&deployment, &address, id)).collect();
    deployment.wait("three contributions", || {
        deployment
            .status(&address)
            .filter(|status| status["contributions"] == 3)
    });
    limit(&server, "1");
    let output = start(&deployment, &address, 4).end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server cannot store"), "{said}");
    assert_eq!(
        deployment.status_soon(&address)["contributions"],
        3,
        "what had a receipt is still there"
    );
    // Room again: nobody has to be started anew but the one that was told.
    limit(&server, "unlimited");
    let late: Vec<Running> = (4..=CLIENTS)
        .map(|id| start(&deployment, &address, id))
        .collect();
    early.into_iter().chain(late).for_each(finished);
    let output = server.end();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        ["contribution_not_stored", "spool_failed"]
            .iter()
            .any(|event| said.contains(event)),
        "the operator is told as well: {said}"
    );
    let mean = f64::from((1..=CLIENTS).sum::<u32>()) / f64::from(CLIENTS);
    assert_eq!(deployment.result(), [mean, -mean / 4.0, 0.0, 0.5, 1.0]);
}

#[test]
fn a_full_disk_of_a_client_and_of_a_member_is_told_and_nothing_is_signed_twice() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let address = deployment.address();
    let update = deployment.update("update-1.npy", &[1.0, -0.25, 0.0, 0.5, 1.0]);
    let first = |starter: &[&str]| deployment.client_by(starter, 1, &address, &update);
    let refused = |running: Running, file: &str| {
        let output = running.end();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("the disk is full") && said.contains(file),
            "{said}"
        );
    };
    // Room for the roster, and not for a contribution.
    let tight = [&["prlimit", "--fsize=4096"][..], &NO_SIGNAL].concat();
    refused(first(&tight), "client-1.state/client/log");
    assert_eq!(deployment.status_soon(&address)["contributions"], 0);
    // Room for that, and none when the committee is to fix what the sum is over.
    let member = first(&NO_SIGNAL);
    deployment.wait("a contribution", || {
        deployment
            .status(&address)
            .filter(|status| status["contributions"] == 1)
    });
    deployment.wait("a member's log", || {
        let dir = deployment.file("client-1.state/member/1/log");
        std::path::Path::new(&dir).is_file().then_some(())
    });
    limit(&member, "1");
    let others: Vec<Running> = (2..=CLIENTS)
        .map(|id| start(&deployment, &address, id))
        .collect();
    refused(member, "client-1.state/member/1/log");
    let member = start(&deployment, &address, 1);
    others.into_iter().chain([member]).for_each(finished);
    let output = server.end();
    assert!(output.status.success());
    let said = json(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(said["accepted"], CLIENTS, "{said}");
    assert_eq!(said["rejected"], serde_json::json!([]), "{said}");
    let mean = f64::from((1..=CLIENTS).sum::<u32>()) / f64::from(CLIENTS);
    assert_eq!(deployment.result(), [mean, -mean / 4.0, 0.0, 0.5, 1.0]);
    // Whoever signs two of anything is convicted by a file beside the log.
    let beside = std::fs::read_dir(deployment.file("state/rounds/1")).unwrap();
    let mut names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.starts_with("evidence-")));
}
