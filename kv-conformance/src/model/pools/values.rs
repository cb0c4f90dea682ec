//! Values that are easily taken for something else, or cut: by their bytes or by their length.

use fastrand::Rng;
use kv_core::Bytes;

use crate::property::values::part_of_pattern;

/// What a value is made to hurt with. The last ones are only for stores that take so much.
pub(crate) const CLASSES: &[&str] = &[
    "empty",
    "one byte",
    "a few bytes",
    "a protocol's text",
    "a file's first bytes",
    "a number",
    "text",
    "padding",
    "a marker",
    "about 2⁸ bytes",
    "about a page",
    "about 2¹⁶ bytes",
    "about 1 MiB",
    "at the limit",
];

/// A value as a step has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Bytes),
    /// As large as the store takes for this key, and so many bytes more.
    AtLimit(i64),
}

const PROTOCOL: &[&str] = &[
    "\r\n",
    "\n",
    "+OK\r\n",
    "-ERR no\r\n",
    ":1\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "_\r\n",
    "$5\r\nhello\r\n",
    "END\r\n",
    "VALUE k 0 1\r\nx\r\nEND\r\n",
    "STORED\r\n",
    "NOT_FOUND\r\n",
    "EN\r\n",
    "HD\r\n",
    "MN\r\n",
    "VA 1\r\nx\r\n",
    "quit\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "nil",
    "(nil)",
    "null",
    "None",
    "undefined",
    "\0",
    "QUEUED",
    "OK",
    "ERROR",
    "NOT_STORED",
];

/// How files begin that something may unpack or convert: gzip, zlib, zstd, LZ4, bzip2, xz, zip, Snappy, PNG, UTF-8 and UTF-16 marks, pickle,
/// JSON, `MessagePack`, Java's and PHP's serialisation.
const MAGIC: &[&[u8]] = &[
    b"\x1f\x8b",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    b"\x78\x9c",
    b"\x78\x01",
    b"\x78\xda",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"BZh9",
    b"\xfd7zXZ\x00",
    b"PK\x03\x04",
    b"\xff\x06\x00\x00sNaPpY",
    b"\x89PNG\r\n\x1a\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\x80\x04\x95",
    b"{",
    b"[",
    b"\"",
    b"{\"value\":1}",
    b"\x93",
    b"\xac\xed\x00\x05",
    b"a:1:{",
    b"O:8:",
    b"enc:",
    b"base64:",
    b"gz:",
    b"v1:",
    b"\x01",
    b"\x00\x00\x00\x01",
    b"\x00\x00\x00\x00\x00\x00\x00\x01",
    b"data:",
    b"AES",
    b"Salted__",
];

const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "+1",
    "007",
    " 12",
    "12 ",
    "1e5",
    "1.0",
    "0x10",
    "12345",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "true",
    "false",
    "NaN",
    "inf",
];

/// Text that is composed or decomposed, folded, trimmed, cut or refused somewhere: accents in one character and in two, of four bytes, marks of
/// byte order and direction, ends of lines and of text, and letters whose case is not as long as they are.
const TEXTS: &[&str] = &[
    "\u{e9}",
    "e\u{301}",
    "\u{1f600}",
    "a\u{1f600}b",
    "\u{feff}a",
    "\u{200e}",
    "\u{2028}",
    "\u{85}",
    "\u{a0}",
    "\u{3000}",
    "\u{0}",
    "\u{1}",
    "\u{7f}",
    "\u{df}",
    "\u{130}",
    "\u{131}",
    "\u{212b}",
    "\u{c5}",
    "\u{fb01}",
    "\u{ac00}",
    "\u{1100}\u{1161}",
    "\u{fffd}",
    "\u{10ffff}",
    "\u{e000}",
    "\t",
    "a\r\nb",
    "a\nb",
    "a\rb",
    "A",
    "a",
    "'",
    "\"",
    "\\",
    "\\n",
    "\\0",
    "%00",
    "%s",
    "{}",
    "$1",
    "<a>&amp;",
];

/// What a store may keep in place of an entry that is gone, or before its value.
const MARKERS: &[&str] = &[
    "DELETED",
    "__deleted__",
    "__tombstone__",
    "tombstone",
    "\0deleted",
    "EXPIRED",
    "absent",
    "missing",
    "none",
    "nothing",
    "0:",
    "0|",
    "0\0",
    "-1:",
    "forever:",
    "expires=0;",
    "ttl=0;",
    "@ref:a",
    "->a",
    "lock",
    "<<<<",
    "EOF",
    "\x1a",
    "\x04",
];

/// Lengths that something may be limited to.
const ABOUT_256: &[usize] = &[127, 128, 129, 254, 255, 256, 257, 258, 511, 512, 513];
const ABOUT_A_PAGE: &[usize] = &[1023, 1024, 1025, 4095, 4096, 4097, 8191, 8192, 8193, 16_383, 16_384, 16_385];
const ABOUT_65_536: &[usize] = &[32_767, 32_768, 65_534, 65_535, 65_536, 65_537, 70_000, 131_072, 200_000];
const ABOUT_1_MIB: &[usize] = &[(1 << 20) - 1, 1 << 20, (1 << 20) + 1];

/// What values are filled up with.
const PADS: &[u8] = &[0, b' ', b'\n', b'\r', b'\t', b'=', b'0', 0xFF, 0x80];

/// A value of a class.
pub(crate) fn value(class: &str, random: &mut Rng) -> Content {
    let bytes = match class {
        "empty" => Bytes::new(),
        "one byte" => Bytes::from(vec![random.u8(..)]),
        "a protocol's text" => with_ends(random, PROTOCOL.iter().map(|text| text.as_bytes())),
        "a file's first bytes" => with_ends(random, MAGIC.iter().copied()),
        "a number" => text(random, NUMBERS),
        "text" => with_ends(random, TEXTS.iter().map(|text| text.as_bytes())),
        "a marker" => with_ends(random, MARKERS.iter().map(|text| text.as_bytes())),
        "padding" => padded(random),
        "about 2⁸ bytes" => filled(random, ABOUT_256),
        "about a page" => filled(random, ABOUT_A_PAGE),
        "about 2¹⁶ bytes" => filled(random, ABOUT_65_536),
        "about 1 MiB" => filled(random, ABOUT_1_MIB),
        "at the limit" => {
            return Content::AtLimit(random.choice([-1, 0, 0, 0, 1, 1, 7, 1000]).unwrap_or(0));
        }
        // Mostly few, and of each power of two some.
        _ if random.usize(..8) == 0 => {
            let length = random.usize(..1 << 19) >> random.u32(..18);
            filled(random, &[length])
        }
        _ => (0..random.usize(1..20)).map(|_| random.u8(..)).collect(),
    };
    Content::Bytes(bytes)
}

/// Every value of the pool that is not made at random, and every length.
pub(crate) fn all() -> Vec<(&'static str, Content)> {
    let texts = |class: &'static str, texts: &[&'static str]| {
        texts.iter().map(move |text| (class, Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>()
    };
    let mut all = [
        texts("empty", &[""]),
        texts("a protocol's text", PROTOCOL),
        texts("a number", NUMBERS),
        texts("text", TEXTS),
        texts("a marker", MARKERS),
    ]
    .concat();
    all.extend(MAGIC.iter().map(|magic| ("a file's first bytes", Bytes::from_static(magic))));
    for byte in 0..=u8::MAX {
        all.push(("one byte", vec![byte].into()));
        all.push(("padding", vec![b'a', byte].into()));
        all.push(("padding", vec![byte, b'a'].into()));
    }
    all.extend(PADS.iter().flat_map(|&pad| [4, 16].map(|length| ("padding", vec![pad; length].into()))));
    for (class, lengths) in [
        ("about 2⁸ bytes", ABOUT_256),
        ("about a page", ABOUT_A_PAGE),
        ("about 2¹⁶ bytes", ABOUT_65_536),
        ("about 1 MiB", ABOUT_1_MIB),
    ] {
        for (at, &length) in lengths.iter().enumerate() {
            all.push((class, part_of_pattern(at, length)));
            if length <= 1 << 16 {
                all.push((class, vec![0; length].into()));
            }
        }
    }
    let at_limit = [-1, 0, 1, 1000].map(|more| ("at the limit", Content::AtLimit(more)));
    all.into_iter().map(|(class, bytes)| (class, Content::Bytes(bytes))).chain(at_limit).collect()
}

/// One of these, alone or with something before or behind it.
fn with_ends<'a>(random: &mut Rng, mut of: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
    let one = of.nth(random.usize(..of.len())).unwrap_or_default();
    let rest = (0..random.usize(0..9)).map(|_| random.u8(..)).collect::<Vec<_>>();
    match random.usize(..4) {
        0 => [one, &rest].concat(),
        1 => [&rest, one].concat(),
        _ => one.to_vec(),
    }
    .into()
}

fn text(random: &mut Rng, of: &[&'static str]) -> Bytes {
    Bytes::from_static(of.get(random.usize(..of.len())).copied().unwrap_or_default().as_bytes())
}

/// The same byte over and over, before or behind something else.
fn padded(random: &mut Rng) -> Bytes {
    let pad = vec![
        if random.usize(..5) == 0 { random.u8(..) } else { random.choice(PADS).copied().unwrap_or_default() };
        random.usize(1..20)
    ];
    let core = (0..random.usize(0..5)).map(|_| random.u8(..)).collect::<Vec<_>>();
    if random.bool() { [core, pad].concat() } else { [pad, core].concat() }.into()
}

/// A length that something may be limited to, filled in a way that can be compressed, or not.
fn filled(random: &mut Rng, lengths: &[usize]) -> Bytes {
    let length = random.choice(lengths).copied().unwrap_or_default();
    match random.usize(..4) {
        0 => vec![random.u8(..); length].into(),
        1 => {
            let mut bytes = part_of_pattern(0, length).to_vec();
            // What is cut at the end shows, and so does what is put there.
            if let Some(last) = bytes.last_mut() {
                *last = random.choice([0, b'\n', b' ', 0xFF]).unwrap_or_default();
            }
            bytes.into()
        }
        _ => part_of_pattern(random.usize(..256), length),
    }
}
