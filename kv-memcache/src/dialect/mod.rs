//! What is sent for a command and what a reply means, in each dialect of the protocol. Nothing here does any I/O.
//!
//! | servers | dialect |
//! |---|---|
//! | memcached from 1.6.18 on, and what tells no version | [`Meta`], with a number in every reply |
//! | 1.6.13 to 1.6.17 | the same, but a miss may have no number |
//! | 1.6.10 to 1.6.12 | the same, but `md` knows no versions of entries: `ms` replaces the entry by one that has expired |
//! | 1.6.0 to 1.6.9 | the same, but lengths are flags (`S5`) and the code for success is `OK` |
//! | 1.4.25 and later, and proxies, where the builder says so | [`classic`] |

mod classic;
mod meta;

use kv_core::Key;

use crate::fault::Fault;
use crate::reply::{Hit, Reply};
use crate::request::{Command, Expiry};

pub(crate) use classic::{CLASSIC_EXTRA, Deletes};
pub(crate) use meta::Meta;

/// How to talk to the server at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialect {
    Meta(&'static Meta),
    Classic(Deletes),
}

/// What the first line of a reply says.
#[derive(Debug)]
pub(crate) enum Head {
    /// It is the whole reply.
    Whole(Reply),
    /// A value of so many bytes follows, and [its end](Dialect::end_of_value).
    Value { length: usize, hit: Hit },
}

impl Dialect {
    /// The dialect of the meta commands that a server of this version has.
    pub(crate) fn meta(version: [u32; 3]) -> Self {
        Self::Meta(Meta::of(version))
    }

    /// The dialect of the classic commands for a server of this version.
    pub(crate) fn classic(version: [u32; 3]) -> Self {
        Self::Classic(Deletes::of(version))
    }

    /// Adds the line of a command, without its value.
    pub(crate) fn write_line(
        self,
        line: &mut Vec<u8>,
        key: Key<'_>,
        command: &Command<'_>,
        expiry: Expiry,
        tag: u64,
    ) -> Result<(), Fault> {
        match self {
            Self::Meta(meta) => meta.write_line(line, key, command, expiry, tag),
            Self::Classic(deletes) => classic::write_line(line, key, command, expiry, deletes),
        }
    }

    /// What a line means that is no error of the server, in reply to this command.
    pub(crate) fn read_head(
        self,
        line: &mut [u8],
        key: Key<'_>,
        command: &Command<'_>,
        tag: u64,
    ) -> Result<Head, Fault> {
        match self {
            Self::Meta(meta) => meta.read_head(line, command, tag),
            Self::Classic(deletes) => classic::read_head(line, key, command, deletes),
        }
    }

    /// What comes after a value.
    pub(crate) fn end_of_value(self) -> &'static [u8] {
        match self {
            Self::Meta(_) => b"\r\n",
            Self::Classic(_) => b"\r\nEND\r\n",
        }
    }
}
