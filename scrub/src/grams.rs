//! A Bloom filter over grams (short byte sequences): says quickly whether any pattern may contain one. Its yes may be wrong, its no
//! never.

/// How many bits the filter has for each gram. Two are set for each, both in one word: about one answer in 200 is a wrong yes.
const BITS: usize = 32;

/// A blocked Bloom filter of grams of `N` bytes; `N` is at most 8.
pub(super) struct Grams<const N: usize> {
    bits: Vec<u64>,
    shift: u32,
    /// Some pattern is shorter than a gram, so the filter cannot rule anything out and always says yes.
    unknown: bool,
}

impl<const N: usize> Grams<N> {
    /// A filter that holds the grams of all these patterns.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        Self::with(BITS, patterns)
    }

    /// A filter with so many bits for each gram.
    pub(super) fn with<'a>(each: usize, patterns: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let count: usize = patterns.clone().map(|pattern| pattern.len().saturating_sub(N - 1)).sum();
        // At least two words; at most as many as the upper bits of a hash can address.
        let words = (count * each / 64).next_power_of_two().ilog2().clamp(1, 26);
        let mut grams = Self { bits: vec![0; 1 << words], shift: 64 - words, unknown: false };
        for pattern in patterns {
            grams.unknown |= pattern.len() < N;
            for gram in pattern.windows(N).filter_map(|gram| gram.first_chunk()) {
                let (word, bits) = grams.place(gram);
                grams.bits[word] |= bits;
            }
        }
        grams
    }

    /// Whether this gram may be in a pattern.
    pub(super) fn has(&self, gram: &[u8; N]) -> bool {
        let (word, bits) = self.place(gram);
        self.bits[word] & bits == bits || self.unknown
    }

    /// Whether any gram of this text may be in a pattern.
    pub(super) fn any(&self, text: &[u8]) -> bool {
        self.unknown || text.windows(N).filter_map(|gram| gram.first_chunk()).any(|gram| self.has(gram))
    }

    fn place(&self, gram: &[u8; N]) -> (usize, u64) {
        let mut number = [0; 8];
        number[..N].copy_from_slice(gram);
        // Fibonacci hashing: the upper bits of the product are the best mixed ones.
        let hash = u64::from_le_bytes(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The hash bits that choose the two bits overlap with those that choose the word only in a huge filter, for more secrets
        // than any job has.
        let bits = 1 << (hash >> 32 & 63) | 1 << (hash >> 26 & 63);
        (usize::try_from(hash >> self.shift).unwrap_or_default(), bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what_is_in_a_pattern_is_never_denied_and_the_rest_mostly_is<const N: usize>() {
        let patterns: [&[u8]; 2] = [b"abcdefghij", b"0123456789"];
        let grams = Grams::<N>::new(patterns.into_iter());
        for pattern in patterns {
            assert!(pattern.windows(N).all(|gram| grams.any(gram)));
            assert!(grams.any(&[b"xyz", &pattern[1..=N]].concat()));
        }
        let text = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let wrong = (0..10_000).filter(|number| grams.any(&text(*number)[..N])).count();
        assert!(wrong < 200, "{wrong}");
        assert!(!grams.any(&b"abcdefg"[..N - 1]));
    }

    #[test]
    fn grams_of_four() {
        what_is_in_a_pattern_is_never_denied_and_the_rest_mostly_is::<4>();
    }

    #[test]
    fn grams_of_eight() {
        what_is_in_a_pattern_is_never_denied_and_the_rest_mostly_is::<8>();
    }

    #[test]
    fn of_a_short_pattern_nothing_is_known() {
        assert!(Grams::<4>::new([&b"abc"[..]].into_iter()).any(b"wxyz"));
        assert!(!Grams::<4>::new([&[][..]; 0].into_iter()).any(b"wxyz"));
    }
}
