//! Ring arithmetic modulo the group order, exact discrete Gaussian sampling, and masking.
