//! The slot of a key.

use crc::{CRC_16_XMODEM, Crc};

/// How many slots there are.
pub(super) const SLOTS: u16 = 16384;

/// The slot of a key: a checksum of it, or of its hash tag, the first part in braces that is not empty.
pub(crate) fn slot(namespace: &str, key: &str) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let whole = [namespace.as_bytes(), key.as_bytes()].concat();
    let tag = || {
        let begin = whole.iter().position(|&byte| byte == b'{')? + 1;
        let length = whole.get(begin..)?.iter().position(|&byte| byte == b'}').filter(|&length| length > 0)?;
        whole.get(begin..begin + length)
    };
    CRC.checksum(tag().unwrap_or(&whole)) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The first two are in the specification; the numbers of the others are what `CLUSTER KEYSLOT` says.
        assert_eq!(slot("", "123456789"), 0x31C3);
        assert_eq!(slot("", "{user1000}.following"), slot("", "{user1000}.followers"));
        assert_eq!(slot("", "foo"), 12182);
        assert_eq!(slot("", "bar"), 5061);
        assert_eq!(slot("fo", "o"), 12182);
        assert_eq!(slot("ns:", "{foo}"), 12182);
        assert_ne!(slot("", "foo{}{bar}"), slot("", "bar"));
        assert_eq!(slot("", "foo{{bar}}zap"), slot("", "{bar"));
        assert_eq!(slot("", "foo{bar}{zap}"), slot("", "bar"));
    }
}
