//! Fixed-width integers for the bound on a sum of ring products. Used once per product, never on secrets.

/// 768 bits, least significant limb first: room for the largest prime product (620 bits) and for any sum of products.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wide([u64; 12]);

impl Wide {
    pub(crate) const ZERO: Self = Self([0; 12]);

    pub(crate) fn one() -> Self {
        let mut limbs = [0; 12];
        limbs[0] = 1;
        Self(limbs)
    }

    pub(crate) fn from_limbs(limbs: &[u64; 4]) -> Self {
        let mut wide = [0; 12];
        wide[..4].copy_from_slice(limbs);
        Self(wide)
    }

    /// `None` on overflow.
    pub(crate) fn mul_word(&self, word: u64) -> Option<Self> {
        let mut carry = 0;
        let limbs = self.0.map(|limb| {
            let (low, high) = limb.carrying_mul(word, carry);
            carry = high;
            low
        });
        (carry == 0).then_some(Self(limbs))
    }

    /// `None` on overflow.
    pub(crate) fn mul_limbs(&self, other: &[u64; 4]) -> Option<Self> {
        let mut total = Self::ZERO;
        for &word in other.iter().rev() {
            if total.0[11] != 0 {
                return None;
            }
            total.0.rotate_right(1);
            total = total.add(&self.mul_word(word)?)?;
        }
        Some(total)
    }

    /// `None` on overflow.
    pub(crate) fn add(&self, other: &Self) -> Option<Self> {
        let mut carry = false;
        let limbs = core::array::from_fn(|i| {
            let (limb, next) = self.0[i].carrying_add(other.0[i], carry);
            carry = next;
            limb
        });
        (!carry).then_some(Self(limbs))
    }

    pub(crate) fn at_most(&self, other: &Self) -> bool {
        self.0.iter().rev().le(other.0.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_overflow() {
        let a = Wide::from_limbs(&[u64::MAX, 3, 0, 7]);
        let product = a.mul_limbs(&[5, 0, 1, 0]).unwrap();
        let expected = a
            .mul_word(5)
            .unwrap()
            .add(
                &a.mul_word(1 << 63)
                    .unwrap()
                    .mul_limbs(&[0, 2, 0, 0])
                    .unwrap(),
            )
            .unwrap();
        assert!(product == expected);
        let mut big = Wide::one();
        for _ in 0..11 {
            big = big.mul_limbs(&[0, 1, 0, 0]).unwrap();
        }
        assert!(big.mul_limbs(&[0, 1, 0, 0]).is_none());
        assert!(a.at_most(&big) && !big.at_most(&a) && a.at_most(&a));
        assert!(
            big.mul_word(u64::MAX)
                .unwrap()
                .add(&big.mul_word(2).unwrap())
                .is_none()
        );
    }
}
