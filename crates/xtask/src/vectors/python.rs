//! The round that the reference implementation made: the machines run it again from the same keys and contributions, and must
//! say the same, byte for byte. Ed25519 has no randomness, and without complaints nothing else in a closing has any.

use super::script::{Bench, party};
use crate::error::TaskError;
use crate::tree::Tree;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use veilsum_crypto::{IdentityKey, ShareSecretKey};
use veilsum_params::ClientId;
use veilsum_proof::{Prepared, Round};
use veilsum_protocol::{Message, RoundContext, Upload, light_check};
use veilsum_sim::{Setup, World};
use veilsum_wire::{Announcement, Header, LightBundle, Roster, RoundResult, Signed, Wire};

fn wrong(what: impl ToString) -> TaskError {
    TaskError::Vector(format!("specs/vectors/python: {}", what.to_string()))
}

fn bytes(value: &Value) -> Result<[u8; 32], TaskError> {
    let text = value.as_str().ok_or_else(|| wrong("no hexadecimal"))?;
    let decoded = crate::corpus::unhex(text).ok_or_else(|| wrong("no hexadecimal"))?;
    decoded.try_into().map_err(|_| wrong("not 32 bytes"))
}

fn read<T: Wire>(dir: &Path, path: &str) -> Result<T, TaskError> {
    let full = dir.join(path);
    let held = std::fs::read(&full).map_err(TaskError::io(&full))?;
    T::from_bytes(&held).map_err(|e| wrong(format!("{path}: {e}")))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, TaskError> {
    value[key]
        .as_str()
        .ok_or_else(|| wrong(format!("no {key}")))
}

fn world(dir: &Path, index: &Value) -> Result<World, TaskError> {
    let (round, secrets) = (&index["rounds"][0], &index["secrets"]);
    let server = IdentityKey::from_seed(&bytes(&secrets["server"])?);
    let registrar = IdentityKey::from_seed(&bytes(&secrets["registrar"])?);
    let signed = read::<Signed<_>>(dir, text(round, "roster")?)?;
    let roster = Arc::new(Roster::verify(signed, &registrar.verifying_key()).map_err(wrong)?);
    let announcement: Announcement = read(dir, text(round, "announcement")?)?;
    let key = server.verifying_key();
    let context = RoundContext::from_announcement(&announcement, &key, Arc::clone(&roster));
    let context = Arc::new(context.map_err(wrong)?);
    let prepared = Arc::new(Prepared::new(context.layout()).map_err(wrong)?);
    let proof = Round::new(prepared, *context.digest()).map_err(wrong)?;
    let (mut identities, mut share_keys) = (BTreeMap::new(), BTreeMap::new());
    for (client, keys) in secrets["clients"].as_object().into_iter().flatten() {
        let client = ClientId(client.parse().map_err(wrong)?);
        identities.insert(client, IdentityKey::from_seed(&bytes(&keys[0])?));
        let share_key = ShareSecretKey::from_bytes(&bytes(&keys[1])?).map_err(wrong)?;
        share_keys.insert(client, share_key);
    }
    let params = context.params();
    let setup = Setup {
        seed: 0,
        dim: params.dim,
        norm_bound: params.norm_bound,
        roster: params.cohort_size,
        cohort: params.cohort_size,
        n_min: params.n_min,
        members: params.committee_size(),
        threshold: params.threshold,
    };
    Ok(World {
        setup,
        round: Arc::new(proof),
        context,
        roster,
        registrar,
        server,
        identities,
        share_keys,
        updates: BTreeMap::new(),
    })
}

/// Sender, receiver and bytes of every message of the transcript.
fn transcript(dir: &Path, vector: &Value) -> Result<Vec<(String, String, Message)>, TaskError> {
    let full = dir.join(text(vector, "file")?);
    let held = std::fs::read(&full).map_err(TaskError::io(&full))?;
    let (mut rest, mut out) = (&held[..], Vec::new());
    for entry in vector["messages"].as_array().into_iter().flatten() {
        let len = entry[2].as_u64().and_then(|v| usize::try_from(v).ok());
        let split = len.and_then(|len| rest.split_at_checked(len));
        let (message, left) = split.ok_or_else(|| wrong("the transcript is too short"))?;
        let party = |i: usize| entry[i].as_str().unwrap_or_default().to_owned();
        out.push((
            party(0),
            party(1),
            Message::from_bytes(message).map_err(wrong)?,
        ));
        rest = left;
    }
    if rest.is_empty() {
        Ok(out)
    } else {
        Err(wrong("bytes behind the transcript"))
    }
}

/// Runs the round again and compares; the number of messages.
pub(super) fn verify(tree: &Tree) -> Result<usize, TaskError> {
    let dir = tree.root.join("specs/vectors");
    let index: Value =
        serde_json::from_str(&tree.read("specs/vectors/python/index.json")?).map_err(wrong)?;
    let world = world(&dir, &index)?;
    let vectors = index["vectors"]
        .as_array()
        .ok_or_else(|| wrong("no vectors"))?;
    let of = |kind: &'static str| vectors.iter().filter(move |v| v["kind"] == kind);
    let whole = of("transcript")
        .next()
        .ok_or_else(|| wrong("no transcript"))?;
    let theirs = transcript(&dir, whole)?;
    let mut uploads: BTreeMap<ClientId, Upload> = BTreeMap::new();
    for (_, _, message) in &theirs {
        if let Message::Contribution(upload) = message {
            uploads.insert(upload.header.content.client, upload.clone());
        }
    }
    let mut bench = Bench::new(&world, &uploads, false)?;
    bench.run(usize::MAX)?;
    let result = bench
        .server
        .result()
        .ok_or_else(|| wrong("the round has no result"))?;
    let line = |from: String, to: String, message: &Message| (from, to, message.to_bytes());
    let mut own: BTreeSet<_> = bench
        .delivered
        .iter()
        .map(|s| line(party(s.from), party(s.to), &s.message))
        .collect();
    let first = uploads
        .keys()
        .next()
        .copied()
        .ok_or_else(|| wrong("no contributions"))?;
    own.insert((
        "server".to_owned(),
        format!("client {}", first.0),
        Message::Result(result.clone()).to_bytes(),
    ));
    let read_in: BTreeSet<_> = theirs
        .iter()
        .map(|(from, to, message)| line(from.clone(), to.clone(), message))
        .collect();
    if let Some((from, to, message)) = own.symmetric_difference(&read_in).next() {
        let who = if own.contains(&(from.clone(), to.clone(), message.clone())) {
            "this code"
        } else {
            "the reference"
        };
        let tag = message.first().copied().unwrap_or_default();
        return Err(wrong(format!(
            "only {who} sends this message with tag {tag} from {from} to {to}"
        )));
    }
    for vector in of("light") {
        let header: Header = read(&dir, text(&vector["header"], "file")?)?;
        let published: RoundResult = read(&dir, text(&vector["result"], "file")?)?;
        let bundle: LightBundle = read(&dir, text(&vector["bundle"], "file")?)?;
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        light_check(&world.context, &header, &published, &bundle, &mut rng).map_err(wrong)?;
        let made = bench.server.light_bundle(header.content.client);
        if published != *result || made.as_ref() != Some(&bundle) {
            return Err(wrong("another result or light bundle than this code makes"));
        }
    }
    for vector in of("contribution") {
        let message: Message = read(&dir, text(vector, "file")?)?;
        let Message::Contribution(upload) = message else {
            return Err(wrong("a contribution that is none"));
        };
        if uploads.get(&upload.header.content.client) != Some(&upload) {
            return Err(wrong("a contribution that is not in the transcript"));
        }
    }
    Ok(theirs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_of_the_reference_is_ours_byte_for_byte() {
        // 3 clients, all of them members, 2 slices of rows.
        let messages = verify(&Tree::find().unwrap()).unwrap();
        assert_eq!(messages, 3 + 3 + 3 + 6 * 3 + 2 * 6 + 1);
    }
}
