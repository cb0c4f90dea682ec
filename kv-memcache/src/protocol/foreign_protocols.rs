//! Recognises other protocols by the first bytes that a server sends.

/// How memcached's replies in the handshake begin.
const OWN: [&[u8]; 9] =
    [b"STAT ", b"END", b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"VERSION ", b"STORED", b"RESET", b"MN"];

/// The first bytes of other protocols, and what to do.
const OTHERS: [(&[u8], &str); 11] = [
    (b"-", "it is a redis: use kv-redis, or another port"),
    (b"HTTP/", "it is a web server: check host and port"),
    (b"\x15\x03", "it wants TLS: `memcache+tls://` in the URL"),
    (b"SSH-", "it is an SSH server: check host and port"),
    (b"220", "it is a mail or FTP server: check host and port"),
    (b"AMQP", "it is an AMQP broker: check host and port"),
    (b"* OK", "it is a mail server: check host and port"),
    (b"+OK", "it is a mail server: check host and port"),
    (b"INFO {", "it is a NATS server: check host and port"),
    (b"\x81", "it speaks the binary protocol: start memcached without `-B binary` and `-S`"),
    (b"E\0\0", "it is a PostgreSQL: check host and port"),
];

/// The hello of a client that offers TLS 1.2. A server that wants TLS answers with a record, at least with an alert. The line end belongs
/// to no record; it makes a memcached without TLS answer, too.
pub(crate) const TLS_HELLO: &[u8] =
    b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x03kv-memcache asks for TLS........\0\0\x04\xc0\x2f\xc0\x2b\x01\0\r\n";

/// Whether this begins a record of TLS: a hello, or an alert.
pub(crate) fn is_tls(answer: [u8; 2]) -> bool {
    matches!(answer, [0x15 | 0x16, 0x03])
}

/// Whether this may be the beginning of a line of a memcached.
pub(crate) fn may_be_memcached(begin: &[u8]) -> bool {
    OWN.iter().any(|own| own.iter().zip(begin).all(|(one, other)| one == other))
}

/// The advice for a server that is not a memcached and said this.
pub(crate) fn advice(said: &[u8]) -> String {
    let other = OTHERS.iter().find(|(begin, _)| said.starts_with(begin));
    let what = other.map_or("check host and port", |(_, what)| what);
    format!("the server does not speak the protocol of memcached; {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hello_has_the_lengths_that_it_says() {
        let length = |high: usize, low: usize| usize::from(TLS_HELLO[high]) << 8 | usize::from(TLS_HELLO[low]);
        assert_eq!(length(3, 4), TLS_HELLO.len() - 5 - 2);
        assert_eq!(length(7, 8), TLS_HELLO.len() - 9 - 2);
        assert_eq!(TLS_HELLO[43], 0, "no session");
        assert_eq!(length(44, 45), 4);
        assert!(is_tls([0x15, 3]) && is_tls([0x16, 3]) && !is_tls(*b"ST") && !is_tls([0x17, 3]));
    }

    #[test]
    fn a_part_of_a_line_of_memcached_is_not_foreign() {
        for part in ["", "S", "STAT pid 1", "E", "ER", "END\r", "CLIENT_", "SERVER_ERROR out", "VERSION 1"] {
            assert!(may_be_memcached(part.as_bytes()), "{part}");
        }
        for part in ["s", "-ERR", "HTTP/1.1", "\u{15}\u{3}", "SSH", "220", "VA 1", "hello"] {
            assert!(!may_be_memcached(part.as_bytes()), "{part}");
        }
    }
}
