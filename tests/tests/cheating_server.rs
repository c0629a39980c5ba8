//! A server that cheats is convicted by the evidence that its deed leaves, and nobody else is.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use veilsum::params::ClientId;
use veilsum::protocol::{Check, Conviction, Culprit, EvidenceKind, Pins, RoundContext, judge_file};
use veilsum::{ServerPublic, registrar_from_text};
use veilsum_e2e::{json, run, run_ok};

const CLIENTS: u32 = 8;

struct Caught {
    report: Value,
    /// What an audit of the server's own transcript says.
    audit: Value,
    convictions: Vec<Conviction>,
    context: RoundContext,
}

impl Caught {
    fn round(&self) -> &Value {
        &self.report["rounds"][0]
    }

    /// Clients that were given a reason to refuse the result, which is the same for all of them.
    fn refused(&self, reason: &str) -> usize {
        let refused = self.round()["refused"].as_array().unwrap();
        assert!(
            refused.iter().all(|entry| entry["reason"] == reason),
            "{refused:?}"
        );
        refused.len()
    }

    /// The transcript alone tells this fault and convicts of all this.
    fn transcript_tells(&self, fault: &str, kinds: &[&str]) {
        assert_eq!(self.audit["verdict"], "invalid");
        let faults = self.audit["transcripts"][0]["faults"].as_array().unwrap();
        let told = |f: &Value| f.as_str().unwrap().contains(fault);
        assert!(faults.iter().any(told), "{faults:?}");
        let evidence = self.audit["evidence"].as_array().unwrap();
        let mut found: Vec<&str> = evidence
            .iter()
            .map(|e| e["kind"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, kinds, "{evidence:?}");
    }

    fn noticed_by(&self) -> Vec<&str> {
        let by = self.report["server_misbehaviour"][0]["noticed_by"].as_array();
        by.unwrap().iter().map(|b| b.as_str().unwrap()).collect()
    }

    fn convicts(&self, expected: &[(EvidenceKind, Culprit, Check)]) {
        let found: Vec<_> = self
            .convictions
            .iter()
            .map(|c| (c.kind, c.culprit, c.check))
            .collect();
        assert_eq!(found, expected);
    }
}

/// Runs a demo with a server that cheats like this, and judges what it left.
fn demo(kind: &str) -> Caught {
    let out = tempfile::tempdir().unwrap();
    let clients = CLIENTS.to_string();
    let directory = out.path().to_str().unwrap();
    let arguments = [
        "demo",
        "--json",
        "--cheating-server",
        kind,
        "--out",
        directory,
    ];
    let arguments = arguments.into_iter().chain(["--malicious", "0"]);
    let report = json(&run_ok(arguments.chain([
        "--dropouts",
        "0",
        "--clients",
        &clients,
    ])));
    assert_eq!(report["rounds"].as_array().unwrap().len(), 1);
    assert_eq!(report["rounds"][0]["rejected"], Value::Array(Vec::new()));
    let registrar = out.path().join("registrar.pub");
    let server = out.path().join("server.pub");
    let pins = Pins {
        registrar: Some(
            registrar_from_text(&fs::read(&registrar).unwrap())
                .unwrap()
                .to_bytes(),
        ),
        server: Some(
            ServerPublic::from_text(&fs::read(&server).unwrap())
                .unwrap()
                .signing
                .to_bytes(),
        ),
    };
    let found = report["server_misbehaviour"].as_array().unwrap();
    let mut judged = found.iter().map(|found| {
        let path = found["evidence"].as_str().unwrap();
        let mut bytes = fs::read(path).unwrap();
        let (context, conviction) = judge_file(&bytes, &pins).unwrap();
        assert_eq!(found["kind"], conviction.kind.name());
        assert_eq!(found["culprit"], conviction.culprit.to_string());
        let audited = run([
            Path::new("audit"),
            Path::new(path),
            Path::new("--json"),
            Path::new("--server-key"),
            &server,
            Path::new("--registrar"),
            &registrar,
        ]);
        assert_eq!(audited.status.code(), Some(3));
        let said = json(&String::from_utf8(audited.stdout).unwrap());
        assert_eq!(said["verdict"], "convicts");
        assert_eq!(said["evidence"][0]["kind"], found["kind"]);
        assert_eq!(said["evidence"][0]["culprit"], found["culprit"]);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let false_file = out.path().join("false.veilsum");
        fs::write(&false_file, bytes).unwrap();
        let audited = run([Path::new("audit"), &false_file, Path::new("--json")]);
        assert_eq!(audited.status.code(), Some(5));
        let said = json(&String::from_utf8(audited.stdout).unwrap());
        assert_eq!(said["verdict"], "proves-nothing");
        (context, conviction)
    });
    let (context, first) = judged.next().unwrap();
    let audited = run([
        Path::new("audit"),
        out.path(),
        Path::new("--json"),
        Path::new("--evidence"),
        &out.path().join("audited"),
        Path::new("--server-key"),
        &server,
        Path::new("--registrar"),
        &registrar,
    ]);
    assert_eq!(audited.status.code(), Some(3));
    let audit = json(&String::from_utf8(audited.stdout).unwrap());
    let mut convictions = vec![first];
    convictions.extend(judged.map(|(_, conviction)| conviction));
    Caught {
        convictions,
        audit,
        context,
        report,
    }
}

#[test]
fn a_wrong_sum() {
    let caught = demo("wrong-sum");
    caught.convicts(&[(EvidenceKind::WrongResult, Culprit::Server, Check::LightSum)]);
    // Each of them alone knows that the sum is wrong; to prove it to others takes rows that no member has all of.
    assert_eq!(caught.refused("light.sum"), 8);
    assert_eq!(caught.round()["sum_exact"], false);
    assert_eq!(caught.noticed_by(), ["clients that compared notes"]);
    caught.transcript_tells("is not the sum", &["wrong-result"]);
}

#[test]
fn a_contribution_with_a_receipt_is_left_out() {
    let caught = demo("drops-receipted");
    let kind = EvidenceKind::ReceiptWithoutInclusion;
    caught.convicts(&[(kind, Culprit::Server, Check::ReceiptInclusion)]);
    assert_eq!(caught.refused("light.entry"), 1);
    assert_eq!(caught.round()["accepted"], 7);
    assert_eq!(caught.round()["light_checks"], 7);
    assert_eq!(caught.noticed_by(), ["client-1"]);
    caught.transcript_tells("receipt.content", &["receipt-without-inclusion"]);
}

#[test]
fn two_proposals() {
    let caught = demo("two-proposals");
    caught.convicts(&[
        (
            EvidenceKind::ServerEquivocation,
            Culprit::Server,
            Check::ProposalEquivocation,
        ),
        // Whoever is missing in one of them has a receipt.
        (
            EvidenceKind::ReceiptWithoutInclusion,
            Culprit::Server,
            Check::ReceiptInclusion,
        ),
    ]);
    assert_eq!(caught.refused("proposal.equivocation"), 1);
    assert_eq!(caught.round()["light_checks"], 7);
    assert_eq!(caught.noticed_by(), ["client-1"]);
    caught.transcript_tells("a proposal stands here again", &["server-equivocation"]);
}

#[test]
fn two_results() {
    let caught = demo("two-results");
    caught.convicts(&[(
        EvidenceKind::ServerEquivocation,
        Culprit::Server,
        Check::ResultEquivocation,
    )]);
    assert_eq!(caught.refused("light.sum"), 1);
    assert_eq!(caught.round()["light_checks"], 7);
    assert_eq!(caught.noticed_by(), ["clients that compared notes"]);
    caught.transcript_tells("the result stands here again", &["server-equivocation"]);
}

#[test]
fn an_update_over_the_norm_bound_is_summed() {
    let caught = demo("accepts-invalid");
    let check = veilsum::check_by_id("proof.norm-range").unwrap();
    caught.convicts(&[(EvidenceKind::ReceiptForInvalid, Culprit::Server, check)]);
    // The sum is that of the contributions, and no light client sees another client's proof.
    assert_eq!(caught.refused(""), 0);
    assert_eq!(caught.round()["sum_exact"], true);
    assert_eq!(caught.round()["light_checks"], 7);
    assert_eq!(caught.noticed_by(), ["an auditor of the transcript"]);
    let kinds = ["invalid-proof", "receipt-for-invalid"];
    caught.transcript_tells("proof.norm-range", &kinds);
}

#[test]
fn a_member_signs_a_wrong_row_sum() {
    let caught = demo("wrong-row-sum");
    let accomplice = ClientId(CLIENTS);
    let member = Culprit::Member {
        index: caught.context.params().member_index(accomplice).unwrap(),
        client: accomplice,
    };
    caught.convicts(&[
        (EvidenceKind::WrongRowSum, member, Check::RowsValue),
        (EvidenceKind::WrongResult, Culprit::Server, Check::LightSum),
    ]);
    assert_eq!(caught.refused("rows.signature"), 8);
    assert!(!caught.noticed_by().is_empty());
    assert!(
        caught
            .noticed_by()
            .iter()
            .all(|by| by.starts_with("client-"))
    );
    assert!(!caught.noticed_by().contains(&"client-8"));
    caught.transcript_tells("is wrong", &["wrong-result", "wrong-row-sum"]);
}

#[test]
fn a_server_that_cheats_in_an_unknown_way_is_refused() {
    let output = run(["demo", "--cheating-server", "wrong"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("wrong-row-sum"));
}

/// A client that drops out is known to the honest server behind the cheating one, whose round begins later than what clients are
/// told: else the demo would wait for it until the deadline, ten minutes later.
#[test]
fn who_drops_out_under_a_server_that_accepts_an_invalid_contribution_is_not_waited_for() {
    let out = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a limit that only ends a hang")]
    let begun = Instant::now();
    let report = json(&run_ok([
        "demo",
        "--json",
        "--cheating-server",
        "accepts-invalid",
        "--out",
        out.path().to_str().unwrap(),
        "--clients",
        "8",
        "--malicious",
        "0",
        "--dropouts",
        "1",
    ]));
    assert!(begun.elapsed() < Duration::from_secs(480));
    assert_eq!(
        report["server_misbehaviour"][0]["kind"],
        "receipt-for-invalid"
    );
}
