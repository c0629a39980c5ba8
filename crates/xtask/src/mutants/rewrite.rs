//! All mutants of a file at once: each is an alternative that a run of a test chooses by its number.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, BinOp, Expr, ExprBinary, ExprMatch, ExprUnary, Pat};

/// One mutant, as `cargo mutants --list --json` names it.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    pub(crate) file: String,
    genre: String,
    /// Line from 1, column from 1, of what is replaced.
    at: (usize, usize),
    replacement: String,
}

impl Mutant {
    /// From one entry of the list.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let start = value.get("span")?.get("start")?;
        let number = |key: &str| usize::try_from(start.get(key)?.as_u64()?).ok();
        Some(Self {
            name: text("name")?,
            file: text("file")?,
            genre: text("genre")?,
            at: (number("line")?, number("column")?),
            replacement: text("replacement")?,
        })
    }
}

/// Part of the rewritten text that is there for some mutants only.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// Bytes of the rewritten file.
    pub(crate) bytes: Range<usize>,
    pub(crate) mutants: Vec<usize>,
    /// A `match` that misses a case when its arm has a guard: nothing else in it is the mutants' fault.
    pub(crate) arms_only: bool,
}

/// A rewritten file.
pub(crate) struct Rewritten {
    pub(crate) text: String,
    pub(crate) regions: Vec<Region>,
    /// Mutants that found no place.
    pub(crate) unplaced: BTreeSet<usize>,
}

/// Text that is put in; with a number if one mutant alone needs it.
struct Piece {
    text: String,
    mutant: Option<usize>,
}

fn piece(text: impl Into<String>) -> Piece {
    Piece {
        text: text.into(),
        mutant: None,
    }
}

fn chosen(mutant: usize) -> String {
    format!("crate::__mutant({mutant})")
}

/// Something around a range of the original; edits nest or are apart.
struct Edit {
    range: Range<usize>,
    /// Outer edits of the same range have lower ones.
    level: u8,
    before: Vec<Piece>,
    middle: Option<(Range<usize>, String)>,
    after: Vec<Piece>,
    mutants: Vec<usize>,
    arms_only: bool,
}

type Place = (usize, usize, &'static str);

struct Rewriter<'a> {
    /// Mutants by place and kind, with what replaces.
    wanted: BTreeMap<Place, Vec<(usize, &'a str)>>,
    edits: Vec<Edit>,
    placed: BTreeSet<usize>,
}

fn place(spanned: &impl Spanned) -> (usize, usize) {
    let start = spanned.span().start();
    (start.line, start.column + 1)
}

fn bytes(spanned: &impl Spanned) -> Range<usize> {
    spanned.span().byte_range()
}

/// Whether this is part of a chain with `let`, which no parentheses may be put around.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'a> Rewriter<'a> {
    fn take(&mut self, at: (usize, usize), kind: &'static str) -> Vec<(usize, &'a str)> {
        self.wanted.remove(&(at.0, at.1, kind)).unwrap_or_default()
    }

    fn edit(&mut self, edit: Edit) {
        self.placed.extend(&edit.mutants);
        self.edits.push(edit);
    }

    fn binary(&mut self, expr: &ExprBinary) {
        let found = self.take(place(&expr.op), "BinaryOperator");
        if found.is_empty() || has_let(&expr.left) || has_let(&expr.right) {
            return;
        }
        let range = bytes(&expr.left).start..bytes(&expr.right).end;
        let operator = bytes(&expr.op);
        let mutants = found.iter().map(|(id, _)| *id).collect();
        let (open, between, original) = match expr.op {
            BinOp::And(_) | BinOp::Or(_) => {
                let [(id, "&&" | "||")] = found.as_slice() else {
                    return;
                };
                let (id, same) = (
                    *id,
                    if matches!(expr.op, BinOp::And(_)) {
                        "!="
                    } else {
                        "=="
                    },
                );
                let between = format!(" }}) {{ __l => if __l {same} {} {{ ", chosen(id));
                self.edit(Edit {
                    range,
                    level: 5,
                    before: vec![piece("(match ({ ")],
                    middle: Some((operator, between)),
                    after: vec![piece(" } else { __l } })")],
                    mutants,
                    arms_only: false,
                });
                return;
            }
            BinOp::Eq(_) => ("(match (&(", "), &(", "=="),
            BinOp::Ne(_) => ("(match (&(", "), &(", "!="),
            BinOp::Lt(_) => ("(match (&(", "), &(", "<"),
            BinOp::Le(_) => ("(match (&(", "), &(", "<="),
            BinOp::Gt(_) => ("(match (&(", "), &(", ">"),
            BinOp::Ge(_) => ("(match (&(", "), &(", ">="),
            BinOp::Add(_) => ("(match ((", "), (", "+"),
            BinOp::Sub(_) => ("(match ((", "), (", "-"),
            BinOp::Mul(_) => ("(match ((", "), (", "*"),
            BinOp::Div(_) => ("(match ((", "), (", "/"),
            BinOp::Rem(_) => ("(match ((", "), (", "%"),
            BinOp::BitXor(_) => ("(match ((", "), (", "^"),
            BinOp::BitAnd(_) => ("(match ((", "), (", "&"),
            BinOp::BitOr(_) => ("(match ((", "), (", "|"),
            BinOp::Shl(_) => ("(match ((", "), (", "<<"),
            BinOp::Shr(_) => ("(match ((", "), (", ">>"),
            BinOp::AddAssign(_) => ("(match (&mut (", "), (", "+="),
            BinOp::SubAssign(_) => ("(match (&mut (", "), (", "-="),
            BinOp::MulAssign(_) => ("(match (&mut (", "), (", "*="),
            BinOp::DivAssign(_) => ("(match (&mut (", "), (", "/="),
            BinOp::RemAssign(_) => ("(match (&mut (", "), (", "%="),
            BinOp::BitXorAssign(_) => ("(match (&mut (", "), (", "^="),
            BinOp::BitAndAssign(_) => ("(match (&mut (", "), (", "&="),
            BinOp::BitOrAssign(_) => ("(match (&mut (", "), (", "|="),
            BinOp::ShlAssign(_) => ("(match (&mut (", "), (", "<<="),
            BinOp::ShrAssign(_) => ("(match (&mut (", "), (", ">>="),
            _ => return,
        };
        let left = if open.contains("&mut") { "*__l" } else { "__l" };
        let mut after = vec![piece(")) { (__l, __r) => ")];
        for (id, replacement) in &found {
            after.push(Piece {
                text: format!("if {} {{ {left} {replacement} __r }} else ", chosen(*id)),
                mutant: Some(*id),
            });
        }
        after.push(piece(format!("{{ {left} {original} __r }} }})")));
        self.edit(Edit {
            range,
            level: 5,
            before: vec![piece(open)],
            middle: Some((operator, between.to_owned())),
            after,
            mutants,
            arms_only: false,
        });
    }

    fn unary(&mut self, expr: &ExprUnary) {
        let found = self.take(place(&expr.op), "UnaryOperator");
        let [(id, "")] = found.as_slice() else {
            return;
        };
        let operator = match expr.op {
            syn::UnOp::Not(_) => "!",
            syn::UnOp::Neg(_) => "-",
            _ => return,
        };
        self.edit(Edit {
            range: bytes(&expr.op).start..bytes(&expr.expr).end,
            level: 5,
            before: vec![piece("(match (")],
            middle: Some((bytes(&expr.op), String::new())),
            after: vec![piece(format!(
                ") {{ __x => if {} {{ __x }} else {{ {operator}__x }} }})",
                chosen(*id)
            ))],
            mutants: vec![*id],
            arms_only: false,
        });
    }

    fn arm(&mut self, arm: &Arm) -> Vec<usize> {
        let deleted = self.take(place(arm), "MatchArm");
        let deleted: Vec<usize> = deleted.iter().map(|(id, _)| *id).collect();
        let Pat::Guard(guarded) = &arm.pat else {
            if let [id] = deleted.as_slice() {
                let end = bytes(&arm.pat).end;
                self.edit(Edit {
                    range: end..end,
                    level: 1,
                    before: vec![Piece {
                        text: format!(" if !{}", chosen(*id)),
                        mutant: Some(*id),
                    }],
                    middle: None,
                    after: Vec::new(),
                    mutants: deleted.clone(),
                    arms_only: false,
                });
            }
            return deleted;
        };
        let found = self.take(place(&guarded.guard), "MatchArmGuard");
        if has_let(&guarded.guard) {
            return Vec::new();
        }
        let range = bytes(&guarded.guard);
        if let [id] = deleted.as_slice() {
            self.edit(Edit {
                range: range.clone(),
                level: 1,
                before: vec![piece(format!("!{} && (", chosen(*id)))],
                middle: None,
                after: vec![piece(")")],
                mutants: deleted.clone(),
                arms_only: false,
            });
        }
        for (id, replacement) in found {
            let condition = match replacement {
                "true" => format!("({} || (", chosen(id)),
                "false" => format!("(!{} && (", chosen(id)),
                _ => continue,
            };
            self.edit(Edit {
                range: range.clone(),
                level: 2,
                before: vec![piece(condition)],
                middle: None,
                after: vec![piece("))")],
                mutants: vec![id],
                arms_only: false,
            });
        }
        deleted
    }

    /// What a function gives instead of running; known by the place of its first statement.
    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else {
            return;
        };
        let found = self.take(place(first), "FnValue");
        // All of such a function must give one type, whose name nobody knows: what it gives is emptied instead.
        if let syn::ReturnType::Type(_, given) = &signature.output
            && matches!(**given, syn::Type::ImplTrait(_))
        {
            if let ([(id, "::std::iter::empty()")], syn::Stmt::Expr(given, None)) =
                (found.as_slice(), last)
            {
                let filter = format!(").filter(|_| !{})", chosen(*id));
                self.edit(Edit {
                    range: bytes(given),
                    level: 4,
                    before: vec![piece("(")],
                    middle: None,
                    after: vec![piece(filter)],
                    mutants: vec![*id],
                    arms_only: false,
                });
            }
            return;
        }
        let before: Vec<Piece> = found
            .iter()
            .map(|(id, replacement)| Piece {
                text: format!("if {} {{ return {replacement}; }} ", chosen(*id)),
                mutant: Some(*id),
            })
            .collect();
        if before.is_empty() {
            return;
        }
        self.edit(Edit {
            range: bytes(first).start..bytes(block).end,
            level: 0,
            before,
            middle: None,
            after: Vec::new(),
            mutants: found.iter().map(|(id, _)| *id).collect(),
            arms_only: false,
        });
    }
}

impl<'ast> Visit<'ast> for Rewriter<'_> {
    fn visit_expr_binary(&mut self, expr: &'ast ExprBinary) {
        self.binary(expr);
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast ExprUnary) {
        self.unary(expr);
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        let arms: Vec<usize> = expr.arms.iter().flat_map(|arm| self.arm(arm)).collect();
        if !arms.is_empty() {
            self.edits.push(Edit {
                range: bytes(expr),
                level: 9,
                before: Vec::new(),
                middle: None,
                after: Vec::new(),
                mutants: arms,
                arms_only: true,
            });
        }
        visit::visit_expr_match(self, expr);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// Genres of cargo-mutants that have a place here.
const GENRES: [&str; 5] = [
    "BinaryOperator",
    "UnaryOperator",
    "MatchArm",
    "MatchArmGuard",
    "FnValue",
];

/// Rewrites one file so that it holds all of these mutants, which are numbered from outside.
///
/// # Errors
/// Where the file cannot be parsed.
pub(crate) fn rewrite(source: &str, mutants: &[(usize, &Mutant)]) -> syn::Result<Rewritten> {
    let file = syn::parse_file(source)?;
    let mut rewriter = Rewriter {
        wanted: BTreeMap::new(),
        edits: Vec::new(),
        placed: BTreeSet::new(),
    };
    for (id, mutant) in mutants {
        if let Some(genre) = GENRES.iter().find(|genre| **genre == mutant.genre) {
            let place = (mutant.at.0, mutant.at.1, *genre);
            let known = rewriter.wanted.entry(place).or_default();
            known.push((*id, mutant.replacement.as_str()));
        }
    }
    rewriter.visit_file(&file);
    let unplaced = mutants
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| !rewriter.placed.contains(id))
        .collect();
    let (text, regions) = emit(source, &rewriter.edits);
    Ok(Rewritten {
        text,
        regions,
        unplaced,
    })
}

/// What happens at one byte of the original, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    After,
    Middle,
    Before,
}

fn emit(source: &str, edits: &[Edit]) -> (String, Vec<Region>) {
    // Ends: the inner first; beginnings: the outer first.
    let mut events: Vec<(usize, Moment, usize, u8, usize)> = Vec::new();
    for (index, edit) in edits.iter().enumerate() {
        let (start, end) = (edit.range.start, edit.range.end);
        let outer_first = usize::MAX - end;
        events.push((start, Moment::Before, outer_first, edit.level, index));
        if start < end {
            let inner_first = usize::MAX - start;
            let level = u8::MAX - edit.level;
            events.push((end, Moment::After, inner_first, level, index));
        }
        if let Some((range, _)) = &edit.middle {
            events.push((range.start, Moment::Middle, 0, 0, index));
        }
    }
    // Of two edits with the same range and level the later one is inside.
    events.sort_by_key(|(at, moment, outer, level, index)| {
        let index = if *moment == Moment::After {
            usize::MAX - index
        } else {
            *index
        };
        (*at, *moment, *outer, *level, index)
    });
    let mut text = String::with_capacity(source.len() * 2);
    let mut regions = Vec::new();
    let mut starts = BTreeMap::new();
    let mut copied = 0;
    for (at, moment, _, _, index) in events {
        let Some(edit) = edits.get(index) else {
            continue;
        };
        text.push_str(source.get(copied..at).unwrap_or_default());
        copied = copied.max(at);
        let pieces = match moment {
            Moment::Before => {
                starts.insert(index, text.len());
                &edit.before
            }
            Moment::After => &edit.after,
            Moment::Middle => {
                if let Some((range, middle)) = &edit.middle {
                    text.push_str(middle);
                    copied = range.end;
                }
                continue;
            }
        };
        for piece in pieces {
            let start = text.len();
            text.push_str(&piece.text);
            if let Some(mutant) = piece.mutant {
                regions.push(Region {
                    bytes: start..text.len(),
                    mutants: vec![mutant],
                    arms_only: false,
                });
            }
        }
        // Of what a function gives instead nothing surrounds the rest of it.
        if moment == Moment::After && edit.level > 0 {
            regions.push(Region {
                bytes: starts.get(&index).copied().unwrap_or_default()..text.len(),
                mutants: edit.mutants.clone(),
                arms_only: edit.arms_only,
            });
        }
    }
    text.push_str(source.get(copied..).unwrap_or_default());
    (text, regions)
}

/// What a rewritten crate asks whether a mutant is chosen; added to its root.
pub(crate) fn runtime(count: usize) -> String {
    format!(
        r#"
#[doc(hidden)]
pub(crate) fn __mutant(id: usize) -> bool {{
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{{AtomicBool, Ordering}};
    static CHOSEN: OnceLock<(usize, Option<std::fs::File>)> = OnceLock::new();
    static REACHED: [AtomicBool; {count}] = [const {{ AtomicBool::new(false) }}; {count}];
    let (chosen, reached) = CHOSEN.get_or_init(|| {{
        let chosen = std::env::var("{CHOSEN}").ok().and_then(|id| id.parse().ok());
        let reached = std::env::var_os("{REACHED}");
        let append = |path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok();
        (chosen.unwrap_or(usize::MAX), reached.and_then(append))
    }});
    if let Some(mut file) = reached.as_ref() {{
        if !REACHED[id].swap(true, Ordering::Relaxed) {{
            let _ = file.write_all(format!("{{id}}\n").as_bytes());
        }}
    }}
    *chosen == id
}}
"#
    )
}

/// Environment variable with the number of the mutant that runs.
pub(crate) const CHOSEN: &str = "VEILSUM_MUTANT";

/// Environment variable with the file that takes the numbers of all mutants that a run comes by.
pub(crate) const REACHED: &str = "VEILSUM_MUTANTS_REACHED";

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(genre: &str, at: (usize, usize), replacement: &str) -> Mutant {
        Mutant {
            name: String::new(),
            file: String::new(),
            genre: genre.to_owned(),
            at,
            replacement: replacement.to_owned(),
        }
    }

    #[test]
    fn nested_operators_keep_their_order() {
        let source = "fn f(a: u8, b: u8) -> bool {\n    !(a < b) && b > 1\n}\n";
        let mutants = [
            mutant("FnValue", (2, 5), "true"),
            mutant("UnaryOperator", (2, 5), ""),
            mutant("BinaryOperator", (2, 9), ">"),
            mutant("BinaryOperator", (2, 14), "||"),
        ];
        let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
        let made = rewrite(source, &numbered).unwrap();
        assert!(made.unplaced.is_empty());
        assert_eq!(
            made.text,
            "fn f(a: u8, b: u8) -> bool {\n    if crate::__mutant(0) { return true; } (match ({ (match (((match (&(a ), \
             &( b)) { (__l, __r) => if crate::__mutant(2) { __l > __r } else { __l < __r } }))) { __x => if \
             crate::__mutant(1) { __x } else { !__x } })  }) { __l => if __l != crate::__mutant(3) {  b > 1 } else { \
             __l } })\n}\n"
        );
    }

    #[test]
    fn an_iterator_without_a_name_is_emptied() {
        let source =
            "fn f(a: &[u8]) -> impl Iterator<Item = &u8> {\n    let b = a;\n    b.iter()\n}\n";
        let mutants = [mutant("FnValue", (2, 5), "::std::iter::empty()")];
        let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
        let made = rewrite(source, &numbered).unwrap();
        assert!(made.unplaced.is_empty());
        let expected = "\n    (b.iter()).filter(|_| !crate::__mutant(0))\n";
        assert!(made.text.contains(expected), "{}", made.text);
    }

    #[test]
    fn an_arm_goes_and_its_guard_is_true_or_false() {
        let source = "fn f(a: u8) -> u8 {\n    match a {\n        1 => 2,\n        x if x > 3 => 4,\n        _ => 5,\n    }\n}\n";
        let mutants = [
            mutant("MatchArm", (3, 9), ""),
            mutant("MatchArm", (4, 9), ""),
            mutant("MatchArmGuard", (4, 14), "true"),
            mutant("MatchArmGuard", (4, 14), "false"),
        ];
        let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
        let made = rewrite(source, &numbered).unwrap();
        assert!(made.unplaced.is_empty());
        assert!(
            made.text.contains("1 if !crate::__mutant(0) => 2,"),
            "{}",
            made.text
        );
        assert!(
            made.text.contains(
                "x if !crate::__mutant(1) && ((crate::__mutant(2) || ((!crate::__mutant(3) && (x > 3))))) => 4,"
            ),
            "{}",
            made.text
        );
    }
}
