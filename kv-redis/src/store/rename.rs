//! A rename between slots of a cluster: a copy, and a removal of what was copied and of nothing else.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use kv_core::{Error, Failure, Key, Result};

use crate::connection::exchange::Answer;
use crate::protocol::commands::{Commands, Copied};
use crate::protocol::fault::Limits;
use crate::protocol::request::{Request, Shape};
use crate::servers::node::KnownCommands;
use crate::store::copy::Read;
use crate::store::redis_store::RedisStore;

/// What a response of a large value may take longer, for each byte.
const PER_BYTE: Duration = Duration::from_nanos(100);

impl RedisStore {
    /// Copies an entry, and removes it if it is still what was copied: not what somebody wrote to `from` meanwhile.
    pub(crate) fn rename_in_steps(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let begun = Instant::now();
        let entry = self.read_what_can_be_removed(from)?;
        self.write_copy(to, &entry)?;
        let (most, least) = match entry.left {
            None => ("-1".to_owned(), "-1".to_owned()),
            // It gets less while time passes, at most until the reply to what comes next would be too late.
            Some(left) => {
                let Limits { pool, connect, response } = self.limits();
                let each = pool + connect + response + PER_BYTE * u32::try_from(entry.value.len()).unwrap_or(u32::MAX);
                let passed = begun.elapsed().saturating_add(each.saturating_mul(2)).as_millis();
                let passed = u64::try_from(passed).unwrap_or(u64::MAX);
                (left.to_string(), left.saturating_sub(passed).to_string())
            }
        };
        let copied = Copied { value: &entry.value, most: most.as_bytes(), least: least.as_bytes() };
        let removing = |commands: Commands| commands.add_removal(Request::writing(), self.name(from), &copied);
        match self.send_fitting(from, removing)? {
            Some(Answer { mut replies, server, .. }) => {
                self.no_error(replies.pop().unwrap_or_default(), server.as_ref(), from, true).map(drop)
            }
            None => Err(self.cannot_remove(from, ": it was copied, and is still there")),
        }
    }

    /// Reads an entry. In the same transaction it asks whether the server takes the command for the removal, so that
    /// nothing is written if it does not.
    fn read_what_can_be_removed(&self, key: Key<'_>) -> Result<Read> {
        // No entry has this value, and none so much time left: the script does not even look at the value.
        let [one, other] = [(); 2].map(|()| RandomState::new().hash_one(0));
        let nothing = format!("kv-redis {one:016x}{other:016x}");
        let nothing = Copied { value: nothing.as_bytes(), most: b"-9", least: b"-9" };
        let asking = |commands: Commands| {
            let request = self.add_read(Request::reading(), key);
            let request = commands.add_removal(request, self.name(key), &nothing)?;
            Some(request.with(Shape::Any, ["EXEC".into()]))
        };
        let known = self.with_known(key, KnownCommands::get);
        let mut answer = self.send_fitting(key, asking)?;
        if answer.is_none() {
            // The user may have been allowed since the last time to do what was refused then.
            self.with_known(key, KnownCommands::forget_refusals);
            if !known.has(Commands::REMOVAL) {
                answer = self.send_fitting(key, asking)?;
            }
        }
        match answer {
            Some(answer) => self.entry_of(key, &answer),
            // If the entry cannot be read either, that is the error.
            None => self.read_entry(key).and_then(|_| Err(self.cannot_remove(key, "; nothing was changed"))),
        }
    }

    fn cannot_remove(&self, key: Key<'_>, and: &str) -> Error {
        self.with_known(key, KnownCommands::forget_refusals);
        let message = format!(
            "`rename` to a key of another slot needs EVAL (or DELIFEQ or DELEX, which new servers have), so that what is written \
             to this key meanwhile is not removed with it; the server has none of them, or the user may not use them{and}"
        );
        Error::Backend(Failure::new(self.label(), message).at(key))
    }
}
