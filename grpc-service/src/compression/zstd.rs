//! Zstandard, by the reference implementation.

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::Broken;
use super::output::Output;

/// The largest window of a frame that is accepted, as a power of two: what RFC 9659 asks of every decoder.
///
/// A frame with such a window makes the context hold as much, once for all connections of a thread.
const WINDOW_LOG: u32 = 23;

/// The level that the reference implementation takes by itself.
const LEVEL: i32 = 3;

/// The highest level of the reference implementation.
const MAX_LEVEL: i32 = 22;

/// The contexts; each is made when it is first needed.
#[derive(Default)]
pub(super) struct Zstd {
    compress: Option<CCtx<'static>>,
    decompress: Option<DCtx<'static>>,
}

impl Zstd {
    pub(super) fn compress(&mut self, level: Option<i32>, plain: &[u8], out: &mut Vec<u8>) {
        let context = self.compress.get_or_insert_with(|| {
            let mut context = CCtx::create();
            let level = level.unwrap_or(LEVEL).clamp(1, MAX_LEVEL);
            let set = context.set_parameter(CParameter::CompressionLevel(level));
            set.expect("every context has these levels");
            context
        });
        out.reserve(zstd_safe::compress_bound(plain.len()));
        context.compress2(out, plain).expect("the bound is room enough for any bytes");
    }

    /// One frame or several, one after the other (RFC 8878 §3).
    pub(super) fn decompress(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Result<(), Broken> {
        let context = self.decompress.get_or_insert_with(|| {
            let mut context = DCtx::create();
            let set = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG));
            set.expect("every context has windows of this size");
            context
        });
        let reset = context.reset(ResetDirective::SessionOnly);
        reset.expect("a session can always be given up");
        let mut input = InBuffer::around(bytes);
        loop {
            out.grow()?;
            let (taken, made) = (input.pos(), out.bytes.len());
            let mut output = OutBuffer::around_pos(out.bytes, made);
            let hint = context.decompress_stream(&mut output, &mut input);
            let hint = hint.map_err(|_| Broken::Corrupt)?;
            out.check()?;
            if hint == 0 && input.pos() == bytes.len() {
                return Ok(());
            }
            // There was room: what is missing is input.
            if input.pos() == taken && out.bytes.len() == made {
                return Err(Broken::Corrupt);
            }
        }
    }
}
