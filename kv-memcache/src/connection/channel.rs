//! The bytes of a connection, with TLS or without.

use std::io::{self, IoSlice, Read, Write};
use std::time::Instant;

use super::socket::Socket;
#[cfg(feature = "tls")]
use super::tls;
use crate::protocol::request::Encoded;

pub(super) enum Channel {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

impl Channel {
    /// Begins an exchange that has to end by the deadline.
    pub(super) fn begin(&mut self, now: Instant, deadline: Instant) {
        self.socket_mut().begin(now, deadline);
    }

    /// Whether any byte was sent since the exchange began.
    pub(super) fn has_sent(&self) -> bool {
        self.socket().has_sent()
    }

    pub(super) fn send(&mut self, request: &Encoded<'_>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => match request.in_one_piece() {
                Some(bytes) => socket.write_all(bytes),
                None => write_all_vectored(socket, &mut request.pieces()),
            },
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                // rustls sends a record before it encrypts the next one, so each piece begins a record.
                request.records().into_iter().try_for_each(|record| stream.write_all(record))?;
                stream.flush()
            }
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Whether what is sent goes in records of TLS.
    #[cfg(feature = "tokio")]
    pub(super) fn has_records(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream,
        }
    }

    /// Whether something has been decrypted and not been read.
    pub(super) fn has_more(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                !matches!(stream.conn.process_new_packets(), Ok(state) if state.plaintext_bytes_to_read() == 0)
            }
        }
    }
}

fn write_all_vectored(to: &mut impl Write, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !pieces.is_empty() {
        match to.write_vectored(pieces)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut pieces, written),
        }
    }
    Ok(())
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().read(buffer)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}
