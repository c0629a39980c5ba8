//! A round beside peers that mean it harm: silent, slow, garbage and flooding connections while honest clients contribute.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, Endpoint};
use tokio::task::JoinSet;
use tokio::time::sleep;
use veilsum::crypto::Digest;
use veilsum::params::Policy;
use veilsum::transport::ALPN;
use veilsum::transport::frame::encode_head;
use veilsum::{
    Client, ClientError, ClientKeys, ClientOptions, ServerPublic, kind, registrar_from_text,
};

use crate::{Deployment, json};

#[path = "../../crates/transport/tests/it/raw.rs"]
#[expect(
    dead_code,
    reason = "made for the tests of the transport, which use all of it"
)]
mod raw;

/// Addresses that the attackers share: as many customers of a provider.
const SOURCES: u8 = 8;
/// Streams that each attacker tries to hold.
const STREAMS: usize = 8;
/// Ticks of `/proc/*/stat` in a second.
const TICKS: f64 = 100.0;

/// A round and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Honest clients.
    pub clients: u32,
    /// Committee members among them.
    pub committee: u32,
    /// Connections of attackers, a quarter of each kind; 0 for the same round in peace.
    pub attackers: u32,
    /// Coordinates.
    pub dim: u32,
    /// For how long contributions are taken, in seconds.
    pub contribute_seconds: u32,
    /// How long the attack is under way before the first honest client comes.
    pub before: Duration,
}

/// What became of the round. That no honest contribution was lost or late is asserted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// From joining to the receipt, the slowest honest client, in seconds.
    pub slowest_contribution: f64,
    /// The whole round, in seconds, beginning with the first honest client.
    pub seconds: f64,
    /// CPU time of the server process, in seconds, from its start.
    pub server_cpu_seconds: f64,
    /// The most memory that it had.
    pub server_peak_mib: u64,
    /// Connections that attackers got, all in all.
    pub hostile_connections: u64,
}

#[expect(clippy::disallowed_methods, reason = "a program that measures")]
fn now() -> Instant {
    Instant::now()
}

/// CPU seconds and peak memory of a process, as far as it still runs.
fn usage(pid: u32) -> Option<(f64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(((ticks(11)? + ticks(12)?) / TICKS, kib >> 10))
}

/// Whatever a hostile peer can write into a stream, again and again, as fast as it is taken.
async fn hostile(
    number: u32,
    server: SocketAddr,
    body_len: u64,
    count: Arc<std::sync::atomic::AtomicU64>,
) {
    let source = IpAddr::V4(Ipv4Addr::new(
        127,
        0,
        0,
        2 + u8::try_from(number).unwrap_or(0) % SOURCES,
    ));
    let Ok(endpoint) = Endpoint::client(SocketAddr::new(source, 0)) else {
        return;
    };
    loop {
        let connecting = endpoint.connect_with(raw::raw_config(ALPN), server, "anything");
        let Ok(Ok(connection)) = tokio::time::timeout(Duration::from_secs(10), async {
            connecting.map_err(drop)?.await.map_err(drop)
        })
        .await
        else {
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match number / u32::from(SOURCES) % 4 {
            // Pings, and asks for nothing.
            0 => drop(connection.closed().await),
            1 => slow(&connection, body_len).await,
            2 => garbage(&connection).await,
            _ => flood(&connection, body_len).await,
        }
    }
}

/// Uploads that never come to their end, a byte at a time, on as many streams as there are.
async fn slow(connection: &Connection, body_len: u64) {
    let begin = encode_head(kind::SUBMIT, &[1; 200], body_len).unwrap();
    let mut held = Vec::new();
    while connection.close_reason().is_none() {
        if held.len() < STREAMS
            && let Ok(Ok((mut send, recv))) =
                tokio::time::timeout(Duration::from_millis(100), connection.open_bi()).await
        {
            let sent = send
                .write_all(&begin[..6 + held.len() * (begin.len() - 6) / STREAMS])
                .await;
            held.push((send, recv, sent.is_ok()));
        }
        for (send, _, alive) in &mut held {
            *alive &= send.write_all(&[7]).await.is_ok();
        }
        held.retain(|(_, _, alive)| *alive);
        sleep(Duration::from_millis(300)).await;
    }
}

/// Bytes that mean nothing.
async fn garbage(connection: &Connection) {
    while let Ok((mut send, _recv)) = connection.open_bi().await {
        let _ = send.write_all(&[0xee; 4000]).await;
        let _ = send.finish();
    }
}

/// Requests that are well formed: uploads in the name of clients, with headers that nobody signed, and all that anybody may
/// ask for.
async fn flood(connection: &Connection, body_len: u64) {
    let mut number = 0u32;
    loop {
        number = number.wrapping_add(1);
        let Ok((mut send, mut recv)) = connection.open_bi().await else {
            return;
        };
        let round = 1u64.to_le_bytes();
        let (kind, head, body) = match number % 4 {
            0 => (kind::SUBMIT, [&round[..], &[3; 400]].concat(), body_len),
            1 => (kind::ROSTER, round.to_vec(), 0),
            2 => (kind::STATUS, Vec::new(), 0),
            _ => (
                kind::RESULT,
                [&round[..], &(number % 50 + 1).to_le_bytes()].concat(),
                0,
            ),
        };
        let frame = encode_head(kind, &head, body).unwrap();
        let _ = send.write_all(&frame).await;
        let _ = send
            .write_all(&vec![9; usize::try_from(body).unwrap_or(0)])
            .await;
        let _ = send.finish();
        // Whoever waits for answers floods less.
        if number.is_multiple_of(16) {
            let _ =
                tokio::time::timeout(Duration::from_millis(50), recv.read_to_end(1 << 20)).await;
        }
    }
}

struct Honest {
    options: ClientOptions,
    update: Vec<f64>,
}

/// Takes part; gives the seconds to the receipt, and the mean that was checked.
async fn take_part(honest: Honest) -> Result<(f64, Vec<f64>), ClientError> {
    let start = now();
    let mut client = Client::open(honest.options).await?;
    let round = client.join(0).await?;
    let model = Digest([1; 32]);
    let params = round.context.params();
    let scale = f64::from(params.scale_bits).exp2();
    let x: Vec<i64> = honest.update.iter().map(|v| (v * scale) as i64).collect();
    client.contribute(&round, model, x.into()).await?;
    let seconds = start.elapsed().as_secs_f64();
    client.serve(&round, |_| true).await?;
    let part = client.result(&round).await?;
    client.close().await;
    Ok((seconds, part.mean))
}

fn value(id: u32) -> f64 {
    f64::from(id % 8) / 256.0
}

/// Runs the round.
///
/// # Panics
/// When an honest contribution is refused, lost or late, when the sum is not exact, or when the server gives up.
#[must_use]
pub fn run(attack: Attack) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(under(attack))
}

async fn under(attack: Attack) -> Outcome {
    let Attack {
        clients,
        committee,
        dim,
        ..
    } = attack;
    let deployment = Deployment::new(clients);
    deployment.configure(&format!(
        "dim = {dim}\ncommittee = {committee}\ncontribute_seconds = {}\nn_min = {clients}",
        attack.contribute_seconds
    ));
    let mut server = deployment.server();
    let address: SocketAddr = deployment.address().parse().unwrap();
    let read = |name: &str| fs::read(deployment.file(name)).unwrap();
    let public = ServerPublic::from_text(&read("server.key.pub")).unwrap();
    let registrar = registrar_from_text(&read("registrar.key.pub")).unwrap();

    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut attackers = JoinSet::new();
    for number in 0..attack.attackers {
        // About as long as a contribution, so that it is the server's to say that it is none.
        attackers.spawn(hostile(number, address, 40_000, Arc::clone(&count)));
    }
    sleep(attack.before).await;
    let start = now();
    let mut honest = JoinSet::new();
    for id in 1..=clients {
        let options = ClientOptions {
            server: address.into(),
            server_public: public.clone(),
            task: veilsum::TaskName::default(),
            registrar,
            keys: ClientKeys::from_text(&read(&format!("client-{id}.key"))).unwrap(),
            state: deployment.path().join(format!("client-{id}.state")),
            policy: Policy {
                n_min: clients,
                committee,
                unproven_draw: true,
                ..Policy::default()
            },
            patience: Duration::from_secs(600),
        };
        let update = vec![value(id); usize::try_from(dim).unwrap()];
        honest.spawn(take_part(Honest { options, update }));
    }
    let mut last = (0.0, 0);
    let (mut slowest, mut means) = (0f64, Vec::new());
    loop {
        last = usage(server.id()).unwrap_or(last);
        tokio::select! {
            ended = honest.join_next() => match ended {
                Some(ended) => {
                    let (seconds, mean) = ended.unwrap().unwrap();
                    slowest = slowest.max(seconds);
                    means.push(mean);
                }
                None => break,
            },
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    while server.is_running() {
        last = usage(server.id()).unwrap_or(last);
        sleep(Duration::from_millis(20)).await;
    }
    attackers.abort_all();
    // An attacker that gave up early attacked nothing.
    while let Some(ended) = attackers.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }
    let ended = server.end();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let report = json(&String::from_utf8_lossy(&ended.stdout));
    assert_eq!(report["accepted"], clients, "{report}");
    assert_eq!(
        (&report["rejected"], &report["dropped"]),
        (&serde_json::json!([]), &serde_json::json!(0))
    );
    let mean = (1..=clients).map(value).sum::<f64>() / f64::from(clients);
    for found in means {
        assert!(
            found.iter().all(|v| (v - mean).abs() < 1e-12),
            "the sum is not exact"
        );
    }
    assert!(
        slowest < f64::from(attack.contribute_seconds),
        "a contribution took {slowest} s, longer than contributions are taken"
    );
    Outcome {
        slowest_contribution: slowest,
        seconds,
        server_cpu_seconds: last.0,
        server_peak_mib: last.1,
        hostile_connections: count.load(std::sync::atomic::Ordering::Relaxed),
    }
}
