//! `client`: one client, alone.

use std::time::Duration;

use serde_json::json;
use veilsum::crypto::Digest;
use veilsum::params::Policy;
use veilsum::{Client, ClientKeys, ClientOptions, ServerPublic, registrar_from_text};

use crate::args::ClientArguments;
use crate::error::CliError;
use crate::keys::read_key;
use crate::update::read_update;

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
