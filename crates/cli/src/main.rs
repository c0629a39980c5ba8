//! The `veilsum` command line.

mod args;
mod audit;
mod beacon;
mod bench;
mod check;
mod client;
mod config;
mod demo;
mod epoch;
mod error;
mod fields;
mod host;
mod inspect;
mod keys;
mod kinds;
mod lab;
mod ledger;
mod limits;
mod mark;
mod metrics;
mod newest;
mod pages;
mod places;
mod propose;
mod registrar;
mod rounds;
mod schedule;
mod service;
mod stands;
mod status;
mod update;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, LogFormat};
use error::CliError;

/// Counts, so that `veilsum bench` can report peaks.
#[global_allocator]
static ALLOCATOR: veilsum_bench::PeakAlloc = veilsum_bench::PeakAlloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // If even this cannot be printed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        // A file or a journal has no use for colours.
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    match run(arguments.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("veilsum: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<u8, CliError> {
    match command {
        Command::Keygen(arguments) => keys::keygen(&arguments),
        Command::Roster(arguments) => keys::roster(&arguments),
        Command::Enrol(arguments) => registrar::enrol(&arguments.command),
        Command::Registrar(arguments) => registrar::registrar(&arguments.command),
        Command::Epoch(arguments) => epoch::epoch(&arguments.command),
        Command::Beacon(arguments) => beacon::beacon(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Lab(arguments) => lab::lab(&arguments),
        Command::Rounds(arguments) => rounds::rounds(&arguments),
        Command::Params(arguments) => propose::params(&arguments),
        Command::Completions { shell } => {
            pages::completions(shell);
            Ok(0)
        }
        Command::Man { out } => pages::man(&out),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Audit(arguments) => audit::audit(&arguments),
        Command::Check(arguments) => on_runtime(THREADS, check::check(arguments)),
        Command::Demo(arguments) => on_runtime(THREADS, demo::demo(arguments)),
        Command::Server(arguments) => service::server(&arguments),
        Command::Client(arguments) => on_runtime(THREADS, client::client(arguments)),
        Command::Status(arguments) => on_runtime(THREADS, status::status(arguments)),
    }
}

/// Threads of a server for whatever blocks. Of each task as many contributions as there are verifiers have one until they are
/// stored, and as many headers until they are looked at: they wait for the disk, or for a round that is busy. What is left is for
/// signatures and files, so that uploads of all tasks go on meanwhile. A thread is only made when all others are busy.
fn server_threads(verifiers: usize, tasks: usize) -> usize {
    let waiting = verifiers.saturating_mul(tasks).saturating_mul(2);
    waiting.saturating_add(8).clamp(16, SERVER_THREADS_MAX)
}

/// More of them no machine needs, and few can have.
const SERVER_THREADS_MAX: usize = 4096;

/// Threads of everything else: many clients may be in one process.
const THREADS: usize = 512;

fn on_runtime(
    threads: usize,
    work: impl Future<Output = Result<u8, CliError>>,
) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .build()
        .map_err(|error| CliError::Runtime(error.kind()))?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    use super::*;

    #[test]
    fn however_many_wait_in_all_tasks_there_are_threads_for_the_rest() {
        for (verifiers, tasks) in [(1, 1), (16, 1), (40, 1), (16, 3)] {
            let running = Arc::new((Mutex::new(0), Condvar::new()));
            // Each goes on when all of them run: contributions, headers, and four signatures that are checked beside them.
            let all = 2 * verifiers * tasks + 4;
            let ended = on_runtime(server_threads(verifiers, tasks), async move {
                let started = (0..all).map(|_| {
                    let running = Arc::clone(&running);
                    tokio::task::spawn_blocking(move || {
                        let (count, changed) = &*running;
                        *count.lock().unwrap() += 1;
                        changed.notify_all();
                        let count = count.lock().unwrap();
                        let wait = Duration::from_secs(20);
                        let waited = changed.wait_timeout_while(count, wait, |count| *count < all);
                        waited.unwrap().1.timed_out()
                    })
                });
                let mut late = 0;
                for started in started.collect::<Vec<_>>() {
                    late += u8::from(started.await.unwrap());
                }
                Ok(late)
            });
            assert_eq!(ended, Ok(0), "{verifiers} verifiers, {tasks} tasks");
        }
    }
}
