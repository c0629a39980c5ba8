//! What members and clients are answered with: small messages as bytes, large ones made once and in parts that many share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Owed, ServerRound};
use veilsum_wire::Wire;

/// A message for a member.
#[derive(Debug)]
enum Item {
    Bytes(Arc<[u8]>),
    /// Too large to be kept for each member: made when it is asked for.
    Owed(Owed),
    /// A later message says the same and more.
    Replaced,
}

/// Messages for one member, in the order in which they were first sent.
#[derive(Debug, Default)]
struct Outbox {
    items: Vec<Item>,
    /// Places of the first request to unmask, and of the newest.
    unmask_at: Option<(usize, usize)>,
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
    /// Messages that stand in some outbox, by digest: many members get the same.
    same: BTreeMap<[u8; 32], Weak<[u8]>>,
}

impl Outgoing {
    /// Adds a message, once.
    pub(super) fn send(&mut self, to: MemberIndex, message: &Message) {
        let bytes = message.to_bytes();
        let digest = *blake3::hash(&bytes).as_bytes();
        let outbox = self.outboxes.entry(to).or_default();
        if !outbox.known.insert(digest) {
            return;
        }
        let place = outbox.items.len();
        if matches!(message, Message::UnmaskRequest(_)) {
            // Its list holds that of the one before.
            let first = outbox.unmask_at.map(|(first, newest)| {
                if let Some(item) = outbox.items.get_mut(newest) {
                    *item = Item::Replaced;
                }
                first
            });
            outbox.unmask_at = Some((first.unwrap_or(place), place));
        }
        let bytes = match self.same.get(&digest).and_then(Weak::upgrade) {
            Some(same) => same,
            None => {
                let bytes: Arc<[u8]> = bytes.into();
                self.same.retain(|_, bytes| bytes.strong_count() > 0);
                self.same.insert(digest, Arc::downgrade(&bytes));
                bytes
            }
        };
        outbox.items.push(Item::Bytes(bytes));
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
        let held = outbox.unmask_at.filter(|_| hold).map(|(first, _)| first);
        let due = outbox.items.get(..held.unwrap_or(usize::MAX));
        let due = due.unwrap_or(&outbox.items).get(from..)?;
        let (mut next, mut small) = (from, Vec::new());
        for item in due {
            match item {
                Item::Owed(what) if small.is_empty() => {
                    return Some((next.saturating_add(1), Batch::Owed(*what)));
                }
                Item::Owed(_) => break,
                Item::Bytes(bytes) => small.push(Arc::clone(bytes)),
                Item::Replaced => {}
            }
            next = next.saturating_add(1);
        }
        (!small.is_empty()).then_some((next, Batch::Messages(small)))
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

    /// What is alike for all in [`Self::result`]: what comes before a client's place in U, and what comes after it.
    pub(super) fn result_frame(&mut self, machine: &ServerRound) -> Option<[Arc<[u8]>; 2]> {
        let (first, _) = machine.proposal()?.entries.first()?;
        let parts = self.result(machine, *first)?;
        Some([parts.first().cloned()?, parts.last().cloned()?])
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

#[cfg(test)]
mod tests {
    use super::*;
    use veilsum_crypto::{Digest, IdentityKey};
    use veilsum_params::ClientId;
    use veilsum_wire::{Certificate, ComplaintListContent, Signed, UnmaskRequest, VoidContent};

    fn unmask(convicted: u32) -> Message {
        let key = IdentityKey::from_seed(&[1; 32]);
        let content = ComplaintListContent {
            params_digest: Digest([1; 32]),
            root: Digest([2; 32]),
            convicted: (1..=convicted).map(ClientId).collect(),
        };
        Message::UnmaskRequest(UnmaskRequest {
            certificate: Certificate {
                endorsements: Vec::new(),
            },
            list: Signed::sign(content, &key),
            complaints: Vec::new(),
        })
    }

    fn void() -> Message {
        let key = IdentityKey::from_seed(&[1; 32]);
        let params_digest = Digest([1; 32]);
        Message::Void(Signed::sign(VoidContent { params_digest }, &key))
    }

    fn bytes(
        outgoing: &Outgoing,
        to: MemberIndex,
        from: usize,
        hold: bool,
    ) -> (usize, Vec<Vec<u8>>) {
        match outgoing.behind(to, from, hold) {
            Some((next, Batch::Messages(found))) => {
                (next, found.iter().map(|bytes| bytes.to_vec()).collect())
            }
            Some((next, Batch::Owed(_))) => (next, Vec::new()),
            None => (from, Vec::new()),
        }
    }

    #[test]
    fn the_newest_request_to_unmask_replaces_the_others_and_members_share_it() {
        let mut outgoing = Outgoing::default();
        let members = [MemberIndex(1), MemberIndex(2)];
        outgoing.owe(members[0], Owed::Package);
        for convicted in 0..20 {
            for member in members {
                outgoing.send(member, &unmask(convicted));
            }
        }
        outgoing.send(members[0], &void());
        let newest = unmask(19).to_bytes();
        assert_eq!(outgoing.same.len(), 2, "as many as are different and alive");
        assert_eq!(
            bytes(&outgoing, members[1], 0, false),
            (20, vec![newest.clone()])
        );
        // The large message first and alone, then what is left of the others.
        assert_eq!(bytes(&outgoing, members[0], 0, false), (1, Vec::new()));
        let rest = vec![newest.clone(), void().to_bytes()];
        assert_eq!(bytes(&outgoing, members[0], 1, false), (22, rest));
        // A cursor from before it was replaced.
        let rest = vec![newest, void().to_bytes()];
        assert_eq!(bytes(&outgoing, members[0], 7, false), (22, rest));
        assert_eq!(bytes(&outgoing, members[0], 22, false), (22, Vec::new()));
        // Held back: nothing behind the package.
        assert_eq!(bytes(&outgoing, members[0], 1, true), (1, Vec::new()));
        // The same message again is no second one.
        outgoing.send(members[0], &void());
        assert_eq!(bytes(&outgoing, members[0], 22, false), (22, Vec::new()));
    }
}
