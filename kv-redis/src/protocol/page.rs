//! A page of a listing. The names stay where they were received, without an allocation for each.
//!
//! The parser of the crate `redis` makes a value of each name. That takes longer than the server needs to find the name.

use std::ops::Range;

use redis::Value as Reply;

/// A cursor and names, in reply to `SCAN`.
#[derive(Debug, Default)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    cursor: Range<usize>,
    names: Vec<Range<usize>>,
}

impl Page {
    pub(crate) fn cursor(&self) -> &[u8] {
        self.bytes.get(self.cursor.clone()).unwrap_or_default()
    }

    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.names.iter().map(|name| self.bytes.get(name.clone()).unwrap_or_default())
    }

    /// Keeps the names of which this is true, in their order.
    pub(crate) fn keep(&mut self, mut are_kept: impl Iterator<Item = bool>) {
        self.names.retain(|_| are_kept.next() == Some(true));
    }

    /// The same from a reply that was parsed; `None` if it is something else.
    pub(crate) fn of_reply(reply: Reply) -> Option<Self> {
        let Reply::Array(reply) = reply else { return None };
        let [Reply::BulkString(cursor), Reply::Array(names)] = <[Reply; 2]>::try_from(reply).ok()? else { return None };
        let mut page = Self { cursor: 0..cursor.len(), bytes: cursor, names: Vec::with_capacity(names.len()) };
        for name in names {
            let Reply::BulkString(name) = name else { return None };
            page.names.push(page.bytes.len()..page.bytes.len() + name.len());
            page.bytes.extend(name);
        }
        Some(page)
    }
}

/// What was found so far in the received bytes.
#[derive(Default)]
pub(crate) struct Finder {
    /// The bytes before this were read.
    at: usize,
    cursor: Option<Range<usize>>,
    /// How many names there are.
    count: Option<usize>,
    names: Vec<Range<usize>>,
}

/// The reply is not a page, or something follows the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoPage;

/// How every page begins: an array of two, the first of which is a string.
const BEGINNING: &[u8] = b"*2\r\n$";

/// What ends each line and each string.
const END: &[u8] = b"\r\n";

/// A line has no more bytes than this: the numbers in them are lengths.
const LINE: usize = 16;

impl Finder {
    /// Whether the bytes so far can be the beginning of a page. If not, they may be an error of the server.
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        bytes.iter().zip(BEGINNING).all(|(byte, expected)| byte == expected)
    }

    /// Goes on with all bytes that were received so far. Returns whether the page is complete.
    pub(crate) fn go_on(&mut self, bytes: &[u8]) -> Result<bool, NoPage> {
        if self.cursor.is_none() {
            if bytes.len() < BEGINNING.len() {
                return Ok(false);
            }
            let Some(cursor) = string(bytes, BEGINNING.len() - 1)? else { return Ok(false) };
            self.at = cursor.end + END.len();
            self.cursor = Some(cursor);
        }
        if self.count.is_none() {
            let Some((count, next)) = line(bytes, self.at, b'*')? else { return Ok(false) };
            (self.count, self.at) = (Some(count), next);
        }
        while Some(self.names.len()) < self.count {
            let Some(name) = string(bytes, self.at)? else { return Ok(false) };
            self.at = name.end + END.len();
            self.names.push(name);
        }
        if self.at == bytes.len() { Ok(true) } else { Err(NoPage) }
    }

    /// The complete page in these bytes.
    pub(crate) fn page(self, bytes: Vec<u8>) -> Page {
        Page { bytes, cursor: self.cursor.unwrap_or_default(), names: self.names }
    }
}

/// The range of the string whose length is in the line at this position. `None` if it was not received yet.
fn string(bytes: &[u8], at: usize) -> Result<Option<Range<usize>>, NoPage> {
    let Some((length, start)) = line(bytes, at, b'$')? else { return Ok(None) };
    let end = start.checked_add(length).ok_or(NoPage)?;
    match bytes.get(end..).and_then(|rest| rest.get(..END.len())) {
        Some(END) => Ok(Some(start..end)),
        Some(_) => Err(NoPage),
        None => Ok(None),
    }
}

/// The number in the line of this kind at this position, and where the next line begins. `None` if it was not received yet.
fn line(bytes: &[u8], at: usize, kind: u8) -> Result<Option<(usize, usize)>, NoPage> {
    let mut number = 0_usize;
    let line = bytes.get(at..).unwrap_or_default();
    match line.split_first() {
        Some((first, _)) if *first != kind => return Err(NoPage),
        _ => {}
    }
    for (place, byte) in line.iter().enumerate().take(LINE).skip(1) {
        match byte {
            b'0'..=b'9' => {
                number =
                    number.checked_mul(10).and_then(|tens| tens.checked_add(usize::from(byte - b'0'))).ok_or(NoPage)?;
            }
            b'\r' if place > 1 => {
                return match line.get(place + 1) {
                    Some(b'\n') => Ok(Some((number, at + place + END.len()))),
                    Some(_) => Err(NoPage),
                    None => Ok(None),
                };
            }
            _ => return Err(NoPage),
        }
    }
    if line.len() < LINE { Ok(None) } else { Err(NoPage) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"*2\r\n$2\r\n17\r\n*3\r\n$5\r\nfirst\r\n$0\r\n\r\n$2\r\n\r\n\r\n";

    fn found(bytes: &[u8]) -> Result<Option<Page>, NoPage> {
        let mut finder = Finder::default();
        Ok(finder.go_on(bytes)?.then(|| finder.page(bytes.to_vec())))
    }

    fn shown(page: &Page) -> (&[u8], Vec<&[u8]>) {
        (page.cursor(), page.names().collect())
    }

    #[test]
    fn a_page_is_found_as_the_parser_finds_it() {
        let page = found(WHOLE).unwrap().unwrap();
        assert_eq!(shown(&page), (&b"17"[..], vec![&b"first"[..], b"", b"\r\n"]));
        let parsed = Page::of_reply(redis::parse_redis_value(WHOLE).unwrap()).unwrap();
        assert_eq!(shown(&parsed), shown(&page));
        let none = found(b"*2\r\n$1\r\n0\r\n*0\r\n").unwrap().unwrap();
        assert_eq!(shown(&none), (&b"0"[..], vec![]));
    }

    #[test]
    fn a_page_is_found_in_whatever_pieces_it_comes() {
        for first in 0..WHOLE.len() {
            for second in first..WHOLE.len() {
                let mut finder = Finder::default();
                for end in [first, second] {
                    assert!(Finder::may_begin(&WHOLE[..end]));
                    assert_eq!(finder.go_on(&WHOLE[..end]), Ok(false));
                }
                assert_eq!(finder.go_on(WHOLE), Ok(true));
                assert_eq!(finder.page(WHOLE.to_vec()).names().len(), 3);
            }
        }
    }

    #[test]
    fn a_reply_that_is_not_a_page_is_not_accepted() {
        for other in [
            "-LOADING a moment\r\n",
            "*3\r\n$1\r\n0\r\n*0\r\n",
            "*2\r\n:0\r\n*0\r\n",
            "*2\r\n$1\r\n0\r\n$0\r\n\r\n",
            "*2\r\n$1\r\n00\r\n*0\r\n",
            "*2\r\n$1\r\n0\r\n*-1\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n$\r\nname\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n$4\rname\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n$18446744073709551615\r\nname",
            "*2\r\n$1\r\n0\r\n*1\r\n$99999999999999999999",
            "*2\r\n$1\r\n0\r\n*0\r\n:1\r\n",
        ] {
            let is_page = Finder::may_begin(other.as_bytes()) && found(other.as_bytes()).is_ok();
            assert!(!is_page, "{other:?}");
        }
    }
}
