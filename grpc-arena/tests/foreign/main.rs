//! Foreign code that uses the arena in the middle of what this crate does: it allocates, gives memory back, decodes,
//! encodes and panics, all by safe calls. Whatever it does, no memory is handed out twice.

mod giving_back;
mod hook;
mod kinds;
mod live;
mod torture;
