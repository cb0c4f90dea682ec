//! The hash table of a part. It consists of pieces, so that no operation moves more than several hundred entries.
//!
//! A hash table in one piece moves all its entries when it grows or shrinks. This one is a [linear hash table] of small
//! tables. When it has many entries for its number of pieces, one piece is divided in two. When it has few, the last piece is
//! joined with the piece that it was divided from.
//!
//! [linear hash table]: W. Litwin, "Linear hashing: a new tool for file and table addressing", VLDB 1980

use std::hash::BuildHasher;
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use kv_core::Key;

use crate::shard::{HashedKey, Slot};

/// A piece is divided when the average number of entries in a piece is greater than this. The pieces that were not divided
/// for the longest time have about twice as many entries, which need 1024 buckets, or rarely 2048.
///
/// A piece is also large enough that glibc's allocator, when a piece is freed, does the work that it has put off since the
/// last one was freed: see `DESIGN.md`.
const MOST: usize = 448;

/// Two pieces are joined when there are this many entries fewer than when they were divided. It is small, so that a part that
/// loses its entries frees a piece after each [`MOST`] of them, from the beginning. It is large enough that entries that come
/// and go do not divide and join a table all the time.
const SLACK: usize = 16;

/// The entries of a part, found by their keys.
pub(crate) struct Table {
    /// At least one.
    pieces: Vec<HashTable<Slot>>,
    /// The bits of a hash that choose its piece.
    mask: usize,
    len: usize,
    /// How many entries earlier than at a multiple of [`MOST`] it is divided, once it has more than one piece.
    phase: usize,
}

impl Table {
    /// The table of part `number` of `parts`. Parts have about the same number of entries; the number makes them divide and free
    /// their pieces at different times.
    pub(crate) fn of_part(number: usize, parts: usize) -> Self {
        Self::with(number * MOST / parts)
    }

    fn with(phase: usize) -> Self {
        Self { pieces: vec![HashTable::new()], mask: mask(1), len: 0, phase }
    }

    /// The same table without entries.
    pub(crate) fn as_empty(&self) -> Self {
        Self::with(self.phase)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().flatten()
    }

    #[inline]
    pub(crate) fn find(&self, key: HashedKey<'_>) -> Option<&Slot> {
        self.pieces.get(self.place(key.hash))?.find(key.hash, |slot| slot.key == key.key)
    }

    #[inline]
    pub(crate) fn find_mut(&mut self, key: HashedKey<'_>) -> Option<&mut Slot> {
        let place = self.place(key.hash);
        self.pieces.get_mut(place)?.find_mut(key.hash, |slot| slot.key == key.key)
    }

    /// Adds an entry, whose key must be absent.
    pub(crate) fn insert(&mut self, hasher: &RandomState, hash: u64, slot: Slot) {
        if self.len >= self.most(self.pieces.len()) {
            self.divide(hasher);
        }
        let place = self.place(hash);
        if let Some(piece) = self.pieces.get_mut(place) {
            piece.insert_unique(hash, slot, |slot| hash_of(hasher, slot));
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, hasher: &RandomState, key: HashedKey<'_>) -> Option<Slot> {
        let place = self.place(key.hash);
        let entry = self.pieces.get_mut(place)?.find_entry(key.hash, |slot| slot.key == key.key).ok()?;
        let (slot, _) = entry.remove();
        self.len -= 1;
        if self.len + SLACK < self.most(self.pieces.len() - 1) {
            self.join(hasher);
        }
        Some(slot)
    }

    /// The greatest number of entries for this number of pieces. A single piece is filled completely, because no other piece is
    /// divided before it.
    fn most(&self, pieces: usize) -> usize {
        match pieces {
            0 => 0,
            1 => 2 * MOST,
            _ => pieces * MOST - self.phase,
        }
    }

    fn divide(&mut self, hasher: &RandomState) {
        let new_place = self.pieces.len();
        let Some(old) = self.pieces.get_mut(divided_from(new_place)) else { return };
        let mut new = HashTable::with_capacity(2 * MOST);
        self.mask = mask(new_place + 1);
        let moved = old.extract_if(|slot| place(hash_of(hasher, slot), new_place + 1, self.mask) == new_place);
        for slot in moved {
            new.insert_unique(hash_of(hasher, &slot), slot, |slot| hash_of(hasher, slot));
        }
        self.pieces.push(new);
    }

    /// The piece of a hash.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        place(hash, self.pieces.len(), self.mask)
    }

    #[cfg(test)]
    pub(crate) fn buckets(&self) -> usize {
        self.pieces.iter().map(HashTable::num_buckets).sum()
    }

    /// Makes a new piece of the last piece and the piece that it was divided from.
    ///
    /// It frees both old pieces. With glibc, threads take memory from different arenas. If both pieces are freed, it is more
    /// likely that one of them is from the arena of the entries that are being removed, where glibc has work to do. See
    /// `DESIGN.md`.
    ///
    /// The first piece stays, however few entries there are.
    fn join(&mut self, hasher: &RandomState) {
        let last = self.pieces.pop().unwrap_or_default();
        self.mask = mask(self.pieces.len());
        let place = divided_from(self.pieces.len());
        if let Some(piece) = self.pieces.get_mut(place) {
            let mut joined = HashTable::with_capacity((2 * MOST).max(piece.len() + last.len()));
            for slot in mem::take(piece).into_iter().chain(last) {
                joined.insert_unique(hash_of(hasher, &slot), slot, |slot| hash_of(hasher, slot));
            }
            *piece = joined;
        }
    }
}

/// The bits that are needed to number this many pieces.
fn mask(pieces: usize) -> usize {
    pieces.next_power_of_two() - 1
}

/// The piece of a hash, given the number of pieces and the bits that number them.
///
/// It uses bits that nothing else uses: a piece compares the topmost seven bits and chooses a bucket by the lowest, and the
/// part was chosen by others.
#[inline]
fn place(hash: u64, pieces: usize, mask: usize) -> usize {
    let bits = (hash >> 16) & u64::from(u32::MAX);
    let place = usize::try_from(bits).unwrap_or_default() & mask;
    // The piece at that place was not divided from this one yet.
    if place < pieces { place } else { place & (mask >> 1) }
}

/// The piece from which the piece at this place (not the first) is divided: the same number without its highest bit.
#[inline]
fn divided_from(place: usize) -> usize {
    place & !(1 << place.checked_ilog2().unwrap_or_default())
}

fn hash_of(hasher: &RandomState, slot: &Slot) -> u64 {
    hasher.hash_one(Key::as_str(slot.key.as_key()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kv_core::KeyBuf;

    use super::*;

    fn slot(key: &str) -> Slot {
        Slot::new(KeyBuf::new(key).unwrap(), "".into())
    }

    #[test]
    fn a_piece_is_divided_into_itself_and_the_new_one() {
        for pieces in 1..200 {
            for hash in (0..1000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
                let (before, after) = (place(hash, pieces, mask(pieces)), place(hash, pieces + 1, mask(pieces + 1)));
                assert!(before < pieces);
                assert!(after == before || after == pieces && before == divided_from(pieces));
            }
        }
    }

    #[test]
    fn a_table_agrees_with_a_set_while_it_grows_and_shrinks() {
        let hasher = RandomState::default();
        let (mut table, mut keys) = (Table::of_part(0, 1), BTreeSet::new());
        let mut most = 0;
        for step in 0..60_000_u32 {
            // Up to about ten thousand entries, and down again.
            let grows = step < 30_000;
            let number = step.wrapping_mul(2_654_435_761) % 10_007;
            let key = format!("k{number}");
            let at = HashedKey::new(&hasher, Key::new(&key).unwrap());
            assert_eq!(table.find(at).is_some(), keys.contains(&key));
            if grows && keys.insert(key.clone()) {
                table.insert(&hasher, at.hash, slot(&key));
            } else if !grows {
                assert_eq!(table.remove(&hasher, at).is_some(), keys.remove(&key));
            }
            assert_eq!(table.len(), keys.len());
            most = most.max(table.pieces.len());
        }
        assert!(most > 10_000 / MOST, "{most} pieces");
        let mut left = table.iter().map(|slot| slot.key.as_str()).collect::<Vec<_>>();
        left.sort_unstable();
        assert_eq!(left, keys.iter().collect::<Vec<_>>());
        assert!(
            table.pieces.len() <= (keys.len() + SLACK) / MOST + 1,
            "{} pieces of {}",
            table.pieces.len(),
            keys.len()
        );
    }

    #[test]
    fn a_shrinking_table_frees_its_pieces_one_by_one_from_the_beginning() {
        let hasher = RandomState::default();
        let mut table = Table::of_part(0, 1);
        let names = (0..20_000).map(|number| format!("k{number}")).collect::<Vec<_>>();
        let keys = || names.iter().map(|name| HashedKey::new(&hasher, Key::new(name).unwrap()));
        keys().for_each(|key| table.insert(&hasher, key.hash, slot(&key.key)));
        let mut before = table.pieces.len();
        for (removed, key) in keys().enumerate() {
            table.remove(&hasher, key).unwrap();
            let now = table.pieces.len();
            assert!(now == before || now == before - 1);
            assert!(now <= (table.len() + SLACK) / MOST + 1, "{now} pieces after {removed} of 20 000");
            before = now;
        }
        assert_eq!(before, 1);
    }

    #[test]
    fn parts_that_shrink_together_free_their_pieces_one_after_the_other() {
        const PARTS: usize = 128;
        let hasher = RandomState::default();
        let mut tables = (0..PARTS).map(|number| Table::of_part(number, PARTS)).collect::<Vec<_>>();
        let names = (0..3000).map(|number| format!("k{number}")).collect::<Vec<_>>();
        let keys = || names.iter().map(|name| HashedKey::new(&hasher, Key::new(name).unwrap()));
        for table in &mut tables {
            for key in keys() {
                table.insert(&hasher, key.hash, slot(&key.key));
            }
        }
        let pieces = |tables: &[Table]| tables.iter().map(|table| table.pieces.len()).sum::<usize>();
        let (mut before, mut pause) = (pieces(&tables), 0);
        for key in keys().take(2000) {
            for table in &mut tables {
                table.remove(&hasher, key).unwrap();
            }
            let now = pieces(&tables);
            assert!(now + 1 >= before, "{} at once", before - now);
            pause = if now == before { pause + 1 } else { 0 };
            assert!(pause < 2 * SLACK, "none was freed while each part lost {pause} entries");
            before = now;
        }
    }

    #[test]
    fn entries_that_come_and_go_do_not_divide_and_join_pieces_all_the_time() {
        let hasher = RandomState::default();
        let mut table = Table::of_part(0, 1);
        let names = (0..=10 * MOST).map(|number| format!("k{number}")).collect::<Vec<_>>();
        let key = |name| HashedKey::new(&hasher, Key::new(name).unwrap());
        for name in &names {
            table.insert(&hasher, key(name).hash, slot(name));
        }
        assert_eq!(table.pieces.len(), 11, "just divided");
        for _ in 0..100 {
            for name in &names[..SLACK] {
                table.remove(&hasher, key(name)).unwrap();
                assert_eq!(table.pieces.len(), 11);
            }
            for name in &names[..SLACK] {
                table.insert(&hasher, key(name).hash, slot(name));
                assert_eq!(table.pieces.len(), 11);
            }
        }
    }

    #[test]
    fn a_piece_is_large_enough_that_freeing_it_makes_glibc_merge_its_blocks() {
        assert!(HashTable::<Slot>::with_capacity(2 * MOST).allocation_size() >= 64 << 10);
    }

    #[test]
    fn no_piece_becomes_large() {
        let hasher = RandomState::default();
        let mut table = Table::of_part(0, 1);
        for number in 0..200_000 {
            let key = format!("k{number}");
            let at = HashedKey::new(&hasher, Key::new(&key).unwrap());
            table.insert(&hasher, at.hash, slot(&key));
        }
        let largest = table.pieces.iter().map(HashTable::len).max().unwrap();
        assert!(largest < 3 * MOST, "{largest}");
    }
}
