//! Files of a schema in folders.

use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::schema::{Source, Sources, carried, google_apis};

/// The include folders.
pub(crate) struct Folders<'a> {
    pub(crate) includes: &'a [&'a Path],
    /// Whether the files of `google/api` and `google/rpc` that this crate carries are there too.
    pub(crate) google_apis: bool,
}

impl Sources for Folders<'_> {
    fn read(&self, name: &str) -> Result<Option<Source>, String> {
        // An import is a path below an include folder, with slashes, and leads nowhere else.
        if !is_below(Path::new(name)) {
            return Ok(None);
        }
        for path in self.includes.iter().map(|include| include.join(name)) {
            match std::fs::read(&path) {
                Ok(text) => {
                    println!("cargo:rerun-if-changed={}", path.display());
                    return Ok(Some(Source { text, path: openable(&path) }));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
        let carried = if self.google_apis { google_apis(name) } else { None };
        Ok(carried.map(|text| Source { text: text.to_vec(), path: name.to_owned() }))
    }
}

impl Folders<'_> {
    /// The name of a file that is asked for: what is left of its path behind the first include folder that it lies in.
    pub(crate) fn name_of(&self, proto: &Path) -> Result<String, Error> {
        let name = name_to_protoc(proto, self.includes);
        if is_below(Path::new(&name))
            && self.includes.iter().any(|include| include.join(&name).is_file())
        {
            return Ok(name);
        }
        // The same path may be written in two ways.
        if let Ok(whole) = proto.canonicalize() {
            for include in self.includes.iter().filter_map(|include| include.canonicalize().ok()) {
                if let Ok(inner) = whole.strip_prefix(&include) {
                    return Ok(with_slashes(inner));
                }
            }
            let what = "the file lies in no include folder; add its folder to the includes";
            return Err(Error::new(what).in_file(openable(proto)));
        }
        if carried(&name).is_some() || self.google_apis && google_apis(&name).is_some() {
            return Ok(name);
        }
        let what =
            "there is no such file, and none of this name in an include folder; look at the path";
        Err(Error::new(what).in_file(openable(proto)))
    }
}

/// Whether a path has names alone: neither a root nor `..`.
fn is_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// A path that an editor opens wherever it was started.
fn openable(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The same error with the path of its file, where an include folder has it.
pub(crate) fn located(error: Error, includes: &[&Path]) -> Error {
    let found = error.file().and_then(|name| {
        includes.iter().map(|include| include.join(name)).find(|path| path.is_file())
    });
    match found {
        Some(path) => error.in_file(openable(&path)),
        None => error,
    }
}

/// How `protoc` calls a file: by what is left of its path behind the first of the includes that it lies in.
pub(crate) fn name_to_protoc(proto: &Path, includes: &[&Path]) -> String {
    // It compares paths as they are written, but for components that say nothing.
    let plain = |path: &Path| {
        path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>()
    };
    let proto = plain(proto);
    let inner = includes.iter().find_map(|include| {
        let inner = proto.strip_prefix(plain(include)).ok()?;
        // The current folder holds no absolute path, and none holds what leaves it.
        is_below(inner).then_some(inner)
    });
    with_slashes(inner.unwrap_or(&proto))
}

fn with_slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
