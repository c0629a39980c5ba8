//! Round parameters and the derivation of every constant from them, in integers.
