//! The certificates of a server with TLS and of its clients.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Certificates for one server, of its own CA and of a CA that it does not trust, in PEM.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The CA's certificate, which clients have to trust.
    pub(crate) ca: String,
    /// The server's identity, for `localhost` and 127.0.0.1.
    pub(crate) server: Identity,
    /// The identity of a client that the server accepts.
    pub(crate) client: Identity,
    /// The certificate of a CA that the server does not trust.
    pub(crate) stranger_ca: String,
    /// The identity, signed by that CA, of a client that the server refuses.
    pub(crate) stranger: Identity,
}

impl Certificates {
    pub(super) fn make() -> Self {
        let (ca, issuer) = authority("the CA of the tests");
        let (stranger_ca, stranger_issuer) = authority("a CA that nobody trusts");
        Self {
            ca,
            server: identity(&issuer, ExtendedKeyUsagePurpose::ServerAuth),
            client: identity(&issuer, ExtendedKeyUsagePurpose::ClientAuth),
            stranger_ca,
            stranger: identity(&stranger_issuer, ExtendedKeyUsagePurpose::ClientAuth),
        }
    }
}

/// The certificate of a CA, and its signing key.
pub(crate) fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

fn identity(issuer: &Issuer<'_, KeyPair>, usage: ExtendedKeyUsagePurpose) -> Identity {
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    Identity { certificate: params.signed_by(&key, issuer).unwrap().pem(), key: key.serialize_pem() }
}
