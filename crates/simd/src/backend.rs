//! Which code runs: chosen once, carried as a value.

use crate::{ColumnTables, Point, SimdError, msm, ristretto};

/// A request for a code path. Results never depend on it: encodings are bit-identical between backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backend {
    /// The fastest that this processor has.
    #[default]
    Auto,
    /// 64-bit integer arithmetic; runs anywhere.
    Portable,
    /// Eight lanes of AVX-512 with 52-bit multiply-add (x86-64 with avx512f, avx512dq, avx512bw, avx512vl, avx512ifma).
    Avx512Ifma,
}

impl Backend {
    /// A short lower-case name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Portable => "portable",
            Self::Avx512Ifma => "avx512ifma",
        }
    }

    /// The backends that this processor can run, slowest first; never `Auto`.
    #[must_use]
    pub fn available() -> Vec<Self> {
        [Self::Portable, Self::Avx512Ifma]
            .into_iter()
            .filter(|b| Engine::new(*b).is_ok())
            .collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Ifma(crate::ifma::Token),
}

impl Kind {
    #[cfg(target_arch = "x86_64")]
    fn ifma() -> Option<Self> {
        crate::ifma::Token::detect().map(Self::Ifma)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn ifma() -> Option<Self> {
        None
    }
}

/// A backend that is known to be present, and the stateless batch operations on it. Copy it freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    pub(crate) kind: Kind,
}

impl Engine {
    /// Resolves a request against this processor.
    ///
    /// # Errors
    /// [`SimdError::BackendUnavailable`] when a named backend is absent; `Auto` and `Portable` always succeed.
    pub fn new(backend: Backend) -> Result<Self, SimdError> {
        let kind = match backend {
            Backend::Portable => Kind::Portable,
            Backend::Auto => Kind::ifma().unwrap_or(Kind::Portable),
            Backend::Avx512Ifma => Kind::ifma().ok_or(SimdError::BackendUnavailable(backend))?,
        };
        Ok(Self { kind })
    }

    /// The fastest backend of this processor.
    #[must_use]
    pub fn auto() -> Self {
        Self::new(Backend::Auto).unwrap_or(Self::portable())
    }

    /// The portable backend.
    #[must_use]
    pub fn portable() -> Self {
        Self {
            kind: Kind::Portable,
        }
    }

    /// Which backend this is; never `Auto`.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self.kind {
            Kind::Portable => Backend::Portable,
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(_) => Backend::Avx512Ifma,
        }
    }

    /// Runs `work`, and what the compiler inlines into it, compiled for the instructions of this backend: plain loops then
    /// use its vectors. Results are the same, floating point included, because nothing is reordered or fused for it.
    pub fn vectorised<R>(&self, work: impl FnOnce() -> R) -> R {
        match self.kind {
            Kind::Portable => work(),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::vectorised(token, work),
        }
    }

    /// Decodes canonical ristretto255 encodings (RFC 9496, 4.3.1). Constant time up to the verdict.
    ///
    /// # Errors
    /// [`SimdError::InvalidEncoding`] with the index of the first string that is not a canonical encoding.
    pub fn decompress(&self, encodings: &[[u8; 32]]) -> Result<Vec<Point>, SimdError> {
        match self.kind {
            Kind::Portable => ristretto::decompress_portable(encodings),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::decompress(token, encodings),
        }
    }

    /// The points that 64 uniform bytes each map to (RFC 9496, 4.3.4), in constant time: the second half of hashing to the
    /// group, the first being a hash with 64 bytes of output.
    #[must_use]
    pub fn from_uniform_bytes(&self, strings: &[[u8; 64]]) -> Vec<Point> {
        match self.kind {
            Kind::Portable => ristretto::from_uniform_portable(strings),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::from_uniform(token, strings),
        }
    }

    /// The encodings of 2P for every P, in constant time, with one inversion for all: several times cheaper a point
    /// than [`Point::compress`]. Keep the half of every output point and encode here.
    #[must_use]
    pub fn double_and_compress(&self, points: &[Point]) -> Vec<[u8; 32]> {
        match self.kind {
            Kind::Portable => ristretto::double_and_compress_portable(points),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::double_and_compress(token, points),
        }
    }

    /// The encodings of every P, in constant time.
    #[must_use]
    pub fn compress(&self, points: &[Point]) -> Vec<[u8; 32]> {
        match self.kind {
            Kind::Portable => points.iter().map(Point::compress).collect(),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::compress(token, points),
        }
    }

    /// s P for one secret scalar (32 bytes, canonical little-endian) and one public point, in constant time. Tables pay
    /// off from the second multiplication of the same point on: see [`ColumnTables::mul_column`].
    ///
    /// # Errors
    /// [`SimdError::SecretScalarNotCanonical`].
    pub fn mul(&self, point: &Point, scalar: &[u8; 32]) -> Result<Point, SimdError> {
        ColumnTables::new(*self, core::slice::from_ref(point)).mul_column(0, scalar)
    }

    /// sum s_i P_i in VARIABLE TIME, for public data only. Scalars are 32 bytes, canonical little-endian.
    ///
    /// # Errors
    /// As [`Engine::msm_groups_vartime`].
    pub fn msm_vartime(&self, scalars: &[[u8; 32]], points: &[Point]) -> Result<Point, SimdError> {
        self.msm_groups_vartime(&[msm::MsmGroup::Full { scalars, points }])
    }

    /// sum s_i P_i for 128-bit scalars in VARIABLE TIME, for public data only; about half the cost of the full form.
    ///
    /// # Errors
    /// As [`Engine::msm_groups_vartime`].
    pub fn msm_short_vartime(
        &self,
        scalars: &[u128],
        points: &[Point],
    ) -> Result<Point, SimdError> {
        self.msm_groups_vartime(&[msm::MsmGroup::Short { scalars, points }])
    }

    /// The sum over several groups of scalars and points, in VARIABLE TIME, for public data only. One set of buckets
    /// serves all groups, so the cost is that of one multiscalar multiplication of the total length.
    ///
    /// # Errors
    /// [`SimdError::LengthMismatch`], [`SimdError::ScalarNotCanonical`], and [`SimdError::TooManyPoints`] beyond
    /// 2^26 points; nothing is computed then.
    pub fn msm_groups_vartime(&self, groups: &[msm::MsmGroup<'_>]) -> Result<Point, SimdError> {
        self.msm_groups_counted_vartime(groups).map(|(sum, _)| sum)
    }

    /// As [`Engine::msm_groups_vartime`], with the number of group operations that it took.
    ///
    /// # Errors
    /// As [`Engine::msm_groups_vartime`].
    pub fn msm_groups_counted_vartime(
        &self,
        groups: &[msm::MsmGroup<'_>],
    ) -> Result<(Point, msm::MsmWork), SimdError> {
        msm::run(*self, groups)
    }

    /// sum_i scalars_i lists_j,i for each list of points, with the number of group operations that it took: cheaper than one
    /// multiplication for each list, because what depends on the scalars alone is made once.
    ///
    /// # Errors
    /// As [`Engine::msm_groups_vartime`]; the group that an error names is 0.
    pub fn msm_same_scalars_counted_vartime(
        &self,
        scalars: &[u128],
        lists: &[&[Point]],
    ) -> Result<Vec<(Point, msm::MsmWork)>, SimdError> {
        msm::run_same_scalars(*self, scalars, lists)
    }

    /// Adds to each point of `sums` the point of the same place.
    ///
    /// # Errors
    /// [`SimdError::LengthMismatch`]; the sums are unchanged then.
    pub fn add_each(&self, sums: &mut [Point], points: &[Point]) -> Result<(), SimdError> {
        msm::add_each(*self, sums, points)
    }
}
