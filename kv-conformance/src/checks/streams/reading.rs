//! Section 8, S1: a value that is opened.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};

use kv_core::{Capability, KeyValueStore, KeyValueStoreExt, Ttl, ValueReader};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::strategy::{Strategy, Union};

use super::is_not_found;
use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OPERATIONS, act, acts};
use crate::model::FAR;
use crate::property::{self, values};
use crate::running::{NotPassed, Outcome, expect_bytes, expect_eq, expect_error, expect_that, mismatch};

checks![
    s1_an_opened_value_is_read_piece_by_piece_and_anywhere,
    s1_an_opened_value_is_read_and_sought_as_a_cursor_is,
    s1_an_offset_out_of_range_is_an_error,
    s1_an_opened_value_stays_what_it_was,
    s1_an_opened_value_outlives_its_store,
    s1_everything_works_while_a_reader_is_open,
    s1_opening_an_absent_key_is_not_found,
];

/// Opens a value and reads it a few bytes at a time, from the end, from the middle, beyond the end.
pub fn s1_an_opened_value_is_read_piece_by_piece_and_anywhere() -> Check {
    about(&["S1", "V1"]).run(|context| {
        let store = context.store();
        let size = context.size(20_000);
        let value = values::patterned(size);
        store.put("k", &value)?;
        let mut reader = store.open("k")?;
        let mut pieces = Vec::<u8>::new();
        let mut piece = [0; 37];
        loop {
            let count = match reader.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(NotPassed::failed)?,
            };
            if count == 0 {
                break;
            }
            pieces.extend(piece.iter().take(count));
        }
        expect_bytes("what the pieces make that were read", pieces, &value)?;
        let length = size as u64;
        let to_start = -i64::try_from(size).map_err(NotPassed::failed)?;
        for (to, want) in [
            (SeekFrom::Start(0), 0),
            (SeekFrom::Start(length - 10), length - 10),
            (SeekFrom::Current(-5), length - 5),
            (SeekFrom::End(to_start), 0),
            (SeekFrom::End(0), length),
            (SeekFrom::Start(length + 10), length + 10),
        ] {
            let from = if matches!(to, SeekFrom::Current(_)) { SeekFrom::End(0) } else { SeekFrom::Start(0) };
            reader.seek(from).map_err(NotPassed::failed)?;
            expect_eq(
                format_args!("the position after seek({to:?})"),
                reader.seek(to).map_err(NotPassed::failed)?,
                want,
            )?;
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map_err(NotPassed::failed)?;
            let from = usize::try_from(want).unwrap_or_default().min(value.len());
            expect_bytes(format_args!("the rest after seek({to:?})"), rest, value.get(from..).unwrap_or_default())?;
        }
        let mut reader = store.open("k")?;
        expect_eq("whether a seek before the beginning fails", reader.seek(SeekFrom::Current(-1)).is_err(), true)?;
        store.put("empty", "")?;
        expect_eq(
            "what the reader of an empty value gives",
            io::copy(&mut store.open("empty")?, &mut io::sink()).ok(),
            Some(0),
        )
    })
}

/// Opens a key that was never written.
pub fn s1_opening_an_absent_key_is_not_found() -> Check {
    about(&["S1"]).run(|context| {
        let error = expect_error("open of an absent key", context.store().open("absent"), "NotFound", is_not_found)?;
        expect_eq("the key in the error", error.key(), Some("absent"))
    })
}

/// What is done with a reader.
#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    ReadExact(usize),
    ReadToEnd,
    Seek(SeekFrom),
    Position,
}

/// How long the values are: around what buffers hold.
const LENGTHS: [usize; 9] = [0, 1, 2, 100, 8191, 8192, 8193, 20_000, 70_000];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let counts = || select(vec![0, 1, 2, 3, 7, 10, 37, 100, 1000, 4096, 8192, 8193, 65_536, 100_000]);
    let offsets = || {
        select(vec![0, 1, 2, 3, 5, 10, 99, 100, 101, 8191, 8192, 8193, 19_999, 20_000, 69_999, 70_000, 70_001, 200_000])
    };
    let signed = || (offsets(), select(vec![-1, 1])).prop_map(|(offset, sign)| offset * sign);
    let step = Union::new_weighted(vec![
        (4, counts().prop_map(Step::Read).boxed()),
        (2, counts().prop_map(Step::ReadExact).boxed()),
        (1, select(vec![Step::ReadToEnd]).boxed()),
        (3, select(vec![Step::Position]).boxed()),
        (2, offsets().prop_map(|offset: i64| Step::Seek(SeekFrom::Start(offset.unsigned_abs()))).boxed()),
        (2, signed().prop_map(|offset| Step::Seek(SeekFrom::End(offset))).boxed()),
        (3, signed().prop_map(|offset| Step::Seek(SeekFrom::Current(offset))).boxed()),
    ]);
    vec(step, 1..30)
}

/// A property: whatever is read from a reader, in pieces of any size, wherever it is sought, and wherever it says that it is, it is what a
/// `std::io::Cursor` over the value would give. It may read less than it is asked for, but something, unless it is at the end.
pub fn s1_an_opened_value_is_read_and_sought_as_a_cursor_is() -> Check {
    about(&["S1"]).run(|context| {
        let store = context.store();
        let lengths = LENGTHS.iter().map(|&length| context.size(length)).collect::<Vec<_>>();
        for length in &lengths {
            store.put(format!("k/{length}"), values::patterned(*length))?;
        }
        property::check(&context.seed, &(select(lengths), steps()), |(length, steps)| {
            let mut cursor = Cursor::new(values::patterned(*length));
            let mut reader = store.open(format!("k/{length}"))?;
            for (at, step) in steps.iter().enumerate() {
                do_step(&mut reader, &mut cursor, step).map_err(|failed| {
                    failed.map_text(|text| format!("step {} of a reader of {length} bytes, {text}", at + 1))
                })?;
            }
            Ok(())
        })
    })
}

/// Does the same with a reader and with what it has to be like.
fn do_step(reader: &mut ValueReader, cursor: &mut Cursor<Vec<u8>>, step: &Step) -> Outcome {
    let what = format!("{step:?} at {}", cursor.position());
    let failed = |error: &io::Error| mismatch(&what, "it works", &format!("an error: {error}"));
    let at = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let rest = cursor.get_ref().get(at..).unwrap_or_default().to_vec();
    match *step {
        Step::Read(count) => {
            let mut buffer = vec![b'!'; count];
            let read = loop {
                match reader.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read.map_err(|error| failed(&error))?,
                }
            };
            let most = count.min(rest.len());
            expect_that(
                &what,
                read <= most && (read > 0 || most == 0),
                &format!("1 to {most} bytes, or none if that is 0"),
                read,
            )?;
            expect_bytes(&what, buffer.get(..read).unwrap_or_default(), rest.get(..read).unwrap_or_default())?;
            cursor.set_position((at + read) as u64);
        }
        Step::ReadExact(count) => {
            let mut buffer = vec![b'!'; count];
            let read = reader.read_exact(&mut buffer);
            if let Some(want) = rest.get(..count) {
                read.map_err(|error| failed(&error))?;
                expect_bytes(&what, buffer, want)?;
                cursor.set_position((at + count) as u64);
            } else {
                let kind = read.map_err(|error| error.kind());
                expect_that(&what, kind == Err(ErrorKind::UnexpectedEof), "an error: UnexpectedEof", kind)?;
                // Where it is after that is nowhere said.
                cursor.set_position(0);
                reader.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
            }
        }
        Step::ReadToEnd => {
            let mut read = b"before".to_vec();
            reader.read_to_end(&mut read).map_err(|error| failed(&error))?;
            expect_bytes(&what, read, [b"before", &*rest].concat())?;
            cursor.set_position((at + rest.len()) as u64);
        }
        Step::Seek(to) => match (reader.seek(to), cursor.seek(to)) {
            (Ok(got), Ok(want)) => expect_eq(&what, got, want)?,
            (Err(_), Err(_)) => {
                // Where it is after that is nowhere said.
                cursor.set_position(0);
                reader.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
            }
            (Err(error), Ok(_)) => return Err(failed(&error)),
            (Ok(got), Err(error)) => return Err(mismatch(&what, &format!("an error: {error}"), &got.to_string())),
        },
        Step::Position => {
            let position = reader.stream_position().map_err(|error| failed(&error))?;
            expect_eq(format_args!("stream_position() at {}", cursor.position()), position, cursor.position())?;
        }
    }
    Ok(())
}

/// Seeks to before the beginning, as far as that can be said, and to offsets that overflow when they are added: the former is an error, the
/// latter is one or the position that was asked for. Nothing panics, and the reader can be used afterwards.
pub fn s1_an_offset_out_of_range_is_an_error() -> Check {
    about(&["S1", "E4"]).run(|context| {
        let store = context.store();
        for length in [0, 1, context.size(20_000)] {
            let value = values::patterned(length);
            store.put("k", &value)?;
            let mut reader = store.open("k")?;
            let far = [i64::MAX, i64::MAX - 1, FAR.cast_signed()];
            let froms = [0, 1, length as u64, FAR, i64::MAX as u64, u64::MAX - 1, u64::MAX].map(SeekFrom::Start);
            let tos = far
                .into_iter()
                .flat_map(|far| [far, -far])
                .chain([i64::MIN, -1])
                .flat_map(|by| [SeekFrom::Current(by), SeekFrom::End(by)]);
            let tos = tos.chain([SeekFrom::Start(u64::MAX), SeekFrom::Start(i64::MAX as u64 + 1)]).collect::<Vec<_>>();
            for (from, to) in froms.into_iter().flat_map(|from| tos.iter().map(move |to| (from, *to))) {
                // A reader need not be able to go as far as this.
                let begin = if reader.seek(from).is_ok() { from } else { SeekFrom::Start(0) };
                reader
                    .seek(begin)
                    .map_err(|error| mismatch("seek to where it was before", "it works", &error.to_string()))?;
                let (base, by) = match (to, begin) {
                    (SeekFrom::Start(to), _) => (0, i128::from(to)),
                    (SeekFrom::End(by), _) => (length as i128, i128::from(by)),
                    (SeekFrom::Current(by), SeekFrom::Start(from)) => (i128::from(from), i128::from(by)),
                    (SeekFrom::Current(by), _) => (0, i128::from(by)),
                };
                let (want, got) = (base + by, reader.seek(to));
                let holds = match &got {
                    Ok(got) => i128::from(*got) == want,
                    Err(_) => !(0..=i128::from(FAR)).contains(&want),
                };
                let what = format!("seek({to:?}) after seek({begin:?}), in a value of {length} bytes");
                let wanted =
                    if want < 0 { "an error".to_owned() } else { format!("{want}, or an error if that is too far") };
                expect_that(&what, holds, &wanted, got)?;
                let mut read = Vec::new();
                let back = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_to_end(&mut read));
                back.map_err(|error| {
                    mismatch(format!("reading all of it after {what}"), "it works", &error.to_string())
                })?;
                expect_bytes(format_args!("all of it after {what}"), read, &value)?;
            }
        }
        Ok(())
    })
}

/// What happens to an entry that is being read.
const ENDS: &[(&str, &[Capability])] = &[
    ("it was overwritten", &[]),
    ("it was overwritten by put_many", &[]),
    ("it was overwritten by put_from", &[]),
    ("it was deleted", &[]),
    ("it was deleted by delete_many", &[]),
    ("it was overwritten with a zero TTL", &[Capability::Ttls]),
    ("it was touched with a zero TTL", &[Capability::Touch]),
    ("another was renamed to it", &[Capability::Copy]),
    ("it was renamed", &[Capability::Copy]),
    ("it has expired", &[Capability::Ttls]),
];

fn end(store: &dyn KeyValueStore, how: &str, key: &str, other: &[u8]) -> Outcome {
    match how {
        "it was overwritten" => store.put(key, other)?,
        "it was overwritten by put_many" => store.put_many([(key, other), ("beside", other)])?,
        "it was overwritten by put_from" => store.put_from(key, other)?,
        "it was deleted" => drop(store.delete(key)?),
        "it was deleted by delete_many" => drop(store.delete_many([key])?),
        "it was overwritten with a zero TTL" => store.put_with_ttl(key, other, std::time::Duration::ZERO)?,
        "it was touched with a zero TTL" => drop(store.touch(key, std::time::Duration::ZERO)?),
        "another was renamed to it" => store.put("other", other).and_then(|()| store.rename("other", key))?,
        "it was renamed" => store.rename(key, "other").and_then(|()| store.put("other", other))?,
        _ => {}
    }
    Ok(())
}

/// Opens values, short ones and long ones, reads none or a part of each, and overwrites, deletes, renames the entries or lets them expire: what
/// is read then is the rest of the old value, and after a seek all of it.
pub fn s1_an_opened_value_stays_what_it_was() -> Check {
    about(&["S1", "P3"]).run(|context| {
        let store = context.store();
        let can = |needs: &[Capability]| needs.iter().all(|&need| context.has(need));
        for (how, _) in context.sample(ENDS.iter().filter(|(_, needs)| can(needs)), 18) {
            let expires = *how == "it has expired";
            let ttl = if expires { Ttl::After(context.short()) } else { Ttl::Forever };
            let mut opened = Vec::new();
            for (at, (length, first)) in
                [(100, 0), (20_000, 0), (20_000, 100), (100_000, 70_000)].into_iter().enumerate()
            {
                let (key, length) = (format!("k{at}"), context.size(length));
                let (value, first) = (values::patterned(length), first.min(length));
                let (mut reader, expiry) = context.expiring(context.short(), || {
                    store.put_with_ttl(&key, &value, ttl)?;
                    store.open(&key)
                })?;
                let what = format!("of {length} bytes, of which {first} were read before {how}");
                expect_rest(&mut reader, &value, 0, first, &format!("what is read first, {what}"))?;
                opened.push((key, value, first, reader, expiry, what));
            }
            for (key, value, _, _, expiry, _) in &opened {
                end(store, how, key, &vec![b'!'; value.len()])?;
                if expires {
                    context.wait_for(*expiry);
                    // Whoever comes across what has expired may remove it.
                    let _ = (store.get(key)?, store.put("beside", "v")?);
                }
            }
            for (_, value, first, mut reader, _, what) in opened {
                expect_rest(&mut reader, &value, first, value.len(), &format!("the rest, {what}"))?;
                reader.seek(SeekFrom::Start(0)).map_err(NotPassed::failed)?;
                expect_rest(&mut reader, &value, 0, value.len(), &format!("all of it after a seek, {what}"))?;
            }
        }
        Ok(())
    })
}

/// What is read next is the part of the value from one place to another.
fn expect_rest(reader: &mut impl Read, value: &[u8], from: usize, to: usize, what: &str) -> Outcome {
    let mut read = Vec::new();
    reader
        .take((to - from) as u64)
        .read_to_end(&mut read)
        .map_err(|error| mismatch(what, "it works", &error.to_string()))?;
    expect_bytes(what, read, value.get(from..to).unwrap_or_default())
}

/// Opens a value, reads a part of it, drops both handles of the store, and reads on, from there and from the beginning: a reader is
/// independent of the store.
pub fn s1_an_opened_value_outlives_its_store() -> Check {
    about(&["S1"]).run(|context| {
        for (length, first) in [(100, 0), (20_000, 100), (100_000, 70_000)] {
            let (length, fixture) = (context.size(length), context.scope.open()?);
            let (value, first) = (values::patterned(length), first.min(length));
            fixture.store.put("k", &value)?;
            let mut reader = fixture.store.open("k")?;
            let what = format!("of {length} bytes, of which {first} were read before the store was dropped");
            expect_rest(&mut reader, &value, 0, first, &format!("what is read first, {what}"))?;
            let _rest = fixture.without_stores();
            expect_rest(&mut reader, &value, first, length, &format!("the rest, {what}"))?;
            reader.seek(SeekFrom::Start(0)).map_err(NotPassed::failed)?;
            expect_rest(&mut reader, &value, 0, length, &format!("all of it after a seek, {what}"))?;
        }
        Ok(())
    })
}

/// Does everything that the store can do, on the same thread, while readers are open: of which nothing, a part and all has been read. A
/// reader that holds a lock, or the only connection, hangs here.
pub fn s1_everything_works_while_a_reader_is_open() -> Check {
    about(&["S1"]).run(|context| {
        let store = context.store();
        let value = values::patterned(context.size(100_000));
        store.put("k", &value)?;
        let opened = [
            ("before anything of it is read", 0),
            ("when a part of it was read", value.len() / 2),
            ("when all of it was read", value.len()),
        ];
        let acts = context.sample(acts(context), OPERATIONS * opened.len());
        for (at, (state, read)) in opened.into_iter().enumerate() {
            let mut reader = store.open("k")?;
            expect_rest(&mut reader, &value, 0, read, "what is read first")?;
            for (n, what) in acts.iter().enumerate() {
                act(context, store, what, &format!("{at}/{n}/"), b"v", &format!("while a reader is open, {state}"))?;
            }
            expect_rest(&mut reader, &value, read, value.len(), "the rest, after everything was done with the store")?;
        }
        Ok(())
    })
}
