//! TLS, by rustls.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::connection::socket::Socket;

pub(crate) use advice::advice;

mod advice;

/// How the URL of a server without TLS begins.
const PLAIN_SCHEME: &str = "redis://";

pub(crate) type Stream = StreamOn<Socket>;

/// TLS on anything that is read and written.
pub(crate) type StreamOn<S> = StreamOwned<ClientConnection, S>;

/// Needs the feature `tls`. Which servers to trust and which certificate to show, where a URL says `rediss://`. Without it, the
/// certificate authorities of the operating system are trusted, and no certificate is shown.
///
/// ```no_run
/// use std::fs;
/// use kv_redis::{RedisStore, Tls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new()
///     .certificate_authority(fs::read("ca.pem")?)
///     .client_certificate(fs::read("client.pem")?, fs::read("client.key")?);
/// let store = RedisStore::builder().url("rediss://cache.example:6379").tls(tls).connect()?;
/// # Ok(())
/// # }
/// ```
///
/// Certificates are always checked. Its `Debug` shows no key.
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    authorities: Vec<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Tls {
    /// Trusts the operating system's authorities; shows no client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificate authorities in this PEM file, and no longer those of the operating system. May be called
    /// more than once.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(pem.into());
        self
    }

    /// Shows this certificate (a PEM file with the certificate first, then those between it and its authority) to a server
    /// that asks for one; the key is its private key, in PEM too.
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The name that the server's certificate has to have, in place of the host in the URL: a host name, or an IP address, without a
    /// port. For servers that are reached by another name than their own, such as by a tunnel or an address. A name is also
    /// what the server is asked for (SNI).
    ///
    /// In a cluster and behind sentinels it is the name of all nodes, and of the sentinels.
    ///
    /// ```
    /// use kv_redis::{RedisStore, Tls};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // One end of a tunnel to cache.example.
    /// let tls = Tls::new().server_name("cache.example");
    /// let store = RedisStore::builder().url("rediss://localhost:7000").tls(tls).build();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The builder's `build` and `connect` fail if a certificate cannot have this name.
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
    /// Reads the certificates. An error says which one cannot be used.
    pub(crate) fn new(tls: &Tls) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for pem in &tls.authorities {
            for certificate in certificates(pem, "a certificate authority")? {
                roots.add(certificate).map_err(|error| format!("a certificate authority cannot be used: {error}"))?;
            }
        }
        if tls.authorities.is_empty() {
            // A certificate that cannot be read is left out.
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
        let config = match &tls.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "the client certificate")?;
                let no_key = |_| format!("the client's key is not a PEM file with a key{}", advice::about_pem(key));
                let key = PrivateKeyDer::from_pem_slice(key).map_err(no_key)?;
                config.with_client_auth_cert(chain, key).map_err(|error| advice::about_identity(&error))?
            }
        };
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

    /// Whether a certificate can have the name of this host.
    pub(crate) fn accepts(&self, host: &str) -> bool {
        self.server_name.is_some() || name(host).is_ok()
    }

    pub(crate) fn shows_certificate(&self) -> bool {
        self.shows_certificate
    }

    fn name_of(&self, host: &str) -> io::Result<ServerName<'static>> {
        self.server_name.clone().map_or_else(|| name(host), Ok)
    }

    pub(crate) fn wrap(&self, host: &str, socket: Socket) -> io::Result<Stream> {
        let connection =
            ClientConnection::new(Arc::clone(&self.config), self.name_of(host)?).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, socket))
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
