//! Measures two calls alternately, in rounds.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::BoxError;

/// The most calls in a round.
const MOST: u32 = 1 << 24;

/// Makes a function that repeats the call for this long, and returns how long it took on average.
pub(super) fn calibrated<T, E: Into<BoxError>>(
    mut call: impl FnMut() -> Result<T, E>,
    at_least: Duration,
) -> Result<impl FnMut() -> Result<Duration, BoxError>, BoxError> {
    let mut calls = 1;
    loop {
        let took = several(calls, &mut call)?;
        if took >= at_least || calls >= MOST {
            break;
        }
        // Approaches the number of calls in small steps, because the first calls are slow.
        let missing = at_least.as_nanos() / took.as_nanos().max(1) + 1;
        calls *= u32::try_from(missing).unwrap_or(u32::MAX).clamp(2, 10);
    }
    Ok(move || Ok(several(calls, &mut call)? / calls))
}

/// Measures how long several calls take.
fn several<T, E: Into<BoxError>>(calls: u32, call: &mut impl FnMut() -> Result<T, E>) -> Result<Duration, BoxError> {
    let begin = Instant::now();
    for _ in 0..calls {
        black_box(call().map_err(Into::into)?);
    }
    Ok(begin.elapsed())
}

/// The times of both calls in each round, after one round to warm up. Which call goes first alternates.
pub(super) fn take<E, F>(
    mut ours: impl FnMut() -> Result<Duration, E>,
    mut peer: impl FnMut() -> Result<Duration, F>,
    rounds: usize,
) -> Result<Vec<[Duration; 2]>, BoxError>
where
    E: Into<BoxError>,
    F: Into<BoxError>,
{
    let mut ours = || ours().map_err(Into::into);
    let mut peer = || peer().map_err(Into::into);
    let mut times = Vec::with_capacity(rounds + 1);
    for round in 0..=rounds {
        let [mut first, mut second] = [Duration::ZERO; 2];
        if round % 2 == 0 {
            first = ours()?;
        }
        second += peer()?;
        if round % 2 == 1 {
            first = ours()?;
        }
        times.push([first, second]);
    }
    times.remove(0);
    Ok(times)
}

/// Runs `act` in several threads, each with its own item. Returns the time from when all are ready until the last has ended.
///
/// # Errors
/// The first error of a thread, or that a thread panicked.
pub fn together<T: Send, E: Into<BoxError>>(
    of: &mut [T],
    act: impl Fn(&mut T) -> Result<(), E> + Sync,
) -> Result<Duration, BoxError> {
    let (ready, act) = (Barrier::new(of.len() + 1), &act);
    thread::scope(|scope| {
        let threads = of.iter_mut().map(|one| {
            let ready = &ready;
            scope.spawn(move || {
                ready.wait();
                act(one).map_err(Into::into)
            })
        });
        let threads = threads.collect::<Vec<_>>();
        ready.wait();
        let begin = Instant::now();
        let done = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
        done.collect::<Result<(), BoxError>>()?;
        Ok(begin.elapsed())
    })
}

/// The processor time that this process has used, with all its threads. For [`Bench::compare_timed`](super::Bench::compare_timed), where
/// the clock says less: a server that runs on the same machine has its own.
#[cfg(unix)]
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = |count: i64| u64::try_from(count).unwrap_or(0);
    Duration::from_secs(nanos(time.tv_sec)) + Duration::from_nanos(nanos(time.tv_nsec))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn they_take_turns_at_going_first() -> Result<(), BoxError> {
        let order = RefCell::new(String::new());
        let call = |name: char, millis: u64| {
            let order = &order;
            move || {
                order.borrow_mut().push(name);
                Ok::<_, BoxError>(Duration::from_millis(millis))
            }
        };
        let times = take(call('o', 3), call('p', 2), 3)?;
        assert_eq!(order.into_inner(), "oppooppo");
        assert_eq!(times, [[3, 2].map(Duration::from_millis); 3]);
        Ok(())
    }

    #[test]
    fn what_is_fast_is_called_often_and_what_is_slow_is_not() -> Result<(), BoxError> {
        let calls = RefCell::new([0_u32; 2]);
        let call = |which: usize, takes: Duration| {
            let calls = &calls;
            move || {
                calls.borrow_mut()[which] += 1;
                thread::sleep(takes);
                Ok::<_, BoxError>(())
            }
        };
        // So long that it does not look like a fast call on a busy machine.
        let round = Duration::from_millis(50);
        assert!(calibrated(call(0, Duration::ZERO), round)?()? < round / 2);
        assert!(calibrated(call(1, round), round)?()? >= round);
        let [fast, slow] = *calls.borrow();
        assert!(fast > 2 && slow == 2, "{fast} and {slow}");
        Ok(())
    }

    #[test]
    fn an_error_is_the_end() {
        assert!(calibrated(|| Err::<(), _>("no"), Duration::ZERO).is_err());
    }

    #[test]
    fn threads_work_at_the_same_time() -> Result<(), BoxError> {
        let mut numbers = [1, 2, 3];
        let all = Barrier::new(numbers.len());
        let took = together(&mut numbers, |number| {
            // No thread passes this barrier alone.
            all.wait();
            *number *= 2;
            Ok::<_, BoxError>(())
        })?;
        assert_eq!(numbers, [2, 4, 6]);
        assert!(took > Duration::ZERO);
        assert!(together(&mut numbers, |number| if *number > 4 { Err("too many") } else { Ok(()) }).is_err());
        Ok(())
    }
}
