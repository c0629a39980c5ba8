use crate::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party, Upload};
use veilsum_wire::{LightBundle, RoundResult};

/// Changes what a member sends: gets each message and gives what is sent instead.
pub type Tamper = Box<dyn FnMut(&World, MemberIndex, Message) -> Vec<Message>>;

/// Messages and their receivers.
pub type Sent = Vec<(Party, Message)>;

/// A server that leaves the protocol. It has the honest machine at its side and may use it, change what it says, or never
/// tell it anything. Every method is honest unless it is overridden.
pub trait Rogue {
    /// What is sent instead of a message of the machine.
    fn sends(&mut self, world: &World, to: Party, message: Message) -> Sent {
        let _ = world;
        vec![(to, message)]
    }
    /// Sees every message before the machine does, may answer, and says whether the machine is told.
    fn receives(
        &mut self,
        world: &World,
        from: Party,
        message: &Message,
        answers: &mut Sent,
    ) -> bool {
        let _ = (world, from, message, answers);
        true
    }
    /// What else it sends each time it would try again.
    fn acts(&mut self, world: &World, now: u64) -> Sent {
        let _ = (world, now);
        Vec::new()
    }
    /// What a client downloads at the end instead of what the machine has for it.
    fn publishes(
        &mut self,
        world: &World,
        client: ClientId,
        honest: Option<(RoundResult, LightBundle)>,
    ) -> Option<(RoundResult, LightBundle)> {
        let _ = (world, client);
        honest
    }
}

/// A message that somebody puts into the network, in anybody's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// When.
    pub at: u64,
    /// Who sends it, as far as the receiver's transport knows.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// What.
    pub message: Message,
}

/// Who does what.
#[derive(Default)]
pub struct Plan {
    /// Clients that never contribute.
    pub absent: BTreeSet<ClientId>,
    /// Clients that upload this instead of an honest contribution, one after the other. They need not be in the cohort.
    pub uploads: BTreeMap<ClientId, Vec<Upload>>,
    /// Clients that send nothing before this tick.
    pub late: BTreeMap<ClientId, u64>,
    /// Clients that send everything so many times.
    pub floods: BTreeMap<ClientId, u32>,
    /// Members that change what they send.
    pub tampering: BTreeMap<MemberIndex, Tamper>,
    /// Members whose disks forget everything now and then: what an honest member never is.
    pub forgetful: BTreeSet<MemberIndex>,
    /// What somebody else puts into the network.
    pub injections: Vec<Injection>,
    /// A server that cheats.
    pub rogue: Option<Box<dyn Rogue>>,
    /// From this tick on the server declares the round void when contributions are still too few.
    pub void_after: Option<u64>,
    /// The round is given up after so many ticks; a default where none is given.
    pub limit: Option<u64>,
    /// Keep the lines of the trace, not only their digest.
    pub trace: bool,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("absent", &self.absent)
            .field("uploads", &self.uploads.keys())
            .field("late", &self.late)
            .field("floods", &self.floods)
            .field("tampering", &self.tampering.keys())
            .field("injections", &self.injections.len())
            .field("rogue", &self.rogue.is_some())
            .finish_non_exhaustive()
    }
}
