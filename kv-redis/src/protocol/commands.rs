//! Which commands a server gets. This is the only place that knows of versions.
//!
//! | what is needed | with | without it |
//! |---|---|---|
//! | [`COPY`](Commands::COPY): redis 6.2 | `COPY … REPLACE` | a script; without scripts `GET` and `PTTL` in a transaction, then `SET` |
//! | [`SCAN_TYPE`](Commands::SCAN_TYPE): redis 6.0 | `SCAN … TYPE string` | a script of `SCAN` and `TYPE`; without scripts `TYPE` for each name, in a pipeline with the next `SCAN` |
//! | [`PERSIST`](Commands::PERSIST): redis 3.2 | `MULTI`, `PERSIST`, `EXISTS`, `EXEC` | an `EXISTS` before the `PERSIST` |
//! | [`LARGE_PAGES`](Commands::LARGE_PAGES): all but KeyDB | `SCAN … COUNT 1000` | with KeyDB the same in `MULTI` and `EXEC`, else `SCAN … COUNT 99` |
//! | [`EVAL`](Commands::EVAL), `DELIFEQ` (valkey 9), `DELEX` (redis 8.4) | an entry is removed if it is what was copied | `rename` across slots is refused |
//!
//! A connection learns the version from the `INFO` of its login. The version may be wrong (Garnet says 7.4.3 and has no
//! `COPY`), unknown (`INFO` is renamed or forbidden), or beside the point (the user may not use `EVAL`): so a request says
//! what it [needs](crate::protocol::request::Request::needing). A connection that lacks it sends nothing and says so; if a server
//! refuses it, the store remembers that and makes the request of the next column.

use crate::protocol::info::Version;
use crate::protocol::request::{Arg, Request, Shape};

/// The oldest redis that has what cannot be replaced: `SCAN`, `ROLE`, a `PTTL` that tells an absent key.
pub(crate) const OLDEST: Version = (2, 8, 12);

/// A set of commands, and of traits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commands(u16);

impl Commands {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const COPY: Self = Self(1);
    pub(crate) const SCAN_TYPE: Self = Self(1 << 1);
    /// `PERSIST` leaves an entry alone that has expired. Older servers revive it (T5).
    pub(crate) const PERSIST: Self = Self(1 << 2);
    /// Scripts.
    pub(crate) const EVAL: Self = Self(1 << 3);
    #[cfg(feature = "cluster")]
    /// Of valkey 9.
    pub(crate) const DELIFEQ: Self = Self(1 << 4);
    #[cfg(feature = "cluster")]
    /// Of redis 8.4.
    pub(crate) const DELEX: Self = Self(1 << 5);
    #[cfg(feature = "cluster")]
    /// All that can remove an entry only if it is a certain one.
    pub(crate) const REMOVAL: Self = Self::EVAL.with(Self::DELIFEQ).with(Self::DELEX);
    /// The server says that it is no node of a cluster: a listing of it is whole (L3).
    pub(crate) const WHOLE: Self = Self(1 << 6);
    /// A page of a listing has what was there when it was asked for, however large it is. KeyDB takes pages of 100 and more from a
    /// snapshot that may be older (L1).
    pub(crate) const LARGE_PAGES: Self = Self(1 << 7);
    /// A page has what was there when it was asked for, if it is asked for in a transaction: so it is with KeyDB.
    pub(crate) const PAGES_IN_EXEC: Self = Self(1 << 8);
    pub(crate) const ALL: Self = Self((1 << 9) - 1);

    /// What `COUNT` is at most without [`LARGE_PAGES`](Self::LARGE_PAGES).
    const SMALL_PAGE: u64 = 99;

    /// What a server of this version has. Where nobody tells, all that a refusal can tell later.
    pub(crate) fn of_version(version: Option<Version>) -> Self {
        let since = |commands: Self, first: Version| match version {
            Some(version) if version < first => commands,
            _ => Self::NONE,
        };
        let untold = if version.is_none() { Self::PERSIST.with(Self::LARGE_PAGES) } else { Self::NONE };
        Self::ALL
            .without(Self::WHOLE.with(Self::PAGES_IN_EXEC))
            .without(since(Self::COPY, (6, 2, 0)))
            .without(since(Self::SCAN_TYPE, (6, 0, 0)))
            .without(since(Self::PERSIST, (3, 2, 0)))
            .without(untold)
    }

    /// What servers call the first of these.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::COPY => &["copy"],
            Self::SCAN_TYPE => &["scan"],
            Self::PAGES_IN_EXEC => &["multi", "exec"],
            Self::PERSIST => &["persist"],
            Self::EVAL => &["eval", "lua"],
            #[cfg(feature = "cluster")]
            Self::DELIFEQ => &["delifeq"],
            #[cfg(feature = "cluster")]
            Self::DELEX => &["delex"],
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

    /// Copies an entry and tells whether it was there, in one request; `None` if there is no command for that.
    pub(crate) fn copy<'a>(self, from: Arg<'a>, to: Arg<'a>) -> Option<Request<'a>> {
        let request = Request::writing();
        if self.has(Self::COPY) {
            let copy = ["COPY".into(), from, to, "REPLACE".into()];
            return Some(request.with(Shape::Integer, copy).needing(Self::COPY));
        }
        let script = ["EVAL".into(), COPY_SCRIPT.into(), 2.into(), from, to];
        self.has(Self::EVAL).then(|| request.with(Shape::Integer, script).needing(Self::EVAL))
    }

    /// Lets an entry live for ever. The reply to its last command is an array whose last item tells whether it was there.
    pub(crate) fn persist(self, key: Arg<'_>) -> Request<'_> {
        let mut request = Request::writing().with(Shape::Done, ["MULTI".into()]);
        if !self.has(Self::PERSIST) {
            // It removes an entry that has expired, which PERSIST does not.
            request.add(Shape::Any, ["EXISTS".into(), key]);
        }
        // PERSIST alone does not tell an entry that lives for ever already from one that is not there.
        request
            .with(Shape::Any, ["PERSIST".into(), key])
            .needing(self.and(Self::PERSIST))
            .with(Shape::Any, ["EXISTS".into(), key])
            .with(Shape::Any, ["EXEC".into()])
    }

    /// What a page of this size needs besides the command, and its size where that is not to be had.
    pub(crate) fn size_of_page(self, count: u64) -> (Self, u64) {
        if count <= Self::SMALL_PAGE {
            (Self::NONE, count)
        } else if self.has(Self::LARGE_PAGES) {
            (Self::LARGE_PAGES, count)
        } else if self.has(Self::PAGES_IN_EXEC.with(Self::SCAN_TYPE)) {
            (Self::PAGES_IN_EXEC, count)
        } else {
            (Self::NONE, Self::SMALL_PAGE)
        }
    }

    /// A page of a listing. Whether its names are all of strings, or their types are still to be asked for.
    pub(crate) fn page<'a>(self, cursor: &'a [u8], pattern: Option<&'a [u8]>, count: u64) -> (Request<'a>, bool) {
        let is_script = !self.has(Self::SCAN_TYPE) && self.has(Self::EVAL);
        let mut arguments: Vec<Arg<'a>> = Vec::with_capacity(8);
        if is_script {
            arguments.extend([Arg::from("EVAL"), SCAN_SCRIPT.into(), 0.into(), Arg::Text(cursor), count.into()]);
            arguments.extend(pattern.map(Arg::Text));
        } else {
            arguments.extend([Arg::from("SCAN"), Arg::Text(cursor)]);
            arguments.extend(pattern.map(|pattern| ["MATCH".into(), Arg::Text(pattern)]).into_iter().flatten());
            arguments.extend([Arg::from("COUNT"), count.into()]);
        }
        let needs = if is_script { Self::EVAL } else { self.and(Self::SCAN_TYPE) };
        if needs == Self::SCAN_TYPE {
            arguments.extend([Arg::from("TYPE"), "string".into()]);
        }
        let mut request = Request::reading();
        if self.size_of_page(count).0 == Self::PAGES_IN_EXEC {
            request = request.with(Shape::Any, ["MULTI".into()]).needing(Self::PAGES_IN_EXEC.with(Self::SCAN_TYPE));
            request.add_all(Shape::Any, arguments.len(), arguments);
            return (request.with(Shape::Any, ["EXEC".into()]), true);
        }
        request.add_all(Shape::Page, arguments.len(), arguments);
        (request.needing(needs), needs != Self::NONE)
    }

    #[cfg(feature = "cluster")]
    /// Adds the command that removes an entry if it is this one, and tells by 0 that it is not; `None` if there is none.
    pub(crate) fn add_removal<'a>(self, request: Request<'a>, key: Arg<'a>, entry: &Copied<'a>) -> Option<Request<'a>> {
        let value = Arg::Text(entry.value);
        let [most, least] = [Arg::Text(entry.most), Arg::Text(entry.least)];
        Some(if self.has(Self::EVAL) {
            let script = ["EVAL".into(), REMOVE_SCRIPT.into(), 1.into(), key, value, most, least];
            request.with(Shape::Any, script).needing(Self::EVAL)
        } else if self.has(Self::DELIFEQ) {
            request.with(Shape::Any, ["DELIFEQ".into(), key, value]).needing(Self::DELIFEQ)
        } else if self.has(Self::DELEX) {
            request.with(Shape::Any, ["DELEX".into(), key, "IFEQ".into(), value]).needing(Self::DELEX)
        } else {
            return None;
        })
    }
}

#[cfg(feature = "cluster")]
/// An entry that was copied, so that nothing else is removed in its place.
pub(crate) struct Copied<'a> {
    pub(crate) value: &'a [u8],
    /// The most and the least milliseconds that it can have left, or -1 twice. Only the script compares them.
    pub(crate) most: &'a [u8],
    pub(crate) least: &'a [u8],
}

// What a command refuses is handed through (`pcall`), or its code would be lost: WRONGTYPE, OOM, READONLY.

/// `COPY … REPLACE`. The `PTTL` after the `SET` makes up for the time that this took. Numbers of Lua are exact up to 2⁵³, and
/// are written without an exponent only by `%.0f`.
const COPY_SCRIPT: &str = "\
local v = redis.pcall('GET', KEYS[1]) \
if type(v) == 'table' then return v end \
if not v then return 0 end \
local function left() \
local t = redis.pcall('PTTL', KEYS[1]) \
if type(t) == 'table' or t == -1 then return t end \
return string.format('%.0f', math.max(t, 1)) \
end \
local t = left() \
if type(t) == 'table' then return t end \
local s \
if t == -1 then s = redis.pcall('SET', KEYS[2], v) else s = redis.pcall('SET', KEYS[2], v, 'PX', t) end \
if s.err then return s end \
if t ~= -1 then redis.pcall('PEXPIRE', KEYS[2], left()) end \
return 1";

/// `SCAN … TYPE string`. A key that the node of a cluster has left over, and that another one serves, is not listed.
const SCAN_SCRIPT: &str = "\
local c = {'SCAN', ARGV[1], 'COUNT', ARGV[2]} \
if ARGV[3] then c[5], c[6] = 'MATCH', ARGV[3] end \
local p = redis.pcall(unpack(c)) \
if p.err then return p end \
local names = {} \
for _, name in ipairs(p[2]) do \
local t = redis.pcall('TYPE', name) \
if t.ok == 'string' then names[#names + 1] = name \
elseif t.err and not string.find(t.err, 'non local', 1, true) then return t end \
end \
return {p[1], names}";

#[cfg(feature = "cluster")]
/// Removes an entry with this value and as much time left as it can have.
const REMOVE_SCRIPT: &str = "\
local t = redis.pcall('PTTL', KEYS[1]) \
if type(t) == 'table' then return t end \
if t > tonumber(ARGV[2]) or t < tonumber(ARGV[3]) then return 0 end \
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
return redis.pcall('DEL', KEYS[1])";
