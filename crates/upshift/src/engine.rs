//! Engines, modules and instances.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use upshift_bytecode::verifier;
use upshift_optimizer::build::Options;
use upshift_runtime::context::InterruptHandle;
use upshift_runtime::feedback::Feedback;
use upshift_runtime::heap::{HeapConfig, HeapStats};
use upshift_runtime::host::{HostContext, HostRegistry};
use upshift_runtime::instance::InstanceConfig;
use upshift_runtime::io::Grants;
use upshift_runtime::linked::{self, LinkedModule, Tables};
use upshift_runtime::trap::Trap;

use crate::error::{CallError, LoadError, RunError};
use crate::explain::journal::Journal;
use crate::explain::{self, Report};
use crate::function::{Params, ResultType, TypedFunction};
use crate::profile::Format as ProfileFormat;
use crate::profile::sampler::{Options as SamplingOptions, Profile, Sampler};
use crate::tiers::events::Event;
use crate::tiers::{self, Counters, Driver, MachineCode, Machinery, OptimizedFunction, SharedMachinery};

/// Which tiers may run code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Tier {
    /// The bytecode interpreter only.
    Interpreter,
    /// Copy-and-patch machine code from the first call on.
    Baseline,
    /// Optimized machine code from the first call on.
    Optimized,
    /// What the engine finds best.
    #[default]
    Auto,
}

/// When code moves to which tier, and how much room it may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TierConfig {
    /// A function is compiled by the baseline compiler when its calls and the turns of its loops in the interpreter reach
    /// this: 1 compiles at the first call.
    pub baseline_heat: u32,
    /// Compile at the threshold even where the run has not earned what compiling costs.
    pub eager: bool,
    /// The most bytes of machine code.
    pub code_cache: usize,
    /// So many units of budget in the interpreter are counted at once, 1 to 10,000. A prime number, so that loops that
    /// charge several units a turn are found whatever these are.
    pub quantum: u16,
    /// Whether loops keep variables in registers; off for tests.
    pub pin: bool,
    /// What has baseline code is optimized when its calls and the turns of its loops grew by this, and, unless [`eager`](Self::eager), by so
    /// many that optimizing could have paid by now; `u32::MAX` for never.
    pub optimize_heat: u32,
    /// Whether whole functions are optimized.
    pub optimize_functions: bool,
    /// Whether loops are optimized alone, to be entered while they turn.
    pub optimize_loops: bool,
    /// So many units of budget in machine code are one sample, 1 to 10,000.
    pub sample: u16,
    /// Whether the program waits for the optimizing compiler, so that runs repeat.
    pub sync: bool,
    /// After so many failed assumptions optimized code is retired.
    pub failures: u32,
    /// And compiled again at most so often.
    pub retries: u32,
    /// The most instructions of functions that are inlined.
    pub inline_callee: u32,
    /// How often a function is inlined into itself.
    pub inline_recursion: u32,
    /// Whether every guard of optimized code leaves now and then although it holds: for tests.
    pub deopt_stress: bool,
    /// Whether the code generator behind the optimizer is quick and makes slower code: for tests.
    pub quick: bool,
    /// Whether the optimizer's form is verified after each pass, as it is in debug builds; what breaks a rule is a panic. For tests.
    pub verify: bool,
    /// Whether optimized code that is made while somebody wants a report counts how often its checks hold. It is slower for it.
    pub count_held: bool,
}

impl Default for TierConfig {
    fn default() -> Self {
        TierConfig {
            baseline_heat: 60,
            eager: false,
            code_cache: 64 << 20,
            quantum: 31,
            pin: true,
            optimize_heat: 30_000,
            optimize_functions: true,
            optimize_loops: true,
            sample: 9_973,
            sync: false,
            failures: 8,
            retries: 6,
            inline_callee: Options::default().callee,
            inline_recursion: Options::default().recursion,
            deopt_stress: false,
            quick: false,
            verify: false,
            count_held: false,
        }
    }
}

/// How an engine is set up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Thresholds and sizes of the tiers. [`Tier::Baseline`] compiles at the first call, whatever stands here.
    pub tiers: TierConfig,
    /// Which tiers may run code. A tier that this build does not have is an error when a module is loaded.
    pub tier: Tier,
    /// The functions that modules may import.
    pub hosts: HostRegistry,
    /// Profilers and debuggers that are told about machine code.
    pub profile: Vec<ProfileFormat>,
    /// Code memory and compiler threads that the engine has in common with others; `None` for its own. An engine that
    /// profilers are told of has its own in any case.
    pub shared: Option<SharedMachinery>,
    /// Collect at every allocation and overwrite freed memory: slow, for finding errors in host code and engine.
    pub gc_stress: bool,
}

/// What an instance may use up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of heap; beyond them the guest gets a `memory-limit` trap. `None`: what the system gives.
    pub memory: Option<usize>,
    /// Units of work, one for each call and each turn of a loop, and what host functions charge; then `out-of-fuel`. `None`: no limit.
    pub fuel: Option<u64>,
    /// The time that each run may take; then `timed-out`. `None`: no limit.
    pub timeout: Option<Duration>,
    /// Bytes of the guest stack; beyond them `stack-overflow`.
    pub stack: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: None, fuel: None, timeout: None, stack: 512 << 20 }
    }
}

impl Limits {
    /// Limits the heap.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Limits {
        self.memory = Some(bytes);
        self
    }
    /// Limits the work.
    #[must_use]
    pub fn fuel(mut self, units: u64) -> Limits {
        self.fuel = Some(units);
        self
    }
    /// Limits the time of each run.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Limits {
        self.timeout = Some(time);
        self
    }
    /// Limits the guest stack.
    #[must_use]
    pub fn stack(mut self, bytes: usize) -> Limits {
        self.stack = bytes;
        self
    }
}

/// What instances share: configuration, host functions and the numbers that linked modules are made of.
///
/// Cloning is cheap and gives the same engine.
///
/// ```
/// let engine = upshift::Engine::new(upshift::Config::default());
/// std::thread::spawn(move || drop(engine)).join().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Engine(Arc<EngineInner>);

#[derive(Debug)]
struct EngineInner {
    config: Config,
    tables: Tables,
    machinery: Arc<Machinery>,
}

/// Verified and linked bytecode. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Module(Arc<LinkedModule>);

impl Module {
    pub(crate) fn linked(&self) -> &Arc<LinkedModule> {
        &self.0
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The machine code that the baseline compiler makes of each of its functions, in order; `None` for functions beyond
    /// what machine code can address. Nothing is placed or run: for looking at.
    pub fn baseline_code(&self) -> Vec<Option<MachineCode>> {
        tiers::disassemble(&self.0)
    }

    /// The SSA form that the optimizing compiler makes of each of its functions before anything ran, as text: as it is lowered, or
    /// with `every_pass` as it is built and after each pass. For looking at.
    pub fn ssa(&self, every_pass: bool) -> String {
        tiers::ssa(&self.0, every_pass)
    }

    /// The optimized code of its functions before anything ran; functions that are not optimized are left out. For looking at.
    pub fn optimized_code(&self) -> Vec<OptimizedFunction> {
        tiers::optimized_functions(&self.0)
    }

    /// The names of its functions.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.0.functions[..self.0.guest_functions as usize].iter().map(|f| &*f.name)
    }
}

impl Engine {
    /// An engine.
    pub fn new(config: Config) -> Engine {
        let machinery = Arc::new(Machinery::new(config.tiers, &config.profile, config.shared.clone()));
        Engine(Arc::new(EngineInner { config, tables: Tables::default(), machinery }))
    }

    /// Verifies and links a module.
    ///
    /// # Errors
    /// Bytecode that breaks a rule of the verifier, imports that are not registered or of another type, a tier that this
    /// build does not have.
    pub fn load(&self, module: &upshift_bytecode::Module) -> Result<Module, LoadError> {
        match self.0.config.tier {
            Tier::Interpreter | Tier::Auto => {}
            Tier::Baseline if upshift_baseline::SUPPORTED => {}
            Tier::Baseline => return Err(LoadError::absent("baseline")),
            Tier::Optimized if upshift_baseline::SUPPORTED => {}
            Tier::Optimized => return Err(LoadError::absent("optimized")),
        }
        verifier::verify(module).map_err(LoadError::verify)?;
        let resolve = |name: &str| self.0.config.hosts.get(name).cloned();
        linked::link(module, &self.0.tables, &resolve).map(Module).map_err(LoadError::link)
    }

    /// Why there is no machine code on this machine; `None` where there is, or where nobody needed any so far.
    pub fn machine_code_problem(&self) -> Option<String> {
        self.0.machinery.problem()
    }

    /// Ends the files of profilers that have an end, before the process does. What is compiled later is not in them.
    pub fn finish_profiles(&self) {
        if let Some(profiler) = self.0.machinery.profiler() {
            profiler.finish();
        }
    }

    /// Why profilers and debuggers were told less than [`Config::profile`] asks for.
    pub fn profile_problem(&self) -> Option<String> {
        self.0.machinery.profile_problem()
    }

    /// An instance with a module in it. The module's entry function is not run: see [`Instance::run`].
    ///
    /// # Errors
    /// memory-limit where the system does not give what the limits ask for, or the constants do not fit.
    pub fn instantiate(&self, module: &Module, grants: Grants, limits: Limits) -> Result<Instance, RunError> {
        let mut instance = self.empty(grants, limits)?;
        instance.load(module)?;
        Ok(instance)
    }

    /// An instance without modules; [`Instance::load`] adds them.
    ///
    /// # Errors
    /// memory-limit where the system does not give what the limits ask for.
    pub fn empty(&self, grants: Grants, limits: Limits) -> Result<Instance, RunError> {
        let mut config = InstanceConfig::default();
        config.heap = HeapConfig {
            limit: limits.memory.unwrap_or(usize::MAX),
            stress: self.0.config.gc_stress,
            poison: self.0.config.gc_stress || cfg!(debug_assertions),
            ..HeapConfig::default()
        };
        config.stack = limits.stack;
        config.fuel = limits.fuel;
        let tables = self.0.tables.clone();
        let tiers = match self.0.config.tier {
            Tier::Interpreter => None,
            _ if !upshift_baseline::SUPPORTED => None,
            Tier::Baseline => Some(TierConfig {
                baseline_heat: 1,
                eager: true,
                optimize_heat: u32::MAX,
                ..self.0.config.tiers
            }),
            Tier::Optimized => Some(TierConfig {
                baseline_heat: 1,
                eager: true,
                optimize_heat: 0,
                sync: true,
                ..self.0.config.tiers
            }),
            Tier::Auto => Some(self.0.config.tiers),
        };
        let run = if tiers.is_some() { tiers::run } else { upshift_interpreter::run };
        let mut inner = upshift_runtime::instance::Instance::new(
            &config,
            tables,
            grants,
            InterruptHandle::default(),
            run,
        )
        .map_err(RunError::from)?;
        let driver = tiers.map(|config| Driver::install(self.0.machinery.clone(), config, &mut inner));
        Ok(Instance {
            inner,
            driver,
            modules: Vec::new(),
            timeout: limits.timeout,
            engine: self.clone(),
            sampler: None,
            explained_since: None,
        })
    }
}

/// A world in which modules run: heap, stacks, globals. Moves between threads, but is used by one at a time.
#[derive(Debug)]
pub struct Instance {
    pub(crate) inner: Box<upshift_runtime::instance::Instance>,
    // Behind the instance, which uses it.
    driver: Option<Box<Driver>>,
    modules: Vec<Module>,
    timeout: Option<Duration>,
    engine: Engine,
    sampler: Option<Sampler>,
    /// When a report began, and how long the collector had taken then.
    explained_since: Option<(Instant, Duration)>,
}

impl Instance {
    /// Adds a module. Functions of later modules hide those of earlier ones with the same name.
    ///
    /// # Errors
    /// memory-limit where its constants do not fit.
    pub fn load(&mut self, module: &Module) -> Result<(), RunError> {
        self.inner.load(&module.0)?;
        self.modules.push(module.clone());
        Ok(())
    }

    /// The engine that the instance belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The driver of the tiers, and what it drives.
    pub(crate) fn driver(&mut self) -> Option<(&mut Driver, &mut upshift_runtime::instance::Instance)> {
        Some((self.driver.as_deref_mut()?, &mut self.inner))
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.modules.iter().rev().find_map(|m| m.0.function_named(name))
    }

    /// Runs the entry function of the module loaded last, if it has one. Output is flushed, however it ends.
    ///
    /// # Errors
    /// What stopped the run. `exit` with status 0 is an error here too: see [`RunError::status`].
    pub fn run(&mut self) -> Result<(), RunError> {
        let entry = self.modules.last().and_then(|m| m.0.entry);
        let Some(entry) = entry else { return Ok(()) };
        // SAFETY: entry functions have no parameters and no environment: the verifier checked it.
        self.bounded(|inner| unsafe { inner.call_raw(entry, None, &[]) }).map(|_| ())
    }

    /// A function by name, with its types checked once.
    ///
    /// # Errors
    /// There is no such function, or its types are others.
    pub fn function<P: Params, R: ResultType>(&self, name: &str) -> Result<TypedFunction<P, R>, CallError> {
        let index = self.find(name).ok_or_else(|| CallError::Unknown(name.to_string()))?;
        let meta = self.inner.function(index).ok_or_else(|| CallError::Unknown(name.to_string()))?;
        let types: Vec<_> = meta.params.iter().map(|p| p.ty).collect();
        if meta.environment || !P::fits(&types) || !R::fits(meta.result) {
            return Err(CallError::Types {
                name: name.to_string(),
                wanted: format!("({}) -> {}", P::describe(), R::NAME),
                found: crate::error::describe(&types, meta.result),
            });
        }
        Ok(TypedFunction::new(index, Arc::as_ptr(&self.engine.0) as usize, self.identity()))
    }

    /// A number that no other live instance has.
    pub(crate) fn identity(&self) -> usize {
        &raw const *self.inner as usize
    }

    /// Calls a function of this instance. Output is flushed, however it ends.
    ///
    /// # Errors
    /// What stopped the run; invalid-argument for a handle of another instance.
    pub fn call<P: Params, R: ResultType>(
        &mut self,
        function: &TypedFunction<P, R>,
        params: P,
    ) -> Result<R, RunError> {
        function.call(self, params)
    }

    /// Runs something in the guest under the time limit, and flushes output after it.
    pub(crate) fn bounded<T>(
        &mut self,
        f: impl FnOnce(&mut upshift_runtime::instance::Instance) -> Result<T, Trap>,
    ) -> Result<T, RunError> {
        self.inner.set_deadline(self.timeout.map(|t| Instant::now() + t));
        let result = f(&mut self.inner);
        let flushed = self.inner.io.borrow_mut().flush();
        match (result, flushed) {
            (Ok(value), Ok(())) => Ok(value),
            (Ok(_), Err(trap)) | (Err(trap), _) => Err(RunError::from(trap)),
        }
    }

    /// Gives the instance a value that host functions find by its type: [`HostContext::data`].
    pub fn set_data<T: Any + Send>(&mut self, data: T) {
        self.inner.set_data(data);
    }

    /// The value given to [`Instance::set_data`].
    pub fn data<T: Any>(&mut self) -> Option<&mut T> {
        self.inner.data::<T>()
    }

    /// Works with guest values from outside: makes them, reads them, calls functions with them.
    pub fn enter<R>(&mut self, f: impl FnOnce(&mut HostContext<'_>) -> R) -> R {
        self.inner.enter(f)
    }

    /// A handle that stops this instance from another thread or a signal handler.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.inner.interrupt_handle()
    }

    /// The fuel that is left; `None` without a limit.
    pub fn fuel(&self) -> Option<u64> {
        self.inner.fuel()
    }

    /// Sets the fuel.
    pub fn set_fuel(&mut self, fuel: Option<u64>) {
        self.inner.set_fuel(fuel);
    }

    /// What the feedback sites of a module saw in this instance, for debugging; empty if it is not loaded here.
    pub fn feedback(&self, module: &Module) -> &[Feedback] {
        self.inner.feedback(&module.0)
    }

    /// The last decisions of the tiers, the oldest first.
    pub fn tier_events(&self) -> impl Iterator<Item = &Event> {
        self.driver.iter().flat_map(|d| d.events().iter())
    }

    /// What the tiers did so far.
    pub fn tier_counters(&self) -> Counters {
        self.driver.as_ref().map(|d| d.counters()).unwrap_or_default()
    }

    /// Begins to sample what this instance does in its runs, so many times a second, in all tiers; samples of before are given up.
    /// Between samples a run costs a few percent more, as polls are more frequent. Whether it began: the system may give no
    /// thread for the clock.
    ///
    /// ```
    /// # use upshift::{Config, Engine, Grants, Limits, profile::sampler::Detail};
    /// # use upshift::bytecode::{builder::ModuleBuilder, ValueType};
    /// # let mut builder = ModuleBuilder::new("example");
    /// # let ints = builder.signature(&[ValueType::Int], Some(ValueType::Int));
    /// # let count = builder.declare("count", ints, None);
    /// # let mut code = builder.define(count);
    /// # let (n, i) = (code.param(0), code.int());
    /// # code.load_int(i, 0);
    /// # let top = code.label();
    /// # code.begin_loop(top);
    /// # code.int_add_imm(i, i, 1);
    /// # code.int_lt_loop(i, n, top);
    /// # code.return_int(i);
    /// # code.finish(&mut builder);
    /// # let module = builder.finish();
    /// # let engine = Engine::new(Config::default());
    /// # let module = engine.load(&module)?;
    /// let mut instance = engine.instantiate(&module, Grants::none(), Limits::default())?;
    /// let count = instance.function::<(i64,), i64>("count")?;
    /// assert!(instance.start_sampling(1000));
    /// instance.call(&count, (10_000_000,))?;
    /// let profile = instance.stop_sampling().expect("it was started");
    /// // Lines such as `count [optimized] 12`.
    /// print!("{}", profile.folded(Detail { tiers: true, lines: false }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_sampling(&mut self, frequency: u32) -> bool {
        self.start_sampling_with(SamplingOptions { frequency, ..SamplingOptions::default() })
    }

    /// As [`Instance::start_sampling`], with other options.
    pub fn start_sampling_with(&mut self, options: SamplingOptions) -> bool {
        self.sampler = None;
        self.inner.set_sampling(None);
        self.sampler = Sampler::start(options, &mut self.inner, self.engine.0.machinery.clone());
        self.sampler.is_some()
    }

    /// As [`Instance::start_sampling`], with a clock of the caller's: each time that the number grows by one is a tick.
    pub fn start_sampling_by(&mut self, ticks: Arc<AtomicU64>) {
        self.sampler = Some(Sampler::counted(ticks, SamplingOptions::default().portion, &mut self.inner));
    }

    /// Ends what [`Instance::start_sampling`] began; `None` where nothing did.
    pub fn stop_sampling(&mut self) -> Option<Profile> {
        let sampler = self.sampler.take()?;
        Some(sampler.stop(&mut self.inner))
    }

    /// Begins to write down what becomes of functions and loops in all tiers, and to sample so many times a second, for a report:
    /// see [`explain`]. Before the first run, so that the report is whole; what was begun before is given up. Whether it began: the
    /// system may give no thread for the clock.
    pub fn start_explaining(&mut self, frequency: u32) -> bool {
        let began = self.start_sampling(frequency);
        if let Some(driver) = &mut self.driver {
            driver.set_journal(began.then(Box::default));
        }
        self.explained_since = began.then(|| (Instant::now(), self.heap_stats().total_pause));
        began
    }

    /// Ends what [`Instance::start_explaining`] began, and gives the report; `None` where nothing did.
    pub fn stop_explaining(&mut self) -> Option<Report> {
        let (since, pause) = self.explained_since.take()?;
        let elapsed = since.elapsed();
        let profile = self.stop_sampling()?;
        let collector = self.heap_stats().total_pause.saturating_sub(pause);
        let journal: Option<Box<Journal>> = self.driver.as_mut().and_then(|d| d.set_journal(None));
        Some(explain::collect(explain::Input {
            instance: &self.inner,
            journal: *journal.unwrap_or_default(),
            profile,
            config: self.driver.as_ref().map(|d| d.config()),
            elapsed,
            collector,
            entry: self.modules.last().and_then(|m| m.0.entry),
        }))
    }

    /// What the collector did so far.
    pub fn heap_stats(&self) -> HeapStats {
        self.inner.heap.stats()
    }
}
