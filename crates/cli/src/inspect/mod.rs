//! `inspect`: what a file holds, for people.

mod value;

use crate::args::InspectArguments;
use crate::error::{CliError, exit};
use crate::kinds::{KEY_MAGIC, LOG_MAGIC};
use serde_json::{Map, Value as Json, json};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;
use value::{Value, Walker};
use veilsum::crypto::{Digest, labels};
use veilsum::params::{Layout, RoundParams, UploadSizes};
use veilsum::protocol::{
    Bytes, Document, Evidence, FileError, Message, Record, Upload, proof_challenges,
};
use veilsum::store::{
    BODIES_DIR, BodyDigest, LOG_FILE, Log, RealDisk, Records, StoreError, check_state, read_bounded,
};
use veilsum::wire::{
    Announcement, Header, LightBundle, RosterContent, RoundResult, RowsRequest, Signed, Wire,
    WireError, params_digest,
};
use veilsum::{KEY_FILE_MAX, client_dir, entry_from_text, registrar_from_text, request_from_text};

/// Largest file that is read whole.
const FILE_MAX: u64 = 1 << 32;

/// Why a file cannot be shown.
#[derive(Clone, Debug, PartialEq, Error)]
pub(crate) enum InspectError {
    #[error(
        "{0}: this is no file that veilsum writes, or it is damaged; --as KIND tells why it is not of one kind"
    )]
    Unknown(String),
    #[error("{name}: this is no {kind}: {cause}")]
    Kind {
        name: String,
        kind: &'static str,
        cause: WireError,
    },
    #[error("{name}: this is no {kind} that is whole")]
    Key { name: String, kind: &'static str },
    #[error(
        "{0}: no round parameters in it; give the announcement, or the server's state directory of the round"
    )]
    Params(String),
    #[error(
        "{0}: a body has no fields of its own: give --params with the announcement of its round"
    )]
    Body(String),
    #[error("{name}: {cause}")]
    File { name: String, cause: FileError },
    #[error(
        "{0}: there is no log in this directory: name a round of a server (rounds/1), a client's state directory, or its log as a member (member/1)"
    )]
    NoLog(String),
    #[error("standard input: {0}")]
    Input(io::ErrorKind),
}

/// What a binary file may hold, most telling first: how it is named, and whether bytes are one.
type Kind = (
    &'static str,
    &'static str,
    fn(&[u8]) -> Result<(), WireError>,
);

fn whole<T: Wire>(bytes: &[u8]) -> Result<(), WireError> {
    T::from_bytes(bytes).map(|_| ())
}

const KINDS: &[Kind] = &[
    (
        "roster",
        "Signed<RosterContent>",
        whole::<Signed<RosterContent>>,
    ),
    ("announcement", "Announcement", whole::<Announcement>),
    ("params", "RoundParams", whole::<RoundParams>),
    ("message", "Message", whole::<Message>),
    ("evidence", "Evidence", whole::<Evidence>),
    ("record", "Record", whole::<Record>),
    ("header", "Header", whole::<Header>),
    ("bundle", "LightBundle", whole::<LightBundle>),
    (
        "refused-result",
        "(RoundResult, LightBundle)",
        whole::<(RoundResult, LightBundle)>,
    ),
    ("result", "RoundResult", whole::<RoundResult>),
    ("rows", "RowsRequest", whole::<RowsRequest>),
];

/// What is shown: a kind, then sections in order.
struct Shown {
    kind: String,
    sections: Vec<(String, Section)>,
    /// Something of it cannot be shown.
    damaged: bool,
}

impl Shown {
    fn new(kind: impl Into<String>, sections: Vec<(String, Section)>) -> Self {
        Self {
            kind: kind.into(),
            sections,
            damaged: false,
        }
    }
}

enum Section {
    Value(Value),
    /// One line, or one JSON value, for each.
    Rows(Vec<Json>),
    Text(Json),
}

fn named(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let limited = io::stdin().lock().take(FILE_MAX).read_to_end(&mut bytes);
        limited.map_err(|e| InspectError::Input(e.kind()))?;
        return Ok(bytes);
    }
    Ok(read_bounded(&RealDisk, path, FILE_MAX)?)
}

/// A line about a record, and the record where it decodes.
type Row = (Json, Option<Record>);

/// The records of a log, each decoded; what comes after damage is not shown, the damage is.
fn records(path: &Path) -> Result<(Json, Vec<Row>), StoreError> {
    let log = Records::open(&RealDisk, path)?;
    let identity = log.identity();
    let about =
        json!({ "role": identity.role.to_string(), "context": hex::encode(identity.context) });
    let mut out = Vec::new();
    for record in log {
        match record {
            Ok(record) => {
                let decoded = Record::from_bytes(&record.payload).ok();
                let tag = decoded.as_ref().map(Record::tag);
                let name = Record::VARIANTS
                    .iter()
                    .find(|(t, _, _)| Some(*t) == tag)
                    .map(|v| v.1);
                let row = json!({
                    "record": record.index,
                    "kind": name.unwrap_or("unknown"),
                    "bytes": record.payload.len(),
                    "chain": hex::encode(record.chain),
                });
                out.push((row, decoded));
            }
            Err(error) => out.push((json!({ "damage": damage(path, error) }), None)),
        }
    }
    Ok((about, out))
}

/// What is behind the last whole record. A log in its place may have a tail that no server makes anything of.
fn damage(path: &Path, error: StoreError) -> String {
    let in_place = path.file_name().is_some_and(|name| name == LOG_FILE);
    let dir = path.parent().filter(|_| in_place);
    let torn = dir.and_then(|dir| Log::look(&RealDisk, dir).ok());
    match torn.filter(|found| !found.closed && found.cut_bytes > 0) {
        Some(found) => format!(
            "the last {} bytes are no whole record: its end was cut off, a crash tore it, or it is being written",
            found.cut_bytes
        ),
        None => error.to_string(),
    }
}

fn announced(record: &Record) -> Option<RoundParams> {
    match record {
        Record::ServerAnnouncement { sent } => Some(sent.params.clone()),
        Record::MemberAnnouncement { announcement }
        | Record::ClientContribution { announcement, .. }
        | Record::ClientLargeContribution { announcement, .. } => Some(announcement.params.clone()),
        _ => None,
    }
}

/// The log in a directory, or that of a client in its state directory.
fn log_in(dir: &Path) -> Result<PathBuf, CliError> {
    check_state(&RealDisk, dir)?;
    let logs = [dir.join(LOG_FILE), client_dir(dir).join(LOG_FILE)];
    let found = logs.into_iter().find(|log| log.exists());
    Ok(found.ok_or_else(|| InspectError::NoLog(named(dir)))?)
}

/// Round parameters of an announcement (with or without its tag), of a file of parameters, or of a log.
fn params_of(path: &Path) -> Result<RoundParams, CliError> {
    let inner = if path.is_dir() {
        log_in(path)?
    } else {
        path.to_owned()
    };
    let bytes = read(&inner)?;
    if bytes.starts_with(LOG_MAGIC) {
        let (_, records) = records(&inner)?;
        let found = records
            .iter()
            .find_map(|(_, record)| announced(record.as_ref()?));
        return found.ok_or_else(|| InspectError::Params(named(path)).into());
    }
    let tagged = match Message::from_bytes(&bytes) {
        Ok(Message::Announcement(announcement)) => Some(announcement.params),
        _ => None,
    };
    let plain = || Announcement::from_bytes(&bytes).map(|a| a.params).ok();
    tagged
        .or_else(plain)
        .or_else(|| RoundParams::from_bytes(&bytes).ok())
        .ok_or_else(|| InspectError::Params(named(path)).into())
}

/// The parts of a body by name; nothing for a body of another length than the parameters give.
fn parts<'a>(
    params: &RoundParams,
    layout: &Layout,
    body: &'a [u8],
) -> Option<Vec<(&'static str, &'a [u8])>> {
    let sizes = UploadSizes::of(layout, params.committee_size(), params.threshold.into());
    let lengths = [
        ("masked vector y", sizes.masked_vector),
        ("key ciphertext C", sizes.key_ciphertext),
        ("matrix commitment K", sizes.matrix_commitment),
        ("proof", sizes.proof),
        ("shares", sizes.shares),
    ];
    let mut rest = body;
    let mut out = Vec::new();
    for (name, len) in lengths {
        let (part, left) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        out.push((name, part));
        rest = left;
    }
    rest.is_empty().then_some(out)
}

fn body_sections(
    params: &RoundParams,
    header: Option<&Header>,
    body: &[u8],
    sections: &mut Vec<(String, Section)>,
) {
    let Ok(layout) = params.layout() else {
        sections.push((
            "body".to_owned(),
            Section::Text(json!("the parameters have no layout")),
        ));
        return;
    };
    let Some(parts) = parts(params, &layout, body) else {
        sections.push((
            "body".to_owned(),
            Section::Text(json!("not of the length that the parameters give")),
        ));
        return;
    };
    let rows = parts.iter().map(|(name, bytes)| {
        json!({ "part": name, "bytes": bytes.len(), "blake3": BodyDigest::of(bytes).to_string() })
    });
    sections.push(("parts".to_owned(), Section::Rows(rows.collect())));
    let proof = parts
        .iter()
        .find(|(name, _)| *name == "proof")
        .map(|(_, bytes)| *bytes);
    if let (Some(header), Some(proof)) = (header, proof) {
        let section = match proof_challenges(&layout, &header.content, proof) {
            Ok(trace) => Section::Rows(
                trace
                    .iter()
                    .map(|c| json!({ "label": c.label, "value": hex::encode(c.bytes) }))
                    .collect(),
            ),
            Err(check) => Section::Text(json!(format!("none: {}", check.id()))),
        };
        sections.push(("challenges".to_owned(), section));
    }
}

fn digests(value: &[u8], kind: &str) -> Vec<(String, Section)> {
    let text = |name: &str, digest: String| (name.to_owned(), Section::Text(json!(digest)));
    match kind {
        "Header" => Header::from_bytes(value).map(|h| {
            vec![
                text("header digest", h.content.digest().to_hex()),
                text("matrix digest", h.content.matrix_digest().to_hex()),
            ]
        }),
        "Announcement" => Announcement::from_bytes(value)
            .map(|a| vec![text("params digest", params_digest(&a.params).to_hex())]),
        "RoundParams" => RoundParams::from_bytes(value)
            .map(|p| vec![text("params digest", params_digest(&p).to_hex())]),
        "Signed<RosterContent>" => Signed::<RosterContent>::from_bytes(value).map(|r| {
            vec![text(
                "roster digest",
                Digest::of(labels::ROSTER_DIGEST, &r.content.to_bytes()).to_hex(),
            )]
        }),
        _ => Ok(Vec::new()),
    }
    .unwrap_or_default()
}

/// A file that stands for itself: its digest was compared, nothing else.
fn document(name: &str, bytes: &[u8], all: bool) -> Result<Shown, CliError> {
    let of_file = |cause| InspectError::File {
        name: name.to_owned(),
        cause,
    };
    let document = Document::from_file(bytes).map_err(of_file)?;
    let content = document.to_bytes();
    let value = Walker::new(&content, all)
        .whole("Document")
        .map_err(|cause| of_file(cause.into()))?;
    let mut sections = vec![("fields".to_owned(), Section::Value(value))];
    if let Document::Accusation {
        params,
        evidence:
            Evidence::InvalidProof { header, body } | Evidence::ReceiptForInvalid { header, body, .. },
        ..
    } = &document
    {
        sections.extend(digests(&header.to_bytes(), "Header"));
        body_sections(params, Some(header), &body.0, &mut sections);
    }
    Ok(Shown::new(
        format!("file with {}", document.name()),
        sections,
    ))
}

/// What a server answers about an ended round.
fn answers(name: &str, bytes: &[u8]) -> Result<Shown, CliError> {
    let found = veilsum::answers_summary(bytes);
    let found = found.ok_or_else(|| InspectError::Unknown(name.to_owned()))?;
    let text = |name: &str, value: Json| (name.to_owned(), Section::Text(value));
    let sections = vec![
        text("void", json!(found.contributions.is_none())),
        text("contributions", json!(found.contributions)),
        text("bytes of an answer", json!(found.answer_bytes)),
    ];
    Ok(Shown::new("answers", sections))
}

fn binary(name: &str, bytes: &[u8], arguments: &InspectArguments) -> Result<Shown, CliError> {
    let forced = arguments.kind.as_deref();
    if forced.is_none() && veilsum::are_answers(bytes) {
        return answers(name, bytes);
    }
    if forced.is_none() && Document::is_file(bytes) {
        return document(name, bytes, arguments.all);
    }
    if forced == Some("body") {
        let path = arguments.params.as_deref();
        let params = params_of(path.ok_or_else(|| InspectError::Body(name.to_owned()))?)?;
        let mut sections = Vec::new();
        body_sections(&params, None, bytes, &mut sections);
        return Ok(Shown::new("body", sections));
    }
    // An upload and the evidence that it is invalid have the same bytes: the file's name tells, and the rest is said.
    let mut candidates: Vec<&Kind> = KINDS
        .iter()
        .filter(|(kind, _, _)| forced.is_none_or(|f| f == *kind))
        .collect();
    candidates.sort_by_key(|(kind, _, _)| !name.contains(kind));
    let mut refused = InspectError::Unknown(name.to_owned());
    let mut fitting = Vec::new();
    for (kind, walked, check) in candidates {
        match check(bytes).and_then(|()| Walker::new(bytes, arguments.all).whole(walked)) {
            Ok(value) => fitting.push((*kind, *walked, value)),
            Err(cause) if forced.is_some() => {
                refused = InspectError::Kind {
                    name: name.to_owned(),
                    kind,
                    cause,
                };
            }
            Err(_) => {}
        }
    }
    let also: Vec<&str> = fitting.iter().skip(1).map(|(kind, _, _)| *kind).collect();
    let Some((kind, walked, value)) = fitting.into_iter().next() else {
        return Err(refused.into());
    };
    let mut sections = digests(bytes, walked);
    if !also.is_empty() {
        sections.push((
            "could also be".to_owned(),
            Section::Text(json!(also.join(", "))),
        ));
    }
    sections.push(("fields".to_owned(), Section::Value(value)));
    if let Some((header, body)) = contribution(kind, bytes) {
        sections.extend(digests(&header.to_bytes(), "Header"));
        if let Some(params) = &arguments.params {
            body_sections(&params_of(params)?, Some(&header), &body.0, &mut sections);
        }
    }
    Ok(Shown::new(kind, sections))
}

/// Header and body of a contribution, wherever they stand together.
fn contribution(kind: &str, bytes: &[u8]) -> Option<(Header, Bytes)> {
    match kind {
        "message" => match Message::from_bytes(bytes).ok()? {
            Message::Contribution(Upload { header, body }) => Some((header, body)),
            _ => None,
        },
        "evidence" => match Evidence::from_bytes(bytes).ok()? {
            Evidence::InvalidProof { header, body } => Some((header, body)),
            _ => None,
        },
        "record" => match Record::from_bytes(bytes).ok()? {
            Record::ClientContribution { header, body, .. } => Some((header, body)),
            _ => None,
        },
        _ => None,
    }
}

/// Keys: the public part, and of a secret file no more than its kind.
fn key(name: &str, bytes: &[u8]) -> Result<Shown, CliError> {
    let text = bytes.get(KEY_MAGIC.len()..).unwrap_or_default();
    let end = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let kind = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
    let damaged = |kind| InspectError::Key {
        name: name.to_owned(),
        kind,
    };
    let mut sections = Vec::new();
    match kind.as_str() {
        "client-public" => {
            let entry = entry_from_text(bytes).map_err(|_| damaged("public key of a client"))?;
            let value = Walker::new(&entry.to_bytes(), true).whole("RosterEntry");
            let value = value.map_err(|_| damaged("public key of a client"))?;
            sections.push(("fields".to_owned(), Section::Value(value)));
        }
        "registrar-public" => {
            let key =
                registrar_from_text(bytes).map_err(|_| damaged("public key of a registrar"))?;
            sections.push((
                "identity key".to_owned(),
                Section::Text(json!(hex::encode(key.to_bytes()))),
            ));
        }
        "server-public" => {
            let key = veilsum::ServerPublic::from_text(bytes)
                .map_err(|_| damaged("public key of a server"))?;
            sections.push((
                "identity key".to_owned(),
                Section::Text(json!(hex::encode(key.signing.to_bytes()))),
            ));
        }
        "join-request" => {
            let request = request_from_text(bytes).map_err(|_| damaged("request to join"))?;
            let value = Walker::new(&request.to_bytes(), true).whole("Signed<JoinContent>");
            let value = value.map_err(|_| damaged("request to join"))?;
            sections.push(("fields".to_owned(), Section::Value(value)));
        }
        secret if secret.ends_with("-secret") => {
            sections.push((
                "fields".to_owned(),
                Section::Text(json!("not shown: this file is secret")),
            ));
        }
        _ => return Err(InspectError::Unknown(name.to_owned()).into()),
    }
    Ok(Shown::new(format!("key {kind}"), sections))
}

/// A body whose bytes are those that its name promises.
fn body_file(bodies: &Path, digest: &BodyDigest) -> Option<Vec<u8>> {
    let bytes = read_bounded(&RealDisk, &bodies.join(digest.to_string()), FILE_MAX).ok()?;
    (BodyDigest::of(&bytes) == *digest).then_some(bytes)
}

fn log(path: &Path, all: bool) -> Result<Shown, CliError> {
    let (about, records) = records(path)?;
    let bodies = path.parent().map(|dir| dir.join(BODIES_DIR));
    let params = records
        .iter()
        .find_map(|(_, record)| announced(record.as_ref()?));
    let mut sections = vec![("log".to_owned(), Section::Text(about))];
    let rows = records.iter().map(|(row, _)| row.clone()).collect();
    sections.push(("records".to_owned(), Section::Rows(rows)));
    if let (true, Some(params), Some(bodies)) = (all, params, bodies) {
        for (_, record) in &records {
            let (header, body) = match record {
                Some(Record::ServerContribution { header, body }) => {
                    (header, body_file(&bodies, &BodyDigest(body.0)))
                }
                Some(Record::ClientContribution { header, body, .. }) => {
                    (header, Some(body.0.clone()))
                }
                Some(Record::ClientLargeContribution { header, body, .. }) => {
                    (header, body_file(&bodies, &BodyDigest(body.0)))
                }
                Some(Record::ServerLargeResult { body, .. }) => {
                    let there = body_file(&bodies, &BodyDigest(body.0)).is_some();
                    let told = match there {
                        true => format!("in body {}", body.to_hex()),
                        false => "its body is missing or damaged".to_owned(),
                    };
                    sections.push((
                        "vector of the result".to_owned(),
                        Section::Text(json!(told)),
                    ));
                    continue;
                }
                _ => continue,
            };
            let client = format!("contribution of {}", header.content.client);
            match body {
                Some(body) => {
                    let digest = header.content.digest().to_hex();
                    sections.push((client, Section::Text(json!(digest))));
                    let mut own = Vec::new();
                    body_sections(&params, Some(header), &body, &mut own);
                    // One name for each section: they are keys in JSON.
                    let prefix = header.content.client;
                    let named = own
                        .into_iter()
                        .map(|(name, s)| (format!("{prefix} {name}"), s));
                    sections.extend(named);
                }
                None => sections.push((
                    client,
                    Section::Text(json!("its body is missing or damaged")),
                )),
            }
        }
    }
    let damaged = records.iter().any(|(row, _)| row.get("damage").is_some());
    Ok(Shown {
        damaged,
        ..Shown::new("log", sections)
    })
}

fn show(arguments: &InspectArguments) -> Result<(Shown, u64), CliError> {
    let path = &arguments.file;
    let name = named(path);
    if path.is_dir() {
        let inner = log_in(path)?;
        let size = std::fs::metadata(&inner).map_err(|error| CliError::file(&inner, &error))?;
        return Ok((log(&inner, arguments.all)?, size.len()));
    }
    let bytes = read(path)?;
    let size = bytes.len() as u64;
    let shown = if bytes.starts_with(LOG_MAGIC) {
        log(path, arguments.all)?
    } else if bytes.starts_with(KEY_MAGIC) && size <= KEY_FILE_MAX {
        key(&name, &bytes)?
    } else {
        binary(&name, &bytes, arguments)?
    };
    Ok((shown, size))
}

fn line(row: &Json) -> String {
    let plain = |v: &Json| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    match row {
        Json::Object(fields) => {
            // Names and numbers first, long values last.
            let mut values: Vec<String> = fields.values().map(plain).collect();
            values.sort_by_key(String::len);
            values.join("  ")
        }
        other => plain(other),
    }
}

pub(crate) fn inspect(arguments: &InspectArguments) -> Result<u8, CliError> {
    let (shown, size) = show(arguments)?;
    let mut out = String::new();
    if arguments.json {
        let mut object = Map::new();
        object.insert("kind".to_owned(), json!(shown.kind));
        object.insert("bytes".to_owned(), json!(size));
        for (name, section) in &shown.sections {
            let value = match section {
                Section::Value(value) => value.json(),
                Section::Rows(rows) => json!(rows),
                Section::Text(text) => text.clone(),
            };
            object.insert(name.replace(' ', "_"), value);
        }
        out.push_str(&Json::Object(object).to_string());
        out.push('\n');
    } else {
        out.push_str(&format!("{}, {size} bytes\n", shown.kind));
        for (name, section) in &shown.sections {
            match section {
                Section::Value(value) => {
                    let mut lines = Vec::new();
                    value.lines(name, 0, &mut lines);
                    out.push_str(&(lines.join("\n") + "\n"));
                }
                Section::Rows(rows) => {
                    out.push_str(&format!("{name}\n"));
                    rows.iter()
                        .for_each(|row| out.push_str(&format!("  {}\n", line(row))));
                }
                Section::Text(text) => out.push_str(&format!("{name:<20} {}\n", line(text))),
            }
        }
    }
    // A reader that goes away has seen what it wanted.
    let _ = io::stdout().lock().write_all(out.as_bytes());
    Ok(if shown.damaged { exit::VERIFICATION } else { 0 })
}
