//! What is known of the commands that a server has.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::protocol::commands::Commands;
use crate::protocol::info::ServerInfo;

/// How long a refusal is remembered: the server may refuse a command for a moment only, or the user may get the right.
const REFUSAL_REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// The commands that a server has, as its newest connection learned, without those that it refused. A refusal is remembered for [a
/// time](REFUSAL_REMEMBERED_FOR), and only while the server is the same process, or says the same about itself if it does not tell its process.
pub(crate) struct KnownCommands {
    told: AtomicU16,
    learned: AtomicU16,
    refused: AtomicU16,
    /// When the first of these refusals was remembered, in milliseconds since `begin`.
    refused_at: AtomicU64,
    begin: Instant,
    /// Which server process this is.
    identity: AtomicU64,
}

impl KnownCommands {
    pub(crate) fn new() -> Self {
        Self {
            told: AtomicU16::new(Commands::ALL.bits()),
            learned: AtomicU16::new(Commands::NONE.bits()),
            refused: AtomicU16::new(Commands::NONE.bits()),
            refused_at: AtomicU64::new(0),
            begin: Instant::now(),
            identity: AtomicU64::new(0),
        }
    }

    /// The commands that the server has. The clock is read only if something was refused.
    pub(crate) fn get(&self) -> Commands {
        self.get_at(Instant::now)
    }

    fn get_at(&self, now: impl FnOnce() -> Instant) -> Commands {
        let mut refused = Commands::of_bits(self.refused.load(Relaxed));
        if refused != Commands::NONE {
            let since = Duration::from_millis(self.refused_at.load(Relaxed));
            if now().saturating_duration_since(self.begin) >= since + REFUSAL_REMEMBERED_FOR {
                self.forget_refusals();
                refused = Commands::NONE;
            }
        }
        let learned = Commands::of_bits(self.learned.load(Relaxed));
        Commands::of_bits(self.told.load(Relaxed)).with(learned).without(refused)
    }

    /// Notes what the server said about itself.
    pub(crate) fn set(&self, server_info: ServerInfo) {
        let identity = server_info.run_id.unwrap_or(server_info.commands.bits().into());
        if self.identity.swap(identity, Relaxed) != identity {
            self.forget_refusals();
            self.learned.store(Commands::NONE.bits(), Relaxed);
        }
        self.told.store(server_info.commands.bits(), Relaxed);
    }

    /// Notes that something works of which no server tells.
    pub(crate) fn learn(&self, works: Commands) {
        if !Commands::of_bits(self.learned.load(Relaxed)).has(works) {
            self.learned.fetch_or(works.bits(), Relaxed);
        }
    }

    /// Notes that the server refused something.
    pub(crate) fn remove(&self, refused: Commands) {
        self.learned.fetch_and(!refused.bits(), Relaxed);
        if self.refused.load(Relaxed) == Commands::NONE.bits() {
            let passed = self.begin.elapsed().as_millis();
            self.refused_at.store(u64::try_from(passed).unwrap_or(u64::MAX), Relaxed);
        }
        self.refused.fetch_or(refused.bits(), Relaxed);
    }

    pub(crate) fn forget_refusals(&self) {
        self.refused.store(Commands::NONE.bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_remembered_for_as_long_as_the_server_is_the_same() {
        let without_copy = Commands::ALL.without(Commands::COPY);
        let of = |run_id, commands| ServerInfo { commands, run_id };
        for (first, same, other) in [
            (of(Some(1), Commands::ALL), of(Some(1), Commands::ALL), of(Some(2), Commands::ALL)),
            // A server that does not tell its process.
            (of(None, Commands::ALL), of(None, Commands::ALL), of(None, Commands::ALL.without(Commands::WHOLE))),
        ] {
            let known = KnownCommands::new();
            known.set(first);
            known.remove(Commands::COPY);
            assert_eq!(known.get(), without_copy);
            known.set(same);
            assert_eq!(known.get(), without_copy);
            known.set(other);
            assert!(known.get().has(Commands::COPY));
            known.set(same);
            assert!(known.get().has(Commands::COPY));
        }
    }

    #[test]
    fn what_is_learned_counts_until_it_is_refused_or_the_server_is_another() {
        let known = KnownCommands::new();
        let of = |run_id| ServerInfo { commands: Commands::ALL, run_id: Some(run_id) };
        known.set(of(1));
        assert!(!known.get().has(Commands::TRANSACTIONS));
        known.learn(Commands::TRANSACTIONS);
        known.set(of(1));
        assert!(known.get().has(Commands::TRANSACTIONS.with(Commands::STILL)));
        known.remove(Commands::STILL.with(Commands::TRANSACTIONS));
        known.forget_refusals();
        assert_eq!(known.get(), Commands::ALL);
        known.learn(Commands::TRANSACTIONS);
        known.set(of(2));
        assert_eq!(known.get(), Commands::ALL);
    }

    #[test]
    fn a_refusal_is_remembered_for_a_time_and_what_the_server_never_had_stays_so() {
        let known = KnownCommands::new();
        known.set(ServerInfo { commands: Commands::ALL.without(Commands::PERSIST), run_id: Some(1) });
        known.remove(Commands::EVAL);
        known.remove(Commands::COPY);
        let had = Commands::ALL.without(Commands::PERSIST);
        let refused = had.without(Commands::EVAL).without(Commands::COPY);
        let at = |passed: Duration| known.get_at(|| Instant::now() + passed);
        assert_eq!((at(Duration::ZERO), at(REFUSAL_REMEMBERED_FOR / 2)), (refused, refused));
        assert_eq!((at(REFUSAL_REMEMBERED_FOR), at(Duration::ZERO)), (had, had));
    }
}
