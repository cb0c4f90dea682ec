//! Values that are sent while they are read.

use std::io::Read;

use kv_core::{Error, Key, KeyValueStore, Result, Ttl};

use super::Wrong;
use crate::faults::Fault;
use crate::wire::{Op, Request};

impl Wrong {
    /// Reads a value while it has a place in the pool, and then writes it.
    pub(super) fn write_while_reading(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let mut value = Vec::new();
        let request = |value: &[u8]| Request::new(Op::Write, [key.as_bytes(), value, b""]);
        let explain = |broken| self.client.explain(Some(key), &request(b""), broken);
        let io = |error| Error::io(key, "reading the value to be stored", error);
        if self.fault == Fault::ReusedAfterHalfStream {
            let Err(error) = reader.read_to_end(&mut value) else { return self.client.write(key, value.into(), ttl) };
            if !value.is_empty() {
                // What has come by then has been sent, and as much again is missing.
                let whole = request(&[&*value, &*value].concat());
                let half = whole.bytes.len() - value.len();
                self.client.transport.send_half(&whole.bytes[..half]).map_err(explain)?;
            }
            return Err(io(error));
        }
        self.client.transport.read_value(reader, &mut value).map_err(explain)?.map_err(io)?;
        self.client.write(key, value.into(), ttl)
    }
}
