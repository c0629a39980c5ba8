//! The server's side of a simulated round: its driver, its disk, and whoever it leaves the protocol as.

use crate::simulation::{DOWN, SILENT};
use crate::{Injected, SimError, Simulation};
use std::sync::Arc;
use veilsum_params::ClientId;
use veilsum_protocol::{
    Admission, Event, Input, Message, Output, Party, Phase, ServerRound, Upload, decode_body,
    verify_contribution,
};
use veilsum_wire::{Announcement, LightBundle, Proposal, RoundResult, Wire};

/// How often a process that is to answer at the end is started, where its disk fails.
const TRIES: u32 = 100;

impl Simulation<'_> {
    /// Starts the server's process from its disk.
    pub(crate) fn start_server(&mut self) -> Result<(), SimError> {
        let w = self.world;
        let Some(opened) = self.server_journal.open()? else {
            self.server_back = self.now + DOWN;
            return Ok(());
        };
        opened
            .injected
            .into_iter()
            .for_each(|what| self.count(what));
        self.report.log = opened.records.iter().map(Wire::to_bytes).collect();
        let Some(bodies) = self.server_journal.bodies() else {
            self.server_back = self.now + DOWN;
            return Ok(());
        };
        let (context, round) = (Arc::clone(&w.context), Arc::clone(&w.round));
        let (identity, bodies) = (w.server.clone(), Box::new(bodies));
        let (server, outputs) = if opened.records.is_empty() {
            ServerRound::announce(context, round, identity, bodies)?
        } else {
            ServerRound::replay(context, round, identity, bodies, opened.records)?
        };
        let outputs = server.with_owed(outputs);
        self.server = Some(server);
        self.note(format_args!("server starts"));
        self.act(outputs);
        Ok(())
    }

    fn stop_server(&mut self, what: Injected) {
        self.count(what);
        self.note(format_args!("server stops: {}", what.name()));
        self.server = None;
        self.server_back = self.now + DOWN;
    }

    /// Does what the server asks for, up to the record after which it is to stop or that its disk refuses.
    fn act(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    if let Err(what) = self.server_journal.persist(&record) {
                        return self.stop_server(what);
                    }
                    self.report.log.push(record.to_bytes());
                    if self.faults.server_stops_after == Some(self.report.log.len()) {
                        self.faults.server_stops_after = None;
                        return self.stop_server(Injected::ServerStopped);
                    }
                }
                Output::Send { to, message } => self.server_sends(to, message),
                // Was put in as a message before.
                Output::Owe { .. } => {}
                Output::Reject { from, refusal } => self.refuse(Party::Server, from, refusal),
                Output::Event(Event::Evidence(evidence)) => self.report.evidence.push(*evidence),
                Output::Event(_) => {}
                Output::Failed(fault) => self.report.faults.push(fault),
                Output::Done(outcome) => self.report.outcome = Some(outcome),
            }
        }
    }

    fn server_sends(&mut self, to: Party, message: Message) {
        let sent = match &mut self.rogue {
            None => vec![(to, message)],
            Some(rogue) => rogue.sends(self.world, to, message),
        };
        for (to, message) in sent {
            self.send(Party::Server, to, message);
        }
    }

    fn give_server(&mut self, input: Input) {
        if let Some(server) = &mut self.server {
            let outputs = server.handle(input);
            let outputs = server.with_owed(outputs);
            self.act(outputs);
        }
    }

    pub(crate) fn server_retries(&mut self) {
        if let Some(rogue) = &mut self.rogue {
            for (to, message) in rogue.acts(self.world, self.now) {
                self.send(Party::Server, to, message);
            }
        }
        let Some(phase) = self.server.as_ref().map(ServerRound::phase) else {
            return;
        };
        match phase {
            Phase::Collecting => self.collect(),
            Phase::Certifying => {
                let since = *self.certifying_since.get_or_insert(self.now);
                if self.now - since >= SILENT + self.faults.skew {
                    let silent = self
                        .server
                        .as_ref()
                        .map(ServerRound::awaited)
                        .unwrap_or_default();
                    for member in silent {
                        self.give_server(Input::MemberSilent(member));
                    }
                }
            }
            _ => {}
        }
        self.give_server(Input::Retry);
    }

    fn collect(&mut self) {
        let round_id = self.world.context.params().round_id;
        let all = self
            .clients
            .keys()
            .all(|c| self.report.receipts.contains_key(c));
        if all || self.now >= self.deadline {
            self.give_server(Input::DeadlineReached);
            let few = self
                .server
                .as_ref()
                .is_some_and(|s| s.phase() == Phase::Collecting);
            if few && self.void_after.is_some_and(|after| self.now >= after) {
                self.give_server(Input::DeclareVoid);
            }
        }
        // Announcements are asked for by clients that have none.
        let Some(announcement) = self.server.as_ref().map(|s| s.announcement().clone()) else {
            return;
        };
        let waiting: Vec<ClientId> = self
            .clients
            .iter_mut()
            .filter_map(|(client, node)| {
                node.machine()
                    .is_some_and(|m| m.context(round_id).is_none())
                    .then_some(*client)
            })
            .collect();
        for client in waiting {
            self.server_sends(
                Party::Client(client),
                Message::Announcement(announcement.clone()),
            );
        }
    }

    pub(crate) fn deliver_server(&mut self, from: Party, message: Message) {
        if let Some(rogue) = &mut self.rogue {
            let mut answers = Vec::new();
            let told = rogue.receives(self.world, from, &message, &mut answers);
            for (to, answer) in answers {
                self.send(Party::Server, to, answer);
            }
            if !told {
                return;
            }
        }
        let Message::Contribution(upload) = message else {
            return self.give_server(Input::Message { from, message });
        };
        let Some(server) = &mut self.server else {
            return;
        };
        match server.admit(&upload.header) {
            Admission::Known(receipt) => self.server_sends(from, Message::Receipt(*receipt)),
            Admission::Refused(outputs) => {
                self.next_upload(from);
                self.act(outputs);
            }
            Admission::Verify => self.verify(from, upload),
        }
    }

    fn verify(&mut self, from: Party, upload: Upload) {
        let (ctx, round) = (&self.world.context, &self.world.round);
        let verdict = decode_body(ctx, &upload.body.0)
            .and_then(|body| verify_contribution(ctx, round, upload.header.clone(), body));
        match verdict {
            Ok(contribution) => match self.server_journal.put_body(&upload.body.0) {
                Ok(body) => self.give_server(Input::Contribution { contribution, body }),
                Err(what) => self.stop_server(what),
            },
            Err(refusal) => {
                self.give_server(Input::Invalid {
                    header: upload.header,
                    body: upload.body,
                    refusal,
                });
                self.next_upload(from);
            }
        }
    }

    /// The announcement and the proposals that honest parties were sent, each once.
    fn heard(&self) -> (Option<Announcement>, Vec<Proposal>) {
        let (mut announcement, mut proposals) = (None, Vec::new());
        for (from, message) in &self.report.sent {
            match (from, message) {
                (Party::Server, Message::Announcement(a)) if announcement.is_none() => {
                    announcement = Some(a.clone());
                }
                (Party::Server, Message::Package(package))
                    if !proposals.contains(&package.proposal) =>
                {
                    proposals.push(package.proposal.clone());
                }
                _ => {}
            }
        }
        (announcement, proposals)
    }

    fn published(&mut self, client: ClientId) -> Option<(RoundResult, LightBundle)> {
        let honest = self.server.as_ref().and_then(|server| {
            let bundle = server.light_bundle(client)?;
            Some((server.result()?.clone(), bundle))
        });
        match &mut self.rogue {
            None => honest,
            Some(rogue) => rogue.publishes(self.world, client, honest),
        }
    }

    /// Every honest client holds the proposals that went round against its receipt, downloads the result and checks it.
    pub(crate) fn finish(&mut self) -> Result<(), SimError> {
        // A process that is stopped comes back before it asks for the result; no disk fails any more.
        let world = self.world;
        let round_id = world.context.params().round_id;
        let (announcement, proposals) = self.heard();
        for _ in 0..TRIES {
            if self.server.is_none() {
                self.start_server()?;
            }
        }
        self.report.result = self.server.as_ref().and_then(|s| s.result().cloned());
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in clients {
            let published = self.published(client);
            let Some(node) = self.clients.get_mut(&client) else {
                continue;
            };
            let mut tries = 0;
            while node.is_honest() && node.machine().is_none() && tries < TRIES {
                node.start(world, client, &mut |_| {})?;
                tries += 1;
            }
            let mut rng = node.rng.clone();
            let Some(machine) = node.machine() else {
                continue;
            };
            let mut errors = Vec::new();
            if machine.context(round_id).is_none()
                && let Some(announcement) = &announcement
                && let Err(error) = machine.announcement(announcement)
            {
                errors.push(error);
            }
            for proposal in &proposals {
                if let Err(error) = machine.proposal(round_id, proposal) {
                    errors.push(error);
                }
            }
            if let Some((result, bundle)) = published {
                // What is downloaded is bytes.
                if let (Ok(bundle), Ok(result)) = (
                    LightBundle::from_bytes(&bundle.to_bytes()),
                    RoundResult::from_bytes(&result.to_bytes()),
                ) {
                    let checked = machine.result(round_id, &result, &bundle, &mut rng);
                    if let Err(error) = &checked {
                        errors.push(error.clone());
                    }
                    self.report.light.insert(client, checked);
                    self.report.bundles.insert(client, bundle);
                    if !self.report.published.contains(&result) {
                        self.report.published.push(result);
                    }
                }
            }
            for error in errors {
                self.client_refuses(client, error);
            }
        }
        Ok(())
    }
}
