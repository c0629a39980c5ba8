//! Results and what light clients download beside them.

use super::closing::round_of;
use super::files::Files;
use super::script::Bench;
use crate::error::TaskError;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::json;
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_protocol::{Message, light_check};
use veilsum_sim::World;
use veilsum_wire::{
    Header, LightBundle, RoundResult, RowList, RowsContent, Signed, Wire, convicted_digest,
    result_vector_digest, row_values_digest,
};

/// What one client checks.
#[derive(Clone)]
struct Light {
    header: Header,
    result: RoundResult,
    bundle: LightBundle,
}

struct Maker<'a> {
    files: &'a mut Files,
    world: &'a World,
    transcript: &'a str,
    good: Light,
}

impl Maker<'_> {
    fn add(
        &mut self,
        name: &str,
        expected: Option<&'static str>,
        light: &Light,
    ) -> Result<(), TaskError> {
        let id = format!("{}/{name}", self.transcript);
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let Light {
            header,
            result,
            bundle,
        } = light;
        let got = light_check(&self.world.context, header, result, bundle, &mut rng)
            .err()
            .map(|refusal| refusal.check.id());
        if got != expected {
            return Err(TaskError::Vector(format!(
                "{id} should end with {expected:?} and ends with {got:?}"
            )));
        }
        let parts = [
            ("header", header.to_bytes()),
            ("result", result.to_bytes()),
            ("bundle", bundle.to_bytes()),
        ];
        let mut more = json!({ "expect": expected.unwrap_or("valid") });
        for (part, bytes) in parts {
            let base = format!("{}/light.{part}", self.transcript);
            more[part] = if self.files.holds(&base) {
                let path = format!("{id}.{part}");
                self.files.changed(&path, &[(base, 0)], &bytes)
            } else {
                self.files.whole(&base, bytes)
            };
        }
        self.files
            .vector(&id, "light", round_of(self.transcript), more);
        Ok(())
    }

    fn bad(
        &mut self,
        name: &str,
        check: &'static str,
        edit: impl FnOnce(&World, &mut Light) -> Option<()>,
    ) -> Result<(), TaskError> {
        let mut light = self.good.clone();
        edit(self.world, &mut light)
            .ok_or_else(|| TaskError::Vector(format!("{name} cannot be made")))?;
        self.add(name, Some(check), &light)
    }
}

fn publish(world: &World, result: &mut RoundResult) {
    result.signed.content.vector_digest = result_vector_digest(&result.vector);
    result.signed = Signed::sign(result.signed.content.clone(), &world.server);
}

pub(super) fn bundles(
    files: &mut Files,
    world: &World,
    transcript: &str,
    bench: &Bench<'_>,
    result: &RoundResult,
) -> Result<(), TaskError> {
    let missing = || TaskError::Vector(format!("{transcript} has no light bundle"));
    let (client, machine) = bench.clients.iter().next().ok_or_else(missing)?;
    let good = Light {
        header: machine.header(1).cloned().ok_or_else(missing)?,
        result: result.clone(),
        bundle: bench.server.light_bundle(*client).ok_or_else(missing)?,
    };
    let mut m = Maker {
        files,
        world,
        transcript,
        good,
    };
    m.add("light", None, &m.good.clone())?;
    let last = bench.clients.iter().next_back().ok_or_else(missing)?;
    let other = Light {
        header: last.1.header(1).cloned().ok_or_else(missing)?,
        result: result.clone(),
        bundle: bench.server.light_bundle(*last.0).ok_or_else(missing)?,
    };
    m.add("light-of-another", None, &other)?;
    if result.signed.content.convicted.is_empty() {
        return lies(&mut m);
    }
    let dealer = result.signed.content.convicted.first().copied();
    let header = bench.delivered.iter().find_map(|s| match &s.message {
        Message::Contribution(c) if Some(c.header.content.client) == dealer => Some(&c.header),
        _ => None,
    });
    let left_out = Light {
        header: header.cloned().ok_or_else(missing)?,
        result: result.clone(),
        bundle: dealer
            .and_then(|c| bench.server.light_bundle(c))
            .ok_or_else(missing)?,
    };
    m.add("light-left-out", Some("light.convicted-self"), &left_out)?;
    results(&mut m)?;
    parts(&mut m)
}

fn results(m: &mut Maker<'_>) -> Result<(), TaskError> {
    m.bad("result-signature", "result.signature", |_, l| {
        l.result.signed.signature.0[3] ^= 1;
        Some(())
    })?;
    m.bad("result-vector-unsigned", "result.content", |_, l| {
        l.result.vector[5] += 1;
        Some(())
    })?;
    m.bad("result-round", "result.content", |w, l| {
        l.result.signed.content.params_digest.0[0] ^= 1;
        publish(w, &mut l.result);
        Some(())
    })?;
    m.bad("result-too-short", "result.content", |w, l| {
        l.result.vector.pop();
        publish(w, &mut l.result);
        Some(())
    })?;
    m.bad("result-list-order", "result.content", |w, l| {
        l.result.signed.content.convicted = vec![ClientId(31), ClientId(10)];
        publish(w, &mut l.result);
        Some(())
    })?;
    m.bad("result-root", "certificate.root", |w, l| {
        l.result.signed.content.root.0[0] ^= 1;
        publish(w, &mut l.result);
        Some(())
    })?;
    m.bad("result-list", "final.content", |w, l| {
        l.result.signed.content.convicted.clear();
        publish(w, &mut l.result);
        Some(())
    })?;
    lies(m)
}

/// A wrong R, and wrong vectors.
fn lies(m: &mut Maker<'_>) -> Result<(), TaskError> {
    m.bad("result-secret", "light.secret", |w, l| {
        l.result.signed.content.r_sum += Scalar::ONE;
        publish(w, &mut l.result);
        Some(())
    })?;
    m.bad("result-bounds", "light.bounds", |w, l| {
        l.result.vector[99] = i64::MIN;
        publish(w, &mut l.result);
        Some(())
    })?;
    m.bad("wrong-sum", "light.sum", |w, l| {
        l.result.vector[99] += 1;
        publish(w, &mut l.result);
        Some(())
    })
}

fn parts(m: &mut Maker<'_>) -> Result<(), TaskError> {
    m.bad("light-count", "proposal.count", |_, l| {
        l.bundle.count = 4;
        Some(())
    })?;
    m.bad("light-count-other", "certificate.root", |_, l| {
        l.bundle.count -= 1;
        Some(())
    })?;
    m.bad("light-certificate", "certificate.members", |_, l| {
        l.bundle.certificate.endorsements.pop().map(|_| ())
    })?;
    m.bad(
        "light-certificate-signature",
        "certificate.signature",
        |_, l| {
            l.bundle.certificate.endorsements[1].signature.0[0] ^= 1;
            Some(())
        },
    )?;
    m.bad("light-finals", "light.finals", |_, l| {
        l.bundle.finals.pop().map(|_| ())
    })?;
    m.bad("light-finals-none", "light.finals", |_, l| {
        l.bundle.finals.clear();
        Some(())
    })?;
    m.bad("light-final-signature", "final.signature", |_, l| {
        l.bundle.finals[2].signature.0[33] ^= 1;
        Some(())
    })?;
    m.bad("light-final-content", "final.content", |w, l| {
        let f = &mut l.bundle.finals[3];
        f.content.count -= 1;
        let (_, key, _) = w.member_keys(f.content.member).ok()?;
        *f = Signed::sign(f.content.clone(), key);
        Some(())
    })?;
    m.bad("light-header", "header.signature", |_, l| {
        l.header.signature.0[5] ^= 1;
        Some(())
    })?;
    m.bad("light-entry", "light.entry", |_, l| {
        l.bundle.position += 1;
        Some(())
    })?;
    m.bad("light-path", "light.entry", |_, l| {
        l.bundle.path.push(Digest::default());
        Some(())
    })?;
    m.bad("light-rows-missing", "light.rows", |_, l| {
        let last = l.bundle.rows.pop()?.slice;
        l.bundle
            .row_lists
            .retain(|list| !list.slices.contains(&last));
        Some(())
    })?;
    m.bad("light-rows-not-there", "rows.content", |_, l| {
        l.bundle.rows.pop().map(|_| ())
    })?;
    m.bad("light-rows-doubled", "light.rows", |_, l| {
        let last = l.bundle.rows.last()?.clone();
        l.bundle.rows.push(last);
        Some(())
    })?;
    m.bad("light-rows-unsigned", "rows.signature", |_, l| {
        l.bundle.rows[0].values[0] = [0; 32];
        Some(())
    })?;
    m.bad("a15-light-rows-signers", "light.rows", |_, l| {
        l.bundle.row_lists.truncate(1);
        Some(())
    })?;
    m.bad("light-rows-signature", "rows.signature", |_, l| {
        l.bundle.row_lists[0].signature.0[0] ^= 1;
        Some(())
    })?;
    m.bad("light-rows-content", "rows.content", |_, l| {
        let list = &mut l.bundle.row_lists[0];
        let first = *list.slices.first()?;
        list.slices.push(first);
        Some(())
    })?;
    m.bad("light-rows-convicted", "rows.signature", |w, l| {
        let mut content = listed(w, l, 0);
        content.convicted.0[0] ^= 1;
        let (_, key, _) = w.member_keys(content.member).ok()?;
        l.bundle.row_lists[0] = RowList::of(&Signed::sign(content, key));
        Some(())
    })?;
    m.bad("light-rows-value", "light.sum", |w, l| {
        // All members together can still not make a wrong sum right.
        let rows = &mut l.bundle.rows[0];
        rows.values[0] = [0; 32];
        for i in 0..l.bundle.row_lists.len() {
            let content = listed(w, l, i);
            let (_, key, _) = w.member_keys(content.member).ok()?;
            l.bundle.row_lists[i] = RowList::of(&Signed::sign(content, key));
        }
        Some(())
    })
}

/// What a member signs whose list is short form `i` of a bundle.
fn listed(world: &World, light: &Light, i: usize) -> RowsContent {
    let (bundle, result) = (&light.bundle, &light.result.signed.content);
    let list = &bundle.row_lists[i];
    let digest = |q: &u16| {
        let row = bundle.rows.iter().find(|row| row.slice == *q);
        (*q, row_values_digest(row.map_or(&[], |row| &row.values)))
    };
    RowsContent {
        params_digest: *world.context.digest(),
        root: result.root,
        convicted: convicted_digest(&result.convicted),
        member: list.member,
        slices: list.slices.iter().map(digest).collect(),
    }
}
