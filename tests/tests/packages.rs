//! What is made from the definition of the command line, and what packages say: complete, and about files that exist.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use veilsum_e2e::{Deployment, program, run, run_ok};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A command with its subcommands and long options, as its help lists them.
#[derive(Debug)]
struct Listed {
    path: Vec<String>,
    options: BTreeSet<String>,
}

fn section<'a>(help: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != name).skip(1);
    lines.take_while(|line| line.is_empty() || line.starts_with(' '))
}

fn walk(path: &[String], found: &mut Vec<Listed>) {
    let mut arguments = path.to_vec();
    arguments.push("--help".to_owned());
    let help = run_ok(&arguments);
    let mut options = BTreeSet::new();
    for line in section(&help, "Options:") {
        // The first words of a line; behind them stands what the option is for.
        let mut words = line.split([' ', ',', '=', '[', '<']);
        if line.trim_start().starts_with('-') {
            let option = words.find(|word| word.starts_with("--"));
            options.extend(option.map(str::to_owned));
        }
    }
    let below: Vec<String> = section(&help, "Commands:")
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    found.push(Listed {
        path: path.to_vec(),
        options,
    });
    for name in below {
        walk(&[path, &[name]].concat(), found);
    }
}

fn listed() -> Vec<Listed> {
    let mut found = Vec::new();
    walk(&[], &mut found);
    let names: Vec<String> = found.iter().map(|command| command.path.join(" ")).collect();
    for known in [
        "server",
        "client",
        "rounds prune",
        "beacon reveal",
        "registrar sign",
        "epoch next",
    ] {
        assert!(names.iter().any(|name| name == known), "{names:?}");
    }
    let options: usize = found.iter().map(|command| command.options.len()).sum();
    assert!(options > 150, "{options} options");
    found
}

#[test]
fn there_is_a_man_page_for_each_command_with_all_its_options() {
    let dir = tempfile::tempdir().unwrap();
    run_ok(["man", "--out", dir.path().to_str().unwrap()]);
    let mut pages: BTreeSet<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.contains("help"))
        .collect();
    for command in listed() {
        let mut words = vec!["veilsum".to_owned()];
        words.extend(command.path.clone());
        let name = format!("{}.1", words.join("-"));
        assert!(pages.remove(&name), "there is no page {name}");
        let page = fs::read_to_string(dir.path().join(&name)).unwrap();
        let page = page.replace('\\', "");
        for option in &command.options {
            assert!(page.contains(option.as_str()), "{name} has no {option}");
        }
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"));
        // Name, section, date, source, manual: an empty one must not be swallowed.
        let title = format!(
            ".TH {} 1 \"\" \"veilsum {}\" Veilsum",
            words.join("-"),
            env!("CARGO_PKG_VERSION")
        );
        assert!(page.lines().any(|line| line == title), "{page}");
        // The synopsis is the usage of the help, with what options take.
        let mut arguments = command.path.clone();
        arguments.push("--help".to_owned());
        let help = run_ok(&arguments);
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: "));
        let usage = usage.unwrap();
        assert!(
            page.replace("fB", "").replace("fR", "").contains(usage),
            "{name} has no {usage}"
        );
        assert!(!page.contains("[default: ]"), "{name}");
        // As far as they are there, what reads such pages finds nothing wrong with it.
        let path = dir.path().join(&name);
        let path = path.to_str().unwrap();
        for reader in [
            &["mandoc", "-T", "lint", "-W", "error", path][..],
            &["groff", "-man", "-ww", "-z", path],
        ] {
            let Ok(output) = Command::new(reader[0]).args(&reader[1..]).output() else {
                continue;
            };
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && said.is_empty(),
                "{reader:?}: {said}"
            );
        }
    }
    assert!(pages.is_empty(), "pages of no command: {pages:?}");
}

#[test]
fn completions_know_each_command_and_all_its_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run_ok(["completions", shell]);
        for command in listed() {
            if let Some(name) = command.path.last() {
                assert!(script.contains(name.as_str()), "{shell} has no {name}");
            }
            for option in &command.options {
                let in_script = match shell {
                    "fish" => format!("-l {}", option.trim_start_matches('-')),
                    _ => option.clone(),
                };
                assert!(script.contains(&in_script), "{shell} has no {in_script}");
            }
        }
    }
    // Where the shells are there, they can read them.
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let path = dir.path().join(shell);
        fs::write(&path, run_ok(["completions", shell])).unwrap();
        if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && said.is_empty(),
                "{shell}: {said}"
            );
        }
    }
    // What bash offers where it is there: it reads the script and asks it.
    let script = run_ok(["completions", "bash"]);
    let asked = format!(
        "{script}\nCOMP_WORDS=(veilsum rounds prune --); COMP_CWORD=3; \
         _veilsum veilsum -- prune; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let Ok(output) = Command::new("bash").args(["-c", &asked]).output() else {
        return;
    };
    let offered = String::from_utf8_lossy(&output.stdout).into_owned();
    for option in ["--state", "--keep", "--dry-run", "--bodies-only"] {
        assert!(offered.lines().any(|line| line == option), "{offered}");
    }
}

/// The words behind the keys of a unit.
fn unit(key: &str) -> Vec<String> {
    let unit = fs::read_to_string(format!("{ROOT}/packaging/veilsum.service")).unwrap();
    let lines = unit.lines();
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
        .collect()
}

/// Runs a command line of a package as far as it goes without its files: what it says is about them, and not about usage.
fn is_understood(arguments: &[&str]) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains("it does not exist"), "{said}");
}

#[test]
fn the_unit_starts_what_there_is_and_systemd_knows_all_of_it() {
    let lines = unit("ExecStart");
    assert_eq!(lines.len(), 1);
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(words[0], "/usr/local/bin/veilsum");
    is_understood(&words[1..]);
    // Exit codes that another start does not mend, which systemd looks for after `ExecStart` alone.
    assert_eq!(unit("RestartPreventExitStatus"), ["2 3 4"]);
    assert_eq!(unit("ExecStartPre"), Vec::<String>::new());

    // A configuration as the unit's comment says, with the key where systemd puts it.
    let deployment = Deployment::new(4);
    let text = fs::read_to_string(deployment.file("server.toml")).unwrap();
    let key = "/run/credentials/veilsum.service/server.key";
    let comment = fs::read_to_string(format!("{ROOT}/packaging/veilsum.service")).unwrap();
    assert!(comment.contains(key) && comment.contains("state = \"/var/lib/veilsum\""));
    assert_eq!(
        unit("LoadCredential"),
        ["server.key:/etc/veilsum/server.key"]
    );
    let text = text.replace("\"server.key\"", &format!("{key:?}"));
    fs::write(deployment.file("server.toml"), text).unwrap();
    let config = deployment.file("server.toml");
    let output = run(["server", "--check", "--config", &config]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(key), "{said}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("veilsum.service");
    let verify = |text: &str| {
        fs::write(&path, text).unwrap();
        Command::new("systemd-analyze")
            .args(["verify", "--man=no", path.to_str().unwrap()])
            .output()
    };
    let here = comment.replace("/usr/local/bin/veilsum", program().to_str().unwrap());
    let Ok(output) = verify(&here) else {
        return; // No systemd on this machine.
    };
    let about_unit = |stderr: &[u8]| {
        let said = String::from_utf8_lossy(stderr).into_owned();
        let lines = said.lines().filter(|line| line.contains("veilsum.service"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(about_unit(&output.stderr), Vec::<String>::new());
    // And it would say so.
    let wrong = here.replace("NoNewPrivileges", "NoNewPrivilege");
    let output = verify(&wrong).unwrap();
    assert_eq!(about_unit(&output.stderr).len(), 1, "{:?}", output.stderr);
}

/// No container engine is needed for this: what the file names is there.
#[test]
fn the_containerfile_names_what_there_is() {
    let text = fs::read_to_string(format!("{ROOT}/packaging/Containerfile")).unwrap();
    let text = text.replace("\\\n", "");
    let lines: Vec<&str> = text.lines().collect();
    let of = |word: &str| -> Vec<&str> {
        let found = lines.iter();
        found
            .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
            .collect()
    };
    // The toolchain that the image has is the one of the sources, and rustup is kept from fetching another.
    let toolchain = fs::read_to_string(format!("{ROOT}/rust-toolchain.toml")).unwrap();
    let [build, runtime] = of("FROM")[..] else {
        panic!("two images: {lines:?}");
    };
    let parts: Vec<&str> = build.split(['-', ':', ' ']).collect();
    let [
        "docker.io/library/rust",
        version,
        "slim",
        suite,
        "AS",
        "build",
    ] = parts[..]
    else {
        panic!("{build}");
    };
    assert!(toolchain.contains(&format!("channel = \"{version}.")));
    assert_eq!(
        runtime,
        format!("docker.io/library/debian:{suite}-slim"),
        "both of one release: the C library of the other may be older"
    );
    let pinned = of("ENV")[0].strip_prefix("RUSTUP_TOOLCHAIN=").unwrap();
    assert!(toolchain.contains(&format!("channel = \"{pinned}\"")));
    let compiled = of("RUN").into_iter().find(|line| line.starts_with("cargo"));
    let compiled: Vec<&str> = compiled.unwrap().split_whitespace().collect();
    assert!(compiled.contains(&"--locked") && Path::new(ROOT).join("Cargo.lock").is_file());
    let package = compiled[1 + compiled.iter().position(|word| *word == "-p").unwrap()];
    let manifest = fs::read_to_string(format!("{ROOT}/crates/cli/Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("name = \"{package}\"")));
    assert!(manifest.contains("[[bin]]\nname = \"veilsum\""));
    // Built below the working directory, put aside, and copied from there to where the program is looked for.
    assert_eq!(of("WORKDIR")[0], "/src");
    let aside = ["install", "-D", "target/release/veilsum", "/out/veilsum"];
    assert!(
        compiled.windows(4).any(|words| words == aside),
        "{compiled:?}"
    );
    let copied = of("COPY")
        .into_iter()
        .find(|line| line.starts_with("--from"));
    assert_eq!(
        copied,
        Some("--from=build /out/veilsum /usr/local/bin/veilsum")
    );
    let list = |text: &str| -> Vec<String> { serde_json::from_str(text).unwrap() };
    assert_eq!(list(of("ENTRYPOINT")[0]), ["veilsum"]);
    let command = list(of("CMD")[0]);
    is_understood(&command.iter().map(String::as_str).collect::<Vec<_>>());

    // What the repository ignores is not sent to the build, with gigabytes of `target`; what it needs is.
    let read = |name: &str| fs::read_to_string(format!("{ROOT}/{name}")).unwrap();
    let kept_out: BTreeSet<String> = read(".dockerignore").lines().map(str::to_owned).collect();
    for line in read(".gitignore").lines() {
        let name = line.trim_matches('/');
        let anywhere = format!("**/{name}");
        assert!(
            kept_out.contains(name) || kept_out.contains(&anywhere),
            "{name}"
        );
    }
    assert!(kept_out.contains(".git"));
    for entry in fs::read_dir(ROOT).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let ignored = read(".gitignore")
            .lines()
            .any(|line| line.trim_matches('/') == name);
        assert!(
            ignored || name == ".git" || !kept_out.contains(&name),
            "{name}"
        );
    }

    // The user, by number, and what the guide's commands say to the program.
    let user = of("USER")[0].split(':').next().unwrap();
    assert!(
        of("RUN")
            .iter()
            .any(|line| line.contains(&format!("useradd --uid {user} ")))
    );
    let guide = read("docs/operator.md");
    assert!(guide.contains("podman build -f packaging/Containerfile"));
    assert!(guide.contains(&format!("uid={user},gid={user},mode=0400")));
    assert!(guide.contains(&format!("-v veilsum:{}", of("VOLUME")[0])));
    let health = guide.split("--health-cmd 'veilsum ").nth(1).unwrap();
    let health: Vec<&str> = health.split('\'').next().unwrap().split(' ').collect();
    is_understood(&health);
}

/// The base image of the container has the C library and that of the compiler, and nothing else that a program could need.
/// Another C library brings another tool.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_program_needs_no_library_that_a_bare_debian_has_not() {
    let output = Command::new("ldd").arg(program()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = said
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.map(|name| name.rsplit('/').next().unwrap()).collect();
    assert!(names.contains(&"libc.so.6"), "{said}");
    for name in names {
        let known = [
            "linux-vdso",
            "ld-linux",
            "libc.so",
            "libm.so",
            "libgcc_s.so",
        ];
        assert!(known.iter().any(|known| name.starts_with(known)), "{said}");
    }
}
