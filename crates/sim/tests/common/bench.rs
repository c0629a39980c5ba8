//! What one machine did with one input.

use veilsum_protocol::{
    Culprit, Event, Evidence, Fault, Message, Outcome, Output, Party, Record, RoundContext, judge,
};

#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) sent: Vec<(Party, Message)>,
    pub(crate) refused: Vec<&'static str>,
    pub(crate) convicted: Vec<(Culprit, &'static str)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) events: Vec<Event>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) persisted: usize,
    /// How many of the records hold evidence.
    recorded: usize,
}

impl Got {
    /// Reads outputs and appends to the log of the machine that made them. Evidence must convict, and evidence of the
    /// server that is not in its log already must be a record.
    pub(crate) fn read(ctx: &RoundContext, outputs: Vec<Output>, log: &mut Vec<Record>) -> Self {
        let mut got = Self::default();
        for output in outputs {
            match output {
                Output::Persist(record) => {
                    got.persisted += 1;
                    let kept = matches!(
                        record,
                        Record::ServerEvidence { .. } | Record::ServerForeign { .. }
                    );
                    got.recorded += usize::from(kept);
                    log.push(record);
                }
                Output::Send { to, message } => got.sent.push((to, message)),
                Output::Owe { to, what } => panic!("{to} is owed {what:?} and gets nothing"),
                Output::Reject { refusal, .. } => got.refused.push(refusal.check.id()),
                Output::Event(Event::Evidence(evidence)) => {
                    let conviction = judge(ctx, &evidence).unwrap();
                    got.convicted
                        .push((conviction.culprit, conviction.check.id()));
                    let in_log = matches!(
                        *evidence,
                        Evidence::BadShare { .. } | Evidence::FalseComplaint { .. }
                    );
                    if conviction.culprit != Culprit::Server && !in_log {
                        assert!(log.contains(&Record::ServerEvidence {
                            evidence: *evidence
                        }));
                    }
                }
                Output::Event(event) => got.events.push(event),
                Output::Failed(fault) => got.faults.push(fault),
                Output::Done(outcome) => got.outcome = Some(outcome),
            }
        }
        got
    }

    /// Refused by exactly this check, nothing else done but recording evidence and what may become evidence.
    #[track_caller]
    pub(crate) fn refused_by(&self, id: &str) {
        assert_eq!((&self.refused[..], self.sent.len()), (&[id][..], 0));
        assert_eq!(self.persisted, self.recorded, "{id}");
    }

    /// Names of the messages sent.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.sent.iter().map(|(_, m)| m.name()).collect()
    }

    /// The messages sent, whoever gets them.
    pub(crate) fn messages(self) -> impl Iterator<Item = Message> {
        self.sent.into_iter().map(|(_, message)| message)
    }

    /// The one message that was sent, nothing refused.
    #[track_caller]
    pub(crate) fn one(mut self) -> Message {
        assert_eq!((self.sent.len(), &self.refused[..]), (1, &[][..]));
        self.sent.remove(0).1
    }
}

/// What somebody did who refuses with an error instead of outputs.
impl From<(&'static str, Option<Culprit>)> for Got {
    fn from((refused, culprit): (&'static str, Option<Culprit>)) -> Self {
        Self {
            refused: vec![refused],
            convicted: culprit.map(|c| (c, refused)).into_iter().collect(),
            ..Self::default()
        }
    }
}
