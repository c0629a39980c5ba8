//! Whom a client trusts, and what it does when the connection is lost.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use veilsum_transport::{
    ALPN, ALPN_VERSIONS, Addresses, Body, Client, ClientConfig, ClientError, ConfigError,
    ConnectFailure, Refusal, ServerKey, close_code,
};

use crate::common::*;
use crate::raw;

/// Accepts connections until the test ends.
fn accept_all(endpoint: quinn::Endpoint) -> SocketAddr {
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let _ = incoming.await;
        }
    });
    addr
}

/// What stood in the way until the deadline passed.
pub(crate) fn cause(error: ClientError) -> ClientError {
    match error {
        ClientError::Deadline {
            cause: Some(cause), ..
        } => *cause,
        other => panic!("no deadline with a cause: {other}"),
    }
}

pub(crate) fn refused(refusal: Refusal) -> ClientError {
    ClientError::Refused { refusal }
}

async fn echo(client: &Client) -> Result<Vec<u8>, ClientError> {
    let reply = client.request(ECHO, b"x", &Body::Empty, limits()).await?;
    Ok(reply.head)
}

#[tokio::test]
async fn another_key_is_refused_at_once() {
    let world = start(|_| {});
    let addr = world.server.local_addr();
    let mut wrong = *world.key.as_bytes();
    wrong[31] ^= 1;
    for key in [identity(2).public_key(), ServerKey::new(wrong)] {
        let started = Instant::now();
        let error = echo(&client_of(addr, key)).await.unwrap_err();
        assert_eq!(error, ClientError::ServerKeyMismatch { addr });
        assert!(started.elapsed() < PATIENCE / 2);
    }
    assert_eq!(world.shared.handled.load(Ordering::SeqCst), 0);
    echo(&world.client()).await.unwrap();
}

#[tokio::test]
async fn a_shown_key_without_its_secret_is_refused() {
    let pinned = identity(1).public_key();
    let addr = accept_all(raw::impostor(pinned, [2; 32], ALPN));
    let error = echo(&client_of(addr, pinned)).await.unwrap_err();
    assert_eq!(error, ClientError::ServerKeyMismatch { addr });
    // The same with the right secret gets through the handshake: the test above can fail.
    let addr = accept_all(raw::impostor(pinned, [1; 32], ALPN));
    let error = client_of(addr, pinned)
        .request(
            ECHO,
            b"",
            &Body::Empty,
            limits_for(Duration::from_millis(300)),
        )
        .await
        .unwrap_err();
    assert!(
        !matches!(error, ClientError::ServerKeyMismatch { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn another_protocol_is_refused_by_either_side() {
    let pinned = identity(1).public_key();
    let addr = accept_all(raw::impostor(pinned, [1; 32], b"veilsum/2"));
    let error = echo(&client_of(addr, pinned)).await.unwrap_err();
    assert_eq!(error, ClientError::AlpnMismatch { addr });

    // A later version of this protocol, which still asks which versions there are: each side hears it from the other.
    let endpoint = raw::impostor(pinned, [1; 32], ALPN_VERSIONS);
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        let later = endpoint.accept().await.unwrap().await.unwrap();
        later.close(close_code::VERSION.into(), b"veilsum/2 veilsum/3\x07");
        endpoint.wait_idle().await;
    });
    let error = echo(&client_of(addr, pinned)).await.unwrap_err();
    let spoken = "veilsum/2 veilsum/3".to_owned();
    assert_eq!(error, ClientError::Version { addr, spoken });
    let said = error.to_string();
    assert!(said.contains("this client speaks veilsum/1"), "{said}");

    let world = start(|_| {});
    let addr = world.server.local_addr();
    let later = raw::raw_config_of(&[b"veilsum/2", ALPN_VERSIONS]);
    let connection = raw::raw_endpoint().connect_with(later, addr, "x").unwrap();
    match connection.await.unwrap().closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code, close_code::VERSION.into());
            assert_eq!(&close.reason[..], ALPN);
        }
        other => panic!("{other}"),
    }
    // Who speaks this version too gets it, whatever else it offers.
    let both = raw::raw_config_of(&[b"veilsum/2", ALPN, ALPN_VERSIONS]);
    let connection = raw::raw_endpoint().connect_with(both, addr, "x").unwrap();
    assert_eq!(connection.await.unwrap().close_reason(), None);
    assert_eq!(world.shared.handled.load(Ordering::SeqCst), 0);

    let world = start(|_| {});
    let connecting = raw::raw_endpoint()
        .connect_with(raw::raw_config(b"h3"), world.server.local_addr(), "x")
        .unwrap();
    assert!(connecting.await.is_err());
    eventually("counted", || world.server.stats().handshakes_failed == 1).await;
    eventually("freed", || world.server.stats().connections_open == 0).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap();
    let mut config = client_config();
    config.connect_timeout = Duration::from_millis(60);
    config.max_attempts = 3;
    let client = Client::new(addr, identity(1).public_key(), config.clone()).unwrap();
    let unreachable = ClientError::Unreachable {
        addr,
        attempts: 3,
        failure: ConnectFailure::NoAnswer,
        another: None,
    };
    assert_eq!(echo(&client).await.unwrap_err(), unreachable);

    config.max_attempts = 1000;
    let client = Client::new(addr, identity(1).public_key(), config).unwrap();
    let short = limits_for(Duration::from_secs(2));
    let error = client
        .request(ECHO, b"", &Body::Empty, short)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { attempts, .. } if (2..1000).contains(&attempts))
    );
}

/// A translator of addresses that lost its server passes on nothing of a port that it knows, for as long as it hears from it.
#[tokio::test]
async fn each_attempt_comes_from_another_port() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = client_config();
    config.connect_timeout = Duration::from_millis(100);
    config.max_attempts = 3;
    let addr = silent.local_addr().unwrap();
    let client = Client::new(addr, identity(1).public_key(), config).unwrap();
    assert!(matches!(
        echo(&client).await,
        Err(ClientError::Unreachable { attempts: 3, .. })
    ));
    silent.set_nonblocking(true).unwrap();
    let mut ports = BTreeSet::new();
    while let Ok((_, from)) = silent.recv_from(&mut [0; 2048]) {
        ports.insert(from.port());
    }
    assert_eq!(ports.len(), 3, "{ports:?}");
}

#[tokio::test]
async fn of_several_addresses_the_one_that_answers_is_used() {
    let world = start(|_| {});
    let there = world.server.local_addr();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap();
    let nowhere: SocketAddr = "[::1]:9".parse().unwrap();
    // Another server, with another key, is none that is asked anything.
    let other = start_other();
    for before in [nobody, nowhere, other.server.local_addr()] {
        for name in [[before, there], [there, before]] {
            let addrs = Addresses::of_name(name).unwrap();
            let client = Client::new(addrs, world.key, client_config()).unwrap();
            assert_eq!(echo(&client).await.unwrap(), b"x");
            client.close().await;
        }
    }
    assert_eq!(other.shared.handled.load(Ordering::SeqCst), 0);
    // One that is another's ends nothing while the server may be on its way; it is told beside what failed last.
    let addr = other.server.local_addr();
    let mut config = client_config();
    config.connect_timeout = Duration::from_millis(600);
    config.max_attempts = 2;
    for name in [[nobody, addr], [addr, nobody]] {
        let addrs = Addresses::of_name(name).unwrap();
        let client = Client::new(addrs, world.key, config.clone()).unwrap();
        let error = echo(&client).await.unwrap_err();
        let unreachable = ClientError::Unreachable {
            addr: nobody,
            attempts: 2,
            failure: ConnectFailure::NoAnswer,
            another: Some(Box::new(ClientError::ServerKeyMismatch { addr })),
        };
        assert_eq!(error, unreachable);
        assert!(error.is_key_mismatch());
        let told = error.to_string();
        assert!(told.contains(&format!("{addr} does not hold")), "{told}");
    }
    // Where all are another's there is nothing to wait for.
    config.max_attempts = 1000;
    let second = start_other();
    let name = [addr, second.server.local_addr()];
    let addrs = Addresses::of_name(name).unwrap();
    let client = Client::new(addrs, world.key, config).unwrap();
    let error = echo(&client).await.unwrap_err();
    assert!(
        matches!(error, ClientError::ServerKeyMismatch { addr } if name.contains(&addr)),
        "{error}"
    );
}

#[test]
fn the_addresses_of_a_name_take_turns_by_family() {
    let addrs = |text: &str| -> Vec<SocketAddr> {
        let words = text.split_whitespace();
        words.map(|word| word.parse().unwrap()).collect()
    };
    let tried = |text: &str| -> Vec<SocketAddr> {
        Addresses::of_name(addrs(text)).unwrap().iter().collect()
    };
    assert_eq!(Addresses::of_name([]), None);
    assert_eq!(
        tried("[::1]:1 [::2]:1 [::3]:1 10.0.0.1:1 [::1]:1 10.0.0.2:1"),
        addrs("[::1]:1 10.0.0.1:1 [::2]:1 10.0.0.2:1 [::3]:1")
    );
    assert_eq!(
        tried("10.0.0.1:1 10.0.0.2:1 [::1]:1"),
        addrs("10.0.0.1:1 [::1]:1 10.0.0.2:1")
    );
    let many = (1..=40).map(|last| SocketAddr::from(([10, 0, 0, last], 1)));
    assert_eq!(Addresses::of_name(many).unwrap().iter().count(), 16);
}

#[tokio::test]
async fn a_server_that_starts_late_is_found() {
    let placeholder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = placeholder.local_addr().unwrap();
    let mut config = client_config();
    config.connect_timeout = Duration::from_millis(500);
    // Also where another server answers at another address of its name.
    let other = start_other();
    let of_name = Addresses::of_name([other.server.local_addr(), addr]).unwrap();
    let waiting = [addr.into(), of_name].map(|addrs: Addresses| {
        let client = Client::new(addrs, identity(1).public_key(), config.clone()).unwrap();
        tokio::spawn(async move { echo(&client).await })
    });
    tokio::time::sleep(Duration::from_millis(1200)).await;
    drop(placeholder);
    let _world = start_at(addr, |_| {});
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap(), b"x");
    }
}

/// Binds again where a server was; the socket is freed by a task that may still have to run.
async fn restart(addr: SocketAddr) -> World {
    eventually("the port is free", || UdpSocket::bind(addr).is_ok()).await;
    start_at(addr, |_| {})
}

#[tokio::test]
async fn after_a_restart_the_same_bytes_are_sent_again() {
    let first = start(|_| {});
    let addr = first.server.local_addr();
    let client = first.client();
    let body = pattern(50_000);
    let poll = {
        let (client, body) = (client.clone(), body.clone());
        tokio::spawn(async move { client.request(POLL, b"h", &body.into(), limits()).await })
    };
    eventually("the poll waits", || {
        first.shared.handled.load(Ordering::SeqCst) == 1
    })
    .await;
    let stats = first.server.shutdown(Duration::ZERO).await;
    assert_eq!(stats.bytes_in, 6 + 1 + 8 + 50_000);
    let second = restart(addr).await;
    eventually("the poll came again", || {
        second.shared.handled.load(Ordering::SeqCst) == 1
    })
    .await;
    second.shared.poll.notify_waiters();
    assert_eq!(poll.await.unwrap().unwrap().head, b"h");
    assert_eq!(second.server.stats().bytes_in, stats.bytes_in);
    let bytes = body.clone().into();
    let digest = client.request(DIGEST, b"", &bytes, limits());
    assert_eq!(digest.await.unwrap().head, blake3::hash(&body).as_bytes());
}

#[tokio::test]
async fn a_crash_is_noticed_long_before_the_idle_timeout() {
    // A runtime that is dropped takes the server with it without a word to its peers, as a kill does.
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let first = doomed.spawn(async { start(|_| {}) }).await.unwrap();
    let addr = first.server.local_addr();
    let mut config = client_config();
    config.idle_timeout = 5 * PATIENCE;
    // A connection that worked and then broke is made anew without a pause.
    config.backoff_initial = 5 * PATIENCE;
    config.backoff_max = 5 * PATIENCE;
    let client = Client::new(addr, first.key, config).unwrap();
    echo(&client).await.unwrap();
    let poll = {
        let client = client.clone();
        tokio::spawn(async move { client.request(POLL, b"p", &Body::Empty, limits()).await })
    };
    eventually("the poll waits", || {
        first.shared.handled.load(Ordering::SeqCst) == 2
    })
    .await;
    std::thread::spawn(move || doomed.shutdown_timeout(Duration::from_secs(1)))
        .join()
        .unwrap();
    // Only now: while its tasks ran, a dropped server would have said goodbye.
    drop(first);
    let second = restart(addr).await;
    eventually("the poll came again", || {
        second.shared.handled.load(Ordering::SeqCst) == 1
    })
    .await;
    second.shared.poll.notify_waiters();
    assert_eq!(poll.await.unwrap().unwrap().head, b"p");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_made_anew() {
    let world = start(|config| config.silent_timeout = Duration::from_secs(1));
    let client = world.client();
    for times in 1..=3 {
        assert_eq!(echo(&client).await.unwrap(), b"x");
        let stats = || world.server.stats();
        eventually("closed", || stats().closed_silent == times).await;
        assert_eq!(stats().connections_accepted, times);
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let world = start(|config| config.service.max_requests = 1);
    let (client, other) = (world.client(), world.client());
    let poll = tokio::spawn(async move { client.request(POLL, b"", &Body::Empty, limits()).await });
    eventually("the poll waits", || {
        world.shared.handled.load(Ordering::SeqCst) == 1
    })
    .await;
    let error = other
        .request(ECHO, b"", &Body::Empty, limits_for(Duration::from_secs(1)))
        .await
        .unwrap_err();
    assert_eq!(cause(error), refused(Refusal::Busy));
    assert!(world.server.stats().refused(Refusal::Busy) > 1);
    let waiting = tokio::spawn(async move { echo(&other).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.shared.poll.notify_waiters();
    poll.await.unwrap().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), b"x");
}

#[tokio::test]
async fn requests_share_a_connection_and_wait_for_a_stream() {
    let world = start(|config| config.streams_per_connection = 3);
    let client = world.client();
    let requests: Vec<_> = (0..20u8)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move {
                let body = vec![i; 5000];
                let reply = client
                    .request(ECHO, &[i], &body.clone().into(), limits())
                    .await
                    .unwrap();
                assert_eq!(reply.head, [i]);
                assert_eq!(reply.bytes(), Some(body.as_slice()));
            })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    let stats = world.server.stats();
    assert_eq!(
        (stats.connections_accepted, stats.requests_answered),
        (1, 20)
    );
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_reset_not_ended() {
    let pinned = identity(1).public_key();
    let endpoint = raw::impostor(pinned, [1; 32], ALPN);
    let addr = endpoint.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (_send, mut recv) = connection.accept_bi().await.unwrap();
        // As long as the client waits; its body does not fit into the windows meanwhile.
        told.await.unwrap();
        recv.read_to_end(1 << 25).await.unwrap_err()
    });
    let client = client_of(addr, pinned);
    let body = Body::from(vec![0; 5 << 20]);
    let given_up = client.request(ECHO, b"", &body, limits_for(Duration::from_secs(2)));
    assert!(given_up.await.is_err());
    tell.send(()).unwrap();
    let reset = quinn::ReadError::Reset(close_code::CANCELLED.into());
    assert_eq!(server.await.unwrap(), quinn::ReadToEndError::Read(reset));
}

#[tokio::test]
async fn a_closed_client_leaves_the_server_at_once() {
    let world = start(|_| {});
    let client = world.client();
    echo(&client).await.unwrap();
    assert_eq!(world.server.stats().connections_open, 1);
    client.close().await;
    eventually("the connection is gone", || {
        world.server.stats().connections_open == 0
    })
    .await;
    assert_eq!(echo(&client).await.unwrap(), b"x");
}

#[test]
fn a_configuration_that_can_not_work_is_refused() {
    let key = identity(1).public_key();
    let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let new = |change: fn(&mut ClientConfig)| {
        let mut config = client_config();
        change(&mut config);
        Client::new(addr, key, config).unwrap_err()
    };
    assert_eq!(
        new(|config| config.keep_alive = config.idle_timeout),
        ClientError::Config(ConfigError::KeepAlive)
    );
    assert_eq!(
        new(|config| config.max_attempts = 0),
        ClientError::Config(ConfigError::Zero {
            field: "max_attempts"
        })
    );
}

/// A server that answers from the head alone stops reading while the client waits for room to send more, of the stream and of
/// the connection: the client must see that, or it waits for its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_before_the_body_was_taken_is_heard() {
    let world = start(|_| {});
    let deadline = PATIENCE / 4;
    for len in [60_000, 65_536, 70_000, 131_072, 138_750, 1_000_000] {
        for _ in 0..30 {
            let client = world.client();
            let body = Body::Bytes(pattern(len).into());
            for _ in 0..4 {
                let started = Instant::now();
                let reply = client
                    .request(ECHO, b"id\0", &body, limits_for(deadline))
                    .await;
                assert_eq!(reply.unwrap().head, b"impostor", "{len} bytes");
                // At its deadline a client that waits for room looks once more, and then it sees the answer.
                assert!(started.elapsed() < deadline / 2, "{len} bytes");
            }
        }
    }
    assert_eq!(world.shared.handled.load(Ordering::SeqCst), 0);
}
