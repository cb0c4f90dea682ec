//! The requests of operations that a server can do in several ways, by the commands that it has: see the table of
//! [`Commands`](super::commands).

use super::commands::Commands;
use super::request::{Arg, Request, Shape};
#[cfg(feature = "cluster")]
use super::scripts::REMOVE_SCRIPT;
use super::scripts::{COPY_SCRIPT, SCAN_SCRIPT};

impl Commands {
    /// Copies an entry and reports whether it was there, in one request; `None` if there is no command for that.
    pub(crate) fn copy<'a>(self, from: Arg<'a>, to: Arg<'a>) -> Option<Request<'a>> {
        let request = Request::writing();
        if self.has(Self::COPY) {
            let copy = ["COPY".into(), from, to, "REPLACE".into()];
            return Some(request.with(Shape::Integer, copy).needing(Self::COPY));
        }
        let script = ["EVAL".into(), COPY_SCRIPT.into(), 2.into(), from, to];
        self.has(Self::EVAL).then(|| request.with(Shape::Integer, script).needing(Self::EVAL))
    }

    /// Removes the TTL of an entry. The reply to the last command is an array whose last item reports whether the entry was there.
    pub(crate) fn persist(self, key: Arg<'_>) -> Request<'_> {
        let mut request = Request::writing().with(Shape::Done, ["MULTI".into()]);
        if !self.has(Self::PERSIST) {
            // EXISTS removes an expired entry; this PERSIST does not.
            request.add(Shape::Any, ["EXISTS".into(), key]);
        }
        // PERSIST reports an entry without a TTL and an absent one in the same way.
        request
            .with(Shape::Any, ["PERSIST".into(), key])
            .needing(self.and(Self::PERSIST))
            .with(Shape::Any, ["EXISTS".into(), key])
            .with(Shape::Any, ["EXEC".into()])
    }

    /// What a page of this size needs besides the command, and the size that is possible.
    pub(crate) fn size_of_page(self, count: u64) -> (Self, u64) {
        if count <= Self::SMALL_PAGE {
            (Self::NONE, count)
        } else if self.has(Self::LARGE_PAGES) {
            (Self::LARGE_PAGES, count)
        } else if self.has(Self::PAGES_IN_EXEC.with(Self::SCAN_TYPE)) {
            (Self::PAGES_IN_EXEC, count)
        } else {
            (Self::NONE, Self::SMALL_PAGE)
        }
    }

    /// The request for a page of a listing, and whether it returns the names of strings only. If not, their types have to be asked for.
    pub(crate) fn page<'a>(self, cursor: &'a [u8], pattern: Option<&'a [u8]>, count: u64) -> (Request<'a>, bool) {
        let is_script = !self.has(Self::SCAN_TYPE) && self.has(Self::EVAL);
        let mut arguments: Vec<Arg<'a>> = Vec::with_capacity(8);
        if is_script {
            arguments.extend([Arg::from("EVAL"), SCAN_SCRIPT.into(), 0.into(), Arg::Text(cursor), count.into()]);
            arguments.extend(pattern.map(Arg::Text));
        } else {
            arguments.extend([Arg::from("SCAN"), Arg::Text(cursor)]);
            arguments.extend(pattern.map(|pattern| ["MATCH".into(), Arg::Text(pattern)]).into_iter().flatten());
            arguments.extend([Arg::from("COUNT"), count.into()]);
        }
        let needs = if is_script { Self::EVAL } else { self.and(Self::SCAN_TYPE) };
        if needs == Self::SCAN_TYPE {
            arguments.extend([Arg::from("TYPE"), "string".into()]);
        }
        let mut request = Request::reading();
        if self.size_of_page(count).0 == Self::PAGES_IN_EXEC {
            request =
                request.with(Shape::Any, ["MULTI".into()]).needing(Self::PAGES_IN_EXEC).also_needing(Self::SCAN_TYPE);
            request.add_all(Shape::Any, arguments.len(), arguments);
            return (request.with(Shape::Any, ["EXEC".into()]), true);
        }
        request.add_all(Shape::Page, arguments.len(), arguments);
        (request.needing(needs), needs != Self::NONE)
    }

    #[cfg(feature = "cluster")]
    /// Adds the command that removes an entry if it is this one, and replies 0 if it is not; `None` if there is no such command.
    pub(crate) fn add_removal<'a>(self, request: Request<'a>, key: Arg<'a>, entry: &Copied<'a>) -> Option<Request<'a>> {
        let value = Arg::Text(entry.value);
        let [most, least] = [Arg::Text(entry.most), Arg::Text(entry.least)];
        Some(if self.has(Self::EVAL) {
            let script = ["EVAL".into(), REMOVE_SCRIPT.into(), 1.into(), key, value, most, least];
            request.with(Shape::Any, script).needing(Self::EVAL)
        } else if self.has(Self::DELIFEQ) {
            request.with(Shape::Any, ["DELIFEQ".into(), key, value]).needing(Self::DELIFEQ)
        } else if self.has(Self::DELEX) {
            request.with(Shape::Any, ["DELEX".into(), key, "IFEQ".into(), value]).needing(Self::DELEX)
        } else {
            return None;
        })
    }
}

#[cfg(feature = "cluster")]
/// An entry that was copied, so that nothing else is removed in its place.
pub(crate) struct Copied<'a> {
    pub(crate) value: &'a [u8],
    /// The largest and the smallest remaining TTL in milliseconds, or -1 twice. Only the script compares them.
    pub(crate) most: &'a [u8],
    pub(crate) least: &'a [u8],
}
