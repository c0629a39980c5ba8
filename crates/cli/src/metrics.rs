//! Health and metrics on a listener of their own, for the operator's network alone: HTTP/1.1 GET and HEAD, nothing else.
//!
//! Nothing here is secret, and nothing names a client: numbers, round ids, phases, ids of checks.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Duration, timeout};
use veilsum::{Observer, PHASES, ServerStatus, TaskStatus};

use crate::error::CliError;

/// A scraper sends its request at once.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// A scraper that takes longer to be answered is cut off. Opening a sum may hold its answer up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The one page that may have to wait for a round.
const METRICS: &[u8] = b"/metrics";
/// Longest head of a request in bytes.
const HEAD_MAX: usize = 4096;
/// Connections at one time from which nothing is heard yet; another one takes the place of the oldest.
const UNHEARD: usize = 64;
/// Requests at one time that may have to wait for a round; what comes beyond is closed.
const AT_ONCE: usize = 64;

/// Binds the listener; answers in a task until the runtime ends.
pub(crate) async fn serve(listen: SocketAddr, observer: Observer) -> Result<SocketAddr, CliError> {
    serve_at_once(listen, observer, AT_ONCE).await
}

async fn serve_at_once(
    listen: SocketAddr,
    observer: Observer,
    at_once: usize,
) -> Result<SocketAddr, CliError> {
    let failed = |error: std::io::Error| CliError::Listen {
        listen,
        kind: error.kind(),
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(at_once));
        let mut unheard: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, say: later there may be some again.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            unheard.retain(|reading| !reading.is_finished());
            if unheard.len() >= UNHEARD
                && let Some(oldest) = unheard.pop_front()
            {
                oldest.abort();
            }
            let (observer, places) = (observer.clone(), Arc::clone(&places));
            let reading = tokio::spawn(async move {
                let read = timeout(HEAD_PATIENCE, head(stream)).await;
                // Whoever is too slow or goes away is not answered.
                let Ok(Some((stream, head))) = read else {
                    return;
                };
                if asked(&head).1 != Some(METRICS) {
                    // Waits for no round, and so for nobody who does.
                    let _ = timeout(HEAD_PATIENCE, answer(stream, &head, &observer)).await;
                } else if let Ok(place) = places.try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = timeout(PATIENCE, answer(stream, &head, &observer)).await;
                        drop(place);
                    });
                }
            });
            unheard.push_back(reading.abort_handle());
        }
    });
    Ok(bound)
}

/// Reads the head of a request; none if it is too long or ends before it is whole.
async fn head(mut stream: TcpStream) -> Option<(TcpStream, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk).await.ok()?;
        head.extend_from_slice(chunk.get(..count)?);
        if count == 0 || head.len() > HEAD_MAX {
            return None;
        }
    }
    Some((stream, head))
}

/// Method and path of a request.
fn asked(head: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let mut words = head.split(|b| *b == b' ');
    (words.next(), words.next())
}

async fn answer(mut stream: TcpStream, head: &[u8], observer: &Observer) -> std::io::Result<()> {
    let (method, path) = asked(head);
    let (status, more, body) = match (method, path) {
        (Some(b"GET" | b"HEAD"), Some(path)) => {
            let (status, body) = page(path, observer).await;
            (status, "", body)
        }
        _ => (
            "405 Method Not Allowed",
            "Allow: GET, HEAD\r\n",
            "GET or HEAD\n".to_owned(),
        ),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{more}Content-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if method != Some(b"HEAD") {
        answer += &body;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Status and body of the answer about a path.
async fn page(path: &[u8], observer: &Observer) -> (&'static str, String) {
    match path {
        METRICS => ("200 OK", metrics(observer).await),
        b"/health" if observer.is_healthy() => ("200 OK", "ok\n".to_owned()),
        b"/health" => ("503 Service Unavailable", "the disk failed\n".to_owned()),
        _ => ("404 Not Found", "/metrics or /health\n".to_owned()),
    }
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }
    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, of)| format!("{label}=\"{of}\""))
            .collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }
}

/// The newest round of each task.
fn rounds(text: &mut Text, tasks: &[TaskStatus]) {
    let rounds = || {
        let rounds = tasks
            .iter()
            .map(|task| Some((&task.task, task.round.as_ref()?)));
        rounds.flatten()
    };
    type Value = fn(&ServerStatus) -> u64;
    let gauges: [(&str, &str, Value); 5] = [
        ("veilsum_round", "Number of the newest round.", |s| s.round),
        (
            "veilsum_clients_joined",
            "Clients that asked for the newest round.",
            |s| s.joined.into(),
        ),
        (
            "veilsum_contributions",
            "Contributions with a receipt.",
            |s| s.contributions.into(),
        ),
        (
            "veilsum_members_awaited",
            "Members whose answer the round waits for.",
            |s| u64::try_from(s.awaited.len()).unwrap_or(u64::MAX),
        ),
        (
            "veilsum_round_deadline_seconds",
            "Until when contributions are taken, in seconds since the Unix epoch.",
            |s| s.deadline_ms / 1000,
        ),
    ];
    for (name, help, value) in gauges {
        text.family(name, "gauge", help);
        for (task, round) in rounds() {
            text.labelled(name, &[("task", task)], value(round));
        }
    }
    let (name, help) = (
        "veilsum_round_phase",
        "1 for the phase of the newest round.",
    );
    text.family(name, "gauge", help);
    for (task, round) in rounds() {
        for (i, phase) in PHASES.iter().enumerate() {
            let here = usize::from(round.phase) == i;
            text.labelled(name, &[("task", task), ("phase", phase)], here.into());
        }
    }
    let (name, help) = (
        "veilsum_rejected",
        "Contributions refused in the newest round, by check.",
    );
    text.family(name, "gauge", help);
    for (task, round) in rounds() {
        for (check, count) in &round.rejected {
            text.labelled(name, &[("task", task), ("check", check)], (*count).into());
        }
    }
    let (name, help) = (
        "veilsum_next_round_seconds",
        "When the next round is due, in seconds since the Unix epoch; 0 when that is not known.",
    );
    text.family(name, "gauge", help);
    for task in tasks {
        text.labelled(name, &[("task", &task.task)], task.next_ms / 1000);
    }
    let (name, help) = (
        "veilsum_beacon_awaited",
        "1 while the next round waits for the value of its beacon round.",
    );
    text.family(name, "gauge", help);
    for task in tasks {
        let waits = task.beacon_awaited.is_some();
        text.labelled(name, &[("task", &task.task)], waits.into());
    }
}

async fn metrics(observer: &Observer) -> String {
    let mut text = Text(String::new());
    rounds(&mut text, &observer.status().await);
    let (name, help) = (
        "veilsum_storage_failures_total",
        "Contributions that could not be stored.",
    );
    text.family(name, "counter", help);
    for (task, count) in observer.storage_failures() {
        text.labelled(name, &[("task", &task)], count);
    }
    let (name, help) = (
        "veilsum_rounds_not_begun_total",
        "Rounds that were due and could not be begun: the configuration does not fit the roster.",
    );
    text.family(name, "counter", help);
    for (task, count) in observer.not_begun() {
        text.labelled(name, &[("task", &task)], count);
    }
    let stats = observer.transport();
    let counters = [
        (
            "connections_accepted",
            "Handshakes that succeeded.",
            stats.connections_accepted,
        ),
        (
            "connections_refused",
            "Connections refused for their number, all reasons.",
            stats.refused_connections_total
                + stats.refused_connections_source
                + stats.refused_handshakes,
        ),
        (
            "retries",
            "Handshakes that had to show their address.",
            stats.retries,
        ),
        (
            "handshakes_failed",
            "Handshakes that failed.",
            stats.handshakes_failed,
        ),
        (
            "closed_silent",
            "Connections closed for saying nothing.",
            stats.closed_silent,
        ),
        (
            "closed_faults",
            "Connections closed for too many faults.",
            stats.closed_faults,
        ),
        ("requests", "Requests begun.", stats.requests_started),
        (
            "requests_answered",
            "Requests answered.",
            stats.requests_answered,
        ),
        ("bytes_in", "Bytes of requests.", stats.bytes_in),
        ("bytes_out", "Bytes of answers.", stats.bytes_out),
    ];
    for (name, help, value) in counters {
        text.one(&format!("veilsum_{name}_total"), "counter", help, value);
    }
    let gauges = [
        (
            "connections",
            "Connections open now.",
            stats.connections_open,
        ),
        (
            "request_memory_bytes",
            "Bytes of requests in memory.",
            stats.memory_in_use,
        ),
        (
            "spool_bytes",
            "Bytes of uploads in the spool.",
            stats.spool_in_use,
        ),
    ];
    for (name, help, value) in gauges {
        text.one(&format!("veilsum_{name}"), "gauge", help, value);
    }
    text.family(
        "veilsum_refused_total",
        "counter",
        "Requests refused by the transport.",
    );
    for (reason, count) in &stats.refused {
        text.labelled(
            "veilsum_refused_total",
            &[("reason", reason.name())],
            *count,
        );
    }
    text.0
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;
    use veilsum::params::ClientId;
    use veilsum::wire::Roster;
    use veilsum::{ClientKeys, RegistrarKeys, Server, ServerKeys, ServerOptions};

    use super::*;

    /// What is answered before the connection ends.
    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_for_a_busy_round_keeps_nobody_from_health() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = RegistrarKeys::generate(&mut OsRng);
        let client = ClientKeys::generate(ClientId(1), 1, &mut OsRng);
        let signed = registrar.sign_roster(1, vec![client.entry()]);
        let roster = Roster::verify(signed, &registrar.public()).unwrap();
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let keys = ServerKeys::generate(&mut OsRng);
        let state = dir.path().to_owned();
        let options = ServerOptions::new(anywhere, keys, Arc::new(roster), state);
        let server = Server::bind(options).unwrap();
        for (places, metrics) in [(0, ""), (1, "HTTP/1.1 200 OK")] {
            // With none left: all of them are taken.
            let address = serve_at_once(anywhere, server.observer(), places)
                .await
                .unwrap();
            assert!(get(address, "/health").await.ends_with("ok\n"), "{places}");
            let elsewhere = get(address, "/else").await;
            assert!(elsewhere.starts_with("HTTP/1.1 404"), "{elsewhere}");
            let answered = get(address, "/metrics").await;
            assert!(answered.starts_with(metrics), "{answered}");
            assert_eq!(answered.is_empty(), metrics.is_empty(), "{answered}");
        }
    }
}
