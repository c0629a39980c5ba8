//! What somebody who is no party puts into the network.

use crate::adversary::Stage;
use crate::clients::upload;
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party};
use veilsum_sim::{Deviation, Injection, SimError, World, forge};
use veilsum_wire::{
    Endorse, EndorseContent, FinalContent, Signed, Unmask, UnmaskContent, VoidContent,
    complaints_digest,
};

type Done = Result<(), SimError>;

/// The round that is simulated, and the one before it.
pub(crate) const ROUND: u64 = 2;
const EARLIER: u64 = 1;

/// The round before this one: the same roster, keys and server.
pub(crate) fn earlier(s: &Stage<'_>) -> Result<World, SimError> {
    World::with_tables(s.world.setup, EARLIER, s.tables)
}

impl Stage<'_> {
    fn inject(&mut self, from: Party, to: Party, message: Message) {
        let at = 1 + self.draw.below(400);
        self.plan.injections.push(Injection {
            at,
            from,
            to,
            message,
        });
    }
}

/// Clients of the roster that were not sampled contribute.
pub(crate) fn outsiders(s: &mut Stage<'_>, _: u16) -> Done {
    let sampled = |c: &ClientId| s.world.context.in_cohort(*c);
    let outsiders: Vec<ClientId> = s
        .world
        .identities
        .keys()
        .filter(|c| !sampled(c))
        .copied()
        .collect();
    for client in outsiders {
        let made = forge(s.world, client, &Deviation::default(), &mut s.draw.0)?;
        s.corrupt.insert(Party::Client(client));
        s.vectors.insert(client, None);
        s.plan.uploads.insert(client, vec![made.upload()]);
    }
    Ok(())
}

/// What everybody signed in the round before this one comes again.
pub(crate) fn replays(s: &mut Stage<'_>, _: u16) -> Done {
    let earlier = earlier(s)?;
    let params_digest = earlier.digest();
    let first = earlier.context.cohort().first().copied();
    if let Some(client) = first {
        let made = forge(&earlier, client, &Deviation::default(), &mut s.draw.0)?;
        let message = Message::Contribution(upload(&made.contribution));
        s.inject(Party::Client(client), Party::Server, message);
    }
    for client in s.world.context.cohort() {
        let message = Message::Announcement(earlier.announcement());
        s.inject(Party::Server, Party::Client(*client), message);
    }
    let root = Digest([5; 32]);
    for member in earlier.members() {
        let (_, identity, _) = earlier.member_keys(member)?;
        let endorse = EndorseContent {
            params_digest,
            root,
            member,
            count: earlier.setup.cohort,
            complaints: complaints_digest(&[]),
        };
        let sum = curve25519_dalek::scalar::Scalar::ONE;
        let unmask = UnmaskContent {
            params_digest,
            root,
            member,
            convicted: Vec::new(),
            sum,
        };
        let sum_f0 = *s.world.member_keys(MemberIndex(1))?.2.public();
        let last = FinalContent {
            params_digest,
            root,
            member,
            count: earlier.setup.cohort,
            convicted: Vec::new(),
            sum_f0,
        };
        let from = Party::Member(member);
        let complaints = Vec::new();
        let signed = Signed::sign(endorse, identity);
        s.inject(
            from,
            Party::Server,
            Message::Endorse(Endorse { signed, complaints }),
        );
        let (signed, complaints) = (Signed::sign(unmask, identity), Vec::new());
        s.inject(
            from,
            Party::Server,
            Message::Unmask(Unmask { signed, complaints }),
        );
        let signed = Signed::sign(last, identity);
        s.inject(from, Party::Server, Message::Final(signed));
        let void = Signed::sign(VoidContent { params_digest }, &earlier.server);
        s.inject(Party::Server, from, Message::Void(void));
    }
    Ok(())
}

/// Statements in the names of server and members under keys that are not theirs.
pub(crate) fn forges_names(s: &mut Stage<'_>, _: u16) -> Done {
    let params_digest = s.world.digest();
    let (stranger, _) = s.world.keys(s.client(0)?)?;
    let stranger = stranger.clone();
    let void = Signed::sign(VoidContent { params_digest }, &stranger);
    for member in s.world.members() {
        s.inject(
            Party::Server,
            Party::Member(member),
            Message::Void(void.clone()),
        );
        let content = EndorseContent {
            params_digest,
            root: Digest([6; 32]),
            member,
            count: s.world.setup.cohort,
            complaints: complaints_digest(&[]),
        };
        // A client that is this member as well signs as itself, truly; it must not be the one.
        if s.world.member_keys(member)?.0 != s.client(0)? {
            let signed = Signed::sign(content, &stranger);
            let complaints = Vec::new();
            let message = Message::Endorse(Endorse { signed, complaints });
            s.inject(Party::Member(member), Party::Server, message);
        }
    }
    let announcement = {
        let mut announcement = s.world.announcement();
        announcement.params.threshold = announcement.params.threshold.saturating_sub(1);
        announcement.signed = Signed::sign(announcement.signed.content, &stranger);
        announcement
    };
    for client in s.world.context.cohort() {
        let message = Message::Announcement(announcement.clone());
        s.inject(Party::Server, Party::Client(*client), message);
    }
    Ok(())
}

/// Announcements again and again, to everybody, whoever they are meant for.
pub(crate) fn noise(s: &mut Stage<'_>, _: u16) -> Done {
    let announcement = s.world.announcement();
    for _ in 0..20 {
        for to in s.world.members().map(Party::Member).chain([Party::Server]) {
            let message = Message::Announcement(announcement.clone());
            s.inject(Party::Server, to, message);
        }
    }
    Ok(())
}
