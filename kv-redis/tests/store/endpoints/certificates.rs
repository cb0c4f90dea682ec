//! Certificates that are not accepted: the advice in the error, and that it works.

use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};

use super::*;
use crate::support::certificates::{Identity, authority};
use crate::support::{Certificates, TlsClients};

/// A server with TLS whose certificate can be replaced.
struct Showing(Redis);

impl Showing {
    fn start() -> Self {
        Self(Redis::start_tls(TlsClients::Anonymous, &[]))
    }

    /// Shows this certificate from now on.
    fn show(&self, Identity { certificate, key }: &Identity) {
        let dir = self.0.server().sandbox().dir();
        fs::write(dir.join("shown.pem"), certificate).unwrap();
        fs::write(dir.join("shown.key"), key).unwrap();
        self.set(&["tls-cert-file", "shown.pem", "tls-key-file", "shown.key"]);
    }

    fn set(&self, settings: &[&str]) {
        self.0.command(&[&["CONFIG", "SET"], settings].concat());
    }

    /// The error for a client that trusts this authority.
    #[track_caller]
    fn is_refused(&self, ca: &str, words: &[&str]) -> String {
        self.refuses(Tls::new().certificate_authority(ca), words)
    }

    #[track_caller]
    fn refuses(&self, tls: Tls, words: &[&str]) -> String {
        let (error, text) = refused(RedisStore::builder().url(self.0.tls_url()).tls(tls));
        println!("{text}\n");
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
        text
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn signed(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity { certificate: params.signed_by(&key, issuer).unwrap().pem(), key: key.serialize_pem() }
}

#[test]
fn an_error_says_what_is_wrong_with_a_certificate() {
    if !crate::support::has_tls() {
        return;
    }
    let server = Showing::start();
    let (ca, issuer) = authority("a CA");
    let good = || params(&["localhost"]);
    let shows = |params: &CertificateParams, words: &[&str]| {
        server.show(&signed(params, &issuer));
        server.is_refused(&ca, words)
    };
    server.show(&signed(&good(), &issuer));
    connected(patient().url(server.0.tls_url()).tls(Tls::new().certificate_authority(&*ca)));

    let mut expired = good();
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    shows(&expired, &["has expired", "renew it", "seconds ago"]);
    let mut early = good();
    (early.not_before, early.not_after) = (date_time_ymd(3020, 1, 1), date_time_ymd(3021, 1, 1));
    shows(&early, &["not valid yet", "clock"]);
    shows(
        &params(&["one.example", "two.example"]),
        &["for other names than localhost", "`Tls::server_name`", "the host in the URL", "one.example", "two.example"],
    );
    shows(&params(&[]), &["no subjectAltName", "CN does not count", "-addext subjectAltName=DNS:localhost"]);
    let mut of_address = params(&[]);
    of_address.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
    shows(&of_address, &["for other names", "127.0.0.1"]);
    let mut of_client = good();
    of_client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    shows(&of_client, &["lacks serverAuth"]);

    // Another authority, and another one of the same name, as if it had been made again.
    server.show(&signed(&good(), &issuer));
    server
        .is_refused(&authority("another CA").0, &["not trusted here", "`Tls::certificate_authority`", "UnknownIssuer"]);
    server.is_refused(&authority("a CA").0, &["made anew", "RSA needs 2048 bits", "BadSignature"]);

    // One between that is no authority.
    let mut between = good();
    between.is_ca = IsCa::ExplicitNoCa;
    between.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let chain = between.signed_by(&key, &issuer).unwrap().pem();
    let Identity { certificate, key } = signed(&good(), &Issuer::new(between, key));
    server.show(&Identity { certificate: certificate + &chain, key });
    server.is_refused(&ca, &["does not say basicConstraints CA:TRUE"]);

    // One that the authority may not have below it.
    let mut between = good();
    between.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    between.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let (first, second) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let upper = between.signed_by(&first, &issuer).unwrap().pem();
    let upper_issuer = Issuer::new(between.clone(), first);
    let mut below = between.clone();
    below.distinguished_name.push(rcgen::DnType::CommonName, "below");
    let lower = below.signed_by(&second, &upper_issuer).unwrap().pem();
    let Identity { certificate, key } = signed(&good(), &Issuer::new(below, second));
    server.show(&Identity { certificate: certificate + &lower + &upper, key });
    server.is_refused(&ca, &["may not sign it", "pathlen"]);

    // An authority as the server's own, which is what `openssl req -x509` makes of it.
    let key = KeyPair::generate().unwrap();
    let mut itself = good();
    itself.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = itself.self_signed(&key).unwrap().pem();
    server.show(&Identity { certificate: certificate.clone(), key: key.serialize_pem() });
    server.is_refused(&certificate, &["CA:TRUE", "`openssl req -x509`", "CaUsedAsEndEntity"]);
}

/// The program `openssl`, in a folder. Prints the reason and returns `None` if it is not installed.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn new() -> Option<Self> {
        let said = Command::new("openssl").arg("version").output().ok()?.stdout;
        if said.starts_with(b"OpenSSL 3") {
            return Some(Self(tempfile::tempdir().unwrap()));
        }
        eprintln!("skipped: no OpenSSL 3 on this machine, but {:?}", String::from_utf8_lossy(&said));
        None
    }

    #[track_caller]
    fn run(&self, command: &str) {
        let output = Command::new("sh").args(["-ec", command]).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    fn identity(&self) -> Identity {
        Identity { certificate: self.read("server.pem"), key: self.read("server.key") }
    }
}

/// Certificates as people make them with `openssl`, the error for them, and that its advice works.
#[test]
fn the_commands_in_the_errors_make_certificates_that_are_accepted() {
    if !crate::support::has_tls() {
        return;
    }
    let Some(openssl) = OpenSsl::new() else { return };
    let server = Showing::start();
    let accepts = |ca: &str| {
        let tls = Tls::new().certificate_authority(ca);
        connected(patient().url(server.0.tls_url()).tls(tls));
    };
    // The quickest way: a certificate that signs itself, and is an authority.
    openssl.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout server.key -out server.pem -days 30 -subj /CN=localhost",
    );
    server.show(&openssl.identity());
    let text = server.is_refused(&openssl.read("server.pem"), &["CaUsedAsEndEntity", "is no authority: "]);
    // The first advice: keep this one as the authority.
    openssl.run("mv server.pem ca.pem; mv server.key ca.key");
    let begin = text.find("openssl req -x509 -CA").unwrap();
    let command = text[begin..].split(';').next().unwrap().replace("NAME", "localhost");
    openssl.run(&command);
    server.show(&openssl.identity());
    accepts(&openssl.read("ca.pem"));
    // The second advice.
    openssl.run(&command.replace("-CA ca.pem -CAkey ca.key", ""));
    server.show(&openssl.identity());
    accepts(&openssl.read("server.pem"));
    // For an address.
    openssl.run(&command.replace("DNS:localhost", "IP:127.0.0.1"));
    server.show(&openssl.identity());
    let url = format!("rediss://127.0.0.1:{}", server.0.tls_port());
    connected(patient().url(url).tls(Tls::new().certificate_authority(openssl.read("ca.pem"))));

    // As redis's utils/gen-test-certs.sh does: no extensions, hence version 1.
    openssl.run(
        "openssl genrsa -out server.key 2048; openssl req -new -key server.key -subj /CN=localhost |
        openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out server.pem",
    );
    server.show(&openssl.identity());
    let text =
        server.is_refused(&openssl.read("ca.pem"), &["X.509 version 1", "gen-test-certs.sh", "UnsupportedCertVersion"]);
    let begin = text.find("openssl req -x509 -CA").unwrap();
    let end = begin + text[begin..].find("DNS:NAME").unwrap() + "DNS:NAME".len();
    openssl.run(&text[begin..end].replace("NAME", "localhost"));
    server.show(&openssl.identity());
    accepts(&openssl.read("ca.pem"));

    // An authority whose key is too short, or whose signature is too old.
    openssl.run("openssl req -x509 -newkey rsa:1024 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=short");
    openssl.run(&command);
    server.show(&openssl.identity());
    server.is_refused(&openssl.read("ca.pem"), &["RSA needs 2048 bits"]);
}

/// A missing common version or cipher is not explained only by certificates.
#[test]
fn a_missing_common_tls_version_or_cipher_is_explained() {
    if !crate::support::has_tls() {
        return;
    }
    let server = Showing::start();
    let trusting = || Tls::new().certificate_authority(server.0.certificates().ca.clone());
    server.set(&["tls-protocols", "TLSv1.3"]);
    connected(patient().url(server.0.tls_url()).tls(trusting()));
    server.set(&["tls-protocols", "TLSv1.2"]);
    connected(patient().url(server.0.tls_url()).tls(trusting()));
    server.set(&["tls-ciphers", "DHE-RSA-AES256-GCM-SHA384:AES128-SHA"]);
    server.refuses(trusting(), &["HandshakeFailure", "no cipher is common", "wants a client certificate"]);
    let Certificates { client, .. } = server.0.certificates();
    let shown = trusting().client_certificate(&*client.certificate, &*client.key);
    server.refuses(shown, &["HandshakeFailure", "no cipher is common", "does not accept the client certificate"]);
    server.set(&["tls-ciphers", "DEFAULT:@SECLEVEL=0", "tls-protocols", "TLSv1 TLSv1.1"]);
    server.refuses(trusting(), &["neither TLS 1.2 nor TLS 1.3"]);
}

#[test]
fn a_missing_or_refused_client_certificate_is_explained() {
    if !crate::support::has_tls() {
        return;
    }
    let server = Showing(Redis::start_tls(TlsClients::WithCertificate, &[]));
    let all = server.0.certificates();
    let trusting = || Tls::new().certificate_authority(all.ca.clone());
    server.refuses(trusting(), &["wants a client certificate, and none was given", "CertificateRequired"]);
    let stranger = trusting().client_certificate(&*all.stranger.certificate, &*all.stranger.key);
    server.refuses(stranger, &["does not accept the client certificate", "authority that signed it", "UnknownCA"]);
    // A certificate for the other side of a connection.
    let of_server = trusting().client_certificate(&*all.server.certificate, &*all.server.key);
    server.refuses(of_server, &["does not accept the client certificate"]);
    server.set(&["tls-protocols", "TLSv1.2"]);
    server.refuses(trusting(), &["wants a client certificate", "no cipher is common", "HandshakeFailure"]);
    connected(
        patient()
            .url(server.0.tls_url())
            .tls(trusting().client_certificate(&*all.client.certificate, &*all.client.key)),
    );
}

/// Through a tunnel, or by an address, so that the certificate has another name than the host in the URL.
#[test]
fn the_name_in_the_certificate_is_told_by_a_setting() {
    if !crate::support::has_tls() {
        return;
    }
    let server = Showing::start();
    let (ca, issuer) = authority("a CA");
    server.show(&signed(&params(&["cache.example"]), &issuer));
    let trusting = || Tls::new().certificate_authority(&*ca);
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("rediss://{host}:{}", server.0.tls_port());
        let builder = || RedisStore::builder().url(&url);
        let (_, text) = refused(builder().tls(trusting()));
        assert!(text.contains("`Tls::server_name`") && text.contains("cache.example"), "{text}");
        let store = connected(patient().url(&url).tls(trusting().server_name("cache.example")));
        assert!(store.name().contains(host), "{}", store.name());
        let (_, text) = refused(builder().tls(trusting().server_name("other.example")));
        assert!(text.contains("other.example"), "{text}");
    }
    // An address is a name, too.
    let mut of_address = params(&[]);
    of_address.subject_alt_names = vec![SanType::IpAddress("10.0.0.1".parse().unwrap())];
    server.show(&signed(&of_address, &issuer));
    connected(patient().url(server.0.tls_url()).tls(trusting().server_name("10.0.0.1")));
    for wrong in ["", "cache.example:6379", "rediss://cache.example", "a b", "-"] {
        let error =
            RedisStore::builder().url(server.0.tls_url()).tls(Tls::new().server_name(wrong)).build().unwrap_err();
        let text = chain(&error);
        assert!(
            matches!(&error, Error::InvalidSetting { .. }) && text.contains("`Tls::server_name` is "),
            "{wrong:?}: {text}"
        );
    }
    // And a host of which no certificate can have the name is refused before anything is sent, unless another name is given.
    let url = format!("rediss://127.1:{}", server.0.tls_port());
    let error = RedisStore::builder().url(&url).build().unwrap_err();
    assert!(chain(&error).contains("not a name that a certificate can have"), "{}", chain(&error));
    connected(patient().url(url).tls(trusting().server_name("10.0.0.1")));
}

/// Then all nodes have the same name in their certificates.
#[test]
fn the_name_goes_for_all_nodes_of_a_cluster() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(
        TlsClients::Anonymous,
        &["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1"],
    );
    let slots: Vec<_> = (0..16_384).map(|slot| slot.to_string()).collect();
    redis.command(&["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect::<Vec<_>>());
    support::wait_until(|| {
        let info: String = redis::from_redis_value(redis.command(&["CLUSTER", "INFO"])).unwrap();
        if info.contains("cluster_state:ok") { Ok(()) } else { Err(info) }
    });
    let server = Showing(redis);
    let (ca, issuer) = authority("a CA");
    server.show(&signed(&params(&["cluster.example"]), &issuer));
    let tls = || Tls::new().certificate_authority(&*ca);
    let (_, text) = refused(RedisStore::builder().cluster([server.0.tls_url()]).tls(tls()));
    assert!(text.contains("`Tls::server_name`"), "{text}");
    connected(patient().cluster([server.0.tls_url()]).tls(tls().server_name("cluster.example")));
}

/// Files that people give instead of the right one.
#[test]
fn a_file_in_another_form_is_told() {
    let Some(openssl) = OpenSsl::new() else { return };
    openssl.run(
        "openssl req -x509 -newkey rsa:2048 -passout pass:hush -keyout server.key -out server.pem -days 30 -subj /CN=c",
    );
    openssl.run("openssl x509 -in server.pem -outform der -out server.der; openssl genrsa -out other.key 2048");
    let der = fs::read(openssl.0.path().join("server.der")).unwrap();
    let refuses = |tls: Tls, words: &[&str]| {
        let error = RedisStore::builder().url("rediss://localhost").tls(tls).build().unwrap_err();
        let text = chain(&error);
        assert!(words.iter().all(|word| text.contains(word)) && !text.contains("hush"), "{text}");
    };
    refuses(Tls::new().certificate_authority(der), &["certificate authority", "`openssl x509 -inform der`"]);
    let trusting = || Tls::new().certificate_authority(openssl.read("server.pem"));
    let Identity { certificate, key } = openssl.identity();
    refuses(trusting().client_certificate(&*certificate, key), &["encrypted", "`openssl pkey -in client.key"]);
    refuses(
        trusting().client_certificate(certificate, openssl.read("other.key")),
        &["not the key of the client certificate"],
    );
}
