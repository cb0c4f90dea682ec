//! What a URL says: where a server is, user and password, the database.

use std::fmt;
use std::path::PathBuf;

use super::url::{self, UrlParts, UrlSyntax, number};
use crate::connection::credentials::Credentials;
use crate::connection::endpoint::Endpoint;

/// The port of redis.
const PORT: u16 = 6379;

/// All that a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: bool,
    pub(crate) credentials: Credentials,
    pub(crate) database: u32,
}

const SYNTAX: UrlSyntax = UrlSyntax {
    schemes: &["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"],
    plain: "redis",
    tls: "rediss",
    socket: "redis+unix:///path?db=0&user=…&pass=…",
    several: "nodes of a cluster are given one by one, to `cluster` of the builder, and sentinels to `sentinels`",
    others: &[
        ("http", "it is the URL of a web server; that of redis is redis://host:port"),
        ("https", "it is the URL of a web server; that of redis is redis://host:port, with TLS rediss://host:port"),
        ("tcp", "write redis:// in place of tcp://"),
        ("tls", "write rediss:// in place of tls://"),
        ("ssl", "write rediss:// in place of ssl://"),
        ("redis+tls", "write rediss:// in place of redis+tls://"),
        ("redis+ssl", "write rediss:// in place of redis+ssl://"),
        ("redis-socket", "write redis+unix:///path in place of redis-socket://"),
        ("redis+socket", "write redis+unix:///path in place of redis+socket://"),
        ("rediss+unix", "there is no TLS on a unix socket; write redis+unix:///path"),
        (
            "redis-cluster",
            "a cluster is given to `cluster` of the builder, by the URLs of some of its nodes, redis://host:port",
        ),
        (
            "redis+cluster",
            "a cluster is given to `cluster` of the builder, by the URLs of some of its nodes, redis://host:port",
        ),
        (
            "rediss-cluster",
            "a cluster is given to `cluster` of the builder, by the URLs of some of its nodes, rediss://host:port",
        ),
        (
            "redis-sentinel",
            "sentinels are given to `sentinels` of the builder, by the name of the primary and the URLs of the \
            sentinels, redis://host:26379",
        ),
        (
            "redis+sentinel",
            "sentinels are given to `sentinels` of the builder, by the name of the primary and the URLs of the \
            sentinels, redis://host:26379",
        ),
        (
            "rediss-sentinel",
            "sentinels are given to `sentinels` of the builder, by the name of the primary and the URLs of \
            the sentinels, rediss://host:26379",
        ),
        ("memcache", "it is the URL of a memcached, which is for the crate kv-memcache"),
    ],
};

/// Parameters of other clients, and what to write instead.
const INSTEAD: [(&str, &str); 12] = [
    ("db", "the database is written behind the host, redis://host:port/1"),
    ("database", "the database is written behind the host, redis://host:port/1, and of a unix socket ?db=1"),
    ("user", "the user is written before the host, redis://user:password@host"),
    ("username", "the user is written before the host, redis://user:password@host, and of a unix socket ?user=…"),
    ("pass", "the password is written before the host, redis://:password@host"),
    ("password", "the password is written before the host, redis://:password@host, and of a unix socket ?pass=…"),
    ("ssl", "TLS is written rediss://"),
    ("tls", "TLS is written rediss://"),
    ("ssl_cert_reqs", "TLS is written rediss://, and what it trusts is said by `tls` of the builder"),
    ("timeout", "limits are settings of the builder, such as `response_timeout`"),
    ("socket_timeout", "limits are settings of the builder, such as `response_timeout`"),
    ("max_connections", "it is `pool_size` of the builder"),
];

impl Address {
    /// Reads a URL. An error says what is wrong with it, and shows nothing of it: it may hold a password in an unexpected place.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = UrlParts::of(text, &SYNTAX)?;
        if parts.scheme.ends_with("unix") { Self::of_socket(&parts) } else { Self::of_server(&parts) }
    }

    fn of_server(parts: &UrlParts<'_>) -> Result<Self, String> {
        let (host, port) = parts.host_and_port(&SYNTAX)?;
        if matches!(host.as_str(), "0.0.0.0" | "::") {
            return Err(
                "its host stands for all addresses of a machine that listens; name one of them, such as 127.0.0.1"
                    .into(),
            );
        }
        let path = parts.path.strip_prefix('/').unwrap_or_default();
        let database = match path.strip_suffix('/').unwrap_or(path) {
            "" => 0,
            database => number(database).ok_or(
                "what follows the host has to be / and the number of a database, redis://host:port/0; a / in user or password \
                is written %2F, and a unix socket redis+unix:///path",
            )?,
        };
        for (name, value) in parameters(parts.query)? {
            check(&name, &value, &["protocol"])?;
        }
        let decoded = |text: Option<&str>| text.map(url::decoded).transpose();
        let credentials = Credentials { user: decoded(parts.user)?, password: decoded(parts.password)? };
        let tls = matches!(parts.scheme, "rediss" | "valkeys");
        Ok(Self { endpoint: Endpoint::Tcp { host, port: port.unwrap_or(PORT) }, tls, credentials, database })
    }

    fn of_socket(parts: &UrlParts<'_>) -> Result<Self, String> {
        let path = parts.socket_path(&SYNTAX)?;
        let (mut credentials, mut database) = (Credentials::none(), 0);
        for (name, value) in parameters(parts.query)? {
            check(&name, &value, &["db", "user", "pass", "protocol"])?;
            let some = (!value.is_empty()).then_some(value);
            match (name.as_str(), some) {
                ("user", user) => credentials.user = user,
                ("pass", password) => credentials.password = password,
                ("db", Some(value)) => {
                    database = number(&value).ok_or("what follows `db=` has to be the number of a database")?;
                }
                _ => {}
            }
        }
        Ok(Self { endpoint: Endpoint::Unix(path_of(path)?), tls: false, credentials, database })
    }
}

/// The names and values after the `?`, decoded. A `+` is a plus, not a space as in a form.
fn parameters(query: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    parts.map(|(name, value)| Ok((url::decoded(name)?, url::decoded(value)?))).collect()
}

/// An error if a parameter is not known here.
fn check(name: &str, value: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        let is_protocol = name != "protocol" || matches!(value, "2" | "3" | "resp2" | "resp3");
        return if is_protocol { Ok(()) } else { Err("what follows `protocol=` has to be resp2 or resp3".into()) };
    }
    // The name of an unknown parameter is not shown: it may be a part of a password that contains a `?` or a `&`.
    let instead = INSTEAD.iter().find(|(other, _)| *other == name).map(|(_, instead)| *instead);
    let instead =
        instead.unwrap_or("other settings are the builder's, and a ? in user or password is written %3F, a & %26");
    Err(format!("of what may follow the ? it has something else than {known:?}; {instead}"))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere not all bytes are a path")]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf, String> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Result<PathBuf, String> {
    String::from_utf8(bytes).map(PathBuf::from).map_err(|_| "what is percent-encoded in it is not UTF-8".into())
}

impl fmt::Display for Address {
    /// As a URL without user and password (E3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, tls, database, .. } = self;
        match endpoint {
            Endpoint::Tcp { .. } => write!(f, "redis{}://{endpoint}/{database}", if *tls { "s" } else { "" }),
            Endpoint::Unix(_) => write!(f, "redis+unix://{endpoint}?db={database}"),
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
        assert_eq!(shown("redis://user@h"), "redis://h:6379/0");
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
    fn schemes_ignore_case() {
        assert_eq!(shown("REDIS://h"), "redis://h:6379/0");
        assert_eq!(shown("RedisS://h/2"), "rediss://h:6379/2");
        assert_eq!(shown("Redis+Unix:///s?db=1"), "redis+unix:///s?db=1");
        assert_eq!(shown("VALKEYS://h:1/"), "rediss://h:1/0");
    }

    #[test]
    fn what_is_odd_and_legal_is_taken() {
        for (url, name) in [
            ("redis://cache_1.example.", "redis://cache_1.example.:6379/0"),
            ("redis://h:", "redis://h:6379/0"),
            ("redis://@h", "redis://h:6379/0"),
            ("redis://h/0/", "redis://h:6379/0"),
            ("redis://h?protocol=resp3", "redis://h:6379/0"),
            ("redis://[fe80::1%25eth0]:7000/1", "redis://[fe80::1%25eth0]:7000/1"),
            ("redis://[fe80::1%eth0]", "redis://[fe80::1%25eth0]:6379/0"),
            ("redis://[0:0::1]", "redis://[::1]:6379/0"),
            ("redis://u:p@ss:w@h", "redis://h:6379/0"),
            ("unix:///run/redis@1.sock", "redis+unix:///run/redis@1.sock?db=0"),
            ("unix:///run/redis@cache/a:b,c.sock", "redis+unix:///run/redis@cache/a:b,c.sock?db=0"),
            ("unix:///run/with space", "redis+unix:///run/with space?db=0"),
            ("unix:///a%3Ab%40c%2C", "redis+unix:///a:b@c,?db=0"),
        ] {
            assert_eq!(shown(url), name, "{url}");
        }
        #[cfg(unix)]
        Address::parse("unix:///not%FFutf8").unwrap();
    }

    /// Each with the words that tell what to do.
    #[test]
    fn an_error_explains_the_url_and_does_not_show_it() {
        for (url, says) in [
            ("", "it is empty"),
            (" redis://:hush@h", "white space before or behind"),
            ("redis://:hush@h\n", "white space before or behind"),
            ("redis://:hush@h1\nredis://:hush@h2", "a line end"),
            ("\"redis://:hush@h\"", "quotation marks"),
            ("'redis://:hush@h'", "quotation marks"),
            ("{\"url\": \"redis://:hush@h\"}", "JSON"),
            ("hush", "does not begin with redis://"),
            ("h:6379", "does not begin with redis://"),
            ("u:hush@h", "does not begin with redis://"),
            ("h:6379,password=hush,ssl=True", "write redis://user:password@host:port"),
            ("socket=/tmp/hush", "redis+unix:///path"),
            ("/tmp/hush", "redis+unix:///path"),
            ("http://u:hush@h", "web server"),
            ("HTTPS://u:hush@h", "web server"),
            ("tcp://hush:6379", "redis:// in place of tcp://"),
            ("redis+tls://:hush@h", "rediss://"),
            ("redis-cluster://:hush@h", "`cluster`"),
            ("redis-sentinel://:hush@h/mymaster", "`sentinels`"),
            ("rediss+unix:///hush", "no TLS on a unix socket"),
            ("redis-socket:///hush", "redis+unix:///path"),
            ("memcache://hush", "kv-memcache"),
            ("redis:hush", "two slashes"),
            ("redis:/hush", "two slashes"),
            ("unix:/hush", "three slashes"),
            ("unix:hush", "three slashes"),
            ("redis://", "no host"),
            ("redis://:hush@", "no host"),
            ("redis://:17631", "no host"),
            ("redis:///hush", "no host"),
            ("rediss:///hush.sock", "no host"),
            ("redis://h:port", "from 1 to 65535"),
            ("redis://h:176310", "from 1 to 65535"),
            ("redis://h:0", "from 1 to 65535"),
            ("redis://user:hush", "before an @"),
            ("redis://u:hu:sh@h:port", "from 1 to 65535"),
            ("redis://::1:17631", "brackets"),
            ("redis://::1", "brackets"),
            ("redis://h:1:hush", "brackets"),
            ("redis://[hush", "IPv6"),
            ("redis://[hush]", "IPv6"),
            ("redis://[::1]hush", "IPv6"),
            ("redis://hush[::1]", "IPv6"),
            ("redis://0.0.0.0", "stands for all addresses"),
            ("redis://h\u{fc}sh", "xn--"),
            ("redis://h%2Chush", "neither a name"),
            ("redis://h,password=hush", "another client"),
            ("redis://h;password=hush", "another client"),
            ("redis://h:6379,password=hush,ssl=True", "another client"),
            ("redis://h password=hush", "another client"),
            ("redis://h1:6379,h2:6379", "`cluster` of the builder"),
            ("redis://h1,redis://:hush@h2", "several URLs"),
            ("redis://:hush@h1 redis://:hush@h2", "several URLs"),
            ("redis://h1 hush", "several servers"),
            ("redis://user:pa/hush@h", "/ is %2F"),
            ("redis://user:12/hush@h", "/ is %2F"),
            ("redis://u:1?hush@h", "? is %3F"),
            ("redis://u:12#hush@h", "# is %23"),
            ("redis://h#hush", "%23"),
            ("rediss://u:hush@h/#insecure", "certificates are always checked"),
            ("redis://u:hu sh@h", "%20"),
            ("redis://u:hush%2@h", "written %25"),
            ("redis://u:%zz@h", "written %25"),
            ("redis://u%:hush@h", "written %25"),
            ("redis://u:%ff@h", "UTF-8"),
            ("redis://u:hush@h/first", "number of a database"),
            ("redis://h/-1", "number of a database"),
            ("redis://h/0/hush", "number of a database"),
            ("redis://h//0", "number of a database"),
            ("redis://h/4294967296", "number of a database"),
            ("redis://h?db=1", "redis://host:port/1"),
            ("redis://h:6379/?db=1", "redis://host:port/1"),
            ("redis://h?password=hush", "redis://:password@host"),
            ("redis://h?ssl=true", "rediss://"),
            ("redis://h?timeout=1", "`response_timeout`"),
            ("redis://h?hush", "settings are the builder's"),
            ("redis://h?protocol=hush", "resp3"),
            ("redis+unix:///s?pass=a&hush", "a & %26"),
            ("redis+unix:///s?password=hush", "?pass="),
            ("redis+unix:///s?database=3", "?db="),
            ("redis+unix:///s?db=hush", "number of a database"),
            ("redis+unix:///s?pass=hush%", "written %25"),
            ("redis+unix:///s?pass=12#hush", "%23"),
            ("unix:///:hush@/tmp/s.sock", "a password"),
            ("unix:///hush@/tmp/s.sock", "a password"),
            ("unix:///%3Ahush%40/tmp/s.sock", "a password"),
            ("unix://:hush@/tmp/s.sock", "three slashes"),
            ("unix://u:hush@h/tmp/s.sock", "three slashes"),
            ("unix://hush/s.sock", "three slashes"),
            ("unix:///tmp/s.sock,password=hush", "a password"),
            ("unix:///tmp/s.sock%3Fpass=hush", "a password"),
            ("unix:///tmp/s%00hush", "control character"),
            ("unix:///tmp/s%0Ahush", "control character"),
            ("unix:///", "path of a unix socket"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {says:?} is not in {error}");
            assert!(!error.contains("hu"), "{url}: {error}");
        }
    }
}
