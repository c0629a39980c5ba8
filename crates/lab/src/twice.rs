//! Whether anybody signed two statements of which a party makes one.

use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::{Digest, VerifyingKey};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{MemberStatement, Message, Party, Record, RoundContext};
use veilsum_wire::{
    Announcement, Certificate, ComplaintContent, ComplaintListContent, Content, ConvictedContent,
    EndorseContent, FinalContent, Header, Proposal, ReceiptContent, ResultContent, RevealContent,
    RowsContent, Signed, UnmaskContent, VoidContent, Wire,
};

/// The kind of a signed header.
pub(crate) const CONTRIBUTION: &str = "contribution";

/// What a statement is about: of each party, kind and subject there is one statement in a round, ever.
type Slot = (Party, &'static str, Vec<u8>);

/// Everything that the parties of a round signed, from messages and from logs, in any order and any number of times.
///
/// What does not have the signature of whom it names is nobody's statement and is left out.
#[derive(Debug)]
pub struct Statements<'a> {
    context: &'a RoundContext,
    /// Digests of what was looked at before.
    known: BTreeSet<[u8; 32]>,
    said: BTreeMap<Slot, BTreeSet<Vec<u8>>>,
    /// Lists of convicted dealers, which may grow, by the root that they are about.
    lists: BTreeMap<Digest, Vec<BTreeSet<ClientId>>>,
}

impl<'a> Statements<'a> {
    /// None yet.
    pub fn new(context: &'a RoundContext) -> Self {
        Self {
            context,
            known: BTreeSet::new(),
            said: BTreeMap::new(),
            lists: BTreeMap::new(),
        }
    }

    /// Number of statements that differ.
    pub fn len(&self) -> usize {
        self.said.values().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Who signed two different statements where there may be one, and which kind.
    pub fn twice(&self) -> BTreeSet<(Party, &'static str)> {
        let several = self.said.iter().filter(|(_, said)| said.len() > 1);
        let mut found: BTreeSet<_> = several.map(|((by, kind, _), _)| (*by, *kind)).collect();
        let grows = |lists: &Vec<BTreeSet<ClientId>>| {
            lists.iter().enumerate().all(|(at, one)| {
                let others = lists.iter().skip(at + 1);
                others
                    .into_iter()
                    .all(|other| one.is_subset(other) || other.is_subset(one))
            })
        };
        if !self.lists.values().all(grows) {
            found.insert((Party::Server, "list of complaints"));
        }
        found
    }

    fn key(&self, by: Party) -> Option<&VerifyingKey> {
        match by {
            Party::Server => Some(self.context.server_key()),
            Party::Client(client) => self.context.identity(client),
            Party::Member(index) => Some(self.context.member(index)?.1),
        }
    }

    /// Whether this is a statement of `by` that was not looked at before.
    fn is_new<T: Content>(&mut self, by: Party, signed: &Signed<T>) -> bool {
        let bytes = (by.to_string().into_bytes(), signed.to_bytes()).to_bytes();
        let known = [T::LABEL.as_str().as_bytes(), &bytes].concat();
        if !self.known.insert(*blake3::hash(&known).as_bytes()) {
            return false;
        }
        self.key(by).is_some_and(|key| signed.verify(key).is_ok())
    }

    fn add(&mut self, by: Party, kind: &'static str, about: Vec<u8>, said: Vec<u8>) {
        self.said.entry((by, kind, about)).or_default().insert(said);
    }

    /// A statement of which `by` makes one about each subject.
    fn one<T: Content>(
        &mut self,
        by: Party,
        kind: &'static str,
        about: impl Wire,
        signed: &Signed<T>,
    ) {
        if self.is_new(by, signed) {
            self.add(by, kind, about.to_bytes(), signed.content.to_bytes());
        }
    }

    fn announcement(&mut self, m: &Announcement) {
        let round = m.signed.content.round_id;
        self.one(Party::Server, "announcement", round, &m.signed);
    }

    fn header(&mut self, signed: &Header) {
        let client = signed.content.client;
        let by = Party::Client(client);
        self.one(by, CONTRIBUTION, signed.content.params_digest, signed);
    }

    fn receipt(&mut self, signed: &Signed<ReceiptContent>) {
        let about = (signed.content.params_digest, signed.content.client);
        self.one(Party::Server, "receipt", about, signed);
    }

    fn proposal(&mut self, m: &Proposal) {
        let about = m.signed.content.params_digest;
        self.one(Party::Server, "proposal", about, &m.signed);
    }

    fn complaints(&mut self, complaints: &[Signed<ComplaintContent>]) {
        for signed in complaints {
            let content = &signed.content;
            let about = (content.params_digest, content.header_digest);
            self.one(Party::Member(content.member), "complaint", about, signed);
        }
    }

    fn endorsement(&mut self, signed: &Signed<EndorseContent>) {
        let content = &signed.content;
        let by = Party::Member(content.member);
        self.one(by, "endorsement", content.params_digest, signed);
    }

    fn certificate(&mut self, certificate: &Certificate) {
        for signed in &certificate.endorsements {
            self.endorsement(signed);
        }
    }

    fn list(&mut self, signed: &Signed<ComplaintListContent>) {
        if self.is_new(Party::Server, signed) {
            let list = signed.content.convicted.iter().copied().collect();
            let lists = self.lists.entry(signed.content.root).or_default();
            lists.push(list);
        }
    }

    fn unmask(&mut self, signed: &Signed<UnmaskContent>) {
        let content = &signed.content;
        let by = Party::Member(content.member);
        self.one(by, "sum of shares", content.params_digest, signed);
    }

    fn reveal(&mut self, signed: &Signed<RevealContent>) {
        let content = &signed.content;
        let about = (content.params_digest, content.header_digest);
        self.one(
            Party::Member(content.member),
            "revealed share",
            about,
            signed,
        );
    }

    fn convicted(&mut self, signed: &Signed<ConvictedContent>) {
        let about = signed.content.params_digest;
        self.one(Party::Server, "list of convicted dealers", about, signed);
    }

    fn finale(&mut self, signed: &Signed<FinalContent>) {
        let content = &signed.content;
        let by = Party::Member(content.member);
        self.one(by, "final", content.params_digest, signed);
    }

    /// A member signs its list again with each slice; no slice may have two sums, and root and Conv stay.
    fn rows(&mut self, signed: &Signed<RowsContent>) {
        let content = &signed.content;
        let by = Party::Member(content.member);
        if !self.is_new(by, signed) {
            return;
        }
        let params = content.params_digest;
        let over = (content.root, content.convicted).to_bytes();
        self.add(by, "set of row sums", params.to_bytes(), over);
        for (slice, sum) in &content.slices {
            self.add(by, "row sum", (params, *slice).to_bytes(), sum.to_bytes());
        }
    }

    fn result(&mut self, signed: &Signed<ResultContent>) {
        let about = signed.content.params_digest;
        self.one(Party::Server, "result", about, signed);
    }

    fn void(&mut self, signed: &Signed<VoidContent>) {
        let about = signed.content.params_digest;
        self.one(Party::Server, "void", about, signed);
    }

    /// Everything that is signed in a message, whoever sent it.
    pub fn message(&mut self, message: &Message) {
        match message {
            Message::Announcement(m) => self.announcement(m),
            Message::Contribution(m) => self.header(&m.header),
            Message::Receipt(signed) => self.receipt(signed),
            Message::Proposal(m) => self.proposal(m),
            Message::Package(m) => {
                self.proposal(&m.proposal);
                m.headers.iter().for_each(|header| self.header(header));
            }
            Message::Endorse(m) => {
                self.endorsement(&m.signed);
                self.complaints(&m.complaints);
            }
            Message::UnmaskRequest(m) => {
                self.certificate(&m.certificate);
                self.list(&m.list);
                self.complaints(&m.complaints);
            }
            Message::Unmask(m) => {
                self.unmask(&m.signed);
                self.complaints(&m.complaints);
            }
            Message::RevealRequest(m) => self.complaints(&m.complaints),
            Message::Reveal(signed) => self.reveal(signed),
            Message::Convicted(m) => {
                self.convicted(&m.signed);
                self.certificate(&m.certificate);
                self.complaints(&m.complaints);
            }
            Message::Final(signed) => self.finale(signed),
            Message::RowsRequest(_) => {}
            Message::Rows(m) => self.rows(&m.signed),
            Message::Result(m) => self.result(&m.signed),
            Message::Void(signed) => self.void(signed),
        }
    }

    /// Everything that is signed in a record of anybody's log.
    pub fn record(&mut self, record: &Record) {
        if let Some((_, message)) = message_of(record) {
            return self.message(&message);
        }
        match record {
            Record::ClientContribution {
                announcement,
                header,
                ..
            }
            | Record::ClientLargeContribution {
                announcement,
                header,
                ..
            } => {
                self.announcement(announcement);
                self.header(header);
            }
            Record::ClientResult { accepted: sent } | Record::ServerLargeResult { sent, .. } => {
                self.result(sent);
            }
            Record::ServerContribution { header, .. } => self.header(header),
            Record::ServerList { sent } => self.list(sent),
            Record::ServerClosing {
                complaints,
                sums,
                reveals,
                ..
            } => {
                self.complaints(complaints);
                sums.iter().for_each(|signed| self.unmask(signed));
                reveals.iter().for_each(|signed| self.reveal(signed));
            }
            Record::ServerConvicted { sent } => self.convicted(sent),
            Record::ServerForeign { accepted } => match accepted {
                MemberStatement::Endorse { signed } => self.endorsement(signed),
                MemberStatement::Unmask { signed } => self.unmask(signed),
                MemberStatement::Final { signed } => self.finale(signed),
            },
            _ => {}
        }
    }
}

/// The message that a record of a log stands for, and who sent it; none where a record is no whole message.
pub fn message_of(record: &Record) -> Option<(Party, Message)> {
    let server = |message| (Party::Server, message);
    let member = |index: MemberIndex, message| (Party::Member(index), message);
    Some(match record.clone() {
        Record::MemberAnnouncement { announcement } => server(Message::Announcement(announcement)),
        Record::ServerAnnouncement { sent } => server(Message::Announcement(sent)),
        Record::ClientReceipt { receipt: sent } | Record::ServerReceipt { sent } => {
            server(Message::Receipt(sent))
        }
        Record::MemberPackage { package } => server(Message::Package(package)),
        Record::ServerProposal { sent } => server(Message::Proposal(sent)),
        Record::MemberEndorse { sent } | Record::ServerEndorse { accepted: sent } => {
            member(sent.signed.content.member, Message::Endorse(sent))
        }
        Record::MemberUnmaskRequest { request } => server(Message::UnmaskRequest(request)),
        Record::MemberUnmask { sent } | Record::ServerUnmask { accepted: sent } => {
            member(sent.signed.content.member, Message::Unmask(sent))
        }
        Record::MemberReveal { sent } | Record::ServerReveal { accepted: sent } => {
            member(sent.content.member, Message::Reveal(sent))
        }
        Record::MemberConvicted { accepted } => server(Message::Convicted(accepted)),
        Record::MemberFinal { sent } | Record::ServerFinal { accepted: sent } => {
            member(sent.content.member, Message::Final(sent))
        }
        Record::MemberRows { sent } | Record::ServerRows { accepted: sent } => {
            member(sent.signed.content.member, Message::Rows(sent))
        }
        Record::MemberVoid { accepted: sent } | Record::ServerVoid { sent } => {
            server(Message::Void(sent))
        }
        Record::ServerResult { sent } => server(Message::Result(sent)),
        _ => return None,
    })
}
