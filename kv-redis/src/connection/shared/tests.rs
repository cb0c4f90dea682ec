use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Condvar;
use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;

use super::*;
use crate::protocol::request::Arg;
use crate::protocol::request::{SHORT, Shape};

const PATIENCE: Duration = Duration::from_secs(20);

type Act = Box<dyn Fn(Vec<Reply>) -> Result<Vec<Reply>, Fault> + Send + Sync>;

/// A server that answers commands as the test says, as soon as the test allows it.
struct Fake {
    act: Act,
    is_free: (Mutex<bool>, Condvar),
    panics_while_waiting: AtomicBool,
    known_commands: KnownCommands,
    /// The number of commands in each shared exchange.
    exchanges: Mutex<Vec<usize>>,
    /// The number of commands in each other exchange.
    alone: Mutex<Vec<usize>>,
}

impl Fake {
    fn new(act: impl Fn(Vec<Reply>) -> Result<Vec<Reply>, Fault> + Send + Sync + 'static) -> Self {
        Self {
            act: Box::new(act),
            is_free: Default::default(),
            panics_while_waiting: false.into(),
            known_commands: KnownCommands::new(),
            exchanges: Mutex::default(),
            alone: Mutex::default(),
        }
    }

    fn set_free(&self, is_free: bool) {
        *lock(&self.is_free.0) = is_free;
        self.is_free.1.notify_all();
    }
}

impl Transport for Fake {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        let commands = commands(request);
        lock(&self.alone).push(commands.len());
        (self.act)(commands).map(|replies| Answer { replies, page: None, run_id: None, server: None })
    }

    fn known_commands(&self) -> &KnownCommands {
        &self.known_commands
    }
}

impl Acquire for Fake {
    type Permit<'a> = ();

    fn is_in_question(&self) -> bool {
        false
    }

    fn acquire(&self, _: Duration) -> Result<(), Fault> {
        let free = self.is_free.1.wait_while(lock(&self.is_free.0), |is_free| !*is_free).unwrap();
        drop(free);
        assert!(!self.panics_while_waiting.swap(false, Relaxed), "as the test wants it");
        Ok(())
    }

    fn exchange_with(&self, (): &mut (), request: &Request<'_>) -> Result<Answer, Fault> {
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
    Shared::new(Fake::new(act), 1, Timeouts { pool: limit, connect: limit, response: limit })
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
fn requests_that_come_while_a_leader_waits_are_sent_together_and_each_gets_its_own_reply() {
    let shared = shared(PATIENCE, |commands| Ok(keys(commands)));
    thread::scope(|scope| {
        let callers = shared.gather(scope, 64, |shared, number| match number % 2 {
            0 => get(shared, &number.to_string()),
            _ => set(shared, &number.to_string(), b"v"),
        });
        shared.transport.set_free(true);
        for (number, caller) in callers.into_iter().enumerate() {
            assert_eq!(caller.join().unwrap().unwrap(), bulk(&number.to_string()));
        }
    });
    assert_eq!(get(&shared, "alone").unwrap(), bulk("alone"));
    assert_eq!(*lock(&shared.transport.exchanges), [64, 1]);
}

#[test]
fn a_caller_that_joined_and_is_out_of_time_leaves_and_its_reply_is_dropped() {
    let shared = shared(Duration::from_millis(50), |commands| Ok(keys(commands)));
    thread::scope(|scope| {
        let mut callers = shared.gather(scope, 3, |shared, number| set(shared, &number.to_string(), b"v"));
        for follower in callers.drain(1..) {
            let fault = follower.join().unwrap().unwrap_err();
            let is_time_out = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
            assert!(matches!(&fault, Fault::Broken { cause, sent: true } if is_time_out(cause)), "{fault:?}");
        }
        shared.transport.set_free(true);
        assert_eq!(callers.remove(0).join().unwrap().unwrap(), bulk("0"));
    });
    assert_eq!(get(&shared, "next").unwrap(), bulk("next"));
}

#[test]
fn a_time_out_reaches_every_caller_and_nothing_is_sent_again() {
    let time_out = || Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true };
    let shared = shared(PATIENCE, move |_| Err(time_out()));
    thread::scope(|scope| {
        let callers = shared.gather(scope, 4, |shared, number| match number % 2 {
            0 => get(shared, "k"),
            _ => set(shared, "k", b"v"),
        });
        shared.transport.set_free(true);
        for caller in callers {
            let fault = caller.join().unwrap().unwrap_err();
            assert!(fault.was_sent() && !fault.is_dead_connection(), "{fault:?}");
        }
    });
    assert_eq!(*lock(&shared.transport.exchanges), [4]);
}

#[test]
fn after_a_lost_connection_reads_are_sent_once_more_and_writes_are_not() {
    let shared = shared(PATIENCE, |commands| if has_write(&commands) { Err(reset()) } else { Ok(keys(commands)) });
    thread::scope(|scope| {
        let callers = shared.gather(scope, 4, |shared, number| match number % 2 {
            0 => get(shared, "k"),
            _ => set(shared, "k", b"v"),
        });
        shared.transport.set_free(true);
        for (number, caller) in callers.into_iter().enumerate() {
            match (number % 2, caller.join().unwrap()) {
                (0, Ok(reply)) => assert_eq!(reply, bulk("k")),
                (1, Err(fault)) => assert!(fault.was_sent() && fault.is_dead_connection(), "{fault:?}"),
                (_, result) => panic!("{number}: {result:?}"),
            }
        }
    });
    assert_eq!(*lock(&shared.transport.exchanges), [4]);
    assert_eq!(*lock(&shared.transport.alone), [1, 1]);
}

#[test]
fn reads_alone_are_not_sent_a_third_time() {
    let shared = shared(PATIENCE, |_| Err(reset()));
    thread::scope(|scope| {
        let callers = shared.gather(scope, 4, |shared, _| get(shared, "k"));
        shared.transport.set_free(true);
        assert!(callers.into_iter().all(|caller| caller.join().unwrap().is_err()));
    });
    assert_eq!(*lock(&shared.transport.exchanges), [4], "the second time is the node's");
}

#[test]
fn a_write_that_was_not_sent_has_a_known_outcome() {
    let refused = || Fault::NotConnected(io::ErrorKind::ConnectionRefused.into());
    let shared = shared(PATIENCE, move |_| Err(refused()));
    thread::scope(|scope| {
        let callers = shared.gather(scope, 3, |shared, _| set(shared, "k", b"v"));
        shared.transport.set_free(true);
        for caller in callers {
            let fault = caller.join().unwrap().unwrap_err();
            assert!(matches!(&fault, Fault::NotConnected(_)) && !fault.was_sent(), "{fault:?}");
        }
    });
}

#[test]
fn a_refusal_of_a_whole_batch_is_not_taken_for_one_of_a_single_request() {
    let shared =
        shared(PATIENCE, |_| Err(Fault::Refused(crate::protocol::refusal::Refusal::new("WRONGTYPE", "another one's"))));
    thread::scope(|scope| {
        let callers = shared.gather(scope, 2, |shared, _| set(shared, "k", b"v"));
        shared.transport.set_free(true);
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
    shared.transport.panics_while_waiting.store(true, Relaxed);
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
        shared.transport.set_free(true);
        let [writer, reader, leader] = [(); 3].map(|()| callers.pop().unwrap().join().unwrap());
        assert!(leader.is_err());
        assert_eq!(reader.unwrap().unwrap(), bulk("1"));
        assert!(matches!(writer.unwrap(), Err(Fault::Broken { sent: true, .. })));
    });
    assert_eq!(get(shared, "next").unwrap(), bulk("next"));
}

#[test]
fn a_request_that_would_delay_others_has_a_connection_to_itself() {
    let shared = shared(PATIENCE, |commands| Ok(vec![Reply::Okay; commands.len()]));
    let ask = |request: Request<'_>| drop(shared.exchange(&request).unwrap());
    drop(set(&shared, "k", &vec![7; SHORT]).unwrap());
    ask(Request::reading().with(Shape::Page, ["SCAN".into(), 0.into()]));
    ask(Request::reading().with(Shape::Values(1), ["MGET".into(), "k".into()]));
    let two = Request::reading().with(Shape::Value, ["GET".into(), "a".into()]);
    ask(two.with(Shape::Value, ["GET".into(), "b".into()]));
    assert_eq!(*lock(&shared.transport.alone), [1, 1, 1, 2]);
}

#[test]
fn a_leader_that_waits_too_long_for_a_permit_sends_nothing_and_its_batch_fails() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let shared = shared(Duration::from_millis(100), move |commands| {
        lock(&released).recv().unwrap();
        Ok(keys(commands))
    });
    shared.transport.set_free(true);
    thread::scope(|scope| {
        let first = scope.spawn(|| set(&shared, "first", b"v"));
        wait_until(|| lock(&shared.transport.exchanges).len() == 1);
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
fn a_caller_that_finds_a_batch_full_has_a_connection_to_itself() {
    let shared = shared(PATIENCE, |commands| Ok(keys(commands)));
    let value = vec![7; SHORT - 100];
    let fits = FULL / SHORT;
    thread::scope(|scope| {
        let callers = shared.gather(scope, 1 + fits, |shared, number| set(shared, &number.to_string(), &value));
        assert_eq!(set(&shared, "k", &value).unwrap(), bulk("k"));
        assert_eq!(*lock(&shared.transport.alone), [1]);
        shared.transport.set_free(true);
        for (number, caller) in callers.into_iter().enumerate() {
            assert_eq!(caller.join().unwrap().unwrap(), bulk(&number.to_string()));
        }
    });
    assert_eq!(*lock(&shared.transport.exchanges), [1 + fits]);
}
