//! Keys made to be mixed up: by their length, by one byte, by what a hash, a file system, a language or the store itself makes of them.

use fastrand::Rng;
use kv_core::KeyBuf;

use super::collisions::COLLISIONS;

/// How keys are alike that are used together.
pub(crate) const CLASSES: &[&str] = &[
    "one character",
    "the longest",
    "differ in one byte",
    "differ in case",
    "same hash",
    "reserved names",
    "prefixes of each other",
    "a store's bookkeeping",
    "escapes and paths",
    "patterns",
    "numbers",
    "any text",
];

/// Names that something between a store and a disk, a script or a protocol may take for its own.
const RESERVED: &[&str] = &[
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "aux.txt",
    "aux",
    "CON",
    "con",
    "nul",
    "NUL.txt",
    "prn",
    "com1",
    "LPT1",
    ".",
    "..",
    "...",
    "~",
    ".git",
    ".hidden",
    "index.html",
    "null",
    "undefined",
    "true",
    "false",
    "None",
    "nil",
    "NaN",
    "Infinity",
    "lock",
    "tmp",
    "temp",
    "DELETE",
    "GET",
    "SELECT",
    "noreply",
    "quit",
    "flush_all",
    "stats",
    "END",
    "STORED",
    "VALUE",
    "desktop.ini",
    "Thumbs.db",
    "lost+found",
    "core",
    "-rf",
    "--help",
    "-",
    "@all",
    "#",
    "%00",
    "%",
    "name.",
    "name~1",
    "C:\\x",
    "/etc/passwd",
    "a.lock",
    "$HOME",
    "${x}",
    "$(x)",
    "`x`",
    "';--",
    "\"",
    "'",
    "<x>",
    "&amp;",
    "\\0",
    "\\x41",
    "\\u0041",
    "=",
    "a=b",
    "a,b",
    "a;b",
    "a|b",
    "default",
    "ttl",
    "value",
    "key",
    "id",
    "_id",
    "rowid",
    "expires",
    "created",
    "size",
    "length",
    "self",
    "super",
];

/// What a store that keeps something beside an entry may call it.
const BESIDE: &[&str] = &[
    ".ttl", ".tmp", ".lock", ".meta", ".expires", ".expiry", ".new", ".old", ".bak", ".part", ".data", ".json", ".0",
    ".1", ":ttl", ":meta", ":lock", ":expires", ":0", "/ttl", "/meta", "/", "~", "#1", "#ttl", "@ttl", "@v1", "-ttl",
    "_ttl", "_meta", "!", "$", "|",
];
const BEFORE: &[&str] = &[
    "ttl:", "ttl/", "ttl.", "meta:", "meta/", "lock:", "lock/", "tmp/", "tmp-", ".tmp-", ".", "_", "__", "expires:",
    "expiry:", "data/", "data:", "v1:", "kv:", "key:", "index:", "~", "!", "#", "@", "$",
];
const OWN: &[&str] = &[
    "_index",
    "__meta__",
    "__keys__",
    "__index__",
    "_keys",
    "index",
    "keys",
    "_count",
    "count",
    "_version",
    "version",
    ".keys",
    "MANIFEST",
    "LOCK",
];

/// What decodes to something else.
const ESCAPES: &[&str] = &[
    "/", "%2F", "%2f", "%252F", "%61", "a", "+", "%20", "%2B", "//", "./a", "a/../b", "b", "../a", "a/", "/a", "a//b",
    "a/b", "a/./b", "a\\b", "a%2Fb", "a%2fb", "a:b", "a.b", "a..b", "&#97;", "\\a", "\\\\a", "%", "%%", "%2", "%zz",
    "=61", "a=", "a=3D",
];

const PATTERNS: &[&str] = &[
    "*", "?", "a*", "a?", "a", "ab", "[a]", "[a-z]", "[^a]", "^a", "a$", "a.", "a.*", "a+", "(a)", "{a,b}", "a\\*",
    "\\*", "%", "a%", "_", "a_", "**",
];

const NUMBERS: &[&str] = &[
    "0",
    "00",
    "1",
    "01",
    "001",
    "+1",
    "-1",
    "1.0",
    "1.",
    "1e0",
    "0x1",
    "1_0",
    "10",
    "9",
    "2",
    "-0",
    "0.0",
    "1e400",
    "2147483648",
    "18446744073709551616",
];

const PREFIXES: &[&str] =
    &["a", "a/", "a/b", "a/b/", "a/b/c", "aa", "a:", "a:b", "a.", "a-b", "ab", "b", "A", "a/b/c/d", "aaa", "aaaa"];

/// A few keys of a class, of at most this length: mostly several that are easily mixed up.
pub(crate) fn keys(class: &str, longest: usize, random: &mut Rng) -> Vec<KeyBuf> {
    let texts = match class {
        "one character" => vec![visible(random).to_string(), visible(random).to_string(), visible(random).to_string()],
        "the longest" => {
            let long = filled(random, longest);
            vec![cut(&long, longest - 1), cut(&long, longest - 2), with_byte(&long, longest - 1, random), long]
        }
        "differ in one byte" => {
            let lengths =
                [2, 3, 8, 9, 16, 17, 20, 32, 33, 40, 63, 64, 65, 66, 100, 127, 128, 129, 200, 239, 240, 249, 250];
            let length = longest.min(*pick(random, &lengths));
            let one = filled(random, length);
            let at = random.usize(..length);
            vec![with_byte(&one, at, random), with_byte(&one, random.usize(..length), random), one]
        }
        "differ in case" => {
            let length = random.usize(1..12);
            let one = (0..length).map(|_| random.alphabetic()).collect::<String>();
            vec![one.to_lowercase(), one.to_uppercase(), one]
        }
        "same hash" => {
            let (_, pairs) = pick(random, COLLISIONS);
            pick(random, pairs).iter().map(|&key| key.to_owned()).collect()
        }
        "reserved names" => some(random, RESERVED),
        "prefixes of each other" => some(random, PREFIXES),
        "a store's bookkeeping" => bookkeeping(longest, random),
        "escapes and paths" => some(random, ESCAPES),
        "patterns" => some(random, PATTERNS),
        "numbers" => some(random, NUMBERS),
        _ => (0..3)
            .map(|_| {
                let length = random.usize(1..=longest).min(random.usize(1..=longest));
                filled(random, length)
            })
            .collect(),
    };
    let mut keys = texts.iter().filter_map(|text| key_of(text, longest)).collect::<Vec<_>>();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Every key of the pool that is not made at random, up to this length.
pub(crate) fn all(longest: usize) -> Vec<(&'static str, KeyBuf)> {
    let own = |class: &'static str, texts: &[&str]| {
        texts.iter().map(move |text| (class, (*text).to_owned())).collect::<Vec<_>>()
    };
    let mut all = [
        own("reserved names", RESERVED),
        own("a store's bookkeeping", OWN),
        own("escapes and paths", ESCAPES),
        own("patterns", PATTERNS),
        own("numbers", NUMBERS),
        own("prefixes of each other", PREFIXES),
    ]
    .concat();
    all.extend((0x21..=0x7E_u8).map(|byte| ("one character", char::from(byte).to_string())));
    all.extend(
        COLLISIONS.iter().flat_map(|(_, pairs)| pairs.iter().flatten().map(|&key| ("same hash", key.to_owned()))),
    );
    for key in ["a".to_owned(), "k".repeat(longest)] {
        for beside in BESIDE {
            all.push(("a store's bookkeeping", cut(&format!("{key}{beside}"), longest)));
            all.push(("a store's bookkeeping", format!("{}{beside}", cut(&key, longest - beside.len()))));
        }
        all.extend(BEFORE.iter().map(|before| ("a store's bookkeeping", cut(&format!("{before}{key}"), longest))));
    }
    all.extend((longest - 8..=longest).map(|length| ("the longest", "k".repeat(length))));
    all.extend(["AbC", "abc", "ABC", "aBC"].map(|text| ("differ in case", text.to_owned())));
    let mut all =
        all.into_iter().filter_map(|(class, text)| Some((class, key_of(&text, longest)?))).collect::<Vec<_>>();
    all.sort_by(|one, other| one.1.cmp(&other.1));
    all.dedup_by(|one, other| one.1 == other.1);
    all
}

/// Keys of this length each of which differs from the first in one byte.
pub(crate) fn that_differ_at_each_place(length: usize) -> Vec<KeyBuf> {
    let first = "k".repeat(length);
    let other = (0..length).map(|at| [cut(&first, at).as_str(), "~", first.get(at + 1..).unwrap_or_default()].concat());
    let texts = std::iter::once(first.clone()).chain(other);
    texts.filter_map(|text| KeyBuf::new(text).ok()).collect()
}

/// A key that has nothing to do with the others.
pub(crate) fn beside(number: usize) -> KeyBuf {
    KeyBuf::new(format!("beside/{number:05}")).unwrap_or_else(|_| kv_core::key!("beside").into())
}

/// A key, and what a store may keep beside it under a name that is made of the key.
fn bookkeeping(longest: usize, random: &mut Rng) -> Vec<String> {
    let key = if random.bool() { "a".to_owned() } else { filled(random, longest) };
    let mut keys = vec![key.clone()];
    for _ in 0..6 {
        keys.push(cut(&format!("{key}{}", pick(random, BESIDE)), longest));
        keys.push(cut(&format!("{}{key}", pick(random, BEFORE)), longest));
    }
    // Where what stands beside is cut to the length of a key, the entry has a part of its own name.
    if key.len() == longest {
        let beside = pick(random, BESIDE);
        keys.push(format!("{}{beside}", cut(&key, longest - beside.len())));
    } else {
        keys.push((*pick(random, OWN)).to_owned());
    }
    keys
}

/// The key of this text, if it is one and not longer than this.
fn key_of(text: &str, longest: usize) -> Option<KeyBuf> {
    KeyBuf::new(text).ok().filter(|key| key.len() <= longest)
}

/// The first so many characters.
fn cut(text: &str, length: usize) -> String {
    text.get(..length).unwrap_or(text).to_owned()
}

fn visible(random: &mut Rng) -> char {
    char::from(random.u8(0x21..=0x7E))
}

/// A text of this length, of few characters or of many.
fn filled(random: &mut Rng, length: usize) -> String {
    if random.bool() { "k".repeat(length) } else { (0..length).map(|_| visible(random)).collect() }
}

/// The same text with another byte at one place.
fn with_byte(text: &str, at: usize, random: &mut Rng) -> String {
    let other = visible(random);
    text.char_indices()
        .map(|(place, old)| if place == at { if other == old { '~' } else { other } } else { old })
        .collect()
}

fn pick<'a, T>(random: &mut Rng, from: &'a [T]) -> &'a T {
    #[expect(clippy::indexing_slicing, reason = "the index is within the slice, which is a constant that is not empty")]
    &from[random.usize(..from.len())]
}

fn some(random: &mut Rng, from: &[&str]) -> Vec<String> {
    (0..4).map(|_| (*pick(random, from)).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_keys_of_any_limit() {
        let mut random = Rng::with_seed(0);
        for class in CLASSES {
            for longest in [100, 245, 250] {
                for _ in 0..100 {
                    let keys = keys(class, longest, &mut random);
                    assert!(!keys.is_empty() && keys.iter().all(|key| key.len() <= longest), "{class}: {keys:?}");
                }
            }
        }
    }
}
