//! Clients and dealers that cheat.

use crate::adversary::Stage;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Bytes, Party, Upload};
use veilsum_sim::{Deviation, ProofCheat, SimError, World, forge};
use veilsum_wire::{Contribution, Signed};

type Done = Result<(), SimError>;

impl Stage<'_> {
    /// Forges a contribution of the client at a place.
    fn forged(
        &mut self,
        client: ClientId,
        deviation: &Deviation,
    ) -> Result<Contribution, SimError> {
        Ok(forge(self.world, client, deviation, &mut self.draw.0)?.contribution)
    }

    fn uploads(&mut self, client: ClientId, uploads: Vec<Upload>) {
        self.corrupt.insert(Party::Client(client));
        self.vectors
            .entry(client)
            .or_insert_with(|| self.world.updates.get(&client).cloned());
        self.plan.uploads.insert(client, uploads);
    }

    fn deviates(&mut self, place: u16, deviation: &Deviation) -> Done {
        let client = self.client(place)?;
        self.client_deviates(client, deviation)
    }

    /// A client that deals some members bad shares.
    pub(crate) fn deals_badly(&mut self, client: ClientId, bad_shares: Vec<MemberIndex>) -> Done {
        let deviation = Deviation {
            bad_shares,
            ..Deviation::default()
        };
        self.client_deviates(client, &deviation)
    }

    fn client_deviates(&mut self, client: ClientId, deviation: &Deviation) -> Done {
        let contribution = self.forged(client, deviation)?;
        if deviation.cheat.is_some() {
            self.vectors.insert(client, None);
        }
        if let Some(update) = &deviation.update {
            self.vectors.insert(client, Some(update.clone()));
        }
        self.uploads(client, vec![upload(&contribution)]);
        Ok(())
    }

    fn lies(&mut self, place: u16, cheat: ProofCheat) -> Done {
        let cheat = Some(cheat);
        self.deviates(
            place,
            &Deviation {
                cheat,
                ..Deviation::default()
            },
        )
    }

    fn resigned(
        &mut self,
        place: u16,
        change: impl FnOnce(&World, &mut Contribution),
    ) -> Result<(ClientId, Contribution), SimError> {
        let client = self.client(place)?;
        let mut contribution = self.forged(client, &Deviation::default())?;
        change(self.world, &mut contribution);
        let (identity, _) = self.world.keys(client)?;
        contribution.header = Signed::sign(contribution.header.content, identity);
        Ok((client, contribution))
    }
}

pub(crate) fn upload(contribution: &Contribution) -> Upload {
    Upload {
        header: contribution.header.clone(),
        body: Bytes(contribution.body.to_bytes()),
    }
}

/// Just over the bound, or far over it.
pub(crate) fn norm(s: &mut Stage<'_>, place: u16) -> Done {
    let dim = s.world.setup.dim as usize;
    let bound = i64::from(s.world.setup.norm_bound);
    let mut update = vec![0; dim];
    let over = if s.draw.one_in(2) { 1 } else { bound };
    if let (Some(first), true) = (update.first_mut(), dim > 1) {
        *first = -bound;
    }
    if let Some(last) = update.last_mut() {
        *last = over;
    }
    s.deviates(
        place,
        &Deviation {
            update: Some(update),
            ..Deviation::default()
        },
    )
}

pub(crate) fn norm_false_range(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::RangeOfAnother)
}
pub(crate) fn norm_false_slack(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::SlackOfAnother)
}
pub(crate) fn norm_false_value(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::FalseValue)
}
pub(crate) fn norm_false_mask(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::FalseMask)
}
pub(crate) fn norm_false_sum(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::FalseSum)
}
pub(crate) fn wrap(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::Wrap)
}
pub(crate) fn projection(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::Projection)
}
pub(crate) fn key_junk(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::KeyJunk)
}
pub(crate) fn row_junk(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::RowJunk)
}
pub(crate) fn padding(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::Padding)
}
pub(crate) fn other_key_secret(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::OtherKeySecret)
}
pub(crate) fn other_secret(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::OtherSecret)
}
pub(crate) fn anchor(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::Anchor)
}
pub(crate) fn other_key(s: &mut Stage<'_>, place: u16) -> Done {
    s.lies(place, ProofCheat::OtherKey)
}

/// In direct mode there is no masked vector to lie about: then it lies about the key.
pub(crate) fn masked_vector(s: &mut Stage<'_>, place: u16) -> Done {
    let masked = s.world.context.layout().masked_constants().is_some();
    s.lies(
        place,
        if masked {
            ProofCheat::MaskedVector
        } else {
            ProofCheat::OtherKey
        },
    )
}

pub(crate) fn bad_share(s: &mut Stage<'_>, place: u16) -> Done {
    let (client, some) = (s.client(place)?, s.some_members());
    s.deals_badly(client, some)
}

pub(crate) fn bad_shares_all(s: &mut Stage<'_>, place: u16) -> Done {
    let (client, all) = (s.client(place)?, s.world.members().collect());
    s.deals_badly(client, all)
}

pub(crate) fn garbled_share(s: &mut Stage<'_>, place: u16) -> Done {
    let garbled_shares = s.some_members();
    s.deviates(
        place,
        &Deviation {
            garbled_shares,
            ..Deviation::default()
        },
    )
}

pub(crate) fn higher_degree(s: &mut Stage<'_>, place: u16) -> Done {
    s.deviates(
        place,
        &Deviation {
            degree: 1,
            ..Deviation::default()
        },
    )
}

pub(crate) fn lower_degree(s: &mut Stage<'_>, place: u16) -> Done {
    s.deviates(
        place,
        &Deviation {
            degree: -1,
            ..Deviation::default()
        },
    )
}

/// Some other client of the cohort.
fn another(s: &Stage<'_>, own: ClientId) -> Option<ClientId> {
    let cohort = s.world.context.cohort();
    cohort.iter().find(|c| **c != own).copied()
}

pub(crate) fn stolen_ephemeral(s: &mut Stage<'_>, place: u16) -> Done {
    let own = s.client(place)?;
    let other = another(s, own);
    s.deviates(
        place,
        &Deviation {
            knowledge_of: other,
            ..Deviation::default()
        },
    )
}

pub(crate) fn ephemeral_identity(s: &mut Stage<'_>, place: u16) -> Done {
    s.deviates(
        place,
        &Deviation {
            ephemeral_identity: true,
            ..Deviation::default()
        },
    )
}

pub(crate) fn copied_proof(s: &mut Stage<'_>, place: u16) -> Done {
    let own = s.client(place)?;
    let other = another(s, own);
    s.deviates(
        place,
        &Deviation {
            proof_of: other,
            ..Deviation::default()
        },
    )
}

/// Everything of somebody else's contribution under its own name and signature.
pub(crate) fn copied_contribution(s: &mut Stage<'_>, place: u16) -> Done {
    let own = s.client(place)?;
    let other = another(s, own);
    let mut copy = s.forged(other.unwrap_or(own), &Deviation::default())?;
    let (identity, _) = s.world.keys(own)?;
    copy.header.content.client = own;
    copy.header = Signed::sign(copy.header.content, identity);
    s.uploads(own, vec![upload(&copy)]);
    Ok(())
}

/// Proves twice (A7); the two are sent one after the other.
pub(crate) fn two_headers(s: &mut Stage<'_>, place: u16) -> Done {
    let client = s.client(place)?;
    let first = s.forged(client, &Deviation::default())?;
    let second = s.forged(client, &Deviation::default())?;
    s.uploads(client, vec![upload(&first), upload(&second)]);
    Ok(())
}

/// The header states the rows of one matrix, the body holds another (A12).
pub(crate) fn split_roots(s: &mut Stage<'_>, place: u16) -> Done {
    let client = s.client(place)?;
    let other = s.forged(client, &Deviation::default())?;
    let (client, contribution) = s.resigned(place, |_, c| {
        c.header.content.row_root = other.header.content.row_root;
    })?;
    s.uploads(client, vec![upload(&contribution)]);
    Ok(())
}

pub(crate) fn wrong_body(s: &mut Stage<'_>, place: u16) -> Done {
    let at = s.draw.below(1 << 20);
    let (client, contribution) = s.resigned(place, |_, _| {})?;
    let mut upload = upload(&contribution);
    let len = upload.body.0.len() as u64;
    if let Some(byte) = usize::try_from(at % len.max(1))
        .ok()
        .and_then(|at| upload.body.0.get_mut(at))
    {
        *byte ^= 1;
    }
    s.uploads(client, vec![upload]);
    Ok(())
}

pub(crate) fn oversized(s: &mut Stage<'_>, place: u16) -> Done {
    let (client, contribution) = s.resigned(place, |_, _| {})?;
    let mut upload = upload(&contribution);
    upload.body.0.extend(std::iter::repeat_n(0, 1 << 16));
    s.uploads(client, vec![upload]);
    Ok(())
}

/// A header under somebody else's signature.
pub(crate) fn unsigned(s: &mut Stage<'_>, place: u16) -> Done {
    let client = s.client(place)?;
    let mut contribution = s.forged(client, &Deviation::default())?;
    contribution.header = Signed::sign(contribution.header.content, &s.world.server);
    s.uploads(client, vec![upload(&contribution)]);
    Ok(())
}

/// Its contribution to an earlier round, byte for byte.
pub(crate) fn earlier_round(s: &mut Stage<'_>, place: u16) -> Done {
    let client = s.client(place)?;
    let earlier = crate::network::earlier(s)?;
    let old = forge(&earlier, client, &Deviation::default(), &mut s.draw.0)?;
    s.uploads(client, vec![old.upload()]);
    Ok(())
}

/// Honest, and too late for the deadline, or too late for anything.
pub(crate) fn late(s: &mut Stage<'_>, place: u16) -> Done {
    let (client, contribution) = s.resigned(place, |_, _| {})?;
    let tick = 100 + s.draw.below(900);
    s.plan.late.insert(client, tick);
    s.uploads(client, vec![upload(&contribution)]);
    Ok(())
}

/// Sends its contribution before it is asked, and forty times each time.
pub(crate) fn flood(s: &mut Stage<'_>, place: u16) -> Done {
    let (client, contribution) = s.resigned(place, |_, _| {})?;
    s.plan.floods.insert(client, 40);
    s.plan.injections.push(veilsum_sim::Injection {
        at: 1,
        from: Party::Client(client),
        to: Party::Server,
        message: veilsum_protocol::Message::Contribution(upload(&contribution)),
    });
    s.uploads(client, vec![upload(&contribution)]);
    Ok(())
}
