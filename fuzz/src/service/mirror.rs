//! A service that echoes its messages, with handlers that behave as a message demands, and its callers.

use std::rc::Rc;
use std::time::Duration;

use grpc_arena::Arena;
use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::{Channel, Code, Cx, Encoding, Sink, Status};

/// Generated from `proto/service.proto`.
mod generated {
    #![allow(dead_code)]
    include!(concat!(env!("OUT_DIR"), "/fuzz.service.rs"));
}

pub use generated::{Blob, register_mirror};
use generated::{Mirror, MirrorClient, Odd};

/// The paths of the service's methods, and one that there is none of.
pub const PATHS: &[&str] = &[
    "/fuzz.service.Mirror/One",
    "/fuzz.service.Mirror/Gather",
    "/fuzz.service.Mirror/Spread",
    "/fuzz.service.Mirror/Talk",
    "/fuzz.service.Mirror/None",
];

/// The service.
pub struct Reflecting;

/// Executes the options of a message before it is answered.
async fn obey(cx: &Cx<'_>, blob: &Blob<'_>) -> Result<(), Status> {
    if blob.wait > 0 {
        cx.sleep(Duration::from_micros(blob.wait.into())).await;
    }
    match blob.odd {
        Odd::FAIL => {
            let text = String::from_utf8_lossy(blob.data).into_owned();
            return Err(Status::new(Code::Aborted, text).with_details(blob.data.to_vec()));
        }
        Odd::PLAIN => cx.set_compression(false),
        Odd::METADATA => {
            // After the head has gone there is no place for it, which is an answer.
            let _ = cx.append_header_bin("fuzz-bin", blob.data);
            let _ = cx.append_trailer_bin("fuzz-bin", blob.data);
            cx.send_headers()?;
        }
        Odd::SPAWN => cx.spawn(std::future::ready(())),
        _ => {}
    }
    Ok(())
}

impl Mirror for Reflecting {
    async fn one<'a>(&self, cx: &Cx<'a>, request: Blob<'a>) -> Result<Blob<'a>, Status> {
        obey(cx, &request).await?;
        let data = cx.arena().alloc_slice(request.data);
        Ok(Blob { data, ..request })
    }

    type Gather<'s> = Gathering;

    async fn gather(&self, _: &Cx<'_>) -> Result<Gathering, Status> {
        Ok(Gathering { bytes: Vec::new() })
    }

    async fn spread<'a>(
        &self,
        cx: &Cx<'a>,
        request: Blob<'a>,
        out: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        for _ in 0..request.count % 16 {
            obey(cx, &request).await?;
            out.send(&request).await?;
        }
        Ok(())
    }

    type Talk<'s> = Talking;

    async fn talk(&self, _: &Cx<'_>) -> Result<Talking, Status> {
        Ok(Talking)
    }
}

/// One call of `Gather`.
pub struct Gathering {
    bytes: Vec<u8>,
}

impl ClientStreamingCall<Blob<'static>, Blob<'static>> for Gathering {
    async fn on_message<'a>(&mut self, cx: &Cx<'a>, message: Blob<'a>) -> Result<(), Status> {
        obey(cx, &message).await?;
        self.bytes.extend_from_slice(message.data);
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<Blob<'a>, Status> {
        Ok(Blob { data: cx.arena().alloc_slice(&self.bytes), ..Blob::default() })
    }
}

/// One call of `Talk`.
pub struct Talking;

impl BidiCall<Blob<'static>, Blob<'static>> for Talking {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: Blob<'a>,
        out: &mut Sink<'_, Blob<'static>>,
    ) -> Result<(), Status> {
        obey(cx, &message).await?;
        out.send(&message).await
    }

    async fn run(&self, cx: &Cx<'_>, out: &mut Sink<'_, Blob<'static>>) -> Result<(), Status> {
        cx.sleep(Duration::from_millis(1)).await;
        out.send(&Blob::default()).await
    }
}

/// Calls a method of each kind in turn, and accepts any result.
pub async fn call(channel: Channel, which: u8, micros: u32, data: Vec<u8>) {
    let client = MirrorClient::new(channel);
    let blob = Blob { data: &data, count: 3, ..Blob::default() };
    let mut arena = Arena::new();
    let timeout = match micros {
        0 => Duration::MAX,
        micros => Duration::from_micros(micros.into()),
    };
    let encoding = [None, Some(Encoding::Gzip), Some(Encoding::Zstd)][usize::from(which / 4 % 3)];
    match which % 4 {
        0 => {
            let _ = client.one(&blob, &arena).timeout(timeout).compress(encoding).await;
        }
        1 => {
            let Ok(mut call) = client.gather().timeout(timeout).compress(encoding).await else {
                return;
            };
            for _ in 0..2 {
                if call.send(&blob).await.is_err() {
                    break;
                }
            }
            let _ = call.finish(&arena).await;
        }
        2 => {
            let Ok(mut call) = client.spread(&blob).timeout(timeout).compress(encoding).await
            else {
                return;
            };
            while let Ok(Some(_)) = call.next(&mut arena).await {}
        }
        _ => {
            let Ok(mut call) = client.talk().timeout(timeout).compress(encoding).await else {
                return;
            };
            while call.send(&blob).await.is_ok() {
                let Ok(Some(_)) = call.next(&mut arena).await else { break };
            }
        }
    }
}

/// The service, for a router.
pub fn service() -> Rc<Reflecting> {
    Rc::new(Reflecting)
}
