//! Each thing a peer on a connection can do to a server, and what it costs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use veilsum_transport::frame::{Prefix, encode_head};
use veilsum_transport::{Body, Refusal, close_code};

use crate::client::{cause, refused};
use crate::common::*;
use crate::raw::{self, close_code as closed, connect, open, refusal};

async fn honest(world: &World) {
    let body = pattern(20_000);
    let reply = world
        .client()
        .request(ECHO, b"", &body.clone().into(), limits())
        .await
        .unwrap();
    assert_eq!(reply.bytes(), Some(body.as_slice()));
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_although_it_pings() {
    let world = start(|config| config.silent_timeout = Duration::from_millis(200));
    let started = Instant::now();
    let connection = connect(world.server.local_addr()).await;
    assert_eq!(closed(&connection).await, u64::from(close_code::SILENT));
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(world.server.stats().closed_silent, 1);
    eventually("freed", || world.server.stats().connections_open == 0).await;
}

#[tokio::test]
async fn a_dead_connection_is_dropped_after_the_idle_timeout() {
    let world = start(|config| config.idle_timeout = Duration::from_millis(300));
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let addr = world.server.local_addr();
    let connection = doomed.spawn(connect(addr)).await.unwrap();
    eventually("accepted", || {
        world.server.stats().connections_accepted == 1
    })
    .await;
    doomed.shutdown_background();
    std::mem::forget(connection);
    eventually("freed", || world.server.stats().connections_open == 0).await;
}

#[tokio::test]
async fn a_silent_stream_is_cut_at_every_stage() {
    let grace = Duration::from_secs(1);
    let world = start(|config| config.service.stall_grace = grace);
    let connection = connect(world.server.local_addr()).await;
    let started = Instant::now();
    let head = encode_head(ECHO, b"head", 5000).unwrap();
    let mut held = Vec::new();
    // Inside the prefix, the head, the body length, the body, and before the end.
    let whole = [&encode_head(ECHO, b"", 1).unwrap()[..], b"x"].concat();
    for bytes in [&head[..1], &head[..8], &head[..12], &head[..], &whole[..]] {
        held.push(open(&connection, bytes).await);
    }
    for (_, recv) in &mut held {
        assert_eq!(refusal(recv).await, Some(Refusal::TooSlow));
    }
    assert!(started.elapsed() >= grace);
    assert_eq!(world.server.stats().refused(Refusal::TooSlow), 5);
    assert_eq!(world.spool_files(), 0);
    honest(&world).await;
}

#[tokio::test]
async fn a_deadline_ends_the_reading_too() {
    let world = start(|_| {});
    let connection = connect(world.server.local_addr()).await;
    let head = encode_head(STUCK, b"", 5000).unwrap();
    let (_send, mut recv) = open(&connection, &head).await;
    assert_eq!(refusal(&mut recv).await, Some(Refusal::Deadline));
    let handled = &world.shared.handled;
    assert_eq!(handled.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_trickle_below_the_minimum_rate_is_cut_and_one_above_is_not() {
    let world = start(|config| {
        config.service.min_rate = 500;
        config.service.stall_grace = Duration::from_secs(2);
    });
    let connection = connect(world.server.local_addr()).await;
    let trickle = |step: usize| {
        let connection = connection.clone();
        async move {
            let body = vec![7; 8000];
            let head = encode_head(DIGEST, b"", body.len() as u64).unwrap();
            let (mut send, mut recv) = open(&connection, &head).await;
            for chunk in body.chunks(step) {
                if send.write_all(chunk).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
            let _ = send.finish();
            refusal(&mut recv).await
        }
    };
    // About 50 bytes a second, and about 40,000: on a busy machine it may be a tenth of that.
    let (slow, fast) = tokio::join!(trickle(1), trickle(800));
    assert_eq!(slow, Some(Refusal::TooSlow));
    assert_eq!(fast, None);
}

#[tokio::test]
async fn lengths_beyond_the_limits_are_refused_from_the_declaration() {
    let world = start(|_| {});
    let connection = connect(world.server.local_addr()).await;
    let head_len = u32::MAX;
    let huge_head = Prefix {
        code: ECHO,
        head_len,
    }
    .encode();
    let huge_body = encode_head(ECHO, b"", u64::MAX).unwrap();
    let cases = [
        (&huge_head[..], Refusal::HeadTooLarge),
        (&huge_body[..], Refusal::BodyTooLarge),
    ];
    for (bytes, expected) in cases {
        // The stream stays open: the answer comes from the declaration alone.
        let (_send, mut recv) = open(&connection, bytes).await;
        assert_eq!(refusal(&mut recv).await, Some(expected));
    }
    assert!(world.server.stats().memory_peak <= 4096);
    assert_eq!(world.server.stats().spool_peak, 0);
}

#[tokio::test]
async fn bytes_after_the_body_and_ends_before_it_are_refused() {
    let world = start(|_| {});
    let connection = connect(world.server.local_addr()).await;
    for len in [10usize, 5000] {
        let mut bytes = encode_head(ECHO, b"", len as u64).unwrap();
        bytes.extend(vec![0; len + 1]);
        for (end, expected) in [
            (bytes.len(), Refusal::TrailingBytes),
            (bytes.len() - 2, Refusal::Truncated),
            (3, Refusal::Truncated),
        ] {
            let (mut send, mut recv) = open(&connection, &bytes[..end]).await;
            send.finish().unwrap();
            assert_eq!(refusal(&mut recv).await, Some(expected), "{end} of {len}");
        }
    }
    assert_eq!(
        world
            .shared
            .handled
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
    assert_eq!(world.spool_files(), 0);
}

#[tokio::test]
async fn garbage_on_streams_costs_the_connection() {
    let world = start(|config| config.max_faults_per_connection = 4);
    let connection = connect(world.server.local_addr()).await;
    let mut answered = 0;
    for round in 0..50u8 {
        let Ok((mut send, mut recv)) = connection.open_bi().await else {
            break;
        };
        let _ = send.write_all(&[0xf0 ^ round; 500]).await;
        let _ = send.finish();
        // One after the other.
        answered += u32::from(recv.read_to_end(1000).await.is_ok());
    }
    assert_eq!(closed(&connection).await, u64::from(close_code::FAULTS));
    assert!((3..=4).contains(&answered), "{answered} streams");
    assert_eq!(world.server.stats().closed_faults, 1);
    honest(&world).await;
}

#[tokio::test]
async fn aborted_uploads_leave_no_file_and_cost_the_connection() {
    let world = start(|config| config.max_faults_per_connection = 3);
    let connection = connect(world.server.local_addr()).await;
    for _ in 0..3 {
        let head = encode_head(ECHO, b"", BODY_MAX).unwrap();
        let (mut send, _recv) = open(&connection, &head).await;
        send.write_all(&[1; 30_000]).await.unwrap();
        eventually("the upload is in the spool", || world.spool_files() == 1).await;
        send.reset(9u32.into()).unwrap();
        eventually("the spool is empty", || world.spool_files() == 0).await;
    }
    // At once, and not when the peer could have taken an answer.
    let code = timeout(PATIENCE, closed(&connection)).await.unwrap();
    assert_eq!(code, u64::from(close_code::FAULTS));
    let stats = world.server.stats();
    assert_eq!(
        (stats.memory_in_use, stats.spool_in_use, stats.requests_gone),
        (0, 0, 3)
    );
}

#[tokio::test]
async fn streams_beyond_the_bound_do_not_open() {
    let world = start(|config| config.streams_per_connection = 2);
    let connection = connect(world.server.local_addr()).await;
    let poll = encode_head(POLL, b"", 0).unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let (mut send, recv) = open(&connection, &poll).await;
        send.finish().unwrap();
        held.push(recv);
    }
    let wait = Duration::from_millis(100);
    assert!(timeout(wait, connection.open_bi()).await.is_err());
    assert!(timeout(wait, connection.open_uni()).await.is_err());
    assert_eq!(connection.max_datagram_size(), None);
    world.shared.poll.notify_waiters();
    assert!(timeout(PATIENCE, connection.open_bi()).await.is_ok());
}

#[tokio::test]
async fn uploads_beyond_the_memory_are_refused_and_the_memory_comes_back() {
    let world = start(|config| {
        config.service.memory_total = 128 << 10;
        config.service.stall_grace = Duration::from_secs(3);
    });
    let addr = world.server.local_addr();
    let head = encode_head(DIGEST, b"", BODY_MAX).unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let connection = connect(addr).await;
        for _ in 0..2 {
            let streams = open(&connection, &head).await;
            held.push((connection.clone(), streams));
        }
    }
    // Four upload buffers fit into the budget.
    eventually("two are refused", || {
        world.server.stats().refused(Refusal::Busy) == 2
    })
    .await;
    assert_eq!(world.server.stats().memory_in_use, 128 << 10);
    // An honest upload waits, is refused for now, comes again and gets through when the stalled ones are cut.
    honest(&world).await;
    eventually("the four are cut", || {
        world.server.stats().refused(Refusal::TooSlow) == 4
    })
    .await;
    assert!(world.server.stats().memory_peak <= 128 << 10);
    drop(held);
    eventually("all is free", || world.server.stats().memory_in_use == 0).await;
}

#[tokio::test]
async fn bodies_beyond_the_spool_are_refused() {
    let world = start(|config| config.service.spool_total = 3 << 20);
    let client = world.client();
    let fits = Body::from(vec![1; 3 << 20]);
    let over = Body::from(vec![1; (3 << 20) + 1]);
    client.request(DIGEST, b"", &fits, limits()).await.unwrap();
    let short = limits_for(Duration::from_secs(3));
    let error = client.request(DIGEST, b"", &over, short).await.unwrap_err();
    assert_eq!(cause(error), refused(Refusal::SpoolFull));
    eventually("all is free", || world.server.stats().spool_in_use == 0).await;
    client.request(DIGEST, b"", &fits, limits()).await.unwrap();
    assert!(world.server.stats().spool_peak <= 3 << 20);
}

#[tokio::test]
async fn a_peer_that_does_not_take_the_answer_is_cut() {
    let world = start(|config| config.service.stall_grace = Duration::from_millis(300));
    let connection = connect(world.server.local_addr()).await;
    let ask = encode_head(ZEROS, &BODY_MAX.to_le_bytes(), 0).unwrap();
    let (mut send, mut recv) = open(&connection, &ask).await;
    send.finish().unwrap();
    eventually("cut", || world.server.stats().requests_gone == 1).await;
    assert!(recv.read_to_end(BODY_MAX as usize * 2).await.is_err());
}

#[tokio::test]
async fn connections_are_bounded_overall_and_by_source() {
    for (total, source) in [(3, 100), (100, 3)] {
        let world = start(|config| {
            config.max_connections = total;
            config.max_connections_per_source = source;
        });
        let addr = world.server.local_addr();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(connect(addr).await);
        }
        for _ in 0..5 {
            assert!(raw::try_connect(addr).await.is_err());
        }
        let stats = world.server.stats();
        assert_eq!(stats.connections_open, 3);
        let refused = (
            stats.refused_connections_total,
            stats.refused_connections_source,
        );
        assert_eq!(refused, if total == 3 { (5, 0) } else { (0, 5) });
        let error = world
            .client()
            .request(ECHO, b"", &Body::Empty, limits_for(Duration::from_secs(2)))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("no further connections now"),
            "{error}"
        );
        held.clear();
        honest(&world).await;
    }
}

#[tokio::test]
async fn an_impostor_is_answered_before_its_body_is_read() {
    let world = start(|_| {});
    let connection = connect(world.server.local_addr()).await;
    let frame = encode_head(DIGEST, b"id\0", BODY_MAX).unwrap();
    // Not a byte of the body comes.
    let (_send, mut recv) = open(&connection, &frame).await;
    let answer = recv.read_to_end(1000).await.unwrap();
    assert_eq!(answer[..2], 9u16.to_le_bytes());
    assert!(answer.ends_with(&[b"impostor".as_slice(), &[0; 8]].concat()));
    let stats = world.server.stats();
    assert_eq!((stats.spool_peak, stats.requests_answered), (0, 1));
    honest(&world).await;
}

#[tokio::test]
async fn a_known_sender_has_its_own_share_and_no_more() {
    let world = start(|config| {
        config.service.max_requests = 4;
        config.service.requests_per_source = 2;
        config.service.requests_per_identity = 2;
        config.service.bodies_per_identity = 1;
    });
    let addr = world.server.local_addr();
    let (greedy, own) = (connect(addr).await, connect(addr).await);
    // Somebody at the same address holds all places that unknown senders have.
    let silent = [open(&greedy, &[1]).await, open(&greedy, &[1]).await];
    eventually("both are there", || {
        world.server.stats().requests_started == 2
    })
    .await;
    let (_send, mut recv) = open(&greedy, &[1]).await;
    assert_eq!(refusal(&mut recv).await, Some(Refusal::Busy));
    drop(silent);
    eventually("the places are free again", || {
        world.server.stats().refused(Refusal::Truncated) == 2
    })
    .await;
    // Two bodies of one sender at one time are one too many, wherever they come from.
    let frame = encode_head(DIGEST, b"id\x07", 100_000).unwrap();
    let _first = open(&own, &frame).await;
    eventually("the first is under way", || world.spool_files() == 1).await;
    let (_send, mut recv) = open(&greedy, &frame).await;
    assert_eq!(refusal(&mut recv).await, Some(Refusal::Busy));
    let other = encode_head(DIGEST, b"id\x08", 100_000).unwrap();
    let _other = open(&greedy, &other).await;
    eventually("another sender has its own", || world.spool_files() == 2).await;
}

#[tokio::test]
async fn who_uploads_and_hangs_up_fills_no_spool() {
    let world = start(|config| config.service.bodies_per_identity = 1);
    let addr = world.server.local_addr();
    let body = pattern(100_000);
    let of = |kind, who: &[u8]| {
        let head = encode_head(kind, who, 100_000).unwrap();
        [&head[..], &body].concat()
    };
    let gone = connect(addr).await;
    let (mut send, _recv) = open(&gone, &of(KEEP, b"id\x07")).await;
    send.finish().unwrap();
    eventually("it is worked on", || {
        world.shared.handled.load(Ordering::SeqCst) == 1
    })
    .await;
    gone.close(0u8.into(), b"");
    eventually("the server knows", || {
        world.shared.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(world.spool_files(), 1, "the work goes on");
    let again = connect(addr).await;
    let head = encode_head(DIGEST, b"id\x07", 100_000).unwrap();
    let (_send, mut recv) = open(&again, &head).await;
    assert_eq!(refusal(&mut recv).await, Some(Refusal::Busy));
    world.shared.poll.notify_one();
    eventually("the work has ended", || world.spool_files() == 0).await;
    let (mut send, mut recv) = open(&again, &of(DIGEST, b"id\x07")).await;
    send.finish().unwrap();
    let answer = recv.read_to_end(1000).await.unwrap();
    assert!(
        answer.ends_with(&[0; 8]) && answer[..2] == [0, 0],
        "{answer:?}"
    );
}

#[tokio::test]
async fn who_comes_too_often_waits_and_then_is_told_to_come_later() {
    let world = start(|config| {
        config.service.source_rate = veilsum_transport::Rate {
            burst: 3,
            per_second: 1,
        };
        config.service.admission_wait = Duration::from_millis(1500);
        config.streams_per_connection = 60;
        config.service.requests_per_source = 60;
        config.service.max_requests = 60;
    });
    let connection = connect(world.server.local_addr()).await;
    let whole = encode_head(ECHO, b"", 0).unwrap();
    let mut streams = Vec::new();
    for _ in 0..50 {
        let (mut send, recv) = open(&connection, &whole).await;
        send.finish().unwrap();
        streams.push((send, recv));
    }
    let mut refused = 0;
    for (_, recv) in &mut streams {
        refused += u32::from(refusal(recv).await == Some(Refusal::Busy));
    }
    // Three at once and one after a second, and one more for each second that the machine was busy with all of this.
    assert!((1..=46).contains(&refused), "{refused}");
    let (mut send, mut recv) = open(&connection, &whole).await;
    send.finish().unwrap();
    assert_eq!(refusal(&mut recv).await, None);
}
