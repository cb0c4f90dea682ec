//! URLs with a secret in them, and that nothing shows it (E3).

use std::error::Error as _;
use std::fmt::Debug;

use kv_core::Error;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What no message may have in it, in whatever form.
pub(crate) const SECRET: &str = "Hu5hW0rd";

/// The text of an input, with the secret in place of each `$`, and with all of it percent-encoded in place of each `^`.
pub(crate) fn with_secret(text: &str) -> String {
    let encoded = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    text.replace('$', SECRET).replace('^', &encoded)
}

/// A text with all that has a meaning in a URL encoded.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether a store of these URLs, one a line, must not show the secret in them: it is in none of the places that are shown, the
/// host and the path of a socket, or what is there is not surely one of these.
pub(crate) fn is_to_be_hidden(urls: &str) -> bool {
    has_secret(urls) && !urls.split('\n').any(is_visible_in)
}

fn is_visible_in(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    let authority = place.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_of_host = |letter: char| letter.is_ascii_alphanumeric() || "-_.:[]%".contains(letter);
    let path = place.strip_prefix("localhost").unwrap_or(place);
    let may_have_login = path.rsplit_once('@').is_some_and(|(before, after)| before.contains(':') || after.starts_with('/'));
    has_secret(host) && host.chars().all(is_of_host) || path.starts_with('/') && has_secret(path) && !may_have_login
}

/// Whether a text has the secret in it: as it is, in other case, percent-encoded, or as the bytes of a `Debug`.
pub(crate) fn has_secret(text: &str) -> bool {
    let as_list = SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let decoded = percent_decode(text.as_bytes()).decode_utf8_lossy().to_lowercase();
    decoded.contains(&SECRET.to_lowercase()) || text.contains(&as_list)
}

/// That no `Debug` shows the secret, if there is one.
pub(crate) fn hides(it: &dyn Debug, secret_is_in: bool) {
    let shown = format!("{it:?} {it:#?}");
    assert!(!(secret_is_in && has_secret(&shown)), "{shown}");
}

/// Checks that an error is about invalid settings, says something, and does not show the secret, if there is one.
pub(crate) fn refuses(error: &Error, store: &str, secret_is_in: bool) {
    hides(error, secret_is_in);
    assert!(matches!(error, Error::Backend(_)), "{error:?}");
    assert!(!error.is_transient() && !error.outcome_unknown() && error.key().is_none(), "{error:?}");
    assert_eq!(error.store(), Some(store), "{error:?}");
    let mut text = error.to_string();
    assert!(text.len() > store.len() + 10, "{text}");
    let mut cause = error.source();
    while let Some(error) = cause {
        hides(&error, secret_is_in);
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(!(secret_is_in && has_secret(&text)), "{text}");
}
