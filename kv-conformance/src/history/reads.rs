//! Reads that may return older values: each is checked by itself.

use super::operation::{Action, Held, Operation};
use super::{Contradiction, History, Weakness};

impl History {
    /// A read that no write explains, if reads may return older values.
    pub(super) fn impossible_read(&self, weaknesses: &[Weakness]) -> Option<Contradiction> {
        self.operations.iter().find_map(|read| {
            let told = self.told_by(read, weaknesses)?;
            let possible = match &read.action {
                Action::Get(held) => told.contains(held),
                Action::Contains(contained) => told.iter().any(|held| held.is_some() == *contained),
                _ => true,
            };
            (!possible).then(|| {
                let alone = Self { key: self.key.clone(), at_first: told.clone(), operations: vec![read.clone()] };
                Contradiction::of_read(alone, told, weaknesses)
            })
        })
    }

    /// All that the key may have held from the beginning until this read returned. `None` if this is not a read, or has not returned.
    fn told_by(&self, read: &Operation, weaknesses: &[Weakness]) -> Option<Vec<Held>> {
        let end = read.ended.filter(|_| read.action.is_read())?;
        let mut told = self.at_first.clone();
        if weaknesses.contains(&Weakness::MayEvict) {
            told.push(None);
        }
        for write in self.operations.iter().take_while(|operation| operation.began <= end) {
            match &write.action {
                action if action.changed_nothing() && write.ended.is_some() => {}
                Action::Delete(_) => told.push(None),
                action => told.extend(action.value().cloned().map(Some)),
            }
        }
        told.sort_unstable();
        told.dedup();
        Some(told)
    }
}
