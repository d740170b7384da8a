//! The service that answers queries.

use std::cell::RefCell;
use std::rc::Rc;

use grpc_arena::ArenaVec;
use grpc_service::server::{BidiCall, BidiHandler};
use grpc_service::{Code, Cx, Method, Router, Routes, Sink, Status};

use super::Registry;
use super::v1::server_reflection_methods::ServerReflectionInfo;
use super::v1::server_reflection_request::MessageRequest;
use super::v1::server_reflection_response::MessageResponse;
use super::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};

/// The most bytes of files in one answer, but for the file that was asked for: a quarter of what clients take of a message.
pub const ANSWER_BYTES: usize = 1 << 20;

/// The most bytes of each name in a query, which the answer repeats; longer ones end the call with INVALID_ARGUMENT.
pub const NAME_BYTES: usize = 4096;

/// As much of a name as is quoted in an error.
const QUOTED: usize = 256;

/// The service of `v1alpha`: another path, the same messages.
enum V1Alpha {}

impl Method for V1Alpha {
    const PATH: &'static str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    type Request = ServerReflectionRequest<'static>;
    type Response = ServerReflectionResponse<'static>;
}

/// Lets `router` answer reflection from `registry`, in both versions. The services that it names are those that the router
/// has by now, and reflection itself.
pub fn register(router: &mut Router, registry: &Registry) {
    let paths = router.paths().chain([ServerReflectionInfo::PATH, V1Alpha::PATH]);
    let services: Vec<&str> = paths.filter_map(service_of).collect();
    register_services(router, registry, services);
}

/// As [`register`], for routes with layers, and with the full names of the services that it names.
pub fn register_services<N: Into<Box<str>>>(
    routes: &mut impl Routes,
    registry: &Registry,
    services: impl IntoIterator<Item = N>,
) {
    let mut services = services.into_iter().map(Into::into).collect::<Vec<Box<str>>>();
    services.sort_unstable();
    services.dedup();
    let reflection = Reflection(Rc::new(Shared { registry: registry.clone(), services }));
    routes.bidi::<ServerReflectionInfo, _>(reflection.clone());
    routes.bidi::<V1Alpha, _>(reflection);
}

/// The service of a path, `/package.Service/Method`.
fn service_of(path: &'static str) -> Option<&'static str> {
    path.strip_prefix('/')?.rsplit_once('/').map(|(service, _)| service)
}

#[derive(Clone)]
struct Reflection(Rc<Shared>);

struct Shared {
    registry: Registry,
    services: Vec<Box<str>>,
}

impl<M> BidiHandler<M> for Reflection
where
    M: Method<
            Request = ServerReflectionRequest<'static>,
            Response = ServerReflectionResponse<'static>,
        >,
{
    type Call<'s> = Stream<'s>;

    async fn open<'s>(&'s self, _: &Cx<'_>) -> Result<Stream<'s>, Status> {
        Ok(Stream { shared: &self.0, had: RefCell::new(Had::new(self.0.registry.len())) })
    }
}

/// One stream of queries.
struct Stream<'s> {
    shared: &'s Shared,
    had: RefCell<Had>,
}

/// What the client of a stream has had: three bits for each file of the registry.
struct Had {
    sent: Bits,
    /// Those that were sent with all that they import.
    complete: Bits,
    /// Scratch: those that were seen for the answer at hand.
    seen: Bits,
    /// Scratch: those that were seen, in order.
    queue: Vec<u32>,
}

impl Had {
    fn new(files: usize) -> Self {
        let bits = || Bits(vec![0; files.div_ceil(64)]);
        Self { sent: bits(), complete: bits(), seen: bits(), queue: Vec::new() }
    }

    /// Hands to `take` the file and what it imports, the nearest first, unless they were sent; stops at [`ANSWER_BYTES`].
    ///
    /// Each file is looked at once, and what lies behind a complete one is not.
    fn answer<'r>(&mut self, registry: &'r Registry, file: u32, mut take: impl FnMut(&'r [u8])) {
        self.seen.0.fill(0);
        self.queue.clear();
        self.queue.push(file);
        self.seen.insert(file);
        self.sent.insert(file);
        take(registry.bytes(file));
        let mut room = ANSWER_BYTES.saturating_sub(registry.bytes(file).len());
        let mut next = 0;
        while let Some(&file) = self.queue.get(next) {
            next += 1;
            for &import in registry.imports(file) {
                if self.complete.has(import) || !self.seen.insert(import) {
                    continue;
                }
                self.queue.push(import);
                let bytes = registry.bytes(import);
                if self.sent.has(import) {
                    continue;
                }
                let Some(left) = room.checked_sub(bytes.len()) else { return };
                room = left;
                self.sent.insert(import);
                take(bytes);
            }
        }
        for &file in &self.queue {
            self.complete.insert(file);
        }
    }
}

/// A set of files.
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, file: u32) -> bool {
        self.0[file as usize / 64] & 1 << (file % 64) != 0
    }

    /// Adds a file; false if it was there.
    fn insert(&mut self, file: u32) -> bool {
        let absent = !self.has(file);
        self.0[file as usize / 64] |= 1 << (file % 64);
        absent
    }
}

impl BidiCall<ServerReflectionRequest<'static>, ServerReflectionResponse<'static>> for Stream<'_> {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        request: ServerReflectionRequest<'a>,
        out: &mut Sink<'_, ServerReflectionResponse<'static>>,
    ) -> Result<(), Status> {
        let original = ServerReflectionRequest {
            host: request.host,
            message_request: request.message_request,
            ..ServerReflectionRequest::EMPTY
        };
        check_names(&original)?;
        let response = ServerReflectionResponse {
            valid_host: request.host,
            original_request: Some(&original),
            message_response: Some(self.answer(cx, &original)),
            ..ServerReflectionResponse::EMPTY
        };
        out.send(&response).await
    }
}

/// A client decides how long its names are, and gets each one back.
fn check_names(request: &ServerReflectionRequest<'_>) -> Result<(), Status> {
    let name = match request.message_request {
        Some(
            MessageRequest::FileByFilename(name)
            | MessageRequest::FileContainingSymbol(name)
            | MessageRequest::AllExtensionNumbersOfType(name)
            | MessageRequest::ListServices(name),
        ) => name,
        Some(MessageRequest::FileContainingExtension(of)) => of.containing_type,
        _ => "",
    };
    let longest = name.len().max(request.host.len());
    if longest > NAME_BYTES {
        return Err(Status::invalid_argument(format!(
            "a name of {longest} bytes; names of files, symbols and hosts have {NAME_BYTES} at most"
        )));
    }
    Ok(())
}

impl Stream<'_> {
    fn answer<'a>(
        &'a self,
        cx: &Cx<'a>,
        request: &ServerReflectionRequest<'a>,
    ) -> MessageResponse<'a> {
        let registry = &self.shared.registry;
        match request.message_request {
            Some(MessageRequest::FileByFilename(name)) => {
                self.file(cx, registry.by_name(name), "file", name)
            }
            Some(MessageRequest::FileContainingSymbol(name)) => {
                self.file(cx, registry.by_symbol(name), "symbol", name)
            }
            Some(MessageRequest::FileContainingExtension(of)) => {
                let (message, number) = (of.containing_type, of.extension_number);
                let file = registry.by_extension(message, number);
                self.file(cx, file, "known extension of that number of", message)
            }
            Some(MessageRequest::AllExtensionNumbersOfType(message)) => self.numbers(cx, message),
            Some(MessageRequest::ListServices(_)) => {
                let mut list = ArenaVec::with_capacity_in(self.shared.services.len(), cx.arena());
                for name in &self.shared.services {
                    list.push(ServiceResponse { name, ..ServiceResponse::EMPTY });
                }
                let service = list.into_slice();
                let list = ListServiceResponse { service, ..ListServiceResponse::EMPTY };
                MessageResponse::ListServicesResponse(cx.arena().alloc(list))
            }
            _ => {
                let text = "the query asks for nothing that is known here; set one field of message_request";
                error(cx, Code::InvalidArgument, text)
            }
        }
    }

    /// The answer to a query for a file.
    fn file<'a>(
        &'a self,
        cx: &Cx<'a>,
        file: Option<u32>,
        what: &str,
        name: &str,
    ) -> MessageResponse<'a> {
        let Some(file) = file else { return missing(cx, what, name) };
        let mut list = ArenaVec::new_in(cx.arena());
        let mut had = self.had.borrow_mut();
        had.answer(&self.shared.registry, file, |bytes| list.push(bytes));
        let files = FileDescriptorResponse {
            file_descriptor_proto: list.into_slice(),
            ..FileDescriptorResponse::EMPTY
        };
        MessageResponse::FileDescriptorResponse(cx.arena().alloc(files))
    }

    /// The answer to a query for the numbers of extensions.
    fn numbers<'a>(&self, cx: &Cx<'a>, message: &'a str) -> MessageResponse<'a> {
        let Some(numbers) = self.shared.registry.extension_numbers(message) else {
            return missing(cx, "message", message);
        };
        let mut list = ArenaVec::with_capacity_in(numbers.len(), cx.arena());
        numbers.for_each(|number| list.push(number));
        let numbers = ExtensionNumberResponse {
            base_type_name: message,
            extension_number: list.into_slice(),
            ..ExtensionNumberResponse::EMPTY
        };
        MessageResponse::AllExtensionNumbersResponse(cx.arena().alloc(numbers))
    }
}

fn missing<'a>(cx: &Cx<'a>, what: &str, name: &str) -> MessageResponse<'a> {
    let mut end = name.len().min(QUOTED);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = &name[..end];
    let text =
        format!("there is no {what} {name:?} here; ask for the services first (list_services)");
    error(cx, Code::NotFound, cx.arena().alloc_str(&text))
}

fn error<'a>(cx: &Cx<'a>, code: Code, text: &'a str) -> MessageResponse<'a> {
    let error = ErrorResponse {
        error_code: i32::from(code.number()),
        error_message: text,
        ..ErrorResponse::EMPTY
    };
    MessageResponse::ErrorResponse(cx.arena().alloc(error))
}
