//! Conditional and atomic updates.

use std::time::Duration;

use kv_core::{Bytes, CounterFault, Error, Failure, Key, Result};
use redis::{ServerError, Value as Reply};

use super::client::Client;
use super::operations::with_unknown_outcome;
use crate::protocol::answer::Answer;
use crate::protocol::commands::Commands;
use crate::protocol::request::{Request, Shape};
use crate::protocol::ttl;
use crate::protocol::updates::{self, Call, Replacement, Sum, Taken};

/// How often a `take` under `WATCH` tries.
const TRIES: u32 = 100;

/// How long it takes at most until an entry with a TTL of one millisecond has expired.
const EXPIRED: Duration = Duration::from_millis(3);

impl Client {
    /// Replaces a value if it is the old one; returns whether it did.
    pub(super) async fn write_if(&self, key: Key<'_>, replacement: Replacement<'_>) -> Result<bool> {
        let make = |commands: Commands, call| commands.write_if(self.name(key), call, replacement);
        self.done_on_condition(key, make).await
    }

    /// Removes an entry if this is its value; returns whether it did.
    pub(super) async fn remove_if(&self, key: Key<'_>, value: &[u8]) -> Result<bool> {
        let make = |commands: Commands, call| commands.remove_if(self.name(key), call, value);
        self.done_on_condition(key, make).await
    }

    async fn done_on_condition<'a>(
        &self,
        key: Key<'_>,
        make: impl Fn(Commands, Call) -> Option<Request<'a>> + Send + Sync,
    ) -> Result<bool> {
        let answer = self.call(key, make).await?.ok_or_else(|| self.cannot_compare(key))?;
        let replies = self.without_error(key, answer)?;
        updates::was_done(&replies).ok_or_else(|| self.not_understood(key))
    }

    /// Sends what may be a script, whose source is sent if the server does not know it.
    async fn call<'a>(
        &self,
        key: Key<'_>,
        make: impl Fn(Commands, Call) -> Option<Request<'a>> + Send + Sync,
    ) -> Result<Option<Answer>> {
        let answer = self.send_fitting(key, |commands| make(commands, Call::BySha1)).await?;
        match &answer {
            Some(Answer { replies, .. }) if matches!(replies.first(), Some(Reply::ServerError(error)) if error.code() == "NOSCRIPT") => {
                self.send_fitting(key, |commands| make(commands, Call::BySource)).await
            }
            _ => Ok(answer),
        }
    }

    pub(super) async fn take(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        for _ in 0..TRIES {
            let answer = self.send_fitting(key, |commands| commands.take(self.name(key))).await?;
            let answer = answer.ok_or_else(|| self.cannot_compare(key))?;
            match updates::taken(self.without_error(key, answer)?) {
                Some(Taken::Value(value)) => return Ok(Some(value.into())),
                Some(Taken::Nothing) => return Ok(None),
                Some(Taken::Changed) => {}
                None => return Err(self.not_understood(key)),
            }
        }
        Err(Error::contended(self.label(), key, TRIES))
    }

    pub(super) async fn read_and_touch(&self, key: Key<'_>, ttl: Option<u64>) -> Result<Option<Bytes>> {
        let ttl = ttl.map(ttl::expire_after);
        let answer = self.send_fitting(key, |commands| Some(commands.read_and_touch(self.name(key), ttl))).await?;
        let mut answer = answer.ok_or_else(|| self.not_understood(key))?;
        // On old servers the time goes on within a transaction: the entry may have expired after it was read. The last reply tells.
        let has_expired = |results: &[Reply]| results.last() == Some(&Reply::Int(0));
        // A user who may not use `MULTI` has had the commands carried out one after the other.
        if let [Reply::ServerError(_), results @ .., _] = answer.replies.as_slice()
            && let [Reply::BulkString(_) | Reply::Nil, Reply::Int(_), ..] = results
        {
            if has_expired(results) {
                return Ok(None);
            }
            answer.replies.truncate(2);
            answer.replies.remove(0);
        }
        let last = match self.without_error(key, answer)?.pop() {
            Some(Reply::Array(results)) if has_expired(&results) => return Ok(None),
            Some(Reply::Array(results)) => results.into_iter().next(),
            last => last,
        };
        match last {
            Some(Reply::BulkString(value)) => Ok(Some(value.into())),
            Some(Reply::Nil) => Ok(None),
            _ => Err(self.not_understood(key)),
        }
    }

    /// Adds to a number. A TTL of zero leaves an absent entry absent: it is made with the shortest TTL that redis has, and waited for.
    pub(super) async fn add_number(&self, key: Key<'_>, by: u32, ttl: Option<u64>) -> Result<u64> {
        let millis = ttl.map(|millis| millis.max(1));
        let make = |commands: Commands, call| Some(commands.add(self.name(key), call, by, millis));
        let answer = self.call(key, make).await?.ok_or_else(|| self.not_understood(key))?;
        let Some(sum) = Sum::of(&answer.replies) else {
            // A user who may not use `MULTI` gets that error, too.
            let fault = errors(&answer.replies).find_map(counter_fault);
            let is_apart = matches!(*answer.replies, [Reply::ServerError(_), _, ..]);
            let error = self.without_error(key, answer).err().unwrap_or_else(|| self.not_understood(key));
            return Err(match fault {
                Some(fault) => Error::not_a_counter(self.label(), key, fault),
                // Another command may have been carried out.
                None if is_apart => with_unknown_outcome(error),
                None => error,
            });
        };
        match sum.in_transaction {
            Some(true) => self.with_known(key, |known| known.learn(Commands::TRANSACTIONS)),
            Some(false) => self.with_known(key, |known| known.remove(Commands::STILL.with(Commands::TRANSACTIONS))),
            None => {}
        }
        if let (true, Some(millis)) = (sum.has_lost_ttl, millis) {
            let expire = ["PEXPIRE".into(), self.name(key), ttl::expire_after(millis).into()];
            self.ask(key, &Request::writing().with(Shape::Integer, expire)).await.map_err(with_unknown_outcome)?;
        }
        if ttl == Some(0) && (sum.is_new || sum.has_lost_ttl) {
            self.pause(EXPIRED).await;
        }
        match u64::try_from(sum.number) {
            Ok(number) if number >= by.into() => Ok(number),
            // Redis counts below zero, too; a counter of the contract does not.
            _ => {
                let back = |commands: Commands| Some(commands.take_back(self.name(key), by));
                let answer = self.send_fitting(key, back).await.map_err(with_unknown_outcome)?;
                let answer = answer.ok_or_else(|| self.not_understood(key))?;
                self.without_error(key, answer).map_err(with_unknown_outcome)?;
                Err(Error::not_a_counter(self.label(), key, CounterFault::NotANumber))
            }
        }
    }

    /// The replies, unless one of them is an error.
    fn without_error(&self, key: Key<'_>, answer: Answer) -> Result<Vec<Reply>> {
        let Answer { replies, server, .. } = answer;
        let error = errors(&replies).next().cloned();
        match error {
            None if updates::is_undecided(&replies) => {
                let message =
                    "the slot of the key is on its way to another node, where nothing can be compared; try again later";
                Err(Error::Unavailable(Failure::new(self.label(), message).at(key)))
            }
            Some(error) => self.no_error(Reply::ServerError(error), server.as_ref(), key, true).map(|_| replies),
            None => Ok(replies),
        }
    }

    /// The replies make no sense, and something may have been written.
    fn not_understood(&self, key: Key<'_>) -> Error {
        self.error(crate::protocol::fault::Fault::Desynchronized, Some(key), true)
    }

    fn cannot_compare(&self, key: Key<'_>) -> Error {
        let message = "this needs EVAL, a command that compares (SET … IFEQ, DELIFEQ or DELEX, which new servers have), or WATCH; the server \
            has none of them, or the user may not use them";
        Error::Backend(Failure::new(self.label(), message).at(key))
    }
}

/// The errors of a server, in a transaction as well.
fn errors(replies: &[Reply]) -> impl Iterator<Item = &ServerError> {
    let in_transaction = replies.iter().filter_map(|reply| match reply {
        Reply::Array(results) => Some(results),
        _ => None,
    });
    replies.iter().chain(in_transaction.flatten()).filter_map(|reply| match reply {
        Reply::ServerError(error) => Some(error),
        _ => None,
    })
}

/// Why redis does not add to a value, if this error says so.
fn counter_fault(error: &ServerError) -> Option<CounterFault> {
    let text = error.details()?;
    if text.contains("overflow") {
        Some(CounterFault::TooLarge)
    } else {
        text.contains("not an integer").then_some(CounterFault::NotANumber)
    }
}
