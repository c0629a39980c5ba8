//! A server that runs for weeks: rounds by schedule and by command, several tasks, restarts, rounds of long ago.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use veilsum_e2e::{Deployment, Running, free_port, json, program, run, run_ok};

const CLIENTS: u32 = 4;

/// Puts text before the first section of the configuration.
fn set(deployment: &Deployment, from: &str, to: &str) {
    let path = deployment.file("server.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn forget_address(deployment: &Deployment) {
    let _ = fs::remove_file(deployment.file("address"));
}

/// All clients take part in the first round of a task above `after`.
fn take_part(deployment: &Deployment, address: &str, task: &str, after: u64, value: f64) {
    let update = deployment.update(&format!("update-{task}.npy"), &[value; 5]);
    let after = after.to_string();
    let clients: Vec<Running> = (1..=CLIENTS)
        .map(|id| {
            let state = deployment.file(&format!("client-{id}.state{task}"));
            let more = ["--after", &after, "--task", task, "--state", &state];
            deployment.client_with(
                id,
                address,
                &update,
                &more[..if task.is_empty() { 2 } else { 6 }],
            )
        })
        .collect();
    for client in clients {
        let ended = client.end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
    }
}

fn check(deployment: &Deployment, address: &str, round: u64) -> Output {
    run([
        "check",
        &deployment.file("client-1.state"),
        "--json",
        "--round",
        &round.to_string(),
        "--server",
        address,
        "--server-key",
        &deployment.file("server.key.pub"),
        "--registrar",
        &deployment.file("registrar.key.pub"),
    ])
}

fn verdict(output: &Output) -> Value {
    json(&String::from_utf8_lossy(&output.stdout))["verdict"].take()
}

#[test]
fn rounds_by_command_over_restarts_are_answered_for_until_they_are_pruned() {
    let deployment = Deployment::new(CLIENTS);
    set(&deployment, "result.npy", "result-{round}.npy");
    set(&deployment, "[round]", "[schedule]\n[round]");
    set(&deployment, "id = 1\n", "");
    let server = deployment.server();
    let address = deployment.address();
    let state = deployment.file("state");
    let begin = || run_ok(["rounds", "start", "--state", &state]);
    let in_phase = |round: u64, phase: &str| {
        let what = format!("round {round}: {phase}");
        deployment.wait(&what, || {
            let status = deployment.status(&address)?;
            (status["round"] == round && status["phase"] == phase).then_some(())
        });
    };
    assert!(deployment.status_soon(&address)["round"].is_null());
    let ledger = |round: u64| {
        deployment.wait("the end of the round", || {
            let text = fs::read_to_string(format!("{state}/ledger.json")).ok()?;
            let ledger: Value = serde_json::from_str(&text).unwrap();
            let over = ledger["unfinished"].as_object().unwrap().is_empty();
            (ledger["next_round"] == round + 1 && over).then_some(())
        });
    };
    for round in 1..=2 {
        begin();
        take_part(&deployment, &address, "", round - 1, 0.25);
        ledger(round);
        assert!(fs::metadata(deployment.file(&format!("result-{round}.npy"))).is_ok());
    }
    begin();
    in_phase(3, "taking contributions");
    server.kill();
    // A torn tail, which a start cuts, makes no round unreadable.
    let torn = deployment.file("torn");
    let copied = Command::new("cp").args(["-r", &state, &torn]).status();
    assert!(copied.unwrap().success());
    let log = format!("{torn}/rounds/3/log");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    let list = json(&run_ok(["rounds", "list", "--json", "--state", &torn]));
    let states = [0, 1, 2].map(|round| list["rounds"][round]["state"].clone());
    assert_eq!(states, ["certified", "certified", "open"]);

    // Whatever the configuration says by now, the open round goes on with what was announced.
    set(&deployment, "norm_bound = 32767", "norm_bound = 30000");
    set(&deployment, "127.0.0.1:0", &address);
    let server = deployment.server();
    in_phase(3, "taking contributions");
    for round in 1..=2 {
        let output = check(&deployment, &address, round);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "round {round}: {said}");
        assert_eq!(verdict(&output), "valid");
    }
    run_ok(["rounds", "prune", "--state", &state, "--keep", "1"]);
    let pruned = check(&deployment, &address, 1);
    let said = String::from_utf8_lossy(&pruned.stderr).into_owned();
    assert_eq!(pruned.status.code(), Some(1), "{said}");
    assert!(said.contains("no such round"), "{said}");
    assert_eq!(verdict(&check(&deployment, &address, 2)), "valid");
    take_part(&deployment, &address, "", 2, -0.5);
    ledger(3);
    // A round of which a client is told by its file alone, though the server still has it in memory.
    assert_eq!(verdict(&check(&deployment, &address, 3)), "valid");
    // What the file says is not believed: a changed one is not served.
    let answers = format!("{state}/rounds/2/answers.veilsum");
    let mut bytes = fs::read(&answers).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    server.kill();
    fs::write(&answers, bytes).unwrap();
    let server = deployment.server();
    let _ = deployment.status_soon(&address);
    begin();
    in_phase(4, "taking contributions");
    assert_eq!(check(&deployment, &address, 2).status.code(), Some(1));
    // The parameters in the announcement, the first record.
    let norm_bound = |round: u64, bound: u32| {
        let log = fs::read(format!("{state}/rounds/{round}/log")).unwrap();
        log.windows(4).any(|bytes| bytes == bound.to_le_bytes())
    };
    assert!(norm_bound(3, 32_767) && norm_bound(4, 30_000) && !norm_bound(4, 32_767));
    server.kill();
}

/// A server whose reports are read as they come.
struct Reports {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Reports {
    fn new(deployment: &Deployment) -> Self {
        let config = deployment.file("server.toml");
        let mut child = Command::new(program())
            .args(["server", "--json", "--config", &config])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        json(&self.lines.next().unwrap().unwrap())
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rounds_by_schedule_are_begun_once_for_each_slot() {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure("contribute_seconds = 1\nid = 7");
    set(
        &deployment,
        "[round]",
        "[schedule]\nevery = \"2s\"\njitter = \"1s\"\n[round]",
    );
    // The number that the next round will have, and the slot of the last one.
    let used = || -> (u64, u64) {
        let text = fs::read_to_string(deployment.file("state/ledger.json")).unwrap();
        let ledger: Value = serde_json::from_str(&text).unwrap();
        let slot = ledger["slots"][""].as_u64();
        (ledger["next_round"].as_u64().unwrap(), slot.unwrap())
    };
    let mut server = Reports::new(&deployment);
    let mut slots = Vec::new();
    for round in 7..=8 {
        // Nobody comes: the round is void, and that ends nothing.
        let ended = server.next();
        assert_eq!(
            (&ended["round"], &ended["void"]),
            (&Value::from(round), &Value::from(true))
        );
        slots.push(used());
    }
    drop(server);
    forget_address(&deployment);
    let mut server = Reports::new(&deployment);
    let mut ended = server.next();
    if ended["round"] == 8 {
        // It was killed before it had noted that this one is over: then it says so again.
        assert_eq!(ended["void"], true);
        ended = server.next();
    }
    assert!(ended["round"].as_u64().unwrap() >= 9, "{ended}");
    slots.push(used());
    // A busy machine may have begun the next round by the time that one looks.
    let later =
        |pair: &[(u64, u64)]| pair[0] == pair[1] || pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
    assert!(
        slots.windows(2).all(later) && slots[0] < slots[2],
        "{slots:?}"
    );
    let address = deployment.address();
    let status = deployment.status_soon(&address);
    assert!(status["next_ms"].as_u64().is_some(), "{status}");
}

fn two_tasks(deployment: &Deployment) {
    let path = deployment.file("server.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (front, round) = text.split_once("result = \"result.npy\"\n").unwrap();
    let (address_file, round) = round.split_once("[round]\n").unwrap();
    let task = |name: &str, id: u32| {
        let round = round.replace("id = 1\n", &format!("id = {id}\n"));
        format!("[[task]]\nname = \"{name}\"\nresult = \"{name}.npy\"\n[task.round]\n{round}\n")
    };
    let text = format!(
        "{front}{address_file}{}{}",
        task("cats", 1),
        task("dogs", 2)
    );
    fs::write(path, text).unwrap();
}

fn scraped(metrics: &str) -> String {
    let mut stream = std::net::TcpStream::connect(metrics).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What the metrics say of a name, with its labels if there are any.
fn value(metrics: &str, name: &str) -> Option<u64> {
    let seen = scraped(metrics);
    let line = seen.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Whether some client waits for an answer.
fn has_waiting(metrics: &str) -> bool {
    let begun = value(metrics, "veilsum_requests_total");
    begun > value(metrics, "veilsum_requests_answered_total")
}

#[test]
fn tasks_side_by_side_are_told_apart_everywhere() {
    let deployment = Deployment::new(CLIENTS);
    two_tasks(&deployment);
    let metrics = format!("127.0.0.1:{}", free_port());
    set(
        &deployment,
        "listen",
        &format!("metrics = \"{metrics}\"\nlisten"),
    );
    let server = deployment.server();
    let address = deployment.address();
    let update = deployment.update("none.npy", &[0.0; 5]);
    let lost = deployment.client_with(1, &address, &update, &[]).end();
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert_eq!(lost.status.code(), Some(2), "{said}");
    assert!(said.contains("cats dogs"), "{said}");
    let status = [
        "status",
        "--server",
        &address,
        "--server-key",
        &deployment.file("server.key.pub"),
    ];
    let lines = deployment.wait("both rounds", || {
        let said = run_ok(status);
        (said.matches("taking contributions").count() == 2).then_some(said)
    });
    let lines: Vec<&str> = lines.lines().collect();
    assert!(lines[0].starts_with("cats: round 1: "), "{lines:?}");
    assert!(lines[1].starts_with("dogs: round 2: "), "{lines:?}");
    let seen = scraped(&metrics);
    for line in [
        "veilsum_round{task=\"cats\"} 1",
        "veilsum_round{task=\"dogs\"} 2",
        "veilsum_round_phase{task=\"dogs\",phase=\"taking contributions\"} 1",
    ] {
        assert!(seen.contains(line), "{line} is not in {seen}");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| take_part(&deployment, &address, "cats", 0, 0.25));
        scope.spawn(|| take_part(&deployment, &address, "dogs", 0, -0.5));
    });
    let ended = server.end();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let said = String::from_utf8(ended.stdout).unwrap();
    let mut reports: Vec<Value> = said.lines().map(json).collect();
    reports.sort_by_key(|report| report["round"].as_u64());
    for (report, (task, round)) in reports.iter().zip([("cats", 1), ("dogs", 2)]) {
        assert_eq!(report["task"], task);
        assert_eq!(
            (&report["round"], &report["accepted"]),
            (&Value::from(round), &Value::from(CLIENTS))
        );
    }
    for (task, first) in [("cats", 0.25), ("dogs", -0.5)] {
        fs::rename(
            deployment.file(&format!("{task}.npy")),
            deployment.file("result.npy"),
        )
        .unwrap();
        assert_eq!(deployment.result(), [first; 5]);
    }
    let state = deployment.file("state");
    let list = json(&run_ok(["rounds", "list", "--json", "--state", &state]));
    assert_eq!(list["rounds"][0]["task"], "cats");
    assert_eq!(list["rounds"][1]["task"], "dogs");
    let out = deployment.file("exported");
    run_ok([
        "rounds", "export", "--state", &state, "--task", "dogs", "--round", "2", "--out", &out,
    ]);
    run_ok(["audit", &out]);
    // The transcripts of all tasks; what is about one of them says that it must be named.
    let audited = json(&run_ok(["audit", "--json", "--sum-only", &state]));
    assert_eq!(audited["rounds"], 2);
    let prune = ["rounds", "prune", "--keep", "0", "--state", &state];
    for (more, words) in [
        (&[][..], "name one of the tasks with --task: cats, dogs"),
        (
            &["--task", "cows"][..],
            "there is no task cows here, but these: cats, dogs",
        ),
    ] {
        let refused = run([&prune[..], more].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_round_by_schedule_does_not_take_the_number_of_a_single_one() {
    let deployment = Deployment::new(CLIENTS);
    two_tasks(&deployment);
    let dogs = "[[task]]\nname = \"dogs\"\nresult = \"dogs.npy\"\n";
    set(&deployment, dogs, &format!("{dogs}[task.schedule]\n"));
    set(&deployment, "id = 2\n", "id = 1\n");
    let server = deployment.server();
    let address = deployment.address();
    let state = deployment.file("state/tasks/dogs");
    run_ok(["rounds", "start", "--state", &state]);
    let status = [
        "status",
        "--server",
        &address,
        "--server-key",
        &deployment.file("server.key.pub"),
    ];
    let said = deployment.wait("both rounds", || {
        let said = run_ok(status);
        (said.matches("taking contributions").count() == 2).then_some(said)
    });
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("cats: round 1: "), "{lines:?}");
    assert!(lines[1].starts_with("dogs: round 2: "), "{lines:?}");
    server.kill();
}

#[test]
fn what_is_wrong_with_tasks_is_said_at_once() {
    let deployment = Deployment::new(CLIENTS);
    two_tasks(&deployment);
    let config = deployment.file("server.toml");
    run_ok(["server", "--check", "--config", &config]);
    set(
        &deployment,
        "name = \"dogs\"",
        "name = \"cats\"\nstate = \"state/tasks/cats\"\ncolour = 1",
    );
    set(
        &deployment,
        "result = \"dogs.npy\"",
        "result = \"cats.npy\"",
    );
    set(&deployment, "id = 2\n", "id = 1\n");
    set(&deployment, "dim = 5", "dim = 0");
    set(
        &deployment,
        "[task.round]",
        "[task.schedule]\nevery = \"1 hour\"\nstart = \"soon\"\n[task.round]",
    );
    set(
        &deployment,
        "[[task]]",
        "[round]\ndim = 5\n[[task]]\nname = \"Cats\"\n[[task]]",
    );
    let output = run(["server", "--check", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in [
        "round and task: with [[task]], each has its own",
        "task.Cats.name: ",
        "task.Cats.round.dim is missing",
        "task.cats.schedule.every: write a number and s, m, h or d",
        "task.cats.schedule.start: write a time in UTC",
        "task.cats.name and task.cats.name: two tasks cannot have the same name",
        "task.cats.state and task.cats.state: each task needs a directory of its own",
        "task.cats.result and task.cats.result: each task needs a file of its own",
        "there is no field task.cats.colour",
        "task cats: [round] dim is 0",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_state_directory_of_a_later_version_is_not_touched() {
    let deployment = Deployment::new(CLIENTS);
    fs::create_dir(deployment.file("state")).unwrap();
    let mark = deployment.file("state/VERSION");
    fs::write(&mark, "veilsum state 2\n").unwrap();
    let ended = deployment.server().end();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("says format 2, this program reads format 1"),
        "{said}"
    );
    let names = fs::read_dir(deployment.file("state")).unwrap().count();
    assert_eq!(names, 1, "nothing else was written");
    let check = [
        "server",
        "--check",
        "--config",
        &deployment.file("server.toml"),
    ];
    let checked = run(check);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("1 mistake\n  line ")
            && said.contains(": state: ")
            && said.contains("says format 2"),
        "{said}"
    );
    // One of before there were marks is taken over.
    fs::remove_file(&mark).unwrap();
    let server = deployment.server();
    let _ = deployment.address();
    assert_eq!(fs::read_to_string(&mark).unwrap(), "veilsum state 1\n");
    server.kill();
}

/// Neither a receipt nor a place in the sum: said each time it asks, and no reason to call anybody a cheat.
#[test]
fn who_comes_too_late_is_told_that_nothing_was_accepted_and_takes_part_in_the_next_round() {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure("n_min = 3");
    set(&deployment, "result.npy", "result-{round}.npy");
    set(&deployment, "[round]", "[schedule]\n[round]");
    set(&deployment, "id = 1\n", "");
    let _server = deployment.server();
    let address = deployment.address();
    let state = deployment.file("state");
    let begin = || run_ok(["rounds", "start", "--state", &state]);
    begin();
    // Who came and left is not waited for: the round closes when the others have contributed, however long they take.
    let wrong = deployment.update("wrong.npy", &[0.5; 4]);
    let left = deployment.client(CLIENTS, &address, &wrong).end();
    let words = String::from_utf8_lossy(&left.stderr).into_owned();
    assert_eq!(left.status.code(), Some(2), "{words}");
    let update = deployment.update("in-time.npy", &[0.5; 5]);
    let first: Vec<Running> = (1..CLIENTS)
        .map(|id| deployment.client(id, &address, &update))
        .collect();
    for client in first {
        assert!(client.end().status.success());
    }

    let late = deployment.update("late.npy", &[0.25; 5]);
    let sent_again = "which has no receipt from the server so far, is sent again";
    for again in [false, true] {
        let output = deployment.client(CLIENTS, &address, &late).end();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{words}");
        // Nothing that it signed says so, and the client knows no more.
        let closed = "the server says that round 1 closed before the contribution of this client arrived, and gave no receipt";
        assert!(
            words.contains(closed) && words.contains("--after 1"),
            "{words}"
        );
        assert_eq!(words.contains(sent_again), again, "{words}");
        assert!(!words.contains("stands"), "{words}");
    }
    let own = deployment.file(&format!("client-{CLIENTS}.state"));
    let keys = [
        "--server-key",
        &deployment.file("server.key.pub"),
        "--registrar",
        &deployment.file("registrar.key.pub"),
    ];
    let asked = run([&["check", &own, "--json", "--server", &address][..], &keys].concat());
    assert_eq!(
        (asked.status.code(), verdict(&asked)),
        (Some(4), "absent".into())
    );
    let error = json(&String::from_utf8_lossy(&asked.stdout))["error"].to_string();
    assert!(error.contains("the server says"), "{error}");
    let saved = run([&["check", &own][..], &keys].concat());
    let words = String::from_utf8_lossy(&saved.stderr);
    assert_eq!(saved.status.code(), Some(2), "{words}");
    assert!(
        words.contains("the contribution to round 1 has no receipt"),
        "{words}"
    );
    // To a client that was counted the result is shown.
    let other = deployment.file("client-1.state");
    let asked = run([
        &["check", &other, "--json", "--server", &address][..],
        &keys,
    ]
    .concat());
    assert_eq!(
        (asked.status.code(), verdict(&asked)),
        (Some(0), "valid".into())
    );

    begin();
    take_part(&deployment, &address, "", 1, 0.125);
    let saved = run([&["check", &own, "--json"][..], &keys].concat());
    assert_eq!(
        (saved.status.code(), verdict(&saved)),
        (Some(0), "valid".into())
    );
}

/// A server that says in words what it does, into a file.
fn talking(deployment: &Deployment, said: &str) -> Child {
    forget_address(deployment);
    let file = fs::OpenOptions::new().append(true).create(true).open(said);
    let server = Command::new(program())
        .args(["server", "--config", &deployment.file("server.toml")])
        .stdout(file.unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = deployment.address();
    server
}

/// Ends a server as systemd does.
fn stop(mut server: Child) {
    let id = server.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_round_is_asked_for_only_where_a_server_hears_it() {
    let deployment = Deployment::new(CLIENTS);
    let state = deployment.file("state");
    let ask = |more: &[&str], code: i32, words: &str| {
        let output = run([&["rounds", "start", "--state", &state], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words} is not in {said}");
    };
    // A server without a schedule begins its round by itself.
    let server = deployment.server();
    let _ = deployment.address();
    ask(&[], 1, "no server runs here that begins rounds by command");
    server.kill();
    fs::remove_dir_all(&state).unwrap();

    set(&deployment, "[round]", "[schedule]\n[round]");
    forget_address(&deployment);
    let server = deployment.server();
    let _ = deployment.address();
    ask(&["--task", "dogs"], 2, "there is no task dogs here");
    ask(&[], 0, "");
    server.kill();
    let _ = fs::remove_file(format!("{state}/start"));
    ask(&[], 1, "no server runs here that begins rounds by command");
    assert!(!fs::exists(format!("{state}/start")).unwrap());
    assert!(!fs::exists(format!("{state}/tasks")).unwrap());
}

#[test]
fn a_start_that_is_refused_leaves_the_address_of_the_other() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let address = deployment.address();
    let refused = |code: i32, words: &str| {
        let ended = deployment.server().end();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words} is not in {said}");
        assert_eq!(deployment.address(), address);
    };
    refused(1, "is used by another server");
    // The round was run already, by the claims of another directory.
    set(&deployment, "state = \"state\"", "state = \"other\"");
    fs::create_dir_all(deployment.file("other/claims")).unwrap();
    fs::write(deployment.file("other/claims/1"), "other").unwrap();
    refused(2, "was run already");
    // Nothing is begun where the metrics cannot be served.
    fs::remove_dir_all(deployment.file("other")).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = format!("metrics = \"{}\"\nlisten", taken.local_addr().unwrap());
    set(&deployment, "listen", &metrics);
    refused(1, "metrics cannot be served");
    assert!(!fs::exists(deployment.file("other/rounds")).unwrap());
    server.kill();
}

/// Not even of a task whose own directory is free: its number would be used up, and its clients called, for nothing.
#[test]
fn nothing_is_begun_where_another_server_has_the_directory_of_a_later_task() {
    let deployment = Deployment::new(CLIENTS);
    two_tasks(&deployment);
    for task in ["cats", "dogs"] {
        let section = format!("result = \"{task}.npy\"\n");
        set(
            &deployment,
            &section,
            &format!("{section}[task.schedule]\n"),
        );
    }
    let server = deployment.server();
    let _ = deployment.address();
    set(&deployment, "state = \"state\"", "state = \"other\"");
    set(
        &deployment,
        "name = \"dogs\"",
        "name = \"dogs\"\nstate = \"state/tasks/dogs\"",
    );
    let cats = deployment.file("other/tasks/cats");
    fs::create_dir_all(&cats).unwrap();
    let command = format!("{cats}/start");
    fs::write(&command, "").unwrap();
    let refused = deployment.server().end();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("state/tasks/dogs"), "{said}");
    assert!(fs::exists(&command).unwrap(), "the command was obeyed");
    assert!(!fs::exists(format!("{cats}/rounds")).unwrap());
    server.kill();
}

#[test]
fn a_server_that_is_told_to_stop_begins_no_round_while_clients_still_wait() {
    let deployment = Deployment::new(CLIENTS);
    set(&deployment, "[round]", "[schedule]\n[round]");
    let metrics = format!("127.0.0.1:{}", free_port());
    let listen = format!("metrics = \"{metrics}\"\nlisten");
    set(&deployment, "listen", &listen);
    let (said, state) = (deployment.file("server.out"), deployment.file("state"));
    let mut server = talking(&deployment, &said);
    let address = deployment.address();
    let update = deployment.update("none.npy", &[0.0; 5]);
    let client = deployment.client(1, &address, &update);
    deployment.wait("a client that waits for a round", || {
        has_waiting(&metrics).then_some(())
    });
    let id = server.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    deployment.wait("the stop", || {
        let text = fs::read_to_string(&said).ok()?;
        text.contains("stopping\n").then_some(())
    });
    let command = format!("{state}/start");
    fs::write(&command, "").unwrap();
    assert!(server.wait().unwrap().success());
    let text = fs::read_to_string(&said).unwrap();
    assert!(text.ends_with("stopped; no round is open\n"), "{text}");
    assert!(fs::exists(&command).unwrap(), "the command was obeyed");
    client.kill();
}

#[test]
fn a_server_that_is_stopped_says_what_is_open_and_goes_on_with_it() {
    let deployment = Deployment::new(CLIENTS);
    set(&deployment, "[round]", "[schedule]\n[round]");
    let (said, state) = (deployment.file("server.out"), deployment.file("state"));
    let has = |what: &str| {
        deployment.wait(what, || {
            let text = fs::read_to_string(&said).ok()?;
            text.contains(what).then_some(text)
        })
    };
    stop(talking(&deployment, &said));
    has("stopped; no round is open\n");
    let server = talking(&deployment, &said);
    run_ok(["rounds", "start", "--state", &state]);
    has("round 1 begins\n");
    let address = deployment.address();
    deployment.wait("round 1", || {
        (deployment.status(&address)?["round"] == 1).then_some(())
    });
    stop(server);
    has("stopped; start the server again to go on with round 1\n");
    let server = talking(&deployment, &said);
    let text = has("round 1 goes on\n");
    assert_eq!(text.matches("round 1 begins").count(), 1, "{text}");
    stop(server);
}

/// Until a server that was started again has opened its round, which takes a while with this many coordinates, it does not say
/// that there is no such round.
#[test]
fn who_waits_while_a_server_is_started_again_is_not_sent_away() {
    let deployment = Deployment::new(CLIENTS);
    deployment.configure("dim = 1000000");
    let metrics = format!("127.0.0.1:{}", free_port());
    let listen = format!(
        "metrics = \"{metrics}\"\nlisten = \"127.0.0.1:{}\"",
        free_port()
    );
    set(&deployment, "listen = \"127.0.0.1:0\"", &listen);
    set(&deployment, "[round]", "[schedule]\n[round]");
    let state = deployment.file("state");
    let (said, update) = (
        deployment.file("server.out"),
        deployment.update("large.npy", &vec![0.001; 1_000_000]),
    );
    let server = talking(&deployment, &said);
    run_ok(["rounds", "start", "--state", &state]);
    let address = deployment.address();
    let mut waiting = deployment.client(1, &address, &update);
    deployment.wait("a contribution", || {
        (deployment.status(&address)?["contributions"] == 1).then_some(())
    });
    stop(server);
    let server = talking(&deployment, &said);
    // Nobody else asks for anything, so what is waited for once the round is there is a request of this client.
    deployment.wait("the client in its round", || {
        assert!(waiting.is_running(), "it was sent away");
        let contributed = value(&metrics, "veilsum_contributions")? == 1;
        (contributed && has_waiting(&metrics)).then_some(())
    });
    assert!(waiting.is_running(), "it was sent away");
    stop(server);
}

#[test]
fn later_state_directories_of_tasks_are_told_all_at_once_and_not_touched() {
    let deployment = Deployment::new(CLIENTS);
    two_tasks(&deployment);
    for task in ["cats", "dogs"] {
        let own = deployment.file(&format!("state/tasks/{task}"));
        fs::create_dir_all(&own).unwrap();
        fs::write(format!("{own}/VERSION"), "veilsum state 2\n").unwrap();
    }
    for check in [&["--check"][..], &[]] {
        let config = deployment.file("server.toml");
        let refused = run([&["server", "--config", &config], check].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("2 mistakes"), "{said}");
        for task in ["cats", "dogs"] {
            assert!(said.contains(&format!("task {task}: state: ")), "{said}");
        }
        // Nor is anything begun in the directory of the server.
        let names = fs::read_dir(deployment.file("state")).unwrap().count();
        assert_eq!(names, 1, "{said}");
    }
}
