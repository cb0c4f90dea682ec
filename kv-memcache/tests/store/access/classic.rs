//! Servers without the meta commands: old ones, proxies, and those that speak only the binary protocol.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;

pub(super) const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest TTL if the server does not tell its time.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60 - 2);

/// Checks that a server is refused within half a second, and that the error names the setting that it needs.
#[track_caller]
pub(super) fn needs_the_setting(url: &str) -> String {
    let builder = MemcacheStore::builder().url(url);
    let begin = Instant::now();
    let text = refused_for_good(builder.clone());
    assert!(begin.elapsed() < WITHIN / 2, "{:?}", begin.elapsed());
    assert!(text.contains("lacks the meta commands") && text.contains("`classic(true)`"), "{text}");
    let error = builder.build().unwrap().put("k", "v-hush").unwrap_err();
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown());
    assert!(chain(&error).contains("`classic(true)`"), "{}", chain(&error));
    text
}

/// Checks what works with the classic commands, and what does not.
#[track_caller]
pub(super) fn is_classic(store: &MemcacheStore) {
    works(store);
    store.delete("k").unwrap();
    assert!(store.create("k", "v").unwrap() && !store.create("k", "w").unwrap());
    assert!(store.create_with_ttl("gone", "v", Duration::ZERO).unwrap());
    assert_eq!(store.get("gone").unwrap(), None);
    assert!(!store.create_with_ttl("k", "w", Duration::ZERO).unwrap());
    assert!(store.touch("k", Duration::from_secs(100)).unwrap() && !store.touch("gone", Ttl::Forever).unwrap());
    store.put_many([("a", ""), ("b", "END\r\n"), ("c", "VALUE k 0 1\r\n")]).unwrap();
    let values = store.get_many(["a", "gone", "c", "b", "k"]).unwrap();
    let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
    assert_eq!(values, [Some(&b""[..]), None, Some(b"VALUE k 0 1\r\n"), Some(b"END\r\n"), Some(b"v")]);
    assert_eq!(store.delete_many(["a", "b", "c", "gone"]).unwrap(), [true, true, true, false]);
    assert!(store.touch("k", Duration::ZERO).unwrap());
    assert_eq!(store.get("k").unwrap(), None);
    let capabilities = store.capabilities();
    assert!(!capabilities.supports(Capability::TtlReading) && !capabilities.supports(Capability::Copy));
    for (lacks, error) in [
        (Capability::TtlReading, store.ttl("k").unwrap_err()),
        (Capability::Copy, store.copy("k", "l").unwrap_err()),
        (Capability::Copy, store.rename("k", "l").unwrap_err()),
    ] {
        assert!(matches!(&error, Error::Unsupported { operation, .. } if *operation == lacks), "{error:?}");
    }
}

#[test]
fn any_memcached_takes_the_classic_commands() {
    let server = Memcached::start(&[]);
    let store = connected(patient().url(server.url()).classic(true));
    is_classic(&store);
    // It tells its time.
    assert!(store.capabilities().longest_ttl() > MONTH);
    store.put_with_ttl("long", "v", 2 * MONTH).unwrap();
    is_classic(&patient().url(server.url()).classic(true).build().unwrap());
    // A value of the largest size, to the byte.
    for key in ["k".to_owned(), "K".repeat(250)] {
        let (mut limit, old) = (usize::try_from(store.capabilities().largest_value().unwrap()).unwrap(), "old");
        limit += 250 - key.len();
        store.put(&key, vec![b'v'; limit]).unwrap();
        assert!(store.get(&key).unwrap().is_some_and(|value| value.len() == limit));
        store.put(&key, old).unwrap();
        let error = store.put(&key, vec![b'v'; limit + 1]).unwrap_err();
        assert!(matches!(&error, Error::ValueTooLarge { .. }), "{}", chain(&error));
        assert_eq!(store.get(&key).unwrap().as_deref(), Some(old.as_bytes()));
    }
    // The server itself accepts not a byte more, or 12 bytes more for certain versions.
    let over = usize::try_from(store.capabilities().largest_value().unwrap()).unwrap() + 13;
    let write = [format!("set {} 0 0 {over}\r\n", "K".repeat(250)).as_bytes(), &vec![b'v'; over], b"\r\n"].concat();
    assert_eq!(server.connection().ask(&write).unwrap(), "SERVER_ERROR object too large for cache");
    if !can("the refusal of a server that is too old", Need::Meta) {
        let text = needs_the_setting(&server.url());
        assert!(text.contains(&format!("the server is {}", support::version())), "{text}");
    }
}

#[test]
fn user_and_password_are_given_to_a_server_with_the_classic_commands_too() {
    if !can("user and password", Need::Password) {
        return;
    }
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    is_classic(&connected(patient().url(server.url()).classic(true)));
    let bare = MemcacheStore::builder().url(format!("memcache://127.0.0.1:{}", server.port())).classic(true);
    assert!(refused_for_good(bare.clone()).contains("wants user and password"));
    assert!(refused_for_good(bare.credentials(USER, "p-hush")).contains("does not accept user and password"));
    // A server that wants no password is distinguished from one that does.
    let open = Memcached::start(&[]);
    let builder = MemcacheStore::builder().url(open.url()).credentials(USER, PASSWORD);
    assert!(refused_for_good(builder.classic(true)).contains("the server wants none"));
}

type Act = fn(&MemcacheStore) -> kv_memcache::Result<()>;

/// A reply to another command is noticed even without numbers.
#[test]
fn a_reply_to_another_command_closes_the_connection() {
    let server = Memcached::start(&[]);
    let proxy = support::proxy(server.port());
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let store = patient().url(url).classic(true).pool_size(1).connect().unwrap();
    let acts: [(bool, Act); 4] = [
        (false, |store| store.get("k").map(drop)),
        (true, |store| store.put("other", "v")),
        (true, |store| store.delete("absent").map(drop)),
        (true, |store| store.touch("k", Ttl::Forever).map(drop)),
    ];
    for reply in
        ["VALUE other 0 1\r\nx\r\nEND\r\n", "STORED\r\nSTORED\r\n", "EXISTS\r\n", "HD O1\r\n", "\r\n", "OK\r\n"]
    {
        for (writes, act) in acts {
            store.put("k", "v").unwrap();
            let before = proxy.accepted();
            proxy.set(Behaviour::replace(reply));
            let error = act(&store).unwrap_err();
            assert!(matches!(&error, Error::Backend(_)), "{reply:?}: {}", chain(&error));
            assert_eq!(error.outcome_unknown(), writes, "{reply:?}: {}", chain(&error));
            assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]), "{reply:?}");
            assert_eq!(proxy.accepted(), before + 1, "{reply:?}");
        }
    }
}

fn twemproxy(servers: usize) -> Option<Twemproxy> {
    if Twemproxy::version().is_none() {
        skip("twemproxy", "there is no nutcracker (Debian's package nutcracker)");
        return None;
    }
    Some(Twemproxy::start((0..servers).map(|_| Memcached::start(&[])).collect()))
}

#[test]
fn twemproxy_takes_the_classic_commands_alone() {
    let Some(proxy) = twemproxy(2) else { return };
    needs_the_setting(&proxy.url());
    let builder = patient().url(proxy.url()).classic(true);
    for store in [connected(builder.clone()), builder.clone().build().unwrap()] {
        is_classic(&store);
        // The proxy tells neither its time nor the largest item.
        assert_eq!(store.capabilities().longest_ttl(), LONGEST);
        assert_eq!(store.capabilities().largest_value(), Some((1 << 20) - 12 - 309));
        store.put_with_ttl("k", "v", LONGEST).unwrap();
        // The last is too long for any server.
        for ttl in [MONTH, Duration::from_secs(u64::from(u32::MAX))] {
            let error = store.put_with_ttl("k", "w", ttl).unwrap_err();
            assert!(matches!(&error, Error::InvalidTtl { longest: LONGEST, .. }), "{}", chain(&error));
        }
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        store.put("large", vec![1; 1_000_000]).unwrap();
    }
    // Many connections at once: the proxy is not asked again what it is.
    let store = builder.clone().pool_size(30).build().unwrap();
    thread::scope(|scope| {
        for thread in 0..30 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..20 {
                    let (key, value) = (format!("k{thread}"), round.to_string());
                    store.put(&key, &value).unwrap_or_else(|error| panic!("{}", chain(&error)));
                    assert_eq!(store.get(&key).unwrap().as_deref(), Some(value.as_bytes()));
                }
            });
        }
    });
    // It would store them.
    let text = refused_for_good(MemcacheStore::builder().url(proxy.url()).classic(true).credentials(USER, PASSWORD));
    assert!(text.contains("user and password"), "{text}");
}

/// A server that closes this many connections at `stats`, and answers every other question. A restarting server does that for a moment,
/// twemproxy always.
fn closing(handshakes: usize, memcached: u16) -> u16 {
    let left = Arc::new(AtomicUsize::new(handshakes));
    impostor(move |mut client| {
        let mut begin = [0; 3];
        client.read_exact(&mut begin)?;
        if &begin != b"get" && left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Ok(());
        }
        let mut server = TcpStream::connect(("127.0.0.1", memcached))?;
        server.write_all(&begin)?;
        tunnel(&client, &server)
    })
}

#[test]
fn a_server_is_a_proxy_when_it_has_closed_the_connection_at_six_handshakes() {
    let server = Memcached::start(&[]);
    for (handshakes, is_proxy) in [(0, false), (1, false), (5, false), (6, true)] {
        let url = format!("memcache://127.0.0.1:{}", closing(handshakes, server.port()));
        let store = connected(patient().url(url).classic(true));
        // A proxy does not tell the time of its servers.
        assert_eq!(store.capabilities().longest_ttl() == LONGEST, is_proxy, "after {handshakes} handshakes");
    }
}

/// The proxy may have passed the write on before that server died, so nobody knows whether it was done.
#[test]
fn a_dead_server_behind_twemproxy_is_a_transient_error_with_an_unknown_outcome() {
    let Some(proxy) = twemproxy(2) else { return };
    let store = connected(patient().url(proxy.url()).classic(true));
    proxy.servers[0].kill();
    let (mut failed, mut done) = (0, 0);
    for number in 0..40 {
        match store.put(format!("k{number}"), "v-hush") {
            Ok(()) => done += 1,
            Err(error) => {
                failed += 1;
                assert!(error.is_transient() && error.outcome_unknown(), "{}", chain(&error));
                let error = store.get(format!("k{number}")).unwrap_err();
                assert!(error.is_transient() && !error.outcome_unknown(), "{}", chain(&error));
            }
        }
    }
    assert!(failed > 0 && done > 0, "{failed} and {done}");
    // A new store can still be made, whichever server has the key that it asks for.
    connected_to_some(&patient().url(proxy.url()).classic(true).connect().unwrap());
}

#[track_caller]
fn connected_to_some(store: &MemcacheStore) {
    assert!((0..40).any(|number| store.put(format!("n{number}"), "v").is_ok()));
}

/// A process that is killed when it is dropped.
struct Process {
    child: Child,
    _settings: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A memcached that does not speak the protocol of the tests.
fn binary(arguments: &[&str]) -> Option<(Process, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(support::program());
    command.args(["-u", "root", "-U", "0", "-l", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    // Without any settings SASL does not start.
    let settings = tempfile::tempdir().unwrap();
    fs::write(settings.path().join("memcached.conf"), "mech_list: plain\n").unwrap();
    command.env("SASL_CONF_PATH", settings.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut process = Process { child, _settings: settings };
    wait_until(|| match (TcpStream::connect(("127.0.0.1", port)), process.child.try_wait()) {
        (Ok(_), _) => Ok(true),
        (Err(_), Ok(Some(_))) => Ok(false),
        (Err(error), _) => Err(error.to_string()),
    })
    .then_some((process, port))
}

#[test]
fn a_server_that_speaks_the_binary_protocol_alone_is_told_at_once() {
    for arguments in [&["-B", "binary"][..], &["-S"]] {
        let Some((_process, port)) = binary(arguments) else {
            skip(&format!("memcached {arguments:?}"), "it does not start here (it may be compiled without SASL)");
            continue;
        };
        for classic in [false, true] {
            let builder = || MemcacheStore::builder().url(format!("memcache://127.0.0.1:{port}")).classic(classic);
            for builder in [builder(), builder().credentials(USER, PASSWORD)] {
                let begin = Instant::now();
                let text = refused_for_good(builder);
                assert!(begin.elapsed() < WITHIN / 2, "{:?}", begin.elapsed());
                assert!(text.contains("speaks the binary protocol alone"), "{text}");
            }
        }
    }
}
