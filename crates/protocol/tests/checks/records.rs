//! Records and evidence have exactly one encoding.

use crate::common::*;
use curve25519_dalek::scalar::Scalar;
use std::collections::BTreeSet;
use veilsum_crypto::Digest;
use veilsum_params::MemberIndex;
use veilsum_protocol::*;
use veilsum_wire::*;

fn complaint(w: &World) -> Signed<ComplaintContent> {
    let (c, index) = (&w.contributions[0], MemberIndex(1));
    let leaf = share_leaf(&c.body, index).unwrap();
    let root = Digest([1; 32]);
    complain(
        &w.ctx,
        &root,
        &c.header.content,
        index,
        w.share_key(1),
        w.member_key(1),
        &leaf,
        &mut rng(1),
    )
}

fn records() -> Vec<Record> {
    let (w, c) = (world(), closed());
    let params_digest = w.digest();
    let announcement = Announcement {
        signed: Signed::sign(
            AnnouncementContent {
                round_id: 9,
                params_digest,
            },
            &w.server,
        ),
        params: w.ctx.params().clone(),
        beacon: BeaconProof::none(),
    };
    let header = w.header(0).clone();
    let receipt = Signed::sign(
        ReceiptContent {
            params_digest,
            client: w.client(0),
            header_digest: header.content.digest(),
        },
        &w.server,
    );
    let endorse = Endorse {
        signed: c.endorsements[0].clone(),
        complaints: vec![complaint(w)],
    };
    let unmask = Unmask {
        signed: c.unmasks[0].clone(),
        complaints: vec![complaint(w)],
    };
    let reveal = Signed::sign(
        RevealContent {
            params_digest,
            root: c.root,
            member: MemberIndex(1),
            header_digest: header.content.digest(),
            share: Scalar::from(7u8),
        },
        w.member_key(1),
    );
    let certificate = Certificate {
        endorsements: c.endorsements.clone(),
    };
    let list = Signed::sign(
        ComplaintListContent {
            params_digest,
            root: c.root,
            convicted: vec![w.client(2)],
        },
        &w.server,
    );
    let convicted = Convicted {
        signed: Signed::sign(
            ConvictedContent {
                params_digest,
                root: c.root,
                convicted: vec![],
            },
            &w.server,
        ),
        certificate: certificate.clone(),
        complaints: vec![],
    };
    let rows = Rows {
        signed: c.row_lists[0].clone(),
        values: c.rows[0].clone(),
    };
    let package = MemberPackage {
        proposal: c.proposal.clone(),
        headers: c.headers(),
        shares: c
            .contributions
            .iter()
            .map(|k| share_leaf(&k.body, MemberIndex(1)).unwrap())
            .collect(),
    };
    vec![
        Record::ClientContribution {
            announcement: announcement.clone(),
            header: header.clone(),
            body: Bytes(w.contributions[0].body.to_bytes()),
        },
        Record::ClientLargeContribution {
            announcement: announcement.clone(),
            header: header.clone(),
            body: Digest([7; 32]),
            len: 1 << 30,
        },
        Record::ClientReceipt {
            receipt: receipt.clone(),
        },
        Record::ClientResult {
            accepted: c.result.signed.clone(),
        },
        Record::MemberAnnouncement {
            announcement: announcement.clone(),
        },
        Record::MemberPackage { package },
        Record::MemberEndorse {
            sent: endorse.clone(),
        },
        Record::MemberUnmaskRequest {
            request: UnmaskRequest {
                certificate,
                list: list.clone(),
                complaints: vec![complaint(w)],
            },
        },
        Record::MemberUnmask {
            sent: unmask.clone(),
        },
        Record::MemberReveal {
            sent: reveal.clone(),
        },
        Record::MemberConvicted {
            accepted: convicted.clone(),
        },
        Record::MemberFinal {
            sent: c.finals[0].clone(),
        },
        Record::MemberRows { sent: rows.clone() },
        Record::ServerAnnouncement { sent: announcement },
        Record::ServerContribution {
            header,
            body: Digest([3; 32]),
        },
        Record::ServerReceipt { sent: receipt },
        Record::ServerProposal {
            sent: c.proposal.clone(),
        },
        Record::ServerEndorse { accepted: endorse },
        Record::ServerList { sent: list },
        Record::ServerUnmask { accepted: unmask },
        Record::ServerReveal {
            accepted: reveal.clone(),
        },
        Record::ServerClosing {
            convicted: vec![w.client(1)],
            complaints: vec![complaint(w)],
            sums: c.unmasks.clone(),
            reveals: vec![reveal],
            r_sum: c.r_sum,
        },
        Record::ServerConvicted {
            sent: convicted.signed,
        },
        Record::ServerFinal {
            accepted: c.finals[1].clone(),
        },
        Record::ServerRows { accepted: rows },
        Record::ServerResult {
            sent: c.result.clone(),
        },
        Record::ServerLargeResult {
            sent: c.result.signed.clone(),
            body: Digest([6; 32]),
            len: 4 + 8 * c.result.vector.len() as u64,
        },
        Record::ServerVoid {
            sent: Signed::sign(VoidContent { params_digest }, &w.server),
        },
        Record::MemberVoid {
            accepted: Signed::sign(VoidContent { params_digest }, &w.server),
        },
        Record::ServerForeign {
            accepted: MemberStatement::Final {
                signed: c.finals[0].clone(),
            },
        },
    ]
}

#[test]
fn every_record_comes_back_as_it_was_and_nothing_else_is_one() {
    let records = records();
    let tags: BTreeSet<u8> = records.iter().map(Record::tag).collect();
    assert!(tags.len() >= records.len(), "a tag for each");
    for tag in &tags {
        assert!(Record::VARIANTS.iter().any(|v| v.0 == *tag));
    }
    for record in records {
        let bytes = record.to_bytes();
        assert_eq!(bytes[0], record.tag());
        assert_eq!(Record::from_bytes(&bytes).as_ref(), Ok(&record));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(
            Record::from_bytes(&longer),
            Err(WireError::Trailing { extra: 1 })
        );
        for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(Record::from_bytes(&bytes[..len]).is_err());
        }
        let mut other = bytes;
        other[0] = 0xff;
        assert_eq!(
            Record::from_bytes(&other),
            Err(WireError::Value {
                offset: 0,
                field: "Record",
                value: 0xff
            })
        );
    }
    let tags: BTreeSet<u8> = Record::VARIANTS.iter().map(|v| v.0).collect();
    assert_eq!(tags.len(), Record::VARIANTS.len());
}

#[test]
fn a_large_part_is_taken_out_of_a_record_and_put_back() {
    let mut with_part = 0;
    for record in records() {
        let Some(part) = record.large_part() else {
            assert_eq!(record.without_large_part(Digest([6; 32])), None);
            continue;
        };
        with_part += 1;
        let mut bytes = Vec::new();
        part.pieces(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(part.len(), bytes.len() as u64);
        let named = record.without_large_part(Digest([6; 32])).unwrap();
        assert_eq!(named.large_part(), None);
        assert_eq!(named.named_part(), Some((Digest([6; 32]), part.len())));
        assert!(named.to_bytes().len() < record.to_bytes().len());
        assert_eq!(Record::from_bytes(&named.to_bytes()).as_ref(), Ok(&named));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(
            named.clone().with_large_part(longer),
            Err(LargePartError::Length {
                named: part.len(),
                found: part.len() + 1
            })
        );
        assert_eq!(named.with_large_part(bytes), Ok(record));
    }
    assert_eq!(with_part, 2);
}

#[test]
fn a_length_beyond_the_input_is_refused_before_anything_is_allocated() {
    let mut bytes = Bytes(vec![7; 3]).to_bytes();
    assert_eq!(Bytes::from_bytes(&bytes), Ok(Bytes(vec![7; 3])));
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        Bytes::from_bytes(&bytes),
        Err(WireError::Count {
            offset: 0,
            count: u32::MAX.into()
        })
    );
    assert!(matches!(
        Evidence::from_bytes(&[0x7f]),
        Err(WireError::Value { value: 0x7f, .. })
    ));
    assert!(matches!(
        Evidence::from_bytes(&[]),
        Err(WireError::Truncated { .. })
    ));
}
