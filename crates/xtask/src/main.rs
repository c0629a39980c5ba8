//! What a person or the continuous integration runs to keep `specs/` true to the code: `cargo run -p xtask -- help`.

mod checks;
mod corpus;
mod deps;
mod error;
mod messages;
mod mutants;
mod patches;
mod refs;
mod sizes;
mod spec;
mod tree;
mod vectors;
mod wire;

#[path = "../../params/tests/golden/table.rs"]
mod layouts;

use error::TaskError;
use spec::{Section, Task};
use std::process::ExitCode;
use tree::Tree;

const HELP: &str = "\
usage: cargo run -p xtask -- COMMAND

  checks [--verify]     table of all checks in specs/checks.md
  wire [--verify]       labels, messages and tags in specs/wire.md
  sizes [--verify]      sizes of uploads and messages in specs/sizes.md
  layouts [--verify]    golden layouts in specs/parameters.md
  specs [--verify]      all of these
  refs                  every section of specs/ that a comment names exists
  deps                  the rules of the architecture
  patches [--list-missing | --check] [--release] [ID ...]
                        switches off one check after another (specs/checks/patches) and demands that its tests fail;
                        --check only sees whether every patch applies
  mutants CRATE [--jobs N] [--only RESULTS] [--longest SECONDS] [ARGUMENTS of cargo mutants --list]
                        which changes of wire, proof, protocol or audit no test notices; needs cargo-mutants; --only tries again
                        what an earlier run missed, --longest leaves out tests that take longer
  vectors [--verify]    test vectors for other implementations, specs/vectors
  corpus [DIR]          seed inputs of the fuzz targets, fuzz/corpus by default

--verify changes nothing and fails where a generated part is stale or a rule is broken.
";

fn run(arguments: &[String]) -> Result<(), TaskError> {
    let tree = Tree::find()?;
    let verify = arguments.iter().any(|a| a == "--verify");
    let rest: Vec<&str> = arguments
        .iter()
        .skip(1)
        .map(String::as_str)
        .filter(|a| *a != "--verify")
        .collect();
    let task = Task {
        tree: &tree,
        verify,
    };
    let checks = || -> Result<(), TaskError> {
        let table = checks::Table::collect(&tree)?;
        task.apply(
            "specs/checks.md",
            &[Section {
                name: "checks",
                text: table.markdown(),
            }],
        )?;
        if verify { table.verify() } else { Ok(()) }
    };
    let wire = || task.apply("specs/wire.md", &wire::sections(&tree)?);
    let sizes = || task.apply("specs/sizes.md", &sizes::sections()?);
    let golden = || {
        task.apply(
            "specs/parameters.md",
            &[Section {
                name: "layouts",
                text: layouts::table(),
            }],
        )
    };
    match arguments.first().map(String::as_str) {
        Some("checks") => checks(),
        Some("wire") => wire(),
        Some("sizes") => sizes(),
        Some("layouts") => golden(),
        Some("specs") => {
            golden()?;
            sizes()?;
            wire()?;
            checks()
        }
        Some("refs") => refs::verify(&tree),
        Some("deps") => deps::verify(&tree),
        Some("patches") => patches::run(&tree, &rest),
        Some("mutants") => mutants::run(&tree, &rest),
        Some("vectors") => vectors::run(&tree, verify),
        Some("corpus") => corpus::write(&tree, rest.first().copied()),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(TaskError::Usage),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(TaskError::Usage) => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(match error {
                TaskError::Io { .. } | TaskError::Command { .. } | TaskError::Metadata(_) => 1,
                _ => 3,
            })
        }
    }
}
