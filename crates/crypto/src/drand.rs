use crate::CryptoError;
use blst::{BLST_ERROR, min_pk, min_sig};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The suites of RFC 9380 under which drand hashes the round to G2 and to G1.
const DST_G2: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";
const DST_G1: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";
/// What the first round of a chained beacon has in place of a previous signature.
const GENESIS_LEN: usize = 32;

/// How a drand chain signs, by the names that drand's `/info` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrandScheme {
    /// `pedersen-bls-chained`: keys in G1 (48 bytes), signatures in G2 (96 bytes) over the previous one and the round.
    Chained,
    /// `bls-unchained-g1-rfc9380`, as quicknet: keys in G2 (96 bytes), signatures in G1 (48 bytes) over the round alone.
    UnchainedG1,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Chained(min_pk::PublicKey),
    UnchainedG1(min_sig::PublicKey),
}

/// The public key of a drand chain: a point of BLS12-381 in the right subgroup, not the identity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DrandKey(Key);

impl fmt::Debug for DrandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrandKey({:?})", self.scheme())
    }
}

impl DrandKey {
    /// Decodes a compressed key.
    ///
    /// # Errors
    /// [`CryptoError::BeaconKey`].
    pub fn decode(scheme: DrandScheme, bytes: &[u8]) -> Result<Self, CryptoError> {
        let refused = |_| CryptoError::BeaconKey;
        match (scheme, bytes.len()) {
            (DrandScheme::Chained, 48) => min_pk::PublicKey::key_validate(bytes)
                .map(|key| Self(Key::Chained(key)))
                .map_err(refused),
            (DrandScheme::UnchainedG1, 96) => min_sig::PublicKey::key_validate(bytes)
                .map(|key| Self(Key::UnchainedG1(key)))
                .map_err(refused),
            _ => Err(CryptoError::BeaconKey),
        }
    }

    /// How the chain signs.
    pub fn scheme(&self) -> DrandScheme {
        match self.0 {
            Key::Chained(_) => DrandScheme::Chained,
            Key::UnchainedG1(_) => DrandScheme::UnchainedG1,
        }
    }

    /// Checks a published round and gives its randomness, the SHA-256 of its signature. `previous` is the signature of the
    /// round before (of round 1: 32 bytes, the genesis seed), empty for a chain that is not chained.
    ///
    /// # Errors
    /// [`CryptoError::BeaconSignature`].
    pub fn verify(
        &self,
        round: u64,
        signature: &[u8],
        previous: &[u8],
    ) -> Result<[u8; 32], CryptoError> {
        let valid = match &self.0 {
            Key::Chained(key) => {
                let linked = previous.len() == if round == 1 { GENESIS_LEN } else { 96 };
                let signed = Sha256::new()
                    .chain_update(previous)
                    .chain_update(round.to_be_bytes())
                    .finalize();
                linked
                    && signature.len() == 96
                    && min_pk::Signature::sig_validate(signature, true).is_ok_and(|s| {
                        s.verify(false, &signed, DST_G2, &[], key, false)
                            == BLST_ERROR::BLST_SUCCESS
                    })
            }
            Key::UnchainedG1(key) => {
                let signed = Sha256::digest(round.to_be_bytes());
                previous.is_empty()
                    && signature.len() == 48
                    && min_sig::Signature::sig_validate(signature, true).is_ok_and(|s| {
                        s.verify(false, &signed, DST_G1, &[], key, false)
                            == BLST_ERROR::BLST_SUCCESS
                    })
            }
        };
        if round > 0 && valid {
            Ok(Sha256::digest(signature).into())
        } else {
            Err(CryptoError::BeaconSignature)
        }
    }
}

#[cfg(test)]
mod tests {
    //! Rounds that the League of Entropy published: the default chain (8990e7a9..) and quicknet (52db9ba7..).

    use super::*;

    const DEFAULT: &str = "868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801af31";
    const QUICKNET: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
    const AT_72785: &str = "82f5d3d2de4db19d40a6980e8aa37842a0e55d1df06bd68bddc8d60002e8e959eb9cfa368b3c1b77d18f02a54fe047b80f0989315f83b12a74fd8679c4f12aae86eaf6ab5690b34f1fddd50ee3cc6f6cdf59e95526d5a5d82aaa84fa6f181e42";
    const AT_72784: &str = "a609e19a03c2fcc559e8dae14900aaefe517cb55c840f6e69bc8e4f66c8d18e8a609685d9917efbfb0c37f058c2de88f13d297c7e19e0ab24813079efe57a182554ff054c7638153f9b26a60e7111f71a0ff63d9571704905d3ca6df0b031747";
    const AT_3311596: &str = "a696b9409ababce45749c3a4ec369074453dd4a79967734e1390d969c8ad8d98897d217b9121e92c8ddebbddda8d92f900e3bd6bf9deb166863b1a19390d743f82774001487594c5c09e581db7365f02b70a2c8cc41ce32446ef08e4890c4754";
    const AT_3311595: &str = "8ed588f2a7716fb1349e2d9803da5db0005e98a83783c353d4a08f183236a9ad91d70ddb01266f4b7c576983db464b430e65680b9e0098552758afd6c1e6afcb77e3f62fe1b93d42d1cb63abbb2205512fe12fbf74ea9c5ac3b8f5c1e283a1d8";
    const QUICK_1000: &str = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";
    const QUICK_657413: &str = "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }
    fn chained() -> DrandKey {
        DrandKey::decode(DrandScheme::Chained, &bytes(DEFAULT)).unwrap()
    }
    fn quicknet() -> DrandKey {
        DrandKey::decode(DrandScheme::UnchainedG1, &bytes(QUICKNET)).unwrap()
    }

    #[test]
    fn published_rounds_verify() {
        let (key, value) = (
            chained(),
            "647c07b2abbf7ff2afb4d670214f565e5cd9f9c91bfdcecb59a21f3c78d73920",
        );
        let got = key.verify(3_311_596, &bytes(AT_3311596), &bytes(AT_3311595));
        assert_eq!(got.map(hex::encode).as_deref(), Ok(value));
        assert!(
            key.verify(72_785, &bytes(AT_72785), &bytes(AT_72784))
                .is_ok()
        );
        for (round, signature, value) in [
            (
                1000,
                QUICK_1000,
                "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
            ),
            (
                657_413,
                QUICK_657413,
                "fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587",
            ),
        ] {
            let got = quicknet().verify(round, &bytes(signature), &[]);
            assert_eq!(got.map(hex::encode).as_deref(), Ok(value));
        }
    }

    #[test]
    fn another_round_signature_link_or_chain_does_not_verify() {
        let refused = Err(CryptoError::BeaconSignature);
        let (key, good, link) = (chained(), bytes(AT_72785), bytes(AT_72784));
        assert_eq!(key.verify(72_786, &good, &link), refused);
        assert_eq!(key.verify(72_785, &link, &link), refused);
        assert_eq!(key.verify(72_785, &good, &good), refused);
        assert_eq!(key.verify(72_785, &good, &[]), refused);
        assert_eq!(key.verify(72_785, &good, &link[..32]), refused);
        assert_eq!(key.verify(72_785, &good[..95], &link), refused);
        let quick = bytes(QUICK_1000);
        assert_eq!(quicknet().verify(1001, &quick, &[]), refused);
        assert_eq!(quicknet().verify(0, &quick, &[]), refused);
        assert_eq!(quicknet().verify(1000, &bytes(QUICK_657413), &[]), refused);
        assert_eq!(quicknet().verify(1000, &quick, &[1]), refused);
        assert_eq!(quicknet().verify(72_785, &good, &link), refused);
        // The identity is a signature of nothing; the flag bits are compression and infinity.
        let mut identity = [0; 48];
        identity[0] = 0xc0;
        assert_eq!(quicknet().verify(1000, &identity, &[]), refused);
    }

    #[test]
    fn only_points_of_the_right_group_are_keys() {
        let refused = Err(CryptoError::BeaconKey);
        let decode = DrandKey::decode;
        assert_eq!(decode(DrandScheme::UnchainedG1, &bytes(DEFAULT)), refused);
        assert_eq!(decode(DrandScheme::Chained, &bytes(QUICKNET)), refused);
        let mut changed = bytes(DEFAULT);
        changed[47] ^= 1;
        assert_eq!(decode(DrandScheme::Chained, &changed), refused);
        let mut identity = [0; 48];
        identity[0] = 0xc0;
        assert_eq!(decode(DrandScheme::Chained, &identity), refused);
    }
}
