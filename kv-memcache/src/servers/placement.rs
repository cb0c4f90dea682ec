//! Which of several servers has a key: rendezvous hashing.
//!
//! For each server a number is computed from its name and the key, and the server with the largest number has the key. So a new server
//! takes over the keys for which its own number is the largest, and the keys of a server that is removed go to the
//! others. No other key moves, and the order of the servers does not matter. ([Thaler and Ravishankar, 1998])
//!
//! [Thaler and Ravishankar, 1998]: https://doi.org/10.1109/90.663936

use std::sync::atomic::{AtomicU64, Ordering};

use twox_hash::XxHash3_64;

use super::node::Node;

#[derive(Debug)]
pub(crate) struct Servers {
    nodes: Vec<Node>,
    /// The hash of each server's name.
    seeds: Vec<u64>,
    /// The tag of the next command: its reply repeats it.
    next_tag: AtomicU64,
}

impl Servers {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        let seeds = nodes.iter().map(|node| seed_of(node.name())).collect();
        Self { nodes, seeds, next_tag: AtomicU64::new(1) }
    }

    /// Reserves tags for this many commands. Returns the first.
    pub(crate) fn tags(&self, count: usize) -> u64 {
        self.next_tag.fetch_add(count as u64, Ordering::Relaxed)
    }

    pub(crate) fn all(&self) -> &[Node] {
        &self.nodes
    }

    /// The index of the server that has this key.
    pub(crate) fn index_of(&self, key: &str) -> usize {
        chosen(&self.seeds, key)
    }
}

/// The hash of a server's name, which is `host:port`, the host in lower case, or the path of its socket.
fn seed_of(name: &str) -> u64 {
    XxHash3_64::oneshot(name.as_bytes())
}

/// The index of the server that has the key. It must not change from one version to the next: `XXH3` is stable, the hasher of `std` is not.
fn chosen(seeds: &[u64], key: &str) -> usize {
    // Most stores have one server.
    if seeds.len() < 2 {
        return 0;
    }
    let score = |seed: u64| XxHash3_64::oneshot_with_seed(seed, key.as_bytes());
    // If scores are equal, the larger seed wins, whatever the order of the servers.
    let best = seeds.iter().enumerate().max_by_key(|&(_, &seed)| (score(seed), seed));
    best.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(names: &[&str]) -> Vec<u64> {
        names.iter().map(|name| seed_of(name)).collect()
    }

    /// These keys must never move to other servers: their entries would no longer be found.
    #[test]
    fn keys_are_where_they_have_always_been() {
        let names = ["10.0.0.1:11211", "10.0.0.2:11211", "cache.example:11211", "[::1]:11212", "/run/memcached.sock"];
        let seeds = seeds(&names);
        for (key, expected) in [
            ("a", "10.0.0.1:11211"),
            ("b", "[::1]:11212"),
            ("d", "10.0.0.1:11211"),
            ("greeting", "10.0.0.2:11211"),
            ("session:42", "10.0.0.2:11211"),
            ("user/1", "10.0.0.1:11211"),
            ("user/2", "/run/memcached.sock"),
            ("~", "cache.example:11211"),
            (&"k".repeat(250), "cache.example:11211"),
        ] {
            assert_eq!(names[chosen(&seeds, key)], expected, "{key}");
        }
    }

    fn placed<'a>(names: &[&'a str]) -> Vec<&'a str> {
        let seeds = seeds(names);
        (0..10_000).map(|n| names[chosen(&seeds, &format!("key:{n}"))]).collect()
    }

    #[test]
    fn a_server_that_is_added_or_removed_moves_its_own_keys_alone() {
        let names: Vec<_> = (1..=10).map(|n| format!("10.0.0.{n}:11211")).collect();
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        let before = placed(&all);
        for removed in 0..all.len() {
            let mut fewer = all.clone();
            let gone = fewer.remove(removed);
            let after = placed(&fewer);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert_eq!(moved, before.iter().filter(|&&name| name == gone).count());
            // A tenth of 10 000, and three standard deviations (30 each) to either side.
            assert!((910..=1090).contains(&moved), "{moved} keys were on {gone}");
            assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == gone));
        }
    }

    #[test]
    fn the_order_of_the_servers_does_not_matter() {
        let mut names = ["a:1", "b:1", "c:1", "d:1"];
        let before = placed(&names);
        names.reverse();
        assert_eq!(placed(&names), before);
        names.swap(1, 2);
        assert_eq!(placed(&names), before);
    }
}
