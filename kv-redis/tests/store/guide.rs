//! The programs of the guide's page *Updates*: locks, counters, codes, sessions and documents, raced on real servers.

#[path = "../../../kv-core/tests/guide/races.rs"]
mod races;

use kv_redis::{RedisStore, RedisStoreBuilder};

#[cfg(feature = "cluster")]
use crate::support::RedisCluster;
use crate::support::{PATIENCE, Redis};

const THREADS: usize = 16;

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

#[test]
fn the_programs_win_their_races_on_one_server() {
    let redis = Redis::start(&[]);
    races::run(&patient().url(redis.url()).connect().unwrap(), THREADS);
}

#[test]
fn the_programs_win_their_races_on_shared_connections() {
    let redis = Redis::start(&[]);
    races::run(&patient().url(redis.url()).shared_connections(2).connect().unwrap(), THREADS);
}

#[test]
#[cfg(feature = "cluster")]
fn the_programs_win_their_races_on_a_cluster() {
    let cluster = RedisCluster::start(3, 0);
    races::run(&patient().cluster(cluster.urls()).connect().unwrap(), THREADS);
}
