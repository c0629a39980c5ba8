//! Seeded network, adversaries and checkers that know the truth.
