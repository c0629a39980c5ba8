//! Seed inputs of the fuzz targets, made from what the tests froze.

use crate::error::TaskError;
use crate::tree::Tree;
use std::path::{Path, PathBuf};
use veilsum_store::{Disk, Log, LogIdentity, Role, SimDisk};

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| {
        digits
            .chunks(2)
            .map(|p| p.iter().fold(0, |b, d| b << 4 | d))
            .collect()
    })
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), TaskError> {
    std::fs::create_dir_all(dir).map_err(TaskError::io(dir))?;
    let path = dir.join(name);
    std::fs::write(&path, bytes).map_err(TaskError::io(path))
}

/// Requests of the frame format: a head and a body, empty ones, and one whose declared body is not there.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind: u16, head: &[u8], body: &[u8], declared: u64| {
        let mut out = kind.to_le_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(head);
        out.extend_from_slice(&declared.to_le_bytes());
        out.extend_from_slice(body);
        out
    };
    vec![
        ("empty", frame(1, &[], &[], 0)),
        ("head", frame(1, b"head", &[], 0)),
        ("body", frame(2, b"head", b"body", 4)),
        ("short", frame(2, b"head", b"body", 5)),
        ("huge", frame(2, b"head", b"body", u64::MAX)),
        ("kind", frame(9, b"head", b"body", 4)),
    ]
}

/// A log with some records, open and closed.
fn logs() -> Vec<(&'static str, Vec<u8>)> {
    let mut out = Vec::new();
    for (name, close) in [("open", false), ("closed", true)] {
        let disk = std::sync::Arc::new(SimDisk::new());
        let (dir, shared) = (
            Path::new("/log"),
            std::sync::Arc::clone(&disk) as std::sync::Arc<dyn Disk>,
        );
        disk.mount(dir);
        let identity = LogIdentity {
            role: Role::Server,
            context: [7; 32],
        };
        let written = Log::create(shared, dir, identity).and_then(|mut log| {
            log.append(1, b"first")?;
            log.append_batch(&[(2, b"second"), (3, b"")])?;
            log.sync()?;
            if close {
                log.close(b"head")?;
            }
            Ok(())
        });
        if let (Ok(()), Some(bytes)) = (written, disk.contents(&dir.join(veilsum_store::LOG_FILE)))
        {
            out.push((name, bytes));
        }
    }
    out
}

/// Seeds of the targets that are fed choices instead of messages: bytes of every length that matters, from a counter.
fn choices() -> Vec<(&'static str, Vec<u8>)> {
    let counted = |len: usize, step: usize| -> Vec<u8> {
        (0..len)
            .map(|i| u8::try_from(i * step % 251).unwrap_or(0))
            .collect()
    };
    vec![
        ("empty", Vec::new()),
        ("zeros", vec![0; 64]),
        ("short", counted(7, 3)),
        ("even", counted(96, 2)),
        ("odd", counted(192, 7)),
        ("long", counted(700, 11)),
    ]
}

/// A whole round as the operations of the target `machines`: contributions, the deadline, then every message to everybody.
fn whole_round() -> Vec<u8> {
    let mut ops = Vec::new();
    (0..4).for_each(|at| ops.extend([0, at, 0, 0]));
    ops.extend([1, 0, 0, 0]);
    for message in 0..24 {
        for at in 0..4 {
            ops.extend([5, at, message, 0]);
        }
        ops.extend([4, 1, message, 0]);
    }
    ops
}

pub(crate) fn write(tree: &Tree, dir: Option<&str>) -> Result<(), TaskError> {
    let corpus = dir.map_or_else(|| tree.root.join("fuzz/corpus"), PathBuf::from);
    let golden = tree.read("crates/wire/tests/wire/golden-messages.txt")?;
    let mut count = 0;
    for line in golden.lines().filter(|l| !l.starts_with('#')) {
        let (Some((name, hex)), true) = (line.split_once(' '), line.is_ascii()) else {
            continue;
        };
        let Some(bytes) = unhex(hex) else { continue };
        put(&corpus.join("wire"), name, &bytes)?;
        if name == "HeaderContent" {
            put(&corpus.join("intake"), name, &bytes)?;
        }
        for (tag, _, content) in veilsum_protocol::Message::TAGS {
            if *content == name {
                let mut tagged = vec![*tag];
                tagged.extend_from_slice(&bytes);
                put(&corpus.join("message"), name, &tagged)?;
                count += 1;
            }
        }
        count += 1;
    }
    for (target, seeds) in [("frame", frames()), ("store", logs())] {
        for (name, bytes) in seeds {
            put(&corpus.join(target), name, &bytes)?;
            count += 1;
        }
    }
    for target in [
        "proof",
        "machines",
        "evidence",
        "complaints",
        "numbers",
        "oracles",
    ] {
        for (name, bytes) in choices() {
            put(&corpus.join(target), name, &bytes)?;
            count += 1;
        }
    }
    put(&corpus.join("machines"), "round", &whole_round())?;
    println!("{}: {} seeds", corpus.display(), count + 1);
    Ok(())
}
