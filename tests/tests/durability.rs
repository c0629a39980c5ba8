//! A state directory that is read-only or becomes so, and a log that a crash or a disk has damaged, through the program.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output};

use veilsum_e2e::{Deployment, Running, json, program};

const CLIENTS: u32 = 6;

fn start(deployment: &Deployment, address: &str, id: u32) -> Running {
    let values = [f64::from(id), -f64::from(id) / 4.0, 0.0, 0.5, 1.0];
    let update = deployment.update(&format!("update-{id}.npy"), &values);
    deployment.client(id, address, &update)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first clients of a round, when each has its receipt.
fn contributed(deployment: &Deployment, address: &str, clients: u32) -> Vec<Running> {
    let early = (1..=clients).map(|id| start(deployment, address, id));
    let early: Vec<Running> = early.collect();
    deployment.wait("contributions", || {
        deployment
            .status(address)
            .filter(|status| status["contributions"] == clients)
    });
    early
}

/// Stops a server and those who wait for it; what is durable is what is left.
fn killed(server: Running, clients: Vec<Running>) {
    server.kill();
    clients.into_iter().for_each(Running::kill);
}

/// All clients end, the early ones with the receipts that they have, and the sum is exact.
fn finished(deployment: &Deployment, server: Running) {
    let address = deployment.address();
    let clients: Vec<Running> = (1..=CLIENTS)
        .map(|id| start(deployment, &address, id))
        .collect();
    for client in clients {
        let output = client.end();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(
            json(&String::from_utf8_lossy(&output.stdout))["checked"],
            true
        );
    }
    let output = server.end();
    assert!(output.status.success(), "{}", said(&output));
    let mean = f64::from((1..=CLIENTS).sum::<u32>()) / f64::from(CLIENTS);
    assert_eq!(deployment.result(), [mean, -mean / 4.0, 0.0, 0.5, 1.0]);
}

/// A file system in a file: what root may do to its own files says nothing about a disk that cannot be written.
struct Volume {
    deployment: Deployment,
}

impl Volume {
    /// None, and the reason on the terminal, where this machine mounts nothing.
    fn new() -> Option<Self> {
        let deployment = Deployment::new(CLIENTS);
        let image = deployment.file("image");
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        fs::create_dir(deployment.file("state")).unwrap();
        let mut made = Command::new("mkfs.ext4");
        made.args(["-q", "-O", "^has_journal", &image]);
        let volume = Self { deployment };
        let works = made.status().is_ok_and(|status| status.success())
            && Command::new("unshare")
                .args(["-m", "sh", "-c", &volume.mount("rw"), "sh", "true"])
                .status()
                .is_ok_and(|status| status.success());
        if !works {
            // Past the capture of output: `.ci/run` repeats these lines.
            let reason =
                "no file system can be mounted (mkfs.ext4, unshare and loop devices are needed)";
            let mut terminal = std::io::stdout();
            writeln!(terminal, "\nskipped test: {reason}").unwrap();
        }
        works.then_some(volume)
    }

    fn mount(&self, how: &str) -> String {
        let (image, state) = (self.deployment.file("image"), self.deployment.file("state"));
        format!("mount -o loop,errors=remount-ro,{how} '{image}' '{state}' && exec \"$@\"")
    }

    /// The server in a namespace of its own, which holds the mount for as long as it lives.
    fn server(&self, how: &str) -> Running {
        let _ = fs::remove_file(self.deployment.file("address"));
        let script = self.mount(how);
        self.deployment
            .server_by(&["unshare", "-m", "sh", "-c", &script, "sh"])
    }

    /// The kernel takes the file system for damaged and writes to it no more.
    fn fail(&self) {
        let image = self.deployment.file("image");
        let found = Command::new("losetup")
            .args(["-j", &image, "-n", "-O", "NAME"])
            .output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        let device = found.trim().rsplit('/').next().unwrap();
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_at_the_start() {
    let Some(volume) = Volume::new() else { return };
    let output = volume.server("ro").end();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("Read-only file system") || said.contains("read-only"),
        "{said}"
    );
    assert!(said.contains(&volume.deployment.file("state")), "{said}");
    // Asked before, the program knows.
    let check = Command::new("unshare")
        .args(["-m", "sh", "-c", &volume.mount("ro"), "sh"])
        .arg(program())
        .args([
            "server",
            "--check",
            "--config",
            &volume.deployment.file("server.toml"),
        ])
        .output()
        .unwrap();
    let refused = self::said(&check);
    assert_eq!(check.status.code(), Some(1), "{refused}");
    let state = volume.deployment.file("state");
    assert!(
        refused.contains(&format!(
            "state: {state}: nothing can be written in {state}: read-only"
        )),
        "{refused}"
    );
    // And nothing is wrong with it once it can be written.
    let server = volume.server("rw");
    finished(&volume.deployment, server);
}

#[test]
fn a_disk_that_becomes_read_only_is_told_and_loses_nothing_that_was_acknowledged() {
    let Some(volume) = Volume::new() else { return };
    let deployment = &volume.deployment;
    let server = volume.server("rw");
    let address = deployment.address();
    let early = contributed(deployment, &address, 3);
    volume.fail();
    let output = start(deployment, &address, 4).end();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("server cannot store"),
        "{}",
        said(&output)
    );
    killed(server, early);
    let server = volume.server("rw");
    let address = deployment.address();
    let status = deployment.wait("status", || deployment.status(&address));
    assert_eq!(status["contributions"], 3, "{status}");
    finished(deployment, server);
}

#[test]
fn a_torn_end_of_the_log_is_cut_off_and_nothing_before_it() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let early = contributed(&deployment, &deployment.address(), 3);
    killed(server, early);
    let log = deployment.file("state/rounds/1/log");
    let whole = fs::read(&log).unwrap();
    // The beginning of a record that a crash kept from being written to its end.
    let torn = [&whole[..], &whole[76..76 + 50]].concat();
    fs::write(&log, torn).unwrap();
    let _ = fs::remove_file(deployment.file("address"));
    let server = deployment.server();
    let address = deployment.address();
    let status = deployment.wait("status", || deployment.status(&address));
    assert_eq!(status["contributions"], 3, "{status}");
    assert!(fs::read(&log).unwrap().starts_with(&whole));
    finished(&deployment, server);
}

#[test]
fn damage_inside_the_log_stops_the_server_and_is_told() {
    let deployment = Deployment::new(CLIENTS);
    let server = deployment.server();
    let early = contributed(&deployment, &deployment.address(), 3);
    killed(server, early);
    let log = deployment.file("state/rounds/1/log");
    let whole = fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let output = deployment.server().end();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains(&log), "{}", said(&output));
    assert_eq!(fs::read(&log).unwrap(), damaged, "it is left as it is");
    // Restored from a copy it goes on.
    fs::write(&log, whole).unwrap();
    let _ = fs::remove_file(deployment.file("address"));
    let server = deployment.server();
    finished(&deployment, server);
}
