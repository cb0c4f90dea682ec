//! The parts of a URL, and what a port and the path of a socket may be.
//!
//! Only what was checked here is shown of a URL. A text that is not surely a host, a port or a path may be a part of a password: it is
//! refused, and no error repeats any of it (E3).
//!
//! This file is the same in kv-redis and kv-memcache.

use crate::connection::host;

/// How the URLs of a backend are written.
pub(crate) struct UrlSyntax {
    /// All schemes, in lower case.
    pub(crate) schemes: &'static [&'static str],
    /// `redis`.
    pub(crate) plain: &'static str,
    /// `rediss`.
    pub(crate) tls: &'static str,
    /// `redis+unix:///path`.
    pub(crate) socket: &'static str,
    /// Schemes of other clients, and what to do instead.
    pub(crate) others: &'static [(&'static str, &'static str)],
    /// What to do with several servers.
    pub(crate) several: &'static str,
}

/// The parts of a URL, not decoded.
pub(crate) struct UrlParts<'a> {
    /// One of the schemes of the syntax.
    pub(crate) scheme: &'static str,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    /// Host and port.
    pub(crate) server: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// How special characters are written.
const ENCODED: &str = "/ is %2F, ? is %3F, # is %23, @ is %40, : is %3A, % is %25";

impl<'a> UrlParts<'a> {
    pub(crate) fn of(text: &'a str, syntax: &UrlSyntax) -> Result<Self, String> {
        let (scheme, rest) = scheme(text, syntax)?;
        if !rest.starts_with('/') && rest.contains("://") {
            return Err(format!(
                "it seems to be several URLs in one; {}; a / in user or password is written %2F",
                syntax.several
            ));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !authority.is_empty() && rest.contains('@') {
            let special = rest.chars().next().unwrap_or('/');
            return Err(format!(
                "a {special} in user or password has to be percent-encoded, or the host seems to end there: {ENCODED}"
            ));
        }
        let (before_fragment, fragment) =
            rest.split_once('#').map_or((rest, None), |(rest, after)| (rest, Some(after)));
        if fragment.is_some() {
            return Err("what follows a # has no meaning here; a # in user, password or path is written %23, and \
                certificates are always checked"
                .into());
        }
        let (path, query) =
            before_fragment.split_once('?').map_or((before_fragment, None), |(path, query)| (path, Some(query)));
        let (login, server) =
            authority.rsplit_once('@').map_or((None, authority), |(login, server)| (Some(login), server));
        if login.is_some_and(|login| login.contains(|letter: char| letter.is_whitespace() || letter.is_control())) {
            return Err("there is white space in user or password; a space is written %20".into());
        }
        if login.is_some_and(|login| login.split(':').next().is_some_and(|user| user.contains([',', ';']))) {
            return Err(format!(
                "there is a comma or a semicolon before the @; {}; in a user they are %2C and %3B",
                syntax.several
            ));
        }
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(user), Some(password)),
            None => (None, None),
        };
        let some = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
        Ok(Self { scheme, user: some(user), password: some(password), server, path, query })
    }

    /// The host, in the form in which it is looked up, and the port, if there is one.
    pub(crate) fn host_and_port(&self, syntax: &UrlSyntax) -> Result<(String, Option<u16>), String> {
        let UrlSyntax { plain, several, .. } = syntax;
        let server = self.server;
        let is_between = |letter: char| matches!(letter, ',' | ';' | '|' | '&') || letter.is_whitespace();
        if server.contains(is_between) {
            return Err(if server.contains('=') {
                format!(
                    "settings behind the host (`,password=…`, `;ssl=…`) are those of another client; write \
                    {plain}://user:password@host:port, and see the settings of the builder"
                )
            } else {
                format!("it names several servers, or has a blank or a comma in the host; {several}")
            });
        }
        let (host, port) = match server.rfind(']') {
            Some(end) => match server.split_at_checked(end + 1) {
                Some((host, port)) if port.starts_with(':') => (host, port.strip_prefix(':')),
                _ => (server, None),
            },
            None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
        };
        if port.is_some_and(|port| port.contains(':')) {
            return Err("there is more than one : behind the user and password; an IPv6 address stands in brackets, \
                [::1]:port"
                .into());
        }
        if host.is_empty() {
            return Err(format!("it has no host; write {plain}://host:port, or of a unix socket {}", syntax.socket));
        }
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(number(port).filter(|port| *port > 0).ok_or_else(|| {
                format!(
                    "its port is not a number from 1 to 65535; user and password, if that is what it is, stand before an \
                    @: {plain}://user:password@host:port"
                )
            })?),
        };
        let host = host::of_url(host).ok_or(
            "its host is neither a name (of letters, digits, - _ and dots; others are written xn--…) nor an IP address (IPv6 \
            in brackets, [::1])",
        )?;
        Ok((host, port))
    }

    /// The path of a unix socket, decoded.
    pub(crate) fn socket_path(&self, syntax: &UrlSyntax) -> Result<Vec<u8>, String> {
        let UrlSyntax { socket, .. } = syntax;
        // `localhost` as in the URL of a file.
        if !matches!(self.server, "" | "localhost") || self.user.is_some() || self.password.is_some() {
            return Err(format!(
                "the path of a unix socket follows three slashes, with nothing between them: {socket}"
            ));
        }
        let path = decoded_bytes(self.path)?;
        if path.len() < 2 {
            return Err(format!("it has neither a host nor the path of a unix socket, {socket}"));
        }
        if path.iter().any(u8::is_ascii_control) {
            return Err("there is a control character in the path of the socket, such as a line end".into());
        }
        if may_be_more_than_a_path(self.path, &String::from_utf8_lossy(&path)) {
            return Err(format!(
                "before the @, or behind the path of the socket, there may be a password; write {socket}, and an @ of the path \
                %40, a comma %2C, a semicolon %3B"
            ));
        }
        Ok(path)
    }
}

/// The scheme, and what follows `://`.
fn scheme<'a>(text: &'a str, syntax: &UrlSyntax) -> Result<(&'static str, &'a str), String> {
    let UrlSyntax { schemes, plain, tls, socket, others, .. } = syntax;
    if text.is_empty() {
        return Err(format!(
            "it is empty; perhaps the variable that it comes from is not set. Write {plain}://host:port"
        ));
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(
            "there is white space before or behind it, such as the line end of a file; `trim` removes it".into()
        );
    }
    if text.starts_with(['"', '\'', '`', '<']) {
        return Err(format!("it stands in quotation marks; write {plain}://host:port without any"));
    }
    if text.contains(char::is_control) {
        return Err("there is a line end or another control character in it".into());
    }
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let known = |scheme: &str| begins(scheme) && text.get(scheme.len()..).is_some_and(|rest| rest.starts_with(':'));
    if let Some(scheme) = schemes.iter().find(|scheme| known(scheme)) {
        let rest = text.get(scheme.len()..).and_then(|rest| rest.strip_prefix("://"));
        return match rest {
            Some(rest) => Ok((scheme, rest)),
            None if scheme.ends_with("unix") => Err(format!("the colon is followed by three slashes: {socket}")),
            None => Err(format!("the colon is followed by two slashes: {scheme}://host:port")),
        };
    }
    if let Some((_, instead)) = others.iter().find(|(scheme, _)| known(scheme)) {
        return Err((*instead).into());
    }
    let also = if text.starts_with('/') || begins("socket=") {
        format!("; of a unix socket write {socket}")
    } else if text.contains([',', ';']) && text.contains('=') {
        format!("; it has settings of another client (`host:port,password=…`): write {plain}://user:password@host:port")
    } else if text.starts_with(['{', '[']) {
        "; it may be JSON, of which the URL is a part".into()
    } else {
        String::new()
    };
    Err(format!("it does not begin with {plain}://, {tls}:// (TLS) or that of a unix socket, {socket}{also}"))
}

/// Whether a path, as it is written and decoded, may have a password before or behind it: `:password@/path`,
/// `path,password=…`, two URLs.
fn may_be_more_than_a_path(written: &str, decoded: &str) -> bool {
    let has_login =
        written.rsplit_once('@').is_some_and(|(before, after)| before.contains(':') || after.starts_with('/'));
    let has_name =
        |text: &str| text.split('=').next().is_some_and(|name| name.len() < text.len() && !name.contains('/'));
    let has_setting = |text: &str, between: &[char]| text.split(between).skip(1).any(has_name);
    has_login
        || decoded.contains("@/")
        || decoded.contains("://")
        || has_setting(written, &[',', ';', '&', ' ', '\t'])
        || has_setting(decoded, &['?'])
}

/// A number of digits alone.
pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Decodes `%` and two hexadecimal digits.
fn decoded_bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(
            byte.ok_or("there is a % in it that is not followed by two hexadecimal digits; a % itself is written %25")?,
        );
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    Ok(bytes)
}

/// The same as text.
pub(crate) fn decoded(text: &str) -> Result<String, String> {
    String::from_utf8(decoded_bytes(text)?).map_err(|_| "what is percent-encoded in it is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_odd_and_has_no_password_before_or_behind_it() {
        let is_refused = |path: &str| {
            let decoded = decoded(path).unwrap();
            may_be_more_than_a_path(path, &decoded)
        };
        for path in [
            "/run/redis.sock",
            "/run/redis@1.sock",
            "/run/redis@cache/redis.sock",
            "/run/a:b.sock",
            "/run/a@b:c.sock",
            "/with space/x y",
            "/a=b,c.sock",
            "/a,b;c.sock",
            "/+/&/é",
            "/a%3Ab%40c",
            "/a%2Cb%3Dc",
            "/hash%23and%3Fquery%26plus+",
            "/semi%3Bcolon%3D%40%3A",
            "/../@x",
        ] {
            assert!(!is_refused(path), "{path}");
        }
        for path in [
            "/:hush@/tmp/s.sock",
            "/u:hush@/tmp/s.sock",
            "/hush@/tmp/s.sock",
            "/:hush@tmp/s.sock",
            "/%3Ahush%40/tmp/s.sock",
            "/tmp/s.sock,password=hush",
            "/tmp/s.sock;password=hush",
            "/tmp/s.sock&pass=hush",
            "/tmp/s.sock password=hush",
            "/tmp/s.sock%3Fpass=hush",
            "/tmp/s.sock%3fpass%3dhush",
            "/tmp/a.sock,redis://:hush@h",
            "/tmp/a.sock redis+unix:///b",
        ] {
            assert!(is_refused(path), "{path}");
        }
    }
}
