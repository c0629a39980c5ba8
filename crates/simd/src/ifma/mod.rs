//! Eight lanes of AVX-512 IFMA.
