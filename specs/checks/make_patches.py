#!/usr/bin/env python3
"""Writes specs/checks/patches/<id>.patch: for each check one line that switches it off.

Where a check is one statement of a known form the line is found by its form; the others are listed in OVERRIDES with the line as it
stands. Run it when a patch no longer applies; `cargo run -p xtask -- patches <id>` then says whether a test notices.
"""

import difflib
import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
OUT = os.path.join(ROOT, "specs/checks/patches")

# id: (file below crates/, text in one line, what stands there instead). A text that begins with "=" is the whole line without its
# indentation, and None deletes the line. Where a check yields what the next line needs it cannot be left out; there it is renamed.
P = "protocol/src/"
OVERRIDES = {
    "announcement.signature": (P + "context.rs", ".map_err(|_| ContextError::Check(Check::AnnouncementSignature))?",
                               ".unwrap_or(&announcement.signed.content)"),
    "announcement.params": (P + "context.rs", ".map_err(|e| ContextError::Params(Check::AnnouncementParams, e))?",
                            ".or_else(|_| Layout::derive(params.dim, params.norm_bound, params.n_max, 2, 2))"
                            ".map_err(|e| ContextError::Params(Check::AnnouncementParams, e))?"),
    "announcement.schedule": (P + "context.rs", ".map_err(|e| ContextError::Beacon(Check::AnnouncementSchedule, e))?;",
                              ".unwrap_or(());"),
    "announcement.beacon": (P + "context.rs", ".map_err(|e| ContextError::Beacon(Check::AnnouncementBeacon, e))?;",
                            ".unwrap_or(());"),
    "announcement.policy": (P + "client.rs", ".map_err(|cause| ContextError::Params(Check::AnnouncementPolicy, cause))?;",
                            ".unwrap_or(());"),
    "header.params": (P + "header.rs", "=return Err(Check::HeaderParams.into());", None),
    "header.signature": (P + "header.rs", ".map_err(|_| Check::HeaderSignature)?;", ".or(Ok::<_, Check>(content))?;"),
    "header.commitments": (P + "header.rs", "Some(f_0) if content.commitments.len() == usize::from(ctx.threshold()) => f_0,",
                           "Some(f_0) => f_0,"),
    "header.knowledge": (P + "header.rs", ".map_err(|_| refuse(Check::HeaderKnowledge))", ".or(Ok(()))"),
    "body.share-root": (P + "contribution.rs", "want.share_root", "got.share_root"),
    "body.row-root": (P + "contribution.rs", "want.row_root", "got.row_root"),
    "body.other-rows": (P + "contribution.rs", "want.other_rows", "got.other_rows"),
    "body.masked-vector": (P + "contribution.rs", "want.masked_vector", "got.masked_vector"),
    "body.key-ciphertext": (P + "contribution.rs", "want.key_ciphertext", "got.key_ciphertext"),
    "body.proof": (P + "contribution.rs", "want.proof", "got.proof"),
    "request.signature": (P + "request.rs", "if !fits || request.verify(key).is_err() {", "if false {"),
    "receipt.signature": (P + "client.rs", ".map_err(|_| Check::ReceiptSignature)?;", ".or(Ok::<_, Check>(&receipt.content))?;"),
    "receipt.inclusion": (P + "client.rs", ".contains(&(receipt.content.client, receipt.content.header_digest))",
                          ".iter().any(|_| true)"),
    "proposal.signature": (P + "set.rs", ".map_err(|_| Check::ProposalSignature)?;", ".unwrap_or(&signed.content);"),
    "member.one-root": (P + "member.rs", "dealt.set.root() == *root", "true"),
    "package.missing": (P + "member.rs", "self.dealt.as_ref().ok_or(Check::PackageMissing)?",
                        "self.dealt.as_ref().ok_or(Check::MemberOneRoot)?"),
    "share.path": (P + "complaint.rs", ".map_err(|_| Check::SharePath.into())", ".or(Ok(()))"),
    "complaint.signature": (P + "complaint.rs", "complaint.verify(identity).is_err()", "false"),
    "complaint.applicable": (P + "complaint.rs", "if !applicable || header.params_digest != *ctx.digest()", "if false"),
    "complaint.path": (P + "complaint.rs", "check_share_path(ctx, header, c.member, &c.share).is_err()", "false"),
    "complaint.equality": (P + "complaint.rs", "=.is_err()", ".is_err() && false"),
    "complaint.groundless": (P + "complaint.rs", "if good {", "if false {"),
    "share.value": (P + "complaint.rs",
                    "=feldman::verify_share(&header.commitments, ctx.threshold(), index, &value).map_err(bad)?;", None),
    "endorse.equivocation": (P + "judge.rs", "Self::Endorse { .. } => Check::EndorseEquivocation,",
                             "Self::Endorse { .. } => Check::EndorseContent,"),
    "contribution.duplicate": (P + "server/collect.rs", "if stored.header_digest == header.content.digest()", "if true"),
    "endorse.signature": (P + "server/close.rs", ".map_err(|_| Check::EndorseSignature)?;", ".or(Ok::<_, Check>(content))?;"),
    "unmask.signature": (P + "server/close.rs", ".map_err(|_| Check::UnmaskSignature)?;", ".or(Ok::<_, Check>(content))?;"),
    "unmask.equivocation": (P + "server/close.rs", "if first.content == *content", "if true"),
    "unmask.sum": (P + "server/close.rs", "if feldman::verify_summed(", "if false && feldman::verify_summed("),
    "reveal.share": (P + "server/close.rs", "if feldman::verify_share(", "if false && feldman::verify_share("),
    "unmask.content": (P + "server/close.rs", "if !about_this", "if false && !about_this"),
    "endorse.content": (P + "server/close.rs", "if content.count != set.count()", "if false"),
    "rows.content": (P + "server/rows.rs", "=|| stated != Some(row_values_digest(&rows.values.values))", None),
    "proposal.root": (P + "set.rs", "=return Err(Check::ProposalRoot.into());", None),
    "final.equivocation": (P + "judge.rs", "Self::Final { .. } => Check::FinalEquivocation,",
                           "Self::Final { .. } => Check::FinalContent,"),
    "certificate.signature": (P + "certificate.rs", "endorsement.verify(key).map_err(|_| Refusal {",
                              "Ok::<(), ()>(()).map_err(|()| Refusal {"),
    "certificate.root": (P + "certificate.rs",
                         "if content.params_digest != *ctx.digest() || content.root != *root || content.count != count", "if false"),
    "final.content": (P + "certificate.rs", "if signed.content != terms.content(*ctx.digest(), member)", "if false"),
    "list.signature": (P + "member.rs", ".map_err(|_| Check::ListSignature)?", ".unwrap_or(&request.list.content)"),
    "convicted.signature": (P + "member.rs", ".map_err(|_| Check::ConvictedSignature)?", ".unwrap_or(&signed.content)"),
    "void.signature": (P + "member.rs", ".map_err(|_| Check::VoidSignature)?", ".unwrap_or(&void.content)"),
    "reveal.content": (P + "server/close.rs", "if content.params_digest != *self.context.digest() || content.root != set.root()",
                       "if false"),
    "rows.before-final": (P + "member.rs", ".ok_or(Check::RowsBeforeFinal)?", ".unwrap_or_default()"),
    "rows.encoding": (P + "member.rs", ".ok_or(Check::RowsEncoding)?", ".unwrap_or_default()"),
    "rows.value": (P + "server/rows.rs", "if let Some(slice) = wrong.map(|(q, _)| *q) {",
                   "if let (Some(slice), false) = (wrong.map(|(q, _)| *q), true) {"),
    "sum.commitment": (P + "judge.rs", "convict(Check::SumCommitment, Culprit::Server)", "Err(Check::EvidenceContent.into())"),
    "result.signature": (P + "light.rs", ".map_err(|_| Check::ResultSignature)?;", ".or(Ok::<_, Check>(content))?;"),
    "proposal.equivocation": (P + "judge.rs", "(a.content != b.content, Check::ProposalEquivocation)",
                              "(false, Check::ProposalEquivocation)"),
    "convicted.equivocation": (P + "judge.rs", "(a.content != b.content, Check::ConvictedEquivocation)",
                               "(false, Check::ConvictedEquivocation)"),
    "result.equivocation": (P + "judge.rs", "(a.content != b.content, Check::ResultEquivocation)",
                            "(false, Check::ResultEquivocation)"),
    "void.equivocation": (P + "judge.rs", "(true, Check::VoidEquivocation)", "(false, Check::VoidEquivocation)"),
    "light.sum": (P + "light.rs", "rows_open(ctx, &rows, &content.r_sum, &result.vector, rng)", "true"),
    "proof.scalar-encoding": ("proof/src/message.rs", ".ok_or(ProofCheck::ScalarEncoding)", ".or(Some(Fe::ZERO)).ok_or(ProofCheck::ScalarEncoding)"),
    "proof.point-encoding": ("proof/src/verifier.rs", ".map_err(|_| ProofCheck::PointEncoding)",
                             ".or_else(|_| Ok(vec![Point::IDENTITY; bytes.len()]))"),
    "evidence.content": (P + "judge.rs", "=if holds {", "if true {"),
}

FORMS = [
    (re.compile(r"^return Err\(.*;$"), None),
    (re.compile(r"^require\(.*\)\?;$"), None),
    (re.compile(r"^[a-z_.]+\.verify\(key\)\.map_err\(.*\)\?;$"), None),
]


def checks():
    """(id, how code names it) of every check, from the two lists."""
    text = open(f"{ROOT}/crates/protocol/src/check.rs").read()
    for name, ident in re.findall(r'^\s+([A-Z]\w+): "([a-z.-]+)",', text, re.M):
        yield ident, f"Check::{name}"
    text = open(f"{ROOT}/crates/proof/src/check.rs").read()
    for name, ident in re.findall(r'^\s+([A-Z]\w*) = "(proof\.[\w-]+)";', text, re.M):
        yield ident, f"ProofCheck::{name}"


def sources():
    for path in sorted(glob.glob(f"{ROOT}/crates/protocol/src/**/*.rs", recursive=True)
                       + glob.glob(f"{ROOT}/crates/proof/src/**/*.rs", recursive=True)):
        if not path.endswith("/check.rs"):
            yield os.path.relpath(path, ROOT), open(path).read().splitlines(keepends=True)


def patch(path, lines, at, replacement):
    new = list(lines)
    if replacement is None:
        del new[at]
    else:
        indent = lines[at][:len(lines[at]) - len(lines[at].lstrip())]
        new[at] = f"{indent}{replacement}\n"
    return "".join(difflib.unified_diff(lines, new, f"a/{path}", f"b/{path}", n=2))


def find(ident, variant, files):
    if ident in OVERRIDES:
        path, old, new = OVERRIDES[ident]
        path = f"crates/{path}"
        lines = files.get(path, [])
        whole = old.startswith("=")
        old = old.removeprefix("=")
        places = [i for i, line in enumerate(lines)
                  if (line.strip() == old if whole else old in line and not line.strip().startswith("//"))]
        # A text that stands in several lines means the first of them.
        if not places:
            return f"{path}: `{old}` stands nowhere"
        line = lines[places[0]].strip()
        return patch(path, lines, places[0], new if whole or new is None else line.replace(old, new))
    word = re.compile(rf"(?<![A-Za-z]){variant}(?!\w)")
    for path, lines in files.items():
        for i, line in enumerate(lines):
            if word.search(line) and not line.strip().startswith("//"):
                for form, new in FORMS:
                    if form.match(line.strip()):
                        return patch(path, lines, i, new)
    return "no line of a known form"


def main():
    files = dict(sources())
    os.makedirs(OUT, exist_ok=True)
    chosen = sys.argv[1:]
    missing = 0
    for ident, variant in checks():
        if chosen and ident not in chosen:
            continue
        made = find(ident, variant, files)
        name = f"{OUT}/{ident}.patch"
        if made.startswith("---"):
            open(name, "w").write(made)
        else:
            missing += 1
            print(f"{ident}: {made}")
    print(f"{missing} without a patch")


if __name__ == "__main__":
    main()
