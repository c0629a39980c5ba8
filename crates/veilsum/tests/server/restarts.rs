//! What a server must not forget: which task a round id belongs to, and evidence.

use veilsum::{Observer, Task};

use super::*;

/// What is needed to start the server of a [`World`] again.
struct Kept(Vec<u8>, Arc<Roster>, PathBuf);

impl Kept {
    fn new(options: &ServerOptions) -> Self {
        Self(
            options.keys.to_text().to_vec(),
            Arc::clone(&options.roster),
            options.state.clone(),
        )
    }

    fn server(&self) -> Server {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let keys = ServerKeys::from_text(&self.0).unwrap();
        Server::bind(ServerOptions::new(
            any,
            keys,
            Arc::clone(&self.1),
            self.2.clone(),
        ))
        .unwrap()
    }
}

/// Opens a round, and stops running it.
async fn announce(mut task: Task, observer: &Observer, params: RoundParams) {
    let opened = async {
        while observer
            .status()
            .await
            .iter()
            .all(|task| task.round.is_none())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = opened => {}
        ended = task.run(params, |_| {}) => panic!("{ended:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_id_belongs_to_one_task_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = None;
    let world = World::new(dir.path(), |options| kept = Some(Kept::new(options)));
    let (kept, params) = (kept.unwrap(), world.params.clone());
    let task = |server: &Server, name: &str| {
        let state = dir.path().join(name);
        server.task(name.parse().unwrap(), state).unwrap()
    };
    let used = Err(ServerError::RoundUsed { round_id: 1 });
    let first = task(&world.server, "first");
    announce(first, &world.server.observer(), params.clone()).await;
    world.server.shutdown(Duration::from_secs(1)).await;

    // After a restart nothing of it is in memory; its own task goes on with it.
    let server = kept.server();
    let mut second = task(&server, "second");
    assert_eq!(second.run(params.clone(), |_| {}).await, used);
    let first = task(&server, "first");
    announce(first, &server.observer(), params.clone()).await;
    server.shutdown(Duration::from_secs(1)).await;
    drop(second);

    // A log from before numbers were noted counts as well.
    std::fs::remove_file(dir.path().join("server/claims/1")).unwrap();
    let server = kept.server();
    let (_first, mut second) = (task(&server, "first"), task(&server, "second"));
    assert_eq!(second.run(params, |_| {}).await, used);
    assert!(!dir.path().join("second/rounds/1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_was_pruned_is_not_announced_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = None;
    let world = World::new(dir.path(), |options| kept = Some(Kept::new(options)));
    let (kept, params) = (kept.unwrap(), world.params.clone());
    let task = |server: &Server| {
        let state = dir.path().join("first");
        server.task("first".parse().unwrap(), state).unwrap()
    };
    // A crash before the announcement: the number is given, and nothing was shown to anybody.
    let claim = dir.path().join("server/claims/1");
    std::fs::write(&claim, b"first").unwrap();
    let first = task(&world.server);
    announce(first, &world.server.observer(), params.clone()).await;
    world.server.shutdown(Duration::from_secs(1)).await;
    assert_eq!(std::fs::read(&claim).unwrap(), b"first\nannounced\n");

    // Half-written files of a crash go when the server starts.
    let torn = dir.path().join("server/claims/.tmp-2-0");
    std::fs::write(&torn, b"fir").unwrap();
    std::fs::remove_dir_all(dir.path().join("first/rounds/1")).unwrap();
    let server = kept.server();
    assert!(!torn.exists());
    let mut again = task(&server);
    let again = tokio::time::timeout(PATIENCE, again.run(params, |_| {}));
    let used = Err(ServerError::RoundUsed { round_id: 1 });
    assert_eq!(again.await.expect("it is run again"), used);
    assert!(!dir.path().join("first/rounds/1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_that_take_a_round_id_at_one_time_do_not_both_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), |_| {});
    let task = |name: &str| {
        let state = dir.path().join(name);
        world.server.task(name.parse().unwrap(), state).unwrap()
    };
    let (mut a, mut b) = (task("a"), task("b"));
    let ended = tokio::select! {
        ended = a.run(world.params.clone(), |_| {}) => ended,
        ended = b.run(world.params.clone(), |_| {}) => ended,
        () = tokio::time::sleep(PATIENCE) => panic!("both run"),
    };
    assert_eq!(ended, Err(ServerError::RoundUsed { round_id: 1 }));
    let logs = ["a/rounds/1/log", "b/rounds/1/log"];
    let logs = logs.iter().filter(|log| dir.path().join(log).exists());
    // The one that got it may not have made it yet.
    assert!(logs.count() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_a_crash_kept_from_its_file_is_written_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = None;
    let mut world = World::new(dir.path(), |options| kept = Some(Kept::new(options)));
    let (kept, params) = (kept.unwrap(), world.params.clone());
    let context = veilsum::protocol::RoundContext::new(params.clone(), Arc::clone(&kept.1));
    let context = Arc::new(context.unwrap());
    let requests = |server: &Server| {
        let config = ClientConfig::new([2; 32]);
        let key = world.server_public.transport;
        let connection = Connection::new(server.local_addr(), key, config);
        Requests::new(connection.unwrap(), PATIENCE)
    };
    let refused = Err(RequestError::Refused(Check::HeaderCommitments));
    let of = |place: usize| of_wrong_degree(&context, &world.clients[place]);
    let (header, body) = of(0);
    let first = requests(&world.server);
    tokio::select! {
        ended = world.server.run(params.clone(), |_| {}) => panic!("{ended:?}"),
        answer = first.submit(1, &header, body) => assert_eq!(answer, refused),
    }
    first.close().await;
    let round = dir.path().join("server/rounds/1");
    let before = evidence_in(&round);
    assert_eq!(before.len(), 1);
    world.server.shutdown(Duration::from_secs(1)).await;
    std::fs::remove_file(&before[0].0).unwrap();

    // And what comes after the restart has a file of its own.
    let mut server = kept.server();
    let again = requests(&server);
    let (header, body) = of(1);
    tokio::select! {
        ended = server.run(params, |_| {}) => panic!("{ended:?}"),
        answer = again.submit(1, &header, body) => assert_eq!(answer, refused),
    }
    let after = evidence_in(&round);
    assert!(after.contains(&before[0]), "written again");
    assert_eq!(after.len(), 2);
}

/// Clients come back before a server that was started again has read its log, which may take a slow disk long.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_before_the_server_knows_its_rounds_is_told_to_ask_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), |_| {});
    let task = |name: &str| {
        let state = dir.path().join(name);
        world.server.task(name.parse().unwrap(), state).unwrap()
    };
    let (slow, other) = (task("slow"), task("other"));
    let context = RoundContext::new(world.params.clone(), Arc::clone(&world.roster)).unwrap();
    let context = Arc::new(context);
    let client = &world.clients[0];
    let requests = Requests::new(world.connection(), PATIENCE);
    let own = requests.in_round(&context, client.client(), client.identity());
    let (prepared, shown) =
        tokio::join!(own.prepare(), requests.result(&context, client.client()),);
    assert_eq!(prepared, Ok(Answer::Again));
    assert!(matches!(shown, Ok(Answer::Again)), "{shown:?}");
    // Now it is known that there is none.
    slow.set_next(None);
    other.set_next(None);
    assert_eq!(own.prepare().await, Err(RequestError::NoRound));
    let shown = requests.result(&context, client.client()).await;
    assert!(matches!(shown, Err(RequestError::NoRound)), "{shown:?}");
}

/// Contributions to any round wait until each task has taken up what it was at; one that failed never will.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_open_its_round_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), |_| {});
    let task = |name: &str| {
        let state = dir.path().join(name);
        world.server.task(name.parse().unwrap(), state).unwrap()
    };
    let (mut broken, mut other) = (task("broken"), task("other"));
    std::fs::create_dir_all(dir.path().join("broken/rounds/1")).unwrap();
    std::fs::write(dir.path().join("broken/rounds/1/log"), b"no log").unwrap();
    assert!(broken.run(world.params.clone(), |_| {}).await.is_err());
    drop(broken);
    let clients: Vec<_> = (world.clients.iter())
        .map(|keys| {
            tokio::spawn(take_part_in(
                world.client_options(keys, dir.path()),
                "other",
            ))
        })
        .collect();
    let run = other.run(world.round(2, 10), |_| {});
    let report = tokio::time::timeout(PATIENCE, run).await;
    assert_eq!(report.expect("nobody may upload").unwrap().accepted, 4);
    for client in clients {
        client.await.unwrap().unwrap();
    }
}
