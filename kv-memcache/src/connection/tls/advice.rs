//! What to do about an error of TLS.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription as Alert, CertificateError, Error, InconsistentKeys};

use super::PLAIN_SCHEME;

/// The command that makes a certificate with this name, signed by the authority in `ca.pem`.
fn make_certificate(name: Option<&ServerName<'_>>) -> String {
    let of_name = |kind: &str, name: &str| {
        format!(
            "openssl req -x509 -CA ca.pem -CAkey ca.key -newkey rsa:2048 -nodes -days 365 -keyout server.key -out server.pem \
            -subj /CN={name} -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={kind}:{name}"
        )
    };
    match name {
        Some(name) if matches!(name, ServerName::IpAddress(_)) => of_name("IP", &name.to_str()),
        Some(name) => of_name("DNS", &name.to_str()),
        None => format!("(NAME is the host in the URL) {}", of_name("DNS", "NAME")),
    }
}

/// What to do about an error of TLS; `None` if it is another error. A refusal means something else if a client certificate was shown.
pub(crate) fn advice(error: &io::Error, shows_certificate: bool) -> Option<String> {
    let advice = match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(problem) => return Some(about_certificate(problem)),
        Error::NoCertificatesPresented => "the server has no certificate, or shows none",
        Error::AlertReceived(alert) => about_alert(*alert, shows_certificate),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => {
            return Some(format!(
                "what answers there does not speak TLS; see the port, and `{PLAIN_SCHEME}` in the URL"
            ));
        }
        Error::PeerIncompatible(_) => {
            "the server offers no TLS that is supported here: TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20; see its settings for \
            protocols and ciphers"
        }
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the server does not keep to TLS; if something stands between, such as a proxy, see there"
        }
        _ => "TLS failed",
    };
    Some(advice.into())
}

/// Why the certificate of the server is not accepted, and what to do about it.
fn about_certificate(problem: &CertificateError) -> String {
    use CertificateError as Problem;
    match problem {
        Problem::Expired | Problem::ExpiredContext { .. } => {
            "the server's certificate has expired, or that of an authority between it and the one that is trusted; renew it, or set the \
            clock of this machine"
                .into()
        }
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; the clock of this machine is slow, or that of the machine that made it was fast"
                .into()
        }
        Problem::NotValidForNameContext { expected, presented } if presented.is_empty() => format!(
            "the server's certificate has no names (no subjectAltName; its CN does not count); make one that has: {}",
            make_certificate(Some(expected))
        ),
        Problem::NotValidForNameContext { expected, .. } => format!(
            "the server's certificate is for other names than {}; let the host in the URL be one of them, or tell which one it has to \
            have, `Tls::server_name`",
            expected.to_str()
        ),
        Problem::UnknownIssuer => {
            "the server's certificate was signed by an authority that is not trusted here; give that authority's certificate, \
            `Tls::certificate_authority`, and let the server send those in between along with its own"
                .into()
        }
        Problem::BadSignature => {
            "the signature on the server's certificate does not fit; either the authority that was given has the name of the one that \
            signed and another key (it was made anew: give the current one), or a key is too short (RSA needs 2048 bits)"
                .into()
        }
        Problem::UnsupportedSignatureAlgorithmContext { .. }
        | Problem::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate is signed in a way that is not accepted, such as SHA-1, or with a kind of key that is not \
            known; sign it with RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519, and SHA-256 or better"
                .into()
        }
        Problem::InvalidPurpose | Problem::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers: its extendedKeyUsage lacks serverAuth".into()
        }
        Problem::UnhandledCriticalExtension => {
            "the server's certificate has a critical extension that is not known here".into()
        }
        Problem::BadEncoding => "the server's certificate cannot be read; make a new one".into(),
        Problem::Revoked => "the server's certificate has been revoked".into(),
        Problem::Other(other) => about_other(&other.to_string()),
        _ => "the server's certificate was not accepted".into(),
    }
}

/// The same for errors of webpki, known by their names.
fn about_other(name: &str) -> String {
    match name {
        name if name.contains("CaUsedAsEndEntity") => format!(
            "the server shows the certificate of an authority (CA:TRUE, as `openssl req -x509` makes it) as its own; either leave that \
            the authority, and sign one for the server with it: {}; or make one that signs itself and is no authority: \
            the same without -CA and -CAkey",
            make_certificate(None)
        ),
        name if name.contains("UnsupportedCertVersion") => format!(
            "the server's certificate is of X.509 version 1 (as `openssl x509 -req` makes it without -extfile, and redis's \
            gen-test-certs.sh), and has to be of version 3, with its names; make one: {}",
            make_certificate(None)
        ),
        name if name.contains("EndEntityUsedAsCa") => {
            "an authority between the server's certificate and the trusted one is not an authority: its certificate does not say \
            basicConstraints CA:TRUE"
                .into()
        }
        name if name.contains("PathLenConstraintViolated") || name.contains("NameConstraintViolation") => {
            "an authority of the server's certificate may not sign it: its certificate limits for which names, or how many below it, \
            it may (nameConstraints, pathlen)"
                .into()
        }
        name if name.contains("UnsupportedCriticalExtension") => {
            "the server's certificate has a critical extension that is not known here".into()
        }
        _ => "the server's certificate was not accepted".into(),
    }
}

/// Why the server ended the handshake.
fn about_alert(alert: Alert, shows_certificate: bool) -> &'static str {
    match (alert, shows_certificate) {
        (Alert::HandshakeFailure, false) => {
            "the server refused the TLS handshake; either it wants a client certificate (`Tls::client_certificate`), or no cipher is \
            common to it and us (TLS 1.2 needs ECDHE and AES-GCM or ChaCha20; see its settings for ciphers), or the key of its certificate is \
            of a kind that is not supported here (RSA, ECDSA with P-256 or P-384, and Ed25519 are)"
        }
        (Alert::HandshakeFailure | Alert::InsufficientSecurity, _) => {
            "the server refused the TLS handshake; either it does not accept the client certificate, or no cipher is common to it and us \
            (TLS 1.2 needs ECDHE and AES-GCM or ChaCha20; see its settings for ciphers), or the key of its certificate is of a kind that is \
            not supported here (RSA, ECDSA with P-256 or P-384, and Ed25519 are)"
        }
        (Alert::ProtocolVersion, _) => "the server speaks neither TLS 1.2 nor TLS 1.3; see its settings for protocols",
        (Alert::UnrecognisedName, _) => {
            "the server has no certificate for the name that it was asked for; see the host in the URL, or `Tls::server_name`"
        }
        (Alert::UnknownCA, true) => {
            "the server does not accept the client certificate: it does not trust the authority that signed it"
        }
        (Alert::CertificateExpired, true) => "the server does not accept the client certificate: it has expired",
        (Alert::CertificateRevoked, true) => "the server does not accept the client certificate: it has been revoked",
        (Alert::DecryptError, true) => {
            "the server does not accept the client certificate: its signature, or that of the handshake, does not fit"
        }
        (
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::AccessDenied,
            true,
        ) => "the server does not accept the client certificate; see `Tls::client_certificate`, and the server's log",
        (
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
            false,
        ) => "the server wants a client certificate, and none was given; see `Tls::client_certificate`",
        _ => "the server ended the TLS handshake; its log may say why",
    }
}

/// What is wrong with a PEM file in which no certificate or key was found.
pub(super) fn about_pem(pem: &[u8]) -> &'static str {
    let has = |text: &str| pem.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    if has("ENCRYPTED") {
        "; it is encrypted: `openssl pkey -in client.key -out decrypted.key` decrypts a key"
    } else if pem.starts_with(&[0x30]) {
        "; it seems to be DER: `openssl x509 -inform der` (or `openssl pkey -inform der`) makes PEM of it"
    } else {
        ""
    }
}

/// Why a client certificate and its key cannot be used.
pub(super) fn about_identity(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the client's key is not the key of the client certificate, which has to be the first in its file".into()
        }
        error => format!("client certificate and key cannot be used: {error}"),
    }
}
