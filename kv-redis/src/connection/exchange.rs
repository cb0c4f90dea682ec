//! An exchange on a connection: a request is sent, and its replies are received.

use std::io::{self, IoSlice};
use std::time::Instant;

use redis::{Parser, Value as Reply};

use super::Connection;
use super::receive::PageOrReply;
use crate::protocol::answer::Answer;
use crate::protocol::fault::Fault;
use crate::protocol::page::Page;
use crate::protocol::reply::{encoded_length, has_shape};
use crate::protocol::request::{Request, Shape};

/// A parser that has held more than this is replaced, because it would keep the memory.
const LARGE: usize = 1 << 20;

impl Connection {
    /// Sends a request and receives its replies. After an error the connection must not be used again.
    pub(crate) fn exchange(&mut self, request: &Request<'_>, now: Instant, deadline: Instant) -> Result<Answer, Fault> {
        let mut replies = Vec::with_capacity(request.shapes().len());
        match self.exchange_into(&mut replies, request, now, deadline) {
            Ok(page) => Ok(Answer { replies, page, run_id: self.server_info.run_id, server: self.server.clone() }),
            Err(fault) => Err(fault.at(self.server.as_ref())),
        }
    }

    /// The same; after an error, the replies before it are there.
    pub(super) fn exchange_into(
        &mut self,
        replies: &mut Vec<Reply>,
        request: &Request<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Option<Page>, Fault> {
        self.channel.socket_mut().begin(now, deadline);
        self.received = 0;
        if let Err(cause) = self.send(request) {
            return Err(self.why_not_sent(cause));
        }
        request.do_meanwhile();
        let (mut page, mut length) = (None, 0);
        for &shape in request.shapes() {
            let reply = match shape {
                Shape::Page if request.shapes().len() == 1 => match self.receive_page()? {
                    PageOrReply::Page(found) => {
                        page = Some(found);
                        length = self.received;
                        continue;
                    }
                    PageOrReply::Other(reply) => reply,
                },
                Shape::Value if request.shapes().len() == 1 => self.receive_value()?,
                _ => self.receive()?,
            };
            if !has_shape(&reply, shape) {
                return Err(Fault::Desynchronized);
            }
            length += encoded_length(&reply).ok_or(Fault::Desynchronized)?;
            replies.push(reply);
        }
        // The parser may have read beyond the last reply. Bytes there are unrequested: the replies may belong to other commands.
        if self.received != length || self.channel.has_more() {
            return Err(Fault::Desynchronized);
        }
        if self.received > LARGE {
            self.parser = Parser::new();
        }
        self.last_used = Instant::now();
        Ok(page)
    }

    fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        if let Some(bytes) = request.in_one_piece() {
            self.channel.write_all(bytes)?;
            return self.channel.flush();
        }
        let mut pieces = request.pieces();
        let mut pieces = pieces.as_mut_slice();
        while !pieces.is_empty() {
            match self.channel.write_vectored(pieces)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => IoSlice::advance_slices(&mut pieces, written),
            }
        }
        self.channel.flush()
    }

    /// A server that refuses a request before it has received all of it says why, and closes the connection.
    fn why_not_sent(&mut self, cause: io::Error) -> Fault {
        let sent = self.channel.socket().has_sent();
        if sent
            && cause.kind() != io::ErrorKind::TimedOut
            && let Ok(Reply::ServerError(error)) = self.receive()
        {
            return Fault::Refused(error.into());
        }
        Fault::Broken { cause, sent }
    }
}
