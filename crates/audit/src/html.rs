//! A report as one page that needs nothing else: no script, no font, no address of anything outside.

use crate::Fault;
use crate::report::{Convicted, MemberPart, Outcome, Part, Report, Step, Verdict, plural};
use std::fmt::Write;
use veilsum_params::{ClientId, RoundParams};

/// So many steps of one kind in a row are shown one by one; of more, the first and how many follow.
const RUN_MAX: usize = 6;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d8dee6;--back:#f6f8fa;--card:#fff;--good:#18794e;--goodback:#e3f5ea;
--bad:#b3261e;--badback:#fdeceb;--warn:#8a5a00;--warnback:#fff4dc;--accent:#2f5fb3}
@media (prefers-color-scheme:dark){:root{--ink:#e4e9f0;--soft:#9aa7b7;--line:#303a47;--back:#12161c;--card:#1a2029;--good:#6fd6a0;
--goodback:#12321f;--bad:#ff9d95;--badback:#3a1614;--warn:#f0c060;--warnback:#38290b;--accent:#8fb4ff}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:26px 0 8px}
p{margin:4px 0}.soft{color:var(--soft)}.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 18px;margin:10px 0}
.verdict{border-left:6px solid;padding:12px 18px;border-radius:6px;font-size:17px;font-weight:600;margin:14px 0}
.valid{border-color:var(--good);background:var(--goodback);color:var(--good)}
.invalid{border-color:var(--bad);background:var(--badback);color:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--soft);font-weight:600}
th,td{padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child td{border-bottom:0}
td code{white-space:nowrap}td:has(~.h){white-space:nowrap}
td.h,td.h code{white-space:normal;overflow-wrap:anywhere;font-size:12px}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
.tag{display:inline-block;border-radius:10px;padding:0 9px;font-size:13px}.tag.ok{background:var(--goodback);color:var(--good)}
.tag.no{background:var(--badback);color:var(--bad)}.tag.out{background:var(--warnback);color:var(--warn)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}.grid div{background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:10px 14px}.grid b{display:block;font-size:20px}
ol.time{list-style:none;margin:0;padding:0 0 0 14px;border-left:2px solid var(--line)}ol.time li{position:relative;padding:2px 0 2px 10px}
ol.time li::before{content:'';position:absolute;left:-20px;top:10px;width:9px;height:9px;border-radius:50%;background:var(--accent)}
ol.time li.bad::before{background:var(--bad)}ol.time code{color:var(--soft);margin-right:8px}
.bar{display:flex;height:14px;border-radius:4px;overflow:hidden;border:1px solid var(--line);margin:6px 0}.bar i{display:block;height:100%}
";

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn bytes(n: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(size, _)| n >= *size) {
        Some((size, unit)) => {
            let tenths = (u128::from(n) * 10 + u128::from(*size) / 2) / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{n} bytes"),
    }
}

/// All reports on one page.
pub fn html(reports: &[Report]) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Veilsum audit</title><style>",
    );
    page.push_str(STYLE);
    page.push_str("</style></head><body><main>\n");
    for report in reports {
        round(&mut page, report);
    }
    page.push_str("</main></body></html>\n");
    page
}

fn round(page: &mut String, report: &Report) {
    let number = report
        .params
        .as_ref()
        .map_or("unknown".to_owned(), |p| p.round_id.to_string());
    let scope = if report.sum_only {
        "sum only: signatures, rows and the result; no proof of a norm"
    } else {
        "full: every signature, proof, share commitment, complaint, the decoding and the result"
    };
    let _ = writeln!(
        page,
        "<h1>Audit of round {}</h1><p class=\"soft\"><code>{}</code> &middot; {scope}</p>",
        escape(&number),
        escape(&report.dir)
    );
    verdict(page, report);
    faults(page, report);
    summary(page, report);
    rejected(page, report);
    convictions(page, &report.convicted);
    timeline(page, &report.steps, &report.faults);
    clients(page, &report.clients);
    members(page, &report.members);
    sizes(page, report);
    if let Some(params) = &report.params {
        parameters(page, report, params);
    }
}

fn verdict(page: &mut String, report: &Report) {
    let (class, text) = match (report.verdict(), report.outcome) {
        (Verdict::Valid, Outcome::Void) => (
            "valid",
            "Valid: the round was declared void, and nothing speaks against the server.".to_owned(),
        ),
        (Verdict::Valid, outcome) => (
            "valid",
            format!("Valid: the result is {outcome}, as the committee certified it."),
        ),
        (Verdict::Invalid, _) => (
            "invalid",
            format!(
                "Invalid: {} found. Do not rely on this result.",
                plural(report.faults.len().max(1), "fault")
            ),
        ),
    };
    let _ = writeln!(
        page,
        "<div class=\"verdict {class}\">{}</div>",
        escape(&text)
    );
}

fn faults(page: &mut String, report: &Report) {
    if report.faults.is_empty() {
        return;
    }
    page.push_str(
        "<h2>What is wrong</h2><div class=\"card\"><table><tr><th>record</th><th>fault</th></tr>",
    );
    // One damaged record makes many others wrong in the same way.
    for same in report.faults.chunk_by(|a, b| a.kind == b.kind) {
        let number = |fault: &Fault| fault.record.map_or("&ndash;".to_owned(), |r| r.to_string());
        let (record, fault) = match same {
            [only] => (number(only), only),
            [first, .., last] => (
                format!(
                    "{} to {}, {} times",
                    number(first),
                    number(last),
                    same.len()
                ),
                first,
            ),
            [] => continue,
        };
        let _ = write!(
            page,
            "<tr><td>{record}</td><td>{}</td></tr>",
            escape(&fault.kind.to_string())
        );
    }
    page.push_str("</table></div>\n");
}

fn summary(page: &mut String, report: &Report) {
    let count =
        |wanted: fn(&Part) -> bool| report.clients.iter().filter(|(_, p)| wanted(p)).count();
    let facts = [
        (report.clients.len(), "clients in the cohort"),
        (report.contributions, "contributions stored"),
        (count(|p| *p == Part::Summed), "in the sum"),
        (count(|p| matches!(p, Part::Rejected(_))), "rejected"),
        (count(|p| *p == Part::Absent), "sent nothing"),
        (report.members.len(), "committee members"),
    ];
    page.push_str("<div class=\"grid\">");
    for (n, what) in facts {
        let _ = write!(
            page,
            "<div><b>{n}</b><span class=\"soft\">{what}</span></div>"
        );
    }
    page.push_str("</div>\n");
}

fn rejected(page: &mut String, report: &Report) {
    let rows: Vec<_> = report
        .clients
        .iter()
        .filter_map(|(client, part)| match part {
            Part::Rejected(check) => Some((client, check)),
            _ => None,
        })
        .collect();
    page.push_str("<h2>Rejected, and why</h2><div class=\"card\">");
    if rows.is_empty() {
        page.push_str("<p>Nobody.</p>");
    } else {
        page.push_str("<table><tr><th>client</th><th>check</th><th>reason</th></tr>");
        for (client, check) in rows {
            let _ = write!(
                page,
                "<tr><td>{client}</td><td><code>{}</code></td><td>{}</td></tr>",
                check.id(),
                escape(check.info().reason)
            );
        }
        page.push_str("</table>");
    }
    page.push_str("</div>\n");
}

fn convictions(page: &mut String, convicted: &[Convicted]) {
    page.push_str("<h2>Evidence</h2><div class=\"card\">");
    if convicted.is_empty() {
        page.push_str("<p>The transcript convicts nobody.</p>");
    } else {
        page.push_str("<table><tr><th>who</th><th>of what</th><th>shown by</th><th>file</th></tr>");
        for found in convicted {
            let file = found.file.as_deref().unwrap_or("in the log");
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td><code>{}</code></td><td class=\"h\">{}</td></tr>",
                escape(&found.culprit.to_string()),
                found.kind,
                found.check.id(),
                escape(file)
            );
        }
        page.push_str("</table>");
    }
    page.push_str("</div>\n");
}

/// The kind of a step: what it says without numbers.
fn kind_of(step: &Step) -> String {
    // A contribution and its receipt alternate.
    if step.text == "contributes" || step.text.starts_with("gives ") {
        return "collecting".to_owned();
    }
    step.text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn timeline(page: &mut String, steps: &[Step], faults: &[crate::Fault]) {
    page.push_str("<h2>Timeline</h2><div class=\"card\"><ol class=\"time\">");
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let kind = kind_of(first);
        let run = rest.iter().take_while(|step| kind_of(step) == kind).count();
        let (shown, hidden) = if run > RUN_MAX {
            (2, run - 2)
        } else {
            (run, 0)
        };
        for step in rest.iter().take(shown) {
            let bad = faults.iter().any(|f| f.record == Some(step.record));
            let _ = write!(
                page,
                "<li{}><code>{}</code>{} {}</li>",
                if bad { " class=\"bad\"" } else { "" },
                step.record,
                escape(&step.party),
                escape(&step.text)
            );
        }
        if hidden > 0 {
            let last = rest.get(run - 1).map_or(first.record, |step| step.record);
            let _ = write!(
                page,
                "<li class=\"soft\"><code>&hellip; {last}</code>and so on, {hidden} more</li>"
            );
        }
        rest = rest.get(run..).unwrap_or_default();
    }
    page.push_str("</ol></div>\n");
}

fn clients(page: &mut String, clients: &[(ClientId, Part)]) {
    page.push_str("<h2>Who took part</h2><div class=\"card\"><p>");
    for (client, part) in clients {
        let (class, word) = match part {
            Part::Summed => ("ok", "in the sum"),
            Part::Rejected(_) => ("no", "rejected"),
            Part::Left => ("out", "in no sum"),
            Part::Absent => ("out", "absent"),
        };
        let _ = write!(
            page,
            "<span class=\"tag {class}\" title=\"{word}\">{client}: {word}</span> "
        );
    }
    page.push_str("</p></div>\n");
}

fn members(page: &mut String, members: &[MemberPart]) {
    page.push_str(
        "<h2>Committee</h2><div class=\"card\"><table><tr><th>member</th><th>client</th><th>endorsed U</th>\
         <th>unmasked</th><th>Final</th><th class=\"n\">row slices</th></tr>",
    );
    let mark = |done: bool| {
        if done {
            "<span class=\"tag ok\">yes</span>"
        } else {
            "<span class=\"tag out\">no</span>"
        }
    };
    for member in members {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            member.index,
            member.client,
            mark(member.endorsed),
            mark(member.unmasked),
            mark(member.finalised),
            member.slices
        );
    }
    page.push_str("</table></div>\n");
}

fn sizes(page: &mut String, report: &Report) {
    let sizes = &report.sizes;
    let all = (sizes.log + sizes.bodies).max(1);
    let share = 100 * sizes.bodies / all;
    let _ = writeln!(
        page,
        "<h2>Sizes</h2><div class=\"card\"><div class=\"bar\"><i style=\"width:{share}%;background:var(--accent)\"></i>\
         <i style=\"width:{}%;background:var(--soft)\"></i></div><table>\
         <tr><td>bodies of contributions ({})</td><td class=\"n\">{}</td></tr>\
         <tr><td>log with all signed messages</td><td class=\"n\">{}</td></tr>\
         <tr><td>of it, the result</td><td class=\"n\">{}</td></tr></table></div>",
        100 - share,
        sizes.body_count,
        bytes(sizes.bodies),
        bytes(sizes.log),
        bytes(sizes.result)
    );
}

fn parameters(page: &mut String, report: &Report, params: &RoundParams) {
    let digest = report.params_digest.map(|d| d.to_hex()).unwrap_or_default();
    let registrar = report.registrar.map(|k| hex(&k)).unwrap_or_default();
    let rows = [
        ("params digest", digest),
        ("server key", hex(&params.server_key)),
        ("registrar key", registrar),
        ("model digest", hex(&params.model_digest)),
        ("coordinates", params.dim.to_string()),
        ("norm bound (integer L2)", params.norm_bound.to_string()),
        (
            "committee, threshold",
            format!("{}, {}", params.committee.len(), params.threshold),
        ),
        (
            "n_min, n_max",
            format!("{}, {}", params.n_min, params.n_max),
        ),
        (
            "malicious clients at most",
            params.malicious_max.to_string(),
        ),
    ];
    page.push_str("<h2>Parameters</h2><div class=\"card\"><table>");
    for (name, value) in rows {
        let _ = write!(
            page,
            "<tr><td>{name}</td><td class=\"h\"><code>{value}</code></td></tr>"
        );
    }
    page.push_str("</table><p class=\"soft\">The verdict holds under these keys. Compare them with the ones that you know.</p></div>\n");
}
