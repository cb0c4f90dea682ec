//! What differs between operating systems. A port to another one changes this file and `Cargo.toml`.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::io;
use std::path::Path;
use std::time::Duration;

use socket2::{SockAddr, Socket, TcpKeepalive};

/// The flags of `send`: a peer that has closed the connection causes an error, not a signal that ends the process.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
/// On Apple's systems `socket2` sets this when it makes the socket. Other systems have no such signal.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub(crate) const NO_SIGNAL: i32 = 0;

/// The flag of `send` that returns instead of waiting for room in the buffer of the socket. Other systems have none: there, sending waits.
#[cfg(unix)]
pub(crate) const AT_ONCE: i32 = libc::MSG_DONTWAIT;
#[cfg(not(unix))]
pub(crate) const AT_ONCE: i32 = 0;

/// Whether the peer has neither sent anything nor closed the connection, without waiting. One system call.
#[cfg(unix)]
pub(crate) fn is_quiet(socket: &Socket) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    would_block(socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT))
}

/// The same for systems without `MSG_DONTWAIT`.
#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code, reason = "for other systems; tests keep it working"))]
pub(crate) fn is_quiet_by_three_calls(socket: &Socket) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    if socket.set_nonblocking(true).is_err() {
        return false;
    }
    let quiet = would_block(socket.peek(&mut byte));
    socket.set_nonblocking(false).is_ok() && quiet
}

#[cfg(not(unix))]
pub(crate) use is_quiet_by_three_calls as is_quiet;

fn would_block(peeked: io::Result<usize>) -> bool {
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// How often the peer is probed, and after how many probes without an answer the connection is given up.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Makes the system probe the peer of a TCP connection after this idle time, as far as the system supports that.
pub(crate) fn keep_alive(socket: &Socket, idle: Duration) {
    let keepalive = TcpKeepalive::new().with_time(idle);
    #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux", target_vendor = "apple", windows))]
    let keepalive = keepalive.with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Why a path cannot be that of a unix socket.
pub(crate) const NO_UNIX_SOCKET: &str =
    if cfg!(unix) { "the path is too long for a unix socket" } else { "unix sockets are not supported on this system" };

/// The address of a unix socket.
#[cfg(unix)]
pub(crate) fn unix_socket(path: &Path) -> io::Result<SockAddr> {
    SockAddr::unix(path)
}

/// An error: this system has no unix sockets.
#[cfg(not(unix))]
pub(crate) fn unix_socket(_path: &Path) -> io::Result<SockAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, NO_UNIX_SOCKET))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_is_quiet_until_something_arrives_by_either_check() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (mut peer, _) = listener.accept().unwrap();
        assert!(is_quiet(&ours) && is_quiet_by_three_calls(&ours));
        peer.write_all(b"x").unwrap();
        while is_quiet(&ours) {}
        assert!(!is_quiet_by_three_calls(&ours));
        drop(peer);
        assert!(!is_quiet(&ours) && !is_quiet_by_three_calls(&ours));
    }
}
