//! Files that stand for themselves: evidence, what a client needs to check a result again, and the roster of a transcript.

use crate::record::tagged;
use crate::{
    Check, ContextError, Conviction, JudgeError, Refusal, RoundContext, judge, light_check,
};
use rand_core::CryptoRngCore;
use std::sync::Arc;
use thiserror::Error;
use veilsum_crypto::{Digest, VerifyingKey, labels};
use veilsum_params::RoundParams;
use veilsum_wire::{
    Announcement, Header, LightBundle, ReceiptContent, Roster, RosterContent, RosterError,
    RoundResult, Signed, Wire, WireError,
};

/// The first bytes of such a file.
pub const FILE_MAGIC: [u8; 8] = *b"VEILSUMF";
/// The version of the format that this program reads and writes.
pub const FILE_VERSION: u16 = 1;
/// Magic and version.
const FRONT: usize = 10;
const DIGEST: usize = 32;

/// Keys that the reader of a file knows from elsewhere. Without them a file says only what holds under the keys that it
/// names itself, which anybody could have made up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The registrar's key.
    pub registrar: Option<[u8; 32]>,
    /// The server's key.
    pub server: Option<[u8; 32]>,
}

/// Why a file is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The first bytes are others, or the file is too short.
    #[error("this is no evidence, check or roster file of Veilsum")]
    Magic,
    /// Another version wrote it.
    #[error(
        "the file has format {found}, this program reads format {FILE_VERSION}; use the version that wrote it"
    )]
    Version {
        /// The version in the file.
        found: u16,
    },
    /// Bytes were changed since it was written.
    #[error("the file is damaged: its bytes do not have the digest at its end; fetch it again")]
    Damaged,
    /// The content cannot be read.
    #[error("the file's content cannot be read: {0}")]
    Content(#[from] WireError),
    /// A whole file, but for something else.
    #[error("the file holds something else: {found}")]
    Kind {
        /// What it holds.
        found: &'static str,
    },
    /// The registrar's key in the file is no key.
    #[error("the registrar key in the file is no key")]
    RegistrarKey,
    /// The roster is not the registrar's.
    #[error("the roster in the file: {0}")]
    Roster(#[from] RosterError),
    /// The parameters do not fit roster, announcement or themselves.
    #[error("the round in the file: {0}")]
    Context(#[from] ContextError),
    /// The registrar is another one than the pinned one.
    #[error("the file's roster is signed by another registrar than the pinned one")]
    OtherRegistrar,
    /// The server is another one than the pinned one.
    #[error("the file is about another server than the pinned one")]
    OtherServer,
    /// Two rosters that a registrar may sign both.
    #[error(
        "the two rosters in the file have different versions, or are the same one: the registrar may sign both"
    )]
    NoContradiction,
}

tagged! {
    /// The content of such a file. Roster and parameters are in it, so that nothing else is needed to read it; whether
    /// they are the right ones only [`Pins`] say.
    #[expect(clippy::large_enum_variant, reason = "short-lived: read or written, dropped")]
    Document {
        /// The roster of a transcript.
        0x01 => RosterOf {
            /// The registrar's key.
            registrar: [u8; 32],
            /// The roster that it signed.
            roster: Signed<RosterContent>,
        },
        /// Evidence against one party.
        0x02 => Accusation {
            /// The registrar's key.
            registrar: [u8; 32],
            /// The roster that it signed.
            roster: Signed<RosterContent>,
            /// The parameters of the round.
            params: RoundParams,
            /// The evidence.
            evidence: crate::Evidence,
        },
        /// Everything that a client of the round checks its result with.
        0x03 => Published {
            /// The registrar's key.
            registrar: [u8; 32],
            /// The roster that it signed.
            roster: Signed<RosterContent>,
            /// The announcement of the round.
            announcement: Announcement,
            /// The client's own header.
            header: Header,
            /// Its receipt.
            receipt: Vec<Signed<ReceiptContent>>,
            /// The result.
            result: RoundResult,
            /// What certifies it.
            bundle: LightBundle,
        },
        /// Evidence against a registrar: it signed two different rosters of one version.
        0x04 => TwoRosters {
            /// The registrar's key.
            registrar: [u8; 32],
            /// The one that was seen first.
            first: Signed<RosterContent>,
            /// The other one.
            second: Signed<RosterContent>,
        },
    }
}

/// Who signed two different rosters of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvictedRegistrar {
    /// The registrar's key.
    pub registrar: VerifyingKey,
    /// The version.
    pub version: u64,
    /// The digests of both.
    pub digests: [Digest; 2],
}

fn registrar_of(registrar: &[u8; 32], pins: &Pins) -> Result<VerifyingKey, FileError> {
    if pins.registrar.is_some_and(|pinned| pinned != *registrar) {
        return Err(FileError::OtherRegistrar);
    }
    VerifyingKey::decode(registrar).map_err(|_| FileError::RegistrarKey)
}

fn roster_of(
    registrar: &[u8; 32],
    roster: &Signed<RosterContent>,
    pins: &Pins,
) -> Result<Arc<Roster>, FileError> {
    let key = registrar_of(registrar, pins)?;
    Ok(Arc::new(Roster::verify(roster.clone(), &key)?))
}

fn server_is_pinned(server: &[u8; 32], pins: &Pins) -> Result<(), FileError> {
    if pins.server.is_some_and(|pinned| pinned != *server) {
        return Err(FileError::OtherServer);
    }
    Ok(())
}

impl Document {
    /// A transcript's roster.
    pub fn roster(roster: &Roster) -> Self {
        Self::RosterOf {
            registrar: roster.registrar().to_bytes(),
            roster: roster.signed().clone(),
        }
    }

    /// Evidence about a round of these parameters.
    pub fn accusation(roster: &Roster, params: &RoundParams, evidence: &crate::Evidence) -> Self {
        Self::Accusation {
            registrar: roster.registrar().to_bytes(),
            roster: roster.signed().clone(),
            params: params.clone(),
            evidence: evidence.clone(),
        }
    }

    /// The whole file: magic, version, content, and the digest of all of it, so that no changed byte goes unnoticed.
    pub fn to_file(&self) -> Vec<u8> {
        let mut bytes = FILE_MAGIC.to_vec();
        FILE_VERSION.encode(&mut bytes);
        self.encode(&mut bytes);
        let digest = Digest::of(labels::FILE_DIGEST, &bytes);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// Whether bytes begin like such a file.
    pub fn is_file(bytes: &[u8]) -> bool {
        bytes.starts_with(&FILE_MAGIC)
    }

    /// Reads a file. What is in it is still to be judged.
    ///
    /// # Errors
    /// [`FileError::Magic`], [`FileError::Version`], [`FileError::Damaged`], [`FileError::Content`].
    pub fn from_file(bytes: &[u8]) -> Result<Self, FileError> {
        let version = match bytes.get(..FRONT) {
            Some([magic @ .., low, high]) if *magic == FILE_MAGIC => {
                u16::from_le_bytes([*low, *high])
            }
            _ => return Err(FileError::Magic),
        };
        if version != FILE_VERSION {
            return Err(FileError::Version { found: version });
        }
        let end = bytes.len().checked_sub(DIGEST).ok_or(FileError::Damaged)?;
        let (covered, digest) = bytes.split_at(end);
        let content = covered.get(FRONT..).ok_or(FileError::Damaged)?;
        if Digest::of(labels::FILE_DIGEST, covered).0 != digest {
            return Err(FileError::Damaged);
        }
        Ok(Self::from_bytes(content)?)
    }

    /// What the file holds, in a word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RosterOf { .. } => "a roster",
            Self::Accusation { .. } => "evidence",
            Self::Published { .. } => "a published result",
            Self::TwoRosters { .. } => "two rosters of one registrar",
        }
    }

    /// Judges [`Self::TwoRosters`]: whether one registrar signed both and they are different rosters of one version. Nothing
    /// else in them needs to be right, for a registrar signs nothing that it has not made.
    ///
    /// # Errors
    /// [`FileError::Kind`], [`FileError::OtherRegistrar`], [`FileError::RegistrarKey`], [`FileError::Roster`] for a
    /// signature, [`FileError::NoContradiction`].
    pub fn judge_registrar(&self, pins: &Pins) -> Result<ConvictedRegistrar, FileError> {
        let Self::TwoRosters {
            registrar,
            first,
            second,
        } = self
        else {
            return Err(FileError::Kind { found: self.name() });
        };
        let registrar = registrar_of(registrar, pins)?;
        for roster in [first, second] {
            roster
                .verify(&registrar)
                .map_err(|_| RosterError::Signature)?;
        }
        let digests = [first.content.digest(), second.content.digest()];
        if first.content.version != second.content.version || digests[0] == digests[1] {
            return Err(FileError::NoContradiction);
        }
        Ok(ConvictedRegistrar {
            registrar,
            version: first.content.version,
            digests,
        })
    }

    /// The roster, after its every signature was checked.
    ///
    /// # Errors
    /// [`FileError::OtherRegistrar`], [`FileError::RegistrarKey`], [`FileError::Roster`].
    pub fn checked_roster(&self, pins: &Pins) -> Result<Arc<Roster>, FileError> {
        let (Self::RosterOf { registrar, roster }
        | Self::Accusation {
            registrar, roster, ..
        }
        | Self::Published {
            registrar, roster, ..
        }
        | Self::TwoRosters {
            registrar,
            first: roster,
            ..
        }) = self;
        roster_of(registrar, roster, pins)
    }

    /// The round that the file is about, everything recomputed from roster and parameters.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::Kind`] for rosters, which are about no round.
    pub fn context(&self, pins: &Pins) -> Result<RoundContext, FileError> {
        match self {
            Self::RosterOf { .. } | Self::TwoRosters { .. } => {
                Err(FileError::Kind { found: self.name() })
            }
            Self::Accusation { params, .. } => {
                server_is_pinned(&params.server_key, pins)?;
                Ok(RoundContext::new(
                    params.clone(),
                    self.checked_roster(pins)?,
                )?)
            }
            Self::Published { announcement, .. } => {
                let server = &announcement.params.server_key;
                server_is_pinned(server, pins)?;
                let key = VerifyingKey::decode(server)
                    .map_err(|_| ContextError::Check(Check::AnnouncementServerKey))?;
                let roster = self.checked_roster(pins)?;
                Ok(RoundContext::from_announcement(announcement, &key, roster)?)
            }
        }
    }
}

/// Why an evidence file does not convict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccusationError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The evidence in it.
    #[error(transparent)]
    Judge(#[from] JudgeError),
}

/// Judges an evidence file, with nothing but what is in it and the pinned keys.
///
/// # Errors
/// [`AccusationError`] when it does not convict.
pub fn judge_file(
    bytes: &[u8],
    pins: &Pins,
) -> Result<(RoundContext, Conviction), AccusationError> {
    let document = Document::from_file(bytes)?;
    let context = document.context(pins)?;
    let Document::Accusation { evidence, .. } = &document else {
        return Err(FileError::Kind {
            found: document.name(),
        }
        .into());
    };
    let conviction = judge(&context, evidence)?;
    Ok((context, conviction))
}

/// Why a published result is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishedError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The result in it fails the light check.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Document {
    /// The light check (`specs/protocol.md`, "Light check") of a published result, with nothing but what is in the file
    /// and the pinned keys; gives the round and how many contributions the result sums. `rng` is local and fresh (A4).
    ///
    /// # Errors
    /// [`PublishedError`].
    pub fn check_published(
        &self,
        pins: &Pins,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(RoundContext, u32), PublishedError> {
        let context = self.context(pins)?;
        let Self::Published {
            header,
            receipt,
            result,
            bundle,
            ..
        } = self
        else {
            return Err(FileError::Kind { found: self.name() }.into());
        };
        for receipt in receipt {
            check_receipt(&context, header, receipt)?;
        }
        light_check(&context, header, result, bundle, rng)?;
        let convicted = u32::try_from(result.signed.content.convicted.len()).unwrap_or(u32::MAX);
        Ok((context, bundle.count.saturating_sub(convicted)))
    }
}

/// A receipt beside the header that it is for.
fn check_receipt(
    ctx: &RoundContext,
    header: &Header,
    receipt: &Signed<ReceiptContent>,
) -> Result<(), Refusal> {
    let given = receipt
        .verify(ctx.server_key())
        .map_err(|_| Check::ReceiptSignature)?;
    let expected = ReceiptContent {
        params_digest: *ctx.digest(),
        client: header.content.client,
        header_digest: header.content.digest(),
    };
    if *given == expected {
        Ok(())
    } else {
        Err(Check::ReceiptContent.into())
    }
}
