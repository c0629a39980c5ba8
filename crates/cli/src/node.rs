//! `server` and `client`: the real parts, each alone.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use veilsum::crypto::Digest;
use veilsum::params::{Policy, UploadSizes};
use veilsum::store::{RealDisk, replace_private};
use veilsum::{
    Client, ClientKeys, ClientOptions, RoundEvent, RoundReport, Server, ServerError, ServerOptions,
    ServerPublic, now_ms, registrar_from_text,
};

use crate::args::{ClientArguments, ServerArguments};
use crate::config::ServerConfig;
use crate::error::CliError;
use crate::keys::read_key;
use crate::metrics;
use crate::update::{npy_bytes, read_update};

/// How long requests in work may go on when the server stops.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn server(arguments: ServerArguments) -> Result<u8, CliError> {
    let config = ServerConfig::read(&arguments.config, now_ms())?;
    let (params, layout) = config.round;
    veilsum::check_round_size(&params, &layout)?;
    let sizes = UploadSizes::of(&layout, params.committee_size(), params.threshold.into());
    if arguments.check {
        let facts = json!({
            "round": params.round_id, "cohort": params.cohort_size, "committee": params.committee_size(),
            "threshold": params.threshold, "n_min": params.n_min, "dim": params.dim, "upload_bytes": sizes.total(),
        });
        if arguments.json {
            println!("{facts}");
        } else {
            println!("the configuration is valid: {facts}");
        }
        return Ok(0);
    }
    let mut options = ServerOptions::new(config.listen, config.keys, config.roster, config.state);
    config.limits.apply(&mut options);
    config.times.apply(&mut options);
    let mut server = Server::bind(options)?;
    let address = server.local_addr();
    let metrics = match config.metrics {
        Some(listen) => Some(metrics::serve(listen, server.observer()).await?),
        None => None,
    };
    if let Some(path) = &config.address_file {
        replace_private(&RealDisk, path, format!("{address}\n").as_bytes())?;
    }
    if !arguments.json {
        println!("listening on {address}, round {}", params.round_id);
        if let Some(metrics) = metrics {
            println!("metrics at http://{metrics}/metrics");
        }
    }
    let human = !arguments.json;
    let ended = {
        let run = server.run(params, |event| {
            if human {
                tell(&event);
            }
        });
        tokio::select! {
            ended = run => Some(ended),
            _ = tokio::signal::ctrl_c() => None,
        }
    };
    // The result first: whatever ends the server from here on, the operator has it.
    let written = match &ended {
        Some(Ok(report)) => keep_result(report, config.result.as_deref()),
        _ => Ok(()),
    };
    server.shutdown(GRACE).await;
    let Some(ended) = ended else {
        if human {
            println!("stopped; start the server again to go on with the round");
        }
        return Ok(0);
    };
    let report = ended?;
    written?;
    if arguments.json {
        println!("{}", report_json(&report));
    } else {
        println!(
            "round {}: sum of {} contributions, {} rejected, {} dropped; transcript in {}",
            report.round_id,
            report.accepted,
            report.rejected.len(),
            report.dropped.len(),
            report.transcript.display()
        );
    }
    Ok(0)
}

/// Writes the mean. A round that had ended before is only told again to an operator who has not got its result yet.
fn keep_result(report: &RoundReport, path: Option<&Path>) -> Result<(), CliError> {
    let missing = path.filter(|path| !path.exists());
    if report.had_ended && missing.is_none() {
        let round_id = report.round_id;
        return Err(ServerError::RoundUsed { round_id }.into());
    }
    if let Some(path) = path {
        replace_private(&RealDisk, path, &npy_bytes(&report.mean))?;
    }
    Ok(())
}

fn tell(event: &RoundEvent) {
    match event {
        RoundEvent::Joined(client) => println!("{client} joined"),
        RoundEvent::Received(client) => println!("{client}: contribution verified and stored"),
        RoundEvent::Rejected(client, check) => println!("{client}: rejected: {check}"),
        RoundEvent::Proposed(count) => println!("closing with {count} contributions"),
        RoundEvent::Convicted(client) => println!("{client}: convicted of dealing a bad share"),
        RoundEvent::Opened => println!("the sum is opened"),
        _ => {}
    }
}

fn report_json(report: &RoundReport) -> Value {
    let rejected: Vec<Value> = report
        .rejected
        .iter()
        .map(|(client, check)| json!({ "client": client.to_string(), "reason": check.id() }))
        .collect();
    json!({
        "round": report.round_id,
        "accepted": report.accepted,
        "rejected": rejected,
        "dropped": report.dropped.len(),
        "transcript": report.transcript,
    })
}

pub(crate) async fn client(arguments: ClientArguments) -> Result<u8, CliError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(&arguments.model_digest, &mut digest)
        .map_err(|_| CliError::ModelDigest)?;
    let keys = read_key(&arguments.key, ClientKeys::from_text)?;
    let server_public = read_key(&arguments.server_key, ServerPublic::from_text)?;
    let registrar = read_key(&arguments.registrar, registrar_from_text)?;
    let update = read_update(&arguments.update, arguments.tensor.as_deref())?;
    // Told before anything is asked of the network; the encoder checks it once more.
    if let Some(index) = update.iter().position(|v| !v.is_finite()) {
        return Err(
            veilsum::ClientError::from(veilsum::encoding::EncodingError::NotFinite { index })
                .into(),
        );
    }
    let policy = Policy {
        n_min: arguments.n_min,
        committee: arguments.committee,
        malicious_max: arguments.malicious_max,
        unproven_draw: arguments.unproven_draw,
        ..Policy::default()
    };
    let mut client = Client::open(ClientOptions {
        server: arguments.server,
        server_public,
        registrar,
        keys,
        state: arguments.state,
        task: arguments.task,
        policy,
        patience: Duration::from_secs(arguments.patience.into()),
    })
    .await?;
    let human = !arguments.json;
    let round = client.join(arguments.after).await?;
    if human {
        println!("joined round {}", round.round_id());
    }
    let part = client.take_part(&round, Digest(digest), &update).await?;
    let accepted = round_accepted(&part.result);
    if human {
        println!(
            "round {}: the result is checked; {accepted}",
            round.round_id()
        );
    } else {
        println!(
            "{}",
            json!({ "round": round.round_id(), "checked": true, "dim": part.mean.len() })
        );
    }
    client.close().await;
    Ok(0)
}

fn round_accepted(result: &veilsum::wire::RoundResult) -> String {
    match result.signed.content.convicted.len() {
        0 => "no dealer was convicted".to_owned(),
        n => format!("{n} dealers were convicted and left out"),
    }
}
