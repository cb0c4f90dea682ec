//! Fetching a page of a listing, in the way that the server can.

use kv_core::Result;
use redis::Value as Reply;

use crate::connection::exchange::{Answer, RunId, redirection};
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::page::Page;
use crate::protocol::request::{Arg, Request, Shape};
use crate::servers::node::KnownCommands;
use crate::store::choose::is_refused;
use crate::store::redis_store::{Part, RedisStore};

/// The cursor with which a server begins, and with which it ends.
pub(crate) const BEGINNING: &[u8] = b"0";

/// What is to be fetched.
pub(crate) struct Scan<'a> {
    pub(crate) part: &'a Part,
    /// Where the page begins; `None` if only the types of the one before are left to be asked for.
    pub(crate) cursor: Option<&'a [u8]>,
    pub(crate) pattern: Option<&'a [u8]>,
    pub(crate) count: u64,
    /// The page before, whose types are not known.
    pub(crate) untyped: Option<Page>,
}

/// What came.
pub(crate) struct Fetched {
    /// Where the next page begins.
    pub(crate) cursor: Option<Vec<u8>>,
    /// A page of names of strings alone.
    pub(crate) strings: Page,
    /// A page of which the types are not known.
    pub(crate) untyped: Option<Page>,
    /// The process that answered.
    pub(crate) run_id: RunId,
}

impl Scan<'_> {
    /// Fetches it, and does something else while the server is at work. One round trip, unless the server refuses what it
    /// was expected to have, or does not say whether it is a node of a cluster: then one more, once.
    pub(crate) fn fetch(
        mut self,
        store: &RedisStore,
        is_whole: &mut bool,
        meanwhile: Box<dyn FnOnce() + Send + '_>,
    ) -> Result<Fetched> {
        let known = store.known_of(self.part);
        let mut commands = known.map_or(Commands::ALL, KnownCommands::get);
        let mut meanwhile = Some(meanwhile);
        loop {
            let (of_size, count) = commands.size_of_page(self.count);
            let (mut request, is_typed) = self.request(commands, count);
            let needs = request.needs();
            request = request.also_needing(of_size);
            if !*is_whole {
                request = request.also_needing(Commands::WHOLE);
            }
            if let Some(work) = meanwhile.take() {
                request = request.meanwhile(work);
            }
            let result = store.send_to(self.part, &request);
            request.do_meanwhile();
            let is_refused = result.as_ref().is_ok_and(|answer| is_refused(needs, &request, answer));
            drop(request);
            match result {
                Err(Fault::Lacks(has)) => {
                    commands = commands.and(has);
                    if !*is_whole && !has.has(Commands::WHOLE) {
                        store.make_sure_it_is_whole(self.part)?;
                        *is_whole = true;
                    }
                }
                Ok(_) if is_refused => {
                    commands = commands.without(needs);
                    if let Some(known) = known {
                        known.remove(needs);
                    }
                }
                Ok(answer) => {
                    let server = answer.server.clone();
                    let fetched = self.fetched(answer, is_typed);
                    return fetched.map_err(|fault| store.error(fault.at(server.as_ref()), None, false));
                }
                Err(fault) => return Err(store.error(fault, None, false)),
            }
        }
    }

    /// The request, and whether what comes are names of strings alone.
    fn request(&self, commands: Commands, count: u64) -> (Request<'_>, bool) {
        match (&self.untyped, self.cursor) {
            (None, cursor) => commands.page(cursor.unwrap_or(BEGINNING), self.pattern, count),
            (Some(untyped), cursor) => {
                let scan = cursor.map(|cursor| Commands::NONE.page(cursor, self.pattern, count).0);
                let request = scan.unwrap_or_else(Request::reading);
                let types = untyped.names().map(|name| ["TYPE".into(), Arg::Text(name)]);
                (types.fold(request, |request, question| request.with(Shape::Any, question)), false)
            }
        }
    }

    fn fetched(&mut self, answer: Answer, is_typed: bool) -> Result<Fetched, Fault> {
        let Answer { replies, page, run_id, .. } = answer;
        let mut replies = replies.into_iter();
        let page = match (page, self.cursor) {
            (Some(page), _) => Some(page),
            (None, None) => None,
            (None, Some(_)) => match replies.next() {
                // Of a transaction, which has an error in place of a reply, or the page in the reply to its `EXEC`.
                Some(Reply::Okay) => Some(only_result(replies.by_ref())?),
                Some(Reply::ServerError(error)) => return Err(Fault::Refused(error.into())),
                reply => Some(reply.and_then(Page::of_reply).ok_or(Fault::Desynchronized)?),
            },
        };
        let mut strings = self.untyped.take().unwrap_or_default();
        let mut types = Vec::with_capacity(strings.names().len());
        for reply in replies {
            types.push(match &reply {
                Reply::SimpleString(name) => name == "string",
                // Left over on this node of a cluster; another one serves it.
                reply if redirection(reply).is_some() => false,
                Reply::ServerError(error) => return Err(Fault::Refused(error.clone().into())),
                _ => return Err(Fault::Desynchronized),
            });
        }
        strings.keep(types.into_iter());
        let cursor = page.as_ref().map(|page| page.cursor().to_vec()).filter(|cursor| cursor != BEGINNING);
        let (strings, untyped) = match page {
            Some(page) if is_typed => (page, None),
            page => (strings, page),
        };
        Ok(Fetched { cursor, strings, untyped, run_id })
    }
}

/// The page in what is left of the replies to a transaction.
fn only_result(replies: impl Iterator<Item = Reply>) -> Result<Page, Fault> {
    let mut results = replies.filter(|reply| !matches!(reply, Reply::SimpleString(_)));
    let result = match results.next() {
        Some(Reply::Array(results)) => results.into_iter().next(),
        error => error,
    };
    match result {
        Some(Reply::ServerError(error)) => Err(Fault::Refused(error.into())),
        reply => reply.and_then(Page::of_reply).ok_or(Fault::Desynchronized),
    }
}
