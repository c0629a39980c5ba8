//! What `server --check` says of a configuration: its tasks, and whether each may begin its rounds or go on with them.

use serde_json::{Value, json};
use veilsum::params::{RoundParams, UploadSizes};
use veilsum::wire::BeaconSource;
use veilsum::{ServerError, now_ms};

use super::least_of_all;
use crate::config::{ServerConfig, TaskConfig};
use crate::error::CliError;
use crate::ledger::Ledger;
use crate::stands::Stands;
use crate::status::duration;

/// What `--check` says of a valid configuration.
pub(super) fn facts(config: &ServerConfig, server_key: [u8; 32]) -> Result<Value, CliError> {
    let mut tasks = Vec::new();
    let least = least_of_all(&config.tasks)?;
    for task in &config.tasks {
        let stands = Stands::of(task, &task.state, &config.state)?;
        let roster = stands.roster().unwrap_or(&config.roster);
        let number = match task.schedule {
            Some(_) => Ledger::open(&config.state, least)?.next(task.name.as_str()),
            None => 0,
        };
        let (round, beacon) = task
            .any_beacon(roster, config.values.is_some(), number)
            .map_err(|problem| CliError::problems(vec![problem]))?;
        let (params, layout) = task
            .params(roster, server_key, round, beacon, now_ms())
            .map_err(CliError::problems)?;
        goes_on(task, &stands, &params)?;
        let proven = *roster.beacon_source() != BeaconSource::Operator;
        let values = config.values.as_ref().filter(|_| proven);
        // Whoever fetches a value need not be trusted, and other rounds do not need it: a bad one is no reason not to start.
        let (value, refused) = match values.map(|values| values.find(roster, round)) {
            None => (Value::Null, None),
            Some(Ok(found)) => (json!(found.is_some()), None),
            Some(Err(error)) => (json!(REFUSED), Some(error.to_string())),
        };
        let sizes = UploadSizes::of(&layout, params.committee_size(), params.threshold.into());
        let schedule = task.schedule.as_ref();
        let next = schedule.and_then(|schedule| schedule.next(now_ms(), None));
        tasks.push(json!({
            "task": task.name.as_str(), "round": round, "scheduled": schedule.is_some(),
            "open": stands.roster().is_some(),
            "next_ms": next.map(|slot| slot.at_ms), "cohort": params.cohort_size,
            "committee": params.committee_size(), "threshold": params.threshold, "n_min": params.n_min,
            "dim": params.dim, "upload_bytes": sizes.total(),
            "beacon_round": proven.then_some(beacon.round), "beacon_value": value,
            "beacon_error": refused,
        }));
    }
    Ok(json!({ "tasks": tasks }))
}

/// Whether a task that has one round alone may begin it, or go on with it, with these parameters.
fn goes_on(task: &TaskConfig, stands: &Stands, planned: &RoundParams) -> Result<(), CliError> {
    let round_id = planned.round_id;
    match stands {
        Stands::Open { params, .. } if task.schedule.is_none() => {
            let same = RoundParams {
                contribute_deadline_ms: params.contribute_deadline_ms,
                // A value that proves itself is in the log of the round.
                beacon: match task.given_beacon() {
                    Some(_) => planned.beacon,
                    None => params.beacon,
                },
                committee: match task.given_beacon() {
                    Some(_) => planned.committee.clone(),
                    None => params.committee.clone(),
                },
                ..planned.clone()
            };
            match same == **params {
                true => Ok(()),
                false => Err(ServerError::OtherParams { round_id }.into()),
            }
        }
        // A result that is not written yet is written when the server is started.
        Stands::Ended if task.result_of(round_id).is_none_or(|path| path.exists()) => {
            Err(ServerError::RoundUsed { round_id }.into())
        }
        _ => Ok(()),
    }
}

/// What `--check` says of a beacon's value that is there and does not verify.
const REFUSED: &str = "refused";

/// The facts of a task for people.
pub(super) fn facts_text(about: &Value) -> String {
    let number = |key| about.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut text = format!(
        "{} clients are asked and at least {} must contribute; any {} of {} members open the sum; {} coordinates, {} bytes an upload",
        number("cohort"),
        number("n_min"),
        number("threshold"),
        number("committee"),
        number("dim"),
        number("upload_bytes")
    );
    if about.get("open").and_then(Value::as_bool) == Some(true) {
        text += "; a round is open and goes on";
    }
    if let Some(next) = about.get("next_ms").and_then(Value::as_u64) {
        let seconds = next.saturating_sub(now_ms()) / 1000;
        text += &format!("; the next round in {}", duration(seconds));
    }
    // The log of an open round has it.
    let waits = about.get("beacon_value").and_then(Value::as_bool) == Some(false);
    if waits && about.get("open").and_then(Value::as_bool) != Some(true) {
        text += &format!(
            "; the value of beacon round {} is not there yet, and round {} waits for it",
            number("beacon_round"),
            number("round")
        );
    }
    if let Some(error) = about.get("beacon_error").and_then(Value::as_str) {
        text += &format!(
            "; the value of beacon round {} is refused: {error}",
            number("beacon_round")
        );
    }
    text
}
