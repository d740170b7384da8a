//! Compression of messages: which encodings there are, which are used, and the contexts that do it.
//!
//! The protocol core negotiates (`grpc-encoding`, `grpc-accept-encoding`, the flag of each message); here bytes become
//! fewer bytes and the other way round, with the receive limit held while they grow.

#[cfg(any(feature = "gzip", feature = "deflate"))]
mod flate;
#[cfg(feature = "gzip")]
mod gzip;
mod output;
#[cfg(feature = "zstd")]
mod zstd;

use std::cell::RefCell;
use std::fmt;

use grpc_arena::{Arena, Encode, SizeCache};
use grpc_proto::record::Recorder;
use grpc_proto::{ApiMisuse, CallKey, Code, RequestHead, Role, SendError, Status};

use output::Output;

/// A way to compress messages, by its name in `grpc-encoding`.
///
/// Which ones there are is decided by this crate's features; without any, none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// `gzip`: DEFLATE in the format of RFC 1952.
    #[cfg(feature = "gzip")]
    Gzip,
    /// `deflate`: DEFLATE in the format of zlib (RFC 1950), as HTTP understands the word.
    #[cfg(feature = "deflate")]
    Deflate,
    /// `zstd`: Zstandard (RFC 8878), with windows up to 8 MiB (RFC 9659).
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Encoding {
    /// All that were compiled in.
    pub const ALL: &'static [Encoding] = &[
        #[cfg(feature = "gzip")]
        Encoding::Gzip,
        #[cfg(feature = "deflate")]
        Encoding::Deflate,
        #[cfg(feature = "zstd")]
        Encoding::Zstd,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Encoding::Gzip => "gzip",
            #[cfg(feature = "deflate")]
            Encoding::Deflate => "deflate",
            #[cfg(feature = "zstd")]
            Encoding::Zstd => "zstd",
        }
    }

    /// The encoding of a name, if it was compiled in.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|encoding| encoding.name() == name)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which encodings one end of a connection uses. By default none, in either direction.
///
/// ```
/// use grpc_service::Compression;
/// # #[cfg(feature = "gzip")]
/// # {
/// use grpc_service::Encoding;
/// let compression = Compression::none().send(Encoding::Gzip).accept(Encoding::Gzip).at_least(512);
/// # }
/// ```
///
/// Compressing costs far more than all else that is done to a message, so it pays where the network is slower than
/// the codec. Do not compress what mixes a secret with what an attacker chooses: its length tells about the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    send: Vec<Encoding>,
    accept: Vec<Encoding>,
    at_least: usize,
    levels: Vec<(Encoding, i32)>,
}

/// Smaller messages gain less than the packet that they travel in, and cost a codec's fixed price.
const AT_LEAST: usize = 1024;

impl Compression {
    /// Nothing is compressed, and nothing compressed is accepted.
    pub const fn none() -> Self {
        Self { send: Vec::new(), accept: Vec::new(), at_least: AT_LEAST, levels: Vec::new() }
    }

    /// Compresses what is sent.
    ///
    /// A client uses the first encoding that it was given, because it does not know what the server understands; a
    /// server the first that the request accepts, and none if it accepts none.
    #[must_use]
    pub fn send(mut self, encoding: Encoding) -> Self {
        if !self.send.contains(&encoding) {
            self.send.push(encoding);
        }
        self
    }

    /// Takes messages in this encoding, and says so in `grpc-accept-encoding`.
    ///
    /// What comes in another one is answered UNIMPLEMENTED by a server, and INTERNAL at a client.
    #[must_use]
    pub fn accept(mut self, encoding: Encoding) -> Self {
        if !self.accept.contains(&encoding) {
            self.accept.push(encoding);
        }
        self
    }

    /// Takes all encodings that were compiled in.
    #[must_use]
    pub fn accept_all(self) -> Self {
        Encoding::ALL.iter().fold(self, |compression, &encoding| compression.accept(encoding))
    }

    /// Compresses with `level`: higher takes more time and makes less. Out of range it becomes the nearest level.
    ///
    /// `gzip` and `deflate` have 1 to 9, and 6 by default; `zstd` has 1 to 22, and 3 by default. From 20 on a context of
    /// Zstandard takes hundreds of megabytes.
    #[must_use]
    pub fn level(mut self, encoding: Encoding, level: i32) -> Self {
        self.levels.retain(|(other, _)| *other != encoding);
        self.levels.push((encoding, level));
        self
    }

    /// The level that was set for an encoding.
    fn level_of(&self, encoding: Encoding) -> Option<i32> {
        self.levels.iter().find(|(other, _)| *other == encoding).map(|&(_, level)| level)
    }

    /// Sends messages of fewer bytes as they are. Default 1024.
    #[must_use]
    pub fn at_least(mut self, bytes: usize) -> Self {
        self.at_least = bytes;
        self
    }

    /// What a client compresses with, unless a call says otherwise.
    pub(crate) fn preferred(&self) -> Option<Encoding> {
        self.send.first().copied()
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::none()
    }
}

/// Why a message could not be decompressed.
#[cfg_attr(
    not(any(feature = "gzip", feature = "deflate", feature = "zstd")),
    allow(dead_code) // nothing decompresses then
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is longer than may be received.
    TooLarge,
    /// It is not in the encoding that was named.
    Corrupt,
}

impl Broken {
    fn status(self, encoding: Encoding) -> Status {
        match self {
            Broken::TooLarge => Status::new(
                Code::ResourceExhausted,
                "a message exceeds the receiver's limit when decompressed",
            ),
            Broken::Corrupt => {
                Status::new(Code::Internal, format!("a message is no valid {encoding}"))
            }
        }
    }
}

/// The status for a compressed message whose encoding was not agreed upon.
pub(crate) fn not_agreed() -> Status {
    Status::new(Code::Internal, "a message is compressed, but not in an encoding that was offered")
}

/// The settings of an end and the memory of its codecs: one for all connections of a server's thread, or for a
/// client's connection. Every message starts from a fresh context in memory that is used again.
pub(crate) struct Codecs {
    settings: Compression,
    /// `grpc-accept-encoding`.
    accepted: String,
    state: RefCell<State>,
}

/// What compressing a message has come to whose queue was full by then.
///
/// A peer decides how often a sender that waits tries again: a byte of window is an attempt. Each would cost the
/// compression of the whole message, where the result were not kept.
pub(crate) enum Packed {
    /// It was not compressed yet.
    Not,
    /// It does not get shorter.
    AsItIs,
    Shorter(Box<[u8]>),
}

/// Scratch memory above this goes back to the heap after each message.
const KEPT: usize = 64 << 10;

#[derive(Default)]
struct State {
    sizes: SizeCache,
    plain: Vec<u8>,
    packed: Vec<u8>,
    #[cfg(any(feature = "gzip", feature = "deflate"))]
    flate: flate::Flate,
    #[cfg(feature = "zstd")]
    zstd: zstd::Zstd,
}

impl Codecs {
    pub(crate) fn new(settings: Compression) -> Self {
        let mut accepted = String::from("identity");
        for encoding in &settings.accept {
            accepted.push(',');
            accepted.push_str(encoding.name());
        }
        Self { settings, accepted, state: RefCell::default() }
    }

    /// `grpc-accept-encoding`, where it says more than nothing would.
    pub(crate) fn accepted(&self) -> Option<&str> {
        if self.settings.accept.is_empty() { None } else { Some(&self.accepted) }
    }

    /// `grpc-accept-encoding`, even where it is `identity` alone.
    pub(crate) fn all_accepted(&self) -> &str {
        &self.accepted
    }

    /// The encoding of a peer's name, if we take it.
    pub(crate) fn accept(&self, name: &str) -> Option<Encoding> {
        self.settings.accept.iter().copied().find(|encoding| encoding.name() == name)
    }

    /// What the answer to a request is compressed with.
    pub(crate) fn choose(&self, request: &RequestHead) -> Option<Encoding> {
        let mut ours = self.settings.send.iter().copied();
        ours.find(|encoding| request.accepts(encoding.name()))
    }

    /// What a client compresses with, unless a call says otherwise.
    pub(crate) fn preferred(&self) -> Option<Encoding> {
        self.settings.preferred()
    }

    /// Sends a message compressed, or as it is if that is shorter or the message small.
    ///
    /// `packed` stays with the message from one attempt to the next.
    pub(crate) fn send<R: Role, M: Encode + ?Sized>(
        &self,
        encoding: Encoding,
        connection: &mut Recorder<R>,
        call: CallKey,
        message: &M,
        packed: &mut Packed,
    ) -> Result<(), SendError> {
        match packed {
            Packed::Not => {}
            Packed::AsItIs => return connection.send(call, message),
            Packed::Shorter(bytes) => {
                let sent = connection.send_compressed(call, bytes);
                if sent != Err(SendError::Full) {
                    *packed = Packed::Not;
                }
                return sent;
            }
        }
        let mut state = self.state.borrow_mut();
        let len = message.encoded_len(&mut state.sizes);
        // What cannot be queued now is not worth compressing: the attempt asks to be told of room.
        if len < self.settings.at_least || !connection.can_send(call) {
            return connection.send(call, message);
        }
        if len > connection.session().limits().max_send_message as usize {
            return Err(SendError::TooLarge);
        }
        let State { sizes, plain, .. } = &mut *state;
        plain.clear();
        message.encode(sizes, plain);
        if plain.len() != len {
            state.trim();
            return Err(SendError::Misuse(ApiMisuse::EncodedLength));
        }
        state.compress(encoding, self.settings.level_of(encoding));
        let is_shorter = state.packed.len() < len;
        let sent = match is_shorter {
            true => connection.send_compressed(call, &state.packed),
            false => connection.send(call, message),
        };
        if sent == Err(SendError::Full) {
            *packed = match is_shorter {
                true => Packed::Shorter(state.packed.as_slice().into()),
                false => Packed::AsItIs,
            };
        }
        state.trim();
        sent
    }

    /// Decompresses a message into an arena, `limit` bytes at most.
    pub(crate) fn decompress<'a>(
        &self,
        encoding: Encoding,
        bytes: &[u8],
        arena: &'a Arena,
        limit: usize,
    ) -> Result<&'a [u8], Status> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.plain.clear();
        let decompressed = state.decompress(encoding, bytes, limit);
        let copied = decompressed.map_err(|broken| broken.status(encoding)).and_then(|()| {
            arena.try_alloc_slice(&state.plain).map_err(|full| {
                let text = format!("a message does not fit: {full}");
                Status::new(Code::ResourceExhausted, text)
            })
        });
        state.trim();
        copied.map(|bytes| &*bytes)
    }
}

impl State {
    /// Compresses `plain` into `packed`.
    #[cfg_attr(
        not(any(feature = "gzip", feature = "deflate", feature = "zstd")),
        allow(unused_variables)
    )]
    fn compress(&mut self, encoding: Encoding, level: Option<i32>) {
        self.packed.clear();
        match encoding {
            #[cfg(feature = "gzip")]
            Encoding::Gzip => self.flate.gzip(level, &self.plain, &mut self.packed),
            #[cfg(feature = "deflate")]
            Encoding::Deflate => self.flate.zlib(level, &self.plain, &mut self.packed),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => self.zstd.compress(level, &self.plain, &mut self.packed),
        }
    }

    /// Decompresses `bytes` into `plain`.
    #[cfg_attr(
        not(any(feature = "gzip", feature = "deflate", feature = "zstd")),
        allow(unused_variables, unused_mut)
    )]
    fn decompress(&mut self, encoding: Encoding, bytes: &[u8], limit: usize) -> Result<(), Broken> {
        let mut output = Output::new(&mut self.plain, limit);
        match encoding {
            #[cfg(feature = "gzip")]
            Encoding::Gzip => self.flate.gunzip(bytes, &mut output),
            #[cfg(feature = "deflate")]
            Encoding::Deflate => self.flate.unzlib(bytes, &mut output),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => self.zstd.decompress(bytes, &mut output),
        }
    }

    /// Gives memory back that an unusually large message has taken.
    fn trim(&mut self) {
        for buffer in [&mut self.plain, &mut self.packed] {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
    }
}

#[cfg(all(test, feature = "gzip", feature = "deflate", feature = "zstd"))]
mod tests;
