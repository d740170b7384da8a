//! Plants deliberate bugs in a copy of the sources, one at a time, and shows that the simulator finds each.
//!
//! The bugs are `grpc-sim/planted/faults.patch`, so that the sources read as if they were not there. This program copies what
//! git tracks, applies the patch, and builds the copy once; which fault is planted is chosen at run time.
//!
//! `planted [--quick] [FAULT...]`: all faults, or those of these names (see `grpc-sim/planted/faults.rs`).
//! `planted --check` only shows that the patch fits the sources.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, io};

/// What the copy has in addition to the patched sources: (file beside the patch, place in the copy).
const ADDED: [(&str, &str); 2] =
    [("switch.rs", "grpc-proto/src/planted.rs"), ("faults.rs", "grpc-sim/src/bin/faults.rs")];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("planted: {error}; run it in the work tree, with git and cargo at hand");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<bool> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    fs::create_dir_all(&target)?;
    let target = fs::canonicalize(target)?;
    let copy = target.join("planted");
    copy_tracked(&root, &copy)?;
    if !apply(&root, &copy)? {
        return Ok(false);
    }
    if arguments.iter().any(|argument| argument == "--check") {
        println!("faults.patch fits the sources");
        return Ok(true);
    }
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--locked", "--quiet", "-p", "grpc-sim", "--bin", "faults"]);
    // The dependencies are those of the work tree, and are built already.
    build.current_dir(&copy).env("CARGO_TARGET_DIR", &target);
    if !build.status()?.success() {
        eprintln!(
            "planted: the sources do not build with faults.patch; mend it in {}",
            copy.display()
        );
        return Ok(false);
    }
    Ok(Command::new(target.join("release/faults")).args(arguments).status()?.success())
}

/// Makes `copy` what git tracks of `root`, as it lies in the work tree.
fn copy_tracked(root: &Path, copy: &Path) -> io::Result<()> {
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    fs::create_dir_all(copy)?;
    let listed = git(root).args(["ls-files", "-z"]).stdout(Stdio::piped()).output()?;
    if !listed.status.success() {
        return Err(io::Error::other("git lists no files"));
    }
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let (from, to) = (root.join(name), copy.join(name));
        // A file that was removed and is tracked still.
        if !from.is_file() {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Applies the patch to the copy; `false` if a hunk does not fit, which is named.
fn apply(root: &Path, copy: &Path) -> io::Result<bool> {
    let planted = root.join("grpc-sim/planted");
    // A repository of its own: `git apply` leaves out what lies within another one, and `git diff` shows the faults.
    for arguments in [&["init", "--quiet"][..], &["add", "--all", "--force"]] {
        if !git(copy).args(arguments).status()?.success() {
            return Err(io::Error::other("the copy is no repository"));
        }
    }
    let patch = planted.join("faults.patch");
    let applied =
        git(copy).args([OsStr::new("apply"), "--reject".as_ref(), patch.as_ref()]).output()?;
    for (from, to) in ADDED {
        fs::copy(planted.join(from), copy.join(to))?;
    }
    if applied.status.success() {
        return Ok(true);
    }
    for line in String::from_utf8_lossy(&applied.stderr).lines() {
        if line.starts_with("error:") || line.starts_with("Rejected hunk") {
            eprintln!("{line}");
        }
    }
    eprintln!(
        "planted: grpc-sim/planted/faults.patch does not fit the sources; renew the hunks named above:\n\
         write them by hand into the files of {0} (the *.rej files there have them), then run\n\
         git -C {0} diff -- '*.rs' > grpc-sim/planted/faults.patch",
        copy.display()
    );
    Ok(false)
}

fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder);
    git
}
