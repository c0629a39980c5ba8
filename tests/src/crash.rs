//! Rounds whose parties are killed (SIGKILL) at random moments and started again, as processes over QUIC.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::{Deployment, Running, free_port, json};

/// Clients, all of them members of the committee.
const CLIENTS: u32 = 5;
/// Kills in one round, at most: a round has to end some time.
const KILLS: u32 = 8;
/// How long a round may take, however often its parties are killed.
const ROUND: Duration = Duration::from_secs(900);

/// What was done; nothing of it went wrong, or [`run`] would have said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rounds that ended with a result.
    pub rounds: u32,
    /// Kills of the server.
    pub server_kills: u32,
    /// Kills of clients, which are members as well.
    pub client_kills: u32,
    /// Servers that were killed between writing the result and saying so.
    pub told_before: u32,
    /// Clients that were killed so late that the server had left when they came back.
    pub late: u32,
}

impl Tally {
    /// All kills.
    #[must_use]
    pub const fn kills(&self) -> u32 {
        self.server_kills + self.client_kills
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            rounds: self.rounds + other.rounds,
            server_kills: self.server_kills + other.server_kills,
            client_kills: self.client_kills + other.client_kills,
            told_before: self.told_before + other.told_before,
            late: self.late + other.late,
        }
    }
}

fn value(id: u32, round: u64, coordinate: u32) -> f64 {
    let round = f64::from(u32::try_from(round % 16).unwrap_or(0));
    f64::from(id) / 8.0 - f64::from(coordinate) / 4.0 + round / 16.0
}

fn evidence(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            evidence(&path, found);
        } else if entry.file_name().to_string_lossy().starts_with("evidence") {
            found.push(path.display().to_string());
        }
    }
}

/// Runs rounds until at least `points` parties were killed, each at a moment that `seed` decides.
///
/// Every round must end with the exact mean of all updates, accepted by every client, with nobody rejected and no evidence
/// against anybody: whoever is started again must go on where its log ends, and must not sign anything twice.
///
/// # Panics
/// When a round ends otherwise, with the seed and the round.
pub fn run(points: u32, seed: u64, mut progress: impl FnMut(&Tally)) -> Tally {
    let deployment = Deployment::new(CLIENTS);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut tally = Tally::default();
    while tally.kills() < points {
        let left = points - tally.kills();
        round(&deployment, &mut rng, left.min(KILLS), seed, &mut tally);
        progress(&tally);
    }
    tally
}

/// As [`run`], in `jobs` deployments side by side; job j has the seed `seed + j`. `progress` hears what all of them did so far.
///
/// # Panics
/// As [`run`], when all other jobs are over.
pub fn run_in(jobs: u32, points: u32, seed: u64, progress: impl Fn(&Tally) + Sync) -> Tally {
    let tallies = Mutex::new(BTreeMap::new());
    let done = || {
        let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.values().fold(Tally::default(), Tally::plus)
    };
    let job = |job: u32| {
        let own = points / jobs + u32::from(job < points % jobs);
        run(own, seed + u64::from(job), |tally| {
            tallies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(job, *tally);
            progress(&done());
        });
    };
    std::thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = (0..jobs).map(|j| scope.spawn(move || job(j))).collect();
        for thread in threads {
            if let Err(panicked) = thread.join() {
                std::panic::resume_unwind(panicked);
            }
        }
    });
    done()
}

struct Parties<'a> {
    deployment: &'a Deployment,
    address: String,
    round: u64,
    server: Running,
    clients: Vec<Running>,
}

impl Parties<'_> {
    fn client(&self, id: u32) -> Running {
        let update = self.deployment.file(&format!("update-{id}.npy"));
        self.deployment
            .client_after(id, &self.address, &update, self.round - 1)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "processes are waited for by the clock"
)]
fn now() -> Instant {
    Instant::now()
}

fn round(
    deployment: &Deployment,
    rng: &mut ChaCha20Rng,
    mut kills: u32,
    seed: u64,
    tally: &mut Tally,
) {
    let round = u64::from(tally.rounds) + 1;
    let at = format!("seed {seed}, round {round}");
    let address = format!("127.0.0.1:{}", free_port());
    deployment.configure(&format!("id = {round}"));
    let config = deployment.file("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    // Whoever is started again on a busy machine may need longer than a server waits by default.
    let patient = text.replace(
        "[round]",
        "[times]\nquiet_seconds = 30\npatience_seconds = 120\n[round]",
    );
    fs::write(&config, patient.replace("127.0.0.1:0", &address)).unwrap();
    let _ = fs::remove_file(deployment.file("result.npy"));
    for id in 1..=CLIENTS {
        let update: Vec<f64> = (0..5).map(|j| value(id, round, j)).collect();
        let _ = deployment.update(&format!("update-{id}.npy"), &update);
    }
    let mut parties = Parties {
        deployment,
        address,
        round,
        server: deployment.server(),
        clients: Vec::new(),
    };
    parties.clients = (1..=CLIENTS).map(|id| parties.client(id)).collect();
    let begin = now();
    loop {
        assert!(begin.elapsed() < ROUND, "{at}: the round does not end");
        // Most of a round is over within half a second when nobody is killed.
        let pause = Duration::from_millis(rng.next_u64() % 300);
        sleep(pause);
        if !parties.server.is_running() {
            break;
        }
        if kills == 0 {
            continue;
        }
        let victim = rng.next_u32() % (CLIENTS + 2);
        // Started again at once or after a while, in which the others go on.
        let down = Duration::from_millis(u64::from(rng.next_u32() % 2) * (rng.next_u64() % 800));
        if victim >= CLIENTS {
            // By its end it may have left between the look and the kill; then there is nothing to start again.
            if parties.server.is_running() {
                let fresh = || {
                    sleep(down);
                    deployment.server()
                };
                std::mem::replace(&mut parties.server, Running::none()).kill();
                parties.server = fresh();
                tally.server_kills += 1;
                kills -= 1;
            }
        } else {
            let place = usize::try_from(victim).unwrap();
            if parties.clients[place].is_running() {
                std::mem::replace(&mut parties.clients[place], Running::none()).kill();
                sleep(down);
                parties.clients[place] = parties.client(victim + 1);
                tally.client_kills += 1;
                kills -= 1;
            }
        }
    }
    let grace = now();
    let mut clients = Vec::new();
    for mut client in parties.clients {
        while client.is_running() && grace.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(50));
        }
        if client.is_running() {
            tally.late += 1;
            client.kill();
            continue;
        }
        clients.push(client.end());
    }
    let server = parties.server.end();
    let said: Vec<_> = clients
        .iter()
        .chain([&server])
        .map(|ended| String::from_utf8_lossy(&ended.stderr))
        .collect();
    for ended in &clients {
        let good = ended.status.success();
        assert!(good, "{at}: the clients, then the server: {said:#?}");
        let checked = &json(&String::from_utf8_lossy(&ended.stdout))["checked"];
        assert_eq!(checked, true, "{at}");
    }
    let said = String::from_utf8_lossy(&server.stderr);
    if said.contains("was run already") {
        // Killed when the result was written and not yet told: it says so, and what it wrote is there.
        assert_eq!(server.status.code(), Some(2), "{at}: {said}");
        tally.told_before += 1;
    } else {
        assert!(server.status.success(), "{at}: the server: {said}");
        let report = json(&String::from_utf8_lossy(&server.stdout));
        assert_eq!(report["accepted"], CLIENTS, "{at}: {report}");
        assert_eq!(report["rejected"], serde_json::json!([]), "{at}");
    }
    let mean: Vec<f64> = (0..5)
        .map(|j| (1..=CLIENTS).map(|id| value(id, round, j)).sum::<f64>() / f64::from(CLIENTS))
        .collect();
    assert_eq!(deployment.result(), mean, "{at}");
    let mut found = Vec::new();
    evidence(deployment.path(), &mut found);
    assert_eq!(
        found,
        Vec::<String>::new(),
        "{at}: nobody did anything wrong"
    );
    tally.rounds += 1;
}
