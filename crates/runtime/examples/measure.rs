//! Measures the heap and its collections from Rust: `cargo run --release -p upshift-runtime --example measure [name]`.
//!
//! Numbers are wall time of one run each; they serve to compare changes on one machine.

#![allow(clippy::undocumented_unsafe_blocks, reason = "one remark below serves all of them")]

use std::time::Instant;

use upshift_bytecode::types::{KeyPolicy, OrderPolicy};
use upshift_runtime::heap::{Heap, HeapConfig};
use upshift_runtime::value::Value;
use upshift_runtime::{list, map, string, tuple};

fn config() -> HeapConfig {
    let nursery = std::env::var("NURSERY").ok().and_then(|n| n.parse().ok()).unwrap_or(1 << 20);
    HeapConfig { nursery, poison: false, ..HeapConfig::default() }
}

#[inline(always)]
fn safepoint(heap: &mut Heap, roots: &mut Vec<Value>) {
    if heap.collection_due() {
        heap.collect(roots);
    }
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name| status.lines().find(|l| l.starts_with(name)).unwrap_or("").split_whitespace().nth(1);
    format!(
        "RSS {} KiB, peak {} KiB",
        line("VmRSS").unwrap_or("?").to_owned(),
        line("VmHWM").unwrap_or("?").to_owned()
    )
}

fn report(name: &str, count: usize, start: Instant, heap: &Heap) {
    let time = start.elapsed();
    let s = heap.stats();
    println!(
        "{name:28} {:8.2} ns each, {:8.1} ms; {} minor (longest {:?}), {} major (longest {:?}), all {:?}; {}",
        time.as_nanos() as f64 / count as f64,
        time.as_secs_f64() * 1e3,
        s.minor,
        s.max_minor_pause,
        s.major,
        s.max_major_pause,
        s.total_pause,
        resident()
    );
}

// SAFETY of the unsafe blocks in this file: values are roots or younger than the last safepoint, and lists and maps are
// used with the types that they were made with.

fn garbage() {
    let mut heap = Heap::new(config()).unwrap();
    let mut roots = vec![];
    let start = Instant::now();
    let count = 50_000_000;
    for i in 0..count {
        safepoint(&mut heap, &mut roots);
        std::hint::black_box(upshift_runtime::closure::new_ref_int(&mut heap, i as i64).unwrap());
    }
    report("garbage of 16 bytes", count, start, &heap);
}

fn churn() {
    let mut heap = Heap::new(config()).unwrap();
    let mut roots = vec![Value::NIL; 10_000];
    let start = Instant::now();
    let count = 10_000_000_000 / 1040;
    for i in 0..count {
        safepoint(&mut heap, &mut roots);
        let l = list::new::<i64>(&mut heap, 125).unwrap();
        if i % 16 == 0 {
            let at = i / 16 % 10_000;
            roots[at] = Value::object(l);
        }
    }
    report("10 GB churn, 1/16 kept", count, start, &heap);
}

fn large_churn() {
    let mut heap = Heap::new(config()).unwrap();
    let mut roots = vec![Value::NIL; 4];
    let start = Instant::now();
    let count = 10_000;
    for i in 0..count {
        safepoint(&mut heap, &mut roots);
        let l = list::new::<i64>(&mut heap, 0).unwrap();
        for j in 0..70_000 {
            unsafe { list::push(&mut heap, l, j).unwrap() };
        }
        roots[i % 4] = Value::object(l);
    }
    report("10 GB churn, large lists", count, start, &heap);
}

fn tree(heap: &mut Heap, roots: &mut Vec<Value>, depth: u32) {
    // The result is left on top of `roots`.
    if depth == 0 {
        roots.push(Value::NIL);
    } else {
        tree(heap, roots, depth - 1);
        tree(heap, roots, depth - 1);
    }
    safepoint(heap, roots);
    let n = roots.len();
    let cells = if depth == 0 { [Value::NIL; 2] } else { [roots[n - 2], roots[n - 1]] };
    let t = unsafe { tuple::new(heap, 1, cells.as_ptr(), 2) }.unwrap();
    roots.truncate(n - if depth == 0 { 1 } else { 2 });
    roots.push(Value::object(t));
}

fn trees() {
    let mut heap = Heap::new(config()).unwrap();
    let mut roots = vec![];
    let start = Instant::now();
    tree(&mut heap, &mut roots, 19);
    report("tree that survives", 1 << 20, start, &heap);
    let start = Instant::now();
    for _ in 0..256 {
        tree(&mut heap, &mut roots, 13);
        roots.pop();
    }
    report("small trees", 256 << 14, start, &heap);
}

fn appends() {
    let a = Value::short_string(b"x").unwrap();
    let b = Value::short_string("é".as_bytes()).unwrap();
    for (name, pieces) in [("append ascii", [a, a]), ("append other", [b, b]), ("append mixed", [a, b])] {
        let mut heap = Heap::new(config()).unwrap();
        let mut roots = vec![Value::EMPTY_STRING];
        let start = Instant::now();
        let count = 10_000_000;
        for i in 0..count {
            safepoint(&mut heap, &mut roots);
            roots[0] = unsafe { string::concat(&mut heap, roots[0], pieces[i & 1]).unwrap() };
        }
        report(name, count, start, &heap);
    }
    let mut heap = Heap::new(config()).unwrap();
    let mut roots = vec![Value::EMPTY_STRING; 2];
    let start = Instant::now();
    let count = 10_000_000;
    for i in 0..count {
        safepoint(&mut heap, &mut roots);
        roots[i & 1] = unsafe { string::concat(&mut heap, roots[i & 1], a).unwrap() };
    }
    report("append two by turns", count, start, &heap);
    let mut sum = 0;
    let start = Instant::now();
    for i in 0..count / 2 {
        sum += unsafe { string::code_at(&mut heap, roots[0], i as i64) }.unwrap();
    }
    report("code_at ascii", count / 2, start, &heap);
    let text = string::from_str(&mut heap, &"日本語テキスト".repeat(100_000)).unwrap();
    let start = Instant::now();
    for i in 0..700_000 {
        sum += unsafe { string::code_at(&mut heap, text, i * 7 % 700_000) }.unwrap();
    }
    report("code_at other", 700_000, start, &heap);
    std::hint::black_box(sum);
}

fn maps() {
    for (name, count, keys) in [
        ("count ints, 1000 keys", 20_000_000usize, 1000usize),
        ("count ints, 1 M keys", 20_000_000, 1_000_000),
    ] {
        for spread in [1u64, 0x9E37_79B9] {
            let mut heap = Heap::new(config()).unwrap();
            let mut roots =
                vec![Value::object(map::new(&mut heap, KeyPolicy::Int, OrderPolicy::Insertion, 0).unwrap())];
            let mut x = 12345u64;
            let start = Instant::now();
            for _ in 0..count {
                x = (x * 1_103_515_245 + 12345) & 0x7FFF_FFFF;
                let key = ((x >> 8) % keys as u64 * spread) as i64;
                let m = roots[0].as_ptr();
                let old = unsafe { map::int_get(m, key) }.and_then(Value::as_small_int).unwrap_or(0);
                safepoint(&mut heap, &mut roots);
                let m = roots[0].as_ptr();
                unsafe { map::int_set(&mut heap, m, key, Value::small_int_unchecked(old + 1)).unwrap() };
            }
            report(&format!("{name} x{spread}"), count, start, &heap);
        }
    }
    for (name, keys, width) in [
        ("count short strings", 1000usize, 0),
        ("count long strings", 1000, 12),
        ("100 k strings", 100_000, 12),
    ] {
        let mut heap = Heap::new(config()).unwrap();
        let m = map::new(&mut heap, KeyPolicy::String, OrderPolicy::Insertion, 0).unwrap();
        let mut roots = vec![Value::object(m)];
        for i in 0..keys {
            let key = string::from_str(&mut heap, &format!("{i:0width$}")).unwrap();
            roots.push(key);
        }
        let start = Instant::now();
        let count = 20_000_000;
        let mut x = 12345u64;
        for _ in 0..count {
            x = (x * 1_103_515_245 + 12345) & 0x7FFF_FFFF;
            let at = 1 + (x >> 8) as usize % keys;
            let old = unsafe { map::string_get(roots[0].as_ptr(), roots[at]) };
            let old = old.and_then(Value::as_small_int).unwrap_or(0);
            safepoint(&mut heap, &mut roots);
            let (m, key) = (roots[0].as_ptr(), roots[at]);
            unsafe { map::string_set(&mut heap, m, key, Value::small_int_unchecked(old + 1)).unwrap() };
        }
        report(name, count, start, &heap);
    }
    let mut heap = Heap::new(config()).unwrap();
    let m = map::new(&mut heap, KeyPolicy::Int, OrderPolicy::SortedByText, 0).unwrap();
    let mut roots = vec![Value::object(m)];
    let start = Instant::now();
    for i in 0..1_000_000 {
        safepoint(&mut heap, &mut roots);
        unsafe { map::int_set(&mut heap, roots[0].as_ptr(), i, Value::TRUE).unwrap() };
    }
    report("insert 1 M ints", 1_000_000, start, &heap);
    let start = Instant::now();
    unsafe { map::keys(&mut heap, roots[0].as_ptr()).unwrap() };
    report("sorted keys of 1 M ints", 1_000_000, start, &heap);
}

fn big_list() {
    let mut heap = Heap::new(config()).unwrap();
    let l = list::from_slice(&mut heap, &vec![Value::NIL; 10_000_000]).unwrap();
    let mut roots = vec![Value::object(l)];
    heap.collect_full(&mut roots);
    let before = heap.stats();
    let start = Instant::now();
    let mut x = 1u64;
    let count = 20_000_000;
    for _ in 0..count {
        safepoint(&mut heap, &mut roots);
        x = (x * 1_103_515_245 + 12345) & 0x7FFF_FFFF;
        let v = upshift_runtime::closure::new_ref_int(&mut heap, 1).unwrap();
        unsafe { list::set_cell(&mut heap, roots[0].as_ptr(), (x % 10_000_000) as i64, Value::object(v)) };
    }
    report("stores into a huge list", count, start, &heap);
    println!("    ({} minor collections before)", before.minor);
}

fn create() {
    let start = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(Heap::new(config()).unwrap());
    }
    println!("create and drop {:?}", start.elapsed() / 1000);
}

fn main() {
    let only = std::env::args().nth(1);
    let all: [(&str, fn()); 8] = [
        ("create", create),
        ("garbage", garbage),
        ("trees", trees),
        ("appends", appends),
        ("maps", maps),
        ("biglist", big_list),
        ("churn", churn),
        ("largechurn", large_churn),
    ];
    for (name, f) in all {
        if only.as_deref().is_none_or(|o| o == name) {
            f();
        }
    }
}
