//! Completions and man pages, made from the definition of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::error::CliError;

pub(crate) fn completions(shell: Shell) {
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "veilsum", &mut std::io::stdout());
}

pub(crate) fn man(out: &Path) -> Result<u8, CliError> {
    let failed = |error: std::io::Error| CliError::file(out, &error);
    std::fs::create_dir_all(out).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), out).map_err(failed)?;
    Ok(0)
}
