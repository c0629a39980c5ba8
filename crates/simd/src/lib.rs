//! Constant-time small-scalar commitments and batched point arithmetic.

mod backend;
mod columns;
mod edwards;
mod error;
mod field51;
mod fixed_base;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod msm;
mod ristretto;
mod same_scalar;
mod scalar;

pub use backend::{Backend, Engine};
pub use columns::ColumnTables;
pub use edwards::Point;
pub use error::SimdError;
pub use fixed_base::FixedBaseTable;
pub use msm::{MsmGroup, split_msm};
pub use same_scalar::SameScalarTables;
pub use scalar::SmallInt;
