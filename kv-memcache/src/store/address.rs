//! What a URL of memcached says: where a server is, user and password.

use std::fmt;

use super::url::{self, UrlParts, UrlSyntax};
use crate::connection::endpoint::Endpoint;
use crate::connection::system;

/// The port of memcached, as [IANA](https://www.iana.org/assignments/service-names-port-numbers) has it.
const PORT: u16 = 11211;

/// All that a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

const SYNTAX: UrlSyntax = UrlSyntax {
    schemes: &["memcache", "memcache+tls"],
    plain: "memcache",
    tls: "memcache+tls",
    socket: "memcache:///path",
    several: "several servers are given one by one, to `servers` of the builder",
    others: &[
        ("memcached", "write memcache:// in place of memcached://"),
        ("memcaches", "write memcache+tls:// in place of memcaches://"),
        ("memcached+tls", "write memcache+tls:// in place of memcached+tls://"),
        ("memcache+ssl", "write memcache+tls:// in place of memcache+ssl://"),
        ("memcache+unix", "write memcache:///path in place of memcache+unix:///path"),
        ("unix", "write memcache:///path in place of unix:///path"),
        ("http", "it is the URL of a web server; that of memcached is memcache://host:port"),
        (
            "https",
            "it is the URL of a web server; that of memcached is memcache://host:port, with TLS memcache+tls://host:port",
        ),
        ("tcp", "write memcache:// in place of tcp://"),
        ("tls", "write memcache+tls:// in place of tls://"),
        ("ssl", "write memcache+tls:// in place of ssl://"),
        ("redis", "it is the URL of a redis, which is for the crate kv-redis"),
        ("rediss", "it is the URL of a redis, which is for the crate kv-redis"),
    ],
};

impl Address {
    /// Reads a URL. An error says what is wrong with it, and shows nothing of it: it may hold a password in an unexpected place.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = UrlParts::of(text, &SYNTAX)?;
        if parts.query.is_some() {
            return Err(
                "text after a ? has no meaning here; settings belong to the builder, and a ? in user, password or path is written %3F".into(),
            );
        }
        let tls = parts.scheme == "memcache+tls";
        if parts.server.is_empty() && parts.path.starts_with('/') {
            if tls {
                return Err("there is no TLS on a unix socket; write memcache:///path".into());
            }
            let path = String::from_utf8(parts.socket_path(&SYNTAX)?)
                .map_err(|_| "the percent-encoded bytes in the path are not UTF-8")?;
            return Ok(Self { endpoint: Endpoint::Unix(path.into()), tls, user: None, password: None });
        }
        let (host, port) = parts.host_and_port(&SYNTAX)?;
        if !matches!(parts.path, "" | "/") {
            return Err("it has both a host and a path; a unix socket is written memcache:///path, and a / in user or password %2F".into());
        }
        let decoded = |text: Option<&str>| text.map(url::decoded).transpose();
        let (user, password) = (decoded(parts.user)?, decoded(parts.password)?);
        // The same server has to have the same text everywhere, because keys are placed by it.
        let endpoint = Endpoint::Tcp { host: host.to_ascii_lowercase(), port: port.unwrap_or(PORT) };
        Ok(Self { endpoint, tls, user, password })
    }

    /// Whether there can be a server at all.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match &self.endpoint {
            Endpoint::Unix(path) if system::unix_socket(path).is_err() => Err(system::NO_UNIX_SOCKET),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Address {
    /// As a URL without user and password (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memcache{}://{}", if self.tls { "+tls" } else { "" }, self.endpoint)
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
    }

    #[test]
    fn user_and_password_are_decoded() {
        let address = Address::parse("memcache://us%40er:s%2Fcret@h").unwrap();
        assert_eq!((address.user.as_deref(), address.password.as_deref()), (Some("us@er"), Some("s/cret")));
    }

    #[test]
    fn what_is_odd_and_legal_is_taken() {
        for (url, name) in [
            ("MEMCACHE://H", "memcache://h:11211"),
            ("Memcache+TLS://h:1", "memcache+tls://h:1"),
            ("memcache://cache_1.example.:", "memcache://cache_1.example.:11211"),
            ("memcache://[FE80:0::1%25eth0]", "memcache://[fe80::1%25eth0]:11211"),
            ("memcache://[fe80::1%eth0]", "memcache://[fe80::1%25eth0]:11211"),
            ("memcache://user@h", "memcache://h:11211"),
            ("memcache://u:p@ss:w@h", "memcache://h:11211"),
            ("memcache:///run/memcached@1.sock", "memcache:///run/memcached@1.sock"),
            ("memcache:///a%3Ab%40c%2C", "memcache:///a:b@c,"),
        ] {
            assert_eq!(shown(url), name, "{url}");
        }
    }

    /// Each with the words that say what to do.
    #[test]
    fn an_error_explains_the_url_and_does_not_show_it() {
        for (url, says) in [
            ("", "it is empty"),
            ("memcache://u:hush@h\n", "white space before or behind"),
            ("\"memcache://u:hush@h\"", "quotation marks"),
            ("[\"memcache://u:hush@h\"]", "JSON"),
            ("hush", "does not begin with memcache://"),
            ("h:11211", "does not begin with memcache://"),
            ("h:11211,u:hush@h2", "does not begin with memcache://"),
            ("/tmp/hush.sock", "memcache:///path"),
            ("memcached://u:hush@h", "memcache:// in place of"),
            ("unix:///hush", "memcache:///path in place of"),
            ("http://u:hush@h", "web server"),
            ("tcp://u:hush@h", "memcache:// in place of"),
            ("redis://u:hush@h", "kv-redis"),
            ("memcache:hush", "two slashes"),
            ("memcache:/hush", "two slashes"),
            ("memcache://", "no host"),
            ("memcache:///", "path of a unix socket"),
            ("memcache://u:hush@", "no host"),
            ("memcache://u:hush@/path", "three slashes"),
            ("memcache://h/path/hush", "both a host and a path"),
            ("memcache://u:hush@h/path", "both a host and a path"),
            ("memcache://u:pa/hush@h", "/ is %2F"),
            ("memcache://u:1?hush@h", "? is %3F"),
            ("memcache://u:1#hush@h", "# is %23"),
            ("memcache://h#hush", "%23"),
            ("memcache://h?password=hush", "settings belong to the builder"),
            ("memcache:///s.sock?pass=hush", "settings belong to the builder"),
            ("memcache://u:hu:sh@h:port", "from 1 to 65535"),
            ("memcache://u:hush@h:65536", "from 1 to 65535"),
            ("memcache://u:hush", "from 1 to 65535"),
            ("memcache://::1", "brackets"),
            ("memcache://[hush]", "IPv6"),
            ("memcache://h,u:hush@h2", "`servers` of the builder"),
            ("memcache://h,u:hush", "`servers` of the builder"),
            ("memcache://h;user=u;password=hush", "another client"),
            ("memcache://h1:11211,h2:11211", "`servers` of the builder"),
            ("memcache://h%00", "neither a name"),
            ("memcache://h%FF", "neither a name"),
            ("memcache+tls:///hush", "no TLS on a unix socket"),
            ("memcache://u:hush%2@h", "written %25"),
            ("memcache://u:%@h", "written %25"),
            ("memcache:///:hush@/tmp/s.sock", "a password"),
            ("memcache:///u:hush@h", "a password"),
            ("memcache:///tmp/s.sock,password=hush", "a password"),
            ("memcache:///tmp/%00hush", "control character"),
            ("memcache:///tmp/%FFhush", "UTF-8"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {says:?} is not in {error}");
            assert!(!error.contains("hu"), "{url}: {error}");
        }
    }
}
