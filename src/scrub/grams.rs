//! Which four bytes in a row any pattern has: a quick answer that is wrong now and then, but never when it says no.

/// In bytes.
pub(super) const GRAM: usize = 4;

/// So many bits for each gram: one answer in so many is a wrong yes.
const BITS: usize = 32;

/// A Bloom filter with one hash.
pub(super) struct Grams {
    bits: Vec<u64>,
    shift: u32,
    /// A pattern is shorter than a gram: all that can be said is yes.
    unknown: bool,
}

impl Grams {
    /// Of all patterns.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let count: usize = patterns.clone().map(<[u8]>::len).sum();
        // At least one word, at most what a hash of 32 bits can tell apart.
        let size = (count * BITS).next_power_of_two().ilog2().clamp(6, 32);
        let mut grams = Self { bits: vec![0; 1 << (size - 6)], shift: 32 - size, unknown: false };
        for pattern in patterns {
            grams.unknown |= pattern.len() < GRAM;
            for gram in pattern.windows(GRAM) {
                let (word, bit) = grams.place(gram);
                grams.bits[word] |= bit;
            }
        }
        grams
    }

    /// Whether any of the grams of this text is in a pattern, perhaps.
    pub(super) fn any(&self, text: &[u8]) -> bool {
        self.unknown
            || text.windows(GRAM).any(|gram| {
                let (word, bit) = self.place(gram);
                self.bits[word] & bit != 0
            })
    }

    fn place(&self, gram: &[u8]) -> (usize, u64) {
        let number = gram.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        // Knuth's multiplicative hash: the upper bits are the good ones.
        let hash = number.wrapping_mul(0x9E37_79B1) >> self.shift;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_pattern_is_never_denied_and_the_rest_mostly_is() {
        let patterns: [&[u8]; 2] = [b"abcdefghij", b"0123456789"];
        let grams = Grams::new(patterns.into_iter());
        for pattern in patterns {
            assert!(pattern.windows(4).all(|gram| grams.any(gram)));
            assert!(grams.any(&[b"xyz", &pattern[3..7]].concat()));
        }
        let wrong = (0..10_000_u32).filter(|number| grams.any(&number.to_be_bytes())).count();
        assert!(wrong < 1000, "{wrong}");
        assert!(!grams.any(b"abc"));
    }

    #[test]
    fn of_a_short_pattern_nothing_is_known() {
        assert!(Grams::new([&b"abc"[..]].into_iter()).any(b"wxyz"));
        assert!(!Grams::new([&[][..]; 0].into_iter()).any(b"wxyz"));
    }
}
