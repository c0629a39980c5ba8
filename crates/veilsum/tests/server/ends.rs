//! Whom a server waits for: members before the sum is opened, and everybody who is owed the end before it leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A client that contributes and knows the round, and will ask for its end when the test says so.
async fn contributed(options: ClientOptions) -> (Client, veilsum::Joined) {
    let mut client = Client::open(options).await.unwrap();
    let round = client.join(0).await.unwrap();
    let x = vec![256; 10].into();
    client.contribute(&round, MODEL, x).await.unwrap();
    (client, round)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_to_be_another_hears_of_a_void_round_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    world.params.contribute_deadline_ms = now_ms() + 15_000;
    let (connection, anybody) = (
        world.connection(),
        Requests::new(world.connection(), PATIENCE),
    );
    let options = world.client_options(&world.clients[3], dir.path());
    let (victim, thief) = (
        ClientKeys::from_text(&world.clients[3].to_text()).unwrap(),
        ClientKeys::from_text(&world.clients[0].to_text()).unwrap(),
    );
    let heard = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&heard);
    let alone = tokio::spawn(async move {
        let (mut client, round) = contributed(options).await;
        while seen(&anybody).await.phase != 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A contribution in the name of the client, signed by another.
        let (genuine, body) = of_wrong_degree(&round.context, &victim);
        let stolen = Signed::sign(genuine.content, thief.identity());
        let answer = anybody.submit(1, &stolen, body).await;
        assert_eq!(answer, Err(RequestError::Refused(Check::HeaderSignature)));
        let polls = forged(&round, &victim, &thief, veilsum::kind::MEMBER_POLL);
        let polls: Vec<_> = polls
            .into_iter()
            .map(|head| [head, 0u64.to_bytes()].concat())
            .collect();
        impostor(&connection, veilsum::kind::MEMBER_POLL, &polls).await;
        let results = forged(&round, &victim, &thief, veilsum::kind::RESULT);
        impostor(&connection, veilsum::kind::RESULT, &results).await;
        let shown = anybody.result(&round.context, victim.client()).await;
        assert!(matches!(shown.unwrap(), Answer::Void(_)));
        // A server that took it for told would have left at once.
        tokio::time::sleep(Duration::from_secs(2)).await;
        told.store(true, Ordering::SeqCst);
        let ended = client.result(&round).await;
        assert!(matches!(ended, Err(ClientError::Void)), "{ended:?}");
        tokio::time::Instant::now()
    });
    let ended = world.server.run(world.params.clone(), |_| {}).await;
    assert_eq!(ended, Err(ServerError::Void));
    assert!(
        heard.load(Ordering::SeqCst),
        "the server left before the client heard the end"
    );
    let since = alone.await.unwrap().elapsed();
    assert!(since < PATIENCE / 2, "and not when it had: {since:?}");
}

/// A network that keeps what the server sends for as long as the test says so. It ends with the process.
struct Network {
    addr: SocketAddr,
    held: Arc<AtomicBool>,
}

impl Network {
    /// Between one client and the server.
    fn new(server: SocketAddr) -> Self {
        let [near, far] = [(); 2].map(|()| Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap()));
        far.connect(server).unwrap();
        let held = Arc::new(AtomicBool::new(false));
        let addr = near.local_addr().unwrap();
        let client = Arc::new(std::sync::OnceLock::new());
        let (there, back) = (Arc::clone(&near), Arc::clone(&far));
        let (known, of_server) = (Arc::clone(&client), Arc::clone(&held));
        std::thread::spawn(move || {
            let mut packet = [0; 65_536];
            while let Ok((len, from)) = there.recv_from(&mut packet) {
                let _ = client.set(from);
                let _ = far.send(&packet[..len]);
            }
        });
        std::thread::spawn(move || {
            let mut packet = [0; 65_536];
            loop {
                let Ok(len) = back.recv(&mut packet) else {
                    continue;
                };
                while of_server.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if let Some(client) = known.get() {
                    let _ = near.send_to(&packet[..len], *client);
                }
            }
        });
        Self { addr, held }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_leave_while_the_end_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |options| {
        options.times.quiet = Duration::from_secs(2);
    });
    world.params.n_min = N;
    let first: Vec<_> = world.clients[..3]
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let network = Network::new(world.server.local_addr());
    let options = ClientOptions {
        server: network.addr.into(),
        ..world.client_options(&world.clients[3], dir.path())
    };
    let arrived = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&arrived);
    let slow = tokio::spawn(async move {
        let (mut client, round) = contributed(options).await;
        client.serve(&round, |_| true).await.unwrap();
        network.held.store(true, Ordering::SeqCst);
        let asking = client.result(&round);
        // Longer than anybody with a receipt is waited for who is not heard.
        let arrives = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            told.store(true, Ordering::SeqCst);
            network.held.store(false, Ordering::SeqCst);
        };
        let (ended, ()) = tokio::join!(asking, arrives);
        ended.unwrap();
    });
    let report = world.server.run(world.params.clone(), |_| {}).await;
    assert_eq!(report.unwrap().accepted, 4);
    assert!(
        arrived.load(Ordering::SeqCst),
        "the server left while the answer was on its way"
    );
    slow.await.unwrap();
    for client in first {
        client.await.unwrap().unwrap();
    }
}

/// Whoever contributes last has a complaint to make like all others, and comes for its shares after them.
#[tokio::test(flavor = "multi_thread")]
async fn the_sum_is_opened_when_the_last_to_contribute_had_its_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    world.params.n_min = N;
    let first: Vec<_> = world.clients[..3]
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let watching = Requests::new(world.connection(), PATIENCE);
    let options = world.client_options(&world.clients[3], dir.path());
    let came = Arc::new(AtomicBool::new(false));
    let comes = Arc::clone(&came);
    let last = tokio::spawn(async move {
        let mut client = Client::open(options).await.unwrap();
        let round = client.join(0).await.unwrap();
        while seen(&watching).await.contributions < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let x = vec![256; 10].into();
        client.contribute(&round, MODEL, x).await.unwrap();
        // The others are done with their shares long before.
        tokio::time::sleep(Duration::from_secs(2)).await;
        comes.store(true, Ordering::SeqCst);
        client.serve(&round, |_| true).await.unwrap();
        client.result(&round).await.unwrap();
    });
    let mut opened = None;
    let on_event = |event| {
        if event == veilsum::RoundEvent::Opened {
            opened = Some(came.load(Ordering::SeqCst));
        }
    };
    let report = world.server.run(world.params.clone(), on_event).await;
    assert_eq!(report.unwrap().accepted, 4);
    assert_eq!(opened, Some(true), "before the last member came");
    last.await.unwrap();
    for client in first {
        client.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_the_round_has_closed_hears_that_nothing_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let first: Vec<_> = world.clients[..3]
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let (observer, watching) = (
        world.server.observer(),
        Requests::new(world.connection(), PATIENCE),
    );
    let late = || world.client_options(&world.clients[3], dir.path());
    let [leaves, late, again] = [late(), late(), late()];
    let late = tokio::spawn(async move {
        // The round closes because nobody is left, however long the others take.
        let mut client = Client::open(leaves).await.unwrap();
        client.join(0).await.unwrap();
        client.close().await;
        drop(client);
        observer.departed(1, ClientId(4)).await;
        while seen(&watching).await.phase < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (before, options) in [(None, late), (Some(veilsum::Contributed::Stored), again)] {
            let mut client = Client::open(options).await.unwrap();
            let round = client.join(0).await.unwrap();
            assert_eq!(client.contributed(1), before);
            let x = vec![256; 10].into();
            let error = client.contribute(&round, MODEL, x).await.unwrap_err();
            assert_eq!(error, ClientError::Closed { round: 1 });
            assert!(!error.is_verification() && !error.is_unanswered());
            assert!(error.to_string().contains("`--after 1`"), "{error}");
            client.close().await;
        }
    });
    let report = world.server.run(world.params.clone(), |_| {}).await;
    assert_eq!(report.unwrap().accepted, 3);
    for client in first {
        client.await.unwrap().unwrap();
    }
    late.await.unwrap();
}

/// Nobody is waited for who is known not to come, though the server would wait for an hour.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_to_have_left_is_not_waited_for() {
    for endorses in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), |options| {
            let hour = Duration::from_secs(3600);
            options.times.quiet = hour;
            options.times.patience = hour;
        });
        let stay: Vec<_> = world.clients[..3]
            .iter()
            .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
            .collect();
        let (observer, watching) = (
            world.server.observer(),
            Requests::new(world.connection(), PATIENCE),
        );
        let options = world.client_options(&world.clients[3], dir.path());
        let leaves = tokio::spawn(async move {
            if endorses {
                let (mut client, round) = contributed(options).await;
                let until = |message: &Message| !matches!(message, Message::Endorse(_));
                client.serve(&round, until).await.unwrap();
                client.close().await;
            } else {
                let mut client = Client::open(options).await.unwrap();
                client.join(0).await.unwrap();
                while seen(&watching).await.contributions < 3 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                client.close().await;
            }
            observer.departed(1, ClientId(4)).await;
        });
        let round = world.server.run(world.params.clone(), |_| {});
        let report = tokio::time::timeout(PATIENCE, round).await;
        let report = report.expect("it waits for who has left").unwrap();
        assert_eq!(report.accepted, 3 + u32::from(endorses));
        assert_eq!(report.dropped, [ClientId(4)].into());
        leaves.await.unwrap();
        for client in stay {
            client.await.unwrap().unwrap();
        }
    }
}
