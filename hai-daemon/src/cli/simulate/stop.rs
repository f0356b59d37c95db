//! Ctrl-C: the first ends what is played and tells what came out, the second ends the command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Whether somebody wants it to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on. Where it can not, Ctrl-C just ends the command.
    pub(super) fn on_interrupt() -> Self {
        let stop = Stop::default();
        let flag = stop.clone();
        thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    if flag.0.swap(true, Ordering::Relaxed) {
                        std::process::exit(130);
                    }
                }
            });
        });
        stop
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
