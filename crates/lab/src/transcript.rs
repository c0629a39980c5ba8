//! A round as an auditor gets it: the server's log, bodies and roster, and the evidence that honest parties hold, as files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use veilsum_audit::{AuditError, Options, ROSTER_FILE, audit};
use veilsum_crypto::Digest;
use veilsum_protocol::{Document, Evidence, Message, Pins, Record};
use veilsum_sim::{Report, World};
use veilsum_store::{BODIES_DIR, BodyDigest, Log, LogIdentity, Role, SimDisk, StoreError};
use veilsum_wire::{LogHeadContent, Signed, Wire};

const DIR: &str = "round";

/// The bodies of everything that was uploaded, as they are stored.
pub(crate) fn bodies(report: &Report) -> BTreeMap<[u8; 32], Vec<u8>> {
    let uploads = report.sent.iter().filter_map(|(_, m)| match m {
        Message::Contribution(upload) => Some(&upload.body.0),
        _ => None,
    });
    uploads
        .map(|body| (BodyDigest::of(body).0, body.clone()))
        .collect()
}

/// The directory of a round: its log, closed and signed by the server, and everything beside it.
fn write(world: &World, report: &Report, evidence: &[&Evidence]) -> Result<SimDisk, StoreError> {
    let (disk, dir) = (SimDisk::new(), Path::new(DIR));
    disk.mount(dir);
    let identity = LogIdentity {
        role: Role::Server,
        context: world.digest().0,
    };
    let mut log = Log::create(Arc::new(disk.clone()), dir, identity)?;
    let bodies = bodies(report);
    for record in report.records() {
        log.append(u16::from(record.tag()), &record.to_bytes())?;
        if let Record::ServerContribution { body, .. } = &record
            && let Some(bytes) = bodies.get(&body.0)
        {
            let name = BodyDigest(body.0).to_string();
            disk.put(&dir.join(BODIES_DIR).join(name), bytes);
        }
    }
    log.sync()?;
    let head = log.head();
    let content = LogHeadContent {
        params_digest: world.digest(),
        records: head.records,
        head: Digest(head.value),
    };
    log.close(&Signed::sign(content, &world.server).to_bytes())?;
    let roster = Document::roster(&world.roster).to_file();
    disk.put(&dir.join(ROSTER_FILE), &roster);
    let params = world.context.params();
    let accusation = |e| Document::accusation(&world.roster, params, e).to_file();
    let files: BTreeSet<Vec<u8>> = evidence.iter().map(|e| accusation(e)).collect();
    for (number, file) in files.into_iter().enumerate() {
        let name = format!("evidence-{number:04}.veilsum");
        disk.put(&dir.join(name), &file);
    }
    Ok(disk)
}

/// What `veilsum audit` says of the round, under the keys of its registrar and its server, with evidence beside the log.
pub(crate) fn audited(
    world: &World,
    report: &Report,
    evidence: &[&Evidence],
) -> Result<veilsum_audit::Report, AuditError> {
    let disk = write(world, report, evidence)?;
    let options = Options {
        sum_only: false,
        pins: Pins {
            registrar: Some(world.registrar.verifying_key().to_bytes()),
            server: Some(world.server.verifying_key().to_bytes()),
        },
        seed: [3; 32],
        progress: &|_| {},
    };
    audit(Arc::new(disk), Path::new(DIR), &options)
}
