//! What the examples share: running futures without a runtime, a small machine, a task.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use hai_core::backend::{Command, Submitted};
use hai_core::model::*;

/// Runs a future on this thread. A program that has a runtime uses that instead: hai-core's futures need none.
pub fn block_on<F: Future>(future: F) -> F::Output {
    block_on_until(future, None).expect("without a limit it is waited for as long as it takes")
}

/// The same until a moment, if one is given; `None` if the future has nothing to say by then.
pub fn block_on_until<F: Future>(future: F, until: Option<Instant>) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

/// What a future has to say at once, if it has.
pub fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A machine with as many devices of 8 GiB, 16 cores and 64 GiB.
///
/// # Errors
/// [`NameError`] if `name` is none.
pub fn machine(name: &str, devices: u32) -> Result<NodeSpec, NameError> {
    let device =
        |index| Ok(DeviceSpec::new(DeviceId::new(format!("{name}-{index}"))?, ModelName::new("RTX 3070")?, 8 << 10));
    let devices = (0..devices).map(device).collect::<Result<_, _>>()?;
    let (name, group) = (NodeName::new(name)?, GroupName::new("default")?);
    Ok(NodeSpec { devices, ..NodeSpec::new(name, group, 16_000, 64 << 10) })
}

/// Lets everybody hold everything.
#[must_use]
pub fn all_rights() -> Command {
    Command::Tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) })
}

/// A task of `user` with one worker on as many devices.
///
/// # Errors
/// [`NameError`] if `user` is none.
pub fn submit(name: &str, user: &str, priority: Priority, devices: u32) -> Result<Command, NameError> {
    let (user, group) = (UserName::new(user)?, GroupName::new("default")?);
    let spec = TaskSpec::new(name, user, group, priority, WorkerRequest::devices(devices));
    let program = Program { command: vec!["./train".to_owned()], ..Program::default() };
    Ok(Command::Submit(Box::new(Submitted { spec, program })))
}
