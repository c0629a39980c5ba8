//! `enrol` and `registrar`: from a request to join to a signed roster, all by files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::OsRng;
use serde_json::{Value, json};
use veilsum::crypto::VerifyingKey;
use veilsum::params::ClientId;
use veilsum::store::{Disk, RealDisk, StoreError, ensure_dir, replace_public, write_private};
use veilsum::wire::{
    Admission, JoinContent, JoinError, Published, RevokeError, Roster, Signed, Wire,
};
use veilsum::{
    ClientKeys, KeyError, Registrar, RegistrarError, RegistrarKeys, ShareKeys, Signing, now_ms,
    registrar_from_text, request_from_text, request_to_text,
};

use crate::args::{EnrolCommand, RegistrarCommand};
use crate::beacon::read_rule;
use crate::error::{CliError, exit};
use crate::keys::{FileError, read_key, read_roster, read_secret};
use crate::mark::Mark;

const SECRET_FILE: &str = "registrar.key";
const ROSTER_FILE: &str = "roster.bin";
/// Where the registrar may put the requests that come in.
const REQUESTS_DIR: &str = "requests";

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn open(dir: &Path) -> Result<Registrar, CliError> {
    Ok(Registrar::open(disk(), dir)?)
}

fn told(as_json: bool, object: &Value, words: &str) {
    if as_json {
        println!("{object}");
    } else {
        println!("{words}");
    }
}

/// Reads the keys of a file, or makes them where there is none.
fn keys_at<T>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, KeyError>,
    make: impl FnOnce() -> Result<(T, zeroize::Zeroizing<Vec<u8>>), CliError>,
) -> Result<T, CliError> {
    match read_secret(path, parse) {
        Err(FileError::Store(StoreError::NotFound { .. })) => {
            let (keys, text) = make()?;
            write_private(&RealDisk, path, &text)?;
            Ok(keys)
        }
        read => Ok(read?),
    }
}

pub(crate) fn enrol(command: &EnrolCommand) -> Result<u8, CliError> {
    match command {
        EnrolCommand::Request {
            registrar,
            key,
            id,
            epoch,
            out,
            json,
        } => {
            let registrar = read_key(registrar, registrar_from_text)?;
            let out = out.clone().unwrap_or_else(|| with_suffix(key, ".join"));
            request(&registrar, key, *id, *epoch, &out, *json)
        }
        EnrolCommand::Show {
            request,
            registrar,
            json,
        } => show_request(request, registrar.as_deref(), *json),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The keys first: should the request be lost, the same call makes it again with them.
fn request(
    registrar: &VerifyingKey,
    key: &Path,
    id: Option<u32>,
    epoch: Option<u64>,
    out: &Path,
    as_json: bool,
) -> Result<u8, CliError> {
    let keys = keys_at(key, ClientKeys::from_text, || {
        let id = id.ok_or_else(|| CliError::NumberNeeded {
            path: key.to_owned(),
        })?;
        let keys = ClientKeys::generate(ClientId(id), epoch.unwrap_or(1), &mut OsRng);
        let text = keys.to_text();
        Ok((keys, text))
    })?;
    let other = id.is_some_and(|id| id != keys.client().0)
        || epoch.is_some_and(|epoch| epoch != keys.epoch());
    if other {
        return Err(CliError::OtherKeys {
            path: key.to_owned(),
            client: keys.client(),
            epoch: keys.epoch(),
        });
    }
    ShareKeys::open(disk(), key)?.asks(registrar)?;
    let request = keys.request(registrar, &mut OsRng);
    replace_public(&RealDisk, out, &request_to_text(&request))?;
    let (client, epoch) = (keys.client(), keys.epoch());
    told(
        as_json,
        &json!({
            "request": out, "key": key, "client": client.0, "epoch": epoch,
            "identity": hex::encode(request.content.entry.identity_key),
        }),
        &format!(
            "{client} asks to join for epoch {epoch}: give {} to the registrar, keep {} (only you can read it)",
            out.display(),
            key.display()
        ),
    );
    Ok(0)
}

fn show_request(path: &Path, registrar: Option<&Path>, as_json: bool) -> Result<u8, CliError> {
    let request = read_key(path, request_from_text)?;
    let content = &request.content;
    let pinned = match registrar {
        Some(file) => Ok(read_key(file, registrar_from_text)?),
        None => VerifyingKey::decode(&content.registrar).map_err(|_| JoinError::Registrar),
    };
    let judged =
        pinned.and_then(|registrar| request.admissible(&registrar, content.epoch).map(|_| ()));
    let error = judged.as_ref().err().map(ToString::to_string);
    let (client, identity) = (
        content.entry.client,
        hex::encode(content.entry.identity_key),
    );
    let verdict = error.as_ref().map_or(
        "signed by its keys, and of whoever has both".to_owned(),
        |e| format!("refused: {e}"),
    );
    told(
        as_json,
        &json!({
            "request": path, "client": client.0, "epoch": content.epoch, "registrar": hex::encode(content.registrar),
            "identity": identity, "share_key": hex::encode(content.entry.share_key.as_bytes()),
            "valid": error.is_none(), "error": error,
        }),
        &format!(
            "{client}, epoch {}, registrar {}\nidentity key {identity}\n{verdict}",
            content.epoch,
            hex::encode(content.registrar)
        ),
    );
    Ok(if error.is_none() {
        0
    } else {
        exit::VERIFICATION
    })
}

pub(crate) fn registrar(command: &RegistrarCommand) -> Result<u8, CliError> {
    match command {
        RegistrarCommand::Init {
            dir,
            key,
            epoch,
            roster,
            moved,
            json,
        } => init(
            dir,
            key.as_deref(),
            *epoch,
            roster.as_deref(),
            *moved,
            *json,
        ),
        RegistrarCommand::List {
            dir,
            requests,
            json,
        } => {
            let requests = requests.clone().unwrap_or_else(|| dir.join(REQUESTS_DIR));
            list(&open(dir)?, &requests, *json)
        }
        RegistrarCommand::Admit {
            dir,
            requests,
            json,
        } => admit(open(dir)?, requests, *json),
        RegistrarCommand::Revoke {
            dir,
            id,
            identity,
            json,
        } => revoke(open(dir)?, id, identity, *json),
        RegistrarCommand::Beacon { dir, rule, json } => {
            let mut registrar = open(dir)?;
            registrar.set_beacon(read_rule(rule)?)?;
            let words = format!(
                "roster version {} will name this beacon",
                registrar.draft().version()
            );
            told(*json, &summary(&registrar), &words);
            Ok(0)
        }
        RegistrarCommand::Epoch { dir, epoch, json } => {
            let mut registrar = open(dir)?;
            registrar.begin_epoch(*epoch)?;
            let missing = registrar.draft().missing().count();
            told(
                *json,
                &summary(&registrar),
                &format!(
                    "epoch {epoch} begins with the next roster: {missing} clients have to ask for it"
                ),
            );
            Ok(0)
        }
        RegistrarCommand::Discard { dir, json } => {
            let mut registrar = open(dir)?;
            registrar.discard()?;
            told(
                *json,
                &summary(&registrar),
                "nothing is decided since the last roster",
            );
            Ok(0)
        }
        RegistrarCommand::Sign {
            dir,
            key,
            out,
            first_round,
            latest_beacon,
            json,
        } => {
            let key = key.clone().unwrap_or_else(|| dir.join(SECRET_FILE));
            let out = out.clone().unwrap_or_else(|| dir.join(ROSTER_FILE));
            let mut registrar = open(dir)?;
            if let Some(first_round) = first_round {
                registrar.begin_at(*first_round)?;
            }
            let published =
                latest_beacon.map_or_else(|| Published::At(now_ms() / 1000), Published::Until);
            sign(registrar, dir, &key, published, &out, *json)
        }
        RegistrarCommand::Show { dir, json } => {
            let registrar = open(dir)?;
            told(*json, &summary(&registrar), &described(&registrar));
            Ok(0)
        }
    }
}

fn init(
    dir: &Path,
    key: Option<&Path>,
    epoch: u64,
    roster: Option<&Path>,
    moved: bool,
    as_json: bool,
) -> Result<u8, CliError> {
    let path = key.map_or_else(|| dir.join(SECRET_FILE), Path::to_owned);
    // No key is made for a directory that cannot be used.
    match Registrar::open(disk(), dir) {
        // A directory that was moved as it is goes on with what it has.
        Ok(registrar) if moved && roster.is_none() => {
            let keys = read_secret(&path, RegistrarKeys::from_text)?;
            own(&registrar, dir, &keys)?;
            Mark::of(&path)?.take(dir, registrar.last(), moved)?;
            told(as_json, &summary(&registrar), &described(&registrar));
            return Ok(0);
        }
        Ok(_) => {
            return Err(RegistrarError::Taken {
                dir: dir.to_owned(),
            }
            .into());
        }
        Err(
            RegistrarError::Store(StoreError::NotFound { .. }) | RegistrarError::Unfinished { .. },
        ) => {}
        Err(error) => return Err(error.into()),
    }
    ensure_dir(&RealDisk, &dir.join(REQUESTS_DIR))?;
    let keys = keys_at(&path, RegistrarKeys::from_text, || {
        let keys = RegistrarKeys::generate(&mut OsRng);
        let text = keys.to_text();
        Ok((keys, text))
    })?;
    let last = match roster {
        Some(file) => Some(read_roster(file, &keys.public())?),
        None => None,
    };
    // First the mark: should the rest be lost, the same call does it again.
    Mark::of(&path)?.take(dir, last.as_ref(), moved)?;
    let registrar = Registrar::init(disk(), dir, &keys.public(), epoch, last.as_ref())?;
    let public = dir.join("registrar.pub");
    let mut about = summary(&registrar);
    about["secret"] = json!(path);
    about["public"] = json!(public);
    told(
        as_json,
        &about,
        &format!(
            "secret key: {} (keep it; it is never on a server)\npublic key: {} (give it to clients and servers)\nrequests to join go to {}",
            path.display(),
            public.display(),
            dir.join(REQUESTS_DIR).display()
        ),
    );
    Ok(0)
}

fn own(registrar: &Registrar, dir: &Path, keys: &RegistrarKeys) -> Result<(), RegistrarError> {
    if keys.public() == *registrar.public() {
        return Ok(());
    }
    Err(RegistrarError::OtherKey {
        dir: dir.to_owned(),
    })
}

/// The files of a directory, by name; hidden ones are somebody's half-written ones.
fn request_files(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let listed = RealDisk.list(dir);
    let listed = listed.map_err(|error| CliError::file(dir, &error))?;
    let names = listed.into_iter().map(|file| file.name);
    let shown = names.filter(|name| !name.to_string_lossy().starts_with('.'));
    Ok(shown.map(|name| dir.join(name)).collect())
}

fn list(registrar: &Registrar, requests: &Path, as_json: bool) -> Result<u8, CliError> {
    let mut found = Vec::new();
    let mut lines = Vec::new();
    for path in request_files(requests)? {
        let read = read_key(&path, request_from_text);
        let about = match &read {
            Err(error) => {
                json!({ "file": path, "state": "unreadable", "error": error.to_string() })
            }
            Ok(request) => about(registrar, &path, request),
        };
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        let client = read.map_or_else(
            |_| String::new(),
            |r| {
                format!(
                    " {}, identity key {}",
                    r.content.entry.client,
                    text("identity")
                )
            },
        );
        let reason = match text("error") {
            reason if reason.is_empty() => reason,
            reason => format!(": {reason}"),
        };
        lines.push(format!(
            "{}:{client}: {}{reason}",
            path.display(),
            text("state")
        ));
        found.push(about);
    }
    if lines.is_empty() {
        lines.push(format!("{}: no requests", requests.display()));
    }
    told(as_json, &json!({ "requests": found }), &lines.join("\n"));
    Ok(0)
}

fn about(registrar: &Registrar, path: &Path, request: &Signed<JoinContent>) -> Value {
    let judged = registrar.draft().judge(request);
    let state = match &judged {
        Ok(Admission::New(_)) => "pending",
        Ok(Admission::Known(_)) => "admitted",
        Err(_) => "refused",
    };
    json!({
        "file": path, "client": request.content.entry.client.0, "state": state,
        "identity": hex::encode(request.content.entry.identity_key),
        "error": judged.err().map(|error| error.to_string()),
    })
}

fn admit(mut registrar: Registrar, files: &[PathBuf], as_json: bool) -> Result<u8, CliError> {
    let mut requests = Vec::new();
    for path in files {
        requests.push(read_key(path, request_from_text)?);
    }
    let admissions = registrar.admit(&requests).map_err(|(place, cause)| {
        let path = files.get(place).cloned().unwrap_or_default();
        let cause = Box::new(cause);
        CliError::Request { path, cause }
    })?;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for admission in admissions {
        match admission {
            Admission::New(client) => new.push(client.0),
            Admission::Known(client) => known.push(client.0),
        }
    }
    let version = registrar.draft().version();
    told(
        as_json,
        &json!({ "admitted": new, "known": known, "version": version }),
        &format!(
            "{} admitted, {} admitted already; they are in roster version {version} when it is signed",
            new.len(),
            known.len()
        ),
    );
    Ok(0)
}

fn revoke(
    mut registrar: Registrar,
    ids: &[u32],
    identities: &[String],
    as_json: bool,
) -> Result<u8, CliError> {
    let mut keys = Vec::new();
    for id in ids {
        let client = ClientId(*id);
        let key = registrar.draft().identity(client);
        let unknown = || RegistrarError::from(RevokeError::Unknown { client });
        keys.push(key.ok_or_else(unknown)?);
    }
    for text in identities {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| CliError::IdentityKey)?;
        keys.push(key);
    }
    let held = registrar.revoke(&keys)?;
    let revoked: Vec<Value> = held
        .iter()
        .map(|(key, client)| {
            json!({ "identity": hex::encode(key), "client": client.map(|client| client.0) })
        })
        .collect();
    let version = registrar.draft().version();
    told(
        as_json,
        &json!({ "revoked": revoked, "version": version }),
        &format!(
            "{} revoked for ever, with roster version {version} when it is signed",
            revoked.len()
        ),
    );
    Ok(0)
}

fn sign(
    mut registrar: Registrar,
    dir: &Path,
    key: &Path,
    published: Published,
    out: &Path,
    as_json: bool,
) -> Result<u8, CliError> {
    let keys = read_secret(key, RegistrarKeys::from_text)?;
    own(&registrar, dir, &keys)?;
    let mark = Mark::of(key)?;
    mark.take(dir, registrar.last(), false)?;
    let signing = registrar.sign(&keys, published)?;
    let roster = registrar.last().ok_or(RegistrarError::Empty)?;
    mark.take(dir, Some(roster), false)?;
    // Should this be lost, the same call writes it again.
    replace_public(&RealDisk, out, &roster.signed().to_bytes())?;
    let changed = signing == Signing::New;
    let mut about = of_roster(roster);
    about["roster"] = json!(out);
    about["changed"] = json!(changed);
    let (version, digest) = (roster.version(), roster.digest());
    let front = if changed {
        "signed"
    } else {
        "nothing was decided since"
    };
    told(
        as_json,
        &about,
        &format!(
            "{front} roster version {version}: {} clients, epoch {}, digest {digest}; give {} to the servers",
            roster.entries().len(),
            roster.epoch(),
            out.display()
        ),
    );
    Ok(0)
}

fn of_roster(roster: &Roster) -> Value {
    json!({
        "version": roster.version(), "epoch": roster.epoch(), "clients": roster.entries().len(),
        "revoked": roster.signed().content.revoked.len(), "digest": roster.digest().to_hex(),
    })
}

fn summary(registrar: &Registrar) -> Value {
    let draft = registrar.draft();
    let entries = draft.entries().map(
        |entry| json!({ "client": entry.client.0, "identity": hex::encode(entry.identity_key) }),
    );
    let admitted: Vec<u32> = registrar.admitted().map(|client| client.0).collect();
    let revoked: Vec<String> = registrar.revoked().map(hex::encode).collect();
    json!({
        "registrar": hex::encode(registrar.public().to_bytes()),
        "signed": registrar.last().map(of_roster),
        "next": {
            "version": draft.version(), "epoch": draft.epoch(), "beacon_scheme": draft.beacon().scheme, "admitted": admitted, "revoked": revoked,
            "clients": entries.collect::<Vec<Value>>(),
            "all_revoked": draft.revoked().map(hex::encode).collect::<Vec<String>>(),
        },
    })
}

fn described(registrar: &Registrar) -> String {
    let mut lines = vec![format!(
        "registrar {}",
        hex::encode(registrar.public().to_bytes())
    )];
    lines.push(registrar.last().map_or_else(
        || "no roster is signed yet".to_owned(),
        |roster| {
            format!(
                "signed: version {}, epoch {}, {} clients, {} keys revoked, digest {}",
                roster.version(),
                roster.epoch(),
                roster.entries().len(),
                roster.signed().content.revoked.len(),
                roster.digest()
            )
        },
    ));
    let draft = registrar.draft();
    lines.push(if registrar.has_changes() {
        format!(
            "decided since, for version {}: {} admitted, {} keys revoked; sign it with `veilsum registrar sign`",
            draft.version(),
            registrar.admitted().len(),
            registrar.revoked().len()
        )
    } else {
        "nothing is decided since".to_owned()
    });
    for entry in draft.entries() {
        lines.push(format!(
            "{} identity key {}",
            entry.client,
            hex::encode(entry.identity_key)
        ));
    }
    for key in draft.revoked() {
        lines.push(format!("revoked identity key {}", hex::encode(key)));
    }
    lines.join("\n")
}
