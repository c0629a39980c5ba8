//! What members and clients are answered with: small messages as bytes, large ones made once and in parts that many share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Owed, ServerRound};
use veilsum_wire::Wire;

/// A message for a member.
#[derive(Debug)]
enum Item {
    Bytes(Arc<[u8]>),
    /// Too large to be kept for each member: made when it is asked for.
    Owed(Owed),
}

/// Messages for one member, in the order in which they were first sent.
#[derive(Debug, Default)]
struct Outbox {
    items: Vec<Item>,
    /// Place of the first request to unmask.
    unmask_at: Option<usize>,
    known: BTreeSet<[u8; 32]>,
    owed: BTreeSet<Owed>,
}

/// What a member gets at one time.
pub(super) enum Batch {
    Messages(Vec<Arc<[u8]>>),
    /// One large message alone.
    Owed(Owed),
}

/// Bytes that are made once and sent to many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What all members get alike.
    Shared(Owed),
    Own(Owed, MemberIndex),
    /// The result and the beginning of what goes with it.
    ResultHead,
    ResultTail,
}

/// Everything that is due to be fetched in one round. Memory: one copy of the headers of U and of each slice of rows, the
/// shares of each member, the result.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    outboxes: BTreeMap<MemberIndex, Outbox>,
    parts: BTreeMap<Part, Arc<[u8]>>,
}

impl Outgoing {
    /// Adds a message, once.
    pub(super) fn send(&mut self, to: MemberIndex, message: &Message) {
        let bytes = message.to_bytes();
        let outbox = self.outboxes.entry(to).or_default();
        if outbox.known.insert(*blake3::hash(&bytes).as_bytes()) {
            if matches!(message, Message::UnmaskRequest(_)) {
                outbox.unmask_at.get_or_insert(outbox.items.len());
            }
            outbox.items.push(Item::Bytes(bytes.into()));
        }
    }

    /// Adds a large message, once.
    pub(super) fn owe(&mut self, to: MemberIndex, what: Owed) {
        let outbox = self.outboxes.entry(to).or_default();
        if outbox.owed.insert(what) {
            outbox.items.push(Item::Owed(what));
        }
    }

    /// What stands behind the first `from` messages of a member, and how many there are before what comes next. Requests to
    /// unmask, and all after them, are kept back while `hold` says so.
    pub(super) fn behind(
        &self,
        to: MemberIndex,
        from: usize,
        hold: bool,
    ) -> Option<(usize, Batch)> {
        let outbox = self.outboxes.get(&to)?;
        let end = outbox.unmask_at.filter(|_| hold).unwrap_or(usize::MAX);
        let due = outbox.items.get(..end).unwrap_or(&outbox.items);
        let due = due.get(from..)?;
        if let Item::Owed(what) = due.first()? {
            return Some((from.saturating_add(1), Batch::Owed(*what)));
        }
        let small = due.iter().map_while(|item| match item {
            Item::Bytes(bytes) => Some(Arc::clone(bytes)),
            Item::Owed(_) => None,
        });
        let small: Vec<_> = small.collect();
        Some((from.saturating_add(small.len()), Batch::Messages(small)))
    }

    /// The parts of a large message.
    pub(super) fn owed(
        &mut self,
        machine: &ServerRound,
        to: MemberIndex,
        what: Owed,
    ) -> Option<Vec<Arc<[u8]>>> {
        let shared = self.part(Part::Shared(what), || machine.owed_shared(what))?;
        let own = self.part(Part::Own(what, to), || machine.owed_own(to, what))?;
        Some(vec![shared, own])
    }

    fn part(&mut self, part: Part, make: impl FnOnce() -> Option<Vec<u8>>) -> Option<Arc<[u8]>> {
        if let Some(made) = self.parts.get(&part) {
            return Some(Arc::clone(made));
        }
        let made: Arc<[u8]> = make()?.into();
        self.parts.insert(part, Arc::clone(&made));
        Some(made)
    }

    /// The result and what one client checks it with; none before the end, and for a client that is not in U.
    pub(super) fn result(
        &mut self,
        machine: &ServerRound,
        client: ClientId,
    ) -> Option<Vec<Arc<[u8]>>> {
        if !self.parts.contains_key(&Part::ResultTail) {
            let [head, _, tail] = machine.light_bundle(client)?.to_parts();
            let mut with_result = machine.result()?.to_bytes();
            with_result.extend_from_slice(&head);
            self.parts.insert(Part::ResultHead, with_result.into());
            self.parts.insert(Part::ResultTail, tail.into());
        }
        let place = machine.place_of(client)?.to_bytes();
        Some(vec![
            self.parts.get(&Part::ResultHead).cloned()?,
            place.into(),
            self.parts.get(&Part::ResultTail).cloned()?,
        ])
    }
}
