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

/// Whether whoever wrote these URLs, one a line, can have meant the secret in them for a user or a password, and for nothing
/// else: it stands before the last `@` of what is not just a path, or in what follows a `?`. All else of a URL is shown.
pub(crate) fn is_to_be_hidden(urls: &str) -> bool {
    let (mut is_hidden, mut is_visible) = (false, false);
    for url in urls.split('\n') {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (user, rest) = if rest.starts_with('/') { ("", rest) } else { rest.rsplit_once('@').unwrap_or(("", rest)) };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        is_hidden |= has_secret(user) || has_secret(parameters);
        is_visible |= has_secret(scheme) || has_secret(place);
    }
    is_hidden && !is_visible
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

/// That an error is one of settings that are of no use, says something, and does not show the secret, if there is one.
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
