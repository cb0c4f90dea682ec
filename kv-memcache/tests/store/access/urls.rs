//! Where a URL leads.

use super::*;

#[test]
fn a_server_is_found_by_address_and_by_name() {
    let server = Memcached::start(&[]);
    let port = server.port();
    for url in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LocalHost:{port}/")] {
        let store = connected(patient().url(format!("memcache://{url}")));
        assert_eq!(store.name(), format!("memcache://{}", url.trim_end_matches('/').to_lowercase()));
    }
    works(&MemcacheStore::connect(server.url()).unwrap());
    // Not every machine has it.
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let url = format!("memcache://[::1]:{}", forward(listener, port));
        assert_eq!(connected(patient().url(&url)).name(), url);
    }
}

#[test]
fn the_port_is_that_of_memcached_unless_it_is_named() {
    let store = MemcacheStore::builder().build().unwrap();
    assert_eq!(store.name(), "memcache://127.0.0.1:11211");
    let store = MemcacheStore::builder().url("memcache+tls://cache.example").build().unwrap();
    assert_eq!(store.name(), "memcache+tls://cache.example:11211");
    // An address of this machine on which nobody listens, unless a server listens on that port of all addresses.
    if let Ok(listener) = TcpListener::bind("127.211.11.21:11211") {
        let server = Memcached::start(&[]);
        forward(listener, server.port());
        connected(patient().url("memcache://127.211.11.21"));
    }
}

#[test]
fn an_unknown_host_is_named_in_the_error() {
    let (error, text) = refused(MemcacheStore::builder().url("memcache://no-such-host.invalid"));
    // A name server may take its time.
    assert!(matches!(&error, Error::Unavailable(_) | Error::Timeout(_)) && error.is_transient(), "{text}");
    assert!(text.contains("no-such-host.invalid:11211"), "{text}");
}

#[test]
fn the_path_of_a_unix_socket_may_have_any_characters() {
    let server = Memcached::start_as(Kind::Unix, &[]);
    connected(patient().url(server.url()));
    let folder = tempfile::Builder::new().prefix("kv").tempdir_in("/tmp").unwrap();
    for name in ["with space", "ümläut ß", "per%cent%20", "hash#and?query&plus+", "semi;colon=@:"] {
        let path = folder.path().join(name);
        symlink(server.socket(), &path).unwrap();
        let url = format!("memcache://{}", percent_encoded(path.to_str().unwrap()));
        let store = connected(patient().url(url));
        assert_eq!(store.name(), format!("memcache://{}", path.display()));
    }
    // The path as it is written.
    let spaced = format!("memcache://{}", folder.path().join("with space").display());
    connected(patient().url(spaced));
}

#[test]
fn a_path_without_a_socket_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.sock");
    let url = |path: &str| MemcacheStore::builder().url(format!("memcache://{path}"));
    let (error, text) = refused(url(path.to_str().unwrap()));
    assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
    assert!(text.contains("absent.sock") && text.contains("No such file"), "{text}");
    // This file is not a socket.
    fs::write(&path, "").unwrap();
    let (error, text) = refused(url(path.to_str().unwrap()));
    assert!(matches!(&error, Error::Unavailable(_)) && text.contains("refused"), "{text}");
    let (_, text) = refused(url(&format!("/{}", "l".repeat(200))));
    assert!(text.contains("SUN_LEN") || text.contains("too long"), "{text}");
}
