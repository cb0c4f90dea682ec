//! Copies and renames that take more than one request: between slots of a cluster, and where a server has no command for it.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use kv_core::{Error, Failure, Key, Result};
use redis::Value as Reply;

use crate::commands::{Commands, Copied};
use crate::fault::Fault;
use crate::request::{Request, Shape};
use crate::store::RedisStore;

/// An entry as it was read.
struct Read {
    value: Vec<u8>,
    /// What was left of its TTL, in milliseconds; `None` is for ever.
    left: Option<u64>,
}

/// What a response of a large value may take longer, for each byte.
#[cfg(feature = "cluster")]
const PER_BYTE: Duration = Duration::from_nanos(100);

impl RedisStore {
    /// Copies an entry with a read and a write.
    pub(crate) fn copy_in_steps(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let request = self.reading_entry(from);
        let replies = self.send(from, &request)?;
        let entry = self.entry_of(from, &replies)?;
        self.write_copy(to, &entry)
    }

    /// Copies an entry, and removes it if it is still what was copied: not what somebody wrote to `from` meanwhile.
    ///
    /// Whether the server lets us remove it so is asked together with the read, before anything is written.
    #[cfg(feature = "cluster")]
    pub(crate) fn rename_in_steps(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let begun = Instant::now();
        // No entry has this value.
        let [one, other] = [(); 2].map(|()| RandomState::new().hash_one(0));
        let nothing = format!("kv-redis {one:016x}{other:016x}");
        let nothing = Copied { value: nothing.as_bytes(), most: b"-1", least: b"-1" };
        let asking = |commands: Commands| commands.add_removal(self.reading_entry(from), self.name(from), &nothing);
        let Some(replies) = self.send_fitting(from, asking)? else {
            return Err(self.cannot_remove(from, "; nothing was changed"));
        };
        let entry = self.entry_of(from, &replies)?;
        self.write_copy(to, &entry)?;
        let (most, least) = match entry.left {
            None => ("-1".to_owned(), "-1".to_owned()),
            // It gets less while time passes, up to the moment at which the next reply would be late.
            Some(left) => {
                let slack = self.response_limit() + PER_BYTE * u32::try_from(entry.value.len()).unwrap_or(u32::MAX);
                let passed = u64::try_from((begun.elapsed() + slack).as_millis()).unwrap_or(u64::MAX);
                (left.to_string(), left.saturating_sub(passed).to_string())
            }
        };
        let copied = Copied { value: &entry.value, most: most.as_bytes(), least: least.as_bytes() };
        let removing = |commands: Commands| commands.add_removal(Request::writing(), self.name(from), &copied);
        match self.send_fitting(from, removing)? {
            Some(mut replies) => self.no_error(replies.pop().unwrap_or_default(), from, true).map(drop),
            None => Err(self.cannot_remove(from, ": it was copied, and is still there")),
        }
    }

    /// Value and TTL of the same moment.
    fn reading_entry<'a>(&'a self, key: Key<'a>) -> Request<'a> {
        Request::reading()
            .with(Shape::Any, ["MULTI".into()])
            .with(Shape::Any, ["GET".into(), self.name(key)])
            .with(Shape::Any, ["PTTL".into(), self.name(key)])
            .with(Shape::Any, ["EXEC".into()])
    }

    /// The entry that was read, out of the replies.
    fn entry_of(&self, key: Key<'_>, replies: &[Reply]) -> Result<Read> {
        let refusal = replies.iter().find_map(|reply| match reply {
            Reply::ServerError(error) => Some(error.clone()),
            Reply::Array(replies) => replies.iter().find_map(|reply| match reply {
                Reply::ServerError(error) => Some(error.clone()),
                _ => None,
            }),
            _ => None,
        });
        if let Some(error) = refusal {
            return Err(self.error(Fault::Refused(error.into()), Some(key), false));
        }
        let result =
            replies.iter().find_map(|reply| if let Reply::Array(result) = reply { Some(result) } else { None });
        let (value, left) = match result.map(Vec::as_slice) {
            Some([Reply::Nil, _]) => return Err(Error::not_found(self.label(), key)),
            Some([Reply::BulkString(value), Reply::Int(-1)]) => (value, None),
            // Redis may tell the last moment as zero, and it takes no lifetime of zero.
            Some([Reply::BulkString(value), Reply::Int(millis)]) => {
                (value, Some(u64::try_from(*millis).unwrap_or(0).max(1)))
            }
            _ => return Err(self.error(Fault::OutOfStep, Some(key), false)),
        };
        Ok(Read { value: value.clone(), left })
    }

    fn write_copy(&self, to: Key<'_>, entry: &Read) -> Result<()> {
        let mut request = Request::writing();
        self.add_write(&mut request, to, &entry.value, entry.left);
        self.ask(to, &request).map(drop)
    }

    #[cfg(feature = "cluster")]
    fn cannot_remove(&self, from: Key<'_>, and: &str) -> Error {
        let message = format!(
            "`rename` to a key of another slot needs EVAL (or DELIFEQ or DELEX, which new servers have), so that what is written \
             to this key meanwhile is not removed with it, and the server or the user's rights have none of them{and}"
        );
        Error::Backend(Failure::new(self.label(), message).at(from))
    }
}
