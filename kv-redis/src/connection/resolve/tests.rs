use std::sync::Barrier;
use std::sync::atomic::AtomicU32;

use super::*;

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
}

fn chosen(texts: &[&str]) -> Vec<String> {
    choose(&distinct(addresses(texts))).iter().map(|address| address.ip().to_string()).collect()
}

fn resolver(lookup: Lookup, limit: &'static LookupLimit) -> Resolver {
    Resolver { names: PerProcess::new(Mutex::default()), lookup, limit }
}

fn name(resolver: &Resolver, host: &str) -> Arc<HostName> {
    resolver.host(host).map_err(drop).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(100)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn a_name_stands_for_one_server_whatever_the_order_of_its_addresses() {
    assert_eq!(chosen(&["10.0.0.9"]), ["10.0.0.9"]);
    for order in [["10.0.0.10", "10.0.0.9", "9.0.0.200"], ["9.0.0.200", "10.0.0.10", "10.0.0.9"]] {
        assert_eq!(chosen(&order), ["9.0.0.200"], "as numbers, not as text");
    }
    assert_eq!(chosen(&["fd00::2", "10.0.0.2", "10.0.0.1", "fd00::1"]), ["10.0.0.1"]);
    assert_eq!(chosen(&["fd00::2", "fd00::1", "10.0.0.2"]), ["10.0.0.2"]);
    assert_eq!(chosen(&["fd00::10", "fd00::2"]), ["fd00::2"]);
    assert_eq!(chosen(&[]), [""; 0]);
}

#[test]
fn one_address_of_each_family_is_one_server_in_the_order_of_the_resolver() {
    assert_eq!(chosen(&["::1", "127.0.0.1"]), ["::1", "127.0.0.1"]);
    assert_eq!(chosen(&["127.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
    // /etc/hosts may have a line twice, and an IPv4 address in the form of the other family.
    assert_eq!(chosen(&["::1", "127.0.0.1", "127.0.0.1", "::1"]), ["::1", "127.0.0.1"]);
    assert_eq!(chosen(&["::ffff:10.0.0.1", "10.0.0.1"]), ["10.0.0.1"]);
}

/// What the resolver answers, one test after the other.
static ANSWERS: Mutex<Vec<&[&str]>> = Mutex::new(Vec::new());

#[test]
fn connections_are_out_of_date_when_the_name_stands_for_another_server() {
    static LOOKUPS: LookupLimit = LookupLimit::new(1);
    let resolver = resolver(|_| Ok(addresses(lock(&ANSWERS).pop().unwrap())), &LOOKUPS);
    let name = name(&resolver, "cache.example");
    let server = |answer: &'static [&'static str]| {
        lock(&ANSWERS).push(answer);
        name.server(later()).unwrap()
    };
    let first = server(&["10.0.0.2", "10.0.0.3"]);
    assert_eq!((first.addresses, first.of), (addresses(&["10.0.0.2"]), 2));
    // The same one: in another order, with others, alone, with an address of the other family and without.
    for answer in
        [&["10.0.0.3", "10.0.0.2"][..], &["10.0.0.4", "10.0.0.2"], &["10.0.0.2"], &["::2", "10.0.0.2"], &["::2"]]
    {
        assert_eq!(server(answer).generation, first.generation, "{answer:?}");
    }
    assert!(name.is_current(first.generation));
    let second = server(&["10.0.0.3", "10.0.0.2", "10.0.0.1"]);
    assert_eq!(second.addresses, addresses(&["10.0.0.1"]));
    assert!(!name.is_current(first.generation) && name.is_current(second.generation));
    let third = server(&["10.0.0.2"]);
    assert!(name.is_current(third.generation) && !name.is_current(second.generation));
}

#[test]
fn callers_of_one_name_wait_for_one_lookup() {
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    static LOOKUPS: LookupLimit = LookupLimit::new(100);
    let resolver = resolver(
        |_| {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(300));
            Ok(addresses(&["10.0.0.1"]))
        },
        &LOOKUPS,
    );
    let (name, together) = (name(&resolver, "cache.example"), Barrier::new(50));
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                together.wait();
                assert_eq!(name.addresses(later()).unwrap(), addresses(&["10.0.0.1"]));
            });
        }
    });
    assert_eq!(BEGUN.load(Ordering::Relaxed), 1);
    // An answer is not kept: the next connection may find another one.
    name.addresses(later()).unwrap();
    assert_eq!(BEGUN.load(Ordering::Relaxed), 2);
}

#[test]
fn a_resolver_that_hangs_holds_a_few_threads_and_is_used_when_it_is_back() {
    static LOOKUPS: LookupLimit = LookupLimit::new(3);
    static HANGING: AtomicU32 = AtomicU32::new(0);
    static GATE: Mutex<()> = Mutex::new(());
    let resolver = resolver(
        |_| {
            HANGING.fetch_add(1, Ordering::Relaxed);
            drop(lock(&GATE));
            HANGING.fetch_sub(1, Ordering::Relaxed);
            Ok(addresses(&["10.0.0.1"]))
        },
        &LOOKUPS,
    );
    let closed = lock(&GATE);
    thread::scope(|scope| {
        for caller in 0..20 {
            let name = name(&resolver, &format!("cache{}.example", caller % 10));
            scope.spawn(move || {
                for _ in 0..5 {
                    let begin = Instant::now();
                    let error = name.addresses(soon()).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
                    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
                    assert!(error.to_string().contains("the resolver (DNS)"), "{error}");
                    assert!(HANGING.load(Ordering::Relaxed) <= 3);
                }
            });
        }
    });
    assert_eq!(HANGING.load(Ordering::Relaxed), 3);
    let error = name(&resolver, "another.example").addresses(soon()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "another.example was not looked up: the resolver (DNS) has not answered 3 other lookups"
    );
    drop(closed);
    assert_eq!(name(&resolver, "another.example").addresses(later()).unwrap(), addresses(&["10.0.0.1"]));
}

/// A name that nobody answers for gets a second lookup, and a fourth, but no fifth.
#[test]
fn a_second_lookup_begins_while_the_first_is_slow() {
    static LOOKUPS: LookupLimit = LookupLimit::new(100);
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    static GATE: Mutex<()> = Mutex::new(());
    let resolver = resolver(
        |_| {
            if BEGUN.fetch_add(1, Ordering::Relaxed) == 1 {
                return Ok(addresses(&["10.0.0.1"]));
            }
            drop(lock(&GATE));
            Err(io::Error::other("too late"))
        },
        &LOOKUPS,
    );
    let name = name(&resolver, "cache.example");
    let closed = lock(&GATE);
    // The first hangs, the second is answered.
    assert_eq!(name.addresses(later()).unwrap(), addresses(&["10.0.0.1"]));
    assert_eq!(BEGUN.load(Ordering::Relaxed), 2);
    let error = name.addresses(Instant::now() + Duration::from_secs(6)).unwrap_err();
    assert_eq!(error.to_string(), "the resolver (DNS) does not answer, cache.example was to be looked up");
    assert_eq!(BEGUN.load(Ordering::Relaxed), 2 + 3, "four are under way");
    drop(closed);
}

/// The answer that comes first counts, but not an error of an old lookup while a newer one is running.
#[test]
fn an_old_error_does_not_count() {
    static LOOKUPS: LookupLimit = LookupLimit::new(100);
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    let resolver = resolver(
        |_| {
            let first = BEGUN.fetch_add(1, Ordering::Relaxed) == 0;
            thread::sleep(Duration::from_millis(1500));
            if first { Err(io::Error::other("too late")) } else { Ok(addresses(&["10.0.0.1"])) }
        },
        &LOOKUPS,
    );
    assert_eq!(name(&resolver, "cache.example").addresses(later()).unwrap(), addresses(&["10.0.0.1"]));
}

#[test]
fn an_address_is_not_looked_up() {
    let resolver = resolver(|_| Err(io::Error::other("looked up")), &LOOKUPS);
    assert_eq!(resolver.host("127.0.0.1").err(), Some("127.0.0.1".parse().unwrap()));
    assert_eq!(resolver.host("::1").err(), Some("::1".parse().unwrap()));
    assert!(resolver.host("127.1").is_ok(), "that is the resolver's to say");
}
