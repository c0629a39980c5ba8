//! Announcements: what everybody derives from the parameters, and refuses to take from them.

use super::files::Files;
use crate::error::TaskError;
use serde_json::json;
use std::sync::Arc;
use veilsum_crypto::IdentityKey;
use veilsum_params::RoundParams;
use veilsum_protocol::{Check, RoundContext};
use veilsum_sim::World;
use veilsum_wire::{Announcement, AnnouncementContent, BeaconProof, Signed, Wire, params_digest};

struct Maker<'a> {
    files: &'a mut Files,
    world: &'a World,
}

impl Maker<'_> {
    fn add(
        &mut self,
        name: &str,
        expected: Check,
        announcement: &Announcement,
    ) -> Result<(), TaskError> {
        let id = format!("direct/announcement/{name}");
        let key = self.world.server.verifying_key();
        let roster = Arc::clone(&self.world.roster);
        let got = match RoundContext::from_announcement(announcement, &key, roster) {
            Err(error) => error.check(),
            Ok(_) => None,
        };
        if got != Some(expected) {
            return Err(TaskError::Vector(format!(
                "{id} should fail {} and fails {:?}",
                expected.id(),
                got.map(|check| check.id())
            )));
        }
        let base = ("direct/announcement.bin".to_owned(), 0);
        let bytes = announcement.to_bytes();
        let mut more = self.files.changed(&format!("{id}.bin"), &[base], &bytes);
        more["expect"] = json!(expected.id());
        self.files.vector(&id, "announcement", "direct", more);
        Ok(())
    }

    /// Other parameters, announced as if they were right.
    fn params(
        &mut self,
        name: &str,
        expected: Check,
        edit: impl FnOnce(&mut RoundParams),
    ) -> Result<(), TaskError> {
        let mut params = self.world.context.params().clone();
        edit(&mut params);
        let content = AnnouncementContent {
            round_id: params.round_id,
            params_digest: params_digest(&params),
        };
        let signed = Signed::sign(content, &self.world.server);
        self.add(
            name,
            expected,
            &Announcement {
                signed,
                params,
                beacon: BeaconProof::none(),
            },
        )
    }
}

pub(super) fn direct(files: &mut Files, world: &World) -> Result<(), TaskError> {
    let mut m = Maker { files, world };
    let mut other = world.announcement();
    other.signed = Signed::sign(other.signed.content, &IdentityKey::from_seed(&[7; 32]));
    m.add("signature", Check::AnnouncementSignature, &other)?;
    let mut other = world.announcement();
    other.params.contribute_deadline_ms += 1;
    m.add("digest", Check::AnnouncementDigest, &other)?;
    let mut other = world.announcement();
    other.signed.content.round_id += 1;
    other.signed = Signed::sign(other.signed.content, &world.server);
    m.add("round-id", Check::AnnouncementDigest, &other)?;
    m.params("server-key", Check::AnnouncementServerKey, |p| {
        p.server_key[0] ^= 1
    })?;
    let params = Check::AnnouncementParams;
    m.params("version", params, |p| p.protocol_version = 2)?;
    m.params("generators", params, |p| p.generator_set = 0)?;
    m.params("weights", params, |p| p.weight_max = 2)?;
    m.params("no-coordinates", params, |p| p.dim = 0)?;
    m.params("scale", params, |p| p.scale_bits = 41)?;
    m.params("no-norm", params, |p| p.norm_bound = 0)?;
    m.params("cohort-above-n-max", params, |p| {
        p.n_max = p.cohort_size - 1
    })?;
    m.params("n-min", params, |p| p.n_min = 4)?;
    m.params("malicious", params, |p| p.malicious_max = p.n_min - 1)?;
    m.params("threshold-low", params, |p| p.threshold = 3)?;
    m.params("threshold-high", params, |p| p.threshold = 6)?;
    m.params("member-twice", params, |p| {
        if let [first, second, ..] = &mut p.committee[..] {
            *second = *first;
        }
    })?;
    m.params("roster", Check::AnnouncementRoster, |p| {
        p.roster_digest[9] ^= 1
    })?;
    m.params("epoch", Check::AnnouncementRoster, |p| p.epoch += 1)?;
    let schedule = Check::AnnouncementSchedule;
    m.params("another-round-id", schedule, |p| p.round_id += 1)?;
    m.params("another-beacon-round", schedule, |p| p.beacon.round += 1)?;
    m.params("another-source", schedule, |p| p.beacon.source[0] ^= 1)?;
    let mut other = world.announcement();
    other.beacon.signature.push(1);
    m.add("a-proof-of-nothing", Check::AnnouncementBeacon, &other)?;
    let committee = Check::AnnouncementCommittee;
    m.params("a09-committee-order", committee, |p| p.committee.swap(0, 1))?;
    m.params("a13-another-beacon", committee, |p| p.beacon.value[0] ^= 1)?;
    m.params("share-key", committee, |p| {
        if let Some(slot) = p.committee.first_mut() {
            slot.share_key[0] ^= 2;
        }
    })
}
