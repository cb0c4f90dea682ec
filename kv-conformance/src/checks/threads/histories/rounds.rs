//! Rounds: several threads that begin a few operations on fresh keys at the same time, over and over.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kv_core::{Bytes, Capability, Key, KeyBuf, KeyValueStore, Prefix, Ttl};

use super::steps::{Ground, Kind, Sizes, Step, Ttls};
use crate::checks::threads::at_once::at_once;
use crate::history::{History, Recorder, Recording, Weakness};
use crate::running::{Budget, Context, Outcome, effort, part_for_effort};

/// What a check lets threads do.
pub(super) struct Plan<'a> {
    pub(super) kinds: &'a [Kind],
    /// How many kinds of operations there are in a round, at most.
    pub(super) kinds_at_once: usize,
    /// How many of them do how many operations on how many keys. Small ones are easy to read.
    pub(super) shapes: &'a [Shape],
    /// One round of so many has long values.
    pub(super) long_one_of: usize,
    pub(super) time: Duration,
}

pub(super) struct Shape {
    pub(super) threads: usize,
    pub(super) keys: usize,
    pub(super) operations: usize,
}

/// How long a series of rounds with the same threads takes, about, and how many it has at most. A slow store has few.
const SERIES: (Duration, u32) = (Duration::from_millis(60), 64);

/// How many rounds there are where that takes no more than so many times the time of a plan: a busy machine gets as far as another one.
const ENOUGH: (usize, u32) = (2000, 4);

/// Runs rounds until the time is up, and gives the histories of each series to `check`.
pub(super) fn run(
    context: &Context<'_>,
    plan: &Plan<'_>,
    weaknesses: &[Weakness],
    check: impl Fn(&History) -> Outcome,
) -> Outcome {
    let (start, budget) = (Instant::now(), Budget::new(plan.time, plan.shapes.len()));
    let (mut random, mut rounds, mut done) = (Rng::with_seed(context.seed.used()), 1, 0);
    let kinds = Kind::of(context, plan.kinds, weaknesses);
    let ttls = Ttls::of(context);
    let (enough, times) = ENOUGH;
    let (enough, longest) = (part_for_effort(enough), plan.time.mul_f64(effort()) * times);
    for (number, shape) in plan.shapes.iter().cycle().enumerate() {
        if !budget.allows_another() && (done >= enough || start.elapsed() >= longest) {
            break;
        }
        let began = Instant::now();
        let series = (0..rounds).map(|round| Round::random(&mut random, number, round, shape, &kinds, context, plan));
        let series = series.collect::<Outcome<Vec<_>>>()?;
        record(context, &mut random, shape, number, &series, &ttls)?.iter().try_for_each(&check)?;
        done += series.len();
        let (time, most) = SERIES;
        let fit = time.as_nanos() / (began.elapsed() / rounds).as_nanos().max(1);
        rounds = u32::try_from(fit).unwrap_or(most).clamp(1, most);
    }
    Ok(())
}

/// What each thread does in a round, on keys that no other round has.
struct Round {
    prefix: String,
    keys: Vec<KeyBuf>,
    stays: KeyBuf,
    threads: Vec<Vec<Step>>,
    sizes: Sizes,
    /// At how many of ten keys there is something at first.
    begun: u8,
}

impl Round {
    fn random(
        random: &mut Rng,
        series: usize,
        round: u32,
        shape: &Shape,
        kinds: &[Kind],
        context: &Context<'_>,
        plan: &Plan<'_>,
    ) -> Outcome<Self> {
        // A few kinds at a time: of two that do not go together so many more pairs meet.
        let few = random.usize(1..=plan.kinds_at_once);
        let mut kinds = random.choose_multiple(kinds.iter().copied(), few);
        if kinds.contains(&Kind::Keys) {
            kinds.push(Kind::Stays);
        }
        if random.bool() {
            kinds.push(Kind::Get);
        }
        let sizes = Sizes::random(random, plan.long_one_of, context.size(70_000));
        let begun = random.choice([0, 5, 10]).unwrap_or_default();
        let mut steps = || (0..shape.operations).map(|_| Step::random(random, &kinds, shape.keys, &sizes)).collect();
        let threads = (0..shape.threads).map(|_| steps()).collect();
        let prefix = format!("{series}/{round}/");
        let keys = (0..shape.keys).map(|key| KeyBuf::new(format!("{prefix}{key}"))).collect::<Result<_, _>>()?;
        Ok(Self { keys, stays: KeyBuf::new(format!("{prefix}stays"))?, threads, prefix, sizes, begun })
    }

    fn has(&self, kind: Kind) -> bool {
        self.threads.iter().flatten().any(|step| step.is(kind))
    }

    /// Puts what is copied from in the round.
    fn put_sources(&self, first: &mut Recording<'_>, ttls: &Ttls) -> Outcome<Sources> {
        let mut put = |thread: usize, nth: usize, step: &Step| {
            let Some((size, ttl)) = step.source(ttls) else { return Ok(None) };
            let key = KeyBuf::new(format!("from/{}{thread}/{nth}", self.prefix))?;
            let value = first.fresh_value_of(size);
            first.put_with_ttl(key.as_key(), value.clone(), ttl)?;
            Ok(Some((key, value, ttl)))
        };
        let mut of_thread = |(thread, steps): (usize, &Vec<Step>)| {
            steps.iter().enumerate().map(|(nth, step)| put(thread, nth, step)).collect()
        };
        self.threads.iter().enumerate().map(&mut of_thread).collect()
    }

    /// All keys of the round that are in use.
    fn all_keys(&self) -> impl Iterator<Item = Key<'_>> {
        let stays = self.has(Kind::Stays).then_some(&self.stays);
        self.keys.iter().chain(stays).map(KeyBuf::as_key)
    }
}

/// The handles that threads use in turn: if there is a second one, half of them have that.
pub(in crate::checks::threads) fn handles<'a>(context: &Context<'a>) -> [&'a dyn KeyValueStore; 2] {
    [context.store(), context.second_handle().unwrap_or_else(|_| context.store())]
}

/// Puts something at some of the keys, lets each thread do its steps at the same time as the others, and reads all keys through every
/// handle in the end.
fn record(
    context: &Context<'_>,
    random: &mut Rng,
    shape: &Shape,
    number: usize,
    series: &[Round],
    ttls: &Ttls,
) -> Outcome<Vec<History>> {
    let recorder = Recorder::new().default_ttl(None).ttl_tolerance(ttls.tolerance);
    let [even, odd] = handles(context);
    let handle = |thread| if thread % 2 == 0 { even } else { odd };
    let threads =
        (0..shape.threads).map(|thread| Mutex::new(Some(recorder.thread(handle(thread))))).collect::<Vec<_>>();
    let mut first = recorder.thread(even);
    for round in series {
        for key in round.all_keys() {
            if key == round.stays.as_key() || random.u8(..10) < round.begun {
                let is_counter = round.has(Kind::Increment) && random.u8(..4) > 0;
                let value =
                    if is_counter { first.fresh_counter() } else { first.fresh_value_of(round.sizes.one(random)) };
                first.put_with_ttl(key, value, ttls.random(random))?;
            }
        }
    }
    let sources = series.iter().map(|round| round.put_sources(&mut first, ttls)).collect::<Outcome<Vec<_>>>()?;
    let all = Series { number, rounds: series, sources, ttls, line: StartingLine::default() };
    let recordings = at_once(shape.threads, |thread| {
        let recording = threads.get(thread).map(|taken| taken.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(mut recording) = recording.flatten() else { return Ok(Ok(None)) };
        Ok(all.run(thread, &mut recording).map(|()| Some(recording)))
    })?;
    let mut recordings = recordings.into_iter().collect::<Outcome<Vec<_>>>()?.into_iter().flatten().collect::<Vec<_>>();
    recordings.extend([first, read_all(context, &recorder, series)?]);
    let mut other = recorder.thread(odd);
    other.get_many(&series.iter().flat_map(Round::all_keys).collect::<Vec<_>>())?;
    recordings.push(other);
    Ok(History::of(recordings))
}

/// Reads all keys at the end.
fn read_all<'a>(context: &Context<'a>, recorder: &Recorder, series: &[Round]) -> Outcome<Recording<'a>> {
    let mut last = recorder.thread(context.store());
    let ttl = context.has(Capability::TtlReading);
    for key in series.iter().flat_map(Round::all_keys) {
        last.get(key)?;
        if ttl {
            last.ttl(key)?;
        }
    }
    Ok(last)
}

/// What all threads of a series work with.
struct Series<'a> {
    number: usize,
    rounds: &'a [Round],
    /// The sources of each round.
    sources: Vec<Sources>,
    ttls: &'a Ttls,
    line: StartingLine,
}

/// Of each thread, what it copies from in which step.
type Sources = Vec<Vec<Option<(KeyBuf, Bytes, Ttl)>>>;

impl Series<'_> {
    /// All rounds of one thread.
    fn run(&self, thread: usize, recording: &mut Recording<'_>) -> Outcome {
        let runner = Runner { line: &self.line, has_arrived: false };
        let own = KeyBuf::new(format!("{}/own/{thread}", self.number))?;
        for (number, (round, sources)) in self.rounds.iter().zip(&self.sources).enumerate() {
            let sources = sources.get(thread).map(Vec::as_slice).unwrap_or_default();
            let on = Ground {
                keys: round.keys.iter().map(KeyBuf::as_key).collect(),
                prefix: Prefix::new(&round.prefix)?,
                stays: round.stays.as_key(),
                own: own.as_key(),
                sources,
                ttls: self.ttls,
            };
            if !self.line.wait((number + 1) * round.threads.len()) {
                break;
            }
            for (nth, step) in round.threads.get(thread).into_iter().flatten().enumerate() {
                (0..step.yields()).for_each(|_| thread::yield_now());
                step.run(nth, recording, &on)?;
            }
        }
        runner.arrived();
        Ok(())
    }
}

/// Where threads wait for each other. A barrier wakes one after the other, which is longer than a store in memory needs for all
/// it has to do.
#[derive(Default)]
struct StartingLine {
    arrived: AtomicUsize,
    is_over: AtomicBool,
}

impl StartingLine {
    /// Waits until so many have arrived, in all rounds. Not if a thread has failed.
    fn wait(&self, for_all: usize) -> bool {
        const SPINS: usize = 20_000;
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.arrived.load(Ordering::SeqCst) < for_all {
            if self.is_over.load(Ordering::Relaxed) {
                return false;
            }
            // One that hangs in the store is waited for without using up the processor.
            if spins < SPINS {
                thread::yield_now();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
            spins += 1;
        }
        true
    }
}

/// Tells the others if a thread does not come to the end, by a panic or an error.
struct Runner<'a> {
    line: &'a StartingLine,
    has_arrived: bool,
}

impl Runner<'_> {
    fn arrived(mut self) {
        self.has_arrived = true;
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        if !self.has_arrived {
            self.line.is_over.store(true, Ordering::Relaxed);
        }
    }
}
