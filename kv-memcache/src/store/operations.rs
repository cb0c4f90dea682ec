//! What the operations of a store do: one code for the blocking store and the async one.
//!
//! The futures of a [`Client`] whose connections block are ready when they are first polled; [`now`](super::now) takes their outcome.

use kv_core::{
    Bytes, Capabilities, CapabilitiesBuilder, Capability, Entry, Error, Key, Remaining, Result, Ttl, Value, Version,
};

#[cfg(feature = "tokio")]
use kv_core::ValueStream;

use super::client::{Client, largest_value};
use super::settings::USUAL_ITEM;
use super::updates;
use crate::protocol::command::{Command, SentKey};
use crate::protocol::reply::Reply;
use crate::protocol::ttl::{self, Expiry};

impl Client {
    pub(super) fn capabilities(&self) -> Capabilities {
        use Capability::{
            Contains, Copy, Counters, Create, ExactVersions, Take, Touch, TouchingReads, TtlReading, Ttls, Versions,
        };
        let largest_item = self.servers.all().iter().map(|node| self.largest_item(node.limits().largest_item)).min();
        let capabilities = Capabilities::builder()
            .with_all(&[
                Contains,
                Create,
                Ttls,
                TtlReading,
                Touch,
                Copy,
                Versions,
                ExactVersions,
                Take,
                TouchingReads,
                Counters,
            ])
            .ttl_resolution(ttl::RESOLUTION)
            .longest_ttl(self.longest_ttl())
            .largest_value(largest_value(Key::MAX_LEN, largest_item.unwrap_or(USUAL_ITEM)))
            .longest_key(self.longest_key());
        let capabilities = if self.settings.contains { capabilities } else { capabilities.without(Contains) };
        if self.settings.classic {
            let lacking = [TtlReading, Copy, Versions, Take, TouchingReads, Counters];
            lacking.into_iter().fold(capabilities, CapabilitiesBuilder::without).build()
        } else {
            capabilities.build()
        }
    }

    pub(super) async fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let key = &self.key(key)?;
        Ok(self.ask(key, Command::Get).await?.hit().map(|hit| hit.value))
    }

    pub(super) async fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let key = &self.key(key)?;
        self.check_size(key, value.len()).await?;
        let expiry = self.expiry_of(key, ttl)?;
        self.ask(key, Command::put(value.as_bytes(), expiry)).await.map(drop)
    }

    pub(super) async fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let key = &self.key(key)?;
        self.check_size(key, value.len()).await?;
        let expiry = self.expiry_of(key, ttl)?;
        self.ask(key, Command::Create(value.as_bytes(), expiry)).await.map(|reply| reply.is_hit())
    }

    pub(super) async fn remove(&self, key: Key<'_>) -> Result<bool> {
        let key = &self.key(key)?;
        self.ask(key, Command::Delete).await.map(|reply| reply.is_hit())
    }

    pub(super) async fn exists(&self, key: Key<'_>) -> Result<bool> {
        if !self.settings.contains {
            return Err(Error::unsupported(&self.label, Capability::Contains));
        }
        let key = &self.key(key)?;
        self.ask(key, Command::Contains).await.map(|reply| reply.is_hit())
    }

    pub(super) async fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.not_classic(Capability::TtlReading)?;
        let key = &self.key(key)?;
        Ok(self.ask(key, Command::TtlOf).await?.hit().map(|hit| ttl::remaining(hit.seconds_left)))
    }

    pub(super) async fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let key = &self.key(key)?;
        let expiry = self.expiry_of(key, ttl)?;
        self.ask(key, Command::touch(expiry)).await.map(|reply| reply.is_hit())
    }

    pub(super) async fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let keys = self.keys(keys)?;
        let replies = self.pipeline(keys.iter().map(|key| (key, Command::Get)).collect()).await?;
        Ok(replies.into_iter().map(|reply| reply.hit().map(|hit| hit.value)).collect())
    }

    pub(super) async fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let keys = keys.iter().map(|&key| self.key(key)).collect::<Vec<_>>();
        let fitting = keys.iter().flatten().map(|key| (key, Command::Get)).collect();
        let mut outcomes = self.pipeline_each(fitting).await.into_iter();
        let mut outcome = |key: &SentKey<'_>| outcomes.next().unwrap_or_else(|| self.lost(key, Command::Get));
        keys.into_iter().map(|key| Ok(outcome(&key?)?.hit().map(|hit| hit.value))).collect()
    }

    pub(super) async fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let mut commands = Vec::with_capacity(entries.len());
        let keys = entries.iter().map(|entry| self.key(entry.key)).collect::<Result<Vec<_>>>()?;
        for (Entry { value, ttl, .. }, key) in entries.iter().zip(&keys) {
            self.check_size(key, value.len()).await?;
            let expiry = self.expiry_of(key, *ttl)?;
            self.check_clock(key, expiry).await?;
            commands.push((key, Command::put(value.as_bytes(), expiry)));
        }
        self.pipeline(commands).await.map(drop)
    }

    pub(super) async fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let keys = self.keys(keys)?;
        let replies = self.pipeline(keys.iter().map(|key| (key, Command::Delete)).collect()).await?;
        Ok(replies.iter().map(Reply::is_hit).collect())
    }

    pub(super) async fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.copy_version(from, to).await.map(drop)
    }

    pub(super) async fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let version = self.copy_version(from, to).await?;
        self.ask(&self.key(from)?, Command::DeleteVersion(version)).await.map(drop)
    }

    pub(super) async fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.not_classic(Capability::Versions)?;
        let key = &self.key(key)?;
        let read = self.read_with_version(key).await?;
        Ok(read.map(|(value, version)| (value, Version::of_number(key.sent(), version))))
    }

    pub(super) async fn write_if_absent_versioned(
        &self,
        key: Key<'_>,
        value: Value<'_>,
        ttl: Ttl,
    ) -> Result<Option<Version>> {
        self.not_classic(Capability::Versions)?;
        let key = &self.key(key)?;
        self.check_size(key, value.len()).await?;
        let expiry = self.expiry_of(key, ttl)?;
        self.store_versioned(key, Command::CreateVersioned(value.as_bytes(), expiry)).await
    }

    pub(super) async fn write_if_version(
        &self,
        key: Key<'_>,
        value: Value<'_>,
        ttl: Ttl,
        version: &Version,
    ) -> Result<Option<Version>> {
        self.not_classic(Capability::Versions)?;
        let key = &self.key(key)?;
        self.check_size(key, value.len()).await?;
        let expiry = self.expiry_of(key, ttl)?;
        let Some(version) = updates::number(version, key) else { return Ok(None) };
        self.store_versioned(key, Command::PutVersion { value: value.as_bytes(), expiry, version }).await
    }

    pub(super) async fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.not_classic(Capability::Versions)?;
        let key = &self.key(key)?;
        let Some(version) = updates::number(version, key) else { return Ok(false) };
        self.ask(key, Command::DeleteVersion(version)).await.map(|reply| reply.is_hit())
    }

    pub(super) async fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.not_classic(Capability::Take)?;
        let key = &self.key(key)?;
        self.take(key).await
    }

    pub(super) async fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.not_classic(Capability::TouchingReads)?;
        let key = &self.key(key)?;
        let expiry = self.expiry_of(key, ttl)?;
        Ok(self.ask(key, Command::GetAndTouch(expiry)).await?.hit().map(|hit| hit.value))
    }

    pub(super) async fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.not_classic(Capability::Counters)?;
        let key = &self.key(key)?;
        let expiry = self.expiry_of(key, ttl)?;
        self.add_number(key, by, expiry).await
    }

    #[cfg(feature = "tokio")]
    pub(super) async fn write_stream(&self, key: Key<'_>, mut stream: ValueStream<'_>, ttl: Ttl) -> Result<()> {
        let sent = &self.key(key)?;
        let mut value = Vec::new();
        loop {
            let limit = self.largest_value_at(sent)?;
            while value.len() as u64 <= limit {
                let Some(piece) = stream.next().await else { return self.write(key, Value::from(value), ttl).await };
                let piece = piece.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
                value.extend_from_slice(&piece);
            }
            self.check_size(sent, value.len()).await?;
        }
    }

    /// An error if the classic commands are used, which cannot do this.
    fn not_classic(&self, capability: Capability) -> Result<()> {
        if self.settings.classic { Err(Error::unsupported(&self.label, capability)) } else { Ok(()) }
    }

    /// Copies an entry. Returns the version that was copied.
    async fn copy_version(&self, from: Key<'_>, to: Key<'_>) -> Result<u64> {
        self.not_classic(Capability::Copy)?;
        let (from, to) = (&self.key(from)?, &self.key(to)?);
        let Some(original) = self.ask(from, Command::GetAll).await?.hit() else {
            return Err(Error::not_found(&self.label, from.given));
        };
        let (value, client_flags) = (&original.value, original.client_flags);
        let length = value.len() as u64;
        if let Some(limit) = self.less_than(to, length, client_flags).await? {
            return Err(Error::value_too_large(&self.label, to.given, length, limit));
        }
        let expiry = Expiry::of_copy(original.seconds_left);
        self.ask(to, Command::Put { value, expiry, client_flags }).await?;
        Ok(original.version)
    }
}
