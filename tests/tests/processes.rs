//! Server and clients as processes of their own.

use std::collections::BTreeSet;
use std::fs;

use veilsum_e2e::{Deployment, Running, json};

const CLIENTS: u32 = 6;

fn values(id: u32) -> [f64; 5] {
    let id = f64::from(id);
    [id / 8.0, -id / 4.0, 0.0, 0.5, id / 16.0]
}

fn mean(ids: impl Iterator<Item = u32> + Clone) -> Vec<f64> {
    let count = ids.clone().count() as f64;
    (0..5)
        .map(|j| ids.clone().map(|id| values(id)[j]).sum::<f64>() / count)
        .collect()
}

fn start(deployment: &Deployment, address: &str, id: u32) -> Running {
    let update = deployment.update(&format!("update-{id}.npy"), &values(id));
    deployment.client(id, address, &update)
}

fn finished(running: Running) {
    let output = running.end();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        json(&String::from_utf8_lossy(&output.stdout))["checked"],
        true
    );
}

#[test]
fn a_killed_client_does_not_stop_the_round() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let address = deployment.address();
    let mut pids = BTreeSet::from([std::process::id(), server.id()]);
    // Killed once it is in the middle of the round: it has joined, and the log of what it signed is there.
    let killed = start(&deployment, &address, 6);
    pids.insert(killed.id());
    deployment.wait("joined client", || {
        fs::metadata(deployment.file("client-6.state/client/log")).ok()
    });
    killed.kill();
    let clients: Vec<Running> = (1..CLIENTS)
        .map(|id| start(&deployment, &address, id))
        .collect();
    pids.extend(clients.iter().map(Running::id));
    assert_eq!(
        pids.len(),
        2 + CLIENTS as usize,
        "all are processes of their own"
    );
    clients.into_iter().for_each(finished);
    let output = server.end();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = json(&String::from_utf8_lossy(&output.stdout));
    let accepted = report["accepted"].as_u64().unwrap();
    // The killed client may have contributed before it died.
    match accepted {
        5 => assert_eq!(deployment.result(), mean(1..CLIENTS)),
        6 => assert_eq!(deployment.result(), mean(1..=CLIENTS)),
        other => panic!("{other} contributions"),
    }
    assert_eq!(report["rejected"].as_array().unwrap().len(), 0);
}

#[test]
fn a_killed_server_goes_on_with_the_round() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let address = deployment.address();
    let early: Vec<Running> = (1..=3).map(|id| start(&deployment, &address, id)).collect();
    deployment.wait("three contributions", || {
        deployment
            .status(&address)
            .filter(|status| status["contributions"] == 3)
    });
    server.kill();
    // The same port, so that the clients find it again.
    let config = fs::read_to_string(deployment.file("server.toml")).unwrap();
    fs::write(
        deployment.file("server.toml"),
        config.replace("127.0.0.1:0", &address),
    )
    .unwrap();
    let server = deployment.server();
    let status = deployment.wait("restarted server", || {
        deployment
            .status(&address)
            .filter(|status| !status["round"].is_null())
    });
    assert_eq!(
        status["contributions"], 3,
        "what had a receipt is still there"
    );
    let late: Vec<Running> = (4..=CLIENTS)
        .map(|id| start(&deployment, &address, id))
        .collect();
    early.into_iter().chain(late).for_each(finished);
    let output = server.end();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        json(&String::from_utf8_lossy(&output.stdout))["accepted"],
        6
    );
    assert_eq!(deployment.result(), mean(1..=CLIENTS));

    // The round is over for ever.
    let again = deployment.server().end();
    assert_eq!(
        again.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
}

#[test]
fn too_few_contributions_abort_the_round() {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure("contribute_seconds = 3");
    let server = deployment.server();
    let client = start(&deployment, &deployment.address(), 1);
    assert_eq!(client.end().status.code(), Some(4));
    assert_eq!(server.end().status.code(), Some(4));
    assert!(fs::metadata(deployment.file("result.npy")).is_err());
}
