//! A server under bad conditions: peers that send garbage or nothing, a disk that is full.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand_core::OsRng;
use veilsum::crypto::{Digest, EphemeralSecret};
use veilsum::params::{
    Beacon, ClientId, GENERATOR_SET, PROTOCOL_VERSION, Policy, RoundParams, UploadSizes,
};
use veilsum::protocol::{Check, Message, RoundContext, sign_request};
use veilsum::store::{ClosedLog, RealDisk, SimDisk, StoreError};
use veilsum::transport::{Body, Client as Connection, ClientConfig, ResponseLimits};
use veilsum::wire::{
    Header, HeaderContent, LogHeadContent, Roster, Signed, Wire, cohort_and_committee,
};
use veilsum::{
    Answer, Client, ClientError, ClientKeys, ClientOptions, RegistrarKeys, RequestError, Requests,
    Server, ServerError, ServerKeys, ServerOptions, ServerPublic, ServerStatus, ServerTimes,
    TaskName, now_ms,
};

#[path = "server/restarts.rs"]
mod restarts;

#[path = "server/ends.rs"]
mod ends;

#[path = "server/busy.rs"]
mod busy;

#[path = "server/large.rs"]
mod large;

#[path = "server/stale.rs"]
mod stale;

#[path = "server/tasks.rs"]
mod tasks;

#[path = "server/floods.rs"]
mod floods;

#[path = "server/disks.rs"]
mod disks;

#[path = "server/observe.rs"]
mod observe;

const N: u32 = 4;
const MODEL: Digest = Digest([9; 32]);
/// Ends a test that hangs. Tests wait for what is to happen, and a busy machine may take its time for it.
const PATIENCE: Duration = Duration::from_secs(120);

struct World {
    server: Server,
    params: RoundParams,
    server_public: ServerPublic,
    registrar: veilsum::crypto::VerifyingKey,
    roster: Arc<Roster>,
    clients: Vec<ClientKeys>,
}

impl World {
    /// Another round of the same roster.
    fn round(&self, round_id: u64, dim: u32) -> RoundParams {
        let (_, committee) =
            cohort_and_committee(&self.roster, &self.params.beacon, round_id, N, N).unwrap();
        let beacon = Beacon {
            round: round_id,
            ..self.params.beacon
        };
        RoundParams {
            round_id,
            beacon,
            dim,
            committee,
            ..self.params.clone()
        }
    }

    fn new(dir: &Path, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let registrar = RegistrarKeys::generate(&mut OsRng);
        let keys = ServerKeys::generate(&mut OsRng);
        let clients: Vec<ClientKeys> = (1..=N)
            .map(|id| ClientKeys::generate(ClientId(id), 1, &mut OsRng))
            .collect();
        let signed = registrar.sign_roster(1, clients.iter().map(ClientKeys::entry).collect());
        let roster = Arc::new(Roster::verify(signed, &registrar.public()).unwrap());
        let server_public = keys.public().unwrap();
        let beacon = Beacon {
            source: [0; 32],
            round: 1,
            value: [3; 32],
        };
        let params = RoundParams {
            protocol_version: PROTOCOL_VERSION,
            generator_set: GENERATOR_SET,
            round_id: 1,
            epoch: 1,
            server_key: server_public.signing.to_bytes(),
            model_digest: MODEL.0,
            roster_digest: roster.digest().0,
            beacon,
            dim: 10,
            scale_bits: 8,
            norm_bound: 32767,
            weight_max: 1,
            predicates: 0,
            groups: 1,
            cohort_size: N,
            n_max: N,
            n_min: 3,
            malicious_max: 1,
            threshold: 3,
            committee: cohort_and_committee(&roster, &beacon, 1, N, N).unwrap().1,
            contribute_deadline_ms: now_ms() + 600_000,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let state = dir.join("server");
        let mut options = ServerOptions::new(any, keys, Arc::clone(&roster), state);
        // Nobody is taken for gone because the machine is busy.
        options.times = ServerTimes {
            quiet: Duration::from_secs(20),
            linger: PATIENCE,
            ..ServerTimes::default()
        };
        change(&mut options);
        let server = Server::bind(options).unwrap();
        Self {
            server,
            params,
            server_public,
            registrar: registrar.public(),
            roster,
            clients,
        }
    }

    fn client_options(&self, keys: &ClientKeys, dir: &Path) -> ClientOptions {
        ClientOptions {
            server: self.server.local_addr().into(),
            server_public: self.server_public.clone(),
            registrar: self.registrar,
            keys: ClientKeys::from_text(&keys.to_text()).unwrap(),
            state: dir.join(keys.client().to_string()),
            policy: Policy {
                n_min: 3,
                committee: N,
                ..Policy::default()
            },
            task: TaskName::default(),
            patience: PATIENCE,
        }
    }

    fn connection(&self) -> Connection {
        let config = ClientConfig {
            max_attempts: 1,
            ..ClientConfig::new([1; 32])
        };
        Connection::new(
            self.server.local_addr(),
            self.server_public.transport,
            config,
        )
        .unwrap()
    }
}

async fn take_part(options: ClientOptions) -> Result<Vec<f64>, ClientError> {
    let id = f64::from(options.keys.client().0);
    let mut client = Client::open(options).await?;
    let round = client.join(0).await?;
    let part = client.take_part(&round, MODEL, &[id; 10]).await?;
    client.close().await;
    Ok(part.mean)
}

/// Requests that nobody may make, and how they must be answered; ends when all are refused.
async fn pester(connection: Connection, requests: Requests, params: RoundParams) {
    let limits = ResponseLimits {
        head_max: 1024,
        body_max: 1 << 20,
        deadline: PATIENCE,
    };
    for kind in 0..12 {
        for len in [0usize, 1, 8, 12, 60] {
            let head = vec![0xff; len];
            // Some kinds wait for something that never comes; each of these is cut off by the test's own patience.
            let request = connection.request(kind, &head, &Body::Empty, limits);
            let _ = tokio::time::timeout(Duration::from_millis(300), request).await;
        }
    }
    // A header of nobody's, with a body of the wrong length: refused before anything is kept.
    let head = [params.round_id.to_bytes(), vec![0; 600]].concat();
    let _ = connection
        .request(3, &head, &Body::from(vec![0; 77]), limits)
        .await;
    let unknown = requests.result(&context(&params), ClientId(77)).await;
    assert!(!matches!(unknown, Ok(Answer::Ready(_))), "{unknown:?}");
}

fn context(params: &RoundParams) -> veilsum::protocol::RoundContext {
    // Any context of the same shape: only its sizes and its round id are used.
    let registrar = RegistrarKeys::generate(&mut OsRng);
    let keys: Vec<ClientKeys> = (1..=N)
        .map(|id| ClientKeys::generate(ClientId(id), 1, &mut OsRng))
        .collect();
    let signed = registrar.sign_roster(1, keys.iter().map(ClientKeys::entry).collect());
    let roster = Arc::new(Roster::verify(signed, &registrar.public()).unwrap());
    let committee = cohort_and_committee(&roster, &params.beacon, 1, N, N)
        .unwrap()
        .1;
    let params = RoundParams {
        roster_digest: roster.digest().0,
        committee,
        ..params.clone()
    };
    veilsum::protocol::RoundContext::new(params, roster).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_silence_do_not_stop_a_round() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let address = world.server.local_addr();
    let silent: Vec<UdpSocket> = (0..50)
        .map(|i| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // Looks like the beginning of a handshake, and is none.
            socket.send_to(&[0xc0 | i; 1200], address).unwrap();
            socket
        })
        .collect();
    let pest = {
        let connection = world.connection();
        let requests = Requests::new(world.connection(), PATIENCE);
        tokio::spawn(pester(connection, requests, world.params.clone()))
    };
    let clients: Vec<_> = world
        .clients
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let report = world
        .server
        .run(world.params.clone(), |_| {})
        .await
        .unwrap();
    assert_eq!((report.accepted, report.contributions), (4, 4));
    assert!(report.rejected.is_empty() && report.dropped.is_empty());
    assert_eq!(report.mean, [2.5; 10]);
    for client in clients {
        assert_eq!(client.await.unwrap().unwrap(), [2.5; 10]);
    }
    pest.await.unwrap();
    drop(silent);

    // The transcript is closed, and its head is signed by the server.
    let log = ClosedLog::read(Arc::new(RealDisk), &report.transcript).unwrap();
    let closing = Signed::<LogHeadContent>::from_bytes(log.closing_payload()).unwrap();
    let head = closing.verify(&world.server_public.signing).unwrap();
    assert_eq!(
        (head.records, head.head.0),
        (log.signed_head().records, log.signed_head().value)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_contribution_comes_again_and_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let options = world.client_options(&world.clients[0], dir.path());
    let state = options.state.clone();
    let again = world.client_options(&world.clients[0], dir.path());
    let amnesiac = ClientOptions {
        state: dir.path().join("other"),
        ..world.client_options(&world.clients[0], dir.path())
    };
    let test = async move {
        let mut client = Client::open(options).await.unwrap();
        let round = client.join(0).await.unwrap();
        let first = client
            .contribute(&round, MODEL, vec![1; 10].into())
            .await
            .unwrap();
        client.close().await;
        drop(client);
        // A restarted client has its receipt, whatever update it is given now.
        assert!(state.join("client").exists());
        let mut client = Client::open(again).await.unwrap();
        let round = client.join(0).await.unwrap();
        assert_eq!(
            client
                .contribute(&round, MODEL, vec![2; 10].into())
                .await
                .unwrap(),
            first
        );
        client.close().await;
        // One that lost its state contributes twice: that is equivocation.
        let mut client = Client::open(amnesiac).await.unwrap();
        let round = client.join(0).await.unwrap();
        let refused = client
            .contribute(&round, MODEL, vec![3; 10].into())
            .await
            .unwrap_err();
        assert_eq!(
            refused,
            ClientError::Request(RequestError::Refused(Check::ContributionDuplicate))
        );
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
    let round = dir.path().join("server/rounds/1");
    let written = evidence_in(&round);
    assert_eq!(written.len(), 1, "equivocation leaves evidence");
    assert_eq!(written[0].0, veilsum::evidence_file(&round, &written[0].1));
}

/// The files of evidence in a directory, and what is in them.
fn evidence_in(round: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("evidence-")
    };
    let entries = std::fs::read_dir(round).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path()).filter(named);
    paths
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect()
}

/// A crash between joining and contributing costs the client nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_again_is_not_kept_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |_| {});
    let options = || world.client_options(&world.clients[0], dir.path());
    let (first, again) = (options(), options());
    let test = async move {
        let mut client = Client::open(first).await.unwrap();
        client.join(0).await.unwrap();
        client.close().await;
        drop(client);
        let mut client = Client::open(again).await.unwrap();
        // The long poll takes 20 seconds.
        let joined = tokio::time::timeout(Duration::from_secs(12), client.join(0)).await;
        let round = joined.expect("joins at once").unwrap();
        let x = vec![1; 10].into();
        client.contribute(&round, MODEL, x).await.unwrap();
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_to_clients_and_stops_nothing_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::new();
    let own = disk.clone();
    let mut world = World::new(dir.path(), |options| options.disk = Arc::new(own));
    let options = world.client_options(&world.clients[0], dir.path());
    let again = world.client_options(&world.clients[0], dir.path());
    let full = disk.clone();
    let observer = world.server.observer();
    let of_disk = move || (observer.is_healthy(), observer.storage_failures());
    let only = |count| vec![(String::new(), count)];
    let test = async move {
        let mut client = Client::open(options).await.unwrap();
        let round = client.join(0).await.unwrap();
        full.set_capacity(Some(full.used() + 100));
        let refused = client
            .contribute(&round, MODEL, vec![1; 10].into())
            .await
            .unwrap_err();
        assert_eq!(refused, ClientError::Request(RequestError::Storage));
        assert_eq!(of_disk(), (false, only(1)), "the operator sees it");
        client.close().await;
        drop(client);
        full.set_capacity(None);
        // There is space again: the same bytes are sent again, and taken.
        let mut client = Client::open(again).await.unwrap();
        let round = client.join(0).await.unwrap();
        client
            .contribute(&round, MODEL, vec![2; 10].into())
            .await
            .unwrap();
        assert_eq!(of_disk(), (true, only(1)));
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
    disk.set_capacity(Some(disk.used()));
    let other = RoundParams {
        round_id: 2,
        beacon: Beacon {
            round: 2,
            ..world.params.beacon
        },
        ..world.params.clone()
    };
    let other = RoundParams {
        committee: {
            let beacon = other.beacon;
            let roster = Client::open(world.client_options(&world.clients[1], dir.path()))
                .await
                .unwrap();
            cohort_and_committee(roster.roster(), &beacon, 2, N, N)
                .unwrap()
                .1
        },
        ..other
    };
    let error = world.server.run(other, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, ServerError::Store(StoreError::DiskFull { .. })),
        "{error:?}"
    );
}

/// Signs its Final, and from then on asks for messages and answers none.
async fn lazy(options: ClientOptions) {
    let mut client = Client::open(options).await.unwrap();
    let round = client.join(0).await.unwrap();
    let x = vec![256; 10].into();
    client.contribute(&round, MODEL, x).await.unwrap();
    client
        .serve(&round, |message| !matches!(message, Message::Final(_)))
        .await
        .unwrap();
    let mut cursor = 0;
    loop {
        match round.requests().member_poll(cursor).await {
            Ok(Answer::Ready(polled)) => cursor = polled.next,
            Ok(Answer::Again) => {}
            _ => break,
        }
    }
}

/// A round in which the client of this place is [`lazy`].
async fn with_lazy(place: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |options| {
        options.times.quiet = Duration::from_millis(300);
        options.times.linger = Duration::from_millis(500);
    });
    // Whoever is slow to contribute is waited for.
    world.params.n_min = N;
    let clients: Vec<_> = (0..4)
        .map(|i| {
            let options = world.client_options(&world.clients[i], dir.path());
            tokio::spawn(async move {
                if i == place {
                    lazy(options).await;
                } else {
                    take_part(options).await.unwrap();
                }
            })
        })
        .collect();
    let params = world.params.clone();
    let run = world.server.run(params, |_| {});
    let report = tokio::time::timeout(PATIENCE, run).await;
    assert_eq!(
        report.unwrap().unwrap().accepted,
        4,
        "member of place {place}"
    );
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_asks_and_never_answers_holds_up_nothing() {
    for place in 0..4 {
        with_lazy(place).await;
    }
}

/// The only round of a server.
async fn seen(requests: &Requests) -> ServerStatus {
    let mut tasks = requests.status().await.unwrap();
    tasks.pop().unwrap().round.unwrap()
}

/// A request in the name of a client, as somebody else makes it; none is signed as it must be.
async fn impostor(connection: &Connection, kind: u16, heads: &[Vec<u8>]) {
    let limits = ResponseLimits {
        head_max: 1024,
        body_max: 1 << 20,
        deadline: PATIENCE,
    };
    for head in heads {
        let answer = connection.request(kind, head, &Body::Empty, limits).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status.code(), veilsum::code::REFUSED);
        assert_eq!(answer.head, Check::RequestSignature.id().as_bytes());
    }
}

/// Requests of this kind for `victim` that it did not sign: by another client, for another kind, for another round.
fn forged(
    round: &veilsum::Joined,
    victim: &ClientKeys,
    thief: &ClientKeys,
    kind: u16,
) -> Vec<Vec<u8>> {
    let context = &round.context;
    let (client, id) = (victim.client(), context.params().round_id);
    let of_thief = sign_request(context, client, thief.identity(), kind);
    let of_kind = sign_request(context, client, victim.identity(), kind ^ 1);
    let mut content = of_kind.content.clone();
    content.kind = kind;
    content.params_digest.0[0] ^= 1;
    let of_round = Signed::sign(content, victim.identity());
    let named = if kind == veilsum::kind::RESULT {
        (id, client).to_bytes()
    } else {
        id.to_bytes()
    };
    [of_thief, of_kind, of_round]
        .iter()
        .map(|signed| [&named[..], &signed.to_bytes()].concat())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_to_be_another_closes_no_round_early() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |options| {
        options.times.quiet = Duration::from_secs(2);
    });
    let first: Vec<_> = world.clients[..3]
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let connection = world.connection();
    let thief_options = world.client_options(&world.clients[0], &dir.path().join("thief"));
    let late = world.client_options(&world.clients[3], dir.path());
    let (victim, thief) = (
        ClientKeys::from_text(&world.clients[3].to_text()).unwrap(),
        ClientKeys::from_text(&world.clients[0].to_text()).unwrap(),
    );
    let watching = Requests::new(world.connection(), PATIENCE);
    let attack = tokio::spawn(async move {
        let mut client = Client::open(thief_options).await.unwrap();
        let round = client.join(0).await.unwrap();
        let heads = forged(&round, &victim, &thief, veilsum::kind::PREPARE);
        impostor(&connection, veilsum::kind::PREPARE, &heads).await;
        // The bytes of a request that names the client and signs nothing, as older versions took it.
        let bare = [1u64.to_bytes(), victim.client().to_bytes()].concat();
        let limits = ResponseLimits {
            head_max: 1024,
            body_max: 0,
            deadline: PATIENCE,
        };
        let answer = connection
            .request(veilsum::kind::PREPARE, &bare, &Body::Empty, limits)
            .await;
        assert_eq!(
            answer.unwrap().status.code(),
            veilsum::code::MALFORMED,
            "unsigned"
        );
        while seen(&watching).await.contributions < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Longer than anybody is waited for who came and left.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let status = seen(&watching).await;
        assert_eq!(
            (status.phase, status.contributions, status.joined),
            (0, 3, 3),
            "n_min are there, and the fourth is waited for"
        );
        take_part(late).await.unwrap()
    });
    let report = world.server.run(world.params.clone(), |_| {}).await;
    let report = report.unwrap();
    assert_eq!((report.accepted, report.dropped.len()), (4, 0));
    assert_eq!(attack.await.unwrap(), [2.5; 10]);
    for client in first {
        client.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claims_to_be_another_ends_no_round_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), |options| {
        options.times.quiet = Duration::from_secs(4);
    });
    let first: Vec<_> = world.clients[..3]
        .iter()
        .map(|keys| tokio::spawn(take_part(world.client_options(keys, dir.path()))))
        .collect();
    let connection = world.connection();
    let anybody = Requests::new(world.connection(), PATIENCE);
    let options = world.client_options(&world.clients[3], dir.path());
    let (victim, thief) = (
        ClientKeys::from_text(&world.clients[3].to_text()).unwrap(),
        ClientKeys::from_text(&world.clients[0].to_text()).unwrap(),
    );
    let heard = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = Arc::clone(&heard);
    let slow = tokio::spawn(async move {
        let mut client = Client::open(options).await.unwrap();
        let round = client.join(0).await.unwrap();
        let x = vec![256; 10].into();
        client.contribute(&round, MODEL, x).await.unwrap();
        client.serve(&round, |_| true).await.unwrap();
        let heads = forged(&round, &victim, &thief, veilsum::kind::RESULT);
        impostor(&connection, veilsum::kind::RESULT, &heads).await;
        // Who signs nothing is answered, and counts for nobody.
        let shown = anybody.result(&round.context, victim.client()).await;
        assert!(matches!(shown.unwrap(), Answer::Ready(_)));
        tokio::time::sleep(Duration::from_secs(2)).await;
        told.store(true, std::sync::atomic::Ordering::SeqCst);
        client.result(&round).await.unwrap();
    });
    let report = world.server.run(world.params.clone(), |_| {}).await;
    assert!(
        heard.load(std::sync::atomic::Ordering::SeqCst),
        "the server left before the client heard the end"
    );
    assert_eq!(report.unwrap().accepted, 4);
    slow.await.unwrap();
    for client in first {
        client.await.unwrap().unwrap();
    }
}

async fn take_part_in(options: ClientOptions, task: &str) -> Result<(u64, Vec<f64>), ClientError> {
    let id = f64::from(options.keys.client().0);
    let task = task.parse::<TaskName>().unwrap();
    let mut client = Client::open(ClientOptions { task, ..options }).await?;
    let round = client.join(0).await?;
    let dim = usize::try_from(round.context.params().dim).unwrap();
    let part = client.take_part(&round, MODEL, &vec![id; dim]).await?;
    client.close().await;
    Ok((round.round_id(), part.mean))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), |_| {});
    let task = |name: &str, state: &str| {
        let name = name.parse::<TaskName>().unwrap();
        world.server.task(name, dir.path().join(state))
    };
    let (mut small, mut large) = (task("small", "s").unwrap(), task("large", "l").unwrap());
    for (name, state) in [("small", "other"), ("other", "l")] {
        let error = task(name, state).err();
        let name = name.to_owned();
        assert_eq!(error, Some(ServerError::TaskTaken { name }));
    }
    let two = world.round(2, 700);
    // Rounds of all tasks have different numbers: the second to take one does not get it.
    let one = world.params.clone();
    let first = tokio::spawn(async move { small.run(one, |_| {}).await });
    let observer = world.server.observer();
    while observer
        .status()
        .await
        .iter()
        .all(|task| task.round.is_none())
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let taken = large.run(world.params.clone(), |_| {}).await;
    assert_eq!(taken, Err(ServerError::RoundUsed { round_id: 1 }));
    let second = tokio::spawn(async move { large.run(two, |_| {}).await });

    // Whoever does not say which task it means is told which there are.
    let lost = take_part_in(
        world.client_options(&world.clients[0], &dir.path().join("lost")),
        "",
    );
    let names = "large small".to_owned();
    assert_eq!(
        lost.await,
        Err(ClientError::Request(RequestError::NoTask { names }))
    );
    let mut clients = Vec::new();
    for keys in &world.clients {
        for name in ["small", "large"] {
            let options = world.client_options(keys, &dir.path().join(name));
            clients.push((name, tokio::spawn(take_part_in(options, name))));
        }
    }
    for (name, client) in clients {
        let (round, mean) = client.await.unwrap().unwrap();
        let expected = match name {
            "small" => (1, vec![2.5; 10]),
            _ => (2, vec![2.5; 700]),
        };
        assert_eq!((round, mean), expected);
    }
    let reports = [
        first.await.unwrap().unwrap(),
        second.await.unwrap().unwrap(),
    ];
    assert_eq!(reports.map(|report| report.accepted), [4, 4]);
    let seen = observer.status().await;
    let seen: Vec<(&str, u64)> = seen
        .iter()
        .map(|task| (task.task.as_str(), task.round.as_ref().unwrap().round))
        .collect();
    assert_eq!(seen, [("large", 2), ("small", 1)]);
    assert!(dir.path().join("s/rounds/1/log").is_file());
    assert!(dir.path().join("l/rounds/2/log").is_file());
}

/// A header that its client signed, with a polynomial of another degree, and a body of the right length.
fn of_wrong_degree(context: &RoundContext, keys: &ClientKeys) -> (Header, Arc<[u8]>) {
    let (digest, root) = (*context.digest(), Digest([1; 32]));
    let ephemeral = EphemeralSecret::generate(&mut OsRng);
    let point = *ephemeral.public();
    let knowledge = ephemeral.prove(&digest, keys.client(), &[point], &root, &mut OsRng);
    let content = HeaderContent {
        params_digest: digest,
        client: keys.client(),
        commitments: vec![point],
        f_z: point,
        ephemeral: point,
        knowledge,
        share_root: root,
        row_root: root,
        other_rows: root,
        masked_vector: root,
        key_ciphertext: root,
        proof: root,
    };
    let params = context.params();
    let sizes = UploadSizes::of(context.layout(), params.committee_size(), N);
    let body = vec![0; usize::try_from(sizes.body()).unwrap()];
    (Signed::sign(content, keys.identity()), body.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_has_used_up_its_place_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = None;
    let mut world = World::new(dir.path(), |options| {
        kept = Some((options.keys.to_text(), Arc::clone(&options.roster)));
    });
    let (keys, roster) = kept.unwrap();
    let params = world.params.clone();
    let context = veilsum::protocol::RoundContext::new(params.clone(), Arc::clone(&roster));
    let context = Arc::new(context.unwrap());
    let (header, body) = of_wrong_degree(&context, &world.clients[0]);
    let refused = Err(RequestError::Refused(Check::HeaderCommitments));
    let requests_to = |address| {
        let config = ClientConfig::new([2; 32]);
        let connection = Connection::new(address, world.server_public.transport, config);
        Requests::new(connection.unwrap(), PATIENCE)
    };
    let first = requests_to(world.server.local_addr());
    tokio::select! {
        ended = world.server.run(params.clone(), |_| {}) => panic!("{ended:?}"),
        answer = first.submit(1, &header, Arc::clone(&body)) => assert_eq!(answer, refused),
    }
    first.close().await;
    world.server.shutdown(Duration::from_secs(1)).await;

    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let keys = ServerKeys::from_text(&keys).unwrap();
    let options = ServerOptions::new(any, keys, roster, dir.path().join("server"));
    let mut server = Server::bind(options).unwrap();
    let again = requests_to(server.local_addr());
    let observer = server.observer();
    let test = async {
        // No body is read for it any more.
        let len = u64::try_from(body.len()).unwrap();
        assert_eq!(again.submit(1, &header, body).await, refused);
        let status = again.status().await.unwrap();
        let check = Check::HeaderCommitments.id().to_owned();
        let rejected = status[0].round.as_ref().map(|round| &round.rejected);
        assert_eq!(rejected, Some(&[(check, 1)].into()));
        let read = observer.transport().bytes_in;
        assert!(read < len, "{read} bytes were read of a body of {len}");
    };
    tokio::select! {
        ended = server.run(params, |_| {}) => panic!("{ended:?}"),
        () = test => {}
    }
}
