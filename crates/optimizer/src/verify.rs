//! The verifier: what every function keeps to between passes.
//!
//! [`verify`] runs after the builder and after each pass in debug builds, and tests run it on everything. It needs nothing of the
//! function but that its tables exist: whatever a pass may have written there, it gives an error and does not panic. An error names the
//! block, the instruction as text and the [`Rule`].
//!
//! Rules hold for all blocks of the layout; definitions need to dominate uses, and collections are looked at, only in
//! blocks that can be reached. Predecessors and dominators are computed here and not by `cfg.rs`, which trusts the function.
//!
//! What is not checked: that `fixed` ops stand behind their checks, and that frame states name what the interpreter
//! will read. Tests compare runs for that.

use cranelift_entity::{EntitySet, SecondaryMap};

use crate::helper::{Helper, Param};
use crate::ir::*;
use crate::text::{Meaning, meaning, print_inst};

use upshift_runtime::value::Value as Cell;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A rule.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Rule { $($(#[$doc])* $name,)* }
        impl Rule {
            /// All rules.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];
            /// As errors name it.
            pub const fn text(self) -> &'static str { match self { $(Rule::$name => $text,)* } }
        }
    };
}

rules! {
    /// The layout begins with the entry, to which nothing leads, and names blocks and instructions once; a block stands behind its
    /// immediate dominator.
    Layout "layout";
    /// A block ends in a terminator and has none before.
    Terminator "terminator";
    /// Targets are in the layout, as many as the op has, with the arguments that the parameters want.
    Target "target";
    /// Operands are those of the row.
    Operands "operands";
    /// An instruction defines what its row says.
    Result "result";
    /// A value is defined in one place, which is the one that its entry names.
    Definition "definition";
    /// A definition dominates its uses.
    Dominance "dominance";
    /// What may leave has a frame state, nothing else has one. States hold no pointers, and their parents form no cycle.
    State "state";
    /// Ops that need a site have one, others have none.
    Site "site";
    /// Loads and stores have an access, others have none; what is stored has its type.
    Access "access";
    /// Only frame states and virtual objects name a virtual object.
    Virtual "virtual";
    /// The immediate is one that the op may have.
    Immediate "immediate";
    /// No pointer is used behind a collection that came after its definition.
    Pointer "pointer";
    /// A collecting instruction's frame state names each cell that may be an object and is used afterwards.
    Collection "collection";
}

/// Checks all rules.
pub fn verify(func: &Function) -> Result<(), String> {
    let mut v = Verifier { func, places: SecondaryMap::new(), in_layout: EntitySet::new() };
    v.structure()?;
    v.definitions()?;
    for &block in &func.layout {
        for &inst in &func.blocks[block].insts {
            v.operands(block, inst)?;
            v.attributes(block, inst)?;
            v.immediate(block, inst)?;
            v.targets(block, inst)?;
        }
    }
    let graph = Graph::new(func);
    v.order(&graph)?;
    v.dominance(&graph)?;
    v.collections(&graph)
}

type Checked = Result<(), String>;

/// The block and the position in it where a value comes to be; parameters stand at 0, instructions behind them.
#[derive(Clone, Copy, Default)]
struct Place {
    defined: Option<(Block, u32)>,
}

struct Verifier<'a> {
    func: &'a Function,
    /// Where the values are defined.
    places: SecondaryMap<Value, Place>,
    in_layout: EntitySet<Block>,
}

impl Verifier<'_> {
    fn fail<T>(&self, block: Block, inst: Inst, rule: Rule, message: impl AsRef<str>) -> Result<T, String> {
        let text = print_inst(self.func, inst);
        Err(format!("{block}, `{text}`: {} [{}]", message.as_ref(), rule.text()))
    }

    fn fail_block<T>(&self, block: Block, rule: Rule, message: impl AsRef<str>) -> Result<T, String> {
        Err(format!("{block}: {} [{}]", message.as_ref(), rule.text()))
    }

    fn exists(&self, value: Value) -> bool {
        self.func.values.is_valid(value)
    }

    // ---- Each by itself ----

    fn structure(&mut self) -> Checked {
        let func = self.func;
        let mut seen: EntitySet<Inst> = EntitySet::new();
        if func.layout.is_empty() {
            return Err(format!("the layout is empty [{}]", Rule::Layout.text()));
        }
        for &block in &func.layout {
            if !func.blocks.is_valid(block) {
                return self.fail_block(block, Rule::Layout, "there is no such block");
            }
            if !self.in_layout.insert(block) {
                return self.fail_block(block, Rule::Layout, "stands twice in the layout");
            }
            let insts = &func.blocks[block].insts;
            for (i, &inst) in insts.iter().enumerate() {
                let Some(data) = func.insts.get(inst) else {
                    return self.fail_block(block, Rule::Layout, format!("{inst} does not exist"));
                };
                if !seen.insert(inst) {
                    return self.fail(block, inst, Rule::Layout, "stands twice in the layout");
                }
                if data.op.info().terminator && i + 1 < insts.len() {
                    return self.fail(block, inst, Rule::Terminator, "stands before the end of its block");
                }
                if let Some(site) = data.site.expand()
                    && !func.sites.is_valid(site)
                {
                    return self.fail(block, inst, Rule::Site, "the site does not exist");
                }
                self.states(block, inst, data)?;
            }
            if func.terminator(block).is_none() {
                return self.fail_block(block, Rule::Terminator, "does not end in a terminator");
            }
        }
        let entry = func.entry();
        for &block in &func.layout {
            let Some(inst) = func.terminator(block) else { continue };
            if func.insts[inst].targets.iter().any(|t| t.block == entry) {
                return self.fail(block, inst, Rule::Layout, "leads to the entry");
            }
        }
        let (slots, params) = (func.params.len(), func.blocks[entry].params.len());
        if slots != 0 && slots != params {
            let message = format!("has {params} parameters, which stand in {slots} slots");
            return self.fail_block(entry, Rule::Layout, message);
        }
        Ok(())
    }

    fn states(&self, block: Block, inst: Inst, data: &InstData) -> Checked {
        let mut next = data.state.expand();
        // A chain longer than the table goes in a circle.
        for _ in 0..=self.func.states.len() {
            let Some(state) = next else { return Ok(()) };
            let Some(data) = self.func.states.get(state) else {
                return self.fail(block, inst, Rule::State, format!("{state} does not exist"));
            };
            for &(slot, value) in &data.slots {
                if !self.exists(value) {
                    let message = format!("slot {slot} of {state} holds {value}, which does not exist");
                    return self.fail(block, inst, Rule::State, message);
                }
                if self.func.ty(value) == Type::Ptr {
                    let message = format!("slot {slot} of {state} holds the pointer {value}");
                    return self.fail(block, inst, Rule::State, message);
                }
            }
            next = data.parent.expand();
        }
        self.fail(block, inst, Rule::State, "the state is its own parent")
    }

    fn definitions(&mut self) -> Checked {
        let func = self.func;
        for &block in &func.layout {
            let data = &func.blocks[block];
            for (i, &param) in data.params.iter().enumerate() {
                let def = func.values.get(param).map(|v| v.def);
                if def != Some(Def::Param(block, i as u32)) {
                    let message = format!("{param} says that it is no parameter {i} of this block");
                    return self.fail_block(block, Rule::Definition, message);
                }
                self.places[param].defined = Some((block, 0));
            }
            for (i, &inst) in data.insts.iter().enumerate() {
                let data = &func.insts[inst];
                let wanted = func.result_type(data);
                let Some(result) = data.result.expand() else {
                    match wanted {
                        None => continue,
                        Some(ty) => {
                            let message = format!("defines no value, but the op gives {}", ty.name());
                            return self.fail(block, inst, Rule::Result, message);
                        }
                    }
                };
                let Some(value) = func.values.get(result) else {
                    return self.fail(block, inst, Rule::Definition, format!("{result} does not exist"));
                };
                if value.def != Def::Inst(inst) {
                    let message = format!("{result} says that it is defined elsewhere");
                    return self.fail(block, inst, Rule::Definition, message);
                }
                if Some(value.ty) != wanted {
                    let wanted = wanted.map_or("nothing", Type::name);
                    let message = format!("{result} is {}, but the op gives {wanted}", value.ty.name());
                    return self.fail(block, inst, Rule::Result, message);
                }
                self.places[result].defined = Some((block, i as u32 + 1));
            }
        }
        Ok(())
    }

    fn operands(&self, block: Block, inst: Inst) -> Checked {
        let func = self.func;
        let data = &func.insts[inst];
        if let Some(v) = data.args.iter().find(|&&v| !self.exists(v)) {
            return self.fail(block, inst, Rule::Operands, format!("{v} does not exist"));
        }
        let passed = data.targets.iter().flat_map(|t| &t.args);
        let mut needed = passed.chain(data.args.iter().filter(|_| data.op != Op::Virtual));
        if let Some(v) = needed.find(|&&v| self.exists(v) && func.virtual_words(v).is_some()) {
            return self.fail(block, inst, Rule::Virtual, format!("needs {v}, which is never made"));
        }
        let (mut row, mut any_number) = (data.op.info().operands, false);
        if let [first @ .., Operand::Rest] = row {
            (row, any_number) = (first, true);
        }
        if data.args.len() < row.len() || (data.args.len() > row.len() && !any_number) {
            let least = if any_number { "at least " } else { "" };
            let message = format!("has {} operands instead of {least}{}", data.args.len(), row.len());
            return self.fail(block, inst, Rule::Operands, message);
        }
        for (&operand, &value) in row.iter().zip(&data.args) {
            let ty = func.ty(value);
            let (fits, wanted) = match operand {
                Operand::Of(wanted) => (ty == wanted, wanted.name()),
                Operand::Base => (matches!(ty, Type::Cell | Type::Ptr), "cell or ptr"),
                Operand::Any | Operand::Rest => (true, ""),
            };
            if !fits {
                let message = format!("{value} is {} instead of {wanted}", ty.name());
                return self.fail(block, inst, Rule::Operands, message);
            }
        }
        match data.op {
            Op::Return => self.types(block, inst, func.result.as_slice()),
            // Arguments of a call stand in slots of the window, the closure of a closure's call too.
            Op::Call | Op::CallClosure => match data.site.expand() {
                Some(site) if func.sites[site].params.len() != data.args.len() => {
                    let message =
                        format!("{site} has {} slots for the operands", func.sites[site].params.len());
                    self.fail(block, inst, Rule::Operands, message)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The operands have these types.
    fn types(&self, block: Block, inst: Inst, wanted: &[Type]) -> Checked {
        let types: Vec<Type> = self.func.insts[inst].args.iter().map(|&v| self.func.ty(v)).collect();
        if types == wanted {
            return Ok(());
        }
        let names = |types: &[Type]| types.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ");
        let message = format!("has operands [{}] instead of [{}]", names(&types), names(wanted));
        self.fail(block, inst, Rule::Operands, message)
    }

    /// State, site and access.
    fn attributes(&self, block: Block, inst: Inst) -> Checked {
        let data = &self.func.insts[inst];
        let info = data.op.info();
        match (info.leaves, data.state.is_some()) {
            (true, false) => return self.fail(block, inst, Rule::State, "has no frame state"),
            (false, true) => {
                return self.fail(block, inst, Rule::State, "has a frame state, but never leaves");
            }
            _ => {}
        }
        match (info.site, data.site.is_some()) {
            (true, false) => return self.fail(block, inst, Rule::Site, "has no site"),
            (false, true) => return self.fail(block, inst, Rule::Site, "has a site, but the op uses none"),
            _ => {}
        }
        let needed = matches!(meaning(data.op), Meaning::Offset | Meaning::Element);
        let access = match (needed, data.access) {
            (true, None) => return self.fail(block, inst, Rule::Access, "has no access"),
            (false, Some(_)) => {
                return self.fail(block, inst, Rule::Access, "has an access, but the op uses none");
            }
            (_, access) => access,
        };
        if let Some(access) = access
            && info.stores
            && let Some(&stored) = data.args.last()
            && self.func.ty(stored) != access.width.ty()
        {
            let message = format!("{stored} is {}", self.func.ty(stored).name());
            return self.fail(block, inst, Rule::Access, message);
        }
        Ok(())
    }

    fn immediate(&self, block: Block, inst: Inst) -> Checked {
        let data = &self.func.insts[inst];
        let imm = data.imm;
        let number = usize::try_from(imm).unwrap_or(usize::MAX);
        let fail = |message: &str| self.fail(block, inst, Rule::Immediate, message);
        match meaning(data.op) {
            Meaning::Int | Meaning::Float | Meaning::Header | Meaning::Place => Ok(()),
            Meaning::Nothing if imm != 0 => fail("has an immediate, but the op uses none"),
            Meaning::Nothing => Ok(()),
            Meaning::Cell if Cell::from_bits(imm as u64).is_object() => fail("is an address"),
            Meaning::Cell => Ok(()),
            Meaning::Cond => match Cond::ALL.get(number) {
                None => fail("is no condition"),
                Some(Cond::Ult | Cond::Ule | Cond::Ugt | Cond::Uge) if data.op == Op::Fcmp => {
                    fail("is a condition of ints")
                }
                Some(_) => Ok(()),
            },
            Meaning::Natural if number > 1 => fail("is neither 0 nor 1"),
            Meaning::Natural => Ok(()),
            Meaning::Reason if number >= Reason::ALL.len() => fail("is no reason"),
            Meaning::Reason => Ok(()),
            // Machine instructions have so many bits for it.
            Meaning::Offset | Meaning::Element if i32::try_from(imm).is_err() => {
                fail("is too large an offset")
            }
            Meaning::Offset | Meaning::Element => Ok(()),
            Meaning::Number if u32::try_from(imm).is_err() => fail("is out of range"),
            Meaning::Number => Ok(()),
            Meaning::Helper => {
                let Some(helper) = Helper::ALL.get(number) else { return fail("is no helper") };
                let params = helper.info().params.iter().filter_map(|p| match p {
                    Param::Context => None,
                    Param::Of(ty) => Some(*ty),
                });
                self.types(block, inst, &params.collect::<Vec<_>>())?;
                let result = match data.site.expand() {
                    Some(site) => self.func.sites[site].result,
                    None => Some(Type::Float),
                };
                if helper.info().result == result { Ok(()) } else { fail("is a helper with another result") }
            }
            Meaning::Cases => match self.func.cases.get(number) {
                None => fail("has no cases"),
                Some(cases) if cases.len() + 1 != data.targets.len() => {
                    fail(&format!("has {} cases and {} targets", cases.len(), data.targets.len()))
                }
                Some(_) => Ok(()),
            },
        }
    }

    fn targets(&self, block: Block, inst: Inst) -> Checked {
        let func = self.func;
        let data = &func.insts[inst];
        let fail = |message: &str| self.fail(block, inst, Rule::Target, message);
        let count = data.targets.len();
        let fits = match data.op {
            Op::Jump => count == 1,
            Op::Branch => count == 2,
            Op::Switch => count >= 1,
            _ => count == 0,
        };
        if !fits {
            return fail(&format!("has {count} targets"));
        }
        for target in &data.targets {
            if !self.in_layout.contains(target.block) {
                return fail(&format!("{} is not in the layout", target.block));
            }
            let params = &func.blocks[target.block].params;
            if target.args.len() != params.len() {
                let (block, given) = (target.block, target.args.len());
                return fail(&format!("{block} has {} parameters and gets {given} arguments", params.len()));
            }
            for (&arg, &param) in target.args.iter().zip(params) {
                if !self.exists(arg) {
                    return fail(&format!("{arg} does not exist"));
                }
                let (given, wanted) = (func.ty(arg), func.ty(param));
                if given != wanted {
                    return fail(&format!("{arg} is {}, {param} is {}", given.name(), wanted.name()));
                }
            }
        }
        Ok(())
    }

    // ---- Along the paths ----

    fn order(&self, graph: &Graph) -> Checked {
        let mut seen = EntitySet::new();
        for &block in &self.func.layout {
            if let Some(dominator) = graph.immediate(block)
                && !seen.contains(dominator)
            {
                let message = format!("stands before {dominator}, which dominates it");
                return self.fail_block(block, Rule::Layout, message);
            }
            seen.insert(block);
        }
        Ok(())
    }

    fn dominance(&self, graph: &Graph) -> Checked {
        let func = self.func;
        for &block in &graph.order {
            for (i, &inst) in func.blocks[block].insts.iter().enumerate() {
                let mut bad = None;
                each_use(func, inst, |value| {
                    let dominates = match self.places[value].defined {
                        None => false,
                        Some((b, at)) if b == block => at <= i as u32,
                        Some((b, _)) => graph.dominates(b, block),
                    };
                    if !dominates {
                        bad.get_or_insert(value);
                    }
                });
                if let Some(value) = bad {
                    let message = match self.places[value].defined {
                        None => format!("{value} is defined nowhere"),
                        Some((b, _)) if b == block => format!("{value} is defined only behind this"),
                        Some((b, _)) => format!("{value}, defined in {b}, is not defined on every way here"),
                    };
                    return self.fail(block, inst, Rule::Dominance, message);
                }
            }
        }
        Ok(())
    }

    /// Pointers and cells at collections: backward liveness of the values that a collection matters to.
    fn collections(&self, graph: &Graph) -> Checked {
        let func = self.func;
        let insts = || graph.order.iter().flat_map(|&b| &func.blocks[b].insts).copied();
        if !insts().any(|i| collects(func, i)) {
            return Ok(());
        }
        let watched = self.watched(graph);
        let mut live_in: SecondaryMap<Block, Bits> = SecondaryMap::new();
        let live_out = |live_in: &SecondaryMap<Block, Bits>, block: Block| {
            let mut live = Bits::new(watched.values.len());
            func.successors(block).for_each(|s| live.add_all(&live_in[s]));
            live
        };
        let step = |live: &mut Bits, inst: Inst| {
            if let Some(n) = func.insts[inst].result.expand().and_then(|r| watched.numbers[r]) {
                live.remove(n);
            }
            each_use(func, inst, |v| {
                if let Some(n) = watched.numbers[v] {
                    live.add(n);
                }
            });
        };
        // Backward through the order until nothing changes: once for each level of loops, and once to see it.
        let mut changed = true;
        while changed {
            changed = false;
            for &block in graph.order.iter().rev() {
                let mut live = live_out(&live_in, block);
                func.blocks[block].insts.iter().rev().for_each(|&i| step(&mut live, i));
                for &param in &func.blocks[block].params {
                    if let Some(n) = watched.numbers[param] {
                        live.remove(n);
                    }
                }
                changed |= live_in[block] != live;
                live_in[block] = live;
            }
        }
        for &block in &graph.order {
            let mut live = live_out(&live_in, block);
            for &inst in func.blocks[block].insts.iter().rev() {
                if collects(func, inst) {
                    self.collection(block, inst, &watched, &live)?;
                }
                step(&mut live, inst);
            }
        }
        Ok(())
    }

    fn collection(&self, block: Block, inst: Inst, watched: &Watched, live: &Bits) -> Checked {
        let func = self.func;
        let data = &func.insts[inst];
        let mut named = Bits::new(watched.values.len());
        func.each_kept_value(inst, |v| watched.numbers[v].into_iter().for_each(|n| named.add(n)));
        for (n, &value) in watched.values.iter().enumerate() {
            if !live.contains(n) || data.result.expand() == Some(value) {
                continue;
            }
            if func.ty(value) == Type::Ptr {
                let message = format!("the pointer {value} is used after this collects");
                return self.fail(block, inst, Rule::Pointer, message);
            }
            if !named.contains(n) {
                let message =
                    format!("the frame state does not name {value}, which is used after this collects");
                return self.fail(block, inst, Rule::Collection, message);
            }
        }
        Ok(())
    }

    /// The pointers, and the cells that may be objects: all but those that come only from ops that give no object.
    fn watched(&self, graph: &Graph) -> Watched {
        let func = self.func;
        let mut watched = Watched { values: Vec::new(), numbers: SecondaryMap::new() };
        for &block in &graph.order {
            let data = &func.blocks[block];
            // Parameters of cells wait for an argument that is watched; the entry's come from outside.
            for &param in &data.params {
                if func.ty(param) == Type::Ptr || (block == func.entry() && func.ty(param) == Type::Cell) {
                    watched.add(param);
                }
            }
            for &inst in &data.insts {
                let data = &func.insts[inst];
                if let Some(result) = data.result.expand() {
                    match func.ty(result) {
                        Type::Ptr => watched.add(result),
                        Type::Cell if !data.op.info().plain && data.op != Op::SelectCell => {
                            watched.add(result)
                        }
                        Type::Cell | Type::Int | Type::Float => {}
                    }
                }
            }
        }
        let mut changed = true;
        while changed {
            changed = false;
            for &block in &graph.order {
                for &inst in &func.blocks[block].insts {
                    let data = &func.insts[inst];
                    let mut flow = |from: Value, to: Value| {
                        if watched.numbers[from].is_some() && watched.numbers[to].is_none() {
                            watched.add(to);
                            changed = true;
                        }
                    };
                    if let (Op::SelectCell, Some(result)) = (data.op, data.result.expand()) {
                        data.args[1..].iter().for_each(|&arg| flow(arg, result));
                    }
                    for target in &data.targets {
                        let params = &func.blocks[target.block].params;
                        target.args.iter().zip(params).for_each(|(&arg, &param)| flow(arg, param));
                    }
                }
            }
        }
        watched
    }
}

/// Calls `f` for every value that an instruction uses: operands, arguments of targets, what its state names.
fn each_use(func: &Function, inst: Inst, mut f: impl FnMut(Value)) {
    let data = &func.insts[inst];
    data.args.iter().chain(data.targets.iter().flat_map(|t| &t.args)).for_each(|&v| f(v));
    if let Some(state) = data.state.expand() {
        func.each_state_value(state, f);
    }
}

/// Whether an instruction may run the collector.
fn collects(func: &Function, inst: Inst) -> bool {
    let data = &func.insts[inst];
    // Helpers have a site too, and never collect.
    data.op != Op::Helper && data.site.expand().is_some_and(|s| func.sites[s].effects.collects)
}

/// The values whose liveness is looked at, with numbers of their own.
struct Watched {
    values: Vec<Value>,
    numbers: SecondaryMap<Value, Option<usize>>,
}

impl Watched {
    fn add(&mut self, value: Value) {
        self.numbers[value] = Some(self.values.len());
        self.values.push(value);
    }
}

/// A set of numbers. The empty default is equal to no set with room, which makes the first round count as a change.
#[derive(Clone, PartialEq, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Bits {
        Bits(vec![0; count.div_ceil(64).max(1)])
    }
    fn add(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }
    fn remove(&mut self, n: usize) {
        self.0[n / 64] &= !(1 << (n % 64));
    }
    fn contains(&self, n: usize) -> bool {
        self.0[n / 64] >> (n % 64) & 1 != 0
    }
    fn add_all(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
}

/// The reachable blocks in reverse postorder, with dominators by Cooper, Harvey and Kennedy.
struct Graph {
    order: Vec<Block>,
    /// The position in the order; the order's length and more where unreachable.
    positions: SecondaryMap<Block, usize>,
    /// The position of the immediate dominator, by position; the entry's is its own.
    dominators: Vec<usize>,
}

impl Graph {
    fn new(func: &Function) -> Graph {
        let mut order = Vec::new();
        let mut seen = EntitySet::new();
        let entry = func.entry();
        seen.insert(entry);
        let mut stack = vec![(entry, func.successors(entry))];
        while let Some((block, successors)) = stack.last_mut() {
            match successors.next() {
                Some(next) => {
                    if seen.insert(next) {
                        stack.push((next, func.successors(next)));
                    }
                }
                None => {
                    order.push(*block);
                    stack.pop();
                }
            }
        }
        order.reverse();
        let mut positions = SecondaryMap::with_default(usize::MAX);
        order.iter().enumerate().for_each(|(i, &b)| positions[b] = i);
        let mut predecessors = vec![Vec::new(); order.len()];
        for (i, &block) in order.iter().enumerate() {
            func.successors(block).for_each(|s| predecessors[positions[s]].push(i));
        }
        let mut dominators = vec![usize::MAX; order.len()];
        dominators[0] = 0;
        let mut changed = true;
        while changed {
            changed = false;
            for i in 1..order.len() {
                let known = predecessors[i].iter().copied().filter(|&p| dominators[p] != usize::MAX);
                let common = known.reduce(|mut a, mut b| {
                    while a != b {
                        if a > b {
                            a = dominators[a];
                        } else {
                            b = dominators[b];
                        }
                    }
                    a
                });
                if let Some(common) = common
                    && dominators[i] != common
                {
                    dominators[i] = common;
                    changed = true;
                }
            }
        }
        Graph { order, positions, dominators }
    }

    /// The immediate dominator; `None` for the entry and what is not reachable.
    fn immediate(&self, block: Block) -> Option<Block> {
        let at = self.positions[block];
        (at != 0 && at < self.order.len()).then(|| self.order[self.dominators[at]])
    }

    /// Whether every way to `b`, which is reachable, comes through `a`.
    fn dominates(&self, a: Block, b: Block) -> bool {
        let (a, mut b) = (self.positions[a], self.positions[b]);
        while b > a {
            b = self.dominators[b];
        }
        a == b
    }
}

#[cfg(test)]
mod tests;
