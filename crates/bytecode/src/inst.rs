//! How an instruction is encoded: one or two 8-byte words.
//!
//! A word is four 16-bit units, the opcode in the lowest; the second word continues the units 4 to 7. Where an operand
//! stands follows from the op's row ([`crate::ops::OpInfo::layout`]). Branch targets are signed distances in words from the
//! branch's first word. [`Inst`] is the decoded form that verifier, printer, builder and compilers use; the interpreter
//! reads the units directly.

use crate::ops::{MAX_OPERANDS, Op, OperandKind};

/// One 8-byte word of code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Word(pub u64);

impl Word {
    /// Unit 0: the opcode's number (unit 4 in a second word).
    #[inline(always)]
    pub fn op(self) -> u16 {
        self.0 as u16
    }
    /// Unit 1.
    #[inline(always)]
    pub fn a(self) -> u16 {
        (self.0 >> 16) as u16
    }
    /// Unit 2.
    #[inline(always)]
    pub fn b(self) -> u16 {
        (self.0 >> 32) as u16
    }
    /// Unit 3.
    #[inline(always)]
    pub fn c(self) -> u16 {
        (self.0 >> 48) as u16
    }
    /// Units 2 and 3 as one number.
    #[inline(always)]
    pub fn wide(self) -> u32 {
        (self.0 >> 32) as u32
    }
    /// Units 0 and 1 as one number (units 4 and 5 in a second word).
    #[inline(always)]
    pub fn low(self) -> u32 {
        self.0 as u32
    }
}

/// A decoded instruction. Operands are sign-extended where their kind is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inst {
    /// The op.
    pub op: Op,
    /// The operands in the row's order; those beyond the row's number are 0.
    pub operands: [i64; MAX_OPERANDS],
}

/// Why a word is no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// No op has this number.
    UnknownOp(u16),
    /// The second word is missing.
    Truncated,
}

/// Whether operands of this kind are signed.
pub fn is_signed(kind: OperandKind) -> bool {
    matches!(kind, OperandKind::ImmI16 | OperandKind::ImmI32 | OperandKind::Label | OperandKind::Label16)
}

impl Inst {
    /// Decodes the instruction at the start of `code`.
    ///
    /// # Errors
    /// An unknown opcode, or code that ends inside the instruction.
    pub fn decode(code: &[Word]) -> Result<Inst, DecodeError> {
        let first = code.first().ok_or(DecodeError::Truncated)?;
        let op = Op::from_number(first.op()).ok_or(DecodeError::UnknownOp(first.op()))?;
        let info = op.info();
        if code.len() < op.words() {
            return Err(DecodeError::Truncated);
        }
        let mut operands = [0; MAX_OPERANDS];
        for (i, operand) in info.operands.iter().enumerate() {
            let unit = info.layout[i] as usize;
            let bits = code[unit / 4].0 >> (16 * (unit % 4));
            operands[i] = match (operand.kind.units(), is_signed(operand.kind)) {
                (1, true) => i64::from(bits as i16),
                (1, false) => i64::from(bits as u16),
                (_, true) => i64::from(bits as i32),
                (_, false) => i64::from(bits as u32),
            };
        }
        Ok(Inst { op, operands })
    }

    /// The words of the instruction: the first, and the second where the op has one.
    ///
    /// Operands that do not fit their width are cut; the builder checks before it encodes.
    pub fn encode(&self) -> ([Word; 2], usize) {
        let info = self.op.info();
        let mut words = [u64::from(self.op as u16), 0];
        for (i, operand) in info.operands.iter().enumerate() {
            let unit = info.layout[i] as usize;
            let mask = if operand.kind.units() == 1 { 0xFFFF } else { 0xFFFF_FFFF };
            words[unit / 4] |= (self.operands[i] as u64 & mask) << (16 * (unit % 4));
        }
        ([Word(words[0]), Word(words[1])], info.words as usize)
    }

    /// The operands with their kinds, in order.
    pub fn iter(&self) -> impl Iterator<Item = (OperandKind, i64)> + '_ {
        self.op.info().operands.iter().zip(self.operands.iter()).map(|(o, &v)| (o.kind, v))
    }

    /// The branch distance in words, where the op has a target operand.
    pub fn target(&self) -> Option<i64> {
        self.iter().find(|(k, _)| matches!(k, OperandKind::Label | OperandKind::Label16)).map(|(_, v)| v)
    }
}

/// Walks over code, giving the position in words and the instruction; stops at the first error.
pub fn instructions(code: &[Word]) -> impl Iterator<Item = (usize, Result<Inst, DecodeError>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= code.len() {
            return None;
        }
        let here = at;
        let inst = Inst::decode(&code[here..]);
        at = match &inst {
            Ok(i) => here + i.op.words(),
            Err(_) => code.len(),
        };
        Some((here, inst))
    })
}
