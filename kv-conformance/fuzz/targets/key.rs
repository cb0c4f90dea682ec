//! Any bytes as a key, a prefix and a delimiter: whether they are taken, and what is said of those that are not, is what
//! the contract says (K1, K2, K4).

#![no_main]

use std::borrow::Cow;
use std::str;

use kv_core::{AsKey, AsPrefix, Error, InvalidKey, Key, KeyBuf, KeyFault, Prefix};
use libfuzzer_sys::fuzz_target;

/// All that keys are made of.
const ALPHABET: &str =
    "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

/// The first byte that is not a visible ASCII character, by the numbers in the contract.
fn foreign_byte(text: &[u8]) -> Option<KeyFault> {
    let index = text.iter().position(|byte| !(0x21..=0x7E).contains(byte))?;
    Some(KeyFault::Byte { byte: text[index], index })
}

/// K1, as it is written.
fn fault_as_key(text: &[u8]) -> Option<KeyFault> {
    match text.len() {
        0 => Some(KeyFault::Empty),
        1..=250 => foreign_byte(text),
        len => Some(KeyFault::TooLong { len }),
    }
}

/// That what became of a text is what should have become of it.
fn judge<T: AsRef<[u8]>>(what: &str, text: &[u8], made: Result<T, InvalidKey>, expected: Option<KeyFault>) {
    match (made, expected) {
        (Ok(made), None) => assert_eq!(made.as_ref(), text),
        (Err(error), Some(fault)) => {
            assert_eq!(error.fault(), fault);
            let shown = Error::from(error.clone()).to_string();
            assert!(shown.starts_with(&format!("invalid {what} \"")), "{shown}");
            // A log has it on one line, and is not to be flooded.
            assert!(!shown.contains(char::is_control) && shown.len() < 600, "{shown}");
            if let KeyFault::Byte { byte, index } = fault {
                assert!(shown.contains(&format!("byte 0x{byte:02X} at index {index} ")), "{shown}");
            }
            // What is shown of it is how it begins, where it needs no escape.
            let plain = text.iter().take(60).take_while(|byte| byte.is_ascii_alphanumeric()).count();
            assert!(error.excerpt().as_bytes().starts_with(&text[..plain]), "{shown}");
        }
        (made, expected) => panic!("{text:?} as a {what}: {:?}, and not {expected:?}", made.map(|_| "taken")),
    }
}

fuzz_target!(|text: &[u8]| {
    let (as_key, as_prefix) = (fault_as_key(text), foreign_byte(text));
    judge("key", text, Key::try_from(text), as_key);
    judge("key", text, KeyBuf::try_from(text), as_key);
    judge("key", text, KeyBuf::try_from(text.to_vec()), as_key);
    let Ok(text) = str::from_utf8(text) else { return };
    let bytes = text.as_bytes();
    judge("key", bytes, Key::new(text), as_key);
    judge("key", bytes, KeyBuf::new(text), as_key);
    judge("key", bytes, text.parse::<KeyBuf>(), as_key);
    judge("key", bytes, AsKey::as_key(text), as_key);
    judge("key", bytes, Cow::Borrowed(text).as_key(), as_key);
    judge("prefix", bytes, Prefix::new(text), as_prefix);
    judge("prefix", bytes, AsPrefix::as_prefix(text), as_prefix);
    judge("prefix", bytes, Prefix::try_from(text), as_prefix);

    if let Ok(key) = Key::new(text) {
        // Nothing is normalised (K3): what it is compared and hashed by is the text.
        assert_eq!(key.as_str(), text);
        assert_eq!(key.to_key_buf(), key);
        assert_eq!(key.to_string(), text);
        assert_eq!(Prefix::from(key).as_str(), text);
    }
    // What `key!` is at compile time, of a literal that is not the input's: it has to live for ever.
    if let [begin, length, ..] = *bytes {
        let literal = ALPHABET.get(usize::from(begin)..).and_then(|rest| rest.get(..usize::from(length)));
        if let Some(literal) = literal.filter(|literal| !literal.is_empty()) {
            assert_eq!(Key::from_static(literal).as_str(), literal);
            assert_eq!(Prefix::from_static(literal).as_str(), literal);
        }
    }
});
