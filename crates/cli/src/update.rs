//! Reading an update from a file: NumPy `.npy` (version 1 to 3) or `.safetensors`, one vector of 32- or 64-bit floats.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use thiserror::Error;
use veilsum::params::limits::DIM_MAX;
use veilsum::store::{RealDisk, StoreError, read_private};
use zeroize::Zeroizing;

/// The longest file that can hold an update: all coordinates as 64-bit floats, and a header.
const FILE_MAX: u64 = DIM_MAX as u64 * 8 + (1 << 20);
/// Headers of real files are below 200 bytes.
const NPY_HEADER_MAX: usize = 4096;

/// Why a file is not an update. Never contains a value of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UpdateError {
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name ends in neither of the two formats.
    #[error("{}: updates are read from .npy and .safetensors files: rename or convert the file", .0.display())]
    Extension(PathBuf),
    /// Not a file of that format, or cut off.
    #[error("{}: this is not a whole {format} file ({what}): write it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that its name says.
        format: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// Not one vector of floats.
    #[error("{}: {what}: give one vector of 32- or 64-bit little-endian floats (flatten the model first)", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Several tensors and none was named.
    #[error("{}: the file holds {count} tensors: name one with --tensor", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The named tensor is not there.
    #[error("{}: the file has no tensor of the name given with --tensor", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
    },
}

/// The coordinates of the update in `path`; `tensor` names one of several in a `.safetensors` file.
///
/// # Errors
/// [`UpdateError`].
pub(crate) fn read_update(
    path: &Path,
    tensor: Option<&str>,
) -> Result<Zeroizing<Vec<f64>>, UpdateError> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy(path, &read_private(&RealDisk, path, FILE_MAX)?),
        Some("safetensors") => safetensors(path, &read_private(&RealDisk, path, FILE_MAX)?, tensor),
        _ => Err(UpdateError::Extension(path.to_owned())),
    }
}

#[derive(Clone, Copy)]
enum Width {
    Single,
    Double,
}

fn floats(width: Width, bytes: &[u8]) -> Option<Zeroizing<Vec<f64>>> {
    let (values, rest) = match width {
        Width::Single => {
            let (chunks, rest) = bytes.as_chunks();
            (
                chunks
                    .iter()
                    .map(|c| f64::from(f32::from_le_bytes(*c)))
                    .collect::<Vec<_>>(),
                rest,
            )
        }
        Width::Double => {
            let (chunks, rest) = bytes.as_chunks();
            (
                chunks.iter().map(|c| f64::from_le_bytes(*c)).collect(),
                rest,
            )
        }
    };
    rest.is_empty().then(|| Zeroizing::new(values))
}

fn npy(path: &Path, bytes: &[u8]) -> Result<Zeroizing<Vec<f64>>, UpdateError> {
    let format = |what| UpdateError::Format {
        path: path.to_owned(),
        format: ".npy",
        what,
    };
    let shape = |what| UpdateError::Shape {
        path: path.to_owned(),
        what,
    };
    let rest = bytes
        .strip_prefix(b"\x93NUMPY")
        .ok_or_else(|| format("it does not begin like one"))?;
    let cut = || format("its header is cut off");
    let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
    let (len, rest) = match version {
        [1, 0] => {
            let (len, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        [2 | 3, 0] => {
            let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (
                usize::try_from(u32::from_le_bytes(*len)).map_err(|_| cut())?,
                rest,
            )
        }
        _ => return Err(format("its version is none of 1, 2 and 3")),
    };
    if len > NPY_HEADER_MAX {
        return Err(format("its header is too long"));
    }
    let (header, data) = rest.split_at_checked(len).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| format("its header is not text"))?;
    let fields =
        NpyHeader::parse(header).ok_or_else(|| format("its header is not the usual dictionary"))?;
    let width = match fields.descr {
        "<f4" => Width::Single,
        "<f8" => Width::Double,
        _ => return Err(shape("its elements are not little-endian floats")),
    };
    if !fields.one_dimensional {
        return Err(shape("it does not have exactly one dimension"));
    }
    let values = floats(width, data).ok_or_else(|| format("its data end inside a number"))?;
    if u64::try_from(values.len()) != Ok(fields.length) {
        return Err(format("its data are not as long as its shape says"));
    }
    Ok(values)
}

struct NpyHeader<'a> {
    descr: &'a str,
    one_dimensional: bool,
    length: u64,
}

impl<'a> NpyHeader<'a> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (650,), }` with the keys in any order, as NumPy writes it.
    fn parse(header: &'a str) -> Option<Self> {
        let mut rest = header.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            match key {
                "descr" if descr.is_none() => {
                    let (value, after) = quoted(rest)?;
                    descr = Some(value);
                    rest = after;
                }
                "fortran_order" if order.is_none() => {
                    let after = rest
                        .strip_prefix("False")
                        .or_else(|| rest.strip_prefix("True"))?;
                    order = Some(());
                    rest = after;
                }
                "shape" if shape.is_none() => {
                    let (value, after) = rest.strip_prefix('(')?.split_once(')')?;
                    shape = Some(value);
                    rest = after;
                }
                _ => return None,
            }
            rest = rest.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        order?;
        let numbers: Vec<&str> = shape?.split(',').map(str::trim).collect();
        let (one_dimensional, length) = match numbers.as_slice() {
            [length, ""] => (true, length.parse().ok()?),
            _ => (false, 0),
        };
        Some(Self {
            descr: descr?,
            one_dimensional,
            length,
        })
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'')
}

fn safetensors(
    path: &Path,
    bytes: &[u8],
    tensor: Option<&str>,
) -> Result<Zeroizing<Vec<f64>>, UpdateError> {
    let format = |what| UpdateError::Format {
        path: path.to_owned(),
        format: ".safetensors",
        what,
    };
    let shape = |what| UpdateError::Shape {
        path: path.to_owned(),
        what,
    };
    let file =
        SafeTensors::deserialize(bytes).map_err(|_| format("its header does not fit its data"))?;
    let view = match tensor {
        Some(name) => file.tensor(name).map_err(|_| UpdateError::NoTensor {
            path: path.to_owned(),
        })?,
        None => {
            let mut tensors = file.tensors();
            match (tensors.len(), tensors.pop()) {
                (1, Some((_, view))) => view,
                (count, _) => {
                    return Err(UpdateError::Tensors {
                        path: path.to_owned(),
                        count,
                    });
                }
            }
        }
    };
    let width = match view.dtype() {
        Dtype::F32 => Width::Single,
        Dtype::F64 => Width::Double,
        _ => return Err(shape("its elements are not 32- or 64-bit floats")),
    };
    if view.shape().len() != 1 {
        return Err(shape("the tensor does not have exactly one dimension"));
    }
    floats(width, view.data()).ok_or_else(|| format("its data end inside a number"))
}

/// The bytes of a `.npy` file (version 1) with one vector of 64-bit floats.
pub(crate) fn npy_bytes(values: &[f64]) -> Vec<u8> {
    let mut header = format!(
        "{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}",
        values.len()
    );
    // Data are aligned to 64 bytes: magic, version and length take 10.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend_from_slice(
        &u16::try_from(header.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    out.extend_from_slice(header.as_bytes());
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    out
}

/// A result's file for a round: `{round}` in its name stands for the number.
pub(crate) fn numbered(path: &Path, round_id: u64) -> PathBuf {
    match path.file_name() {
        Some(name) => path.with_file_name(
            name.to_string_lossy()
                .replace("{round}", &round_id.to_string()),
        ),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<f64>, UpdateError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read_update(&path, None).map(|v| v.to_vec())
    }

    fn npy_file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn npy_of_both_widths() {
        assert_eq!(
            read("a.npy", &npy_bytes(&[1.5, -2.0])).unwrap(),
            [1.5, -2.0]
        );
        let single = npy_file(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
            &2.5f32.to_le_bytes(),
        );
        assert_eq!(read("a.npy", &single).unwrap(), [2.5]);
    }

    #[test]
    fn npy_that_is_none() {
        let good = npy_bytes(&[1.0; 9]);
        for end in 0..good.len() {
            assert!(
                matches!(read("a.npy", &good[..end]), Err(UpdateError::Format { .. })),
                "cut at {end}"
            );
        }
        let mut longer = good;
        longer.extend([0; 8]);
        assert!(matches!(
            read("a.npy", &longer),
            Err(UpdateError::Format { .. })
        ));
        for header in [
            "{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        ] {
            assert!(
                matches!(
                    read("a.npy", &npy_file(header, &[0; 4])),
                    Err(UpdateError::Shape { .. })
                ),
                "{header}"
            );
        }
        for header in [
            "",
            "{}",
            "{'descr': '<f4', 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        ] {
            assert!(
                matches!(
                    read("a.npy", &npy_file(header, &[0; 4])),
                    Err(UpdateError::Format { .. })
                ),
                "{header}"
            );
        }
    }

    #[test]
    fn safetensors_of_one_vector_only() {
        let file = |shape: Vec<usize>, dtype, names: &[&str]| {
            let data = [0u8; 8];
            let view = safetensors::tensor::TensorView::new(dtype, shape, &data).unwrap();
            safetensors::serialize(names.iter().map(|n| (*n, view.clone())), None).unwrap()
        };
        assert_eq!(
            read("a.safetensors", &file(vec![2], Dtype::F32, &["u"])).unwrap(),
            [0.0, 0.0]
        );
        assert!(matches!(
            read("a.safetensors", &file(vec![1, 2], Dtype::F32, &["u"])),
            Err(UpdateError::Shape { .. })
        ));
        assert!(matches!(
            read("a.safetensors", &file(vec![1], Dtype::I64, &["u"])),
            Err(UpdateError::Shape { .. })
        ));
        assert!(matches!(
            read("a.safetensors", &file(vec![1], Dtype::F64, &["u", "v"])),
            Err(UpdateError::Tensors { count: 2, .. })
        ));
        assert!(matches!(
            read("a.safetensors", &[0xff; 64]),
            Err(UpdateError::Format { .. })
        ));
        assert!(matches!(read("a.pt", &[]), Err(UpdateError::Extension(_))));
    }
}
