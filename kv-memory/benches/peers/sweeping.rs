//! How long the longest operation takes while the store sweeps.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use kv_memory::{KeyBuf, KeyValueStore, MemoryStore, Ttl};

use super::{Threads, keys, value};

/// Shorter operations are not recorded.
const KEPT: Duration = Duration::from_micros(100);

/// A million entries expire within a second while threads read and write. This shows how long the longest operation takes, by the wall clock
/// and by the processor's time. For comparison it shows the same for threads that only read the clock: these pauses come from the machine.
pub(crate) fn measure() {
    println!(
        "\n{:<56} {:>9} {:>9} {:>9} {:>9}",
        "Sweeping: 1 000 000 entries expire within one second", "longest", "> 1 ms", "processor", "> 1 ms"
    );
    for threads in [1, 2] {
        let store = MemoryStore::new();
        let end = Instant::now() + Duration::from_secs(4);
        for key in keys(1_000_000) {
            // All of them expire within the second before `end`.
            let ttl = end.saturating_duration_since(Instant::now());
            let _ = store.write(key.as_key(), value(100).into(), Ttl::After(ttl));
        }
        let others: Vec<KeyBuf> = (0..100_000).filter_map(|n| KeyBuf::new(format!("other:{n:06}")).ok()).collect();
        thread::sleep(end.saturating_duration_since(Instant::now() + Duration::from_millis(100)));
        let times = longest(threads, |thread, number| {
            let Some(key) = others.get((number * threads + thread) % others.len()).map(KeyBuf::as_key) else { return };
            if number % 4 == 0 {
                black_box(store.read(key).is_ok());
            } else {
                black_box(store.write(key, (&b"value"[..]).into(), Ttl::Forever).is_ok());
            }
        });
        let left = store.snapshot().len();
        show(&format!("get and put by {}, {left} entries are left", Threads(threads)), &times);
    }
    for threads in [1, 2] {
        show(&format!("only reading the clock by {}", Threads(threads)), &longest(threads, |_, _| ()));
    }
}

/// How long each recorded operation took, by the wall clock and by the processor's time, while threads ran `act` for a second and a half.
fn longest(threads: usize, act: impl Fn(usize, usize) + Sync) -> Vec<[Duration; 2]> {
    let over = Instant::now() + Duration::from_millis(1500);
    let act = &act;
    thread::scope(|scope| {
        let busy = (0..threads).map(|thread| {
            scope.spawn(move || {
                let mut times = Vec::new();
                for number in 0.. {
                    let (begin, processor) = (Instant::now(), processor_time());
                    act(thread, number);
                    let took = [begin.elapsed(), processor_time().saturating_sub(processor)];
                    if took.iter().any(|took| *took > KEPT) {
                        times.push(took);
                    }
                    if begin > over {
                        break;
                    }
                }
                times
            })
        });
        let busy = busy.collect::<Vec<_>>();
        busy.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// The processor's time of this thread; zero on systems that do not tell it.
fn processor_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

fn show(name: &str, times: &[[Duration; 2]]) {
    let column = |of: fn(&[Duration; 2]) -> Duration| {
        let longest = times.iter().map(of).max().unwrap_or_default();
        let long = times.iter().filter(|time| of(time) > Duration::from_millis(1)).count();
        let longest = if longest > KEPT { format!("{longest:.1?}") } else { format!("< {KEPT:?}") };
        format!("{longest:>9} {long:>9}")
    };
    println!("{name:<56} {} {}", column(|[all, _]| *all), column(|[_, processor]| *processor));
}
