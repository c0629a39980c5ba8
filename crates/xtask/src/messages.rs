//! The messages of the wire crate as it describes them itself, with the documentation of their fields.

use crate::error::{TaskError, none};
use crate::tree::Tree;
use std::collections::BTreeMap;
use veilsum_wire::MESSAGES;

/// What the sources say of a message and of its fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Docs {
    pub(crate) about: String,
    pub(crate) fields: BTreeMap<String, String>,
}

/// Reads the blocks of the `message!` macro; a block ends at the first line that is `}` alone and not indented.
fn parse(text: &str) -> BTreeMap<String, Docs> {
    let mut out = BTreeMap::new();
    for block in text.split("message! {\n").skip(1) {
        let (mut name, mut docs, mut comment) = (None, Docs::default(), Vec::new());
        for line in block.lines() {
            if line == "}" {
                break;
            }
            let line = line.trim();
            if let Some(words) = line.strip_prefix("///") {
                comment.push(words.trim());
            } else if let Some(opened) = line.strip_suffix(" {") {
                name = Some(opened.to_owned());
                docs.about = std::mem::take(&mut comment).join(" ");
            } else if let Some((field, _)) = line.split_once(": ") {
                docs.fields
                    .insert(field.to_owned(), std::mem::take(&mut comment).join(" "));
            }
        }
        if let Some(name) = name {
            out.insert(name, docs);
        }
    }
    out
}

/// Documentation of every message; fails when a message or a field has none, or when the list of the wire crate lacks one.
pub(crate) fn docs(tree: &Tree) -> Result<BTreeMap<String, Docs>, TaskError> {
    let mut docs = BTreeMap::new();
    for source in tree.files("crates/wire/src", ".rs")? {
        docs.extend(parse(&source.text));
    }
    let mut findings = Vec::new();
    for message in MESSAGES {
        for (field, _) in message.fields {
            let found = docs.get(message.name).and_then(|d| d.fields.get(*field));
            if found.is_none_or(|text| text.is_empty()) {
                findings.push(format!("{}.{field} has no documentation", message.name));
            }
        }
    }
    for name in docs.keys() {
        if !MESSAGES.iter().any(|m| m.name == name) {
            findings.push(format!("crates/wire/src/table.rs lacks {name}"));
        }
    }
    none(findings)?;
    Ok(docs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_is_read_from_the_macro() {
        let docs = parse(
            "x\nmessage! {\n    /// About\n    /// it.\n    Name {\n        /// One.\n        a: Vec<u8>,\n    }\n}\n",
        );
        let about = docs.get("Name").unwrap();
        assert_eq!(about.about, "About it.");
        assert_eq!(about.fields.get("a").unwrap(), "One.");
    }
}
