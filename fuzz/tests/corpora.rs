//! The bodies of the fuzz targets over their committed seeds, and over what they once failed on.
//!
//! `FUZZ_CORPUS=DIR` replays DIR/TARGET as well: a corpus that has grown, for its coverage.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

fn replay(target: &str, check: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let seeded = files(&seeds);
    assert!(seeded.len() >= 5, "{} files in {}", seeded.len(), seeds.display());
    let grown = std::env::var_os("FUZZ_CORPUS").map(|dir: OsString| Path::new(&dir).join(target));
    let grown = grown.filter(|dir| dir.is_dir()).map(|dir| files(&dir)).unwrap_or_default();
    for file in seeded.into_iter().chain(grown) {
        let bytes = std::fs::read(&file).unwrap();
        println!("{}", file.display());
        check(&bytes);
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn frames() {
    replay("frames", fuzz::frames::check);
}

#[test]
fn hpack() {
    replay("hpack", fuzz::hpack::check);
}

#[test]
fn encoder() {
    replay("encoder", fuzz::encoder::check);
}

#[test]
fn server() {
    replay("server", fuzz::server::check);
}

#[test]
fn client() {
    replay("client", fuzz::client::check);
}

#[test]
fn plain() {
    replay("plain", fuzz::plain::check);
}

#[test]
fn service() {
    replay("service", fuzz::service::check);
}

#[test]
fn grammar() {
    replay("grammar", fuzz::grammar::check);
}

#[test]
fn messages() {
    replay("messages", fuzz::messages::check);
}

#[test]
fn compressed() {
    replay("compressed", fuzz::compressed::check);
}

#[test]
fn web() {
    replay("web", fuzz::web::check);
}

#[test]
fn world() {
    replay("world", fuzz::world::check);
}

#[test]
fn recording() {
    replay("recording", fuzz::recording::check);
}

#[test]
fn schemas() {
    replay("schemas", fuzz::schemas::check);
}

#[test]
fn tls() {
    replay("tls", fuzz::tls::check);
}
