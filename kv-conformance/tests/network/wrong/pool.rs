//! A pool that is right but for one fault.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kv_core::Error;

use super::{misread, misreport};
use crate::client::Scene;
use crate::connection::{Broken, Connection};
use crate::faults::Fault;
use crate::pool::{Limits, SIZE, Transport};
use crate::wire::{Field, Op, Request};

/// No limit, for as long as a test may take.
const NO_LIMIT: Duration = Duration::from_secs(3600);

/// How long a pool that remembers that a server was down takes it to be so.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What was used within this time may be trusted without being looked at (N4).
const IDLE: Duration = Duration::from_secs(1);

pub(crate) struct WrongPool {
    address: SocketAddr,
    limits: Limits,
    fault: Fault,
    slots: Mutex<Slots>,
    freed: Condvar,
}

#[derive(Default)]
struct Slots {
    free: usize,
    /// Connections that nobody uses.
    idle: Vec<Idle>,
    /// When the server was found to be down.
    down_since: Option<Instant>,
    /// When the server last failed to answer in time.
    silent_since: Option<Instant>,
    /// Writes whose replies were lost.
    in_doubt: Vec<Request>,
    /// How many connections in a row were refused, how many replies in a row did not come in time, and how many connections were cut.
    refused: usize,
    late: usize,
    cut: usize,
}

/// After how many failures in a row a breaker opens.
const BREAKER: usize = 10;

/// A connection that nobody uses.
struct Idle {
    connection: Connection,
    last_used: Instant,
    /// Whether it should have been closed.
    is_spoilt: bool,
}

/// A slot in the pool, for as long as this lives.
struct Borrowed<'p> {
    pool: &'p WrongPool,
    idle: Option<Idle>,
    leaks: bool,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut slots = self.pool.slots();
        slots.free += usize::from(!self.leaks);
        slots.idle.extend(self.idle.take());
        drop(slots);
        self.pool.freed.notify_one();
    }
}

impl WrongPool {
    pub(crate) fn new(address: SocketAddr, mut limits: Limits, fault: Fault) -> Self {
        match fault {
            Fault::ReplyWithoutLimit => limits.exchange = NO_LIMIT,
            Fault::PoolWithoutLimit => limits.pool = NO_LIMIT,
            Fault::ConnectWithoutLimit => limits.connect = NO_LIMIT,
            _ => {}
        }
        let slots = Slots { free: SIZE, ..Slots::default() };
        Self { address, limits, fault, slots: Mutex::new(slots), freed: Condvar::new() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn borrow(&self) -> Result<Borrowed<'_>, Broken> {
        let none_free = |slots: &mut Slots| slots.free == 0;
        let waited = self.freed.wait_timeout_while(self.slots(), self.limits.pool, none_free);
        let (mut slots, _) = waited.unwrap_or_else(PoisonError::into_inner);
        slots.free = slots.free.checked_sub(1).ok_or(Broken::PoolExhausted)?;
        Ok(Borrowed { pool: self, idle: slots.idle.pop(), leaks: false })
    }

    /// Whether an idle connection is used.
    fn trusts(&self, idle: &Idle) -> bool {
        let peek = || idle.connection.peek();
        match self.fault {
            _ if idle.is_spoilt => true,
            Fault::IdleNotLookedAt => true,
            Fault::ReusedWithStrayBytes => !matches!(peek(), Ok(0)),
            // What has come that nobody asked for is seen.
            Fault::IdleCloseNotSeen => !matches!(peek(), Ok(1..)),
            Fault::ReadRepeatedOnPooled if idle.last_used.elapsed() < IDLE => !matches!(peek(), Ok(1..)),
            _ => idle.connection.is_quiet(),
        }
    }

    /// Whether a connection goes back into the pool.
    fn keeps(&self, result: &Result<Vec<Field>, Broken>) -> bool {
        match (self.fault, result) {
            (_, Ok(_)) | (Fault::NeverReconnects, _) | (Fault::ReusedAfterNonsense, Err(Broken::Nonsense)) => true,
            (Fault::ReusedAfterTimeout, Err(broken)) => is_late(broken),
            (Fault::ReusedAfterHalfReply, Err(broken)) => misread::is_within_reply(broken),
            (Fault::ReusedAfterHalfSent, Err(broken)) => misread::is_within_request(broken),
            _ => false,
        }
    }

    /// Whether a request is sent again.
    fn repeats(&self, broken: &Broken, request: &Request, was_idle: bool, attempt: usize) -> bool {
        let is_first = attempt == 0;
        let right = is_first && was_idle && broken.is_dead() && !(request.op.writes() && broken.is_sent());
        let lost = is_first && broken.is_dead();
        match self.fault {
            Fault::NeverReconnects => false,
            Fault::ReadNotRepeated => right && request.op.writes(),
            Fault::PutRepeated => right || lost && request.op == Op::Write,
            Fault::CreateRepeated => right || lost && request.op == Op::Create,
            Fault::DeleteRepeated => right || lost && request.op == Op::Remove,
            Fault::TakeRepeated => right || lost && request.op == Op::Take,
            Fault::PutIfRepeated => right || lost && request.op == Op::WriteIf,
            Fault::DeleteIfRepeated => right || lost && request.op == Op::RemoveIf,
            Fault::IncrementRepeated => right || lost && request.op == Op::Add,
            Fault::TouchingReadRepeated => right || lost && request.op == Op::ReadTouch,
            Fault::PutRepeatedAfterTimeout => right || is_first && is_late(broken) && request.op == Op::Write,
            Fault::TimeoutsRepeated => right || attempt < 14 && is_late(broken) && !request.op.writes(),
            _ => right,
        }
    }

    fn connect(&self) -> Result<Connection, Broken> {
        if self.is(Fault::RemembersDown) && self.slots().down_since.is_some_and(|at| at.elapsed() < REMEMBERED) {
            return Err(Broken::NotConnected(io::ErrorKind::ConnectionRefused.into()));
        }
        if self.is(Fault::BreakerStaysOpen) && self.slots().refused >= BREAKER {
            return Err(Broken::NotConnected(io::ErrorKind::ConnectionRefused.into()));
        }
        let connection = Connection::connect(self.address, self.limits.connect);
        let mut slots = self.slots();
        slots.down_since = connection.is_err().then(Instant::now);
        slots.refused = if connection.is_err() { slots.refused + 1 } else { 0 };
        drop(slots);
        connection
    }

    /// Sends again what is in doubt.
    fn replay(&self, connection: &mut Connection) -> Result<(), Broken> {
        let in_doubt = std::mem::take(&mut self.slots().in_doubt);
        let replay = |request| connection.exchange(request, Instant::now() + self.limits.exchange).map(drop);
        in_doubt.iter().try_for_each(replay)
    }

    fn exchange_on(&self, connection: &mut Connection, request: &Request) -> Result<Vec<Field>, Broken> {
        let limit = self.limits.exchange;
        match self.fault {
            Fault::LimitForEachRead => misread::with_limit_for_each_read(connection, request, limit),
            Fault::SendWithoutLimit => misread::sent_without_limit(connection, request, NO_LIMIT, limit),
            Fault::ReplyInOneRead => misread::in_one_read(connection, request, limit),
            Fault::ReusedAfterHalfReply => misread::telling_where(connection, request, limit),
            Fault::ReusedAfterHalfSent | Fault::LeaksWhileSending => {
                misread::telling_whether_sent(connection, request, limit)
            }
            Fault::UnknownReplyIsNo => misread::of_any_kind(connection, request, limit),
            Fault::HalfValueReturned if request.op == Op::Read => misread::half(connection, request, limit),
            _ => connection.exchange(request, Instant::now() + limit),
        }
    }

    fn try_on_links(&self, slot: &mut Borrowed<'_>, request: &Request) -> Result<Vec<Field>, Broken> {
        let mut idle = slot.idle.take();
        for attempt in 0.. {
            let trusted = idle.take().filter(|idle| self.trusts(idle));
            let was_idle = trusted.is_some();
            let mut connection = match trusted {
                Some(idle) => idle.connection,
                None => self.connect()?,
            };
            if self.is(Fault::PingsFirst) && was_idle {
                self.exchange_on(&mut connection, &Request::new(Op::Exists, [&b"ping"[..]]))?;
            }
            self.replay(&mut connection)?;
            let result = self.exchange_on(&mut connection, request);
            if self.keeps(&result) {
                slot.idle = Some(Idle { connection, last_used: Instant::now(), is_spoilt: result.is_err() });
            }
            match result {
                Err(broken) if self.repeats(&broken, request, was_idle, attempt) => {
                    if self.is(Fault::ReadRepeatedOnPooled) {
                        idle = self.slots().idle.pop();
                    }
                }
                result => return result,
            }
        }
        Err(Broken::Nonsense)
    }

    /// Sends all requests, and then receives their replies. After a fault in a later reply the connection goes back into the pool.
    pub(super) fn pipeline(&self, requests: &[Request]) -> Result<Vec<Vec<Field>>, Broken> {
        let mut slot = self.borrow()?;
        let idle = slot.idle.take().filter(|idle| self.trusts(idle));
        let mut connection = idle.map_or_else(|| self.connect(), |idle| Ok(idle.connection))?;
        let (mut replies, deadline) = (Vec::new(), Instant::now() + self.limits.exchange);
        let result = misread::pipelined(&mut connection, requests, deadline, &mut replies);
        if result.is_ok() || !replies.is_empty() {
            slot.idle = Some(Idle { connection, last_used: Instant::now(), is_spoilt: result.is_err() });
        }
        result.map(|()| replies)
    }

    /// Reads a value while it has a place in the pool.
    pub(super) fn read_value(&self, reader: &mut dyn Read, value: &mut Vec<u8>) -> Result<io::Result<()>, Broken> {
        let mut slot = self.borrow()?;
        // Until it has come back.
        slot.leaks = self.is(Fault::LeaksWithPanic);
        let read = reader.read_to_end(value).map(drop);
        slot.leaks = self.is(Fault::LeaksWithReader) && read.is_err();
        Ok(read)
    }

    /// Sends the beginning of a request, and puts the connection back into the pool.
    pub(super) fn send_half(&self, bytes: &[u8]) -> Result<(), Broken> {
        let mut slot = self.borrow()?;
        let idle = slot.idle.take().filter(|idle| self.trusts(idle));
        let connection = idle.map_or_else(|| self.connect(), |idle| Ok(idle.connection))?;
        let sent = (&connection.0).write_all(bytes);
        slot.idle = Some(Idle { connection, last_used: Instant::now(), is_spoilt: true });
        sent.map_err(|cause| Broken::Lost { cause, sent: true })
    }

    /// What is made of a request that failed.
    fn give_up(&self, broken: Broken, op: Op) -> Result<Vec<Field>, Broken> {
        let dead = broken.is_dead();
        let late = is_late(&broken);
        let nonsense = matches!(broken, Broken::Nonsense);
        let refused = matches!(broken, Broken::NotConnected(_));
        match self.fault {
            Fault::PanicsOnNonsense if nonsense => panics("bytes that are not a reply"),
            Fault::PanicsOnClose if dead => panics("a connection that was closed"),
            Fault::PanicsOnTimeout if late => panics("a reply that did not come"),
            Fault::PanicsOnRefusal if refused => panics("a connection that was refused"),
            Fault::LostPutIsDone if dead && op == Op::Write => Ok(Vec::new()),
            Fault::LatePutIsDone if late && op == Op::Write => Ok(Vec::new()),
            Fault::GarbledPutIsDone if nonsense && op == Op::Write => Ok(Vec::new()),
            Fault::RefusedPutIsDone if refused && op == Op::Write => Ok(Vec::new()),
            Fault::LostCreateIsFalse if dead && op == Op::Create => Ok(vec![None]),
            Fault::LostDeleteIsFalse if dead && op == Op::Remove => Ok(vec![None]),
            Fault::NonsenseIsAbsent if nonsense && op == Op::Read => Ok(vec![None]),
            Fault::LossIsAbsent if dead && op == Op::Read => Ok(vec![None]),
            Fault::TimeoutIsAbsent if late && op == Op::Read => Ok(vec![None]),
            Fault::RefusedIsAbsent if refused && op == Op::Read => Ok(vec![None]),
            _ => Err(broken),
        }
    }
}

/// A panic that prints nothing: it is for the suite to report.
fn panics(message: &'static str) -> ! {
    resume_unwind(Box::new(message))
}

/// Whether the reply did not come in time.
fn is_late(broken: &Broken) -> bool {
    matches!(broken, Broken::Lost { cause, .. } if cause.kind() == io::ErrorKind::TimedOut)
}

impl Transport for WrongPool {
    fn exchange(&self, request: &Request) -> Result<Vec<Field>, Broken> {
        let remembered = match self.fault {
            Fault::SilentTooLong => REMEMBERED,
            Fault::SilentForEver => NO_LIMIT,
            _ => Duration::ZERO,
        };
        if self.slots().silent_since.is_some_and(|since| since.elapsed() < remembered) {
            return Err(Broken::NotConnected(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.is(Fault::BreakerOfTimeoutsStaysOpen) && self.slots().late >= BREAKER {
            return Err(Broken::NotConnected(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut slot = self.borrow()?;
        let result = self.try_on_links(&mut slot, request);
        let mut slots = self.slots();
        slots.silent_since = result.as_ref().is_err_and(is_late).then(Instant::now);
        slots.late = if result.as_ref().is_err_and(is_late) { slots.late + 1 } else { 0 };
        slots.cut += usize::from(result.as_ref().is_err_and(Broken::is_dead));
        let is_fourth = slots.cut % 4 == 3;
        drop(slots);
        slot.leaks = result.as_ref().is_err_and(|broken| match self.fault {
            Fault::SlotsLeak => true,
            Fault::LeaksWhileSending => misread::is_within_request(broken),
            Fault::LeaksAtTimes => broken.is_dead() && is_fourth,
            _ => false,
        });
        let Err(broken) = result else { return result };
        if self.is(Fault::PutReplayedLater) && broken.is_sent() && request.op == Op::Write {
            self.slots().in_doubt.push(request.clone());
        }
        self.give_up(broken, request.op)
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn explain(&self, broken: Broken, op: Op, scene: &Scene<'_>) -> Error {
        misreport::explain(self.fault, broken, op, scene)
    }
}
