//! A server that shows an old round to who asks for a later one.

use super::*;
use veilsum::kind;
use veilsum::transport::{
    Addresses, Handler, PeerInfo, Request, RequestLimits, Response, Server as Transport,
    ServerConfig, Status,
};

struct Stale {
    announcement: Vec<u8>,
    roster: Vec<u8>,
}

impl Handler for Stale {
    fn limits(&self, _: u16) -> Option<RequestLimits> {
        Some(RequestLimits {
            head_max: 1024,
            body_max: 0,
            deadline: PATIENCE,
        })
    }

    async fn handle(&self, _: PeerInfo, request: Request) -> Response {
        let body = match request.kind {
            kind::ANNOUNCEMENT => self.announcement.clone(),
            kind::ROSTER => self.roster.clone(),
            _ => Vec::new(),
        };
        Response::new(Status::OK, Vec::new()).with_body(Body::from(body))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_round_is_joined_that_is_not_above_the_one_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = None;
    let mut world = World::new(dir.path(), |options| {
        identity = Some(options.keys.transport().unwrap());
    });
    let mut options = world.client_options(&world.clients[0], dir.path());
    let requests = Requests::new(world.connection(), PATIENCE);
    let test = async {
        let Answer::Ready(announcement) = requests.announcement(0).await.unwrap() else {
            unreachable!("a round is open");
        };
        let stale = Stale {
            announcement: announcement.to_bytes(),
            roster: requests.roster(1).await.unwrap().to_bytes(),
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = ServerConfig::new(dir.path().join("stale"));
        let server = Transport::bind(any, &identity.unwrap(), config, stale).unwrap();
        options.server = server.local_addr().into();
        let mut client = Client::open(options).await.unwrap();
        assert_eq!(client.join(0).await.unwrap().round_id(), 1);
        for after in [1, 2, u64::MAX] {
            let refused = client.join(after).await.err();
            assert_eq!(refused, Some(ClientError::OldRound { after, shown: 1 }));
        }
        client.close().await;
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
}

/// Of the addresses of a name one does not answer, and behind the other is a server with another key.
#[tokio::test]
async fn who_finds_another_server_alone_has_found_no_server_that_it_may_trust() {
    let dir = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| World::new(&dir.path().join(name), |_| {}));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap();
    let found = [nobody, other.server.local_addr()];
    for (name, is_verification) in [(&found[..], true), (&found[..1], false)] {
        let options = ClientOptions {
            server: Addresses::of_name(name.iter().copied()).unwrap(),
            patience: Duration::from_secs(3),
            ..own.client_options(&own.clients[0], dir.path())
        };
        let error = Client::open(options).await.err().unwrap();
        assert!(error.is_unanswered(), "{error}");
        assert_eq!(error.is_verification(), is_verification, "{error}");
    }
}
