//! Values that contain their key and the number of their write.

/// A value that contains its key, the number of its write, and a mark at its end, and that can be recognised in a message.
pub(crate) fn value(key: &str, write: u64, length: usize) -> String {
    let mut filling = SECRET.repeat(length.div_ceil(SECRET.len()));
    filling.truncate(length);
    format!("{key}|{write}|{filling}|end")
}

/// The filler of values. It must not appear in errors.
pub(super) const SECRET: &str = "x7q";

/// What a whole value says of itself.
pub(super) struct Parsed<'v> {
    pub(super) key: &'v str,
    pub(super) write: u64,
    /// The length of its filling.
    pub(super) filling: usize,
}

/// Which write of which key a value is, if it is whole.
pub(super) fn parse(value: &[u8]) -> Option<Parsed<'_>> {
    let text = str::from_utf8(value).ok()?;
    let mut parts = text.split('|');
    let (key, write, filling, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_filled = filling.as_bytes().chunks(SECRET.len()).all(|part| SECRET.as_bytes().starts_with(part));
    let is_whole = end == "end" && parts.next().is_none() && is_filled;
    Some(Parsed { key, write: write.parse().ok()?, filling: filling.len() }).filter(|_| is_whole)
}
