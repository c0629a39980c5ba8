//! Files that stand by themselves: what is in them is believed as far as the keys that the reader knows.

use crate::common::*;
use crate::evidence::{receipt, resign};
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_protocol::*;
use veilsum_wire::*;

fn pins(w: &World) -> Pins {
    Pins {
        registrar: Some(w.registrar.verifying_key().to_bytes()),
        server: Some(w.server.verifying_key().to_bytes()),
    }
}

fn announcement(w: &World, server: &IdentityKey) -> Announcement {
    let params = w.ctx.params().clone();
    let content = AnnouncementContent {
        round_id: params.round_id,
        params_digest: params_digest(&params),
    };
    Announcement {
        signed: Signed::sign(content, server),
        params,
        beacon: BeaconProof::none(),
    }
}

/// What client `i` of a round without the clients `convicted` keeps of it.
fn published(w: &World, c: &Closed, i: usize, receipt: Vec<Signed<ReceiptContent>>) -> Document {
    Document::Published {
        registrar: w.roster.registrar().to_bytes(),
        roster: w.roster.signed().clone(),
        announcement: announcement(w, &w.server),
        header: w.header(i).clone(),
        receipt,
        result: c.result.clone(),
        bundle: c.bundle(i),
    }
}

fn checked(document: &Document, pins: &Pins) -> Result<u32, PublishedError> {
    // What is read is what was written.
    let file = document.to_file();
    assert!(Document::is_file(&file));
    let read = Document::from_file(&file).unwrap();
    assert_eq!(&read, document);
    let (context, summed) = read.check_published(pins, &mut rng(4))?;
    assert_eq!(context.digest(), world().ctx.digest());
    Ok(summed)
}

#[test]
fn a_published_result_is_checked_with_its_receipt_and_the_known_keys() {
    let w = world();
    let c = close(w, w.contributions.clone(), vec![w.client(3)]);
    let good = receipt(w, 0);
    for receipts in [vec![], vec![good.clone()]] {
        let document = published(w, &c, 0, receipts);
        assert_eq!(document.name(), "a published result");
        assert_eq!(checked(&document, &Pins::default()), Ok(4));
        assert_eq!(checked(&document, &pins(w)), Ok(4));
        let other = |registrar, server| checked(&document, &Pins { registrar, server });
        let refused = |error| Err(PublishedError::File(error));
        assert_eq!(
            other(Some([1; 32]), None),
            refused(FileError::OtherRegistrar)
        );
        assert_eq!(other(None, Some([1; 32])), refused(FileError::OtherServer));
    }
    // A receipt for somebody else, another header, another round, or of another server.
    let refused = |receipt| checked(&published(w, &c, 0, vec![receipt]), &pins(w));
    let because = |check: Check| Err(PublishedError::Refused(check.into()));
    let content = because(Check::ReceiptContent);
    assert_eq!(refused(receipt(w, 1)), content);
    let edited = |change: &dyn Fn(&mut ReceiptContent)| resign(&good, &w.server, |r| change(r));
    assert_eq!(refused(edited(&|r| r.client = w.client(1))), content);
    assert_eq!(refused(edited(&|r| r.header_digest.0[0] ^= 1)), content);
    assert_eq!(refused(edited(&|r| r.params_digest.0[0] ^= 1)), content);
    let forged = resign(&good, &w.registrar, |_| ());
    assert_eq!(refused(forged), because(Check::ReceiptSignature));
    // The light check of a client that is left out fails, and so does a changed sum.
    let out = checked(&published(w, &c, 3, vec![]), &pins(w));
    assert_eq!(out, because(Check::LightConvictedSelf));
    let mut lie = published(w, &c, 0, vec![]);
    if let Document::Published { result, .. } = &mut lie {
        let mut vector = result.vector.clone();
        vector[0] += 1;
        *result = sign_result(w, c.root, c.convicted.clone(), c.r_sum, vector);
    }
    assert_eq!(checked(&lie, &pins(w)), because(Check::LightSum));
    // The announcement is the server's.
    let mut foreign = published(w, &c, 0, vec![]);
    if let Document::Published {
        announcement: a, ..
    } = &mut foreign
    {
        *a = announcement(w, &w.registrar);
    }
    assert_eq!(
        checked(&foreign, &pins(w)),
        Err(PublishedError::File(FileError::Context(
            ContextError::Check(Check::AnnouncementSignature)
        )))
    );
}

#[test]
fn every_kind_of_file_is_read_for_what_it_is() {
    let w = world();
    let roster = Document::roster(&w.roster);
    assert_eq!(roster.name(), "a roster");
    assert_eq!(
        roster.checked_roster(&pins(w)).unwrap().digest(),
        w.roster.digest()
    );
    let kind = |found| FileError::Kind { found };
    assert_eq!(roster.context(&pins(w)).map(|_| ()), Err(kind("a roster")));
    assert_eq!(
        roster.judge_registrar(&pins(w)),
        Err(kind("a roster")),
        "one roster contradicts nothing"
    );
    assert_eq!(
        checked(&roster, &pins(w)),
        Err(PublishedError::File(kind("a roster")))
    );
    let c = closed();
    let second = resign(&c.unmasks[1], w.member_key(2), |u| u.root = Digest([8; 32]));
    let evidence = Evidence::MemberEquivocation {
        first: MemberStatement::Unmask {
            signed: c.unmasks[1].clone(),
        },
        second: MemberStatement::Unmask { signed: second },
        other_params: Vec::new(),
    };
    let accusation = Document::accusation(&w.roster, w.ctx.params(), &evidence);
    assert_eq!(accusation.name(), "evidence");
    let file = accusation.to_file();
    let (context, conviction) = judge_file(&file, &pins(w)).unwrap();
    assert_eq!(context.digest(), w.ctx.digest());
    assert_eq!(conviction.culprit, w.member_culprit(2));
    let kind = PublishedError::File(kind("evidence"));
    assert_eq!(checked(&accusation, &pins(w)), Err(kind));
    // Keys that are others.
    let judged = |registrar, server| judge_file(&file, &Pins { registrar, server }).map(|_| ());
    let refused = |error| Err(AccusationError::File(error));
    assert_eq!(
        judged(Some([1; 32]), None),
        refused(FileError::OtherRegistrar)
    );
    assert_eq!(judged(None, Some([1; 32])), refused(FileError::OtherServer));
    // Files that are cut, or changed in any byte of their ends, or of another version.
    let read = |bytes: &[u8]| Document::from_file(bytes).map(|_| ());
    assert_eq!(read(&file[..file.len() - 1]), Err(FileError::Damaged));
    assert_eq!(read(&file[..12]), Err(FileError::Damaged));
    assert_eq!(read(&file[..5]), Err(FileError::Magic));
    let changed = |at: usize| {
        let mut bytes = file.clone();
        bytes[at] ^= 1;
        read(&bytes)
    };
    assert_eq!(changed(0), Err(FileError::Magic));
    assert!(!Document::is_file(&file[1..]));
    assert_eq!(changed(file.len() - 1), Err(FileError::Damaged));
    assert_eq!(changed(file.len() / 2), Err(FileError::Damaged));
    let found = FILE_VERSION ^ 1;
    assert_eq!(changed(FILE_MAGIC.len()), Err(FileError::Version { found }));
}

#[test]
fn two_rosters_of_one_version_convict_their_registrar() {
    let w = world();
    let signed = |change: &dyn Fn(&mut RosterContent)| {
        let mut content = w.roster.signed().content.clone();
        change(&mut content);
        Signed::sign(content, &w.registrar)
    };
    let first = w.roster.signed().clone();
    let other = signed(&|r| r.entries.truncate(5));
    let document =
        |first: &Signed<RosterContent>, second: &Signed<RosterContent>| Document::TwoRosters {
            registrar: w.registrar.verifying_key().to_bytes(),
            first: first.clone(),
            second: second.clone(),
        };
    let two = document(&first, &other);
    assert_eq!(two.name(), "two rosters of one registrar");
    let convicted = two.judge_registrar(&pins(w)).unwrap();
    assert_eq!(convicted.registrar, w.registrar.verifying_key());
    assert_eq!(convicted.version, first.content.version);
    assert_eq!(
        convicted.digests,
        [first.content.digest(), other.content.digest()]
    );
    let roster = two.checked_roster(&pins(w)).unwrap();
    assert_eq!(roster.digest(), w.roster.digest());
    let nothing = Err(FileError::NoContradiction);
    assert_eq!(document(&first, &first).judge_registrar(&pins(w)), nothing);
    let later = signed(&|r| {
        r.version += 1;
        r.entries.pop();
    });
    assert_eq!(document(&first, &later).judge_registrar(&pins(w)), nothing);
    let forged = Signed::sign(other.content.clone(), &w.server);
    for (a, b) in [(&first, &forged), (&forged, &first)] {
        let refused = Err(FileError::Roster(RosterError::Signature));
        assert_eq!(document(a, b).judge_registrar(&pins(w)), refused);
    }
    let stranger = Pins {
        registrar: Some([1; 32]),
        server: None,
    };
    assert_eq!(
        two.judge_registrar(&stranger),
        Err(FileError::OtherRegistrar)
    );
}
