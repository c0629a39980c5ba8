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
    name: &'static str,
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
        (fields, Section::new("", table.into_inner()))
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// A section of its own; empty where it is missing.
    pub(crate) fn section(&mut self, outer: &mut Section<'i>, name: &'static str) -> Section<'i> {
        let Some((line, value)) = outer.fields.remove(name) else {
            return Section::new(name, DeTable::new());
        };
        match value.into_inner() {
            DeValue::Table(table) => Section::new(name, table),
            _ => {
                self.problems.push(FieldError::Value {
                    line: self.line(line),
                    field: name.to_owned(),
                    what: "this must be a section".to_owned(),
                });
                Section::new(name, DeTable::new())
            }
        }
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
    fn new(name: &'static str, table: DeTable<'i>) -> Self {
        let fields = table.into_iter().map(|(key, value)| {
            let at = key.span().start;
            (key.into_inner().into_owned(), (at, value))
        });
        Self {
            name,
            fields: fields.collect(),
        }
    }

    fn field(&self, name: &str) -> String {
        if self.name.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.name)
        }
    }
}
