//! What an operator asks while a round is busy.

use std::sync::atomic::Ordering;

use super::tasks::Stuck;
use super::*;

/// Whatever holds a round for long, as the opening of a large sum: its log that is being written is one that can be held.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_who_looks_at_a_busy_round_keeps_a_thread_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Stuck {
        round: dir.path().join("server/rounds/1"),
        ..Stuck::default()
    };
    let of_server = disk.clone();
    let mut world = World::new(dir.path(), |options| options.disk = Arc::new(of_server));
    let options = world.client_options(&world.clients[0], dir.path());
    let observer = world.server.observer();
    // Ends a test that hangs: then what must not have waited has.
    let ends = disk.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(60));
        ends.stuck.store(false, Ordering::SeqCst);
    });
    let test = async move {
        let mut client = Client::open(options).await.unwrap();
        let round = client.join(0).await.unwrap();
        disk.stuck.store(true, Ordering::SeqCst);
        let busy = async {
            while disk.waiting.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(observer.is_healthy());
            let look = tokio::time::timeout(Duration::from_millis(500), observer.status());
            assert!(
                look.await.is_err(),
                "the round was not busy, or this thread waited"
            );
            assert!(observer.is_healthy());
            assert!(disk.waiting.load(Ordering::SeqCst) > 0);
            disk.stuck.store(false, Ordering::SeqCst);
            observer.status().await
        };
        let x = vec![1; 10].into();
        let (sent, seen) = tokio::join!(client.contribute(&round, MODEL, x), busy);
        sent.unwrap();
        assert_eq!(seen[0].round.as_ref().unwrap().round, 1);
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
}
