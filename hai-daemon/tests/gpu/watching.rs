//! The thread that watches: a world that changes while it looks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hai_core::model::DeviceHealth;
use hai_daemon::gpu::health::Limits;
use hai_daemon::gpu::observer::Rules;
use hai_daemon::gpu::report::NodeReport;
use hai_daemon::gpu::strangers::{LocalWorkers, Tolerance};
use hai_daemon::gpu::watching::{NO_LIBRARY, Options, Watching, start};

use crate::library::{LAB, Library};

const PATIENCE: Duration = Duration::from_secs(20);

fn watch(library: &Library, every: Duration) -> Watching {
    // Real rules with short times.
    let short = Duration::from_millis(300);
    let limits =
        Limits { cool: short, stranger_comes: short, stranger_goes: short, unreadable: short, ..Limits::default() };
    let rules = Rules { limits, tolerance: Tolerance::default(), owners: Arc::new(LocalWorkers::of("/nowhere")) };
    start(Options { nvml: Some(library.path().into()), every, rules }).expect("a thread")
}

fn quick(library: &Library) -> Watching {
    watch(library, Duration::from_millis(20))
}

fn until(watching: &Watching, what: &str, is: impl Fn(&NodeReport) -> bool) -> Arc<NodeReport> {
    let begun = Instant::now();
    loop {
        let last = watching.last();
        if is(&last) {
            return last;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come: {last:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn health(report: &NodeReport, index: usize) -> &DeviceHealth {
    &report.devices[index].spec.health
}

fn all_healthy(report: &NodeReport) -> bool {
    report.devices.len() == 2 && report.devices.iter().all(|device| device.spec.health.is_healthy())
}

#[test]
fn an_xid_is_heard_long_before_the_next_look() {
    let library = Library::playing(LAB);
    let watching = watch(&library, Duration::from_secs(600));
    assert!(all_healthy(&watching.last()));
    library.plays(&format!("{LAB}event 1 1 79\n"));
    let report = until(&watching, "the XID", |report| !all_healthy(report));
    assert!(health(&report, 0).is_healthy());
    assert_eq!(*health(&report, 1), DeviceHealth::Sick { reason: "XID 79: it has fallen off the bus".to_owned() });
}

#[test]
fn a_program_s_xid_changes_nothing_and_the_next_one_is_still_heard() {
    let library = Library::playing(LAB);
    let watching = quick(&library);
    library.plays(&format!("{LAB}event 1 0 31\nevent 2 0 13\nevent 3 1 95\n"));
    let report = until(&watching, "the last XID", |report| !all_healthy(report));
    assert!(health(&report, 0).is_healthy());
    assert!(matches!(health(&report, 1), DeviceHealth::Sick { reason } if reason.starts_with("XID 95")));
}

#[test]
fn a_gpu_that_refuses_to_tell_its_errors_silences_no_other() {
    let refusing = LAB.replace("set bus 1", "set bus 1\nset refuses 1");
    let library = Library::playing(&refusing);
    let watching = watch(&library, Duration::from_secs(600));
    library.plays(&format!("{refusing}event 1 1 79\n"));
    until(&watching, "the XID", |report| !health(report, 1).is_healthy());
}

#[test]
fn heat_comes_and_goes() {
    let library = Library::playing(LAB);
    let watching = quick(&library);
    library.plays(&LAB.replace("set temperature 45", "set temperature 96"));
    let report = until(&watching, "the heat", |report| !all_healthy(report));
    assert!(matches!(health(&report, 0), DeviceHealth::Suspect { reason } if reason.contains("93 °C")));
    assert_eq!(report.devices[0].usage.temperature_c, Some(96));
    library.plays(LAB);
    until(&watching, "the cool", all_healthy);
}

#[test]
fn memory_errors_are_told_until_a_reset() {
    let errors = |count: u32| LAB.replace("set bus 1", &format!("set bus 1\nset ecc {count}"));
    let library = Library::playing(&errors(0));
    let watching = quick(&library);
    library.plays(&errors(1));
    let report = until(&watching, "the error", |report| !all_healthy(report));
    assert!(matches!(health(&report, 0), DeviceHealth::Draining { reason } if reason.contains("uncorrectable")));
}

#[test]
fn broken_memory_that_can_not_be_set_aside_is_sick_and_pages_that_wait_are_suspect() {
    let library = Library::playing(
        &LAB.replace("set bus 1", "set bus 1\nset remap 1").replace("set bus 2", "set bus 2\nset pages 1"),
    );
    let last = quick(&library).last();
    assert!(matches!(health(&last, 0), DeviceHealth::Sick { .. }), "{last:?}");
    assert!(matches!(health(&last, 1), DeviceHealth::Suspect { reason } if reason.contains("pages")), "{last:?}");
}

#[test]
fn a_stranger_comes_and_goes() {
    let library = Library::playing(LAB);
    let watching = quick(&library);
    library.plays(&LAB.replace("set bus 1", "set bus 1\ngraphics 4000000 400"));
    let report = until(&watching, "the stranger", |report| !all_healthy(report));
    assert!(matches!(health(&report, 0), DeviceHealth::Stranger { process } if process.contains("4000000")));
    library.plays(LAB);
    until(&watching, "its end", all_healthy);
}

#[test]
fn a_lost_gpu_is_still_known_by_its_name() {
    let library = Library::playing(LAB);
    let watching = quick(&library);
    library.plays(&LAB.replace("set bus 1", "set bus 1\nfails lost"));
    let report = until(&watching, "the loss", |report| !all_healthy(report));
    assert_eq!(report.devices.len(), 2);
    assert_eq!((report.devices[0].spec.id.as_str(), report.devices[0].spec.memory_mib), ("GPU-3070", 8192));
    assert!(matches!(health(&report, 0), DeviceHealth::Sick { reason } if reason.contains("lost")));
    // A GPU that answers again was reset by nobody we know of.
    library.plays(LAB);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!all_healthy(&watching.last()));
}

#[test]
fn a_lost_gpu_does_not_make_deaf_for_the_others() {
    let library = Library::playing(LAB);
    let watching = watch(&library, Duration::from_secs(600));
    let lost = LAB.replace("set bus 1", "set bus 1\nfails lost");
    library.plays(&lost);
    until(&watching, "the loss", |report| !health(report, 0).is_healthy());
    library.plays(&format!("{lost}event 1 1 79\n"));
    until(&watching, "the other's XID", |report| !health(report, 1).is_healthy());
}

#[test]
fn devices_do_not_vanish_with_the_driver() {
    let library = Library::playing(LAB);
    let watching = quick(&library);
    library.plays("broken 9");
    let report = until(&watching, "the end", |report| !all_healthy(report));
    assert_eq!(report.devices.len(), 2);
    for index in [0, 1] {
        assert!(matches!(health(&report, index), DeviceHealth::Sick { reason } if reason.contains("nvidia-smi")));
    }
}

#[test]
fn a_moment_of_silence_is_forgiven() {
    let library = Library::playing(LAB);
    let watching = quick(&library);
    library.plays(&LAB.replace("set bus 1", "set bus 1\nfails unknown"));
    let report = until(&watching, "the silence", |report| !all_healthy(report));
    assert!(matches!(health(&report, 0), DeviceHealth::Suspect { .. }), "{report:?}");
    until(&watching, "the long silence", |report| matches!(health(report, 0), DeviceHealth::Sick { .. }));
    library.plays(LAB);
    until(&watching, "the answer", all_healthy);
}

#[test]
fn no_library_is_no_devices_and_says_so() {
    let rules = Rules {
        limits: Limits::default(),
        tolerance: Tolerance::default(),
        owners: Arc::new(LocalWorkers::of("/nowhere")),
    };
    let nvml = Some("/nonexistent/libnvidia-ml.so.1".into());
    let watching = start(Options { nvml, every: Duration::from_secs(5), rules }).expect("a thread");
    let last = watching.last();
    assert_eq!((last.devices.len(), last.notes.as_slice()), (0, [NO_LIBRARY.to_owned()].as_slice()));
}
