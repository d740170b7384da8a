//! nghttp2: two sessions, joined by handing what one's `mem_send` gives to the other's `mem_recv`.

use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};

use libnghttp2_sys as sys;

use crate::exchange::{self, Varying};

/// A connected pair.
///
/// Both sessions point at the state beside them, so it sits behind a raw pointer that only `drop` frees.
pub struct Pair {
    client: *mut sys::nghttp2_session,
    server: *mut sys::nghttp2_session,
    state: *mut State,
}

/// What the callbacks work on.
struct State {
    message: Vec<u8>,
    varying: Option<Varying>,
    /// Calls still to start, and calls whose streams have closed.
    waiting: u64,
    finished: u64,
    /// Bytes of DATA that each side has seen.
    requested: u64,
    answered: u64,
    /// Responses whose status was 0.
    succeeded: u64,
}

impl Pair {
    /// Connects client and server, whose messages both have `body` bytes; `varying` calls carry a timeout and a trace id.
    pub fn new(body: usize, varying: bool) -> Self {
        let state = Box::into_raw(Box::new(State {
            message: exchange::framed(body),
            varying: varying.then(Varying::new),
            waiting: 0,
            finished: 0,
            requested: 0,
            answered: 0,
            succeeded: 0,
        }));
        let mut pair = Self { client: null_mut(), server: null_mut(), state };
        // SAFETY: every pointer handed to the library outlives the call, and `state` outlives both sessions.
        unsafe {
            let mut callbacks = null_mut();
            check(sys::nghttp2_session_callbacks_new(&mut callbacks));
            sys::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
                callbacks,
                Some(client_data),
            );
            sys::nghttp2_session_callbacks_set_on_header_callback(callbacks, Some(client_field));
            sys::nghttp2_session_callbacks_set_on_stream_close_callback(
                callbacks,
                Some(client_closed),
            );
            check(sys::nghttp2_session_client_new(&mut pair.client, callbacks, state.cast()));
            sys::nghttp2_session_callbacks_del(callbacks);

            check(sys::nghttp2_session_callbacks_new(&mut callbacks));
            sys::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
                callbacks,
                Some(server_data),
            );
            sys::nghttp2_session_callbacks_set_on_header_callback(callbacks, Some(server_field));
            sys::nghttp2_session_callbacks_set_on_frame_recv_callback(
                callbacks,
                Some(server_frame),
            );
            check(sys::nghttp2_session_server_new(&mut pair.server, callbacks, state.cast()));
            sys::nghttp2_session_callbacks_del(callbacks);

            for session in [pair.client, pair.server] {
                let window = sys::nghttp2_settings_entry {
                    settings_id: sys::NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE as i32,
                    value: exchange::STREAM_WINDOW,
                };
                check(sys::nghttp2_submit_settings(session, 0, &window, 1));
                let connection = exchange::CONNECTION_WINDOW as i32;
                check(sys::nghttp2_session_set_local_window_size(session, 0, 0, connection));
            }
        }
        pair.pump(|_| false);
        pair
    }

    /// Makes `calls` calls, with as many in flight as the benchmark has, and checks the replies' sizes and statuses.
    pub fn run(&mut self, calls: u64) {
        let started = calls.min(exchange::IN_FLIGHT as u64);
        // SAFETY: nothing else holds a reference to the state while no session runs.
        let state = unsafe { &mut *self.state };
        (state.waiting, state.finished, state.succeeded) = (calls - started, 0, 0);
        (state.requested, state.answered) = (0, 0);
        for _ in 0..started {
            // SAFETY: `client` is a live session and `state` its own.
            unsafe { request(self.client, state) };
        }
        self.pump(|state| state.finished == calls);
        // SAFETY: as above.
        let state = unsafe { &*self.state };
        let bytes = calls * state.message.len() as u64;
        assert_eq!((state.succeeded, state.requested, state.answered), (calls, bytes, bytes));
    }

    /// Carries bytes both ways until `done`, or until both sides have nothing left to send.
    fn pump(&mut self, done: impl Fn(&State) -> bool) {
        loop {
            let moved = carry(self.client, self.server) | carry(self.server, self.client);
            // SAFETY: no session runs.
            if done(unsafe { &*self.state }) || !moved {
                return;
            }
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: all three were made by `new` and are freed only here, the state last.
        unsafe {
            sys::nghttp2_session_del(self.client);
            sys::nghttp2_session_del(self.server);
            drop(Box::from_raw(self.state));
        }
    }
}

/// Moves everything that `from` has to send into `to`; returns whether there was anything.
fn carry(from: *mut sys::nghttp2_session, to: *mut sys::nghttp2_session) -> bool {
    let mut moved = false;
    loop {
        let mut bytes = null();
        // SAFETY: both are live sessions; the bytes stay valid until the next call on `from`, which is after their use.
        unsafe {
            let length = sys::nghttp2_session_mem_send2(from, &mut bytes);
            assert!(length >= 0, "mem_send: {length}");
            if length == 0 {
                return moved;
            }
            assert_eq!(
                sys::nghttp2_session_mem_recv2(to, bytes, length as usize),
                length,
                "all is taken"
            );
        }
        moved = true;
    }
}

/// Submits one request.
///
/// # Safety
/// `session` is a live client session.
unsafe fn request(session: *mut sys::nghttp2_session, state: &mut State) {
    let [te, content_type, user_agent] = exchange::REQUEST_FIELDS;
    let mut timeout = [0; 8];
    let (timeout, trace) = match &mut state.varying {
        Some(varying) => (varying.timeout(&mut timeout), varying.trace_id()),
        None => (&[][..], [0; 32]),
    };
    let fields = [
        field(b":method", b"POST"),
        field(b":scheme", b"http"),
        field(b":path", exchange::PATH.as_bytes()),
        field(b":authority", exchange::AUTHORITY.as_bytes()),
        field(te.0.as_bytes(), te.1.as_bytes()),
        field(content_type.0.as_bytes(), content_type.1.as_bytes()),
        field(user_agent.0.as_bytes(), user_agent.1.as_bytes()),
        field(b"grpc-timeout", timeout),
        field(exchange::TRACE_FIELD.as_bytes(), &trace),
    ];
    let count = if timeout.is_empty() { fields.len() - 2 } else { fields.len() };
    let provider = provider(Some(read_request));
    // SAFETY: the library copies fields and provider before it returns.
    let stream = unsafe {
        sys::nghttp2_submit_request2(session, null(), fields.as_ptr(), count, &provider, null_mut())
    };
    assert!(stream > 0, "submit_request: {stream}");
}

extern "C" fn client_closed(
    session: *mut sys::nghttp2_session,
    _: i32,
    error: u32,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `data` is the state that the session was made with, and callbacks do not overlap.
    let state = unsafe { &mut *data.cast::<State>() };
    assert_eq!(error, 0, "a stream closed with an error");
    state.finished += 1;
    if state.waiting > 0 {
        state.waiting -= 1;
        // SAFETY: the session that calls back is alive.
        unsafe { request(session, state) };
    }
    0
}

extern "C" fn client_data(
    _: *mut sys::nghttp2_session,
    _: u8,
    _: i32,
    _: *const u8,
    length: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: as in `client_closed`.
    unsafe { (*data.cast::<State>()).answered += length as u64 };
    0
}

extern "C" fn client_field(
    _: *mut sys::nghttp2_session,
    _: *const sys::nghttp2_frame,
    name: *const u8,
    name_length: usize,
    value: *const u8,
    value_length: usize,
    _: u8,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the library hands out whole slices; `data` as in `client_closed`.
    unsafe {
        let (name, value) = (
            std::slice::from_raw_parts(name, name_length),
            std::slice::from_raw_parts(value, value_length),
        );
        let trailer = (exchange::TRAILER.0.as_bytes(), exchange::TRAILER.1.as_bytes());
        (*data.cast::<State>()).succeeded += u64::from((name, value) == trailer);
    }
    0
}

extern "C" fn server_data(
    _: *mut sys::nghttp2_session,
    _: u8,
    _: i32,
    _: *const u8,
    length: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: as in `client_closed`.
    unsafe { (*data.cast::<State>()).requested += length as u64 };
    0
}

extern "C" fn server_field(
    _: *mut sys::nghttp2_session,
    _: *const sys::nghttp2_frame,
    name: *const u8,
    name_length: usize,
    value: *const u8,
    value_length: usize,
    _: u8,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the library hands out whole slices.
    unsafe {
        if std::slice::from_raw_parts(name, name_length) == b":path" {
            assert_eq!(std::slice::from_raw_parts(value, value_length), exchange::PATH.as_bytes());
        }
    }
    0
}

extern "C" fn server_frame(
    session: *mut sys::nghttp2_session,
    frame: *const sys::nghttp2_frame,
    _: *mut c_void,
) -> c_int {
    // SAFETY: every frame begins with its header, and only that is read.
    let header = unsafe { (*frame).hd };
    if u32::from(header.type_) != sys::NGHTTP2_DATA
        || u32::from(header.flags) & sys::NGHTTP2_FLAG_END_STREAM == 0
    {
        return 0;
    }
    let (name, value) = exchange::RESPONSE_FIELD;
    let fields = [field(b":status", b"200"), field(name.as_bytes(), value.as_bytes())];
    let provider = provider(Some(read_response));
    // SAFETY: the library copies fields and provider before it returns.
    unsafe {
        check(sys::nghttp2_submit_response2(
            session,
            header.stream_id,
            fields.as_ptr(),
            fields.len(),
            &provider,
        ));
    }
    0
}

unsafe extern "C" fn read_request(
    _: *mut sys::nghttp2_session,
    _: i32,
    buffer: *mut u8,
    room: usize,
    flags: *mut u32,
    source: *mut sys::nghttp2_data_source,
    data: *mut c_void,
) -> isize {
    // SAFETY: as the library documents for this callback; `data` as in `client_closed`.
    unsafe { read(buffer, room, flags, source, &*data.cast::<State>()).0 }
}

unsafe extern "C" fn read_response(
    session: *mut sys::nghttp2_session,
    stream: i32,
    buffer: *mut u8,
    room: usize,
    flags: *mut u32,
    source: *mut sys::nghttp2_data_source,
    data: *mut c_void,
) -> isize {
    // SAFETY: as above; the library copies the trailers before it returns.
    unsafe {
        let (length, ended) = read(buffer, room, flags, source, &*data.cast::<State>());
        if ended {
            *flags |= sys::NGHTTP2_DATA_FLAG_NO_END_STREAM;
            let (name, value) = exchange::TRAILER;
            let trailer = field(name.as_bytes(), value.as_bytes());
            check(sys::nghttp2_submit_trailer(session, stream, &trailer, 1));
        }
        length
    }
}

/// Copies the next piece of the message; the source's number says how much of it has gone.
///
/// # Safety
/// `buffer` has `room` bytes; `flags` and `source` are valid.
unsafe fn read(
    buffer: *mut u8,
    room: usize,
    flags: *mut u32,
    source: *mut sys::nghttp2_data_source,
    state: &State,
) -> (isize, bool) {
    // SAFETY: by the contract above; the number is the field that `provider` set.
    unsafe {
        let rest = &state.message[(*source).fd as usize..];
        let piece = &rest[..rest.len().min(room)];
        buffer.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
        (*source).fd += piece.len() as c_int;
        let ended = piece.len() == rest.len();
        if ended {
            *flags |= sys::NGHTTP2_DATA_FLAG_EOF;
        }
        (piece.len() as isize, ended)
    }
}

fn provider(read: sys::nghttp2_data_source_read_callback2) -> sys::nghttp2_data_provider2 {
    sys::nghttp2_data_provider2 { source: sys::nghttp2_data_source { fd: 0 }, read_callback: read }
}

/// The library copies names and values: that is what its users get by default.
fn field(name: &[u8], value: &[u8]) -> sys::nghttp2_nv {
    sys::nghttp2_nv {
        name: name.as_ptr().cast_mut(),
        namelen: name.len(),
        value: value.as_ptr().cast_mut(),
        valuelen: value.len(),
        flags: sys::NGHTTP2_NV_FLAG_NONE as u8,
    }
}

fn check(result: c_int) {
    assert_eq!(result, 0, "nghttp2 refused");
}
