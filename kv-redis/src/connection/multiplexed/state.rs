//! What a queue knows: the requests that wait, and what its connections are doing.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::collections::VecDeque;
use std::mem;
use std::sync::MutexGuard;
use std::task::Waker;

use tokio::sync::oneshot;

use super::wire::{Answer, Exchange};
use crate::protocol::fault::Fault;

/// How many short requests are sent together at most. They are answered together, too, so a caller waits for all of them. And all their
/// callers are woken at once: a thread of tokio has a queue of 256 tasks, and what does not fit into it waits much longer.
const TOGETHER: usize = 64;

/// With this number of requests it is looked whether their callers have gone (A3).
const MANY: usize = 1024;

/// See [`Queue`](super::queue::Queue).
pub(super) struct State {
    /// The requests that are sent together with others, and those that have a connection to themselves.
    pub(super) short: VecDeque<Job>,
    pub(super) long: VecDeque<Job>,
    /// With this number of them, those whose callers have gone are taken out.
    pub(super) full: usize,
    /// The number by which the next request or connection is known.
    pub(super) next: u64,
    /// The connections that have nothing to do.
    pub(super) idle: Vec<(u64, Waker)>,
    /// How many connections there are, and how many are being made.
    pub(super) connections: usize,
    pub(super) making: usize,
    /// How many connections are busy with short requests, and how many with a long one.
    pub(super) together: usize,
    pub(super) alone: usize,
    /// How many are about to look for something to do: they are new, were woken, or have just done something.
    pub(super) ready: usize,
    pub(super) is_closed: bool,
}

/// A request, and where its replies go.
pub(super) struct Job {
    number: u64,
    pub(super) exchange: Exchange,
    /// Whether it was sent on a connection that proved dead.
    pub(super) was_sent: bool,
    /// How often a new connection proved dead before it was sent.
    pub(super) tries: u32,
    reply: oneshot::Sender<Result<Answer, Fault>>,
}

/// What a connection is busy with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Together,
    Alone,
}

/// What a connection did before it looks for something to do, or ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It has just been made.
    New,
    Idle,
    Doing(Work),
    /// It has handed out the replies.
    Done(Work),
    /// It was told to close.
    Closing,
}

/// What there is to do for a connection.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    Do(Work),
    Nothing,
    /// It is not needed any longer.
    Close,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            short: VecDeque::new(),
            long: VecDeque::new(),
            full: MANY,
            next: 0,
            idle: Vec::new(),
            connections: 0,
            making: 0,
            together: 0,
            alone: 0,
            ready: 0,
            is_closed: false,
        }
    }

    /// Adds a request; returns its number.
    pub(super) fn add(
        &mut self,
        exchange: Exchange,
        is_long: bool,
        reply: oneshot::Sender<Result<Answer, Fault>>,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        let waiting = if is_long { &mut self.long } else { &mut self.short };
        waiting.push_back(Job { number, exchange, was_sent: false, tries: 0, reply });
        number
    }

    /// Whether there may be many whose callers have gone.
    pub(super) fn is_full(&self) -> bool {
        self.short.len() + self.long.len() >= self.full
    }

    /// Whether a long request waits.
    pub(super) fn is_waiting(&self, number: u64) -> bool {
        position(&self.long, number).is_some()
    }

    /// Takes a request out.
    pub(super) fn take_back(&mut self, number: u64) -> Option<Job> {
        [&mut self.long, &mut self.short]
            .into_iter()
            .find_map(|jobs| position(jobs, number).and_then(|at| jobs.remove(at)))
    }

    /// Takes the first short requests, and what wakes a connection that may take more of them. Nothing is done for callers who have gone.
    pub(super) fn take_short(&mut self, jobs: &mut Vec<Job>, most_together: usize) -> Option<Waker> {
        while jobs.len() < TOGETHER
            && let Some(job) = self.short.pop_front()
        {
            if !job.has_left() {
                jobs.push(job);
            }
        }
        self.together += 1;
        if self.short.is_empty() {
            self.full = MANY;
            return None;
        }
        let (_, waker) = if self.together < most_together { self.idle.pop()? } else { return None };
        self.ready += 1;
        Some(waker)
    }

    /// Takes out those that came before this number, or all.
    pub(super) fn take_before(&mut self, number: u64, all: bool) -> Vec<Job> {
        let mut taken = Vec::new();
        for jobs in [&mut self.short, &mut self.long] {
            let (of_these, others): (Vec<_>, Vec<_>) =
                mem::take(jobs).into_iter().partition(|job| all || job.number < number);
            *jobs = others.into();
            taken.extend(of_these);
        }
        taken
    }

    /// Lets idle connections look for something to do.
    pub(super) fn wake_idle(mut this: MutexGuard<'_, Self>) {
        let idle = mem::take(&mut this.idle);
        this.ready += idle.len();
        drop(this);
        for (_, waker) in idle {
            waker.wake();
        }
    }

    /// Nothing is done for callers who have gone.
    pub(super) fn drop_first_of_those_who_left(&mut self) {
        for jobs in [&mut self.short, &mut self.long] {
            while jobs.front().is_some_and(Job::has_left) {
                jobs.pop_front();
            }
        }
    }

    pub(super) fn note_no_longer(&mut self, work: Work) {
        match work {
            Work::Together => self.together -= 1,
            Work::Alone => self.alone -= 1,
        }
    }

    /// Notes that a connection looks for something to do, or ends.
    pub(super) fn note_looking(&mut self, before: Before, number: u64) {
        match before {
            Before::Closing => {}
            Before::Doing(work) => self.note_no_longer(work),
            Before::New | Before::Done(_) => self.ready -= 1,
            Before::Idle => {
                let idle = self.idle.len();
                self.idle.retain(|(known, _)| *known != number);
                // If it was not there, it was woken.
                self.ready -= usize::from(self.idle.len() == idle);
            }
        }
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        mem::take(&mut self.short).into_iter().chain(mem::take(&mut self.long))
    }

    /// Takes out the requests whose callers have gone.
    pub(super) fn take_those_who_left(&mut self) -> Vec<Job> {
        let mut left = Vec::new();
        for jobs in [&mut self.short, &mut self.long] {
            let (gone, waiting): (Vec<_>, Vec<_>) = mem::take(jobs).into_iter().partition(Job::has_left);
            *jobs = waiting.into();
            left.extend(gone);
        }
        self.full = MANY.max(2 * (self.short.len() + self.long.len()));
        left
    }
}

/// Where a request stands. Those that are sent once more stand before all others, out of order.
fn position(jobs: &VecDeque<Job>, number: u64) -> Option<usize> {
    jobs.iter().rposition(|job| job.number == number)
}

impl Job {
    /// Whether its caller has gone.
    pub(super) fn has_left(&self) -> bool {
        self.reply.is_closed()
    }

    /// Hands out the answer. The caller may have gone.
    pub(super) fn end(self, answer: impl FnOnce(Exchange) -> Result<Answer, Fault>) {
        let _ = self.reply.send(answer(self.exchange));
    }

    pub(super) fn fail(self, fault: Fault) {
        self.end(|_| Err(fault));
    }
}
