//! Looks for a secret in what is shown: for any few bytes in a row of it, in whatever way they are written (clause E3).

use std::error::Error as StdError;

use super::expect::mismatch;
use super::outcome::Outcome;

/// How many bytes in a row of a secret must not be shown.
const PART: usize = 4;

/// A value whose parts do not come up by chance: not in words, numbers and addresses, nor in what looks like hex or base64. Its bytes are of every
/// kind: text, what `Debug` escapes, and what is no UTF-8.
pub(crate) const SECRET: &[u8] =
    b"zQ7~xK}9vJ|4wY^2qZ`8\x9c\xf3\x07\xe1\x1b\xd4\"\xae\\\xc9\t\xb6@Xq;Wz%Vk&Uj*\xff\x80\xfe\x02\xa5\x5b";

/// The text that it begins with, for what shows a value only if that is text.
pub(crate) const TEXT: &str = "zQ7~xK}9vJ|4wY^2qZ`8";

/// These bytes over and over, up to a length.
pub(crate) fn repeated(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut repeated = bytes.repeat(length.div_ceil(bytes.len().max(1)));
    repeated.truncate(length);
    repeated
}

/// Everything that an error shows, and its causes.
pub(crate) fn told_by(error: &(dyn StdError + 'static)) -> String {
    let mut told = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told} {error} {error:?} {error:#?}");
        cause = error.source();
    }
    told
}

/// No part of a secret may be in what is shown.
#[track_caller]
pub(crate) fn expect_none(what: &str, shown: &str, secret: &[u8]) -> Outcome {
    let Some(leak) = find(shown, secret) else { return Ok(()) };
    let what = format!("whether {what} shows a value (E3)");
    Err(mismatch(what, &format!("no {PART} bytes in a row of it"), &format!("{leak}, in: {shown}")))
}

/// A part of a secret in what is shown, and how it is written there.
pub(crate) fn find(shown: &str, secret: &[u8]) -> Option<String> {
    let length = PART.min(secret.len()).max(1);
    // Few bytes of a text begin a part of a secret, and thousands of errors are looked at.
    let mut begins = [false; 256];
    let place = |part: &[u8]| part.first().map_or(0, |first| usize::from(*first));
    for part in secret.windows(length) {
        begins.get_mut(place(part)).into_iter().for_each(|begins| *begins = true);
    }
    let is_part =
        |piece: &&[u8]| begins.get(place(piece)) == Some(&true) && secret.windows(length).any(|part| part == *piece);
    readings(shown).into_iter().find_map(|(how, bytes)| {
        let part = bytes.windows(length).find(is_part)?;
        Some(format!("{:?} {how}", part.escape_ascii().to_string()))
    })
}

/// What a text says, in every way in which bytes are written in texts.
fn readings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut readings = vec![
        ("as it is", text.as_bytes().to_vec()),
        ("with escapes", unescaped(text)),
        ("with percent escapes", percent_decoded(text)),
        ("as a list of numbers", listed(text, 10)),
        ("as a list of hexadecimal numbers", listed(text, 16)),
    ];
    readings.extend([0, 1].map(|skipped| ("in hexadecimal", hex(text, skipped))));
    readings.extend([0, 1, 2, 3].map(|skipped| ("in base64", base64(text, skipped))));
    readings
}

/// A text whose escapes, of `Debug`, C and JSON, are what they stand for. A character up to 255, or an escape of one, is taken for the byte.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (escape, length) = escape(rest).unwrap_or((u8::try_from(first).ok(), first.len_utf8()));
        match escape {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(rest.bytes().take(length)),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    bytes
}

/// The byte that the escape at the beginning of a text stands for, and how long it is.
fn escape(text: &str) -> Option<(Option<u8>, usize)> {
    let rest = text.strip_prefix('\\')?;
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(|code| u8::try_from(code).ok());
    let of = |digits: Option<&str>, radix, length| {
        digits.and_then(|digits| number(digits, radix)).map(|byte| (Some(byte), length))
    };
    let simple = |byte| Some((Some(byte), 2));
    match rest.chars().next()? {
        'x' => of(rest.get(1..3), 16, 4),
        'u' if rest.starts_with("u{") => {
            let end = rest.find('}')?;
            of(rest.get(2..end), 16, end + 2)
        }
        'u' => of(rest.get(1..5), 16, 6),
        'n' => simple(b'\n'),
        'r' => simple(b'\r'),
        't' => simple(b'\t'),
        '0'..='3' if rest.get(..3).is_some_and(|digits| number(digits, 8).is_some()) => of(rest.get(..3), 8, 4),
        '0' => simple(0),
        '\\' => simple(b'\\'),
        '"' => simple(b'"'),
        '\'' => simple(b'\''),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, others)) = rest.split_first() {
        let digits = others.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let byte = digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { others.get(2..).unwrap_or_default() } else { others };
    }
    bytes
}

/// The numbers of a text that a byte can have, in a row. Between them are spaces, commas and other marks alone: a word ends a row.
fn listed(text: &str, radix: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for token in text.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()) {
        let digits = if radix == 16 { token.trim_start_matches("0x").trim_start_matches("0X") } else { token };
        match u8::from_str_radix(digits, radix) {
            Ok(byte) => bytes.push(byte),
            // No part of a secret goes on over this.
            Err(_) => bytes.extend(SEPARATOR),
        }
    }
    bytes
}

/// What is in no secret.
const SEPARATOR: [u8; PART] = [b' '; PART];

/// The digits of a text, two for a byte, after the first few of each row.
fn hex(text: &str, skipped: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in text.split(|c: char| !c.is_ascii_hexdigit()).filter(|row| row.len() >= 2 * PART) {
        let digits = row.chars().skip(skipped).filter_map(|digit| digit.to_digit(16)).collect::<Vec<_>>();
        bytes.extend(digits.chunks_exact(2).filter_map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        }));
        bytes.extend(SEPARATOR);
    }
    bytes
}

/// What base64 of either alphabet says, after the first few characters of each row.
fn base64(text: &str, skipped: usize) -> Vec<u8> {
    let digit = |c: char| match c {
        'A'..='Z' => Some(c as u32 - 'A' as u32),
        'a'..='z' => Some(c as u32 - 'a' as u32 + 26),
        '0'..='9' => Some(c as u32 - '0' as u32 + 52),
        '+' | '-' => Some(62),
        '/' | '_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::new();
    for row in text.split(|c| digit(c).is_none()).filter(|row| row.len() >= PART + 2) {
        let (mut bits, mut count) = (0_u32, 0);
        for digit in row.chars().skip(skipped).filter_map(digit) {
            (bits, count) = (bits << 6 | digit, count + 6);
            if count >= 8 {
                count -= 8;
                bytes.extend(u8::try_from(bits >> count & 0xFF));
            }
        }
        bytes.extend(SEPARATOR);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use kv_core::Bytes;

    use super::*;

    /// Base64 as an encoder of the world makes it, with one of the alphabets.
    fn encoded(bytes: &[u8], alphabet: &[u8; 64]) -> String {
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for at in 0..=group.len() {
                text.push(char::from(alphabet[(bits >> (18 - 6 * at) & 63) as usize]));
            }
        }
        text
    }

    fn alphabet(last: [u8; 2]) -> [u8; 64] {
        let all = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last).collect::<Vec<_>>();
        all.try_into().unwrap()
    }

    #[test]
    fn any_four_bytes_are_found_in_whatever_way_they_are_written() {
        for (at, part) in SECRET.windows(PART).enumerate() {
            let before = &b"a: "[..at % 4];
            let piece = [before, part].concat();
            let mut hexadecimal = String::new();
            for byte in &piece {
                write!(hexadecimal, "{byte:02x}").unwrap();
            }
            let shown = [
                format!("bad value {:?} of k", Bytes::copy_from_slice(part)),
                format!("bad value {} of k", piece.escape_ascii()),
                format!("bad value {piece:?} of k"),
                format!("bad value {piece:#?} of k"),
                format!("bad value {piece:x?} of k"),
                format!("bad value {piece:02X?} of k"),
                format!("bad value {piece:#04x?} of k"),
                format!("bad value 0x{hexadecimal} of k"),
                format!("bad value a{} of k", hexadecimal.to_uppercase()),
                format!("bad value {} of k", encoded(&piece, &alphabet(*b"+/"))),
                format!("bad value={} of k", encoded(&piece, &alphabet(*b"-_"))),
                format!("bad value x{} of k", encoded(&piece, &alphabet(*b"+/"))),
                format!("bad value {:?} of k", piece.iter().copied().map(char::from).collect::<String>()),
                format!(
                    "bad value {} of k",
                    part.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
                ),
                format!(
                    "bad value {} of k",
                    part.iter().map(|byte| format!("\\u{byte:04x}")).collect::<Vec<_>>().concat()
                ),
                format!(
                    "bad value {} of k",
                    part.iter().map(|byte| format!("\\{byte:03o}")).collect::<Vec<_>>().concat()
                ),
            ];
            for shown in shown {
                assert!(find(&shown, SECRET).is_some(), "{shown}");
                assert!(expect_none("an error", &shown, SECRET).is_err());
            }
        }
        assert!(SECRET.starts_with(TEXT.as_bytes()));
        let lossy = String::from_utf8_lossy(SECRET);
        assert!(find(&lossy, SECRET).is_some());
        assert_eq!(find("no", b"no"), Some("\"no\" as it is".into()));
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let shown = "the value of \"key/0123456789abcdef\" is too large for redis://127.0.0.1:6379/0: 1048577 bytes, 1048576 at most \
                     [1, 2, 3, 4] Right { clock: Manual(Mutex { data: 0ns, poisoned: false, .. }), id: 7f3a9c00beef } zQ7 9vJ";
        assert_eq!(find(shown, SECRET), None);
        assert!(SECRET.windows(PART).all(|part| find(&format!("{:?}", &part[1..]), SECRET).is_none()));
        assert!(
            SECRET
                .windows(PART)
                .enumerate()
                .all(|(at, part)| !SECRET[at + 1..].windows(PART).any(|other| other == part))
        );
    }
}
