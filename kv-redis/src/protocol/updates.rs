//! The requests of conditional and atomic updates, by the commands that a server has: see the table of [`Commands`](super::commands).

use redis::Value as Reply;

use super::commands::Commands;
use super::request::{Arg, Request, Shape};
use super::scripts::{ADD, REMOVE_IF, Script, TAKE_BACK_SCRIPT, TAKE_SCRIPT, WRITE_IF};

/// How a script is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// By its SHA-1. A server that does not know it says `NOSCRIPT`, and does nothing.
    BySha1,
    /// By its source, after which the server knows it.
    BySource,
}

impl Call {
    fn begin(self, script: &Script) -> [Arg<'static>; 3] {
        match self {
            Self::BySha1 => ["EVALSHA".into(), script.sha1.into(), 1.into()],
            Self::BySource => ["EVAL".into(), script.source.into(), 1.into()],
        }
    }
}

/// A write that replaces a value.
#[derive(Clone, Copy)]
pub(crate) struct Replacement<'a> {
    pub(crate) old: &'a [u8],
    pub(crate) new: &'a [u8],
    /// The TTL in milliseconds; `None` is for ever.
    pub(crate) ttl: Option<u64>,
}

impl<'a> Replacement<'a> {
    fn ttl(self) -> impl Iterator<Item = Arg<'a>> {
        self.ttl.into_iter().flat_map(|millis| ["PX".into(), millis.into()])
    }
}

impl Commands {
    /// Replaces a value if it is the old one; `None` if there is no way. [`was_done`] reads the replies.
    pub(crate) fn write_if<'a>(self, key: Arg<'a>, call: Call, replacement: Replacement<'a>) -> Option<Request<'a>> {
        let Replacement { old, new, ttl } = replacement;
        let mut request = Request::writing();
        let count = if ttl.is_some() { 2 } else { 0 };
        if self.has(Self::SET_IFEQ) {
            let arguments = ["SET".into(), key, new.into(), "IFEQ".into(), old.into()];
            request.add_all(Shape::Done, 5 + count, arguments.into_iter().chain(replacement.ttl()));
            return Some(request.needing(Self::SET_IFEQ));
        }
        if self.has(Self::EVAL) {
            let arguments = call.begin(&WRITE_IF).into_iter().chain([key, old.into(), new.into()]);
            let ttl = ttl.map(Arg::from);
            request.add_all(Shape::Integer, 6 + usize::from(ttl.is_some()), arguments.chain(ttl));
            return Some(request.needing(Self::EVAL));
        }
        let arguments = ["SET".into(), key, new.into()].into_iter().chain(replacement.ttl());
        self.watching(key, Some(old), |transaction| transaction.add_all(Shape::Any, 3 + count, arguments))
    }

    /// Removes an entry if this is its value; `None` if there is no way. [`was_done`] reads the replies.
    pub(crate) fn remove_if<'a>(self, key: Arg<'a>, call: Call, old: &'a [u8]) -> Option<Request<'a>> {
        let mut request = Request::writing();
        if self.has(Self::DELIFEQ) {
            return Some(request.with(Shape::Integer, ["DELIFEQ".into(), key, old.into()]).needing(Self::DELIFEQ));
        }
        if self.has(Self::DELEX) {
            let arguments = ["DELEX".into(), key, "IFEQ".into(), old.into()];
            return Some(request.with(Shape::Integer, arguments).needing(Self::DELEX));
        }
        if self.has(Self::EVAL) {
            request.add_all(Shape::Integer, 5, call.begin(&REMOVE_IF).into_iter().chain([key, old.into()]));
            return Some(request.needing(Self::EVAL));
        }
        self.watching(key, Some(old), |transaction| transaction.add(Shape::Any, ["DEL".into(), key]))
    }

    /// Reads and removes an entry; `None` if there is no way. [`taken`] reads the replies.
    pub(crate) fn take(self, key: Arg<'_>) -> Option<Request<'_>> {
        let request = Request::writing();
        if self.has(Self::GETDEL) {
            return Some(request.with(Shape::Value, ["GETDEL".into(), key]).needing(Self::GETDEL));
        }
        if self.has(Self::EVAL) {
            let script = ["EVAL".into(), TAKE_SCRIPT.into(), 1.into(), key];
            return Some(request.with(Shape::Value, script).needing(Self::EVAL));
        }
        self.watching(key, None, |transaction| transaction.add(Shape::Any, ["DEL".into(), key]))
    }

    /// Reads an entry and sets its TTL in milliseconds, `None` for ever. The reply is the value, or an array that begins with it.
    pub(crate) fn read_and_touch(self, key: Arg<'_>, ttl: Option<u64>) -> Request<'_> {
        let request = Request::writing();
        if self.has(Self::GETEX) {
            return match ttl {
                None => request.with(Shape::Value, ["GETEX".into(), key, "PERSIST".into()]),
                Some(millis) => request.with(Shape::Value, ["GETEX".into(), key, "PX".into(), millis.into()]),
            }
            .needing(Self::GETEX);
        }
        let request = request.with(Shape::Any, ["MULTI".into()]).with(Shape::Any, ["GET".into(), key]);
        match ttl {
            // An old `PERSIST` revives an expired entry, but the `GET` has removed it. Its reply does not tell whether there is an entry.
            None => request.with(Shape::Any, ["PERSIST".into(), key]).with(Shape::Any, ["EXISTS".into(), key]),
            Some(millis) => request.with(Shape::Any, ["PEXPIRE".into(), key, millis.into()]),
        }
        .with(Shape::Any, ["EXEC".into()])
    }

    /// Adds to a number. A new one gets the TTL in milliseconds; `None` is for ever. [`Sum::of`] reads the replies.
    ///
    /// Where time goes on between two commands, the number may expire after the `SET` has found it, and the `INCRBY` begins a new one without a
    /// TTL. A script prevents that, and a `PTTL` before and after shows it. Time goes on in a transaction of an old server, and where the
    /// user may not use transactions: their commands are carried out one after the other.
    pub(crate) fn add(self, key: Arg<'_>, call: Call, by: u32, ttl: Option<u64>) -> Request<'_> {
        let mut request = Request::writing();
        let by = Arg::Number(by.into());
        let Some(millis) = ttl.map(Arg::Number) else {
            return request.with(Shape::Integer, ["INCRBY".into(), key, by]);
        };
        if !self.has(Self::STILL) && self.has(Self::EVAL) {
            request.add_all(Shape::Values(2), 6, call.begin(&ADD).into_iter().chain([key, by, millis]));
            return request.needing(Self::EVAL);
        }
        let is_still = self.has(Self::STILL.with(Self::TRANSACTIONS));
        request.add(Shape::Any, ["MULTI".into()]);
        if !is_still {
            request.add(Shape::Any, ["PTTL".into(), key]);
        }
        request.add(Shape::Any, ["SET".into(), key, 0.into(), "PX".into(), millis, "NX".into()]);
        request.add(Shape::Any, ["INCRBY".into(), key, by]);
        if !is_still {
            request.add(Shape::Any, ["PTTL".into(), key]);
        }
        request.with(Shape::Any, ["EXEC".into()]).also_needing(self.and(Self::STILL))
    }

    /// Takes back what was added, unless the number has gone.
    pub(crate) fn take_back(self, key: Arg<'_>, by: u32) -> Request<'_> {
        let request = Request::writing();
        let by = Arg::Number(by.into());
        if self.has(Self::EVAL) {
            let script = ["EVAL".into(), TAKE_BACK_SCRIPT.into(), 1.into(), key, by];
            return request.with(Shape::Integer, script).needing(Self::EVAL);
        }
        request.with(Shape::Integer, ["DECRBY".into(), key, by])
    }

    /// Reads an entry while the server watches it. If it is there, with this value or with any, a transaction with the command that `add`
    /// adds is carried out, unless somebody has changed the entry since. Otherwise it is watched no longer. Two exchanges on one connection.
    fn watching<'a>(
        self,
        key: Arg<'a>,
        value: Option<&'a [u8]>,
        add: impl FnOnce(&mut Request<'a>),
    ) -> Option<Request<'a>> {
        if !self.has(Self::WATCH) {
            return None;
        }
        let mut transaction = Request::writing().with(Shape::Any, ["MULTI".into()]);
        add(&mut transaction);
        let request = Request::writing().with(Shape::Any, ["WATCH".into(), key]).needing(Self::WATCH);
        let request = request.with(Shape::Any, ["GET".into(), key]);
        Some(request.then(value, transaction.with(Shape::Any, ["EXEC".into()])))
    }
}

/// Whether a conditional write or removal was done, by replies without an error.
pub(crate) fn was_done(replies: &[Reply]) -> Option<bool> {
    match replies {
        [Reply::Int(done)] => Some(*done != 0),
        [Reply::Okay] => Some(true),
        // `WATCH`, `GET`, `UNWATCH`.
        [Reply::Nil] | [Reply::Okay, Reply::BulkString(_) | Reply::Nil, Reply::Okay] => Some(false),
        // `WATCH`, `GET`, `MULTI`, the command, and `EXEC`, which returns nothing if somebody else was faster.
        [Reply::Okay, Reply::BulkString(_), Reply::Okay, _, exec] => match exec {
            Reply::Nil => Some(false),
            // A `DEL` of what has expired: before redis 6.0.9, that is not noticed.
            Reply::Array(results) if results.len() == 1 => Some(results.first() != Some(&Reply::Int(0))),
            _ => None,
        },
        _ => None,
    }
}

/// Whether nothing was decided, because the slot of the key is on its way to another node: `WATCH`, `GET`, and `UNWATCH` twice.
pub(crate) fn is_undecided(replies: &[Reply]) -> bool {
    matches!(replies, [_, _, Reply::Okay, Reply::Okay])
}

/// What a `take` did.
pub(crate) enum Taken {
    Value(Vec<u8>),
    Nothing,
    /// Somebody changed the entry meanwhile.
    Changed,
}

/// What was taken, by replies without an error.
pub(crate) fn taken(mut replies: Vec<Reply>) -> Option<Taken> {
    match (was_done(&replies), replies.len()) {
        (Some(true), 5) => match replies.swap_remove(1) {
            Reply::BulkString(value) => Some(Taken::Value(value)),
            _ => None,
        },
        (Some(false), 5) => Some(Taken::Changed),
        (Some(false), 3) => Some(Taken::Nothing),
        (_, 1) => match replies.pop() {
            Some(Reply::BulkString(value)) => Some(Taken::Value(value)),
            Some(Reply::Nil) => Some(Taken::Nothing),
            _ => None,
        },
        _ => None,
    }
}

/// What an addition did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) number: i64,
    /// Whether there was no number before.
    pub(crate) is_new: bool,
    /// The number before has expired meanwhile, and this one has no TTL yet.
    pub(crate) has_lost_ttl: bool,
    /// Whether a transaction was carried out. `Some(false)`: the user may not use `MULTI`, and has had the commands carried out one after
    /// the other.
    pub(crate) in_transaction: Option<bool>,
}

impl Sum {
    /// What replies say that have no error, but for those to `MULTI`, `EXEC` and `PTTL`.
    pub(crate) fn of(replies: &[Reply]) -> Option<Self> {
        let sum_alone =
            |is_new, sum| Some(Self { number: number(sum)?, is_new, has_lost_ttl: false, in_transaction: None });
        let (results, in_transaction) = match replies {
            [sum @ Reply::Int(_)] => return sum_alone(false, sum),
            // Of the script.
            [Reply::Array(results)] => match results.as_slice() {
                [Reply::BulkString(is_new), sum] => return sum_alone(is_new == b"1", sum),
                _ => return None,
            },
            [.., Reply::Array(results)] => (results.as_slice(), true),
            [Reply::ServerError(_), results @ .., Reply::ServerError(_)] => (results, false),
            _ => return None,
        };
        let (set, sum, has_lost_ttl) = match results {
            [set, sum] => (set, sum, false),
            [before, set, sum, after] => {
                let are_told = matches!((before, after), (Reply::Int(_), Reply::Int(_)));
                (set, sum, are_told && *before != FOREVER && *after == FOREVER)
            }
            _ => return None,
        };
        let is_new = match set {
            Reply::Okay => true,
            Reply::Nil => false,
            _ => return None,
        };
        Some(Self { number: number(sum)?, is_new, has_lost_ttl, in_transaction: Some(in_transaction) })
    }
}

fn number(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Int(number) => Some(*number),
        Reply::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// What `PTTL` says of an entry without a TTL.
const FOREVER: Reply = Reply::Int(-1);
