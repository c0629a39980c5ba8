use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::collections::BTreeMap;
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Message, Party};
use veilsum_sim::{Hands, Rogue, Sent, World};
use veilsum_wire::{
    Certificate, ComplaintContent, Contribution, EndorseContent, LightBundle, Proposal,
    RoundResult, Signed, VoidContent,
};

/// A server that signs for several sets at once and never runs the honest machine: it keeps what members say and turns it
/// against the others, with the help of the members that it corrupted.
pub(crate) struct Puppet {
    contributions: BTreeMap<ClientId, Contribution>,
    corrupt: Vec<MemberIndex>,
    random: bool,
    rng: ChaCha20Rng,
    sets: Vec<Vec<ClientId>>,
    roots: Vec<Digest>,
    endorsements: Vec<BTreeMap<MemberIndex, Signed<EndorseContent>>>,
    complaints: Vec<Signed<ComplaintContent>>,
}

impl Puppet {
    pub(crate) fn new(
        contributions: BTreeMap<ClientId, Contribution>,
        corrupt: Vec<MemberIndex>,
        random: bool,
        rng: ChaCha20Rng,
    ) -> Self {
        Self {
            contributions,
            corrupt,
            random,
            rng,
            sets: Vec::new(),
            roots: Vec::new(),
            endorsements: Vec::new(),
            complaints: Vec::new(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.next_u64() % (n as u64).max(1)).unwrap_or(0)
    }

    /// P and Q, each as small as may be, and their union.
    fn begin(&mut self, hands: &Hands<'_>) {
        let world = hands.world;
        let cohort = world.context.cohort();
        let few = (world.setup.n_min as usize).min(cohort.len());
        let p = cohort.get(..few).unwrap_or(cohort).to_vec();
        let q = cohort.get(cohort.len() - few..).unwrap_or(cohort).to_vec();
        self.sets = vec![p, q, cohort.to_vec()];
        self.roots = self
            .sets
            .iter()
            .map(|set| hands.proposal(set).signed.content.root)
            .collect();
        self.endorsements = vec![BTreeMap::new(); self.sets.len()];
    }

    fn proposal(&self, hands: &Hands<'_>, set: usize) -> Option<Proposal> {
        Some(hands.proposal(self.sets.get(set)?))
    }

    /// Endorsements that honest members gave, and those of the corrupted, by increasing index.
    fn certificate(&self, hands: &Hands<'_>, proposal: &Proposal, set: usize) -> Certificate {
        let mut all = self.endorsements.get(set).cloned().unwrap_or_default();
        for j in &self.corrupt {
            if let Ok(own) = hands.endorsement(proposal, *j) {
                all.insert(*j, own);
            }
        }
        let t = usize::from(hands.world.setup.threshold);
        Certificate {
            endorsements: all.into_values().take(t).collect(),
        }
    }

    /// A list of dealers to leave out, with the complaints that there are, made up ones of corrupted members included.
    fn list(
        &mut self,
        hands: &Hands<'_>,
        proposal: &Proposal,
    ) -> (Vec<ClientId>, Vec<Signed<ComplaintContent>>) {
        if self.below(3) > 0 {
            return (Vec::new(), Vec::new());
        }
        let at = self.below(proposal.entries.len());
        let Some((dealer, digest)) = proposal.entries.get(at).copied() else {
            return (Vec::new(), Vec::new());
        };
        let known = self
            .complaints
            .iter()
            .find(|c| c.content.header_digest == digest)
            .cloned();
        let by = self.below(self.corrupt.len());
        let made = known.or_else(|| {
            hands
                .complaint(proposal, dealer, *self.corrupt.get(by)?)
                .ok()
        });
        (vec![dealer], made.into_iter().collect())
    }

    fn message(&mut self, hands: &Hands<'_>, set: usize, j: MemberIndex) -> Option<Message> {
        let proposal = self.proposal(hands, set)?;
        let certificate = self.certificate(hands, &proposal, set);
        Some(match self.below(8) {
            0 | 1 => Message::Package(hands.package(&proposal, j)),
            2 | 3 => {
                let (list, complaints) = self.list(hands, &proposal);
                let r = hands.unmask_request(&proposal, &certificate, &list, &complaints);
                Message::UnmaskRequest(r)
            }
            4 => {
                let (_, complaints) = self.list(hands, &proposal);
                Message::RevealRequest(hands.reveal_request(&proposal, &complaints))
            }
            5 => {
                let (list, complaints) = self.list(hands, &proposal);
                Message::Convicted(hands.convicted(&proposal, &certificate, &list, &complaints))
            }
            6 => {
                let slice = u16::try_from(self.below(usize::from(hands.world.context.members())));
                Message::RowsRequest(hands.rows_request(&proposal, slice.unwrap_or(0)))
            }
            _ if self.below(10) == 0 => {
                let params_digest = hands.world.digest();
                let void = VoidContent { params_digest };
                Message::Void(Signed::sign(void, &hands.world.server))
            }
            _ => Message::Package(hands.package(&proposal, j)),
        })
    }

    /// Member j is told of the set that it is assigned to, then asked to unmask it, then asked for the others.
    fn spread(&mut self, hands: &Hands<'_>, now: u64) -> Sent {
        let mut sent = Vec::new();
        for j in hands.world.members() {
            let own = usize::from(j.0) % self.sets.len().max(1);
            let set = if now > 400 {
                self.below(self.sets.len())
            } else {
                own
            };
            let Some(proposal) = self.proposal(hands, set) else {
                continue;
            };
            let certificate = self.certificate(hands, &proposal, set);
            let request = hands.unmask_request(&proposal, &certificate, &[], &[]);
            sent.push((
                Party::Member(j),
                Message::Package(hands.package(&proposal, j)),
            ));
            sent.push((Party::Member(j), Message::UnmaskRequest(request)));
        }
        sent
    }
}

impl Rogue for Puppet {
    fn sends(&mut self, _: &World, to: Party, message: Message) -> Sent {
        match message {
            Message::Announcement(_) => vec![(to, message)],
            _ => Vec::new(),
        }
    }

    fn receives(&mut self, _: &World, _: Party, message: &Message, _: &mut Sent) -> bool {
        match message {
            Message::Endorse(e) => {
                let content = &e.signed.content;
                let set = self.roots.iter().position(|root| *root == content.root);
                if let Some(known) = set.and_then(|set| self.endorsements.get_mut(set)) {
                    known.insert(content.member, e.signed.clone());
                }
                self.complaints.extend(e.complaints.iter().cloned());
            }
            Message::Unmask(u) => self.complaints.extend(u.complaints.iter().cloned()),
            _ => {}
        }
        false
    }

    fn acts(&mut self, world: &World, now: u64) -> Sent {
        if now < 60 {
            return Vec::new();
        }
        let contributions = std::mem::take(&mut self.contributions);
        let hands = Hands {
            world,
            contributions,
        };
        if self.sets.is_empty() {
            self.begin(&hands);
        }
        let sent = if self.random {
            let mut sent = Vec::new();
            for j in world.members() {
                let set = self.below(self.sets.len());
                if let Some(message) = self.message(&hands, set, j) {
                    sent.push((Party::Member(j), message));
                }
            }
            sent
        } else {
            self.spread(&hands, now)
        };
        self.contributions = hands.contributions;
        sent
    }

    fn publishes(
        &mut self,
        _: &World,
        _: ClientId,
        _: Option<(RoundResult, LightBundle)>,
    ) -> Option<(RoundResult, LightBundle)> {
        None
    }
}
