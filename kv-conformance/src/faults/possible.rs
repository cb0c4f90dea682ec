//! What a key can hold after some of its writes have failed.

use kv_core::Error;

/// The number of the write that a key holds, or `None` if there is no entry.
pub(super) type Written = Option<u64>;

/// What a key can hold.
#[derive(Debug, Default)]
pub(super) struct Possible {
    /// The state after the last acknowledged write.
    pub(super) sure: Written,
    /// The states that writes with an unknown outcome may leave, and the epoch of each write. They may still take effect.
    pub(super) doubtful: Vec<(Written, usize)>,
    /// Later writes that failed with a known outcome.
    pub(super) refused: Vec<Written>,
    /// Whether the server may have returned to an older state, or lost everything.
    pub(super) is_rolled_back: bool,
}

impl Possible {
    pub(super) fn allows(&self, write: Written) -> bool {
        self.is_rolled_back || self.sure == write || self.doubtful.iter().any(|(doubtful, _)| *doubtful == write)
    }

    pub(super) fn may_be_there(&self) -> bool {
        self.is_rolled_back || self.sure.is_some() || self.doubtful.iter().any(|(write, _)| write.is_some())
    }

    pub(super) fn wrote<T>(&mut self, result: &Result<T, Error>, write: Written, epoch: usize) {
        match result {
            Ok(_) => {
                self.sure = write;
                self.refused.clear();
                self.is_rolled_back = false;
            }
            Err(error) if error.outcome_unknown() => self.doubtful.push((write, epoch)),
            Err(_) => self.refused.push(write),
        }
    }

    /// The same for one write of a batch. Some writes of a batch may be done even if it fails (B5).
    pub(super) fn wrote_in_batch<T>(&mut self, result: &Result<T, Error>, write: Written, epoch: usize) {
        match result {
            Ok(_) => self.wrote(result, write, epoch),
            Err(_) => self.doubtful.push((write, epoch)),
        }
    }

    pub(super) fn shown(&self) -> String {
        let shown = |write: Written| write.map_or("absent".to_owned(), |write| format!("write {write}"));
        let mut all = vec![format!("{} (acknowledged)", shown(self.sure))];
        all.extend(self.doubtful.iter().map(|(write, _)| format!("{} (in doubt)", shown(*write))));
        all.dedup();
        all.join(", ")
    }
}
