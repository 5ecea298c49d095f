//! One seed for everything random, folded by purpose and id.
//!
//! A generator that is shared makes every draw depend on how many came before it. Here each draw has
//! a name (`seed / purpose / round / prompt id / sample`), so neither the order of the rows, nor the
//! batch size, nor a resumed run changes what is drawn.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A place in the tree of draws. Cheap to copy; folding makes a child, the parent stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// What kind of part is folded in: keeps the text "1" and the number 1 apart.
const TEXT: u8 = b't';
const NUMBER: u8 = b'n';

impl Key {
    /// The root of a run, from the one seed of its recipe.
    pub fn new(seed: u64) -> Self {
        Self([0; 32]).child(NUMBER, &seed.to_le_bytes())
    }

    /// The child for a purpose (`"pairs"`) or for the id of a row.
    pub fn fold(&self, part: &str) -> Self {
        self.child(TEXT, part.as_bytes())
    }

    /// The child for a number: a round, a sample, a step.
    pub fn fold_index(&self, index: u64) -> Self {
        self.child(NUMBER, &index.to_le_bytes())
    }

    /// A generator of its own for this place.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.0)
    }

    /// A 64-bit seed, for a generator that takes nothing longer.
    pub fn seed(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn child(&self, kind: u8, part: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[kind]);
        hasher.update(part);
        Self(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use std::collections::HashSet;

    #[test]
    fn the_same_name_draws_the_same_numbers() {
        let draw = || {
            let mut rng = Key::new(7).fold("pairs").fold("row-3").rng();
            [rng.random::<u64>(), rng.random::<u64>()]
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn every_other_name_draws_others() {
        let root = Key::new(7);
        let keys = [
            root,
            Key::new(8),
            root.fold("1"),
            root.fold_index(1),
            root.fold("a").fold("b"),
            root.fold("b").fold("a"),
            root.fold("ab"),
            root.fold("").fold("ab"),
        ];
        let seeds: HashSet<u64> = keys.iter().map(Key::seed).collect();
        assert_eq!(seeds.len(), keys.len());
    }

    /// Runs that were written with an older duel must go on with the same samples.
    #[test]
    fn the_derivation_is_frozen() {
        let key = Key::new(0).fold("pairs").fold_index(3);
        assert_eq!(key.seed(), 6_734_682_789_155_096_781);
        assert_eq!(key.rng().random::<u64>(), 1_931_343_759_240_919_502);
    }
}
