//! A server that stops.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use veilsum_transport::frame::encode_head;
use veilsum_transport::{Body, Refusal, close_code};

use crate::client::{cause, refused};
use crate::common::*;
use crate::raw;

#[tokio::test]
async fn what_is_in_work_ends_and_what_is_new_is_refused() {
    let world = start(|_| {});
    let (client, late) = (world.client(), world.client());
    late.request(ECHO, b"", &Body::Empty, limits())
        .await
        .unwrap();
    let poll =
        tokio::spawn(async move { client.request(POLL, b"last", &Body::Empty, limits()).await });
    let shared = std::sync::Arc::clone(&world.shared);
    eventually("the poll waits", || {
        shared.handled.load(Ordering::SeqCst) == 2
    })
    .await;
    let addr = world.server.local_addr();
    let stopping = tokio::spawn(world.server.shutdown(2 * PATIENCE));
    tokio::time::sleep(Duration::from_millis(50)).await;

    let short = limits_for(Duration::from_secs(1));
    let error = late
        .request(ECHO, b"", &Body::Empty, short)
        .await
        .unwrap_err();
    let refusal = Refusal::ShuttingDown;
    assert_eq!(cause(error), refused(refusal));
    assert!(raw::try_connect(addr).await.is_err());

    shared.poll.notify_waiters();
    assert_eq!(poll.await.unwrap().unwrap().head, b"last");
    let stats = tokio::time::timeout(PATIENCE, stopping).await;
    let stats = stats.expect("does not wait for the grace to end").unwrap();
    assert_eq!(stats.requests_answered, 2);
    assert!(stats.refused(refusal) > 0);
    assert!(stats.refused_shutting_down > 0);
    assert_eq!(stats.connections_open, 0);
}

#[tokio::test]
async fn the_grace_is_a_bound_and_the_code_says_why() {
    let world = start(|_| {});
    let idle = raw::connect(world.server.local_addr()).await;
    let client = world.client();
    let poll = tokio::spawn(async move {
        client
            .request(POLL, b"", &Body::Empty, limits_for(Duration::from_secs(3)))
            .await
    });
    let shared = std::sync::Arc::clone(&world.shared);
    eventually("the poll waits", || {
        shared.handled.load(Ordering::SeqCst) == 1
    })
    .await;
    eventually("both are connected", || {
        world.server.stats().connections_accepted == 2
    })
    .await;
    let stats = world.server.shutdown(Duration::from_millis(100)).await;
    assert_eq!(
        raw::close_code(&idle).await,
        u64::from(close_code::SHUTDOWN)
    );
    assert!(poll.await.unwrap().is_err());
    assert_eq!(
        shared.dropped.load(Ordering::SeqCst),
        1,
        "the handler was dropped"
    );
    assert_eq!((stats.requests_answered, stats.connections_open), (0, 0));
}

/// Asks for zeros and sleeps, its network included, while the answer comes.
fn sleepy_client(
    addr: SocketAddr,
    len: u64,
    sleep: impl FnOnce(),
) -> Result<Vec<u8>, quinn::ReadToEndError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let connection = raw::connect(addr).await;
        let ask = encode_head(ZEROS, &len.to_le_bytes(), 0).unwrap();
        let (mut send, mut recv) = raw::open(&connection, &ask).await;
        send.finish().unwrap();
        // Lets the connection's own task send the request.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        sleep();
        recv.read_to_end(1 << 20).await
    })
}

/// A sleepy client, and what wakes it.
fn sleepy(
    addr: SocketAddr,
) -> (
    std::sync::mpsc::Sender<()>,
    tokio::task::JoinHandle<Result<Vec<u8>, quinn::ReadToEndError>>,
) {
    let (wake, woken) = std::sync::mpsc::channel();
    let client = tokio::task::spawn_blocking(move || {
        sleepy_client(addr, 50_000, move || woken.recv().unwrap())
    });
    (wake, client)
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

#[tokio::test]
async fn an_answer_is_delivered_when_the_peer_has_acknowledged_it() {
    let world = start(|_| {});
    let addr = world.server.local_addr();
    let shared = &world.shared;
    let (wake, client) = sleepy(addr);
    eventually("answered", || world.server.stats().requests_answered == 1).await;
    // It was made and written, and the peer has not a byte of it.
    assert_eq!((count(&shared.delivered), count(&shared.over)), (0, 0));
    wake.send(()).unwrap();
    assert_eq!(client.await.unwrap().unwrap().len(), 14 + 50_000);
    eventually("told", || count(&shared.delivered) == 1).await;
    eventually("over", || count(&shared.over) == 1).await;

    // Who closes as soon as it has the answer acknowledges both at one time.
    for times in 1..=20 {
        let connection = raw::connect(addr).await;
        let ask = encode_head(ZEROS, &10u64.to_le_bytes(), 0).unwrap();
        let (mut send, mut recv) = raw::open(&connection, &ask).await;
        send.finish().unwrap();
        recv.read_to_end(100).await.unwrap();
        connection.close(0u8.into(), b"");
        eventually("over", || count(&shared.over) == 1 + times).await;
        assert_eq!(count(&shared.delivered), 1 + times);
    }
}

#[tokio::test]
async fn an_answer_to_a_peer_that_never_wakes_up_is_over_and_was_not_delivered() {
    let world = start(|config| {
        config.service.stall_grace = Duration::from_secs(2);
        config.idle_timeout = Duration::from_secs(1);
    });
    let (wake, client) = sleepy(world.server.local_addr());
    eventually("over", || count(&world.shared.over) == 1).await;
    assert_eq!(count(&world.shared.delivered), 0);
    wake.send(()).unwrap();
    // What the system had buffered for it may have been all of it.
    let _ = client.await.unwrap();
}

#[tokio::test]
async fn an_answer_on_its_way_is_not_cut_off() {
    let world = start(|_| {});
    // The server can hand all of it to QUIC at once, and QUIC can not send it without being acknowledged.
    let (wake, client) = sleepy(world.server.local_addr());
    eventually("answered", || world.server.stats().requests_answered == 1).await;
    let stopping = tokio::spawn(world.server.shutdown(PATIENCE));
    tokio::time::sleep(Duration::from_millis(100)).await;
    wake.send(()).unwrap();
    assert_eq!(stopping.await.unwrap().requests_answered, 1);
    assert_eq!(client.await.unwrap().unwrap().len(), 14 + 50_000);
}

#[tokio::test]
async fn a_dropped_server_closes_its_connections() {
    let world = start(|_| {});
    let idle = raw::connect(world.server.local_addr()).await;
    eventually("accepted", || {
        world.server.stats().connections_accepted == 1
    })
    .await;
    drop(world);
    assert_eq!(
        raw::close_code(&idle).await,
        u64::from(close_code::SHUTDOWN)
    );
}
