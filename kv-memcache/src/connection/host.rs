//! What the host of a server may be.
//!
//! A text that is not surely a host may be a part of a password: it is neither looked up nor shown (E3).
//!
//! This file is the same in kv-redis and kv-memcache.

use std::net::Ipv6Addr;

/// The host of a URL, if it is valid: a name, an IPv4 address, or an IPv6 address in brackets, perhaps with a zone.
pub(crate) fn of_url(text: &str) -> Option<String> {
    match text.strip_prefix('[') {
        Some(rest) => ipv6(rest.strip_suffix(']')?),
        None => is_name(text).then(|| text.to_owned()),
    }
}

/// Whether this is a host name that can be looked up, or an IPv4 address.
pub(crate) fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    text.len() <= 254 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// An IPv6 address in its shortest form, with its zone if it has one (`%eth0`, in a URL `%25eth0`).
pub(crate) fn ipv6(text: &str) -> Option<String> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip = ip.parse::<Ipv6Addr>().ok()?;
    let Some(zone) = zone else { return Some(ip.to_string()) };
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // The name of an interface has at most 15 bytes.
    (1..=15).contains(&zone.len()).then_some(())?;
    zone.bytes().all(is_letter).then(|| format!("{ip}%{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_ip_address() {
        for name in ["h", "cache.example", "cache_1", "a-b.", "127.0.0.1", "1.2.3", "xn--hst-sna", &"l".repeat(63)] {
            assert_eq!(of_url(name).as_deref(), Some(name));
        }
        for (text, shown) in [
            ("[::1]", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("[fe80::1%25eth0]", "fe80::1%eth0"),
            ("[fe80::1%2]", "fe80::1%2"),
            ("[fe80::1%25]", "fe80::1%25"),
            ("[FE80::A.1.2.3]", ""),
            ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4"),
        ] {
            assert_eq!(of_url(text).unwrap_or_default(), shown, "{text}");
        }
        for other in [
            "",
            ".",
            "a..b",
            ".a",
            "h,password=hush",
            "h;x",
            "h hush",
            "hush@h",
            "höst",
            "h%41",
            "h\\x",
            "[",
            "[]",
            "[::1",
            "::1",
            "[hush]",
            "[::1%]",
            "[::1%hu/sh]",
            "[::1%25hush@h]",
            "[::1%abcdefghijklmnop]",
            "h!",
            "(h)",
            "*",
            "h=1",
            &"l".repeat(64),
        ] {
            assert_eq!(of_url(other), None, "{other}");
        }
    }
}
