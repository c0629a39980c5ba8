//! The messages of the wire crate as it describes them itself, with the documentation of their fields.

use crate::error::{TaskError, none};
use crate::tree::Tree;
use std::collections::BTreeMap;
use veilsum_crypto::labels::Label;
use veilsum_wire::*;

/// One message type.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Name and type of each field, in the order of the bytes.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// The context under which it is signed.
    pub(crate) label: Option<Label>,
}

macro_rules! messages {
    (signed { $($signed:ident)* } plain { $($plain:ident)* }) => {
        vec![
            $(Message { name: stringify!($signed), fields: $signed::FIELDS, label: Some($signed::LABEL) },)*
            $(Message { name: stringify!($plain), fields: $plain::FIELDS, label: None },)*
        ]
    };
}

/// All messages: what is signed first.
pub(crate) fn all() -> Vec<Message> {
    messages! {
        signed {
            ShareKeyContent RosterContent AnnouncementContent HeaderContent ReceiptContent ProposalContent ComplaintContent
            EndorseContent ComplaintListContent UnmaskContent RevealContent ConvictedContent FinalContent RowsContent
            ResultContent VoidContent LogHeadContent
        }
        plain {
            RosterEntry Announcement Proposal ShareLeaf MemberPackage Endorse Certificate UnmaskRequest Unmask RevealRequest
            Convicted RowLeaf RowsRequest RowValues Rows RoundResult LightBundle
        }
    }
}

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

/// Documentation of every message; fails when a message or a field has none, or when the list above lacks one.
pub(crate) fn docs(tree: &Tree) -> Result<BTreeMap<String, Docs>, TaskError> {
    let mut docs = BTreeMap::new();
    for source in tree.files("crates/wire/src", ".rs")? {
        docs.extend(parse(&source.text));
    }
    let mut findings = Vec::new();
    let all = all();
    for message in &all {
        for (field, _) in message.fields {
            let found = docs.get(message.name).and_then(|d| d.fields.get(*field));
            if found.is_none_or(|text| text.is_empty()) {
                findings.push(format!("{}.{field} has no documentation", message.name));
            }
        }
    }
    for name in docs.keys() {
        if !all.iter().any(|m| m.name == name) {
            findings.push(format!("crates/xtask/src/messages.rs lacks {name}"));
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
