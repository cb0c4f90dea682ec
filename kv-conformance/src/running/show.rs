//! How values and errors are shown in the messages of failures.

use std::error::Error as StdError;
use std::fmt::Debug;

use kv_core::Error;

/// A text in which each quoted string, as `Debug` shows it, that is longer than this is shortened in its middle, with its length in bytes after
/// it.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some((before, quoted)) = rest.split_once('"') {
        let mut units = Vec::new();
        let mut after = quoted;
        let end = loop {
            let Some((unit, others)) = first_unit(after) else { break None };
            after = others;
            if unit == "\"" {
                break Some(others);
            }
            units.push(unit);
        };
        let Some(after) = end else { break };
        let half = longest / 2;
        shown.push_str(before);
        let ends = (units.get(..half), units.get(units.len().saturating_sub(half)..));
        let quoted = match ends {
            (Some(begin), Some(end)) if units.len() > longest => {
                let length = units.iter().map(|unit| length_of(unit)).sum::<usize>();
                format!("\"{}…{}\" ({length} bytes)", begin.concat(), end.concat())
            }
            _ => format!("\"{}\"", units.concat()),
        };
        shown.push_str(&quoted);
        rest = after;
    }
    shown + rest
}

/// The first character of a text as `Debug` shows it, or the escape that stands for one, and the rest.
fn first_unit(text: &str) -> Option<(&str, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    let length = match (first, characters.next()) {
        ('\\', Some('x')) => 4,
        ('\\', Some('u')) => text.find('}').map_or(2, |end| end + 1),
        ('\\', Some(escaped)) => 1 + escaped.len_utf8(),
        (first, _) => first.len_utf8(),
    };
    text.split_at_checked(length).or_else(|| text.split_at_checked(first.len_utf8()))
}

/// How many bytes a character or an escape stands for.
fn length_of(unit: &str) -> usize {
    let code = unit.strip_prefix("\\u{").and_then(|code| code.strip_suffix('}'));
    let of_code = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
    match of_code {
        Some(c) => c.len_utf8(),
        None if unit.starts_with('\\') => 1,
        None => unit.len(),
    }
}

/// Two values as [`show`] shows them. If they are long, where they begin to differ, too.
pub(crate) fn show_both(want: &dyn Debug, got: &dyn Debug) -> (String, String) {
    let (wanted, came) = (show(want), show(got));
    let is_whole = [&wanted, &came].iter().all(|shown| !shown.contains('…'));
    let (want, got) = (format!("{want:?}"), format!("{got:?}"));
    match first_difference(&want, &got).filter(|_| !is_whole) {
        Some(at) => (wanted, format!("{came}\n          (byte {at} of the value is the first that differs)")),
        None => (wanted, came),
    }
}

/// At which byte of a quoted string two texts begin to differ that `Debug` has made.
fn first_difference(one: &str, other: &str) -> Option<usize> {
    let (mut one, mut other, mut at) = (one, other, None::<usize>);
    loop {
        match (first_unit(one), first_unit(other)) {
            (Some((unit, rest)), Some((same, others))) if unit == same => {
                at = match (unit, at) {
                    ("\"", Some(_)) => None,
                    ("\"", None) => Some(0),
                    (unit, at) => at.map(|at| at + length_of(unit)),
                };
                (one, other) = (rest, others);
            }
            _ => return at,
        }
    }
}

/// An error with its kind and its chain of causes.
pub(crate) fn show_error(error: &(dyn StdError + 'static)) -> String {
    let mut shown = match error.downcast_ref::<Error>() {
        Some(error) => format!("Err({}): {error}", kind_of(error)),
        None => error.to_string(),
    };
    if let Some(Error::Unsupported { operation, .. }) = error.downcast_ref() {
        shown.push_str(&ADVICE.replace("CAPABILITY", &format!("{operation:?}")));
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        shown.push_str("\n          caused by: ");
        shown.push_str(&error.to_string());
        cause = error.source();
    }
    shown
}

/// What to do about an operation that is not supported.
const ADVICE: &str = "
          (if the store cannot do this, do not name it in capabilities(),
          and say why: .opt_out(Capability::CAPABILITY, \"why\") in the suite)";

/// The name of the variant of an error.
pub(crate) fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidKey(_) => "InvalidKey",
        Error::InvalidTtl { .. } => "InvalidTtl",
        Error::ValueTooLarge { .. } => "ValueTooLarge",
        Error::NotFound { .. } => "NotFound",
        Error::Unsupported { .. } => "Unsupported",
        Error::InvalidSetting { .. } => "InvalidSetting",
        Error::Unavailable(_) => "Unavailable",
        Error::Timeout(_) => "Timeout",
        Error::Io { .. } => "Io",
        Error::Backend(_) => "Backend",
        _ => "an error of an unknown kind",
    }
}

/// The `Debug` of something, cut if it is long.
pub(crate) fn show(value: &dyn Debug) -> String {
    const SHOWN: usize = 300;
    let shown = format!("{value:?}");
    if shown == "()" {
        return "success".into();
    }
    if shown.chars().nth(SHOWN).is_none() {
        return shown;
    }
    let shown = shorten(&shown, SHOWN / 2);
    match shown.char_indices().nth(SHOWN * 2) {
        Some((end, _)) => format!("{}… ({} characters)", shown.get(..end).unwrap_or_default(), shown.chars().count()),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use kv_core::Bytes;

    use super::*;

    #[test]
    fn a_long_key_is_shortened_in_its_middle() {
        let key = format!("a{}z", "\"".repeat(248));
        let shown = shorten(&format!("copy({key:?}, {:?}), and \"no more", "b\\"), 4);
        assert_eq!(shown, r#"copy("a\"…\"z" (250 bytes), "b\\"), and "no more"#);
        assert_eq!(shorten(&format!("get({:?})", "k".repeat(60)), 60), format!("get({:?})", "k".repeat(60)));
    }

    #[test]
    fn an_escape_counts_as_what_it_stands_for() {
        let value = Bytes::from((0..=255_u8).collect::<Vec<_>>());
        let shown = shorten(&format!("get of the value {value:?}, written"), 8);
        assert_eq!(shown, "get of the value b\"\\0\\x01\\x02\\x03…\\xfc\\xfd\\xfe\\xff\" (256 bytes), written");
        assert!(show(&value).ends_with("(256 bytes)"), "{}", show(&value));
        let text = "\u{e9}\u{200b}\u{1f980}\\\"\t".repeat(10);
        assert!(shorten(&format!("{text:?}"), 8).ends_with(&format!(" ({} bytes)", text.len())));
        assert_eq!(shorten("a \"b\\", 1), "a \"b\\");
    }

    #[test]
    fn of_long_values_it_is_said_where_they_differ() {
        let value = (0..=255_u8).cycle().take(70_000).collect::<Vec<_>>();
        let (want, cut) = (Some(Bytes::from(value.clone())), Some(Bytes::copy_from_slice(&value[..65_536])));
        let (want, got) = show_both(&want, &cut);
        assert!(want.starts_with("Some(b\"\\0\\x01") && want.ends_with("(70000 bytes))"), "{want}");
        assert!(
            got.ends_with("(65536 bytes))\n          (byte 65536 of the value is the first that differs)"),
            "{got}"
        );
        assert_eq!(show_both(&Some("a"), &None::<&str>), ("Some(\"a\")".into(), "None".into()));
        assert!(!show_both(&vec![1; 1000], &vec![2; 1000]).1.contains("differs"));
    }
}
