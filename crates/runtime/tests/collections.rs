//! Strings, lists and maps against models of the standard library, with collections in between.

#![allow(clippy::undocumented_unsafe_blocks, reason = "one remark below serves all of them")]

use std::collections::HashMap;

use proptest::prelude::*;
use upshift_bytecode::types::{KeyPolicy, OrderPolicy};
use upshift_runtime::heap::{Heap, HeapConfig};
use upshift_runtime::list::{self, Element};
use upshift_runtime::map::{self, Find};
use upshift_runtime::string;
use upshift_runtime::tuple;
use upshift_runtime::value::Value;

fn heap(stress: bool) -> Heap {
    let config = HeapConfig {
        nursery: 64 << 10,
        major_minimum: 1 << 20,
        stress,
        poison: true,
        ..HeapConfig::default()
    };
    Heap::new(config).unwrap()
}

fn safepoint(heap: &mut Heap, roots: &mut Vec<Value>) {
    if heap.collection_due() {
        heap.collect(roots);
    }
}

// SAFETY of the unsafe blocks in this file: values are roots or younger than the last safepoint, and lists and maps are
// used with the types that they were made with.

fn text_of(v: &Value) -> String {
    unsafe { string::text(v) }.to_string()
}

fn bits_equal_iff_short(v: &Value) {
    assert_eq!(v.is_short_string(), unsafe { string::byte_len(*v) } <= 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn strings_match_std(
        texts in proptest::collection::vec("[a-cäß日🦀]{0,12}|[a-d]{0,7}|[a-d]{0,40}", 1..6),
        ops in proptest::collection::vec((0..8u8, 0..6usize, 0..6usize, -40..40i64, -40..40i64), 1..150),
        stress in any::<bool>(),
    ) {
        let mut heap = heap(stress);
        let mut roots: Vec<Value> = texts.iter().map(|t| string::from_str(&mut heap, t).unwrap()).collect();
        let mut model = texts.clone();
        for (op, a, b, x, y) in ops {
            safepoint(&mut heap, &mut roots);
            let (a, b) = (a % model.len(), b % model.len());
            unsafe {
                match op {
                    0..=2 => {
                        roots[a] = string::concat(&mut heap, roots[a], roots[b]).unwrap();
                        model[a] = model[a].clone() + &model[b];
                        if model[a].len() > 3000 {
                            roots[a] = string::slice(&mut heap, roots[a], 3, 40).unwrap();
                            model[a] = model[a].chars().skip(3).take(37).collect();
                        }
                    }
                    3 => {
                        let chars: Vec<char> = model[a].chars().collect();
                        let expected = usize::try_from(x).ok().and_then(|x| chars.get(x));
                        let got = string::get(&mut heap, roots[a], x);
                        prop_assert_eq!(got.map(|v| text_of(&v)), expected.map(char::to_string));
                        let code = string::code_at(&mut heap, roots[a], x);
                        prop_assert_eq!(code, expected.map(|&c| i64::from(u32::from(c))));
                    }
                    4 => {
                        let chars: Vec<char> = model[a].chars().collect();
                        let n = chars.len() as i64;
                        let clamp = |i: i64| (if i < 0 { i + n } else { i }).clamp(0, n) as usize;
                        let (from, to) = (clamp(x), clamp(y).max(clamp(x)));
                        let part: String = chars[from..to].iter().collect();
                        let got = string::slice(&mut heap, roots[a], x, y).unwrap();
                        prop_assert_eq!(text_of(&got), part.clone());
                        prop_assert_eq!(string::len(got), part.chars().count());
                        prop_assert!(string::contains(roots[a], got));
                        roots[b] = got;
                        model[b] = part;
                    }
                    5 => {
                        prop_assert_eq!(string::compare(roots[a], roots[b]), model[a].cmp(&model[b]));
                        prop_assert_eq!(string::equal(roots[a], roots[b]), model[a] == model[b]);
                        prop_assert_eq!(string::contains(roots[a], roots[b]), model[a].contains(&model[b]));
                        if model[a] == model[b] {
                            prop_assert_eq!(string::hash_of(roots[a]), string::hash_of(roots[b]));
                        }
                        prop_assert_eq!(string::hash_of(roots[a]), string::hash_of_bytes(model[a].as_bytes()));
                    }
                    6 => {
                        let i = x.wrapping_mul(0x1234_5678_9ABC).wrapping_mul(y);
                        roots[a] = string::from_int(&mut heap, i).unwrap();
                        model[a] = i.to_string();
                    }
                    _ => {
                        roots[a] = string::from_str(&mut heap, &texts[b]).unwrap();
                        model[a] = texts[b].clone();
                    }
                }
                bits_equal_iff_short(&roots[a]);
                for (v, m) in roots.iter().zip(&model) {
                    prop_assert_eq!(string::text(v), m);
                    prop_assert_eq!(string::len(*v), m.chars().count());
                }
            }
        }
    }

    #[test]
    fn extended_strings_match_std(
        texts in proptest::collection::vec("[a-cäß日🦀]{0,12}|[a-d]{0,7}|[a-d]{30,90}", 1..6),
        ops in proptest::collection::vec((0..16u8, 0..3usize, 0..6usize), 1..200),
        stress in any::<bool>(),
    ) {
        // Three strings that are extended, then what parts of them and texts are.
        let mut heap = heap(stress);
        let mut roots: Vec<Value> = vec![Value::EMPTY_STRING; 3];
        roots.extend(texts.iter().map(|t| string::from_str(&mut heap, t).unwrap()));
        let mut model = vec![String::new(); 3];
        model.extend(texts.iter().cloned());
        for (op, a, b) in ops {
            safepoint(&mut heap, &mut roots);
            let b = 3 + b % (model.len() - 3);
            unsafe {
                match op {
                    0..=9 => {
                        roots[a] = string::append(&mut heap, roots[a], roots[b]).unwrap();
                        model[a] = model[a].clone() + &model[b];
                    }
                    10 | 11 => {
                        roots[b] = string::share(roots[a]);
                        model[b] = model[a].clone();
                        prop_assert_eq!(string::hash_of(roots[b]), string::hash_of_bytes(model[b].as_bytes()));
                    }
                    12 => {
                        roots[a] = roots[b];
                        model[a] = model[b].clone();
                    }
                    13 => {
                        let other = 3 + (b - 2) % (model.len() - 3);
                        roots[b] = string::concat(&mut heap, roots[b], roots[other]).unwrap();
                        model[b] = model[b].clone() + &model[other];
                    }
                    _ => {
                        roots[b] = string::slice(&mut heap, roots[b], 0, 9).unwrap();
                        model[b] = model[b].chars().take(9).collect();
                    }
                }
                for (v, m) in roots.iter().zip(&model) {
                    prop_assert_eq!(string::text(v), m);
                    prop_assert_eq!(string::len(*v), m.chars().count());
                }
                if model.iter().any(|m| m.len() > 4000) {
                    roots[..3].fill(Value::EMPTY_STRING);
                    model[..3].fill(String::new());
                    for i in 3..model.len() {
                        roots[i] = string::slice(&mut heap, roots[i], 0, 50).unwrap();
                        model[i] = model[i].chars().take(50).collect();
                    }
                }
            }
        }
    }

    #[test]
    fn slices_of_long_strings_match_std(
        texts in proptest::collection::vec("[a-c]{900,1100}|[a-cäß日🦀]{400,600}|[a-d]{0,9}", 2..5),
        ops in proptest::collection::vec((0..12u8, 0..5usize, 0..5usize, 0..1000usize, 0..1000usize), 1..60),
        stress in any::<bool>(),
    ) {
        let mut heap = heap(stress);
        let mut roots: Vec<Value> = Vec::new();
        let mut model: Vec<String> = texts.iter().map(|text| text.repeat(9)).collect();
        for text in &model {
            roots.push(string::from_str(&mut heap, text).unwrap());
        }
        for (op, a, b, x, y) in ops {
            safepoint(&mut heap, &mut roots);
            let (a, b) = (a % model.len(), b % model.len());
            unsafe {
                match op {
                    // Mostly little is taken off.
                    0..=3 => {
                        let count = model[a].chars().count();
                        let divisor = if op == 0 { 1000 } else { 20_000 };
                        let (from, to) = (count * x / divisor, count - count * y / divisor);
                        let to = to.max(from);
                        roots[b] = string::slice(&mut heap, roots[a], from as i64, to as i64).unwrap();
                        model[b] = model[a].chars().skip(from).take(to - from).collect();
                    }
                    4 => {
                        roots[a] = string::concat(&mut heap, roots[a], roots[b]).unwrap();
                        model[a] = model[a].clone() + &model[b];
                    }
                    5 => {
                        let longer = string::append(&mut heap, roots[a], roots[b]).unwrap();
                        roots[a] = string::share(longer);
                        model[a] = model[a].clone() + &model[b];
                    }
                    6 => {
                        prop_assert_eq!(string::compare(roots[a], roots[b]), model[a].cmp(&model[b]));
                        prop_assert_eq!(string::equal(roots[a], roots[b]), model[a] == model[b]);
                        prop_assert_eq!(string::is_text(roots[a], roots[b]), model[a] == model[b]);
                        prop_assert_eq!(string::hash_of(roots[a]), string::hash_of_bytes(model[a].as_bytes()));
                    }
                    7 => {
                        roots[b] = roots[a];
                        model[b] = model[a].clone();
                    }
                    8..=10 => {
                        let before = "z\u{df}0123456789".repeat(x % 40);
                        let part = string::from_str(&mut heap, &before).unwrap();
                        roots[a] = string::concat(&mut heap, part, roots[a]).unwrap();
                        model[a] = before + &model[a];
                    }
                    _ => {
                        let i = model[a].chars().count() * x / 1000;
                        let expected = model[a].chars().nth(i).map(|c| c.to_string());
                        prop_assert_eq!(string::get(&mut heap, roots[a], i as i64).map(|v| text_of(&v)), expected);
                    }
                }
                if model[a].len() > 60_000 {
                    roots[a] = string::from_str(&mut heap, &texts[a]).unwrap();
                    model[a] = texts[a].clone();
                }
                for (v, m) in roots.iter().zip(&model) {
                    prop_assert_eq!(string::text(v), m);
                    prop_assert_eq!(string::len(*v), m.chars().count());
                }
            }
        }
    }

    #[test]
    fn int_lists_match_vec(ops in list_ops(), stress in any::<bool>()) {
        check_list::<i64>(&ops, stress, |i| i, |heap, l, i, v| unsafe { let _ = heap; list::set_raw(l, i, v) })?;
    }

    #[test]
    fn bool_lists_match_vec(ops in list_ops(), stress in any::<bool>()) {
        check_list::<bool>(&ops, stress, |i| i % 2 == 0, |heap, l, i, v| unsafe { let _ = heap; list::set_raw(l, i, v) })?;
    }

    #[test]
    fn cell_lists_match_vec(ops in list_ops(), stress in any::<bool>()) {
        check_list::<Value>(&ops, stress, Value::small_int_unchecked, |heap, l, i, v| unsafe {
            list::set_cell(heap, l, i, v)
        })?;
    }
}

type ListOp = (u8, usize, usize, i64, i64);

fn list_ops() -> impl Strategy<Value = Vec<ListOp>> {
    proptest::collection::vec((0..12u8, 0..4usize, 0..4usize, -20..20i64, -20..20i64), 1..200)
}

fn check_list<T: Element + PartialEq + std::fmt::Debug>(
    ops: &[ListOp],
    stress: bool,
    make: impl Fn(i64) -> T,
    set: impl Fn(&mut Heap, *mut upshift_runtime::object::List, i64, T) -> bool,
) -> Result<(), TestCaseError> {
    let mut heap = heap(stress);
    let mut roots: Vec<Value> =
        (0..4).map(|i| Value::object(list::new::<T>(&mut heap, i).unwrap())).collect();
    let mut model: Vec<Vec<T>> = vec![Vec::new(); 4];
    for &(op, a, b, x, y) in ops {
        safepoint(&mut heap, &mut roots);
        let l = roots[a].as_ptr();
        unsafe {
            match op {
                0..=2 => {
                    list::push(&mut heap, l, make(x)).unwrap();
                    model[a].push(make(x));
                }
                3 => {
                    let expected = usize::try_from(x).ok().and_then(|x| model[a].get(x)).copied();
                    prop_assert_eq!(list::get::<T>(l, x), expected);
                    let done = set(&mut heap, l, x, make(y));
                    prop_assert_eq!(done, expected.is_some());
                    if done {
                        model[a][x as usize] = make(y);
                    }
                }
                4 => {
                    let shared = list::is_shared(l);
                    let new = list::append(&mut heap, l, make(x)).unwrap();
                    prop_assert_eq!(new != l, shared);
                    if !shared {
                        model[a].push(make(x));
                    } else {
                        let mut longer = model[a].clone();
                        longer.push(make(x));
                        prop_assert_eq!(list::slice_of::<T>(new), &longer[..]);
                        prop_assert!(!list::is_shared(new));
                        if a != b {
                            roots[b] = Value::object(new);
                            model[b] = longer;
                        }
                    }
                }
                5 => list::share_value(roots[a]),
                6 => {
                    let (from, to) = string::slice_bounds(model[a].len(), x, y);
                    roots[b] = Value::object(list::slice(&mut heap, l, x, y).unwrap());
                    model[b] = model[a][from..to].to_vec();
                }
                7 => {
                    roots[b] = Value::object(list::copy(&mut heap, l, 3).unwrap());
                    model[b] = model[a].clone();
                }
                8 => {
                    // Also where that is what makes a list large, or one that grew.
                    for i in 0..600 + 10 * y {
                        list::push(&mut heap, l, make(i)).unwrap();
                        model[a].push(make(i));
                    }
                    if model[a].len() > 5000 {
                        list::truncate(l, 10);
                        model[a].truncate(10);
                    }
                }
                9 | 10 => {
                    let far = if op == 9 { x } else { x.abs() * model[a].len() as i64 / 20 };
                    let end = if y < 0 { y } else { model[a].len() as i64 + 1 };
                    let (from, to) = string::slice_bounds(model[a].len(), far, end);
                    let cut = list::cut(&mut heap, l, far, end).unwrap();
                    prop_assert!(cut != l || !list::is_shared(l));
                    let left = model[a][from..to].to_vec();
                    if cut == l {
                        model[a] = left;
                    } else if list::is_shared(l) {
                        prop_assert_eq!(list::slice_of::<T>(cut), &left[..]);
                    } else {
                        roots[a] = Value::object(cut);
                        model[a] = left;
                    }
                }
                _ => {
                    roots[b] = Value::object(list::concat(&mut heap, l, roots[b].as_ptr()).unwrap());
                    model[b] = [&model[a][..], &model[b][..]].concat();
                    if model[b].len() > 5000 {
                        list::truncate(roots[b].as_ptr(), 10);
                        model[b].truncate(10);
                    }
                }
            }
            for (v, m) in roots.iter().zip(&model) {
                prop_assert_eq!(list::slice_of::<T>(v.as_ptr()), &m[..]);
            }
        }
    }
    Ok(())
}

/// A map in insertion order.
#[derive(Default, Clone)]
struct Model {
    entries: Vec<(String, String, i64)>,
}

impl Model {
    /// Keys are compared by the first string, shown by the second.
    fn set(&mut self, id: String, shown: String, value: i64) {
        match self.entries.iter_mut().find(|e| e.0 == id) {
            Some(e) => e.2 = value,
            None => self.entries.push((id, shown, value)),
        }
    }
    fn get(&self, id: &str) -> Option<i64> {
        self.entries.iter().find(|e| e.0 == id).map(|e| e.2)
    }
    fn remove(&mut self, id: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.0 != id);
        self.entries.len() < before
    }
}

#[derive(Clone, Debug)]
enum Key {
    Int(i64),
    Text(String),
    Float(i8),
    Bool(bool),
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        4 => (-30..200i64).prop_map(Key::Int),
        1 => any::<i64>().prop_map(Key::Int),
        2 => (-30..200i64).prop_map(|i| Key::Text(i.to_string())),
        2 => "[ab0-9é]{0,9}".prop_map(Key::Text),
        1 => any::<i8>().prop_map(Key::Float),
        1 => any::<bool>().prop_map(Key::Bool),
    ]
}

impl Key {
    fn text(&self) -> String {
        match self {
            Key::Int(i) => i.to_string(),
            Key::Text(t) => t.clone(),
            Key::Float(x) => format!("{:?}", f64::from(*x)),
            Key::Bool(b) => b.to_string(),
        }
    }
    fn value(&self, heap: &mut Heap) -> Value {
        match self {
            Key::Int(i) => heap.box_int(*i).unwrap(),
            Key::Text(t) => string::from_str(heap, t).unwrap(),
            Key::Float(x) => Value::float(f64::from(*x)),
            Key::Bool(b) => Value::bool(*b),
        }
    }
    fn id(&self, policy: KeyPolicy) -> String {
        match policy {
            KeyPolicy::Text => self.text(),
            _ => format!("{self:?}"),
        }
    }
    fn fits(&self, policy: KeyPolicy) -> bool {
        match policy {
            KeyPolicy::Int => matches!(self, Key::Int(_)),
            KeyPolicy::String => matches!(self, Key::Text(_)),
            KeyPolicy::Value | KeyPolicy::Text | KeyPolicy::Protocol => true,
        }
    }
}

/// The protocol's way: hash by the text's length, so that there are many collisions.
fn protocol_find(map: *mut upshift_runtime::object::MapObject, key: Value, hash: u32) -> Option<usize> {
    for n in 0.. {
        let (entry, other) = unsafe { map::candidate(map, hash, n) }?;
        let equal = unsafe {
            key.identical(other) || key.is_string() && other.is_string() && string::equal(key, other)
        };
        if equal {
            return Some(entry);
        }
    }
    None
}

fn check_map(
    key: KeyPolicy,
    order: OrderPolicy,
    ops: &[(u8, Key, i64)],
    stress: bool,
) -> Result<(), TestCaseError> {
    let mut heap = heap(stress);
    let mut roots = vec![Value::object(map::new(&mut heap, key, order, 0).unwrap())];
    let mut model = Model::default();
    for (step, (op, k, x)) in ops.iter().enumerate() {
        safepoint(&mut heap, &mut roots);
        let m = roots[0].as_ptr();
        if !k.fits(key) {
            continue;
        }
        let id = k.id(key);
        let value = heap.box_int(*x).unwrap();
        let cell = k.value(&mut heap);
        let text = string::from_str(&mut heap, &k.text()).unwrap();
        let text = (!cell.is_int() && !cell.is_string()).then_some(text);
        let hash = k.text().len() as u32 % 3;
        unsafe {
            match op {
                0..=4 => {
                    match (key, k, step % 2) {
                        (KeyPolicy::Int, Key::Int(i), 0) => map::int_set(&mut heap, m, *i, value).unwrap(),
                        (KeyPolicy::String, _, 0) => map::string_set(&mut heap, m, cell, value).unwrap(),
                        (KeyPolicy::Protocol, ..) => match protocol_find(m, cell, hash) {
                            Some(e) => map::set_value_at(&mut heap, m, e, value),
                            None => {
                                map::insert_hashed(&mut heap, m, cell, hash, value, text).unwrap();
                            }
                        },
                        _ => {
                            let done = map::set(&mut heap, m, cell, text, value).unwrap();
                            prop_assert!(matches!(done, Find::Entry(_)), "{:?}", done);
                        }
                    }
                    model.set(id.clone(), k.text(), *x);
                }
                5..=6 => {
                    let removed = match (key, k, step % 2) {
                        (KeyPolicy::Int, Key::Int(i), 0) => map::int_remove(&mut heap, m, *i),
                        (KeyPolicy::String, _, 0) => map::string_remove(&mut heap, m, cell),
                        (KeyPolicy::Protocol, ..) => match protocol_find(m, cell, hash) {
                            Some(e) => {
                                map::remove_hashed(&mut heap, m, e, hash);
                                true
                            }
                            None => false,
                        },
                        _ => matches!(map::remove(&mut heap, m, cell, text), Find::Entry(_)),
                    };
                    prop_assert_eq!(removed, model.remove(&id));
                }
                7 if step % 7 == 0 => {
                    roots[0] = Value::object(map::copy(&mut heap, m).unwrap());
                    map::clear(m);
                    prop_assert_eq!(map::len(m), 0);
                }
                _ => {}
            }
            let m = roots[0].as_ptr();
            let got = match (key, k) {
                (KeyPolicy::Int, Key::Int(i)) => map::int_get(m, *i),
                (KeyPolicy::String, _) => map::string_get(m, cell),
                (KeyPolicy::Protocol, _) => protocol_find(m, cell, hash).map(|e| map::value_at(m, e)),
                _ => match map::get(&mut heap, m, cell, text) {
                    (Find::Entry(_), v) => Some(v),
                    (found, v) => {
                        prop_assert_eq!((found, v), (Find::Absent, Value::NIL));
                        None
                    }
                },
            };
            prop_assert_eq!(got.and_then(Value::as_int), model.get(&id));
            prop_assert_eq!(map::len(m), model.entries.len());
            if step % 5 == 0 {
                let mut expected = model.entries.clone();
                if order == OrderPolicy::SortedByText {
                    expected.sort_by(|a, b| a.1.cmp(&b.1));
                }
                let entries: Vec<usize> = map::entries(&mut heap, m).unwrap().collect();
                let mut shown = Vec::new();
                for e in entries {
                    let own = map::text_at(m, e);
                    let k = match own {
                        Some(text) => text,
                        None => map::key_at(&mut heap, m, e).unwrap(),
                    };
                    let k = match k.as_int() {
                        Some(i) => i.to_string(),
                        None if k.is_string() => text_of(&k),
                        None => k.as_bool().map_or_else(|| format!("{k:?}"), |b| b.to_string()),
                    };
                    shown.push((k, map::value_at(m, e).as_int().unwrap()));
                }
                let ties = |list: &[(String, i64)]| -> HashMap<String, Vec<i64>> {
                    let mut by_text: HashMap<String, Vec<i64>> = HashMap::new();
                    list.iter().for_each(|(t, v)| by_text.entry(t.clone()).or_default().push(*v));
                    by_text.values_mut().for_each(|v| v.sort_unstable());
                    by_text
                };
                let expected: Vec<(String, i64)> = expected.into_iter().map(|e| (e.1, e.2)).collect();
                let names = |l: &[(String, i64)]| l.iter().map(|e| e.0.clone()).collect::<Vec<_>>();
                prop_assert_eq!(names(&shown), names(&expected));
                prop_assert_eq!(ties(&shown), ties(&expected));
                let values = map::values(&mut heap, m).unwrap();
                prop_assert_eq!(list::len(values), shown.len());
                let keys = map::keys(&mut heap, m).unwrap();
                prop_assert_eq!(list::len(keys), shown.len());
            }
        }
    }
    Ok(())
}

fn map_ops() -> impl Strategy<Value = Vec<(u8, Key, i64)>> {
    proptest::collection::vec((0..9u8, key(), any::<i64>()), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn maps_match_the_model(
        ops in map_ops(),
        stress in any::<bool>(),
        sorted in any::<bool>(),
        policy in prop_oneof![
            Just(KeyPolicy::Int), Just(KeyPolicy::String), Just(KeyPolicy::Value), Just(KeyPolicy::Text),
            Just(KeyPolicy::Protocol)
        ],
    ) {
        let order = if sorted { OrderPolicy::SortedByText } else { OrderPolicy::Insertion };
        check_map(policy, order, &ops, stress)?;
    }
}

#[test]
fn objects_are_keys_by_identity_and_stay_so_when_they_move() {
    let mut heap = heap(false);
    unsafe {
        let m = map::new(&mut heap, KeyPolicy::Value, OrderPolicy::Insertion, 0).unwrap();
        let mut roots = vec![Value::object(m)];
        for i in 0..200 {
            safepoint(&mut heap, &mut roots);
            let t = Value::object(tuple::new(&mut heap, 1, [].as_ptr(), 0).unwrap());
            roots.push(t);
            let value = Value::small_int_unchecked(i);
            assert!(matches!(map::set(&mut heap, roots[0].as_ptr(), t, None, value), Ok(Find::Entry(_))));
        }
        heap.collect_full(&mut roots);
        heap.collect_full(&mut roots);
        for i in 0..200usize {
            let (_, value) = map::get(&mut heap, roots[0].as_ptr(), roots[i + 1], None);
            assert_eq!(value.as_int(), Some(i as i64));
        }
        let stranger = Value::object(tuple::new(&mut heap, 1, [].as_ptr(), 0).unwrap());
        assert_eq!(map::find(&mut heap, roots[0].as_ptr(), stranger, None), Find::Absent);
    }
}

#[test]
fn a_text_map_keeps_the_original_key_and_asks_for_texts() {
    let mut heap = heap(false);
    unsafe {
        let m = map::new(&mut heap, KeyPolicy::Text, OrderPolicy::SortedByText, 0).unwrap();
        let one = Value::small_int_unchecked(1);
        let text_one = string::from_str(&mut heap, "1").unwrap();
        assert_eq!(map::set(&mut heap, m, one, None, Value::TRUE), Ok(Find::Entry(0)));
        assert_eq!(map::set(&mut heap, m, text_one, None, Value::FALSE), Ok(Find::Entry(0)));
        assert_eq!(map::len(m), 1);
        assert_eq!(map::key_at(&mut heap, m, 0), Ok(one));
        assert_eq!(map::value_at(m, 0), Value::FALSE);
        let half = Value::float(0.5);
        assert_eq!(map::set(&mut heap, m, half, None, Value::NIL), Ok(Find::NeedsText));
        let text = string::from_str(&mut heap, "0.5").unwrap();
        assert_eq!(map::set(&mut heap, m, half, Some(text), Value::NIL), Ok(Find::Entry(1)));
        assert_eq!(map::find(&mut heap, m, text, None), Find::Entry(1));
        assert_eq!(map::entries(&mut heap, m).unwrap().collect::<Vec<_>>(), [1, 0]);
    }
}

#[test]
fn wrong_kinds_of_keys_are_told_apart() {
    let mut heap = heap(false);
    unsafe {
        let ints = map::new(&mut heap, KeyPolicy::Int, OrderPolicy::Insertion, 100).unwrap();
        let strings = map::new(&mut heap, KeyPolicy::String, OrderPolicy::Insertion, 0).unwrap();
        assert_eq!(map::find(&mut heap, ints, Value::EMPTY_STRING, None), Find::WrongKind);
        assert_eq!(map::find(&mut heap, strings, Value::TRUE, None), Find::WrongKind);
        let any = map::new(&mut heap, KeyPolicy::Protocol, OrderPolicy::Insertion, 0).unwrap();
        assert_eq!(map::find(&mut heap, any, Value::TRUE, None), Find::NeedsProtocol);
    }
}

#[test]
fn queues_in_maps_do_not_grow() {
    let mut heap = heap(false);
    unsafe {
        let m = map::new(&mut heap, KeyPolicy::Int, OrderPolicy::Insertion, 0).unwrap();
        let mut roots = vec![Value::object(m)];
        for i in 0..200_000i64 {
            safepoint(&mut heap, &mut roots);
            let m = roots[0].as_ptr();
            map::int_set(&mut heap, m, i, Value::small_int_unchecked(i)).unwrap();
            if i >= 100 {
                assert!(map::int_remove(&mut heap, m, i - 100));
            }
        }
        heap.collect_full(&mut roots);
        assert!(heap.in_use() < 64 << 10, "{}", heap.in_use());
    }
}

/// Keys that come as programs make them: runs in both directions, windows, leaps, queues, and everything removed again.
/// Values are objects, so that what the collector must know of moved entries shows too.
fn check_int_patterns(order: OrderPolicy, seed: u64, stress: bool) {
    let mut heap = heap(stress);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut model: HashMap<i64, (usize, i64)> = HashMap::new();
    let mut time = 0;
    unsafe {
        let mut roots = vec![Value::object(map::new(&mut heap, KeyPolicy::Int, order, 0).unwrap())];
        let text = |i: i64| format!("value {i}");
        for _ in 0..30 {
            let pattern = random(9);
            let center = [0, 5, -40, 1990, 1 << 40, i64::MAX - 3, i64::MIN + 3][random(7) as usize];
            let mut at = if random(2) == 0 { model.keys().copied().max().unwrap_or(center) } else { center };
            for _ in 0..random(120) {
                safepoint(&mut heap, &mut roots);
                let m = roots[0].as_ptr();
                let present: Vec<i64> = if pattern < 5 { vec![] } else { model.keys().copied().collect() };
                let (key, remove) = match pattern {
                    0 => (at, false),
                    1 => (center.wrapping_sub(at.wrapping_sub(center)), false),
                    2 => (center.wrapping_add(random(200) as i64), false),
                    3 => (center.wrapping_add(random(3000) as i64), false),
                    4 => (center.wrapping_add(random(9) as i64 * 1_000_003), random(4) == 0),
                    5 => (present.iter().copied().min().unwrap_or(0), true),
                    6 => (present.iter().copied().max().unwrap_or(0), true),
                    7 if present.is_empty() => (at, false),
                    _ => (
                        present.get(random(present.len().max(1) as u64) as usize).copied().unwrap_or(0),
                        true,
                    ),
                };
                at = at.wrapping_add(1);
                assert_eq!(map::int_get(m, key).is_some(), model.contains_key(&key));
                if let Some(known) = map::int_known(m, key) {
                    assert_eq!(known, model.contains_key(&key));
                }
                if remove {
                    assert_eq!(map::int_remove(&mut heap, m, key), model.remove(&key).is_some());
                } else {
                    time += 1;
                    let value = string::from_str(&mut heap, &text(time as i64)).unwrap();
                    map::int_set(&mut heap, m, key, value).unwrap();
                    model.entry(key).or_insert((time, 0)).1 = time as i64;
                }
                assert_eq!(map::len(m), model.len());
            }
            if random(8) == 0 {
                roots[0] = Value::object(map::copy(&mut heap, roots[0].as_ptr()).unwrap());
            }
            heap.collect(&mut roots);
            let m = roots[0].as_ptr();
            for (&key, &(_, value)) in &model {
                let found = map::int_get(m, key).expect("it is there");
                assert_eq!(text_of(&found), text(value));
                assert_eq!(map::int_slot(m, key).map(|slot| *slot), Some(found));
            }
            let mut expected: Vec<i64> = model.keys().copied().collect();
            match order {
                OrderPolicy::Insertion => expected.sort_by_key(|key| model[key].0),
                OrderPolicy::SortedByText => expected.sort_by_key(|key| key.to_string()),
            }
            let entries: Vec<usize> = map::entries(&mut heap, m).unwrap().collect();
            let shown: Vec<i64> = entries.iter().map(|&e| map::int_key_at(m, e)).collect();
            assert_eq!(shown, expected);
            if random(10) == 0 {
                map::clear(m);
                model.clear();
            }
        }
    }
}

#[test]
fn extending_makes_few_objects() {
    let mut heap = heap(false);
    let mut roots = vec![Value::EMPTY_STRING];
    unsafe {
        let part = string::from_str(&mut heap, "ab").unwrap();
        for i in 0..200_000 {
            safepoint(&mut heap, &mut roots);
            roots[0] = string::append(&mut heap, roots[0], part).unwrap();
            assert_eq!(string::byte_len(roots[0]), 2 * (i + 1));
        }
        // A buffer of twice the size each time, and nothing else.
        assert!(heap.stats().minor < 40, "{}", heap.stats().minor);
        let whole = string::share(roots[0]);
        roots.push(whole);
        roots[0] = string::append(&mut heap, whole, part).unwrap();
        assert_eq!((string::byte_len(roots[0]), string::byte_len(roots[1])), (400_002, 400_000));
        assert_eq!(text_of(&roots[1]), "ab".repeat(200_000));
    }
}

#[test]
fn int_maps_follow_every_pattern_of_keys() {
    for seed in 0..60 {
        check_int_patterns(OrderPolicy::Insertion, seed, seed % 4 == 0);
        check_int_patterns(OrderPolicy::SortedByText, seed, seed % 4 == 0);
    }
}

#[test]
fn dense_keys_need_no_index_in_any_order() {
    let mut heap = heap(false);
    unsafe {
        let mut roots =
            vec![Value::object(map::new(&mut heap, KeyPolicy::Int, OrderPolicy::SortedByText, 0).unwrap())];
        for i in 0..50_000i64 {
            safepoint(&mut heap, &mut roots);
            map::int_set(&mut heap, roots[0].as_ptr(), i * 7919 % 50_000 - 100, Value::TRUE).unwrap();
        }
        let m = roots[0].as_ptr::<upshift_runtime::object::MapObject>();
        assert_eq!((*(*m).index).capacity, 0);
        assert_eq!(map::int_known(m, 49_900), Some(false));
        heap.collect_full(&mut roots);
        assert!(heap.in_use() < 3 * 16 * 50_000, "{}", heap.in_use());
    }
}

#[test]
fn queues_take_from_the_front_and_do_not_grow() {
    for stress in [false, true] {
        let mut heap = heap(stress);
        let mut roots = vec![Value::object(list::new::<i64>(&mut heap, 0).unwrap())];
        let (mut first, mut next) = (0, 0);
        // As long as this, then two in for one out, then the other way, and as long as at first again.
        for (steps, ins, outs) in
            [(2_000, 1, 0), (20_000, 1, 1), (3_000, 2, 1), (3_000, 1, 2), (50_000, 1, 1)]
        {
            for _ in 0..if stress { steps / 50 } else { steps } {
                safepoint(&mut heap, &mut roots);
                for _ in 0..ins {
                    // SAFETY: the list is live.
                    unsafe { list::push(&mut heap, roots[0].as_ptr(), next).unwrap() };
                    next += 1;
                }
                for _ in 0..outs {
                    // SAFETY: the list is live.
                    let cut = unsafe { list::cut(&mut heap, roots[0].as_ptr(), 1, i64::MAX).unwrap() };
                    roots[0] = Value::object(cut);
                    first += 1;
                }
                // SAFETY: the list is live.
                let seen = unsafe { list::slice_of::<i64>(roots[0].as_ptr()) };
                assert_eq!(
                    (seen.len() as i64, seen.first(), seen.last()),
                    (
                        next - first,
                        Some(&first).filter(|_| first < next),
                        Some(next - 1).filter(|_| first < next).as_ref()
                    )
                );
            }
            // SAFETY: the list is live.
            assert!(unsafe { list::slice_of::<i64>(roots[0].as_ptr()) }.iter().copied().eq(first..next));
        }
        assert!(heap.in_use() < 1 << 20, "{} bytes", heap.in_use());
    }
}
