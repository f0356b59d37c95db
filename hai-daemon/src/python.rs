//! The Python modules that workers may import, kept in the program and put where they find them.

use std::fs;
use std::io;
use std::path::Path;

/// Each by its path under the directory that is told in `HAI_PYTHON`.
pub(crate) const MODULES: [(&str, &str); 3] = [
    ("hai_task.py", include_str!("../../examples/training/hai_task.py")),
    ("hfai/__init__.py", include_str!("../python/hfai/__init__.py")),
    ("hfai/client/__init__.py", include_str!("../python/hfai/client/__init__.py")),
];

/// Writes the modules where they differ: workers that run may be reading them.
pub(crate) fn install(dir: &Path) -> io::Result<()> {
    for (name, text) in MODULES {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, text)?;
        fs::rename(&fresh, &path)?;
    }
    Ok(())
}
