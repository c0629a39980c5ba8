//! What bytes hold, field by field, read off the tables in which messages describe themselves.

use serde_json::{Value as Json, json};
use veilsum::protocol::{Document, Evidence, MemberStatement, Message, Record, ServerStatement};
use veilsum::store::BodyDigest;
use veilsum::wire::{MESSAGES, ROUND_PARAMS_FIELDS, Reader, WireError};

/// Longer lists are shown by number and digest, unless everything is asked for.
const SHOWN: usize = 64;

/// Types of the round parameters, in the order of [`ROUND_PARAMS_FIELDS`].
const ROUND_PARAMS_TYPES: &[&str] = &[
    "u16",
    "u16",
    "u64",
    "u64",
    "[u8; 32]",
    "[u8; 32]",
    "[u8; 32]",
    "Beacon",
    "u32",
    "u8",
    "u32",
    "u32",
    "u16",
    "u16",
    "u32",
    "u32",
    "u32",
    "u32",
    "u16",
    "Vec<MemberSlot>",
    "u64",
];

/// Structures that no table lists.
const OTHERS: &[(&str, &[(&str, &str)])] = &[
    (
        "Beacon",
        &[
            ("source", "[u8; 32]"),
            ("round", "u64"),
            ("value", "[u8; 32]"),
        ],
    ),
    (
        "MemberSlot",
        &[("client", "ClientId"), ("share_key", "[u8; 32]")],
    ),
    (
        "KnowledgeProof",
        &[("announcement", "CanonicalPoint"), ("response", "Scalar")],
    ),
    (
        "DleqProof",
        &[
            ("on_base", "CanonicalPoint"),
            ("on_ephemeral", "CanonicalPoint"),
            ("response", "Scalar"),
        ],
    ),
    ("Upload", &[("header", "Header"), ("body", "Bytes")]),
];

/// A decoded value, for people and for JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(i128),
    /// Hexadecimal.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// A list or byte string that is too long to show: number of elements and BLAKE3 of its encoding.
    Long(usize, [u8; 32]),
    Fields(String, Vec<(String, Value)>),
}

type Fields = Vec<(&'static str, &'static str)>;
type Variants = &'static [(u8, &'static str, &'static [(&'static str, &'static str)])];

fn fields(kind: &str) -> Option<Fields> {
    if kind == "RoundParams" {
        let types = ROUND_PARAMS_TYPES.iter().copied();
        return Some(ROUND_PARAMS_FIELDS.iter().copied().zip(types).collect());
    }
    let listed = MESSAGES.iter().find(|m| m.name == kind).map(|m| m.fields);
    let other = OTHERS.iter().find(|(name, _)| *name == kind);
    listed.or(other.map(|(_, f)| *f)).map(<[_]>::to_vec)
}

fn variants(kind: &str) -> Option<Variants> {
    match kind {
        "Record" => Some(Record::VARIANTS),
        "Evidence" | "crate::Evidence" => Some(Evidence::VARIANTS),
        "Document" => Some(Document::VARIANTS),
        "MemberStatement" => Some(MemberStatement::VARIANTS),
        "ServerStatement" => Some(ServerStatement::VARIANTS),
        _ => None,
    }
}

fn inner<'a>(kind: &'a str, name: &str) -> Option<&'a str> {
    kind.strip_prefix(name)?
        .strip_prefix('<')?
        .strip_suffix('>')
}

/// Reads one value of a type that a table names.
pub(crate) struct Walker<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    all: bool,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(bytes: &'a [u8], all: bool) -> Self {
        Self {
            bytes,
            reader: Reader::new(bytes),
            all,
        }
    }

    /// Exactly one value.
    pub(crate) fn whole(mut self, kind: &str) -> Result<Value, WireError> {
        let value = self.value(kind)?;
        self.reader.finish()?;
        Ok(value)
    }

    fn integer(&mut self, len: usize, signed: bool) -> Result<Value, WireError> {
        let taken = self.reader.take(len)?;
        let mut wide = [0u8; 16];
        for (to, from) in wide.iter_mut().zip(taken) {
            *to = *from;
        }
        let negative = signed && taken.last().is_some_and(|b| b & 0x80 != 0);
        if negative {
            for byte in wide.iter_mut().skip(len) {
                *byte = 0xff;
            }
        }
        Ok(Value::Number(i128::from_le_bytes(wide)))
    }

    fn byte_string(&mut self, len: usize) -> Result<Value, WireError> {
        let taken = self.reader.take(len)?;
        Ok(if len > SHOWN && !self.all {
            Value::Long(len, BodyDigest::of(taken).0)
        } else {
            Value::Bytes(taken.to_vec())
        })
    }

    fn count(&mut self) -> Result<usize, WireError> {
        let offset = self.reader.offset();
        let count = u32::from_le_bytes(self.reader.array()?);
        let least = usize::try_from(count).unwrap_or(usize::MAX);
        // Every element has at least one byte.
        if least > self.reader.remaining() {
            return Err(WireError::Count {
                offset,
                count: count.into(),
            });
        }
        Ok(least)
    }

    fn fields(&mut self, name: &str, fields: &[(&str, &str)]) -> Result<Value, WireError> {
        let mut out = Vec::with_capacity(fields.len());
        for (field, kind) in fields {
            out.push(((*field).to_owned(), self.value(kind)?));
        }
        Ok(Value::Fields(name.to_owned(), out))
    }

    fn value(&mut self, kind: &str) -> Result<Value, WireError> {
        match kind {
            "u8" => return self.integer(1, false),
            "u16" | "MemberIndex" => return self.integer(2, false),
            "u32" | "ClientId" => return self.integer(4, false),
            "u64" => return self.integer(8, false),
            "i64" => return self.integer(8, true),
            "Digest" | "CanonicalPoint" | "Scalar" | "[u8; 32]" => return self.byte_string(32),
            "Signature" => return self.byte_string(64),
            "[u8; CIPHERTEXT_LEN]" => return self.byte_string(48),
            "Header" => return self.value("Signed<HeaderContent>"),
            "(ClientId, Digest)" => {
                return self.fields("entry", &[("client", "ClientId"), ("digest", "Digest")]);
            }
            "(u16, Digest)" => {
                return self.fields("slice", &[("slice", "u16"), ("digest", "Digest")]);
            }
            "(RoundResult, LightBundle)" => {
                let parts = [("result", "RoundResult"), ("bundle", "LightBundle")];
                return self.fields("refused result", &parts);
            }
            "Bytes" => {
                let len = self.count()?;
                return self.byte_string(len);
            }
            "Message" => {
                let (offset, tag) = (self.reader.offset(), self.reader.array::<1>()?[0]);
                let found = Message::TAGS.iter().find(|(t, _, _)| *t == tag);
                let Some((_, name, content)) = found else {
                    return Err(WireError::Value {
                        offset,
                        field: "message tag",
                        value: tag.into(),
                    });
                };
                return self.fields(name, &[("content", content)]);
            }
            _ => {}
        }
        if let Some(element) = inner(kind, "Vec") {
            return self.list(element);
        }
        if let Some(content) = inner(kind, "Signed") {
            return self.fields(kind, &[("content", content), ("signature", "Signature")]);
        }
        if let Some(variants) = variants(kind) {
            let (offset, tag) = (self.reader.offset(), self.reader.array::<1>()?[0]);
            let found = variants.iter().find(|(t, _, _)| *t == tag);
            let Some((_, name, fields)) = found else {
                return Err(WireError::Value {
                    offset,
                    field: "tag",
                    value: tag.into(),
                });
            };
            return self.fields(name, fields);
        }
        let listed = fields(kind).ok_or(WireError::Value {
            offset: self.reader.offset(),
            field: "a type that this program does not know",
            value: 0,
        })?;
        self.fields(kind, &listed)
    }

    fn list(&mut self, element: &str) -> Result<Value, WireError> {
        let count = self.count()?;
        let begin = self.reader.offset();
        let mut out = Vec::new();
        for _ in 0..count {
            let value = self.value(element)?;
            if self.all || count <= SHOWN {
                out.push(value);
            }
        }
        Ok(if self.all || count <= SHOWN {
            Value::List(out)
        } else {
            let held = self
                .bytes
                .get(begin..self.reader.offset())
                .unwrap_or_default();
            Value::Long(count, BodyDigest::of(held).0)
        })
    }
}

impl Value {
    pub(crate) fn json(&self) -> Json {
        match self {
            // Every integer of the format fits one of the two.
            Self::Number(n) => i64::try_from(*n).map_or_else(
                |_| json!(u64::try_from(*n).unwrap_or(u64::MAX)),
                |n| json!(n),
            ),
            Self::Bytes(bytes) => json!(hex::encode(bytes)),
            Self::List(list) => list.iter().map(Self::json).collect(),
            Self::Long(count, digest) => json!({ "count": count, "blake3": hex::encode(digest) }),
            Self::Fields(_, fields) => fields
                .iter()
                .map(|(name, v)| (name.clone(), v.json()))
                .collect(),
        }
    }

    /// One line for each value, fields indented below their structure.
    pub(crate) fn lines(&self, name: &str, depth: usize, out: &mut Vec<String>) {
        let pad = "  ".repeat(depth);
        match self {
            Self::Number(n) => out.push(format!("{pad}{name:<20} {n}")),
            Self::Bytes(bytes) => out.push(format!("{pad}{name:<20} {}", hex::encode(bytes))),
            Self::Long(count, digest) => out.push(format!(
                "{pad}{name:<20} {count} of them, BLAKE3 {}",
                hex::encode(digest)
            )),
            Self::List(list) => {
                out.push(format!("{pad}{name:<20} {} of them", list.len()));
                for (i, value) in list.iter().enumerate() {
                    value.lines(&format!("[{i}]"), depth + 1, out);
                }
            }
            Self::Fields(kind, fields) => {
                out.push(format!("{pad}{name:<20} {kind}"));
                for (field, value) in fields {
                    value.lines(field, depth + 1, out);
                }
            }
        }
    }
}
