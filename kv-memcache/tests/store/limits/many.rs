//! Many at once.

use super::*;

#[test]
fn a_hundred_thousand_keys_go_in_one_call() {
    const KEYS: usize = 100_000;
    let (server, store, _raw) = start(&["-m512"]);
    let value = |number: usize| number.to_string().repeat(number % 7);
    let key = |number: usize| format!("k{number}");
    let before = server.stat("total_connections");
    store.put_many((0..KEYS).map(|number| (key(number), value(number)))).unwrap();
    assert_eq!(server.stat("curr_items"), KEYS as u64);
    let values = store.get_many((0..=KEYS).rev().map(key)).unwrap();
    assert_eq!(values.len(), KEYS + 1);
    for (got, number) in values.iter().zip((0..=KEYS).rev()) {
        let expected = (number < KEYS).then(|| value(number));
        assert_eq!(got.as_deref(), expected.as_deref().map(str::as_bytes), "k{number}");
    }
    let removed = store.delete_many((0..=KEYS).map(key)).unwrap();
    assert_eq!(removed, [vec![true; KEYS], vec![false]].concat());
    // One before 1.5.14 has them expire, and drops them later.
    assert!(server.stat("curr_items") == 0 || !support::is_from([1, 5, 14]));
    assert_eq!(server.stat("total_connections"), before + 3, "these questions");
}

/// Long and short values take different paths, and neither side may wait for the other.
#[test]
fn values_of_all_sizes_go_together() {
    const KEYS: usize = 3000;
    let (_server, store, _raw) = start(&["-m512"]);
    // From 0 to 40 KiB, in no order.
    let size = |number: usize| number * 7919 % (40 * 1024 + 1);
    let bytes = some_bytes(40 * 1024 + KEYS);
    let value = |number: usize| &bytes[number..number + size(number)];
    let long_key = |number: usize| format!("{number}{}", "k".repeat(number % 240));
    store.put_many((0..KEYS).map(|number| (long_key(number), value(number)))).unwrap();
    let values = store.get_many((0..KEYS).map(long_key)).unwrap();
    for (number, got) in values.into_iter().enumerate() {
        assert!(got.is_some_and(|got| got == value(number)), "{number}: {} bytes", size(number));
    }
    assert_eq!(store.delete_many((0..KEYS).map(long_key)).unwrap(), vec![true; KEYS]);
}

/// A batch of the largest values.
#[test]
fn a_chunk_of_large_values_goes() {
    let (_server, store, _raw) = start(&["-m256"]);
    // Of keys of three bytes.
    let largest = usize::try_from(store.capabilities().largest_value().unwrap()).unwrap() + 250 - 3;
    assert!(largest + OVERHEAD + 3 <= 1 << 20 && (largest + OVERHEAD + 3 == 1 << 20 || is_old()), "{largest}");
    let value = some_bytes(largest);
    store.put_many((0..40).map(|number| (format!("k{number:02}"), &value))).unwrap();
    let values = store.get_many((0..40).map(|number| format!("k{number:02}"))).unwrap();
    assert!(values.into_iter().all(|got| got.is_some_and(|got| got == value)));
}
