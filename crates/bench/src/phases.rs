//! Where the time goes: the measured code opens `tracing` spans with target [`PHASE_TARGET`]; this layer adds up how long
//! each name was the innermost open one on the thread that measures. What runs on other threads meanwhile is the time that
//! this thread waits for it, so the phases never add up to more than the wall clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tracing::span::Id;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use veilsum_proof::PHASE_TARGET;

/// Seconds by phase.
#[derive(Clone, Default)]
pub(crate) struct Phases(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    total: BTreeMap<&'static str, f64>,
    /// Open phases, the innermost last.
    open: Vec<&'static str>,
    /// Since when the innermost one is running.
    since: Option<Instant>,
}

impl Running {
    /// Books the time since the last change on the innermost phase.
    fn book(&mut self) {
        #[expect(
            clippy::disallowed_methods,
            reason = "measuring is this crate's purpose"
        )]
        let now = Instant::now();
        if let (Some(since), Some(name)) = (self.since, self.open.last()) {
            *self.total.entry(name).or_default() += now.duration_since(since).as_secs_f64();
        }
        self.since = Some(now);
    }
}

impl Phases {
    /// Takes what was added up so far.
    pub(crate) fn take(&self) -> BTreeMap<&'static str, f64> {
        std::mem::take(&mut self.lock().total)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span's name if it is a phase.
fn phase<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(
    id: &Id,
    ctx: &Context<'_, S>,
) -> Option<&'static str> {
    let metadata = ctx.span(id)?.metadata();
    (metadata.target() == PHASE_TARGET).then(|| metadata.name())
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Phases {
    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        if let Some(name) = phase(id, &ctx) {
            let mut running = self.lock();
            running.book();
            running.open.push(name);
        }
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        if phase(id, &ctx).is_some() {
            let mut running = self.lock();
            running.book();
            running.open.pop();
        }
    }
}
