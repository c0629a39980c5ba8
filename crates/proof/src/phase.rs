//! Names for the parts of the work, so that a measurement can say where the time goes.

/// Target of the spans that [`phase!`](crate::phase) opens.
pub const PHASE_TARGET: &str = "veilsum::phase";

/// `phase!("name", expression)`: evaluates the expression inside a `tracing` span of that name, with target
/// [`PHASE_TARGET`] and at level `TRACE`; without a subscriber it costs one load. The span carries nothing but its name. The
/// caller's crate depends on `tracing`. Names are those of `specs/benchmarks.md`, "Phases".
#[macro_export]
macro_rules! phase {
    ($name:literal, $work:expr) => {{
        let _phase = ::tracing::trace_span!(target: $crate::PHASE_TARGET, $name).entered();
        $work
    }};
}
