//! Section 2: any bytes, unchanged, and not too many.

use std::io::Read;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::select;

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, OldEntry, largest_length, largest_value, ways_of_writing_new, write_new};
use crate::property::{self, values};
use crate::running::{Context, NotPassed, Outcome, expect, expect_bytes, expect_eq, expect_error};

checks![
    v1_any_bytes_come_back_through_every_way_of_reading,
    v1_what_looks_like_protocol_is_a_value_like_any_other,
    v1_text_comes_back_byte_for_byte,
    v1_values_of_every_size_come_back,
    v1_random_values_come_back_whatever_the_way_in,
    v2_a_buffer_that_changes_after_the_write_changes_nothing,
    v3_a_value_of_the_largest_size_is_accepted,
    v3_a_value_over_the_limit_is_refused_and_the_old_one_stays,
    v3_a_value_just_over_the_limit_is_stored_whole_or_not_at_all,
];

/// Reads a value in each way there is, and compares.
fn read_back(store: &dyn KeyValueStore, key: &str, value: &[u8], what: &str) -> Outcome {
    let value = Bytes::copy_from_slice(value);
    expect(format_args!("get of {what}"), store.get(key), Some(value.clone()))?;
    expect(format_args!("get_many of {what}"), store.get_many([key]), vec![Some(value.clone())])?;
    let each = store.get_each([key]).into_iter().collect::<Result<Vec<_>, _>>();
    expect(format_args!("get_each of {what}"), each, vec![Some(value.clone())])?;
    let mut opened = Vec::new();
    store.open(key)?.read_to_end(&mut opened).map_err(NotPassed::failed)?;
    expect_bytes(format_args!("what the reader of open gives of {what}"), opened, &value)?;
    let mut written = Vec::new();
    expect(format_args!("get_into of {what}"), store.get_into(key, &mut written), value.len() as u64)?;
    expect_bytes(format_args!("what get_into wrote of {what}"), written, &value)?;
    let folder = tempfile::tempdir().map_err(NotPassed::failed)?;
    let path = folder.path().join("value");
    expect(format_args!("get_file of {what}"), store.get_file(key, &path), value.len() as u64)?;
    let in_file = std::fs::read(&path).map_err(NotPassed::failed)?;
    expect_bytes(format_args!("what get_file wrote of {what}"), in_file, &value)
}

/// Stores values in each way there is, alone and together, and reads them back in each way.
fn come_back(context: &Context<'_>, values: &[&[u8]]) -> Outcome {
    let store = context.store();
    let values = &context.sample(values.iter().copied(), 40);
    for way in ways_of_writing_new(context) {
        for value in values {
            write_new(store, way, "k", value)?;
            read_back(store, "k", value, &format!("the value {:?}, written by {way}", Bytes::copy_from_slice(value)))?;
            store.delete("k")?;
        }
    }
    let keys = (0..values.len()).map(|at| format!("k{at}")).collect::<Vec<_>>();
    store.put_many(keys.iter().zip(values).map(|(key, value)| (key, *value)))?;
    let want = values.iter().map(|value| Some(Bytes::copy_from_slice(value))).collect::<Vec<_>>();
    expect("get_many of all these values, written by one put_many", store.get_many(&keys), want)
}

/// Stores the empty value, each single byte, all 256 together in both directions, in every way of writing, and reads them back
/// with every operation that reads. A backend that stores text, or ends values at a NUL or a line, fails here.
pub fn v1_any_bytes_come_back_through_every_way_of_reading() -> Check {
    about(&["V1", "P1", "S1", "S3", "S4", "B1"]).run(|context| {
        let store = context.store();
        let all = (0..=255_u8).collect::<Vec<_>>();
        let reversed = (0..=255_u8).rev().collect::<Vec<_>>();
        let values =
            [&b""[..], b"\0", b"\n", b"\r\n", b"\xFF", b"\0\0\0", b" ", b" a ", b"a\0b", b"\xC3\x28", &all, &reversed];
        come_back(context, &values)?;
        for byte in context.sample(0..=255_u8, 2) {
            let key = format!("byte-{byte}");
            store.put(&key, [byte].as_slice())?;
            expect(format_args!("get of the value of the one byte {byte}"), store.get(&key), Some(vec![byte].into()))?;
        }
        Ok(())
    })
}

/// Stores values that are pieces of the protocols of redis and memcached, in every way of writing, and reads them back with every
/// operation that reads. A client that looks for an end in the reply instead of counting fails here.
pub fn v1_what_looks_like_protocol_is_a_value_like_any_other() -> Check {
    about(&["V1"]).run(|context| {
        #[rustfmt::skip]
    let values: [&[u8]; 22] = [
        b"END\r\n", b"\r\nEND\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b"+OK\r\n", b"-ERR no\r\n", b":1\r\n", b"_\r\n",
        b"VA 2\r\n", b"VA 2\r\nxx\r\n", b"HD\r\n", b"EN\r\n", b"NS\r\n", b"MN\r\n", b"VALUE k 0 5\r\n", b"STORED\r\n",
        b"ERROR\r\n", b"SERVER_ERROR no\r\n", b"$3\r\nabc\r\n", b">2\r\n", b"\x81\0\0\0",
    ];
        come_back(context, &values)
    })
}

/// Stores texts that some layer might normalise: composed and decomposed characters, ones beyond the first 65 536, a byte order mark, ends
/// of lines, numbers, dates, JSON, base64, escapes. The same bytes have to come back.
pub fn v1_text_comes_back_byte_for_byte() -> Check {
    about(&["V1"]).run(|context| {
    #[rustfmt::skip]
    let texts = [
        "\u{e9}", "e\u{301}", "\u{212b}", "\u{fb01}", "\u{1f980} and what follows", "\u{feff}after the mark", "\u{2028}",
        "\u{202e}abc", "\u{130} \u{131} \u{df}", "a\r\nb\rc\n", "a\tb", "\"quoted\"", "'quoted'", "it's", "007", "1.0", "1e3", "+1",
        "-0", "0x10", "18446744073709551616", "true", "null", "None", "NaN", "2026-01-31T00:00:00+00:00", "{\"a\": 1.0}", "[]",
        "aGVsbG8=", "%41+b", "\\n", "\\u0041", "\\x41", "&amp;", "=1+1", "a,b;c", "'; DROP TABLE kv; --", "0",
    ];
    come_back(context, &texts.map(str::as_bytes))
    })
}

/// Stores values of 0 bytes to 1 MiB, with the powers of two and their neighbours, and of 16 MiB, as far as the store accepts them, in
/// every way of writing, and reads them alone and in a batch. This finds a buffer of fixed size, or a length that is cut to 16 bits.
pub fn v1_values_of_every_size_come_back() -> Check {
    about(&["V1"]).run(|context| {
        let store = context.store();
        let limit = context.size(usize::MAX);
        let sizes = (0..=20).flat_map(|power| [(1_usize << power) - 1, 1 << power, (1 << power) + 1]);
        for size in context.sample(sizes.chain([16 << 20]).filter(|size| *size <= limit), 20) {
            let value = Bytes::from(values::patterned(size));
            for way in ways_of_writing_new(context) {
                write_new(store, way, "k", &value)?;
                let what = format!("a value of {size} bytes, written by {way}");
                expect(format_args!("get of {what}"), store.get("k"), Some(value.clone()))?;
                expect(format_args!("get_many of {what}"), store.get_many(["k"]), vec![Some(value.clone())])?;
                let each = store.get_each(["k"]).into_iter().collect::<Result<Vec<_>, _>>();
                expect(format_args!("get_each of {what}"), each, vec![Some(value.clone())])?;
                store.delete("k")?;
            }
        }
        Ok(())
    })
}

/// A property: random values that are written in any way come back in every way of reading.
pub fn v1_random_values_come_back_whatever_the_way_in() -> Check {
    about(&["V1", "S2", "B2"]).run(|context| {
        let store = context.store();
        let largest = context.size(3000);
        property::check(
            &context.seed,
            &(select(ways_of_writing_new(context)), vec(any::<u8>(), 0..=largest)),
            |(way, value)| {
                store.delete("k")?;
                write_new(store, way, "k", value)?;
                read_back(store, "k", value, &format!("a value of {} bytes, written by {way}", value.len()))
            },
        )
    })
}

/// Overwrites and drops the buffers after `put`, `create`, `put_many` and `put_from` have returned.
pub fn v2_a_buffer_that_changes_after_the_write_changes_nothing() -> Check {
    about(&["V2"]).run(|context| {
        let store = context.store();
        let mut buffer = b"as it was".to_vec();
        let mut keys = vec!["put", "put_many", "put_from"];
        store.put("put", &buffer)?;
        store.put_many([("put_many", &buffer)])?;
        store.put_from("put_from", buffer.as_slice())?;
        if context.has(Capability::Create) {
            store.create("create", &buffer)?;
            keys.push("create");
        }
        buffer.fill(b'!');
        drop(buffer);
        for key in keys {
            let what = format!("get({key:?}), whose buffer was changed after the write");
            expect(what, store.get(key), Some("as it was".into()))?;
        }
        let read = store.get("put")?.map(Vec::from).map(|mut read| read.fill(b'!'));
        expect_eq("the value was there", read, Some(()))?;
        expect("get after a buffer that was read has been changed", store.get("put"), Some("as it was".into()))
    })
}

/// Stores a value as large as `capabilities()` allows, under the longest key.
pub fn v3_a_value_of_the_largest_size_is_accepted() -> Check {
    about(&["V3", "O1"]).run(|context| {
        let store = context.store();
        let limit = largest_value(context)?;
        let value = values::patterned(usize::try_from(limit).map_err(NotPassed::failed)?);
        let key = context.long_key("k");
        expect(format_args!("put of a value of {limit} bytes, the most"), store.put(&key, &value), ())?;
        expect_that_it_is_there(store, &key, &value)
    })
}

fn expect_that_it_is_there(store: &dyn KeyValueStore, key: &str, value: &[u8]) -> Outcome {
    expect("get of the largest value", store.get(key), Some(Bytes::copy_from_slice(value)))
}

/// Passes a value with one byte too many, and an endless reader, to each operation that writes. Each has to return `ValueTooLarge` with
/// size and limit, and the old entry has to stay with its TTL. (A memcached server deletes the old entry when it refuses a larger one.)
pub fn v3_a_value_over_the_limit_is_refused_and_the_old_one_stays() -> Check {
    about(&["V3", "E1", "S2", "B5"]).run(|context| {
        let store = context.store();
        let limit = largest_length(context)?;
        // If the limit depends on the key, it is that of the longest key.
        let (key, absent) = (context.long_key("k"), context.long_key("a"));
        let (bystander, unharmed) = BYSTANDER;
        let old = OldEntry::put(context, &key)?;
        store.put(bystander, unharmed)?;
        let too_large = vec![0_u8; usize::try_from(limit + 1).map_err(NotPassed::failed)?];
        let mut results = vec![
            ("put", &key, store.put(&key, &too_large)),
            ("put_many", &key, store.put_many([(key.as_str(), &too_large)])),
            ("put_from", &key, store.put_from(&key, too_large.as_slice())),
            ("put_from an endless reader", &key, store.put_from(&key, std::io::repeat(0))),
            ("put where nothing is", &absent, store.put(&absent, &too_large)),
        ];
        if context.has(Capability::Create) {
            results.push(("create", &absent, store.create(&absent, &too_large).map(drop)));
        }
        for (operation, key, result) in results {
            let is_kind = |error: &Error| matches!(error, Error::ValueTooLarge { .. });
            let error = expect_error(operation, result, "ValueTooLarge", is_kind)?;
            if let Error::ValueTooLarge { size, limit: reported, key: concerned, .. } = error {
                // More than one byte too many of a stream may have been read before that was noticed.
                let want = if operation.starts_with("put_from") { size.max(limit + 1) } else { limit + 1 };
                expect_eq(format_args!("the size that {operation} reports"), size, want)?;
                expect_eq(format_args!("the limit that {operation} reports"), reported, limit)?;
                expect_eq(format_args!("the key that {operation} reports"), concerned.as_str(), key.as_str())?;
            }
        }
        old.expect_unchanged(context, "after a value was refused")?;
        expect("get of an absent key after a value for it was refused", store.get(&absent), None)?;
        expect("get of a bystander", store.get(bystander), Some(unharmed.into()))
    })
}

/// Writes values that are a little larger than `capabilities()` promises, under the shortest key. If the limit depends on the key, they may
/// be accepted, but only whole. (A stream that is read up to the limit and then stored would be cut.)
pub fn v3_a_value_just_over_the_limit_is_stored_whole_or_not_at_all() -> Check {
    about(&["V3", "V1", "S2"]).run(|context| {
        let store = context.store();
        let limit = usize::try_from(largest_value(context)?).map_err(NotPassed::failed)?;
        let mut old = OldEntry::put(context, "k")?;
        for extra in [1, 2, 100, 249, 250] {
            let value = values::patterned(limit + extra);
            for way in ["put", "put_many", "put_from"] {
                let what = format!("{way} of a value of {} bytes, {extra} more than the largest", value.len());
                let result = match way {
                    "put" => store.put("k", &value),
                    "put_many" => store.put_many([("k", &value)]),
                    _ => store.put_from("k", value.as_slice()),
                };
                if result.is_ok() {
                    expect(format_args!("get after {what}"), store.get("k"), Some(Bytes::from(value.clone())))?;
                    old = OldEntry::put(context, "k")?;
                } else {
                    expect_error(what.as_str(), result, "ValueTooLarge", |error| {
                        matches!(error, Error::ValueTooLarge { .. })
                    })?;
                    old.expect_unchanged(context, &format!("after {what}"))?;
                }
            }
        }
        Ok(())
    })
}
