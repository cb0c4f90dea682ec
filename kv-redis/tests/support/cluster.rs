//! A redis cluster.

use std::collections::{BTreeMap, BTreeSet};

use kv_conformance::server::Server;

use super::{Redis, in_parallel, info_field, is_since, program, replica, wait_until};

const SLOTS: usize = 16_384;

/// How a node sees each node, by its port.
type View = BTreeMap<u16, Seen>;

/// How a node sees another node.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// The id of the primary, if it is a replica.
    primary: Option<String>,
    /// If two nodes claim a slot, the one with the greater epoch has it.
    epoch: u64,
    ranges: Vec<(u16, u16)>,
}

/// A cluster of servers, killed when it is dropped. Its nodes are named by their number.
#[derive(Debug)]
pub(crate) struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// A cluster in which every node knows the others and has a state of ok, and every replica its primary. First come
    /// the primaries, which share the slots in this order; then the first replica of each, then the second.
    pub(crate) fn start(primaries: usize, replicas_per_primary: usize) -> Self {
        Self::start_with(primaries, replicas_per_primary, &[])
    }

    /// Like [`start`](Self::start), with further arguments for every node. A node counts as down if it is not heard of for 1 s, or for the
    /// `--cluster-node-timeout` (in milliseconds).
    pub(crate) fn start_with(primaries: usize, replicas_per_primary: usize, extra: &[&str]) -> Self {
        let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
        let [ping, validity] =
            [format!("--repl-ping-{}-period", replica()), format!("--cluster-{}-validity-factor", replica())];
        let quick = ["--cluster-node-timeout", "1000", &ping, "1"];
        // A replica stays with its primary.
        let steady = if is_since((7, 0, 0)) {
            ["--cluster-allow-replica-migration", "no"]
        } else {
            ["--cluster-migration-barrier", "1000"]
        };
        let args = [&cluster[..], &quick, &steady, &[&validity, "0"], extra].concat();
        let nodes = in_parallel(primaries * (1 + replicas_per_primary), |_| {
            let builder = Server::builder(program()).ports(2);
            Redis::launch(builder, &args, |sandbox| {
                if is_since((7, 0, 0)) {
                    vec!["--cluster-port".into(), sandbox.ports()[1].to_string()]
                } else {
                    // It uses the port that is 10 000 higher.
                    Vec::new()
                }
            })
        });
        let cluster = Self { nodes };
        cluster.form(primaries);
        cluster.wait_until_ok();
        cluster
    }

    fn form(&self, primaries: usize) {
        for (number, node) in self.nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < primaries {
                let (first, next) = (number * SLOTS / primaries, (number + 1) * SLOTS / primaries);
                let slots: Vec<_> = (first..next).map(|slot| slot.to_string()).collect();
                let slots = slots.iter().map(String::as_str);
                node.command(&["CLUSTER", "ADDSLOTS"].into_iter().chain(slots).collect::<Vec<_>>());
            }
        }
        // Each node meets each other one, which is quicker than waiting until they hear of one another.
        for (number, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[number + 1..] {
                let ports = other.server().sandbox().ports();
                let meet = ["CLUSTER", "MEET", "127.0.0.1", &ports[0].to_string(), &ports[1].to_string()];
                node.command(if is_since((7, 0, 0)) { &meet } else { &meet[..4] });
            }
        }
        if self.nodes.len() == primaries {
            return;
        }
        wait_until(|| self.nodes.iter().try_for_each(|node| self.view(node).map(drop)));
        for (number, replica) in self.nodes.iter().enumerate().skip(primaries) {
            replica.command(&["CLUSTER", "REPLICATE", &self.id(number % primaries)]);
        }
    }

    /// All nodes, including those that do not run.
    pub(crate) fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The slot of a key.
    pub(crate) fn slot_of(&self, key: &str) -> u16 {
        redis::from_redis_value(self.any().command(&["CLUSTER", "KEYSLOT", key])).unwrap()
    }

    /// The node that serves a slot, as a node that is up sees it.
    pub(crate) fn primary_of_slot(&self, slot: u16) -> usize {
        let lines = lines(self.any());
        let line =
            lines.iter().find(|line| line.seen.ranges.iter().any(|&(first, last)| (first..=last).contains(&slot)));
        let port = line.unwrap_or_else(|| panic!("nobody has slot {slot}: {lines:#?}")).port;
        self.number_of(port).unwrap()
    }

    /// The replicas of a node that are not seen to be down, as a node that is up sees it.
    pub(crate) fn replicas_of(&self, node: usize) -> Vec<usize> {
        let id = self.id(node);
        let replicas =
            lines(self.any()).into_iter().filter(|line| line.is_well && line.seen.primary.as_ref() == Some(&id));
        replicas.map(|line| self.number_of(line.port).unwrap()).collect()
    }

    pub(crate) fn kill(&self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node again, with what it knew of the cluster, and no data.
    pub(crate) fn restart(&self, node: usize) {
        self.nodes[node].restart();
    }

    /// Waits until the nodes that are up agree which of them has which slot, and since which epoch; until they serve all slots, and see the
    /// others as down; and until replicas are linked to their primaries.
    ///
    /// The epochs matter when a slot moves next. A node that wrongly takes its own epoch for the greatest could get the slot, and lose it to
    /// a message that the old owner had sent before.
    pub(crate) fn wait_until_ok(&self) {
        wait_until(|| {
            let mut agreed = None;
            for node in self.nodes.iter().filter(|node| node.is_up()) {
                let at = node.address();
                let info = node.text(&["CLUSTER", "INFO"]);
                if info_field(&info, "cluster_state") != Some("ok") {
                    return Err(format!("the state of {at}:\n{info}"));
                }
                let view = self.view(node)?;
                let slots = view.values().flat_map(|seen| &seen.ranges);
                if slots.map(|(first, last)| usize::from(last - first) + 1).sum::<usize>() != SLOTS {
                    return Err(format!("{at} sees slots without a primary that is up: {view:?}"));
                }
                let primaries = view.values().filter(|seen| seen.primary.is_none());
                let epochs: Vec<_> = primaries.map(|seen| seen.epoch).collect();
                if BTreeSet::from_iter(&epochs).len() < epochs.len() {
                    return Err(format!("{at} sees two primaries of one epoch: {view:?}"));
                }
                if agreed.get_or_insert_with(|| view.clone()) != &view {
                    return Err(format!("{at} sees {view:?}, and another one {agreed:?}"));
                }
                let replication = node.text(&["INFO", "replication"]);
                if info_field(&replication, "master_link_status").is_some_and(|status| status != "up") {
                    return Err(format!("{at} has no link to its primary:\n{replication}"));
                }
            }
            Ok(())
        });
    }

    /// How a node sees the cluster, if it sees exactly the nodes that are up.
    fn view(&self, node: &Redis) -> Result<View, String> {
        let lines = lines(node);
        let well: Vec<_> = lines.iter().filter(|line| line.is_well).map(|line| line.port).collect();
        let up = self.nodes.iter().filter(|node| node.is_up()).map(Redis::port);
        if well.len() == up.clone().count() && up.clone().all(|port| well.contains(&port)) {
            let well = lines.into_iter().filter(|line| line.is_well);
            return Ok(well.map(|line| (line.port, line.seen)).collect());
        }
        Err(format!("{} nodes are up, and {} sees {lines:#?}", up.count(), node.address()))
    }

    /// Begins to move a slot. [`Migration::move_keys`] moves its keys, and [`Migration::finish`] tells all nodes. Until then, the old node
    /// answers `ASK` for keys that it no longer has.
    pub(crate) fn migrate_slot(&self, slot: u16, from: usize, to: usize) -> Migration<'_> {
        let text = slot.to_string();
        self.nodes[to].command(&["CLUSTER", "SETSLOT", &text, "IMPORTING", &self.id(from)]);
        self.nodes[from].command(&["CLUSTER", "SETSLOT", &text, "MIGRATING", &self.id(to)]);
        Migration { cluster: self, slot: text, from, to }
    }

    fn id(&self, node: usize) -> String {
        let port = self.nodes[node].port();
        lines(self.any()).into_iter().find(|line| line.port == port).expect("a node of the cluster").id
    }

    fn number_of(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.port() == port)
    }

    /// A node that runs and is not paused.
    fn any(&self) -> &Redis {
        self.nodes.iter().find(|node| node.is_up()).expect("a node that is up")
    }
}

/// A slot on its way from one node to another.
#[derive(Debug)]
pub(crate) struct Migration<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: usize,
    to: usize,
}

impl Migration<'_> {
    /// Moves all keys that the slot has, and returns how many there were.
    pub(crate) fn move_keys(&self) -> usize {
        let (from, to) = (&self.cluster.nodes[self.from], self.cluster.nodes[self.to].port().to_string());
        let keys: Vec<String> =
            redis::from_redis_value(from.command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1000000"])).unwrap();
        for key in &keys {
            from.command(&["MIGRATE", "127.0.0.1", &to, key, "0", "5000"]);
        }
        keys.len()
    }

    /// Tells all primaries that the slot has moved: the old one now answers with `MOVED`.
    pub(crate) fn finish(self) {
        let id = self.cluster.id(self.to);
        let primaries =
            lines(self.cluster.any()).into_iter().filter(|line| line.is_well && line.seen.primary.is_none());
        let mut numbers: Vec<_> = primaries.filter_map(|line| self.cluster.number_of(line.port)).collect();
        // The new owner hears it first, so that the slot always has an owner.
        numbers.sort_by_key(|&number| number != self.to);
        for number in numbers {
            self.cluster.nodes[number].command(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]);
        }
    }
}

/// A line of `CLUSTER NODES`.
#[derive(Debug)]
struct Line {
    id: String,
    port: u16,
    /// Neither down nor unknown.
    is_well: bool,
    seen: Seen,
}

/// How a node sees the cluster.
fn lines(node: &Redis) -> Vec<Line> {
    node.text(&["CLUSTER", "NODES"]).lines().map(line).collect()
}

/// `id ip:port@bus flags primary ping pong epoch link slots…`, where the slots are `1`, `3-5` or, on their way, `[7->-id]`.
fn line(line: &str) -> Line {
    let fields: Vec<_> = line.split(' ').collect();
    let ill = |flag| ["fail", "fail?", "handshake", "noaddr"].contains(&flag);
    let port = fields[1].rsplit_once(':').and_then(|(_, ports)| ports.split('@').next()).unwrap();
    let slots = fields[8..].iter().filter(|slots| !slots.starts_with('['));
    Line {
        id: fields[0].into(),
        port: port.parse().unwrap(),
        is_well: !fields[2].split(',').any(ill) && (fields[7] == "connected" || fields[2].contains("myself")),
        seen: Seen {
            primary: (fields[3] != "-").then(|| fields[3].into()),
            // Before redis 6, nodes may disagree about the epoch of a replica. A replica has no slots, so it does not matter.
            epoch: if fields[3] == "-" || is_since((6, 0, 0)) { fields[6].parse().unwrap() } else { 0 },
            ranges: slots
                .map(|slots| slots.split_once('-').unwrap_or((slots, slots)))
                .map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()))
                .collect(),
        },
    }
}
