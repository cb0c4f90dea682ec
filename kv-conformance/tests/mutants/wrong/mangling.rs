//! Keys, values and TTLs that are not those that were given.

use std::time::Duration;

use kv_core::{Bytes, Key, KeyBuf, Ttl};

use super::{Way, Wrong};
use crate::faults::Fault;
use crate::right::{LONGEST_KEY, own};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 64 KiB.
const CUT: usize = 1 << 16;

impl Wrong {
    pub(super) fn mangle_key(&self, key: Key<'_>) -> KeyBuf {
        let mangled = match self.fault {
            Fault::KeysLowerCased => key.to_ascii_lowercase(),
            Fault::KeysPercentDecoded => percent_decoded(&key),
            Fault::KeysCutAt64 => key.chars().take(64).collect(),
            Fault::TooLongKeysCut => key.chars().take(LONGEST_KEY).collect(),
            Fault::KeysNormalised => key.replace("/./", "/").replace("//", "/"),
            Fault::KeysResolved => resolved(&key),
            Fault::KeysHashed => {
                format!("{:02x}", key.bytes().fold(7_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte)))
            }
            _ => return key.into(),
        };
        KeyBuf::new(mangled).unwrap_or_else(|_| key.into())
    }

    pub(super) fn mangle_keys_of_many(&self, mut keys: Vec<KeyBuf>) -> Vec<KeyBuf> {
        if self.is(Fault::ManyKeysDecoded) {
            for key in &mut keys {
                *key = KeyBuf::new(percent_decoded(key)).unwrap_or_else(|_| key.clone());
            }
        }
        keys
    }

    pub(super) fn mangle_value(&self, way: Way, key: Key<'_>, value: Bytes) -> Bytes {
        let limit = self.inner.config.largest_value.and_then(|limit| usize::try_from(limit).ok());
        let cut = |value: &Bytes, at: usize| value.slice(..at.min(value.len()));
        let until = |end: &[u8]| value.windows(end.len()).position(|part| part == end);
        match (self.fault, way) {
            (Fault::ValueCutAtNul, _) | (Fault::CreateCutsAtNul, Way::Create) => {
                cut(&value, until(b"\0").unwrap_or(value.len()))
            }
            (Fault::ValueTrimmed, _) => Bytes::copy_from_slice(value.trim_ascii()),
            (Fault::ValueAsUtf8, _) => String::from_utf8_lossy(&value).into_owned().into(),
            (Fault::ValueCutAt64K, _) | (Fault::ManyValueCutAt64K, Way::Many)
                // What is too large is refused all the same.
                if limit.is_none_or(|limit| value.len() <= limit) =>
            {
                cut(&value, CUT)
            }
            (Fault::ValueEndsAtEnd, _) => cut(&value, until(b"END\r\n").unwrap_or(value.len())),
            (Fault::TextNormalised | Fault::TextCutAtEmoji | Fault::TextWithoutMark | Fault::ValueAsNumber, _) => {
                std::str::from_utf8(&value).map_or(value.clone(), |text| self.mangle_text(text).into())
            }
            (Fault::ShorterValueKeepsTail, _) => match self.raw(key) {
                Some(old) if old.value.len() > value.len() => {
                    [&value[..], old.value.get(value.len()..).unwrap_or_default()].concat().into()
                }
                _ => value,
            },
            (Fault::TooLargeCut, _) | (Fault::TooLargeCreated, Way::Create) => {
                limit.map_or(value.clone(), |limit| cut(&value, limit))
            }
            _ => value,
        }
    }

    fn mangle_text(&self, text: &str) -> String {
        let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
        match self.fault {
            Fault::TextNormalised => text.replace("e\u{301}", "\u{e9}").replace('\u{212b}', "\u{c5}"),
            Fault::TextCutAtEmoji => text.chars().take_while(|c| c.len_utf8() < 4).collect(),
            Fault::TextWithoutMark => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
            _ => number().map_or(text.to_owned(), |number| number.to_string()),
        }
    }

    pub(super) fn mangle_ttl(&self, way: Way, key: Key<'_>, ttl: Ttl) -> Ttl {
        let duration = match ttl {
            Ttl::After(duration) => duration,
            Ttl::Default => return self.mangle_default(way),
            Ttl::Forever if self.is(Fault::ForeverIsDefault) => return Ttl::Default,
            Ttl::Forever => return ttl,
        };
        let has_expired = |fault| self.is(fault) && duration > self.inner.config.longest_ttl;
        if has_expired(Fault::HugeTtlForever) || has_expired(Fault::HugeTtlInStreamForever) && way == Way::Stream {
            return Ttl::Forever;
        }
        assert!(!has_expired(Fault::HugeTtlPanics), "overflow when adding duration to instant");
        if duration > self.inner.config.longest_ttl {
            return ttl;
        }
        self.mangle_after(way, key, duration)
    }

    fn mangle_default(&self, way: Way) -> Ttl {
        match (self.fault, way) {
            (Fault::ManyIgnoresDefault, Way::Many)
            | (Fault::CreateIgnoresDefault, Way::Create)
            | (Fault::StreamIgnoresDefault, Way::Stream)
            | (Fault::TouchIgnoresDefault, Way::Touch) => Ttl::Forever,
            (Fault::DefaultUnasked, _) if self.inner.config.default_ttl.is_none() => {
                Ttl::After(Duration::from_secs(300))
            }
            _ => Ttl::Default,
        }
    }

    #[allow(clippy::match_same_arms, reason = "one arm for each kind of fault")]
    fn mangle_after(&self, way: Way, key: Key<'_>, duration: Duration) -> Ttl {
        let seconds = Duration::from_secs(duration.as_secs());
        let long = duration > 30 * DAY;
        Ttl::After(match (self.fault, way) {
            (Fault::TtlCutToSeconds, _)
            | (Fault::CreateTtlCutToSeconds, Way::Create)
            | (Fault::ManyTtlCutToSeconds, Way::Many)
            | (Fault::StreamTtlCutToSeconds, Way::Stream)
            | (Fault::TouchTtlCutToSeconds, Way::Touch) => seconds,
            (Fault::TtlCutToMilliseconds, _) => seconds + Duration::from_millis(duration.subsec_millis().into()),
            (Fault::TtlCutToForever, _) if seconds.is_zero() && !duration.is_zero() => return Ttl::Forever,
            (Fault::TtlCutToForever, _) => seconds,
            (Fault::ZeroTtlForever, Way::One | Way::Many | Way::Stream)
            | (Fault::ZeroTtlInManyForever, Way::Many)
            | (Fault::ZeroTtlInStreamForever, Way::Stream)
            | (Fault::TouchZeroForever, Way::Touch)
            | (Fault::CreateZeroStays, Way::Create)
                if duration.is_zero() =>
            {
                return Ttl::Forever;
            }
            (Fault::ThirtyDays, _) | (Fault::ThirtyDaysInStream, Way::Stream) if long => Duration::ZERO,
            (Fault::TtlCapped, _) => duration.min(365 * DAY),
            (Fault::TtlWraps, _) => Duration::new(duration.as_secs() & 0x7FFF_FFFF, duration.subsec_nanos()),
            (Fault::TtlMillisecondsWrap, _) => {
                let milliseconds =
                    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) >> 32 << 32);
                duration.saturating_sub(milliseconds)
            }
            (Fault::GoesEarly, _) => duration.saturating_sub(Duration::from_millis(1)),
            (Fault::GoesFiveEarly, _) if duration > Duration::from_millis(10) => {
                duration.saturating_sub(Duration::from_millis(5))
            }
            (Fault::ClockCutToMilliseconds, _) => {
                let now = self.inner.now();
                (cut_to_milliseconds(now) + cut_to_milliseconds(duration)).saturating_sub(now)
            }
            (Fault::GoesLate, _) if !duration.is_zero() => duration + Duration::from_secs(1),
            (Fault::ManyIgnoresTtl, Way::Many)
            | (Fault::StreamIgnoresTtl, Way::Stream)
            | (Fault::CreateIgnoresTtl, Way::Create) => return Ttl::Forever,
            (Fault::CreateTtlIgnoredWithout, Way::Create) => return Ttl::Forever,
            (Fault::TouchOnlyExtends | Fault::TouchOnlyShortens, Way::Touch) => {
                return self.mangle_touch(key, duration);
            }
            _ => duration,
        })
    }

    /// The TTL of a touch, or the old one if that is longer, or shorter.
    fn mangle_touch(&self, key: Key<'_>, duration: Duration) -> Ttl {
        let end = self.inner.lock().get(&own(&key)).map(|stored| stored.end);
        let old = match end {
            None => return Ttl::After(duration),
            Some(None) => Duration::MAX,
            Some(Some(end)) => end.saturating_sub(self.inner.now()),
        };
        let kept = if self.is(Fault::TouchOnlyExtends) { old.max(duration) } else { old.min(duration) };
        if kept == Duration::MAX { Ttl::Forever } else { Ttl::After(kept) }
    }
}

fn cut_to_milliseconds(time: Duration) -> Duration {
    Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000)
}

/// A path without its `..`, each of which takes the part before it away.
fn resolved(key: &str) -> String {
    let mut parts = Vec::new();
    for part in key.split('/') {
        match part {
            ".." if parts.last().is_some_and(|last: &&str| !last.is_empty() && *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

pub(super) fn percent_decoded(key: &str) -> String {
    let mut pieces = key.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let byte = piece.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.zip(piece.get(2..)) {
            Some((byte, rest)) => decoded.extend([&String::from(char::from(byte)), rest]),
            None => decoded.extend(["%", piece]),
        }
    }
    decoded
}
