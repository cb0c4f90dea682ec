//! The failure of a check that hangs, or of one whose listing does not end.

use super::outcome::NotPassed;
use super::watchdog::{Endless, Hang};

/// The clause that says that a listing ends.
fn clause_of(listing: &str) -> &'static str {
    if listing.contains("prefixes(") { "L6" } else { "L1" }
}

impl Endless {
    /// The failure of the check. It says more than what the check itself found about the listing.
    pub(crate) fn into_failure(self) -> NotPassed {
        let Self { listing, yielded, written } = self;
        let failed = NotPassed::found(format!(
            "{listing}\nexpected: each key once, and then the end: {written} keys were written at most\n\
             got:      {yielded} keys, and no end. Does its cursor advance?"
        ));
        failed.breaking([clause_of(&listing)])
    }
}

impl Hang {
    /// Whether it is a listing that hangs.
    pub(crate) fn is_of_listing(&self) -> bool {
        self.is_operation && ["keys(", "prefixes("].iter().any(|listing| self.what.contains(listing))
    }

    /// The failure of a check. `setting` says how to make the limit longer.
    pub(crate) fn into_failure(self, has_faults: bool, setting: &str) -> NotPassed {
        let Self { what, time, is_operation, before, listing, others } = &self;
        let (is_of_listing, while_open) = (self.is_of_listing(), listing.as_ref().filter(|_| !self.is_of_listing()));
        let meanwhile = while_open.map(|listing| format!(", while this thread has {listing} open")).unwrap_or_default();
        let want = match (while_open, is_operation) {
            (Some(_), _) => "it returns: a listing holds no lock (L2)",
            (None, true) if has_faults => "it ends within its limits (N1)",
            (None, true) => "it returns",
            (None, false) => "it ends",
        };
        let before = before.as_ref().map(|before| format!(" Before it: {before}.")).unwrap_or_default();
        let others =
            if others.is_empty() { String::new() } else { format!(" Others wait, too: {}.", others.join("; ")) };
        let failed = NotPassed::found(format!(
            "{what}{meanwhile}\nexpected: {want}\n\
             got:      nothing for {time:.0?}: it hangs, and the suite goes on without it.{before}{others}\n          \
             (If the store is just slow: {setting})"
        ));
        if is_of_listing { failed.breaking([clause_of(what)]) } else { failed }
    }
}
