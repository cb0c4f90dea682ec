//! Keys that mcrouter takes for something else.
//!
//! mcrouter takes `/region/cluster/` at the beginning of a key for a route and cuts it off: `/eu/web/k` and `k` may be one entry, and `/*/*/k`
//! is sent to all servers. A key that begins with `__mcrouter__.` is a question to mcrouter itself ([`Keys-inl.h`], [`Proxy-inl.h`]). No such
//! key may be sent to it (K3).
//!
//! [`Keys-inl.h`]: https://github.com/facebook/mcrouter/blob/main/mcrouter/lib/carbon/Keys-inl.h
//! [`Proxy-inl.h`]: https://github.com/facebook/mcrouter/blob/main/mcrouter/Proxy-inl.h

use kv_core::Key;

/// The advice for such a key.
pub(crate) const ADVICE: &str = "mcrouter does not take this key for a key: it begins with a route (`/region/cluster/`) or with `__mcrouter__.`; \
    begin keys, or the namespace before them, with something else than `/`";

/// Whether mcrouter takes a key for a route, or for a question to itself.
pub(crate) fn is_routed(key: Key<'_>) -> bool {
    let key = key.as_str();
    let has_route = || key.starts_with('/') && key.bytes().filter(|&byte| byte == b'/').count() >= 3;
    has_route() || key.starts_with("__mcrouter__.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_slashes_of_which_one_is_the_first_make_a_route() {
        let is_routed = |text| is_routed(Key::new(text).unwrap());
        for route in ["/eu/web/k", "/*/*/k", "///", "/a/b/", "/users/42/name/first", "__mcrouter__.route(get,k)"] {
            assert!(is_routed(route), "{route}");
        }
        for key in
            ["k", "/", "/k", "//", "/users/42", "users/42/name/first", "__mcrouter__", "a/b/c/d", "k__mcrouter__."]
        {
            assert!(!is_routed(key), "{key}");
        }
    }
}
