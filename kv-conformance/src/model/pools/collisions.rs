//! Keys that common hashes take for each other.
//!
//! A store that keeps a hash in place of the key, or finds an entry by its hash alone, mixes them up.

/// For each hash pairs of keys that have the same one.
pub(super) const COLLISIONS: &[(&str, &[[&str; 2]])] = &[
    ("CRC-32", &[["plumless", "buckeroo"], ["dilocosafe", "gunefisuhu"]]),
    ("CRC-32C", &[["bifabafubi", "dunotiheli"], ["rusuvifune", "kipisikusi"]]),
    ("CRC-16 (XMODEM)", &[["rovigoremo", "kocusugude"], ["napimohuci", "muvuruloke"]]),
    ("Adler-32", &[["vifahikeva", "fazevicila"], ["teridibivo", "hanupohipe"]]),
    ("FNV-1, 32 bits", &[["creamwove", "quists"], ["zunutenovi", "tovibahofi"]]),
    ("FNV-1a, 32 bits", &[["costarring", "liquid"], ["rovasedaho", "moremakila"]]),
    ("FNV-1a, 64 bits", &[["8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"]]),
    ("Java's String.hashCode", &[["Aa", "BB"], ["hegupehogu", "nodogegobe"]]),
    ("djb2", &[["cukalaleke", "vubukezihu"], ["hemifuziti", "todubamonu"]]),
    ("djb2a", &[["vocotucipa", "cafahadigi"], ["cocuvakeha", "kelupihuvo"]]),
    ("sdbm", &[["bobivugodu", "ravasarete"], ["zekenocusa", "mipimaciri"]]),
    ("Jenkins's one at a time", &[["girubilifi", "sokafobovi"], ["fatilinalo", "zugisenepa"]]),
    ("MurmurHash3, 32 bits", &[["fesutidepo", "vozisomehe"], ["hogibalatu", "losidekaca"]]),
    ("xxHash, 32 bits", &[["kepiteduta", "binuliduse"], ["rodipetehe", "bisanezuhe"]]),
    ("the sum of the bytes, and their exclusive or", &[["listen", "silent"], ["stop", "pots"]]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(hash: &str) -> &'static [[&'static str; 2]] {
        COLLISIONS.iter().find(|(name, _)| *name == hash).unwrap().1
    }

    fn collide(hash: &str, of: impl Fn(&[u8]) -> u64) {
        for [one, other] in pairs_of(hash) {
            assert_ne!(one, other);
            assert_eq!(of(one.as_bytes()), of(other.as_bytes()), "{hash}: {one}, {other}");
        }
    }

    /// A hash that takes one byte after the other.
    fn fold(begin: u64, step: impl Fn(u64, u64) -> u64) -> impl Fn(&[u8]) -> u64 {
        move |key| key.iter().fold(begin, |hash, &byte| step(hash, byte.into()))
    }

    fn fold_32(begin: u32, step: impl Fn(u32, u32) -> u32) -> impl Fn(&[u8]) -> u64 {
        move |key| key.iter().fold(begin, |hash, &byte| step(hash, byte.into())).into()
    }

    fn crc_32(polynomial: u32) -> impl Fn(&[u8]) -> u64 {
        fold_32(u32::MAX, move |crc, byte| (0..8).fold(crc ^ byte, |crc, _| (crc >> 1) ^ (polynomial * (crc & 1))))
    }

    /// Jenkins's hash that takes one byte at a time.
    fn one_at_a_time(key: &[u8]) -> u64 {
        let mix = |hash: u32, byte: &u8| {
            let hash = hash.wrapping_add((*byte).into());
            let hash = hash.wrapping_add(hash << 10);
            hash ^ (hash >> 6)
        };
        let hash = key.iter().fold(0, mix);
        let hash = hash.wrapping_add(hash << 3);
        let hash = hash ^ (hash >> 11);
        hash.wrapping_add(hash << 15).into()
    }

    /// `MurmurHash3` of 32 bits, with the seed 0.
    fn murmur_3(key: &[u8]) -> u64 {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        let scramble = |word: u32| word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
        let (words, rest) = key.as_chunks::<4>();
        let mix = |hash: u32, bytes: &[u8; 4]| {
            (hash ^ scramble(word(bytes))).rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64)
        };
        let hash = words.iter().fold(0, mix) ^ scramble(word(rest)) ^ u32::try_from(key.len()).unwrap();
        let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
        let hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
        (hash ^ (hash >> 16)).into()
    }

    /// `XXH32` of fewer than 16 bytes, with the seed 0.
    fn xx_32(key: &[u8]) -> u64 {
        const PRIMES: [u32; 5] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F, 0x1656_67B1];
        let (words, rest) = key.as_chunks::<4>();
        let hash = PRIMES[4].wrapping_add(u32::try_from(key.len()).unwrap());
        let hash = words.iter().fold(hash, |hash, &word| {
            let hash = hash.wrapping_add(u32::from_le_bytes(word).wrapping_mul(PRIMES[2]));
            hash.rotate_left(17).wrapping_mul(PRIMES[3])
        });
        let hash = rest.iter().fold(hash, |hash, &byte| {
            let hash = hash.wrapping_add(u32::from(byte).wrapping_mul(PRIMES[4]));
            hash.rotate_left(11).wrapping_mul(PRIMES[0])
        });
        let hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
        let hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
        (hash ^ (hash >> 16)).into()
    }

    #[test]
    fn the_pairs_collide() {
        collide("Jenkins's one at a time", one_at_a_time);
        collide("MurmurHash3, 32 bits", murmur_3);
        collide("xxHash, 32 bits", xx_32);
        collide("CRC-32", crc_32(0xEDB8_8320));
        collide("CRC-32C", crc_32(0x82F6_3B78));
        collide("FNV-1, 32 bits", fold_32(0x811C_9DC5, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ byte));
        collide("FNV-1a, 32 bits", fold_32(0x811C_9DC5, |hash, byte| (hash ^ byte).wrapping_mul(0x0100_0193)));
        collide(
            "FNV-1a, 64 bits",
            fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ byte).wrapping_mul(0x0100_0000_01B3)),
        );
        collide("Java's String.hashCode", fold_32(0, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte)));
        collide("djb2", fold_32(5381, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte)));
        collide("djb2a", fold_32(5381, |hash, byte| hash.wrapping_mul(33) ^ byte));
        collide("sdbm", fold_32(0, |hash, byte| hash.wrapping_mul(65_599).wrapping_add(byte)));
        collide("the sum of the bytes, and their exclusive or", fold(0, |sum, byte| sum + byte));
        collide("the sum of the bytes, and their exclusive or", fold(0, |all, byte| all ^ byte));
        collide(
            "Adler-32",
            fold_32(1, |hash, byte| {
                let sum = (hash & 0xFFFF) + byte;
                (sum % 65_521) | (((hash >> 16) + sum) % 65_521) << 16
            }),
        );
        collide(
            "CRC-16 (XMODEM)",
            fold_32(0, |crc, byte| {
                (0..8).fold(crc ^ (byte << 8), |crc, _| ((crc << 1) ^ (0x1021 * (crc >> 15))) & 0xFFFF)
            }),
        );
    }
}
