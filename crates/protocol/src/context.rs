use crate::Check;
use std::sync::Arc;
use thiserror::Error;
use veilsum_crypto::{CanonicalPoint, Digest, VerifyingKey};
use veilsum_params::{ClientId, Layout, MemberIndex, ParameterError, RoundParams};
use veilsum_wire::{
    Announcement, BeaconError, BeaconProof, BeaconSource, Roster, RosterError,
    cohort_and_committee, params_digest,
};

/// A message or statement was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("refused: {check}{}", .culprit.map(|c| format!(", by {c}")).unwrap_or_default())]
pub struct Refusal {
    /// The check that failed.
    pub check: Check,
    /// Whom the failed check speaks against, where it is a client or a member's client.
    pub culprit: Option<ClientId>,
}

impl From<Check> for Refusal {
    fn from(check: Check) -> Self {
        Self {
            check,
            culprit: None,
        }
    }
}

/// Why a round's parameters are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A check on the announcement failed.
    #[error("{0}")]
    Check(Check),
    /// The parameters themselves are invalid or below the policy.
    #[error("{check}: {cause}", check = .0, cause = .1)]
    Params(Check, ParameterError),
    /// The beacon in them is not the roster's.
    #[error("{check}: {cause}", check = .0, cause = .1)]
    Beacon(Check, BeaconError),
    /// Cohort or committee cannot be sampled.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// A round that everybody agrees on: its parameters and all that follows from them and from the roster.
#[derive(Clone, Debug)]
pub struct RoundContext {
    params: RoundParams,
    digest: Digest,
    layout: Layout,
    roster: Arc<Roster>,
    cohort: Vec<ClientId>,
    share_keys: Vec<CanonicalPoint>,
    server_key: VerifyingKey,
    beacon_proof: BeaconProof,
}

impl ContextError {
    /// The check that failed, where it is one.
    pub fn check(&self) -> Option<Check> {
        match self {
            Self::Check(check) | Self::Params(check, _) | Self::Beacon(check, _) => Some(*check),
            Self::Roster(_) => None,
        }
    }
}

impl RoundContext {
    /// Recomputes everything from the parameters and the roster; nothing is taken on faith (A9, A13) but the beacon's value,
    /// whose proof stands beside the parameters: [`RoundContext::with_beacon`] checks that too.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn new(params: RoundParams, roster: Arc<Roster>) -> Result<Self, ContextError> {
        let layout = params
            .layout()
            .map_err(|e| ContextError::Params(Check::AnnouncementParams, e))?;
        let server_key = VerifyingKey::decode(&params.server_key)
            .map_err(|_| ContextError::Check(Check::AnnouncementServerKey))?;
        if params.roster_digest != roster.digest().0 || params.epoch != roster.epoch() {
            return Err(ContextError::Check(Check::AnnouncementRoster));
        }
        roster
            .beacon()
            .check_schedule(
                &roster.registrar().to_bytes(),
                params.round_id,
                &params.beacon,
            )
            .map_err(|e| ContextError::Beacon(Check::AnnouncementSchedule, e))?;
        let (cohort, committee) = cohort_and_committee(
            &roster,
            &params.beacon,
            params.round_id,
            params.cohort_size,
            params.committee_size(),
        )?;
        if committee != params.committee {
            return Err(ContextError::Check(Check::AnnouncementCommittee));
        }
        let share_keys = committee
            .iter()
            .map(|m| CanonicalPoint::decode_non_identity(&m.share_key))
            .collect::<Result<_, _>>()
            .map_err(|_| ContextError::Check(Check::AnnouncementCommittee))?;
        let digest = params_digest(&params);
        Ok(Self {
            params,
            digest,
            layout,
            roster,
            cohort,
            share_keys,
            server_key,
            beacon_proof: BeaconProof::none(),
        })
    }

    /// As [`RoundContext::new`], and checks that the beacon's value is the one that its source published.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn with_beacon(
        params: RoundParams,
        beacon_proof: BeaconProof,
        roster: Arc<Roster>,
    ) -> Result<Self, ContextError> {
        let context = Self::new(params, roster)?;
        beacon_proof
            .check(&context.roster, &context.params.beacon)
            .map_err(|e| ContextError::Beacon(Check::AnnouncementBeacon, e))?;
        Ok(Self {
            beacon_proof,
            ..context
        })
    }

    /// Checks a server's announcement against the pinned server key, then as [`RoundContext::with_beacon`].
    ///
    /// # Errors
    /// The first check that fails.
    pub fn from_announcement(
        announcement: &Announcement,
        pinned_server_key: &VerifyingKey,
        roster: Arc<Roster>,
    ) -> Result<Self, ContextError> {
        let signed = announcement
            .signed
            .verify(pinned_server_key)
            .map_err(|_| ContextError::Check(Check::AnnouncementSignature))?;
        let params = &announcement.params;
        if signed.params_digest != params_digest(params) || signed.round_id != params.round_id {
            return Err(ContextError::Check(Check::AnnouncementDigest));
        }
        if params.server_key != pinned_server_key.to_bytes() {
            return Err(ContextError::Check(Check::AnnouncementServerKey));
        }
        Self::with_beacon(params.clone(), announcement.beacon.clone(), roster)
    }

    /// Whether cohort or committee were drawn with a value that nothing proves.
    pub fn unproven_draw(&self) -> bool {
        let drawn = self.cohort.len() < self.roster.entries().len()
            || self.params.committee.len() < self.cohort.len();
        drawn && *self.roster.beacon_source() == BeaconSource::Operator
    }
    /// What proves the beacon's value, for the announcement.
    pub fn beacon_proof(&self) -> &BeaconProof {
        &self.beacon_proof
    }

    /// The parameters.
    pub fn params(&self) -> &RoundParams {
        &self.params
    }
    /// Their digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
    /// The layout that they derive.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// The roster.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }
    /// The sampled cohort, by increasing id.
    pub fn cohort(&self) -> &[ClientId] {
        &self.cohort
    }
    /// Whether a client was sampled.
    pub fn in_cohort(&self, client: ClientId) -> bool {
        self.cohort.binary_search(&client).is_ok()
    }
    /// The server's key.
    pub fn server_key(&self) -> &VerifyingKey {
        &self.server_key
    }
    /// PK_1..PK_m.
    pub fn share_keys(&self) -> &[CanonicalPoint] {
        &self.share_keys
    }
    /// PK_j of a member.
    pub fn share_key(&self, index: MemberIndex) -> Option<&CanonicalPoint> {
        self.share_keys.get(index.slot()?)
    }
    /// The identity key of a client of the roster.
    pub fn identity(&self, client: ClientId) -> Option<&VerifyingKey> {
        self.roster.identity(client)
    }
    /// The client and identity key behind a member index.
    pub fn member(&self, index: MemberIndex) -> Option<(ClientId, &VerifyingKey)> {
        let client = self.params.member(index)?.client;
        Some((client, self.identity(client)?))
    }
    /// Number of members, m.
    pub fn members(&self) -> u16 {
        u16::try_from(self.params.committee.len()).unwrap_or(u16::MAX)
    }
    /// The threshold, t.
    pub fn threshold(&self) -> u16 {
        self.params.threshold
    }
}
