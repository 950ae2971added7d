//! What turns that are charged at once take of fuel and budget.

use upshift_bytecode::TrapCode;
use upshift_runtime::context::InterruptHandle;
use upshift_runtime::instance::{Instance, InstanceConfig, REFILL};
use upshift_runtime::io::Grants;
use upshift_runtime::linked::Tables;

fn instance() -> Box<Instance> {
    let config = InstanceConfig::default();
    Instance::new(&config, Tables::default(), Grants::none(), InterruptHandle::default(), |_, _, _, _| {
        unreachable!("nothing runs")
    })
    .expect("an instance")
}

#[test]
fn turns_take_fuel_to_the_unit() {
    for (fuel, turns, units) in
        [(1_000_000, 500_000, 1), (1_000_000, 500_000, 3), (100, 1_000_000, 7), (1, 5, 2)]
    {
        let mut i = instance();
        i.set_fuel(Some(fuel));
        i.refill().expect("there is fuel");
        let before = i.fuel().expect("a limit");
        let done = i.charge_turns(turns, units);
        assert_eq!(done as u64, (before / units as u64).min(turns as u64), "{fuel} {turns} {units}");
        assert_eq!(i.fuel(), Some(before - (done * units) as u64), "{fuel} {turns} {units}");
    }
}

#[test]
fn many_turns_at_once_leave_the_budget_to_the_work_between_them() {
    for fuel in [None, Some(u64::MAX / 2)] {
        let mut i = instance();
        i.set_fuel(fuel);
        i.refill().expect("there is fuel");
        let full = i.context.budget;
        assert_eq!(i.charge_turns(1_000_000_000, 3), 1_000_000_000);
        let one = full - i.context.budget;
        assert!((1..REFILL / 100).contains(&one), "{one} units of {full}");
        // Nothing but such loops: a look at interrupts comes all the same.
        while i.context.budget > 0 {
            i.charge_turns(1_000_000_000, 3);
        }
        i.interrupt_handle().interrupt();
        assert_eq!(i.refill().expect_err("it was interrupted").code(), TrapCode::Interrupted);
    }
    // Few turns cost what they are.
    let mut i = instance();
    i.refill().expect("no limit");
    let full = i.context.budget;
    i.charge_turns(2, 3);
    assert_eq!(i.context.budget, full - 6);
}
