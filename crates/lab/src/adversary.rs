//! The table of adversaries.

use crate::scenario::Draw;
use crate::{clients, members, network, servers};
use std::collections::{BTreeMap, BTreeSet};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::Party;
use veilsum_sim::{Plan, SimError, Tables, World};

/// What an adversary takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client of the cohort.
    Client,
    /// A committee member.
    Member,
    /// The server.
    Server,
    /// The network, and clients that were not sampled.
    Network,
}

/// What becomes of an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may be convicted under these checks and under no others; over many rounds it is.
    Caught(&'static [&'static str]),
    /// It is refused or ignored, and changes nothing.
    Harmless,
}

/// One adversary.
#[derive(Clone, Copy, Debug)]
pub struct Adversary {
    /// Its name in reports and scenarios.
    pub name: &'static str,
    /// What it takes over.
    pub side: Side,
    /// What becomes of it.
    pub fate: Fate,
    pub(crate) act: fn(&mut Stage<'_>, u16) -> Result<(), SimError>,
}

impl Adversary {
    /// The checks under which it may be convicted.
    pub(crate) fn checks(&self) -> &'static [&'static str] {
        match self.fate {
            Fate::Caught(checks) => checks,
            Fate::Harmless => &[],
        }
    }
}

/// A round before it begins: adversaries put themselves into its plan.
pub(crate) struct Stage<'w> {
    pub(crate) world: &'w World,
    pub(crate) tables: &'w Tables,
    pub(crate) plan: Plan,
    pub(crate) draw: Draw,
    pub(crate) corrupt: BTreeSet<Party>,
    /// What cheating clients contributed, where it is a vector that can be summed.
    pub(crate) vectors: BTreeMap<ClientId, Option<Vec<i64>>>,
    /// Who helps an adversary, and the checks under which it may be convicted.
    pub(crate) accomplices: Vec<(Party, &'static [&'static str])>,
}

impl Stage<'_> {
    /// The client at a place of the cohort.
    pub(crate) fn client(&self, place: u16) -> Result<ClientId, SimError> {
        let cohort = self.world.context.cohort();
        cohort
            .get(usize::from(place))
            .copied()
            .ok_or(SimError::NoParty(Party::Client(ClientId(place.into()))))
    }

    /// A client of the cohort that follows the protocol, another one each time.
    pub(crate) fn victim(&mut self) -> Option<ClientId> {
        let cohort = self.world.context.cohort();
        let honest: Vec<ClientId> = cohort
            .iter()
            .filter(|c| !self.corrupt.contains(&Party::Client(**c)))
            .copied()
            .collect();
        self.draw.pick(&honest).copied()
    }

    /// A client of the cohort that follows the protocol and whose contribution nobody made beforehand.
    pub(crate) fn free_client(&mut self) -> Option<ClientId> {
        let cohort = self.world.context.cohort();
        let free: Vec<ClientId> = cohort
            .iter()
            .filter(|c| !self.plan.uploads.contains_key(c) && !self.plan.absent.contains(c))
            .filter(|c| !self.corrupt.contains(&Party::Client(**c)))
            .copied()
            .collect();
        self.draw.pick(&free).copied()
    }

    /// Any members, at least one.
    pub(crate) fn some_members(&mut self) -> Vec<MemberIndex> {
        let mut some: Vec<MemberIndex> = Vec::new();
        for index in self.world.members() {
            if self.draw.one_in(3) {
                some.push(index);
            }
        }
        if some.is_empty() {
            some.push(MemberIndex(1));
        }
        some
    }
}

const fn on(
    side: Side,
    name: &'static str,
    fate: Fate,
    act: fn(&mut Stage<'_>, u16) -> Result<(), SimError>,
) -> Adversary {
    Adversary {
        name,
        side,
        fate,
        act,
    }
}

const fn client(
    name: &'static str,
    checks: &'static [&'static str],
    act: fn(&mut Stage<'_>, u16) -> Result<(), SimError>,
) -> Adversary {
    let fate = if checks.is_empty() {
        Fate::Harmless
    } else {
        Fate::Caught(checks)
    };
    on(Side::Client, name, fate, act)
}

const fn member(
    name: &'static str,
    checks: &'static [&'static str],
    act: fn(&mut Stage<'_>, u16) -> Result<(), SimError>,
) -> Adversary {
    Adversary {
        side: Side::Member,
        ..client(name, checks, act)
    }
}

const fn server(
    name: &'static str,
    checks: &'static [&'static str],
    act: fn(&mut Stage<'_>, u16) -> Result<(), SimError>,
) -> Adversary {
    Adversary {
        side: Side::Server,
        ..client(name, checks, act)
    }
}

/// Every adversary.
pub const TABLE: &[Adversary] = &[
    client("norm", &["proof.norm-range"], clients::norm),
    client(
        "norm-false-range",
        &["proof.norm-range"],
        clients::norm_false_range,
    ),
    client("norm-false-slack", &["proof.E9"], clients::norm_false_slack),
    client("norm-false-value", &["proof.E2"], clients::norm_false_value),
    client("norm-false-mask", &["proof.E3"], clients::norm_false_mask),
    client("norm-false-sum", &["proof.E6"], clients::norm_false_sum),
    client(
        "wrap",
        &["proof.projection-interval", "proof.E4"],
        clients::wrap,
    ),
    client(
        "projection",
        &["proof.projection-interval"],
        clients::projection,
    ),
    client("key-junk", &["proof.E5"], clients::key_junk),
    client("row-junk", &["proof.E1"], clients::row_junk),
    client("padding", &["proof.E4"], clients::padding),
    client("other-key-secret", &["proof.E5"], clients::other_key_secret),
    client("other-secret", &["proof.E7"], clients::other_secret),
    client("anchor", &["proof.E8"], clients::anchor),
    client("other-key", &["proof.E4", "proof.E5"], clients::other_key),
    client("masked-vector", &["proof.E4"], clients::masked_vector),
    client("bad-share", &["share.value"], clients::bad_share),
    client("bad-shares-all", &["share.value"], clients::bad_shares_all),
    client("garbled-share", &["share.value"], clients::garbled_share),
    client(
        "higher-degree",
        &["header.commitments"],
        clients::higher_degree,
    ),
    client(
        "lower-degree",
        &["header.commitments"],
        clients::lower_degree,
    ),
    client(
        "stolen-ephemeral",
        &["header.knowledge"],
        clients::stolen_ephemeral,
    ),
    client(
        "ephemeral-identity",
        &["header.identity"],
        clients::ephemeral_identity,
    ),
    client(
        "copied-proof",
        &[
            "proof.E2",
            "proof.E4",
            "proof.E6",
            "proof.projection-interval",
        ],
        clients::copied_proof,
    ),
    client(
        "copied-contribution",
        &["header.knowledge"],
        clients::copied_contribution,
    ),
    client(
        "two-headers",
        &["contribution.duplicate"],
        clients::two_headers,
    ),
    client("split-roots", &[], clients::split_roots),
    client("wrong-body", &[], clients::wrong_body),
    client("oversized", &[], clients::oversized),
    client("unsigned", &[], clients::unsigned),
    client("earlier-round", &[], clients::earlier_round),
    client("late", &[], clients::late),
    client("early-and-often", &[], clients::flood),
    member("silent", &[], members::silent),
    member("endorses-and-falls-silent", &[], members::endorses_only),
    member("silent-about-rows", &[], members::silent_rows),
    member("slow", &[], members::slow),
    member("wrong-sum", &["unmask.sum"], members::wrong_sum),
    member(
        "two-sums",
        &["unmask.equivocation", "unmask.sum"],
        members::two_sums,
    ),
    member("leaves-out", &["unmask.sum"], members::leaves_out),
    member("accuses", &["complaint.groundless"], members::accuses),
    member(
        "accuses-by-other-leaf",
        &["complaint.path"],
        members::accuses_other_leaf,
    ),
    member(
        "accuses-by-false-point",
        &["complaint.equality"],
        members::accuses_false_point,
    ),
    member("accuses-other-header", &[], members::accuses_other_header),
    member("accuses-in-other-name", &[], members::accuses_other_name),
    member("conceals", &[], members::conceals),
    member(
        "two-roots",
        &["endorse.equivocation", "unmask.equivocation"],
        members::two_roots,
    ),
    member("two-finals", &["final.equivocation"], members::two_finals),
    member("early-final", &["final.equivocation"], members::early_final),
    member("wrong-reveal", &["reveal.share"], members::wrong_reveal),
    member("wrong-rows", &["rows.value"], members::wrong_rows),
    member("other-names", &[], members::other_names),
    member("says-everything-again", &[], members::floods),
    server("adds-one", &["light.sum"], servers::adds_one),
    server("scales", &["light.sum"], servers::scales),
    server(
        "other-secret-published",
        &["sum.commitment", "light.sum"],
        servers::other_secret,
    ),
    server(
        "two-results",
        &["light.sum", "result.equivocation"],
        servers::two_results,
    ),
    server(
        "leaves-out-after-result",
        &["sum.commitment", "light.sum", "convicted.equivocation"],
        servers::convicts_in_result,
    ),
    server(
        "drops-receipted",
        &["receipt.inclusion"],
        servers::drops_receipted,
    ),
    server(
        "receipts-unverified",
        &[
            "receipt.inclusion",
            "header.params",
            "header.cohort",
            "header.commitments",
            "header.identity",
            "header.knowledge",
            "proof.projection-interval",
            "proof.norm-range",
            "proof.E1",
            "proof.E2",
            "proof.E3",
            "proof.E4",
            "proof.E5",
            "proof.E6",
            "proof.E7",
            "proof.E8",
            "proof.E9",
        ],
        servers::receipts_unverified,
    ),
    server(
        "two-proposals",
        &["proposal.equivocation", "receipt.inclusion"],
        servers::two_proposals,
    ),
    server(
        "sybils",
        &["proposal.equivocation", "receipt.inclusion"],
        servers::sybils,
    ),
    server(
        "lonely-victim",
        &["proposal.equivocation", "receipt.inclusion"],
        servers::lonely_victim,
    ),
    server("two-lists", &["convicted.equivocation"], servers::two_lists),
    server("void-too", &["void.equivocation"], servers::void_too),
    server("forged-dropout", &[], servers::forged_dropout),
    server("swapped-shares", &[], servers::swapped_shares),
    server("swapped-rows", &[], servers::swapped_rows),
    server("thin-certificate", &[], servers::thin_certificate),
    server(
        "weak-parameters",
        &["announcement.other"],
        servers::weak_parameters,
    ),
    server("other-model", &["announcement.other"], servers::other_model),
    server(
        "other-committee",
        &["announcement.other"],
        servers::other_committee,
    ),
    server("plays-dead", &[], servers::plays_dead),
    server(
        "three-sets",
        &["proposal.equivocation"],
        servers::three_sets,
    ),
    server(
        "says-anything",
        &[
            "proposal.equivocation",
            "convicted.equivocation",
            "void.equivocation",
        ],
        servers::says_anything,
    ),
    on(
        Side::Network,
        "outsiders",
        Fate::Harmless,
        network::outsiders,
    ),
    on(
        Side::Network,
        "replays-earlier-round",
        Fate::Harmless,
        network::replays,
    ),
    on(
        Side::Network,
        "forges-names",
        Fate::Harmless,
        network::forges_names,
    ),
    on(
        Side::Network,
        "repeats-everything",
        Fate::Harmless,
        network::noise,
    ),
];

/// The adversary of a name.
pub fn find(name: &str) -> Option<&'static Adversary> {
    TABLE.iter().find(|a| a.name == name)
}
