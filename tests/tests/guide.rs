//! The commands of the operator's guide, run as they stand.

use std::fs;
use std::process::Command;

use veilsum_e2e::{json, program, run, run_ok};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operator.md");

#[test]
fn the_operators_guide_runs() {
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let blocks: Vec<&str> = guide
        .split("\n```sh\n")
        .skip(1)
        .map(|rest| rest.split("\n```\n").next().unwrap())
        .collect();
    assert!(blocks.len() >= 5, "{} blocks", blocks.len());
    let dir = tempfile::tempdir().unwrap();
    let program = program().parent().unwrap().to_str().unwrap().to_owned();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &blocks.join("\n")])
        .current_dir(dir.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("sum of 4 contributions, 0 rejected, 0 dropped"),
        "{said}"
    );
    assert!(said.contains("certified"), "{said}");

    // The round that is over: said at once, and the operator is not told to go on with it.
    let config = fs::read_to_string(dir.path().join("server.toml")).unwrap();
    let again = dir.path().join("again.toml");
    let config = config.replace("linger_seconds = 30", "linger_seconds = 0");
    fs::write(&again, config).unwrap();
    let again = run(["server", "--config", again.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&again.stdout);
    assert_eq!(again.status.code(), Some(2), "{said}");
    assert!(said.contains("round 1 is over: clients that ask"), "{said}");

    // All its servers have one key: a number that two of them gave to rounds would convict it.
    let mut numbers = vec![1];
    for config in ["weekly", "drawn", "tasks"] {
        let config = dir.path().join(format!("{config}.toml"));
        let config = config.to_str().unwrap();
        let about = json(&run_ok(["server", "--check", "--json", "--config", config]));
        let tasks = about["tasks"].as_array().unwrap().iter();
        numbers.extend(tasks.map(|task| task["round"].as_u64().unwrap()));
    }
    assert_eq!(numbers, [1, 100, 10000, 20000, 20001]);
}

/// The text outside of blocks and tables.
fn prose(guide: &str) -> String {
    let mut inside = false;
    let lines = guide.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence && !line.starts_with('|')
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Commands in running text are not run; but nobody looks for a command or an option that is not there.
#[test]
fn commands_in_the_text_and_their_options_exist() {
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let text = prose(&guide);
    let (mut commands, mut options) = (0, 0);
    for code in text.split('`').skip(1).step_by(2) {
        let mut words = code.split_whitespace();
        let first = words.next();
        // What is to be pasted stands in a block, which says whether it is run.
        let elsewhere = ["cargo", "podman", "docker", "systemctl", "apt-get"];
        let is_command = first.is_some_and(|first| elsewhere.contains(&first))
            && words.clone().any(|word| word.starts_with('-'));
        assert!(
            !is_command,
            "{code} stands in running text: put it into a block"
        );
        if first != Some("veilsum") {
            continue;
        }
        commands += 1;
        let words: Vec<&str> = words.collect();
        let plain = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
        let command: Vec<&str> = words.iter().take_while(plain).copied().collect();
        let help = run([&command[..], &["--help"]].concat());
        assert!(
            help.status.success(),
            "{code}: {}",
            String::from_utf8_lossy(&help.stderr)
        );
        let help = String::from_utf8(help.stdout).unwrap();
        for option in words.iter().filter(|word| word.starts_with("--")) {
            options += 1;
            let known = help.split(|c: char| !c.is_ascii_lowercase() && c != '-');
            assert!(
                known.clone().any(|word| word == *option),
                "{code}: {option} is not in {help}"
            );
        }
    }
    assert!(
        commands > 15 && options > 10,
        "{commands} commands, {options} options"
    );
    // And a block that is not run is marked.
    for block in guide.split("\n```").skip(1).step_by(2) {
        let mark = block.lines().next().unwrap();
        assert!(
            ["sh", "console", "text"].contains(&mark),
            "a block marked {mark:?}"
        );
    }
}
