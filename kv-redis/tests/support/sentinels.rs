//! A primary that clients find through sentinels.

use std::fs;

use kv_conformance::server::Server;
use redis::Value;

use super::{Redis, in_parallel, info_field, program, replicaof, wait_until};

/// The name of the primary.
pub(crate) const NAME: &str = "mymaster";

/// A primary and a replica that three sentinels watch, killed when they are dropped.
#[derive(Debug)]
pub(crate) struct Sentinels {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Starts the servers and sentinels, and waits until they all know of one another. The primary is replaced if two sentinels have had
    /// no answer from it for 1 s.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with further arguments for the primary and the replica.
    pub(crate) fn start_with(extra: &[&str]) -> Self {
        let primary = Redis::launch(Server::builder(program()), extra, |_| Vec::new());
        let port = primary.port().to_string();
        let follow = format!("--{}", replicaof().to_lowercase());
        let as_replica = [&[&*follow, "127.0.0.1", &port], extra].concat();
        let replica = Redis::launch(Server::builder(program()), &as_replica, |_| Vec::new());
        let sentinels = in_parallel(3, |_| sentinel(&port));
        let all = Self { servers: vec![primary, replica], sentinels };
        wait_until(|| all.sentinels.iter().try_for_each(knows_all));
        all.wait_for_failover();
        all
    }

    /// Prevents failovers: a server may be slow because the machine is busy.
    pub(crate) fn without_failover(self) -> Self {
        for sentinel in &self.sentinels {
            sentinel.command(&["SENTINEL", "SET", NAME, "down-after-milliseconds", "600000"]);
        }
        self
    }

    /// The URLs of the sentinels.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    pub(crate) fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The primary and the replica.
    pub(crate) fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The primary, as a sentinel that is up sees it.
    pub(crate) fn primary(&self) -> &Redis {
        let sentinel = self.sentinels.iter().find(|sentinel| sentinel.is_up()).expect("a sentinel that is up");
        self.primary_by(sentinel)
    }

    /// The server that is not the primary.
    pub(crate) fn replica(&self) -> &Redis {
        let primary = self.primary().port();
        self.servers.iter().find(|server| server.port() != primary).unwrap()
    }

    /// Kills the primary, and returns it.
    pub(crate) fn kill_primary(&self) -> &Redis {
        let primary = self.primary();
        primary.kill();
        primary
    }

    /// Waits until all sentinels that are up name the same primary, that server agrees, and the other server follows it, if it is
    /// up.
    pub(crate) fn wait_for_failover(&self) {
        wait_until(|| {
            let primary = self.primary();
            for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_up()) {
                let another = self.primary_by(sentinel);
                if another.port() != primary.port() {
                    return Err(format!("sentinels name {} and {}", primary.address(), another.address()));
                }
            }
            if !primary.is_up() {
                return Err(format!("{}, which is not up, is still the primary", primary.address()));
            }
            let role = primary.try_command(&["ROLE"]);
            if !matches!(&role, Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"master".into()))) {
                return Err(format!("the role of {}: {role:?}", primary.address()));
            }
            let replica = self.replica();
            if replica.is_up() {
                let replication = replica.try_command(&["INFO", "replication"]).map(redis::from_redis_value::<String>);
                let Ok(Ok(replication)) = replication else { return Err(format!("{replication:?}")) };
                let follows = info_field(&replication, "master_port") == Some(&primary.port().to_string())
                    && info_field(&replication, "master_link_status") == Some("up");
                if !follows {
                    return Err(format!("{} does not follow the primary:\n{replication}", replica.address()));
                }
            }
            Ok(())
        });
    }

    fn primary_by(&self, sentinel: &Redis) -> &Redis {
        let address = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let (_, port): (String, u16) = redis::from_redis_value(address).unwrap();
        self.servers.iter().find(|server| server.port() == port).unwrap()
    }
}

fn sentinel(port_of_primary: &str) -> Redis {
    let watch = format!(
        "sentinel monitor {NAME} 127.0.0.1 {port_of_primary} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 1000\n"
    );
    let builder = Server::builder(program()).args(|_| ["sentinel.conf", "--sentinel"]).prepare(move |sandbox| {
        let config = format!("port {}\nbind 127.0.0.1\ndir {}\n{watch}", sandbox.port(), sandbox.dir().display());
        Ok(fs::write(sandbox.dir().join("sentinel.conf"), config)?)
    });
    let sentinel = Redis::launch_as_it_is(builder, None, false);
    // Old sentinels do not know this, and take a few seconds longer.
    let quick = ["INFO-PERIOD", "200", "PUBLISH-PERIOD", "200", "PING-PERIOD", "200", "ASK-PERIOD", "200"];
    let _ = sentinel.try_command(&[&["SENTINEL", "DEBUG"], &quick[..]].concat());
    sentinel
}

/// Whether a sentinel knows the replica and the two other sentinels.
fn knows_all(sentinel: &Redis) -> Result<(), String> {
    let info = sentinel.text(&["INFO", "sentinel"]);
    if info.contains(&format!("name={NAME},status=ok")) && info.contains("slaves=1,sentinels=3") {
        return Ok(());
    }
    Err(format!("{} knows of {info}", sentinel.address()))
}
