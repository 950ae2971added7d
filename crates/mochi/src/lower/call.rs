//! Calls.
//!
//! Arguments go into the window, where the callee finds them. The window is not scanned by the collector and every call
//! reuses it, so an argument may be evaluated straight into its slot only if nothing behind it calls, and for cells, if nothing
//! behind it collects; others wait in temporaries and are moved when all are done.

use upshift_bytecode::builder::{FunctionBuilder, Label, Reg};
use upshift_bytecode::{ANY, Bank, CellType, FuncId, HeapType, Kind, ValueType};

use super::body::{Body, Val};
use super::expr::{ALLOCS, Argument, BRANCHES, CALLS};
use super::{Lowerer, POLICY};
use crate::builtins::Builtin;
use crate::infer::{CallKind, Ty, TyId, TyKind};
use crate::library::PARTIAL_KIND;
use crate::resolve::{CtorId, Resolved, StructId};
use crate::syntax::ast::{BindId, ExprId, ExprKind, FunId, List, Name};

/// What a partial application waits to call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Awaited {
    /// A function of the program.
    Function(FunId),
    /// The value of a function type.
    Value(TyId),
}

/// What converting a value between two types may do.
fn conversion_flags(cx: &Lowerer<'_>, from: TyId, to: TyId) -> u8 {
    if from == to {
        return 0;
    }
    match (cx.value(from), cx.value(to)) {
        (ValueType::Int, ValueType::Float) => 0,
        (ValueType::Int, ValueType::Cell(_))
            if matches!(cx.types.get(to).kind, TyKind::Any | TyKind::Int) =>
        {
            ALLOCS
        }
        (ValueType::Bool | ValueType::Float, ValueType::Cell(_))
            if matches!(cx.types.get(to).kind, TyKind::Any | TyKind::Bool | TyKind::Float) =>
        {
            0
        }
        (ValueType::Cell(a), ValueType::Cell(b)) if b == ANY || a.id == b.id => 0,
        _ => CALLS | ALLOCS | BRANCHES,
    }
}

impl Body<'_, '_> {
    fn argument_flags(&self, argument: Argument, ty: TyId) -> u8 {
        match argument {
            Argument::Expr(e) => self.cx.flags[e.index()] | conversion_flags(self.cx, self.expr_ty(e), ty),
            Argument::Val(val) => conversion_flags(self.cx, val.ty, ty),
            Argument::Zero => ALLOCS,
        }
    }

    /// Evaluates arguments in order and puts them into the window slots of these types.
    pub fn fill_window(&mut self, arguments: &[Argument], types: &[TyId], environment: bool) {
        let values: Vec<ValueType> = types.iter().map(|&t| self.cx.value(t)).collect();
        let slots = FunctionBuilder::arguments(&values, environment);
        // What is done behind each argument.
        let mut later = vec![0u8; arguments.len() + 1];
        for i in (0..arguments.len()).rev() {
            later[i] = later[i + 1] | self.argument_flags(arguments[i], types[i]);
        }
        let mut waiting: Vec<(usize, Val)> = Vec::new();
        for (i, &argument) in arguments.iter().enumerate() {
            let forbidden = if values[i].is_cell() { CALLS | ALLOCS | BRANCHES } else { CALLS | BRANCHES };
            let safe = later[i + 1] & forbidden == 0;
            match argument {
                Argument::Expr(e) => {
                    let conversion = conversion_flags(self.cx, self.expr_ty(e), types[i]);
                    let narrowed =
                        matches!(self.cx.program[e].kind, ExprKind::Name(_)) && self.cx.flags[e.index()] != 0;
                    if safe && self.writes_once(e) && !narrowed && conversion & (CALLS | BRANCHES) == 0 {
                        self.expr_into(e, types[i], slots[i]);
                    } else {
                        let val = self.expr_as(e, types[i]);
                        let val = if later[i + 1] & BRANCHES != 0 { self.stable(val) } else { val };
                        waiting.push((i, val));
                    }
                }
                Argument::Val(val) => {
                    let val = self.convert(val, types[i]);
                    waiting.push((i, val));
                }
                Argument::Zero => {
                    let val = self.zero(types[i], None);
                    waiting.push((i, val));
                }
            }
        }
        for (i, val) in waiting {
            self.fb.move_value(values[i].bank(), slots[i], val.reg);
            self.done(val);
        }
    }

    /// The arguments as they go to parameters: surplus ones are evaluated, in order, and dropped.
    fn arguments(&mut self, args: &[ExprId], count: usize, types: &[TyId]) -> Vec<Argument> {
        if args.len() <= count {
            let mut arguments: Vec<Argument> = args.iter().copied().map(Argument::Expr).collect();
            arguments.resize(count, Argument::Zero);
            return arguments;
        }
        let mut arguments = Vec::new();
        for (i, &arg) in args.iter().enumerate() {
            if i < count {
                let val = self.expr_as(arg, types[i]);
                arguments.push(Argument::Val(self.owned(val)));
            } else {
                self.effect(arg);
            }
        }
        arguments
    }

    /// A call expression. The value has the callee's result type.
    pub fn call(
        &mut self,
        id: ExprId,
        callee: ExprId,
        args: List<ExprId>,
        ty: TyId,
        dst: Option<Reg>,
    ) -> Val {
        if let ExprKind::Field { base, optional: true, .. } = self.cx.program[callee].kind
            && !self.evaluated.iter().any(|known| known.0 == base)
        {
            return self.call_unless_none(id, base, callee, args, ty);
        }
        let args: Vec<ExprId> = self.cx.program[args].to_vec();
        match self.cx.types.call(id) {
            CallKind::Direct(fun) => self.call_known(fun, Some(callee), None, &args, dst, ty, id),
            CallKind::Method(fun) => {
                let ExprKind::Field { base, .. } = self.cx.program[callee].kind else {
                    return self.undefined(&args);
                };
                let receiver = self.expr(base, None);
                self.call_known(fun, None, Some(receiver), &args, dst, ty, id)
            }
            CallKind::Sibling(fun) => match self.receiver {
                Some(reg) => {
                    let receiver = self.receiver_val(fun, reg);
                    self.call_known(fun, None, Some(receiver), &args, dst, ty, id)
                }
                None => self.undefined(&args),
            },
            CallKind::Partial(fun) => self.partial_known(fun, callee, &args, ty),
            CallKind::PartialMethod(fun) => {
                let receiver = match (self.cx.program[callee].kind, self.receiver) {
                    (ExprKind::Field { base, .. }, _) => self.expr(base, None),
                    (_, Some(reg)) => self.receiver_val(fun, reg),
                    (_, None) => return self.undefined(&args),
                };
                self.partial_method(fun, receiver, &args, ty)
            }
            CallKind::Closure { bind, ty: fun_ty, partial } => {
                let function = self.callee_value(bind, callee);
                if partial {
                    return self.partial_closure(function, fun_ty, &args, ty);
                }
                self.call_closure(function, fun_ty, &args, dst, ty, id)
            }
            CallKind::Dynamic { bind, fallback } => self.call_dynamic(id, bind, fallback, callee, &args),
            CallKind::DynamicMethod => self.dynamic_method(id, callee, &args),
            CallKind::BuiltinMethod => self.builtin_method(id, callee, &args, ty),
            CallKind::Builtin(builtin) => self.builtin(id, builtin, &args, ty, dst),
            CallKind::Construct(ctor) => self.construct(ctor, &args),
            CallKind::Extern => self.extern_call(callee, &args, ty),
            CallKind::Undefined => self.undefined(&args),
        }
    }

    /// `base?.name(args)`: none where the base is, and then the arguments are not evaluated.
    fn call_unless_none(
        &mut self,
        id: ExprId,
        base: ExprId,
        callee: ExprId,
        args: List<ExprId>,
        ty: TyId,
    ) -> Val {
        let object = self.expr(base, None);
        let object = self.owned(object);
        let Ty { kind, nullable } = self.ty(object.ty);
        if kind == TyKind::Null {
            self.done(object);
            return self.null(None);
        }
        let result = self.target(ty, None);
        let (none, end) = (self.fb.label(), self.fb.label());
        let present = self.cx.types.without_null(object.ty).unwrap_or(object.ty);
        let given = if nullable { self.unless_none(object, present, none) } else { object };
        self.evaluated.push((base, Val { temp: false, ..given }));
        let val = self.call(id, callee, args, ty, None);
        self.evaluated.pop();
        self.convert_into(val, ty, result.reg);
        if nullable {
            self.done(given);
            self.fb.jump(end);
            self.fb.bind(none);
            self.fb.load_nil(result.reg);
            self.fb.bind(end);
        }
        self.done(object);
        result
    }

    fn undefined(&mut self, args: &[ExprId]) -> Val {
        for &arg in args {
            self.effect(arg);
        }
        self.null(None)
    }

    fn receiver_val(&mut self, method: FunId, reg: Reg) -> Val {
        let of = self.cx.resolution.fun(method).method_of.unwrap_or(StructId(0));
        let ty = self.cx.types.find(Ty { kind: TyKind::Struct(of), nullable: false }).unwrap_or(TyId::ANY);
        Val { reg, ty, temp: false }
    }

    /// The variable among the candidates of a called name that holds this function.
    fn variable_of(&self, fun: FunId, callee: ExprId) -> Option<BindId> {
        let names = self.cx.resolution.callee(callee)?;
        let candidates = self.cx.resolution.candidates(names);
        let known =
            |b: &&BindId| self.cx.resolution.bind(self.cx.resolution.slot(**b)).known_fun == Some(fun);
        candidates.iter().find(known).copied().or(self.cx.program[fun].bind)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one call")]
    fn call_known(
        &mut self,
        fun: FunId,
        callee: Option<ExprId>,
        receiver: Option<Val>,
        args: &[ExprId],
        dst: Option<Reg>,
        ty: TyId,
        id: ExprId,
    ) -> Val {
        let declared = self.cx.function(fun);
        let closure =
            if declared.environment { callee.map(|callee| self.closure_of(fun, callee)) } else { None };
        let node = self.cx.program[fun];
        let mut types: Vec<TyId> =
            self.cx.program[node.params].iter().map(|&p| self.cx.types.bind(p)).collect();
        let mut arguments = self.arguments(args, types.len(), &types);
        if let Some(receiver) = receiver {
            let of = self.cx.resolution.fun(fun).method_of.unwrap_or(StructId(0));
            let receiver_ty = self.cx.types.find(Ty { kind: TyKind::Struct(of), nullable: false });
            types.insert(0, receiver_ty.unwrap_or(TyId::ANY));
            let receiver = if receiver_ty.is_none() {
                let cell = self.cell_of(HeapType::Record(self.cx.structs[of.index()]));
                self.narrow(receiver, cell)
            } else {
                receiver
            };
            arguments.insert(0, Argument::Val(receiver));
        }
        self.fill_window(&arguments, &types, declared.environment);
        self.span(self.cx.program[id].span);
        let result = self.cx.types.result(fun);
        let wanted = dst.filter(|_| result == ty);
        match closure {
            Some(closure) => {
                let val = self.emit_closure_call(closure.reg, result, wanted);
                self.done(closure);
                val
            }
            None => self.emit_direct_call(declared.id, result, wanted),
        }
    }

    /// A cell in a register of a narrower type, checked.
    fn narrow(&mut self, val: Val, cell: CellType) -> Val {
        let boxed = self.boxed(val);
        let reg = self.fb.cell(cell);
        self.fb.cell_cast(reg, boxed.reg, cell);
        self.done(boxed);
        Val { reg, ty: boxed.ty, temp: true }
    }

    /// The closure of a known function, in a register of its closure type.
    fn closure_of(&mut self, fun: FunId, callee: ExprId) -> Val {
        let declared = self.cx.function(fun);
        let cell = self.cell_of(HeapType::Closure(declared.signature));
        let val = if Some(fun) == self.fun
            && let Some(reg) = self.fb.environment()
        {
            Val { reg, ty: TyId::ANY, temp: false }
        } else if let (ExprKind::Name(_), Some(bind)) =
            (self.cx.program[callee].kind, self.variable_of(fun, callee))
        {
            let ty = self.cx.types.bind(bind);
            self.variable(bind, ty, None)
        } else {
            self.expr(callee, None)
        };
        if self.fb.cell_type(val.reg) == cell { val } else { self.narrow(val, cell) }
    }

    /// Calls a function without environment, its arguments in the window.
    fn emit_direct_call(&mut self, callee: FuncId, result: TyId, wanted: Option<Reg>) -> Val {
        let Some(value) = self.cx.result(result) else {
            self.fb.call_void(callee);
            return self.null(None);
        };
        let val = self.target(result, wanted);
        match value.bank() {
            Bank::Int => self.fb.call_int(val.reg, callee),
            Bank::Float => self.fb.call_float(val.reg, callee),
            Bank::Cell => self.fb.call_cell(val.reg, callee),
        }
        val
    }

    fn emit_closure_call(&mut self, closure: Reg, result: TyId, wanted: Option<Reg>) -> Val {
        let Some(value) = self.cx.result(result) else {
            self.fb.call_closure_void(closure);
            return self.null(None);
        };
        let val = self.target(result, wanted);
        match value.bank() {
            Bank::Int => self.fb.call_closure_int(val.reg, closure),
            Bank::Float => self.fb.call_closure_float(val.reg, closure),
            Bank::Cell => self.fb.call_closure_cell(val.reg, closure),
        }
        val
    }

    /// The function value that is called, of function type `ty`.
    fn callee_value(&mut self, bind: Option<BindId>, callee: ExprId) -> Val {
        match bind {
            Some(bind) => {
                let ty = self.cx.types.bind(bind);
                self.variable(bind, ty, None)
            }
            None => self.expr(callee, None),
        }
    }

    fn call_closure(
        &mut self,
        function: Val,
        fun_ty: TyId,
        args: &[ExprId],
        dst: Option<Reg>,
        ty: TyId,
        id: ExprId,
    ) -> Val {
        let TyKind::Fun(params, result) = self.kind(fun_ty) else { return self.call_any(function, args, id) };
        let types = self.cx.types.params(params).to_vec();
        let cell = CellType { nullable: false, ..self.cx.cell(fun_ty) };
        let function =
            if self.fb.cell_type(function.reg) == cell { function } else { self.narrow(function, cell) };
        let function = if self.cx.reassigned_in_expr { self.copy_cell(function, cell) } else { function };
        let arguments = self.arguments(args, types.len(), &types);
        self.fill_window(&arguments, &types, true);
        self.span(self.cx.program[id].span);
        let val = self.emit_closure_call(function.reg, result, dst.filter(|_| result == ty));
        self.done(function);
        val
    }

    fn copy_cell(&mut self, val: Val, cell: CellType) -> Val {
        if val.temp {
            return val;
        }
        let reg = self.fb.cell(cell);
        self.fb.cell_move(reg, val.reg);
        Val { reg, ty: val.ty, temp: true }
    }

    /// A call of a value of type `any`.
    fn call_any(&mut self, function: Val, args: &[ExprId], id: ExprId) -> Val {
        let function = self.boxed(function);
        let types = vec![TyId::ANY; args.len()];
        let arguments: Vec<Argument> = args.iter().copied().map(Argument::Expr).collect();
        self.fill_window(&arguments, &types, false);
        self.span(self.cx.program[id].span);
        let val = self.emit_dynamic_call(function.reg, args.len());
        self.done(function);
        val
    }

    fn emit_dynamic_call(&mut self, function: Reg, count: usize) -> Val {
        let results = CellType { nullable: true, ..self.cell_of(HeapType::Results) };
        let raw = self.fb.cell(results);
        let site = self.fb.feedback();
        self.fb.cell_call(raw, function, count as u16, POLICY, site);
        let reg = self.fb.cell(ANY);
        self.fb.cell_cast(reg, raw, ANY);
        self.fb.free(raw);
        Val { reg, ty: TyId::ANY, temp: true }
    }

    fn call_dynamic(
        &mut self,
        id: ExprId,
        bind: Option<BindId>,
        fallback: Resolved,
        callee: ExprId,
        args: &[ExprId],
    ) -> Val {
        let function = self.callee_value(bind, callee);
        let others = self.other_candidates(bind, callee);
        let falls_back = matches!(
            fallback,
            Resolved::Function(_) | Resolved::Method(_) | Resolved::Builtin(_) | Resolved::Variant(_)
        );
        if others.is_empty() && !falls_back {
            return self.call_any(function, args, id);
        }
        // The variable may hold no function; then the name means another one.
        let function = self.boxed(function);
        let values: Vec<Val> = args
            .iter()
            .map(|&arg| {
                let val = self.expr_as(arg, TyId::ANY);
                self.owned(val)
            })
            .collect();
        let result = self.target(TyId::ANY, None);
        let end = self.fb.label();
        self.call_if_function(function, &values, result.reg, end);
        for other in others {
            let val = self.variable(other, self.cx.types.bind(other), None);
            let val = self.any(val);
            self.call_if_function(val, &values, result.reg, end);
            self.done(val);
        }
        self.span(self.cx.program[id].span);
        let borrowed: Vec<Val> = values.iter().map(|v| Val { temp: false, ..*v }).collect();
        let direct = match fallback {
            Resolved::Function(fun) => self.call_with_any(fun, &values),
            Resolved::Method(fun) => self.sibling_with_any(fun, &values),
            Resolved::Builtin(builtin) => {
                self.host_typed(&format!("mochi.{}", builtin.name()), &borrowed, TyId::ANY)
            }
            Resolved::Variant(ctor) => self.construct_of(ctor, &borrowed),
            // Nothing of the name can be called, which the first variable is an error for.
            _ => self.call_values(function, &values),
        };
        self.convert_into(direct, TyId::ANY, result.reg);
        self.fb.bind(end);
        for val in values {
            self.done(val);
        }
        self.done(function);
        result
    }

    /// The variables that a called name may mean if one, of type `any`, holds no function: others of type `any`, and then one that
    /// surely holds a function.
    fn other_candidates(&self, bind: Option<BindId>, callee: ExprId) -> Vec<BindId> {
        let mut others = Vec::new();
        let Some(names) = bind.and_then(|_| self.cx.resolution.callee(callee)) else { return others };
        let candidates = self.cx.resolution.candidates(names).iter().copied();
        for other in candidates.skip_while(|&other| Some(other) != bind).skip(1) {
            match self.ty(self.cx.types.bind(other)).kind {
                TyKind::Any => others.push(other),
                TyKind::Fun(..) => {
                    others.push(other);
                    break;
                }
                _ => {}
            }
        }
        others
    }

    /// Calls a value of type `any` and goes on at `end`, if it is a function.
    fn call_if_function(&mut self, function: Val, values: &[Val], result: Reg, end: Label) {
        let (call, next) = (self.fb.label(), self.fb.label());
        let flag = self.fb.int();
        let closure = self.cell_of(HeapType::Function);
        self.fb.cell_test(flag, function.reg, closure);
        self.fb.if_branch(flag, call);
        let waiting = self.cell_of(HeapType::Tuple(PARTIAL_KIND));
        self.fb.cell_test(flag, function.reg, waiting);
        self.fb.unless_branch(flag, next);
        self.fb.free(flag);
        self.fb.bind(call);
        let called = self.call_values(function, values);
        self.fb.cell_move(result, called.reg);
        self.done(called);
        self.fb.jump(end);
        self.fb.bind(next);
    }

    /// Calls a value of type `any` with values of type `any`, which stay as they are.
    fn call_values(&mut self, function: Val, values: &[Val]) -> Val {
        for (slot, val) in FunctionBuilder::cell_arguments(values.len()).into_iter().zip(values) {
            self.fb.cell_move(slot, val.reg);
        }
        self.emit_dynamic_call(function.reg, values.len())
    }

    /// Calls a sibling method with values of type `any`, which stay as they are.
    fn sibling_with_any(&mut self, fun: FunId, values: &[Val]) -> Val {
        let Some(reg) = self.receiver else { return self.null(None) };
        let this = self.receiver_val(fun, reg);
        self.method_with_any(fun, this, values)
    }

    /// Calls a method with values of type `any`, which stay as they are; with too few, it gives a function that waits for the rest.
    fn method_with_any(&mut self, fun: FunId, this: Val, values: &[Val]) -> Val {
        let types = self.method_types(fun);
        let count = types.len() - 1;
        let borrowed = values.iter().take(count).map(|v| Val { temp: false, ..*v });
        let result = self.cx.types.result(fun);
        if values.len() < count {
            let mut given = vec![this];
            for (val, &ty) in borrowed.zip(&types[1..]) {
                let val = self.convert(val, ty);
                given.push(self.owned(val));
            }
            return self.waiting(Awaited::Function(fun), None, &types, result, given, TyId::ANY);
        }
        let mut arguments = vec![Argument::Val(this)];
        arguments.extend(borrowed.map(Argument::Val));
        self.fill_window(&arguments, &types, false);
        let declared = self.cx.function(fun);
        self.emit_direct_call(declared.id, result, None)
    }

    /// Calls a function with values of type `any`, which stay as they are.
    fn call_with_any(&mut self, fun: FunId, values: &[Val]) -> Val {
        let node = self.cx.program[fun];
        let count = self.cx.program[node.params].len();
        if values.len() < count {
            let closure = self.closure(fun, None);
            return self.partial_vals(closure, values);
        }
        let types: Vec<TyId> = self.cx.program[node.params].iter().map(|&p| self.cx.types.bind(p)).collect();
        let arguments: Vec<Argument> =
            values.iter().take(count).map(|v| Argument::Val(Val { temp: false, ..*v })).collect();
        let declared = self.cx.function(fun);
        self.fill_window(&arguments, &types, declared.environment);
        let ty = self.cx.types.result(fun);
        self.emit_direct_call(declared.id, ty, None)
    }

    // ---- Partial application ----

    /// A known function with too few arguments.
    fn partial_known(&mut self, fun: FunId, callee: ExprId, args: &[ExprId], ty: TyId) -> Val {
        let declared = self.cx.function(fun);
        let function = declared.environment.then(|| self.closure_of(fun, callee));
        let node = self.cx.program[fun];
        let types: Vec<TyId> = self.cx.program[node.params].iter().map(|&p| self.cx.types.bind(p)).collect();
        let result = self.cx.types.result(fun);
        let given = self.given(args, &types);
        self.waiting(Awaited::Function(fun), function, &types, result, given, ty)
    }

    /// A method with too few arguments. The receiver is the first that is given.
    fn partial_method(&mut self, fun: FunId, receiver: Val, args: &[ExprId], ty: TyId) -> Val {
        let types = self.method_types(fun);
        let receiver = if types[0] == TyId::ANY { receiver } else { self.convert(receiver, types[0]) };
        let mut given = vec![self.owned(receiver)];
        given.extend(self.given(args, &types[1..]));
        let result = self.cx.types.result(fun);
        self.waiting(Awaited::Function(fun), None, &types, result, given, ty)
    }

    /// The types of a method's receiver and parameters.
    fn method_types(&self, fun: FunId) -> Vec<TyId> {
        let of = self.cx.resolution.fun(fun).method_of.unwrap_or(StructId(0));
        let receiver = self.cx.types.find(Ty { kind: TyKind::Struct(of), nullable: false });
        let mut types = vec![receiver.unwrap_or(TyId::ANY)];
        types.extend(self.cx.program[self.cx.program[fun].params].iter().map(|&p| self.cx.types.bind(p)));
        types
    }

    /// The first arguments, of these types, for a function that waits for the rest.
    fn given(&mut self, args: &[ExprId], types: &[TyId]) -> Vec<Val> {
        let pairs = args.iter().zip(types);
        pairs
            .map(|(&arg, &ty)| {
                let val = self.expr_as(arg, ty);
                self.owned(val)
            })
            .collect()
    }

    /// A function value of known type with too few arguments.
    fn partial_closure(&mut self, function: Val, fun_ty: TyId, args: &[ExprId], ty: TyId) -> Val {
        let TyKind::Fun(params, result) = self.kind(fun_ty) else { return function };
        let cell = CellType { nullable: false, ..self.cx.cell(fun_ty) };
        let function =
            if self.fb.cell_type(function.reg) == cell { function } else { self.narrow(function, cell) };
        let function = if self.cx.reassigned_in_expr { self.copy_cell(function, cell) } else { function };
        let types = self.cx.types.params(params).to_vec();
        let given = self.given(args, &types);
        self.waiting(Awaited::Value(fun_ty), Some(function), &types, result, given, ty)
    }

    /// A closure that waits for the rest of the arguments: it captures the given ones, as the parameters have them, and
    /// behind its function's own closure, if that has one.
    fn waiting(
        &mut self,
        awaited: Awaited,
        function: Option<Val>,
        types: &[TyId],
        result: TyId,
        given: Vec<Val>,
        ty: TyId,
    ) -> Val {
        let count = given.len();
        // Values first, window last: boxing may collect.
        let function_cell = function.map(|val| self.fb.cell_type(val.reg));
        let mut captures: Vec<Val> = function.into_iter().collect();
        for val in given {
            // Each call passes it on.
            if self.may_be_list(val.ty) {
                self.fb.list_share(val.reg);
            }
            captures.push(match self.cx.value(val.ty) {
                ValueType::Cell(_) => val,
                raw => {
                    let cell = self.cx.cell(val.ty);
                    let reg = self.fb.cell(cell);
                    self.box_raw(raw, reg, val.reg);
                    self.done(val);
                    Val { reg, ty: val.ty, temp: true }
                }
            });
        }
        for (slot, val) in FunctionBuilder::cell_arguments(captures.len()).into_iter().zip(&captures) {
            self.fb.cell_move(slot, val.reg);
        }
        for val in captures {
            self.done(val);
        }
        let id = self.waiting_function(awaited, function_cell, count, types, result);
        let signature = self.cx.module.module.functions[id.index()].signature;
        let cell = self.cell_of(HeapType::Closure(signature));
        let reg = self.fb.cell(cell);
        self.fb.closure_new(reg, id);
        match self.cx.value(ty) {
            ValueType::Cell(wanted) if wanted == cell => Val { reg, ty, temp: true },
            _ => self.widen(reg),
        }
    }

    /// The function of closures that wait for all but the first `count` arguments. With `function`, the first capture is
    /// the closure to call.
    fn waiting_function(
        &mut self,
        awaited: Awaited,
        function: Option<CellType>,
        count: usize,
        types: &[TyId],
        result: TyId,
    ) -> FuncId {
        if let Some(&id) = self.cx.waiting.get(&(awaited, count)) {
            return id;
        }
        let rest: Vec<ValueType> = types[count..].iter().map(|&ty| self.cx.value(ty)).collect();
        let result_value = self.cx.result(result);
        let signature = self.cx.module.signature(&rest, result_value);
        let mut captures: Vec<CellType> = function.into_iter().collect();
        captures.extend(types[..count].iter().map(|&ty| self.cx.cell(ty)));
        let id = self.cx.module.declare("partial", signature, Some(captures.clone()));
        self.cx.waiting.insert((awaited, count), id);
        let fb = self.cx.module.define(id);
        let mut body = Body::bare(self.cx, fb, result);
        let mut captured = Vec::with_capacity(captures.len());
        for (index, &cell) in captures.iter().enumerate() {
            let reg = body.fb.cell(cell);
            body.fb.capture_get(reg, index as u16);
            captured.push(reg);
        }
        let mut arguments = Vec::with_capacity(types.len());
        for (&reg, &ty) in captured[captures.len() - count..].iter().zip(types) {
            let reg = match body.cx.value(ty) {
                ValueType::Cell(_) => reg,
                raw => {
                    let value = body.fb.value(raw);
                    body.unbox_raw(raw, value, reg);
                    value
                }
            };
            arguments.push(Argument::Val(Val { reg, ty, temp: false }));
        }
        if let (Awaited::Function(fun), [Argument::Val(receiver), ..]) = (awaited, &mut arguments[..])
            && let Some(of) = body.cx.resolution.fun(fun).method_of
            && receiver.ty == TyId::ANY
        {
            let cell = body.cell_of(HeapType::Record(body.cx.structs[of.index()]));
            *receiver = body.narrow(*receiver, cell);
        }
        for (index, &ty) in types[count..].iter().enumerate() {
            arguments.push(Argument::Val(Val { reg: body.fb.param(index), ty, temp: false }));
        }
        body.fill_window(&arguments, types, function.is_some());
        if let Awaited::Function(fun) = awaited {
            body.span(body.cx.program[fun].span);
        }
        // No tail call: what an optimized function leaves by one goes on below it.
        let val = match awaited {
            Awaited::Function(fun) if function.is_none() => {
                let callee = body.cx.function(fun).id;
                body.emit_direct_call(callee, result, None)
            }
            _ => body.emit_closure_call(captured[0], result, None),
        };
        if result == TyId::NULL {
            body.fb.return_void();
        } else {
            body.return_val(val);
        }
        body.fb.finish(&mut body.cx.module);
        id
    }

    /// A function value that waits for more arguments, from registers with `any`.
    pub fn partial(&mut self, function: Val, args: &[Reg]) -> Val {
        let values: Vec<Val> = args
            .iter()
            .map(|&arg| {
                let reg = self.fb.cell(ANY);
                self.fb.cell_move(reg, arg);
                Val { reg, ty: TyId::ANY, temp: true }
            })
            .collect();
        let val = self.partial_vals(function, &values);
        for value in values {
            self.done(value);
        }
        val
    }

    fn partial_vals(&mut self, function: Val, values: &[Val]) -> Val {
        let function = self.any(function);
        let list = self.list_of(values);
        let list_ty = ValueType::Cell(self.any_list());
        let any = ValueType::Cell(ANY);
        let host = self.host("mochi.partial", &[any, list_ty], Some(any));
        let slots = FunctionBuilder::cell_arguments(2);
        self.fb.cell_move(slots[0], function.reg);
        self.fb.cell_move(slots[1], list);
        let val = self.target(TyId::ANY, None);
        self.fb.call_host_cell(val.reg, host);
        self.fb.free(list);
        self.done(function);
        val
    }

    /// A list of `any` of values of type `any`.
    fn list_of(&mut self, values: &[Val]) -> Reg {
        let cell = self.any_list();
        let list = self.fb.cell(cell);
        self.fb.list_cell_new(list, values.len() as u16, cell);
        for val in values {
            self.fb.list_cell_push(list, val.reg);
        }
        list
    }

    // ---- Methods on values of unknown type ----

    fn dynamic_method(&mut self, id: ExprId, callee: ExprId, args: &[ExprId]) -> Val {
        let ExprKind::Field { base, name, .. } = self.cx.program[callee].kind else {
            return self.undefined(args);
        };
        if let Some(val) = self.foreign_call(base, name.name, args, TyId::ANY) {
            return val;
        }
        let receiver = self.expr(base, None);
        let receiver = self.any(receiver);
        let receiver = self.owned(receiver);
        let values: Vec<Val> = args
            .iter()
            .map(|&arg| {
                let val = self.expr_as(arg, TyId::ANY);
                self.owned(val)
            })
            .collect();
        let result = self.target(TyId::ANY, None);
        let end = self.fb.label();
        for (of, fun) in self.methods_named(name.name) {
            let next = self.fb.label();
            let this = self.if_record(of, receiver, next);
            let val = self.method_with_any(fun, this, &values);
            self.convert_into(val, TyId::ANY, result.reg);
            self.fb.jump(end);
            self.fb.bind(next);
        }
        self.span(self.cx.program[id].span);
        if self.may_have_function(self.expr_ty(base)) {
            let (holder, other) = (self.fb.label(), self.fb.label());
            let kind = self.fb.int();
            self.fb.cell_kind(kind, receiver.reg);
            self.fb.int_eq_imm_branch(kind, Kind::Map as i16, holder);
            self.fb.int_ne_imm_branch(kind, Kind::Record as i16, other);
            self.fb.free(kind);
            self.fb.bind(holder);
            let field = self.own_field_of_any(receiver, name);
            self.call_if_function(field, &values, result.reg, end);
            self.done(field);
            self.fb.bind(other);
        }
        let list = self.list_of(&values);
        let text = self.cx.names.get(name.name).to_string();
        let text = self.cx.module.string(&text);
        let any = ValueType::Cell(ANY);
        let string = ValueType::Cell(self.cell_of(HeapType::String));
        let list_ty = ValueType::Cell(self.any_list());
        let host = self.host("mochi.op.method", &[any, string, list_ty], Some(any));
        let slots = FunctionBuilder::cell_arguments(3);
        self.fb.cell_move(slots[0], receiver.reg);
        self.fb.string_const(slots[1], text);
        self.fb.cell_move(slots[2], list);
        self.fb.call_host_cell(result.reg, host);
        self.fb.free(list);
        self.fb.bind(end);
        for val in values {
            self.done(val);
        }
        self.done(receiver);
        result
    }

    /// Whether a field of a value of the type may hold a function.
    fn may_have_function(&self, ty: TyId) -> bool {
        match self.kind(ty) {
            TyKind::Map(_, value) => matches!(self.kind(value), TyKind::Any | TyKind::Fun(..)),
            kind => matches!(kind, TyKind::Any | TyKind::Struct(_) | TyKind::Union(_)),
        }
    }

    /// The methods of this name, with their structs.
    pub fn methods_named(&self, name: Name) -> Vec<(StructId, FunId)> {
        let structs = (0..self.cx.resolution.structs.len()).map(|i| StructId(i as u32));
        structs.filter_map(|of| self.cx.resolution.method(of, name).map(|fun| (of, fun))).collect()
    }

    /// A dynamic value as a record of the struct, where it is one; else goes on at `next`.
    pub fn if_record(&mut self, of: StructId, val: Val, next: Label) -> Val {
        let cell = self.cell_of(HeapType::Record(self.cx.structs[of.index()]));
        let flag = self.fb.int();
        self.fb.cell_test(flag, val.reg, cell);
        self.fb.unless_branch(flag, next);
        self.fb.free(flag);
        let record = self.fb.cell(cell);
        self.fb.cell_cast(record, val.reg, cell);
        let ty = self.cx.types.find(Ty { kind: TyKind::Struct(of), nullable: false });
        Val { reg: record, ty: ty.unwrap_or(TyId::ANY), temp: true }
    }

    /// A method as a value: a closure that keeps the receiver.
    pub fn method_of(&mut self, fun: FunId, receiver: Val) -> Val {
        let val = self.partial_method(fun, receiver, &[], TyId::ANY);
        self.any(val)
    }

    fn builtin_method(&mut self, id: ExprId, callee: ExprId, args: &[ExprId], ty: TyId) -> Val {
        let ExprKind::Field { base, name, .. } = self.cx.program[callee].kind else {
            return self.undefined(args);
        };
        let receiver = self.expr(base, None);
        let receiver = self.owned(receiver);
        let mut values = vec![receiver];
        for &arg in args {
            let val = self.expr(arg, None);
            values.push(self.owned(val));
        }
        self.span(self.cx.program[id].span);
        let name = format!("mochi.method.{}", self.cx.names.get(name.name));
        self.host_typed(&name, &values, ty)
    }

    // ---- Builtins ----

    fn builtin(&mut self, id: ExprId, builtin: Builtin, args: &[ExprId], ty: TyId, dst: Option<Reg>) -> Val {
        if args.len() < builtin.info().required {
            return self.partial_builtin(id, builtin, args);
        }
        match (builtin, args) {
            (Builtin::Append | Builtin::Push, &[list, value]) => {
                return self.append(id, list, value, ty, dst);
            }
            (Builtin::Len, &[arg]) if let Some(text) = self.extended(arg) => {
                let result = self.target(TyId::INT, dst.filter(|_| ty == TyId::INT));
                self.fb.string_len(result.reg, text);
                return result;
            }
            (Builtin::Len, &[arg]) => {
                let val = self.expr(arg, None);
                let Ty { kind, nullable } = self.ty(val.ty);
                if !nullable && matches!(kind, TyKind::List(_) | TyKind::String | TyKind::Map(..)) {
                    let result = self.target(TyId::INT, dst.filter(|_| ty == TyId::INT));
                    match kind {
                        TyKind::List(_) => self.fb.list_len(result.reg, val.reg),
                        TyKind::String => self.fb.string_len(result.reg, val.reg),
                        _ => self.fb.map_len(result.reg, val.reg),
                    }
                    self.done(val);
                    return result;
                }
                if let (TyKind::List(_) | TyKind::String | TyKind::Map(..), Some(present), TyId::INT) =
                    (kind, self.cx.types.without_null(val.ty), ty)
                {
                    // None has no elements.
                    let result = self.target(TyId::INT, None);
                    let end = self.fb.label();
                    self.fb.int_const(result.reg, 0);
                    let given = self.unless_none(val, present, end);
                    match kind {
                        TyKind::List(_) => self.fb.list_len(result.reg, given.reg),
                        TyKind::String => self.fb.string_len(result.reg, given.reg),
                        _ => self.fb.map_len(result.reg, given.reg),
                    }
                    self.fb.bind(end);
                    self.done(given);
                    self.done(val);
                    return result;
                }
                if kind == TyKind::Any && ty == TyId::INT {
                    return self.len_of_cell(val);
                }
                return self.host_typed("mochi.len", &[val], ty);
            }
            (Builtin::Concat, &[left, right])
                if self.expr_ty(left) == ty && self.expr_ty(right) == ty && self.is_list(ty) =>
            {
                // As `left + right`.
                let first = self.operand(left, right);
                let second = self.expr(right, None);
                self.span(self.cx.program[id].span);
                let val = self.target(ty, None);
                self.fb.list_concat(val.reg, first.reg, second.reg);
                self.share_elements(val);
                self.done(first);
                self.done(second);
                return val;
            }
            (Builtin::Str, &[arg]) if self.expr_ty(arg) == TyId::INT => {
                let val = self.expr(arg, None);
                let result = self.target(TyId::STRING, dst.filter(|_| ty == TyId::STRING));
                self.fb.string_from_int(result.reg, val.reg);
                self.done(val);
                return result;
            }
            (Builtin::Str, &[arg]) if self.expr_ty(arg) == TyId::BOOL => {
                let val = self.expr(arg, None);
                let result = self.target(TyId::STRING, dst.filter(|_| ty == TyId::STRING));
                let [yes, no] = ["true", "false"].map(|text| self.cx.module.string(text));
                let end = self.fb.label();
                self.fb.string_const(result.reg, yes);
                self.fb.if_branch(val.reg, end);
                self.fb.string_const(result.reg, no);
                self.fb.bind(end);
                self.done(val);
                return result;
            }
            (Builtin::Str, &[arg]) if self.expr_ty(arg) == TyId::STRING => return self.expr(arg, None),
            (Builtin::Str, &[arg]) if self.may_be_int(self.expr_ty(arg)) => {
                return self.text_of_cell(id, arg);
            }
            (Builtin::Int, &[arg]) if self.expr_ty(arg) == TyId::INT => return self.expr(arg, None),
            (Builtin::Int, &[arg]) if self.expr_ty(arg) == TyId::FLOAT => {
                let val = self.expr(arg, None);
                let result = self.target(TyId::INT, dst.filter(|_| ty == TyId::INT));
                self.fb.int_from_float(result.reg, val.reg);
                self.done(val);
                return result;
            }
            (Builtin::Int, &[arg]) if self.expr_ty(arg) == TyId::STRING && ty == TyId::INT => {
                return self.int_of_text(id, arg);
            }
            (Builtin::Int, &[arg]) if ty == TyId::INT && self.may_be_number(self.expr_ty(arg)) => {
                return self.number_of_cell(id, "mochi.int", arg, ty);
            }
            (Builtin::Float | Builtin::ToFloat, &[arg])
                if ty == TyId::FLOAT && self.may_be_number(self.expr_ty(arg)) =>
            {
                let name = if builtin == Builtin::Float { "mochi.float" } else { "mochi.to_float" };
                return self.number_of_cell(id, name, arg, ty);
            }
            (Builtin::Float | Builtin::ToFloat, &[arg])
                if matches!(self.expr_ty(arg), TyId::INT | TyId::FLOAT) =>
            {
                return self.expr_as(arg, TyId::FLOAT);
            }
            (Builtin::Abs, &[arg]) if matches!(self.expr_ty(arg), TyId::INT | TyId::FLOAT) => {
                let val = self.expr(arg, None);
                let result = self.target(val.ty, dst.filter(|_| ty == val.ty));
                if val.ty == TyId::INT {
                    self.fb.int_abs_checked(result.reg, val.reg);
                } else {
                    self.fb.float_abs(result.reg, val.reg);
                }
                self.done(val);
                return result;
            }
            (Builtin::Min | Builtin::Max, _) if let Some(items) = self.compared(args, ty) => {
                return self.extreme(builtin, &items, ty);
            }
            (Builtin::Floor | Builtin::Ceil, &[arg]) if self.expr_ty(arg) == TyId::FLOAT => {
                let val = self.expr(arg, None);
                let result = self.target(TyId::FLOAT, dst.filter(|_| ty == TyId::FLOAT));
                if builtin == Builtin::Floor {
                    self.fb.float_floor(result.reg, val.reg);
                } else {
                    self.fb.float_ceil(result.reg, val.reg);
                }
                self.done(val);
                return result;
            }
            (Builtin::Substring | Builtin::Substr | Builtin::Slice, &[base, from, to]) => {
                let Ty { kind, nullable } = self.ty(self.expr_ty(base));
                let ints = self.expr_ty(from) == TyId::INT && self.expr_ty(to) == TyId::INT;
                let sliceable =
                    kind == TyKind::String || (builtin == Builtin::Slice && matches!(kind, TyKind::List(_)));
                if !nullable && ints && sliceable {
                    let object = self.expr(base, None);
                    let object = self.stable(object);
                    let from = self.expr(from, None);
                    let from = self.stable(from);
                    let to = self.expr(to, None);
                    self.span(self.cx.program[id].span);
                    let val =
                        self.target(object.ty, dst.filter(|_| kind == TyKind::String && ty == TyId::STRING));
                    if kind == TyKind::String {
                        self.fb.string_slice(val.reg, object.reg, from.reg, to.reg);
                    } else {
                        self.fb.list_slice(val.reg, object.reg, from.reg, to.reg);
                        self.share_elements(val);
                    }
                    for v in [object, from, to] {
                        self.done(v);
                    }
                    return val;
                }
            }
            (Builtin::IndexOf, &[text, part])
                if self.expr_ty(text) == TyId::STRING && self.expr_ty(part) == TyId::STRING =>
            {
                let a = self.expr(text, None);
                let a = self.stable(a);
                let b = self.expr(part, None);
                let result = self.target(TyId::INT, dst.filter(|_| ty == TyId::INT));
                self.fb.string_index_of(result.reg, a.reg, b.reg);
                self.done(a);
                self.done(b);
                return result;
            }
            (Builtin::Contains, &[text, part])
                if self.expr_ty(text) == TyId::STRING && self.expr_ty(part) == TyId::STRING =>
            {
                let a = self.expr(text, None);
                let a = self.stable(a);
                let b = self.expr(part, None);
                let result = self.target(TyId::BOOL, dst.filter(|_| ty == TyId::BOOL));
                self.fb.string_contains(result.reg, a.reg, b.reg);
                self.done(a);
                self.done(b);
                return result;
            }
            (Builtin::Reduce, &[list, function, first]) => {
                if let Some(val) = self.reduce(id, [list, function, first], ty) {
                    return val;
                }
            }
            (Builtin::Keys | Builtin::Values, &[map]) => {
                let map_ty = self.ty(self.expr_ty(map));
                if let (TyKind::Map(..), false) = (map_ty.kind, map_ty.nullable)
                    && let Some(val) = self.map_list(builtin, map, ty)
                {
                    return val;
                }
            }
            _ => {}
        }
        let mut values = Vec::with_capacity(args.len());
        for (i, &arg) in args.iter().enumerate() {
            let val = self.expr(arg, None);
            let later = args[i + 1..].iter().any(|a| self.cx.flags[a.index()] & BRANCHES != 0);
            values.push(if later { self.stable(val) } else { val });
        }
        self.span(self.cx.program[id].span);
        self.host_typed(&format!("mochi.{}", builtin.name()), &values, ty)
    }

    /// `reduce(list, function, first)` as a loop, where the list is one and the function takes two arguments.
    fn reduce(&mut self, id: ExprId, [list, function, first]: [ExprId; 3], ty: TyId) -> Option<Val> {
        let Ty { kind: TyKind::List(element), nullable: false } = self.ty(self.expr_ty(list)) else {
            return None;
        };
        let fun_ty = self.expr_ty(function);
        let Ty { kind: TyKind::Fun(params, result), nullable: false } = self.ty(fun_ty) else { return None };
        let types = self.cx.types.params(params).to_vec();
        if types.len() != 2 {
            return None;
        }
        let list = self.expr(list, None);
        let list = self.stable(list);
        let function = self.expr(function, None);
        let cell = self.cx.cell(fun_ty);
        let function =
            if self.fb.cell_type(function.reg) == cell { function } else { self.narrow(function, cell) };
        let function = if self.cx.reassigned_in_expr { self.copy_cell(function, cell) } else { function };
        let sum = self.target(ty, None);
        self.expr_into(first, ty, sum.reg);
        self.span(self.cx.program[id].span);
        let (counter, limit) = (self.fb.int(), self.fb.int());
        let (head, done) = (self.fb.label(), self.fb.label());
        self.fb.int_const(counter, 0);
        self.fb.list_len(limit, list.reg);
        self.fb.int_le_branch(limit, counter, done);
        self.fb.begin_loop(head);
        let item = self.target(element, None);
        self.list_get(item.reg, list.reg, counter, element);
        if self.may_be_list(element) {
            self.fb.list_share(item.reg);
        }
        let arguments = [Argument::Val(Val { temp: false, ..sum }), Argument::Val(item)];
        self.fill_window(&arguments, &types, true);
        let val = self.emit_closure_call(function.reg, result, None);
        self.convert_into(val, ty, sum.reg);
        self.fb.int_for_loop(counter, limit, head);
        self.fb.bind(done);
        self.fb.free(counter);
        self.fb.free(limit);
        self.done(function);
        self.done(list);
        Some(sum)
    }

    /// Keys or values of a typed map by the op, where the op makes the very list type that is wanted.
    fn map_list(&mut self, builtin: Builtin, map: ExprId, ty: TyId) -> Option<Val> {
        let TyKind::Map(key, value) = self.kind(self.expr_ty(map)) else { return None };
        let made = if builtin == Builtin::Keys {
            self.key_list(key).0
        } else {
            let element = self.cx.cell(value);
            self.cell_of(HeapType::ListCell(element))
        };
        if self.cx.value(ty) != ValueType::Cell(made) {
            return None;
        }
        let object = self.expr(map, None);
        let val = self.target(ty, None);
        if builtin == Builtin::Keys {
            self.fb.map_keys(val.reg, object.reg);
        } else {
            self.fb.map_values(val.reg, object.reg);
            self.share_elements(val);
        }
        self.done(object);
        Some(val)
    }

    /// The list that the op makes of a map's keys, and the type of its elements.
    pub fn key_list(&mut self, key: TyId) -> (CellType, TyId) {
        match self.cx.key_policy(key) {
            upshift_bytecode::KeyPolicy::Int => (self.cell_of(HeapType::ListInt), TyId::INT),
            upshift_bytecode::KeyPolicy::String => {
                let string = self.cell_of(HeapType::String);
                (self.cell_of(HeapType::ListCell(string)), TyId::STRING)
            }
            _ => (self.any_list(), TyId::ANY),
        }
    }

    /// `append(list, value)`: in place where the result replaces the only reference, else a copy.
    fn append(&mut self, id: ExprId, list: ExprId, value: ExprId, ty: TyId, dst: Option<Reg>) -> Val {
        let target = self.expr(list, None);
        let target = self.stable(target);
        let in_place = self.cx.types.in_place(id);
        let target = if self.is_nullable(target.ty)
            && matches!(self.kind(target.ty), TyKind::List(_))
            && self.cx.types.without_null(target.ty) == Some(ty)
        {
            self.list_or_empty(target, ty)
        } else {
            target
        };
        let Ty { kind, nullable } = self.ty(target.ty);
        match kind {
            TyKind::List(element) if !nullable && target.ty == ty => {
                let val = self.expr_as(value, element);
                self.span(self.cx.program[id].span);
                let result = self.target(ty, dst.filter(|_| in_place));
                if in_place {
                    self.list_append(result.reg, target.reg, val.reg, element);
                } else {
                    self.fb.list_copy(result.reg, target.reg, 1);
                    self.share_elements(result);
                    self.list_push(result.reg, val.reg, element);
                }
                self.done(target);
                self.done(val);
                result
            }
            TyKind::Any if in_place => {
                // A list of `any` grows in place; everything else is the library's business.
                let val = self.expr_as(value, TyId::ANY);
                self.span(self.cx.program[id].span);
                let cell = self.any_list();
                let result = self.target(TyId::ANY, None);
                let (other, end) = (self.fb.label(), self.fb.label());
                let flag = self.fb.int();
                self.fb.cell_test(flag, target.reg, cell);
                self.fb.unless_branch(flag, other);
                self.fb.free(flag);
                let list = self.fb.cell(cell);
                self.fb.cell_cast(list, target.reg, cell);
                self.fb.list_cell_append(list, list, val.reg);
                self.fb.cell_move(result.reg, list);
                self.fb.free(list);
                self.fb.jump(end);
                self.fb.bind(other);
                let made = self.host_typed("mochi.append", &[target, val], TyId::ANY);
                self.fb.cell_move(result.reg, made.reg);
                self.done(made);
                self.fb.bind(end);
                result
            }
            _ => {
                let val = self.expr(value, None);
                self.span(self.cx.program[id].span);
                self.host_typed("mochi.append", &[target, val], ty)
            }
        }
    }

    /// Whether values of a type are cells of which ints are some.
    fn may_be_int(&self, ty: TyId) -> bool {
        let Ty { kind, nullable } = self.ty(ty);
        kind == TyKind::Any || (nullable && kind == TyKind::Int)
    }

    /// The text of a value that may be an int, which needs no call then.
    fn text_of_cell(&mut self, id: ExprId, arg: ExprId) -> Val {
        let val = self.expr(arg, None);
        let result = self.target(TyId::STRING, None);
        let (other, end) = (self.fb.label(), self.fb.label());
        let int = self.cell_of(HeapType::Int);
        let number = self.fb.int();
        self.span(self.cx.program[id].span);
        self.fb.cell_test(number, val.reg, int);
        self.fb.unless_branch(number, other);
        self.fb.unbox_int(number, val.reg);
        self.fb.string_from_int(result.reg, number);
        self.fb.jump(end);
        self.fb.bind(other);
        let made = self.host_typed("mochi.str", &[val], TyId::STRING);
        self.fb.cell_move(result.reg, made.reg);
        self.done(made);
        self.fb.bind(end);
        self.fb.free(number);
        result
    }

    /// A string as an int: one digit, as scanners have it, without a call.
    fn int_of_text(&mut self, id: ExprId, arg: ExprId) -> Val {
        let text = self.expr(arg, None);
        let result = self.target(TyId::INT, None);
        let zero = self.fb.int();
        let (other, end) = (self.fb.label(), self.fb.label());
        self.span(self.cx.program[id].span);
        self.fb.string_len(result.reg, text.reg);
        self.fb.int_ne_imm_branch(result.reg, 1, other);
        self.fb.int_const(zero, 0);
        self.fb.string_code_at(result.reg, text.reg, zero);
        self.fb.int_add_imm(result.reg, result.reg, -i16::from(b'0'));
        self.fb.int_lt_imm_branch(result.reg, 0, other);
        self.fb.int_le_imm_branch(result.reg, 9, end);
        self.fb.bind(other);
        let made = self.host_typed("mochi.int", &[text], TyId::INT);
        self.fb.int_move(result.reg, made.reg);
        self.done(made);
        self.fb.bind(end);
        self.fb.free(zero);
        result
    }

    /// What `min` or `max` compares where it is written out, in a list or as arguments, and of one type of numbers, which is the call's
    /// type, or none.
    fn compared(&self, args: &[ExprId], ty: TyId) -> Option<Vec<ExprId>> {
        let items = match *args {
            [list] => match (self.cx.program[list].kind, self.kind(self.expr_ty(list))) {
                (ExprKind::List(items), TyKind::List(_)) => &self.cx.program[items],
                _ => return None,
            },
            _ => args,
        };
        let number = |&item: &ExprId| {
            let own = self.expr_ty(item);
            own == ty || own != TyId::ANY && self.cx.types.without_null(own) == Some(ty)
        };
        let same = !items.is_empty() && matches!(ty, TyId::INT | TyId::FLOAT) && items.iter().all(number);
        same.then(|| items.to_vec())
    }

    /// The least or greatest of numbers of one type: the first that no other exceeds. What is none is left out; of nothing it is 0.
    fn extreme(&mut self, builtin: Builtin, items: &[ExprId], ty: TyId) -> Val {
        let best = self.target(ty, None);
        // Whether there is a number yet: surely not, as a register says, or surely.
        let mut seen = None;
        let mut surely = false;
        for &item in items {
            let val = self.expr(item, None);
            if surely && val.ty == ty {
                self.better(builtin, ty, best.reg, val.reg);
                self.done(val);
                continue;
            }
            let next = self.fb.label();
            let number = if val.ty == ty {
                val
            } else {
                if seen.is_none() && !surely {
                    let flag = self.fb.int();
                    self.fb.int_const(flag, 0);
                    match ty {
                        TyId::INT => self.fb.int_const(best.reg, 0),
                        _ => self.fb.load_float(best.reg, 0.0),
                    }
                    seen = Some(flag);
                }
                let number = self.unless_none(val, ty, next);
                self.done(val);
                number
            };
            if surely {
                self.better(builtin, ty, best.reg, number.reg);
            } else {
                let both = self.fb.label();
                if let Some(flag) = seen {
                    let first = self.fb.label();
                    self.fb.unless_branch(flag, first);
                    self.better(builtin, ty, best.reg, number.reg);
                    self.fb.jump(both);
                    self.fb.bind(first);
                    self.fb.int_const(flag, 1);
                }
                self.fb.move_value(self.bank(ty), best.reg, number.reg);
                self.fb.bind(both);
                surely = val.ty == ty;
            }
            self.done(number);
            self.fb.bind(next);
        }
        if let Some(flag) = seen {
            self.fb.free(flag);
        }
        best
    }

    /// best = the better one of two numbers.
    fn better(&mut self, builtin: Builtin, ty: TyId, best: Reg, other: Reg) {
        match (builtin, ty) {
            (Builtin::Min, TyId::INT) => self.fb.int_min(best, best, other),
            (_, TyId::INT) => self.fb.int_max(best, best, other),
            (Builtin::Min, _) => self.fb.float_min(best, best, other),
            _ => self.fb.float_max(best, best, other),
        }
    }

    /// A cell that is none where a value is, else what `give` puts there of the value without none.
    pub fn or_none(&mut self, val: Val, present: TyId, result: Reg, give: impl FnOnce(&mut Self, Reg)) {
        self.if_some(val, present, give, |b| b.fb.load_nil(result));
    }

    /// Does one thing with the value without none, and another where it is none.
    pub fn if_some(
        &mut self,
        val: Val,
        present: TyId,
        some: impl FnOnce(&mut Self, Reg),
        none: impl FnOnce(&mut Self),
    ) {
        let (other, end) = (self.fb.label(), self.fb.label());
        let given = self.unless_none(val, present, other);
        some(self, given.reg);
        self.done(given);
        self.fb.jump(end);
        self.fb.bind(other);
        none(self);
        self.fb.bind(end);
    }

    /// One code with a value in a register of a cell type, where it is of that, another where it is not.
    pub fn if_cell(
        &mut self,
        val: Val,
        cell: CellType,
        is: impl FnOnce(&mut Self, Reg),
        other: impl FnOnce(&mut Self),
    ) {
        let (next, end) = (self.fb.label(), self.fb.label());
        let flag = self.fb.int();
        self.fb.cell_test(flag, val.reg, cell);
        self.fb.unless_branch(flag, next);
        self.fb.free(flag);
        let given = self.fb.cell(cell);
        self.fb.cell_cast(given, val.reg, cell);
        is(self, given);
        self.fb.free(given);
        self.fb.jump(end);
        self.fb.bind(next);
        other(self);
        self.fb.bind(end);
    }

    /// Whether a cell of the type may be an int or a float.
    fn may_be_number(&self, ty: TyId) -> bool {
        let Ty { kind, nullable } = self.ty(ty);
        kind == TyKind::Any || nullable && matches!(kind, TyKind::Int | TyKind::Float)
    }

    /// What a function of the library makes of a value: an int or float, which it needs no call for where that is a number.
    fn number_of_cell(&mut self, id: ExprId, name: &str, arg: ExprId, ty: TyId) -> Val {
        let val = self.expr(arg, None);
        let result = self.target(ty, None);
        self.span(self.cx.program[id].span);
        let own = self.cell_of(if ty == TyId::INT { HeapType::Int } else { HeapType::Float });
        let itself = |b: &mut Self, given| {
            let value = b.cx.value(ty);
            b.unbox_raw(value, result.reg, given);
        };
        self.if_cell(val, own, itself, |b| {
            b.if_other_number(val, ty, result.reg, |b| {
                let made = b.host_typed(name, &[Val { temp: false, ..val }], ty);
                b.fb.move_value(b.bank(ty), result.reg, made.reg);
                b.done(made);
            });
        });
        self.done(val);
        result
    }

    /// dst = the number in a cell as an int or float, where it is the other of the two; else what `otherwise` does.
    pub fn if_other_number(&mut self, val: Val, ty: TyId, dst: Reg, otherwise: impl FnOnce(&mut Self)) {
        let other = self.cell_of(if ty == TyId::INT { HeapType::Float } else { HeapType::Int });
        let converted = |b: &mut Self, given| {
            if ty == TyId::INT {
                let number = b.target(TyId::FLOAT, None);
                b.fb.unbox_float(number.reg, given);
                b.fb.int_from_float(dst, number.reg);
                b.done(number);
            } else {
                let number = b.target(TyId::INT, None);
                b.fb.unbox_int(number.reg, given);
                b.fb.float_from_int(dst, number.reg);
                b.done(number);
            }
        };
        self.if_cell(val, other, converted, otherwise);
    }

    /// The length of a value of any kind: of texts and of lists of `any` without a call.
    fn len_of_cell(&mut self, val: Val) -> Val {
        let result = self.target(TyId::INT, None);
        let (text, list) = (self.cell_of(HeapType::String), self.any_list());
        let of_text = |b: &mut Self, text| b.fb.string_len(result.reg, text);
        self.if_cell(val, text, of_text, |b| {
            let of_list = |b: &mut Self, list| b.fb.list_len(result.reg, list);
            b.if_cell(val, list, of_list, |b| {
                let made = b.host_typed("mochi.len", &[Val { temp: false, ..val }], TyId::INT);
                b.fb.int_move(result.reg, made.reg);
                b.done(made);
            });
        });
        self.done(val);
        result
    }

    /// The value in a register of its type without none, or a jump. The value's own register stays.
    pub fn unless_none(&mut self, val: Val, present: TyId, none: Label) -> Val {
        self.fb.is_branch(val.reg, upshift_bytecode::Immediate::Nil, none);
        let narrow = self.target(present, None);
        match self.cx.value(present) {
            ValueType::Cell(cell) => self.fb.cell_cast(narrow.reg, val.reg, cell),
            raw => self.unbox_raw(raw, narrow.reg, val.reg),
        }
        narrow
    }

    /// The list, or a new empty one in place of none.
    pub fn list_or_empty(&mut self, val: Val, ty: TyId) -> Val {
        let list = self.reg(ty);
        let (null, end) = (self.fb.label(), self.fb.label());
        self.fb.is_branch(val.reg, upshift_bytecode::Immediate::Nil, null);
        let cell = self.cx.cell(ty);
        self.fb.cell_cast(list, val.reg, cell);
        self.fb.jump(end);
        self.fb.bind(null);
        let room = match self.kind(ty) {
            TyKind::List(element) => self.least_room(element),
            _ => 0,
        };
        self.new_list(list, ty, room);
        self.fb.bind(end);
        self.done(val);
        Val { reg: list, ty, temp: true }
    }

    /// A builtin with too few arguments: a function that waits for the rest.
    fn partial_builtin(&mut self, id: ExprId, builtin: Builtin, args: &[ExprId]) -> Val {
        let values: Vec<Val> = args
            .iter()
            .map(|&arg| {
                let val = self.expr_as(arg, TyId::ANY);
                self.owned(val)
            })
            .collect();
        self.span(self.cx.program[id].span);
        let function = self.builtin_value(builtin);
        let val = self.partial_vals(function, &values);
        for value in values {
            self.done(value);
        }
        val
    }

    /// A builtin as a value: a closure of `any` parameters; one for each number of arguments that it takes, if it takes several.
    pub fn builtin_value(&mut self, builtin: Builtin) -> Val {
        /// Where a builtin takes any number of arguments, so many are told apart.
        const MOST: usize = 8;
        let info = builtin.info();
        let most = info.max.unwrap_or(MOST);
        if info.required == most {
            let closure = self.builtin_closure(builtin, most);
            return self.widen(closure);
        }
        let mut closures = Vec::new();
        for count in info.required..=most {
            let closure = self.builtin_closure(builtin, count);
            closures.push(self.widen(closure));
        }
        let list = self.list_of(&closures);
        for closure in closures {
            self.done(closure);
        }
        let list_ty = ValueType::Cell(self.any_list());
        let host = self.host("mochi.variants", &[list_ty], Some(ValueType::Cell(ANY)));
        let slots = FunctionBuilder::cell_arguments(1);
        self.fb.cell_move(slots[0], list);
        let val = self.target(TyId::ANY, None);
        self.fb.call_host_cell(val.reg, host);
        self.fb.free(list);
        val
    }

    /// A closure that calls a builtin with so many arguments.
    fn builtin_closure(&mut self, builtin: Builtin, count: usize) -> Reg {
        let any = ValueType::Cell(ANY);
        let params = vec![any; count];
        let signature = self.cx.module.signature(&params, Some(any));
        let id = self.cx.module.declare(builtin.name(), signature, Some(Vec::new()));
        let span = self.fb.span();
        let mut fb = self.cx.module.define(id);
        fb.set_span(span);
        let host = self.cx.host(&format!("mochi.{}", builtin.name()), &params, Some(any));
        for (i, slot) in FunctionBuilder::arguments(&params, false).into_iter().enumerate() {
            let param = fb.param(i);
            fb.cell_move(slot, param);
        }
        let result = fb.cell(ANY);
        fb.call_host_cell(result, host);
        fb.return_cell(result);
        fb.finish(&mut self.cx.module);
        let cell = self.cell_of(HeapType::Closure(signature));
        let reg = self.fb.cell(cell);
        self.fb.closure_new(reg, id);
        reg
    }

    /// A variant's constructor as a value: a closure of as many `any` parameters as it has fields.
    pub fn constructor_value(&mut self, ctor: CtorId) -> Val {
        let count = self.cx.types.ctor_fields(ctor).len();
        let any = ValueType::Cell(ANY);
        let signature = self.cx.module.signature(&vec![any; count], Some(any));
        let record = self.cx.ctors[ctor.index()];
        let name = self.cx.module.module.records[record.index()].name.clone();
        let id = self.cx.module.declare(&name, signature, Some(Vec::new()));
        let span = self.fb.span();
        let mut fb = self.cx.module.define(id);
        fb.set_span(span);
        let mut body = Body::new(self.cx, fb, None, TyId::ANY);
        let fields: Vec<Val> =
            (0..count).map(|i| Val { reg: body.fb.param(i), ty: TyId::ANY, temp: false }).collect();
        let made = body.construct_of(ctor, &fields);
        let made = body.any(made);
        body.fb.return_cell(made.reg);
        body.fb.finish(&mut body.cx.module);
        let cell = self.cell_of(HeapType::Closure(signature));
        let reg = self.fb.cell(cell);
        self.fb.closure_new(reg, id);
        self.widen(reg)
    }

    // ---- Foreign modules ----

    /// The name of the foreign module that an expression means: `math`, `strings` or `testpkg`.
    fn foreign_module(&self, base: ExprId) -> Option<&'static str> {
        let ExprKind::Name(name) = self.cx.program[base].kind else { return None };
        match self.cx.resolution.name(base) {
            Resolved::Module(import) => {
                let path = self.cx.names.get(self.cx.program[import].path.name);
                crate::foreign::module(path)
            }
            Resolved::Undeclared if self.cx.names.get(name) == "strings" => Some("strings"),
            _ => None,
        }
    }

    /// A member of a foreign module that is no function call: a constant, or a function as a value.
    pub fn module_member(&mut self, base: ExprId, name: Name, ty: TyId) -> Option<Val> {
        let module = self.foreign_module(base)?;
        let member = self.cx.names.get(name).to_string();
        if module == "math" {
            if let Some(value) = crate::foreign::math_constant(&member) {
                let val = self.target(TyId::FLOAT, None);
                self.fb.load_float(val.reg, value);
                return Some(val);
            }
            if let Some(arity) = crate::foreign::math_arity(&member) {
                return Some(self.math_value(&member, arity));
            }
        }
        if !crate::foreign::has_member(module, &member) {
            return Some(self.null(None));
        }
        Some(self.host_typed(&format!("mochi.{module}.{member}"), &[], ty))
    }

    /// A function of `math` as a value.
    fn math_value(&mut self, member: &str, arity: usize) -> Val {
        let params = vec![ValueType::Float; arity];
        let signature = self.cx.module.signature(&params, Some(ValueType::Float));
        let id = self.cx.module.declare(member, signature, Some(Vec::new()));
        let mut fb = self.cx.module.define(id);
        let args: Vec<Reg> = (0..arity).map(|i| fb.param(i)).collect();
        let dst = fb.float();
        emit_math(&mut fb, member, dst, &args);
        fb.return_float(dst);
        fb.finish(&mut self.cx.module);
        let cell = self.cell_of(HeapType::Closure(signature));
        let reg = self.fb.cell(cell);
        self.fb.closure_new(reg, id);
        self.widen(reg)
    }

    /// `module.member(args)` for a foreign module.
    fn foreign_call(&mut self, base: ExprId, name: Name, args: &[ExprId], ty: TyId) -> Option<Val> {
        let module = self.foreign_module(base)?;
        let member = self.cx.names.get(name).to_string();
        if module == "math"
            && let Some(arity) = crate::foreign::math_arity(&member)
            && args.len() >= arity
        {
            let mut values = Vec::new();
            for (i, &arg) in args.iter().enumerate() {
                if i < arity {
                    let val = self.expr_as(arg, TyId::FLOAT);
                    values.push(self.stable(val));
                } else {
                    self.effect(arg);
                }
            }
            let val = self.target(TyId::FLOAT, None);
            let regs: Vec<Reg> = values.iter().map(|v| v.reg).collect();
            emit_math(&mut self.fb, &member, val.reg, &regs);
            for v in values {
                self.done(v);
            }
            return Some(val);
        }
        if !crate::foreign::has_member(module, &member) {
            return Some(self.undefined(args));
        }
        let mut values = Vec::new();
        if module == "math" {
            // Too few arguments, or a constant.
            let function = self.module_member(base, name, TyId::ANY)?;
            let function = self.any(function);
            for &arg in args {
                let val = self.expr_as(arg, TyId::ANY);
                values.push(self.owned(val));
            }
            let val = match crate::foreign::math_arity(&member) {
                Some(_) => self.partial_vals(function, &values),
                None => self.call_values(function, &values),
            };
            for value in values {
                self.done(value);
            }
            return Some(val);
        }
        for &arg in args {
            let val = self.expr(arg, None);
            values.push(self.stable(val));
        }
        Some(self.host_typed(&format!("mochi.{module}.{member}"), &values, ty))
    }

    fn extern_call(&mut self, callee: ExprId, args: &[ExprId], ty: TyId) -> Val {
        if let ExprKind::Field { base, name, .. } = self.cx.program[callee].kind
            && let Some(val) = self.foreign_call(base, name.name, args, ty)
        {
            return val;
        }
        self.undefined(args)
    }
}

/// dst = a function of `math`, in one op.
fn emit_math(fb: &mut FunctionBuilder, member: &str, dst: Reg, args: &[Reg]) {
    let a = args[0];
    match member.to_ascii_lowercase().as_str() {
        "sqrt" => fb.float_sqrt(dst, a),
        "sin" => fb.float_sin(dst, a),
        "cos" => fb.float_cos(dst, a),
        "tan" => fb.float_tan(dst, a),
        "asin" => fb.float_asin(dst, a),
        "acos" => fb.float_acos(dst, a),
        "atan" => fb.float_atan(dst, a),
        "exp" => fb.float_exp(dst, a),
        "log" => fb.float_log(dst, a),
        "log2" => fb.float_log2(dst, a),
        "log10" => fb.float_log10(dst, a),
        "floor" => fb.float_floor(dst, a),
        "ceil" => fb.float_ceil(dst, a),
        "trunc" => fb.float_trunc(dst, a),
        "round" => fb.float_round(dst, a),
        "abs" | "fabs" => fb.float_abs(dst, a),
        "pow" => fb.float_pow(dst, a, args[1]),
        "atan2" => fb.float_atan2(dst, a, args[1]),
        "mod" | "fmod" => fb.float_rem(dst, a, args[1]),
        "max" => fb.float_max(dst, a, args[1]),
        "min" => fb.float_min(dst, a, args[1]),
        other => unreachable!("math.{other} has no arity"),
    }
}
