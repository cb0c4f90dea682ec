//! How long the longest operation takes while the store sweeps.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use kv_memory::{KeyBuf, KeyValueStore, MemoryStore, Ttl};

use super::{Threads, keys, value};

/// What is shorter is not kept.
const KEPT: Duration = Duration::from_micros(100);

/// A million entries that expire within a second, while somebody reads and writes: how long the longest operation takes, in all and of the
/// processor's time. Beside it the same of threads that do nothing but look at the clock, which is what the machine does.
pub(crate) fn measure() {
    println!(
        "\n{:<56} {:>9} {:>9} {:>9} {:>9}",
        "Sweeping: 1 000 000 entries that end in one second", "longest", "> 1 ms", "processor", "> 1 ms"
    );
    for threads in [1, 2] {
        let store = MemoryStore::new();
        let end = Instant::now() + Duration::from_secs(4);
        for key in keys(1_000_000) {
            // All of them within the second that ends then.
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
        show(&format!("get and put by {}, of {left} that are left", Threads(threads)), &times);
    }
    for threads in [1, 2] {
        show(&format!("nothing but a look at the clock by {}", Threads(threads)), &longest(threads, |_, _| ()));
    }
}

/// What each operation took that is worth keeping, in all and of the processor's time, while so many threads did nothing else for a second and a half.
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

/// How long the processor has worked for this thread; where that cannot be told, nothing.
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
