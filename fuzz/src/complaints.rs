use std::collections::BTreeMap;
use std::sync::OnceLock;
use veilsum_params::MemberIndex;
use veilsum_protocol::{Verdict, check_share_path, judge_complaint, open_share};
use veilsum_sim::{Hands, Setup, World};
use veilsum_wire::{ComplaintContent, Contribution, ShareLeaf, Signed, Wire};

fn base() -> &'static (World, Contribution) {
    static BASE: OnceLock<(World, Contribution)> = OnceLock::new();
    BASE.get_or_init(|| {
        let setup = Setup {
            dim: 3,
            ..Setup::small(3)
        };
        let world = World::new(setup).expect("a small round can be set up");
        let hands = Hands::new(&world, &BTreeMap::new()).expect("honest contributions");
        let first = hands.contributions.into_values().next();
        (world, first.expect("there are clients"))
    })
}

/// Shares and complaints against an honest dealer, changed and, by a member that cheats, signed again: no changed leaf
/// that lies under the root opens, and no complaint ever counts.
pub fn complaints(data: &[u8]) {
    let (world, contribution) = base();
    let Some((&choice, changes)) = data.split_first() else {
        return;
    };
    let member = MemberIndex(1 + u16::from(choice >> 1) % 5);
    let content = &contribution.header.content;
    let hands = Hands {
        world,
        contributions: BTreeMap::from([(content.client, contribution.clone())]),
    };
    let edit = |bytes: &mut Vec<u8>| {
        for change in changes.chunks_exact(3).take(8) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
            let len = bytes.len();
            bytes[at % len] ^= change[2];
        }
    };
    let (_, identity, key) = world.member_keys(member).expect("a member");
    if choice & 1 == 0 {
        let honest = hands.leaf(content.client, member);
        let mut bytes = honest.to_bytes();
        edit(&mut bytes);
        if let Ok(leaf) = ShareLeaf::from_bytes(&bytes) {
            let under = check_share_path(&world.context, content, member, &leaf).is_ok();
            assert_eq!(under, leaf == honest, "another leaf under the root");
            let opened = open_share(&world.context, content, member, key, &leaf);
            assert_eq!(
                opened.is_ok(),
                under,
                "a changed share opened, or an honest one did not"
            );
        }
        return;
    }
    let proposal = hands.proposal(&[content.client]);
    let root = proposal.signed.content.root;
    let Ok(complaint) = hands.complaint(&proposal, content.client, member) else {
        return;
    };
    let mut bytes = complaint.content.to_bytes();
    edit(&mut bytes);
    if let Ok(changed) = ComplaintContent::from_bytes(&bytes) {
        let signed = Signed::sign(changed, identity);
        let verdict = judge_complaint(&world.context, &root, content, &signed);
        assert!(
            !matches!(verdict, Verdict::Counts(_)),
            "an honest dealer was convicted"
        );
    }
}
