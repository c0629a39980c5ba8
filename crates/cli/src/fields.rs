//! Reads a configuration field by field, so that everything that is wrong with it is said at once.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Something that is wrong, and the line of the file where it is, if it is in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<E> {
    /// Counted from 1.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) what: E,
}

impl<E: fmt::Display> fmt::Display for Located<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        self.what.fmt(f)
    }
}

impl<E> Located<E> {
    /// The same of another type.
    pub(crate) fn map<T>(self, to: impl FnOnce(E) -> T) -> Located<T> {
        Located {
            line: self.line,
            what: to(self.what),
        }
    }
}

/// Puts what is wrong into the order of the lines; what is in no line comes last.
pub(crate) fn sort<E>(problems: &mut [Located<E>]) {
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
}

/// In which line each field of a file stands that was looked at.
#[derive(Debug, Default)]
pub(crate) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Whether a field, named with its section, is in the file.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Something that is wrong with a field, named with its section.
    pub(crate) fn at<E>(&self, field: &str, what: E) -> Located<E> {
        let line = self.0.get(field).copied();
        Located { line, what }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FieldError {
    /// Not TOML.
    #[error("{what}")]
    Syntax {
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
    #[error("there is no field {field}")]
    Unknown {
        /// The field, with its section.
        field: String,
    },
    /// Wrong type, or out of the range of the type.
    #[error("{field}: {what}")]
    Value {
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
    /// A number out of its range.
    #[error("{field} is {value}: it must be from {least} to {most}")]
    Range {
        /// The field, with its section.
        field: String,
        /// What is given.
        value: u64,
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

impl FieldError {
    /// The field that it is about; of two the later one in the program's order.
    fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax { .. } | Self::Missing { .. } => None,
            Self::Unknown { field }
            | Self::Value { field, .. }
            | Self::Hex { field }
            | Self::Range { field, .. }
            | Self::Time { field, .. } => Some(field),
            Self::OneOf { second, .. } => Some(second),
            Self::Clash { second, .. } => Some(second),
            Self::Environment { field, .. } => Some(field),
        }
    }
}

/// A table of the file and where it stands.
pub(crate) struct Section<'i> {
    name: String,
    fields: BTreeMap<String, (usize, Spanned<DeValue<'i>>)>,
}

/// Collects what is wrong.
pub(crate) struct Fields<'i> {
    text: &'i str,
    lines: Lines,
    problems: Vec<Located<FieldError>>,
}

impl<'i> Fields<'i> {
    /// Parses the text; gives its outermost table.
    pub(crate) fn parse(text: &'i str) -> (Self, Section<'i>) {
        let mut fields = Self {
            text,
            lines: Lines::default(),
            problems: Vec::new(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = fields.line(error.span().map_or(0, |span| span.start));
            let what = error.message().to_owned();
            fields.problems.push(Located {
                line: Some(line),
                what: FieldError::Syntax { what },
            });
        }
        (fields, Section::new(String::new(), table.into_inner()))
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Keeps in mind where a field stands.
    fn seen(&mut self, field: &str, at: usize) {
        self.lines.0.insert(field.to_owned(), self.line(at));
    }

    /// Removes a field; says whether it was there.
    pub(crate) fn take(&mut self, section: &mut Section<'i>, name: &str) -> bool {
        let taken = section.fields.remove(name);
        if let Some((at, _)) = &taken {
            self.seen(&section.field(name), *at);
        }
        taken.is_some()
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
        self.seen(&full, at);
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(full, table)),
            _ => {
                self.wrong(full, "this must be a section");
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
        self.seen(&outer.field(name), at);
        let DeValue::Array(all) = value.into_inner() else {
            self.wrong(outer.field(name), "write [[task]], one for each");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (i, value) in all.into_iter().enumerate() {
            let DeValue::Table(table) = value.into_inner() else {
                self.wrong(outer.field(name), "write [[task]], one for each");
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

    fn wrong(&mut self, field: String, what: &str) {
        self.add(FieldError::Value {
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
        self.seen(&section.field(name), at);
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(section.field(name), error.message());
                None
            }
        }
    }

    /// A number of a range that may be left out.
    pub(crate) fn optional_in<T: TryFrom<u64>>(
        &mut self,
        section: &mut Section<'i>,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let value: u64 = self.optional(section, name)?;
        let fits = range.contains(&value).then_some(value);
        let number = fits.and_then(|value| T::try_from(value).ok());
        if number.is_none() {
            self.add(FieldError::Range {
                field: section.field(name),
                value,
                least: *range.start(),
                most: *range.end(),
            });
        }
        number
    }

    /// A number of a range that must be there.
    pub(crate) fn required_in<T: TryFrom<u64>>(
        &mut self,
        section: &mut Section<'i>,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        self.expect(section, name);
        self.optional_in(section, name, range)
    }

    fn expect(&mut self, section: &Section<'i>, name: &str) {
        if !section.fields.contains_key(name) {
            self.add(FieldError::Missing {
                field: section.field(name),
            });
        }
    }

    /// A field that must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        section: &mut Section<'i>,
        name: &str,
    ) -> Option<T> {
        self.expect(section, name);
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
            self.add(FieldError::Hex {
                field: section.field(name),
            });
            return None;
        }
        Some(bytes)
    }

    /// Whatever is left in a section is not known.
    pub(crate) fn end(&mut self, section: Section<'i>) {
        for (name, (at, _)) in &section.fields {
            let field = section.field(name);
            self.seen(&field, *at);
            self.add(FieldError::Unknown { field });
        }
    }

    /// Keeps a problem, with the line of the field that it is about.
    pub(crate) fn add(&mut self, problem: FieldError) {
        let line = problem.field().and_then(|field| self.lines.0.get(field));
        let line = line.copied();
        self.problems.push(Located {
            line,
            what: problem,
        });
    }

    /// Where the fields stand that were looked at so far.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Everything that is wrong, and where each field stands.
    pub(crate) fn finish(self) -> (Vec<Located<FieldError>>, Lines) {
        (self.problems, self.lines)
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

    /// A field's name, with its section.
    pub(crate) fn field(&self, name: &str) -> String {
        if self.name.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.name)
        }
    }
}
