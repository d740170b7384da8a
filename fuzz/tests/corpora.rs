//! The bodies of the fuzz targets over their committed seeds, and over what they once failed on.

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} files in {}", files.len(), dir.display());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        println!("{}", file.display());
        check(&bytes);
    }
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
fn server() {
    replay("server", fuzz::server::check);
}

#[test]
fn client() {
    replay("client", fuzz::client::check);
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
fn world() {
    replay("world", fuzz::world::check);
}
