//! Values that change their representation: where a value of one static type flows into a slot of another.

use upshift_bytecode::builder::Reg;
use upshift_bytecode::{Bank, CellType, HeapType, Immediate, TrapCode, ValueType};

use super::body::{Body, Val};
use super::{BIGINT_KIND, BIGRAT_KIND};
use crate::infer::{Declared, DeclaredKind, Ty, TyId, TyKind};

impl Body<'_, '_> {
    /// The value as one of another type, in any register.
    pub fn convert(&mut self, val: Val, to: TyId) -> Val {
        if val.ty == to {
            return val;
        }
        if self.cx.value(val.ty) == self.cx.value(to) && self.same_kind(val.ty, to) {
            return Val { ty: to, ..val };
        }
        let dst = self.target(to, None);
        self.convert_into(val, to, dst.reg);
        dst
    }

    /// The value as one of another type, in a register of that type. Frees the value.
    pub fn convert_into(&mut self, val: Val, to: TyId, dst: Reg) {
        let (from, target) = (self.ty(val.ty), self.ty(to));
        let (from_value, to_value) = (self.cx.value(val.ty), self.cx.value(to));
        if val.ty == to || (from_value == to_value && self.same_kind(val.ty, to)) {
            self.copy(to, dst, val.reg);
            return self.done(val);
        }
        if from.kind == TyKind::Null {
            match (target.nullable, target.kind) {
                (true, _) => self.fb.load_nil(dst),
                // None does not fit: inference saw no value that gets here.
                (false, _) => self.fb.trap(TrapCode::NullAccess),
            }
            return self.done(val);
        }
        if converts_number(from.kind, target.kind) {
            self.convert_number(val, from, target, to, dst);
            return;
        }
        match (from_value, to_value) {
            (ValueType::Cell(a), ValueType::Cell(b)) => {
                let wide = matches!(target.kind, TyKind::Float | TyKind::BigInt | TyKind::BigRat);
                if from.kind == TyKind::Any && wide {
                    self.number_into(val, target.kind, b, to, dst);
                    return;
                }
                let widens = target.kind == TyKind::Any || (a.id == b.id && (b.nullable || !a.nullable));
                if widens {
                    self.fb.cell_move(dst, val.reg);
                } else {
                    self.fb.cell_cast(dst, val.reg, b);
                }
            }
            (raw, ValueType::Cell(cell)) => {
                if target.kind == TyKind::Any || target.kind == from.kind {
                    self.box_raw(raw, dst, val.reg);
                } else {
                    return self.misfit(val, |this, boxed| this.fb.cell_cast(dst, boxed, cell));
                }
            }
            (ValueType::Cell(_), raw) => self.unbox_raw(raw, dst, val.reg),
            (_, raw) => return self.misfit(val, |this, boxed| this.unbox_raw(raw, dst, boxed)),
        }
        self.done(val);
    }

    /// A raw value where another kind is needed, as the bound of a range: the check of a cell fails, and says what it found. Frees the
    /// value.
    fn misfit(&mut self, val: Val, check: impl FnOnce(&mut Self, Reg)) {
        let boxed = self.boxed(val);
        check(self, boxed.reg);
        self.done(boxed);
    }

    /// Whether two types of one representation need no conversion between their values.
    fn same_kind(&self, a: TyId, b: TyId) -> bool {
        let (a, b) = (self.ty(a).kind, self.ty(b).kind);
        a == b || (a, b) == (TyKind::Null, TyKind::Any)
    }

    /// dst cell = raw value.
    pub fn box_raw(&mut self, raw: ValueType, dst: Reg, src: Reg) {
        match raw {
            ValueType::Int => self.fb.box_int(dst, src),
            ValueType::Bool => self.fb.box_bool(dst, src),
            ValueType::Float => self.fb.box_float(dst, src),
            ValueType::Cell(_) => self.fb.cell_move(dst, src),
        }
    }

    /// dst raw = cell, checked.
    pub fn unbox_raw(&mut self, raw: ValueType, dst: Reg, src: Reg) {
        match raw {
            ValueType::Int => self.fb.unbox_int(dst, src),
            ValueType::Bool => self.fb.unbox_bool(dst, src),
            // An int that meets a float slot converts (a declared float never holds an int).
            ValueType::Float => self.fb.unbox_number(dst, src),
            ValueType::Cell(_) => self.fb.cell_move(dst, src),
        }
    }

    /// A dynamic value into a cell that holds a float, bigint or bigrat: smaller numbers convert, everything else is checked. Frees the value.
    fn number_into(&mut self, val: Val, target: TyKind, cell: CellType, to: TyId, dst: Reg) {
        let smaller = Self::smaller(target);
        let result = self.target(to, dst_if_register(dst));
        let (convert, end) = (self.fb.label(), self.fb.label());
        for heap in smaller {
            let cell = self.cell_of(heap.clone());
            let flag = self.fb.int();
            self.fb.cell_test(flag, val.reg, cell);
            self.fb.if_branch(flag, convert);
            self.fb.free(flag);
        }
        self.fb.cell_cast(result.reg, val.reg, cell);
        self.fb.jump(end);
        self.fb.bind(convert);
        if target == TyKind::Float {
            let float = self.fb.float();
            self.fb.unbox_number(float, val.reg);
            self.fb.box_float(result.reg, float);
            self.fb.free(float);
        } else {
            self.cast_call(val, to, result.reg);
        }
        self.fb.bind(end);
        if result.reg != dst {
            self.copy(to, dst, result.reg);
        }
        self.done(result);
        self.done(val);
    }

    /// The wider numbers that a slot is declared to hold, which it converts others to.
    pub fn converts(&self, declared: Option<Declared>) -> Option<TyId> {
        let kind = match declared?.kind {
            DeclaredKind::Float => TyKind::Float,
            DeclaredKind::BigInt => TyKind::BigInt,
            DeclaredKind::BigRat => TyKind::BigRat,
            _ => return None,
        };
        self.cx.types.find(Ty { kind, nullable: false })
    }

    /// A dynamic value, in a register of its own, that goes to a slot which is declared to hold such numbers but became `any`:
    /// smaller numbers convert, everything else stays. Frees the value.
    pub fn widened(&mut self, val: Val, number: TyId) -> Val {
        let val = self.owned(val);
        let smaller = Self::smaller(self.ty(number).kind);
        let (convert, end) = (self.fb.label(), self.fb.label());
        for (i, heap) in smaller.iter().enumerate() {
            let cell = self.cell_of(heap.clone());
            let flag = self.fb.int();
            self.fb.cell_test(flag, val.reg, cell);
            if i + 1 < smaller.len() {
                self.fb.if_branch(flag, convert);
            } else {
                self.fb.unless_branch(flag, end);
            }
            self.fb.free(flag);
        }
        self.fb.bind(convert);
        let wide = self.target(number, None);
        if number == TyId::FLOAT {
            self.fb.unbox_number(wide.reg, val.reg);
        } else {
            self.cast_call(val, number, wide.reg);
        }
        self.convert_into(wide, TyId::ANY, val.reg);
        self.fb.bind(end);
        val
    }

    /// The kinds of other numbers that convert to one where it is declared.
    fn smaller(kind: TyKind) -> &'static [HeapType] {
        match kind {
            TyKind::BigInt => &[HeapType::Int, HeapType::Float, HeapType::Bytes(BIGRAT_KIND)],
            TyKind::BigRat => &[HeapType::Int, HeapType::Float, HeapType::Bytes(BIGINT_KIND)],
            _ => &[HeapType::Int],
        }
    }

    /// int into float, bigint or bigrat, under nullable too. Frees the value.
    fn convert_number(&mut self, val: Val, from: Ty, target: Ty, to: TyId, dst: Reg) {
        if !from.nullable {
            match target.kind {
                TyKind::Float if !target.nullable => self.fb.float_from_int(dst, val.reg),
                TyKind::Float => {
                    let float = self.fb.float();
                    self.fb.float_from_int(float, val.reg);
                    self.fb.box_float(dst, float);
                    self.fb.free(float);
                }
                _ => {
                    let boxed = self.boxed(val);
                    self.cast_call(boxed, to, dst);
                    return self.done(boxed);
                }
            }
            return self.done(val);
        }
        // Nullable: none stays none.
        let boxed = self.boxed(val);
        let (null, end) = (self.fb.label(), self.fb.label());
        let result = self.target(to, dst_if_register(dst));
        self.fb.is_branch(boxed.reg, Immediate::Nil, null);
        match (target.kind, target.nullable) {
            (TyKind::Float, true) => {
                let float = self.fb.float();
                self.fb.unbox_number(float, boxed.reg);
                self.fb.box_float(result.reg, float);
                self.fb.free(float);
            }
            (TyKind::Float, false) => self.fb.unbox_number(result.reg, boxed.reg),
            _ => self.cast_call(boxed, to, result.reg),
        }
        self.fb.jump(end);
        self.fb.bind(null);
        if target.nullable {
            self.fb.load_nil(result.reg);
        } else {
            self.fb.trap(TrapCode::NullAccess);
        }
        self.fb.bind(end);
        if result.reg != dst {
            self.copy(to, dst, result.reg);
        }
        self.done(result);
        self.done(boxed);
    }

    /// The value in a cell register, whatever cell type it has.
    pub fn boxed(&mut self, val: Val) -> Val {
        match self.cx.value(val.ty) {
            ValueType::Cell(_) => val,
            raw => {
                let reg = self.fb.cell(upshift_bytecode::ANY);
                self.box_raw(raw, reg, val.reg);
                self.done(val);
                Val { reg, ty: TyId::ANY, temp: true }
            }
        }
    }

    /// The value as `any`, boxed where it is raw.
    pub fn any(&mut self, val: Val) -> Val {
        self.convert(val, TyId::ANY)
    }

    /// dst = the value cast by the library. Does not free the value, which is in a cell.
    pub fn cast_call(&mut self, boxed: Val, to: TyId, dst: Reg) {
        self.cast_call_as(boxed, to, to, dst);
    }

    /// As [`Body::cast_call`], to a declared type of which the result's type may say less.
    pub fn cast_call_as(&mut self, boxed: Val, declared: TyId, to: TyId, dst: Reg) {
        let any = ValueType::Cell(upshift_bytecode::ANY);
        let string = ValueType::Cell(self.cell_of(HeapType::String));
        let result = self.cx.value(to);
        let host = self.host("mochi.cast", &[any, string], Some(result));
        let text = self.cx.descriptor(declared, to);
        let text = self.cx.module.string(&text);
        let slots = upshift_bytecode::builder::FunctionBuilder::cell_arguments(2);
        self.fb.cell_move(slots[0], boxed.reg);
        self.fb.string_const(slots[1], text);
        self.call_host(host, Some(result), dst);
    }

    /// Calls a host function whose arguments are in the window.
    pub fn call_host(&mut self, host: upshift_bytecode::HostId, result: Option<ValueType>, dst: Reg) {
        match result.map(ValueType::bank) {
            Some(Bank::Int) => self.fb.call_host_int(dst, host),
            Some(Bank::Float) => self.fb.call_host_float(dst, host),
            Some(Bank::Cell) => self.fb.call_host_cell(dst, host),
            None => self.fb.call_host_void(host),
        }
    }
}

/// Whether a store between these kinds converts a number.
fn converts_number(from: TyKind, to: TyKind) -> bool {
    matches!(
        (from, to),
        (TyKind::Int, TyKind::Float | TyKind::BigInt | TyKind::BigRat)
            | (TyKind::Float | TyKind::BigRat, TyKind::BigInt)
            | (TyKind::BigInt | TyKind::Float, TyKind::BigRat)
    )
}

/// Code with several blocks must not write a window slot, so it gets a register of its own then.
fn dst_if_register(dst: Reg) -> Option<Reg> {
    (!dst.is_window()).then_some(dst)
}
