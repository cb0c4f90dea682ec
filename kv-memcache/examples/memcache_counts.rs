//! The program whose instructions `scripts/instructions.sh` counts, on a server that it starts: `counts STORE OPERATION TIMES`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "it is a part of the tests")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use kv_memcache::{KeyValueStoreExt, MemcacheStore};
use support::{Memcached, PATIENCE};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [who, what, times] = arguments.as_slice() else { panic!("counts STORE OPERATION TIMES") };
    let times = times.parse().unwrap();
    let server = Memcached::start(&[]);
    let store = MemcacheStore::builder().url(server.url()).response_timeout(PATIENCE).connect().unwrap();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    socket.set_nodelay(true).unwrap();
    let (key, value) = (black_box("key"), vec![b'v'; 100]);
    store.put(key, &value).unwrap();
    match (who.as_str(), what.as_str()) {
        ("kv-memcache", "get") => count(times, || drop(black_box(store.get(key).unwrap()))),
        ("kv-memcache", "put") => count(times, || store.put(key, &value).unwrap()),
        ("a bare socket", "get") => {
            let reply = [&b"VA 100 O1\r\n"[..], &value, b"\r\n"].concat();
            count(times, || exchange(&mut socket, b"mg key v O1\r\n", &reply));
        }
        ("a bare socket", "put") => {
            let request = [&b"ms key 100 O1 T0\r\n"[..], &value, b"\r\n"].concat();
            count(times, || exchange(&mut socket, &request, b"HD O1\r\n"));
        }
        other => panic!("{other:?}"),
    }
}

/// The cheapest possible exchange: a prepared request and a known reply.
fn exchange(socket: &mut TcpStream, request: &[u8], reply: &[u8]) {
    let mut received = [0; 256];
    socket.write_all(request).unwrap();
    socket.read_exact(received.get_mut(..reply.len()).unwrap()).unwrap();
    assert!(received.starts_with(reply));
}

/// Warms up, and then runs the operation that is counted.
fn count(times: u32, mut act: impl FnMut()) {
    (0..100).for_each(|_| act());
    counted(times, &mut act);
}

/// The script knows the name of this function.
#[inline(never)]
fn counted(times: u32, act: &mut dyn FnMut()) {
    (0..times).for_each(|_| act());
}
