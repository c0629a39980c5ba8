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
    deployment.configure("n_min = 5");
    let server = deployment.server();
    let address = deployment.address();
    let mut pids = BTreeSet::from([std::process::id(), server.id()]);
    // Killed once it is in the middle of the round. One that the server has not heard of is waited for until the deadline.
    let killed = start(&deployment, &address, 6);
    pids.insert(killed.id());
    deployment.wait("joined client", || {
        deployment
            .status(&address)
            .filter(|status| status["joined"] == 1)
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
    deployment.configure("contribute_seconds = 20");
    let server = deployment.server();
    let client = start(&deployment, &deployment.address(), 1);
    assert_eq!(client.end().status.code(), Some(4));
    assert_eq!(server.end().status.code(), Some(4));
    assert!(fs::metadata(deployment.file("result.npy")).is_err());
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a client that is started again, or whose update is too long, is told; and where it leaves the mean.
#[test]
fn a_client_says_what_became_of_its_update_and_writes_the_mean() {
    let deployment = Deployment::new(4);
    let server = deployment.server();
    let address = deployment.address();
    // The others are not there yet: it contributes, and gives up waiting.
    let first = deployment.update("first.npy", &values(1));
    let stored = "round 1: the contribution is stored and has the server's receipt";
    let given_up = |patience: &str| {
        let short = deployment.client_with(1, &address, &first, &["--patience", patience]);
        let output = short.end();
        let words = said(&output);
        assert_eq!(output.status.code(), Some(1), "{words}");
        words
    };
    // A busy machine may take longer for it than the first times.
    let mut attempts = ["4", "16", "64", "256"].into_iter().map(given_up);
    let words = attempts.find(|words| words.contains(stored)).unwrap();
    let again = "Start the client again with the same arguments";
    assert!(words.contains(again), "{words}");

    // Names are looked up.
    let port = address.rsplit_once(':').unwrap().1;
    let other = deployment.update("other.npy", &values(2));
    let mean_1 = deployment.file("mean-{round}.npy");
    let again = deployment.client_with(
        1,
        &format!("localhost:{port}"),
        &other,
        &["--result", &mean_1],
    );
    // A norm bound of 32767 / 4096 is below 8.
    let long = deployment.update("long.npy", &[0.0, 0.0, 3e3, 0.0, 0.0]);
    let clipped = deployment.client(2, &address, &long);
    let others: Vec<Running> = (3..=4).map(|id| start(&deployment, &address, id)).collect();

    let output = again.end();
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    assert!(
        words.contains("has contributed to round 1 before: that contribution stands")
            && words.contains("other.npy"),
        "{words}"
    );
    let told = json(&String::from_utf8_lossy(&output.stdout));
    let mean = deployment.file("mean-1.npy");
    assert_eq!(told["result"], mean.as_str());
    assert_eq!(
        (&told["earlier"], &told["clipped"]),
        (&true.into(), &serde_json::Value::Null)
    );

    let output = clipped.end();
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("it was scaled down to the bound"), "{words}");
    // Neither values nor a norm.
    assert!(!words.contains("3000") && !words.contains("3e3"), "{words}");
    let told = json(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(
        (&told["earlier"], &told["clipped"], &told["result"]),
        (&false.into(), &true.into(), &serde_json::Value::Null)
    );
    for running in others {
        let output = running.end();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), "", "nothing to be told");
        let told = json(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(told["clipped"], false);
    }
    let output = server.end();
    assert!(output.status.success(), "{}", said(&output));
    let result = fs::read(deployment.file("result.npy")).unwrap();
    assert_eq!(fs::read(&mean).unwrap(), result);
    // The first update of the first client is in it, not the second one.
    assert_eq!(
        deployment.result()[0],
        [1, 3, 4].map(|id| values(id)[0]).iter().sum::<f64>() / 4.0
    );

    // The parameters of the round are found in the state directory of a client.
    let state = deployment.file("client-1.state");
    let shown = json(&veilsum_e2e::run_ok(["inspect", "--json", &state]));
    assert_eq!(
        (&shown["kind"], &shown["log"]["role"]),
        (&"log".into(), &"client".into())
    );
    let body = fs::read_dir(deployment.file("state/rounds/1/bodies"))
        .unwrap()
        .find_map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name()?.len() == 64).then_some(path)
        })
        .unwrap();
    let body = body.to_str().unwrap();
    let with = [
        "inspect", "--json", body, "--as", "body", "--params", &state,
    ];
    let shown = json(&veilsum_e2e::run_ok(with));
    assert_eq!(shown["parts"][0]["part"], "masked vector y");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| {
            let metadata = fs::metadata(deployment.file(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        // The tests' own file is written with what the umask leaves.
        let usual = mode("first.npy") & 0o644;
        for name in [
            "server.key.pub",
            "registrar.key.pub",
            "client-1.key.pub",
            "roster.bin",
            "result.npy",
            "mean-1.npy",
            "address",
        ] {
            assert_eq!(mode(name), usual, "{name}");
        }
        for name in ["server.key", "registrar.key", "client-1.key"] {
            assert_eq!(mode(name), 0o600, "{name}");
        }
    }
}
