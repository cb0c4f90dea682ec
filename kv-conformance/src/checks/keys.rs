//! Section 1: which texts are keys, and that different keys are different entries.

use std::io::{self, Read};
use std::iter;

use kv_core::{Bytes, Capability, Error, Key, KeyFault, KeyValueStore, KeyValueStoreExt, Remaining, Ttl, Version, key};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, listed, sorted, ways_of_writing_new, write_new};
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_error, show};

checks![
    k1_every_character_of_the_alphabet_makes_a_key,
    k1_the_shortest_and_the_longest_keys_work,
    k1_every_operation_takes_every_key,
    k2_an_invalid_key_is_refused_by_every_operation,
    k5_a_key_that_is_too_long_is_refused_by_every_operation,
    k3_keys_that_look_alike_are_distinct,
    k3_no_operation_touches_keys_of_similar_names,
    k3_keys_of_many_lengths_with_a_common_beginning_are_distinct,
];

/// The characters of which keys are made.
fn alphabet() -> impl Iterator<Item = char> {
    (0x21..=0x7E_u8).map(char::from)
}

/// Writes, reads and deletes keys with each of the 94 characters at the beginning, in the middle and at the end. A backend that escapes,
/// quotes or splits keys fails here.
pub fn k1_every_character_of_the_alphabet_makes_a_key() -> Check {
    about(&["K1", "V1", "D1"]).run(|context| {
        let store = context.store();
        let keys = context.sample(alphabet().map(|c| format!("{c}in{c}side{c}")), 4);
        for key in &keys {
            store.put(key, format!("value of {key}"))?;
        }
        for key in &keys {
            expect(format_args!("get({key:?})"), store.get(key), Some(format!("value of {key}").into()))?;
        }
        for key in &keys {
            expect(format_args!("delete({key:?})"), store.delete(key), true)?;
            expect(format_args!("get({key:?}) after delete({key:?})"), store.get(key), None)?;
        }
        Ok(())
    })
}

/// Uses the shortest keys, of every character, and the longest ones.
pub fn k1_the_shortest_and_the_longest_keys_work() -> Check {
    about(&["K1", "K5"]).run(|context| {
        let store = context.store();
        let longest = context.longest_key();
        let keys = alphabet().map(|c| c.to_string());
        let keys = keys.flat_map(|key| [key.repeat(longest), key.repeat(longest - 1), key]);
        let keys = context.sample(keys, 2);
        for key in &keys {
            expect(format_args!("put({key:?}, …)"), store.put(key, key), ())?;
        }
        for key in &keys {
            expect(format_args!("get({key:?})"), store.get(key), Some(key.clone().into()))?;
        }
        Ok(())
    })
}

/// Uses every operation with keys of every character and with the longest ones. A backend that makes another name of a key for one
/// of its operations, such as that of a lock, and has a limit or a meaning for it, fails here.
pub fn k1_every_operation_takes_every_key() -> Check {
    about(&["K1", "P1", "D1", "B1", "B3", "T6", "C1", "C2", "P4"]).run(|context| {
        let short = alphabet().map(|c| format!("{c}in{c}side{c}"));
        let longest = ["k", "~", "!", "/", "%", "*", "\\"].map(|c| context.long_key(c));
        context.sample(short.chain(longest), 30).iter().try_for_each(|key| use_everywhere(context, key))
    })
}

/// Runs every operation of a store with a key, which is absent before and afterwards.
fn use_everywhere(context: &Context<'_>, key: &str) -> Outcome {
    let store = context.store();
    store.put_many([(key, "1"), ("beside", "b")])?;
    let want: [Option<Bytes>; 3] = [Some("1".into()), None, Some("1".into())];
    expect(format_args!("get_many with {key:?}"), store.get_many([key, "absent", key]), want.to_vec())?;
    expect(format_args!("put_from({key:?})"), store.put_from(key, &b"2"[..]), ())?;
    let mut written = Vec::new();
    expect(format_args!("get_into({key:?})"), store.get_into(key, &mut written), 1)?;
    expect_eq(format_args!("what get_into({key:?}) wrote"), written, b"2".to_vec())?;
    if context.has(Capability::Contains) {
        expect(format_args!("contains({key:?})"), store.contains(key), true)?;
    }
    if context.has(Capability::Touch) {
        expect(format_args!("touch({key:?})"), store.touch(key, Ttl::Forever), true)?;
    }
    if context.has(Capability::TtlReading) {
        expect(format_args!("ttl({key:?})"), store.ttl(key), Some(Remaining::Forever))?;
    }
    if context.has(Capability::Copy) {
        expect(format_args!("copy from {key:?}"), store.copy(key, "other"), ())?;
        store.put(key, "3")?;
        expect(format_args!("copy to {key:?}"), store.copy("other", key), ())?;
        expect(format_args!("rename from {key:?}"), store.rename(key, "other"), ())?;
        expect(format_args!("get({key:?}) after it was renamed"), store.get(key), None)?;
        expect(format_args!("rename to {key:?}"), store.rename("other", key), ())?;
    }
    expect(format_args!("get({key:?})"), store.get(key), Some("2".into()))?;
    if context.has(Capability::Listing) {
        let times = listed(context, key).map(|keys| keys.iter().filter(|listed| *listed == key).count());
        expect(format_args!("how often keys({key:?}) gives that key"), times, 1)?;
    }
    expect(format_args!("delete_many with {key:?}"), store.delete_many([key, key]), vec![true, false])?;
    if context.has(Capability::Create) {
        expect(format_args!("create({key:?})"), store.create(key, "4"), true)?;
        expect(format_args!("create({key:?}) again"), store.create(key, "5"), false)?;
        expect(format_args!("get({key:?}) after create"), store.get(key), Some("4".into()))?;
        expect(format_args!("delete({key:?})"), store.delete(key), true)?;
    }
    expect(format_args!("get({key:?}) at the end"), store.get(key), None)
}

/// Gives each operation an empty key, one of 251 bytes and ones with bytes outside the alphabet, CR, LF, NUL and space among
/// them. Each has to answer `InvalidKey`, to say what is wrong, and to change nothing.
pub fn k2_an_invalid_key_is_refused_by_every_operation() -> Check {
    about(&["K2", "E1"]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        let byte = |byte, index| KeyFault::Byte { byte, index };
        let invalid = [
            (String::new(), KeyFault::Empty),
            ("k".repeat(251), KeyFault::TooLong { len: 251 }),
            ("k".repeat(100_000), KeyFault::TooLong { len: 100_000 }),
            ("a b".into(), byte(b' ', 1)),
            ("a\r\nset b 0 0 1\r\nx".into(), byte(b'\r', 1)),
            ("ab\n".into(), byte(b'\n', 2)),
            ("\0".into(), byte(0, 0)),
            ("tab\t".into(), byte(b'\t', 3)),
            ("del\u{7f}".into(), byte(0x7F, 3)),
            ("grün".into(), byte(0xC3, 2)),
        ];
        for (key, fault) in &invalid {
            for (operation, _, call) in operations_with(store, key, (bystander, "harmed")) {
                let what = format!("{operation} with the key {:?}", show(key));
                let error = expect_error(&what, call(), "InvalidKey", |error| matches!(error, Error::InvalidKey(_)))?;
                if let Error::InvalidKey(invalid) = error {
                    expect_eq(format_args!("the fault that {what} reports"), invalid.fault(), *fault)?;
                }
            }
            expect("get of another key, after an invalid key", store.get(bystander), Some(unharmed.into()))?;
        }
        Ok(())
    })
}

/// Where `capabilities()` has a limit below 250 bytes: gives each operation a key of one byte more, and one of 250 bytes. Each has to answer
/// `KeyTooLong` with the key and the limit. The longest key, which is the beginning of both, and a bystander have to stay as they are; a
/// listing with such a prefix finds nothing.
pub fn k5_a_key_that_is_too_long_is_refused_by_every_operation() -> Check {
    about(&["K5", "E1", "L1"]).run(|context| {
        let (store, limit) = (context.store(), context.longest_key());
        if limit == Key::MAX_LEN {
            return Err(NotPassed::Ignored("the store says that it takes keys of 250 bytes".into()));
        }
        let (bystander, unharmed) = BYSTANDER;
        let longest = context.long_key("k");
        store.put(bystander, unharmed)?;
        store.put(&longest, "the longest")?;
        for key in ["k".repeat(limit + 1), "k".repeat(Key::MAX_LEN)] {
            let length = key.len();
            for (operation, needs, call) in operations_with(store, &key, ("beside", "v")) {
                if needs.iter().any(|&capability| !context.has(capability)) {
                    continue;
                }
                let what = format!("{operation} with a key of {length} bytes");
                let error =
                    expect_error(&what, call(), "KeyTooLong", |error| matches!(error, Error::KeyTooLong { .. }))?;
                if let Error::KeyTooLong { key: concerned, limit: told, .. } = error {
                    expect_eq(format_args!("the limit that {what} reports"), told, limit)?;
                    expect_eq(format_args!("the key that {what} reports"), concerned.as_str(), key.as_str())?;
                }
                expect(
                    format_args!("get of the longest key after {what}"),
                    store.get(&longest),
                    Some("the longest".into()),
                )?;
                expect(format_args!("get of a bystander after {what}"), store.get(bystander), Some(unharmed.into()))?;
            }
            let mut outcomes = store.get_each([bystander, &key, &longest]).into_iter();
            let mut next = || outcomes.next().unwrap_or(Ok(None));
            let what = format!("in a get_each with a key of {length} bytes");
            expect(format_args!("the first outcome {what}"), next(), Some(unharmed.into()))?;
            let is_kind = |error: &Error| matches!(error, Error::KeyTooLong { .. });
            expect_error(format_args!("the second outcome {what}"), next(), "KeyTooLong", is_kind)?;
            expect(format_args!("the third outcome {what}"), next(), Some("the longest".into()))?;
            store.delete("beside")?;
            if context.has(Capability::Listing) {
                let what = format!("keys of a prefix of {length} bytes");
                expect(what, listed(context, &key), Vec::<String>::new())?;
                let what = format!("prefixes of a prefix of {length} bytes");
                expect(what, store.prefixes("/", &key).and_then(sorted), Vec::<String>::new())?;
                let mut want = vec![bystander.to_owned(), longest.clone()];
                want.sort_unstable();
                expect("keys(\"\") after that", listed(context, ""), want)?;
            }
        }
        Ok(())
    })
}

/// An operation, what it needs, and how it is called.
type Operation<'a> = (&'static str, &'static [Capability], Box<dyn Fn() -> Result<(), Error> + 'a>);

/// Every operation that takes this key. `beside` is the other entry of a batch, and [`BYSTANDER`] the other entry of a copy.
fn operations_with<'a>(store: &'a dyn KeyValueStore, key: &'a str, beside: (&'a str, &'a str)) -> Vec<Operation<'a>> {
    use Capability::{Contains, Copy, Counters, Create, Take, Touch, TouchingReads, TtlReading, Versions};

    let (bystander, _) = BYSTANDER;
    let nowhere = std::path::Path::new("/nonexistent/file");
    // It matches nothing.
    let version = || Version::of_number(key!("another"), 1);
    vec![
        ("get", &[], Box::new(move || store.get(key).map(drop))),
        ("put", &[], Box::new(move || store.put(key, "v"))),
        ("put_with_ttl", &[], Box::new(move || store.put_with_ttl(key, "v", Ttl::Forever))),
        ("delete", &[], Box::new(move || store.delete(key).map(drop))),
        ("get_many", &[], Box::new(move || store.get_many([beside.0, key]).map(drop))),
        ("get_each", &[], {
            Box::new(move || store.get_each([beside.0, key]).into_iter().try_for_each(|outcome| outcome.map(drop)))
        }),
        ("put_many", &[], Box::new(move || store.put_many([beside, (key, "v")]))),
        ("delete_many", &[], Box::new(move || store.delete_many([beside.0, key]).map(drop))),
        ("open", &[], Box::new(move || store.open(key).map(drop))),
        ("put_from", &[], Box::new(move || store.put_from(key, &b"v"[..]))),
        ("get_into", &[], Box::new(move || store.get_into(key, io::sink()).map(drop))),
        ("get_file", &[], Box::new(move || store.get_file(key, nowhere).map(drop))),
        ("create", &[Create], Box::new(move || store.create(key, "v").map(drop))),
        ("contains", &[Contains], Box::new(move || store.contains(key).map(drop))),
        ("ttl", &[TtlReading], Box::new(move || store.ttl(key).map(drop))),
        ("touch", &[Touch], Box::new(move || store.touch(key, Ttl::Forever).map(drop))),
        ("copy from", &[Copy], Box::new(move || store.copy(key, bystander))),
        ("copy to", &[Copy], Box::new(move || store.copy(bystander, key))),
        ("rename from", &[Copy], Box::new(move || store.rename(key, bystander))),
        ("rename to", &[Copy], Box::new(move || store.rename(bystander, key))),
        ("get_versioned", &[Versions], Box::new(move || store.get_versioned(key).map(drop))),
        ("create_versioned", &[Versions, Create], {
            Box::new(move || store.create_versioned(key, "v", Ttl::Forever).map(drop))
        }),
        ("put_if", &[Versions], Box::new(move || store.put_if(key, "v", Ttl::Forever, &version()).map(drop))),
        ("delete_if", &[Versions], Box::new(move || store.delete_if(key, &version()).map(drop))),
        ("take", &[Take], Box::new(move || store.take(key).map(drop))),
        ("get_and_touch", &[TouchingReads], Box::new(move || store.get_and_touch(key, Ttl::Forever).map(drop))),
        ("increment", &[Counters], Box::new(move || store.increment(key, 1, Ttl::Forever).map(drop))),
    ]
}

/// Stores different values under keys that a careless backend takes for the same one: other case, percent escapes, dots and slashes as in
/// paths, entities of XML, plus and minus, another key with the ending of a file or a name space. Each key has to be listed unchanged, and
/// each as a prefix has to list exactly the keys that begin with it. A listing that decodes keys fails here.
pub fn k3_keys_that_look_alike_are_distinct() -> Check {
    about(&["K3"]).run(|context| {
    let store = context.store();
    #[rustfmt::skip]
    let keys = [
        "key", "Key", "KEY", "key.", ".key", "key/", "/key", "key:", ":key", "key*", "key?", "key%", "key%20", "key+",
        "key-", "key_", "key~", "key\\", "'key'", "\"key\"", "`key`", "$key", "{key}", "[key]", "(key)", "<key>", "#key",
        "a", "A", "%41", "%2541", "%61", "b", "a%2Fb", "a%2fb", "a%252Fb", "%2F", "a&b", "a&amp;b", "a/b", "a//b", "a/./b", "a/../b", "a/b/", "/a/b", "a\\b", "a:b",
        ".", "..", "...", "../a", "./a", "~", "-", "--", "*", "?", "key.tmp", "key.lock", "key.ttl", "key.meta", ".key.tmp",
        "key%00", "key\\0", "\\x00", "0", "00", "0.0", "-0", "1e0", "1", "null", "nil", "None", "CON", "nul", "END", "VA",
    ];
    let keys = context.sample(keys, 24);
    for way in ways_of_writing_new(context) {
        for key in &keys {
            write_new(store, way, key, format!("of {key}").as_bytes())?;
        }
        for key in &keys {
            let want = Some(format!("of {key}").into());
            expect(format_args!("get({key:?}), written by {way}"), store.get(key), want)?;
        }
        let want = keys.iter().map(|key| Some(Bytes::from(format!("of {key}")))).collect::<Vec<_>>();
        expect(format_args!("get_many of keys that look alike, written by {way}"), store.get_many(&keys), want)?;
        if context.has(Capability::Listing) {
            // The way of writing a key may matter to an index, but not to the meaning of a prefix.
            let prefixes = if *way == "put" { &keys[..] } else { &[] };
            for prefix in iter::once(&"").chain(prefixes) {
                let mut want = keys.iter().copied().filter(|key| key.starts_with(prefix)).collect::<Vec<_>>();
                want.sort_unstable();
                let what = format_args!("keys({prefix:?}) of keys that look alike, written by {way}");
                expect(what, listed(context, prefix), want)?;
            }
        }
        store.delete("key")?;
        store.delete_many(["a"])?;
        for key in &keys {
            let want = if matches!(*key, "key" | "a") { None } else { Some(format!("of {key}").into()) };
            expect(format_args!("get({key:?}) after \"key\" and \"a\" were deleted"), store.get(key), want)?;
        }
        store.delete_many(&keys)?;
    }
    Ok(())
    })
}

/// Uses every operation with a key, in an empty store, and in one with keys that a backend could use as names for a lock, a temporary value
/// or a TTL of that key. Nothing may be left behind, and the other keys have to stay unchanged.
pub fn k3_no_operation_touches_keys_of_similar_names() -> Check {
    about(&["K3", "S2"]).run(|context| {
        let store = context.store();
        let endings = [".tmp", ".temp", ".lock", ".part", ".new", ".old", ".bak", ".ttl", ".meta", ".exp", ".0", ".1"];
        let endings =
            endings.into_iter().chain(["~", "_", "/", ":ttl", ":lock", ":tmp", ":meta", ":expires", "-lock", "-tmp"]);
        let beginnings = [".", "_", "~", "tmp.", "tmp:", "lock:", "ttl:", "meta:", "expires:", "/", "key:"];
        let mut similar = endings.map(|ending| format!("key{ending}")).collect::<Vec<_>>();
        similar.extend(beginnings.map(|beginning| format!("{beginning}key")));
        let use_it = || -> Outcome {
            use_everywhere(context, "key")?;
            let failed = store.put_from("key", b"a part".chain(Failing));
            expect_error("put_from of a reader that fails", failed, "Io", |error| matches!(error, Error::Io { .. }))?;
            expect("get after that", store.get("key"), None)
        };
        use_it()?;
        if context.has(Capability::Listing) {
            expect("keys(\"\") after everything was done with a key", listed(context, ""), vec!["beside".to_owned()])?;
        }
        store.put_many(similar.iter().map(|key| (key, key)))?;
        use_it()?;
        for key in &similar {
            let what = format!("get({key:?}) after everything was done with \"key\"");
            expect(what, store.get(key), Some(key.clone().into()))?;
        }
        Ok(())
    })
}

/// A reader that fails.
struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("gone"))
    }
}

/// Stores keys that are one another's prefixes, of every length, and deletes every other one. A backend that cuts
/// keys, or deletes by prefix, fails here.
pub fn k3_keys_of_many_lengths_with_a_common_beginning_are_distinct() -> Check {
    about(&["K3", "K1"]).run(|context| {
        let store = context.store();
        let keys = context.sample((1..=context.longest_key()).map(|length| "k".repeat(length)), 3);
        let is_deleted = |key: &&String| !key.len().is_multiple_of(2);
        for key in &keys {
            store.put(key, key.len().to_string())?;
        }
        for key in keys.iter().filter(is_deleted) {
            store.delete(key)?;
        }
        for key in &keys {
            let want = (!is_deleted(&key)).then(|| key.len().to_string().into());
            expect(format_args!("get of the key of {} bytes", key.len()), store.get(key), want)?;
        }
        if context.has(kv_core::Capability::Listing) {
            let want = keys.iter().filter(|key| !is_deleted(key)).cloned().collect::<Vec<_>>();
            expect("the listing of what is left", listed(context, ""), want)?;
        }
        Ok(())
    })
}
