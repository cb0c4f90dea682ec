//! Where a server is, and who we are to it: what a URL says.

use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

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

/// User and password. Its `Debug` shows neither (E3).
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "Credentials(hidden)" } else { "Credentials(none)" })
    }
}

/// All that a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) tls: bool,
    pub(crate) credentials: Credentials,
    pub(crate) database: u32,
}

/// How URLs begin that the crate `redis` reads.
const SCHEMES: [&str; 5] = ["redis://", "redis+unix://", "unix://", "valkey://", "valkey+unix://"];

impl Address {
    /// Reads a URL, with the crate `redis`. An error says what is wrong with it, and shows nothing of it: it may hold a password in
    /// an unexpected place.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        // Without a feature for TLS, which is ours here, `redis` refuses the scheme.
        let plain = url.strip_prefix("rediss://").or_else(|| url.strip_prefix("valkeys://"));
        let tls = plain.is_some();
        let plain = plain.map_or_else(|| url.to_owned(), |rest| format!("redis://{rest}"));
        if !SCHEMES.iter().any(|scheme| plain.starts_with(scheme)) {
            return Err("it does not begin with redis://, rediss:// or redis+unix://".into());
        }
        // A `+` stands for itself, and not for a space as in a form, where the password of a unix socket is.
        let plain = match plain.split_once('?') {
            Some((before, parameters)) => format!("{before}?{}", parameters.replace('+', "%2B")),
            None => plain,
        };
        let Some(parsed) = redis::parse_redis_url(&plain) else {
            return Err(
                "its host or port cannot be read (a port is a number of up to 65535, an IPv6 address stands in brackets), or \
                special characters of user or password are not percent-encoded; nodes of a cluster are given one by one, to \
                `cluster` of the builder, and sentinels to `sentinels`"
                    .into(),
            );
        };
        if parsed.fragment().is_some() {
            return Err("what follows a # has no meaning here; certificates are always checked".into());
        }
        let secrets = [parsed.username(), parsed.password().unwrap_or_default(), parsed.query().unwrap_or_default()];
        if !secrets.into_iter().all(is_encoded) {
            return Err(
                "there is a % in it that is not followed by two hexadecimal digits; a % itself is written %25".into()
            );
        }
        let known: &[&str] =
            if parsed.scheme().ends_with("unix") { &["db", "user", "pass", "protocol"] } else { &["protocol"] };
        // Its name is perhaps a part of a password with a `?` or a `&` in it.
        if let Some(place) = parsed.query_pairs().position(|(name, _)| !known.contains(&&*name)) {
            let number = place + 1;
            return Err(format!(
                "of what follows the ?, parameter {number} is none of those that have a meaning here, {known:?}; other settings \
                are the builder's, and in user and password special characters are percent-encoded"
            ));
        }
        let info = parsed.into_connection_info().map_err(|error| text_of(&error))?;
        Self::from_info(&info, tls)
    }

    fn from_info(info: &ConnectionInfo, tls: bool) -> Result<Self, String> {
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp { host: host.clone(), port: *port },
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err("it names a kind of address that is not supported".into()),
        };
        let settings = info.redis_settings();
        let credentials = Credentials {
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
        };
        if credentials.user.is_some() && credentials.password.is_none() {
            return Err("it has a user without a password; a password alone is written redis://:password@host".into());
        }
        let database = u32::try_from(settings.db()).map_err(|_| "the database is not a number from 0 on")?;
        Ok(Self { place, tls, credentials, database })
    }
}

/// Whether each `%` begins a byte: `redis` takes another one for itself, and so a password for another than is meant.
fn is_encoded(text: &str) -> bool {
    let begins_byte = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    text.split('%').skip(1).all(begins_byte)
}

/// The message of an error of `redis`, without its detail, which may quote the URL: `message - Kind: detail`.
fn text_of(error: &redis::RedisError) -> String {
    let text = error.to_string();
    text.split_once(" - ").map_or(text.clone(), |(message, _rest)| message.to_owned())
}

impl fmt::Display for Address {
    /// As a URL without user and password (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, tls, database, .. } = self;
        match place {
            Place::Tcp { .. } => write!(f, "redis{}://{place}/{database}", if *tls { "s" } else { "" }),
            Place::Unix(_) => write!(f, "redis+unix://{place}?db={database}"),
        }
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
        assert_eq!(shown("redis://127.0.0.1"), "redis://127.0.0.1:6379/0");
        assert_eq!(shown("redis://user:secret@cache:7000/3"), "redis://cache:7000/3");
        assert_eq!(shown("rediss://:secret@[::1]:7000"), "rediss://[::1]:7000/0");
        assert_eq!(shown("redis+unix:///run/redis.sock?db=2&pass=secret&user=u"), "redis+unix:///run/redis.sock?db=2");
        assert!(!format!("{:?}", Address::parse("redis://u:secret@h").unwrap()).contains("secret"));
    }

    #[test]
    fn user_and_password_are_decoded() {
        let credentials = Address::parse("redis://us%40er:s%2Fcret@h").unwrap().credentials;
        assert_eq!(credentials.user.as_deref(), Some("us@er"));
        assert_eq!(credentials.password.as_deref(), Some("s/cret"));
        for url in ["redis://u:a+b%2B@h", "redis+unix:///run/redis.sock?user=u&pass=a+b%2B"] {
            assert_eq!(Address::parse(url).unwrap().credentials.password.as_deref(), Some("a+b+"), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_and_the_url_is_not() {
        for url in [
            "",
            "hush",
            "http://u:hush@h",
            "redis://u:hush@h/first",
            "redis://:hush@",
            "redis://h/-1",
            "redis://hush@h",
            "rediss://u:hush@h/#insecure",
            "redis://u:hu:sh@h:port",
            "redis://h?password=hush",
            "redis://u:1?hush@h",
            "redis+unix:///run/redis.sock?pass=a&hush",
            "redis://h?db=3",
            "redis+unix:///run/redis.sock?database=3",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!error.is_empty() && !error.contains("hu"), "{url}: {error}");
        }
        for url in ["redis://h:port", "redis://h:176310", "redis://:17631", "redis://::1:17631"] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains("port") && error.contains("brackets"), "{url}: {error}");
        }
        for url in ["redis://u:hush%2@h", "redis://u:%zz@h", "redis://u%:hush@h", "redis+unix:///socket?pass=hush%"] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains("written %25") && !error.contains("hu"), "{url}: {error}");
        }
        assert!(Address::parse("redis://h1:6379,h2:6379").unwrap_err().contains("`cluster` of the builder"));
        assert!(Address::parse("redis://h?timeout=1").unwrap_err().contains("other settings are the builder's"));
        for url in ["http://h", "memcache://h", "h:6379", ""] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.starts_with("it does not begin with redis://"), "{url}: {error}");
        }
    }
}
