//! Details for a status that a handler returns.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use grpc_arena::codec::{Map, Message};
use grpc_arena::wkt::{self, Any};
use grpc_service::{Arena, Code, Encode, Status};

use super::rpc::{
    self, BadRequest, DebugInfo, ErrorInfo, Help, LocalizedMessage, PreconditionFailure,
    QuotaFailure, RequestInfo, ResourceInfo, RetryInfo,
};

/// The details of an error, in the order in which they are added; [`status`](Self::status) makes the status of them.
///
/// They are encoded at once, so what they are made of may be dropped.
#[derive(Clone, Default)]
#[must_use = "details are sent with the status that is made of them"]
pub struct ErrorDetails {
    /// Each a `google.protobuf.Any`: its type and the encoded message.
    packed: Vec<(String, Vec<u8>)>,
}

impl ErrorDetails {
    /// No details yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message of any type, as one of a service's own.
    pub fn with<'m, M: Message<'m>>(mut self, detail: &M) -> Self {
        let arena = Arena::new();
        // An arena without a budget has no end but that of memory.
        if let Ok(any) = Any::pack(detail, &arena) {
            self.packed.push((any.type_url.to_owned(), any.value.to_vec()));
        }
        self
    }

    /// Which fields of the request are wrong (`BadRequest`): the path of each, and what is wrong with it.
    pub fn bad_request(self, violations: &[(&str, &str)]) -> Self {
        let violations = violations.iter().map(|&(field, description)| {
            let empty = rpc::bad_request::FieldViolation::EMPTY;
            rpc::bad_request::FieldViolation { field, description, ..empty }
        });
        let field_violations = &violations.collect::<Vec<_>>()[..];
        self.with(&BadRequest { field_violations, ..BadRequest::EMPTY })
    }

    /// Which preconditions do not hold (`PreconditionFailure`): the type, the subject and the description of each.
    pub fn precondition_failure(self, violations: &[(&str, &str, &str)]) -> Self {
        let violations = violations.iter().map(|&(r#type, subject, description)| {
            let empty = rpc::precondition_failure::Violation::EMPTY;
            rpc::precondition_failure::Violation { r#type, subject, description, ..empty }
        });
        let violations = &violations.collect::<Vec<_>>()[..];
        self.with(&PreconditionFailure { violations, ..PreconditionFailure::EMPTY })
    }

    /// Which quotas are used up (`QuotaFailure`): the subject and the description of each.
    pub fn quota_failure(self, violations: &[(&str, &str)]) -> Self {
        let violations = violations.iter().map(|&(subject, description)| {
            let empty = rpc::quota_failure::Violation::EMPTY;
            rpc::quota_failure::Violation { subject, description, ..empty }
        });
        let violations = &violations.collect::<Vec<_>>()[..];
        self.with(&QuotaFailure { violations, ..QuotaFailure::EMPTY })
    }

    /// Why, for programs (`ErrorInfo`): a constant like `CARD_EXPIRED`, the domain that it belongs to, and what else is
    /// known, by key.
    pub fn error_info(self, reason: &str, domain: &str, metadata: &[(&str, &str)]) -> Self {
        let arena = Arena::new();
        let metadata = Map::collect_in(metadata.iter().copied(), &arena);
        self.with(&ErrorInfo { reason, domain, metadata, ..ErrorInfo::EMPTY })
    }

    /// When the client may try again (`RetryInfo`): the pause, up to 10,000 years.
    pub fn retry_info(self, pause: Duration) -> Self {
        const LONGEST: i64 = 315_576_000_000;
        let seconds = i64::try_from(pause.as_secs()).unwrap_or(LONGEST).min(LONGEST);
        let nanos = pause.subsec_nanos() as i32;
        let pause = wkt::Duration { seconds, nanos, ..wkt::Duration::EMPTY };
        self.with(&RetryInfo { retry_delay: Some(&pause), ..RetryInfo::EMPTY })
    }

    /// What helps to debug (`DebugInfo`): the stack, and a text. It shows the inside of the server.
    pub fn debug_info(self, stack_entries: &[&str], detail: &str) -> Self {
        self.with(&DebugInfo { stack_entries, detail, ..DebugInfo::EMPTY })
    }

    /// Which request it was (`RequestInfo`): its id, and data by which the server's operators find it again.
    pub fn request_info(self, request_id: &str, serving_data: &str) -> Self {
        self.with(&RequestInfo { request_id, serving_data, ..RequestInfo::EMPTY })
    }

    /// Which resource it was (`ResourceInfo`): its type, name, owner, and what went wrong with it.
    pub fn resource_info(
        self,
        resource_type: &str,
        resource_name: &str,
        owner: &str,
        description: &str,
    ) -> Self {
        self.with(&ResourceInfo {
            resource_type,
            resource_name,
            owner,
            description,
            ..ResourceInfo::EMPTY
        })
    }

    /// Where to read on (`Help`): the description and the address of each link.
    pub fn help(self, links: &[(&str, &str)]) -> Self {
        let links = links.iter().map(|&(description, url)| {
            let empty = rpc::help::Link::EMPTY;
            rpc::help::Link { description, url, ..empty }
        });
        let links = &links.collect::<Vec<_>>()[..];
        self.with(&Help { links, ..Help::EMPTY })
    }

    /// A text for the user (`LocalizedMessage`): its language, as `en-US`, and the text.
    pub fn localized_message(self, locale: &str, message: &str) -> Self {
        self.with(&LocalizedMessage { locale, message, ..LocalizedMessage::EMPTY })
    }

    /// The status with these details. Code and message are in the details too, as peers compare them.
    pub fn status(&self, code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        let message = message.into();
        let details = self.packed.iter().map(|(type_url, value)| {
            let empty = Any::EMPTY;
            Any { type_url, value, ..empty }
        });
        let details = &details.collect::<Vec<_>>()[..];
        let status = rpc::Status {
            code: i32::from(code.number()),
            message: &message,
            details,
            ..rpc::Status::EMPTY
        };
        let encoded = status.encode_to_vec();
        Status::new(code, message).with_details(encoded)
    }
}

impl fmt::Debug for ErrorDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.packed.iter().map(|(type_url, _)| type_url)).finish()
    }
}
