//! Proves that running a module cannot corrupt memory, in any tier.
//!
//! Nothing runs, links or compiles a module before [`verify`] accepted it. What it establishes is what tiers rely on without
//! checking again: ids exist, operands name slots of their bank, cells hold what their register declares, registers are written
//! before they are read, jumps land on instructions and lead backwards to `loop_header` only, windows hold the arguments
//! of a call, and a collection finds a valid value in every cell slot.
//!
//! One pass over the tables ([`tables`]), then three steps per function: control flow ([`flow`]) finds instructions, jumps and blocks; the
//! pass over the instructions ([`code`]) checks operands by the op's row and the typing rules that a row cannot express ([`rules`]),
//! follows the window, and collects which registers each block writes and needs; the data flow ([`init`]) decides for the
//! few registers that cross blocks whether all paths write them. All of it is linear in the code but the last, which takes
//! the crossing registers 256 at a time.
//!
//! What it does not prove: that the program is right, ends, or stays within the memory limit; numbers in `bool`
//! parameters other than 0 and 1 are strange, not dangerous.
//!
//! Element types are exact: a `list.cell(string)` is `any`, but no `list.cell(any)`. Objects remember the type that they were made
//! with, and a cast compares that.

mod code;
mod flow;
mod init;
mod rules;
mod tables;
mod types;

#[cfg(test)]
mod tests;

pub use types::is_subtype;

use crate::module::Module;
use crate::types::FuncId;
use std::fmt;

macro_rules! rule_list {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// The rules of the verifier.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Rule { $($(#[$doc])* $name,)* }
        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];
            /// The name in messages.
            pub fn text(self) -> &'static str { match self { $(Rule::$name => $text,)* } }
        }
    };
}

rule_list! {
    /// An id names an entry of its table; types are made of types that stand before them.
    Id "id",
    /// Tables of the module are as documented.
    Table "table",
    /// `results` stays in registers, parameters and results.
    ResultsInHeap "results-in-heap",
    /// The registers of a function fit its signature and the limits of a frame.
    Frame "frame",
    /// Words decode to instructions.
    Decode "decode",
    /// The last instruction never continues with a next one.
    End "end",
    /// Branches lead to instructions: forward, or as `.loop` form back to a `loop_header`.
    Jump "jump",
    /// Switch tables are used once and have distinct keys of the right kind.
    Switch "switch",
    /// Handler ranges are made of whole instructions and lead forward.
    Handler "handler",
    /// Operands name registers of the frame, or window slots where something is written.
    Slot "slot",
    /// Operands name slots of their bank.
    Bank "bank",
    /// Cells hold what their register declares.
    Type "type",
    /// Registers are written before they are read, on every path.
    Initialised "initialised",
    /// What `string.append` extends is read by `string.append`, `string.share` and `string.len` only.
    Append "append",
    /// Arguments are written into the window right before they are used.
    Window "window",
    /// Cell slots are valid whenever the collector may run.
    Collect "collect",
    /// Calls fit what they call.
    Call "call",
    /// Returns fit the signature.
    Return "return",
    /// Captures belong to functions with an environment, and those run as closures.
    Environment "environment",
    /// The arities of a function answer different numbers of arguments and can run with its closures.
    Arity "arity",
    /// Fields exist and have the type that the op moves.
    Field "field",
    /// Immediates have a meaning.
    Immediate "immediate",
    /// A feedback site belongs to one instruction.
    Feedback "feedback",
    /// Protocol entries have their documented signature.
    Protocol "protocol",
}

/// What is wrong with a module, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// The function, unless a table of the module is at fault.
    pub function: Option<FuncId>,
    /// The position of the instruction in words.
    pub pc: Option<u32>,
    /// The rule that is broken.
    pub rule: Rule,
    /// How.
    pub message: String,
    /// The instruction in the text format.
    pub instruction: Option<String>,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = self.function {
            write!(f, "{function}")?;
            if let Some(pc) = self.pc {
                write!(f, " at {pc}")?;
            }
            if let Some(instruction) = &self.instruction {
                write!(f, " `{instruction}`")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{} [{}]", self.message, self.rule.text())
    }
}

impl std::error::Error for VerifyError {}

/// An error without its place, which the caller knows.
#[derive(Debug)]
struct Fault {
    rule: Rule,
    message: String,
}

fn fault<T>(rule: Rule, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { rule, message: message.into() })
}

/// A fault with the position of its instruction.
type Placed = (Option<usize>, Fault);

/// Checks a module.
///
/// # Errors
/// The first rule that the module breaks.
pub fn verify(module: &Module) -> Result<(), VerifyError> {
    let error = |function: Option<FuncId>, pc: Option<usize>, fault: Fault| {
        let text = |pc| {
            let function = module.functions.get(function?.index())?;
            Some(crate::text::instruction(module, function, pc))
        };
        VerifyError {
            function,
            pc: pc.map(|p| p as u32),
            rule: fault.rule,
            instruction: pc.and_then(text),
            message: fault.message,
        }
    };
    tables::check(module).map_err(|(function, f)| error(function, None, f))?;
    let context = types::Context::new(module);
    let mut sites = code::Sites::new(module.feedback_sites);
    for index in 0..module.functions.len() {
        let id = FuncId(index as u32);
        code::check(&context, &module.functions[index], &mut sites)
            .map_err(|(pc, f)| error(Some(id), pc, f))?;
    }
    Ok(())
}
