//! Random keys.

use std::ops::Range;

use proptest::collection::vec;
use proptest::strategy::{Strategy, Union};

/// Any key of at most this length. Short keys of few characters, which often begin alike, are as frequent as keys of the whole alphabet.
pub(crate) fn any_key(longest: usize) -> impl Strategy<Value = String> {
    Union::new([
        text(vec(few_characters(), 1..6)).boxed(),
        parts(1..5).boxed(),
        text(vec(0x21..=0x7E_u8, 1..20)).boxed(),
        text(vec(0x21..=0x7E_u8, 1..=longest)).boxed(),
    ])
}

/// Any prefix: the empty one, and beginnings of keys.
pub(crate) fn any_prefix() -> impl Strategy<Value = String> {
    Union::new([
        text(vec(few_characters(), 0..4)).boxed(),
        parts(0..3).boxed(),
        text(vec(0x21..=0x7E_u8, 0..4)).boxed(),
    ])
}

/// Texts that something on the way might decode, resolve or escape, and the results.
fn parts(count: Range<usize>) -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &["a", "b", "/", "%2F", "%2f", "%61", "%25", "%", "&amp;", "&", "../", "./", "+", "\\"];
    vec(proptest::sample::select(PARTS), count).prop_map(|parts| parts.concat())
}

/// Characters with a meaning in patterns, paths and names, and a few without.
fn few_characters() -> impl Strategy<Value = u8> {
    proptest::sample::select(b"ab*?[]^-\\/:".as_slice())
}

fn text(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = String> {
    bytes.prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}
