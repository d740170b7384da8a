//! A whole call between a client and a server in memory, without the standard library.

#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use grpc_arena::Arena;
use grpc_proto::{
    CallHead, Client, Config, Connection, Instant, Metadata, Role, Server, Status, Transmit,
    client, server,
};

/// Hands out a static buffer from front to back and takes nothing back.
struct Bump;

const SIZE: usize = 4 << 20;
static mut MEMORY: [u8; SIZE] = [0; SIZE];
static USED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Bump = Bump;

// SAFETY: every block is handed out once, and lies within `MEMORY` with the alignment asked for.
unsafe impl GlobalAlloc for Bump {
    // SAFETY: any layout is fit; what comes back is null or a block of it that nobody else has.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = &raw mut MEMORY as *mut u8;
        let mut used = USED.load(Ordering::Relaxed);
        loop {
            let start = (base as usize + used).next_multiple_of(layout.align()) - base as usize;
            let end = start + layout.size();
            if end > SIZE {
                return null_mut();
            }
            match USED.compare_exchange(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `start` is within the buffer.
                Ok(_) => return unsafe { base.add(start) },
                Err(now) => used = now,
            }
        }
    }

    // SAFETY: nothing is done with the block.
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Makes one call; returns how many bytes of the reply arrived, or a negative number.
#[unsafe(no_mangle)]
pub extern "C" fn one_call() -> i32 {
    let now = Instant::ZERO;
    let mut client: Connection<Client> = Connection::new(&Config::default(), 1, now);
    let mut server: Connection<Server> = Connection::new(&Config::default(), 2, now);
    let arena = Arena::new();
    let head = CallHead::new("/test.Echo/Unary", "localhost");
    let Ok(call) = client.call(&head, None, now) else { return -1 };
    if client.send_encoded(call, Bytes::from_static(b"hello"), false).is_err() {
        return -2;
    }
    if client.end(call).is_err() {
        return -3;
    }
    let mut received = -4;
    for _ in 0..4 {
        let wire = pull(&mut client);
        let mut input = &wire[..];
        while let Ok(Some(event)) = server.poll_event(&mut input, now) {
            match event {
                server::Event::Message(call, message) => {
                    let reply = Bytes::copy_from_slice(message.as_bytes());
                    if server.send_encoded(call, reply, false).is_err() {
                        return -5;
                    }
                }
                server::Event::End(call) => {
                    if server.finish(call, &Status::OK, &Metadata::new()).is_err() {
                        return -6;
                    }
                }
                _ => {}
            }
        }
        let wire = pull(&mut server);
        let mut input = &wire[..];
        while let Ok(Some(event)) = client.poll_event(&mut input, now) {
            match event {
                client::Event::Message(_, message) => received = message.len() as i32,
                client::Event::Status(_, outcome) if !outcome.status.is_ok() => return -7,
                _ => {}
            }
        }
    }
    drop(arena);
    received
}

fn pull<R: Role>(conn: &mut Connection<R>) -> Vec<u8> {
    let mut out = Transmit::new();
    conn.poll_transmit(&mut out, Instant::ZERO);
    out.chunks().flatten().copied().collect()
}
