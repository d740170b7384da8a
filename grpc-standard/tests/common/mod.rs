//! Schemas from memory, and a server with reflection of them.

#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::collections::HashMap;
use std::rc::Rc;

use grpc_build::schema::{Source, Sources, compile};
use grpc_service::client::BidiStream;
use grpc_service::testing::{MemoryHost, Pair};
use grpc_service::{Arena, CallError, ChannelOptions, Code, Router, Server, ServerOptions};
use grpc_standard::reflection::v1::server_reflection_methods::ServerReflectionInfo;
use grpc_standard::reflection::v1::server_reflection_request::MessageRequest;
use grpc_standard::reflection::v1::server_reflection_response::MessageResponse;
use grpc_standard::reflection::v1::{ServerReflectionClient, ServerReflectionRequest};
use grpc_standard::reflection::{Registry, register_services};

/// Files by name.
#[derive(Default)]
pub struct Schema(pub HashMap<String, String>);

impl Sources for Schema {
    fn read(&self, name: &str) -> Result<Option<Source>, String> {
        let text = self.0.get(name);
        Ok(text.map(|text| Source { text: text.clone().into_bytes(), path: name.to_owned() }))
    }
}

impl Schema {
    pub fn add(&mut self, name: &str, text: impl Into<String>) {
        self.0.insert(name.to_owned(), text.into());
    }

    /// The descriptors of all files.
    pub fn set(&self) -> Vec<u8> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        compile(&names, self).expect("a schema").descriptor_set
    }
}

/// What a query is answered with.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The names of the files, read from their descriptors.
    Files(Vec<String>),
    Numbers(String, Vec<i32>),
    Services(Vec<String>),
    Error(Code, String),
}

/// A stream of queries.
pub struct Asking {
    pub pair: Pair,
    pub client: ServerReflectionClient,
    pub stream: BidiStream<ServerReflectionInfo>,
    arena: Arena,
    /// Bytes of files that came.
    pub bytes: usize,
}

pub fn asking(registry: &Registry) -> Asking {
    let host = MemoryHost::new(1);
    let mut router = Router::new();
    register_services(&mut router, registry, ["a.B"]);
    let server = Server::new(router, ServerOptions::default(), Rc::new(Rc::clone(&host)));
    let (channel, mut pair) = Pair::new(&host, &server, &ChannelOptions::default());
    let client = ServerReflectionClient::new(channel);
    let stream = pair.block_on(client.server_reflection_info()).expect("it opens");
    Asking { pair, client, stream, arena: Arena::new(), bytes: 0 }
}

impl Asking {
    /// Begins another stream.
    pub fn again(&mut self) {
        self.stream = self.pair.block_on(self.client.server_reflection_info()).expect("it opens");
    }

    pub fn ask(&mut self, query: Option<MessageRequest<'_>>) -> Result<Answer, CallError> {
        let request = ServerReflectionRequest {
            host: "here",
            message_request: query,
            ..ServerReflectionRequest::EMPTY
        };
        let (stream, arena) = (&mut self.stream, &mut self.arena);
        let response = self.pair.block_on(async move {
            stream.send(&request).await?;
            stream.next(arena).await
        })?;
        let response = response.expect("the stream stays open");
        assert_eq!(response.valid_host, "here");
        let original = response.original_request.expect("the query");
        assert_eq!(original.message_request, query);
        Ok(match response.message_response.expect("an answer") {
            MessageResponse::FileDescriptorResponse(files) => {
                let files = files.file_descriptor_proto;
                self.bytes += files.iter().map(|file| file.len()).sum::<usize>();
                Answer::Files(files.iter().map(|file| name_of(file)).collect())
            }
            MessageResponse::AllExtensionNumbersResponse(of) => {
                Answer::Numbers(of.base_type_name.to_owned(), of.extension_number.to_vec())
            }
            MessageResponse::ListServicesResponse(list) => {
                Answer::Services(list.service.iter().map(|it| it.name.to_owned()).collect())
            }
            MessageResponse::ErrorResponse(error) => {
                Answer::Error(Code::from_i32(error.error_code), error.error_message.to_owned())
            }
        })
    }

    pub fn files(&mut self, query: MessageRequest<'_>) -> Vec<String> {
        match self.ask(Some(query)) {
            Ok(Answer::Files(files)) => files,
            other => panic!("{other:?}"),
        }
    }

    pub fn code(&mut self, query: MessageRequest<'_>) -> Code {
        match self.ask(Some(query)) {
            Ok(Answer::Error(code, _)) => code,
            other => panic!("{other:?}"),
        }
    }
}

/// The name of an encoded file, which is its first field.
fn name_of(file: &[u8]) -> String {
    assert_eq!(file[0], 1 << 3 | 2);
    let len = usize::from(file[1]);
    assert!(len < 0x80);
    String::from_utf8(file[2..][..len].to_vec()).expect("text")
}
