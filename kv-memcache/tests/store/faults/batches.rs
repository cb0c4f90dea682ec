//! Large batches.

use super::*;

#[test]
fn a_batch_with_large_replies_does_not_wait_for_itself() {
    const LENGTH: usize = 100 * 1024;
    let keys: Vec<_> = (0..2000).map(|number| format!("{number:x<250}")).collect();
    let value = |key: &str| format!("{key}{}", ".".repeat(LENGTH - 250));
    for kind in transports().into_iter().filter(|kind| *kind != Kind::Tcp) {
        let server = Memcached::start_as(kind, &["-m", "1024"]);
        let store = patient(builder_for(&[&server])).pool_size(1).connect().unwrap();
        store.put_many(keys.iter().map(|key| (key, value(key)))).unwrap();
        // A server with TLS has a port without, too.
        let plain = (kind != Kind::Unix).then(|| patient(builder(server.port())).pool_size(1).connect().unwrap());
        for store in [Some(store), plain].into_iter().flatten() {
            let read = store.get_many(&keys).unwrap();
            assert_eq!(read.len(), keys.len());
            for (key, read) in keys.iter().zip(read) {
                assert!(read.unwrap() == value(key), "{kind:?}: another value for {key}");
            }
            assert_works(&store);
        }
    }
}

/// memcached before 1.6.39 forgets what it has decrypted and not read, and waits for it.
#[cfg(feature = "tls")]
#[test]
fn a_batch_of_values_of_all_sizes_through_tls_does_not_wait_for_ever() {
    if !can("a batch of values of all sizes through tls does not wait for ever", Need::Tls) {
        return;
    }
    let mut random = Random(seed());
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &["-m", "256"]);
    let limit = |builder: MemcacheStoreBuilder| builder.response_timeout(PATIENCE / 2);
    let store = limit(patient(builder_for(&[&server]))).pool_size(1).connect().unwrap();
    let plain = patient(builder(server.port())).connect().unwrap();
    for round in 0..12 {
        let entries: Vec<_> = (0..300)
            .map(|number| {
                let size = match (round + random.size(4)) % 4 {
                    0 => 1 + random.size(60 * 1024),
                    1 => 1 + random.size(200),
                    // About the length of a record, and of what the server reads at once.
                    2 => 16 * 1024 - 60 + random.size(80),
                    _ => 1 + random.size(20 * 1024),
                };
                let byte = u8::try_from(number % 251).unwrap();
                (format!("{}/{number}", "k".repeat(1 + random.size(200))), vec![byte; size])
            })
            .collect();
        store
            .put_many(entries.iter().map(|(key, value)| (key, value)))
            .unwrap_or_else(|error| panic!("{round}: {error}"));
        for store in [&store, &plain] {
            let read = store.get_many(entries.iter().map(|(key, _)| key)).unwrap();
            for ((key, value), read) in entries.iter().zip(read) {
                assert!(read.unwrap() == value, "another value for {key}");
            }
        }
        assert!(store.delete_many(entries.iter().map(|(key, _)| key)).unwrap().into_iter().all(|was| was));
    }
    // One by one, at the lengths where records begin and end.
    for size in [1, 2, 3].into_iter().flat_map(|records| (records * 16384 - 100..records * 16384 + 40).step_by(7)) {
        let value = vec![7; size];
        store.put("k", &value).unwrap();
        assert!(store.get("k").unwrap().unwrap() == value, "{size}");
    }
}
