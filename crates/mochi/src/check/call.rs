//! Calls: of functions by name, builtins, methods and other values.
//!
//! Type parameters are found by matching parameters with arguments from left to right. Too few arguments give a function
//! of the rest, one at a time.

use std::collections::HashMap;

use crate::builtins::Builtin;
use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{ExprId, ExprKind, List, Name};

use super::access::Use;
use super::types::{FunEffects, FunTy, Kind, Ty, VarId};
use super::{Check, Checker, Stop, error, stop};

/// What is called, for messages and rules that differ.
struct Callee {
    name: Option<Name>,
    builtin: Option<Builtin>,
    /// Where errors about the call as a whole point.
    place: Span,
}

impl Checker<'_> {
    /// `callee(args)`
    pub(super) fn call(&mut self, id: ExprId, callee: ExprId, args: List<ExprId>) -> Check<Ty> {
        let ast = self.ast;
        let args = &ast[args];
        let (ty, target) = match ast[callee].kind {
            ExprKind::Name(name) => {
                let place = self.place(id);
                let Some(var) = self.scope.find(name) else {
                    let message = format!("there is no function `{}`", self.text_of(name));
                    return stop(self.suggest_variable(Diagnostic::error(Code::T003, place, message), name));
                };
                let builtin = self.scope.var(var).builtin;
                (self.scope.current(var), Callee { name: Some(name), builtin, place })
            }
            ExprKind::Field { base, name, optional: false } => {
                let ty = self.field(callee, base, name, Use::Callee)?;
                (ty, Callee { name: Some(name.name), builtin: None, place: self.token_behind(callee) })
            }
            _ => {
                let ty = self.expr(callee, None)?;
                (ty, Callee { name: None, builtin: None, place: self.token_behind(callee) })
            }
        };
        let by_name = matches!(ast[callee].kind, ExprKind::Name(_));
        match self.types.kind(ty) {
            Kind::Poison => Err(Stop::Silent),
            Kind::Fun(fun) => {
                let fun = self.types.fun_ty(fun).clone();
                self.apply(fun, args, target)
            }
            // Upstream does not call what `?.` gives.
            Kind::Option(inner)
                if !self.strict()
                    && matches!(ast[callee].kind, ExprKind::Field { optional: true, .. })
                    && let Kind::Fun(fun) = self.types.kind(inner) =>
            {
                let fun = self.types.fun_ty(fun).clone();
                let result = self.apply(fun, args, target)?;
                Ok(self.lift(result))
            }
            // Upstream calls no `any` by name.
            Kind::Any if !(by_name && self.strict()) => {
                for &arg in args {
                    self.expr(arg, None)?;
                }
                Ok(Ty::ANY)
            }
            _ => {
                let what = target.name.map_or("this".to_owned(), |name| format!("`{}`", self.text_of(name)));
                let message = format!("{what} is no function, but of type {}", self.show(ty));
                error(Code::T004, target.place, message)
            }
        }
    }

    fn apply(&mut self, fun: FunTy, args: &[ExprId], callee: Callee) -> Check<Ty> {
        let count = args.len();
        self.check_count(&fun, count, &callee)?;
        let mut values: HashMap<VarId, Ty> = HashMap::new();
        let mut types = Vec::with_capacity(count);
        let mut effects = fun.effects;
        for (index, &arg) in args.iter().enumerate() {
            let Some(param) = fun.params.get(index).copied().or(fun.rest) else { break };
            let ty = self.argument(&fun, index, param, arg, &mut values, &callee)?;
            effects = effects.union(self.effects_of_callable(arg, ty));
            types.push(ty);
        }
        self.note_call(&callee, effects);
        if let Some(builtin) = callee.builtin {
            self.check_operands(builtin, &types, &callee)?;
            if let Some(result) = self.result_of_builtin(builtin, &types) {
                return Ok(result);
            }
        }
        let complete = fun.rest.is_some()
            || count >= fun.params.len()
            || callee.builtin.is_some_and(|builtin| !self.strict() && builtin.info().accepts(count));
        let open: Vec<VarId> = fun.generics.iter().copied().filter(|var| !values.contains_key(var)).collect();
        if complete
            && fun.rest.is_none()
            && let Some(var) = self.types.find_var(fun.result, &open)
        {
            let message =
                format!("nothing fixes the type parameter `{}`", self.types.var_text(var, self.names));
            return error(Code::T048, callee.place, message);
        }
        if complete {
            for var in open {
                values.insert(var, Ty::ANY);
            }
            return Ok(self.types.substitute(fun.result, &values));
        }
        let mut ty = self.types.substitute(fun.result, &values);
        for &param in fun.params[count..].iter().rev() {
            let param = self.types.substitute(param, &values);
            let generics = Box::default();
            ty = self.types.fun(FunTy {
                params: [param].into(),
                rest: None,
                result: ty,
                effects: fun.effects,
                generics,
            });
        }
        Ok(ty)
    }

    fn check_count(&self, fun: &FunTy, count: usize, callee: &Callee) -> Check<()> {
        if let Some(builtin) = callee.builtin {
            let info = builtin.info();
            let good = match (self.strict(), info.strict_arity) {
                (true, Some(arity)) => count == arity,
                (true, None) => fun.rest.is_some() && info.accepts(count) || fun.rest.is_none(),
                (false, _) => info.accepts(count),
            };
            if !good {
                let least = info.strict_arity.filter(|_| self.strict()).unwrap_or(info.required);
                let wanted = match (self.strict(), info.max) {
                    (false, Some(max)) if max > least => format!("{least} to {max} arguments"),
                    _ if least == 1 => "1 argument".to_owned(),
                    _ => format!("{least} arguments"),
                };
                return error(
                    Code::T039,
                    callee.place,
                    format!("`{}` takes {wanted}, not {count}", info.name),
                );
            }
        }
        if fun.rest.is_none() && count > fun.params.len() {
            let what =
                callee.name.map_or("this function".to_owned(), |name| format!("`{}`", self.text_of(name)));
            let wanted = match fun.params.len() {
                1 => "1 argument".to_owned(),
                other => format!("{other} arguments"),
            };
            let message = format!("{what} takes {wanted}, not {count}");
            return error(Code::T006, callee.place, message);
        }
        Ok(())
    }

    fn argument(
        &mut self,
        fun: &FunTy,
        index: usize,
        param: Ty,
        arg: ExprId,
        values: &mut HashMap<VarId, Ty>,
        callee: &Callee,
    ) -> Check<Ty> {
        let generic = self.types.find_var(param, &fun.generics);
        let ty = match generic {
            // What is known of the parameter by the arguments before it.
            Some(_) => {
                let known = self.types.substitute(param, values);
                let is_known = self.types.find_var(known, &fun.generics).is_none();
                self.part(arg, is_known.then_some(known))?
            }
            None => self.expr(arg, Some(param))?,
        };
        match generic {
            Some(var) => {
                let given = self.as_list_for(param, ty);
                if !self.matches(param, given, &fun.generics, values) {
                    let expected = self.types.substitute(param, values);
                    let message = format!(
                        "the arguments disagree about `{}`: expected {}, got {}",
                        self.types.var_text(var, self.names),
                        self.show(expected),
                        self.show(ty)
                    );
                    let diagnostic = Diagnostic::error(Code::T047, callee.place, message);
                    let label = self.of_type(ty);
                    let diagnostic = diagnostic.with_label(self.place(arg), label);
                    return stop(self.help_optional(diagnostic, &[ty]));
                }
            }
            None if self.strict() && !self.types.unify(ty, param) => {
                return self.bad_argument(index, param, ty, callee);
            }
            None => {}
        }
        let looks_only = callee.builtin.is_some_and(|builtin| builtin.info().reads_only());
        if index < fun.params.len() && (self.strict() || !looks_only) {
            let target = self.types.substitute(param, values);
            self.check_shared(arg, ty, target, callee.place)?;
        }
        Ok(ty)
    }

    fn bad_argument<T>(&self, index: usize, expected: Ty, ty: Ty, callee: &Callee) -> Check<T> {
        let what = callee.name.map_or("this function".to_owned(), |name| format!("`{}`", self.text_of(name)));
        let (expected, ty) = (self.show(expected), self.show(ty));
        error(Code::T007, callee.place, format!("argument {} of {what} is {expected}, not {ty}", index + 1))
    }

    /// Groups go where lists are wanted.
    fn as_list_for(&mut self, param: Ty, ty: Ty) -> Ty {
        match (self.types.kind(param), self.types.kind(ty)) {
            (Kind::List(_), Kind::Group(_, element)) => self.types.list(element),
            _ => ty,
        }
    }

    /// Whether an argument fits a parameter with type variables, which get values by that.
    fn matches(&mut self, param: Ty, ty: Ty, vars: &[VarId], values: &mut HashMap<VarId, Ty>) -> bool {
        match (self.types.kind(param), self.types.kind(ty)) {
            (Kind::Var(var), _) if vars.contains(&var) => match values.get(&var) {
                Some(&value) => {
                    self.types.unify(ty, value) || !self.strict() && self.types.assignable(ty, value)
                }
                None => {
                    values.insert(var, ty);
                    true
                }
            },
            (_, Kind::Any) => {
                // An argument that can be anything settles the type parameters that it is about.
                while let Some(var) =
                    self.types.find_var(param, vars).filter(|var| !self.strict() && !values.contains_key(var))
                {
                    values.insert(var, Ty::ANY);
                }
                true
            }
            (Kind::List(param), Kind::List(ty)) | (Kind::Option(param), Kind::Option(ty)) => {
                self.matches(param, ty, vars, values)
            }
            (Kind::Map(a, x), Kind::Map(b, y)) => {
                self.matches(a, b, vars, values) && self.matches(x, y, vars, values)
            }
            (Kind::Fun(param), Kind::Fun(ty)) => {
                let (param, ty) = (self.types.fun_ty(param).clone(), self.types.fun_ty(ty).clone());
                param.params.len() == ty.params.len()
                    && param.rest.is_some() == ty.rest.is_some()
                    && param.params.iter().zip(&ty.params).all(|(&a, &b)| self.matches(a, b, vars, values))
                    && self.matches(param.result, ty.result, vars, values)
            }
            (Kind::Option(payload), _) if !self.strict() => self.matches(payload, ty, vars, values),
            _ => self.types.unify(ty, param),
        }
    }

    /// Effects that handing on an argument may have: the callee may call it.
    fn effects_of_callable(&self, arg: ExprId, ty: Ty) -> FunEffects {
        match self.ast[arg].kind {
            ExprKind::Fun(_) | ExprKind::Name(_) => {
                self.types.as_fun(ty).map_or_else(Default::default, |fun| fun.effects)
            }
            _ => FunEffects::default(),
        }
    }

    fn note_call(&mut self, callee: &Callee, effects: FunEffects) {
        self.log.effects = self.log.effects.union(effects);
        if let (Some(name), None, false) = (callee.name, self.log.first, effects.effects.is_pure()) {
            self.log.first = Some((name, callee.place, effects.effects));
        }
    }

    /// What builtins ask of their arguments beyond their signature.
    fn check_operands(&mut self, builtin: Builtin, types: &[Ty], callee: &Callee) -> Check<()> {
        let Some(&first) = types.first() else { return Ok(()) };
        let kind = self.types.kind(first);
        let summable = |element: Ty| {
            self.types.is_numeric(element) || matches!(element, Ty::STR | Ty::BOOL | Ty::ANY | Ty::POISON)
        };
        let elements = match kind {
            Kind::List(element) | Kind::Group(_, element) => Some(element),
            _ => None,
        };
        let (good, code, wanted) = match builtin {
            Builtin::Len => {
                let good = matches!(kind, Kind::List(_) | Kind::Map(..) | Kind::Str)
                    || !self.strict() && matches!(kind, Kind::Group(..));
                (good, Code::T036, "a list, a map or a string")
            }
            Builtin::Count => (elements.is_some(), Code::T037, "a list or a group"),
            Builtin::Avg => (elements.is_some_and(summable), Code::T038, "a list or a group of numbers"),
            Builtin::Sum => (elements.is_some_and(summable), Code::T041, "a list or a group of numbers"),
            Builtin::Min | Builtin::Max => {
                (elements.is_some_and(summable), Code::T007, "a list or a group of numbers")
            }
            Builtin::Int => {
                let good = matches!(first, Ty::STR | Ty::INT | Ty::FLOAT)
                    || !self.strict() && self.types.is_numeric(first);
                (good, Code::T007, "a string or a number")
            }
            Builtin::Float | Builtin::ToFloat => {
                (first == Ty::STR || self.types.is_numeric(first), Code::T007, "a string or a number")
            }
            Builtin::Abs | Builtin::Ceil | Builtin::Floor | Builtin::Num | Builtin::Denom | Builtin::Pow => {
                (types.iter().all(|&ty| ty == Ty::ANY || self.types.is_numeric(ty)), Code::T007, "numbers")
            }
            Builtin::Exists => {
                let good = elements.is_some() || matches!(kind, Kind::Map(..) | Kind::Str);
                (good, Code::T007, "a list, a group, a map or a string")
            }
            Builtin::Reverse | Builtin::Slice => {
                (matches!(kind, Kind::List(_) | Kind::Str), Code::T007, "a list or a string")
            }
            Builtin::Sha256 => {
                (matches!(kind, Kind::List(_) | Kind::Str), Code::T007, "a string or a list of bytes")
            }
            Builtin::Eval => (first == Ty::STR || !self.strict() && first == Ty::ANY, Code::T007, "a string"),
            _ => (true, Code::T007, ""),
        };
        let any = first == Ty::ANY && !(self.strict() && builtin == Builtin::Eval);
        if !good && (!any || matches!(builtin, Builtin::Pow)) {
            let ty = types.iter().copied().find(|&ty| ty != Ty::ANY).unwrap_or(first);
            let message = format!("`{}` takes {wanted}, not {}", builtin.name(), self.show(ty));
            return stop(self.help_optional(Diagnostic::error(code, callee.place, message), types));
        }
        // Positions and counts are ints in the narrow sense; bigint is let through.
        let params = builtin.info();
        for (index, &ty) in types.iter().enumerate() {
            if params.param(index) == Some(crate::builtins::Ty::Int)
                && !matches!(ty, Ty::INT | Ty::ANY | Ty::BIGINT)
            {
                return self.bad_argument(index, Ty::INT, ty, callee);
            }
        }
        Ok(())
    }

    /// The result of builtins whose result depends on the arguments in ways that no signature says.
    fn result_of_builtin(&mut self, builtin: Builtin, types: &[Ty]) -> Option<Ty> {
        let first = types.first().copied();
        let element = first.and_then(|ty| match self.types.kind(ty) {
            Kind::List(element) | Kind::Group(_, element) => Some(element),
            _ => None,
        });
        match builtin {
            Builtin::Reverse => first.filter(|&ty| ty == Ty::STR || element.is_some()),
            _ if self.strict() => None,
            Builtin::Sum => element.filter(|&element| self.types.is_numeric(element)),
            Builtin::Abs => first.filter(|&ty| self.types.is_numeric(ty)),
            Builtin::Pow => {
                types.iter().copied().reduce(|a, b| self.types.numeric_join(a, b).unwrap_or(Ty::ANY))
            }
            _ => None,
        }
    }
}
