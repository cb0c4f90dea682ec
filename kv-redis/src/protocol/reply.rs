//! Replies: whether one is what its command asks for, and how long it is in bytes.

use redis::Value as Reply;

use super::request::Shape;

/// A longer value is not believed: its memory is allocated as it comes. It is the limit of servers, unless they are configured otherwise
/// (`proto-max-bulk-len`).
pub(crate) const LONGEST: usize = 512 << 20;

/// What ends a line and a value.
pub(crate) const END: &[u8] = b"\r\n";

/// Where the value begins in the beginning of a reply, and its length, if that is not too large to be believed.
pub(crate) fn length_of_value(reply: &[u8]) -> Option<(usize, usize)> {
    // As many digits as the largest length has.
    const LINE: usize = "$536870912\r\n".len();
    let line = reply.get(..LINE.min(reply.len()))?;
    let end = line.windows(END.len()).position(|bytes| bytes == END)?;
    let digits = line.get(..end)?.strip_prefix(b"$").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length = str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= LONGEST)?;
    Some((end + END.len(), length))
}

/// Whether a reply has the shape for its command, or is an error of the server.
pub(crate) fn has_shape(reply: &Reply, shape: Shape) -> bool {
    let is_value = |reply: &Reply| matches!(reply, Reply::BulkString(_) | Reply::Nil);
    match (shape, reply) {
        (Shape::Page, Reply::Array(replies)) => match replies.as_slice() {
            [Reply::BulkString(_), Reply::Array(names)] => {
                names.iter().all(|name| matches!(name, Reply::BulkString(_)))
            }
            _ => false,
        },
        (Shape::Values(count), Reply::Array(replies)) => replies.len() == count && replies.iter().all(is_value),
        (_, Reply::ServerError(_))
        | (Shape::Any, _)
        | (Shape::Value, Reply::BulkString(_) | Reply::Nil)
        | (Shape::Done, Reply::Okay | Reply::Nil)
        | (Shape::Integer, Reply::Int(_)) => true,
        _ => false,
    }
}

/// The length in bytes of a reply as a server writes it, if it is one of RESP2.
pub(crate) fn encoded_length(reply: &Reply) -> Option<usize> {
    const END: usize = self::END.len();
    let number =
        |number: i64| usize::from(number < 0) + number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    let count = |count: usize| 1 + number(i64::try_from(count).unwrap_or(i64::MAX)) + END;
    Some(match reply {
        // `$-1` or `*-1`.
        Reply::Nil => 3 + END,
        Reply::Int(value) => 1 + number(*value) + END,
        Reply::BulkString(bytes) => count(bytes.len()) + bytes.len() + END,
        Reply::Array(replies) => count(replies.len()) + replies.iter().map(encoded_length).sum::<Option<usize>>()?,
        Reply::SimpleString(text) => 1 + text.len() + END,
        Reply::Okay => "+OK".len() + END,
        Reply::ServerError(error) => {
            1 + error.code().len() + error.details().map_or(0, |details| 1 + details.len()) + END
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_reply_is_what_the_parser_took() {
        let replies = [
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$5\r\nhello\r\n",
            "$12\r\nhello, world\r\n",
            ":0\r\n",
            ":-10\r\n",
            ":9223372036854775807\r\n",
            ":-9223372036854775808\r\n",
            "+OK\r\n",
            "+QUEUED\r\n",
            "-ERR\r\n",
            "-ERR no such key\r\n",
            "-WRONGTYPE Operation against a key\r\n",
            "-MOVED 3999 127.0.0.1:6381\r\n",
            "*0\r\n",
            "*3\r\n$1\r\n0\r\n*1\r\n$3\r\nkey\r\n:7\r\n",
        ];
        for encoded in replies {
            let reply = redis::parse_redis_value(encoded.as_bytes()).unwrap();
            assert_eq!(encoded_length(&reply), Some(encoded.len()), "{encoded:?}");
        }
    }

    #[test]
    fn a_reply_that_is_not_of_resp2_has_no_length() {
        for encoded in ["#t\r\n", "*3\r\n,1.5\r\n,1.5\r\n,1.5\r\n", "_\r\n", "%1\r\n:1\r\n:2\r\n"] {
            let reply = redis::parse_redis_value(encoded.as_bytes()).unwrap();
            assert_ne!(encoded_length(&reply), Some(encoded.len()), "{encoded:?}");
        }
    }

    #[test]
    fn the_length_of_a_value_is_in_its_first_line() {
        assert_eq!(length_of_value(b"$5\r\nhello\r\n"), Some((4, 5)));
        assert_eq!(length_of_value(b"$0\r\n"), Some((4, 0)));
        assert_eq!(length_of_value(b"$536870912\r\nv"), Some((12, LONGEST)));
        for other in
            ["", "$", "$5", "$5\r", "$-1\r\n", "$536870913\r\n", "$9999999999999999\r\n", "$+5\r\n", "$\r\n", ":5\r\n"]
        {
            assert_eq!(length_of_value(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn a_reply_of_another_shape_is_noticed() {
        let value = Reply::BulkString(b"v".to_vec());
        assert!(has_shape(&value, Shape::Value) && !has_shape(&value, Shape::Integer));
        assert!(has_shape(&Reply::Array(vec![value.clone(), Reply::Nil]), Shape::Values(2)));
        assert!(!has_shape(&Reply::Array(vec![value]), Shape::Values(2)));
        assert!(!has_shape(&Reply::Int(1), Shape::Done) && has_shape(&Reply::Okay, Shape::Done));
    }
}
