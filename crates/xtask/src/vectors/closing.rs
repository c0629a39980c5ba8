//! A whole round, and each of its messages made bad in turn.

use super::files::{Files, hex};
use super::messages::{BAD, Bad, Hands, Where};
use super::script::{Bench, Sent, party};
use crate::error::TaskError;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party, Upload};
use veilsum_sim::{Deviation, World, forge};
use veilsum_wire::{RoundResult, Wire};

/// Where a message of a transcript begins.
fn offset(delivered: &[Sent], at: usize) -> usize {
    let lens = delivered
        .iter()
        .take(at)
        .map(|s| s.message.to_bytes().len());
    lens.sum()
}

/// A round in which a dealer gives a member that comes late a bad share.
pub(super) fn direct(files: &mut Files, world: &World) -> Result<(), TaskError> {
    let plain = world.plain_clients();
    let dealer = *plain
        .first()
        .ok_or(TaskError::Vector("every client is a member".into()))?;
    let deviation = Deviation {
        bad_shares: vec![MemberIndex(2)],
        ..Deviation::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(77);
    let upload = forge(world, dealer, &deviation, &mut rng)?.upload();
    let cheats = BTreeMap::from([(dealer, upload)]);
    round(files, world, "direct/round", &cheats, &[dealer])?;
    round(files, world, "direct/honest-round", &BTreeMap::new(), &[])
}

/// A whole round in masked mode, honest: what is added up there are the masked vectors too.
pub(super) fn masked(files: &mut Files, world: &World) -> Result<(), TaskError> {
    round(files, world, "masked/round", &BTreeMap::new(), &[])
}

/// The round that a transcript belongs to, by its id.
pub(super) fn round_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(round, _)| round)
}

fn round(
    files: &mut Files,
    world: &World,
    id: &str,
    cheats: &BTreeMap<ClientId, Upload>,
    convicted: &[ClientId],
) -> Result<(), TaskError> {
    let mut bench = Bench::new(world, cheats, !cheats.is_empty())?;
    bench.run(usize::MAX)?;
    let Some(result) = bench.server.result().cloned() else {
        return Err(TaskError::Vector(format!("{id} has no result")));
    };
    check_sum(world, &bench, &result, convicted, id)?;
    if let Some(client) = bench.clients.keys().next().copied() {
        bench.delivered.push(Sent {
            from: Party::Server,
            to: Party::Client(client),
            message: Message::Result(result.clone()),
        });
    }
    let file = format!("{id}.messages");
    let bytes: Vec<u8> = bench
        .delivered
        .iter()
        .flat_map(|s| s.message.to_bytes())
        .collect();
    let messages: Vec<_> = bench
        .delivered
        .iter()
        .map(|s| json!([party(s.from), party(s.to), s.message.to_bytes().len()]))
        .collect();
    let mut secrets = serde_json::Map::new();
    for index in world.members() {
        let (_, _, share_key) = world.member_keys(index)?;
        secrets.insert(
            index.0.to_string(),
            json!(hex(share_key.to_bytes().as_ref())),
        );
    }
    let mut more = files.whole(&file, bytes);
    more["messages"] = json!(messages);
    more["share_keys"] = json!(secrets);
    more["convicted"] = json!(convicted.iter().map(|c| c.0).collect::<Vec<_>>());
    more["expect"] = json!("valid");
    files.vector(id, "transcript", round_of(id), more);
    super::light::bundles(files, world, id, &bench, &result)?;
    if !cheats.is_empty() {
        for bad in BAD {
            message(files, world, id, cheats, &bench.delivered, bad)?;
        }
        malformed(files, id, &bench.delivered)?;
    }
    Ok(())
}

/// The published vector is the plain sum: vectors of a wrong result would teach others the same mistake.
fn check_sum(
    world: &World,
    bench: &Bench<'_>,
    result: &RoundResult,
    convicted: &[ClientId],
    id: &str,
) -> Result<(), TaskError> {
    let summed = world.context.cohort().iter();
    let plain = world.plain_sum(summed.filter(|c| !convicted.contains(c)));
    let stated = &result.signed.content.convicted;
    if plain != result.vector || stated != convicted || bench.delivered.is_empty() {
        return Err(TaskError::Vector(format!("{id}: the result is wrong")));
    }
    Ok(())
}

fn message(
    files: &mut Files,
    world: &World,
    transcript: &str,
    cheats: &BTreeMap<ClientId, Upload>,
    delivered: &[Sent],
    bad: &Bad,
) -> Result<(), TaskError> {
    let id = format!("{transcript}/{}", bad.name);
    let missing = || TaskError::Vector(format!("{id}: the round has no such message"));
    let place = delivered
        .iter()
        .position(|s| bad.of.matches(s))
        .ok_or_else(missing)?;
    let at = match bad.at {
        Where::Instead => place,
        Where::After => place + 1,
    };
    let mut sent = delivered.get(place).cloned().ok_or_else(missing)?;
    let hands = Hands {
        world,
        delivered: delivered.get(..place).unwrap_or_default(),
    };
    (bad.edit)(&hands, &mut sent.message).ok_or_else(missing)?;
    let mut bench = Bench::new(world, cheats, !cheats.is_empty())?;
    bench.run(at)?;
    let got = bench.deliver(&sent)?;
    if got != [bad.check] {
        return Err(TaskError::Vector(format!(
            "{id} should fail {} and fails {got:?}",
            bad.check
        )));
    }
    let path = format!("{id}.message");
    let base = (format!("{transcript}.messages"), offset(delivered, place));
    let mut more = files.changed(&path, &[base], &sent.message.to_bytes());
    more["transcript"] = json!(transcript);
    more["at"] = json!(at);
    more["from"] = json!(party(sent.from));
    more["to"] = json!(party(sent.to));
    more["expect"] = json!(bad.check);
    files.vector(&id, "message", "direct", more);
    Ok(())
}

/// The first message of each kind: cut short, with a byte behind it, under a tag without a meaning.
fn malformed(files: &mut Files, transcript: &str, delivered: &[Sent]) -> Result<(), TaskError> {
    let mut seen = BTreeSet::new();
    for (at, sent) in delivered.iter().enumerate() {
        if !seen.insert(sent.message.tag()) {
            continue;
        }
        let whole = sent.message.to_bytes();
        let short = whole
            .split_last()
            .map_or(&[][..], |(_, rest)| rest)
            .to_vec();
        let (long, mut tag) = ([&whole[..], &[0]].concat(), whole);
        if let Some(first) = tag.first_mut() {
            *first = 0xff;
        }
        for (how, bytes) in [("short", short), ("long", long), ("tag", tag)] {
            let id = format!("{transcript}/{how}-{}", sent.message.name().to_lowercase());
            if Message::from_bytes(&bytes).is_ok() {
                return Err(TaskError::Vector(format!("{id} decodes")));
            }
            let base = (format!("{transcript}.messages"), offset(delivered, at));
            let mut more = files.changed(&format!("{id}.message"), &[base], &bytes);
            more["transcript"] = json!(transcript);
            more["at"] = json!(at);
            more["from"] = json!(party(sent.from));
            more["to"] = json!(party(sent.to));
            more["expect"] = json!("malformed");
            files.vector(&id, "message", "direct", more);
        }
    }
    Ok(())
}

/// Message types of a `Bad` are told apart by tag, sender and receiver.
pub(super) fn is(sent: &Sent, tag: u8, member: Option<u16>) -> bool {
    let with = |party: Party| member.is_none_or(|j| party == Party::Member(MemberIndex(j)));
    sent.message.tag() == tag
        && (member.is_none() || with(sent.from) || with(sent.to))
        && !matches!(sent.message, Message::Contribution(_))
}
