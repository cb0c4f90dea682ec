//! Sends a command to the server that has its key, and makes an error of what goes wrong.

use std::slice;
use std::sync::Arc;

use kv_core::{Error, Key, Result};

use super::settings::Settings;
use crate::protocol::command::{Command, KeyedCommand, SentKey, item_size};
use crate::protocol::fault::{ErrorContext, Fault};
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::ttl::Expiry;
use crate::servers::node::Node;
use crate::servers::placement::Servers;

/// The servers of a store, and how commands get there.
pub(super) struct Client {
    /// The name of the store.
    pub(super) label: String,
    pub(super) settings: Settings,
    /// The servers, which the handles of all namespaces share.
    pub(super) servers: Arc<Servers>,
}

impl Client {
    pub(super) fn new(label: String, settings: Settings, servers: Servers) -> Self {
        Self { label, settings, servers: Arc::new(servers) }
    }

    /// The same servers and connections, with this name after the namespace.
    pub(super) fn within(&self, name: &str) -> Self {
        let mut settings = self.settings.clone();
        let around = label_of_namespace(&settings.namespace);
        settings.namespace.extend([name, ":"]);
        let label = self.label.strip_suffix(&around).unwrap_or(&self.label);
        let label = [label, &label_of_namespace(&settings.namespace)].concat();
        Self { label, settings, servers: Arc::clone(&self.servers) }
    }

    /// The length of the longest key: what the namespace leaves.
    pub(super) fn longest_key(&self) -> usize {
        Key::MAX_LEN - self.settings.namespace.len()
    }

    /// A key, with the namespace before it.
    pub(super) fn key<'k>(&self, key: Key<'k>) -> Result<SentKey<'k>> {
        let too_long = || Error::key_too_long(&self.label, key, self.longest_key());
        SentKey::new(&self.settings.namespace, key).ok_or_else(too_long)
    }

    /// Several keys, with the namespace before each.
    pub(super) fn keys<'k>(&self, keys: &[Key<'k>]) -> Result<Vec<SentKey<'k>>> {
        keys.iter().map(|&key| self.key(key)).collect()
    }

    /// Reserves tags for this many commands. Returns the first.
    pub(super) fn tags(&self, count: usize) -> u64 {
        self.servers.tags(count)
    }

    /// The server that has this key.
    pub(super) fn node(&self, key: &SentKey<'_>) -> Result<&Node> {
        self.servers.all().get(self.servers.index_of(&key.sent())).ok_or_else(|| {
            let message = "there is no server";
            Error::Backend(kv_core::Failure::new(&self.label, message))
        })
    }

    /// Sends a command and returns its reply. An error that the server sends is an error.
    pub(super) async fn ask(&self, key: &SentKey<'_>, command: Command<'_>) -> Result<Reply> {
        let reply = self.send(key, command).await?;
        self.no_refusal(self.node(key)?, reply, &KeyedCommand::new(0, key, command))
    }

    /// Sends a command and returns its reply, which may be an error that the server sends.
    pub(super) async fn send(&self, key: &SentKey<'_>, command: Command<'_>) -> Result<Reply> {
        let (node, keyed) = (self.node(key)?, KeyedCommand::new(0, key, command));
        let answer = node.exchange(Request::new(&[keyed], self.tags(1))).await;
        Ok(answer.map_err(|fault| self.error(node, fault, &[keyed]))?.pop().unwrap_or(Reply::Miss))
    }

    /// A reply that is not an error of the server.
    pub(super) fn no_refusal(&self, node: &Node, reply: Reply, keyed: &KeyedCommand<'_>) -> Result<Reply> {
        match reply {
            Reply::Refused(refusal) => Err(self.error(node, Fault::Refused(refusal), slice::from_ref(keyed))),
            reply => Ok(reply),
        }
    }

    /// The error for a fault of the exchange of these commands.
    pub(super) fn error(&self, node: &Node, fault: Fault, commands: &[KeyedCommand<'_>]) -> Error {
        let commands = fault.index().and_then(|index| commands.get(index)).map_or(commands, slice::from_ref);
        match (&fault, commands) {
            (&Fault::ItemTooLarge { limit, .. }, &[KeyedCommand { key, command, .. }]) => {
                let size = command.value().map_or(0, <[u8]>::len) as u64;
                return Error::value_too_large(&self.label, key.given, size, largest_value(key.sent().len(), limit));
            }
            (&Fault::TtlTooLong { longest, .. }, &[KeyedCommand { key, command, .. }]) => {
                if let Some(Expiry::After(ttl)) = command.expiry() {
                    return Error::invalid_ttl(&self.label, key.given, ttl, longest);
                }
            }
            _ => {}
        }
        let server = Some(node.name()).filter(|_| self.servers.all().len() > 1);
        // An error names a key only if that is the one that failed.
        let key = if let [keyed] = commands { Some(keyed.key.given) } else { None };
        let writes = commands.iter().any(|keyed| keyed.command.writes());
        fault.into_error(&ErrorContext { store: &self.label, server, key, writes, timeouts: self.settings.timeouts })
    }
}

/// What the name of a store says of its namespace.
pub(super) fn label_of_namespace(namespace: &str) -> String {
    match namespace.trim_end_matches(':') {
        "" => String::new(),
        names => format!(" (namespace {names})"),
    }
}

/// The length of the largest value that makes an item of at most this size with a key of this length.
pub(super) fn largest_value(key_length: usize, largest_item: u64) -> u64 {
    largest_item.saturating_sub(item_size(key_length, 0, 0))
}
