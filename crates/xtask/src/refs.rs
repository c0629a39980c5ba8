//! Sections of `specs/` that comments name must exist; a reference may be the beginning of a title.

use crate::error::{TaskError, none};
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Comment text without line breaks and markers, so that a reference that is wrapped is still found.
fn flowing(text: &str) -> String {
    let strip = |line: &str| {
        let line = line.trim_start();
        let line = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
            .or_else(|| line.strip_prefix("//"))
            .unwrap_or(line);
        line.trim().to_owned()
    };
    text.lines().map(strip).collect::<Vec<_>>().join(" ")
}

/// (page, section) of every reference of the form `specs/page.md`, "Section".
fn references(text: &str) -> Vec<(String, Option<String>)> {
    let text = flowing(text);
    let mut out = Vec::new();
    for (at, _) in text.match_indices("specs/") {
        let rest = text.get(at + 6..).unwrap_or_default();
        let Some((page, after)) = rest.split_once(".md") else {
            continue;
        };
        if page.is_empty() || !page.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            continue;
        }
        let after = after.trim_start_matches('`');
        let section = after
            .strip_prefix(", \"")
            .and_then(|s| s.split_once('"'))
            .map(|(s, _)| s.to_owned());
        out.push((page.to_owned(), section));
    }
    out
}

/// Titles of a page without their numbers.
fn titles(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|l| l.starts_with('#'))
        .map(|l| {
            let title = l.trim_start_matches('#').trim();
            match title.split_once(' ') {
                Some((number, rest)) if number.chars().all(|c| c.is_ascii_digit() || c == '.') => {
                    rest.to_owned()
                }
                _ => title.to_owned(),
            }
        })
        .collect()
}

pub(crate) fn verify(tree: &Tree) -> Result<(), TaskError> {
    let pages: BTreeMap<String, BTreeSet<String>> = tree
        .files("specs", ".md")?
        .into_iter()
        .filter_map(|p| {
            Some((
                p.path
                    .strip_prefix("specs/")?
                    .strip_suffix(".md")?
                    .to_owned(),
                titles(&p.text),
            ))
        })
        .collect();
    let mut sources = tree.sources()?;
    sources.extend(tree.files("crates", ".md")?);
    sources.extend(tree.files("specs", ".md")?);
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        sources.push(crate::tree::Source {
            path: page.to_owned(),
            text: tree.read(page)?,
        });
    }
    let (mut findings, mut count) = (Vec::new(), 0);
    for source in sources
        .iter()
        .filter(|s| !s.path.starts_with("crates/xtask/"))
    {
        for (page, section) in references(&source.text) {
            count += 1;
            match (pages.get(&page), section) {
                (None, _) => {
                    findings.push(format!("{}: specs/{page}.md does not exist", source.path))
                }
                (Some(titles), Some(section))
                    if !titles.iter().any(|t| t.starts_with(&section)) =>
                {
                    findings.push(format!(
                        "{}: specs/{page}.md has no section \"{section}\"",
                        source.path
                    ));
                }
                _ => {}
            }
        }
    }
    println!("refs: {count} references into specs/");
    none(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_references_are_found() {
        let text = "/// As said (`specs/protocol.md`,\n    /// \"Random projection\") and in `specs/log.md`.";
        let expected = [
            ("protocol".to_owned(), Some("Random projection".to_owned())),
            ("log".to_owned(), None),
        ];
        assert_eq!(references(text), expected);
    }

    #[test]
    fn titles_lose_their_numbers() {
        let page = "# The protocol\n## 6.1 Random projection\ntext\n### 14. Rules";
        let expected = ["The protocol", "Random projection", "Rules"]
            .map(str::to_owned)
            .into();
        assert_eq!(titles(page), expected);
    }
}
