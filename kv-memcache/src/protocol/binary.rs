//! The only question that is asked in the binary protocol: whether a server speaks only that protocol.

/// The length of the header of a request or a reply, in bytes.
pub(crate) const HEADER: usize = 24;

/// `stat settings`.
pub(crate) const QUESTION: &[u8] = b"\x80\x10\0\x08\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0settings";

/// The most bytes of a setting and its name.
const LONGEST: u32 = 16 * 1024;

/// The status of a reply to a client that has not authenticated itself, with the option `-S`.
const NOT_AUTHENTICATED: [u8; 2] = [0, 0x20];

/// What the header of a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The server speaks only the binary protocol: clients cannot authenticate themselves in the other one.
    WantsAuthentication,
    /// A setting: the lengths of its name, and of name and value.
    Setting { name: usize, both: usize },
    /// All settings have come, or this is not a reply.
    End,
}

pub(crate) fn read_header(header: [u8; HEADER]) -> Header {
    let [0x81, 0x10, name_high, name_low, 0, _, status_high, status_low, both @ .., _, _, _, _, _, _, _, _, _, _, _, _] =
        header
    else {
        return Header::End;
    };
    let (name, both) = (u16::from_be_bytes([name_high, name_low]), u32::from_be_bytes(both));
    match [status_high, status_low] {
        NOT_AUTHENTICATED => Header::WantsAuthentication,
        [0, 0] if name > 0 && u32::from(name) <= both && both <= LONGEST => {
            Header::Setting { name: name.into(), both: both as usize }
        }
        _ => Header::End,
    }
}

/// Whether a setting says that the server speaks only the binary protocol; `None` for other settings.
pub(crate) fn speaks_only_binary(name: &[u8], value: &[u8]) -> Option<bool> {
    (name == b"binding_protocol").then(|| value == b"binary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_how_much_follows() {
        let header = |begin: &[u8]| {
            let mut header = [0; HEADER];
            header[..begin.len()].copy_from_slice(begin);
            read_header(header)
        };
        assert_eq!(header(&[0x81, 0x10, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16]), Header::Setting { name: 8, both: 16 });
        assert_eq!(header(&[0x81, 0x10, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 10]), Header::WantsAuthentication);
        for end in [
            &[0x81, 0x10][..],
            &[0x81, 0x10, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0x81, 0x10, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0],
            &[0x80, 0x10, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16],
            b"CLIENT_ERROR",
        ] {
            assert_eq!(header(end), Header::End, "{end:?}");
        }
        assert_eq!(QUESTION.len(), HEADER + "settings".len());
    }
}
