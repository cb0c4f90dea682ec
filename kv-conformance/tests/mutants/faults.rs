//! What can be wrong with a store: each fault is one thing, and stands for a bug that real stores have had.

macro_rules! faults {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// One thing that a wrong store does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($(#[$doc])+ $name,)+
            /// Nothing is: no check may reject this store, or what it says of others proves nothing.
            Nothing,
        }

        impl Fault {
            /// All but [`Nothing`](Self::Nothing).
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

faults! {
    // Keys.
    /// Keys are lower-cased: a file system or a collation that ignores case.
    KeysLowerCased,
    /// `%41` is `A`: keys travel in a URL and are decoded once too often.
    KeysPercentDecoded,
    /// Keys are cut at 64 bytes: a `VARCHAR(64)`.
    KeysCutAt64,
    /// `a//b` and `a/./b` are `a/b`: keys are paths.
    KeysNormalised,
    /// `x/../y` is `y`: keys are paths, and resolved.
    KeysResolved,
    /// Keys of more than 230 bytes are refused, and the capabilities say 240: a prefix took ten.
    LongKeysRefused,
    /// Keys that are too long are cut.
    TooLongKeysCut,
    /// Keys that are too long are taken all the same: the capabilities are those of another setting.
    TooLongKeysTaken,
    /// There is nothing at a key that is too long: no entry can be there.
    TooLongKeysAbsent,
    /// A key that is too long is an error of the server.
    TooLongKeysFailOtherwise,
    /// `KeyTooLong` with the limit of 250 bytes, which the server has for the prefix and the key.
    TooLongKeysWrongLimit,
    /// `KeyTooLong` names the key with the prefix, cut where it is too long.
    TooLongKeysNamedWrongly,
    /// One key that is too long makes a `get_each` fail.
    TooLongKeyFailsEach,
    /// A prefix that is too long for a key is cut: the listing of it is that of a shorter one.
    TooLongPrefixCut,
    /// Keys are told apart by a hash of 8 bits alone: a hash table without comparing.
    KeysHashed,
    /// `put_many` decodes its keys: it alone goes over a URL.
    ManyKeysDecoded,
    /// `create` refuses keys of more than 235 bytes: it locks `key.lock`.
    CreateRefusesLongKeys,
    /// `create` locks by an entry at `key.lock`, and removes it.
    CreateLocksBeside,

    // Values.
    /// A value ends at its first NUL: C strings.
    ValueCutAtNul,
    /// The empty value is absent: `if value`.
    EmptyValueIsAbsent,
    /// White space around a value is cut: a text protocol that trims its lines.
    ValueTrimmed,
    /// What is not UTF-8 is replaced: the value was a `String` on its way.
    ValueAsUtf8,
    /// Values are cut at 64 KiB: a length of 16 bits, a `BLOB`.
    ValueCutAt64K,
    /// A value ends where `END\r\n` is: a memcached client that looks for the end of the reply.
    ValueEndsAtEnd,
    /// A shorter value leaves the end of the longer one behind: a file is overwritten and not truncated.
    ShorterValueKeepsTail,
    /// Text is composed: a database or a file system that normalises Unicode.
    TextNormalised,
    /// Text is cut at the first character of four bytes: `MySQL`'s `utf8`.
    TextCutAtEmoji,
    /// Text loses its byte order mark: read as `utf-8-sig`.
    TextWithoutMark,
    /// What looks like a number becomes one: the column of `SQLite` has numeric affinity.
    ValueAsNumber,
    /// In `put_many` values are cut at 64 KiB: another command, with another length.
    ManyValueCutAt64K,
    /// In `get_many` values are cut at 64 KiB.
    GetManyCutsAt64K,
    /// `create` cuts values at a NUL: it is a script of its own, which takes text.
    CreateCutsAtNul,
    /// A copy is cut at 64 KiB: the buffer of the copy.
    CopyCutAt64K,
    /// A value that is too large deletes the old entry: memcached's server does so.
    TooLargeDeletes,
    /// A value that is too large is cut.
    TooLargeCut,
    /// The largest value that is promised is refused.
    LimitOneLow,
    /// A value of one byte more than the limit is taken.
    LimitOneHigh,
    /// `ValueTooLarge` with size and limit swapped.
    TooLargeWrongNumbers,
    /// A value that is too large takes the old entry's TTL away: `PERSIST` was sent first.
    TooLargeClearsTtl,
    /// `create` has no limit.
    TooLargeCreated,

    // Reading and writing.
    /// An absent key is an error.
    AbsentIsError,
    /// An absent key reads as the empty value.
    AbsentIsEmpty,
    /// `contains` is always true: a Bloom filter that is full.
    ContainsAlways,
    /// `contains` of a deleted key stays true: a filter from which nothing is removed.
    ContainsDeleted,
    /// `contains` matches the beginning of a key.
    ContainsByPrefix,
    /// Reading an entry removes it: a queue.
    ReadConsumes,
    /// The second read of a key in a row gives nothing: the buffer with the reply was handed out.
    SecondReadEmpty,
    /// What is there is not overwritten: `SETNX`, `add`.
    FirstWriteWins,
    /// Drops entries beyond 500: a cache with a limit that nobody asked for.
    EvictsAt500,
    /// Drops entries beyond 2 MiB: a cache with a limit in bytes.
    EvictsAt2MiB,
    /// That a key is absent is remembered, and forgotten by `put` and `create` alone.
    AbsenceRemembered,
    /// Values without a TTL are cached, and forgotten by `put` and `delete` alone.
    CacheForgetsPutsAlone,
    /// Each handle has a cache that the others do not invalidate.
    HandleCaches,
    /// `delete` is always true: it does not ask the server.
    DeleteAlwaysTrue,
    /// `delete` is always false.
    DeleteAlwaysFalse,
    /// A deleted key cannot be written again: a tombstone with the newer timestamp.
    Tombstones,
    /// `delete` removes all that begins with the key.
    DeleteByPrefix,
    /// `delete` reads the key as a pattern.
    DeleteByPattern,
    /// A read gives the value that another thread asked for: two threads on one connection.
    ReplyOfAnother,
    /// A value is written in two halves, with time between.
    TornWrite,
    /// `put_many` writes each value in two halves.
    TornMany,
    /// `put_from` writes the value piece by piece, to where readers see it.
    TornStream,
    /// Overwriting removes the old entry first, with time between.
    NothingBetween,
    /// `delete` looks first and removes then, with time between.
    DeleteRace,
    /// `delete_many` looks first and removes then, with time between.
    DeleteManyRace,
    /// `delete` hides the entry, and removes later what is there then.
    DeleteInTwoSteps,
    /// `put_many` reads everything, changes it and writes it back: a file of JSON.
    ManyRewritesAll,
    /// One read of 200 gives what was there before the last write: a replica that lags.
    StaleRead,
    /// One write of 500 is lost.
    LostWrite,
    /// A write reads all entries, changes one and writes all back: of two at once one is lost. A file for the whole map.
    LostUpdate,
    /// One read of 100 gives what the read before gave: a cache that nobody empties.
    StaleCache,
    /// `delete` answers before it deletes: a queue.
    DeleteLater,
    /// A put is seen, is gone for a while, and is back: written to the new place before the old one is cleared.
    PutFlickers,
    /// One operation of 50 evicts an entry first: a cache that is full.
    EvictsAtRandom,

    // Creating.
    /// `create` is a get and then a put, with time between.
    CreateRace,
    /// `create` over an expired entry removes it and then writes, with time between.
    CreateOverExpiredRace,
    /// `create` says true and stores nothing.
    CreateStoresNothing,
    /// A refused `create` gives the entry the new TTL: `SET NX` and then `EXPIRE`.
    RefusedCreateSetsTtl,
    /// A refused `create` writes its value.
    RefusedCreateSetsValue,
    /// `create` with a refused TTL over an entry says true.
    RefusedCreateSaysTrue,
    /// `create` ignores its TTL.
    CreateIgnoresTtl,
    /// `create` with a zero TTL is for ever.
    CreateZeroStays,
    /// `create` with a zero TTL removes the entry that is there.
    CreateZeroDeletes,
    /// `create` over an expired entry is refused: it is still in memory.
    ExpiredBlocksCreate,
    /// `create` cuts TTLs to seconds: `EX` where the others send `PX`.
    CreateTtlCutToSeconds,

    // TTLs.
    /// TTLs are cut to seconds, below one to nothing.
    TtlCutToSeconds,
    /// TTLs are cut to milliseconds.
    TtlCutToMilliseconds,
    /// TTLs are cut to seconds, and none that is left is for ever: memcached's 0.
    TtlCutToForever,
    /// A zero TTL is for ever.
    ZeroTtlForever,
    /// A zero TTL in `put_many` is for ever.
    ZeroTtlInManyForever,
    /// A zero TTL in `put_from` is for ever.
    ZeroTtlInStreamForever,
    /// A put with a zero TTL does nothing: the old entry stays.
    ZeroTtlKeepsOld,
    /// More than 30 days is a time of the calendar, long past: memcached.
    ThirtyDays,
    /// The same in `put_from` alone.
    ThirtyDaysInStream,
    /// A TTL that is too long is for ever.
    HugeTtlForever,
    /// The same in `put_from` alone.
    HugeTtlInStreamForever,
    /// TTLs of more than a year become a year: a CDN.
    TtlCapped,
    /// TTLs of more than a year are refused, although a century is promised.
    LongTtlRefused,
    /// Seconds are kept in 32 bits.
    TtlWraps,
    /// Milliseconds are kept in 32 bits.
    TtlMillisecondsWrap,
    /// A timer for each TTL removes the key when it ends, whatever is there by then: `setTimeout`.
    TimerNotCancelled,
    /// The addition of a long TTL panics.
    HugeTtlPanics,
    /// An entry goes a millisecond early.
    GoesEarly,
    /// An entry of more than ten milliseconds goes five early, by a clock that runs: an allowance for the way to the server.
    GoesFiveEarly,
    /// TTLs and the clock are cut to milliseconds, and the clock runs: `SystemTime` as a number of milliseconds.
    ClockCutToMilliseconds,
    /// An entry goes a second late: it is gone when the sweeper comes.
    GoesLate,
    /// An expired entry is back five seconds later: restored from a replica.
    ExpiredReappears,
    /// Without a configured default there is one, of five minutes.
    DefaultUnasked,
    /// `put_many` ignores the configured default.
    ManyIgnoresDefault,
    /// `create` ignores the configured default.
    CreateIgnoresDefault,
    /// `put_from` ignores the configured default.
    StreamIgnoresDefault,
    /// `touch` ignores the configured default.
    TouchIgnoresDefault,
    /// `Forever` gives the configured default.
    ForeverIsDefault,
    /// A copy of an entry that is for ever gets the configured default.
    CopyTakesDefault,
    /// Overwriting keeps the old TTL: `SET KEEPTTL`.
    PutKeepsTtl,
    /// Overwriting with `put_many` keeps the old TTL.
    ManyKeepsTtl,
    /// Overwriting with `put_from` keeps the old TTL.
    StreamKeepsTtl,
    /// `put_many` ignores TTLs: `MSET` has none.
    ManyIgnoresTtl,
    /// `put_from` ignores TTLs.
    StreamIgnoresTtl,
    /// `put_many` gives all entries the TTL of the first: one `EXPIRE` for the batch.
    ManyOneTtl,
    /// `put_many` cuts TTLs to seconds.
    ManyTtlCutToSeconds,
    /// `put_from` cuts TTLs to seconds.
    StreamTtlCutToSeconds,
    /// `touch` cuts TTLs to seconds: `EXPIRE` where the others send `PX`.
    TouchTtlCutToSeconds,
    /// `get` extends a TTL: sliding expiry.
    GetExtends,
    /// `get_many` extends a TTL.
    GetManyExtends,
    /// `contains` extends a TTL.
    ContainsExtends,
    /// `ttl` extends a TTL.
    TtlExtends,
    /// A listing extends TTLs.
    ListExtends,
    /// `open` extends a TTL.
    OpenExtends,
    /// A refused TTL has taken the old entry away.
    RefusedTtlDeletes,
    /// A refused TTL has written the value: first `SET`, then `EXPIRE`.
    RefusedTtlWrites,
    /// A refused TTL has taken the old entry's TTL away.
    RefusedTtlClearsOld,
    /// A `touch` with a refused TTL has deleted.
    RefusedTouchDeletes,
    /// A `create` with a refused TTL has stored.
    RefusedCreateStores,
    /// `InvalidTtl` says that the longest TTL is the one that was refused.
    InvalidTtlWrongNumbers,

    // Expired entries, which are still in memory.
    /// `get` gives an expired entry.
    ExpiredRead,
    /// `get_many` gives an expired entry.
    ExpiredGetMany,
    /// `open` opens an expired entry.
    ExpiredOpened,
    /// `contains` is true of an expired entry.
    ExpiredContained,
    /// `ttl` of an expired entry is zero.
    ExpiredHasTtl,
    /// `delete` of an expired entry is true.
    ExpiredDeleted,
    /// `delete` of an expired entry is true, but for the first ten: each write sweeps a few dead entries, and it is right of these
    /// alone. Our own memory store had this bug.
    DeadOfManyDeleted,
    /// `delete_many` of an expired entry is true.
    ExpiredDeletedMany,
    /// An expired key is listed.
    ExpiredListed,
    /// `prefixes` gives the part of an expired key.
    ExpiredPart,
    /// `touch` brings an expired entry back.
    ExpiredTouched,
    /// `copy` brings an expired entry back.
    ExpiredCopied,
    /// `rename` brings an expired entry back.
    ExpiredRenamed,
    /// `put_many` over an expired entry keeps its expiry: `ON CONFLICT DO UPDATE SET value`.
    ManyOverExpiredStays,
    /// `copy` over an expired entry keeps its expiry.
    CopyOverExpiredStays,
    /// A read that comes across an expired entry removes the key, whatever is there by then.
    SweepRemovesNew,
    /// `touch` asks whether the entry is live, and sets the TTL later, if it still is.
    TouchOfExpiring,

    // `ttl` and `touch`.
    /// `ttl` of an absent key is for ever: redis says -2, and -1 for one without a TTL.
    TtlOfAbsentForever,
    /// `ttl` takes seconds for milliseconds.
    TtlInMilliseconds,
    /// `ttl` tells what was given, not what is left.
    TtlNeverShrinks,
    /// `ttl` is rounded up to seconds, although TTLs are exact.
    TtlRoundedUp,
    /// `touch` of an absent key makes an empty entry.
    TouchCreates,
    /// `touch` is always true.
    TouchAlwaysTrue,
    /// `touch` cuts the value: it is read into a small buffer and written back.
    TouchCutsValue,
    /// `touch` reads the value and writes it back, with time between: a put in between is lost.
    TouchRace,
    /// `touch` with a zero TTL is for ever.
    TouchZeroForever,
    /// `touch` never shortens a TTL: `EXPIRE GT`.
    TouchOnlyExtends,
    /// `touch` never lengthens a TTL: `EXPIRE LT`.
    TouchOnlyShortens,
    /// `touch` with `Forever` changes nothing.
    TouchForeverIgnored,

    // Listing.
    /// A prefix is a pattern of a shell: `KEYS prefix*`.
    PrefixIsPattern,
    /// A prefix is a pattern of SQL: `LIKE 'prefix%'`.
    PrefixIsLike,
    /// A prefix matches in any case.
    PrefixIgnoresCase,
    /// A prefix and a key are compared with `%2F` as `/`: names of files that were decoded.
    PrefixSlashDecoded,
    /// A prefix and a key are compared with all their percent escapes decoded: a listing that comes in a URL.
    PrefixDecoded,
    /// A prefix is compared with a key whose percent escapes are decoded, and is not decoded itself.
    PrefixOfDecodedKey,
    /// A prefix and a key are compared with `&amp;` as `&`: a listing that comes as XML.
    PrefixUnescaped,
    /// A listing yields keys with their percent escapes decoded.
    ListedDecoded,
    /// A listing yields keys with `%2F` as `/`.
    ListedSlashDecoded,
    /// A prefix matches anywhere in a key.
    PrefixAnywhere,
    /// A prefix is a range that ends with `prefix~`, as if nothing came after it.
    PrefixUpToTilde,
    /// A prefix that is longer than any key is an error.
    LongPrefixFails,
    /// A prefix of more than 200 bytes finds nothing: the name space took the others.
    LongPrefixFindsNothing,
    /// A listing panics. A race has to end all the same.
    ListingPanics,
    /// At the end of each page a key is lost.
    PageLosesKey,
    /// At the beginning of each page a key comes twice.
    PageRepeatsKey,
    /// A listing ends after 1000 keys and does not say so: the first page of S3.
    ListEndsAt1000,
    /// Pages are counted by offset: what is written or removed meanwhile shifts them.
    PagesByOffset,
    /// The next page begins after the last key of this one, and if that is gone there is none.
    ListEndsAtRemoved,
    /// A key that is gone when the listing comes to it takes the one after it along. Removing and listing take their time.
    ListSkipsAfterRemoved,
    /// A listing shows what was there when another one began that is under way.
    ListsSnapshotOfOthers,
    /// A deleted key is listed: a stale index.
    DeletedListed,
    /// Removing with `delete_many` is forgotten by the index.
    DeletedManyListed,
    /// Removing with a zero TTL is forgotten by the index.
    ZeroTtlListed,
    /// What `put_many` writes is not in the index.
    ManyNotListed,
    /// What `create` writes is not in the index.
    CreatedNotListed,
    /// What `put_from` writes is not in the index.
    StreamNotListed,
    /// What `copy` writes is not in the index.
    CopiedNotListed,
    /// What `rename` writes is not in the index.
    RenamedNotListed,
    /// Each handle lists what was written through itself alone: an index in the client.
    IndexOfHandle,
    /// A listing holds the lock. (A call that needs it gets `Unavailable` here, and would hang in the real one.)
    ListHoldsLock,
    /// A listing holds a lock that `create`, `touch`, `copy` and `rename` need.
    ListHoldsOtherLock,
    /// `prefixes` holds the lock.
    PartsHoldLock,
    /// All listings share one cursor.
    SharedCursor,
    /// A listing that is dropped early leaves its cursor open, and of these there are a hundred.
    CursorsLeak,
    /// The same of `prefixes` alone.
    PartCursorsLeak,
    /// Keys of another store are listed.
    ForeignListed,
    /// Keys of another store are in `prefixes`.
    ForeignInParts,
    /// A name that is not a key makes the listing fail.
    ForeignFails,
    /// A name that is not a key ends the listing.
    ForeignEnds,
    /// Parts end with the last delimiter.
    PartsByLastDelimiter,
    /// Parts end with the first delimiter of the key, also within the prefix.
    PartsFromBeginning,
    /// A part is left out if the first of its keys has expired since the listing began.
    PartsSkipExpired,
    /// Parts come without their delimiter.
    PartsWithoutDelimiter,
    /// Keys without a delimiter are left out.
    PartsLeaveOutWhole,
    /// A part comes once for each page.
    PartsRepeat,

    // Batches.
    /// `get_many` answers in the order of the keys: a sorted map.
    GetManySorted,
    /// `get_many` answers each key once: a map.
    GetManyWithoutDuplicates,
    /// `get_many` leaves out absent keys: memcached's reply.
    GetManyWithoutAbsent,
    /// `get_many` takes chunks of 500 in the order in which they are answered, the second one first.
    GetManyChunksSwapped,
    /// `get_many` answers 65 536 keys, and `None` for the rest.
    GetManyCutAt65536,
    /// `put_many` locks its keys one after the other, in their order: two in opposite orders hang.
    BatchesLockInOrder,
    /// `get_each` answers each key once: it gathers the answers in a map.
    GetEachWithoutDuplicates,
    /// `get_each` leaves out what is absent.
    GetEachWithoutAbsent,
    /// `get_each` of thousands takes chunks in the order in which they come.
    GetEachChunksSwapped,
    /// `get_each` cuts values at 64 KiB.
    GetEachCutsAt64K,
    /// `get_each` finds what has expired.
    ExpiredGetEach,
    /// `put_many`: of duplicates the first wins.
    ManyFirstWins,
    /// `put_many` writes the entries without a TTL first: `MSET`, then `SET PX` one by one.
    ManyGroupsByTtl,
    /// `put_many` leaves alone what is there: `MSETNX`.
    ManySkipsExisting,
    /// `put_many` replaces everything: `PUT` of the collection.
    ManyClearsOthers,
    /// `put_many` writes 1000 entries and forgets the rest.
    ManyCutAt1000,
    /// `put_many` writes 65 536 entries and forgets the rest: an index of 16 bits.
    ManyCutAt65536,
    /// A batch of more than 4 MiB in all is refused: chunks are made by the number of keys alone.
    ManyTooLargeTogether,
    /// `put_many` skips what is refused, and says that it worked.
    ManySkipsRefused,
    /// `put_many` that fails has removed what it names.
    ManyRefusedLosesNamed,
    /// `put_many` that fails rolls back to the empty store.
    ManyRefusedLosesOthers,
    /// `delete_many` answers for all keys what holds for one of them.
    DeleteManyOneAnswer,
    /// `delete_many` of duplicates is true for each: it looks first and removes then.
    DeleteManyDuplicatesTrue,
    /// The same of duplicates that are a hundred keys apart: in different chunks.
    DeleteManyFarDuplicatesTrue,
    /// `delete_many` answers in the order of the keys.
    DeleteManySorted,
    /// `delete_many` removes 65 536 keys and forgets the rest.
    DeleteManyCutAt65536,

    // Conditional and atomic updates.
    /// `put_if` compares and then writes, with time between.
    PutIfRace,
    /// `delete_if` compares and then removes, with time between.
    DeleteIfRace,
    /// Versions are compared as text, in which what is not UTF-8 is replaced: redis-rs #2315.
    VersionIsText,
    /// The version of an entry is the length of its value.
    VersionIsLength,
    /// The version of an entry is the first 64 bytes of its value.
    VersionIsBeginning,
    /// Versions are compared without regard to case: a collation.
    VersionIgnoresCase,
    /// The version of an entry is its value, but it is said to be exact.
    VersionIsContent,
    /// The versions of a key are counted from 1 again when it was removed.
    VersionCountsAnew,
    /// The version of one key is good for another.
    VersionOfAnyKey,
    /// A copy, or what was renamed, has the version that the original has.
    VersionCopied,
    /// `put_many` does not change versions.
    VersionKeptByMany,
    /// `put_from` does not change versions.
    VersionKeptByStream,
    /// `increment` does not change versions.
    VersionKeptByIncrement,
    /// `touch` changes the version.
    TouchChangesVersion,
    /// `get_and_touch` changes the version.
    TouchingReadChangesVersion,
    /// Reading an entry changes its version.
    ReadChangesVersion,
    /// Each handle has versions of its own.
    VersionOfHandle,
    /// `get_versioned` trims values: a text protocol.
    VersionedReadTrimmed,
    /// `get_versioned` gives what has expired.
    VersionedReadOfExpired,
    /// `put_if` keeps the TTL that was there: `SETRANGE`, `KEEPTTL`.
    PutIfKeepsTtl,
    /// `put_if` ignores its TTL.
    PutIfIgnoresTtl,
    /// `put_if` stores where the entry is gone.
    PutIfCreates,
    /// `put_if` returns the version that it was told.
    PutIfReturnsOld,
    /// A refused `put_if` sets the TTL.
    RefusedPutIfSetsTtl,
    /// A refused `put_if` says that it stored the value: an aborted `EXEC` that is taken for success.
    RefusedPutIfSaysStored,
    /// `put_if` with a zero TTL is for ever.
    PutIfZeroStays,
    /// `put_if` with a zero TTL removes the entry whatever its version is.
    PutIfZeroRemovesAny,
    /// `put_if` with a value that is too large removes the entry.
    PutIfTooLargeDeletes,
    /// `put_if` with a TTL that is too long stores for ever.
    PutIfHugeTtlForever,
    /// A refused `delete_if` takes the TTL away.
    RefusedDeleteIfClearsTtl,
    /// `delete_if` removes the entry whatever its version is.
    DeleteIfIsDelete,
    /// `delete_if` is always true.
    DeleteIfAlwaysTrue,
    /// `create_versioned` overwrites.
    CreateVersionedOverwrites,
    /// `create_versioned` says that it created what is there already.
    CreateVersionedSaysStored,
    /// `create_versioned` ignores its TTL.
    CreateVersionedIgnoresTtl,
    /// `create_versioned` returns another version than the entry has.
    CreateVersionedOther,
    /// `create_versioned` looks first and writes then, with time between.
    CreateVersionedRace,
    /// `create_versioned` creates in one step, and then reads the version.
    CreateVersionedTellsLater,
    /// `create_versioned` takes a TTL of more than 30 days for a date.
    CreateVersionedLongTtlIsDate,
    /// `create_versioned` cuts keys at 100 bytes.
    CreateVersionedKeysCut,
    /// `put_if` has TTLs of 32 bits, in milliseconds.
    PutIfTtlIn32Bits,
    /// `put_if` cuts values at 64 KiB.
    PutIfCutsAt64K,
    /// `take` decodes `%41` in keys.
    TakeKeysDecoded,
    /// `get_versioned` ignores case in keys.
    VersionedReadKeysLowerCased,
    /// `get_and_touch` has TTLs of 31 bits, in milliseconds.
    TouchingReadTtlIn31Bits,
    /// `increment` ignores case in keys.
    IncrementKeysLowerCased,
    /// `increment` begins with a TTL in whole seconds, rounded down.
    IncrementTtlInSeconds,
    /// `create_versioned` with a zero TTL is for ever.
    CreateVersionedZeroStays,
    /// `create_versioned` has no limit.
    CreateVersionedTooLarge,
    /// `create_versioned` with a TTL that is too long stores for ever.
    CreateVersionedHugeTtlForever,
    /// `take` reads and then deletes, with time between.
    TakeRace,
    /// `take` does not remove the entry.
    TakeLeaves,
    /// `take` gives nothing for an empty value, which it removes.
    TakeOfEmptyIsNone,
    /// `take` gives what has expired.
    TakeOfExpired,
    /// What is put where something was taken has its TTL.
    TakeLeavesTtl,
    /// `take` leaves entries that the other handle has put.
    TakeOfHandle,
    /// `get_and_touch` reads the entry, and writes it again with its new TTL.
    TouchingReadRace,
    /// `get_and_touch` does not set the TTL.
    TouchingReadIsRead,
    /// `get_and_touch` sets longer TTLs only.
    TouchingReadOnlyExtends,
    /// `get_and_touch` sets shorter TTLs only.
    TouchingReadOnlyShortens,
    /// `get_and_touch` with a zero TTL does not remove the entry.
    TouchingReadZeroStays,
    /// `get_and_touch` brings back what has expired.
    TouchingReadRevives,
    /// `get_and_touch` of an absent key makes an empty entry.
    TouchingReadCreates,
    /// `get_and_touch` gives text.
    TouchingReadAsUtf8,
    /// `get_and_touch` with a TTL that is too long sets none.
    TouchingReadHugeTtlForever,
    /// `increment` reads, adds and writes, with time between.
    IncrementRace,
    /// `increment` adds in one step, and then reads the sum.
    IncrementTellsLater,
    /// `increment` reads and adds, and stores the sum if what is there then is not larger.
    IncrementKeepsLarger,
    /// `increment` of a counter that is there takes its TTL away: `GET` and `SET`.
    IncrementLosesTtl,
    /// `increment` sets the TTL each time.
    IncrementSetsTtl,
    /// `increment` never sets a TTL.
    IncrementIgnoresTtl,
    /// An expired counter goes on.
    IncrementContinuesExpired,
    /// A counter that was expired begins anew, for ever.
    IncrementExpiredForever,
    /// A counter that expires after `increment` has found it begins anew, for ever: `SET … NX` and `INCRBY` on redis 6.
    IncrementExpiresBetween,
    /// `increment` wraps at 2⁶³.
    IncrementWraps,
    /// `increment` stays at the largest number.
    IncrementSaturates,
    /// What is no number counts as 0.
    IncrementTakesText,
    /// `increment` reads the digits at the beginning.
    IncrementReadsBeginning,
    /// `increment` takes a number with blanks or zeros before it.
    IncrementTrims,
    /// `increment` counts with floating-point numbers.
    IncrementFloats,
    /// `increment` returns what was there before.
    IncrementReturnsOld,
    /// `increment` stores eight bytes.
    IncrementStoresBinary,
    /// `increment` with a zero TTL makes an entry.
    IncrementZeroStores,
    /// A refused `increment` takes the TTL away.
    RefusedIncrementClearsTtl,
    /// `increment` with a TTL that is too long begins for ever.
    IncrementHugeTtlForever,
    /// Each handle counts by itself, and adds what it has counted now and then.
    IncrementOfHandle,

    // Copy and rename.
    /// A copy has no TTL.
    CopyLosesTtl,
    /// A copy has the TTL that the original was given, counted from the copy.
    CopyRestartsTtl,
    /// A copy takes the original away.
    CopyMoves,
    /// A copy keeps the TTL of what was there.
    CopyKeepsTargetTtl,
    /// A copy is a link: it changes with the original.
    CopyIsLink,
    /// A copy of an absent key makes an empty entry.
    CopyOfAbsentCreates,
    /// A copy of an absent key removes the target.
    CopyOfAbsentClears,
    /// A copy of an absent key works, and does nothing.
    CopyOfAbsentWorks,
    /// A copy leaves alone what is there: `COPY` without `REPLACE`.
    CopyDoesNotReplace,
    /// `rename` locks `from`, then `to`: two in opposite directions hang.
    RenamesLockInOrder,
    /// `rename` leaves the original.
    RenameLeavesSource,
    /// `rename` loses the TTL.
    RenameLosesTtl,
    /// `rename` and `copy` remove the target first: for a moment there is nothing.
    TargetRemovedFirst,
    /// `rename` of an absent key removes the target.
    RenameOfAbsentClears,

    // Streams.
    /// A reader sees what is written later: it reads from the store as it goes.
    ReaderSeesLater,
    /// A reader loses the last byte.
    ReaderEndsEarly,
    /// A reader counts from the end the wrong way.
    ReaderSeeksWrong,
    /// A reader says that it is where its buffer has been filled to: after ten bytes it is at 8192.
    ReaderTellsBuffer,
    /// A reader adds offsets without looking: those that overflow panic.
    ReaderSeekOverflows,
    /// A reader takes a read of no bytes for the end of the value.
    ReaderEndsAtNothing,
    /// A reader has the first 64 KiB, and asks the store for the rest as it goes.
    ReaderReadsLate,
    /// A reader ends when its entry expires.
    ReaderExpires,
    /// A reader fails when the store was dropped from which it was opened.
    ReaderNeedsStore,
    /// A reader holds a lock that `create`, `touch`, `copy` and `rename` need.
    ReaderHoldsOtherLock,
    /// `open` of an absent key gives an empty reader.
    OpenOfAbsentEmpty,
    /// `put_from` reads once: what comes in several pieces is cut.
    StreamReadsOnce,
    /// `put_from` takes an interruption for a failure.
    StreamInterrupted,
    /// `put_from` stores what came before the reader failed.
    StreamStoresPart,
    /// `put_from` keeps what came before the reader failed at `key.part`.
    StreamLeavesPart,
    /// `put_from` stores 64 KiB as soon as it has them.
    StreamFlushesPieces,
    /// `put_from` holds the lock while it reads. (A call that needs it gets `Unavailable` here.)
    StreamHoldsLock,
    /// `put_from` holds a lock while it reads that `create`, `touch`, `copy` and `rename` need.
    StreamHoldsOtherLock,
    /// After a reader has panicked in `put_from`, the lock is poisoned and nothing works.
    StreamPoisons,
    /// A reader holds the lock until it is dropped.
    ReaderHoldsLock,
    /// `put_from` removes the old entry before it reads: `open(path, "w")`.
    StreamDeletesFirst,
    /// `put_from` with a failing reader takes the old entry's TTL away.
    StreamFailureClearsTtl,
    /// The error of `put_from` loses its cause.
    StreamLosesCause,

    // Errors.
    /// `NotFound` names the target of the copy.
    NotFoundNamesOther,
    /// `NotFound` is told as `Unavailable`, which is transient.
    NotFoundTransient,
    /// A refused TTL is told as something whose outcome is unknown.
    RefusedUnknown,
    /// The message repeats its cause.
    ErrorRepeatsCause,
    /// The message does not name the store.
    ErrorWithoutStore,
    /// The name of the store is empty.
    NameIsEmpty,
    /// The message does not name the key.
    ErrorWithoutKey,
    /// The message shows the value.
    ErrorShowsValue,
    /// The message of a refused TTL shows the first eight bytes of the value.
    ErrorShowsBeginning,
    /// The message of a refused TTL shows the value in base64.
    ErrorShowsBase64,
    /// The message of a value that is too large shows the end of it, as a list of bytes.
    TooLargeShowsEnd,
    /// The message of a refused `create` shows the value.
    CreateErrorShowsValue,
    /// `Debug` of the store shows the values.
    DebugShowsValues,
    /// `Debug` of the store shows the value that was read last: a buffer for replies.
    DebugShowsLastRead,
    /// `Debug` of the store shows the last batch.
    DebugShowsLastBatch,
    /// `Debug` of the store shows in hexadecimal the last six bytes that `put_from` has read.
    DebugShowsHexOfStream,
    /// `Debug` of the store shows the last value with a TTL, as far as it is text.
    DebugShowsTextWithTtl,

    // Capabilities and fixtures.
    /// Says that it cannot list, and can.
    DeniesListing,
    /// Says that it can create, and cannot.
    ClaimsCreate,
    /// What it can do changes with the first write: asked of the server on the way.
    CapabilitiesChange,
    /// A second handle can do other things.
    CapabilitiesOfHandle,
    /// A listing shows the short keys of other stores too: the name space is not in its pattern.
    ListsNeighbours,
    /// Every fixture has the same data.
    SharedData,
    /// A store that has no TTLs refuses `Forever`.
    ForeverRefused,
    /// A store that has no TTLs ignores that of `create`.
    CreateTtlIgnoredWithout,
    /// What the suite opts out of works.
    OptedOutWorks,
    /// What the suite opts out of says so, and does it all the same.
    OptedOutHasEffect,
    /// `copy`, of which the suite opts out, says so and makes an entry where there was none.
    OptedOutAddsEntry,
    /// `touch`, of which the suite opts out, says so and sets the TTL.
    OptedOutSetsTtl,
    /// `rename`, of which the suite opts out, says so and takes the source's TTL away.
    OptedOutClearsTtl,
    /// `create` with a TTL, of which the suite opts out, says that TTLs are not supported, which are.
    OptedOutNamesTtls,
    /// What the suite opts out of fails with another error.
    OptedOutFailsOtherwise,
    /// What the suite opts out of is promised by `capabilities()`.
    OptedOutPromised,
}

impl Fault {
    /// Whether it is about one capability, of which the suite opts out: there is one mutant for each.
    pub(crate) fn is_of_opt_out(self) -> bool {
        matches!(
            self,
            Self::OptedOutWorks | Self::OptedOutHasEffect | Self::OptedOutFailsOtherwise | Self::OptedOutPromised
        )
    }

    /// Whether its clock runs: what is wrong with it does not show by one that is advanced by hand.
    pub(crate) fn is_in_real_time(self) -> bool {
        matches!(self, Self::GoesFiveEarly | Self::ClockCutToMilliseconds)
    }

    /// Whether it is about batches of more than any other check writes.
    pub(crate) fn needs_big_batches(self) -> bool {
        matches!(self, Self::ManyCutAt65536 | Self::GetManyCutAt65536 | Self::DeleteManyCutAt65536)
    }
}
