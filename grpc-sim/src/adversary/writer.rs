//! Frames and field blocks by hand, right or wrong as the script wants.

/// The bytes of a hostile client.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    stream: u32,
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
    pub(super) fn bare() -> Self {
        Writer { bytes: Vec::new(), stream: 1 }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Forgets everything, the preface too.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
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
    }

    /// A stream that was not used yet.
    pub(super) fn next_stream(&mut self) -> u32 {
        self.stream += 2;
        self.stream - 2
    }

    pub(super) fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }

    pub(super) fn window_update(&mut self, stream: u32, increment: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// A well-formed request, complete if `end`.
    pub(super) fn request(&mut self, stream: u32, end: bool) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &Writer::block(&[]));
    }

    /// The field block of a well-formed request, literals only, with more fields behind.
    pub(super) fn block(more: &[(&[u8], &[u8])]) -> Vec<u8> {
        let fields: [(&[u8], &[u8]); 6] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/sim.World/Attack"),
            (b":authority", b"sim"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ];
        // A table of nothing, whatever the server's SETTINGS ask for.
        let mut block = vec![0x20];
        for (name, value) in fields.iter().chain(more) {
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
