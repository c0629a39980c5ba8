//! `demo`: progress, tables, JSON.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use veilsum::RoundEvent;
use veilsum::params::ClientId;
use veilsum::protocol::Check;
use veilsum_demo::learning::DemoConfig;
use veilsum_demo::{
    CheatingServer, DemoEvent, DemoReport, Misbehaviour, Noticed, Plan, RoundSummary,
};

use crate::args::{DemoArguments, DimModel};
use crate::error::{CliError, exit};

pub(crate) async fn demo(arguments: DemoArguments) -> Result<u8, CliError> {
    let config = match arguments.dim_model {
        DimModel::Small => DemoConfig::small(),
        DimModel::Large => DemoConfig::large(),
    };
    let mut plan = Plan::new(
        config,
        arguments.clients,
        arguments.malicious,
        arguments.dropouts,
        arguments.rounds,
        arguments.seed,
    )
    .map_err(veilsum_demo::DemoError::from)?;
    if let Some(kind) = arguments.cheating_server {
        plan = plan
            .with_cheating_server(kind)
            .map_err(veilsum_demo::DemoError::from)?;
    }
    if !arguments.json {
        println!(
            "{} clients train a model of {} parameters for {} over QUIC on loopback; {} attack, {} vanish.",
            plan.clients(),
            config.model.parameter_count(),
            match plan.rounds {
                1 => "1 round".to_owned(),
                rounds => format!("{rounds} rounds"),
            },
            arguments.malicious,
            arguments.dropouts
        );
        println!(
            "Everybody is on the committee: any {} of {} shares open the sum, which is over at least {} clients; \
             up to {} may be malicious.\n",
            plan.threshold(),
            plan.clients(),
            plan.n_min(),
            plan.malicious_max()
        );
        if let Some(kind) = plan.cheating_server {
            println!("The server cheats ({}): it {}.\n", kind.name(), kind.deed());
        }
    }
    let mut view = View::new(arguments.json);
    let report = veilsum_demo::run(&plan, arguments.out, |event| view.show(&event)).await?;
    view.finish();
    if arguments.json {
        println!("{}", to_json(&report));
    } else {
        conclude(&report);
    }
    Ok(if report.held() { 0 } else { exit::VERIFICATION })
}

/// Bars on a terminal (on standard error), lines otherwise, nothing with `--json`.
struct View {
    bar: ProgressBar,
    lines: bool,
}

impl View {
    fn new(json: bool) -> Self {
        let bar = if json || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let bar = ProgressBar::new(0);
            if let Ok(style) =
                ProgressStyle::with_template("{prefix:>9} [{bar:30}] {pos}/{len} {msg}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        };
        Self { bar, lines: !json }
    }

    fn show(&mut self, event: &DemoEvent) {
        match event {
            DemoEvent::Round { round, cohort } => {
                self.bar.set_length(u64::from(*cohort));
                self.bar.set_position(0);
                self.bar.set_prefix(format!("round {round}"));
                self.bar.set_message("training and proving");
            }
            DemoEvent::Server(RoundEvent::Received(_) | RoundEvent::Rejected(..)) => {
                self.bar.inc(1)
            }
            DemoEvent::Server(RoundEvent::Proposed(count)) => {
                self.bar
                    .set_message(format!("closing with {count} contributions"));
            }
            DemoEvent::Server(RoundEvent::Opened) => self.bar.set_message("certifying the sum"),
            DemoEvent::RoundEnded(summary) if self.lines => {
                let line = round_line(summary);
                self.bar.suspend(|| println!("{line}"));
            }
            DemoEvent::Enrolled { requests, version } if self.lines => {
                println!(
                    "The registrar admitted {requests} requests to join and signed roster version {version}.\n"
                );
            }
            DemoEvent::Comparing => self.bar.set_message("plain averaging, for comparison"),
            _ => {}
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn round_line(round: &RoundSummary) -> String {
    format!(
        "round {:>2}: sum of {:>2} contributions, {}; {} rejected, {} dropped; {} clients checked the result; accuracy {:.1} %",
        round.round,
        round.accepted,
        if round.sum_exact { "exact" } else { "WRONG" },
        round.rejected.len(),
        round.dropped.len(),
        round.light_checks,
        100.0 * round.accuracy
    )
}

fn conclude(report: &DemoReport) {
    let mut caught: BTreeMap<ClientId, BTreeMap<&'static str, (Check, u32)>> = BTreeMap::new();
    for (client, check) in report.rounds.iter().flat_map(|round| &round.rejected) {
        caught
            .entry(*client)
            .or_default()
            .entry(check.id())
            .or_insert((*check, 0))
            .1 += 1;
    }
    if caught.is_empty() {
        println!("\nNobody was caught cheating.");
    } else {
        println!("\n{:<12} {:>6}  {:<18} why", "caught", "rounds", "check");
        for (client, checks) in &caught {
            for (id, (check, rounds)) in checks {
                println!(
                    "{:<12} {rounds:>6}  {id:<18} {}",
                    client.to_string(),
                    plain_words(*check)
                );
            }
        }
    }
    conclude_server(report);
    println!(
        "\naccuracy on digits that nobody trained on, after {}:",
        match report.rounds.len() {
            1 => "1 round".to_owned(),
            rounds => format!("{rounds} rounds"),
        }
    );
    println!(
        "  Veilsum                               {:>5.1} %",
        100.0 * report.accuracy_veilsum
    );
    println!(
        "  plain averaging under the same attack {:>5.1} %",
        100.0 * report.accuracy_plain_fedavg_under_attack
    );
    println!(
        "\nThe transcripts are in {}: a closed, signed log for each round.",
        report.transcripts.display()
    );
}

/// Who refused the result, and what convicts whom.
fn conclude_server(report: &DemoReport) {
    let mut refused: BTreeMap<&'static str, (Check, Vec<String>)> = BTreeMap::new();
    for (client, check) in report.rounds.iter().flat_map(|round| &round.refused) {
        let (_, clients) = refused
            .entry(check.id())
            .or_insert_with(|| (*check, Vec::new()));
        clients.push(client.to_string());
    }
    for (id, (check, clients)) in &refused {
        println!(
            "\n{} got no result that they accept: {} ({id}).",
            clients.join(", "),
            check.info().reason
        );
    }
    for found in &report.server_misbehaviour {
        println!(
            "\n{} is convicted of {}: {} ({}).\n  noticed by {}\n  evidence   {}",
            found.culprit,
            found.kind,
            found.check.info().reason,
            found.check.id(),
            noticed_by(found).join(", "),
            found.evidence.display()
        );
    }
    match report.cheating_server {
        Some(_) if report.held() => {
            println!("\nNobody else is blamed, and nobody goes on with this server.");
        }
        Some(kind) => println!(
            "\nThe server was not convicted of {}, or somebody else was convicted of something.",
            kind.evidence()
        ),
        None => {}
    }
}

fn noticed_by(found: &Misbehaviour) -> Vec<String> {
    let mut noticed_by = found.noticed_by.clone();
    noticed_by.sort();
    noticed_by.iter().map(Noticed::to_string).collect()
}

fn plain_words(check: Check) -> String {
    match check.id() {
        "proof.norm-range" => "its update is longer than the norm bound allows".to_owned(),
        "share.value" => "it dealt a committee member a share that opens nothing".to_owned(),
        id if id.starts_with("proof.") => {
            "its proof does not hold for this client and these commitments".to_owned()
        }
        _ => check.info().reason.to_owned(),
    }
}

/// The object that scripts read: its keys are fixed.
fn to_json(report: &DemoReport) -> Value {
    let rounds: Vec<Value> = report
        .rounds
        .iter()
        .map(|round| {
            let rejected: Vec<Value> = round
                .rejected
                .iter()
                .map(
                    |(client, check)| json!({ "client": client.to_string(), "reason": check.id() }),
                )
                .collect();
            let dropped_clients: Vec<String> =
                round.dropped.iter().map(ClientId::to_string).collect();
            let refused: Vec<Value> = round
                .refused
                .iter()
                .map(
                    |(client, check)| json!({ "client": client.to_string(), "reason": check.id() }),
                )
                .collect();
            json!({
                "round": round.round,
                "accepted": round.accepted,
                "rejected": rejected,
                "dropped": round.dropped.len(),
                "dropped_clients": dropped_clients,
                "sum_exact": round.sum_exact,
                "light_checks": round.light_checks,
                "refused": refused,
                "accuracy": round.accuracy,
            })
        })
        .collect();
    let misbehaviour: Vec<Value> = report
        .server_misbehaviour
        .iter()
        .map(|found| {
            json!({
                "kind": found.kind.name(),
                "check": found.check.id(),
                "culprit": found.culprit.to_string(),
                "noticed_by": noticed_by(found),
                "evidence": found.evidence,
            })
        })
        .collect();
    json!({
        "rounds": rounds,
        "accuracy_plain_fedavg_under_attack": report.accuracy_plain_fedavg_under_attack,
        "accuracy_veilsum": report.accuracy_veilsum,
        "server_misbehaviour": misbehaviour,
        "cheating_server": report.cheating_server.map(CheatingServer::name),
        "transcripts": report.transcripts,
    })
}
