//! `client`: one client, alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use veilsum::crypto::Digest;
use veilsum::params::{ParameterError, Policy};
use veilsum::protocol::{Check, ClientError as MachineError, ContextError};
use veilsum::store::{RealDisk, StoreError, replace_public};
use veilsum::{
    Client, ClientError, ClientKeys, ClientOptions, Contributed, Joined, Participation,
    ServerPublic, ShareKeys, registrar_from_text,
};
use zeroize::Zeroizing;

use crate::args::ClientArguments;
use crate::error::CliError;
use crate::keys::{read_key, read_secret};
use crate::places;
use crate::update::{npy_bytes, numbered, read_update};

pub(crate) async fn client(arguments: ClientArguments) -> Result<u8, CliError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(&arguments.model_digest, &mut digest)
        .map_err(|_| CliError::ModelDigest)?;
    let keys = read_secret(&arguments.key, ClientKeys::from_text)?;
    let share_keys = ShareKeys::open(Arc::new(RealDisk), &arguments.key)?;
    let server_public = read_key(&arguments.server_key, ServerPublic::from_text)?;
    let registrar = read_key(&arguments.registrar, registrar_from_text)?;
    let update = read_update(&arguments.update, arguments.tensor.as_deref())?;
    // Told before anything is asked of the network; the encoder checks it once more.
    if let Some(index) = update.iter().position(|v| !v.is_finite()) {
        return Err(
            ClientError::from(veilsum::encoding::EncodingError::NotFinite { index }).into(),
        );
    }
    if let Some(path) = &arguments.result {
        places::mean(path)?;
    }
    let policy = Policy {
        n_min: arguments.n_min,
        committee: arguments.committee,
        malicious_max: arguments.malicious_max,
        unproven_draw: arguments.unproven_draw,
        ..Policy::default()
    };
    let state = arguments.state.clone();
    let client = Client::open(ClientOptions {
        server: arguments.server.resolve().await?,
        server_public,
        registrar,
        keys,
        state: arguments.state,
        task: arguments.task,
        policy,
        patience: Duration::from_secs(arguments.patience.into()),
    })
    .await;
    let mut client = client.map_err(|error| match error {
        ClientError::Store(StoreError::WrongIdentity { .. }) => CliError::OtherParties { state },
        error => error.into(),
    })?;
    client.use_share_keys(share_keys);
    let human = !arguments.json;
    let joined = client.join(arguments.after).await;
    let round = joined.map_err(|cause| with_evidence(floored(cause), &client))?;
    if human {
        println!("joined round {}", round.round_id());
    }
    let round_id = round.round_id();
    let result = arguments.result.as_deref();
    let result = result.map(|path| numbered(path, round_id));
    // Before anything is contributed whose mean could not be written.
    result.as_deref().map_or(Ok(()), places::mean)?;
    let earlier = client.contributed(round_id);
    let (x, clipped) = match earlier {
        Some(reached) => {
            let what = match reached {
                Contributed::Receipted => "that contribution stands",
                Contributed::Stored => {
                    "that contribution, which has no receipt from the server so far, is sent again"
                }
            };
            eprintln!(
                "veilsum: this client has contributed to round {round_id} before: {what}, and {} is not looked at",
                arguments.update.display()
            );
            (Zeroizing::default(), None)
        }
        None => {
            let encoded = round.encode(&update)?;
            let clipped = encoded.clipped();
            if clipped {
                eprintln!(
                    "veilsum: the update is longer than the norm bound of round {round_id} allows: it was scaled down to the bound"
                );
            }
            (encoded.into_values(), Some(clipped))
        }
    };
    let part = match take_part(&mut client, &round, Digest(digest), x).await {
        Ok(part) => part,
        Err(cause) => {
            return Err(match client.contributed(round_id) {
                Some(reached) if cause.is_unanswered() => CliError::Waited {
                    round: round_id,
                    receipted: reached == Contributed::Receipted,
                    cause,
                },
                _ => with_evidence(cause.into(), &client),
            });
        }
    };
    if let Some(path) = &result {
        places::mean(path)?;
        replace_public(&RealDisk, path, &npy_bytes(&part.mean))?;
    }
    if human {
        println!(
            "round {round_id}: the result is checked; {}{}",
            round_accepted(&part.result),
            result
                .as_deref()
                .map_or_else(String::new, |path: &Path| format!(
                    "; the mean is in {}",
                    path.display()
                ))
        );
    } else {
        println!(
            "{}",
            json!({
                "round": round_id, "checked": true, "dim": part.mean.len(), "result": result, "clipped": clipped,
                "earlier": earlier.is_some(),
            })
        );
    }
    client.close().await;
    Ok(0)
}

/// With the file of what convicts the server, where there is one.
fn with_evidence(error: CliError, client: &Client) -> CliError {
    match (error, client.evidence().last()) {
        (
            CliError::Client(cause @ ClientError::Machine(MachineError::Convicting { .. })),
            Some(path),
        ) => CliError::Evidence {
            cause: Box::new(cause),
            path: path.clone(),
        },
        (error, _) => error,
    }
}

/// With the option that sets the floor, where a round is below one of this client's own.
fn floored(cause: ClientError) -> CliError {
    let option = match &cause {
        ClientError::Machine(MachineError::Context(ContextError::Params(
            Check::AnnouncementPolicy,
            ParameterError::BelowFloor { field, .. },
        ))) => match *field {
            "n_min" => Some("--n-min"),
            "committee size" => Some("--committee"),
            "malicious_max" => Some("--malicious-max"),
            _ => None,
        },
        ClientError::Machine(MachineError::Refused(refusal))
            if refusal.check == Check::AnnouncementBeacon =>
        {
            Some("--unproven-draw")
        }
        _ => None,
    };
    match option {
        Some(option) => CliError::Floor { cause, option },
        None => cause.into(),
    }
}

/// Everything of a round from the contribution on.
async fn take_part(
    client: &mut Client,
    round: &Joined,
    model_digest: Digest,
    x: Zeroizing<Vec<i64>>,
) -> Result<Participation, ClientError> {
    client.contribute(round, model_digest, x).await?;
    client.serve(round, |_| true).await?;
    client.result(round).await
}

fn round_accepted(result: &veilsum::wire::RoundResult) -> String {
    match result.signed.content.convicted.len() {
        0 => "no dealer was convicted".to_owned(),
        n => format!("{n} dealers were convicted and left out"),
    }
}
