//! Merkle trees whose leaves are bound to their position (`specs/wire.md`, "Merkle trees").
//!
//! leaf = H(0, tree label, index, data), node = H(1, tree label, left, right); the last node of an odd level moves up
//! unchanged. Index and count alone fix the shape of a path, so a path of any other length is refused.

use crate::labels::Label;
use crate::{CryptoError, Digest, Hasher};

/// Hash of one leaf.
pub fn leaf(tree: Label, index: u64, data: &[u8]) -> Digest {
    let mut h = Hasher::new(tree);
    h.update(&[0]).u64(index).update(data);
    h.finish()
}

fn node(tree: Label, left: &Digest, right: &Digest) -> Digest {
    let mut h = Hasher::new(tree);
    h.update(&[1]).update(&left.0).update(&right.0);
    h.finish()
}

fn parents(tree: Label, level: &[Digest]) -> Vec<Digest> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node(tree, left, right),
            [only] => *only,
            _ => Digest::default(),
        })
        .collect()
}

/// Root over leaf hashes; the all-zero digest for an empty tree.
pub fn root(tree: Label, leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(tree, &level);
    }
    level.first().copied().unwrap_or_default()
}

/// A tree with all its nodes, for whoever needs many paths: about twice the leaves in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// From the leaves up to the root.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over leaf hashes.
    pub fn new(tree: Label, leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = parents(tree, level);
            levels.push(above);
        }
        Self { levels }
    }

    /// The path of leaf `index`: siblings from the bottom up, none where a node moves up unchanged. Empty when there is no
    /// such leaf.
    pub fn path(&self, index: usize) -> Vec<Digest> {
        if self
            .levels
            .first()
            .is_none_or(|leaves| index >= leaves.len())
        {
            return Vec::new();
        }
        let siblings = self.levels.iter().enumerate();
        siblings
            .filter_map(|(height, level)| level.get((index >> height) ^ 1).copied())
            .collect()
    }
}

/// As [`Tree::path`], for a single path.
pub fn path(tree: Label, leaves: &[Digest], index: usize) -> Vec<Digest> {
    Tree::new(tree, leaves.to_vec()).path(index)
}

/// Number of siblings in the path of leaf `index` of `count`.
pub fn path_len(index: usize, count: usize) -> usize {
    let (mut at, mut width, mut len) = (index, count, 0);
    while width > 1 {
        len += usize::from((at ^ 1) < width);
        at /= 2;
        width = width.div_ceil(2);
    }
    len
}

/// The root that `data` as leaf `index` of `count` leads to along `path`.
///
/// # Errors
/// [`CryptoError::Path`] if the path does not have the one length that index and count allow.
pub fn root_from_path(
    tree: Label,
    index: usize,
    count: usize,
    data: &[u8],
    path: &[Digest],
) -> Result<Digest, CryptoError> {
    if index >= count || path.len() != path_len(index, count) {
        return Err(CryptoError::Path);
    }
    let (mut at, mut width, mut siblings) = (index, count, path.iter());
    let mut hash = leaf(tree, index as u64, data);
    while width > 1 {
        if (at ^ 1) < width {
            let sibling = siblings.next().ok_or(CryptoError::Path)?;
            hash = if at % 2 == 0 {
                node(tree, &hash, sibling)
            } else {
                node(tree, sibling, &hash)
            };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    Ok(hash)
}

/// Checks that `data` is leaf `index` of the `count` leaves under `root`.
///
/// # Errors
/// [`CryptoError::Path`].
pub fn verify(
    tree: Label,
    root: &Digest,
    index: usize,
    count: usize,
    data: &[u8],
    path: &[Digest],
) -> Result<(), CryptoError> {
    if root_from_path(tree, index, count, data, path)? == *root {
        Ok(())
    } else {
        Err(CryptoError::Path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{ROW_TREE, SHARE_TREE};

    #[test]
    fn every_leaf_verifies_at_its_place_only() {
        for count in 1..20usize {
            let data: Vec<Vec<u8>> = (0..count).map(|i| vec![i as u8 / 2; 5]).collect();
            let leaves: Vec<_> = data
                .iter()
                .enumerate()
                .map(|(i, d)| leaf(SHARE_TREE, i as u64, d))
                .collect();
            let top = root(SHARE_TREE, &leaves);
            for (i, datum) in data.iter().enumerate() {
                let p = path(SHARE_TREE, &leaves, i);
                assert_eq!(verify(SHARE_TREE, &top, i, count, datum, &p), Ok(()));
                assert_eq!(
                    verify(ROW_TREE, &top, i, count, datum, &p),
                    Err(CryptoError::Path)
                );
                for j in (0..count + 2).filter(|j| *j != i) {
                    assert_eq!(
                        verify(SHARE_TREE, &top, j, count, datum, &p),
                        Err(CryptoError::Path)
                    );
                }
                let mut longer = p.clone();
                longer.push(Digest::default());
                assert_eq!(
                    verify(SHARE_TREE, &top, i, count, datum, &longer),
                    Err(CryptoError::Path)
                );
            }
        }
    }
}
