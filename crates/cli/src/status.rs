//! `status`: what a running server does, once or again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};
use veilsum::transport::{Client as Connection, ClientConfig as TransportConfig};
use veilsum::{ClientError, PHASES, Requests, ServerPublic, ServerStatus, TaskStatus, now_ms};

use crate::args::StatusArguments;
use crate::error::CliError;
use crate::keys::read_key;

/// Names that are listed before "and so many more".
const LISTED: usize = 10;

/// What was seen of a task before: its round, how many contributions it had, and when.
type Before = BTreeMap<String, (u64, u32, tokio::time::Instant)>;

pub(crate) async fn status(arguments: StatusArguments) -> Result<u8, CliError> {
    let server = read_key(&arguments.server_key, ServerPublic::from_text)?;
    let mut jitter = [0; 32];
    OsRng.fill_bytes(&mut jitter);
    let address = arguments.server.resolve().await?;
    let connection = Connection::new(address, server.transport, TransportConfig::new(jitter))
        .map_err(ClientError::from)?;
    let requests = Requests::new(connection, Duration::from_secs(arguments.patience.into()));
    let mut before = Before::new();
    loop {
        let asked = tokio::time::Instant::now();
        let tasks = requests.status().await.map_err(ClientError::from)?;
        if arguments.json {
            let tasks: Vec<Value> = tasks.iter().map(task_json).collect();
            println!("{}", json!({ "tasks": tasks }));
        } else if tasks.is_empty() {
            println!("no round yet");
        } else {
            for task in &tasks {
                println!("{}", task_text(task, before.get(&task.task), now_ms()));
            }
        }
        let Some(seconds) = arguments.watch else {
            break;
        };
        before = tasks
            .into_iter()
            .filter_map(|task| {
                let round = task.round?;
                Some((task.task, (round.round, round.contributions, asked)))
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
    requests.close().await;
    Ok(0)
}

fn phase_of(status: &ServerStatus) -> Option<&'static str> {
    PHASES.get(usize::from(status.phase)).copied()
}

fn task_json(task: &TaskStatus) -> Value {
    let mut about = json!({
        "task": task.task, "next_ms": task.next_ms, "beacon_awaited": task.beacon_awaited, "round": null,
    });
    if let (Some(s), Some(about)) = (&task.round, about.as_object_mut()) {
        let awaited: Vec<u16> = s.awaited.iter().map(|index| index.0).collect();
        let clients: Vec<u32> = s.clients_awaited.iter().map(|client| client.0).collect();
        let round = json!({
            "round": s.round, "phase": phase_of(s), "contributions": s.contributions, "joined": s.joined,
            "cohort": s.cohort, "n_min": s.n_min, "deadline_ms": s.deadline_ms, "rate": s.rate(),
            "clients_awaited": clients, "awaited": awaited, "rejected": s.rejected,
        });
        if let Value::Object(round) = round {
            about.extend(round);
        }
    }
    about
}

fn listed<T: ToString>(all: &[T]) -> String {
    let named: Vec<String> = all.iter().take(LISTED).map(T::to_string).collect();
    match all.len().saturating_sub(LISTED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Seconds for people: the two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (minutes, hours) {
        (0..=1, _) => format!("{seconds} s"),
        (_, 0..=1) => format!("{minutes} min"),
        (_, 2..=47) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// One line for people.
fn task_text(
    task: &TaskStatus,
    before: Option<&(u64, u32, tokio::time::Instant)>,
    now_ms: u64,
) -> String {
    let mut text = match task.task.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    match &task.round {
        None => text += "no round yet",
        Some(s) => text += &round_text(s, before, now_ms),
    }
    if let Some(round) = task.beacon_awaited {
        text += &format!("; the next round waits for the value of beacon round {round}");
    }
    if task.next_ms > now_ms {
        let seconds = (task.next_ms - now_ms) / 1000;
        text += &format!("; the next round in {}", duration(seconds));
    }
    text
}

fn round_text(
    s: &ServerStatus,
    before: Option<&(u64, u32, tokio::time::Instant)>,
    now_ms: u64,
) -> String {
    let mut text = format!(
        "round {}: {}, {} of {} that joined have contributed (at least {} must, {} are asked)",
        s.round,
        phase_of(s).unwrap_or("in a phase that this version does not know"),
        s.contributions,
        s.joined,
        s.n_min,
        s.cohort,
    );
    let taking = s.phase == 0;
    if taking {
        let left = s.deadline_ms.saturating_sub(now_ms) / 1000;
        text += &format!("; {} left", duration(left));
    }
    let now = before.filter(|(round, ..)| taking && *round == s.round);
    let rate = now.map_or_else(
        || s.rate(),
        |(_, contributions, at)| {
            f64::from(s.contributions.saturating_sub(*contributions)) / at.elapsed().as_secs_f64()
        },
    );
    if rate > 0.0 {
        text += &format!("; {rate:.1} contributions a second");
    }
    if !s.clients_awaited.is_empty() {
        text += &format!("; waiting for {}", listed(&s.clients_awaited));
    }
    if !s.awaited.is_empty() {
        text += &format!("; waiting for {}", listed(&s.awaited));
    }
    for (check, count) in &s.rejected {
        text += &format!("; {count} rejected: {check}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilsum::params::{ClientId, MemberIndex};

    fn status() -> ServerStatus {
        ServerStatus {
            round: 3,
            phase: 0,
            contributions: 40,
            joined: 41,
            cohort: 50,
            n_min: 34,
            deadline_ms: 60_000,
            received: 40,
            receiving_ms: 20_000,
            clients_awaited: vec![ClientId(7)],
            awaited: Vec::new(),
            rejected: BTreeMap::from([("proof.E2".to_owned(), 2)]),
        }
    }

    #[test]
    fn a_line_says_who_is_awaited_how_fast_it_goes_and_what_was_rejected() {
        let mut task = TaskStatus {
            task: "digits".to_owned(),
            next_ms: 0,
            beacon_awaited: None,
            round: Some(status()),
        };
        assert_eq!(
            task_text(&task, None, 10_000),
            "digits: round 3: taking contributions, 40 of 41 that joined have contributed (at least 34 must, 50 are asked); \
             50 s left; 2.0 contributions a second; waiting for client-7; 2 rejected: proof.E2"
        );
        task.task.clear();
        task.next_ms = 70_000;
        task.round = Some(ServerStatus {
            phase: 1,
            received: 0,
            clients_awaited: Vec::new(),
            awaited: (1..=12).map(MemberIndex).collect(),
            rejected: BTreeMap::new(),
            ..status()
        });
        let said = task_text(&task, None, 10_000);
        assert!(said.starts_with("round 3: closing, "), "{said}");
        assert!(said.contains("member-10 and 2 more"), "{said}");
        assert!(said.ends_with("; the next round in 60 s"), "{said}");
        task.round = None;
        assert_eq!(task_text(&task, None, 70_000), "no round yet");
        task.beacon_awaited = Some(1000);
        assert_eq!(
            task_text(&task, None, 70_000),
            "no round yet; the next round waits for the value of beacon round 1000"
        );
        for (seconds, said) in [
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (53_104, "14 h 45 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }
}
