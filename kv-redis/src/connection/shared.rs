//! Connections that callers share: what they ask at the same time is sent in one go.
//!
//! With a pool alone each operation costs a packet either way. Here the first who asks leads a batch: it waits for a connection,
//! and until it has one others join. Then it sends all that has come together and hands out the replies. Whoever asks meanwhile
//! is in the next batch, which has a leader of its own. So nobody works for others longer than for itself, and there is no
//! thread but the callers'. One caller alone does just what it would do with the pool.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use std::{io, mem, ptr, thread};

use redis::Value as Reply;

use crate::connection::exchange::{Answer, RunId};
use crate::connection::per_process::PerProcess;
use crate::connection::pool::Pool;
use crate::protocol::fault::{Fault, Limits, ServerName};
use crate::protocol::request::{Request, Shape};
use crate::servers::node::{Acquire, KnownCommands, Node, Server};

/// Requests of more bytes than this have a connection to themselves: nobody is to wait behind a large value.
const SHORT: usize = 16 * 1024;

/// A batch of so many bytes is full.
const FULL: usize = 256 * 1024;

/// A batch of so many requests is full.
const MANY: usize = 1024;

/// Who has waited for this long for another thread's batch makes sure that there is such a thread: not in a process that was forked.
const SOON: Duration = Duration::from_millis(10);

/// A server, and a pool of connections to it of which some are shared.
pub(crate) struct Shared<L = Node> {
    node: L,
    limits: Limits,
    connections: u32,
    batches: PerProcess<Batches>,
}

struct Batches {
    open: Mutex<Open>,
    /// How many may be on their way. Those who wait for a permit are the leaders of batches that can be joined: so there is one at a
    /// time.
    permits: Pool<()>,
    /// How many requests the last one had.
    crowd: AtomicUsize,
}

/// The batch that can be joined. It has a leader, which waits for a connection.
struct Open {
    batch: Option<Arc<Batch>>,
    /// What the others ask: a command each.
    joined: Request<'static>,
    members: usize,
}

/// What becomes of the requests that joined.
#[derive(Default)]
struct Batch {
    outcome: Mutex<Outcome>,
    is_over: Condvar,
}

#[derive(Default)]
enum Outcome {
    #[default]
    Pending,
    /// The replies, of which each is taken by who asked.
    Answered {
        replies: Vec<Reply>,
        run_id: RunId,
        server: Option<ServerName>,
    },
    Failed(Failed),
    /// Nothing was sent, as the batch was that of the process that this one was forked from.
    Inherited,
}

/// Why a batch has no replies.
struct Failed {
    fault: Fault,
    /// Whether any of it changes something. If so it was not sent again, though the others' requests could have been.
    writes: bool,
}

impl<L: Acquire> Shared<L> {
    /// At most so many batches are on their way at the same time, each on a connection of the pool.
    pub(crate) fn new(node: L, connections: u32, limits: Limits) -> Self {
        Self { node, limits, connections, batches: PerProcess::new(Batches::new(connections)) }
    }

    /// The server, for what is not to be shared.
    pub(crate) fn node(&self) -> &L {
        &self.node
    }

    /// Sends a request with what others ask. `Err` if that cannot be, as this process was forked and the others are in its parent.
    fn exchange_with_others(
        &self,
        batches: &Batches,
        request: &Request<'_>,
        begun: Instant,
    ) -> Result<Result<Answer, Failed>, Inherited> {
        let mut open = self.lock_here(batches, &batches.open)?;
        if let Some(batch) = open.batch.clone() {
            if open.members + 1 >= MANY || open.joined.len() + request.len() > FULL {
                drop(open);
                return Ok(self.node.exchange(request).map_err(|fault| Failed { fault, writes: request.writes() }));
            }
            let index = open.members;
            open.joined.append(request);
            open.members += 1;
            drop(open);
            self.follow(batches, &batch, index, begun)
        } else {
            let batch = Arc::new(Batch::default());
            open.batch = Some(Arc::clone(&batch));
            drop(open);
            self.lead(batches, &batch, request, begun)
        }
    }

    /// Sends what others ask together with a request, and the request last.
    fn lead(
        &self,
        batches: &Batches,
        batch: &Batch,
        own: &Request<'_>,
        begun: Instant,
    ) -> Result<Result<Answer, Failed>, Inherited> {
        let mut lead = Lead { batches, batch, is_open: true, is_followed: false };
        let batch_permit = match batches.permits.try_take() {
            None => {
                if let Err(Inherited) = self.check_process(batches) {
                    // Other threads of this process may have joined meanwhile.
                    lead.close();
                    lead.conclude(Outcome::Inherited);
                    return Err(Inherited);
                }
                batches.permits.take(self.limits.pool)
            }
            permit => permit,
        };
        let permit = match batch_permit {
            Some(_) => self.node.wait(self.limits.pool.saturating_sub(begun.elapsed())),
            None => Err(Fault::PoolExhausted),
        };
        // Of many, those who have just had their replies are about to ask again, and could as well be in this batch.
        if batches.crowd.load(Relaxed) > 2 {
            thread::yield_now();
        }
        let (mut request, members) = lead.close();
        batches.crowd.store(members + 1, Relaxed);
        if members == 0 {
            let result = permit.and_then(|mut permit| self.node.exchange_by(&mut permit, own));
            return Ok(result.map_err(|fault| Failed { fault, writes: own.writes() }));
        }
        request.append(own);
        let result = permit.and_then(|mut permit| self.node.exchange_by(&mut permit, &request));
        // The next batch can be sent before those of this one have their replies.
        drop(batch_permit);
        Ok(match result {
            Ok(Answer { mut replies, run_id, server, .. }) => {
                let reply = replies.pop();
                lead.conclude(Outcome::Answered { replies, run_id, server: server.clone() });
                answer(reply, run_id, server)
            }
            Err(fault) => {
                let failed = Failed { fault: of_several(fault), writes: request.writes() };
                lead.conclude(Outcome::Failed(failed.copy()));
                Err(failed)
            }
        })
    }

    /// Waits for what comes of a request that joined a batch, for as long as all may take that its leader does.
    fn follow(
        &self,
        batches: &Batches,
        batch: &Batch,
        index: usize,
        begun: Instant,
    ) -> Result<Result<Answer, Failed>, Inherited> {
        let Limits { pool, connect, response } = self.limits;
        let deadline = begun + pool + connect + 2 * response;
        let mut is_checked = false;
        let mut outcome = self.lock_here(batches, &batch.outcome)?;
        loop {
            match &mut *outcome {
                Outcome::Answered { replies, run_id, server } => {
                    return Ok(answer(replies.get_mut(index).map(mem::take), *run_id, server.clone()));
                }
                Outcome::Failed(failed) => return Ok(Err(failed.copy())),
                Outcome::Inherited => return Err(Inherited),
                Outcome::Pending => {}
            }
            let waited = begun.elapsed();
            if waited >= SOON && !is_checked {
                self.check_process(batches)?;
                is_checked = true;
            }
            let left = deadline.saturating_duration_since(begun + waited);
            if left.is_zero() {
                let fault = Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true };
                return Ok(Err(Failed { fault, writes: true }));
            }
            let wait = if is_checked { left } else { left.min(SOON) };
            outcome = batch.is_over.wait_timeout(outcome, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Locks what a thread may hold that this process does not have.
    fn lock_here<'a, T>(&self, batches: &Batches, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>, Inherited> {
        match mutex.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.check_process(batches).map(|()| lock(mutex)),
        }
    }

    fn check_process(&self, batches: &Batches) -> Result<(), Inherited> {
        if self.batches.is_own(|own| ptr::eq(own, batches)) { Ok(()) } else { Err(Inherited) }
    }
}

/// The others, whom a batch has or whom it waits for, are threads of the process that this one was forked from.
struct Inherited;

impl Batches {
    fn new(connections: u32) -> Self {
        let open = Open { batch: None, joined: Request::empty(), members: 0 };
        Self { open: Mutex::new(open), permits: Pool::new(connections), crowd: AtomicUsize::new(0) }
    }
}

impl<L: Acquire> Server for Shared<L> {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        // Of a server that is in question nobody waits for what others send: see `Silence`.
        if !is_short(request) || self.node.is_in_question() {
            return self.node.exchange(request);
        }
        let begun = Instant::now();
        let result = self.exchange_with_others(self.batches.get(), request, begun).or_else(|Inherited| {
            let own = self.batches.own(|_| Batches::new(self.connections));
            self.exchange_with_others(own, request, begun)
        });
        let Ok(result) = result else { return self.node.exchange(request) };
        match result {
            Ok(answer) => Ok(answer),
            // That another's request changes something is no reason for not sending a read again (N5).
            Err(Failed { fault, writes: true })
                if !request.writes() && fault.is_dead_connection() && begun.elapsed() < self.limits.response =>
            {
                self.node.exchange(request)
            }
            // Another one's request was not for this server. Nothing was sent.
            Err(Failed { fault: Fault::Lacks(commands), .. }) if commands.has(request.needs()) => {
                self.node.exchange(request)
            }
            Err(Failed { fault, .. }) => Err(fault),
        }
    }

    fn known(&self) -> &KnownCommands {
        self.node.known()
    }
}

/// Whoever leads a batch. If it panics, the others are told that their requests failed.
struct Lead<'a> {
    batches: &'a Batches,
    batch: &'a Batch,
    is_open: bool,
    is_followed: bool,
}

impl Lead<'_> {
    /// Lets nobody join any more. What the others ask, and how many they are.
    fn close(&mut self) -> (Request<'static>, usize) {
        let mut open = lock(&self.batches.open);
        self.is_open = false;
        self.is_followed = open.members > 0;
        open.batch = None;
        (mem::replace(&mut open.joined, Request::empty()), mem::take(&mut open.members))
    }

    fn conclude(&mut self, outcome: Outcome) {
        self.is_followed = false;
        *lock(&self.batch.outcome) = outcome;
        self.batch.is_over.notify_all();
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.close();
        }
        if self.is_followed {
            let cause = io::Error::other("the thread that was to send this panicked");
            self.conclude(Outcome::Failed(Failed { fault: Fault::Broken { cause, sent: true }, writes: true }));
        }
    }
}

impl Failed {
    fn copy(&self) -> Self {
        Self { fault: self.fault.copy(), writes: self.writes }
    }
}

/// Whether a request and its reply keep nobody waiting, as far as can be told: one command, one key, no large value. How large
/// the value is that a `GET` brings is not known.
fn is_short(request: &Request<'_>) -> bool {
    let is_single = matches!(request.shapes(), [Shape::Value | Shape::Done | Shape::Integer]);
    is_single && request.len() <= SHORT
}

fn answer(reply: Option<Reply>, run_id: RunId, server: Option<ServerName>) -> Result<Answer, Failed> {
    match reply {
        Some(reply) => Ok(Answer { replies: vec![reply], page: None, run_id, server }),
        None => Err(Failed { fault: Fault::Desynchronized, writes: true }),
    }
}

/// What a fault of several requests means for one of them. A refusal of all that was sent may be meant for another one.
fn of_several(fault: Fault) -> Fault {
    match fault {
        Fault::At(server, fault) => of_several(*fault).at(Some(&server)),
        Fault::Refused(_) => {
            let cause = io::Error::new(io::ErrorKind::ConnectionAborted, "the server refused what was sent together");
            Fault::Broken { cause, sent: true }
        }
        fault => fault,
    }
}

/// What is locked here stays whole when a thread panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicBool;
    use std::thread::ScopedJoinHandle;

    use super::*;
    use crate::protocol::request::Arg;

    const PATIENCE: Duration = Duration::from_secs(20);

    type Act = Box<dyn Fn(Vec<Reply>) -> Result<Vec<Reply>, Fault> + Send + Sync>;

    /// A server that does what a test says with the commands that it is sent, once the test lets it.
    struct Fake {
        act: Act,
        is_free: (Mutex<bool>, Condvar),
        panics_while_waiting: AtomicBool,
        known: KnownCommands,
        /// How many commands each exchange had that was shared.
        exchanges: Mutex<Vec<usize>>,
        /// The same of the others.
        alone: Mutex<Vec<usize>>,
    }

    impl Fake {
        fn new(act: impl Fn(Vec<Reply>) -> Result<Vec<Reply>, Fault> + Send + Sync + 'static) -> Self {
            Self {
                act: Box::new(act),
                is_free: Default::default(),
                panics_while_waiting: false.into(),
                known: KnownCommands::new(),
                exchanges: Mutex::default(),
                alone: Mutex::default(),
            }
        }

        fn set_free(&self, is_free: bool) {
            *lock(&self.is_free.0) = is_free;
            self.is_free.1.notify_all();
        }
    }

    impl Server for Fake {
        fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
            let commands = commands(request);
            lock(&self.alone).push(commands.len());
            (self.act)(commands).map(|replies| Answer { replies, page: None, run_id: None, server: None })
        }

        fn known(&self) -> &KnownCommands {
            &self.known
        }
    }

    impl Acquire for Fake {
        type Permit<'a> = ();

        fn is_in_question(&self) -> bool {
            false
        }

        fn wait(&self, _: Duration) -> Result<(), Fault> {
            let free = self.is_free.1.wait_while(lock(&self.is_free.0), |is_free| !*is_free).unwrap();
            drop(free);
            assert!(!self.panics_while_waiting.swap(false, Relaxed), "as the test wants it");
            Ok(())
        }

        fn exchange_by(&self, (): &mut (), request: &Request<'_>) -> Result<Answer, Fault> {
            let commands = commands(request);
            lock(&self.exchanges).push(commands.len());
            (self.act)(commands).map(|replies| Answer { replies, page: None, run_id: None, server: None })
        }
    }

    fn commands(request: &Request<'_>) -> Vec<Reply> {
        let bytes = request.pieces().iter().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>();
        let (mut rest, mut commands) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let mut parser = redis::Parser::new();
            // In single bytes, as the parser would read beyond the command.
            commands.push(parser.parse_value(Single(&mut rest)).unwrap());
        }
        assert_eq!(commands.len(), request.shapes().len());
        commands
    }

    struct Single<'a, 'b>(&'a mut &'b [u8]);

    impl io::Read for Single<'_, '_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            io::Read::read(self.0, &mut buffer[..most])
        }
    }

    fn shared(
        limit: Duration,
        act: impl Fn(Vec<Reply>) -> Result<Vec<Reply>, Fault> + Send + Sync + 'static,
    ) -> Shared<Fake> {
        Shared::new(Fake::new(act), 1, Limits { pool: limit, connect: limit, response: limit })
    }

    /// The reply to a command is its key.
    fn keys(commands: Vec<Reply>) -> Vec<Reply> {
        let key = |command| match command {
            Reply::Array(mut arguments) => arguments.swap_remove(1),
            other => panic!("{other:?}"),
        };
        commands.into_iter().map(key).collect()
    }

    fn has_write(commands: &[Reply]) -> bool {
        let set = Reply::BulkString(b"SET".to_vec());
        commands.iter().any(|command| matches!(command, Reply::Array(arguments) if arguments[0] == set))
    }

    fn reset() -> Fault {
        Fault::Broken { cause: io::ErrorKind::ConnectionReset.into(), sent: true }
    }

    fn get(shared: &Shared<Fake>, key: &str) -> Result<Vec<Reply>, Fault> {
        let request = Request::reading().with(Shape::Value, ["GET".into(), Arg::Key("", key)]);
        shared.exchange(&request).map(|answer| answer.replies)
    }

    fn set(shared: &Shared<Fake>, key: &str, value: &[u8]) -> Result<Vec<Reply>, Fault> {
        let request = Request::writing().with(Shape::Done, ["SET".into(), Arg::Key("", key), value.into()]);
        shared.exchange(&request).map(|answer| answer.replies)
    }

    fn bulk(text: &str) -> Vec<Reply> {
        vec![Reply::BulkString(text.into())]
    }

    #[track_caller]
    fn wait_until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "it never was so");
            thread::sleep(Duration::from_millis(1));
        }
    }

    impl Shared<Fake> {
        fn members(&self) -> usize {
            lock(&self.batches.get().open).members
        }

        /// Starts a batch, whose leader waits, and lets others join it, one after the other.
        fn gather<'scope, 'env, T: Send + 'scope>(
            &'env self,
            scope: &'scope thread::Scope<'scope, 'env>,
            count: usize,
            ask: impl Fn(&'env Self, usize) -> T + Clone + Send + 'scope,
        ) -> Vec<ScopedJoinHandle<'scope, T>> {
            let spawn = |number| {
                let ask = ask.clone();
                let thread = scope.spawn(move || ask(self, number));
                wait_until(|| lock(&self.batches.get().open).batch.is_some() && self.members() == number);
                thread
            };
            (0..count).map(spawn).collect()
        }
    }

    #[test]
    fn what_is_asked_while_a_leader_waits_is_sent_in_one_go_and_each_gets_its_own_reply() {
        let shared = shared(PATIENCE, |commands| Ok(keys(commands)));
        thread::scope(|scope| {
            let callers = shared.gather(scope, 64, |shared, number| match number % 2 {
                0 => get(shared, &number.to_string()),
                _ => set(shared, &number.to_string(), b"v"),
            });
            shared.node.set_free(true);
            for (number, caller) in callers.into_iter().enumerate() {
                assert_eq!(caller.join().unwrap().unwrap(), bulk(&number.to_string()));
            }
        });
        assert_eq!(get(&shared, "alone").unwrap(), bulk("alone"));
        assert_eq!(*lock(&shared.node.exchanges), [64, 1]);
    }

    #[test]
    fn who_joined_and_is_out_of_time_leaves_and_its_reply_is_nobody_s() {
        let shared = shared(Duration::from_millis(50), |commands| Ok(keys(commands)));
        thread::scope(|scope| {
            let mut callers = shared.gather(scope, 3, |shared, number| set(shared, &number.to_string(), b"v"));
            for follower in callers.drain(1..) {
                let fault = follower.join().unwrap().unwrap_err();
                let is_time_out = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
                assert!(matches!(&fault, Fault::Broken { cause, sent: true } if is_time_out(cause)), "{fault:?}");
            }
            shared.node.set_free(true);
            assert_eq!(callers.remove(0).join().unwrap().unwrap(), bulk("0"));
        });
        assert_eq!(get(&shared, "next").unwrap(), bulk("next"));
    }

    #[test]
    fn a_time_out_is_everybody_s_and_nothing_is_sent_again() {
        let time_out = || Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true };
        let shared = shared(PATIENCE, move |_| Err(time_out()));
        thread::scope(|scope| {
            let callers = shared.gather(scope, 4, |shared, number| match number % 2 {
                0 => get(shared, "k"),
                _ => set(shared, "k", b"v"),
            });
            shared.node.set_free(true);
            for caller in callers {
                let fault = caller.join().unwrap().unwrap_err();
                assert!(fault.was_sent() && !fault.is_dead_connection(), "{fault:?}");
            }
        });
        assert_eq!(*lock(&shared.node.exchanges), [4]);
    }

    #[test]
    fn after_a_lost_connection_reads_are_sent_once_more_and_writes_are_not() {
        let shared = shared(PATIENCE, |commands| if has_write(&commands) { Err(reset()) } else { Ok(keys(commands)) });
        thread::scope(|scope| {
            let callers = shared.gather(scope, 4, |shared, number| match number % 2 {
                0 => get(shared, "k"),
                _ => set(shared, "k", b"v"),
            });
            shared.node.set_free(true);
            for (number, caller) in callers.into_iter().enumerate() {
                match (number % 2, caller.join().unwrap()) {
                    (0, Ok(reply)) => assert_eq!(reply, bulk("k")),
                    (1, Err(fault)) => assert!(fault.was_sent() && fault.is_dead_connection(), "{fault:?}"),
                    (_, result) => panic!("{number}: {result:?}"),
                }
            }
        });
        assert_eq!(*lock(&shared.node.exchanges), [4]);
        assert_eq!(*lock(&shared.node.alone), [1, 1]);
    }

    #[test]
    fn reads_alone_are_not_sent_a_third_time() {
        let shared = shared(PATIENCE, |_| Err(reset()));
        thread::scope(|scope| {
            let callers = shared.gather(scope, 4, |shared, _| get(shared, "k"));
            shared.node.set_free(true);
            assert!(callers.into_iter().all(|caller| caller.join().unwrap().is_err()));
        });
        assert_eq!(*lock(&shared.node.exchanges), [4], "the second time is the node's");
    }

    #[test]
    fn what_was_not_sent_is_known_not_to_have_happened() {
        let refused = || Fault::NotConnected(io::ErrorKind::ConnectionRefused.into());
        let shared = shared(PATIENCE, move |_| Err(refused()));
        thread::scope(|scope| {
            let callers = shared.gather(scope, 3, |shared, _| set(shared, "k", b"v"));
            shared.node.set_free(true);
            for caller in callers {
                let fault = caller.join().unwrap().unwrap_err();
                assert!(matches!(&fault, Fault::NotConnected(_)) && !fault.was_sent(), "{fault:?}");
            }
        });
    }

    #[test]
    fn a_refusal_of_all_that_was_sent_is_not_taken_for_one_s_own() {
        let shared = shared(PATIENCE, |_| {
            Err(Fault::Refused(crate::protocol::fault::Refusal::new("WRONGTYPE", "another one's")))
        });
        thread::scope(|scope| {
            let callers = shared.gather(scope, 2, |shared, _| set(shared, "k", b"v"));
            shared.node.set_free(true);
            for caller in callers {
                let fault = caller.join().unwrap().unwrap_err();
                assert!(matches!(fault, Fault::Broken { sent: true, .. }), "{fault:?}");
            }
        });
    }

    #[test]
    fn a_leader_that_panics_while_it_exchanges_harms_nobody_else() {
        let first = AtomicBool::new(true);
        let shared = shared(PATIENCE, move |commands| {
            assert!(!first.swap(false, Relaxed), "as the test wants it");
            Ok(keys(commands))
        });
        panics(&shared);
    }

    #[test]
    fn a_leader_that_panics_while_it_waits_harms_nobody_else() {
        let shared = shared(PATIENCE, |commands| Ok(keys(commands)));
        shared.node.panics_while_waiting.store(true, Relaxed);
        panics(&shared);
    }

    /// The leader of the first batch panics.
    fn panics(shared: &Shared<Fake>) {
        thread::scope(|scope| {
            let mut callers = shared.gather(scope, 3, |shared, number| {
                catch_unwind(AssertUnwindSafe(|| match number {
                    2 => set(shared, "2", b"v"),
                    number => get(shared, &number.to_string()),
                }))
            });
            shared.node.set_free(true);
            let [writer, reader, leader] = [(); 3].map(|()| callers.pop().unwrap().join().unwrap());
            assert!(leader.is_err());
            assert_eq!(reader.unwrap().unwrap(), bulk("1"));
            assert!(matches!(writer.unwrap(), Err(Fault::Broken { sent: true, .. })));
        });
        assert_eq!(get(shared, "next").unwrap(), bulk("next"));
    }

    #[test]
    fn what_would_keep_others_waiting_has_a_connection_to_itself() {
        let shared = shared(PATIENCE, |commands| Ok(vec![Reply::Okay; commands.len()]));
        let ask = |request: Request<'_>| drop(shared.exchange(&request).unwrap());
        drop(set(&shared, "k", &vec![7; SHORT]).unwrap());
        ask(Request::reading().with(Shape::Page, ["SCAN".into(), 0.into()]));
        ask(Request::reading().with(Shape::Values(1), ["MGET".into(), "k".into()]));
        let two = Request::reading().with(Shape::Value, ["GET".into(), "a".into()]);
        ask(two.with(Shape::Value, ["GET".into(), "b".into()]));
        assert_eq!(*lock(&shared.node.alone), [1, 1, 1, 2]);
    }

    #[test]
    fn who_waits_too_long_for_a_turn_has_sent_nothing_and_neither_have_those_who_joined() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Mutex::new(released);
        let shared = shared(Duration::from_millis(100), move |commands| {
            lock(&released).recv().unwrap();
            Ok(keys(commands))
        });
        shared.node.set_free(true);
        thread::scope(|scope| {
            let first = scope.spawn(|| set(&shared, "first", b"v"));
            wait_until(|| lock(&shared.node.exchanges).len() == 1);
            for caller in shared.gather(scope, 3, |shared, _| set(shared, "k", b"v")) {
                let fault = caller.join().unwrap().unwrap_err();
                assert!(matches!(fault, Fault::PoolExhausted), "{fault:?}");
            }
            release.send(()).unwrap();
            assert_eq!(first.join().unwrap().unwrap(), bulk("first"));
            release.send(()).unwrap();
            assert_eq!(get(&shared, "next").unwrap(), bulk("next"));
        });
    }

    #[test]
    fn who_finds_a_batch_full_has_a_connection_to_itself() {
        let shared = shared(PATIENCE, |commands| Ok(keys(commands)));
        let value = vec![7; SHORT - 100];
        let fits = FULL / SHORT;
        thread::scope(|scope| {
            let callers = shared.gather(scope, 1 + fits, |shared, number| set(shared, &number.to_string(), &value));
            assert_eq!(set(&shared, "k", &value).unwrap(), bulk("k"));
            assert_eq!(*lock(&shared.node.alone), [1]);
            shared.node.set_free(true);
            for (number, caller) in callers.into_iter().enumerate() {
                assert_eq!(caller.join().unwrap().unwrap(), bulk(&number.to_string()));
            }
        });
        assert_eq!(*lock(&shared.node.exchanges), [1 + fits]);
    }
}
