//! Programs as text, in one canonical form.
//!
//! [`print`] writes what [`parse`](super::parse) reads: parsing the text again gives the same tree, up to spans. Comments
//! and layout are lost, parentheses come only where the tree needs them, and blocks are indented by two spaces.
//!
//! Two things need care, because the language has no statement terminators. A cast to a function type, an option or a name
//! that `<` follows could swallow what comes next, and an expression that is open at its end (`if`, `fun`, a query) could
//! swallow an operator: both are put in parentheses where they are operands. What cannot be saved are statements that only
//! parentheses kept apart, as in `(P) {}`, which comes out as a struct literal; nobody writes such programs on purpose.

use std::fmt::Write as _;

use super::ast::{
    Bind, BindId, BindKind, Block, Body, Condition, ExprId, ExprKind, ExternKind, FieldDecl, FieldInit,
    FunId, FunKind, Ident, Interner, JoinKind, List, MapEntry, MapKey, Name, PatId, PatternKind, PredId,
    Program, Query, StmtId, StmtKind, Term, TypeDeclKind, TypeId, TypeKind, UnaryOp,
};

/// The program as text.
pub fn print(program: &Program, names: &Interner) -> String {
    let mut printer = Printer::new(program, names);
    if let Some(package) = program.package {
        printer.out.push_str("package ");
        printer.ident(package);
        printer.out.push('\n');
    }
    for &stmt in &program[program.body.stmts] {
        printer.statement(stmt);
        printer.out.push('\n');
    }
    printer.out
}

/// An expression as text.
pub fn print_expr(program: &Program, names: &Interner, expr: ExprId) -> String {
    let mut printer = Printer::new(program, names);
    printer.expr(expr);
    printer.out
}

/// A type annotation as text.
pub fn print_type(program: &Program, names: &Interner, ty: TypeId) -> String {
    let mut printer = Printer::new(program, names);
    printer.ty(ty);
    printer.out
}

struct Printer<'a> {
    ast: &'a Program,
    names: &'a Interner,
    out: String,
    indent: usize,
    /// Whether a block follows the current expression, where empty struct literals need parentheses.
    in_head: bool,
    /// Where the last type ends that ends with a variant without fields, to which braces that follow would belong.
    bare: Option<usize>,
}

impl<'a> Printer<'a> {
    fn new(ast: &'a Program, names: &'a Interner) -> Printer<'a> {
        Printer { ast, names, out: String::new(), indent: 0, in_head: false, bare: None }
    }
}

/// Binds looser than all operators.
const LOOSE: u8 = 0;
/// Binds tighter than binary operators: an operand of a prefix operator.
const PREFIX: u8 = 9;
/// Binds tighter than prefix operators: what a postfix operator is applied to.
const POSTFIX: u8 = 10;

impl<'a> Printer<'a> {
    fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn name(&mut self, name: Name) {
        self.out.push_str(&self.names[name]);
    }

    fn ident(&mut self, ident: Ident) {
        self.name(ident.name);
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.indent));
    }

    fn separated<T: Copy>(&mut self, items: &[T], separator: &str, mut print: impl FnMut(&mut Self, T)) {
        for (index, &item) in items.iter().enumerate() {
            if index > 0 {
                self.text(separator);
            }
            print(self, item);
        }
    }

    fn string(&mut self, ident: Ident) {
        self.string_literal(ident.name);
    }

    fn string_literal(&mut self, name: Name) {
        self.out.push('"');
        for c in self.names[name].chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c.is_control() => {
                    let _ = write!(self.out, "\\u{:04x}", c as u32);
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

// Expressions.
impl Printer<'_> {
    fn expr(&mut self, id: ExprId) {
        self.operand(id, LOOSE);
    }

    /// An expression that a block follows.
    fn head(&mut self, id: ExprId) {
        let in_head = std::mem::replace(&mut self.in_head, true);
        self.expr(id);
        self.in_head = in_head;
    }

    /// An expression in brackets.
    fn inner(&mut self, id: ExprId) {
        let in_head = std::mem::replace(&mut self.in_head, false);
        self.expr(id);
        self.in_head = in_head;
    }

    fn parens(&mut self, id: ExprId) {
        self.text("(");
        self.inner(id);
        self.text(")");
    }

    /// An expression where only what binds at least as tightly as `level` may stand without parentheses.
    fn operand(&mut self, id: ExprId, level: u8) {
        let own = match self.ast[id].kind {
            ExprKind::Binary { op, .. } => op.level(),
            ExprKind::Unary { .. } => PREFIX,
            ExprKind::Cast { ty, .. } if !matches!(self.ast[ty].kind, TypeKind::Name(_)) => LOOSE,
            kind if is_open(kind) => LOOSE,
            _ => POSTFIX,
        };
        if own < level { self.parens(id) } else { self.bare(id) }
    }

    fn bare(&mut self, id: ExprId) {
        match self.ast[id].kind {
            ExprKind::Error => self.text("<error>"),
            ExprKind::Int(value) => {
                let _ = write!(self.out, "{value}");
            }
            ExprKind::Float(value) => self.float(value),
            ExprKind::Bool(value) => self.text(if value { "true" } else { "false" }),
            ExprKind::Str(text) => self.string_literal(text),
            ExprKind::None => self.text("none"),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Field { base, name, optional } => {
                self.base(base, optional);
                self.text(if optional { "?." } else { "." });
                self.ident(name);
            }
            ExprKind::Index { base, index, optional } => {
                self.base(base, optional);
                self.text(if optional { "?[" } else { "[" });
                self.inner(index);
                self.text("]");
            }
            ExprKind::Slice { base, start, end, step } => {
                self.base(base, false);
                self.text("[");
                self.optional("", start);
                self.text(":");
                self.optional("", end);
                self.optional(":", step);
                self.text("]");
            }
            ExprKind::Call { callee, args } => {
                self.base(callee, false);
                self.text("(");
                self.elements(args);
                self.text(")");
            }
            ExprKind::Cast { value, ty } => {
                self.base(value, true);
                self.text(" as ");
                self.ty(ty);
            }
            ExprKind::Unary { op, operand } => {
                self.text(if op == UnaryOp::Neg { "-" } else { "!" });
                self.operand(operand, PREFIX);
            }
            ExprKind::Binary { .. } => self.binary(id),
            ExprKind::If { choices, otherwise } => {
                for (index, choice) in self.ast[choices].iter().enumerate() {
                    self.text(if index == 0 { "if " } else { " else if " });
                    self.head(choice.cond);
                    self.braced(choice.value);
                }
                if let Some(value) = otherwise {
                    self.text(" else");
                    self.braced(value);
                }
            }
            ExprKind::List(items) => {
                self.text("[");
                self.elements(items);
                self.text("]");
            }
            ExprKind::Map(entries) => self.map(entries),
            ExprKind::Struct { name, fields } => {
                let parens = self.in_head && fields.is_empty();
                self.text(if parens { "(" } else { "" });
                self.ident(name);
                self.text(" ");
                self.field_inits(fields);
                self.text(if parens { ")" } else { "" });
            }
            ExprKind::Fun(fun) => self.fun(fun),
            ExprKind::Match { subject, arms } => {
                self.text("match ");
                self.head(subject);
                self.text(" {");
                let in_head = std::mem::replace(&mut self.in_head, false);
                self.indent += 1;
                for arm in &self.ast[arms] {
                    self.line();
                    self.pattern(arm.pattern);
                    self.text(" =>");
                    self.body(arm.body);
                }
                self.indent -= 1;
                self.in_head = in_head;
                if !arms.is_empty() {
                    self.line();
                }
                self.text("}");
            }
            ExprKind::Query(query) => self.query(&self.ast[query]),
            ExprKind::Logic(pred) => {
                self.text("query ");
                self.pred(pred);
            }
            ExprKind::Generate { target, fields } => {
                self.text("generate ");
                self.ident(target);
                self.text(" ");
                self.field_inits(fields);
            }
            ExprKind::Fetch { url, with } => {
                self.text("fetch ");
                self.clause("", Some(url));
                self.clause(" with ", with);
            }
            ExprKind::Load { path, ty, with } => {
                self.text("load");
                if let Some(path) = path {
                    self.text(" ");
                    self.string(path);
                }
                self.text(" as ");
                self.ty(ty);
                self.clause(" with ", with);
            }
            ExprKind::Save { value, path, with } => {
                self.text("save ");
                self.clause("", Some(value));
                if let Some(path) = path {
                    self.text(" to ");
                    self.string(path);
                }
                self.clause(" with ", with);
            }
        }
    }

    /// What a postfix operator is applied to. Behind a cast the operator could become part of the type.
    fn base(&mut self, id: ExprId, swallowed: bool) {
        match self.ast[id].kind {
            ExprKind::Cast { .. } if swallowed => self.parens(id),
            _ => self.operand(id, POSTFIX),
        }
    }

    fn float(&mut self, value: f64) {
        // Debug text always has a point or an exponent, and reads back to the same number.
        let text = format!("{value:?}");
        let _ = match text.split_once('e') {
            Some((digits, exponent)) => write!(self.out, "{digits}e{exponent}"),
            None => write!(self.out, "{text}"),
        };
    }

    fn binary(&mut self, id: ExprId) {
        // The chain is printed without recursion: first the parentheses that close behind its links, from the outside in.
        let spine = self.ast.binary_spine(id);
        let mut wrapped = vec![false; spine.links.len()];
        let mut opened = 0;
        for (index, pair) in spine.links.windows(2).enumerate() {
            wrapped[index] = pair[0].op.level() < pair[1].op.level();
            opened += usize::from(wrapped[index]);
        }
        let in_head = self.in_head;
        if opened > 0 {
            self.in_head = false;
        }
        self.out.extend(std::iter::repeat_n('(', opened));
        let first_level = spine.links.first().map_or(LOOSE, |link| link.op.level());
        let followed_by_less = spine.links.first().is_some_and(|link| link.op == super::ast::BinaryOp::Less);
        self.binary_operand(spine.first, first_level, followed_by_less);
        for (index, link) in spine.links.iter().enumerate() {
            self.out.push(' ');
            self.text(link.op.text());
            self.out.push(' ');
            let before_less =
                spine.links.get(index + 1).is_some_and(|next| next.op == super::ast::BinaryOp::Less)
                    && !wrapped[index];
            self.binary_operand(link.right, link.op.level() + 1, before_less);
            if wrapped[index] {
                self.out.push(')');
                opened -= 1;
                if opened == 0 {
                    self.in_head = in_head;
                }
            }
        }
    }

    fn binary_operand(&mut self, id: ExprId, level: u8, before_less: bool) {
        let mut last = id;
        // The operand's own last part is what stands before the `<`.
        loop {
            last = match self.ast[last].kind {
                ExprKind::Binary { right, .. } => right,
                ExprKind::Unary { operand, .. } => operand,
                _ => break,
            };
        }
        match self.ast[last].kind {
            ExprKind::Cast { .. } if before_less => self.parens(id),
            // A name `all` behind `union` would read as `union all`.
            _ if self.out.ends_with(" union ") && self.starts_with_all(id) => self.parens(id),
            _ => self.operand(id, level),
        }
    }

    fn starts_with_all(&self, mut id: ExprId) -> bool {
        loop {
            id = match self.ast[id].kind {
                ExprKind::Field { base, .. }
                | ExprKind::Index { base, .. }
                | ExprKind::Slice { base, .. } => base,
                ExprKind::Call { callee, .. } => callee,
                ExprKind::Cast { value, .. } => value,
                ExprKind::Binary { left, .. } => left,
                ExprKind::Name(name) => return &self.names[name] == "all",
                ExprKind::Struct { name, .. } => return &self.names[name.name] == "all",
                _ => return false,
            };
        }
    }

    fn elements(&mut self, items: List<ExprId>) {
        self.separated(&self.ast[items], ", ", |printer, item| printer.inner(item));
    }

    fn optional(&mut self, before: &str, expr: Option<ExprId>) {
        if let Some(expr) = expr {
            self.text(before);
            let in_head = std::mem::replace(&mut self.in_head, false);
            self.operand(expr, LOOSE + 1);
            self.in_head = in_head;
        }
    }

    /// A part of a query and the like: what is open at its end goes in parentheses.
    fn clause(&mut self, before: &str, expr: Option<ExprId>) {
        if let Some(expr) = expr {
            self.text(before);
            self.operand(expr, LOOSE + 1);
        }
    }

    fn braced(&mut self, value: ExprId) {
        self.text(" { ");
        self.inner(value);
        self.text(" }");
    }

    fn map(&mut self, entries: List<MapEntry>) {
        let in_head = std::mem::replace(&mut self.in_head, false);
        self.text("{");
        self.separated(&self.ast[entries], ", ", |printer, entry| {
            match entry.key {
                MapKey::Name(name) => printer.ident(name),
                MapKey::Expr(key) => match printer.ast[key].kind {
                    ExprKind::Int(_)
                    | ExprKind::Float(_)
                    | ExprKind::Bool(_)
                    | ExprKind::Str(_)
                    | ExprKind::None => printer.expr(key),
                    _ => printer.parens(key),
                },
            }
            printer.text(": ");
            printer.expr(entry.value);
        });
        self.text("}");
        self.in_head = in_head;
    }

    fn field_inits(&mut self, fields: List<FieldInit>) {
        if fields.is_empty() {
            return self.text("{}");
        }
        self.text("{ ");
        self.separated(&self.ast[fields], ", ", |printer, field| {
            printer.ident(field.name);
            printer.text(": ");
            printer.inner(field.value);
        });
        self.text(" }");
    }

    fn query(&mut self, query: &Query) {
        for (index, source) in self.ast[query.sources].iter().enumerate() {
            self.text(if index == 0 { "from " } else { " from " });
            self.row(source.bind, source.source);
        }
        for join in &self.ast[query.joins] {
            self.text(match join.kind {
                JoinKind::Inner => " join ",
                JoinKind::Left => " left join ",
                JoinKind::Right => " right join ",
                JoinKind::Outer => " outer join ",
            });
            self.row(join.bind, join.source);
            self.clause(" on ", Some(join.on));
        }
        self.clause(" where ", query.filter);
        if let Some(group) = query.group {
            self.text(" group by ");
            self.separated(&self.ast[group.keys], ", ", |printer, key| printer.clause("", Some(key)));
            self.text(" into ");
            self.name(self.ast[group.into].name);
            self.clause(" having ", group.having);
        }
        self.clause(" sort by ", query.sort);
        self.clause(" skip ", query.skip);
        self.clause(" take ", query.take);
        self.text(if query.distinct { " select distinct " } else { " select " });
        self.clause("", Some(query.select));
    }

    fn row(&mut self, bind: BindId, source: ExprId) {
        self.name(self.ast[bind].name);
        self.clause(" in ", Some(source));
    }

    fn pred(&mut self, pred: PredId) {
        let pred = self.ast[pred];
        self.ident(pred.name);
        self.text("(");
        self.separated(&self.ast[pred.terms], ", ", |printer, term| match term {
            Term::Var(name) => printer.ident(name),
            Term::Str(text) => printer.string(text),
            Term::Int(value, _) => {
                let _ = write!(printer.out, "{value}");
            }
        });
        self.text(")");
    }

    fn pattern(&mut self, id: PatId) {
        match self.ast[id].kind {
            PatternKind::Error => self.text("<error>"),
            PatternKind::Wildcard => self.text("_"),
            PatternKind::Literal(literal) => self.expr(literal),
            PatternKind::Name { name, .. } => self.ident(name),
            PatternKind::Constructor { name, args } => {
                self.ident(name);
                self.text("(");
                self.separated(&self.ast[args], ", ", |printer, arg| printer.pattern(arg));
                self.text(")");
            }
        }
    }
}

/// Whether an expression goes on as far as it can, so that what follows it could become a part of it.
fn is_open(kind: ExprKind) -> bool {
    matches!(
        kind,
        ExprKind::If { .. }
            | ExprKind::Fun(_)
            | ExprKind::Match { .. }
            | ExprKind::Query(_)
            | ExprKind::Fetch { .. }
            | ExprKind::Load { .. }
            | ExprKind::Save { .. }
    )
}

// Types and functions.
impl Printer<'_> {
    fn ty(&mut self, id: TypeId) {
        match self.ast[id].kind {
            TypeKind::Error => self.text("<error>"),
            TypeKind::Name(name) => self.name(name),
            TypeKind::Generic { name, args } => {
                self.ident(name);
                self.text("<");
                self.separated(&self.ast[args], ", ", |printer, arg| printer.ty(arg));
                self.text(">");
            }
            TypeKind::Fun { params, result } => {
                self.text("fun(");
                self.separated(&self.ast[params], ", ", |printer, param| printer.ty(param));
                self.text(")");
                self.annotation(result);
            }
            TypeKind::Struct(fields) => {
                self.text("{");
                self.field_decls(fields);
                self.text("}");
            }
            TypeKind::Optional(inner) => {
                self.ty(inner);
                self.text("?");
            }
        }
    }

    fn annotation(&mut self, ty: Option<TypeId>) {
        if let Some(ty) = ty {
            self.text(": ");
            self.ty(ty);
        }
    }

    fn field_decls(&mut self, fields: List<FieldDecl>) {
        self.separated(&self.ast[fields], ", ", |printer, field| {
            printer.ident(field.name);
            printer.annotation(Some(field.ty));
        });
    }

    fn params(&mut self, params: List<BindId>) {
        self.text("(");
        self.separated(&self.ast[params], ", ", |printer, param| {
            let Bind { name, ty, .. } = printer.ast[param];
            printer.name(name);
            printer.annotation(ty);
        });
        self.text(")");
    }

    fn fun(&mut self, id: FunId) {
        let fun = self.ast[id];
        if fun.exported {
            self.text("export ");
        }
        self.text(if fun.kind == FunKind::Intent { "intent" } else { "fun" });
        if let Some(bind) = fun.bind {
            self.text(" ");
            self.name(self.ast[bind].name);
        }
        if !fun.type_params.is_empty() {
            self.text("<");
            self.separated(&self.ast[fun.type_params], ", ", |printer, name| printer.ident(name));
            self.text(">");
        }
        self.params(fun.params);
        self.annotation(fun.result);
        if !fun.effects.is_empty() {
            self.text(" ! ");
            self.separated(&self.ast[fun.effects], ", ", |printer, name| printer.ident(name));
        }
        if let Body::Expr(_) = fun.body {
            self.text(" =>");
        }
        self.body(fun.body);
    }

    fn body(&mut self, body: Body) {
        match body {
            Body::Expr(expr) => {
                self.text(" ");
                self.expr(expr);
            }
            Body::Block(block) => self.block(block),
        }
    }

    /// A space and the block.
    fn block(&mut self, block: Block) {
        if block.stmts.is_empty() {
            return self.text(" {}");
        }
        let in_head = std::mem::replace(&mut self.in_head, false);
        self.text(" {");
        self.indent += 1;
        for &stmt in &self.ast[block.stmts] {
            self.line();
            self.statement(stmt);
        }
        self.indent -= 1;
        self.line();
        self.text("}");
        self.in_head = in_head;
    }
}

// Statements.
impl Printer<'_> {
    fn statement(&mut self, id: StmtId) {
        let start = self.out.len();
        self.statement_alone(id);
        if self.out[start..].starts_with('{')
            && let Some(end) = self.bare
            && self.out[..start].trim_end().len() == end
        {
            self.out.insert_str(end, " {}");
        }
    }

    fn statement_alone(&mut self, id: StmtId) {
        match self.ast[id].kind {
            StmtKind::Error => self.text("<error>"),
            StmtKind::Let { bind, value } => {
                let Bind { name, kind, ty, .. } = self.ast[bind];
                self.text(if kind == BindKind::Var { "var " } else { "let " });
                self.name(name);
                self.annotation(ty);
                if let Some(value) = value {
                    self.text(" = ");
                    self.expr(value);
                }
            }
            StmtKind::Assign { target, value } => {
                self.expr(target);
                self.text(" = ");
                self.expr(value);
            }
            StmtKind::Fun(fun) | StmtKind::Intent(fun) => self.fun(fun),
            StmtKind::Return(value) => {
                self.text("return");
                if let Some(value) = value {
                    self.text(" ");
                    self.expr(value);
                }
            }
            StmtKind::If { branches, otherwise } => {
                for (index, branch) in self.ast[branches].iter().enumerate() {
                    self.text(if index == 0 { "if " } else { " else if " });
                    self.head(branch.cond);
                    self.block(branch.body);
                }
                if let Some(block) = otherwise {
                    self.text(" else");
                    self.block(block);
                }
            }
            StmtKind::While { cond, body } => {
                self.text("while ");
                self.head(cond);
                self.block(body);
            }
            StmtKind::ForIn { bind, items, body } => {
                self.text("for ");
                self.name(self.ast[bind].name);
                self.text(" in ");
                self.head(items);
                self.block(body);
            }
            StmtKind::ForRange { bind, start, end, body } => {
                self.text("for ");
                self.name(self.ast[bind].name);
                self.text(" in ");
                self.head(start);
                self.text("..");
                self.head(end);
                self.block(body);
            }
            StmtKind::Break => self.text("break"),
            StmtKind::Continue => self.text("continue"),
            StmtKind::Expr(expr) => match self.ast[expr].kind {
                // At the start of a statement `if` is the statement, and `into` would belong to `fetch`.
                ExprKind::If { .. } => self.parens(expr),
                _ => self.expr(expr),
            },
            StmtKind::Test { name, body } => {
                self.text("test ");
                self.string(name);
                self.block(body);
            }
            StmtKind::Bench { name, body } => {
                self.text("bench ");
                self.string(name);
                self.block(body);
            }
            StmtKind::Expect(expr) => {
                self.text("expect ");
                self.expr(expr);
            }
            StmtKind::Type(decl) => self.type_decl(decl),
            StmtKind::Import(import) => {
                let import = self.ast[import];
                self.text("import ");
                if let Some(lang) = import.lang {
                    self.ident(lang);
                    self.text(" ");
                }
                self.string(import.path);
                if import.has_alias {
                    self.text(" as ");
                    self.name(self.ast[import.bind].name);
                }
                self.text(if import.auto { " auto" } else { "" });
            }
            StmtKind::Extern(decl) => self.extern_decl(decl),
            StmtKind::Fetch { url, bind, with } => {
                self.text("fetch ");
                self.clause("", Some(url));
                self.text(" into ");
                self.name(self.ast[bind].name);
                self.clause(" with ", with);
            }
            StmtKind::Update { target, set, filter } => {
                self.text("update ");
                self.ident(target);
                self.text(" set ");
                self.map(set);
                self.clause(" where ", filter);
            }
            StmtKind::Fact(pred) => {
                self.text("fact ");
                self.pred(pred);
            }
            StmtKind::Rule { head, body } => {
                self.text("rule ");
                self.pred(head);
                self.text(" :- ");
                self.separated(&self.ast[body], ", ", |printer, condition| match condition {
                    Condition::Pred(pred) => printer.pred(pred),
                    Condition::NotEqual(left, right) => {
                        printer.ident(left);
                        printer.text(" != ");
                        printer.ident(right);
                    }
                });
            }
            StmtKind::Stream { name, fields } => {
                self.text("stream ");
                self.ident(name);
                self.text(" { ");
                self.field_decls(fields);
                self.text(" }");
            }
            StmtKind::On { stream, bind, body } => {
                self.text("on ");
                self.ident(stream);
                self.text(" as ");
                self.name(self.ast[bind].name);
                self.block(body);
            }
            StmtKind::Emit { stream, fields } => {
                self.text("emit ");
                self.ident(stream);
                self.text(" ");
                self.field_inits(fields);
            }
            StmtKind::Model { name, fields } => {
                self.text("model ");
                self.ident(name);
                self.text(" ");
                self.field_inits(fields);
            }
            StmtKind::Agent { name, body } => {
                self.text("agent ");
                self.ident(name);
                self.block(body);
            }
        }
    }

    fn type_decl(&mut self, decl: super::ast::TypeDeclId) {
        let decl = self.ast[decl];
        self.text("type ");
        self.ident(decl.name);
        match decl.kind {
            TypeDeclKind::Alias(ty) => {
                self.text(" = ");
                self.ty(ty);
            }
            TypeDeclKind::Union(variants) => {
                self.text(" = ");
                let variants = &self.ast[variants];
                let single = variants.len() == 1;
                self.separated(variants, " | ", |printer, variant| {
                    printer.ident(variant.name);
                    if !variant.fields.is_empty() {
                        printer.text("(");
                        printer.field_decls(variant.fields);
                        printer.text(")");
                    } else if single {
                        printer.text(" {}");
                    }
                });
                let bare = !single && variants.last().is_some_and(|variant| variant.fields.is_empty());
                self.bare = bare.then_some(self.out.len());
            }
            TypeDeclKind::Struct { fields, methods } => {
                self.text(" {");
                self.indent += 1;
                for field in &self.ast[fields] {
                    self.line();
                    self.ident(field.name);
                    self.annotation(Some(field.ty));
                }
                for &method in &self.ast[methods] {
                    self.line();
                    self.fun(method);
                }
                self.indent -= 1;
                self.line();
                self.text("}");
            }
        }
    }

    fn extern_decl(&mut self, decl: super::ast::ExternId) {
        let decl = self.ast[decl];
        self.text(match decl.kind {
            ExternKind::Type => "extern type ",
            ExternKind::Object => "extern object ",
            ExternKind::Let(_) => "extern let ",
            ExternKind::Var(_) => "extern var ",
            ExternKind::Fun { .. } => "extern fun ",
        });
        self.separated(&self.ast[decl.path], ".", |printer, name| printer.ident(name));
        match decl.kind {
            ExternKind::Let(ty) | ExternKind::Var(ty) => self.annotation(Some(ty)),
            ExternKind::Fun { params, result } => {
                self.params(params);
                self.annotation(result);
            }
            ExternKind::Type | ExternKind::Object => {}
        }
    }
}
