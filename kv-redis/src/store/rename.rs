//! A rename between slots of a cluster: a copy, and the removal of exactly what was copied.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use kv_core::{Error, Failure, Key, Result};

use crate::protocol::answer::Answer;

use crate::connection::known_commands::KnownCommands;
use crate::protocol::commands::Commands;
use crate::protocol::fallbacks::Copied;
use crate::protocol::request::{Request, Shape};
use crate::protocol::timeouts::Timeouts;

use super::client::Client;
use super::copy::Read;

/// How much longer the reply with a large value may take, for each byte.
const PER_BYTE: Duration = Duration::from_nanos(100);

impl Client {
    /// Copies an entry, and removes it if it is still the one that was copied. A value that was written to `from` meanwhile stays.
    pub(super) async fn rename_in_steps(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let begun = Instant::now();
        let entry = self.read_what_can_be_removed(from).await?;
        self.write_copy(to, &entry).await?;
        let (most, least) = match entry.left {
            None => ("-1".to_owned(), "-1".to_owned()),
            // The TTL decreases with time, at most until the reply to the removal would be too late.
            Some(left) => {
                let Timeouts { pool, connect, response } = self.timeouts();
                let each = pool + connect + response + PER_BYTE * u32::try_from(entry.value.len()).unwrap_or(u32::MAX);
                let passed = begun.elapsed().saturating_add(each.saturating_mul(2)).as_millis();
                let passed = u64::try_from(passed).unwrap_or(u64::MAX);
                (left.to_string(), left.saturating_sub(passed).to_string())
            }
        };
        let copied = Copied { value: &entry.value, most: most.as_bytes(), least: least.as_bytes() };
        let removing = |commands: Commands| commands.add_removal(Request::writing(), self.name(from), &copied);
        match self.send_fitting(from, removing).await? {
            Some(Answer { mut replies, server, .. }) => {
                self.no_error(replies.pop().unwrap_or_default(), server.as_ref(), from, true).map(drop)
            }
            None => Err(self.cannot_remove(from, ": it was copied, and is still there")),
        }
    }

    /// Reads an entry. The command of the removal stands in the same transaction, so that nothing is written if the server refuses it.
    async fn read_what_can_be_removed(&self, key: Key<'_>) -> Result<Read> {
        // No entry has this value or this TTL, so nothing is removed. The script does not even compare the value.
        let [one, other] = [(); 2].map(|()| RandomState::new().hash_one(0));
        let nothing = format!("kv-redis {one:016x}{other:016x}");
        let nothing = Copied { value: nothing.as_bytes(), most: b"-9", least: b"-9" };
        let asking = |commands: Commands| {
            let request = self.add_read(Request::reading(), key);
            let request = commands.add_removal(request, self.name(key), &nothing)?;
            Some(request.with(Shape::Any, ["EXEC".into()]))
        };
        let known = self.with_known(key, KnownCommands::get);
        let mut answer = self.send_fitting(key, asking).await?;
        if answer.is_none() {
            // The user may have got the right since the refusal.
            self.with_known(key, KnownCommands::forget_refusals);
            if !known.has(Commands::REMOVAL) {
                answer = self.send_fitting(key, asking).await?;
            }
        }
        match answer {
            Some(answer) => self.entry_of(key, &answer),
            // If the entry cannot be read either, that is the error.
            None => self.read_entry(key).await.and_then(|_| Err(self.cannot_remove(key, "; nothing was changed"))),
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
