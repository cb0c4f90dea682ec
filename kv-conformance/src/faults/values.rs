//! Values that say which key and which write they belong to.

/// A value that says which key and which write it belongs to, and where it ends, and that can be recognised in a message.
pub(crate) fn value(key: &str, write: u64, length: usize) -> String {
    format!("{key}|{write}|{}|end", SECRET.chars().cycle().take(length).collect::<String>())
}

/// What values are filled with: it must not come up in errors.
const SECRET: &str = "x7q";

/// Which write of which key a value is, if it is whole.
pub(crate) fn parse(value: &[u8]) -> Option<(&str, u64)> {
    let text = str::from_utf8(value).ok()?;
    let mut parts = text.split('|');
    let (key, write, filling, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole =
        end == "end" && parts.next().is_none() && filling.chars().eq(SECRET.chars().cycle().take(filling.len()));
    Some((key, write.parse().ok()?)).filter(|_| whole)
}
