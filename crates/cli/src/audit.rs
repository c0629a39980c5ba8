//! `audit`: a transcript, or one evidence file.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};
use veilsum::protocol::{Document, Pins, judge_file};
use veilsum::store::{Disk, LOG_FILE, RealDisk, Role, check_state, read_bounded, replace_public};
use veilsum::{ServerPublic, registrar_from_text};
use veilsum_audit::{
    Convicted, Options, Outcome, Progress, Report, Verdict, audit as replay, html,
};

use crate::args::{AuditArguments, PinArguments};
use crate::error::{CliError, exit};
use crate::keys::read_key;
use crate::kinds::{Holds, is_clients, role_of};
use crate::places;
use crate::rounds::TASKS_DIR;

/// The largest evidence holds a body, or the X-rows of a round.
const EVIDENCE_MAX: u64 = 1 << 30;

impl PinArguments {
    pub(crate) fn read(&self) -> Result<Pins, CliError> {
        let registrar = match &self.registrar {
            Some(path) => Some(read_key(path, registrar_from_text)?.to_bytes()),
            None => None,
        };
        let server = match &self.server_key {
            Some(path) => Some(read_key(path, ServerPublic::from_text)?.signing.to_bytes()),
            None => None,
        };
        Ok(Pins { registrar, server })
    }
}

/// What came out of one path: the object of `--json` for it alone.
type Judged = Value;

pub(crate) fn audit(arguments: &AuditArguments) -> Result<u8, CliError> {
    let pins = arguments.pins.read()?;
    // Told before an hour of work, not after it.
    if let Some(path) = &arguments.html {
        places::file(path)?;
    }
    let (mut judged, mut reports, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for path in &arguments.paths {
        let found = if path.is_dir() {
            transcripts(arguments, path, pins, &mut reports)
        } else {
            evidence(path, arguments.json, &pins)
        };
        match found {
            Ok(found) => judged.push((path, found)),
            Err(error) if arguments.paths.len() == 1 => return Err(error),
            Err(error) => {
                eprintln!("veilsum: {error}");
                failed.push((path, error));
            }
        }
    }
    if !reports.is_empty() {
        if !arguments.json {
            remarks(&reports, &pins);
        }
        if let Some(path) = &arguments.html {
            replace_public(&RealDisk, path, html(&reports).as_bytes())?;
        }
    }
    let verdict = gravest(judged.iter().map(|(_, found)| found));
    if arguments.json {
        match &judged[..] {
            [(_, only)] if arguments.paths.len() == 1 => println!("{only}"),
            _ => println!(
                "{}",
                together(&judged, &failed, verdict, arguments.sum_only)
            ),
        }
    }
    let unread = failed.first().map(|(_, error)| error.exit_code());
    Ok(match (verdict, unread) {
        ("convicts" | "invalid", _) => exit::VERIFICATION,
        (_, Some(code)) => code,
        ("proves-nothing", None) => exit::PROVES_NOTHING,
        _ => 0,
    })
}

/// Verdicts, the gravest first.
const VERDICTS: [&str; 4] = ["convicts", "invalid", "proves-nothing", "valid"];

fn gravest<'a>(judged: impl Iterator<Item = &'a Judged>) -> &'static str {
    let found: BTreeSet<&str> = judged
        .filter_map(|found| found["verdict"].as_str())
        .collect();
    let first = VERDICTS.into_iter().find(|verdict| found.contains(verdict));
    // Where no path could be judged at all, nothing is valid.
    first.unwrap_or("proves-nothing")
}

/// One object about several paths.
fn together(
    judged: &[(&PathBuf, Judged)],
    failed: &[(&PathBuf, CliError)],
    verdict: &str,
    sum_only: bool,
) -> Value {
    let number = |key: &str| -> u64 {
        judged
            .iter()
            .filter_map(|(_, found)| found[key].as_u64())
            .sum()
    };
    let list = |key: &str| -> Vec<&Value> {
        let lists = judged.iter().filter_map(|(_, found)| found[key].as_array());
        lists.flatten().collect()
    };
    let seconds: f64 = judged
        .iter()
        .filter_map(|(_, found)| found["seconds"].as_f64())
        .sum();
    let files: Vec<Value> = judged
        .iter()
        .filter(|(_, found)| found["transcripts"].is_null())
        .map(|(path, found)| {
            json!({ "file": path, "verdict": found["verdict"], "keys": found["keys"], "error": found["error"] })
        })
        .collect();
    let unread: Vec<Value> = failed
        .iter()
        .map(|(path, error)| json!({ "file": path, "error": error.to_string() }))
        .collect();
    json!({
        "verdict": verdict, "rounds": number("rounds"), "contributions": number("contributions"),
        "evidence": list("evidence"), "transcripts": list("transcripts"), "files": files, "unread": unread,
        "sum_only": sum_only, "seconds": seconds,
    })
}

fn evidence(path: &Path, as_json: bool, pins: &Pins) -> Result<Judged, CliError> {
    let bytes = read_bounded(&RealDisk, path, EVIDENCE_MAX)?;
    let document = Document::from_file(&bytes);
    let holds = match &document {
        Ok(document) => Some(Holds::of_document(document)),
        Err(_) => Holds::of(&bytes),
    };
    if let Some(holds) = holds.filter(|holds| *holds != Holds::Evidence) {
        return Err(CliError::OtherKind {
            path: path.to_owned(),
            wanted: "evidence",
            holds,
        });
    }
    if let Ok(document @ Document::TwoRosters { .. }) = &document {
        return Ok(against_registrar(path, as_json, document, pins));
    }
    let judged = judge_file(&bytes, pins);
    let (verdict, found) = match &judged {
        Ok((_, found)) => (
            "convicts",
            vec![json!({
                "kind": found.kind.name(), "culprit": found.culprit.to_string(), "check": found.check.id(), "file": path,
            })],
        ),
        Err(_) => ("proves-nothing", Vec::new()),
    };
    let keys = judged.as_ref().ok().map(|(ctx, _)| {
        json!({
            "server": hex::encode(ctx.params().server_key), "registrar": hex::encode(ctx.roster().registrar().to_bytes()),
        })
    });
    let error = judged.as_ref().err().map(ToString::to_string);
    let object = json!({
        "verdict": verdict, "rounds": 0, "contributions": 0, "evidence": found, "keys": keys, "error": error,
    });
    if as_json {
        return Ok(object);
    }
    match judged {
        Ok((ctx, found)) => {
            println!(
                "{} is convicted of {}: {} ({})",
                found.culprit,
                found.kind,
                found.check.info().reason,
                found.check.id()
            );
            let params = ctx.params();
            println!(
                "in round {} of the server {}, by the roster of registrar {}",
                params.round_id,
                hex::encode(params.server_key),
                hex::encode(ctx.roster().registrar().to_bytes())
            );
            match (pins.server, pins.registrar) {
                (Some(_), Some(_)) => {}
                (Some(_), None) => println!(
                    "Compare the registrar's key with the one that you know, or give it with --registrar."
                ),
                (None, Some(_)) => println!(
                    "Compare the server's key with the one that you know, or give it with --server-key."
                ),
                (None, None) => println!(
                    "Compare both keys with the ones that you know, or give them with --server-key and --registrar."
                ),
            }
        }
        Err(error) => println!("{}: proves nothing: {error}", path.display()),
    }
    Ok(object)
}

/// Evidence that is about no round: two rosters of one version.
fn against_registrar(path: &Path, as_json: bool, document: &Document, pins: &Pins) -> Judged {
    let judged = document.judge_registrar(pins);
    let keys = judged.as_ref().ok().map(
        |found| json!({ "server": null, "registrar": hex::encode(found.registrar.to_bytes()) }),
    );
    let evidence = judged.as_ref().map(|found| {
        json!({
            "kind": "two-rosters", "culprit": "registrar", "check": null, "file": path, "version": found.version,
            "digests": found.digests.map(|digest| digest.to_hex()),
        })
    });
    let verdict = match &judged {
        Ok(_) => "convicts",
        Err(_) => "proves-nothing",
    };
    if !as_json {
        match &judged {
            Ok(found) => {
                println!(
                    "the registrar {} signed two different rosters of version {}: {} and {}",
                    hex::encode(found.registrar.to_bytes()),
                    found.version,
                    found.digests[0],
                    found.digests[1]
                );
                if pins.registrar.is_none() {
                    println!(
                        "Compare the key with the one that you know, or give it with --registrar."
                    );
                }
            }
            Err(error) => println!("{}: proves nothing: {error}", path.display()),
        }
    }
    json!({
        "verdict": verdict, "rounds": 0, "contributions": 0, "evidence": evidence.into_iter().collect::<Vec<_>>(),
        "keys": keys, "error": judged.as_ref().err().map(ToString::to_string),
    })
}

/// The transcripts in a directory: itself, or those of a server's state, or of a demo.
fn find(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let path = dir.to_owned();
    let found = transcripts_in(dir);
    // One that cannot be read at all is told of by who replays it.
    match role_of(dir) {
        Some(role) if role != Role::Server => Err(CliError::NotServers { path, role }),
        _ if !found.is_empty() => Ok(found),
        _ if is_clients(dir) => Err(CliError::ClientsState { path }),
        _ => Err(CliError::NoTranscript { path }),
    }
}

/// As [`find`]; nothing where there is none.
pub(crate) fn transcripts_in(dir: &Path) -> Vec<PathBuf> {
    if is_transcript(dir) {
        return vec![dir.to_owned()];
    }
    for parent in [
        dir.to_owned(),
        dir.join("rounds"),
        dir.join("server").join("rounds"),
    ] {
        let found = transcripts_beside(&parent);
        if !found.is_empty() {
            return found;
        }
    }
    // A server with tasks that have names. No deeper than this: in a stranger's directory links may lead anywhere.
    let tasks = std::fs::read_dir(dir.join(TASKS_DIR));
    let mut tasks: Vec<PathBuf> = tasks
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    tasks.sort();
    let rounds = tasks
        .iter()
        .map(|task| transcripts_beside(&task.join("rounds")));
    rounds.flatten().collect()
}

fn is_transcript(dir: &Path) -> bool {
    dir.join(LOG_FILE).exists() && role_of(dir).is_none_or(|role| role == Role::Server)
}

/// The transcripts among what a directory holds, by their numbers.
fn transcripts_beside(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent);
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_transcript(path))
        .collect();
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.parse::<u64>().ok()
    };
    found.sort_by_key(|path| (number(path), path.clone()));
    found
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is the edge: it tells how long a check took"
)]
fn transcripts(
    arguments: &AuditArguments,
    path: &Path,
    pins: Pins,
    all: &mut Vec<Report>,
) -> Result<Judged, CliError> {
    // What is found is written beside the transcript, and where that is only this version's directories say.
    check_state(&RealDisk, path)?;
    let mut reports = Vec::new();
    let mut evidence = Vec::new();
    let begin = Instant::now();
    for dir in find(path)? {
        let bar = bar(arguments.json, &dir);
        let mut seed = [0; 32];
        OsRng.fill_bytes(&mut seed);
        let options = Options {
            sum_only: arguments.sum_only,
            pins,
            seed,
            progress: &|Progress { done, total }| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            },
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let report = replay(disk, &dir, &options);
        bar.finish_and_clear();
        let report = report?;
        for found in &report.convicted {
            let file = file_of(&dir, &report, found, &arguments.evidence)?;
            evidence.push(json!({
                "kind": found.kind.name(), "culprit": found.culprit.to_string(), "check": found.check.id(), "file": file,
            }));
            if !arguments.json {
                println!(
                    "{}: {} is convicted of {} ({}): {}",
                    dir.display(),
                    found.culprit,
                    found.kind,
                    found.check.id(),
                    file.display()
                );
            }
        }
        if !arguments.json {
            tell(&report);
            if report.outcome == Outcome::Unfinished {
                println!(
                    "  The round is not over, by this log: if its server still runs it, audit it again when it has ended."
                );
            }
        }
        reports.push(report);
    }
    let valid = reports.iter().all(|r| r.verdict() == Verdict::Valid);
    let details: Vec<Value> = reports.iter().map(Report::json).collect();
    let object = json!({
        "verdict": if valid { "valid" } else { "invalid" },
        "rounds": reports.len(),
        "contributions": reports.iter().map(|r| r.contributions).sum::<usize>(),
        "evidence": evidence,
        "sum_only": arguments.sum_only,
        "seconds": begin.elapsed().as_secs_f64(),
        "transcripts": details,
    });
    all.extend(reports);
    Ok(object)
}

fn bar(json: bool, dir: &Path) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} contributions, {eta} left")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(dir.display().to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The file of a conviction: the one beside the log, or one that is written now.
fn file_of(
    dir: &Path,
    report: &Report,
    found: &Convicted,
    out: &Path,
) -> Result<PathBuf, CliError> {
    if let Some(file) = &found.file {
        return Ok(dir.join(file));
    }
    let roster = read_bounded(
        &RealDisk,
        &dir.join(veilsum_audit::ROSTER_FILE),
        EVIDENCE_MAX,
    )?;
    let (Ok(Document::RosterOf { registrar, roster }), Some(params)) =
        (Document::from_file(&roster), &report.params)
    else {
        return Ok(dir.join(LOG_FILE));
    };
    let bytes = Document::Accusation {
        registrar,
        roster,
        params: params.clone(),
        evidence: found.evidence.clone(),
    }
    .to_file();
    std::fs::create_dir_all(out).map_err(|error| CliError::Directory {
        path: out.to_owned(),
        kind: error.kind(),
    })?;
    let who = found.culprit.to_string().replace([' ', '(', ')'], "-");
    let name = format!("round-{}-{}-{who}.veilsum", params.round_id, found.kind);
    let path = out.join(name);
    replace_public(&RealDisk, &path, &bytes)?;
    Ok(path)
}

fn tell(report: &Report) {
    let round = report
        .params
        .as_ref()
        .map_or("unknown".to_owned(), |p| p.round_id.to_string());
    println!(
        "round {round}: {}, {}{}{}; {} contributions, {} bytes of log, {} bytes of bodies",
        report.verdict(),
        match report.verdict() {
            Verdict::Valid => "",
            Verdict::Invalid => "by its log ",
        },
        report.outcome,
        if report.sum_only {
            " (sum only: norms were not verified)"
        } else {
            ""
        },
        report.contributions,
        report.sizes.log,
        report.sizes.bodies
    );
    // One damaged record makes many others wrong in the same way.
    for faults in report.faults.chunk_by(|a, b| a.kind == b.kind) {
        match faults {
            [first, .., last] if first.record.is_some() => println!(
                "  fault: {first} ({} more until record {})",
                faults.len() - 1,
                last.record.unwrap_or_default()
            ),
            _ => faults.iter().for_each(|fault| println!("  fault: {fault}")),
        }
    }
    if report.faults.len() > 1 {
        println!("  what follows the first fault may follow from it");
    }
}

/// What is said of all transcripts together.
fn remarks(reports: &[Report], pins: &Pins) {
    let others: BTreeSet<&str> = reports
        .iter()
        .flat_map(|report| report.others.iter().map(String::as_str))
        .collect();
    if !others.is_empty() {
        let others: Vec<&str> = others.into_iter().collect();
        println!(
            "not part of a transcript, not looked at: {}",
            others.join(", ")
        );
    }
    let server = |report: &Report| Some(hex::encode(report.params.as_ref()?.server_key));
    let registrar = |report: &Report| Some(hex::encode(report.registrar.as_ref()?));
    if pins.server.is_none() {
        unpinned(reports, "server", "--server-key", server);
    }
    if pins.registrar.is_none() {
        unpinned(reports, "registrar", "--registrar", registrar);
    }
}

/// Which key of a party the verdict holds under, where none was given.
fn unpinned(reports: &[Report], who: &str, option: &str, key: impl Fn(&Report) -> Option<String>) {
    let keys: BTreeSet<String> = reports.iter().filter_map(key).collect();
    for key in keys {
        println!(
            "The {who}'s key was taken from the transcript: {key}. Compare it with the one that you know, or give this with \
             {option}."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_looked_for_where_a_server_keeps_them_and_no_deeper() {
        let dir = tempfile::tempdir().unwrap();
        let make = |round: &str| {
            let round = dir.path().join(round);
            std::fs::create_dir_all(&round).unwrap();
            std::fs::write(round.join(LOG_FILE), b"").unwrap();
            round
        };
        // What a link from the rounds of a task to the directory above them would lead to, again and again.
        make("tasks/b/rounds/tasks/b/rounds/1");
        make("tasks/b/rounds/server/rounds/1");
        assert_eq!(transcripts_in(dir.path()), Vec::<PathBuf>::new());
        let rounds = ["tasks/a/rounds/2", "tasks/a/rounds/10", "tasks/b/rounds/1"].map(make);
        assert_eq!(transcripts_in(dir.path()), rounds);
    }
}
