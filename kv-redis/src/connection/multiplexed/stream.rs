//! The socket of a connection that a task drives, perhaps with TLS on it.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::io::{self, Read, Write};
use std::net::TcpStream as StdTcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockRef, Socket as RawSocket};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::connection::channel::Channel;
use crate::connection::system;
#[cfg(feature = "tls")]
use crate::connection::tls;

/// A socket that the reactor of a runtime watches.
enum Watched {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Watched {
    /// Has to be called on a task of the runtime.
    fn new(raw: RawSocket) -> io::Result<Self> {
        raw.set_nonblocking(true)?;
        #[cfg(unix)]
        if raw.domain()? == Domain::UNIX {
            return UnixStream::from_std(StdUnixStream::from(raw)).map(Self::Unix);
        }
        TcpStream::from_std(StdTcpStream::from(raw)).map(Self::Tcp)
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            #[cfg(unix)]
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            #[cfg(unix)]
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream of bytes that waits for nothing.
pub(super) struct Stream(Bytes);

enum Bytes {
    Plain(Watched),
    #[cfg(feature = "tls")]
    Tls(Box<tls::StreamOn<Watched>>),
}

impl Stream {
    /// Takes over a connected channel. Has to be called on a task of the runtime.
    pub(super) fn new(channel: Channel) -> io::Result<Self> {
        Ok(Self(match channel {
            Channel::Plain(socket) => Bytes::Plain(Watched::new(socket.into_raw())?),
            #[cfg(feature = "tls")]
            Channel::Tls(stream) => {
                let tls::Stream { conn, sock } = *stream;
                Bytes::Tls(Box::new(tls::StreamOn::new(conn, Watched::new(sock.into_raw())?)))
            }
        }))
    }

    fn watched(&self) -> &Watched {
        match &self.0 {
            Bytes::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Bytes::Tls(stream) => &stream.sock,
        }
    }

    /// Waits until a call that would have to wait may be repeated.
    fn poll_ready(&self, context: &mut Context<'_>, writes: bool) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Bytes::Tls(stream) = &self.0
            && !writes
            && stream.conn.wants_write()
            && let Poll::Ready(result) = stream.sock.poll_write_ready(context)
        {
            return Poll::Ready(result);
        }
        if writes { self.watched().poll_write_ready(context) } else { self.watched().poll_read_ready(context) }
    }

    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        writes: bool,
        mut call: impl FnMut(&mut dyn ReadWrite) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let result = match &mut self.0 {
                Bytes::Plain(socket) => call(socket),
                #[cfg(feature = "tls")]
                Bytes::Tls(stream) => call(&mut **stream),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_ready(context, writes))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Reads something; nothing at the end of the stream.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // After a part of the buffer was filled, the reactor need not ask the system whether there is more, as `try_read` does.
        match &mut self.0 {
            Bytes::Plain(socket) => socket.poll_read(context, buffer),
            #[cfg(feature = "tls")]
            Bytes::Tls(_) => self.poll(context, false, |stream| stream.read(buffer)),
        }
    }

    /// Writes a part.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, true, |stream| stream.write(bytes))
    }

    /// Sends what TLS has kept back.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, true, |stream| stream.flush())
    }

    /// Whether something has been decrypted and not been read.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self, reason = "TLS needs it"))]
    pub(super) fn has_more(&mut self) -> bool {
        match &mut self.0 {
            Bytes::Plain(_) => false,
            #[cfg(feature = "tls")]
            Bytes::Tls(stream) => {
                !matches!(stream.conn.process_new_packets(), Ok(state) if state.plaintext_bytes_to_read() == 0)
            }
        }
    }

    /// Whether the peer has neither sent a reply nor closed the connection (N4). Asks the system: what the reactor says may be old.
    pub(super) fn is_quiet(&mut self) -> bool {
        if system::is_quiet(&self.watched().socket()) {
            return true;
        }
        match &mut self.0 {
            Bytes::Plain(_) => false,
            // What came may be about TLS only.
            #[cfg(feature = "tls")]
            Bytes::Tls(stream) => loop {
                let socket = stream.sock.socket();
                match stream.conn.read_tls(&mut &*socket) {
                    Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
                    Ok(0) => break false,
                    Ok(_) => match stream.conn.process_new_packets() {
                        Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                        _ => break false,
                    },
                }
            },
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}
