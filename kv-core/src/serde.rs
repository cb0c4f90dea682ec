//! Keys in documents and settings, by the crate serde.

use std::fmt;

use ::serde::de::{Deserialize, Deserializer, Error, Visitor};
use ::serde::ser::{Serialize, Serializer};

use crate::KeyBuf;

impl Serialize for KeyBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = KeyBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key: 1 to 250 visible ASCII characters")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<KeyBuf, E> {
        KeyBuf::new(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{KeyBuf, Ttl};

    #[test]
    fn a_key_is_a_string() {
        let key = KeyBuf::new("session:42").unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"session:42\"");
        for document in ["\"session:42\"", "\"session\\u003a42\""] {
            assert_eq!(serde_json::from_str::<KeyBuf>(document).unwrap(), key);
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_an_error_that_says_why() {
        let long = format!("\"{}\"", "k".repeat(251));
        for (document, says) in
            [("\"\"", "empty"), ("\"a b\"", "0x20 at index 1"), (&*long, "251"), ("7", "expected a key")]
        {
            let error = serde_json::from_str::<KeyBuf>(document).unwrap_err().to_string();
            assert!(error.contains(says), "{document}: {error}");
        }
    }

    #[test]
    fn a_ttl_has_the_names_of_its_variants() {
        let after = Ttl::After(Duration::from_millis(1500));
        for (ttl, document) in [
            (Ttl::Default, r#""default""#),
            (Ttl::Forever, r#""forever""#),
            (after, r#"{"after":{"secs":1,"nanos":500000000}}"#),
        ] {
            assert_eq!(serde_json::to_string(&ttl).unwrap(), document);
            assert_eq!(serde_json::from_str::<Ttl>(document).unwrap(), ttl);
        }
    }
}
