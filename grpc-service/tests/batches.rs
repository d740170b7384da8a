//! Messages of a stream that arrive together: each is handled as if it had come alone.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use common::{Raw, methods};
use grpc_arena::Arena;
use grpc_proto::{Limits, Status};
use grpc_service::client::Call;
use grpc_service::server::{BidiCall, BidiHandler, ClientStreamingCall, ClientStreamingHandler};
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{Channel, ChannelOptions, Cx, Host, Router, Server, ServerOptions, Sink};

/// What the handlers have seen.
#[derive(Clone, Default)]
struct Watcher {
    lengths: Rc<RefCell<Vec<usize>>>,
    /// Bytes that were in use in the arena of each message at its start.
    used: Rc<RefCell<Vec<usize>>>,
    /// The message, by its number, whose handler never ends.
    stuck_at: Option<usize>,
    /// Messages that are being handled or were.
    begun: Rc<Cell<usize>>,
}

impl Watcher {
    async fn watch(&self, cx: &Cx<'_>, message: Raw<'_>) {
        self.used.borrow_mut().push(cx.arena().used_bytes());
        cx.arena().alloc_slice(&[7; 500]);
        let number = self.begun.replace(self.begun.get() + 1);
        if self.stuck_at == Some(number) {
            pending::<()>().await;
        }
        self.lengths.borrow_mut().push(message.0.len());
    }
}

impl ClientStreamingHandler<methods::Join> for Watcher {
    type Call<'s> = Watcher;

    async fn open(&self, _: &Cx<'_>) -> Result<Watcher, Status> {
        Ok(self.clone())
    }
}

impl ClientStreamingCall<Raw<'static>, Raw<'static>> for Watcher {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Raw<'a>) -> Result<(), Status> {
        self.watch(cx, message).await;
        Ok(())
    }

    async fn finish<'a>(self, _: &Cx<'a>) -> Result<Raw<'a>, Status> {
        Ok(Raw(b"done"))
    }
}

impl BidiHandler<methods::Chat> for Watcher {
    type Call<'s> = Watcher;

    async fn open(&self, _: &Cx<'_>) -> Result<Watcher, Status> {
        Ok(self.clone())
    }
}

impl BidiCall<Raw<'static>, Raw<'static>> for Watcher {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Raw<'a>,
        out: &mut Sink<'_, Raw<'static>>,
    ) -> Result<(), Status> {
        self.watch(cx, message).await;
        out.send(&message).await
    }
}

/// A channel to the watcher, whose streams have a window of so many bytes.
fn connect(watcher: &Watcher, window: u32) -> (Channel, Pair) {
    connect_client(watcher, window, Limits::default())
}

/// The same, with limits for the client.
fn connect_client(watcher: &Watcher, window: u32, client: Limits) -> (Channel, Pair) {
    let host = MemoryHost::new(1);
    let mut limits = Limits::default();
    limits.stream_window = window;
    let mut router = Router::new();
    router.client_streaming::<methods::Join, _>(watcher.clone());
    router.bidi::<methods::Chat, _>(watcher.clone());
    let options = ServerOptions::new(limits).expect("consistent limits");
    let shared: Rc<dyn Host> = Rc::new(Rc::clone(&host));
    let server = Server::new(router, options, shared);
    Pair::new(&host, &server, &ChannelOptions::new(client).expect("consistent limits"))
}

/// Lengths that leave messages whole, empty, and across the ends of frames and reads.
fn length(number: usize) -> usize {
    [8, 0, 1, 16, 300, 16, 5000, 3][number % 8]
}

#[test]
fn messages_of_a_frame_are_handled_in_order_whatever_the_segments() {
    let body = vec![5; 5000];
    for segment in [usize::MAX, 17_000, 1000, 64, 7] {
        let watcher = Watcher::default();
        let (channel, mut pair) = connect(&watcher, 65_535);
        pair.segment(segment);
        pair.block_on(async {
            let (arena, mut received) = (Arena::new(), Arena::new());
            let mut upload = Call::<methods::Join, _>::client_streaming(&channel).await.unwrap();
            for number in 0..200 {
                upload.send(&Raw(&body[..length(number)])).await.unwrap();
            }
            assert_eq!(upload.finish(&arena).await, Ok(Raw(b"done")));

            let chat = Call::<methods::Chat, _>::bidi(&channel).await.unwrap();
            let (mut sending, mut receiving) = chat.split();
            for number in 0..40 {
                sending.send(&Raw(&body[..length(number)])).await.unwrap();
            }
            sending.end();
            for number in 0..40 {
                let back = receiving.next(&mut received).await.unwrap().expect("a reply to each");
                assert_eq!(back.0, &body[..length(number)], "{segment}: reply {number}");
            }
            assert_eq!(receiving.next(&mut received).await, Ok(None));
        });
        let expected: Vec<usize> = (0..200).chain(0..40).map(length).collect();
        assert_eq!(*watcher.lengths.borrow(), expected, "{segment}");
        // Nothing of one message is left in the arena of the next one.
        assert!(watcher.used.borrow().iter().all(|&used| used == 0), "{segment}");
    }
}

#[test]
fn credit_of_handled_messages_returns_while_the_next_one_waits() {
    const WINDOW: u32 = 20_000;
    /// Above its window a stream may have the room for the padding of a message that is split.
    const ROOM: u64 = 1 << 10;
    for bidi in [false, true] {
        // Sixteen messages of 1000 bytes share the first frame; the handler of the last of them never ends.
        let watcher = Watcher { stuck_at: Some(15), ..Watcher::default() };
        let (channel, mut pair) = connect(&watcher, WINDOW);
        // The client must know the window before it sends.
        pair.settle();
        let send = async {
            let body = [5; 995];
            if bidi {
                let chat = Call::<methods::Chat, _>::bidi(&channel).await.unwrap();
                let (mut sending, receiving) = chat.split();
                for _ in 0..60 {
                    sending.send(&Raw(&body)).await.unwrap();
                }
                (Some((sending, receiving)), None)
            } else {
                let mut upload =
                    Call::<methods::Join, _>::client_streaming(&channel).await.unwrap();
                for _ in 0..60 {
                    upload.send(&Raw(&body)).await.unwrap();
                }
                (None, Some(upload))
            }
        };
        let open = pair.block_on(send);
        pair.settle();
        assert_eq!(watcher.begun.get(), 16, "{bidi}");
        let received = pair.server().stats().data_received;
        // What was handled is 15 messages; the one that waits, and those behind it, keep their credit.
        let credited = u64::from(WINDOW) + 15 * 1000;
        assert!((credited..=credited + ROOM).contains(&received), "{bidi}: {received}");
        drop(open);
    }
}

#[test]
fn a_receiver_that_stops_owes_less_credit_than_its_mark() {
    const WINDOW: u32 = 20_000;
    /// As in `CREDIT_MARK`, and the room for the padding of a message that is split.
    const SLACK: u64 = (4 << 10) + (1 << 10);
    for taken in [0, 1, 7, 100, 250] {
        let watcher = Watcher::default();
        let mut limits = Limits::default();
        limits.stream_window = WINDOW;
        let (channel, mut pair) = connect_client(&watcher, 65_535, limits);
        pair.settle();
        let open = pair.block_on(async {
            let mut arena = Arena::new();
            let chat = Call::<methods::Chat, _>::bidi(&channel).await.unwrap();
            let (mut sending, mut receiving) = chat.split();
            // Twice the window comes back, 45 bytes a message.
            for _ in 0..2 * WINDOW / 45 {
                sending.send(&Raw(&[5; 40])).await.unwrap();
            }
            for _ in 0..taken {
                assert!(receiving.next(&mut arena).await.unwrap().is_some());
            }
            (sending, receiving)
        });
        pair.settle();
        // Credit leaves for the peer once it is half of a window.
        let received = pair.client().stats().data_received;
        let credited = u64::from(WINDOW) + if taken < 222 { 0 } else { 45 * taken };
        assert!(received <= u64::from(WINDOW) + 45 * taken + SLACK, "{taken}: {received}");
        assert!(received + SLACK >= credited, "{taken}: {received}");
        drop(open);
    }
}

#[test]
fn a_receiver_that_stops_within_a_batch_gets_the_rest_later() {
    let watcher = Watcher::default();
    let (channel, mut pair) = connect(&watcher, 65_535);
    pair.block_on(async {
        let mut arena = Arena::new();
        let chat = Call::<methods::Chat, _>::bidi(&channel).await.unwrap();
        let (mut sending, mut receiving) = chat.split();
        for number in 0..30u8 {
            sending.send(&Raw(&[number])).await.unwrap();
        }
        sending.end();
        for number in 0..30u8 {
            // Another task gets a turn between any two messages.
            let mut turned = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut turned, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            assert_eq!(receiving.next(&mut arena).await, Ok(Some(Raw(&[number]))));
        }
        assert_eq!(receiving.next(&mut arena).await, Ok(None));
    });
}
