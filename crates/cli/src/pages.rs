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
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    page(&command, out).map_err(failed)?;
    Ok(0)
}

/// The page of a command and those of the commands below it.
fn page(command: &clap::Command, out: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        page(below, out)?;
    }
    // The synopsis that would be made otherwise leaves out what options take; a command below the first has no version of its own.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    clap_mangen::Man::new(command.clone().override_usage(usage))
        // No date; left empty it would not be written at all, and what comes after it taken for it.
        .date("\"\"")
        .source(concat!("veilsum ", env!("CARGO_PKG_VERSION")))
        .manual("Veilsum")
        .generate_to(out)?;
    Ok(())
}
