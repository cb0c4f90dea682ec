//! Values that name their key and write, and replies that a proxy changes.

use super::*;

/// A value that contains its key, the number of its write, and a mark at its end.
pub(super) fn value(key: &str, write: u64, length: usize) -> String {
    format!("{key}|{write}|{}|end", "x".repeat(length))
}

/// The key and the number of the write of a value.
#[track_caller]
pub(super) fn parse(value: &[u8]) -> (String, u64) {
    let text = str::from_utf8(value).unwrap();
    let parts: Vec<_> = text.split('|').collect();
    let is_whole = parts.len() == 4 && parts[3] == "end" && parts[2].bytes().all(|byte| byte == b'x');
    assert!(is_whole, "half a value: {text}");
    (parts[0].to_owned(), parts[1].parse().unwrap())
}

/// Where in a reply its tag is: the number that says to which command the reply belongs.
pub(super) fn tag_in(piece: &[u8]) -> Range<usize> {
    let begin = piece.windows(2).position(|two| two == b" O").expect("a reply with a tag") + 2;
    let digits = piece[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    begin..begin + digits
}

pub(super) fn tag_of(piece: &[u8]) -> u64 {
    str::from_utf8(&piece[tag_in(piece)]).unwrap().parse().unwrap()
}

/// Changes the next reply.
pub(super) fn edit(change: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Behaviour {
    Behaviour::Edit(Box::new(change))
}

/// Replaces the next reply. In the text, `#` stands for the tag that was asked for, and `+` for the next one.
pub(super) fn answer(text: impl Into<String>) -> Behaviour {
    let text = text.into();
    edit(move |piece| {
        let tag = tag_of(piece);
        *piece = text.replace('#', &tag.to_string()).replace('+', &(tag + 1).to_string()).into_bytes();
    })
}

/// Appends a text to the next reply, with `#` and `+` as in [`answer`].
pub(super) fn add(text: impl Into<String>) -> Behaviour {
    let text = text.into();
    edit(move |piece| {
        let tag = tag_of(piece);
        piece.extend(text.replace('#', &tag.to_string()).replace('+', &(tag + 1).to_string()).into_bytes());
    })
}

/// Changes the reply that comes after this many others.
pub(super) fn edit_after(proxy: &Arc<Proxy>, others: usize, change: Edit) {
    if others == 0 {
        return proxy.set(Behaviour::Edit(change));
    }
    let next = Arc::clone(proxy);
    proxy.set(edit(move |_| edit_after(&next, others - 1, change)));
}

/// The tag that the next command of the store will have.
pub(super) fn next_tag(store: &MemcacheStore, proxy: &Proxy) -> u64 {
    let seen = Arc::new(Mutex::new(0));
    let see = Arc::clone(&seen);
    proxy.set(edit(move |piece| *see.lock().unwrap() = tag_of(piece)));
    store.get("k").unwrap();
    let tag = *seen.lock().unwrap();
    assert!(tag > 0);
    tag + 1
}
