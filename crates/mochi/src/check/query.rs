//! Queries, and the constructs that talk to the outside: fetch, load, save, generate.

use crate::builtins::Effects;
use crate::diagnostics::Code;
use crate::source::Span;
use crate::syntax::ast::{
    BindId, ExprId, ExprKind, FieldInit, Group, Ident, JoinKind, List, MapKey, Name, QueryId, TypeId,
};

use super::types::{FunEffects, Kind, Ty};
use super::{CallLog, Check, Checker, error};

impl Checker<'_> {
    /// `from .. select ..`
    pub(super) fn query(&mut self, id: QueryId) -> Check<Ty> {
        let ast = self.ast;
        let query = ast[id];
        let mark = self.scope.enter();
        let mut rows = Vec::new();
        let mut first_element = Ty::ANY;
        for (at, source) in ast[query.sources].iter().enumerate() {
            let ty = self.expr(source.source, None)?;
            let Some(element) = self.row_type(ty) else {
                let (code, place) = match at {
                    0 => (Code::T032, query.span),
                    _ => (Code::T034, self.word_before(ast[source.bind].span, "from")),
                };
                return error(
                    code,
                    place,
                    format!("a query runs over lists and groups, not {}", self.show(ty)),
                );
            };
            if at == 0 {
                first_element = element;
            }
            self.bind_param(ast[source.bind].name, element);
            rows.push((source.bind, element));
        }
        for join in &ast[query.joins] {
            let ty = self.expr(join.source, None)?;
            let Some(element) = self.row_type(ty) else {
                return error(
                    Code::T034,
                    join.span,
                    format!("a join runs over lists and groups, not {}", self.show(ty)),
                );
            };
            self.bind_param(ast[join.bind].name, element);
            self.clause(join.on, Code::T035, "on")?;
            if matches!(join.kind, JoinKind::Right | JoinKind::Outer) {
                for row in &mut rows {
                    self.make_optional(row);
                }
            }
            rows.push((join.bind, element));
            if matches!(join.kind, JoinKind::Left | JoinKind::Outer)
                && let Some(row) = rows.last_mut()
            {
                self.make_optional(row);
            }
        }
        if let Some(filter) = query.filter {
            self.predicate(filter, Code::T033, "where")?;
        }
        for (count, word) in [(query.skip, "skip"), (query.take, "take")] {
            let Some(count) = count else { continue };
            let ty = self.expr(count, None)?;
            if !self.types.unify(ty, Ty::INT) {
                let message = format!("`{word}` takes an int, not {}", self.show(ty));
                return error(Code::T055, ast[count].span, message);
            }
        }
        if let Some(group) = query.group {
            // Rows of several variables become records, whose fields may be left out.
            let single = rows.len() == 1 || self.strict();
            self.group(group, if single { first_element } else { Ty::ANY })?;
        }
        if let Some(sort) = query.sort {
            self.sort(sort)?;
        }
        let aggregate = if query.group.is_none() { self.aggregate(query.select)? } else { None };
        let selected = match aggregate {
            Some(ty) => ty,
            None => self.expr(query.select, None)?,
        };
        if query.distinct && !self.types.is_hashable(selected) {
            let message = format!("values of type {} cannot be told apart", self.show(selected));
            return error(Code::T057, ast[query.select].span, message);
        }
        self.scope.leave(mark);
        Ok(if aggregate.is_some() { selected } else { self.types.list(selected) })
    }

    /// What a query over a value runs over.
    fn row_type(&self, ty: Ty) -> Option<Ty> {
        match self.types.kind(ty) {
            Kind::List(element) | Kind::Group(_, element) => Some(element),
            _ => None,
        }
    }

    /// A variable of rows that a join left without partner.
    fn make_optional(&mut self, row: &mut (BindId, Ty)) {
        let (bind, ty) = *row;
        if !matches!(self.types.kind(ty), Kind::Option(_)) {
            row.1 = self.types.option(ty);
            if let Some(var) = self.scope.find(self.ast[bind].name) {
                self.scope.redeclare(var, row.1);
            }
        }
    }

    /// A clause that must be bool.
    fn clause(&mut self, id: ExprId, code: Code, word: &str) -> Check<()> {
        let ty = self.expr(id, None)?;
        if self.types.unify(ty, Ty::BOOL) {
            return Ok(());
        }
        error(code, self.ast[id].span, format!("`{word}` takes a bool, not {}", self.show(ty)))
    }

    /// A clause that must be bool and without effects.
    pub(super) fn predicate(&mut self, id: ExprId, code: Code, word: &str) -> Check<()> {
        let before = std::mem::take(&mut self.log);
        self.clause(id, code, word)?;
        let inside = std::mem::replace(&mut self.log, before);
        match inside.first {
            Some(call) => self.impure(Code::T044, call, word),
            None => Ok(()),
        }
    }

    fn group(&mut self, group: Group, element: Ty) -> Check<()> {
        let ast = self.ast;
        let before = std::mem::take(&mut self.log);
        let mut key = Ty::ANY;
        for &id in &ast[group.keys] {
            key = self.expr(id, None)?;
        }
        let inside = std::mem::replace(&mut self.log, before);
        if let (Some(call), false) = (inside.first, self.strict()) {
            return self.impure(Code::T066, call, "group by");
        }
        // Several keys make a map.
        if group.keys.len() > 1 {
            key = Ty::ANY;
        }
        let ty = self.types.group(key, element);
        self.bind_param(ast[group.into].name, ty);
        if let Some(having) = group.having {
            self.predicate(having, Code::T042, "having")?;
        }
        Ok(())
    }

    /// `sort by`. Upstream forgives errors in the key, as programs name fields of group keys there.
    fn sort(&mut self, id: ExprId) -> Check<()> {
        let before = self.checkpoint();
        self.log = CallLog::default();
        let Ok(ty) = self.expr(id, None) else {
            self.restore(before);
            return Ok(());
        };
        let inside = self.log;
        self.restore(before);
        if let (Some(call), false) = (inside.first, self.strict()) {
            return self.impure(Code::T066, call, "sort by");
        }
        if ty != Ty::ANY && !self.types.is_ordered(ty) {
            let message = format!("values of type {} have no order", self.show(ty));
            return error(Code::T056, self.ast[id].span, message);
        }
        Ok(())
    }

    /// `select sum(x)` and the like without groups: one value over all rows.
    fn aggregate(&mut self, select: ExprId) -> Check<Option<Ty>> {
        let ast = self.ast;
        let ExprKind::Call { callee, args } = ast[select].kind else { return Ok(None) };
        let (Some(name), &[arg]) = (ast.as_name(callee), &ast[args]) else { return Ok(None) };
        if matches!(ast[arg].kind, ExprKind::Query(_) | ExprKind::Logic(_)) {
            return Ok(None);
        }
        let word = self.text_of(name);
        if !matches!(word, "sum" | "avg" | "min" | "max" | "count") {
            return Ok(None);
        }
        // A function or variable of the program is no aggregate.
        if !self.strict() && self.scope.find(name).is_none_or(|var| self.scope.var(var).builtin.is_none()) {
            return Ok(None);
        }
        let ty = self.expr(arg, None)?;
        if word == "count" {
            return Ok(Some(Ty::INT));
        }
        if ty != Ty::ANY && !self.types.is_numeric(ty) {
            let code = match word {
                "sum" => Code::T041,
                "avg" if !self.strict() => Code::T038,
                "avg" => Code::T041,
                _ => Code::T007,
            };
            return error(code, ast[select].span, format!("`{word}` takes numbers, not {}", self.show(ty)));
        }
        Ok(Some(if word == "avg" { Ty::FLOAT } else { ty }))
    }

    /// Notes an effect of a construct that is no call.
    fn note_effect(&mut self, effect: Effects) {
        self.log.effects = self.log.effects.union(FunEffects { effects: effect, assigns: false });
    }

    /// `fetch url with options`
    pub(super) fn fetch(&mut self, url: ExprId, with: Option<ExprId>, place: Span) -> Check<()> {
        self.note_effect(Effects::NET);
        let ty = self.expr(url, None)?;
        if !self.types.unify(ty, Ty::STR) {
            return error(Code::T028, place, format!("the address is a string, not {}", self.show(ty)));
        }
        let Some(with) = with else { return Ok(()) };
        let ty = self.expr(with, None)?;
        match self.types.kind(ty) {
            Kind::Map(key, _) if self.types.unify(key, Ty::STR) => {}
            _ => return error(Code::T029, place, format!("the options are a map, not {}", self.show(ty))),
        }
        let ExprKind::Map(entries) = self.ast[with].kind else { return Ok(()) };
        for entry in &self.ast[entries] {
            let name = match entry.key {
                MapKey::Name(name) => Some(name.name),
                MapKey::Expr(key) => match self.ast[key].kind {
                    ExprKind::Str(name) => Some(name),
                    _ => None,
                },
            };
            let Some(name) = name else { continue };
            let expected = match self.text_of(name) {
                "method" => Ty::STR,
                "headers" | "query" => self.types.map(Ty::STR, Ty::STR),
                "timeout" => Ty::FLOAT,
                _ => continue,
            };
            let ty = self.expr_types[entry.value.index()];
            let number = expected == Ty::FLOAT && !self.strict() && self.types.is_numeric(ty);
            if !self.types.unify(ty, expected) && !number {
                let (expected, ty) = (self.show(expected), self.show(ty));
                let message = format!("the option `{}` is {expected}, not {ty}", self.text_of(name));
                return error(Code::T030, self.ast[entry.value].span, message);
            }
        }
        Ok(())
    }

    /// `load path as ty with options`
    pub(super) fn load(&mut self, ty: TypeId, with: Option<ExprId>) -> Check<Ty> {
        self.note_effect(Effects::FS);
        if let Some(with) = with {
            self.expr(with, None)?;
        }
        let element = self.resolve(ty);
        Ok(self.types.list(element))
    }

    /// `save value to path with options`
    pub(super) fn save(&mut self, value: ExprId, with: Option<ExprId>) -> Check<Ty> {
        self.note_effect(Effects::FS);
        self.expr(value, None)?;
        if let Some(with) = with {
            self.expr(with, None)?;
        }
        Ok(Ty::UNIT)
    }

    /// `generate target { .. }`
    pub(super) fn generate(&mut self, id: ExprId, target: Ident, fields: List<FieldInit>) -> Check<Ty> {
        for field in &self.ast[fields] {
            let expected = self.generate_option(field.name.name);
            self.expr(field.value, expected)?;
        }
        match self.text_of(target.name) {
            "text" => Ok(Ty::STR),
            "embedding" => Ok(self.types.list(Ty::FLOAT)),
            text => match self.scope.constructor(target.name) {
                Some(target) => Ok(self.types.struct_ty(target)),
                None => error(Code::T025, self.place(id), format!("there is no type `{text}`")),
            },
        }
    }

    fn generate_option(&mut self, name: Name) -> Option<Ty> {
        match self.text_of(name) {
            "prompt" | "model" | "text" => Some(Ty::STR),
            "temperature" | "top_p" => Some(Ty::FLOAT),
            "max_tokens" => Some(Ty::INT),
            "stop" => Some(self.types.list(Ty::STR)),
            "normalize" => Some(Ty::BOOL),
            _ => None,
        }
    }
}
