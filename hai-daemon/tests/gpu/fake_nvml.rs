//! A library that looks like NVIDIA's to whoever loads it, and plays what a file next to it says.
//!
//! The tests compile it (`crate-type cdylib`), copy it where they want, and write `FILE.so.state`: one word and its values a
//! line. It is read again at every call, so that a test can change the world while somebody looks at it.
//!
//! ```text
//! driver 570.86
//! gpu 0 GPU-3070 NVIDIA GeForce RTX 3070     what follows is about this GPU
//! memory 8192 300                            MiB, and how much of it is used
//! set temperature 45                         also: slowdown utilisation power throttle ecc pages remap major minor bus
//! fails unknown                              every question is answered so: lost, reset, unknown
//! compute 4242 1200                          a process and its MiB
//! graphics 900 120
//! nvlink 1                                   joined with this GPU; 99 is a switch
//! slice MIG-1 NVIDIA A100-SXM4-40GB MIG 1g.5gb    what follows is about this slice, until the next
//! level 0 1 10                               how two GPUs meet: the number of nvml.h
//! event 1 0 79                               the first event: an XID of GPU 0; numbers only rise
//! broken 9                                   nothing works; this is the answer to everything
//! ```

#![allow(non_snake_case, clippy::missing_safety_doc, clippy::not_unsafe_ptr_arg_deref, missing_docs)]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

type Return = c_uint;
type Handle = *mut c_void;

const SUCCESS: Return = 0;
const INVALID_ARGUMENT: Return = 2;
const NOT_SUPPORTED: Return = 3;
const NOT_FOUND: Return = 6;
const INSUFFICIENT_SIZE: Return = 7;
const TIMEOUT: Return = 10;
const IS_LOST: Return = 15;
const RESET_REQUIRED: Return = 16;
const UNKNOWN: Return = 999;

/// Handles of slices begin here; those of GPUs are their index and one.
const SLICES: usize = 1000;
const SWITCH: u32 = 99;

#[derive(Clone, Default)]
struct Device {
    uuid: String,
    name: String,
    memory: (u64, u64),
    values: BTreeMap<String, u64>,
    fails: Option<Return>,
    compute: Vec<(u32, u64)>,
    graphics: Vec<(u32, u64)>,
    nvlinks: Vec<u32>,
    slices: Vec<Device>,
}

#[derive(Default)]
struct World {
    driver: String,
    gpus: BTreeMap<u32, Device>,
    levels: BTreeMap<(u32, u32), c_uint>,
    events: Vec<(u64, u32, u64)>,
    broken: Option<Return>,
}

#[repr(C)]
struct DlInfo {
    name: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
}

fn state_file() -> PathBuf {
    let mut info = DlInfo {
        name: std::ptr::null(),
        base: std::ptr::null_mut(),
        symbol: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    let own = state_file as *const c_void;
    // SAFETY: `info` is as dlfcn.h declares it, and the name it points to lives as long as the library.
    let name = unsafe {
        assert_ne!(dladdr(own, &raw mut info), 0, "a library knows itself");
        CStr::from_ptr(info.name).to_bytes().to_vec()
    };
    let mut path = OsStr::from_bytes(&name).to_owned();
    path.push(".state");
    PathBuf::from(path)
}

fn world() -> World {
    // Whoever writes it puts a new file in its place, so there is never half of one.
    let text = std::fs::read_to_string(state_file()).expect("the state can be read");
    let mut world = World::default();
    let (mut gpu, mut in_slice) = (0, false);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap_or_else(|_| panic!("a number in {line:?}"));
        let small = |index: usize| u32::try_from(number(index)).expect("a small number");
        match words[0] {
            "driver" => world.driver = words[1].to_owned(),
            "gpu" => {
                (gpu, in_slice) = (small(1), false);
                let device = Device { uuid: words[2].to_owned(), name: words[3..].join(" "), ..Device::default() };
                world.gpus.insert(gpu, device);
                continue;
            }
            "level" => drop(world.levels.insert((small(1), small(2)), small(3))),
            "event" => world.events.push((number(1), small(2), number(3))),
            "broken" => world.broken = Some(small(1)),
            _ => {
                let whole = world.gpus.get_mut(&gpu).expect("a GPU comes first");
                if words[0] == "slice" {
                    in_slice = true;
                    let slice = Device { uuid: words[1].to_owned(), name: words[2..].join(" "), ..Device::default() };
                    whole.slices.push(slice);
                    continue;
                }
                let device = if in_slice { whole.slices.last_mut().expect("a slice") } else { whole };
                match words[0] {
                    "memory" => device.memory = (number(1), number(2)),
                    "set" => drop(device.values.insert(words[1].to_owned(), number(2))),
                    "fails" => {
                        device.fails = Some(match words[1] {
                            "lost" => IS_LOST,
                            "reset" => RESET_REQUIRED,
                            _ => UNKNOWN,
                        });
                    }
                    "compute" => device.compute.push((small(1), number(2))),
                    "graphics" => device.graphics.push((small(1), number(2))),
                    "nvlink" => device.nvlinks.push(small(1)),
                    _ => panic!("{line:?} means nothing"),
                }
            }
        }
    }
    world
}

/// The device of a handle, unless the answer is decided already.
fn device(handle: Handle) -> Result<Device, Return> {
    let world = world();
    if let Some(broken) = world.broken {
        return Err(broken);
    }
    let number = handle as usize;
    let found = if number >= SLICES {
        let gpu = u32::try_from(number / SLICES - 1).expect("a handle of ours");
        world.gpus.get(&gpu).and_then(|gpu| gpu.slices.get(number % SLICES)).cloned()
    } else {
        u32::try_from(number).ok().and_then(|number| world.gpus.get(&(number.checked_sub(1)?))).cloned()
    };
    let found = found.ok_or(INVALID_ARGUMENT)?;
    match found.fails {
        Some(fails) => Err(fails),
        None => Ok(found),
    }
}

fn answer(result: Result<(), Return>) -> Return {
    result.err().unwrap_or(SUCCESS)
}

/// One value of a device.
fn value(handle: Handle, name: &str, out: *mut c_uint) -> Return {
    answer(device(handle).and_then(|device| {
        let value = *device.values.get(name).ok_or(NOT_SUPPORTED)?;
        // SAFETY: the caller gave room for one number.
        unsafe { *out = c_uint::try_from(value).expect("a small number") };
        Ok(())
    }))
}

fn text(text: &str, out: *mut c_char, size: c_uint) -> Result<(), Return> {
    if text.len() >= size as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the caller gave room for `size` bytes, which is more than this.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast(), text.len());
        *out.add(text.len()) = 0;
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Return {
    world().broken.unwrap_or(SUCCESS)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Return {
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetDriverVersion(out: *mut c_char, size: c_uint) -> Return {
    answer(text(&world().driver, out, size))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Return {
    let world = world();
    if let Some(broken) = world.broken {
        return broken;
    }
    let last = world.gpus.keys().next_back().map_or(0, |last| last + 1);
    // SAFETY: the caller gave room for one number.
    unsafe { *count = last };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut Handle) -> Return {
    match world().gpus.get(&index) {
        Some(_) => {
            // SAFETY: the caller gave room for one handle.
            unsafe { *out = (index as usize + 1) as Handle };
            SUCCESS
        }
        None => INVALID_ARGUMENT,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUUID(handle: Handle, out: *mut c_char, size: c_uint) -> Return {
    answer(device(handle).and_then(|device| text(&device.uuid, out, size)))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetName(handle: Handle, out: *mut c_char, size: c_uint) -> Return {
    answer(device(handle).and_then(|device| text(&device.name, out, size)))
}

#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMemoryInfo_v2(handle: Handle, out: *mut Memory) -> Return {
    answer(device(handle).and_then(|device| {
        if device.memory.0 == 0 {
            return Err(UNKNOWN);
        }
        let (total, used) = (device.memory.0 << 20, device.memory.1 << 20);
        // SAFETY: the caller gave room for one of these.
        unsafe { *out = Memory { version: (*out).version, total, reserved: 0, free: total - used, used } };
        Ok(())
    }))
}

#[repr(C)]
pub struct Pci {
    legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    id: c_uint,
    sub: c_uint,
    bus_id: [c_char; 32],
}

fn pci(bus: u64) -> Pci {
    Pci { legacy: [0; 16], domain: 0, bus: bus as c_uint, device: 0, id: 0, sub: 0, bus_id: [0; 32] }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetPciInfo_v3(handle: Handle, out: *mut Pci) -> Return {
    answer(device(handle).and_then(|device| {
        let bus = *device.values.get("bus").ok_or(NOT_SUPPORTED)?;
        // SAFETY: the caller gave room for one of these.
        unsafe { *out = pci(bus) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetNvLinkState(handle: Handle, link: c_uint, active: *mut c_uint) -> Return {
    answer(device(handle).and_then(|device| {
        if device.nvlinks.is_empty() {
            return Err(NOT_SUPPORTED);
        }
        // SAFETY: the caller gave room for one number.
        unsafe { *active = c_uint::from((link as usize) < device.nvlinks.len()) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo_v2(handle: Handle, link: c_uint, out: *mut Pci) -> Return {
    answer(device(handle).and_then(|device| {
        let to = *device.nvlinks.get(link as usize).ok_or(NOT_SUPPORTED)?;
        let bus = if to == SWITCH { 200 } else { world().gpus[&to].values["bus"] };
        // SAFETY: the caller gave room for one of these.
        unsafe { *out = pci(bus) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTopologyCommonAncestor(one: Handle, other: Handle, level: *mut c_uint) -> Return {
    let (one, other) = ((one as usize - 1) as u32, (other as usize - 1) as u32);
    match world().levels.get(&(one.min(other), one.max(other))) {
        Some(found) => {
            // SAFETY: the caller gave room for one number.
            unsafe { *level = *found };
            SUCCESS
        }
        None => NOT_SUPPORTED,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCudaComputeCapability(handle: Handle, major: *mut c_int, minor: *mut c_int) -> Return {
    answer(device(handle).and_then(|device| {
        let get = |name| device.values.get(name).map(|value| *value as c_int).ok_or(NOT_SUPPORTED);
        // SAFETY: the caller gave room for two numbers.
        unsafe { (*major, *minor) = (get("major")?, get("minor")?) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTemperature(handle: Handle, _sensor: c_uint, out: *mut c_uint) -> Return {
    value(handle, "temperature", out)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTemperatureThreshold(handle: Handle, which: c_uint, out: *mut c_uint) -> Return {
    // 1 is the slowdown.
    if which == 1 { value(handle, "slowdown", out) } else { NOT_SUPPORTED }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetPowerUsage(handle: Handle, out: *mut c_uint) -> Return {
    value(handle, "power", out)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUtilizationRates(handle: Handle, out: *mut [c_uint; 2]) -> Return {
    let mut used = 0;
    let answered = value(handle, "utilisation", &raw mut used);
    if answered == SUCCESS {
        // SAFETY: the caller gave room for two numbers.
        unsafe { *out = [used, 0] };
    }
    answered
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(handle: Handle, out: *mut u64) -> Return {
    answer(device(handle).map(|device| {
        // SAFETY: the caller gave room for one number.
        unsafe { *out = device.values.get("throttle").copied().unwrap_or(0) };
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTotalEccErrors(handle: Handle, kind: c_uint, counter: c_uint, out: *mut u64) -> Return {
    answer(device(handle).and_then(|device| {
        let count = *device.values.get("ecc").ok_or(NOT_SUPPORTED)?;
        // Uncorrected ones since the last reset; of all others there are plenty.
        // SAFETY: the caller gave room for one number.
        unsafe { *out = if (kind, counter) == (1, 0) { count } else { 4711 } };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetRetiredPagesPendingStatus(handle: Handle, out: *mut c_uint) -> Return {
    value(handle, "pages", out)
}

#[repr(C)]
pub struct Field {
    id: c_uint,
    scope: c_uint,
    timestamp: i64,
    latency: i64,
    kind: c_uint,
    result: Return,
    value: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetFieldValues(handle: Handle, count: c_int, fields: *mut Field) -> Return {
    answer(device(handle).map(|device| {
        for index in 0..usize::try_from(count).expect("a count") {
            // SAFETY: the caller gave `count` of these.
            let field = unsafe { &mut *fields.add(index) };
            let found = device.values.get("remap").filter(|_| field.id == 145);
            // 1 is an unsigned int.
            (field.kind, field.value) = (1, found.copied().unwrap_or(0));
            field.result = if found.is_some() { SUCCESS } else { NOT_SUPPORTED };
        }
    }))
}

#[repr(C)]
pub struct Running {
    pid: c_uint,
    memory: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

fn running(found: &[(u32, u64)], count: *mut c_uint, out: *mut Running) -> Return {
    // SAFETY: the caller gave room for one number, and for as many of these as it says.
    unsafe {
        let room = *count as usize;
        *count = found.len() as c_uint;
        if found.len() > room {
            return INSUFFICIENT_SIZE;
        }
        for (index, (pid, mib)) in found.iter().enumerate() {
            let running =
                Running { pid: *pid, memory: mib << 20, gpu_instance: u32::MAX, compute_instance: u32::MAX };
            out.add(index).write(running);
        }
    }
    SUCCESS
}

#[cfg(not(old_driver))]
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    handle: Handle,
    count: *mut c_uint,
    out: *mut Running,
) -> Return {
    device(handle).map_or_else(|error| error, |device| running(&device.compute, count, out))
}

#[cfg(not(old_driver))]
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    handle: Handle,
    count: *mut c_uint,
    out: *mut Running,
) -> Return {
    device(handle).map_or_else(|error| error, |device| running(&device.graphics, count, out))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(handle: Handle, current: *mut c_uint, pending: *mut c_uint) -> Return {
    answer(device(handle).and_then(|device| {
        let split = !device.slices.is_empty();
        if !split && !device.values.contains_key("mig") {
            return Err(NOT_SUPPORTED);
        }
        // SAFETY: the caller gave room for two numbers.
        unsafe { (*current, *pending) = (c_uint::from(split), c_uint::from(split)) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMaxMigDeviceCount(_: Handle, count: *mut c_uint) -> Return {
    // SAFETY: the caller gave room for one number.
    unsafe { *count = 7 };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(handle: Handle, index: c_uint, out: *mut Handle) -> Return {
    answer(device(handle).and_then(|device| {
        if index as usize >= device.slices.len() {
            return Err(NOT_FOUND);
        }
        // SAFETY: the caller gave room for one handle.
        unsafe { *out = (handle as usize * SLICES + index as usize) as Handle };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetSupportedEventTypes(handle: Handle, types: *mut u64) -> Return {
    answer(device(handle).map(|device| {
        let deaf = device.values.contains_key("deaf");
        // SAFETY: the caller gave room for one number. 8 is an XID, 2 a double-bit error.
        unsafe { *types = if deaf { 0 } else { 8 | 2 } };
    }))
}

/// Which GPUs a set listens to, and up to which event it was told.
struct Set {
    gpus: Mutex<Vec<u32>>,
    told: Mutex<u64>,
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetCreate(out: *mut Handle) -> Return {
    // What was before a set was made is not told to it.
    let past = world().events.iter().map(|(serial, ..)| *serial).max().unwrap_or(0);
    let set = Box::new(Set { gpus: Mutex::default(), told: Mutex::new(past) });
    // SAFETY: the caller gave room for one handle.
    unsafe { *out = Box::into_raw(set).cast() };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(set: Handle) -> Return {
    // SAFETY: it came from `nvmlEventSetCreate`, and is freed once.
    drop(unsafe { Box::from_raw(set.cast::<Set>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(handle: Handle, _types: u64, set: Handle) -> Return {
    answer(device(handle).and_then(|device| {
        if device.values.contains_key("refuses") {
            return Err(NOT_SUPPORTED);
        }
        // SAFETY: it came from `nvmlEventSetCreate`, and is not freed yet.
        let set = unsafe { &*set.cast::<Set>() };
        set.gpus.lock().expect("nobody panics").push((handle as usize - 1) as u32);
        Ok(())
    }))
}

#[repr(C)]
pub struct EventData {
    device: Handle,
    kind: u64,
    data: u64,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetWait_v2(set: Handle, out: *mut EventData, timeout_ms: c_uint) -> Return {
    // SAFETY: it came from `nvmlEventSetCreate`, and is not freed yet.
    let set = unsafe { &*set.cast::<Set>() };
    let until = Instant::now() + Duration::from_millis(timeout_ms.into());
    loop {
        let mut told = set.told.lock().expect("nobody panics");
        let heard = set.gpus.lock().expect("nobody panics").clone();
        let world = world();
        let lost = |gpu: &u32| world.gpus.get(gpu).is_some_and(|gpu| gpu.fails == Some(IS_LOST));
        if heard.iter().any(lost) {
            return IS_LOST;
        }
        let next = world.events.into_iter().find(|(serial, gpu, _)| serial > &told && heard.contains(gpu));
        if let Some((serial, gpu, xid)) = next {
            *told = serial;
            let device = (gpu as usize + 1) as Handle;
            // SAFETY: the caller gave room for one of these.
            unsafe { *out = EventData { device, kind: 8, data: xid, gpu_instance: 0, compute_instance: 0 } };
            return SUCCESS;
        }
        drop(told);
        if Instant::now() >= until {
            return TIMEOUT;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
