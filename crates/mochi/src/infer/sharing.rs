//! Which uses of a list make a second lasting reference to it, and which appends may work in place.
//!
//! `append(xs, v)` makes a new list and leaves the old one alone, but `xs = append(xs, v)` in a loop must not copy. At run time
//! a list carries a sticky *shared* mark. Lowering sets the mark where [`Types::shares`] says so, and an append that
//! [`Types::in_place`] allows changes the old list if it is not marked.
//!
//! **What is kept true.** Whenever an append in place runs on an unmarked list, its first operand and the place that the result
//! replaces are all that refers to the list and may be looked at later. Therefore:
//!
//! * Where an expression that reads a place (a variable, field or element) is stored in another place, returned from a place
//!   that outlives the function, or passed to a parameter that is no borrow, the list is marked. A local variable that is
//!   returned hands its reference over.
//! * Loop, pattern and query variables, and those of fields in methods and `update`, are references to what they run over. Where such a variable [does not
//!   borrow](Types::borrows), lowering marks the list when it is bound.
//! * A parameter *borrows* if the function neither stores, returns, captures, assigns nor appends to it. The caller's reference is
//!   then the lasting one. But while the call runs the caller's place may be changed by others, unless it is a register: if the
//!   callee may append in place to such globals, boxes, fields or elements ([`Walker::danger`]), the list is marked after all.
//!   An unmarked list is what one place refers to, so an append to another field changes nothing ([`Places`]).
//! * The same holds for operands that wait while later ones are evaluated: `f(g, h())` where `h` appends to the global `g`.
//! * An append to a global, box, field or element is not done in place if evaluating the appended value may append to such a place.
//! * A function that is called by name only and returns what places hold, or new lists of a few elements, *gives*: it marks nothing,
//!   and its calls are to callers what the places are ([`Walker::find_givers`]). Hosts that call functions mark what they get.
//! * A `let` variable borrows likewise if it is only looked at, and nothing may append in place to what it was read from
//!   between its declaration and the end of the last statement of its block that uses it ([`Lifetimes::region`]).
//! * The last use of a register hands its reference over: nothing looks at the variable again, so whoever gets the list holds
//!   the only reference if the variable did. Uses in branches beside the one that runs do not count, nor does what stands behind a
//!   `return`. `xs = f(xs)` is such a use, since its result replaces what `xs` held. The callee's parameter
//!   then owns the list, as it owns one that is marked.
//! * `let xs = p; p = append(xs, v)` and `var xs = p; xs = append(xs, v); p = xs`, where `p` is a field or element that names the
//!   same place all the while, append in place: `xs` stands for what `p` refers to.
//!   So does `var xs = append(p, v); p = xs`.
//! * `xs = xs[:n]` and its like are appends in all of the above: they cut in place what an append would extend. So is
//!   `xs = xs + ys`. In `xs = append(xs[:n], v)` the slice is one, where `v` does not name `xs` and calls nothing of the program. `append(p ?? [], v)` appends to `p`, and `xs = if c then append(xs, a) else append(xs, b)` to `xs`.
//! * Operations that copy elements between lists mark lists among them; the runtime does that. So does a load of an
//!   element by a builtin (`first`, `reduce`), here.
//! * Closures that capture a list by copy need no mark: such a variable is never assigned, so never appended to in place, and
//!   returning it marks.

mod lifetimes;
mod places;

use std::collections::{HashMap, HashSet};
use std::ops::BitOr;

use super::{CallKind, TyId, TyKind, Types};
use crate::builtins::{Builtin, Retains};
use crate::resolve::{BindInfo, BindSource, Resolution, Resolved, Storage};
use crate::source::Span;
use crate::syntax::ast::{
    BinaryOp, BindId, BindKind, Block, Body, ExprId, ExprKind, FunId, MapKey, Program, StmtId, StmtKind,
};

use lifetimes::{Hazard, Lifetimes};
use places::{Places, Step, Table};

/// What evaluating an expression may do.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Effect {
    /// Call a function of the program.
    calls: bool,
    /// Run statements of the same function.
    statements: bool,
    /// The places that it may append to in place.
    grows: Places,
}

impl Effect {
    const NONE: Self = Self { calls: false, statements: false, grows: Places::NONE };
    /// What a block of the same function may do.
    const ANY: Self = Self { calls: true, statements: true, grows: Places::ALL };
}

impl BitOr for Effect {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            calls: self.calls | other.calls,
            statements: self.statements | other.statements,
            grows: self.grows | other.grows,
        }
    }
}

/// What becomes of the value of an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is only looked at.
    Look,
    /// It is stored where it may be handed out more than once.
    Keep,
    /// It is stored in another place.
    Store,
    /// It is the result of the function.
    Return,
    /// It is passed to this parameter.
    Pass(BindId, FunId),
    /// It becomes the value of this variable, which may borrow it.
    Lend(BindId),
}

/// The statement whose expressions are walked, if they are evaluated once and in the order of the text.
#[derive(Clone, Copy)]
struct Root {
    span: Span,
    /// The register that the statement replaces, and the expression of its new value.
    replaced: Option<(BindId, Span)>,
    /// Whether the function ends with it.
    last: bool,
}

struct Walker<'a> {
    program: &'a Program,
    resolution: &'a Resolution,
    types: &'a mut Types,
    /// The places that the program appends to.
    table: Table,
    /// The globals, boxes, fields and elements that a function may append to in place, by function; last the main function and
    /// functions that are not known.
    danger: Vec<Places>,
    effects: Vec<Effect>,
    /// The places that a function returns what they hold of without a mark, by function: callers mark it.
    gives: Vec<Option<Places>>,
    borrows: Vec<bool>,
    /// If the first does not borrow, neither does the second.
    follows: Vec<(BindId, BindId)>,
    /// Places passed to parameters: marked if the parameter does not borrow, or if the flag says that borrowing is not safe.
    passed: Vec<(ExprId, BindId, bool)>,
    fun: Option<FunId>,
    /// The field or element that a variable is declared with.
    from_places: Vec<Option<ExprId>>,
    lifetimes: Lifetimes,
    root: Option<Root>,
    /// The text beside the branches that are walked: it does not run when they do, or has run before.
    beside: Vec<Span>,
    /// Where the innermost loop of the function starts that is being walked; 0 outside loops.
    loop_start: u32,
    /// Likewise the innermost test.
    test_start: u32,
    /// The places that variables which borrow were read from.
    lent: HashMap<BindId, ExprId>,
    /// Slices that replace the list they are of, with their one bound that is no number: `xs = xs[:n]`.
    cuts: HashMap<ExprId, ExprId>,
    /// Sums that replace the list that they begin with, with their parts: `xs = xs + [a, b]`.
    sums: HashMap<ExprId, (ExprId, ExprId)>,
    /// Variables that are declared with an append to a place and then stored in that place.
    taken: HashSet<BindId>,
    /// The append whose list stands for what the place refers to that its result replaces.
    continued: Option<ExprId>,
    /// Values of conditional assignments that are what the target holds already.
    unchanged: HashSet<ExprId>,
}

/// Fills in what [`Types`] says about sharing.
pub(super) fn find(program: &Program, resolution: &Resolution, types: &mut Types) {
    let count = resolution.bind_count();
    let borrows = (0..count).map(|index| {
        let info = resolution.bind(BindId::new(index));
        matches!(info.kind, BindKind::Param | BindKind::For) && !info.captured && info.assignments == 0
    });
    let borrows = borrows.collect();
    let effects = vec![Effect::NONE; program.exprs.len()];
    let mut from_places = vec![None; count];
    for stmt in &program.stmts {
        if let StmtKind::Let { bind, value: Some(value) } = stmt.kind
            && let place = place_of(program, value)
            && is_part(program, place)
        {
            from_places[resolution.slot(bind).index()] = Some(place);
        }
    }
    let mut walker = Walker {
        program,
        resolution,
        types,
        table: Table::default(),
        danger: Vec::new(),
        effects,
        gives: vec![None; program.funs.len()],
        borrows,
        follows: Vec::new(),
        passed: Vec::new(),
        fun: None,
        from_places,
        lifetimes: Lifetimes::default(),
        root: None,
        beside: Vec::new(),
        loop_start: 0,
        test_start: 0,
        lent: HashMap::new(),
        cuts: HashMap::new(),
        sums: HashMap::new(),
        taken: HashSet::new(),
        continued: None,
        unchanged: HashSet::new(),
    };
    walker.find_cuts();
    walker.find_taken();
    let growing = walker.find_places();
    let owners = owners(program);
    walker.find_danger(&owners, &growing);
    walker.find_givers(&owners);
    walker.find_effects();
    walker.find_lifetimes(&growing);
    walker.block(program.body);
    walker.finish();
}

impl Walker<'_> {
    /// Slices that may cut in place where an append in place would be allowed: of a list, with bounds that are ints, of
    /// which at most one is not written out. Likewise sums that may append in place.
    fn find_cuts(&mut self) {
        const MOST: usize = 8;
        let program = self.program;
        for stmt in &program.stmts {
            let StmtKind::Assign { target, value } = stmt.kind else { continue };
            for value in leaves(program, value) {
                match program[value].kind {
                    ExprKind::Slice { .. } => {
                        if let Some(bound) = self.cut_by(target, value) {
                            self.cuts.insert(value, bound);
                        }
                    }
                    ExprKind::Call { .. } => {
                        if let Some((list, item)) = self.append(value)
                            && let Some(bound) = self.cut_by(target, list)
                            && let Some(bind) = self.register(target)
                            && self.from_places[bind.index()].is_none()
                            && !self.is_named_in(bind, item)
                        {
                            self.cuts.insert(list, bound);
                        }
                    }
                    ExprKind::Binary { op: BinaryOp::Add, left, right, .. } => {
                        let ty = self.types.expr(value);
                        let list = self.types.get(ty);
                        let same = [left, right].iter().all(|&part| self.types.expr(part) == ty);
                        let few = match program[right].kind {
                            ExprKind::List(items) => (1..=MOST).contains(&items.len()),
                            _ => true,
                        };
                        if same
                            && few
                            && matches!(list.kind, TyKind::List(_))
                            && !list.nullable
                            && self.same_place(target, left)
                        {
                            self.sums.insert(value, (left, right));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The one bound of a slice that is no number, or any, where a slice of what the target names may cut.
    fn cut_by(&self, target: ExprId, slice: ExprId) -> Option<ExprId> {
        let program = self.program;
        let ExprKind::Slice { base, start, end, step: None } = program[slice].kind else { return None };
        let list = self.types.get(self.types.expr(base));
        let bounds = || [start, end].into_iter().flatten();
        let ints = bounds().all(|bound| self.types.expr(bound) == TyId::INT);
        let mut computed = bounds().filter(|&bound| !matches!(program[bound].kind, ExprKind::Int(_)));
        let bound = computed.next().or(start).or(end)?;
        let cuts =
            matches!(list.kind, TyKind::List(_)) && !list.nullable && ints && computed.next().is_none();
        (cuts && self.same_place(target, base)).then_some(bound)
    }

    /// Whether an expression names a variable, or may run code that does.
    fn is_named_in(&self, bind: BindId, id: ExprId) -> bool {
        // Chains of operators may be as long as the file.
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let runs = matches!(self.program[id].kind, ExprKind::Fun(_) | ExprKind::Match { .. });
            if runs || self.variable(id) == Some(bind) {
                return true;
            }
            for_each_child(self.program, id, &mut |child| todo.push(child));
        }
        false
    }

    /// Variables like `a` in `var a = append(q.items, v); q.items = a`.
    fn find_taken(&mut self) {
        let program = self.program;
        let mut places = HashMap::new();
        for stmt in &program.stmts {
            if let StmtKind::Let { bind, value: Some(value) } = stmt.kind
                && let Some((list, _)) = self.append(value)
                && is_part(program, list)
            {
                places.insert(self.resolution.slot(bind), list);
            }
        }
        for stmt in &program.stmts {
            if let StmtKind::Assign { target, value } = stmt.kind
                && let Some(bind) = self.variable(value)
                && let Some(&place) = places.get(&bind)
                && self.same_place(target, place)
            {
                self.taken.insert(bind);
                self.from_places[bind.index()] = Some(place);
            }
        }
    }

    // ---- What calls may do ----

    /// Enters the places that statements may append to in place. Gives these statements, with their places.
    fn find_places(&mut self) -> Vec<(StmtId, Places)> {
        let stmts = (0..self.program.stmts.len()).map(StmtId::new);
        let growing = stmts.map(|stmt| (stmt, self.appends_elsewhere(self.program[stmt].kind)));
        let growing: Vec<_> = growing.filter(|(_, places)| !places.is_empty()).collect();
        let mut table = Table::default();
        for &place in growing.iter().flat_map(|(_, places)| places) {
            let list = self.types.expr(place);
            for step in self.steps(place).into_iter().flatten() {
                table.add(self.types, step, list);
            }
        }
        self.table = table;
        let all = |places: Vec<ExprId>| {
            places.into_iter().fold(Places::NONE, |found, place| found | self.places(place))
        };
        growing.into_iter().map(|(stmt, places)| (stmt, all(places))).collect()
    }

    /// The last steps that may lead to a place; nothing where it may be any.
    fn steps(&self, place: ExprId) -> [Option<Step>; 2] {
        match self.program[place].kind {
            ExprKind::Name(_) => [self.variable(place).map(|bind| self.step_of(bind)), None],
            ExprKind::Field { base, name, .. } => {
                let record = matches!(self.kind(base), TyKind::Struct(_) | TyKind::Union(_));
                [Some(Step::Field(name.name)), (!record).then_some(Step::Element)]
            }
            ExprKind::Index { base, .. } if matches!(self.kind(base), TyKind::List(_) | TyKind::Map(..)) => {
                [Some(Step::Element), None]
            }
            _ => [None, None],
        }
    }

    /// The place that a variable is, or that one of a field refers to.
    fn step_of(&self, bind: BindId) -> Step {
        let info = self.resolution.bind(bind);
        match info.source {
            BindSource::MethodField { .. } | BindSource::UpdateField { .. } => Step::Field(info.name),
            BindSource::Tree | BindSource::Receiver { .. } => Step::Variable(bind),
        }
    }

    /// The places that a place may be one of, as far as the program appends to them.
    fn places(&self, place: ExprId) -> Places {
        let list = self.types.expr(place);
        let steps = self.steps(place);
        if steps == [None, None] {
            return Places::ALL;
        }
        steps
            .into_iter()
            .flatten()
            .fold(Places::NONE, |found, step| found | self.table.places(self.types, step, list))
    }

    fn kind(&self, id: ExprId) -> TyKind {
        self.types.get(self.types.expr(id)).kind
    }

    /// Follows the calls backwards from functions that append in place to other things than registers.
    fn find_danger(&mut self, owners: &Owners, growing: &[(StmtId, Places)]) {
        let program = self.program;
        let main = program.funs.len();
        let unknown = main + 1;
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); unknown + 1];
        let mut danger = vec![Places::NONE; unknown + 1];
        for &(stmt, places) in growing {
            let owner = owners.stmts[stmt.index()] as usize;
            danger[owner] = danger[owner] | places;
        }
        for index in 0..program.exprs.len() {
            let id = ExprId::new(index);
            if !matches!(program[id].kind, ExprKind::Call { .. }) {
                continue;
            }
            let callee = match self.types.call(id) {
                CallKind::Direct(fun) | CallKind::Method(fun) | CallKind::Sibling(fun) => fun.index(),
                CallKind::Closure { .. }
                | CallKind::Dynamic { .. }
                | CallKind::DynamicMethod
                | CallKind::Builtin(Builtin::Reduce | Builtin::Eval) => unknown,
                CallKind::Partial(fun) | CallKind::PartialMethod(fun) => {
                    callers[fun.index()].push(unknown as u32);
                    continue;
                }
                CallKind::BuiltinMethod
                | CallKind::Builtin(_)
                | CallKind::Construct(_)
                | CallKind::Extern
                | CallKind::Undefined => continue,
            };
            callers[callee].push(owners.exprs[index]);
        }
        for (index, info) in (0..main).map(|index| (index, self.resolution.fun(FunId::new(index)))) {
            if info.used_as_value || info.method_of.is_some() {
                callers[index].push(unknown as u32);
            }
        }
        // There are at most as many rounds through a function as there are bits.
        let mut work: Vec<usize> = (0..=unknown).filter(|&index| !danger[index].is_empty()).collect();
        while let Some(index) = work.pop() {
            for &caller in &callers[index] {
                let caller = caller as usize;
                let both = danger[caller] | danger[index];
                if both != danger[caller] {
                    danger[caller] = both;
                    work.push(caller);
                }
            }
        }
        self.danger = danger;
    }

    /// Finds functions that return what a field, element or global holds, or a new list of a few elements, and nothing else, and that
    /// are called by name only. What they return needs no mark if the caller only looks at it.
    fn find_givers(&mut self, owners: &Owners) {
        let program = self.program;
        let mut returned: Vec<Vec<ExprId>> = vec![Vec::new(); program.funs.len() + 1];
        for (index, stmt) in program.stmts.iter().enumerate() {
            if let StmtKind::Return(Some(value)) = stmt.kind {
                returned[owners.stmts[index] as usize].push(value);
            }
        }
        let mut named = HashMap::new();
        let mut dynamic = false;
        let mut partial = HashSet::new();
        for (index, expr) in program.exprs.iter().enumerate() {
            match expr.kind {
                ExprKind::Field { name, .. } => *named.entry(name.name).or_insert(0) += 1,
                ExprKind::Call { callee, .. } => {
                    match (self.types.call(ExprId::new(index)), program[callee].kind) {
                        (CallKind::Method(_), ExprKind::Field { name, .. }) => {
                            *named.entry(name.name).or_insert(0) -= 1
                        }
                        (CallKind::Partial(fun) | CallKind::PartialMethod(fun), _) => {
                            partial.insert(fun);
                        }
                        (CallKind::DynamicMethod, _) => dynamic = true,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let mut open: Vec<FunId> = (0..program.funs.len())
            .map(FunId::new)
            .filter(|&fun| {
                let info = self.resolution.fun(fun);
                let called = match info.method_of {
                    Some(_) => {
                        let name = program[fun].bind.map(|bind| self.resolution.bind(bind).name);
                        !dynamic && name.is_some_and(|name| named.get(&name).is_none_or(|&other| other == 0))
                    }
                    None => info.top_level,
                };
                called && !info.used_as_value && !partial.contains(&fun)
            })
            .collect();
        for &fun in &open {
            if let Body::Expr(value) = program[fun].body {
                returned[fun.index()].push(value);
            }
        }
        loop {
            let before = open.len();
            open.retain(|&fun| {
                let given = self.given_by(&returned[fun.index()]);
                self.gives[fun.index()] = given;
                given.is_none()
            });
            if open.len() == before {
                break;
            }
        }
    }

    /// The places of which some values are what they hold, if each is that or a list of a few new elements.
    fn given_by(&self, values: &[ExprId]) -> Option<Places> {
        const FEW: usize = 8;
        let mut found = None;
        for leaf in values.iter().flat_map(|&value| leaves(self.program, value)) {
            let leaf = place_of(self.program, leaf);
            let places = match self.program[leaf].kind {
                ExprKind::List(items) if items.len() <= FEW => continue,
                ExprKind::Field { .. } | ExprKind::Index { .. } => self.places(leaf),
                ExprKind::Name(_) => {
                    let info = self.resolution.bind(self.variable(leaf)?);
                    match (info.source, info.storage) {
                        (_, Storage::Global | Storage::Ref) => self.places(leaf),
                        (BindSource::MethodField { .. }, _) if info.assignments == 0 && !info.captured => {
                            self.places(leaf)
                        }
                        _ => return None,
                    }
                }
                ExprKind::Call { .. } => self.given_by_call(leaf)?,
                _ => return None,
            };
            found = Some(found.unwrap_or_default() | places);
        }
        found
    }

    /// The places that a call gives what they hold of.
    fn given_by_call(&self, id: ExprId) -> Option<Places> {
        match self.types.call(id) {
            CallKind::Direct(fun) | CallKind::Method(fun) | CallKind::Sibling(fun) => self.gives[fun.index()],
            _ => None,
        }
    }

    /// The effects of all expressions; children come before parents.
    fn find_effects(&mut self) {
        let program = self.program;
        let unknown = program.funs.len() + 1;
        for index in 0..program.exprs.len() {
            let id = ExprId::new(index);
            let mut found = Effect::NONE;
            for_each_child(program, id, &mut |child| found = found | self.effects[child.index()]);
            let own = match program[id].kind {
                ExprKind::Call { .. } => match self.types.call(id) {
                    CallKind::Direct(fun) | CallKind::Method(fun) | CallKind::Sibling(fun) => {
                        self.call_effect(fun.index())
                    }
                    CallKind::Closure { .. }
                    | CallKind::Dynamic { .. }
                    | CallKind::DynamicMethod
                    | CallKind::Builtin(Builtin::Reduce | Builtin::Eval) => self.call_effect(unknown),
                    _ => Effect::NONE,
                },
                ExprKind::Match { arms, .. } => {
                    let blocks = program[arms].iter().any(|arm| matches!(arm.body, Body::Block(_)));
                    if blocks { Effect::ANY } else { Effect::NONE }
                }
                _ => Effect::NONE,
            };
            self.effects[index] = found | own;
        }
    }

    /// The places other than registers that a statement may append to in place, and those that a variable was read from
    /// which it appends to.
    fn appends_elsewhere(&self, stmt: StmtKind) -> Vec<ExprId> {
        match stmt {
            StmtKind::Let { bind, value: Some(value) } => {
                let list = self.append(value).map(|(list, _)| list);
                list.filter(|_| self.taken.contains(&self.resolution.slot(bind))).into_iter().collect()
            }
            StmtKind::Assign { target, value } => leaves(self.program, value)
                .into_iter()
                .filter_map(|value| {
                    let (list, _) = self.append(value)?;
                    if self.register(target).is_none() && self.same_place(target, list) {
                        return Some(target);
                    }
                    self.from_places[self.variable(list)?.index()]
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn find_lifetimes(&mut self, growing: &[(StmtId, Places)]) {
        let program = self.program;
        let appends = growing
            .iter()
            .map(|&(stmt, places)| {
                let at = program[stmt].span.start;
                let StmtKind::Assign { value, .. } = program[stmt].kind else {
                    return Hazard { at, places, list: None };
                };
                let mut lists = leaves(program, value)
                    .into_iter()
                    .filter_map(|value| self.append(value))
                    .map(|(list, _)| self.variable(list));
                let first = lists.next().flatten();
                Hazard { at, places, list: first.filter(|_| lists.all(|list| list == first)) }
            })
            .collect();
        self.lifetimes =
            Lifetimes::new(program, self.resolution, appends, &self.effects, |id| self.append(id).is_some());
    }

    fn call_effect(&self, fun: usize) -> Effect {
        Effect { calls: true, statements: false, grows: self.danger[fun] }
    }

    fn effect(&self, id: ExprId) -> Effect {
        self.effects[id.index()]
    }

    // ---- Places ----

    /// The variable of a name expression.
    fn variable(&self, id: ExprId) -> Option<BindId> {
        match (self.program[id].kind, self.resolution.name(id)) {
            (ExprKind::Name(_), Resolved::Bind(bind)) => Some(self.resolution.slot(bind)),
            _ => None,
        }
    }

    /// The variable, if it is one that no other function can change.
    fn register(&self, id: ExprId) -> Option<BindId> {
        self.variable(id).filter(|&bind| self.resolution.bind(bind).storage == Storage::Register)
    }

    /// The first argument of the append or push that a value is, where it appends to what the target names.
    fn append_to(&self, target: ExprId, value: ExprId) -> Option<(ExprId, ExprId)> {
        let (list, item) = self.append(value)?;
        self.same_place(target, list).then_some((list, item))
    }

    /// The list that an append extends and what it appends; likewise the list that a slice cuts, and the bound.
    fn append(&self, id: ExprId) -> Option<(ExprId, ExprId)> {
        let args = match self.program[id].kind {
            ExprKind::Call { args, .. } => args,
            ExprKind::Binary { .. } => return self.sums.get(&id).copied(),
            ExprKind::Slice { base, .. } => return Some((base, *self.cuts.get(&id)?)),
            _ => return None,
        };
        match (self.types.call(id), &self.program[args]) {
            (CallKind::Builtin(Builtin::Append | Builtin::Push), &[list, item]) => {
                Some((place_of(self.program, list), item))
            }
            _ => None,
        }
    }

    /// Whether both name the same place, and finding it has no effect.
    fn same_place(&self, left: ExprId, right: ExprId) -> bool {
        use ExprKind::{Binary, Bool, Field, Index, Int, Name, Str};
        match (self.program[left].kind, self.program[right].kind) {
            (Name(_), Name(_)) => {
                let variable = self.variable(left);
                variable.is_some() && variable == self.variable(right)
            }
            (Int(a), Int(b)) => a == b,
            (Str(a), Str(b)) => a == b,
            (Bool(a), Bool(b)) => a == b,
            (Field { base: a, name: x, .. }, Field { base: b, name: y, .. }) => {
                x.name == y.name && self.same_place(a, b)
            }
            (Index { base: a, index: i, .. }, Index { base: b, index: j, .. }) => {
                self.same_place(a, b) && self.same_place(i, j)
            }
            // The left side of chains is followed only so far: indexes are short.
            (Binary { op, left: a, right: x, .. }, Binary { op: other, left: b, right: y, .. }) => {
                use BinaryOp::{Add, Div, Mul, Rem, Sub};
                let arithmetic = matches!(op, Add | Sub | Mul | Div | Rem);
                let short = !matches!(self.program[a].kind, Binary { .. });
                arithmetic && short && op == other && self.same_place(x, y) && self.same_place(a, b)
            }
            _ => false,
        }
    }

    /// Whether an assignment of the place stores where the place is read in its value, should other functions run behind that: its
    /// object is evaluated before, and its index once more.
    fn is_stable(&self, id: ExprId) -> bool {
        match self.program[id].kind {
            ExprKind::Field { .. } => true,
            ExprKind::Index { index, .. } => self.is_plain(index, is_unmoved),
            _ => false,
        }
    }

    /// Whether all variables in a place are `fixed`, and only the last step leads into an object, since what another field or element
    /// holds may be replaced.
    fn is_fixed(&self, id: ExprId, fixed: impl Fn(&BindInfo) -> bool) -> bool {
        let is_name = |id: ExprId| matches!(self.program[id].kind, ExprKind::Name(_));
        match self.program[id].kind {
            ExprKind::Field { base, .. } => is_name(base) && self.is_plain(base, fixed),
            ExprKind::Index { base, index, .. } => {
                is_name(base) && self.is_plain(base, &fixed) && self.is_plain(index, &fixed)
            }
            _ => self.is_plain(id, fixed),
        }
    }

    /// Whether an expression is a constant or a `fixed` variable, or one operation with two of them.
    fn is_plain(&self, id: ExprId, fixed: impl Fn(&BindInfo) -> bool) -> bool {
        let plain = |id: ExprId| match self.program[id].kind {
            ExprKind::Name(_) => self.variable(id).is_some_and(|bind| fixed(self.resolution.bind(bind))),
            ExprKind::Int(_) | ExprKind::Str(_) | ExprKind::Bool(_) => true,
            _ => false,
        };
        match self.program[id].kind {
            ExprKind::Binary { left, right, .. } => plain(left) && plain(right),
            _ => plain(id),
        }
    }

    /// Whether a variable is a register of the function that is walked, and of no other.
    fn own(&self, bind: BindId) -> bool {
        let info = self.resolution.bind(bind);
        info.storage == Storage::Register
            && info.source == BindSource::Tree
            && matches!(info.kind, BindKind::Let | BindKind::Var | BindKind::Param)
            && !info.captured
            && info.fun == self.fun
    }

    /// Whether this use of a variable hands its reference over: nothing looks at what it holds any more.
    fn hands_over(&self, id: ExprId) -> Option<BindId> {
        let root = self.root?;
        let bind = self.variable(id).filter(|&bind| self.own(bind))?;
        let declared = self.resolution.bind(bind).span.start;
        // A test that fails leaves its variables to those that follow.
        if declared < self.test_start {
            return None;
        }
        if let Some((replaced, value)) = root.replaced
            && replaced == bind
        {
            return (self.uses_in(bind, value) == 1).then_some(bind);
        }
        let once = if root.last {
            self.uses_in(bind, root.span) == 1
        } else {
            declared >= self.loop_start && self.uses_in(bind, Span { end: u32::MAX, ..root.span }) == 1
        };
        once.then_some(bind)
    }

    /// How often a variable is named within a span, other than in branches beside the one that is walked.
    fn uses_in(&self, bind: BindId, span: Span) -> usize {
        let count = |span: Span| self.lifetimes.count_in(bind, span);
        let beside = self.beside.iter().filter(|other| span.start <= other.start && other.end <= span.end);
        count(span) - beside.map(|&other| count(other)).sum::<usize>()
    }

    /// Walks one of the branches of `whole`. Those before and behind it do not run where it does, and tests before it have run.
    fn branch(&mut self, whole: Span, own: Span, walk: impl FnOnce(&mut Self)) {
        let outer = self.beside.len();
        self.beside.extend([Span { end: own.start, ..whole }, Span { start: own.end, ..whole }]);
        walk(self);
        self.beside.truncate(outer);
    }

    /// Whether both name the same place at different times, with nothing between that changes a variable in it.
    fn stays(&self, left: ExprId, right: ExprId) -> bool {
        self.same_place(left, right)
            && self.variable(left).is_none()
            && self.is_fixed(left, |info| info.assignments == 0)
    }

    fn keeps(&mut self, bind: BindId) {
        self.borrows[bind.index()] = false;
    }

    /// Notes a use of a place. The base of a field or element is looked at by the caller.
    fn place(&mut self, id: ExprId, how: Use) {
        let variable = self.variable(id);
        match how {
            Use::Look => {}
            Use::Store if self.unchanged.contains(&id) => {
                if let Some(bind) = variable {
                    self.keeps(bind);
                }
            }
            Use::Keep | Use::Store => {
                if let Some(bind) = variable {
                    self.keeps(bind);
                }
                if how == Use::Keep || self.hands_over(id).is_none() {
                    self.share(id);
                }
            }
            Use::Return => {
                let own = variable.is_some_and(|bind| {
                    let info = self.resolution.bind(bind);
                    info.storage == Storage::Register && !info.captured && info.fun == self.fun
                });
                if let Some(bind) = variable {
                    self.keeps(bind);
                }
                if !own {
                    self.share(id);
                }
            }
            Use::Pass(param, fun) => {
                if let Some(bind) = variable {
                    self.follows.push((param, bind));
                }
                let safe = self.register(id).is_some() || !self.danger[fun.index()].meets(self.places(id));
                if self.hands_over(id).is_none() {
                    self.passed.push((id, param, safe));
                }
            }
            Use::Lend(bind) => {
                if let Some(variable) = variable {
                    self.follows.push((bind, variable));
                }
                if self.hands_over(id).is_none() {
                    self.passed.push((id, bind, true));
                }
            }
        }
    }

    fn share(&mut self, id: ExprId) {
        let ty = self.types.get(self.types.expr(id));
        self.types.shares[id.index()] = matches!(ty.kind, TyKind::Any | TyKind::List(_));
    }

    // ---- The walk ----

    fn block(&mut self, block: Block) {
        for (index, &stmt) in self.program[block.stmts].iter().enumerate() {
            let outer = self.root.take();
            let span = self.program[stmt].span;
            match self.program[stmt].kind {
                StmtKind::Let { bind, value: Some(value) } => {
                    self.root = Some(Root { span, replaced: None, last: false });
                    self.declaration(block, index, bind, value);
                }
                _ => self.stmt(stmt),
            }
            self.root = outer;
        }
    }

    /// `let bind = value`, the statement `index` of a block.
    fn declaration(&mut self, block: Block, index: usize, bind: BindId, value: ExprId) {
        let program = self.program;
        let bind = self.resolution.slot(bind);
        let info = self.resolution.bind(bind);
        if !self.own(bind) {
            return self.store(value);
        }
        let from = place_of(program, value);
        let place = is_part(program, from);
        let following = &program[block.stmts][index + 1..];
        if place && self.is_taken(following, bind, from, false) {
            return self.look(value);
        }
        if self.taken.contains(&bind)
            && let Some((list, item)) = self.append(value)
            && self.effect(item) == Effect::NONE
            && self.is_taken(following, bind, list, true)
        {
            self.types.in_place[value.index()] = true;
        }
        let region = self.lifetimes.region(program, block, index, bind);
        // A register may hand its list to others, which append to it as to their own.
        let named = matches!(program[value].kind, ExprKind::Name(_)) && self.register(value).is_none();
        let read = if place || named { Some(self.places(from)) } else { self.given_by_call(value) };
        let hazard = if let Some(places) = read {
            self.lifetimes.is_hazardous(region, places, Some(bind))
        } else {
            self.lifetimes.grows(region)
        };
        self.borrows[bind.index()] = info.assignments == 0 && !hazard;
        if self.borrows[bind.index()] && place {
            self.lent.insert(bind, from);
        }
        self.expr(value, Use::Lend(bind), Effect::NONE);
    }

    /// Whether a variable that was read from a place is appended to, if it is not `appended` to yet, and then stored in the
    /// place, before anything else can look at the place.
    fn is_taken(&self, following: &[StmtId], bind: BindId, place: ExprId, mut appended: bool) -> bool {
        let program = self.program;
        let is_variable = |id: ExprId| self.variable(id) == Some(bind);
        for &stmt in following {
            if !appended && self.is_prelude(stmt, bind, place) {
                continue;
            }
            let StmtKind::Assign { target, value } = program[stmt].kind else { return false };
            if is_variable(target) {
                let Some((_, item)) = self.append_to(target, value) else { return false };
                // An item that fails must leave the place as it was; one that is evaluated first can't change it.
                let simple = match program[item].kind {
                    ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Str(_) | ExprKind::Bool(_) => true,
                    ExprKind::Name(_) => self.register(item).is_some_and(|other| other != bind),
                    _ => !appended && self.effect(item) == Effect::NONE,
                };
                if !simple {
                    return false;
                }
                appended = true;
            } else {
                // Nothing between changes a variable other than `bind`, so what names the same place is the same place.
                let span = program[stmt].span;
                return appended
                    && is_variable(value)
                    && is_part(program, place)
                    && self.same_place(target, place)
                    && self.lifetimes.count_in(bind, span) == 1
                    && !self.lifetimes.used_from(bind, span.end);
            }
        }
        false
    }

    /// Whether a statement changes neither a place nor the variable that was read from it, and makes no reference to the list
    /// that is not looked after elsewhere. It may fail, or leave.
    fn is_prelude(&self, stmt: StmtId, bind: BindId, place: ExprId) -> bool {
        let program = self.program;
        match program[stmt].kind {
            StmtKind::Let { bind: other, value: Some(value) } => {
                let other = self.resolution.slot(other);
                self.is_quiet(value)
                    && other != bind
                    && self.lifetimes.count_in(other, program[place].span) == 0
            }
            StmtKind::Expr(value) => self.is_quiet(value),
            // A list that is returned gets no mark, so the variable must not be.
            StmtKind::If { branches, otherwise: None } => program[branches].iter().all(|branch| {
                let leaves = |&stmt: &StmtId| match program[stmt].kind {
                    StmtKind::Return(value) => value.is_none_or(|value| self.is_quiet(value)),
                    StmtKind::Break | StmtKind::Continue => true,
                    _ => false,
                };
                self.is_quiet(branch.cond)
                    && self.lifetimes.count_in(bind, branch.body.span) == 0
                    && program[branch.body.stmts].iter().all(leaves)
            }),
            // An element, which shows in the place too. The place leads through no list.
            StmtKind::Assign { target, value } => match (program[target].kind, program[place].kind) {
                (ExprKind::Index { base, index, .. }, ExprKind::Field { base: object, .. }) => {
                    self.variable(base) == Some(bind)
                        && self.variable(object).is_some()
                        && self.is_quiet(index)
                        && self.is_quiet(value)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether evaluating an expression changes nothing and calls nothing of the program; only plain forms are looked at.
    fn is_quiet(&self, id: ExprId) -> bool {
        fn plain(program: &Program, id: ExprId, depth: usize) -> bool {
            let plain = |id: ExprId| depth > 0 && plain(program, id, depth - 1);
            match program[id].kind {
                ExprKind::Int(_)
                | ExprKind::Float(_)
                | ExprKind::Bool(_)
                | ExprKind::Str(_)
                | ExprKind::None
                | ExprKind::Name(_) => true,
                ExprKind::Field { base, .. } => plain(base),
                ExprKind::Index { base, index, .. } => plain(base) && plain(index),
                ExprKind::Unary { operand, .. } => plain(operand),
                ExprKind::Binary { left, right, .. } => plain(left) && plain(right),
                ExprKind::Call { args, .. } => program[args].iter().all(|&arg| plain(arg)),
                _ => false,
            }
        }
        self.effect(id) == Effect::NONE && plain(self.program, id, 8)
    }

    fn look(&mut self, id: ExprId) {
        self.expr(id, Use::Look, Effect::NONE);
    }

    fn keep(&mut self, id: ExprId) {
        self.expr(id, Use::Keep, Effect::NONE);
    }

    fn store(&mut self, id: ExprId) {
        self.expr(id, Use::Store, Effect::NONE);
    }

    fn maybe(&mut self, id: Option<ExprId>) {
        if let Some(id) = id {
            self.look(id);
        }
    }

    fn stmt(&mut self, id: StmtId) {
        let program = self.program;
        match program[id].kind {
            StmtKind::Error
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Import(_)
            | StmtKind::Extern(_)
            | StmtKind::Fact(_)
            | StmtKind::Rule { .. }
            | StmtKind::Stream { .. } => {}
            StmtKind::Let { value, .. } => {
                if let Some(value) = value {
                    self.keep(value);
                }
            }
            StmtKind::Assign { target, value } => {
                let replaced = self.register(target).map(|bind| (bind, program[value].span));
                self.root = Some(Root { span: program[id].span, replaced, last: false });
                self.assign(target, value);
            }
            StmtKind::Fun(fun) | StmtKind::Intent(fun) => self.fun(fun),
            StmtKind::Return(Some(value)) => {
                self.root = Some(Root { span: program[id].span, replaced: None, last: self.fun.is_some() });
                if self.fun.is_some() {
                    self.returned(value);
                } else {
                    self.look(value);
                }
            }
            StmtKind::Return(None) => {}
            StmtKind::If { branches, otherwise } => {
                let whole = program[id].span;
                for branch in &program[branches] {
                    self.look(branch.cond);
                    self.branch(whole, branch.body.span, |walker| walker.block(branch.body));
                }
                if let Some(block) = otherwise {
                    self.block(block);
                }
            }
            StmtKind::While { cond, body } => {
                let outer = std::mem::replace(&mut self.loop_start, program[id].span.start);
                self.look(cond);
                self.block(body);
                self.loop_start = outer;
            }
            StmtKind::ForIn { bind, items, body } => {
                self.look(items);
                // While the variable refers to an element, an append in place to the element would show in it.
                let elements = self.table.places(self.types, Step::Element, self.types.bind(bind));
                if self.lifetimes.is_hazardous((body.span.start, body.span.end), elements, None) {
                    self.keeps(bind);
                }
                self.body(id, body);
            }
            StmtKind::ForRange { start, end, body, .. } => {
                self.look(start);
                self.look(end);
                self.body(id, body);
            }
            StmtKind::Expr(value) => {
                self.root = Some(Root { span: program[id].span, replaced: None, last: false });
                self.look(value);
            }
            StmtKind::Expect(value) => self.look(value),
            StmtKind::Test { body, .. } | StmtKind::Bench { body, .. } => {
                let outer = std::mem::replace(&mut self.test_start, program[id].span.start);
                self.block(body);
                self.test_start = outer;
            }
            StmtKind::Agent { body, .. } | StmtKind::On { body, .. } => self.block(body),
            StmtKind::Type(decl) => {
                if let crate::syntax::ast::TypeDeclKind::Struct { methods, .. } = program[decl].kind {
                    for &method in &program[methods] {
                        self.fun(method);
                    }
                }
            }
            StmtKind::Fetch { url, with, .. } => {
                self.look(url);
                self.maybe(with);
            }
            StmtKind::Update { set, filter, .. } => {
                for entry in &program[set] {
                    if let MapKey::Expr(key) = entry.key {
                        self.look(key);
                    }
                    self.keep(entry.value);
                }
                self.maybe(filter);
            }
            StmtKind::Emit { fields, .. } | StmtKind::Model { fields, .. } => {
                for field in &program[fields] {
                    self.keep(field.value);
                }
            }
        }
    }

    /// The body of a loop.
    fn body(&mut self, id: StmtId, body: Block) {
        let outer = std::mem::replace(&mut self.loop_start, self.program[id].span.start);
        self.block(body);
        self.loop_start = outer;
    }

    fn fun(&mut self, id: FunId) {
        let outer = self.fun.replace(id);
        let root = self.root.take();
        let loop_start = std::mem::take(&mut self.loop_start);
        let beside = std::mem::take(&mut self.beside);
        match self.program[id].body {
            Body::Expr(value) => self.returned(value),
            Body::Block(block) => self.block(block),
        }
        self.root = root;
        self.loop_start = loop_start;
        self.beside = beside;
        self.fun = outer;
    }

    fn returned(&mut self, value: ExprId) {
        if self.fun.is_some_and(|fun| self.gives[fun.index()].is_some()) {
            return self.look(value);
        }
        // A local variable ends with the function, so the result of appending to it replaces its only reference.
        if let Some((list, item)) = self.append(value)
            && let Some(bind) = self.register(list)
            && !self.effect(item).statements
        {
            let info = self.resolution.bind(bind);
            let own = !info.captured && info.fun == self.fun && info.kind != BindKind::For;
            self.types.in_place[value.index()] = own;
        }
        self.expr(value, Use::Return, Effect::NONE);
    }

    fn assign(&mut self, target: ExprId, value: ExprId) {
        match self.program[target].kind {
            ExprKind::Name(_) => {}
            ExprKind::Index { base, index, .. } => {
                self.expr(base, Use::Look, self.effect(index) | self.effect(value));
                self.look(index);
            }
            ExprKind::Field { base, .. } => self.expr(base, Use::Look, self.effect(value)),
            _ => self.look(target),
        }
        let named = self.variable(target).is_some();
        let safe = |found: Effect| match self.register(target) {
            Some(_) => !found.statements,
            // A variable that is given another list meanwhile no longer refers to the one that grows.
            None => {
                !found.grows.meets(self.places(target)) && (!found.calls || named || self.is_stable(target))
            }
        };
        if let Some((_, item)) = self.append_to(target, value) {
            self.types.in_place[value.index()] = safe(self.effect(item));
        } else if matches!(self.program[value].kind, ExprKind::If { .. }) {
            // The conditions are evaluated after the target's object and before the appends: what the place is then may be another.
            let found = self.effect(value);
            if safe(found) && (!found.calls || named || self.is_fixed(target, is_unmoved)) {
                for value in leaves(self.program, value) {
                    if self.append_to(target, value).is_some() {
                        self.types.in_place[value.index()] = true;
                    } else if self.register(target).is_some() && self.same_place(target, value) {
                        self.unchanged.insert(value);
                    }
                }
            }
        } else if let Some((list, item)) = self.append(value)
            && let Some(bind) = self.variable(list)
            && self.lent.get(&bind).is_some_and(|&place| self.stays(target, place))
            && self.effect(item) == Effect::NONE
            && self.hands_over(list).is_some()
        {
            self.types.in_place[value.index()] = true;
            self.continued = Some(value);
        } else if let Some((list, item)) = self.append(value)
            && let Some(&bound) = self.cuts.get(&list)
            && self.effect(item) == Effect::NONE
            && safe(self.effect(bound))
        {
            // What is evaluated behind the cut looks at nothing that it changes.
            self.types.in_place[list.index()] = true;
        }
        self.store(value);
    }

    /// Walks an expression. `later` is what is evaluated while its value waits.
    fn expr(&mut self, id: ExprId, how: Use, later: Effect) {
        let program = self.program;
        match program[id].kind {
            ExprKind::Error
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::None
            | ExprKind::Query(_)
            | ExprKind::Logic(_) => {}
            ExprKind::Name(_) => {
                self.place(id, how);
                let exposed = self.register(id).is_none() && later.grows.meets(self.places(id));
                if exposed || later.statements {
                    self.share(id);
                }
            }
            ExprKind::Field { base, .. } => {
                self.look(base);
                self.place(id, how);
                if later.grows.meets(self.places(id)) {
                    self.share(id);
                }
            }
            ExprKind::Index { base, index, .. } => {
                self.expr(base, Use::Look, self.effect(index));
                self.look(index);
                self.place(id, how);
                if later.grows.meets(self.places(id)) {
                    self.share(id);
                }
            }
            ExprKind::Slice { base, start, end, step } => {
                let parts = [start, end, step];
                let while_waiting =
                    parts.iter().flatten().fold(Effect::NONE, |found, &part| found | self.effect(part));
                let replaced = self.types.in_place[id.index()];
                if let (true, Some(bind)) = (replaced, self.variable(base)) {
                    self.keeps(bind);
                }
                self.expr(base, Use::Look, if replaced { Effect::NONE } else { while_waiting });
                for part in parts {
                    self.maybe(part);
                }
            }
            ExprKind::Call { callee, args } => self.call(id, callee, &program[args], how, later),
            ExprKind::Cast { value, .. } => self.expr(value, how, later),
            ExprKind::Unary { operand, .. } => self.look(operand),
            ExprKind::Binary { .. } => self.spine(id, how, later),
            ExprKind::If { choices, otherwise } => {
                let whole = program[id].span;
                let choose = |walker: &mut Self, value: ExprId| {
                    walker.branch(whole, program[value].span, |walker| walker.expr(value, how, later));
                };
                for choice in &program[choices] {
                    self.look(choice.cond);
                    choose(self, choice.value);
                }
                if let Some(value) = otherwise {
                    choose(self, value);
                }
            }
            ExprKind::List(items) => program[items].iter().for_each(|&item| self.store(item)),
            ExprKind::Map(entries) => {
                for entry in &program[entries] {
                    if let MapKey::Expr(key) = entry.key {
                        self.keep(key);
                    }
                    self.store(entry.value);
                }
            }
            ExprKind::Struct { fields, .. } | ExprKind::Generate { fields, .. } => {
                for field in &program[fields] {
                    self.store(field.value);
                }
            }
            ExprKind::Fun(fun) => self.fun(fun),
            ExprKind::Match { subject, arms } => {
                self.expr(subject, Use::Look, Effect::ANY);
                let arms = &program[arms];
                let span = |body: Body| match body {
                    Body::Expr(value) => program[value].span,
                    Body::Block(block) => block.span,
                };
                // The subject is looked at while an arm runs.
                let whole = Span { start: program[subject].span.end, ..program[id].span };
                for arm in arms {
                    self.branch(whole, span(arm.body), |walker| match arm.body {
                        Body::Expr(value) => walker.expr(value, how, later),
                        Body::Block(block) => {
                            walker.block(block);
                            if let Some(&last) = program[block.stmts].last()
                                && let StmtKind::Expr(value) = program[last].kind
                            {
                                walker.expr(value, how, later);
                            }
                        }
                    });
                }
            }
            ExprKind::Fetch { url, with } => {
                self.look(url);
                self.maybe(with);
            }
            ExprKind::Load { with, .. } => self.maybe(with),
            ExprKind::Save { value, with, .. } => {
                self.look(value);
                self.maybe(with);
            }
        }
    }

    fn keep_all(&mut self, ids: &[ExprId]) {
        for &id in ids {
            self.keep(id);
        }
    }

    fn spine(&mut self, id: ExprId, how: Use, later: Effect) {
        if let (true, Some(&(list, right))) = (self.types.in_place[id.index()], self.sums.get(&id)) {
            if let Some(bind) = self.variable(list) {
                self.keeps(bind);
            }
            self.look(list);
            return match self.program[right].kind {
                ExprKind::List(items) => self.keep_all(&self.program[items]),
                _ => self.look(right),
            };
        }
        let spine = self.program.binary_spine(id);
        let passes = |op: BinaryOp| matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Coalesce);
        for (at, link) in spine.links.iter().enumerate() {
            let value = passes(link.op);
            let (operand_use, while_waiting) = if value { (how, later) } else { (Use::Look, Effect::NONE) };
            if at == 0 {
                self.expr(spine.first, operand_use, while_waiting | self.effect(link.right));
            }
            // A right operand is passed on only if nothing is made of it further up.
            let last = spine.links[at + 1..].first().is_none_or(|next| passes(next.op));
            let operand_use = if last { operand_use } else { Use::Look };
            self.expr(link.right, operand_use, while_waiting);
        }
    }

    fn call(&mut self, id: ExprId, callee: ExprId, args: &[ExprId], how: Use, later: Effect) {
        let program = self.program;
        // What is evaluated after each argument, and the call itself.
        let mut after = vec![Effect::NONE; args.len()];
        let mut found = Effect::NONE;
        for (index, &arg) in args.iter().enumerate().rev() {
            after[index] = found;
            found = found | self.effect(arg);
        }
        match program[callee].kind {
            ExprKind::Name(_) => {}
            ExprKind::Field { base, .. } => self.expr(base, Use::Look, found),
            _ => self.look(callee),
        }
        match self.types.call(id) {
            CallKind::Direct(fun) | CallKind::Method(fun) | CallKind::Sibling(fun) => {
                let params = &program[program[fun].params];
                for (index, &arg) in args.iter().enumerate() {
                    let how = params.get(index).map_or(Use::Look, |&param| Use::Pass(param, fun));
                    self.expr(arg, how, after[index]);
                }
            }
            CallKind::Builtin(builtin @ (Builtin::Append | Builtin::Push)) => {
                let _ = builtin;
                if let [list, item, ..] = *args {
                    let place = place_of(program, list);
                    if let Some(bind) = self.variable(place)
                        && self.continued.take() != Some(id)
                    {
                        self.keeps(bind);
                        if self.hands_over(place).is_some() && !self.effect(item).statements {
                            self.types.in_place[id.index()] = true;
                        }
                    }
                    let replaced = self.types.in_place[id.index()];
                    // A place whose reference the result replaces may change while the value is evaluated; any other may not.
                    self.expr(list, Use::Look, if replaced { Effect::NONE } else { after[0] });
                    let fresh = matches!(
                        program[list].kind,
                        ExprKind::Call { .. } | ExprKind::List(_) | ExprKind::Slice { .. }
                    ) && !self.hands_out(list);
                    if fresh {
                        self.types.in_place[id.index()] = true;
                    }
                    self.keep(item);
                    for &rest in &args[2..] {
                        self.look(rest);
                    }
                } else {
                    self.keep_all(args);
                }
            }
            CallKind::Builtin(builtin) => match builtin.info().retains {
                Retains::Nothing | Retains::Elements => {
                    for (index, &arg) in args.iter().enumerate() {
                        self.expr(arg, Use::Look, after[index]);
                    }
                }
                Retains::Arguments => self.keep_all(args),
            },
            CallKind::Closure { .. }
            | CallKind::Dynamic { .. }
            | CallKind::Partial(_)
            | CallKind::PartialMethod(_)
            | CallKind::DynamicMethod
            | CallKind::BuiltinMethod
            | CallKind::Extern
            | CallKind::Undefined => self.keep_all(args),
            CallKind::Construct(_) => args.iter().for_each(|&arg| self.store(arg)),
        }
        // What functions of the program do not give is marked by them.
        if let Some(places) = self.given_by_call(id) {
            match how {
                Use::Look => {}
                Use::Pass(param, fun) => {
                    self.passed.push((id, param, !self.danger[fun.index()].meets(places)));
                }
                Use::Lend(bind) => self.passed.push((id, bind, true)),
                Use::Keep | Use::Store | Use::Return => self.share(id),
            }
            if later.grows.meets(places) {
                self.share(id);
            }
        } else if self.hands_out(id) && (how != Use::Look || !later.grows.is_empty()) {
            self.share(id);
        }
    }

    /// Whether a call may give a list that something else holds. Functions of the program mark what they return, but for those
    /// that [give](Walker::find_givers) it.
    fn hands_out(&self, id: ExprId) -> bool {
        match self.types.call(id) {
            CallKind::Direct(fun) | CallKind::Method(fun) | CallKind::Sibling(fun) => {
                self.gives[fun.index()].is_some()
            }
            CallKind::Builtin(builtin) => matches!(
                builtin,
                Builtin::First
                    | Builtin::Min
                    | Builtin::Max
                    | Builtin::Reduce
                    | Builtin::Eval
                    | Builtin::Print
            ),
            CallKind::BuiltinMethod | CallKind::DynamicMethod | CallKind::Extern => true,
            _ => false,
        }
    }

    fn finish(mut self) {
        // The variables of fields refer to what the fields hold, which may be appended to in place meanwhile.
        for index in 0..self.borrows.len() {
            let info = self.resolution.bind(BindId::new(index));
            let fun = info.fun.map_or(self.program.funs.len(), FunId::index);
            let bind = BindId::new(index);
            let field = || self.table.places(self.types, self.step_of(bind), self.types.bind(bind));
            if info.source != BindSource::Tree && self.danger[fun].meets(field()) {
                self.borrows[index] = false;
            }
        }
        let mut next: Vec<Vec<BindId>> = vec![Vec::new(); self.borrows.len()];
        for &(param, bind) in &self.follows {
            next[param.index()].push(bind);
        }
        let mut work: Vec<usize> = (0..self.borrows.len()).filter(|&index| !self.borrows[index]).collect();
        while let Some(index) = work.pop() {
            for &bind in &next[index] {
                if std::mem::replace(&mut self.borrows[bind.index()], false) {
                    work.push(bind.index());
                }
            }
        }
        for (id, param, safe) in std::mem::take(&mut self.passed) {
            if !safe || !self.borrows[param.index()] {
                self.share(id);
            }
        }
        self.types.borrowed = self.borrows;
    }
}

/// The place in `place ?? []`; any other expression is itself.
fn place_of(program: &Program, id: ExprId) -> ExprId {
    match program[id].kind {
        ExprKind::Binary { op: BinaryOp::Coalesce, left, right, .. } if matches!(program[right].kind, ExprKind::List(items) if items.is_empty()) => {
            left
        }
        _ => id,
    }
}

/// Whether no other function assigns a variable.
fn is_unmoved(info: &BindInfo) -> bool {
    info.storage == Storage::Register || info.assignments == 0
}

/// Whether an expression names a field or an element.
fn is_part(program: &Program, id: ExprId) -> bool {
    matches!(program[id].kind, ExprKind::Field { .. } | ExprKind::Index { .. })
}

/// The values that `if` chooses from, or the expression itself.
fn leaves(program: &Program, id: ExprId) -> Vec<ExprId> {
    let mut found = Vec::new();
    let mut todo = vec![id];
    while let Some(id) = todo.pop() {
        match program[id].kind {
            ExprKind::If { choices, otherwise } => {
                todo.extend(program[choices].iter().map(|choice| choice.value));
                todo.extend(otherwise);
            }
            _ => found.push(id),
        }
    }
    found
}

/// The function that each node belongs to; the number of functions stands for the main function.
struct Owners {
    exprs: Vec<u32>,
    stmts: Vec<u32>,
}

fn owners(program: &Program) -> Owners {
    // Functions nest, so the innermost one whose span holds a node is the owner. Both are visited in the order of the text.
    let main = program.funs.len() as u32;
    let mut funs: Vec<(u32, u32, u32)> = program
        .funs
        .iter()
        .enumerate()
        .map(|(index, fun)| (fun.span.start, fun.span.end, index as u32))
        .collect();
    funs.sort_by_key(|&(start, end, _)| (start, std::cmp::Reverse(end)));
    let assign = |starts: Vec<u32>| {
        let mut order: Vec<u32> = (0..starts.len() as u32).collect();
        order.sort_unstable_by_key(|&index| starts[index as usize]);
        let mut owners = vec![main; starts.len()];
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut next = 0;
        for index in order {
            let at = starts[index as usize];
            while next < funs.len() && funs[next].0 <= at {
                let (start, end, fun) = funs[next];
                while open.last().is_some_and(|&(open_end, _)| open_end <= start) {
                    open.pop();
                }
                open.push((end, fun));
                next += 1;
            }
            while open.last().is_some_and(|&(end, _)| end <= at) {
                open.pop();
            }
            owners[index as usize] = open.last().map_or(main, |&(_, fun)| fun);
        }
        owners
    };
    Owners {
        exprs: assign(program.exprs.iter().map(|expr| expr.span.start).collect()),
        stmts: assign(program.stmts.iter().map(|stmt| stmt.span.start).collect()),
    }
}

/// The operands that are evaluated when an expression is, bodies of functions and arms of blocks left out.
fn for_each_child(program: &Program, id: ExprId, visit: &mut impl FnMut(ExprId)) {
    let mut all = |ids: &[ExprId]| ids.iter().for_each(|&id| visit(id));
    match program[id].kind {
        ExprKind::Error
        | ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::None
        | ExprKind::Name(_)
        | ExprKind::Fun(_)
        | ExprKind::Query(_)
        | ExprKind::Logic(_) => {}
        ExprKind::Field { base, .. } => all(&[base]),
        ExprKind::Index { base, index, .. } => all(&[base, index]),
        ExprKind::Slice { base, start, end, step } => {
            all(&[base]);
            [start, end, step].iter().flatten().for_each(|&id| all(&[id]));
        }
        ExprKind::Call { callee, args } => {
            all(&[callee]);
            all(&program[args]);
        }
        ExprKind::Cast { value, .. } => all(&[value]),
        ExprKind::Unary { operand, .. } => all(&[operand]),
        ExprKind::Binary { left, right, .. } => all(&[left, right]),
        ExprKind::If { choices, otherwise } => {
            program[choices].iter().for_each(|choice| all(&[choice.cond, choice.value]));
            otherwise.iter().for_each(|&id| all(&[id]));
        }
        ExprKind::List(items) => all(&program[items]),
        ExprKind::Map(entries) => {
            for entry in &program[entries] {
                if let MapKey::Expr(key) = entry.key {
                    all(&[key]);
                }
                all(&[entry.value]);
            }
        }
        ExprKind::Struct { fields, .. } | ExprKind::Generate { fields, .. } => {
            program[fields].iter().for_each(|field| all(&[field.value]));
        }
        ExprKind::Match { subject, arms } => {
            all(&[subject]);
            for arm in &program[arms] {
                if let Body::Expr(value) = arm.body {
                    all(&[value]);
                }
            }
        }
        ExprKind::Fetch { url, with } => {
            all(&[url]);
            with.iter().for_each(|&id| all(&[id]));
        }
        ExprKind::Load { with, .. } => with.iter().for_each(|&id| all(&[id])),
        ExprKind::Save { value, with, .. } => {
            all(&[value]);
            with.iter().for_each(|&id| all(&[id]));
        }
    }
}
