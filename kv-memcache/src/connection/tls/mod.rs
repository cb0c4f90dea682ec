//! TLS, by rustls.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::socket::Socket;
use crate::protocol::refusal::Refusal;

pub(crate) use advice::advice;

mod advice;

/// How the URL of a server without TLS begins.
const PLAIN_SCHEME: &str = "memcache://";

pub(crate) type Stream = StreamOn<Socket>;

/// TLS on anything that is read and written.
pub(crate) type StreamOn<S> = StreamOwned<ClientConnection, S>;

/// Needs the feature `tls`. Which servers to trust, and which client certificate to show, if a URL says `memcache+tls://`. Without it the
/// certificate authorities of the operating system are trusted, and no client certificate is shown.
///
/// ```no_run
/// use std::fs;
/// use kv_memcache::{MemcacheStore, Tls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new()
///     .certificate_authority(fs::read("ca.pem")?)
///     .client_certificate(fs::read("client.pem")?, fs::read("client.key")?);
/// let store = MemcacheStore::builder().url("memcache+tls://cache.example:11211").tls(tls).connect()?;
/// # Ok(())
/// # }
/// ```
///
/// Certificates are always checked. Its `Debug` shows no key ([E3](kv_core::contract#9-errors)).
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    authorities: Vec<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Tls {
    /// The certificate authorities of the operating system, and no client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificate authorities in this PEM file instead of those of the operating system. May be called more than once.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(pem.into());
        self
    }

    /// Shows this certificate to a server that asks for one. The file is PEM, with the certificate first, then those between it and its
    /// authority. The key is its private key, in PEM, too.
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The name that the server's certificate has to have, instead of the host in the URL: a host name, or an IP address, without a
    /// port. It is for servers that are reached by another name than their own, such as through a tunnel or by an address. A host name is also
    /// sent to the server (SNI).
    ///
    /// With several servers, the certificates of all have to have it.
    ///
    /// ```
    /// use kv_memcache::{MemcacheStore, Tls};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // One end of a tunnel to cache.example.
    /// let tls = Tls::new().server_name("cache.example");
    /// let store = MemcacheStore::builder().url("memcache+tls://localhost:7000").tls(tls).build();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The builder's `build` and `connect` fail if no certificate can have it.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate_authorities", &self.authorities.len())
            .field("client_certificate", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// Makes a TLS stream of a connected socket.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    /// The name of the server, if it is not that of its host.
    server_name: Option<ServerName<'static>>,
    shows_certificate: bool,
}

impl Connector {
    /// Reads the certificates. An error says which certificate cannot be used.
    pub(crate) fn new(tls: &Tls) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for pem in &tls.authorities {
            for certificate in certificates(pem, "a certificate authority")? {
                roots.add(certificate).map_err(|error| format!("a certificate authority cannot be used: {error}"))?;
            }
        }
        if tls.authorities.is_empty() {
            // A certificate that cannot be read is skipped.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            return Err("there is no certificate authority to trust, neither given nor on this system".into());
        }
        // The provider is given explicitly: an application may have installed none, or another one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match &tls.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "the client certificate")?;
                let no_key = |_| format!("the client's key is not a PEM file with a key{}", advice::about_pem(key));
                let key = PrivateKeyDer::from_pem_slice(key).map_err(no_key)?;
                config.with_client_auth_cert(chain, key).map_err(|error| advice::about_identity(&error))?
            }
        };
        // memcached that asks for certificates answers an attempt to resume a session with an alert, `internal_error`: it has given
        // OpenSSL no session id context.
        config.resumption = Resumption::disabled();
        let no_name = |_| {
            format!(
                "`Tls::server_name` is {:?}, and has to be a host name or an IP address, without a port",
                tls.server_name
            )
        };
        Ok(Self {
            config: Arc::new(config),
            server_name: tls.server_name.as_deref().map(name).transpose().map_err(no_name)?,
            shows_certificate: tls.identity.is_some(),
        })
    }

    /// Whether a certificate for this host can exist.
    pub(crate) fn accepts(&self, host: &str) -> bool {
        self.server_name.is_some() || name(host).is_ok()
    }

    pub(crate) fn shows_certificate(&self) -> bool {
        self.shows_certificate
    }

    fn name_of(&self, host: &str) -> io::Result<ServerName<'static>> {
        self.server_name.clone().map_or_else(|| name(host), Ok)
    }

    /// Makes the TLS handshake on a socket with the server of this name.
    pub(crate) fn wrap(&self, host: &str, mut socket: Socket) -> io::Result<Stream> {
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), self.name_of(host)?).map_err(io::Error::other)?;
        while connection.wants_write() {
            connection.write_tls(&mut socket)?;
        }
        // A memcached that accepts no more connections says so in clear text.
        let mut first = [0; 256];
        let length = socket.read(&mut first)?;
        let mut first = first.get(..length).unwrap_or_default();
        if first.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(refusal) = first.strip_suffix(b"\r\n").and_then(Refusal::parse).filter(Refusal::is_of_too_many) {
            return Err(io::Error::other(refusal));
        }
        while !first.is_empty() {
            connection.read_tls(&mut first)?;
        }
        let unfit = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        connection.process_new_packets().map_err(unfit)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

/// A host as certificates name it.
fn name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(io::Error::other)
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{what} is not a PEM file with a certificate{}", advice::about_pem(pem))),
    }
}
