//! Certificates that are not accepted, and names that are not the host's. What all errors say is tested with kv-redis, which has
//! the same code.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use support::certificates::{self, Identity};

use super::*;

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

fn signed(params: &CertificateParams, issuer: &rcgen::Issuer<'_, KeyPair>) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity { certificate: params.signed_by(&key, issuer).unwrap().pem(), key: key.serialize_pem() }
}

/// Checks the words of the error if a server shows a certificate of this authority.
#[track_caller]
fn is_refused(ca: &str, shown: &Identity, words: &[&str]) {
    let server = Memcached::start_showing(shown);
    let text = refused_for_good(MemcacheStore::builder().url(server.url()).tls(Tls::new().certificate_authority(ca)));
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn an_error_says_what_is_wrong_with_a_certificate() {
    let (ca, issuer) = certificates::authority("a CA");
    let mut expired = params("localhost");
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    is_refused(&ca, &signed(&expired, &issuer), &["has expired", "renew it"]);
    is_refused(&ca, &signed(&params("one.example"), &issuer), &["other names than localhost", "one.example"]);
    is_refused(&certificates::authority("another").0, &signed(&params("localhost"), &issuer), &["not trusted here"]);

    // A certificate as `openssl req -x509` makes it, which is its own authority; and the same with CA:FALSE.
    let key = KeyPair::generate().unwrap();
    let mut itself = params("localhost");
    itself.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = itself.self_signed(&key).unwrap().pem();
    is_refused(
        &certificate,
        &Identity { certificate: certificate.clone(), key: key.serialize_pem() },
        &["CA:TRUE", "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME"],
    );
    itself.is_ca = IsCa::ExplicitNoCa;
    let certificate = itself.self_signed(&key).unwrap().pem();
    let shown = Identity { certificate: certificate.clone(), key: key.serialize_pem() };
    let server = Memcached::start_showing(&shown);
    connected(patient().url(server.url()).tls(Tls::new().certificate_authority(certificate)));
}

#[test]
fn a_missing_client_certificate_is_not_mistaken_for_a_refused_one() {
    let server = Memcached::start_as(Kind::Tls { with_certificate: true }, &[]);
    let all = server.certificates();
    let trusting = || Tls::new().certificate_authority(all.ca.clone());
    let text = refused_for_good(MemcacheStore::builder().url(server.url()).tls(trusting()));
    assert!(text.contains("wants a client certificate, and none was given"), "{text}");
    let stranger = trusting().client_certificate(&*all.stranger.certificate, &*all.stranger.key);
    let text = refused_for_good(MemcacheStore::builder().url(server.url()).tls(stranger));
    assert!(text.contains("does not accept the client certificate"), "{text}");
}

/// Through a tunnel, or by an address, so that the certificate has another name than the host in the URL.
#[test]
fn the_name_in_the_certificate_is_told_by_a_setting() {
    let (ca, issuer) = certificates::authority("a CA");
    let server = Memcached::start_showing(&signed(&params("cache.example"), &issuer));
    let trusting = || Tls::new().certificate_authority(&*ca);
    for host in ["localhost", "127.0.0.1", "127.1"] {
        let url = format!("memcache+tls://{host}:{}", server.tls_port());
        // No certificate can have the last one.
        let unfit = if host == "127.1" { invalid } else { refused_for_good };
        let text = unfit(MemcacheStore::builder().url(&url).tls(trusting()));
        assert!(text.contains("`Tls::server_name`") || host == "127.1", "{text}");
        connected(patient().url(&url).tls(trusting().server_name("cache.example")));
        let text = refused_for_good(MemcacheStore::builder().url(&url).tls(trusting().server_name("other.example")));
        assert!(text.contains("other names than other.example"), "{text}");
    }
    for wrong in ["", "cache.example:11211", "memcache+tls://cache.example", "a b", "-"] {
        let builder = MemcacheStore::builder().url(server.url()).tls(trusting().server_name(wrong));
        let text = chain(&builder.build().unwrap_err());
        assert!(text.contains("`Tls::server_name` is "), "{wrong:?}: {text}");
    }
}
