//! Clients and members: a machine, its disk, and what stops it.

use crate::journal::Journal;
use crate::plan::Tamper;
use crate::{Injected, SimError, World};
use rand_chacha::ChaCha20Rng;
use std::sync::Arc;
use veilsum_params::{ClientId, MemberIndex, Policy};
use veilsum_protocol::{Client, ClientConfig, Member, Output, Upload};

/// What a simulated client insists on: committees here are small.
pub(crate) const POLICY: Policy = Policy {
    n_min: 2,
    committee: 2,
    malicious_max: 0,
    dim_max: 1 << 20,
    n_max: 1 << 10,
    unproven_draw: true,
};

pub(crate) struct MemberNode {
    pub(crate) machine: Option<Member>,
    pub(crate) journal: Journal,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) tamper: Option<Tamper>,
    pub(crate) forgetful: bool,
    pub(crate) back: u64,
}

impl MemberNode {
    /// Starts the process from its disk; false when the disk fails again.
    pub(crate) fn start(
        &mut self,
        world: &World,
        index: MemberIndex,
        count: &mut impl FnMut(Injected),
    ) -> Result<bool, SimError> {
        self.machine = None;
        let Some(opened) = self.journal.open()? else {
            return Ok(false);
        };
        opened.injected.into_iter().for_each(&mut *count);
        let (_, identity, share_key) = world.member_keys(index)?;
        let (context, identity, share_key) = (
            Arc::clone(&world.context),
            identity.clone(),
            share_key.clone(),
        );
        if opened.records.is_empty() {
            let (machine, outputs) =
                Member::join(context, world.announcement(), identity, share_key)?;
            for output in outputs {
                if let Output::Persist(record) = output
                    && let Err(what) = self.journal.persist(&record)
                {
                    count(what);
                    return Ok(false);
                }
            }
            self.machine = Some(machine);
        } else {
            let records = opened.records;
            self.machine = Some(Member::replay(
                context,
                identity,
                share_key,
                records,
                &mut self.rng,
            )?);
        }
        Ok(true)
    }
}

pub(crate) enum Conduct {
    /// Follows the protocol; no machine while it is stopped.
    Honest(Option<Box<Client>>),
    /// Uploads these, the first one until it has its receipt or was refused, then the next.
    Uploads(Vec<Upload>),
}

pub(crate) struct ClientNode {
    pub(crate) conduct: Conduct,
    pub(crate) journal: Journal,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) back: u64,
    pub(crate) late: u64,
    pub(crate) copies: u32,
}

impl ClientNode {
    pub(crate) fn machine(&mut self) -> Option<&mut Client> {
        match &mut self.conduct {
            Conduct::Honest(machine) => machine.as_deref_mut(),
            Conduct::Uploads(_) => None,
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        matches!(self.conduct, Conduct::Honest(_))
    }

    /// Starts an honest client's process from its disk; false when the disk fails again.
    pub(crate) fn start(
        &mut self,
        world: &World,
        client: ClientId,
        count: &mut impl FnMut(Injected),
    ) -> Result<bool, SimError> {
        let Conduct::Honest(machine) = &mut self.conduct else {
            return Ok(true);
        };
        *machine = None;
        let Some(opened) = self.journal.open()? else {
            return Ok(false);
        };
        opened.injected.into_iter().for_each(count);
        let (identity, share_key) = world.keys(client)?;
        let config = ClientConfig {
            client,
            server_key: world.server.verifying_key(),
            policy: POLICY,
            share_key: Some(*share_key.public()),
        };
        let roster = Arc::clone(&world.roster);
        *machine = Some(Box::new(Client::new(
            config,
            identity.clone(),
            roster,
            opened.records,
        )?));
        Ok(true)
    }
}
