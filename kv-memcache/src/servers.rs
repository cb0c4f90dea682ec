//! Which of several servers has a key: rendezvous hashing.
//!
//! For each server a number is computed from its name and the key, and the server with the largest has the key. So a server
//! that is added takes over the keys for which its own number is the largest, and one that is removed leaves its keys to the
//! others; no other key moves, and the order of the servers does not matter. ([Thaler and Ravishankar, 1998])
//!
//! [Thaler and Ravishankar, 1998]: https://doi.org/10.1109/90.663936

use twox_hash::XxHash3_64;

use crate::node::Node;

#[derive(Debug)]
pub(crate) struct Servers {
    nodes: Vec<Node>,
    /// What distinguishes each in the choice.
    seeds: Vec<u64>,
}

impl Servers {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        let seeds = nodes.iter().map(|node| seed_of(node.name())).collect();
        Self { nodes, seeds }
    }

    pub(crate) fn all(&self) -> &[Node] {
        &self.nodes
    }

    /// The index of the server that has this key.
    pub(crate) fn index_of(&self, key: &str) -> usize {
        chosen(&self.seeds, key)
    }
}

/// What the choice knows of a server: a hash of its name, which is `host:port`, the host in lower case, or the path of its socket.
fn seed_of(name: &str) -> u64 {
    XxHash3_64::oneshot(name.as_bytes())
}

/// Which of these has the key. It must never change from one version to the next: `XXH3` is stable, the hasher of `std` is not.
fn chosen(seeds: &[u64], key: &str) -> usize {
    // There is nothing to choose for most stores.
    if seeds.len() < 2 {
        return 0;
    }
    let score = |seed: u64| XxHash3_64::oneshot_with_seed(seed, key.as_bytes());
    // Of equal scores, which no one will ever see, that of the larger seed, whatever the order.
    let best = seeds.iter().enumerate().max_by_key(|&(_, &seed)| (score(seed), seed));
    best.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(names: &[&str]) -> Vec<u64> {
        names.iter().map(|name| seed_of(name)).collect()
    }

    #[test]
    fn print_placement() {
        let names = ["10.0.0.1:11211", "10.0.0.2:11211", "cache.example:11211", "[::1]:11212", "/run/memcached.sock"];
        let seeds = seeds(&names);
        for key in ["a", "b", "c", "d", "greeting", "session:42", "user/1", "user/2", "~", &"k".repeat(250)] {
            eprintln!("(\"{key}\", \"{}\"),", names[chosen(&seeds, key)]);
        }
    }
}
