//! Which bytes are sent for a command, and what a reply means, in each dialect of the protocol.
//!
//! | servers | dialect |
//! |---|---|
//! | memcached from 1.6.18 on, and a server that tells no version | [`Meta`], with a number in every reply |
//! | 1.6.13 to 1.6.17 | the same, but a miss may have no number |
//! | 1.6.10 to 1.6.12 | the same, but `md` does not compare versions: `ms` replaces the entry by one that has expired |
//! | 1.6.0 to 1.6.9 | the same, but lengths are flags (`S5`) and the code for success is `OK` |
//! | 1.4.25 and later, and proxies, where the builder says so | [`classic`] |

mod classic;
mod meta;

use super::command::KeyedCommand;
use super::fault::Fault;
use super::refusal::Refusal;
use super::reply::{FirstLine, Reply};
use super::ttl::Exptime;

pub(crate) use classic::{CLASSIC_EXTRA, Deletion};
pub(crate) use meta::Meta;

/// How to talk to the server at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialect {
    Meta(&'static Meta),
    Classic(Deletion),
}

impl Dialect {
    /// The dialect of the meta commands that a server of this version has.
    pub(crate) fn meta(version: [u32; 3]) -> Self {
        Self::Meta(Meta::of(version))
    }

    /// The dialect of the classic commands for a server of this version.
    pub(crate) fn classic(version: [u32; 3]) -> Self {
        Self::Classic(Deletion::of(version))
    }

    /// Adds the line of a command, without its value.
    pub(crate) fn write_line(
        self,
        line: &mut Vec<u8>,
        &KeyedCommand { key, ref command, .. }: &KeyedCommand<'_>,
        exptime: Exptime,
        tag: u64,
    ) -> Result<(), Fault> {
        match self {
            Self::Meta(meta) => meta.write_line(line, key.sent(), command, exptime, tag),
            Self::Classic(deletes) => classic::write_line(line, key.sent(), command, exptime, deletes),
        }
    }

    /// What the first line of the reply to a command means. No value is as large as the largest item.
    pub(crate) fn read_first_line(
        self,
        line: &mut [u8],
        &KeyedCommand { key, ref command, .. }: &KeyedCommand<'_>,
        tag: u64,
        largest_item: u64,
    ) -> Result<FirstLine, Fault> {
        if let Some(refusal) = Refusal::parse(line) {
            return Ok(FirstLine::Whole(Reply::Refused(refusal)));
        }
        let head = match self {
            Self::Meta(meta) => meta.read_first_line(line, command, tag)?,
            Self::Classic(deletes) => classic::read_first_line(line, key.sent(), command, deletes)?,
        };
        match head {
            FirstLine::Value { length, .. } if length as u64 >= largest_item => Err(Fault::Desynchronized),
            head => Ok(head),
        }
    }

    /// Whether the replies after this one may belong to other commands. If a server takes a value for commands, it refuses each of them.
    /// Classic replies have nothing else that tells them apart.
    pub(crate) fn doubts_what_follows(self, reply: &Reply) -> bool {
        matches!((self, reply), (Self::Classic(_), Reply::Refused(refusal)) if refusal.is_of_request())
    }

    /// The bytes after a value.
    pub(crate) fn end_of_value(self) -> &'static [u8] {
        match self {
            Self::Meta(_) => b"\r\n",
            Self::Classic(_) => b"\r\nEND\r\n",
        }
    }
}
