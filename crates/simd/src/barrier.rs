//! What keeps the compiler from turning arithmetic on secrets into branches.

/// A word that the compiler knows nothing about any more, at no cost: it stays in its register. A mask that is known to have
/// two values may become a branch, and did.
#[inline(always)]
pub(crate) fn opaque(x: u64) -> u64 {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut x = x;
        // SAFETY: no instruction at all; the one operand may have changed for all that the compiler knows.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) x, options(pure, nomem, nostack, preserves_flags));
        }
        x
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    core::hint::black_box(x)
}
