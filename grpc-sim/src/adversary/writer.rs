//! Frames and field blocks by hand, right or wrong as the script wants.

use std::collections::BTreeSet;

/// The bytes of a hostile client.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    stream: u32,
    /// Streams that were opened and not reset.
    open: BTreeSet<u32>,
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A name and a value.
pub(super) type Field<'f> = (&'f [u8], &'f [u8]);

/// The fields of a well-formed request.
pub(super) const REQUEST: &[Field<'_>] = &[
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/sim.World/Attack"),
    (b":authority", b"sim"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
];

/// The fields of a well-formed response's head.
pub(super) const RESPONSE: &[Field<'_>] =
    &[(b":status", b"200"), (b"content-type", b"application/grpc")];

impl Default for Writer {
    /// After the preface, with empty SETTINGS and, rashly, the acknowledgement of the server's.
    fn default() -> Self {
        let mut writer = Writer::bare();
        writer.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        writer.frame(SETTINGS, 0, 0, &[]);
        writer.frame(SETTINGS, 1, 0, &[]);
        writer
    }
}

impl Writer {
    /// What a server says first: empty SETTINGS, and the acknowledgement of the client's.
    pub(super) fn of_server() -> Self {
        let mut writer = Writer::bare();
        writer.frame(SETTINGS, 0, 0, &[]);
        writer.frame(SETTINGS, 1, 0, &[]);
        writer
    }

    pub(super) fn bare() -> Self {
        Writer { bytes: Vec::new(), stream: 1, open: BTreeSet::new() }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Forgets everything, the preface too.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.open.clear();
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = (payload.len() as u32).to_be_bytes();
        self.raw(&len[1..]);
        self.raw(&[kind, flags]);
        self.raw(&stream.to_be_bytes());
        self.raw(payload);
        match kind {
            HEADERS => drop(self.open.insert(stream)),
            RST_STREAM => drop(self.open.remove(&stream)),
            _ => {}
        }
    }

    /// Streams that were opened and not reset.
    pub(super) fn open_streams(&self) -> BTreeSet<u32> {
        self.open.clone()
    }

    /// SETTINGS with one entry.
    pub(super) fn setting(&mut self, identifier: u8, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        self.frame(SETTINGS, 0, 0, &[0, identifier, a, b, c, d]);
    }

    /// Forgets everything but the preface, if there was one.
    pub(super) fn restart(&mut self) {
        let preface = if self.bytes.starts_with(b"PRI") { 24 } else { 0 };
        self.bytes.truncate(preface);
    }

    /// A stream that was not used yet.
    pub(super) fn next_stream(&mut self) -> u32 {
        self.stream += 2;
        self.stream - 2
    }

    /// The stream that the next request would take.
    pub(super) fn peek_stream(&self) -> u32 {
        self.stream
    }

    pub(super) fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }

    pub(super) fn window_update(&mut self, stream: u32, increment: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// DATA that fills the stream's window, but for its last byte, or goes a byte past it.
    ///
    /// Its message ends in the last frame, so that no credit comes back before that, and fits in the window even if it
    /// were padded, so that none is given for its sake.
    pub(super) fn fill_window(&mut self, stream: u32, window: u32, past: bool) {
        const MOST: usize = 16_384;
        const PADDING: u32 = 1024;
        let mut body = vec![0; window as usize - 1];
        if past {
            body.extend([0; 2]);
        }
        for (place, byte) in
            body.iter_mut().skip(1).zip(window.saturating_sub(5 + PADDING).to_be_bytes())
        {
            *place = byte;
        }
        // The first frame is the short one: what goes past the window comes with the last bytes that it has room for.
        let first = (body.len() % MOST).max(2).min(body.len());
        let (first, rest) = body.split_at(first);
        for part in [first].into_iter().chain(rest.chunks(MOST)) {
            self.frame(DATA, 0, stream, part);
        }
    }

    /// A well-formed request, complete if `end`.
    pub(super) fn request(&mut self, stream: u32, end: bool) {
        self.call(stream, REQUEST[2].1, end);
    }

    /// The same, of another path.
    pub(super) fn call(&mut self, stream: u32, path: &[u8], end: bool) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        let block = Writer::list(&[&REQUEST[..2], &[(b":path", path)], &REQUEST[3..]]);
        self.frame(HEADERS, flags, stream, &block);
    }

    /// The head of a well-formed response, which is all of it if `end`.
    pub(super) fn response(&mut self, stream: u32, end: bool) {
        let block = Writer::list(&[RESPONSE, if end { &[(b"grpc-status", b"0")] } else { &[] }]);
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block);
    }

    /// Trailers that say OK.
    pub(super) fn trailers(&mut self, stream: u32) {
        let block = Writer::list(&[&[(b"grpc-status", b"0")]]);
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
    }

    /// The field block of a well-formed request, literals only, with more fields behind.
    pub(super) fn block(more: &[Field<'_>]) -> Vec<u8> {
        Writer::list(&[REQUEST, more])
    }

    /// A field block of literals.
    pub(super) fn list(parts: &[&[Field<'_>]]) -> Vec<u8> {
        // A table of nothing, whatever the peer's SETTINGS ask for.
        let mut block = vec![0x20];
        for (name, value) in parts.iter().copied().flatten() {
            Writer::literal(&mut block, name, value);
        }
        block
    }

    /// A literal without indexing, with a name of its own.
    pub(super) fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        block.push(0);
        Writer::string(block, name);
        Writer::string(block, value);
    }

    fn string(block: &mut Vec<u8>, text: &[u8]) {
        if text.len() < 127 {
            block.push(text.len() as u8);
        } else {
            block.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                block.push(rest as u8 | 128);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
        block.extend_from_slice(text);
    }
}
