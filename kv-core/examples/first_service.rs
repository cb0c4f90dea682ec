//! Sessions that end half an hour after they were last used.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kv_redis::{KeyValueStore, KeyValueStoreExt, RedisStore, Result};

const LIFETIME: Duration = Duration::from_secs(30 * 60);

struct Sessions {
    store: Arc<dyn KeyValueStore>,
}

impl Sessions {
    /// `false` if there is one with this number already: of several who try at once, one gets `true`.
    fn begin(&self, id: &str, user: &str) -> Result<bool> {
        self.store.create_with_ttl(format!("session:{id}"), user, LIFETIME)
    }

    /// Whose session it is. It lives on from now.
    fn user(&self, id: &str) -> Result<Option<String>> {
        let key = format!("session:{id}");
        let Some(user) = self.store.get(&key)? else { return Ok(None) };
        let lives = self.store.touch(&key, LIFETIME)?; // false: it has ended since
        Ok(lives.then(|| String::from_utf8_lossy(&user).into_owned()))
    }

    /// Whether there was one.
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
    fn a_session_that_is_used_lives_on() -> Result<()> {
        let clock = ManualClock::new(); // stands still until it is told to go on
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let sessions = Sessions { store: Arc::new(store) };

        assert!(sessions.begin("42", "ada")?);
        assert!(!sessions.begin("42", "eve")?);
        clock.advance(LIFETIME / 2);
        assert_eq!(sessions.user("42")?.as_deref(), Some("ada"));
        clock.advance(LIFETIME / 2);
        assert_eq!(sessions.user("42")?.as_deref(), Some("ada"));
        clock.advance(LIFETIME);
        assert_eq!(sessions.user("42")?, None);
        assert!(!sessions.end("42")?);
        Ok(())
    }
}
