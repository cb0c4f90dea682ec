//! What can be wrong with a store behind a network: each fault is one thing, and stands for a bug that real stores have had.

macro_rules! faults {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// One thing that a wrong store does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $($(#[$doc])+ $name,)+
            /// Nothing is.
            Nothing,
        }

        impl Fault {
            /// All but [`Nothing`](Self::Nothing).
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

faults! {
    // Limits.
    /// Waits for a reply without limit; here, an hour.
    ReplyWithoutLimit,
    /// Sends without limit; here, for an hour.
    SendWithoutLimit,
    /// The limit counts for each call that reads: bytes that drip never take too long.
    LimitForEachRead,
    /// Waits for the pool without limit; here, an hour.
    PoolWithoutLimit,
    /// Waits for a connection without limit; here, an hour.
    ConnectWithoutLimit,
    /// Takes what one call reads for the whole reply.
    ReplyInOneRead,
    /// A read that took too long is tried fourteen times more.
    TimeoutsRepeated,

    // Connections that should have been closed.
    /// A connection goes back into the pool after a time-out: the late reply is the next one's.
    ReusedAfterTimeout,
    /// A connection goes back into the pool after half a reply.
    ReusedAfterHalfReply,
    /// A connection goes back into the pool after a reply that made no sense.
    ReusedAfterNonsense,
    /// Whether something came that nobody had asked for is not looked at.
    ReusedWithStrayBytes,
    /// A dead connection stays in its slot and is used again.
    NeverReconnects,
    /// An exchange that fails takes its slot in the pool with it.
    SlotsLeak,

    // Round trips.
    /// Asks whether the server is there before each request: a pool that tests a connection before it is borrowed.
    PingsFirst,
    /// `get_many` reads one by one.
    GetManyOneByOne,
    /// `put_many` writes one by one.
    PutManyOneByOne,
    /// `delete_many` removes one by one.
    DeleteManyOneByOne,
    /// `create` looks first whether there is an entry.
    CreateLooksFirst,
    /// `put` reads back what it has written.
    PutReadsBack,
    /// `put` with a TTL writes for ever, and then sets the TTL: in between, and if that fails, the entry is there for ever.
    PutThenTtl,
    /// `create` with a TTL does so: a lock that is never given back.
    CreateThenTtl,

    // Connections that proved dead.
    /// Idle connections are not looked at.
    IdleNotLookedAt,
    /// Whether an idle connection was closed is not looked at: a write is in doubt that need not be.
    IdleCloseNotSeen,
    /// A read is not tried again on a fresh connection.
    ReadNotRepeated,
    /// A read is tried again on another connection of the pool, which may be dead too: whether one was closed is looked at after a
    /// second only.
    ReadRepeatedOnPooled,
    /// A write is sent again when its reply was lost.
    PutRepeated,
    /// A write is sent again when its reply did not come in time.
    PutRepeatedAfterTimeout,
    /// `create` is sent again when its reply was lost: it says false to the caller that won.
    CreateRepeated,
    /// `delete` is sent again when its reply was lost: it says false to the caller that deleted.
    DeleteRepeated,
    /// `take` is sent again when its reply was lost: the value is lost with it.
    TakeRepeated,
    /// `put_if` is sent again when its reply was lost: it is refused because of its own success.
    PutIfRepeated,
    /// `delete_if` is sent again when its reply was lost.
    DeleteIfRepeated,
    /// `increment` is sent again when its reply was lost: it counts twice.
    IncrementRepeated,
    /// `get_and_touch` is sent again when its reply was lost, as if it were a read.
    TouchingReadRepeated,
    /// `put_if` looks first whether the version holds.
    PutIfLooksFirst,
    /// `take` is told as a read whose reply was lost: that it may have happened is not said.
    LostTakeIsCertain,
    /// A write whose reply was lost is sent again later, by the next operation: an old value comes back over a newer one.
    PutReplayedLater,
    /// A server that was down is not tried again for 5 s.
    RemembersDown,
    /// A server that was silent is taken to be so for 5 s, and the documentation says 300 ms.
    SilentTooLong,
    /// A server that was silent once is never tried again.
    SilentForEver,
    /// The documentation says that operations on a silent server fail at once, and each waits for its limits.
    SilenceForgotten,

    // Panics.
    /// Panics when a reply makes no sense.
    PanicsOnNonsense,
    /// Panics when the connection is closed.
    PanicsOnClose,
    /// Panics when nobody answers in time.
    PanicsOnTimeout,
    /// Panics when no connection can be made.
    PanicsOnRefusal,

    // Kinds of errors.
    /// A write whose reply was lost is told as one that did not happen.
    LostPutIsCertain,
    /// A write that was not answered in time is told as one that did not happen.
    LatePutIsCertain,
    /// A write that was answered with nonsense is told as one that did not happen.
    GarbledPutIsCertain,
    /// A `create` whose reply was lost is told as one that did not happen.
    LostCreateIsCertain,
    /// A read whose reply was lost is told as one that may have happened.
    ReadInDoubt,
    /// A write for which there was no connection is told as one that may have happened.
    RefusedPutInDoubt,
    /// No connection is told as `Backend`, which is not transient.
    RefusedIsBackend,
    /// No connection is told as `Timeout`.
    RefusedIsTimeout,
    /// A lost connection is told as `Backend`.
    LossIsBackend,
    /// A lost connection is told as `Timeout`.
    LossIsTimeout,
    /// No answer in time is told as `Unavailable`.
    TimeoutIsUnavailable,
    /// No answer in time is told as `Backend`.
    TimeoutIsBackend,
    /// Nonsense is told as `InvalidKey`: an error that was at hand.
    NonsenseIsInvalidKey,

    // What errors tell.
    /// An error does not name its key.
    ErrorWithoutKey,
    /// An error names another key.
    ErrorOfAnotherKey,
    /// An error names no store.
    ErrorWithoutStore,
    /// An error names what it comes from, which is not what the store is called.
    ErrorOfAnotherStore,
    /// The message repeats its cause.
    ErrorRepeatsCause,

    // Listings.
    /// A listing that fails half-way just ends.
    ListingEndsAtFailure,
    /// A listing that fails half-way begins again.
    ListingBeginsAgain,
    /// A listing fetches everything before its first key.
    ListingAllAtOnce,
    /// A listing that is dropped before its end leaves its cursor open, and there are 10 at most.
    CursorsLeak,

    // What was not said by the server.
    /// A write whose reply was lost is told as done.
    LostPutIsDone,
    /// A write that was not answered in time is told as done.
    LatePutIsDone,
    /// A write that was answered with nonsense is told as done.
    GarbledPutIsDone,
    /// A reply of which the server does not say what it is says no.
    UnknownReplyIsNo,
    /// A write to a server that is down is told as done: fire and forget.
    RefusedPutIsDone,
    /// A `create` whose reply was lost says false.
    LostCreateIsFalse,
    /// A `delete` whose reply was lost says false.
    LostDeleteIsFalse,
    /// `put` returns before it has sent anything.
    PutReturnsEarly,
    /// Half a value is returned when its reply was cut.
    HalfValueReturned,
    /// A read whose reply was nonsense says that there is nothing.
    NonsenseIsAbsent,
    /// A read whose reply was lost says that there is nothing.
    LossIsAbsent,
    /// A read that was not answered in time says that there is nothing: a cache that must not stop its application.
    TimeoutIsAbsent,
    /// A read for which there is no connection says that there is nothing.
    RefusedIsAbsent,
    /// In `get_many`, what could not be read is absent.
    LossIsAbsentInMany,
    /// In `get_each`, what could not be read is absent.
    LossIsAbsentInEach,
    /// In `get_each`, what comes after the first chunk is absent if it could not be read.
    LaterChunkIsAbsentInEach,
    /// In `get_many`, what comes after the first chunk is absent if it could not be read.
    LaterChunkIsAbsentInMany,
    /// `get_each` waits for a silent server once for each key.
    EachWaitsForItself,
    /// `get_each` gives all keys the error of the batch, which names none of them.
    EachHasErrorOfBatch,
    /// `get_each` reads one by one, also where nothing is wrong.
    EachOneByOne,
    /// A read that fails says what the last one said.
    FailureIsCached,
    /// What a server says of a request that it does not know is shown, with the value that it repeats.
    RefusalIsShown,
    /// The beginning of it is shown, with the beginning of the value.
    RefusalIsShownInPart,
    /// Its words are shown one by one, in an error of unknown outcome.
    RefusalIsShownInWords,

    // Connections that nobody uses, and old ones.
    /// They are never closed.
    IdleIsKept,
    /// They are closed by the next operation.
    IdleIsClosedLater,
    /// A connection is used for as long as it works.
    OldIsKept,
    /// An old connection is closed only when nobody has used it for a while.
    OldIsKeptWhileUsed,

    // Servers.
    /// What was acknowledged is lost when the server is killed, although it is said to be kept: it is saved now and then.
    SavedNowAndThen,
    /// What was acknowledged is lost when the server is stopped, although it is said to be kept.
    NotSavedAtStop,
    /// After a restart entries that had a TTL live for ever.
    RestartForgetsTtls,
    /// After a restart a rename is undone.
    RestartUndoesRenames,
    /// After a restart a copy is undone.
    RestartUndoesCopies,
    /// After a restart what `create` has stored is lost.
    RestartUndoesCreates,
    /// After a restart what was removed is back.
    RestartUndoesRemovals,
    /// After a restart a new TTL is the old one.
    RestartUndoesTouches,
    /// After a restart batches are lost.
    RestartUndoesBatches,
    /// After a restart values of more than 1 MiB are lost.
    RestartUndoesLargeValues,
    /// After a restart what remains of a TTL is ten minutes more.
    RestartProlongsTtls,
    /// After a restart what has expired while the server was down is back.
    RestartStopsClock,

    // Batches of several chunks, and later pages.
    /// The last chunk is written first: of duplicates in two chunks the first wins.
    LastChunkFirst,
    /// All chunks of a batch are sent before the first reply is read; the connection goes back into the pool after a fault in a later reply.
    PipelineReused,
    /// A later chunk of `put_many` is sent again when its reply was lost.
    LaterChunkRepeated,
    /// A later chunk of `delete_many` is sent again when its reply was lost: it says false of what it has deleted.
    LaterRemovalsRepeated,
    /// `put_many` tells a later chunk as done whose reply was lost.
    LaterChunkIsDone,
    /// `delete_many` says false of a later chunk whose reply was lost.
    LaterRemovalsAreFalse,
    /// `put_many` tells a later chunk whose reply was lost as one that did not happen.
    LaterChunkIsCertain,
    /// All entries of a chunk get the TTL of the first one.
    LaterTtlsAreThoseOfFirst,
    /// A listing whose third page, or a later one, fails just ends.
    ListingEndsAtLaterPage,
    /// A listing whose third page, or a later one, fails goes on with the page before it.
    ListingRepeatsPage,

    // Requests that were half sent, and places of the pool.
    /// A connection goes back into the pool after a time-out while a request was sent.
    ReusedAfterHalfSent,
    /// A time-out while a request is sent takes the place in the pool with it.
    LeaksWhileSending,
    /// A reader that fails takes the place in the pool with it.
    LeaksWithReader,
    /// A reader that panics takes the place in the pool with it.
    LeaksWithPanic,
    /// A value is sent while it is read; if the reader fails the connection goes back into the pool.
    ReusedAfterHalfStream,
    /// Once ten connections in a row were refused, no more are tried.
    BreakerStaysOpen,
    /// Once ten replies in a row did not come in time, no more are waited for.
    BreakerOfTimeoutsStaysOpen,
    /// Each fourth connection that is cut takes its place in the pool with it.
    LeaksAtTimes,
}

impl Fault {
    /// The check that is expected to reject it, which is tried first: all others would have to be passed before.
    #[expect(clippy::too_many_lines, reason = "a line for each fault")]
    pub(crate) fn expected_by(self) -> &'static str {
        match self {
            Self::ReplyWithoutLimit | Self::PutRepeatedAfterTimeout | Self::PutReplayedLater => {
                "n1_silence_at_any_point_of_an_exchange_is_a_time_out"
            }
            Self::SendWithoutLimit | Self::ReusedAfterHalfSent => {
                "n1_a_request_that_the_server_does_not_read_ends_within_the_limit"
            }
            Self::LimitForEachRead
            | Self::TimeoutsRepeated
            | Self::ReadInDoubt
            | Self::LossIsAbsentInMany
            | Self::FailureIsCached => "n1_a_reply_in_slow_single_bytes_ends_within_the_limit",
            Self::PoolWithoutLimit => "n1_waiting_for_the_pool_ends_within_the_limit",
            Self::ConnectWithoutLimit => "n1_a_server_that_never_answers_is_an_error_within_the_limit",
            Self::ReplyInOneRead => "n2_a_reply_that_is_slow_or_comes_in_pieces_is_a_reply",
            Self::ReusedAfterTimeout
            | Self::ReusedAfterHalfReply
            | Self::PanicsOnTimeout
            | Self::HalfValueReturned
            | Self::LatePutIsCertain
            | Self::LatePutIsDone
            | Self::TimeoutIsUnavailable
            | Self::TimeoutIsBackend
            | Self::TimeoutIsAbsent => "n2_a_late_reply_reaches_no_other_operation",
            Self::ReusedAfterNonsense
            | Self::PanicsOnNonsense
            | Self::GarbledPutIsCertain
            | Self::GarbledPutIsDone
            | Self::NonsenseIsInvalidKey
            | Self::NonsenseIsAbsent => "n2_a_garbled_reply_is_an_error_and_reaches_no_other_operation",
            Self::UnknownReplyIsNo => "n2_a_reply_with_one_wrong_byte_is_not_taken_for_another_answer",
            Self::ReusedWithStrayBytes => "n2_unrequested_bytes_reach_no_operation",
            later if (Self::PipelineReused..=Self::ListingRepeatsPage).contains(&later) => {
                "n2_under_random_faults_no_operation_gets_another_one_s_reply"
            }
            Self::ReusedAfterHalfStream | Self::RefusedIsAbsent => {
                "n2_under_random_faults_no_operation_gets_another_one_s_reply"
            }
            Self::LossIsAbsentInEach
            | Self::LaterChunkIsAbsentInEach
            | Self::LaterChunkIsAbsentInMany
            | Self::EachWaitsForItself
            | Self::EachHasErrorOfBatch
            | Self::EachOneByOne => "b7_a_failed_read_is_never_reported_as_absent",
            Self::PingsFirst
            | Self::GetManyOneByOne
            | Self::PutManyOneByOne
            | Self::DeleteManyOneByOne
            | Self::CreateLooksFirst
            | Self::PutReadsBack
            | Self::PutThenTtl
            | Self::PutIfLooksFirst
            | Self::CreateThenTtl => "n3_one_operation_is_one_exchange",
            Self::IdleNotLookedAt | Self::IdleCloseNotSeen => {
                "n4_a_connection_that_was_closed_while_idle_is_not_written_to"
            }
            Self::ReadRepeatedOnPooled | Self::LossIsAbsent => "n5_a_read_is_tried_once_more_on_a_fresh_connection",
            Self::SilentTooLong | Self::SilentForEver | Self::SilenceForgotten => {
                "n6_a_silent_server_is_left_alone_for_a_short_time"
            }
            Self::RemembersDown
            | Self::PanicsOnRefusal
            | Self::RefusedPutInDoubt
            | Self::RefusedIsBackend
            | Self::RefusedIsTimeout
            | Self::RefusedPutIsDone
            | Self::PutReturnsEarly
            | Self::ErrorWithoutKey
            | Self::ErrorOfAnotherKey
            | Self::ErrorWithoutStore
            | Self::ErrorOfAnotherStore
            | Self::ErrorRepeatsCause => "n6_refused_connections_are_reported_and_the_store_recovers",
            Self::ListingEndsAtFailure | Self::ListingBeginsAgain => "l3_a_listing_that_is_cut_ends_with_an_error",
            Self::ListingAllAtOnce => "l4_a_listing_is_fetched_page_by_page",
            Self::LostPutIsDone => "n6_nothing_is_lost_over_outages_of_the_network_under_load",
            Self::SavedNowAndThen | Self::NotSavedAtStop => "n6_nothing_is_lost_over_outages_of_the_server_under_load",
            Self::RefusalIsShown | Self::RefusalIsShownInPart | Self::RefusalIsShownInWords => {
                "e3_a_value_that_a_server_repeats_is_not_shown"
            }
            Self::IdleIsKept | Self::IdleIsClosedLater => "n4_an_idle_connection_is_closed_without_an_operation",
            Self::OldIsKept | Self::OldIsKeptWhileUsed => "n4_an_old_connection_is_closed_although_it_is_used",
            Self::RestartForgetsTtls
            | Self::RestartUndoesTouches
            | Self::RestartUndoesRenames
            | Self::RestartUndoesCopies
            | Self::RestartUndoesCreates
            | Self::RestartUndoesRemovals
            | Self::RestartUndoesBatches
            | Self::RestartUndoesLargeValues
            | Self::RestartProlongsTtls
            | Self::RestartStopsClock
            | Self::LastChunkFirst => "p5_a_server_that_keeps_its_data_keeps_all_of_it_over_a_restart",
            Self::LeaksWhileSending
            | Self::LeaksWithReader
            | Self::LeaksWithPanic
            | Self::LeaksAtTimes
            | Self::CursorsLeak
            | Self::BreakerStaysOpen
            | Self::BreakerOfTimeoutsStaysOpen => "n6_after_repeated_faults_everything_works_as_before",
            _ => "n5_after_a_cut_at_any_point_reads_are_retried_and_writes_are_not",
        }
    }
}
