//! mcrouter, which takes some keys for routes, and what is known about the server of a connection.
//!
//! It cannot be built here. A substitute answers as mcrouter's source says, and passes everything else to a real memcached.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use kv_conformance::proxy::Cut;

use super::classic::{LONGEST, MONTH, is_classic, needs_the_setting};
use super::*;

/// Closes all connections, and waits until the store takes a look at them: it trusts one that was used in the last 30 µs.
fn close_all(proxy: &Proxy) {
    proxy.cut_now(Cut::Close).unwrap();
    thread::sleep(Duration::from_millis(1));
}

/// Speaks with a client as mcrouter does: its version has a name in it, and it tells its own time, which is not that of the servers.
fn speak_as_mcrouter(client: &TcpStream, memcached: u16) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(client), client);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        writer.write_all(match &*line {
            b"stats \r\n" => b"STAT version 41.0.0 mcrouter\r\nSTAT time 1000000000\r\nEND\r\n",
            b"stats settings\r\n" => b"CLIENT_ERROR bad stats command\r\n",
            b"get __mcrouter__.\xc2\xb7\r\n" => {
                b"VALUE __mcrouter__.\xc2\xb7 0 26\r\nERROR: unknown command: \xc2\xb7\r\nEND\r\n"
            }
            b"get \xc2\xb7\r\n" => b"END\r\n",
            b"mn\r\n" => return writer.write_all(b"CLIENT_ERROR malformed request\r\n"),
            _ => break,
        })?;
    }
    pass_on(&[&line, reader.buffer()].concat(), client, memcached)
}

/// Speaks with a client as twemproxy does: it closes the connection at any question but those about keys.
fn speak_as_twemproxy(mut client: &TcpStream, memcached: u16) -> io::Result<()> {
    let mut begin = [0; 3];
    client.read_exact(&mut begin)?;
    if [b"get", b"set", b"add", b"del", b"tou"].contains(&&begin) { pass_on(&begin, client, memcached) } else { Ok(()) }
}

/// Passes on the bytes that have come from a client, then all that follow.
fn pass_on(begin: &[u8], client: &TcpStream, memcached: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", memcached))?;
    server.write_all(begin)?;
    tunnel(client, &server)
}

fn mcrouter(memcached: u16) -> u16 {
    impostor(move |client| speak_as_mcrouter(&client, memcached))
}

/// The kind of server that answers at an address.
#[derive(Clone, Copy)]
enum Server {
    Memcached,
    Mcrouter,
    Twemproxy,
}

/// An address whose server can be replaced, for new connections, and a switch for that.
fn changing(first: Server, memcached: u16) -> (u16, Arc<AtomicU8>) {
    let now = Arc::new(AtomicU8::new(first as u8));
    let current = Arc::clone(&now);
    let port = impostor(move |client| match current.load(SeqCst) {
        it if it == Server::Memcached as u8 => pass_on(&[], &client, memcached),
        it if it == Server::Mcrouter as u8 => speak_as_mcrouter(&client, memcached),
        _ => speak_as_twemproxy(&client, memcached),
    });
    (port, now)
}

#[track_caller]
fn is_refused(error: &Error, key: &str) {
    let text = chain(error);
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown(), "{text}");
    assert!(
        text.contains("begin keys, or the namespace before them, with something else than `/`")
            && error.key() == Some(key),
        "{text}"
    );
}

#[test]
fn mcrouter_is_told_by_its_name() {
    let server = Memcached::start(&[]);
    let url = format!("memcache://127.0.0.1:{}", mcrouter(server.port()));
    let text = needs_the_setting(&url);
    assert!(text.contains("the server says that it is `41.0.0 mcrouter`"), "{text}");
    let store = connected(patient().url(url).classic(true));
    is_classic(&store);
    assert_eq!(store.capabilities().longest_ttl(), LONGEST);
    assert!(matches!(store.put_with_ttl("k", "v", MONTH).unwrap_err(), Error::InvalidTtl { .. }));
}

/// It cuts off what it takes for a route, so that `/users/42/name` and `name` might be one entry.
#[test]
fn keys_that_mcrouter_takes_for_something_else_are_refused() {
    let server = Memcached::start(&[]);
    let url = format!("memcache://127.0.0.1:{}", mcrouter(server.port()));
    let builder = patient().url(&url).classic(true).contains(true);
    let before = server.stat("cmd_get");
    for key in ["/users/42/name", "/*/*/k", "__mcrouter__.config_md5"] {
        // The first operation of all, and one after it.
        for store in [builder.clone().build().unwrap(), connected(builder.clone())] {
            is_refused(&store.get(key).unwrap_err(), key);
            is_refused(&store.put(key, "v").unwrap_err(), key);
            is_refused(&store.put_with_ttl(key, "v", Duration::ZERO).unwrap_err(), key);
            is_refused(&store.create(key, "v").unwrap_err(), key);
            is_refused(&store.delete(key).unwrap_err(), key);
            is_refused(&store.touch(key, Ttl::Forever).unwrap_err(), key);
            is_refused(&store.contains(key).unwrap_err(), key);
            is_refused(&store.get_many(["k", key]).unwrap_err(), key);
            is_refused(&store.put_many([("k", "v"), (key, "v")]).unwrap_err(), key);
            is_refused(&store.delete_many([key, "k"]).unwrap_err(), key);
            let mut each = store.get_each(["k", key, "l"]);
            assert!(matches!((each.pop(), each.swap_remove(0)), (Some(Ok(None)), Ok(None))));
            is_refused(&each.pop().unwrap().unwrap_err(), key);
            for other in ["/users/42", "users/42/name/first"] {
                store.put(other, "v").unwrap();
                assert!(store.delete(other).unwrap());
            }
        }
    }
    assert_eq!(server.stat("cmd_set"), 3 * (2 * 2 + 1));
    assert_eq!(server.stat("cmd_get") - before, 3 * (2 * 2 + 1));
    // For a memcached they are ordinary keys.
    let store = connected(patient().url(server.url()).classic(true));
    for key in ["/users/42/name", "/*/*/k", "__mcrouter__.config_md5"] {
        store.put_many([(key, "v"), ("name", "w")]).unwrap();
        assert_eq!(store.get(key).unwrap().as_deref(), Some(&b"v"[..]));
        assert!(store.get_each([key]).remove(0).unwrap().is_some());
    }
}

/// K3. A name may lead to another server for each connection (a load balancer, a server that is being replaced). So the server of the
/// newest connection says nothing about that of the connection in use.
#[test]
fn a_key_is_judged_by_the_server_of_its_connection() {
    const ROUTE: &str = "/eu/web/k";
    for used_is_mcrouter in [true, false] {
        let server = Memcached::start(&[]);
        // So that the first connection can be kept in use.
        let held = Arc::new(support::proxy(server.port()));
        let (held_port, port, made) = (held.port(), server.port(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&made);
        let address = impostor(move |client| {
            let is_first = count.fetch_add(1, SeqCst) == 0;
            let memcached = if is_first { held_port } else { port };
            if is_first == used_is_mcrouter {
                speak_as_mcrouter(&client, memcached)
            } else {
                pass_on(&[], &client, memcached)
            }
        });
        let store =
            patient().url(format!("memcache://127.0.0.1:{address}")).classic(true).pool_size(2).connect().unwrap();
        store.put("k", "v").unwrap();
        thread::scope(|scope| {
            let before = held.exchanges();
            held.set(Behaviour::HoldReplies);
            let first = scope.spawn(|| store.get("k").unwrap());
            wait_until(|| if held.exchanges() > before { Ok(()) } else { Err("nothing is asked".into()) });
            store.put("k", "w").unwrap();
            held.pass();
            assert!(first.join().unwrap().is_some());
        });
        assert_eq!(made.load(SeqCst), 2);
        // The connection that was used last is used next: the first one.
        let (put, each) = (store.put(ROUTE, "v"), store.get_each(["k", ROUTE]));
        assert_eq!(made.load(SeqCst), 2);
        assert_eq!(each[0].as_ref().unwrap().as_deref(), Some(&b"w"[..]));
        if used_is_mcrouter {
            is_refused(&put.unwrap_err(), ROUTE);
            is_refused(each[1].as_ref().unwrap_err(), ROUTE);
        } else {
            put.unwrap();
            assert_eq!(each[1].as_ref().unwrap().as_deref(), Some(&b"v"[..]));
        }
    }
}

/// B7.
#[test]
fn a_silent_server_is_not_asked_what_it_is_for_each_of_many_keys() {
    let limit = Duration::from_millis(300);
    let server = Memcached::start(&[]);
    let builder = patient().url(server.url()).classic(true).connect_timeout(limit).retry_after(Duration::ZERO);
    let store = builder.build().unwrap();
    server.pause();
    let (each, took) = support::timed(|| store.get_each((0..12).map(|number| format!("/eu/web/{number}"))));
    server.resume();
    assert!(each.iter().all(|outcome| matches!(outcome, Err(Error::Timeout(_)))), "{each:?}");
    assert!(took < 2 * limit + Duration::from_millis(1500), "{took:?}");
}

/// K3. A proxy that has closed two connections in a row at `stats` is asked only about keys, which mcrouter would answer, too.
#[test]
fn a_mcrouter_in_place_of_a_known_proxy_is_noticed() {
    let server = Memcached::start(&[]);
    let (port, now) = changing(Server::Twemproxy, server.port());
    let proxy = support::proxy(port);
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let store = patient().url(url).classic(true).pool_size(1).build().unwrap();
    // A handshake, then five times another one and a question about keys.
    for connections in [11, 11, 1, 1] {
        let before = proxy.accepted();
        store.put("/eu/web/k", "v").unwrap();
        assert_eq!(proxy.accepted() - before, connections);
        close_all(&proxy);
    }
    now.store(Server::Mcrouter as u8, SeqCst);
    is_refused(&store.put("/eu/web/k", "v").unwrap_err(), "/eu/web/k");
    store.put("k", "v").unwrap();
}

/// K1. The keys in the shorter handshake cannot be keys of a store.
#[test]
fn an_entry_cannot_make_a_proxy_look_like_mcrouter() {
    let server = Memcached::start(&[]);
    let (port, _) = changing(Server::Twemproxy, server.port());
    let proxy = support::proxy(port);
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let store = patient().url(url).classic(true).pool_size(1).build().unwrap();
    for key in ["__mcrouter__.version", "__mcrouter__.", "__mcrouter__.route(get,k)"] {
        store.put(key, "41.0.0 mcrouter").unwrap();
    }
    for connections in [11, 1, 1] {
        close_all(&proxy);
        let before = proxy.accepted();
        assert_eq!(store.get("__mcrouter__.version").unwrap().as_deref(), Some(&b"41.0.0 mcrouter"[..]));
        assert_eq!(proxy.accepted() - before, connections);
    }
}

/// V3, T4. A memcached in place of a proxy answers what the proxy is asked, and has a limit and a clock.
#[test]
fn a_memcached_in_place_of_a_proxy_is_noticed_by_the_256th_connection() {
    let server = Memcached::start(&["-I", "2m"]);
    let (port, now) = changing(Server::Twemproxy, server.port());
    let proxy = support::proxy(port);
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let store = patient().url(url).classic(true).pool_size(1).build().unwrap();
    let value = vec![0; 1 << 20];
    for _ in 0..3 {
        store.put("k", "v").unwrap();
        close_all(&proxy);
    }
    assert!(matches!(store.put("k", &value).unwrap_err(), Error::ValueTooLarge { .. }));
    now.store(Server::Memcached as u8, SeqCst);
    for _ in 0..256 {
        close_all(&proxy);
        store.put("k", "v").unwrap();
    }
    store.put("k", &value).unwrap();
    assert!(store.capabilities().longest_ttl() > 2 * MONTH);
}

/// T4: the limits of a replaced server must not be applied to the new one.
#[test]
fn long_ttls_work_once_a_server_with_a_clock_replaces_one_without() {
    let server = Memcached::start(&[]);
    let (port, now) = changing(Server::Mcrouter, server.port());
    let proxy = support::proxy(port);
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let acts: [fn(&MemcacheStore) -> kv_memcache::Result<()>; 3] = [
        |store| store.put_with_ttl("k", "v", 2 * MONTH),
        |store| store.touch("there", 2 * MONTH).map(|there| assert!(there)),
        |store| store.put_many_with_ttl([("first", "v", MONTH / 2), ("k", "v", 2 * MONTH)]),
    ];
    for act in acts {
        now.store(Server::Mcrouter as u8, SeqCst);
        let store = patient().url(&url).classic(true).connect().unwrap();
        assert_eq!(store.capabilities().longest_ttl(), LONGEST);
        store.put("there", "v").unwrap();
        let error = act(&store).unwrap_err();
        assert!(matches!(&error, Error::InvalidTtl { longest, .. } if *longest == LONGEST), "{}", chain(&error));
        assert_eq!(store.get_many(["k", "first"]).unwrap(), [None, None], "nothing is written");
        // E5: while the server is unreachable, nobody knows which one it is.
        proxy.refuse();
        close_all(&proxy);
        let error = act(&store).unwrap_err();
        assert!(error.is_transient() && error.key().is_some(), "{}", chain(&error));
        now.store(Server::Memcached as u8, SeqCst);
        proxy.accept().unwrap();
        act(&store).unwrap();
        assert!(store.capabilities().longest_ttl() > 2 * MONTH);
        store.delete_many(["k", "first"]).unwrap();
    }
}
