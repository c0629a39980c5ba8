//! `check`: the light check of a published result, from what a client saved or from a running server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_core::{OsRng, RngCore};
use serde_json::json;
use veilsum::crypto::Digest;
use veilsum::params::ClientId;
use veilsum::protocol::{Check, Document, Pins, PublishedError, Record, RoundContext};
use veilsum::store::{
    Disk, LOG_FILE, RealDisk, Records, check_state, read_bounded, replace_private,
};
use veilsum::transport::{Client as Connection, ClientConfig as TransportConfig};
use veilsum::wire::{Announcement, Header, ReceiptContent, Roster, Signed, VoidContent, Wire};
use veilsum::{
    Answer, ClientError, Notes, RequestError, Requests, RosterMemory, ServerPublic, evidence_file,
    is_void, published_file, registrar_from_text,
};

use crate::args::CheckArguments;
use crate::audit::transcripts_in;
use crate::error::{CliError, exit};
use crate::keys::read_key;
use crate::kinds::Holds;

/// No result is larger: the layout has at most 2^26 coordinates.
const PUBLISHED_MAX: u64 = 1 << 30;

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is the edge: it tells how long a check took"
)]
pub(crate) async fn check(arguments: CheckArguments) -> Result<u8, CliError> {
    let pins = arguments.pins.read()?;
    // Notes and results are read from a client's directory, and evidence is written into it.
    if arguments.path.is_dir() {
        check_state(&RealDisk, &arguments.path)?;
    }
    let document = match &arguments.server {
        // What a server says is kept only once it is checked: it must not displace a result that was accepted before.
        Some(_) => match fetch(&arguments).await? {
            Fetched::Published(document) => *document,
            Fetched::Void(context, void) => {
                let mut notes = Notes::new(context);
                notes.declared_void(*void);
                let evidence = contradictions(&arguments.path, notes)?;
                if evidence.is_empty() {
                    return Err(ClientError::Void.into());
                }
                let error = "the server declares the round void, and what it signed elsewhere contradicts it";
                return Ok(refused(&arguments, None, error, &evidence));
            }
            Fetched::Absent(round, client) => return Ok(absent(&arguments, round, client)),
        },
        None => {
            let state = &arguments.path;
            let path = match saved(state, arguments.round) {
                Ok(path) if path.exists() => path,
                missing => match own(state, arguments.round) {
                    Ok((announcement, _, receipts)) if receipts.is_empty() => {
                        return Err(CliError::NoReceipt {
                            path: state.clone(),
                            round: announcement.params.round_id,
                        });
                    }
                    _ => missing?,
                },
            };
            let bytes = read_bounded(&RealDisk, &path, PUBLISHED_MAX)?;
            match Document::from_file(&bytes) {
                Ok(document @ Document::Published { .. }) => document,
                Ok(document) => return Err(other_kind(&path, Holds::of_document(&document))),
                Err(error) => {
                    if let Some(holds) = Holds::of(&bytes) {
                        return Err(other_kind(&path, holds));
                    }
                    let error = format!("{}: {error}", path.display());
                    return Ok(refused(&arguments, None, &error, &[]));
                }
            }
        }
    };
    let Document::Published {
        announcement,
        header,
        result,
        bundle,
        ..
    } = &document
    else {
        return Err(other_kind(&arguments.path, Holds::of_document(&document)));
    };
    let (result_bytes, beside_bytes) = (result.to_bytes().len(), bundle.to_bytes().len());
    let (round, client) = (announcement.params.round_id, header.content.client);
    let begin = Instant::now();
    let checked = document.check_published(&pins, &mut OsRng);
    let seconds = begin.elapsed().as_secs_f64();
    let summed = match checked {
        Ok((_, summed)) => summed,
        Err(error) => {
            let check = match &error {
                PublishedError::Refused(refusal) => Some(refusal.check.id()),
                _ => None,
            };
            let evidence = proven(&arguments, &document, &pins)?;
            let error = match (&error, &arguments.server) {
                // About the file, not about what is in it.
                (PublishedError::File(error), None) => {
                    let path = saved(&arguments.path, arguments.round)?;
                    format!("{}: {error}", path.display())
                }
                _ => error.to_string(),
            };
            return Ok(refused(&arguments, check, &error, &evidence));
        }
    };
    let evidence = proven(&arguments, &document, &pins)?;
    if !evidence.is_empty() {
        let error = "it passes the check, and what the server signed elsewhere contradicts it";
        return Ok(refused(&arguments, None, error, &evidence));
    }
    if arguments.server.is_some() {
        let path = published_file(&arguments.path, round);
        replace_private(&RealDisk, &path, &document.to_file())?;
    }
    if arguments.json {
        println!(
            "{}",
            json!({
                "verdict": "valid", "round": round, "client": client.0, "summed": summed, "dim": result.vector.len(),
                "result_bytes": result_bytes, "beside_bytes": beside_bytes, "seconds": seconds,
            })
        );
    } else {
        println!(
            "round {round}: the result is the sum of {summed} contributions, that of {client} among them.\n\
             Checked with {result_bytes} bytes of result and {beside_bytes} bytes beside it in {seconds:.2} s. \
             The norms of others are for the server and auditors to check."
        );
        for (missing, who, option) in [
            (pins.server.is_none(), "server", "--server-key"),
            (pins.registrar.is_none(), "registrar", "--registrar"),
        ] {
            if missing {
                println!(
                    "The {who}'s key was taken from the file; give the one that you know with {option}."
                );
            }
        }
    }
    Ok(0)
}

fn other_kind(path: &Path, holds: Holds) -> CliError {
    CliError::OtherKind {
        path: path.to_owned(),
        wanted: "a published result",
        holds,
    }
}

fn refused(
    arguments: &CheckArguments,
    check: Option<&str>,
    error: &str,
    evidence: &[PathBuf],
) -> u8 {
    if arguments.json {
        println!(
            "{}",
            json!({ "verdict": "invalid", "check": check, "error": error, "evidence": evidence })
        );
    } else {
        println!("the result is not accepted: {error}");
        for path in evidence {
            println!(
                "evidence: {} (`veilsum audit` says against whom)",
                path.display()
            );
        }
    }
    exit::VERIFICATION
}

/// A result that the client's contribution is not in, as the server says unsigned, with no receipt that says it should be.
fn absent(arguments: &CheckArguments, round: u64, client: ClientId) -> u8 {
    let error = format!(
        "the server says that round {round} closed without the contribution of {client}, and gave no receipt: by its word nothing of it was accepted, and there is no result for it to check; join a later round (`--after {round}`)"
    );
    if arguments.json {
        println!(
            "{}",
            json!({ "verdict": "absent", "round": round, "client": client.0, "error": error })
        );
    } else {
        println!("{error}");
    }
    exit::ABORTED
}

/// What the result proves beside what the client of the state directory kept of its round, each in a file of its own there.
fn proven(
    arguments: &CheckArguments,
    document: &Document,
    pins: &Pins,
) -> Result<Vec<PathBuf>, CliError> {
    let state = &arguments.path;
    // Beside a single file there are no notes. A round that cannot be recomputed convicts nobody.
    let (Document::Published { result, bundle, .. }, Ok(context), true) =
        (document, document.context(pins), state.is_dir())
    else {
        return Ok(Vec::new());
    };
    let context = Arc::new(context);
    let mut notes = Notes::new(context);
    notes.shown(result.clone(), bundle);
    contradictions(state, notes)
}

/// What these notes prove beside what is kept in the state directory, each in a file of its own there.
fn contradictions(state: &Path, mut notes: Notes) -> Result<Vec<PathBuf>, CliError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    notes.read(&disk, state).map_err(ClientError::from)?;
    let context = Arc::clone(notes.context());
    let mut files = Vec::new();
    for evidence in notes.evidence() {
        let (roster, params) = (context.roster(), context.params());
        let bytes = Document::accusation(roster, params, &evidence).to_file();
        let path = evidence_file(state, &bytes);
        replace_private(&RealDisk, &path, &bytes)?;
        files.push(path);
    }
    Ok(files)
}

/// The file of a round in a client's state directory, the last one if no round is named; or the file itself.
fn saved(path: &Path, round: Option<u64>) -> Result<PathBuf, CliError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    if let Some(round) = round {
        return Ok(published_file(path, round));
    }
    let rounds = std::fs::read_dir(path)
        .map_err(|error| CliError::Directory {
            path: path.to_owned(),
            kind: error.kind(),
        })?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let number = name.to_str()?.strip_prefix("published-")?;
            number.strip_suffix(".veilsum")?.parse::<u64>().ok()
        });
    rounds
        .max()
        .map(|round| published_file(path, round))
        .ok_or_else(|| {
            let path = path.to_owned();
            match transcripts_in(&path).is_empty() {
                true => CliError::NothingPublished { path },
                false => CliError::ServersState { path },
            }
        })
}

/// What the client itself made in a round, from its log.
fn own(
    state: &Path,
    round: Option<u64>,
) -> Result<(Announcement, Header, Vec<Signed<ReceiptContent>>), CliError> {
    let path = state.join("client").join(LOG_FILE);
    let mut found = None;
    for record in Records::open(&RealDisk, &path)? {
        match Record::from_bytes(&record?.payload) {
            Ok(
                Record::ClientContribution {
                    announcement,
                    header,
                    ..
                }
                | Record::ClientLargeContribution {
                    announcement,
                    header,
                    ..
                },
            ) if round.is_none_or(|wanted| wanted == announcement.params.round_id) => {
                found = Some((announcement, header, Vec::new()));
            }
            Ok(Record::ClientReceipt { receipt }) => {
                if let Some((_, header, receipts)) = &mut found
                    && header.content.digest() == receipt.content.header_digest
                {
                    receipts.push(receipt);
                }
            }
            _ => {}
        }
    }
    found.ok_or(CliError::NothingPublished {
        path: state.to_owned(),
    })
}

/// What a server says of a round.
enum Fetched {
    /// A result, unchecked.
    Published(Box<Document>),
    /// That the sum is without this client's contribution, which has no receipt; unsigned.
    Absent(u64, ClientId),
    /// That it is void, signed for this round.
    Void(Arc<RoundContext>, Box<Signed<VoidContent>>),
}

/// Asks a running server for the result of a round that the state directory has a contribution to.
async fn fetch(arguments: &CheckArguments) -> Result<Fetched, CliError> {
    let (Some(server), Some(server_key), Some(registrar)) = (
        &arguments.server,
        &arguments.pins.server_key,
        &arguments.pins.registrar,
    ) else {
        return Err(CliError::PinsNeeded);
    };
    let (announcement, header, receipt) = own(&arguments.path, arguments.round)?;
    let public = read_key(server_key, ServerPublic::from_text)?;
    let registrar = read_key(registrar, registrar_from_text)?;
    let mut jitter = [0; 32];
    OsRng.fill_bytes(&mut jitter);
    let patience = Duration::from_secs(arguments.patience.into());
    let address = server.resolve().await?;
    let connection = Connection::new(address, public.transport, TransportConfig::new(jitter))
        .map_err(ClientError::from)?;
    let requests = Requests::new(connection, patience);
    // That of the round, which may be an older one.
    let seen = RosterMemory::open(Arc::new(RealDisk), &arguments.path, &registrar);
    let seen = seen.and_then(|seen| seen.by_digest(&Digest(announcement.params.roster_digest)));
    let roster = match seen.map_err(ClientError::from)? {
        Some(roster) => Arc::new(roster),
        None => {
            let round = announcement.params.round_id;
            let roster = requests.roster(round).await.map_err(ClientError::from)?;
            Arc::new(Roster::verify(roster, &registrar)?)
        }
    };
    let context = RoundContext::from_announcement(&announcement, &public.signing, roster.clone())?;
    let until = tokio::time::Instant::now() + patience;
    let client = header.content.client;
    let (result, bundle) = loop {
        let answer = requests.result(&context, client).await;
        if receipt.is_empty() && answer == Err(RequestError::Refused(Check::LightEntry)) {
            requests.close().await;
            return Ok(Fetched::Absent(announcement.params.round_id, client));
        }
        match answer.map_err(ClientError::from)? {
            Answer::Ready(answer) => break answer,
            Answer::Void(void) if is_void(&context, &void) => {
                return Ok(Fetched::Void(Arc::new(context), void));
            }
            Answer::Void(_) => return Err(ClientError::VoidSignature.into()),
            Answer::Again | Answer::Over => {
                if tokio::time::Instant::now() >= until {
                    let (what, seconds) = ("the result", patience.as_secs());
                    return Err(ClientError::Patience { what, seconds }.into());
                }
            }
        }
    };
    requests.close().await;
    Ok(Fetched::Published(Box::new(Document::Published {
        registrar: roster.registrar().to_bytes(),
        roster: roster.signed().clone(),
        announcement,
        header,
        receipt,
        result,
        bundle,
    })))
}
