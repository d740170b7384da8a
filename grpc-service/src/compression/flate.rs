//! DEFLATE in its two wrappings, by `flate2` over `zlib-rs`.
//!
//! The wrapping of gzip is read and written here, because `flate2` offers it only with a context for each stream.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Broken;
#[cfg(feature = "gzip")]
use super::gzip;
use super::output::Output;

/// The contexts; each is made when it is first needed.
#[derive(Default)]
pub(super) struct Flate {
    #[cfg(feature = "gzip")]
    raw: Option<Compress>,
    #[cfg(feature = "deflate")]
    zlib: Option<Compress>,
    inflate: Option<Decompress>,
}

impl Flate {
    #[cfg(feature = "gzip")]
    pub(super) fn gzip(&mut self, level: Option<i32>, plain: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&gzip::HEAD);
        let raw = self.raw.get_or_insert_with(|| Compress::new(compression(level), false));
        deflate(raw, plain, out);
        out.extend_from_slice(&gzip::crc32(plain).to_le_bytes());
        out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    }

    #[cfg(feature = "deflate")]
    pub(super) fn zlib(&mut self, level: Option<i32>, plain: &[u8], out: &mut Vec<u8>) {
        let zlib = self.zlib.get_or_insert_with(|| Compress::new(compression(level), true));
        deflate(zlib, plain, out);
    }

    /// One gzip member or several, one after the other (RFC 1952 §2.2).
    #[cfg(feature = "gzip")]
    pub(super) fn gunzip(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Result<(), Broken> {
        let mut rest = bytes;
        loop {
            let from = out.bytes.len();
            rest = self.inflate(gzip::body(rest)?, false, out)?;
            let (trailer, next) = rest.split_first_chunk::<8>().ok_or(Broken::Corrupt)?;
            let member = &out.bytes[from..];
            let [crc, len] = [&trailer[..4], &trailer[4..]];
            if crc != gzip::crc32(member).to_le_bytes()
                || len != (member.len() as u32).to_le_bytes()
            {
                return Err(Broken::Corrupt);
            }
            if next.is_empty() {
                return Ok(());
            }
            rest = next;
        }
    }

    #[cfg(feature = "deflate")]
    pub(super) fn unzlib(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Result<(), Broken> {
        match self.inflate(bytes, true, out)? {
            [] => Ok(()),
            _ => Err(Broken::Corrupt),
        }
    }

    /// Inflates one stream; returns what follows it.
    fn inflate<'b>(
        &mut self,
        bytes: &'b [u8],
        zlib: bool,
        out: &mut Output<'_>,
    ) -> Result<&'b [u8], Broken> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(zlib));
        inflate.reset(zlib);
        let mut rest = bytes;
        loop {
            out.grow()?;
            let (taken, made) = (inflate.total_in(), out.bytes.len());
            let status = inflate.decompress_vec(rest, out.bytes, FlushDecompress::None);
            let status = status.map_err(|_| Broken::Corrupt)?;
            out.check()?;
            let taken = (inflate.total_in() - taken) as usize;
            rest = &rest[taken..];
            match status {
                Status::StreamEnd => return Ok(rest),
                // There was room: what is missing is input.
                _ if taken == 0 && out.bytes.len() == made => return Err(Broken::Corrupt),
                _ => {}
            }
        }
    }
}

/// The level of a new context; those that compress have the numbers 1 to 9.
fn compression(level: Option<i32>) -> Compression {
    level.map_or(Compression::default(), |level| Compression::new(level.clamp(1, 9) as u32))
}

/// Deflates all of `plain`, appending to `out`.
fn deflate(context: &mut Compress, plain: &[u8], out: &mut Vec<u8>) {
    context.reset();
    let mut rest = plain;
    loop {
        // Room for a message that does not shrink: stored blocks add five bytes each 16 KiB at the worst.
        out.reserve(rest.len() + rest.len() / 1024 + 64);
        let before = context.total_in();
        let status = context.compress_vec(rest, out, FlushCompress::Finish);
        rest = &rest[(context.total_in() - before) as usize..];
        match status.expect("a context that was reset takes any bytes") {
            Status::StreamEnd => return,
            Status::Ok | Status::BufError => {}
        }
    }
}
