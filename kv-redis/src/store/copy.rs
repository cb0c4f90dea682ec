//! Copies that take more than one request: between slots of a cluster, and where a server has no command for it.

use kv_core::{Error, Key, Result};
use redis::Value as Reply;

use crate::protocol::answer::Answer;

use super::client::Client;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Request, Shape};
use crate::protocol::ttl;

/// An entry as it was read.
pub(super) struct Read {
    pub(super) value: Vec<u8>,
    /// The remaining TTL in milliseconds; `None` is for ever.
    pub(super) left: Option<u64>,
}

impl Client {
    /// Copies an entry with a read and a write.
    pub(super) async fn copy_in_steps(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let entry = self.read_entry(from).await?;
        self.write_copy(to, &entry).await
    }

    pub(super) async fn read_entry(&self, key: Key<'_>) -> Result<Read> {
        let answer = self.send(key, &self.reading_entry(key)).await?;
        self.entry_of(key, &answer)
    }

    /// Value and TTL of the same moment.
    fn reading_entry<'a>(&'a self, key: Key<'a>) -> Request<'a> {
        self.add_read(Request::reading(), key).with(Shape::Any, ["EXEC".into()])
    }

    /// Adds a transaction that reads an entry, without its end.
    pub(super) fn add_read<'a>(&'a self, request: Request<'a>, key: Key<'a>) -> Request<'a> {
        request
            .with(Shape::Any, ["MULTI".into()])
            .with(Shape::Any, ["GET".into(), self.name(key)])
            .with(Shape::Any, ["PTTL".into(), self.name(key)])
    }

    /// The entry in the replies.
    pub(super) fn entry_of(&self, key: Key<'_>, answer: &Answer) -> Result<Read> {
        let replies = &answer.replies;
        let refusal = replies.iter().find_map(|reply| match reply {
            Reply::ServerError(error) => Some(error.clone()),
            Reply::Array(replies) => replies.iter().find_map(|reply| match reply {
                Reply::ServerError(error) => Some(error.clone()),
                _ => None,
            }),
            _ => None,
        });
        if let Some(error) = refusal {
            return Err(self.error(Fault::Refused(error.into()).at(answer.server.as_ref()), Some(key), false));
        }
        let result =
            replies.iter().find_map(|reply| if let Reply::Array(result) = reply { Some(result) } else { None });
        let (value, left) = match result.map(Vec::as_slice) {
            Some([Reply::Nil, _, ..]) => return Err(Error::not_found(self.label(), key)),
            Some([Reply::BulkString(value), Reply::Int(-1), ..]) => (value, None),
            Some([Reply::BulkString(value), Reply::Int(millis), ..]) => (value, Some(ttl::of_copy(*millis))),
            _ => return Err(self.error(Fault::Desynchronized, Some(key), false)),
        };
        Ok(Read { value: value.clone(), left })
    }

    pub(super) async fn write_copy(&self, to: Key<'_>, entry: &Read) -> Result<()> {
        let mut request = Request::writing();
        self.add_write(&mut request, to, &entry.value, entry.left);
        self.ask(to, &request).await.map(drop)
    }
}
