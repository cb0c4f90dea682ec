//! The programs of the guide's page *Updates*: locks, counters, codes, sessions and documents, raced on real servers.

#[path = "../../../kv-core/tests/guide/races.rs"]
mod races;

use crate::support::{self, Memcached, Need, PATIENCE, can};

const THREADS: usize = 16;

#[test]
fn the_programs_win_their_races_on_one_server() {
    if can("the programs of the guide", Need::Meta) {
        run(&[Memcached::start(&[])]);
    }
}

#[test]
fn the_programs_win_their_races_on_several_servers() {
    if can("the programs of the guide", Need::Meta) {
        run(&[Memcached::start(&[]), Memcached::start(&[]), Memcached::start(&[])]);
    }
}

fn run(servers: &[Memcached]) {
    let builder = support::builder().servers(servers.iter().map(Memcached::url));
    let builder = builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE);
    races::run(&builder.connect().unwrap(), THREADS);
}
