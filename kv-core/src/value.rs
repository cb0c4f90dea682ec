//! The value of a write.

use std::borrow::Cow;
use std::fmt;

use bytes::{Bytes, BytesMut};

/// A value to be written: any bytes, borrowed or owned ([V1, V2](crate::contract#2-values)).
///
/// Callers never name this type: the methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt) take everything that converts
/// into it. An owned value is not copied; a `Bytes` that is a part of a larger buffer therefore keeps the whole buffer. A
/// backend that sends the bytes uses [`as_bytes`](Self::as_bytes). A backend that keeps them uses
/// [`into_bytes`](Self::into_bytes), which copies a borrowed value and moves an owned one.
///
/// Its `Debug` shows the length and never the content ([E3](crate::contract#9-errors)).
///
/// ```
/// use kv_core::Value;
///
/// let value = Value::from("secret");
/// assert_eq!(value.as_bytes(), b"secret");
/// assert_eq!(format!("{value:?}"), "Value(6 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Value<'a>(Content<'a>);

#[derive(Clone, PartialEq, Eq)]
enum Content<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Value<'_> {
    /// The bytes of the value.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Content::Borrowed(bytes) => bytes,
            Content::Owned(bytes) => bytes,
        }
    }

    /// The bytes of the value, owned. Copies them only if they were borrowed.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Content::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Content::Owned(bytes) => bytes,
        }
    }

    /// The length of the value, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the value is empty. An empty value is a valid value.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl AsRef<[u8]> for Value<'_> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.len())
    }
}

impl From<Bytes> for Value<'_> {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        Self(Content::Owned(bytes))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Self(Content::Borrowed(bytes))
    }
}

macro_rules! impl_from_borrowed {
    ($($(const $n:ident: usize,)? $type:ty),*) => {$(
        impl<'a, $(const $n: usize)?> From<&'a $type> for Value<'a> {
            #[inline]
            fn from(value: &'a $type) -> Self {
                Self(Content::Borrowed(value.as_ref()))
            }
        }
    )*};
}
impl_from_borrowed!(str, String, Vec<u8>, const N: usize, [u8; N]);

/// Shares the `Bytes` without copying it.
impl From<&Bytes> for Value<'_> {
    #[inline]
    fn from(bytes: &Bytes) -> Self {
        bytes.clone().into()
    }
}

macro_rules! impl_from_owned {
    ($($type:ty),*) => {$(
        impl From<$type> for Value<'_> {
            #[inline]
            fn from(value: $type) -> Self {
                Self(Content::Owned(Bytes::from(value)))
            }
        }
    )*};
}
impl_from_owned!(Box<[u8]>, BytesMut);

/// Not copied, unless most of its capacity is unused: a store that keeps the value would keep that memory, too.
impl From<Vec<u8>> for Value<'_> {
    fn from(mut value: Vec<u8>) -> Self {
        if value.capacity() / 2 > value.len() {
            value.shrink_to_fit();
        }
        Self(Content::Owned(value.into()))
    }
}

/// As from a `Vec<u8>`.
impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        value.into_bytes().into()
    }
}

impl<'a> From<Cow<'a, [u8]>> for Value<'a> {
    #[inline]
    fn from(value: Cow<'a, [u8]>) -> Self {
        match value {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        }
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    #[inline]
    fn from(value: Cow<'a, str>) -> Self {
        match value {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_value_is_not_copied() {
        let vec = vec![7_u8; 100];
        let at = vec.as_ptr();
        assert_eq!(Value::from(vec).into_bytes().as_ptr(), at);

        let bytes = Bytes::from(vec![7_u8; 100]);
        assert_eq!(Value::from(&bytes).into_bytes().as_ptr(), bytes.as_ptr());
        assert_eq!(Value::from(bytes.clone()).as_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn spare_capacity_is_given_back() {
        let mut vec = Vec::with_capacity(1 << 20);
        vec.push(7);
        let mut vec = Vec::from(Value::from(vec).into_bytes());
        assert_eq!(vec, [7]);
        vec.reserve_exact(0);
        assert!(vec.capacity() < 1 << 10, "{}", vec.capacity());
    }

    #[test]
    fn texts_and_bytes_convert_into_a_value() {
        let string = String::from("abc");
        let vec = b"abc".to_vec();
        let values: [Value<'_>; 10] = [
            "abc".into(),
            (&string).into(),
            string.clone().into(),
            b"abc".into(),
            b"abc"[..].into(),
            (&vec).into(),
            vec.clone().into(),
            vec.clone().into_boxed_slice().into(),
            Cow::Borrowed("abc").into(),
            BytesMut::from("abc").into(),
        ];
        for value in values {
            assert_eq!(value.as_bytes(), b"abc");
        }
    }
}
