//! Section 1: what is a key, and that no two are the same.

use kv_core::{Error, KeyFault, KeyValueStore, KeyValueStoreExt, Ttl};

use super::{BYSTANDER, checks, listed};
use crate::context::Context;
use crate::failure::{Outcome, expect, expect_eq, expect_error};

checks! {
    k1_every_character_of_the_alphabet_makes_a_key [K1 V1 D1];
    k1_keys_of_one_and_of_250_bytes_work [K1];
    k2_an_invalid_key_is_refused_by_every_operation [K2 E1];
    k3_keys_that_look_alike_are_distinct [K3];
    k3_keys_of_many_lengths_with_a_common_beginning_are_distinct [K3 K1];
}

/// The characters of which keys are made.
pub(crate) fn alphabet() -> impl Iterator<Item = char> {
    (0x21..=0x7E_u8).map(char::from)
}

/// Writes, reads and deletes a key for each of the 94 characters, which stands at its beginning, in its middle and at its
/// end. A backend that escapes, quotes or splits keys fails here.
pub fn k1_every_character_of_the_alphabet_makes_a_key(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let keys = alphabet().map(|c| format!("{c}in{c}side{c}")).collect::<Vec<_>>();
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
}

/// Uses the shortest keys, of every character, and the longest ones.
pub fn k1_keys_of_one_and_of_250_bytes_work(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let keys = alphabet().flat_map(|c| [c.to_string(), c.to_string().repeat(250), c.to_string().repeat(249)]);
    let keys = keys.collect::<Vec<_>>();
    for key in &keys {
        expect(format_args!("put({key:?}, …)"), store.put(key, key), ())?;
    }
    for key in &keys {
        expect(format_args!("get({key:?})"), store.get(key), Some(key.clone().into()))?;
    }
    Ok(())
}

/// Gives each operation an empty key, one of 251 bytes and ones with bytes outside the alphabet, CR, LF, NUL and space among
/// them. Each has to answer `InvalidKey`, to say what is wrong, and to change nothing.
pub fn k2_an_invalid_key_is_refused_by_every_operation(context: &Context<'_>) -> Outcome {
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
        for (operation, result) in operations_with(store, key) {
            let what = format!("{operation} with the key {:?}", crate::failure::show(key));
            let error = expect_error(&what, result, "InvalidKey", |error| matches!(error, Error::InvalidKey(_)))?;
            if let Error::InvalidKey(invalid) = error {
                expect_eq(format_args!("the fault that {what} reports"), invalid.fault(), *fault)?;
            }
        }
        expect("get of another key, after an invalid key", store.get(bystander), Some(unharmed.into()))?;
    }
    Ok(())
}

/// The result of every operation that takes this key.
fn operations_with(store: &dyn KeyValueStore, key: &str) -> Vec<(&'static str, Result<(), Error>)> {
    let (bystander, _) = BYSTANDER;
    let nowhere = std::path::Path::new("/nonexistent/file");
    vec![
        ("get", store.get(key).map(drop)),
        ("put", store.put(key, "v")),
        ("put_with_ttl", store.put_with_ttl(key, "v", Ttl::Forever)),
        ("create", store.create(key, "v").map(drop)),
        ("delete", store.delete(key).map(drop)),
        ("contains", store.contains(key).map(drop)),
        ("ttl", store.ttl(key).map(drop)),
        ("touch", store.touch(key, Ttl::Forever).map(drop)),
        ("get_many", store.get_many([bystander, key]).map(drop)),
        ("put_many", store.put_many([(bystander, "harmed"), (key, "v")])),
        ("delete_many", store.delete_many([bystander, key]).map(drop)),
        ("copy from", store.copy(key, bystander)),
        ("copy to", store.copy(bystander, key)),
        ("rename from", store.rename(key, bystander)),
        ("rename to", store.rename(bystander, key)),
        ("open", store.open(key).map(drop)),
        ("put_from", store.put_from(key, &b"v"[..])),
        ("get_into", store.get_into(key, std::io::sink()).map(drop)),
        ("put_file", store.put_file(key, nowhere)),
        ("get_file", store.get_file(key, nowhere).map(drop)),
    ]
}

/// Stores different values under keys that a careless backend takes for one: other case, percent escapes, dots and slashes
/// as in paths, plus and minus, keys that are another one with an ending of a file or a name space.
pub fn k3_keys_that_look_alike_are_distinct(context: &Context<'_>) -> Outcome {
    let store = context.store();
    #[rustfmt::skip]
    let keys = [
        "key", "Key", "KEY", "key.", ".key", "key/", "/key", "key:", ":key", "key*", "key?", "key%", "key%20", "key+",
        "key-", "key_", "key~", "key\\", "'key'", "\"key\"", "`key`", "$key", "{key}", "[key]", "(key)", "<key>", "#key",
        "a", "A", "%41", "%2541", "%61", "a%2Fb", "a%2fb", "a/b", "a//b", "a/./b", "a/../b", "a/b/", "/a/b", "a\\b", "a:b",
        ".", "..", "...", "../a", "./a", "~", "-", "--", "*", "?", "key.tmp", "key.lock", "key.ttl", "key.meta", ".key.tmp",
        "key%00", "key\\0", "\\x00", "0", "00", "0.0", "-0", "1e0", "1", "null", "nil", "None", "CON", "nul", "END", "VA",
    ];
    for key in keys {
        store.put(key, format!("of {key}"))?;
    }
    for key in keys {
        expect(format_args!("get({key:?})"), store.get(key), Some(format!("of {key}").into()))?;
    }
    store.delete("key")?;
    store.delete("a")?;
    for key in keys {
        let want = if matches!(key, "key" | "a") { None } else { Some(format!("of {key}").into()) };
        expect(format_args!("get({key:?}) after \"key\" and \"a\" were deleted"), store.get(key), want)?;
    }
    Ok(())
}

/// Stores keys that are one another's prefixes, of every length up to 250, and deletes every other one. A backend that cuts
/// keys, or deletes by prefix, fails here.
pub fn k3_keys_of_many_lengths_with_a_common_beginning_are_distinct(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let keys = (1..=250).map(|length| "k".repeat(length)).collect::<Vec<_>>();
    for key in &keys {
        store.put(key, key.len().to_string())?;
    }
    for key in keys.iter().step_by(2) {
        store.delete(key)?;
    }
    for key in &keys {
        let want = (key.len() % 2 == 0).then(|| key.len().to_string().into());
        expect(format_args!("get of the key of {} bytes", key.len()), store.get(key), want)?;
    }
    if context.has(kv_core::Capability::Listing) {
        let want = keys.iter().filter(|key| key.len() % 2 == 0).cloned().collect::<Vec<_>>();
        expect("the listing of what is left", listed(context, ""), want)?;
    }
    Ok(())
}
