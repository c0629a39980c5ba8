//! `epoch`: the share keys of a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::OsRng;
use serde_json::json;
use veilsum::store::{RealDisk, replace_private};
use veilsum::{
    ClientKeys, Erasure, ShareKeys, entry_to_text, now_ms, registrar_from_text, request_to_text,
};

use crate::args::EpochCommand;
use crate::error::CliError;
use crate::keys::{read_key, read_roster};

const DAY_MS: u64 = 24 * 3600 * 1000;

fn open(key: &Path) -> Result<ShareKeys, CliError> {
    Ok(ShareKeys::open(Arc::new(RealDisk), key)?)
}

fn beside(key: &Path, suffix: &str) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(crate) fn epoch(command: &EpochCommand) -> Result<u8, CliError> {
    match command {
        EpochCommand::Next {
            key,
            epoch,
            registrar,
            out,
            json,
        } => {
            let registrar = read_key(registrar, registrar_from_text)?;
            let mut keys = open(key)?;
            keys.asks(&registrar)?;
            let next = keys.make_next(*epoch, &mut OsRng)?;
            let out = out.clone().unwrap_or_else(|| beside(key, ".join"));
            let public = beside(key, &format!(".epoch-{epoch}.pub"));
            let request = next.request(&registrar, &mut OsRng);
            replace_private(&RealDisk, &out, &request_to_text(&request))?;
            replace_private(&RealDisk, &public, &entry_to_text(&next.entry()))?;
            let client = next.client();
            if *json {
                println!(
                    "{}",
                    json!({ "client": client.0, "epoch": epoch, "request": out, "public": public })
                );
            } else {
                println!(
                    "{client} asks to join for epoch {epoch}: give {} to the registrar",
                    out.display()
                );
            }
        }
        EpochCommand::Show { key, json } => {
            let keys = open(key)?;
            let (current, next) = (keys.current().epoch(), keys.next().map(ClientKeys::epoch));
            let open = keys.open_before(u64::MAX)?;
            let rounds: Vec<u64> = open.iter().map(|round| round.round_id).collect();
            if *json {
                println!(
                    "{}",
                    json!({ "client": keys.client().0, "epoch": current, "next": next, "open": rounds })
                );
            } else {
                println!("{}: share key of epoch {current}", keys.client());
                if let Some(next) = next {
                    println!("share key of epoch {next}, for rosters of that epoch");
                }
                for round in open {
                    println!("round {} of epoch {} is open", round.round_id, round.epoch);
                }
            }
        }
        EpochCommand::Erase {
            key,
            roster,
            registrar,
            forget_days,
            json,
        } => {
            let registrar = read_key(registrar, registrar_from_text)?;
            let roster = read_roster(roster, &registrar)?;
            let mut keys = open(key)?;
            let epoch = keys.current().epoch();
            let days = u64::from(*forget_days).saturating_mul(DAY_MS);
            // A day of 0 forgets what was joined this very moment, too.
            let before = now_ms().saturating_sub(days).saturating_add(1);
            let retired = match keys.retire(&roster, before)? {
                Erasure::Nothing => keys.leave(&roster, before, &mut OsRng)?,
                retired => retired,
            };
            let (erased, fresh) = match retired {
                Erasure::Held(open) => {
                    let rounds = open.len();
                    return Err(CliError::KeyHeld { epoch, rounds });
                }
                Erasure::Erased { epoch } => (Some(epoch), None),
                Erasure::Left { epoch, fresh } => (Some(epoch), Some(fresh)),
                Erasure::Nothing => (None, None),
            };
            let client = keys.client();
            if *json {
                println!(
                    "{}",
                    json!({ "client": client.0, "erased": erased, "fresh": fresh })
                );
                return Ok(0);
            }
            match (erased, fresh) {
                (Some(epoch), None) => println!("the share key of epoch {epoch} is erased"),
                (Some(epoch), Some(fresh)) => println!(
                    "the share key of epoch {epoch} is erased: the roster has not {client}. A new one of epoch {fresh} is in its place; \
                     `veilsum enrol request` asks with it, if {client} is to take part again"
                ),
                (None, _) => {
                    println!("nothing to erase: the roster has no next share key of this client")
                }
            }
        }
    }
    Ok(0)
}
