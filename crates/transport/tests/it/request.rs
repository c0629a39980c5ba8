//! Requests and responses between an honest client and a server.

use std::time::Duration;

use crate::common::*;
use veilsum_transport::{
    BindError, Body, ClientError, ConfigError, Part, Refusal, ReplyBody, ResponseLimits, Server,
    SpoolError, Status,
};

#[tokio::test]
async fn heads_and_bodies_come_back_unchanged() {
    let world = start(|_| {});
    let client = world.client();
    for len in [0, 1, 1024, 1025, 100_000, 3_000_000] {
        let sent = pattern(len);
        let reply = client
            .request(ECHO, b"head", &sent.clone().into(), limits())
            .await
            .unwrap();
        assert_eq!(reply.status, Status::OK);
        assert_eq!(reply.head, b"head");
        assert_eq!(reply.digest, *blake3::hash(&sent).as_bytes());
        assert!(reply.bytes() == Some(&sent), "{len} bytes");
        let reply = client
            .request(PARTS, b"", &sent.clone().into(), limits())
            .await
            .unwrap();
        assert!(reply.bytes() == Some(&sent), "{len} bytes in parts");
    }
    let stats = world.server.shutdown(Duration::from_secs(1)).await;
    assert_eq!(stats.requests_answered, 12);
    assert_eq!(stats.connections_accepted, 1, "one connection is reused");
    assert_eq!(stats.refused.len(), 0);
    assert_eq!((stats.memory_in_use, stats.spool_in_use), (0, 0));
}

#[tokio::test]
async fn small_bodies_stay_in_memory_and_others_leave_no_file() {
    let world = start(|_| {});
    let client = world.client();
    for (len, in_memory) in [(1024, 1), (1025, 0)] {
        let body = pattern(len).into();
        let reply = client.request(WHERE, b"", &body, limits()).await.unwrap();
        assert_eq!(reply.head, [in_memory]);
    }
    eventually("the spool is empty", || world.spool_files() == 0).await;
}

#[tokio::test]
async fn files_are_sent_and_received() {
    let world = start(|_| {});
    let client = world.client();
    let content = pattern(200_000);
    let up = world.dir.path().join("up");
    std::fs::write(&up, &content).unwrap();
    let reply = client
        .request(DIGEST, b"", &Body::File(up.clone()), limits())
        .await
        .unwrap();
    assert_eq!(reply.head, blake3::hash(&content).as_bytes());

    let down = world.dir.path().join("down");
    let head = up.to_str().unwrap().as_bytes();
    let reply = client
        .request_to_file(FILE, head, &Body::Empty, limits(), &down)
        .await
        .unwrap();
    assert_eq!(reply.status, Status::new(7).unwrap());
    assert_eq!(reply.digest, *blake3::hash(&content).as_bytes());
    let len = content.len() as u64;
    let path = down.clone();
    assert_eq!(reply.body, ReplyBody::File { path, len });
    assert_eq!(std::fs::read(&down).unwrap(), content);

    let missing = world.dir.path().join("missing");
    let error = client
        .request(DIGEST, b"", &Body::File(missing.clone()), limits())
        .await
        .unwrap_err();
    let kind = std::io::ErrorKind::NotFound;
    assert_eq!(
        error,
        ClientError::File {
            path: missing,
            kind
        }
    );
    // The handler's file is missing: the client learns it, the server goes on.
    let error = client
        .request(FILE, b"/nonexistent", &Body::Empty, limits())
        .await
        .unwrap_err();
    let refusal = Refusal::Storage;
    assert_eq!(error, ClientError::Refused { refusal });
}

#[tokio::test]
async fn a_response_over_the_clients_limit_leaves_nothing_behind() {
    let world = start(|_| {});
    let client = world.client();
    let down = world.dir.path().join("down");
    std::fs::write(&down, b"old").unwrap();
    let narrow = ResponseLimits {
        body_max: 9,
        ..limits()
    };
    let head = 10u64.to_le_bytes();
    let error = client
        .request_to_file(ZEROS, &head, &Body::Empty, narrow, &down)
        .await
        .unwrap_err();
    let too_large = ClientError::TooLarge {
        response: true,
        part: Part::Body,
        len: 10,
        max: 9,
    };
    assert_eq!(error, too_large);
    assert_eq!(std::fs::read(&down).unwrap(), b"old");
    let narrow = ResponseLimits {
        head_max: 3,
        ..limits()
    };
    let error = client
        .request(ECHO, b"four", &Body::Empty, narrow)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ClientError::TooLarge {
            part: Part::Head,
            len: 4,
            max: 3,
            ..
        }
    ));
}

#[tokio::test]
async fn each_refusal_is_typed_and_counted() {
    let world = start(|_| {});
    let client = world.client();
    let big_head = vec![0; HEAD_MAX as usize + 1];
    let big_body = Body::from(vec![0; BODY_MAX as usize + 1]);
    let cases: [(u16, &[u8], &Body, Refusal); 5] = [
        (UNKNOWN, b"", &Body::Empty, Refusal::UnknownKind),
        (ECHO, &big_head, &Body::Empty, Refusal::HeadTooLarge),
        (ECHO, b"", &big_body, Refusal::BodyTooLarge),
        (PANIC, b"", &Body::Empty, Refusal::Internal),
        (STUCK, b"", &Body::Empty, Refusal::Deadline),
    ];
    for (kind, head, body, refusal) in cases {
        let error = client
            .request(kind, head, body, limits())
            .await
            .unwrap_err();
        assert_eq!(error, ClientError::Refused { refusal });
    }
    client
        .request(ECHO, &big_head[1..], &Body::Empty, limits())
        .await
        .expect("the limit itself is allowed, on the same connection");
    let stats = world.server.stats();
    for (_, _, _, refusal) in cases {
        assert_eq!(stats.refused(refusal), 1, "{refusal}");
    }
    assert_eq!(stats.connections_accepted, 1);
    assert!(
        stats.memory_peak < 1 << 20,
        "a refused body is not taken: {}",
        stats.memory_peak
    );
    assert_eq!(stats.spool_peak, 0);
}

#[tokio::test]
async fn a_long_poll_outlives_the_idle_timeout() {
    let world = start(|config| {
        config.idle_timeout = Duration::from_secs(4);
        config.silent_timeout = Duration::from_secs(2);
    });
    let client = world.client();
    let poll = tokio::spawn(async move {
        client
            .request(POLL, b"x", &Body::Empty, limits())
            .await
            .map(|reply| reply.head)
    });
    tokio::time::sleep(Duration::from_secs(9)).await;
    world.shared.poll.notify_waiters();
    assert_eq!(poll.await.unwrap().unwrap(), b"x");
    assert_eq!(world.server.stats().connections_accepted, 1);
}

#[tokio::test]
async fn a_client_that_gives_up_frees_the_handler() {
    let world = start(|_| {});
    let client = world.client();
    let error = client
        .request(POLL, b"", &Body::Empty, limits_for(Duration::from_secs(2)))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ClientError::Deadline {
            attempts: 1,
            cause: None
        }
    );
    eventually("the handler is dropped", || {
        world
            .shared
            .dropped
            .load(std::sync::atomic::Ordering::SeqCst)
            == 1
    })
    .await;
    eventually("counted", || world.server.stats().requests_gone == 1).await;
}

#[tokio::test]
async fn what_can_not_be_bound_is_a_typed_error() {
    let world = start(|_| {});
    let addr = world.server.local_addr();
    let other = tempfile::tempdir().unwrap();
    let bind = |addr, config| {
        Server::bind(addr, &identity(2), config, TestHandler::default()).unwrap_err()
    };
    let error = bind(addr, server_config(&other));
    assert_eq!(error, BindError::AddressInUse { addr });
    assert_eq!(
        error.to_string(),
        format!("{addr} is in use: stop the process that has it or choose another port")
    );
    let foreign = "192.0.2.1:4433".parse().unwrap();
    assert_eq!(
        bind(foreign, server_config(&other)),
        BindError::AddressNotAvailable { addr: foreign }
    );
    let any = "127.0.0.1:0".parse().unwrap();
    assert_eq!(
        bind(any, server_config(&world.dir)),
        BindError::Spool(SpoolError::InUse {
            path: world.dir.path().join("spool")
        })
    );
    let mut config = server_config(&other);
    config.service.min_rate = 0;
    assert_eq!(
        bind(any, config),
        BindError::Config(ConfigError::Zero { field: "min_rate" })
    );
}

#[test]
fn outside_a_runtime_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = server_config(&dir);
    let error = Server::bind(any, &identity(1), config, TestHandler::default()).unwrap_err();
    assert_eq!(error, BindError::NoRuntime);
}
