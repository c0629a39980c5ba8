//! End-to-end tests: helpers that run the `veilsum` program as processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use rand_core::{OsRng, RngCore};
use serde_json::Value;
use tempfile::TempDir;

pub mod attack;
pub mod crash;
pub mod forge;
pub mod load;

/// The program. Cargo builds it before the tests, because they are tests of its package (`crates/cli/tests` is this
/// directory): a build started from here would see another environment and make everything anew.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // <target>/<profile>/deps/<test>, or <target>/<profile>/<program>
        let own = std::env::current_exe().unwrap();
        let mut dirs = own.ancestors().skip(1).take(2);
        let program = dirs.find_map(|dir| Some(dir.join("veilsum")).filter(|p| p.is_file()));
        program.unwrap_or_else(|| panic!("the program is not beside {}", own.display()))
    })
}

/// Runs the program to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

/// As [`run`]; it must succeed.
///
/// # Panics
/// When it does not, with what it said.
pub fn run_ok<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON object of a command that was run with `--json`: the only line of its output.
///
/// # Panics
/// When there is anything else.
#[must_use]
pub fn json(stdout: &str) -> Value {
    assert_eq!(stdout.lines().count(), 1, "more than one line: {stdout}");
    serde_json::from_str(stdout).unwrap()
}

/// A free port of this machine, for TCP and UDP, among those that no system gives to whoever asks for any: nobody takes it
/// before it is used, or while the process that has it is started again.
///
/// # Panics
/// When the system gives no random number.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + u16::try_from(OsRng.next_u32() % 12_000).unwrap();
        let local = (Ipv4Addr::LOCALHOST, port);
        if UdpSocket::bind(local).is_ok() && TcpListener::bind(local).is_ok() {
            return port;
        }
    }
}

/// Keys, roster and configuration of a small deployment in a directory of its own.
#[derive(Debug)]
pub struct Deployment {
    dir: TempDir,
    clients: u32,
}

/// A process that is killed when the test is over.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// No process, to stand where one was killed.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Its process id.
    ///
    /// # Panics
    /// After it was waited for.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Kills it at once (SIGKILL).
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When that cannot be asked.
    pub fn is_running(&mut self) -> bool {
        let child = self.0.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// What it said, when it has ended; none where there is no process.
    ///
    /// # Panics
    /// When it cannot be waited for.
    #[must_use]
    pub fn end_if_any(mut self) -> Option<Output> {
        Some(self.0.take()?.wait_with_output().unwrap())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it cannot be waited for.
    #[must_use]
    pub fn end(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Hexadecimal of the digest that all deployments of the tests use for their model.
pub const MODEL: &str = "0101010101010101010101010101010101010101010101010101010101010101";

impl Deployment {
    /// Makes all keys and the roster with the program.
    ///
    /// # Panics
    /// When a command fails.
    #[must_use]
    pub fn new(clients: u32) -> Self {
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
            clients,
        };
        for role in ["registrar", "server"] {
            run_ok([
                "keygen",
                "--role",
                role,
                "--out",
                &this.file(&format!("{role}.key")),
            ]);
        }
        let mut roster = vec![
            "roster".to_owned(),
            "--key".into(),
            this.file("registrar.key"),
        ];
        roster.extend(["--out".to_owned(), this.file("roster.bin")]);
        for id in 1..=clients {
            let key = this.file(&format!("client-{id}.key"));
            run_ok([
                "keygen",
                "--role",
                "client",
                "--id",
                &id.to_string(),
                "--out",
                &key,
            ]);
            roster.push(format!("{key}.pub"));
        }
        run_ok(roster);
        this.configure("");
        this
    }

    /// As [`Self::new`], but the clients ask to join, and the registrar, whose directory is `R`, admits them.
    ///
    /// # Panics
    /// When a command fails.
    #[must_use]
    pub fn enrolled(clients: u32) -> Self {
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
            clients,
        };
        run_ok([
            "keygen",
            "--role",
            "server",
            "--out",
            &this.file("server.key"),
        ]);
        this.registrar(&["init"]);
        fs::copy(this.file("R/registrar.pub"), this.file("registrar.key.pub")).unwrap();
        let requests: Vec<String> = (1..=clients).map(|id| this.request(id)).collect();
        let mut words = vec!["admit"];
        words.extend(requests.iter().map(String::as_str));
        this.registrar(&words);
        this.sign_roster();
        this.configure("");
        this
    }

    /// Runs a command of the registrar in `R`.
    ///
    /// # Panics
    /// When it fails.
    pub fn registrar(&self, words: &[&str]) -> Value {
        let dir = self.file("R");
        let front = ["registrar", words[0], "--json", "--dir", &dir];
        json(&run_ok([&front, &words[1..]].concat()))
    }

    /// A client's request to join, and its keys if there are none.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn request(&self, id: u32) -> String {
        let key = self.file(&format!("client-{id}.key"));
        let (id, registrar) = (id.to_string(), self.file("R/registrar.pub"));
        let words = ["enrol", "request", "--registrar", &registrar, "--key", &key];
        run_ok([&words[..], &["--id", &id]].concat());
        format!("{key}.join")
    }

    /// Signs the next roster and puts it where the server looks for it; gives its version.
    ///
    /// # Panics
    /// When nothing was decided since the last one.
    pub fn sign_roster(&self) -> u64 {
        let signed = self.registrar(&["sign", "--out", &self.file("roster.bin")]);
        assert_eq!(signed["changed"], true);
        signed["version"].as_u64().unwrap()
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The configuration, `changes` (lines of `[round]`) in place of the lines of the same key.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, changes: &str) {
        let n = self.clients;
        let beacon = "02".repeat(32);
        let defaults = [
            ("id", "1".to_owned()),
            ("dim", "5".to_owned()),
            ("scale_bits", "12".to_owned()),
            ("norm_bound", "32767".to_owned()),
            // Nobody is left out because the machine is busy.
            ("n_min", n.to_string()),
            ("malicious_max", "1".to_owned()),
            ("beacon", format!("\"{beacon}\"")),
            ("model_digest", format!("\"{MODEL}\"")),
            ("contribute_seconds", "900".to_owned()),
        ];
        let mut text = String::from(
            "listen = \"127.0.0.1:0\"\nkey = \"server.key\"\nregistrar = \"registrar.key.pub\"\nroster = \"roster.bin\"\n\
             state = \"state\"\nresult = \"result.npy\"\naddress_file = \"address\"\n[round]\n",
        );
        let key_of = |line: &str| line.split('=').next().unwrap().trim().to_owned();
        let changed: Vec<String> = changes.lines().map(key_of).collect();
        for (key, value) in defaults {
            if !changed.iter().any(|c| c == key) {
                text += &format!("{key} = {value}\n");
            }
        }
        fs::write(self.file("server.toml"), text + changes + "\n").unwrap();
    }

    /// Starts the server.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn server(&self) -> Running {
        self.server_by(&[])
    }

    /// As [`Self::server`], started by another program, whose last argument it is.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn server_by(&self, starter: &[&str]) -> Running {
        let config = self.file("server.toml");
        let own = [
            program().to_str().unwrap(),
            "server",
            "--json",
            "--config",
            &config,
        ];
        let words = [starter, &own].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(Some(child))
    }

    /// The address that the server bound, once it has.
    ///
    /// # Panics
    /// As [`Self::wait`].
    #[must_use]
    pub fn address(&self) -> String {
        self.wait("the server's address", || {
            fs::read_to_string(self.file("address")).ok()
        })
        .trim()
        .to_owned()
    }

    /// Looks again and again until there is something.
    ///
    /// # Panics
    /// When there is nothing for ten minutes, which only a test that hangs waits for.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..6000 {
            if let Some(found) = look() {
                return found;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("no {what} within ten minutes");
    }

    /// Writes an update of 64-bit floats.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn update(&self, name: &str, values: &[f64]) -> String {
        let mut header = format!(
            "{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}",
            values.len()
        );
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let path = self.file(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The arguments of a client.
    #[must_use]
    pub fn client_arguments(&self, id: u32, address: &str, update: &str) -> Vec<String> {
        let (n_min, n) = (
            (2 * self.clients).div_ceil(3).to_string(),
            self.clients.to_string(),
        );
        let own = |suffix: &str| self.file(&format!("client-{id}.{suffix}"));
        [
            ["client", "--json"],
            ["--server", address],
            ["--server-key", &self.file("server.key.pub")],
            ["--registrar", &self.file("registrar.key.pub")],
            ["--key", &own("key")],
            ["--state", &own("state")],
            ["--update", update],
            ["--model-digest", MODEL],
            ["--n-min", &n_min],
            ["--committee", &n],
            ["--patience", "900"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }

    /// Starts a client.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn client(&self, id: u32, address: &str, update: &str) -> Running {
        self.client_after(id, address, update, 0)
    }

    /// As [`Self::client`], started by another program, whose last argument it is.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn client_by(&self, starter: &[&str], id: u32, address: &str, update: &str) -> Running {
        let child = Command::new(starter[0])
            .args(&starter[1..])
            .arg(program())
            .args(self.client_arguments(id, address, update))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(Some(child))
    }

    /// Starts a client with further arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn client_with(&self, id: u32, address: &str, update: &str, more: &[&str]) -> Running {
        let mut client = Command::new(program());
        let mut arguments = self.client_arguments(id, address, update);
        // Each option once: what is given takes the place of what is there.
        for option in more.iter().step_by(2) {
            if let Some(at) = arguments.iter().position(|a| a == option) {
                arguments.drain(at..at + 2);
            }
        }
        client.args(arguments).args(more);
        let client = client.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(client.spawn().unwrap()))
    }

    /// Starts a client that takes part in the first round whose number is above `after`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn client_after(&self, id: u32, address: &str, update: &str, after: u64) -> Running {
        let child = Command::new(program())
            .args(self.client_arguments(id, address, update))
            .args(["--after", &after.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(Some(child))
    }

    /// What `veilsum status` says of the first task, as soon as it says something.
    ///
    /// # Panics
    /// As [`Self::wait`].
    #[must_use]
    pub fn status_soon(&self, address: &str) -> Value {
        self.wait("status", || self.status(address))
    }

    /// What `veilsum status` says of the first task; nothing when there is no answer.
    #[must_use]
    pub fn status(&self, address: &str) -> Option<Value> {
        let output = run([
            "status",
            "--json",
            "--server",
            address,
            "--server-key",
            &self.file("server.key.pub"),
        ]);
        if !output.status.success() {
            return None;
        }
        // A server that has just started may have no task yet.
        let mut status = json(&String::from_utf8_lossy(&output.stdout));
        let task = status["tasks"].get_mut(0)?;
        Some(task.take())
    }

    /// The vector of 64-bit floats in a `.npy` file that the server wrote.
    ///
    /// # Panics
    /// When it is not one.
    #[must_use]
    pub fn result(&self) -> Vec<f64> {
        self.array("result.npy")
    }

    /// The vector of 64-bit floats in a `.npy` file of this directory.
    ///
    /// # Panics
    /// When it is not one.
    #[must_use]
    pub fn array(&self, name: &str) -> Vec<f64> {
        let bytes = fs::read(self.file(name)).unwrap();
        let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[data..]
            .as_chunks()
            .0
            .iter()
            .map(|c| f64::from_le_bytes(*c))
            .collect()
    }
}
