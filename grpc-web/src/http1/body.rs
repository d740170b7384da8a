//! Bodies of requests: by Content-Length, or in chunks.

use super::head::Framing;
use crate::fault::Fault;

/// The body of a request, as far as it has come.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    /// Bytes that may still come.
    room: u64,
    /// Bytes of chunk extensions and trailers that may still come.
    overhead: usize,
}

/// Where in a body we are.
///
/// ```text
///   1a ;extension CR LF data… CR LF   0 CR LF   trailer CR LF   CR LF
///   Size Extension  SizeLf Data DataCr DataLf   TrailerStart Trailer TrailerLf  EndLf
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Within what Content-Length counts.
    Counted(u64),
    /// Within the size of a chunk, of which so many digits have come.
    Size(u64, u8),
    /// Behind the size, up to CR.
    Extension(u64),
    /// LF must come.
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// Before a line of trailers, or the last line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Hexadecimal digits of a 64-bit size.
const MAX_DIGITS: u8 = 16;

impl Body {
    /// A body of at most `max_body` bytes, with at most `overhead` bytes of extensions and trailers.
    ///
    /// # Errors
    /// A Content-Length above the limit.
    pub(crate) fn new(framing: Framing, max_body: u64, overhead: usize) -> Result<Self, Fault> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(len) if len > max_body => return Err(Fault::BodyTooLong),
            Framing::Length(len) => State::Counted(len),
            Framing::Chunked => State::Size(0, 0),
        };
        Ok(Body { state, room: max_body, overhead })
    }

    /// Whether all of it has come.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes at most `max` bytes of data off the front of `input`, and the framing before them; empty where the input or
    /// the body ends, or `max` is 0.
    ///
    /// # Errors
    /// The rule that the framing breaks.
    pub(crate) fn take<'i>(&mut self, input: &mut &'i [u8], max: usize) -> Result<&'i [u8], Fault> {
        loop {
            match self.state {
                State::Done => return Ok(&[]),
                State::Counted(left) | State::Data(left) => {
                    let len = input.len().min(max).min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (data, rest) = input.split_at(len);
                    *input = rest;
                    let left = left - len as u64;
                    self.state = match (self.state, left) {
                        (State::Counted(_), 0) => State::Done,
                        (State::Counted(_), _) => State::Counted(left),
                        (_, 0) => State::DataCr,
                        _ => State::Data(left),
                    };
                    return Ok(data);
                }
                _ => {}
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(&[]) };
            self.state = self.step(byte)?;
            *input = rest;
        }
    }

    /// Takes the framing that stands before the next data, as far as it has come.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn skip_framing(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        self.take(input, 0).map(drop)
    }

    /// One byte of the framing of chunks.
    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        Ok(match (self.state, byte) {
            (State::Size(size, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == MAX_DIGITS {
                    return Err(Fault::Chunk);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (State::Size(_, 0), _) => return Err(Fault::Chunk),
            (State::Size(size, _), b'\r') => State::SizeLf(self.begin_chunk(size)?),
            (State::Size(size, _), b';') => {
                self.charge()?;
                State::Extension(self.begin_chunk(size)?)
            }
            (State::Extension(size), b'\r') => State::SizeLf(size),
            // Anything else in an extension is skipped, but for what a lenient reader could take for the end of a line.
            (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => {
                self.charge()?;
                State::Extension(size)
            }
            (State::SizeLf(0), b'\n') => State::TrailerStart,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, b'\n' | b' ' | b'\t') => return Err(Fault::Chunk),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => {
                self.charge()?;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(Fault::Chunk),
        })
    }

    /// The size of a chunk is complete.
    fn begin_chunk(&mut self, size: u64) -> Result<u64, Fault> {
        self.room = self.room.checked_sub(size).ok_or(Fault::BodyTooLong)?;
        Ok(size)
    }

    fn charge(&mut self) -> Result<(), Fault> {
        self.overhead = self.overhead.checked_sub(1).ok_or(Fault::ChunkOverhead)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], piece: usize) -> Result<(Vec<u8>, bool, usize), Fault> {
        let mut body = Body::new(Framing::Chunked, 100, 20)?;
        let mut data = Vec::new();
        let mut taken = 0;
        for piece in text.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() && !body.is_done() {
                data.extend_from_slice(body.take(&mut rest, usize::MAX)?);
            }
            body.skip_framing(&mut rest)?;
            taken += piece.len() - rest.len();
        }
        Ok((data, body.is_done(), taken))
    }

    #[test]
    fn chunks_are_read_in_any_pieces() {
        let text = b"4\r\nabcd\r\nA;x=\"y\"\r\n0123456789\r\n00000\r\nx-t: 1\r\ny: 2\r\n\r\n";
        for piece in 1..=text.len() {
            let read = read(text, piece);
            assert_eq!(read, Ok((b"abcd0123456789".to_vec(), true, text.len())), "{piece}");
        }
    }

    #[test]
    fn what_follows_the_last_chunk_is_left() {
        let read = read(b"1\r\na\r\n0\r\n\r\nGET /", 100);
        assert_eq!(read, Ok((b"a".to_vec(), true, 11)));
    }

    #[test]
    fn chunks_that_two_readers_could_cut_differently_are_refused() {
        for text in [
            &b"\r\n"[..],
            b" 1\r\na\r\n",
            b"1 \r\na\r\n",
            b"+1\r\na\r\n",
            b"-1\r\n",
            b"0x1\r\na\r\n",
            b"1\na\n",
            b"1\r\na\n",
            b"1\r\nab\r\n",
            b"1\r\na0\r\n\r\n",
            b"g\r\n",
            b"1_0\r\n",
            b"00000000000000001\r\na\r\n",
            b"1;\na\r\n",
            b"1\rx",
            b"1;x\rx",
            b"0\r\n\n",
            b"0\r\nx: y\n\r\n",
            b"0\r\n x: y\r\n\r\n",
            b"0\r\n\rx",
            b"1;\0\r\na\r\n",
            b"0\r\nx\0\r\n\r\n",
            b"1\r\na\rx",
        ] {
            for piece in 1..=text.len() {
                let read = read(text, piece);
                assert_eq!(read, Err(Fault::Chunk), "{} in {piece}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn sizes_and_what_stands_beside_them_are_limited() {
        for piece in [1, 100] {
            assert_eq!(read(b"ffffffffffffffff\r\n", piece), Err(Fault::BodyTooLong));
            assert_eq!(read(b"32\r\n", piece).map(|read| read.1), Ok(false));
            let two = [b"32\r\n".as_slice(), &[b'x'; 50], b"\r\n33\r\n"].concat();
            assert_eq!(read(&two, piece), Err(Fault::BodyTooLong));
            assert_eq!(
                read(b"1;2345678901234567890\r\na\r\n", piece).map(|read| read.1),
                Ok(false)
            );
            assert_eq!(read(b"1;23456789012345678901\r\n", piece), Err(Fault::ChunkOverhead));
            assert_eq!(
                read(b"0\r\nx: 34567890\r\nx: 345678\r\nx", piece),
                Err(Fault::ChunkOverhead)
            );
        }
        assert!(Body::new(Framing::Length(100), 100, 0).is_ok());
        assert_eq!(Body::new(Framing::Length(101), 100, 0).err(), Some(Fault::BodyTooLong));
    }
}
