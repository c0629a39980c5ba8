//! `keygen` and `roster`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_core::OsRng;
use serde_json::json;
use thiserror::Error;
use veilsum::params::ClientId;
use veilsum::store::{
    RealDisk, StoreError, read_bounded, read_private, write_private, write_public,
};
use veilsum::wire::{BeaconRule, Roster, RosterContent, RosterError, Wire, WireError};
use veilsum::{
    ClientKeys, KEY_FILE_MAX, KeyError, RegistrarKeys, ServerKeys, entry_from_text, entry_to_text,
    registrar_to_text,
};
use zeroize::Zeroizing;

use crate::args::{KeyRole, KeygenArguments, RosterArguments};
use crate::beacon::read_rule;
use crate::error::CliError;
use crate::mark::Mark;

/// What is wrong with a file of a key or of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FileError {
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It holds no such key.
    #[error("{}: {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: KeyError,
    },
    /// A secret that others can read.
    #[error("{}: others than its owner can read or write this secret key (mode {mode:03o}): `chmod 600 {}`, and make new keys if somebody may have read it", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no roster.
    #[error("{}: this is no roster ({cause}): write it again with `veilsum roster`", path.display())]
    Roster {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: WireError,
    },
    /// The roster does not verify.
    #[error(
        "{0}: check the registrar key, and that all entries are of one epoch and each client's own"
    )]
    Unverified(#[from] RosterError),
}

/// Reads and parses a key file.
pub(crate) fn read_key<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, KeyError>,
) -> Result<T, FileError> {
    let text = read_private(&RealDisk, path, KEY_FILE_MAX)?;
    parse(&text).map_err(|cause| FileError::Key {
        path: path.to_owned(),
        cause,
    })
}

/// As [`read_key`], for the file of a secret key: one of the user's own files that others can read or write is refused, as ssh
/// does. One that belongs to another user was put there by somebody who decides about that himself (systemd and orchestrators
/// hand secrets over so).
///
/// # Errors
/// [`FileError::Exposed`], before anything is read.
pub(crate) fn read_secret<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, KeyError>,
) -> Result<T, FileError> {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path) {
        use std::os::unix::fs::MetadataExt;
        let mode = metadata.mode() & 0o777;
        if metadata.is_file()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && mode & 0o077 != 0
        {
            return Err(FileError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
    }
    read_key(path, parse)
}

fn public_path(secret: &Path) -> PathBuf {
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

pub(crate) fn keygen(arguments: &KeygenArguments) -> Result<u8, CliError> {
    let (secret, public): (Zeroizing<Vec<u8>>, Vec<u8>) = match arguments.role {
        KeyRole::Client => {
            let keys = ClientKeys::generate(
                ClientId(arguments.id.unwrap_or_default()),
                arguments.epoch,
                &mut OsRng,
            );
            (keys.to_text(), entry_to_text(&keys.entry()))
        }
        KeyRole::Server => {
            let keys = ServerKeys::generate(&mut OsRng);
            let public = keys.public().map_err(|cause| FileError::Key {
                path: arguments.out.clone(),
                cause,
            })?;
            (keys.to_text(), public.to_text())
        }
        KeyRole::Registrar => {
            let keys = RegistrarKeys::generate(&mut OsRng);
            (keys.to_text(), registrar_to_text(&keys.public()))
        }
    };
    let public_file = public_path(&arguments.out);
    // The public file first: a secret without its public half would be the worse thing to be left with.
    write_public(&RealDisk, &public_file, &public)?;
    if let Err(error) = write_private(&RealDisk, &arguments.out, &secret) {
        // Only this call made the file, so nobody else's is removed.
        let _removed = std::fs::remove_file(&public_file);
        return Err(error.into());
    }
    if arguments.json {
        println!(
            "{}",
            json!({ "secret": arguments.out, "public": public_file })
        );
    } else {
        println!(
            "secret key: {} (keep it; only you can read it)",
            arguments.out.display()
        );
        println!(
            "public key: {} (give it to those who need it)",
            public_file.display()
        );
    }
    Ok(0)
}

pub(crate) fn roster(arguments: &RosterArguments) -> Result<u8, CliError> {
    let registrar = read_secret(&arguments.key, RegistrarKeys::from_text)?;
    let mut by_id = BTreeMap::new();
    for path in &arguments.entries {
        let entry = read_key(path, entry_from_text)?;
        if let Some((first, _)) = by_id.insert(entry.client, (path, entry.clone())) {
            return Err(CliError::DoubledEntry {
                client: entry.client,
                first: first.clone(),
                second: path.clone(),
            });
        }
    }
    let entries = by_id.into_values().map(|(_, entry)| entry).collect();
    let beacon = match &arguments.beacon {
        Some(path) => read_rule(path)?,
        None => BeaconRule::operator(),
    };
    let signed = registrar.sign_content(RosterContent {
        beacon,
        ..RosterContent::first(arguments.epoch, entries)
    });
    // What nobody would accept is not written.
    let roster = Roster::verify(signed, &registrar.public()).map_err(FileError::from)?;
    Mark::of(&arguments.key)?.single(&roster)?;
    write_public(&RealDisk, &arguments.out, &roster.signed().to_bytes())?;
    let (clients, digest) = (roster.entries().len(), roster.digest());
    if arguments.json {
        println!(
            "{}",
            json!({ "roster": arguments.out, "clients": clients, "digest": digest.to_hex() })
        );
    } else {
        println!(
            "{}: {clients} clients, epoch {}, digest {digest}",
            arguments.out.display(),
            arguments.epoch
        );
    }
    Ok(0)
}

/// Reads and verifies a roster file.
pub(crate) fn read_roster(
    path: &Path,
    registrar: &veilsum::crypto::VerifyingKey,
) -> Result<Roster, FileError> {
    let bytes = read_bounded(&RealDisk, path, veilsum::ROSTER_BYTES_MAX)?;
    roster_from(path, &bytes, registrar)
}

/// Verifies what a roster file holds.
pub(crate) fn roster_from(
    path: &Path,
    bytes: &[u8],
    registrar: &veilsum::crypto::VerifyingKey,
) -> Result<Roster, FileError> {
    let signed = Wire::from_bytes(bytes).map_err(|cause| FileError::Roster {
        path: path.to_owned(),
        cause,
    })?;
    Ok(Roster::verify(signed, registrar)?)
}
