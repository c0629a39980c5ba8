use crate::feldman::SecretShare;
use crate::transcript::TranscriptExt;
use crate::{CanonicalPoint, CryptoError, Digest, Hasher, Xof, labels};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use curve25519_dalek::constants::{RISTRETTO_BASEPOINT_POINT, RISTRETTO_BASEPOINT_TABLE};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use merlin::Transcript;
use rand_core::CryptoRngCore;
use rayon::prelude::*;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_simd::{Engine, SameScalarTables};
use zeroize::Zeroizing;

/// Bytes of an encrypted share.
pub const CIPHERTEXT_LEN: usize = 48;

/// Members that one task encrypts for: twice the lanes of the kernels.
const SIDE_BY_SIDE: usize = 16;
/// Tables of eight entries for each of them: more would take longer to make than they save for one scalar.
const COMB_BYTES: usize = SIDE_BY_SIDE << 10;

/// Everything that an encrypted share is bound to: the round, its dealer, its receiver, and both public keys.
#[derive(Clone, Copy, Debug)]
pub struct ShareContext<'a> {
    /// Digest of the round parameters.
    pub params_digest: &'a Digest,
    /// The client that deals.
    pub dealer: ClientId,
    /// The member that receives.
    pub index: MemberIndex,
    /// E = e B of the contribution.
    pub ephemeral: &'a CanonicalPoint,
    /// PK_j of the member.
    pub share_key: &'a CanonicalPoint,
}

impl ShareContext<'_> {
    /// `shared` is the encoding of the Diffie-Hellman point.
    fn hash(&self, label: labels::Label, shared: Option<&[u8; 32]>) -> Zeroizing<[u8; 32]> {
        let mut h = Hasher::new(label);
        if let Some(point) = shared {
            h.update(point);
        }
        h.update(self.ephemeral.as_bytes())
            .update(self.share_key.as_bytes())
            .update(&self.params_digest.0)
            .update(&self.dealer.0.to_le_bytes())
            .update(&self.index.0.to_le_bytes());
        Zeroizing::new(h.finish().0)
    }

    /// The key serves for exactly one share, so the nonce is constant.
    fn cipher(&self, shared: &[u8; 32]) -> (ChaCha20Poly1305, Zeroizing<[u8; 32]>) {
        let key = self.hash(labels::SHARE_KEY, Some(shared));
        (
            ChaCha20Poly1305::new(Key::from_slice(key.as_ref())),
            self.hash(labels::SHARE_AD, None),
        )
    }

    fn encrypt(
        &self,
        shared: &[u8; 32],
        share: &Scalar,
    ) -> Result<[u8; CIPHERTEXT_LEN], CryptoError> {
        let (cipher, ad) = self.cipher(shared);
        let plain = Zeroizing::new(share.to_bytes());
        let sealed = cipher
            .encrypt(
                &Nonce::default(),
                Payload {
                    msg: plain.as_ref(),
                    aad: ad.as_ref(),
                },
            )
            .map_err(|_| CryptoError::Ciphertext)?;
        <[u8; CIPHERTEXT_LEN]>::try_from(sealed.as_slice()).map_err(|_| CryptoError::Ciphertext)
    }
}

/// Decrypts a share when the Diffie-Hellman point is known: the member itself, or whoever judges a complaint.
///
/// # Errors
/// [`CryptoError::Ciphertext`] unless the plaintext is 32 canonical bytes of a scalar.
pub fn decrypt_share_with_point(
    context: &ShareContext<'_>,
    shared: &RistrettoPoint,
    ciphertext: &[u8; CIPHERTEXT_LEN],
) -> Result<Zeroizing<Scalar>, CryptoError> {
    let shared = Zeroizing::new(shared.compress().to_bytes());
    let (cipher, ad) = context.cipher(&shared);
    let plain = cipher
        .decrypt(
            &Nonce::default(),
            Payload {
                msg: ciphertext,
                aad: ad.as_ref(),
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::Ciphertext)?;
    let bytes = <[u8; 32]>::try_from(plain.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::Ciphertext)?;
    crate::scalar_from_canonical(&bytes)
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::Ciphertext)
}

/// A nonce from fresh randomness, the secret and the statement: a source of randomness that repeats gives the same proof
/// again or another nonce, never one nonce under two challenges.
fn nonce(
    secret: &Scalar,
    rng: &mut impl CryptoRngCore,
    statement: impl FnOnce(&mut Hasher),
) -> Zeroizing<Scalar> {
    let mut fresh = Zeroizing::new([0u8; 32]);
    rng.fill_bytes(fresh.as_mut());
    let mut hasher = Hasher::new(labels::PROVER_NONCE);
    hasher
        .update(fresh.as_ref())
        .update(Zeroizing::new(secret.to_bytes()).as_ref());
    statement(&mut hasher);
    let seed = Zeroizing::new(hasher.finish().0);
    let mut wide = Zeroizing::new([0u8; 64]);
    Xof::new(labels::PROVER_NONCE, &seed, 0).fill(wide.as_mut());
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
}

/// Proof of knowledge of a discrete logarithm: of e with E = e B, bound to the dealing that it was made for, or of a share
/// key, bound to the purpose that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnowledgeProof {
    /// Announcement.
    pub announcement: CanonicalPoint,
    /// Response.
    pub response: Scalar,
}

fn knowledge_challenge(
    params_digest: &Digest,
    dealer: ClientId,
    commitments: &[CanonicalPoint],
    share_root: &Digest,
    ephemeral: &CanonicalPoint,
    announcement: &CanonicalPoint,
) -> Scalar {
    let mut t = Transcript::new(labels::EPHEMERAL_PROOF.as_bytes());
    t.digest(b"params_digest", params_digest);
    t.append_u64(b"dealer", dealer.0.into());
    t.append_u64(b"commitments", commitments.len() as u64);
    for c in commitments {
        t.point(b"F", c.as_bytes());
    }
    t.digest(b"share_root", share_root);
    t.point(b"E", ephemeral.as_bytes());
    t.point(b"A", announcement.as_bytes());
    t.challenge_scalar(b"c")
}

impl KnowledgeProof {
    /// Checks the proof against the dealing that it must have been made for.
    ///
    /// # Errors
    /// [`CryptoError::Proof`].
    pub fn verify(
        &self,
        params_digest: &Digest,
        dealer: ClientId,
        commitments: &[CanonicalPoint],
        share_root: &Digest,
        ephemeral: &CanonicalPoint,
    ) -> Result<(), CryptoError> {
        let c = knowledge_challenge(
            params_digest,
            dealer,
            commitments,
            share_root,
            ephemeral,
            &self.announcement,
        );
        self.answers(&c, ephemeral)
    }

    /// Checks a proof of possession of a share key ([`ShareSecretKey::prove_possession`]) for the purpose with this digest.
    ///
    /// # Errors
    /// [`CryptoError::Proof`].
    pub fn verify_possession(
        &self,
        purpose: &Digest,
        share_key: &CanonicalPoint,
    ) -> Result<(), CryptoError> {
        let c = possession_challenge(purpose, share_key, &self.announcement);
        self.answers(&c, share_key)
    }

    fn answers(&self, challenge: &Scalar, public: &CanonicalPoint) -> Result<(), CryptoError> {
        let check = RistrettoPoint::vartime_double_scalar_mul_basepoint(
            challenge,
            public.point(),
            &-self.response,
        ) + self.announcement.point();
        if check.is_identity() {
            Ok(())
        } else {
            Err(CryptoError::Proof)
        }
    }
}

fn possession_challenge(
    purpose: &Digest,
    share_key: &CanonicalPoint,
    announcement: &CanonicalPoint,
) -> Scalar {
    let mut t = Transcript::new(labels::SHARE_KEY_PROOF.as_bytes());
    t.digest(b"purpose", purpose);
    t.point(b"PK", share_key.as_bytes());
    t.point(b"A", announcement.as_bytes());
    t.challenge_scalar(b"c")
}

/// The ephemeral secret e of one contribution, zeroised on drop. Never used for a second one.
pub struct EphemeralSecret {
    secret: Zeroizing<Scalar>,
    public: CanonicalPoint,
}

impl zeroize::ZeroizeOnDrop for EphemeralSecret {}
const _: fn(&EphemeralSecret) = |s| crate::wiped(&s.secret);

impl EphemeralSecret {
    /// A fresh secret.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let secret = Zeroizing::new(Scalar::random(rng));
        let public = CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &*secret);
        Self { secret, public }
    }

    /// E.
    pub fn public(&self) -> &CanonicalPoint {
        &self.public
    }

    /// Encrypts the share f(index) for one member.
    ///
    /// # Errors
    /// [`CryptoError::Ciphertext`] if the cipher refuses (it does not for 32 bytes).
    pub fn encrypt(
        &self,
        params_digest: &Digest,
        dealer: ClientId,
        index: MemberIndex,
        share_key: &CanonicalPoint,
        share: &Scalar,
    ) -> Result<[u8; CIPHERTEXT_LEN], CryptoError> {
        let context = ShareContext {
            params_digest,
            dealer,
            index,
            ephemeral: &self.public,
            share_key,
        };
        let shared = Zeroizing::new(*self.secret * share_key.point());
        let shared = Zeroizing::new(shared.compress().to_bytes());
        context.encrypt(&shared, share)
    }

    /// [`Self::encrypt`] for the members with these keys, one share each, with the multiplications by e side by side.
    ///
    /// # Errors
    /// [`CryptoError::Sharing`] unless there are as many keys as shares; [`CryptoError::Ciphertext`] if the cipher refuses.
    pub fn encrypt_each(
        &self,
        engine: Engine,
        params_digest: &Digest,
        dealer: ClientId,
        share_keys: &[CanonicalPoint],
        shares: &[SecretShare],
    ) -> Result<Vec<[u8; CIPHERTEXT_LEN]>, CryptoError> {
        if share_keys.len() != shares.len() {
            return Err(CryptoError::Sharing);
        }
        let e = Zeroizing::new(self.secret.to_bytes());
        // Collected before the first error is picked, so that the same one is reported whichever thread was faster.
        let parts: Vec<Result<Vec<_>, CryptoError>> = share_keys
            .par_chunks(SIDE_BY_SIDE)
            .zip(shares.par_chunks(SIDE_BY_SIDE))
            .map(|(keys, shares)| {
                let encodings: Vec<_> = keys.iter().map(|key| *key.as_bytes()).collect();
                let points = engine
                    .decompress(&encodings)
                    .map_err(|_| CryptoError::Point)?;
                let combs = SameScalarTables::new(engine, &points, COMB_BYTES)
                    .map_err(|_| CryptoError::Sharing)?;
                let shared = combs.mul(&e).map_err(|_| CryptoError::Scalar)?;
                let shared = Zeroizing::new(shared);
                let shared = Zeroizing::new(engine.compress(&shared));
                let each = keys.iter().zip(shares).zip(shared.iter());
                each.map(|((share_key, share), shared)| {
                    let context = ShareContext {
                        params_digest,
                        dealer,
                        index: share.index,
                        ephemeral: &self.public,
                        share_key,
                    };
                    context.encrypt(shared, share.expose())
                })
                .collect()
            })
            .collect();
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(parts.concat())
    }

    /// Proves knowledge of e for a dealing.
    pub fn prove(
        &self,
        params_digest: &Digest,
        dealer: ClientId,
        commitments: &[CanonicalPoint],
        share_root: &Digest,
        rng: &mut impl CryptoRngCore,
    ) -> KnowledgeProof {
        let nonce = nonce(&self.secret, rng, |h| {
            h.update(b"knowledge")
                .update(&params_digest.0)
                .update(&dealer.0.to_le_bytes())
                .u64(commitments.len() as u64);
            for c in commitments {
                h.update(c.as_bytes());
            }
            h.update(&share_root.0);
        });
        let announcement = CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &*nonce);
        let c = knowledge_challenge(
            params_digest,
            dealer,
            commitments,
            share_root,
            &self.public,
            &announcement,
        );
        KnowledgeProof {
            announcement,
            response: *nonce + c * *self.secret,
        }
    }
}

impl std::fmt::Debug for EphemeralSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "EphemeralSecret {{ public: {:?}, secret: <redacted> }}",
            self.public
        )
    }
}

/// A member's share key for one epoch, zeroised on drop.
#[derive(Clone)]
pub struct ShareSecretKey {
    secret: Zeroizing<Scalar>,
    public: CanonicalPoint,
}

impl zeroize::ZeroizeOnDrop for ShareSecretKey {}
const _: fn(&ShareSecretKey) = |s| crate::wiped(&s.secret);

impl ShareSecretKey {
    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self::from_scalar(Scalar::random(rng))
    }

    /// The key of a stored canonical scalar.
    ///
    /// # Errors
    /// [`CryptoError::Scalar`] if it is not canonical, [`CryptoError::Identity`] if it is zero.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        let secret = crate::scalar_from_canonical(bytes)?;
        if secret == Scalar::ZERO {
            Err(CryptoError::Identity)
        } else {
            Ok(Self::from_scalar(secret))
        }
    }

    fn from_scalar(secret: Scalar) -> Self {
        let secret = Zeroizing::new(secret);
        let public = CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &*secret);
        Self { secret, public }
    }

    /// The secret's bytes, for storage in a private file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// PK_j.
    pub fn public(&self) -> &CanonicalPoint {
        &self.public
    }

    /// D = sk_j E. Shown to others only in a complaint.
    pub fn diffie_hellman(&self, ephemeral: &CanonicalPoint) -> Zeroizing<RistrettoPoint> {
        Zeroizing::new(*self.secret * ephemeral.point())
    }

    /// Decrypts one share; `context.share_key` must be this key's.
    ///
    /// # Errors
    /// [`CryptoError::Ciphertext`].
    pub fn decrypt(
        &self,
        context: &ShareContext<'_>,
        ciphertext: &[u8; CIPHERTEXT_LEN],
    ) -> Result<Zeroizing<Scalar>, CryptoError> {
        decrypt_share_with_point(context, &self.diffie_hellman(context.ephemeral), ciphertext)
    }

    /// Proves that this key is in the prover's hands, bound to the digest of what the proof is for.
    pub fn prove_possession(
        &self,
        purpose: &Digest,
        rng: &mut impl CryptoRngCore,
    ) -> KnowledgeProof {
        let nonce = nonce(&self.secret, rng, |h| {
            h.update(b"possession").update(&purpose.0);
        });
        let announcement = CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &*nonce);
        let c = possession_challenge(purpose, &self.public, &announcement);
        KnowledgeProof {
            announcement,
            response: *nonce + c * *self.secret,
        }
    }

    /// Opens the Diffie-Hellman point of one dealing and proves that it is the right one, bound to `binding` (the whole
    /// complaint).
    pub fn open_point(
        &self,
        ephemeral: &CanonicalPoint,
        binding: &Digest,
        rng: &mut impl CryptoRngCore,
    ) -> (CanonicalPoint, DleqProof) {
        let shared = CanonicalPoint::from(*self.diffie_hellman(ephemeral));
        let nonce = nonce(&self.secret, rng, |h| {
            h.update(b"equality")
                .update(&binding.0)
                .update(ephemeral.as_bytes());
        });
        let on_base = CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &*nonce);
        let on_ephemeral = CanonicalPoint::from(*nonce * ephemeral.point());
        let c = dleq_challenge(
            binding,
            ephemeral,
            &self.public,
            &shared,
            &on_base,
            &on_ephemeral,
        );
        (
            shared,
            DleqProof {
                on_base,
                on_ephemeral,
                response: *nonce + c * *self.secret,
            },
        )
    }
}

impl std::fmt::Debug for ShareSecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ShareSecretKey {{ public: {:?}, secret: <redacted> }}",
            self.public
        )
    }
}

/// Proof that log_B PK = log_E D (Chaum-Pedersen).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DleqProof {
    /// Announcement on B.
    pub on_base: CanonicalPoint,
    /// Announcement on E.
    pub on_ephemeral: CanonicalPoint,
    /// Response.
    pub response: Scalar,
}

fn dleq_challenge(
    binding: &Digest,
    ephemeral: &CanonicalPoint,
    share_key: &CanonicalPoint,
    shared: &CanonicalPoint,
    on_base: &CanonicalPoint,
    on_ephemeral: &CanonicalPoint,
) -> Scalar {
    let mut t = Transcript::new(labels::COMPLAINT_PROOF.as_bytes());
    t.digest(b"complaint", binding);
    t.point(b"E", ephemeral.as_bytes());
    t.point(b"PK", share_key.as_bytes());
    t.point(b"D", shared.as_bytes());
    t.point(b"A_B", on_base.as_bytes());
    t.point(b"A_E", on_ephemeral.as_bytes());
    t.challenge_scalar(b"c")
}

impl DleqProof {
    /// Checks the proof that `shared` = sk E for the sk of `share_key`.
    ///
    /// # Errors
    /// [`CryptoError::Proof`].
    pub fn verify(
        &self,
        binding: &Digest,
        ephemeral: &CanonicalPoint,
        share_key: &CanonicalPoint,
        shared: &CanonicalPoint,
    ) -> Result<(), CryptoError> {
        let c = dleq_challenge(
            binding,
            ephemeral,
            share_key,
            shared,
            &self.on_base,
            &self.on_ephemeral,
        );
        let holds =
            |announcement: &CanonicalPoint, image: &CanonicalPoint, base: &RistrettoPoint| {
                RistrettoPoint::vartime_multiscalar_mul(
                    [Scalar::ONE, c, -self.response],
                    [announcement.point(), image.point(), base],
                )
                .is_identity()
            };
        if holds(&self.on_base, share_key, &RISTRETTO_BASEPOINT_POINT)
            && holds(&self.on_ephemeral, shared, ephemeral.point())
        {
            Ok(())
        } else {
            Err(CryptoError::Proof)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn side_by_side_gives_what_one_after_the_other_gives() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        for members in [2u16, 15, 16, 17, 40] {
            let e = EphemeralSecret::generate(&mut rng);
            let keys: Vec<CanonicalPoint> = (0..members)
                .map(|_| *ShareSecretKey::generate(&mut rng).public())
                .collect();
            let shares: Vec<SecretShare> = (1..=members)
                .map(|j| SecretShare::new(MemberIndex(j), Scalar::random(&mut rng)))
                .collect();
            let (digest, dealer) = (Digest([8; 32]), ClientId(9));
            let one_by_one: Vec<_> = keys
                .iter()
                .zip(&shares)
                .map(|(key, s)| {
                    e.encrypt(&digest, dealer, s.index, key, s.expose())
                        .unwrap()
                })
                .collect();
            for backend in veilsum_simd::Backend::available() {
                let engine = Engine::new(backend).unwrap();
                let each = e.encrypt_each(engine, &digest, dealer, &keys, &shares);
                assert_eq!(each.as_ref(), Ok(&one_by_one));
            }
            assert_eq!(
                e.encrypt_each(Engine::portable(), &digest, dealer, &keys[1..], &shares),
                Err(CryptoError::Sharing)
            );
        }
    }

    #[test]
    fn a_share_opens_for_its_member_and_context_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let (sk, other) = (
            ShareSecretKey::generate(&mut rng),
            ShareSecretKey::generate(&mut rng),
        );
        let e = EphemeralSecret::generate(&mut rng);
        let (digest, share) = (Digest([7; 32]), Scalar::random(&mut rng));
        let ct = e
            .encrypt(&digest, ClientId(3), MemberIndex(2), sk.public(), &share)
            .unwrap();
        let context = ShareContext {
            params_digest: &digest,
            dealer: ClientId(3),
            index: MemberIndex(2),
            ephemeral: e.public(),
            share_key: sk.public(),
        };
        assert_eq!(*sk.decrypt(&context, &ct).unwrap(), share);
        let refused = |key: &ShareSecretKey, c: ShareContext<'_>| {
            assert_eq!(key.decrypt(&c, &ct).err(), Some(CryptoError::Ciphertext))
        };
        refused(&other, context);
        refused(
            &sk,
            ShareContext {
                dealer: ClientId(4),
                ..context
            },
        );
        refused(
            &sk,
            ShareContext {
                index: MemberIndex(1),
                ..context
            },
        );
        refused(
            &sk,
            ShareContext {
                params_digest: &Digest([8; 32]),
                ..context
            },
        );
        refused(
            &sk,
            ShareContext {
                share_key: other.public(),
                ..context
            },
        );
        let mut changed = ct;
        changed[0] ^= 1;
        assert!(sk.decrypt(&context, &changed).is_err());
        assert!(format!("{sk:?}{e:?}").matches("<redacted>").count() == 2);
    }

    #[test]
    fn repeated_randomness_gives_the_same_proof_or_another_nonce() {
        let rng = || ChaCha20Rng::seed_from_u64(8);
        let e = EphemeralSecret::generate(&mut rng());
        let (p, q) = (Digest([1; 32]), Digest([2; 32]));
        let know = |root| e.prove(&p, ClientId(1), &[], root, &mut rng());
        assert_eq!(know(&p), know(&p));
        assert_ne!(know(&p).announcement, know(&q).announcement);
        let sk = ShareSecretKey::generate(&mut rng());
        let open = |binding| sk.open_point(e.public(), binding, &mut rng()).1;
        assert_eq!(open(&p), open(&p));
        assert_ne!(open(&p).on_base, open(&q).on_base);
    }

    #[test]
    fn possession_is_proven_for_one_key_and_purpose_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let (sk, other) = (
            ShareSecretKey::generate(&mut rng),
            ShareSecretKey::generate(&mut rng),
        );
        let (purpose, another) = (Digest([1; 32]), Digest([2; 32]));
        let proof = sk.prove_possession(&purpose, &mut rng);
        assert_eq!(proof.verify_possession(&purpose, sk.public()), Ok(()));
        let refused = Err(CryptoError::Proof);
        assert_eq!(proof.verify_possession(&another, sk.public()), refused);
        assert_eq!(proof.verify_possession(&purpose, other.public()), refused);
    }

    #[test]
    fn proofs_hold_for_their_context_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let e = EphemeralSecret::generate(&mut rng);
        let f = vec![CanonicalPoint::from(RistrettoPoint::random(&mut rng))];
        let (p, root) = (Digest([1; 32]), Digest([2; 32]));
        let proof = e.prove(&p, ClientId(1), &f, &root, &mut rng);
        assert_eq!(proof.verify(&p, ClientId(1), &f, &root, e.public()), Ok(()));
        assert_eq!(
            proof.verify(&root, ClientId(1), &f, &root, e.public()),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            proof.verify(&p, ClientId(2), &f, &root, e.public()),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            proof.verify(&p, ClientId(1), &[], &root, e.public()),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            proof.verify(&p, ClientId(1), &f, &p, e.public()),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            proof.verify(&p, ClientId(1), &f, &root, &f[0]),
            Err(CryptoError::Proof)
        );

        let sk = ShareSecretKey::generate(&mut rng);
        let (d, dleq) = sk.open_point(e.public(), &p, &mut rng);
        assert_eq!(dleq.verify(&p, e.public(), sk.public(), &d), Ok(()));
        assert_eq!(
            dleq.verify(&root, e.public(), sk.public(), &d),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            dleq.verify(&p, &f[0], sk.public(), &d),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            dleq.verify(&p, e.public(), &f[0], &d),
            Err(CryptoError::Proof)
        );
        assert_eq!(
            dleq.verify(&p, e.public(), sk.public(), &f[0]),
            Err(CryptoError::Proof)
        );
    }
}
