//! What a server listens on, and which clients it accepts.

/// The user and password of a server that wants them.
pub(crate) const USER: &str = "kvuser";
pub(crate) const PASSWORD: &str = "kv-secret/password";

/// The name of the unix socket in the server's folder.
pub(super) const SOCKET: &str = "memcached.sock";

/// What a server listens on, and which clients it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A port.
    Tcp,
    /// A unix socket.
    Unix,
    /// A port with TLS, on which clients may have to show a certificate, and one without TLS.
    Tls { with_certificate: bool },
    /// A port, with user and password.
    WithPassword,
    /// A port with TLS and one without, both with user and password.
    TlsWithPassword,
}

impl Kind {
    pub(super) fn has_password(self) -> bool {
        matches!(self, Self::WithPassword | Self::TlsWithPassword)
    }

    pub(super) fn has_tls(self) -> bool {
        matches!(self, Self::Tls { .. } | Self::TlsWithPassword)
    }
}
