//! The counters of a server.

use super::*;

/// The counters of a server, read on one connection.
pub(super) struct Stats(Connection);

impl Stats {
    pub(super) fn of(server: &Memcached) -> Self {
        Self(server.connection())
    }

    pub(super) fn all(&mut self) -> BTreeMap<String, u64> {
        self.0.send(b"stats\r\n").unwrap();
        let mut all = BTreeMap::new();
        loop {
            let line = self.0.line().unwrap();
            if line == "END" {
                return all;
            }
            let (name, value) = line.strip_prefix("STAT ").unwrap().split_once(' ').unwrap();
            all.extend(value.parse().ok().map(|value| (name.to_owned(), value)));
        }
    }

    pub(super) fn get(&mut self, name: &str) -> u64 {
        self.all()[name]
    }

    /// The number of connections, after waiting for those that are being closed, such as the tests' own.
    pub(super) fn connections(&mut self) -> u64 {
        let counts = (0..20).map(|_| {
            thread::sleep(Duration::from_millis(5));
            self.get("curr_connections")
        });
        counts.min().unwrap()
    }

    /// How much `act` increases the counters of commands and connections, without those that stay.
    pub(super) fn growth(&mut self, act: impl FnOnce()) -> BTreeMap<String, u64> {
        let before = self.all();
        act();
        let mut after = self.all();
        after.retain(|name, _| {
            ["cmd_", "get_", "delete_", "touch_", "cas_", "total_connections"].iter().any(|kind| name.starts_with(kind))
        });
        let grown = after.into_iter().map(|(name, value)| (value - before[&name], name));
        grown.filter(|(by, _)| *by > 0).map(|(by, name)| (name, by)).collect()
    }
}

pub(super) fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
