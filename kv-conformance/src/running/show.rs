//! How values and errors are shown in the messages of failures.

use std::error::Error as StdError;
use std::fmt::Debug;

use kv_core::Error;

/// A text in which each quoted string, as `Debug` shows it, that is longer than this is shortened in its middle, with its length after it.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some((before, quoted)) = rest.split_once('"') {
        let mut escaped = false;
        let end = quoted.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let Some((inner, after)) = end.and_then(|end| Some((quoted.get(..end)?, quoted.get(end + 1..)?))) else {
            break;
        };
        // An escape sequence counts as one character, and is not cut.
        let mut characters = Vec::new();
        let mut at = inner.chars();
        while let Some(c) = at.next() {
            characters.push(if c == '\\' { format!("{c}{}", at.next().unwrap_or_default()) } else { c.to_string() });
        }
        let half = longest / 2;
        shown.push_str(before);
        let ends = (characters.get(..half), characters.get(characters.len().saturating_sub(half)..));
        let quoted = match ends {
            (Some(begin), Some(end)) if characters.len() > longest => {
                format!("\"{}…{}\" ({} bytes)", begin.concat(), end.concat(), characters.len())
            }
            _ => format!("\"{inner}\""),
        };
        shown.push_str(&quoted);
        rest = after;
    }
    shown + rest
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
          (if the store cannot do this, say so: .without(Capability::CAPABILITY) in capabilities(),
          .opt_out(Capability::CAPABILITY, \"why\") in the suite)";

/// The name of the variant of an error.
pub(crate) fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidKey(_) => "InvalidKey",
        Error::InvalidTtl { .. } => "InvalidTtl",
        Error::ValueTooLarge { .. } => "ValueTooLarge",
        Error::NotFound { .. } => "NotFound",
        Error::Unsupported { .. } => "Unsupported",
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
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", shown.get(..end).unwrap_or_default(), shown.len()),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_shortened_in_its_middle() {
        let key = format!("a{}z", "\"".repeat(248));
        let shown = shorten(&format!("copy({key:?}, {:?}), and \"no more", "b\\"), 4);
        assert_eq!(shown, r#"copy("a\"…\"z" (250 bytes), "b\\"), and "no more"#);
        assert_eq!(shorten(&format!("get({:?})", "k".repeat(60)), 60), format!("get({:?})", "k".repeat(60)));
    }
}
