//! The discrete Gaussian of width 8 for the key `s`, from a cumulative table of 128-bit entries, in constant time.

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::secret::SecretVec;

/// sigma of the key coordinates.
pub const KEY_SIGMA: u32 = 8;

/// The largest magnitude that the table can give.
pub const KEY_MAX_ABS: u64 = 106;

/// `floor(2^128 P(|s| <= m))` for `m = 0, 1, ..`, ending where the probability left is below 2^-128. The statistical
/// distance from `D(Z, 8)` is below `106 * 2^-128`. The test computes every entry again with big integers.
const CUMULATIVE: [u128; 106] = [
    0x0cc4_2299_ea1b_2846_87e5_9e28_05d5_c717,
    0x2619_8a31_e708_7b94_5b31_b96b_ef25_a05e,
    0x3ed8_b5d2_ebc7_4806_8daf_ccb5_d40b_70b1,
    0x56a5_2f21_ad2a_4858_b95e_b158_6188_4a41,
    0x6d2d_6c23_cdb0_f482_04e8_0beb_74b6_74c7,
    0x822e_0300_bd88_bcbf_c92a_a154_f211_e02f,
    0x9573_d8f0_6abc_d14d_7a84_d169_92a9_aa44,
    0xa6dd_324e_9aaf_56fb_37d6_051e_e678_5f4e,
    0xb659_a515_b43a_f2b3_999c_7e46_9f33_d346,
    0xc3e9_0825_cd5e_ad68_601b_2547_9222_2bee,
    0xcf99_8def_e657_113c_171b_edb7_bac2_efd5,
    0xd985_4680_8e29_d7d6_c469_e0e9_f81e_50a9,
    0xe1cf_4aab_f739_1a0c_3ff3_bdfb_9c9e_6372,
    0xe8a0_d08e_5065_9d90_8783_9691_5885_b063,
    0xee26_61dc_002b_2881_ce4e_c232_d690_78ad,
    0xf28d_6069_45e1_dfa9_7723_2002_5899_17ec,
    0xf601_f6f0_22e9_3a37_4372_1b93_932c_ce73,
    0xf8ad_856e_f1d0_9c3a_a44d_c3fa_a16f_9ae5,
    0xfab5_8b2e_9988_d070_d345_788d_ef47_7a14,
    0xfc3b_05c2_c1bd_d130_bbc5_275a_8a3d_7ca6,
    0xfd5a_34c8_19b2_f693_0516_f682_2b2b_f354,
    0xfe2a_adde_0e9c_88cf_95a8_9b34_043b_8bf3,
    0xfebf_ab08_71b6_97ef_03ff_4ace_05d1_4cf9,
    0xff28_7eb1_d119_d0c5_a689_3ccb_c726_c849,
    0xff71_1b36_d077_aae8_0756_8f0b_44d5_dfb4,
    0xffa2_9f7b_ab6d_7553_e5d9_d458_a23c_ece7,
    0xffc3_dded_6e81_c594_6d0a_2c23_46d5_4d6e,
    0xffd9_d6fc_db6a_40cb_c5b6_5074_ec24_5edf,
    0xffe8_2348_c40e_33db_5d6b_80a4_81b2_f669,
    0xfff1_4c28_8123_bbb2_24fe_99ac_26ec_d4cc,
    0xfff7_130d_3c4e_6596_51ab_a243_79ec_e1b5,
    0xfffa_a951_4aa8_a6dd_6f57_e767_3dc8_0074,
    0xfffc_daa4_6700_bd73_fc9c_b37c_87c7_31ea,
    0xfffe_2c74_0ced_1a5b_c5e2_81ff_5d2f_ca47,
    0xfffe_f499_8bdc_60c0_de69_8304_d2d2_5abb,
    0xffff_6958_1cee_7c64_74d8_67e9_19c8_fa3f,
    0xffff_ac62_863b_7093_88a2_c579_eb2c_e409,
    0xffff_d249_459f_1834_5321_b61e_7f81_a09b,
    0xffff_e761_aa0e_d340_bf15_34db_f881_b0b6,
    0xffff_f2f0_d5ca_70c6_68db_9d56_f2e8_5e8f,
    0xffff_f92d_3023_a305_b8a4_af7b_cced_7810,
    0xffff_fc7d_0132_d284_d429_2980_0966_0ba9,
    0xffff_fe38_4bbe_b4eb_a278_af96_2187_c71b,
    0xffff_ff1c_7b8d_b7f1_a95f_3825_a39b_7dde,
    0xffff_ff90_1f3e_9c85_cf34_12d8_5c51_90f9,
    0xffff_ffc9_d112_f309_aea5_f052_2ac2_2174,
    0xffff_ffe6_27c5_3f5d_0a9b_5711_ca88_4ed7,
    0xffff_fff3_dbe9_98ab_6c89_aeb5_4371_6dd0,
    0xffff_fffa_6209_d79f_8e88_c042_5918_f335,
    0xffff_fffd_70cf_8bff_5180_6cd1_40c7_6cf7,
    0xffff_fffe_da00_3464_4bc8_232c_96d8_3d74,
    0xffff_ffff_7e14_2b29_aa44_e9ec_7fce_ab8e,
    0xffff_ffff_c775_80d5_3c3e_cde9_72f5_4f9f,
    0xffff_ffff_e7c4_92fc_28d8_90bb_3b5f_7f3a,
    0xffff_ffff_f5c5_d169_a7b4_878f_3efc_421d,
    0xffff_ffff_fbbf_cff2_763b_1411_b2dc_cb50,
    0xffff_ffff_fe42_9c70_d9f1_3d6b_c8cc_9709,
    0xffff_ffff_ff4c_7bf6_dd3d_4d34_41e0_a5fd,
    0xffff_ffff_ffb8_bfcc_d1d3_ed48_6f9f_dd52,
    0xffff_ffff_ffe4_26dd_66ac_2a3c_936c_608b,
    0xffff_ffff_fff5_4825_9904_15dd_0403_f304,
    0xffff_ffff_fffb_f015_7641_6907_f7af_585e,
    0xffff_ffff_fffe_7be5_d75b_b4b8_728e_be95,
    0xffff_ffff_ffff_715f_8ad3_9544_7e1f_c46a,
    0xffff_ffff_ffff_cc63_07bb_ba65_4fde_cb6a,
    0xffff_ffff_ffff_ed9b_bac8_499e_08f6_bd5c,
    0xffff_ffff_ffff_f98b_f513_cdd0_8c98_975f,
    0xffff_ffff_ffff_fdc5_3561_fb78_7b15_2e3a,
    0xffff_ffff_ffff_ff3d_cf46_be25_b573_2ec2,
    0xffff_ffff_ffff_ffbe_f25b_c1f1_588c_d1ed,
    0xffff_ffff_ffff_ffea_8a9d_18e0_4060_1652,
    0xffff_ffff_ffff_fff9_07bd_686d_75ab_5875,
    0xffff_ffff_ffff_fffd_c55c_800c_1c39_9f0b,
    0xffff_ffff_ffff_ffff_4c4c_e41a_9b9f_2791,
    0xffff_ffff_ffff_ffff_c847_935d_04c3_c7eb,
    0xffff_ffff_ffff_ffff_eefc_e051_ab3f_caad,
    0xffff_ffff_ffff_ffff_fae2_becd_79d5_03af,
    0xffff_ffff_ffff_ffff_fe7c_742f_fe16_4c4a,
    0xffff_ffff_ffff_ffff_ff8f_0c1a_b7ac_f7f4,
    0xffff_ffff_ffff_ffff_ffdf_95d4_b43e_09a5,
    0xffff_ffff_ffff_ffff_fff6_d73c_faf2_df7e,
    0xffff_ffff_ffff_ffff_fffd_73a4_edfc_83c8,
    0xffff_ffff_ffff_ffff_ffff_4d4b_5f05_a07f,
    0xffff_ffff_ffff_ffff_ffff_cfcc_7b8d_18d2,
    0xffff_ffff_ffff_ffff_ffff_f332_f298_ba99,
    0xffff_ffff_ffff_ffff_ffff_fca7_1876_8683,
    0xffff_ffff_ffff_ffff_ffff_ff23_6166_954f,
    0xffff_ffff_ffff_ffff_ffff_ffc8_12d7_b75e,
    0xffff_ffff_ffff_ffff_ffff_fff2_0a88_5ad0,
    0xffff_ffff_ffff_ffff_ffff_fffc_91d2_cd2f,
    0xffff_ffff_ffff_ffff_ffff_ffff_2b83_67be,
    0xffff_ffff_ffff_ffff_ffff_ffff_cd60_cae7,
    0xffff_ffff_ffff_ffff_ffff_ffff_f420_3a7b,
    0xffff_ffff_ffff_ffff_ffff_ffff_fd41_f743,
    0xffff_ffff_ffff_ffff_ffff_ffff_ff60_5d54,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffdc_4296,
    0xffff_ffff_ffff_ffff_ffff_ffff_fff8_1f2b,
    0xffff_ffff_ffff_ffff_ffff_ffff_fffe_4a47,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_a277,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ec52,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fbec,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ff2b,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffd5,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fff7,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ffff,
];

/// Draws `count` coordinates from `D(Z, 8)`. Time and memory accesses do not depend on the values.
///
/// The caller checks the norm of the whole key against its bound and draws again in the rare excess.
pub fn sample_key(count: usize, rng: &mut impl CryptoRngCore) -> SecretVec<i64> {
    let mut key = Vec::with_capacity(count);
    let mut bytes = Zeroizing::new([0u8; 17 * 64]);
    while key.len() < count {
        rng.fill_bytes(bytes.as_mut());
        let (words, signs) = bytes.split_at(16 * 64);
        for (word, sign) in words
            .as_chunks::<16>()
            .0
            .iter()
            .zip(signs)
            .take(count - key.len())
        {
            key.push(from_uniform(u128::from_le_bytes(*word), sign & 1));
        }
    }
    SecretVec::new(key)
}

/// The magnitude is the number of entries that do not exceed the uniform word; zero is the same with either sign.
fn from_uniform(uniform: u128, sign: u8) -> i64 {
    let mut magnitude = 0i64;
    for entry in CUMULATIVE {
        magnitude = magnitude.wrapping_add(i64::from(!uniform.overflowing_sub(entry).1));
    }
    let flip = i64::from(sign).wrapping_neg();
    (magnitude ^ flip).wrapping_sub(flip)
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    /// `exp(-a/128) 2^512`, within a few units.
    fn exp_reference(a: u32) -> BigUint {
        let mut term: BigUint = BigUint::from(1u8) << 900;
        let mut sum = term.clone();
        for n in 1u32.. {
            term = ((term * a) >> 7) / n;
            if term == BigUint::ZERO {
                break;
            }
            sum += &term;
        }
        (BigUint::from(1u8) << 1412) / sum
    }

    #[test]
    fn table_is_the_cumulative_distribution() {
        let weight = |m: u32| exp_reference(m * m) * if m == 0 { 1u8 } else { 2 };
        // Beyond 200 the weights are below 2^-450.
        let total: BigUint = (0..200).map(weight).sum();
        let mut sum = BigUint::ZERO;
        for (m, &entry) in (0..).zip(&CUMULATIVE) {
            sum += weight(m);
            assert_eq!(BigUint::from(entry), (&sum << 128) / &total, "entry {m}");
        }
        // What is left is below 2^-128.
        assert_eq!(((&total - &sum) << 128u32) / &total, BigUint::ZERO);
        assert_eq!(CUMULATIVE[105], u128::MAX);
    }

    #[test]
    fn ends_of_the_table() {
        assert_eq!(from_uniform(0, 0), 0);
        assert_eq!(from_uniform(0, 1), 0);
        assert_eq!(from_uniform(CUMULATIVE[0] - 1, 1), 0);
        assert_eq!(from_uniform(CUMULATIVE[0], 0), 1);
        assert_eq!(from_uniform(CUMULATIVE[0], 1), -1);
        assert_eq!(from_uniform(u128::MAX, 0).unsigned_abs(), KEY_MAX_ABS);
    }

    #[test]
    fn lengths_and_determinism() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let a = sample_key(count, &mut ChaCha20Rng::from_seed([1; 32]));
            assert_eq!(a.len(), count);
            assert_eq!(a, sample_key(count, &mut ChaCha20Rng::from_seed([1; 32])));
            assert!(a.iter().all(|s| s.unsigned_abs() <= KEY_MAX_ABS));
        }
    }
}
