//! The servers of the other tests are what they say.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

mod support;

use redis::Value;

use support::{Redis, RedisCluster, Sentinels, TlsClients, wait_until};

/// Asks a server at a URL for its answer to a command.
fn ask(url: &str, command: &[&str]) -> redis::RedisResult<Value> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::Cmd::new().arg(command).query(&mut connection)
}

fn text(text: &str) -> Value {
    Value::BulkString(text.into())
}

#[test]
fn a_server_has_a_port_and_a_socket_with_databases() {
    let redis = Redis::start(&["--maxmemory", "100mb"]);
    assert_eq!(
        redis.command(&["CONFIG", "GET", "maxmemory"]),
        Value::Array(vec![text("maxmemory"), text("104857600")])
    );
    ask(&redis.url_of_database(support::DATABASES - 1), &["SET", "k", "v"]).unwrap();
    assert_eq!(ask(&redis.unix_url_of_database(support::DATABASES - 1), &["GET", "k"]).unwrap(), text("v"));
    assert_eq!(ask(&redis.url(), &["GET", "k"]).unwrap(), Value::Nil);
    assert_eq!(ask(&redis.unix_url(), &["GET", "k"]).unwrap(), Value::Nil);
    assert_eq!((redis.count_of_calls("get"), redis.count_of_calls("set"), redis.count_of_calls("del")), (3, 1, 0));
    redis.command(&["CONFIG", "RESETSTAT"]);
    // Before redis 7 subcommands are not counted.
    let resetstat = if support::is_since((7, 0, 0)) { "config|resetstat" } else { "config" };
    assert_eq!((redis.count_of_calls("GET"), redis.count_of_calls(resetstat)), (0, 1));
}

#[test]
fn a_server_with_a_password_has_it_in_its_urls() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    for url in [redis.url(), redis.unix_url()] {
        assert!(url.contains("secret"));
        assert_eq!(ask(&url, &["PING"]).unwrap(), Value::SimpleString("PONG".into()));
        assert!(ask(&url.replace("secret", "wrong"), &["PING"]).is_err());
    }
    redis.restart();
    assert_eq!(redis.info("tcp_port"), Some(redis.port().to_string()));
}

#[test]
fn a_server_dies_and_comes_back_empty() {
    let redis = Redis::start(&[]);
    for end in [Redis::kill, Redis::stop] {
        redis.command(&["SET", "k", "v"]);
        end(&redis);
        assert!(redis.try_command(&["GET", "k"]).unwrap_err().is_connection_refusal());
        redis.restart();
        assert_eq!(redis.command(&["GET", "k"]), Value::Nil);
    }
    redis.pause();
    assert!(!redis.is_up() && redis.server().pid().is_some());
    redis.resume();
    assert!(redis.is_up());
    redis.command(&["PING"]);
}

#[cfg(feature = "tls")]
mod tls {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::support::{Identity, Redis, TlsClients};

    /// Sends a PING through TLS to a name, with a CA and perhaps a client certificate.
    fn ping(redis: &Redis, name: &'static str, ca: &str, client: Option<&Identity>) -> io::Result<()> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match client {
            Some(client) => {
                let chain = vec![CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(("localhost", redis.tls_port()))?);
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        assert_eq!(&answer, b"+PONG\r\n");
        Ok(())
    }

    #[test]
    fn a_server_with_tls_is_trusted_by_its_own_ca() {
        if !crate::support::has_tls() {
            return;
        }
        let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
        let certificates = redis.certificates();
        assert_eq!(redis.tls_url(), format!("rediss://localhost:{}", redis.tls_port()));
        ping(&redis, "localhost", &certificates.ca, None).unwrap();
        ping(&redis, "127.0.0.1", &certificates.ca, None).unwrap();
        assert!(ping(&redis, "example.com", &certificates.ca, None).unwrap_err().to_string().contains("not valid for"));
        let error = ping(&redis, "localhost", &certificates.stranger_ca, None).unwrap_err().to_string();
        assert!(error.contains("UnknownIssuer"), "{error}");
    }

    #[test]
    fn a_server_with_tls_accepts_clients_with_a_certificate_of_its_ca() {
        if !crate::support::has_tls() {
            return;
        }
        let redis = Redis::start_tls(TlsClients::WithCertificate, &[]);
        let certificates = redis.certificates();
        ping(&redis, "localhost", &certificates.ca, Some(&certificates.client)).unwrap();
        assert!(ping(&redis, "localhost", &certificates.ca, None).is_err());
        assert!(ping(&redis, "localhost", &certificates.ca, Some(&certificates.stranger)).is_err());
        redis.restart();
        ping(&redis, "localhost", &certificates.ca, Some(&certificates.client)).unwrap();
    }
}

#[test]
fn a_server_with_tls_has_a_port_without_it() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::WithCertificate, &["--maxmemory", "100mb"]);
    assert_eq!(redis.info("maxmemory").as_deref(), Some("104857600"));
}

#[test]
fn a_cluster_shares_the_slots_and_moves_one() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    assert_eq!(cluster.urls().len(), 3);
    assert_eq!([0, 5460, 5461, 10_921, 10_922, 16_383].map(|slot| cluster.primary_of_slot(slot)), [0, 0, 1, 1, 2, 2]);
    let slot = cluster.slot_of("{tag}1");
    let from = cluster.primary_of_slot(slot);
    let to = (from + 1) % 3;
    let [old, new] = [from, to].map(|number| &cluster.nodes()[number]);
    for key in ["{tag}1", "{tag}2"] {
        old.command(&["SET", key, "v"]);
    }
    let error = |redis: &Redis| redis.try_command(&["GET", "{tag}1"]).unwrap_err().to_string();
    assert!(error(new).to_lowercase().contains("moved"), "{}", error(new));

    let migration = cluster.migrate_slot(slot, from, to);
    assert_eq!(old.command(&["GET", "{tag}1"]), text("v"));
    assert_eq!(migration.move_keys(), 2);
    assert!(error(old).to_lowercase().contains("ask"), "{}", error(old));
    assert_eq!(cluster.primary_of_slot(slot), from);
    migration.finish();
    cluster.wait_until_ok();
    assert!(error(old).to_lowercase().contains("moved"), "{}", error(old));
    assert_eq!(new.command(&["GET", "{tag}1"]), text("v"));
    assert_eq!(cluster.primary_of_slot(slot), to);
}

#[test]
fn a_replica_of_a_cluster_takes_over_and_the_old_primary_comes_back_as_its_replica() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 1);
    assert_eq!((cluster.nodes().len(), cluster.replicas_of(0)), (6, vec![3]));
    cluster.nodes()[0].command(&["SET", "b", "v"]);
    assert_eq!(cluster.primary_of_slot(cluster.slot_of("b")), 0);
    wait_until(|| {
        let [sent, received] = [(0, "master_repl_offset"), (3, "slave_repl_offset")]
            .map(|(node, offset)| cluster.nodes()[node].info(offset));
        if sent == received { Ok(()) } else { Err(format!("{received:?} of {sent:?} bytes have arrived")) }
    });
    cluster.kill(0);
    cluster.wait_until_ok();
    assert_eq!(cluster.primary_of_slot(0), 3);
    assert_eq!(cluster.nodes()[3].command(&["GET", "b"]), text("v"));
    cluster.restart(0);
    cluster.wait_until_ok();
    assert_eq!((cluster.primary_of_slot(0), cluster.replicas_of(3)), (3, vec![0]));
}

#[test]
fn sentinels_make_the_replica_the_primary() {
    let sentinels = Sentinels::start();
    assert_eq!(sentinels.urls().len(), 3);
    let old = sentinels.kill_primary();
    assert_eq!(old.port(), sentinels.servers()[0].port());
    sentinels.wait_for_failover();
    let new = sentinels.primary();
    assert_eq!(new.port(), sentinels.servers()[1].port());
    new.command(&["SET", "k", "v"]);
    old.restart();
    sentinels.wait_for_failover();
    assert_eq!((sentinels.primary().port(), sentinels.replica().port()), (new.port(), old.port()));
}
