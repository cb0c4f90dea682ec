//! Batches of several chunks that are wrong in a later one.

use kv_core::{Bytes, Entry, Error, Failure, Key, KeyValueStore, Result};

use super::Wrong;
use crate::connection::Broken;
use crate::faults::Fault;
use crate::wire::{Op, Request};

/// How many keys a chunk has.
const CHUNK: usize = 1000;

impl Wrong {
    pub(super) fn is_wrong_in_chunks(&self) -> bool {
        matches!(
            self.fault,
            Fault::LaterChunkRepeated
                | Fault::LaterRemovalsRepeated
                | Fault::LaterChunkIsDone
                | Fault::LaterRemovalsAreFalse
                | Fault::LaterChunkIsCertain
                | Fault::LaterTtlsAreThoseOfFirst
                | Fault::LastChunkFirst
        )
    }

    /// Sends the requests of all chunks before it receives a reply.
    pub(super) fn read_pipelined(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let request = |chunk: &[Key<'_>]| Request::new(Op::Read, chunk.iter().map(|key| key.as_bytes()));
        let requests = keys.chunks(CHUNK).map(request).collect::<Vec<_>>();
        let explain = |broken| self.client.explain(None, &Request::new(Op::Read, []), broken);
        let values = self.client.transport.pipeline(&requests).map_err(explain)?.concat();
        if values.len() == keys.len() { Ok(values) } else { Err(explain(Broken::Nonsense)) }
    }

    pub(super) fn write_chunks(&self, entries: &[Entry<'_>]) -> Result<()> {
        let mut chunks = entries.chunks(CHUNK).map(<[Entry<'_>]>::to_vec).enumerate().collect::<Vec<_>>();
        if self.fault == Fault::LastChunkFirst {
            chunks.reverse();
        }
        chunks.into_iter().try_for_each(|(number, mut chunk)| {
            if self.fault == Fault::LaterTtlsAreThoseOfFirst && number > 0 {
                let ttl = chunk[0].ttl;
                for entry in &mut chunk {
                    entry.ttl = ttl;
                }
            }
            let Err(error) = self.client.write_many(chunk.clone()) else { return Ok(()) };
            let is_late = matches!(error, Error::Timeout(_));
            match self.fault {
                _ if number == 0 || !error.outcome_unknown() => Err(error),
                Fault::LaterChunkRepeated if !is_late => self.client.write_many(chunk),
                Fault::LaterChunkIsDone if !is_late => Ok(()),
                Fault::LaterChunkIsCertain => Err(certain(&error)),
                _ => Err(error),
            }
        })
    }

    pub(super) fn remove_chunks(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let mut all = Vec::new();
        for (number, chunk) in keys.chunks(CHUNK).enumerate() {
            all.extend(self.client.remove_many(chunk).or_else(|error| match self.fault {
                _ if number == 0 || !error.outcome_unknown() => Err(error),
                Fault::LaterRemovalsRepeated => self.client.remove_many(chunk),
                Fault::LaterRemovalsAreFalse => Ok(vec![false; chunk.len()]),
                _ => Err(error),
            })?);
        }
        Ok(all)
    }
}

/// The same error, as if nothing had happened.
fn certain(error: &Error) -> Error {
    let failure = Failure::new(error.store().unwrap_or_default(), "the batch failed");
    if matches!(error, Error::Timeout(_)) { Error::Timeout(failure) } else { Error::Unavailable(failure) }
}
