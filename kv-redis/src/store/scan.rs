//! Fetches a page of a listing, with the commands that the server has.

use kv_core::Result;
use redis::Value as Reply;

use crate::protocol::answer::Answer;
use crate::protocol::answer::redirection;
use crate::protocol::info::RunId;

use crate::connection::known_commands::KnownCommands;
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::page::Page;
use crate::protocol::request::{Arg, Request, Shape};

use super::choose::is_refused;
use super::client::{Client, Target};

/// The cursor of the first page, and the one after the last page.
pub(super) const BEGINNING: &[u8] = b"0";

/// What to fetch.
pub(super) struct Scan<'a> {
    pub(super) target: &'a Target,
    /// The cursor of the page; `None` if only the types of the page before are left.
    pub(super) cursor: Option<&'a [u8]>,
    pub(super) pattern: Option<&'a [u8]>,
    pub(super) count: u64,
    /// The page before, if its types are not known.
    pub(super) untyped: Option<Page>,
}

/// What was fetched.
pub(super) struct Fetched {
    /// The cursor of the next page.
    pub(super) cursor: Option<Vec<u8>>,
    /// A page with the names of strings only.
    pub(super) strings: Page,
    /// A page whose types are not known.
    pub(super) untyped: Option<Page>,
    /// The server process that answered.
    pub(super) run_id: RunId,
}

impl Scan<'_> {
    /// Fetches a page, and does something else while the server works. One round trip, and one more if the server refuses a command that
    /// it was expected to have, or does not tell whether it is a node of a cluster.
    pub(super) async fn fetch(
        mut self,
        client: &Client,
        is_whole: &mut bool,
        meanwhile: Box<dyn FnOnce() + Send + '_>,
    ) -> Result<Fetched> {
        let known = client.known_of(self.target);
        let mut commands = known.map_or(Commands::ALL, KnownCommands::get);
        let mut meanwhile = Some(meanwhile);
        loop {
            // With the types of the page before, the next page is not in a transaction.
            let of_page = if self.untyped.is_some() { commands.without(Commands::SCAN_TYPE) } else { commands };
            let (of_size, count) = of_page.size_of_page(self.count);
            let (mut request, is_typed) = self.request(commands, count);
            request = request.also_needing(of_size);
            if !*is_whole {
                request = request.also_needing(Commands::WHOLE);
            }
            if let Some(work) = meanwhile.take() {
                request = request.meanwhile(work);
            }
            let result = client.send_to(self.target, &request).await;
            request.do_meanwhile();
            let is_refused = result.as_ref().is_ok_and(|answer| is_refused(&request, answer));
            let refused = request.may_be_refused();
            drop(request);
            match result {
                Err(Fault::Lacks(has)) => {
                    commands = commands.and(has);
                    if !*is_whole && !has.has(Commands::WHOLE) {
                        client.make_sure_it_is_whole(self.target).await?;
                        *is_whole = true;
                    }
                }
                Ok(_) if is_refused => {
                    commands = commands.without(refused);
                    if let Some(known) = known {
                        known.remove(refused);
                    }
                }
                Ok(answer) => {
                    let server = answer.server.clone();
                    let fetched = self.fetched(answer, is_typed);
                    return fetched.map_err(|fault| client.error(fault.at(server.as_ref()), None, false));
                }
                Err(fault) => return Err(client.error(fault, None, false)),
            }
        }
    }

    /// The request, and whether it returns the names of strings only.
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
                // A transaction: the page is in the reply to its `EXEC`.
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
                // The key was left over on this node of a cluster; another node serves it.
                reply if redirection(reply).is_some() => false,
                Reply::ServerError(error) => return Err(Fault::Refused(error.clone().into())),
                _ => return Err(Fault::Desynchronized),
            });
        }
        strings.keep(types.into_iter());
        let cursor = page.as_ref().map(|page| page.cursor().to_vec()).filter(|cursor| cursor != BEGINNING);
        let (strings, untyped) = match page {
            Some(page) if is_typed => (page, None),
            // No types are asked for if there are no names: a request without a command cannot be sent.
            page => (strings, page.filter(|page| page.names().len() > 0)),
        };
        Ok(Fetched { cursor, strings, untyped, run_id })
    }
}

/// The page in the replies to a transaction that follow the one to `MULTI`.
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
