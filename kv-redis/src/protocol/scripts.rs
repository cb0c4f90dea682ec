//! Scripts in place of commands that a server lacks.
//!
//! Errors are passed on (`pcall`), so that they keep their codes: WRONGTYPE, OOM, READONLY.
//!
//! Before redis 5.0 a script is written to replicas and to the AOF as it is, and its TTLs would begin anew when it is carried out there.
//! With `redis.replicate_commands` (3.2) its commands are written instead, with the times at which entries expire.

/// A script that is called by its SHA-1 once the server knows it.
pub(super) struct Script {
    pub(super) source: &'static str,
    /// In hexadecimal digits. A test has servers check it.
    pub(super) sha1: &'static str,
}

/// Replaces a value and its TTL, if there is one, if the value is the first argument.
pub(super) const WRITE_IF: Script = Script {
    source: "\
local r = redis.replicate_commands if r then r() end \
local v = redis.pcall('GET', KEYS[1]) \
if type(v) == 'table' then return v end \
if v ~= ARGV[1] then return 0 end \
local s \
if ARGV[3] then s = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) else s = redis.pcall('SET', KEYS[1], ARGV[2]) end \
if s.err then return s end \
return 1",
    sha1: "e4133da84409947ba08e460d3d3887181a75ad0a",
};

/// Removes an entry if this is its value.
pub(super) const REMOVE_IF: Script = Script {
    source: "\
local v = redis.pcall('GET', KEYS[1]) \
if type(v) == 'table' then return v end \
if v ~= ARGV[1] then return 0 end \
return redis.pcall('DEL', KEYS[1])",
    sha1: "f1e92a99477a20f0f15f0daeb359bb1ac72c0a9c",
};

/// Adds to a number that begins with a TTL. Time stands still for a script of redis; of other servers it may not, so a number that has lost its TTL
/// gets one. Returns whether there was none before, and the sum: as text, since numbers of Lua are exact up to 2⁵³ only.
pub(super) const ADD: Script = Script {
    source: "\
local r = redis.replicate_commands if r then r() end \
local b = redis.pcall('PTTL', KEYS[1]) \
local s = redis.pcall('SET', KEYS[1], 0, 'PX', ARGV[2], 'NX') \
if s and s.err then return s end \
local n = redis.pcall('INCRBY', KEYS[1], ARGV[1]) \
if type(n) == 'table' then if s then redis.pcall('DEL', KEYS[1]) end return n end \
if b ~= -1 and redis.pcall('PTTL', KEYS[1]) == -1 then redis.pcall('PEXPIRE', KEYS[1], ARGV[2]) end \
local t \
if n < 2^53 then t = string.format('%.0f', n) else t = redis.pcall('GET', KEYS[1]) end \
return {s and '1' or '0', type(t) == 'string' and t}",
    sha1: "498c915ac279114df1222126d4334f5e53fb0fd4",
};

/// `DECRBY`, if there is an entry.
pub(super) const TAKE_BACK_SCRIPT: &str = "\
if redis.pcall('EXISTS', KEYS[1]) == 0 then return 0 end \
return redis.pcall('DECRBY', KEYS[1], ARGV[1])";

/// `GETDEL`.
pub(super) const TAKE_SCRIPT: &str = "\
local v = redis.pcall('GET', KEYS[1]) \
if type(v) == 'table' or not v then return v end \
local d = redis.pcall('DEL', KEYS[1]) \
if type(d) == 'table' then return d end \
return v";

/// `COPY … REPLACE`. The `PTTL` after the `SET` corrects the TTL by the time that the `SET` took. Numbers of Lua are exact up to 2⁵³, and
/// only `%.0f` writes them without an exponent.
pub(super) const COPY_SCRIPT: &str = "\
local r = redis.replicate_commands if r then r() end \
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

/// `SCAN … TYPE string`. A key that was left over on a node of a cluster, and that another node serves, is not listed.
pub(super) const SCAN_SCRIPT: &str = "\
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
/// Removes an entry with this value, if its TTL is within the limits.
pub(super) const REMOVE_SCRIPT: &str = "\
local t = redis.pcall('PTTL', KEYS[1]) \
if type(t) == 'table' then return t end \
if t > tonumber(ARGV[2]) or t < tonumber(ARGV[3]) then return 0 end \
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
return redis.pcall('DEL', KEYS[1])";
