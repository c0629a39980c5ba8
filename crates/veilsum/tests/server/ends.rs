//! When a server may leave: everybody who is owed the end has it.

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
    let mut world = World::new(dir.path(), |options| {
        options.times.quiet = Duration::from_secs(3);
        options.times.linger = Duration::from_secs(20);
    });
    world.params.contribute_deadline_ms = now_ms() + 3000;
    let (connection, anybody) = (
        world.connection(),
        Requests::new(world.connection(), Duration::from_secs(20)),
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
    assert!(
        since < Duration::from_secs(10),
        "and not when it had: {since:?}"
    );
}

/// Takes part, asks for the result, and sleeps with its network while the answer comes.
fn slow_to_read(options: ClientOptions, woke: Arc<AtomicBool>) {
    // One worker: while a task sleeps on it, nothing is read from the socket.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let taking_part = async move {
        let (mut client, round) = contributed(options).await;
        client.serve(&round, |_| true).await.unwrap();
        let mut asking = std::pin::pin!(client.result(&round));
        // The request leaves, and the answer finds nobody awake.
        let sent = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = &mut asking => {}
            () = sent => {
                std::thread::sleep(Duration::from_secs(2));
                woke.store(true, Ordering::SeqCst);
                asking.await.unwrap();
            }
        }
    };
    runtime.block_on(runtime.spawn(taking_part)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_leave_while_the_end_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |options| {
        options.times.quiet = Duration::from_millis(300);
        options.times.linger = Duration::from_secs(20);
    });
    let first: Vec<_> = world.clients[..3]
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let options = world.client_options(&world.clients[3], dir.path());
    let woke = Arc::new(AtomicBool::new(false));
    let awake = Arc::clone(&woke);
    let slow = tokio::task::spawn_blocking(move || slow_to_read(options, awake));
    let report = world.server.run(world.params.clone(), |_| {}).await;
    assert_eq!(report.unwrap().accepted, 4);
    assert!(
        woke.load(Ordering::SeqCst),
        "the server left while the answer was on its way"
    );
    slow.await.unwrap();
    for client in first {
        client.await.unwrap().unwrap();
    }
}
