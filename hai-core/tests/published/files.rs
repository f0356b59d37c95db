//! Where the traces are.

use std::io::Read;
use std::path::PathBuf;

/// A file of the folder with whole traces, unpacked; `None`, said aloud, where it is not there.
pub(super) fn shared(name: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    if !name.ends_with(".gz") {
        return Some(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("it can be unpacked");
    Some(plain)
}
