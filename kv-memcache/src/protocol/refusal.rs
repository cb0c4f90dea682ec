//! Errors that a server sends, and what they mean.

/// An error that a server sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl Refusal {
    /// The error in this line of a server, if it is one.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let kind = line.split(|&byte| byte == b' ').next()?;
        let kind = ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].into_iter().find(|known| known.as_bytes() == kind)?;
        // memcached's errors are short and quote nothing. Longer ones are not shown: a proxy says at length where it failed.
        let text = str::from_utf8(line).ok().filter(|text| text.len() <= 100 && !text.contains(char::is_control));
        Some(Self(text.map_or_else(|| format!("{kind} (not one of memcached's errors)"), str::to_owned)))
    }

    /// The answer to a `set` of a proxy whose configuration does not store it, or does not wait until it is stored.
    pub(crate) fn not_stored() -> Self {
        Self(NOT_STORED.to_owned())
    }

    /// Whether it means only that the server lacks the command. The second text is mcrouter's.
    pub(crate) fn is_of_command(&self) -> bool {
        ["ERROR", "CLIENT_ERROR bad stats command"].contains(&&*self.0)
    }

    /// Whether it means that the server did not understand a request, and so may not know where the request ends.
    pub(crate) fn is_of_request(&self) -> bool {
        !self.0.starts_with("SERVER_ERROR") && self.0 != NOT_STORED
    }

    /// Whether it means that the value is not a number.
    pub(crate) fn is_of_counter(&self) -> bool {
        self.0.contains("non-numeric value")
    }

    /// Whether it means that the server wants user and password.
    pub(crate) fn is_of_authentication(&self) -> bool {
        self.0.contains("unauthenticated")
    }

    #[cfg(feature = "tls")]
    pub(crate) fn is_of_too_many(&self) -> bool {
        self.0.contains("Too many open connections")
    }

    /// The same in reply to user and password: memcached asks for them there if it does not accept them.
    pub(crate) fn to_credentials(&self) -> Self {
        if self.is_of_authentication() { Self("CLIENT_ERROR authentication failure".into()) } else { self.clone() }
    }

    /// The same without this password, which a server may repeat (E3). memcached's own words are shown unchanged, even if the password is
    /// one of them.
    pub(crate) fn hiding(self, password: &str) -> Self {
        if !self.0.contains(password) {
            return self;
        }
        let own = ERRORS.iter().find(|own| self.0.starts_with(**own)).map(|own| (*own).to_owned());
        Self(own.unwrap_or_else(|| {
            let kind = self.0.split(' ').next().unwrap_or_default();
            format!("{kind} (the error contains the password)")
        }))
    }

    /// Whether a write with this reply may have been done all the same: a proxy may have passed it on.
    pub(crate) fn is_doubtful(&self) -> bool {
        let is_certain = ["too large", "out of memory", "Too many open"].iter().any(|text| self.0.contains(text));
        self.0 == NOT_STORED || self.0.starts_with("SERVER_ERROR") && !is_certain
    }

    /// What the message says, and whether trying again may help. [`parse`](Self::parse) has replaced a text over 100 bytes by its kind.
    pub(crate) fn explain(&self) -> (&'static str, bool) {
        match self.0.as_str() {
            text if text.contains("too large for cache") => (
                "the server does not take a value of this size, and has removed whatever was there before; tell the builder, \
                `largest_item`",
                false,
            ),
            text if text.contains("out of memory storing") => {
                ("the server had no memory for the value, and has removed whatever was there before", true)
            }
            text if text.contains("out of memory") => ("the server has no memory for this at the moment", true),
            text if text.contains("Too many open connections") => ("the server takes no more connections (-c)", true),
            text if text.contains("unauthenticated") => {
                ("the server wants user and password; put them into the URL, or into the builder", false)
            }
            text if text.contains("authentication failure") => (
                "the server does not accept user and password; in a URL their special characters are percent-encoded",
                false,
            ),
            "ERROR" => (
                "the server lacks this command; a proxy, or a memcached before 1.6.0, needs `classic(true)` in the builder, and one that lacks \
                `touch` (memcached before 1.4.8) is not supported",
                false,
            ),
            NOT_STORED => {
                ("the proxy did not store the value, or did not wait until it was stored; see its routes", false)
            }
            text if text.starts_with("SERVER_ERROR") => ("the server failed, or one behind it that it asked", true),
            _ => ("the server refused", false),
        }
    }
}

const NOT_STORED: &str = "NOT_STORED";

/// The beginnings of memcached's errors for a new connection.
const ERRORS: [&str; 9] = [
    "CLIENT_ERROR authentication failure",
    "CLIENT_ERROR unauthenticated",
    "CLIENT_ERROR bad command line format",
    "CLIENT_ERROR bad data chunk",
    "ERROR Too many open connections",
    "SERVER_ERROR Too many open connections",
    "SERVER_ERROR out of memory storing object",
    "SERVER_ERROR out of memory",
    "SERVER_ERROR object too large for cache",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_too_long_to_be_shown_keeps_its_kind() {
        // mcrouter says at length where it failed.
        let long = format!(
            "SERVER_ERROR Failed to connect to {}: errno = 111 (Connection refused)",
            "10.0.0.1:11211".repeat(10)
        );
        for (line, is_doubtful, is_transient) in [
            (long.as_str(), true, true),
            (&long.replace("SERVER_ERROR", "CLIENT_ERROR"), false, false),
            (&long.replace("SERVER_ERROR", "ERROR"), false, false),
        ] {
            let refusal = Refusal::parse(line.as_bytes()).unwrap();
            assert!(!refusal.to_string().contains("10.0.0.1"), "{refusal}");
            assert_eq!(
                refusal.to_string(),
                format!("{} (not one of memcached's errors)", line.split_once(' ').unwrap().0)
            );
            assert_eq!((refusal.is_doubtful(), refusal.explain().1), (is_doubtful, is_transient), "{refusal}");
            assert_eq!(refusal.is_of_request(), !is_doubtful, "{refusal}");
        }
    }

    /// These are in mcrouter's `AsciiSerialized.cpp`.
    #[test]
    fn what_mcrouter_says_of_its_servers_is_transient_and_the_outcome_is_unknown() {
        for line in [
            "SERVER_ERROR out of order",
            "SERVER_ERROR timeout",
            "SERVER_ERROR connection timeout",
            "SERVER_ERROR connection error",
            "SERVER_ERROR 307 busy",
            "SERVER_ERROR 302 try again",
            "SERVER_ERROR 301 shutdown",
            "SERVER_ERROR unavailable",
            "SERVER_ERROR request deadline exceeded",
            "SERVER_ERROR aborted",
            "SERVER_ERROR local error",
            "SERVER_ERROR remote error",
            "SERVER_ERROR overloaded",
            "SERVER_ERROR unexpected result mc_res_unknown (0) for set",
            "SERVER_ERROR RootRoute: No rh found",
        ] {
            let refusal = Refusal::parse(line.as_bytes()).unwrap();
            assert_eq!(refusal.to_string(), line);
            assert!(refusal.is_doubtful() && refusal.explain().1 && !refusal.is_of_request(), "{line}");
        }
        for line in
            ["CLIENT_ERROR malformed request", "CLIENT_ERROR bad command", "CLIENT_ERROR bad key", "CLIENT_ERROR"]
        {
            let refusal = Refusal::parse(line.as_bytes()).unwrap();
            assert!(!refusal.is_doubtful() && !refusal.explain().1 && refusal.is_of_request(), "{line}");
        }
    }

    #[test]
    fn a_password_in_a_servers_message_is_hidden_and_its_own_words_are_not() {
        let hidden = |line: &str, password: &str| Refusal(line.to_owned()).hiding(password).to_string();
        for password in ["E", "ERROR", "a", "authentication", "open connections", "CLIENT_ERROR authentication failure"]
        {
            for line in ["CLIENT_ERROR authentication failure", "ERROR Too many open connections"] {
                assert_eq!(hidden(line, password), line);
            }
        }
        for line in ["CLIENT_ERROR hush", "ERROR Too many open connections hush", "SERVER_ERROR no hush", "ERROR hush"]
        {
            let shown = hidden(line, "hush");
            assert!(!shown.contains("hush") && shown.contains("ERROR "), "{shown}");
        }
    }
}
