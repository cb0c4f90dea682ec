//! Which commands a server has. Only this file knows versions.
//!
//! | what is needed | with | without it |
//! |---|---|---|
//! | [`COPY`](Commands::COPY): redis 6.2 | `COPY … REPLACE` | a script; without scripts `GET` and `PTTL` in a transaction, then `SET` |
//! | [`SCAN_TYPE`](Commands::SCAN_TYPE): redis 6.0 | `SCAN … TYPE string` | a script of `SCAN` and `TYPE`; without scripts `TYPE` for each name, in a pipeline with the next `SCAN` |
//! | [`PERSIST`](Commands::PERSIST): redis 3.2 | `MULTI`, `PERSIST`, `EXISTS`, `EXEC` | an `EXISTS` before the `PERSIST` |
//! | [`LARGE_PAGES`](Commands::LARGE_PAGES): all but KeyDB | `SCAN … COUNT 1000` | with KeyDB the same in `MULTI` and `EXEC`, else `SCAN … COUNT 99` |
//! | [`EVAL`](Commands::EVAL), `DELIFEQ` (valkey 9), `DELEX` (redis 8.4) | an entry is removed if it is what was copied | `rename` across slots is refused |
//! | [`SET_IFEQ`](Commands::SET_IFEQ): redis 8.4, valkey 8.1; else `EVAL` | a value is replaced if it is what was read, by `SET … IFEQ` or a script | `WATCH` and `GET`, then `MULTI`, `SET`, `EXEC` on the same connection |
//! | `DELIFEQ` (valkey 9), `DELEX` (redis 8.4); else `EVAL` | an entry is removed if its value is what was read | `WATCH` and `GET`, then `MULTI`, `DEL`, `EXEC` |
//! | [`GETDEL`](Commands::GETDEL): redis 6.2 | `GETDEL` | a script; without scripts as above |
//! | [`GETEX`](Commands::GETEX): redis 6.2 | `GETEX` | `MULTI`, `GET`, `PEXPIRE` or `PERSIST`, `EXEC` |
//! | [`STILL`](Commands::STILL): redis 7.0 | a counter begins with its TTL by `MULTI`, `SET … NX`, `INCRBY`, `EXEC` (the first one as in the next column without scripts) | a script; without scripts the same with a `PTTL` before and after, and a `PEXPIRE` for a counter that has expired in between |
//!
//! A connection learns the version from the `INFO` of its login. The version may be wrong (Garnet says 7.4.3 and has no
//! `COPY`), unknown (`INFO` is renamed or forbidden), or not enough (the user may not use `EVAL`). So a request says what it
//! [needs](super::request::Request::needing). A connection that lacks it sends nothing and says so. If a server refuses it, the store
//! remembers that and makes the request of the next column.

/// The numbers of a version.
pub(crate) type Version = (u32, u32, u32);

/// The oldest redis with the commands that have no fallback: `SCAN`, `ROLE`, a `PTTL` that reports an absent key.
pub(crate) const OLDEST: Version = (2, 8, 12);

/// A set of commands, and of traits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commands(u16);

impl Commands {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const COPY: Self = Self(1);
    pub(crate) const SCAN_TYPE: Self = Self(1 << 1);
    /// `PERSIST` does not revive an expired entry. On older servers it does (T5).
    pub(crate) const PERSIST: Self = Self(1 << 2);
    /// Scripts.
    pub(crate) const EVAL: Self = Self(1 << 3);
    /// Of valkey 9.
    pub(crate) const DELIFEQ: Self = Self(1 << 4);
    /// Of redis 8.4.
    pub(crate) const DELEX: Self = Self(1 << 5);
    #[cfg(feature = "cluster")]
    /// The commands that can remove an entry on the condition that it is a certain one.
    pub(crate) const REMOVAL: Self = Self::EVAL.with(Self::DELIFEQ).with(Self::DELEX);
    /// The server says that it is not a node of a cluster, so a listing of it is complete (L3).
    pub(crate) const WHOLE: Self = Self(1 << 6);
    /// A page of a listing of any size has the keys of the moment of the request. KeyDB takes pages of 100 and more from a snapshot that
    /// may be older (L1).
    pub(crate) const LARGE_PAGES: Self = Self(1 << 7);
    /// The same for a page that is requested in a transaction: KeyDB has this.
    pub(crate) const PAGES_IN_EXEC: Self = Self(1 << 8);
    pub(crate) const GETDEL: Self = Self(1 << 9);
    pub(crate) const GETEX: Self = Self(1 << 10);
    /// `SET … IFEQ`. A server that lacks it says that the syntax is wrong.
    pub(crate) const SET_IFEQ: Self = Self(1 << 11);
    pub(crate) const WATCH: Self = Self(1 << 12);
    /// Time stands still within a transaction, so that no entry expires between two commands of it.
    pub(crate) const STILL: Self = Self(1 << 13);
    pub(crate) const ALL: Self = Self((1 << 14) - 1);
    /// The user may use transactions. No server tells that: it is [learned](crate::connection::known_commands::KnownCommands::learn) when one
    /// was carried out.
    pub(crate) const TRANSACTIONS: Self = Self(1 << 14);

    /// The largest `COUNT` without [`LARGE_PAGES`](Self::LARGE_PAGES).
    pub(super) const SMALL_PAGE: u64 = 99;

    /// What a server has that says that it is this version of redis, and this version of valkey. If the version is unknown, everything that a
    /// refusal can correct later.
    pub(crate) fn of_version(version: Option<Version>, valkey: Option<Version>) -> Self {
        let since = |commands: Self, first: Version| match version {
            Some(version) if version < first => commands,
            _ => Self::NONE,
        };
        // Valkey goes on from redis 7.2, and has no `DELEX`.
        let comparing = match valkey {
            None => Self::DELIFEQ.with(since(Self::SET_IFEQ.with(Self::DELEX), (8, 4, 0))),
            Some(valkey) if valkey < (8, 1, 0) => Self::SET_IFEQ.with(Self::DELIFEQ).with(Self::DELEX),
            Some(valkey) if valkey < (9, 0, 0) => Self::DELIFEQ.with(Self::DELEX),
            Some(_) => Self::DELEX,
        };
        let untold =
            if version.is_none() { Self::PERSIST.with(Self::LARGE_PAGES).with(Self::STILL) } else { Self::NONE };
        Self::ALL
            .without(Self::WHOLE.with(Self::PAGES_IN_EXEC))
            .without(since(Self::STILL, (7, 0, 0)))
            .without(since(Self::COPY.with(Self::GETDEL).with(Self::GETEX), (6, 2, 0)))
            .without(since(Self::SCAN_TYPE, (6, 0, 0)))
            .without(since(Self::PERSIST, (3, 2, 0)))
            .without(if version.is_none() { Self::NONE } else { comparing })
            .without(untold)
    }

    /// The names by which servers refuse one of these.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::COPY => &["copy"],
            Self::SCAN_TYPE => &["scan"],
            Self::PAGES_IN_EXEC => &["multi", "exec"],
            Self::PERSIST => &["persist"],
            Self::EVAL => &["eval", "evalsha", "lua"],
            Self::DELIFEQ => &["delifeq"],
            Self::DELEX => &["delex"],
            Self::GETDEL => &["getdel"],
            Self::GETEX => &["getex"],
            Self::SET_IFEQ => &["ifeq"],
            Self::WATCH => &["watch"],
            _ => &[],
        }
    }

    pub(crate) const fn has(self, needs: Self) -> bool {
        self.0 & needs.0 == needs.0
    }

    pub(crate) const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub(crate) const fn without(self, less: Self) -> Self {
        Self(self.0 & !less.0)
    }

    /// What both have.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    pub(crate) const fn of_bits(bits: u16) -> Self {
        Self(bits)
    }
}
