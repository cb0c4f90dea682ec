//! Sessions that expire half an hour after their last use.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kv_redis::{KeyValueStore, KeyValueStoreExt, RedisStore, Result};

const TTL: Duration = Duration::from_secs(30 * 60);

struct Sessions {
    store: Arc<dyn KeyValueStore>,
}

impl Sessions {
    /// Begins a session. Returns `false` if this id is taken: of several concurrent callers one gets `true`.
    fn begin(&self, id: &str, user: &str) -> Result<bool> {
        self.store.create_with_ttl(format!("session:{id}"), user, TTL)
    }

    /// Returns the session's user, and extends the session.
    fn user(&self, id: &str) -> Result<Option<String>> {
        let user = self.store.get_and_touch(format!("session:{id}"), TTL)?;
        Ok(user.map(|user| String::from_utf8_lossy(&user).into_owned()))
    }

    /// Ends a session; returns whether there was one.
    fn end(&self, id: &str) -> Result<bool> {
        self.store.delete(format!("session:{id}"))
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("{}", error.report());
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    let store = RedisStore::connect("redis://127.0.0.1:6379")?;
    let sessions = Sessions { store: Arc::new(store) };

    println!("{}", sessions.begin("42", "ada")?);
    println!("{:?}", sessions.user("42")?);
    println!("{}", sessions.end("42")?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_memory::{ManualClock, MemoryStore};

    #[test]
    fn a_session_that_is_used_does_not_expire() -> Result<()> {
        let clock = ManualClock::new(); // stands still until the test advances it
        let store = MemoryStore::builder().clock(clock.clone()).build()?;
        let sessions = Sessions { store: Arc::new(store) };

        assert!(sessions.begin("42", "ada")?);
        assert!(!sessions.begin("42", "eve")?);
        clock.advance(TTL / 2);
        assert_eq!(sessions.user("42")?.as_deref(), Some("ada"));
        clock.advance(TTL / 2);
        assert_eq!(sessions.user("42")?.as_deref(), Some("ada"));
        clock.advance(TTL);
        assert_eq!(sessions.user("42")?, None);
        assert!(!sessions.end("42")?);
        Ok(())
    }
}
