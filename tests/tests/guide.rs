//! The commands of the operator's guide, run as they stand.

use std::process::Command;

use veilsum_e2e::program;

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
}
