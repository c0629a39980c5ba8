//! The bytes of version 1. A difference here is a breaking change of the protocol: raise the version, do not edit the file.
//! `UPDATE_GOLDEN=1` writes the file anew, for a new version or a new message.

use crate::sample::{Sample, Source};
use crate::table::all;
use std::fmt::Write as _;
use veilsum_crypto::labels::{self, COHORT_XOF, COMMITTEE_XOF, PROPOSAL_TREE};
use veilsum_crypto::sampling::sample;
use veilsum_crypto::{Digest, Family, Xof, blinding_base, merkle};
use veilsum_params::{ClientId, RoundParams};
use veilsum_wire::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        write!(out, "{b:02x}").unwrap();
        out
    })
}

const HEAD: &str =
    "# Frozen values of protocol version 1. Made by UPDATE_GOLDEN=1; see golden.rs.\n";

fn messages() -> String {
    let mut out = String::from(HEAD);
    // A signed message is its content and 64 bytes more.
    for message in all().iter().filter(|m| m.fields.is_some()) {
        writeln!(out, "{} {}", message.name, hex(&message.golden().bytes)).unwrap();
    }
    out
}

fn constants() -> String {
    let mut out = String::from(HEAD);
    let mut line = |name: &str, value: &str| writeln!(out, "{name} {value}").unwrap();
    for (name, label) in labels::ALL {
        line(&format!("label {name}"), label.as_str());
        line(
            &format!("digest {name}"),
            &Digest::of(*label, b"abc").to_hex(),
        );
    }
    for family in [
        Family::Column,
        Family::Row,
        Family::Key,
        Family::Mask,
        Family::MaskBlinding,
    ] {
        for index in [0, 1, 4095] {
            let point = family.generator(index).point.compress();
            line(
                &format!("generator {family:?} {index}"),
                &hex(point.as_bytes()),
            );
        }
    }
    line("generator Bt", &hex(blinding_base().compress().as_bytes()));
    for (seed, index) in [([0; 32], 0), ([7; 32], 1 << 40)] {
        let mut stream = [0; 80];
        Xof::new(labels::PROJECTION_XOF, &seed, index).fill(&mut stream);
        line(&format!("xof {} {index}", seed[0]), &hex(&stream));
    }
    for count in 0..10u64 {
        let leaves: Vec<_> = (0..count)
            .map(|i| merkle::leaf(PROPOSAL_TREE, i, &i.to_le_bytes()))
            .collect();
        line(
            &format!("merkle root {count}"),
            &merkle::root(PROPOSAL_TREE, &leaves).to_hex(),
        );
        if let Some(last) = leaves.len().checked_sub(1) {
            let path: Vec<_> = merkle::path(PROPOSAL_TREE, &leaves, last)
                .iter()
                .map(Digest::to_hex)
                .collect();
            line(
                &format!("merkle path {count}"),
                &format!("[{}]", path.join(",")),
            );
        }
    }
    for (label, available, wanted) in [
        (COHORT_XOF, 100, 10),
        (COHORT_XOF, 10, 10),
        (COMMITTEE_XOF, 1 << 20, 5),
    ] {
        let drawn = sample(label, &[3; 32], 9, available, wanted).unwrap();
        line(
            &format!("sample {} {available} {wanted}", label.as_str()),
            &format!("{drawn:?}"),
        );
    }
    let source = &mut Source::Counter(100);
    line(
        "of params",
        &params_digest(&RoundParams::sample(source)).to_hex(),
    );
    let header = HeaderContent::sample(source);
    line("of header", &header.digest().to_hex());
    line("of matrix", &header.matrix_digest().to_hex());
    let entries: Vec<(ClientId, Digest)> = Vec::sample(source);
    line("of proposal", &proposal_root(&entries).to_hex());
    let complaints: Vec<Signed<ComplaintContent>> = Vec::sample(source);
    line("of complaints", &complaints_digest(&complaints).to_hex());
    line(
        "of complaint binding",
        &complaint_binding(&complaints[0].content).to_hex(),
    );
    line(
        "of convicted",
        &convicted_digest(&Vec::sample(source)).to_hex(),
    );
    line(
        "of row values",
        &row_values_digest(&Vec::sample(source)).to_hex(),
    );
    line(
        "of result vector",
        &result_vector_digest(&[0, -1, i64::MAX]).to_hex(),
    );
    out
}

fn compare(current: &str, name: &str) {
    let path = format!("{}/tests/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, current).unwrap();
        return;
    }
    let frozen = std::fs::read_to_string(path).unwrap();
    for (now, then) in current.lines().zip(frozen.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(current.lines().count(), frozen.lines().count());
}

#[test]
fn the_bytes_of_every_message_are_frozen() {
    compare(&messages(), "golden-messages.txt");
}

#[test]
fn labels_generators_hashes_trees_and_sampling_are_frozen() {
    compare(&constants(), "golden-constants.txt");
}
