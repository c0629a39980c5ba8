//! The generated parts of `specs/wire.md`: labels, round parameters, messages, tags.

use crate::error::TaskError;
use crate::messages;
use crate::spec::Section;
use crate::tree::Tree;
use std::fmt::Write;
use veilsum_crypto::labels;
use veilsum_wire::{MESSAGES, MessageInfo};

/// Bytes of a field of a type: a number, or a formula in the lengths of its lists.
fn bytes(kind: &str) -> String {
    let list = |inner: &str| match bytes(inner) {
        sum if sum.contains('+') => format!("4 + n × ({sum})"),
        one => format!("4 + n × {one}"),
    };
    match kind {
        "u8" => "1".to_owned(),
        "u16" | "MemberIndex" => "2".to_owned(),
        "u32" | "ClientId" => "4".to_owned(),
        "u64" | "i64" => "8".to_owned(),
        "Digest" | "CanonicalPoint" | "Scalar" | "[u8; 32]" => "32".to_owned(),
        "[u8; CIPHERTEXT_LEN]" => "48".to_owned(),
        "Signature" | "KnowledgeProof" => "64".to_owned(),
        "DleqProof" => "96".to_owned(),
        "Header" => bytes("Signed<HeaderContent>"),
        "(ClientId, Digest)" => "36".to_owned(),
        "(u16, Digest)" => "34".to_owned(),
        _ => match kind.strip_prefix("Vec<").and_then(|k| k.strip_suffix('>')) {
            Some(inner) => list(inner),
            None => match kind
                .strip_prefix("Signed<")
                .and_then(|k| k.strip_suffix('>'))
            {
                Some(inner) => format!("[{inner}] + 64"),
                None => format!("[{kind}]"),
            },
        },
    }
}

/// The text of a comment in the words of a page.
fn prose(text: &str) -> String {
    text.replace("[`", "`")
        .replace("`]", "`")
        .replace('|', "\\|")
}

fn message(out: &mut String, m: &MessageInfo, docs: &messages::Docs) -> std::fmt::Result {
    writeln!(out, "### {}\n\n{}", m.name, prose(&docs.about))?;
    if let Some(label) = m.label {
        writeln!(out, "Signed under `{}`.", label.as_str())?;
    }
    writeln!(
        out,
        "\n| field | type | bytes | meaning |\n|---|---|---|---|"
    )?;
    for (field, kind) in m.fields {
        let meaning = docs
            .fields
            .get(*field)
            .map(|t| prose(t))
            .unwrap_or_default();
        writeln!(
            out,
            "| `{field}` | `{kind}` | {} | {meaning} |",
            bytes(kind)
        )?;
    }
    writeln!(out)
}

/// Label, text, purpose.
fn label_table(tree: &Tree) -> Result<String, TaskError> {
    let source = tree.read("crates/crypto/src/labels.rs")?;
    let mut out = String::from("| name | text | purpose |\n|---|---|---|\n");
    for (name, label) in labels::ALL {
        let purpose = source
            .lines()
            .zip(source.lines().skip(1))
            .find(|(_, declared)| declared.trim_start().starts_with(&format!("{name} =")))
            .and_then(|(comment, _)| comment.trim_start().strip_prefix("///"))
            .unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{name}` | `{}` |{purpose} |", label.as_str());
    }
    Ok(out)
}

fn round_params(tree: &Tree) -> Result<String, TaskError> {
    let source = tree.read("crates/params/src/round.rs")?;
    let declared = source
        .split("pub struct RoundParams {")
        .nth(1)
        .unwrap_or_default();
    let mut out = String::from("| field | type | bytes | meaning |\n|---|---|---|---|\n");
    for field in veilsum_wire::ROUND_PARAMS_FIELDS {
        let mut meaning = Vec::new();
        for line in declared.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                meaning.push(words.trim());
            } else if let Some(kind) = line.strip_prefix(&format!("pub {field}: ")) {
                let kind = kind.trim_end_matches(',');
                let len = match kind {
                    "Beacon" => "72 (source 32, round 8, value 32)".to_owned(),
                    "Vec<MemberSlot>" => "4 + m × 36 (client 4, share key 32)".to_owned(),
                    _ => bytes(kind),
                };
                let _ = writeln!(
                    out,
                    "| `{field}` | `{kind}` | {len} | {} |",
                    prose(&meaning.join(" "))
                );
                break;
            } else {
                meaning.clear();
            }
        }
    }
    Ok(out)
}

fn tags() -> String {
    let mut out = String::from("| tag | message | content |\n|---|---|---|\n");
    for (tag, name, content) in veilsum_protocol::Message::TAGS {
        let _ = writeln!(out, "| {tag} | {name} | `{content}` |");
    }
    out
}

pub(crate) fn sections(tree: &Tree) -> Result<Vec<Section>, TaskError> {
    let docs = messages::docs(tree)?;
    let none = messages::Docs::default();
    let mut all = String::new();
    for m in MESSAGES {
        let _ = message(&mut all, m, docs.get(m.name).unwrap_or(&none));
    }
    Ok(vec![
        Section {
            name: "labels",
            text: label_table(tree)?,
        },
        Section {
            name: "round parameters",
            text: round_params(tree)?,
        },
        Section {
            name: "messages",
            text: all,
        },
        Section {
            name: "tags",
            text: tags(),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_length_and_lists_have_a_count() {
        assert_eq!(bytes("Vec<(u16, Digest)>"), "4 + n × 34");
        assert_eq!(bytes("Signed<FinalContent>"), "[FinalContent] + 64");
        assert_eq!(
            bytes("Vec<Signed<FinalContent>>"),
            "4 + n × ([FinalContent] + 64)"
        );
        let known: Vec<_> = MESSAGES.iter().map(|m| format!("[{}]", m.name)).collect();
        let foreign = ["[RoundParams]".to_owned()];
        for m in MESSAGES {
            for (field, kind) in m.fields {
                let text = bytes(kind);
                if let Some(name) = text
                    .split_once('[')
                    .and_then(|(_, rest)| rest.split_once(']'))
                {
                    let name = format!("[{}]", name.0);
                    assert!(
                        known.contains(&name) || foreign.contains(&name),
                        "{}.{field}: {text}",
                        m.name
                    );
                }
            }
        }
    }
}
