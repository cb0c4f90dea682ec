//! Values that contain their key and the number of their write.

/// A value that contains its key, the number of its write, and a mark at its end, and that can be recognised in a message.
pub(crate) fn value(key: &str, write: u64, length: usize) -> String {
    format!("{key}|{write}|{}|end", SECRET.chars().cycle().take(length).collect::<String>())
}

/// The filler of values. It must not appear in errors.
pub(super) const SECRET: &str = "x7q";

/// The key and the number of the write of a value, if it is whole.
pub(crate) fn parse(value: &[u8]) -> Option<(&str, u64)> {
    let text = str::from_utf8(value).ok()?;
    let mut parts = text.split('|');
    let (key, write, filling, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole =
        end == "end" && parts.next().is_none() && filling.chars().eq(SECRET.chars().cycle().take(filling.len()));
    Some((key, write.parse().ok()?)).filter(|_| whole)
}
