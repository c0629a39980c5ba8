//! Datagrams from peers that never become connections, and many bad peers beside good ones.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};
use veilsum_transport::frame::encode_head;
use veilsum_transport::{ALPN, Body, RetryPolicy};

use crate::common::*;
use crate::raw::{connect, open, raw_config, raw_endpoint};

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn garbage_datagrams_leave_no_trace() {
    let world = start(|_| {});
    let addr = world.server.local_addr();
    let socket = udp().await;
    let noise = pattern(4000);
    for round in 0..3000usize {
        let start = round * 7 % 2500;
        let mut datagram = noise[start..start + 1 + round % 1400].to_vec();
        // Every form of header: long, short, a QUIC version, version negotiation.
        match round % 4 {
            0 => datagram[0] |= 0xc0,
            1 => datagram[0] = 0x40 | (datagram[0] & 0x3f),
            2 => datagram
                .splice(0..5.min(datagram.len()), [0xc0, 0, 0, 0, 1])
                .for_each(drop),
            _ => datagram
                .splice(0..5.min(datagram.len()), [0x80, 0, 0, 0, 0])
                .for_each(drop),
        }
        let _ = socket.send_to(&datagram, addr).await;
        if round % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let client = world.client();
    client
        .request(ECHO, b"", &Body::Empty, limits())
        .await
        .unwrap();
    let stats = world.server.stats();
    assert_eq!((stats.connections_accepted, stats.connections_open), (1, 1));
    assert_eq!((stats.memory_in_use, stats.spool_in_use), (0, 0));
}

/// First datagrams of clients whose handshakes nobody goes on with.
async fn first_datagrams(count: usize) -> (UdpSocket, Vec<Vec<u8>>) {
    let mut datagrams = Vec::new();
    for _ in 0..count {
        let socket = udp().await;
        let endpoint = raw_endpoint();
        let here = socket.local_addr().unwrap();
        let connecting = endpoint.connect_with(raw_config(ALPN), here, "x").unwrap();
        let client = endpoint.local_addr().unwrap().port();
        let mut buffer = vec![0; 2000];
        // A client of another test may still look for a server that had this port.
        let len = loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            if from.port() == client {
                break len;
            }
        };
        buffer.truncate(len);
        datagrams.push(buffer);
        drop(connecting);
    }
    (udp().await, datagrams)
}

async fn send_all(socket: &UdpSocket, datagrams: &[Vec<u8>], addr: SocketAddr) {
    for datagram in datagrams {
        socket.send_to(datagram, addr).await.unwrap();
    }
}

#[tokio::test]
async fn handshakes_that_stop_hold_few_places_for_a_short_time() {
    let world = start(|config| {
        config.max_handshakes = 4;
        config.handshake_timeout = Duration::from_secs(2);
    });
    let (socket, datagrams) = first_datagrams(10).await;
    send_all(&socket, &datagrams, world.server.local_addr()).await;
    eventually("six find no place", || {
        world.server.stats().refused_handshakes == 6
    })
    .await;
    assert!(world.server.stats().connections_open <= 4);
    world
        .client()
        .request(ECHO, b"", &Body::Empty, limits())
        .await
        .expect("a client gets in when the handshakes have timed out");
    eventually("four have timed out", || {
        world.server.stats().handshakes_timed_out == 4
    })
    .await;
}

#[tokio::test]
async fn with_retry_a_spoofed_handshake_takes_no_place() {
    for policy in [
        RetryPolicy::Always,
        RetryPolicy::UnderLoad { connections: 1 },
    ] {
        let world = start(|config| {
            config.max_handshakes = 2;
            config.retry = policy;
        });
        let addr = world.server.local_addr();
        let held = connect(addr).await;
        let before = u64::from(policy == RetryPolicy::Always);
        assert_eq!(world.server.stats().retries, before);
        let (socket, datagrams) = first_datagrams(10).await;
        send_all(&socket, &datagrams, addr).await;
        eventually("each is asked to show its address", || {
            world.server.stats().retries == before + 10
        })
        .await;
        let stats = world.server.stats();
        assert_eq!((stats.connections_open, stats.refused_handshakes), (1, 0));
        world
            .client()
            .request(ECHO, b"", &Body::Empty, limits())
            .await
            .unwrap();
        // More if a packet was sent again meanwhile.
        assert!(world.server.stats().retries > before + 10);
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_clients_get_through_beside_many_bad_ones() {
    let world = start(|config| {
        config.service.memory_total = 4 << 20;
        config.service.admission_wait = Duration::from_secs(1);
        config.service.min_rate = 64 << 10;
        config.service.stall_grace = Duration::from_secs(2);
        config.silent_timeout = Duration::from_millis(500);
    });
    let addr = world.server.local_addr();
    let mut bad = tokio::task::JoinSet::new();
    for number in 0..60usize {
        bad.spawn(async move {
            let upload = encode_head(DIGEST, b"", BODY_MAX).unwrap();
            for _ in 0..50 {
                let connection = connect(addr).await;
                match number % 4 {
                    // Silent.
                    0 => sleep(Duration::from_secs(5)).await,
                    // Slow, on as many streams as it gets.
                    1 => {
                        let mut held = Vec::new();
                        while held.len() < 8 && connection.close_reason().is_none() {
                            held.push(open(&connection, &upload).await);
                        }
                        sleep(Duration::from_secs(5)).await;
                    }
                    // Garbage until it is thrown out, and again.
                    2 => {
                        while let Ok((mut send, _recv)) = connection.open_bi().await {
                            let _ = send.write_all(&[0xee; 2000]).await;
                            let _ = send.finish();
                        }
                    }
                    // Uploads that it breaks off.
                    _ => {
                        while let Ok((mut send, _recv)) = connection.open_bi().await {
                            let _ = send.write_all(&upload).await;
                            let _ = send.write_all(&[1; 50_000]).await;
                            let _ = send.reset(1u32.into());
                        }
                    }
                }
            }
        });
    }
    eventually("the attack is under way", || {
        world.server.stats().connections_open >= 40
    })
    .await;
    let mut good = tokio::task::JoinSet::new();
    for number in 0..10u8 {
        let client = world.client();
        good.spawn(async move {
            for round in 0..5u8 {
                let body = vec![number ^ round; 100_000];
                let digest = blake3::hash(&body);
                let reply = client
                    .request(DIGEST, b"", &body.into(), limits())
                    .await
                    .unwrap();
                assert_eq!(reply.head, digest.as_bytes());
            }
        });
    }
    while let Some(done) = good.join_next().await {
        done.unwrap();
    }
    let stats = world.server.stats();
    assert!(stats.memory_peak <= 4 << 20);
    assert!(stats.closed_faults > 0, "{stats:?}");
    bad.abort_all();
    eventually("all is free", || {
        let stats = world.server.stats();
        (
            stats.connections_open,
            stats.memory_in_use,
            stats.spool_in_use,
        ) == (0, 0, 0)
    })
    .await;
    assert_eq!(world.spool_files(), 0);
}

#[tokio::test]
async fn forged_signatures_take_no_thread_from_those_who_are_known() {
    let world = start(|_| {});
    let flood: Vec<_> = (0..50)
        .map(|_| {
            let client = world.client();
            tokio::spawn(async move {
                loop {
                    let answer = client
                        .request(ECHO, b"forged", &Body::Empty, limits())
                        .await;
                    // Behind all the others it may be too late for it.
                    assert!(answer.is_err() || answer.unwrap().status.code() == 9);
                }
            })
        })
        .collect();
    let most = || {
        let most = &world.shared.checking_most;
        most.load(std::sync::atomic::Ordering::SeqCst)
    };
    eventually("the flood is there", || most() > 0).await;
    let honest = world.client();
    let begun = Instant::now();
    for _ in 0..20 {
        let answer = honest.request(ECHO, b"known", &Body::Empty, limits()).await;
        assert_eq!(answer.unwrap().head, b"known");
    }
    // Each forged request in work takes 20 ms, on a fast machine too: behind all of them twenty answers take twenty seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(flood.iter().all(|task| !task.is_finished()));
    assert_eq!(most(), 2, "and a few threads at most");
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}
