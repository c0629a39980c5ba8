//! A server that is too busy to answer at once, and one that is found under the second address of its name.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};
use veilsum::transport::{
    Addresses, Handler, PeerInfo, Request, RequestLimits, Response, Server as Transport,
    ServerConfig, Status,
};
use veilsum::{RequestError, code, kind};

/// Has a roster for whoever asks often enough.
struct Busy {
    roster: Vec<u8>,
    /// How often it says "again".
    times: u32,
    asked: Arc<AtomicU32>,
}

impl Handler for Busy {
    fn limits(&self, _: u16) -> Option<RequestLimits> {
        Some(RequestLimits {
            head_max: 1024,
            body_max: 0,
            deadline: PATIENCE,
        })
    }

    async fn handle(&self, _: PeerInfo, request: Request) -> Response {
        assert_eq!(request.kind, kind::ROSTER);
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.times {
            return Response::new(Status::new(code::AGAIN).unwrap(), Vec::new());
        }
        Response::new(Status::OK, Vec::new()).with_body(Body::from(self.roster.clone()))
    }
}

/// What opening a client gives whose server says "again" so many times.
async fn open(times: u32, patience: Duration) -> (Result<Client, ClientError>, u32) {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = None;
    let world = World::new(dir.path(), |options| {
        identity = Some(options.keys.transport().unwrap());
    });
    let asked = Arc::new(AtomicU32::new(0));
    let busy = Busy {
        roster: world.roster.signed().to_bytes(),
        times,
        asked: Arc::clone(&asked),
    };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = ServerConfig::new(dir.path().join("busy"));
    let server = Transport::bind(any, &identity.unwrap(), config, busy).unwrap();
    // Under the first address of its name nobody answers.
    let silent = std::net::UdpSocket::bind(any).unwrap();
    let name = [silent.local_addr().unwrap(), server.local_addr()];
    let options = ClientOptions {
        server: Addresses::of_name(name).unwrap(),
        patience,
        ..world.client_options(&world.clients[0], dir.path())
    };
    let opened = Client::open(options).await;
    (opened, asked.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_until_it_answers() {
    let (opened, asked) = open(3, PATIENCE).await;
    opened.unwrap().close().await;
    assert_eq!(asked, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_always_busy_is_given_up_with_the_patience() {
    let patience = Duration::from_secs(8);
    let (opened, asked) = open(u32::MAX, patience).await;
    let Some(ClientError::Request(RequestError::Busy { waited })) = opened.err() else {
        panic!("not told that the server is busy");
    };
    assert!(waited <= patience, "{waited:?}");
    // With pauses that double: a fifth of a second, two, four.
    assert!((2..=7).contains(&asked), "{asked}");
}
