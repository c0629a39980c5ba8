//! Fields of messages, changes of them, and what they must meet.

use crate::common::Got;
use crate::transcript::{Transcript, transcript};
use std::fmt::Debug;
use veilsum_crypto::IdentityKey;
use veilsum_protocol::{Culprit, Message, Party};
use veilsum_wire::{Content, Signed};

/// One change of one field.
pub(crate) struct Case<T> {
    field: &'static str,
    change: Box<dyn Fn(&mut T)>,
    /// The check that it meets when everything that its sender can do for it is done.
    check: &'static str,
    /// The check that it meets when it is not signed again, where that is not the message's signature check.
    unsigned: Option<&'static str>,
    convicts: bool,
}

pub(crate) fn case<T>(
    field: &'static str,
    check: &'static str,
    change: impl Fn(&mut T) + 'static,
) -> Case<T> {
    Case {
        field,
        change: Box::new(change),
        check,
        unsigned: None,
        convicts: false,
    }
}

impl<T> Case<T> {
    /// It gives evidence against the sender.
    pub(crate) fn convicts(mut self) -> Self {
        self.convicts = true;
        self
    }
    /// It is refused before signatures are looked at.
    pub(crate) fn early(mut self) -> Self {
        self.unsigned = Some(self.check);
        self
    }
}

/// All cases of one message, ready to run.
pub(crate) struct Table {
    pub(crate) message: &'static str,
    pub(crate) fields: Vec<&'static str>,
    pub(crate) run: Box<dyn Fn()>,
}

/// Runs `what` of the table and names the field when it fails.
fn naming(message: &str, field: &str, what: &str, run: impl FnOnce()) {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(ran.is_ok(), "{message}.{field} {what}: see above");
}

/// Refused by exactly this check, and exactly this party is convicted of it; when `strict`, nothing else is done.
fn check(got: &Got, id: &'static str, culprit: Option<Culprit>, strict: bool) {
    if strict {
        got.refused_by(id);
    }
    assert_eq!(got.refused, [id]);
    let convicted: Vec<_> = culprit.map(|c| (c, id)).into_iter().collect();
    assert_eq!(got.convicted, convicted);
}

/// How the cases of one signed message are run.
pub(crate) struct Signing<T: Content> {
    /// Name of the message.
    pub(crate) message: &'static str,
    /// The check that fails when the content is not what was signed.
    pub(crate) signature: &'static str,
    pub(crate) good: Signed<T>,
    pub(crate) key: IdentityKey,
    pub(crate) sender: (Party, Culprit),
    /// As it travels, for somebody who wants to frame its sender.
    pub(crate) wrap: Box<dyn Fn(Signed<T>) -> Option<Message>>,
    /// Gives it to a receiver that is where it was when the good message came.
    pub(crate) deliver: Box<dyn Fn(Signed<T>) -> Got>,
    /// Whether the receiver does nothing else but record evidence.
    pub(crate) strict: bool,
    pub(crate) cases: Vec<Case<T>>,
}

impl<T: Content + Clone + PartialEq + Debug + 'static> Signing<T> {
    pub(crate) fn table(self) -> Table {
        Table {
            message: self.message,
            fields: self.cases.iter().map(|c| c.field).collect(),
            run: Box::new(move || self.run()),
        }
    }

    fn run(&self) {
        let t = transcript();
        for case in &self.cases {
            let mut content = self.good.content.clone();
            (case.change)(&mut content);
            assert_ne!(content, self.good.content, "{}", case.field);
            let forged = Signed {
                content: content.clone(),
                signature: self.good.signature,
            };
            naming(self.message, case.field, "unsigned", || {
                let got = (self.deliver)(forged.clone());
                let id = case.unsigned.unwrap_or(self.signature);
                check(&got, id, None, self.strict);
                self.frames(t, forged, false);
            });
            let signed = Signed::sign(content, &self.key);
            naming(self.message, case.field, "signed", || {
                let got = (self.deliver)(signed.clone());
                let culprit = case.convicts.then_some(self.sender.1);
                check(&got, case.check, culprit, self.strict);
                self.frames(t, signed, true);
            });
        }
    }

    /// Nobody is convicted by it but the sender, and nobody at all when it was not signed.
    fn frames(&self, t: &Transcript, message: Signed<T>, signed: bool) {
        if let Some(message) = (self.wrap)(message) {
            for (party, check) in t.framed(Some((self.sender.0, message))) {
                assert!(signed && party == self.sender.0, "{party} by {check}");
            }
        }
    }
}

/// The cases of a message that nobody signs as a whole: refused by exactly these checks.
pub(crate) fn plain<T: Clone + PartialEq + Debug + 'static>(
    message: &'static str,
    good: T,
    deliver: impl Fn(T) -> Got + 'static,
    cases: Vec<Case<T>>,
) -> Table {
    judged(message, good, None, deliver, cases)
}

/// As [`plain`], where the cases that convict convict this party: they sign again what is in them.
pub(crate) fn judged<T: Clone + PartialEq + Debug + 'static>(
    message: &'static str,
    good: T,
    culprit: Option<Culprit>,
    deliver: impl Fn(T) -> Got + 'static,
    cases: Vec<Case<T>>,
) -> Table {
    Table {
        message,
        fields: cases.iter().map(|c| c.field).collect(),
        run: Box::new(move || {
            for case in &cases {
                let mut changed = good.clone();
                (case.change)(&mut changed);
                assert_ne!(changed, good, "{}", case.field);
                naming(message, case.field, "changed", || {
                    let got = deliver(changed);
                    // Whoever is convicted may have to be replaced: then others are asked.
                    let culprit = culprit.filter(|_| case.convicts);
                    check(&got, case.check, culprit, culprit.is_none());
                });
            }
        }),
    }
}
