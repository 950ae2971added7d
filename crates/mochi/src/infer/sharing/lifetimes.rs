//! Where in the text variables are used and lists grow, for the questions of sharing whose answer depends on order.
//!
//! Outside loops, what stands later in the text of a function runs later. Everything here is asked of variables of one
//! declaration that only their own function uses.

use super::Effect;
use super::places::Places;
use crate::resolve::{Resolution, Resolved};
use crate::source::Span;
use crate::syntax::ast::{BindId, Block, ExprId, ExprKind, Program};

/// Where something other than a register may grow.
pub(super) struct Hazard {
    /// The position in the text.
    pub at: u32,
    /// What may grow.
    pub places: Places,
    /// The variable that is appended to, if there is one.
    pub list: Option<BindId>,
}

/// Positions in the text, sorted.
#[derive(Default)]
pub(super) struct Lifetimes {
    /// Uses of variables and their positions.
    uses: Vec<(BindId, u32)>,
    /// Appends to other places than registers, and calls that may do so.
    hazards: Vec<Hazard>,
    /// Where any list may grow: all appends, and all calls of functions of the program.
    growth: Vec<u32>,
}

impl Lifetimes {
    /// `appends` are the positions of assignments that may append to other places than registers, `grows` tells
    /// calls that append, and `effects` is what evaluating each expression may do.
    pub(super) fn new(
        program: &Program,
        resolution: &Resolution,
        appends: Vec<Hazard>,
        effects: &[Effect],
        grows: impl Fn(ExprId) -> bool,
    ) -> Self {
        let mut uses = Vec::new();
        let mut hazards = appends;
        let mut growth = Vec::new();
        for (index, expr) in program.exprs.iter().enumerate() {
            let id = ExprId::new(index);
            let at = expr.span.start;
            match expr.kind {
                ExprKind::Name(_) => {
                    if let Resolved::Bind(bind) = resolution.name(id) {
                        uses.push((resolution.slot(bind), at));
                    }
                }
                ExprKind::Call { .. } => {
                    // The effects of a call include those of its operands, which stand within it.
                    let places = effects[index].grows;
                    if !places.is_empty() {
                        hazards.push(Hazard { at, places, list: None });
                    }
                    if effects[index].calls || grows(id) {
                        growth.push(at);
                    }
                }
                ExprKind::Slice { .. } | ExprKind::Binary { .. } if grows(id) => growth.push(at),
                _ => {}
            }
        }
        uses.sort_unstable();
        hazards.sort_by_key(|hazard| hazard.at);
        growth.sort_unstable();
        Self { uses, hazards, growth }
    }

    /// The positions at which a variable is used.
    fn of(&self, bind: BindId) -> &[(BindId, u32)] {
        let first = self.uses.partition_point(|&(other, _)| other < bind);
        let rest = &self.uses[first..];
        &rest[..rest.partition_point(|&(other, _)| other == bind)]
    }

    /// How often a variable is named within a span.
    pub(super) fn count_in(&self, bind: BindId, span: Span) -> usize {
        // A variable of a large program may have very many uses.
        let uses = self.of(bind);
        let before = |at: u32| uses.partition_point(|&(_, other)| other < at);
        before(span.end).saturating_sub(before(span.start))
    }

    /// Whether a variable is named at `at` or later.
    pub(super) fn used_from(&self, bind: BindId, at: u32) -> bool {
        self.of(bind).last().is_some_and(|&(_, last)| last >= at)
    }

    /// The text from behind the statement `index` of a block, which declares the variable, to the end of the last
    /// statement of the block that uses it.
    pub(super) fn region(&self, program: &Program, block: Block, index: usize, bind: BindId) -> (u32, u32) {
        let stmts = &program[block.stmts];
        let start = program[stmts[index]].span.end;
        let Some(&(_, last)) = self.of(bind).last() else { return (start, start) };
        let following = stmts[index + 1..].iter().map(|&stmt| program[stmt].span);
        let end = following.take_while(|span| span.start <= last).last().map_or(start, |span| span.end);
        (start, end.max(start))
    }

    /// Whether some of the places may grow in a region, other than by an append to `own`, which ends its life.
    pub(super) fn is_hazardous(&self, (start, end): (u32, u32), places: Places, own: Option<BindId>) -> bool {
        let first = self.hazards.partition_point(|hazard| hazard.at < start);
        let mut within = self.hazards[first..].iter().take_while(|hazard| hazard.at < end);
        within.any(|hazard| hazard.places.meets(places) && (hazard.list.is_none() || hazard.list != own))
    }

    /// Whether any list may grow in a region.
    pub(super) fn grows(&self, region: (u32, u32)) -> bool {
        let (start, end) = region;
        let first = self.growth.partition_point(|&at| at < start);
        self.growth.get(first).is_some_and(|&at| at < end) || self.is_hazardous(region, Places::ALL, None)
    }
}
