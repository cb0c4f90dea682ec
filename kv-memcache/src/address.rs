//! Where a server is, and who we are to it: what a URL says.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::{Host, ParseError, Url};

use crate::system;

/// The port of memcached, as [IANA](https://www.iana.org/assignments/service-names-port-numbers) has it.
const PORT: u16 = 11211;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// User and password of ASCII authentication. Its `Debug` shows neither (E3).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Credentials {
    /// The server takes what comes before the first space for the user, and its file has them on one line with a colon between.
    pub(crate) fn new(user: impl Into<String>, password: impl Into<String>) -> Result<Self, &'static str> {
        let (user, password) = (user.into(), password.into());
        let has_line_end = |text: &str| text.contains(['\r', '\n', '\0']);
        if user.is_empty() || user.contains([' ', ':']) || has_line_end(&user) {
            return Err("the user has to be some characters, without a space or a colon");
        }
        // Up to some version what comes after a space is ignored.
        if password.is_empty() || password.contains(' ') || has_line_end(&password) {
            return Err("the password has to be some characters, without a space");
        }
        Ok(Self { user, password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// All that a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) tls: bool,
    pub(crate) credentials: Option<Credentials>,
}

impl Address {
    /// Reads a URL. An error says what is wrong with it, and shows nothing of it: it may hold a password in an unexpected place.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with("memcache://") && !text.starts_with("memcache+tls://") {
            return Err("it has to begin with memcache:// or memcache+tls://");
        }
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::InvalidPort => {
                "its port is no number of up to 65535, or special characters of user or password are not percent-encoded; \
                several servers are given one by one, to `servers` of the builder"
            }
            _ => {
                "it is not one of memcached (memcache://host:port, memcache+tls://host:port, memcache:///path), or special \
                characters of user or password are not percent-encoded"
            }
        })?;
        let tls = url.scheme() == "memcache+tls";
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "what follows a ? or # has no meaning here; settings are the builder's, and in a password these are %3F and %23",
            );
        }
        let host = match url.host() {
            // The same server has to be the same text everywhere, as keys are placed by it.
            Some(Host::Domain(name)) => decoded(name)?.to_ascii_lowercase(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => String::new(),
        };
        let path = decoded(url.path())?;
        let place = match (host.as_str(), path.as_str()) {
            ("", path) if !url.cannot_be_a_base() && path.len() > 1 => {
                if tls {
                    return Err("there is no TLS on a unix socket");
                }
                Place::Unix(path.into())
            }
            ("", _) => return Err("it has neither a host nor the path of a unix socket"),
            (_, "" | "/") => Place::Tcp { host, port: url.port().unwrap_or(PORT) },
            _ => {
                return Err(
                    "it has both a host and a path; a unix socket is written memcache:///path, and a / in a password %2F",
                );
            }
        };
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (_, None) => return Err("it has a user without a password"),
            (user, Some(password)) => Some(Credentials::new(decoded(user)?, decoded(password)?)?),
        };
        Ok(Self { place, tls, credentials })
    }

    /// Whether there can be a server at all.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match &self.place {
            Place::Unix(path) if system::unix_socket(path).is_err() => Err(system::NO_UNIX_SOCKET),
            _ => Ok(()),
        }
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let is_encoded = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_encoded) {
        return Err("there is a % in it that is not followed by two hexadecimal digits; a % itself is written %25");
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "what is percent-encoded in it is not UTF-8")?;
    if decoded.contains('\0') { Err("it has a zero byte in it") } else { Ok(decoded.into_owned()) }
}

impl fmt::Display for Address {
    /// As a URL without user and password (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memcache{}://{}", if self.tls { "+tls" } else { "" }, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Address::parse(url).unwrap().to_string()
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        assert_eq!(shown("memcache://127.0.0.1"), "memcache://127.0.0.1:11211");
        assert_eq!(shown("memcache://user:secret@Cache.Example:7000/"), "memcache://cache.example:7000");
        assert_eq!(shown("memcache+tls://user:secret@[::1]:7000"), "memcache+tls://[::1]:7000");
        assert_eq!(shown("memcache:///run/memcached.sock"), "memcache:///run/memcached.sock");
        assert_eq!(shown("memcache:///run/with%20space"), "memcache:///run/with space");
        assert!(!format!("{:?}", Address::parse("memcache://u:secret@h").unwrap()).contains("secret"));
    }

    #[test]
    fn user_and_password_are_decoded() {
        let credentials = Address::parse("memcache://us%40er:s%2Fcret@h").unwrap().credentials.unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("us@er", "s/cret"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_and_the_url_is_not() {
        for url in [
            "",
            "hush",
            "memcache:hush",
            "memcache://",
            "memcache:///",
            "http://u:hush@h",
            "memcache://u:hush@h/path",
            "memcache://hush@h",
            "memcache://:hush@h",
            "memcache://u:hu:sh@h:port",
            "memcache://h?password=hush",
            "memcache://h#hush",
            "memcache://h/%00",
            "memcache://h%FF",
            "memcache://a%20b:hush@h",
            "memcache://a:hush%0A@h",
            "memcache://a:hush%20hush@h",
            "memcache+tls:///hush",
            "memcache://u:hush@/path",
            "memcache://h1:11211,h2:11211",
            "memcache:/hush",
            "memcache://u:hush%2@h",
            "memcache://u:%@h",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!error.is_empty() && !error.contains("hu"), "{url}: {error}");
        }
    }
}
