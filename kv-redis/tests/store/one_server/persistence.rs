//! A redis that keeps its data is stopped and started again under a store, which is then opened again (P5).

use std::sync::Arc;

use kv_conformance::{Fixture, Suite, Verdict};

use super::*;

/// The checks of P5 that open a store again, on a server that writes each command to its file before it answers.
#[test]
fn a_redis_with_an_append_only_file_keeps_its_data_over_a_restart() {
    let suite = Suite::new("persistent", || {
        let redis = Arc::new(Redis::start(DURABLE_OVER_KILL));
        let builder = RedisStore::builder().url(redis.url());
        let builder = builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE);
        let (server, again) = (Arc::clone(&redis), builder.clone());
        let reopen = move || {
            server.stop();
            server.restart();
            Ok(again.clone().connect()?)
        };
        Ok(Fixture::new(builder.clone().connect()?).second_handle(builder.connect()?).reopen(reopen).guard(redis))
    })
    .opt_out(Capability::ExactVersions, "a version is the value itself");
    let report = suite.run_matching("reopening");
    assert!(report.results.len() == 2 && report.passed(), "{report}");
    assert!(report.results.iter().all(|result| result.verdict == Verdict::Passed), "{report}");
}
