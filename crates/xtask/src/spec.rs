//! Generated parts of hand-written pages.

use crate::error::TaskError;
use crate::tree::Tree;

/// One generated part.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// Writes generated parts, or verifies that they are what would be written.
pub(crate) struct Task<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) verify: bool,
}

const END: &str = "<!-- end generated -->";

impl Task<'_> {
    /// Brings the parts of one page up to date, or fails if they are not.
    pub(crate) fn apply(&self, path: &str, sections: &[Section]) -> Result<(), TaskError> {
        let old = self.tree.read(path)?;
        let mut page = old.clone();
        for section in sections {
            let begin = format!("<!-- generated: {} -->\n", section.name);
            let missing = || TaskError::NoSection {
                path: path.to_owned(),
                section: section.name,
            };
            let (head, rest) = page.split_once(&begin).ok_or_else(missing)?;
            let (held, tail) = rest.split_once(END).ok_or_else(missing)?;
            let fresh = format!("{}\n", section.text.trim_end());
            if self.verify && held != fresh {
                return Err(TaskError::Stale {
                    path: path.to_owned(),
                    section: section.name,
                });
            }
            page = format!("{head}{begin}{fresh}{END}{tail}");
        }
        if page == old {
            println!("{path}: up to date");
            Ok(())
        } else {
            println!("{path}: written");
            self.tree.write(path, &page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempdir::Dir, Tree) {
        let dir = tempdir::Dir::new();
        let root = dir.0.clone();
        (dir, Tree { root })
    }

    mod tempdir {
        use std::path::PathBuf;
        use std::sync::atomic::{AtomicU32, Ordering};

        static NEXT: AtomicU32 = AtomicU32::new(0);

        pub(super) struct Dir(pub(super) PathBuf);
        impl Dir {
            pub(super) fn new() -> Self {
                let name = format!(
                    "xtask-{}-{}",
                    std::process::id(),
                    NEXT.fetch_add(1, Ordering::Relaxed)
                );
                let path = std::env::temp_dir().join(name);
                std::fs::create_dir(&path).unwrap();
                Self(path)
            }
        }
        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[test]
    fn a_stale_part_is_found_and_replaced_and_the_rest_stays() {
        let (_dir, tree) = tree();
        tree.write(
            "p.md",
            "a\n<!-- generated: x -->\nold\n<!-- end generated -->\nb\n",
        )
        .unwrap();
        let section = || {
            [Section {
                name: "x",
                text: "new\n\n".to_owned(),
            }]
        };
        let verify = Task {
            tree: &tree,
            verify: true,
        };
        assert!(matches!(
            verify.apply("p.md", &section()),
            Err(TaskError::Stale { .. })
        ));
        Task {
            tree: &tree,
            verify: false,
        }
        .apply("p.md", &section())
        .unwrap();
        verify.apply("p.md", &section()).unwrap();
        let page = tree.read("p.md").unwrap();
        assert_eq!(
            page,
            "a\n<!-- generated: x -->\nnew\n<!-- end generated -->\nb\n"
        );
        let other = [Section {
            name: "y",
            text: String::new(),
        }];
        assert!(matches!(
            verify.apply("p.md", &other),
            Err(TaskError::NoSection { .. })
        ));
    }
}
