//! The typing rules that the row of an op cannot express: one arm per op.

use super::code::Pass;
use super::types::{Made, Type};
use super::{Fault, Rule, fault};
use crate::module::{CType, CellConst, Immediate, Signature};
use crate::ops::Op;
use crate::types::*;

/// The type `any` as a value's type.
const ANY_TYPE: Type<'static> = Type::Heap(&HeapType::Any, true);

/// What a call gives, as the caller's op says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Raw(Bank),
    Cell,
    /// The result is dropped, if there is one.
    Nothing,
    /// The caller's own result.
    Own,
}

impl<'m> Pass<'_, 'm> {
    /// Checks the rules of the instruction's op. The type of the cell that it makes, where the operand's kind does not say.
    ///
    /// Operands have been read and checked by their kinds; ids exist.
    #[expect(clippy::too_many_lines, reason = "one arm per op")]
    pub(super) fn rule(&mut self) -> Result<Option<Type<'m>>, Fault> {
        let made = match self.inst.op {
            // All is in the row.
            Op::Nop | Op::IntMove | Op::FloatMove | Op::IntConst | Op::IntConstWide | Op::FloatConst => {
                return Ok(None);
            }
            Op::StringConst | Op::NameConst => return Ok(None),
            Op::IntAdd | Op::IntSub | Op::IntMul | Op::IntAddChecked | Op::IntSubChecked => return Ok(None),
            Op::IntMulChecked | Op::IntAddOrJump | Op::IntSubOrJump | Op::IntMulOrJump => return Ok(None),
            Op::IntAddImm | Op::IntAddImmChecked | Op::IntMulImmChecked | Op::IntNeg => return Ok(None),
            Op::IntNegChecked | Op::IntAbsChecked | Op::IntDiv | Op::IntRem | Op::IntAnd => return Ok(None),
            Op::IntOr | Op::IntXor | Op::IntShl | Op::IntShrS | Op::IntShrU | Op::IntAndImm => {
                return Ok(None);
            }
            Op::IntShlImm | Op::IntShrSImm | Op::IntExtend32 | Op::IntMin | Op::IntMax => return Ok(None),
            Op::BoolNot | Op::IntEq | Op::IntNe | Op::IntLt | Op::IntLe | Op::IntEqImm => return Ok(None),
            Op::IntNeImm | Op::IntLtImm | Op::IntLeImm | Op::IntGtImm | Op::IntGeImm => return Ok(None),
            Op::FloatAdd | Op::FloatSub | Op::FloatMul | Op::FloatDiv | Op::FloatDivChecked => {
                return Ok(None);
            }
            Op::FloatRem | Op::FloatRemChecked | Op::FloatMin | Op::FloatMax | Op::FloatPow => {
                return Ok(None);
            }
            Op::FloatAtan2 | Op::FloatNeg | Op::FloatAbs | Op::FloatSqrt | Op::FloatFloor => return Ok(None),
            Op::FloatCeil | Op::FloatTrunc | Op::FloatRound | Op::FloatSin | Op::FloatCos => return Ok(None),
            Op::FloatTan | Op::FloatAsin | Op::FloatAcos | Op::FloatAtan | Op::FloatExp => return Ok(None),
            Op::FloatLog | Op::FloatLog2 | Op::FloatLog10 | Op::FloatEq | Op::FloatNe => return Ok(None),
            Op::FloatLt | Op::FloatLe | Op::FloatFromInt | Op::IntFromFloat => return Ok(None),
            Op::FloatFromBits | Op::IntFromBits => return Ok(None),
            Op::LoopHeader | Op::Jump | Op::JumpLoop | Op::IfBranch | Op::UnlessBranch => return Ok(None),
            Op::IntEqBranch | Op::IntNeBranch | Op::IntLtBranch | Op::IntLeBranch => return Ok(None),
            Op::IntEqImmBranch | Op::IntNeImmBranch | Op::IntLtImmBranch => return Ok(None),
            Op::IntLeImmBranch | Op::IntGtImmBranch | Op::IntGeImmBranch => return Ok(None),
            Op::FloatEqBranch | Op::FloatNeBranch | Op::FloatLtBranch | Op::FloatLeBranch => return Ok(None),
            Op::FloatNotLtBranch | Op::FloatNotLeBranch | Op::IfLoop | Op::UnlessLoop => return Ok(None),
            Op::IntEqLoop | Op::IntNeLoop | Op::IntLtLoop | Op::IntLeLoop | Op::IntEqImmLoop => {
                return Ok(None);
            }
            Op::IntNeImmLoop | Op::IntLtImmLoop | Op::IntLeImmLoop | Op::IntGtImmLoop => return Ok(None),
            Op::IntGeImmLoop | Op::FloatEqLoop | Op::FloatNeLoop | Op::FloatLtLoop => return Ok(None),
            Op::FloatLeLoop | Op::FloatNotLtLoop | Op::FloatNotLeLoop | Op::IntForLoop => return Ok(None),
            Op::WatchBranch | Op::Trap | Op::Throw | Op::ResultsClear | Op::ResultsPush => return Ok(None),
            Op::ResultsLen | Op::CellEq | Op::CellNe | Op::CellLt | Op::CellLe => return Ok(None),
            Op::CellIdentical | Op::CellTruthy | Op::TruthyBranch | Op::FalsyBranch => return Ok(None),
            Op::IsBranch | Op::IsNotBranch | Op::CellKind | Op::CellTest => return Ok(None),
            Op::CellIndexSet | Op::CellFieldSet => return Ok(None),
            Op::UnboxInt | Op::UnboxFloat | Op::UnboxNumber | Op::UnboxBool => return Ok(None),
            Op::StringLen | Op::StringByteLen | Op::StringConcat | Op::StringGet => return Ok(None),
            Op::StringGetRel | Op::StringSlice | Op::StringCodeAt | Op::StringFromCode => return Ok(None),
            Op::StringFromInt | Op::StringCompare | Op::StringEq | Op::StringNe => return Ok(None),
            Op::StringContains | Op::StringEqBranch | Op::StringNeBranch => return Ok(None),
            Op::StringIndexOf | Op::StringShare => return Ok(None),
            Op::StringAppend => {
                if self.operand(0) != self.operand(1) {
                    return fault(
                        Rule::Append,
                        "the string that is extended and the result share a register",
                    );
                }
                self.appends(self.operand(0));
                return Ok(None);
            }
            Op::ListLen | Op::ListShare | Op::ListIntIndexOf | Op::ListStringIndexOf => return Ok(None),
            Op::ListIntNew | Op::ListIntGet | Op::ListIntGetRel | Op::ListIntSet => return Ok(None),
            Op::ListIntSetRel | Op::ListIntPush | Op::ListFloatNew | Op::ListFloatGet => return Ok(None),
            Op::ListFloatGetRel | Op::ListFloatSet | Op::ListFloatSetRel => return Ok(None),
            Op::ListFloatPush | Op::ListBoolNew | Op::ListBoolGet | Op::ListBoolGetRel => return Ok(None),
            Op::ListBoolSet | Op::ListBoolSetRel | Op::ListBoolPush => return Ok(None),
            Op::MapLen | Op::MapIntHas | Op::MapIntRemove | Op::MapStringHas => return Ok(None),
            Op::MapStringRemove | Op::MapCellHas | Op::MapCellRemove | Op::RecordTag => return Ok(None),
            Op::RefIntNew | Op::RefIntGet | Op::RefIntSet => return Ok(None),
            Op::RefFloatNew | Op::RefFloatGet | Op::RefFloatSet => return Ok(None),
            Op::TupleLen | Op::TupleSet | Op::TupleBits | Op::TupleSetBits => return Ok(None),
            Op::TupleSetTrailed | Op::TrailMark | Op::TrailUndo => return Ok(None),
            // The control flow analysis looks at switches and at where `frame.clear` stands.
            Op::IntSwitch | Op::CellSwitch | Op::StringSwitch | Op::FrameClear => return Ok(None),

            Op::CellMove => self.declared(1),
            Op::CellConst => match self.f.cell_constants[self.index(1)] {
                CellConst::Int(i) if i << 16 >> 16 == i => Type::Heap(&HeapType::Int, false),
                CellConst::Int(_) => return fault(Rule::Immediate, "the constant does not fit 48 bits"),
                CellConst::Float(_) => Type::Heap(&HeapType::Float, false),
                CellConst::Immediate(Immediate::Nil) => Type::Nil,
                CellConst::Immediate(Immediate::False | Immediate::True) => {
                    Type::Heap(&HeapType::Bool, false)
                }
                CellConst::Immediate(Immediate::Hole) => ANY_TYPE,
                CellConst::Immediate(Immediate::None | Immediate::Many) => {
                    Type::Heap(&HeapType::Results, true)
                }
            },
            Op::IntLocalGet => return self.read_wide(1, Bank::Int).map(|()| None),
            Op::FloatLocalGet => return self.read_wide(1, Bank::Float).map(|()| None),
            Op::CellLocalGet => {
                self.read_wide(1, Bank::Cell)?;
                self.declared(1)
            }
            Op::IntLocalSet => return self.write_wide(0, Bank::Int, ANY_TYPE).map(|()| None),
            Op::FloatLocalSet => return self.write_wide(0, Bank::Float, ANY_TYPE).map(|()| None),
            Op::CellLocalSet => {
                let ty = self.declared(1);
                return self.write_wide(0, Bank::Cell, ty).map(|()| None);
            }
            Op::IntDivImm | Op::IntRemImm => {
                return match self.operand(2) {
                    0 | -1 => fault(Rule::Immediate, "the divisor is 0 or -1"),
                    _ => Ok(None),
                };
            }

            // Calls and returns.
            Op::CallInt => return self.call_function(1, Wanted::Raw(Bank::Int)),
            Op::CallIntAddImm => {
                if self.operand(2) != 0 {
                    return fault(Rule::Immediate, "the policy of this op is empty");
                }
                self.write_first_argument(Bank::Int)?;
                return self.call_function(1, Wanted::Raw(Bank::Int));
            }
            Op::CallFloat => return self.call_function(1, Wanted::Raw(Bank::Float)),
            Op::CallCell => return self.call_function(1, Wanted::Cell),
            Op::CallVoid => return self.call_function(0, Wanted::Nothing),
            Op::TailCall => return self.call_function(0, Wanted::Own),
            Op::CallClosureInt => return self.call_closure(1, Wanted::Raw(Bank::Int)),
            Op::CallClosureFloat => return self.call_closure(1, Wanted::Raw(Bank::Float)),
            Op::CallClosureCell => return self.call_closure(1, Wanted::Cell),
            Op::CallClosureVoid => return self.call_closure(0, Wanted::Nothing),
            Op::TailClosure => return self.call_closure(0, Wanted::Own),
            Op::CallHostInt => return self.call_host(1, Wanted::Raw(Bank::Int)),
            Op::CallHostFloat => return self.call_host(1, Wanted::Raw(Bank::Float)),
            Op::CallHostCell => return self.call_host(1, Wanted::Cell),
            Op::CallHostVoid => return self.call_host(0, Wanted::Nothing),
            Op::CallCInt => return self.call_c(1, Wanted::Raw(Bank::Int)),
            Op::CallCFloat => return self.call_c(1, Wanted::Raw(Bank::Float)),
            Op::CallCVoid => return self.call_c(0, Wanted::Nothing),
            Op::CellCall => return self.call_cell(2, 0).map(|()| None),
            Op::CellCallSpread => return self.call_cell(2, 1).map(|()| None),
            Op::TailCell | Op::TailCellSpread => {
                self.call_cell(1, i64::from(self.inst.op == Op::TailCellSpread))?;
                return self.own_result(Some(Type::Heap(&HeapType::Results, true)), None).map(|()| None);
            }
            Op::ReturnInt | Op::ReturnIntAddChecked => {
                return self.own_result(None, Some(Bank::Int)).map(|()| None);
            }
            Op::ReturnFloat => return self.own_result(None, Some(Bank::Float)).map(|()| None),
            Op::ReturnCell => return self.own_result(Some(self.declared(0)), None).map(|()| None),
            Op::ReturnVoid => return self.own_result(None, None).map(|()| None),
            Op::ResultsGet => ANY_TYPE,

            // Dynamic operations.
            Op::CellAdd | Op::CellSub | Op::CellMul | Op::CellDiv | Op::CellRem | Op::CellNeg => ANY_TYPE,
            Op::CellIndexGet | Op::CellFieldGet => ANY_TYPE,
            Op::CellCast => self.type_operand(2),
            Op::BoxInt => Type::Heap(&HeapType::Int, false),
            Op::BoxFloat => Type::Heap(&HeapType::Float, false),
            Op::BoxBool => Type::Heap(&HeapType::Bool, false),

            // Lists.
            Op::ListCopy | Op::ListSlice | Op::ListCut => self.declared(1),
            Op::ListConcat | Op::ListExtend => {
                let fits = match (self.heap(1), self.heap(2)) {
                    (HeapType::ListCell(a), HeapType::ListCell(b)) => {
                        self.cx.includes(self.cx.get(*a), self.cx.get(*b))
                    }
                    (a, b) => a == b,
                };
                if !fits {
                    return fault(Rule::Type, "the lists hold elements of different types");
                }
                self.declared(1)
            }
            Op::ListIntAppend | Op::ListFloatAppend | Op::ListBoolAppend => self.declared(1),
            Op::ListCellNew => match self.type_operand(2) {
                Type::Heap(heap @ HeapType::ListCell(_), _) => Type::Heap(heap, false),
                _ => return fault(Rule::Type, "the type is no list.cell"),
            },
            Op::ListCellGet | Op::ListCellGetRel => self.component(1),
            Op::ListCellSet | Op::ListCellSetRel => return self.fits(self.component(0), 2).map(|()| None),
            Op::ListCellPush => return self.fits(self.component(0), 1).map(|()| None),
            Op::ListCellAppend => {
                self.fits(self.component(1), 2)?;
                self.declared(1)
            }

            // Maps.
            Op::MapNew => match self.type_operand(2) {
                Type::Heap(heap @ HeapType::Map { .. }, _) => Type::Heap(heap, false),
                _ => return fault(Rule::Type, "the type is no map"),
            },
            Op::MapKeys => match self.heap(1) {
                HeapType::Map { key: KeyPolicy::Int, .. } => Type::Heap(&HeapType::ListInt, false),
                HeapType::Map { key: KeyPolicy::String, .. } => Type::Made(Made::List(self.cx.string)),
                _ => Type::Made(Made::List(ANY)),
            },
            Op::MapValues => match self.heap(1) {
                HeapType::Map { value, .. } => Type::Made(Made::List(*value)),
                _ => Type::Made(Made::List(ANY)),
            },
            Op::MapIntGet | Op::MapStringGet | Op::MapCellGet => match self.component(1) {
                Type::Heap(heap, _) => Type::Heap(heap, true),
                other => other,
            },
            Op::MapIntSet | Op::MapStringSet | Op::MapCellSet => {
                return self.fits(self.component(0), 2).map(|()| None);
            }

            // Records.
            Op::RecordNew => {
                let id = RecordId(self.operand(1) as u32);
                let fields = &self.cx.module.records[id.index()].fields;
                self.consume(fields.iter().map(|f| f.ty), false)?;
                Type::Made(Made::Record(id))
            }
            Op::RecordConst => {
                let id = RecordId(self.operand(1) as u32);
                if !self.cx.module.records[id.index()].fields.is_empty() {
                    return fault(Rule::Field, "the record has fields, so it is no constant");
                }
                Type::Made(Made::Record(id))
            }
            Op::RecordIntGet => return self.field(1, 2, Bank::Int).map(|_| None),
            Op::RecordFloatGet => return self.field(1, 2, Bank::Float).map(|_| None),
            Op::RecordCellGet => return self.field(1, 2, Bank::Cell),
            Op::RecordIntSet => return self.field(0, 1, Bank::Int).map(|_| None),
            Op::RecordFloatSet => return self.field(0, 1, Bank::Float).map(|_| None),
            Op::RecordCellSet | Op::RecordCellSetTrailed => {
                if let Some(ty) = self.field(0, 1, Bank::Cell)? {
                    self.fits(ty, 2)?;
                }
                return Ok(None);
            }
            Op::RecordCopy => self.declared(1),

            // Closures and boxes.
            Op::ClosureNew => {
                let callee = &self.cx.module.functions[self.index(1)];
                let Some(captures) = &callee.environment else {
                    return fault(Rule::Environment, "the function has no environment, so it is no closure");
                };
                self.consume(captures.iter().map(|&c| ValueType::Cell(c)), false)?;
                Type::Made(Made::Closure(callee.signature))
            }
            Op::CaptureGet => match self.f.environment.as_ref().map(|e| e.get(self.index(1))) {
                Some(Some(&ty)) => self.cx.get(ty),
                Some(None) => return fault(Rule::Environment, "there is no such capture"),
                None => return fault(Rule::Environment, "the function has no environment"),
            },
            Op::RefCellNew => match self.type_operand(2) {
                Type::Heap(heap @ HeapType::RefCell(content), _) => {
                    self.fits(self.cx.get(*content), 1)?;
                    Type::Heap(heap, false)
                }
                _ => return fault(Rule::Type, "the type is no ref.cell"),
            },
            Op::RefCellGet => self.component(1),
            Op::RefCellSet | Op::RefCellSetTrailed => return self.fits(self.component(0), 1).map(|()| None),

            // Globals.
            Op::GlobalIntGet | Op::GlobalIntSet => return self.global(Bank::Int).map(|_| None),
            Op::GlobalFloatGet | Op::GlobalFloatSet => return self.global(Bank::Float).map(|_| None),
            Op::GlobalCellGet => return self.global(Bank::Cell),
            Op::GlobalCellSet => {
                if let Some(ty) = self.global(Bank::Cell)? {
                    self.fits(ty, 0)?;
                }
                return Ok(None);
            }

            // Tuples.
            Op::TupleNew => {
                let count = self.index(1);
                self.consume((0..count).map(|_| ValueType::Cell(ANY)), false)?;
                Type::Made(Made::Tuple(self.operand(2) as u16))
            }
            Op::TupleGet => ANY_TYPE,
            Op::TierEntry => return fault(Rule::Decode, "the op is the engine's own"),
        };
        Ok(Some(made))
    }

    fn type_operand(&self, i: usize) -> Type<'m> {
        self.cx
            .get(CellType { id: TypeId((self.operand(i) >> 1) as u32), nullable: self.operand(i) & 1 != 0 })
    }

    /// What the list, map or box in operand `i` holds.
    fn component(&self, i: usize) -> Type<'m> {
        match self.heap(i) {
            HeapType::ListCell(ty) | HeapType::RefCell(ty) | HeapType::Map { value: ty, .. } => {
                self.cx.get(*ty)
            }
            // The operand's kind admits the three only.
            _ => ANY_TYPE,
        }
    }

    /// The type of a field, if it is a cell. Operand `r` is the record, operand `field` the index.
    fn field(&self, r: usize, field: usize, bank: Bank) -> Result<Option<Type<'m>>, Fault> {
        let HeapType::Record(id) = self.heap(r) else {
            return fault(Rule::Field, "the operand is no record");
        };
        let record = &self.cx.module.records[id.index()];
        match record.fields.get(self.index(field)) {
            None => fault(Rule::Field, format!("{id} has {} fields", record.fields.len())),
            Some(f) if f.ty.bank() != bank => {
                fault(Rule::Field, format!("field {:?} is of another bank", f.name))
            }
            Some(f) => Ok(self.cell(f.ty)),
        }
    }

    /// The type of the global in operand 1, if it is a cell.
    fn global(&self, bank: Bank) -> Result<Option<Type<'m>>, Fault> {
        let global = &self.cx.module.globals[self.index(1)];
        if global.ty.bank() != bank {
            return fault(Rule::Bank, format!("global {:?} is of another bank", global.name));
        }
        Ok(self.cell(global.ty))
    }

    fn cell(&self, ty: ValueType) -> Option<Type<'m>> {
        match ty {
            ValueType::Cell(c) => Some(self.cx.get(c)),
            ValueType::Int | ValueType::Bool | ValueType::Float => None,
        }
    }

    fn call_function(&mut self, callee: usize, wanted: Wanted) -> Result<Option<Type<'m>>, Fault> {
        let function = &self.cx.module.functions[self.index(callee)];
        if function.environment.is_some() {
            return fault(Rule::Environment, "a function with an environment is called through its closure");
        }
        let signature = &self.cx.module.signatures[function.signature.index()];
        self.call(signature, false, wanted)
    }

    fn call_closure(&mut self, callee: usize, wanted: Wanted) -> Result<Option<Type<'m>>, Fault> {
        let HeapType::Closure(id) = self.heap(callee) else {
            return fault(Rule::Call, "the callee is no closure");
        };
        let signature = &self.cx.module.signatures[id.index()];
        self.call(signature, true, wanted)
    }

    fn call_host(&mut self, callee: usize, wanted: Wanted) -> Result<Option<Type<'m>>, Fault> {
        let host = &self.cx.module.hosts[self.index(callee)];
        let signature = &self.cx.module.signatures[host.signature.index()];
        self.call(signature, false, wanted)
    }

    fn call(
        &mut self,
        signature: &'m Signature,
        environment: bool,
        wanted: Wanted,
    ) -> Result<Option<Type<'m>>, Fault> {
        self.consume(signature.params.iter().copied(), environment)?;
        let cell = signature.result.and_then(|r| self.cell(r));
        let bank = signature.result.map(ValueType::bank);
        let fits = match wanted {
            Wanted::Nothing => true,
            Wanted::Raw(wanted) => bank == Some(wanted),
            Wanted::Cell => bank == Some(Bank::Cell),
            Wanted::Own => {
                self.own_result(cell, bank.filter(|b| *b != Bank::Cell))?;
                true
            }
        };
        if fits { Ok(cell) } else { fault(Rule::Call, "the callee's result is of another bank") }
    }

    fn call_c(&mut self, callee: usize, wanted: Wanted) -> Result<Option<Type<'m>>, Fault> {
        let c = &self.cx.module.c_functions[self.index(callee)];
        let string = ValueType::Cell(self.cx.string);
        if c.params.contains(&CType::CString) && self.cx.string.id.index() >= self.cx.module.types.len() {
            return fault(Rule::Call, "the module has no type `string` for the parameters");
        }
        let params = c.params.iter().map(move |p| match p {
            CType::Double => ValueType::Float,
            CType::CString => string,
            CType::Void | CType::Int32 | CType::Int64 | CType::Pointer => ValueType::Int,
        });
        self.consume(params, false)?;
        let bank = match c.result {
            CType::Void | CType::CString => None,
            CType::Double => Some(Bank::Float),
            CType::Int32 | CType::Int64 | CType::Pointer => Some(Bank::Int),
        };
        let fits = match wanted {
            Wanted::Raw(wanted) => bank == Some(wanted),
            Wanted::Nothing => true,
            Wanted::Cell | Wanted::Own => false,
        };
        if fits { Ok(None) } else { fault(Rule::Call, "the callee's result is of another bank") }
    }

    /// A dynamic call: operand `argc` counts the cells in the window, at least `least`.
    fn call_cell(&mut self, argc: usize, least: i64) -> Result<(), Fault> {
        let count = self.operand(argc);
        if count < least {
            return fault(Rule::Call, "a spread call needs the list to spread");
        }
        self.consume((0..count).map(|_| ValueType::Cell(ANY)), false)
    }

    /// A result of the type or bank, or none at all, must be what the function's signature says.
    fn own_result(&self, cell: Option<Type<'m>>, raw: Option<Bank>) -> Result<(), Fault> {
        let fits = match (self.signature.result, cell, raw) {
            (None, None, None) => true,
            (Some(ValueType::Cell(declared)), Some(ty), None) => {
                return self.flows(ty, self.cx.get(declared)).map_err(|f| Fault { rule: Rule::Return, ..f });
            }
            (Some(declared), None, Some(bank)) => declared.bank() == bank,
            (_, _, _) => false,
        };
        if fits { Ok(()) } else { fault(Rule::Return, "the function's result is another") }
    }
}
