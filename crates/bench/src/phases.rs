//! Where the time goes: the client's code opens `tracing` spans with target `veilsum::phase`; this layer adds up how long
//! each name was open on the thread that runs the client. Phases do not nest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tracing::span::Id;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Seconds by phase.
#[derive(Clone, Default)]
pub(crate) struct Phases(Arc<Mutex<BTreeMap<&'static str, f64>>>);

struct Entered(Instant);

impl Phases {
    /// Takes what was added up so far.
    pub(crate) fn take(&self) -> BTreeMap<&'static str, f64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Phases {
    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && span.metadata().target() == "veilsum::phase"
        {
            #[expect(
                clippy::disallowed_methods,
                reason = "measuring is this crate's purpose"
            )]
            span.extensions_mut().replace(Entered(Instant::now()));
        }
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(Entered(start)) = span.extensions_mut().remove::<Entered>()
        {
            let seconds = start.elapsed().as_secs_f64();
            *self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(span.name())
                .or_default() += seconds;
        }
    }
}
