//! A language in one file: a front end that builds bytecode, host functions, and one entry of the protocol table.
//! `docs/add-a-language.md` goes through it.
//!
//! A program is lines like `1 + 2 + apples`; the value of each is printed. Ints are added, words are appended.
#![forbid(unsafe_code)]

use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{
    ANY, Callee, CellConst, HeapType, Module, NumberPolicy, Protocol, Source, Span, TrapCode, ValueType,
};
use upshift::{Config, Engine, Grants, Limits, Ret, Trap};

/// The front end: one pass over the text.
fn compile(name: &str, text: &str) -> Module {
    let any = ValueType::Cell(ANY);
    let mut module = ModuleBuilder::new(name);
    let source = module.source(Source::new(name, text));

    // What + means beyond numbers is the language's own business: an entry of the protocol table.
    let binary = module.signature(&[any, any], Some(any));
    let add = module.host("sums.add", binary);
    module.module.protocol.set(Protocol::Add, Callee::Host(add));
    let unary = module.signature(&[any], None);
    let print = module.host("sums.print", unary);

    let nothing = module.signature(&[], None);
    let main = module.declare("main", nothing, None);
    module.module.entry = Some(main);
    let mut code = module.define(main);
    let mut start = 0;
    for line in text.lines() {
        code.set_span(Span { source, start, end: start + line.len() as u32 });
        start += line.len() as u32 + 1;
        let sum = code.cell(ANY);
        let mut first = true;
        for term in line.split('+').map(str::trim) {
            let value = if first { sum } else { code.cell(ANY) };
            load(&mut module, &mut code, value, term);
            if !first {
                let site = code.feedback();
                code.cell_add(sum, sum, value, NumberPolicy::PROMOTE, site);
                code.free(value);
            }
            first = false;
        }
        // Arguments go into the window, in the order and places that the callee's signature gives.
        let window: Vec<Reg> = FunctionBuilder::arguments(&[any], false);
        code.cell_move(window[0], sum);
        code.call_host_void(print);
        code.free(sum);
    }
    code.return_void();
    code.finish(&mut module);
    module.finish()
}

/// dst = an int or a word.
fn load(module: &mut ModuleBuilder, code: &mut FunctionBuilder, dst: Reg, term: &str) {
    match term.parse::<i32>() {
        Ok(int) => code.load_cell(dst, CellConst::Int(int.into())),
        Err(_) => {
            let text = module.string(term);
            let string = module.module.types.cell(HeapType::String);
            let word = code.cell(string);
            code.string_const(word, text);
            code.cell_move(dst, word);
            code.free(word);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    config.hosts.dynamic("sums.add", |ctx, args| {
        let (a, b) = (args.val(ctx, 0)?, args.val(ctx, 1)?);
        match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => Ok(Ret::Val(ctx.string(&format!("{a} {b}"))?)),
            (None, Some(b)) => Ok(Ret::Val(ctx.string(&format!("{} {b}", a.as_int().unwrap_or(0)))?)),
            _ => Err(Trap::new(TrapCode::TypeMismatch, "a number cannot follow a word")),
        }
    });
    config.hosts.dynamic("sums.print", |ctx, args| {
        let value = args.val(ctx, 0)?;
        let text = match value.as_int() {
            Some(int) => format!("{int}\n"),
            None => format!("{}\n", args.text(ctx, 0)?),
        };
        ctx.print(&text)?;
        Ok(Ret::Nothing)
    });
    let engine = Engine::new(config);
    let module = engine.load(&compile("shop.sums", "1 + 2 + apples\n20 + 22\npears + 1\n"))?;
    let mut instance =
        engine.instantiate(&module, Grants::none().stdout(std::io::stdout()), Limits::default())?;
    if let Err(error) = instance.run() {
        eprintln!("error: {error}");
        for frame in error.backtrace().frames() {
            eprintln!("  in {frame}");
        }
    }
    Ok(())
}
