//! A round under load: the real server as a process of its own, and all clients of a large cohort over QUIC on loopback.
//!
//! Contributions are made beforehand and kept in `--dir`, so that what is measured is the server. The server's CPU time is
//! compared with that of verifying the same contributions in this process, each on one thread, as many at a time as there are
//! processors (`specs/benchmarks.md`, "Load and attacks").

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use rayon::prelude::*;
use veilsum::params::{ClientId, Policy};
use veilsum::proof::{Prepared, Round};
use veilsum::protocol::{
    RoundContext, build_contribution, decode_body, light_check, verify_contribution,
};
use veilsum::transport::{Client as Connection, ClientConfig};
use veilsum::wire::{Header, LightBundle, Roster, RoundResult, Wire};
use veilsum::{
    Answer, Client, ClientKeys, ClientOptions, RegistrarKeys, RequestError, Requests, ServerKeys,
    ServerPublic, registrar_to_text,
};

use crate::forge::forged;
use crate::program;

/// Whatever goes wrong.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A round and its bounds.
#[derive(Clone, Debug)]
pub struct Load {
    /// Directory for keys, contributions and the server's state; used again when it fits.
    pub dir: PathBuf,
    /// Clients of the cohort.
    pub clients: u32,
    /// How many of them send a contribution whose proof was made for another.
    pub malicious: u32,
    /// How many of them join and vanish.
    pub dropouts: u32,
    /// Coordinates.
    pub dim: u32,
    /// Members of the committee.
    pub committee: u32,
    /// Whether verification alone is measured, too: its time is what the server's is compared with.
    pub baseline: bool,
}

/// What became of it. That malicious clients were refused for their proof, that each other one that stayed has a receipt and the
/// result, and that the round ended is certain: anything else is an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Contributions in the sum.
    pub accepted: u64,
    /// Contributions that were refused.
    pub rejected: usize,
    /// Everybody was shown exactly the sum of what honest clients contributed, and nobody was left out.
    pub exact: bool,
    /// The round, in seconds.
    pub seconds: f64,
    /// CPU time of the server process.
    pub server_cpu_seconds: f64,
    /// CPU time of verifying the same contributions here, on one thread and on all.
    pub verification_cpu_seconds: Option<(f64, f64)>,
    /// The most memory that the server had.
    pub server_peak_mib: u64,
}

const NORM_BOUND: u32 = 32_767;
/// Ticks of `/proc/*/stat` in a second.
const TICKS: f64 = 100.0;
/// Clients that check the result in full; all others compare it with the sum that they know.
const LIGHT_CHECKS: u32 = 4;

#[expect(clippy::disallowed_methods, reason = "a program that measures")]
fn now() -> Instant {
    Instant::now()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Honest,
    Malicious,
    Dropout,
}

struct World {
    arguments: Load,
    keys: Vec<ClientKeys>,
    server: ServerPublic,
    registrar: veilsum::crypto::VerifyingKey,
    roster: Arc<Roster>,
}

impl World {
    /// Everybody's part follows from the number; members of the committee are drawn, so there are all kinds among them.
    fn role(&self, id: u32) -> Role {
        let (bad, gone) = (self.arguments.malicious, self.arguments.dropouts);
        // A stride that is prime to any size spreads the roles over the cohort.
        let place = u64::from(id) * 7919 % u64::from(self.arguments.clients);
        match u32::try_from(place).unwrap_or(u32::MAX) {
            place if place < bad => Role::Malicious,
            place if place < bad + gone => Role::Dropout,
            _ => Role::Honest,
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.arguments.dir.join(name)
    }

    fn update(&self, id: u32) -> Vec<i64> {
        let mut rng = ChaCha20Rng::seed_from_u64(id.into());
        let most = i64::from((f64::from(NORM_BOUND) / f64::from(self.arguments.dim).sqrt()) as u32);
        let span = u64::try_from(2 * most + 1).unwrap_or(1);
        (0..self.arguments.dim)
            .map(|_| i64::try_from(rng.next_u64() % span).unwrap_or(0) - most)
            .collect()
    }

    fn start_server(&self) -> Result<(Child, SocketAddr), Failure> {
        let address = self.dir("address");
        let _ = fs::remove_file(&address);
        let mut child = Command::new(program())
            .args(["server", "--json", "--config"])
            .arg(self.dir("server.toml"))
            .stdout(Stdio::piped())
            .spawn()?;
        for _ in 0..600 {
            if let Some(found) = fs::read_to_string(&address)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                return Ok((child, found));
            }
            if child.try_wait()?.is_some() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        let _ = child.kill();
        Err("the server does not start".into())
    }

    fn requests(&self, address: SocketAddr) -> Result<Requests, Failure> {
        let mut jitter = [0; 32];
        OsRng.fill_bytes(&mut jitter);
        let connection =
            Connection::new(address, self.server.transport, ClientConfig::new(jitter))?;
        Ok(Requests::new(connection, Duration::from_secs(3600)))
    }
}

/// Keys, roster and configuration; read back when they were made before.
fn world(arguments: Load) -> Result<World, Failure> {
    let dir = &arguments.dir;
    let ids = 1..=arguments.clients;
    let shape = format!(
        "{} {} {} {}",
        arguments.clients, arguments.dim, arguments.committee, arguments.malicious
    );
    if fs::read_to_string(dir.join("shape")).is_ok_and(|found| found != shape) {
        return Err(format!("{} holds a load of another shape: remove it", dir.display()).into());
    }
    fs::create_dir_all(dir.join("contributions"))?;
    if !dir.join("shape").exists() {
        let registrar = RegistrarKeys::generate(&mut OsRng);
        let server = ServerKeys::generate(&mut OsRng);
        let keys: Vec<_> = ids
            .clone()
            .map(|id| ClientKeys::generate(ClientId(id), 1, &mut OsRng))
            .collect();
        let signed = registrar.sign_roster(1, keys.iter().map(ClientKeys::entry).collect());
        let secret = |name: &str, text: &[u8]| {
            veilsum::store::replace_private(&veilsum::store::RealDisk, &dir.join(name), text)
        };
        secret("server.key", &server.to_text())?;
        secret("registrar.pub", &registrar_to_text(&registrar.public()))?;
        secret("roster.bin", &signed.to_bytes())?;
        for key in &keys {
            secret(&format!("{}.key", key.client().0), &key.to_text())?;
        }
        let (clients, committee) = (arguments.clients, arguments.committee);
        let n_min = 2 * clients / 3 + 1;
        let config = format!(
            "listen = \"127.0.0.1:0\"\nkey = \"server.key\"\nregistrar = \"registrar.pub\"\nroster = \"roster.bin\"\n\
             state = \"state\"\naddress_file = \"address\"\n[limits]\nconnections_per_address = {}\nhandshakes = {}\n\
             [round]\nid = 1\ndim = {}\nscale_bits = 8\nnorm_bound = {NORM_BOUND}\ncommittee = {committee}\n\
             n_min = {n_min}\nmalicious_max = {}\nbeacon = \"{}\"\nmodel_digest = \"{}\"\ncontribute_seconds = {}\n",
            2 * clients,
            2 * clients,
            arguments.dim,
            clients / 5,
            "02".repeat(32),
            "01".repeat(32),
            30 * 24 * 3600,
        );
        fs::write(dir.join("server.toml"), config)?;
        fs::write(dir.join("shape"), shape)?;
    }
    let registrar = veilsum::registrar_from_text(&fs::read(dir.join("registrar.pub"))?)?;
    let roster = Wire::from_bytes(&fs::read(dir.join("roster.bin"))?)?;
    Ok(World {
        server: ServerKeys::from_text(&fs::read(dir.join("server.key"))?)?.public()?,
        keys: ids
            .map(|id| {
                Ok(ClientKeys::from_text(&fs::read(
                    dir.join(format!("{id}.key")),
                )?)?)
            })
            .collect::<Result<_, Failure>>()?,
        registrar,
        roster: Arc::new(Roster::verify(roster, &registrar)?),
        arguments,
    })
}

/// A server announces the round, once: what it wrote is where every measured run begins.
async fn announced(world: &World) -> Result<RoundContext, Failure> {
    let kept = world.dir("announcement.bin");
    if !kept.exists() {
        let (mut child, address) = world.start_server()?;
        let answer = world.requests(address)?.announcement(0).await?;
        child.kill()?;
        child.wait()?;
        let Answer::Ready(announcement) = answer else {
            return Err("the server announces nothing".into());
        };
        copy_dir(&world.dir("state"), &world.dir("announced"))?;
        fs::write(&kept, announcement.params.to_bytes())?;
    }
    let params = Wire::from_bytes(&fs::read(&kept)?)?;
    Ok(RoundContext::new(params, Arc::clone(&world.roster))?)
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Makes the contributions that are not there yet.
fn contribute(world: &World, context: &RoundContext, round: &Round) -> Result<(), Failure> {
    let path = |id: u32, what: &str| world.dir("contributions").join(format!("{id}.{what}"));
    let done = AtomicU32::new(0);
    let make = |keys: &ClientKeys| -> Result<(), Failure> {
        let id = keys.client().0;
        let count = done.fetch_add(1, Ordering::Relaxed);
        if count.is_multiple_of(100) {
            eprintln!("{count} contributions of {}", world.arguments.clients);
        }
        if world.role(id) == Role::Dropout || path(id, "body").exists() {
            return Ok(());
        }
        let x = world.update(id);
        let (header, body) = match world.role(id) {
            Role::Malicious => forged(context, round, keys, &x)?,
            _ => {
                let (client, identity) = (keys.client(), keys.identity());
                let made = build_contribution(context, round, client, identity, &x, &mut OsRng)?;
                (made.header, made.body)
            }
        };
        fs::write(path(id, "header"), header.to_bytes())?;
        fs::write(path(id, "body"), body.to_bytes())?;
        Ok(())
    };
    world.keys.par_iter().try_for_each(make)
}

struct Upload {
    header: Header,
    body: Arc<[u8]>,
}

fn upload(world: &World, id: u32) -> Result<Upload, Failure> {
    let path = |what: &str| world.dir("contributions").join(format!("{id}.{what}"));
    Ok(Upload {
        header: Wire::from_bytes(&fs::read(path("header"))?)?,
        body: fs::read(path("body"))?.into(),
    })
}

/// CPU seconds in a line of `/proc/*/stat`: (user + system of the process, the same of its children that have ended).
fn cpu(stat: &str) -> Option<(f64, f64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((
        (ticks(11)? + ticks(12)?) / TICKS,
        (ticks(13)? + ticks(14)?) / TICKS,
    ))
}

fn own_cpu() -> Result<(f64, f64), Failure> {
    cpu(&fs::read_to_string("/proc/self/stat")?).ok_or_else(|| "no CPU time".into())
}

/// CPU seconds that it takes to decode and verify the contributions on so many threads, each contribution on one of them as
/// in the server, and how many verified.
fn baseline(
    world: &World,
    context: &RoundContext,
    round: &Round,
    ids: &[u32],
    threads: usize,
) -> Result<(f64, usize), Failure> {
    let (before, _) = own_cpu()?;
    let verify = |id: &u32| -> Result<bool, Failure> {
        let upload = upload(world, *id)?;
        let body = decode_body(context, &upload.body)?;
        Ok(verify_contribution(context, round, upload.header, body).is_ok())
    };
    let next = AtomicUsize::new(0);
    let verifier = || -> Result<usize, Failure> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        let mut good = 0;
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            good += usize::from(pool.install(|| verify(id))?);
        }
        Ok(good)
    };
    let good = std::thread::scope(|scope| {
        let verifiers: Vec<_> = (0..threads).map(|_| scope.spawn(verifier)).collect();
        verifiers
            .into_iter()
            .map(|verifier| verifier.join().map_err(|_| "a verifier panicked")?)
            .sum::<Result<usize, Failure>>()
    })?;
    Ok((own_cpu()?.0 - before, good))
}

/// One client of the cohort: what it sent was answered as it must be. Gives the result that it was shown.
async fn take_part(
    world: Arc<World>,
    context: Arc<RoundContext>,
    address: SocketAddr,
    id: u32,
) -> Result<Option<RoundResult>, Failure> {
    let (role, client) = (world.role(id), ClientId(id));
    let requests = world.requests(address)?;
    while !matches!(requests.announcement(0).await?, Answer::Ready(_)) {}
    let identity = world.keys[usize::try_from(id - 1)?].identity();
    let own = requests.in_round(&context, client, identity);
    own.prepare().await?;
    if role == Role::Dropout {
        requests.close().await;
        return Ok(None);
    }
    let upload = upload(&world, id)?;
    let (waiting, id_of_round) = (own.clone(), context.params().round_id);
    let present =
        tokio::spawn(async move { while matches!(waiting.prepare().await, Ok(Answer::Again)) {} });
    let answer = loop {
        let body = Arc::clone(&upload.body);
        match requests.submit(id_of_round, &upload.header, body).await {
            Ok(Answer::Again) => {}
            other => break other,
        }
    };
    present.abort();
    match (role, answer) {
        (Role::Malicious, Err(RequestError::Refused(check)))
            if check.id().starts_with("proof.") =>
        {
            requests.close().await;
            return Ok(None);
        }
        (Role::Honest, Ok(Answer::Ready(receipt))) => {
            receipt.verify(&world.server.signing)?;
        }
        (role, answer) => return Err(format!("{client}, {role:?}: {answer:?}").into()),
    }
    if context.params().member_index(client).is_some() {
        serve(&world, address, id).await?;
    }
    let (result, bundle): (RoundResult, LightBundle) = loop {
        match own.result().await? {
            Answer::Ready(answer) => break answer,
            Answer::Again => {}
            other => return Err(format!("{client}: {other:?} instead of a result").into()),
        }
    };
    requests.close().await;
    if id <= LIGHT_CHECKS {
        let (checked, header) = (result.clone(), upload.header);
        tokio::task::spawn_blocking(move || {
            light_check(&context, &header, &checked, &bundle, &mut OsRng)
        })
        .await??;
    }
    Ok(Some(result))
}

/// Committee duty, with everything that a client does for it.
async fn serve(world: &World, address: SocketAddr, id: u32) -> Result<(), Failure> {
    let place = usize::try_from(id - 1)?;
    let keys = ClientKeys::from_text(&world.keys[place].to_text())?;
    let mut member = Client::open(ClientOptions {
        server: address.into(),
        server_public: world.server.clone(),
        registrar: world.registrar,
        keys,
        state: world.dir("members").join(id.to_string()),
        policy: Policy {
            unproven_draw: true,
            ..Policy::default()
        },
        task: veilsum::TaskName::default(),
        patience: Duration::from_secs(3600),
    })
    .await?;
    let round = member.join(0).await?;
    member.serve(&round, |_| true).await?;
    member.close().await;
    Ok(())
}

/// The most memory that a process had, in MiB, as far as it still runs.
fn peak_mib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? >> 10)
}

async fn run_in(world: World) -> Result<Measured, Failure> {
    let context = announced(&world).await?;
    let start = now();
    let round = Round::new(
        Arc::new(Prepared::new(context.layout())?),
        *context.digest(),
    )?;
    contribute(&world, &context, &round)?;
    eprintln!(
        "contributions are there after {:.0} s",
        start.elapsed().as_secs_f64()
    );

    let all = 1..=world.arguments.clients;
    let with = |role| {
        all.clone()
            .filter(|id| world.role(*id) == role)
            .collect::<Vec<_>>()
    };
    let (honest, malicious): (Vec<u32>, Vec<u32>) = (with(Role::Honest), with(Role::Malicious));
    let sent = [honest.clone(), malicious].concat();
    // A core does less in a second when all others work, too, as they do in the round.
    let cores = std::thread::available_parallelism()?.get();
    let mut verification = None;
    if world.arguments.baseline {
        let (one_thread, _) = baseline(&world, &context, &round, &sent, 1)?;
        let (all_threads, good) = baseline(&world, &context, &round, &sent, cores)?;
        if good != honest.len() {
            return Err(format!("{good} of {} contributions verify", honest.len()).into());
        }
        verification = Some((one_thread, all_threads));
    }
    drop(round);
    let mut expected = vec![0i64; usize::try_from(world.arguments.dim)?];
    for id in &honest {
        for (sum, x) in expected.iter_mut().zip(world.update(*id)) {
            *sum += x;
        }
    }

    for name in ["state", "members"] {
        let _ = fs::remove_dir_all(world.dir(name));
    }
    copy_dir(&world.dir("announced"), &world.dir("state"))?;
    let (_, before) = own_cpu()?;
    let start = now();
    let (child, address) = world.start_server()?;
    let (pid, peak) = (child.id(), Arc::new(AtomicU32::new(0)));
    let watching = {
        let peak = Arc::clone(&peak);
        tokio::spawn(async move {
            while let Some(mib) = peak_mib(pid) {
                peak.fetch_max(u32::try_from(mib).unwrap_or(u32::MAX), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    let (world, context) = (Arc::new(world), Arc::new(context));
    let clients: Vec<_> = (1..=world.arguments.clients)
        .map(|id| {
            tokio::spawn(take_part(
                Arc::clone(&world),
                Arc::clone(&context),
                address,
                id,
            ))
        })
        .collect();
    let (mut checked, mut exact) = (0, true);
    for client in clients {
        if let Some(result) = client.await?? {
            checked += 1;
            exact &= result.vector == expected;
        }
    }
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    let seconds = start.elapsed().as_secs_f64();
    watching.abort();
    let server = own_cpu()?.1 - before;
    let text = String::from_utf8(ended.stdout)?;
    let report: serde_json::Value = serde_json::from_str(text.trim())?;
    let accepted = report["accepted"].as_u64().unwrap_or(0);
    let rejected = report["rejected"].as_array().map_or(0, Vec::len);
    let all = ended.status.success()
        && accepted == u64::try_from(honest.len())?
        && rejected == usize::try_from(world.arguments.malicious)?
        && checked == honest.len();
    Ok(Measured {
        accepted,
        rejected,
        exact: exact && all,
        seconds,
        server_cpu_seconds: server,
        verification_cpu_seconds: verification,
        server_peak_mib: peak.load(Ordering::Relaxed).into(),
    })
}

/// Runs the round.
///
/// # Errors
/// Whatever keeps the round from its end, and clients that are answered otherwise than they must be.
pub fn run(load: Load) -> Result<Measured, Failure> {
    let world = world(load)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run_in(world))
}
