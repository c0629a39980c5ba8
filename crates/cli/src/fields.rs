//! Reads a configuration field by field, so that everything that is wrong with it is said at once.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FieldError {
    /// Not TOML.
    #[error("line {line}: {what}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        what: String,
    },
    /// A field without which there is no round.
    #[error("{field} is missing")]
    Missing {
        /// The field, with its section.
        field: String,
    },
    /// No such field.
    #[error("line {line}: there is no field {field}")]
    Unknown {
        /// Counted from 1.
        line: usize,
        /// The field, with its section.
        field: String,
    },
    /// Wrong type, or out of the range of the type.
    #[error("line {line}: {field}: {what}")]
    Value {
        /// Counted from 1.
        line: usize,
        /// The field, with its section.
        field: String,
        /// What the parser says.
        what: String,
    },
    /// Not 32 bytes in hexadecimal.
    #[error("{field} must be 64 hexadecimal digits (32 bytes)")]
    Hex {
        /// The field, with its section.
        field: String,
    },
    /// Fields that exclude each other, or of which one must be there.
    #[error("give one of {first} and {second}, not both and not neither")]
    OneOf {
        /// One field.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A time out of its range.
    #[error("{field} is {seconds} seconds: it must be from {least} to {most}")]
    Time {
        /// The field, with its section.
        field: String,
        /// What is given.
        seconds: u64,
        /// The least that is allowed.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Two fields that must differ, or of which only one may be there.
    #[error("{first} and {second}: {what}")]
    Clash {
        /// One field.
        first: String,
        /// The other.
        second: String,
        /// What is wrong with having both.
        what: &'static str,
    },
    /// A variable of the environment is not set.
    #[error("{field}: the environment has no variable {variable}")]
    Environment {
        /// The field that names it.
        field: &'static str,
        /// The variable; what it holds is secret and is not said.
        variable: String,
    },
}

/// A table of the file and where it stands.
pub(crate) struct Section<'i> {
    name: String,
    fields: BTreeMap<String, (usize, Spanned<DeValue<'i>>)>,
}

/// Collects what is wrong.
pub(crate) struct Fields<'i> {
    text: &'i str,
    problems: Vec<FieldError>,
}

impl<'i> Fields<'i> {
    /// Parses the text; gives its outermost table.
    pub(crate) fn parse(text: &'i str) -> (Self, Section<'i>) {
        let mut fields = Self {
            text,
            problems: Vec::new(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = fields.line(error.span().map_or(0, |span| span.start));
            fields.problems.push(FieldError::Syntax {
                line,
                what: error.message().to_owned(),
            });
        }
        (fields, Section::new(String::new(), table.into_inner()))
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// A section of its own; empty where it is missing.
    pub(crate) fn section(&mut self, outer: &mut Section<'i>, name: &str) -> Section<'i> {
        let found = self.table(outer, name);
        found.unwrap_or_else(|| Section::new(outer.field(name), DeTable::new()))
    }

    /// A section of its own, if it is there.
    pub(crate) fn table(&mut self, outer: &mut Section<'i>, name: &str) -> Option<Section<'i>> {
        let (at, value) = outer.fields.remove(name)?;
        let full = outer.field(name);
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(full, table)),
            _ => {
                self.wrong(at, full, "this must be a section");
                None
            }
        }
    }

    /// Sections of the same name, `[[name]]`, each called after what stands in its field `by`.
    pub(crate) fn tables(
        &mut self,
        outer: &mut Section<'i>,
        name: &str,
        by: &str,
    ) -> Vec<Section<'i>> {
        let Some((at, value)) = outer.fields.remove(name) else {
            return Vec::new();
        };
        let DeValue::Array(all) = value.into_inner() else {
            self.wrong(at, outer.field(name), "write [[task]], one for each");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (i, value) in all.into_iter().enumerate() {
            let DeValue::Table(table) = value.into_inner() else {
                self.wrong(at, outer.field(name), "write [[task]], one for each");
                continue;
            };
            let called = match table.get(by).map(Spanned::get_ref) {
                Some(DeValue::String(called)) => called.to_string(),
                _ => (i + 1).to_string(),
            };
            sections.push(Section::new(
                format!("{}.{called}", outer.field(name)),
                table,
            ));
        }
        sections
    }

    fn wrong(&mut self, at: usize, field: String, what: &str) {
        self.problems.push(FieldError::Value {
            line: self.line(at),
            field,
            what: what.to_owned(),
        });
    }

    /// A field that may be left out.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        section: &mut Section<'i>,
        name: &str,
    ) -> Option<T> {
        let (at, value) = section.fields.remove(name)?;
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.push(FieldError::Value {
                    line: self.line(at),
                    field: section.field(name),
                    what: error.message().to_owned(),
                });
                None
            }
        }
    }

    /// A field that must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        section: &mut Section<'i>,
        name: &str,
    ) -> Option<T> {
        if !section.fields.contains_key(name) {
            self.problems.push(FieldError::Missing {
                field: section.field(name),
            });
        }
        self.optional(section, name)
    }

    /// 32 bytes in hexadecimal.
    pub(crate) fn bytes32(&mut self, section: &mut Section<'i>, name: &str) -> Option<[u8; 32]> {
        let text: String = self.required(section, name)?;
        self.decoded(section, name, &text)
    }

    /// 32 bytes in hexadecimal that may be left out.
    pub(crate) fn optional_bytes32(
        &mut self,
        section: &mut Section<'i>,
        name: &str,
    ) -> Option<[u8; 32]> {
        let text: String = self.optional(section, name)?;
        self.decoded(section, name, &text)
    }

    fn decoded(&mut self, section: &Section<'i>, name: &str, text: &str) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        if hex::decode_to_slice(text, &mut bytes).is_err() {
            self.problems.push(FieldError::Hex {
                field: section.field(name),
            });
            return None;
        }
        Some(bytes)
    }

    /// Whatever is left in a section is not known.
    pub(crate) fn end(&mut self, section: Section<'i>) {
        for (name, (at, _)) in &section.fields {
            self.problems.push(FieldError::Unknown {
                line: self.line(*at),
                field: section.field(name),
            });
        }
    }

    pub(crate) fn add(&mut self, problem: FieldError) {
        self.problems.push(problem);
    }

    pub(crate) fn into_problems(self) -> Vec<FieldError> {
        self.problems
    }
}

impl<'i> Section<'i> {
    fn new(name: String, table: DeTable<'i>) -> Self {
        let fields = table.into_iter().map(|(key, value)| {
            let at = key.span().start;
            (key.into_inner().into_owned(), (at, value))
        });
        Self {
            name,
            fields: fields.collect(),
        }
    }

    /// Removes a field; says whether it was there.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        self.fields.remove(name).is_some()
    }

    /// A field's name, with its section.
    pub(crate) fn field(&self, name: &str) -> String {
        if self.name.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.name)
        }
    }
}
