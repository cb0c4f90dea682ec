//! Reads that may return older values: each is checked by itself.

use super::counters;
use super::operation::{Action, Operation};
use super::ttls::fits;
use super::{Contradiction, History, Start, Weakness};

impl History {
    /// A read that no write explains, if reads may return older values.
    pub(super) fn impossible_read(&self, weaknesses: &[Weakness]) -> Option<Contradiction> {
        self.operations.iter().find_map(|read| {
            let told = self.told_by(read, weaknesses)?;
            let ended = read.ended.unwrap_or_default();
            let fits = |start: &Start, left| start.ttl.is_none_or(|ttl| fits(ttl, left, ended, self.ttl_tolerance));
            let possible = match &read.action {
                Action::Get(held) => told.iter().any(|start| start.held == *held),
                Action::Contains(contained) => told.iter().any(|start| start.held.is_some() == *contained),
                Action::Ttl(None) => told.iter().any(|start| start.held.is_none()),
                Action::Ttl(Some(left)) => told.iter().any(|start| start.held.is_some() && fits(start, *left)),
                _ => true,
            };
            (!possible).then(|| {
                let alone = Self { at_first: told, operations: vec![read.clone()], ..self.clone() };
                Contradiction::of_read(alone, weaknesses)
            })
        })
    }

    /// All that the key may have held from the beginning until this read returned. `None` of what is no read, or did not return.
    fn told_by(&self, read: &Operation, weaknesses: &[Weakness]) -> Option<Vec<Start>> {
        let end = read.ended.filter(|_| read.action.is_read())?;
        let mut told = self.at_first.clone();
        if weaknesses.contains(&Weakness::MayEvict) {
            told.push(Start::default());
        }
        let begun = || self.operations.iter().take_while(|operation| operation.began <= end);
        let retimed = begun().filter(|operation| {
            let touched = matches!(operation.action, Action::Touch(_, true) | Action::GetAndTouch(_, Some(_)));
            touched || operation.ended.is_none()
        });
        let retimed = retimed.flat_map(|operation| operation.action.ttls()).copied().map(Some).collect::<Vec<_>>();
        let mut unknown = Vec::new();
        for write in begun() {
            let action = &write.action;
            if let Action::Increment { by, .. } = action
                && write.ended.is_none()
            {
                unknown.push(*by);
                continue;
            }
            if action.changed_nothing() && write.ended.is_some() {
                continue;
            }
            if action.removes() {
                told.push(Start::default());
            }
            // A counter keeps whatever TTL it had.
            if let Action::Increment { sum: Some(sum), .. } = action {
                told.push(Start::from(Some(sum.clone())));
                continue;
            }
            for value in action.values() {
                let own = action.ttls().iter().copied().map(Some);
                let own = own.chain(action.ttls().is_empty().then_some(None)).chain(retimed.iter().copied());
                told.extend(own.map(|ttl| Start { held: Some(value.clone()), ttl }));
            }
        }
        let sums = counters::all_sums(told.iter().filter_map(|start| start.held.as_ref()), unknown);
        told.extend(sums.into_iter().map(|sum| Start::from(Some(sum))));
        if !retimed.is_empty() {
            let first = self.at_first.iter().filter(|start| start.held.is_some());
            let retimed = first.flat_map(|start| retimed.iter().map(|&ttl| Start { ttl, ..start.clone() }));
            told.extend(retimed);
        }
        Some(told)
    }
}
