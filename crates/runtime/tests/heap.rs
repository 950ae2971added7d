//! The collector against a shadow model, and what else the heap promises: cards, large objects, limits, poison, identity
//! hashes, steady memory under churn.

use std::collections::HashMap;

use proptest::prelude::*;
use upshift_bytecode::types::{KeyPolicy, OrderPolicy};
use upshift_runtime::heap::{Heap, HeapConfig, OutOfMemory, POISON};
use upshift_runtime::object::*;
use upshift_runtime::record::Shape;
use upshift_runtime::value::Value;
use upshift_runtime::{closure, list, map, record, string, tuple};

fn small_heap() -> HeapConfig {
    HeapConfig { nursery: 64 << 10, major_minimum: 256 << 10, poison: true, ..HeapConfig::default() }
}

/// What the model knows of an object: an id, a payload, and the model ids that its cells refer to.
#[derive(Clone, Debug, PartialEq)]
enum Shadow {
    List(Vec<Option<usize>>),
    Tuple(Vec<Option<usize>>),
    Record([Option<usize>; 2], i64),
    Ref(Option<usize>),
    Closure(Vec<Option<usize>>),
    Text(String),
    Wide(i64),
}

/// A heap and what it should contain. Roots are slots that both sides share.
struct World {
    heap: Heap,
    roots: Vec<Value>,
    shadow_roots: Vec<Option<usize>>,
    shadows: Vec<Shadow>,
    shape: u32,
}

const ROOTS: usize = 12;

impl World {
    fn new(config: HeapConfig) -> World {
        let mut heap = Heap::new(config).unwrap();
        let any = upshift_bytecode::types::ANY;
        use upshift_bytecode::types::ValueType;
        let fields = [("a", ValueType::Cell(any)), ("n", ValueType::Int), ("b", ValueType::Cell(any))];
        let shape = heap.shapes.add(Shape::new("pair", 3, &fields));
        World {
            heap,
            roots: vec![Value::NIL; ROOTS],
            shadow_roots: vec![None; ROOTS],
            shadows: vec![],
            shape,
        }
    }

    fn safepoint(&mut self) {
        if self.heap.collection_due() {
            self.heap.collect(&mut self.roots);
        }
    }

    fn put(&mut self, root: usize, value: Value, shadow: Shadow) {
        self.shadows.push(shadow);
        self.roots[root] = value;
        self.shadow_roots[root] = Some(self.shadows.len() - 1);
    }

    fn step(&mut self, op: &Op) {
        self.safepoint();
        let pick = |i: usize| (self.roots[i % ROOTS], self.shadow_roots[i % ROOTS]);
        // SAFETY: roots hold live values of this heap, and collections happen at the safepoint only.
        unsafe {
            match *op {
                Op::List(root, ref items) => {
                    let list = list::new::<Value>(&mut self.heap, items.len() / 2).unwrap();
                    for &i in items {
                        list::push(&mut self.heap, list, pick(i).0).unwrap();
                    }
                    let shadow = Shadow::List(items.iter().map(|&i| pick(i).1).collect());
                    self.put(root % ROOTS, Value::object(list), shadow);
                }
                Op::BigList(root, count, from) => {
                    let list = list::new::<Value>(&mut self.heap, 0).unwrap();
                    let (value, id) = pick(from);
                    for _ in 0..count {
                        list::push(&mut self.heap, list, value).unwrap();
                    }
                    self.put(root % ROOTS, Value::object(list), Shadow::List(vec![id; count]));
                }
                Op::Tuple(root, ref items) => {
                    let cells: Vec<Value> = items.iter().map(|&i| pick(i).0).collect();
                    let t = tuple::new(&mut self.heap, 7, cells.as_ptr(), cells.len()).unwrap();
                    let shadow = Shadow::Tuple(items.iter().map(|&i| pick(i).1).collect());
                    self.put(root % ROOTS, Value::object(t), shadow);
                }
                Op::Record(root, a, b, n) => {
                    let cells = [pick(a).0, pick(b).0];
                    let raws = [n as u64];
                    let r = record::from_window(&mut self.heap, self.shape, 3, raws.as_ptr(), cells.as_ptr());
                    let shadow = Shadow::Record([pick(a).1, pick(b).1], n);
                    self.put(root % ROOTS, Value::object(r.unwrap()), shadow);
                }
                Op::Ref(root, a) => {
                    let r = closure::new_ref_cell(&mut self.heap, pick(a).0).unwrap();
                    self.put(root % ROOTS, Value::object(r), Shadow::Ref(pick(a).1));
                }
                Op::Closure(root, ref items) => {
                    let cells: Vec<Value> = items.iter().map(|&i| pick(i).0).collect();
                    let c = closure::new(&mut self.heap, 42, cells.as_ptr(), cells.len() as u16).unwrap();
                    let shadow = Shadow::Closure(items.iter().map(|&i| pick(i).1).collect());
                    self.put(root % ROOTS, Value::object(c), shadow);
                }
                Op::Text(root, ref text) => {
                    let s = string::from_str(&mut self.heap, text).unwrap();
                    self.put(root % ROOTS, s, Shadow::Text(text.clone()));
                }
                Op::Wide(root, i) => {
                    let v = self.heap.box_int(i).unwrap();
                    self.put(root % ROOTS, v, Shadow::Wide(i));
                }
                Op::Store(target, at, from) => {
                    let (value, id) = pick(from);
                    let (object, Some(target)) = pick(target) else { return };
                    match &mut self.shadows[target] {
                        Shadow::List(items) if !items.is_empty() => {
                            let at = at % items.len();
                            assert!(list::set_cell(&mut self.heap, object.as_ptr(), at as i64, value));
                            items[at] = id;
                        }
                        Shadow::Tuple(items) if !items.is_empty() => {
                            let at = at % items.len();
                            assert!(tuple::set(&mut self.heap, object.as_ptr(), at as i64, value));
                            items[at] = id;
                        }
                        Shadow::Record(cells, _) => {
                            record::set_cell(&mut self.heap, object.as_ptr(), at % 2, value);
                            cells[at % 2] = id;
                        }
                        Shadow::Ref(cell) => {
                            closure::set_ref_cell(&mut self.heap, object.as_ptr(), value);
                            *cell = id;
                        }
                        _ => {}
                    }
                }
                Op::Push(target, from) => {
                    let (value, id) = pick(from);
                    let (object, Some(target)) = pick(target) else { return };
                    if let Shadow::List(items) = &mut self.shadows[target] {
                        list::push(&mut self.heap, object.as_ptr(), value).unwrap();
                        items.push(id);
                    }
                }
                Op::Derive(root, from, how) => {
                    let (object, Some(source)) = pick(from) else { return };
                    let Shadow::List(items) = &self.shadows[source] else { return };
                    let mut items = items.clone();
                    let from = object.as_ptr();
                    let middle = (items.len() / 3, items.len() / 3 * 2);
                    let new = match how % 3 {
                        0 => list::copy(&mut self.heap, from, how),
                        1 => {
                            items = items[middle.0..middle.1].to_vec();
                            list::slice(&mut self.heap, from, middle.0 as i64, middle.1 as i64)
                        }
                        _ if items.len() > 20_000 => return,
                        _ => {
                            items.extend_from_within(..);
                            list::concat(&mut self.heap, from, from)
                        }
                    };
                    self.put(root % ROOTS, Value::object(new.unwrap()), Shadow::List(items));
                }
                Op::Drop(root) => {
                    self.roots[root % ROOTS] = Value::NIL;
                    self.shadow_roots[root % ROOTS] = None;
                }
                Op::Garbage(count) => {
                    for i in 0..count {
                        list::new::<i64>(&mut self.heap, i % 9).unwrap();
                    }
                }
                Op::Minor => self.heap.collect_minor(&mut self.roots),
                Op::Full => self.heap.collect_full(&mut self.roots),
            }
        }
    }

    /// Compares everything reachable, cycles and sharing included.
    fn check(&self) {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut work: Vec<(Value, Option<usize>)> = Vec::new();
        work.extend(self.roots.iter().copied().zip(self.shadow_roots.iter().copied()));
        while let Some((value, id)) = work.pop() {
            let Some(id) = id else {
                assert_eq!(value, Value::NIL);
                continue;
            };
            if let Some(object) = value.as_object() {
                if let Some(&known) = seen.get(&(object as u64)) {
                    assert_eq!(known, id, "one object stands for two");
                    continue;
                }
                seen.insert(object as u64, id);
            }
            // SAFETY: reachable values are alive.
            unsafe {
                match &self.shadows[id] {
                    Shadow::List(items) => {
                        assert_eq!(value.object_kind(), Some(ObjectKind::ListCell));
                        let cells = list::slice_of::<Value>(value.as_ptr());
                        assert_eq!(cells.len(), items.len());
                        work.extend(cells.iter().copied().zip(items.iter().copied()));
                    }
                    Shadow::Tuple(items) => {
                        assert_eq!(value.object_kind(), Some(ObjectKind::Tuple));
                        for (i, &item) in items.iter().enumerate() {
                            work.push((tuple::get(value.as_ptr(), i as i64).unwrap(), item));
                        }
                        assert_eq!(tuple::get(value.as_ptr(), items.len() as i64), None);
                        assert_eq!(tuple::kind_of(value.as_ptr()), 7);
                    }
                    Shadow::Record(cells, n) => {
                        assert_eq!(record::shape_of(value.as_ptr()), self.shape);
                        assert_eq!(record::tag_of(value.as_ptr()), 3);
                        assert_eq!(*Record::field::<i64>(value.as_ptr(), 2), *n);
                        for (i, &cell) in cells.iter().enumerate() {
                            work.push((record::get_cell(value.as_ptr(), i), cell));
                        }
                    }
                    Shadow::Ref(cell) => work.push((closure::ref_cell(value.as_ptr()), *cell)),
                    Shadow::Closure(items) => {
                        assert_eq!(closure::function_of(value.as_ptr()), 42);
                        for (i, &item) in items.iter().enumerate() {
                            work.push((closure::capture(value.as_ptr(), i), item));
                        }
                    }
                    Shadow::Text(text) => assert_eq!(string::text(&value), text),
                    Shadow::Wide(i) => assert_eq!(value.as_int(), Some(*i)),
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    List(usize, Vec<usize>),
    BigList(usize, usize, usize),
    Tuple(usize, Vec<usize>),
    Record(usize, usize, usize, i64),
    Ref(usize, usize),
    Closure(usize, Vec<usize>),
    Text(usize, String),
    Wide(usize, i64),
    Store(usize, usize, usize),
    Push(usize, usize),
    Derive(usize, usize, usize),
    Drop(usize),
    Garbage(usize),
    Minor,
    Full,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let root = || 0..ROOTS;
    let items = || proptest::collection::vec(0..ROOTS, 0..12);
    let op = prop_oneof![
        4 => (root(), items()).prop_map(|(r, i)| Op::List(r, i)),
        1 => (root(), 500..3000usize, root()).prop_map(|(r, n, f)| Op::BigList(r, n, f)),
        1 => (root(), 7000..20_000usize, root()).prop_map(|(r, n, f)| Op::BigList(r, n, f)),
        2 => (root(), root(), 0..30usize).prop_map(|(r, f, h)| Op::Derive(r, f, h)),
        2 => (root(), items()).prop_map(|(r, i)| Op::Tuple(r, i)),
        2 => (root(), root(), root(), any::<i64>()).prop_map(|(r, a, b, n)| Op::Record(r, a, b, n)),
        2 => (root(), root()).prop_map(|(r, a)| Op::Ref(r, a)),
        2 => (root(), items()).prop_map(|(r, i)| Op::Closure(r, i)),
        2 => (root(), "[a-zäß日]{0,20}").prop_map(|(r, t)| Op::Text(r, t)),
        1 => (root(), any::<i64>()).prop_map(|(r, i)| Op::Wide(r, i)),
        12 => (root(), any::<usize>(), root()).prop_map(|(t, a, f)| Op::Store(t, a, f)),
        4 => (root(), root()).prop_map(|(t, f)| Op::Push(t, f)),
        2 => root().prop_map(Op::Drop),
        1 => (0..2000usize).prop_map(Op::Garbage),
        2 => Just(Op::Minor),
        1 => Just(Op::Full),
    ];
    proptest::collection::vec(op, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn reachable_objects_survive_unchanged(ops in ops(), stress in any::<bool>()) {
        let mut world = World::new(HeapConfig { stress, ..small_heap() });
        for (i, op) in ops.iter().enumerate() {
            world.step(op);
            if i % 16 == 0 {
                world.check();
            }
        }
        world.check();
        world.heap.collect_full(&mut world.roots);
        world.check();
    }
}

#[test]
fn stores_into_a_large_old_list_are_remembered_by_cards() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let count = 100_000;
    let big = list::from_slice(&mut heap, &vec![Value::NIL; count]).unwrap();
    let mut roots = vec![Value::object(big)];
    heap.collect_full(&mut roots);
    for round in 0..20usize {
        let places: Vec<usize> =
            (0..50).map(|i| (i * 7919 + round * 131) % count).chain([0, count - 1]).collect();
        for &at in &places {
            let text = string::from_str(&mut heap, &format!("element {at}")).unwrap();
            // SAFETY: the list is a root and does not move between collections.
            assert!(unsafe { list::set_cell(&mut heap, roots[0].as_ptr(), at as i64, text) });
        }
        heap.collect_minor(&mut roots);
        for &at in &places {
            // SAFETY: as above.
            let text = unsafe { list::get::<Value>(roots[0].as_ptr(), at as i64) }.unwrap();
            // SAFETY: as above.
            assert_eq!(unsafe { string::text(&text) }, format!("element {at}"));
        }
    }
}

/// Texts too long to be values of their own, in a list that has grown to them.
fn long_list(heap: &mut Heap, count: usize) -> *mut List {
    let list = list::new::<Value>(heap, 0).unwrap();
    for i in 0..count {
        let text = string::from_str(heap, &format!("element {i}")).unwrap();
        // SAFETY: no collection runs here.
        unsafe { list::push(heap, list, text).unwrap() };
    }
    list
}

fn assert_elements(list: Value, expected: impl Iterator<Item = usize>) {
    // SAFETY: the tests pass live lists of texts.
    let cells = unsafe { list::slice_of::<Value>(list.as_ptr()) };
    let mut count = 0;
    for (cell, i) in cells.iter().zip(expected) {
        // SAFETY: as above.
        assert_eq!(unsafe { string::text(cell) }, format!("element {i}"));
        count += 1;
    }
    assert_eq!(cells.len(), count);
}

#[test]
fn long_young_lists_keep_what_was_put_or_copied_into_them() {
    // Without overflow chunks, and with many.
    for nursery in [64 << 10, 32 << 20] {
        let mut heap = Heap::new(HeapConfig { nursery, ..small_heap() }).unwrap();
        let n = 30_000;
        let grown = long_list(&mut heap, n);
        // SAFETY: no collection runs between these.
        let (copy, slice, twice) = unsafe {
            let copy = list::copy(&mut heap, grown, 0).unwrap();
            let slice = list::slice(&mut heap, grown, 100, 20_100).unwrap();
            (copy, slice, list::concat(&mut heap, slice, slice).unwrap())
        };
        // SAFETY: as above.
        let cells = unsafe { list::slice_of::<Value>(grown) }.to_vec();
        let given = list::from_slice(&mut heap, &cells).unwrap();
        // The list of lists is long and young, too, and reaches the others alone.
        let outer = list::from_slice(&mut heap, &vec![Value::NIL; 10_000]).unwrap();
        for (i, list) in [grown, copy, slice, twice, given].into_iter().enumerate() {
            // SAFETY: as above.
            assert!(unsafe { list::set_cell(&mut heap, outer, i as i64 * 2000, Value::object(list)) });
        }
        let mut roots = vec![Value::object(outer)];
        for _ in 0..2 {
            heap.collect_minor(&mut roots);
            // SAFETY: as above.
            let list = |i: usize| unsafe { list::slice_of::<Value>(roots[0].as_ptr()) }[i * 2000];
            assert_elements(list(0), 0..n);
            assert_elements(list(1), 0..n);
            assert_elements(list(2), 100..20_100);
            assert_elements(list(3), (100..20_100).chain(100..20_100));
            assert_elements(list(4), 0..n);
            // An old list grows into a young buffer, with old and new elements.
            let grown = list(0).as_ptr::<List>();
            for i in 0..5000 {
                let text = string::from_str(&mut heap, &format!("element {i}")).unwrap();
                // SAFETY: as above.
                unsafe { list::push(&mut heap, grown, text).unwrap() };
            }
            heap.collect_full(&mut roots);
            // SAFETY: as above.
            let grown = unsafe { list::slice_of::<Value>(roots[0].as_ptr()) }[0];
            assert_elements(grown, (0..n).chain(0..5000));
            // SAFETY: as above.
            unsafe { list::truncate(grown.as_ptr(), n) };
        }
    }
}

#[test]
fn one_young_element_may_be_everywhere_in_a_list() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let text = string::from_str(&mut heap, "element 7").unwrap();
    let n = 300_000;
    let pushed = list::new::<Value>(&mut heap, n).unwrap();
    for _ in 0..n {
        // SAFETY: no collection runs here.
        unsafe { list::push(&mut heap, pushed, text).unwrap() };
    }
    // SAFETY: as above.
    let copied = unsafe { list::copy(&mut heap, pushed, 1).unwrap() };
    let mut roots = vec![Value::object(pushed), Value::object(copied)];
    heap.collect_minor(&mut roots);
    heap.collect_full(&mut roots);
    for list in roots {
        assert_elements(list, std::iter::repeat_n(7, n));
    }
}

#[test]
fn a_list_that_is_given_many_young_elements_is_looked_through_once() {
    for n in [2_000, 20_000] {
        let mut heap = Heap::new(small_heap()).unwrap();
        let first = string::from_str(&mut heap, "element 0").unwrap();
        let list = list::from_slice(&mut heap, &vec![first; n]).unwrap();
        let mut roots = vec![Value::object(list)];
        for round in 0..6 {
            // Few of them, which are remembered one by one, and many.
            let step = if round % 2 == 0 { 1 } else { n / 20 };
            // The list is young in the first round, and old in the others.
            let text = string::from_str(&mut heap, &format!("element {round}")).unwrap();
            for i in (0..n).step_by(step) {
                // SAFETY: the list is a root, and no collection runs here.
                unsafe {
                    let buffer = (*roots[0].as_ptr::<List>()).buffer;
                    let slot = Buffer::data::<Value>(buffer).add(i);
                    *slot = text;
                    heap.write_barrier_slot(buffer, slot);
                }
            }
            // Slots of their own would ask for a collection.
            assert!(!heap.collection_due(), "{n} elements, round {round}");
            heap.collect_minor(&mut roots);
            let expected = (0..n).map(|i| if i % step == 0 { round } else { round - 1 });
            assert_elements(roots[0], expected);
        }
    }
}

#[test]
fn long_young_lists_that_are_garbage_keep_nothing_alive() {
    let mut heap = Heap::new(small_heap()).unwrap();
    for _ in 0..5 {
        let list = long_list(&mut heap, 20_000);
        // SAFETY: no collection runs in between.
        unsafe { list::copy(&mut heap, list, 0).unwrap() };
        heap.collect_minor(&mut ());
    }
    assert_eq!(heap.stats().promoted, 0);
    assert_eq!(heap.in_use(), 0);
}

#[test]
fn long_young_maps_keep_their_entries() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let text = |heap: &mut Heap, i: i64| string::from_str(heap, &format!("element {i}")).unwrap();
    let n = 20_000i64;
    // Dense keys, others, and removals that close gaps in the buffers of young maps and of old ones.
    for spread in [1, 7919] {
        for old in [false, true] {
            let ints = map::new(&mut heap, KeyPolicy::Int, OrderPolicy::Insertion, 0).unwrap();
            let texts = map::new(&mut heap, KeyPolicy::String, OrderPolicy::Insertion, 0).unwrap();
            let mut roots = vec![Value::object(ints), Value::object(texts)];
            let kept = |i: i64| i > n / 2 && i % 10 == 0;
            for i in 0..n {
                let (key, value) = (text(&mut heap, i), text(&mut heap, -i));
                // SAFETY: maps are roots, and collections run where nothing else is held.
                unsafe {
                    map::int_set(&mut heap, roots[0].as_ptr(), i * spread, value).unwrap();
                    map::string_set(&mut heap, roots[1].as_ptr(), key, value).unwrap();
                }
                if old && heap.collection_due() {
                    heap.collect(&mut roots);
                }
            }
            for i in (0..n).filter(|&i| !kept(i)) {
                let key = text(&mut heap, i);
                // SAFETY: as above.
                unsafe {
                    assert!(map::int_remove(&mut heap, roots[0].as_ptr(), i * spread));
                    assert!(map::string_remove(&mut heap, roots[1].as_ptr(), key));
                }
                if old && heap.collection_due() {
                    heap.collect(&mut roots);
                }
            }
            // SAFETY: as above.
            unsafe {
                roots.push(Value::object(map::copy(&mut heap, roots[0].as_ptr()).unwrap()));
                roots.push(Value::object(map::copy(&mut heap, roots[1].as_ptr()).unwrap()));
                roots.push(Value::object(map::values(&mut heap, roots[0].as_ptr()).unwrap()));
                roots.push(Value::object(map::keys(&mut heap, roots[1].as_ptr()).unwrap()));
            }
            heap.collect_minor(&mut roots);
            heap.collect_full(&mut roots);
            // SAFETY: as above.
            unsafe {
                for i in (0..n).filter(|&i| kept(i)) {
                    let key = text(&mut heap, i);
                    for (a, b) in [(0, 1), (2, 3)] {
                        let value = map::int_get(roots[a].as_ptr(), i * spread).unwrap();
                        assert_eq!(string::text(&value), format!("element {}", -i));
                        let value = map::string_get(roots[b].as_ptr(), key).unwrap();
                        assert_eq!(string::text(&value), format!("element {}", -i));
                    }
                }
                let values = list::slice_of::<Value>(roots[4].as_ptr());
                let keys = list::slice_of::<Value>(roots[5].as_ptr());
                assert_eq!((values.len(), keys.len()), (999, 999));
                for (key, value) in keys.iter().zip(values) {
                    let (key, value) = (string::text(key).to_string(), string::text(value).to_string());
                    assert_eq!(value.replace('-', ""), key);
                }
            }
        }
    }
}

#[test]
fn large_objects_are_freed_when_nothing_reaches_them() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let mut roots = vec![Value::NIL; 2];
    for i in 0..200usize {
        let ints = list::from_slice(&mut heap, &vec![i as i64; 100_000]).unwrap();
        roots[i % 2] = Value::object(ints);
        if heap.collection_due() {
            heap.collect(&mut roots);
        }
        assert!(heap.in_use() < 64 << 20, "{} bytes in use", heap.in_use());
    }
    heap.collect_full(&mut roots);
    assert!(heap.in_use() < 2 * 801_000);
    // SAFETY: roots are alive.
    unsafe {
        assert_eq!(list::slice_of::<i64>(roots[0].as_ptr()), vec![198; 100_000]);
        assert_eq!(list::slice_of::<i64>(roots[1].as_ptr()), vec![199; 100_000]);
    }
}

#[test]
fn memory_of_large_objects_is_kept_for_the_next_ones() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let rest = heap.mapped();
    let grown = |heap: &mut Heap, first: i64, count: usize| {
        let list = list::new::<i64>(heap, 0).unwrap();
        // SAFETY: no collection runs here.
        (0..count).for_each(|i| unsafe { list::push(heap, list, first + i as i64).unwrap() });
        list
    };
    grown(&mut heap, 0, 60_000);
    let with = heap.mapped();
    assert!(with >= rest + 480_000, "{rest} {with}");
    let mut roots = Vec::new();
    heap.collect_minor(&mut roots);
    // It is in use no more, but still there; and then in use again, by a list that grows step by step and by one that is made at once.
    assert_eq!((heap.in_use() < 4096, heap.mapped() + 4096 > with), (true, true));
    let list = grown(&mut heap, 7, 62_000);
    assert!(heap.mapped() <= with + (256 << 10), "{with} {}", heap.mapped());
    roots.push(Value::object(list));
    heap.collect_full(&mut roots);
    // SAFETY: the root is alive.
    let ints = unsafe { list::slice_of::<i64>(roots[0].as_ptr()) };
    assert!(ints.iter().copied().eq(7..62_007));
    roots.clear();
    heap.collect_minor(&mut roots);
    heap.collect_full(&mut roots);
    let before = heap.mapped();
    let cells = list::from_slice(&mut heap, &[Value::NIL; 65_000]).unwrap();
    // SAFETY: no collection runs here.
    assert!(unsafe { list::slice_of::<Value>(cells) }.iter().all(|v| v.is_nil()));
    assert!(heap.mapped() <= before + (64 << 10), "{before} {}", heap.mapped());
    // What was not used between two markings goes.
    heap.collect_full(&mut roots);
    heap.collect_full(&mut roots);
    assert!(heap.mapped() + 480_000 <= before, "{before} {}", heap.mapped());
}

#[test]
fn the_memory_limit_is_an_error_and_the_heap_works_on_after_it() {
    let config = HeapConfig { limit: 8 << 20, ..small_heap() };
    let mut heap = Heap::new(config).unwrap();
    let top = list::new::<Value>(&mut heap, 0).unwrap();
    let mut roots = vec![Value::object(top)];
    let mut failed = 0;
    for _ in 0..1_000_000 {
        if heap.collection_due() {
            heap.collect(&mut roots);
        }
        let result = list::new::<i64>(&mut heap, 10).and_then(|l| {
            // SAFETY: the list is a root.
            unsafe { list::push(&mut heap, roots[0].as_ptr(), Value::object(l)) }
        });
        if result == Err(OutOfMemory) {
            failed += 1;
            break;
        }
    }
    assert_eq!(failed, 1, "the limit was never reached");
    assert!(heap.in_use() <= (8 << 20) + (2 << 20));
    assert_eq!(list::new::<i64>(&mut heap, 10 << 20).map(|_| ()), Err(OutOfMemory));
    roots.clear();
    heap.collect_full(&mut roots);
    for _ in 0..1000 {
        list::new::<i64>(&mut heap, 10).unwrap();
    }
}

#[test]
fn objects_that_are_owed_are_made_beyond_the_limit() {
    let mut heap = Heap::new(HeapConfig { limit: 1 << 20, ..small_heap() }).unwrap();
    let mut roots: Vec<Value> = Vec::new();
    for i in 0..400_000 {
        let object = heap.alloc_owed(ObjectKind::RefInt as u64, 16);
        // SAFETY: the object has room for its content.
        unsafe { (*object.cast::<Ref>()).content = i };
        if i % 1000 == 0 {
            roots.push(Value::object(object));
        }
    }
    assert!(heap.overdrawn() && heap.collection_due());
    assert_eq!(list::new::<i64>(&mut heap, 1 << 18).map(|_| ()), Err(OutOfMemory));
    heap.collect(&mut roots);
    assert!(!heap.overdrawn() && heap.in_use() < 1 << 20);
    for (root, i) in roots.iter().zip(0..) {
        // SAFETY: roots are alive.
        assert_eq!(unsafe { (*root.as_ptr::<Ref>()).content }, i * 1000);
    }
    // Where more lives than the limit allows, ordinary allocations go on failing.
    let mut heap = Heap::new(HeapConfig { limit: 1 << 10, ..small_heap() }).unwrap();
    let mut roots: Vec<Value> =
        (0..1000).map(|_| Value::object(heap.alloc_owed(ObjectKind::RefInt as u64, 16))).collect();
    heap.collect(&mut roots);
    for _ in 0..10_000 {
        roots.push(Value::object(heap.alloc_owed(ObjectKind::RefInt as u64, 16)));
    }
    assert!(closure::new_ref_int(&mut heap, 5).is_err());
}

#[test]
fn freed_memory_is_poisoned() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let young = list::from_slice(&mut heap, &[1i64, 2, 3]).unwrap();
    heap.collect_minor(&mut ());
    // SAFETY: nursery memory stays mapped; it is read as bytes.
    unsafe { assert_eq!(young.cast::<u8>().read(), POISON) };
    let old = list::from_slice(&mut heap, &[1i64, 2, 3]).unwrap();
    let keep = list::from_slice(&mut heap, &[4i64]).unwrap();
    let mut roots = vec![Value::object(old), Value::object(keep)];
    heap.collect_full(&mut roots);
    let old = roots.remove(0).as_ptr::<u8>();
    heap.collect_full(&mut roots);
    heap.collect_full(&mut roots);
    // SAFETY: the block stays mapped, as another list lives in it; a swept cell keeps 16 bytes of its own.
    unsafe { assert_eq!(old.add(16).read(), POISON) };
}

#[test]
fn identity_hashes_survive_moving_and_end_with_the_object() {
    let mut heap = Heap::new(small_heap()).unwrap();
    let mut roots: Vec<Value> = Vec::new();
    for _ in 0..100 {
        // SAFETY: no cells are read.
        roots.push(Value::object(unsafe { tuple::new(&mut heap, 1, [].as_ptr(), 0) }.unwrap()));
    }
    let hashes = |heap: &mut Heap, roots: &[Value]| -> Vec<u32> {
        // SAFETY: roots are alive.
        let hash = |v: &Value| unsafe { heap.identity_hash(v.as_object_unchecked()) };
        roots.iter().map(hash).collect()
    };
    let before = hashes(&mut heap, &roots);
    let distinct: std::collections::HashSet<u32> = before.iter().copied().collect();
    assert_eq!(distinct.len(), 100);
    heap.collect_minor(&mut roots);
    assert_eq!(hashes(&mut heap, &roots), before);
    roots.truncate(50);
    heap.collect_full(&mut roots);
    for _ in 0..2000 {
        // SAFETY: no cells are read.
        let t = unsafe { tuple::new(&mut heap, 1, [].as_ptr(), 0) }.unwrap();
        // SAFETY: the tuple is fresh.
        let hash = unsafe { heap.identity_hash(t) };
        assert!(!before.contains(&hash), "a hash came back with an address");
    }
    heap.collect_full(&mut roots);
    assert_eq!(hashes(&mut heap, &roots), before[..50]);
}

#[test]
fn churn_keeps_memory_steady() {
    let churn = |nursery_growth| {
        let config = HeapConfig { poison: false, nursery_growth, ..HeapConfig::default() };
        let mut heap = Heap::new(config).unwrap();
        let mut roots = vec![Value::NIL; 1000];
        for i in 0..400_000usize {
            if heap.collection_due() {
                heap.collect(&mut roots);
            }
            let l = list::from_slice(&mut heap, &[i as i64; 20]).unwrap();
            roots[i * 7 % 1000] = Value::object(l);
            if i % 1000 == 0 {
                list::new::<i64>(&mut heap, 50_000).unwrap();
            }
        }
        assert!(heap.mapped() < 48 << 20, "{} bytes mapped", heap.mapped());
        heap.stats()
    };
    let stats = churn(1);
    assert!(stats.minor > 50 && stats.allocated > 200 << 20, "{stats:?}");
    // A fifth of the nursery survives, and less of a larger one.
    let grown = churn(4);
    assert!(grown.minor < stats.minor * 2 / 3 && grown.promoted < stats.promoted * 2 / 3, "{grown:?}");
    assert_eq!(grown.allocated, stats.allocated);
}
