use std::path::PathBuf;
use thiserror::Error;
use veilsum_params::ParameterError;

/// Why a command of this crate fails.
#[derive(Debug, Error)]
pub(crate) enum TaskError {
    #[error("unknown command")]
    Usage,
    #[error("{path}: {source}", path = .path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{program} could not be run: {source}")]
    Command {
        program: String,
        source: std::io::Error,
    },
    #[error("`cargo metadata` is not what was expected: {0}")]
    Metadata(&'static str),
    #[error(
        "the lock file beside {manifest} is behind; run `cargo metadata --manifest-path {manifest}` and commit it; cargo says:\n{said}"
    )]
    Lock { manifest: String, said: String },
    #[error(
        "{path} has no part between `<!-- generated: {section} -->` and `<!-- end generated -->`"
    )]
    NoSection { path: String, section: &'static str },
    #[error("{path}: the part `{section}` is stale; run `cargo run -p xtask -- specs`")]
    Stale { path: String, section: &'static str },
    #[error("{}", list("", .0))]
    Broken(Vec<String>),
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    #[error("a world of the test vectors: {0}")]
    World(#[from] veilsum_sim::SimError),
    #[error("test vector: {0}")]
    Vector(String),
    #[error("patch {patch}: {reason}")]
    Patch { patch: String, reason: String },
}

fn list(head: &str, items: &[String]) -> String {
    items
        .iter()
        .fold(format!("{head}{} finding(s)", items.len()), |all, item| {
            format!("{all}\n  {item}")
        })
}

impl TaskError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Fails with all findings, if there are any.
pub(crate) fn none(findings: Vec<String>) -> Result<(), TaskError> {
    if findings.is_empty() {
        Ok(())
    } else {
        Err(TaskError::Broken(findings))
    }
}
