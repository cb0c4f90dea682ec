//! Steps that list keys.

use std::collections::BTreeSet;

use kv_core::{Error, KeyBuf, KeyValueStoreExt};

use super::{Model, Run};
use crate::model::state::During;
use crate::model::step::{Step, few, text};
use crate::running::Outcome;

impl Model<'_> {
    pub(super) fn prefixes(&mut self, run: &Run<'_>, delimiter: &KeyBuf, prefix: &str) -> Outcome {
        let (got, during) =
            self.works(run, |store| store.prefixes(delimiter, prefix)?.collect::<Result<Vec<_>, _>>())?;
        let (must, may) = self.state.listed(prefix, during);
        let part = |key: &KeyBuf| {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let end = rest.find(delimiter.as_str()).map(|at| prefix.len() + at + delimiter.len());
            end.and_then(|end| KeyBuf::new(key.get(..end)?).ok()).unwrap_or_else(|| key.clone())
        };
        let parts = |keys: &BTreeSet<KeyBuf>| keys.iter().map(part).collect::<BTreeSet<_>>();
        let (must, may) = (parts(&must), parts(&may));
        self.see_keys(run, &got, &must.iter().collect::<Vec<_>>(), &may.iter().collect::<Vec<_>>(), true)
    }

    pub(super) fn while_listing(
        &mut self,
        run: &Run<'_>,
        prefix: &str,
        taken: usize,
        steps: &[Step],
        to_the_end: bool,
    ) -> Outcome {
        let before = run.handles.time.now();
        let listing = run.store.keys(prefix);
        let mut listing = listing.map_err(|error| self.failed(run, &error))?;
        self.state.open(prefix, During { before, after: run.handles.time.now() });
        let mut listed = Vec::new();
        let mut take = |count: usize, listed: &mut Vec<KeyBuf>| {
            for key in listing.by_ref().take(count) {
                listed.push(key?);
            }
            Ok(())
        };
        let outcome = take(taken, &mut listed).map_err(|error: Error| self.failed(run, &error));
        let outcome = outcome.and_then(|()| steps.iter().try_for_each(|step| self.step(step, run.handles)));
        let outcome = match outcome {
            Ok(()) if to_the_end => take(usize::MAX, &mut listed).map_err(|error: Error| self.failed(run, &error)),
            outcome => outcome,
        };
        let (must, may) = self.state.close(prefix, During { before, after: run.handles.time.now() });
        outcome?;
        self.see_keys(run, &listed, &must.iter().collect::<Vec<_>>(), &may.iter().collect::<Vec<_>>(), to_the_end)
    }

    /// Compares keys with those that there have to be, and those that there may be.
    pub(super) fn see_keys(
        &self,
        run: &Run<'_>,
        got: &[KeyBuf],
        must: &[&KeyBuf],
        may: &[&KeyBuf],
        is_whole: bool,
    ) -> Outcome {
        let mut sorted = got.iter().collect::<Vec<_>>();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find_map(|pair| {
            if let [one, other] = pair
                && one == other
            {
                Some(*one)
            } else {
                None
            }
        });
        let missing = must.iter().find(|key| is_whole && sorted.binary_search(key).is_err());
        let foreign = sorted.iter().find(|key| may.binary_search(key).is_err());
        let got = match (twice, missing, foreign) {
            (Some(key), ..) => format!("{} twice", text(key)),
            (_, Some(key), _) => format!("{} is missing", text(key)),
            (.., Some(key)) => format!("{}, too", text(key)),
            _ => return Ok(()),
        };
        let keys = |of: &[&KeyBuf]| few(of, |key| text(key));
        let perhaps = if may.len() > must.len() { format!(", and perhaps {}", keys(may)) } else { String::new() };
        let got = format!("{got}, of [{}]", keys(&sorted));
        self.wrong(run, &format!("[{}], each once{perhaps}", keys(must)), &got)
    }
}
