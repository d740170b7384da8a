//! Heads of calls that were made before: most calls repeat one of a few, byte for byte.
//!
//! A client calls few methods, mostly without metadata of its own, so the field list of a head is
//! kept, and so is its encoding: a call encodes only what is its own (see [`Pending::Template`]).

use alloc::string::String;
use alloc::vec::Vec;

use super::SendError;
use super::head::CallHead;
use crate::hpack::{FieldList, Token};
use crate::http2::Session;
use crate::http2::stream::{Pending, Prepared};

/// Heads that are kept; a client that calls more methods in turn writes the others anew.
const KEPT: usize = Prepared::REQUESTS;

/// The heads that were written last.
#[derive(Debug, Default)]
pub(super) struct Templates {
    kept: Vec<Template>,
    next: usize,
}

#[derive(Debug)]
struct Template {
    path: String,
    authority: String,
    user_agent: String,
    encoding: Option<String>,
    accept_encoding: Option<String>,
    secure: bool,
}

impl Template {
    fn matches(&self, head: &CallHead<'_>) -> bool {
        self.path == head.path
            && self.authority == head.authority
            && self.user_agent == head.user_agent
            && self.secure == head.secure
            && self.encoding.as_deref() == head.encoding
            && self.accept_encoding.as_deref() == head.accept_encoding
    }

    fn new(head: &CallHead<'_>) -> Self {
        Template {
            path: head.path.into(),
            authority: head.authority.into(),
            user_agent: head.user_agent.into(),
            encoding: head.encoding.map(Into::into),
            accept_encoding: head.accept_encoding.map(Into::into),
            secure: head.secure,
        }
    }
}

impl Templates {
    /// The field block of a call.
    #[inline]
    pub(super) fn head(
        &mut self,
        head: &CallHead<'_>,
        has_timeout: bool,
        session: &mut Session,
    ) -> Result<Pending, SendError> {
        let place = match self.kept.iter().position(|template| template.matches(head)) {
            Some(place) => place,
            None => match self.keep(head, session)? {
                Some(place) => place,
                // Every kept head is still waiting to be sent: this one is written for itself.
                None => return Ok(write_whole(head, has_timeout, session)),
            },
        };
        let own = match head.metadata {
            Some(metadata) if !metadata.is_empty_list() => {
                let mut own = session.take_fields();
                metadata.append_to(&mut own);
                own
            }
            _ => FieldList::new(),
        };
        Ok(Pending::Template { place: Prepared::request(place), own })
    }

    /// Keeps a head in the place of one that nothing refers to.
    ///
    /// Every head comes by here before it is sent for the first time, and is checked here.
    #[cold]
    fn keep(
        &mut self,
        head: &CallHead<'_>,
        session: &mut Session,
    ) -> Result<Option<usize>, SendError> {
        head.check()?;
        let template = Template::new(head);
        let unused = match self.kept.len() {
            KEPT => (0..KEPT)
                .map(|n| (self.next + n) % KEPT)
                .find(|&place| !session.is_template_awaited(Prepared::request(place))),
            next => Some(next),
        };
        let Some(place) = unused else { return Ok(None) };
        let (before, after) = lists(head);
        session.prepare(Prepared::request(place), before);
        session.prepare(Prepared::request(place).after(), after);
        if place == self.kept.len() {
            self.kept.push(template);
        } else {
            self.kept[place] = template;
        }
        self.next = (place + 1) % KEPT;
        Ok(Some(place))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let texts = |template: &Template| {
            template.path.capacity()
                + template.authority.capacity()
                + template.user_agent.capacity()
                + optional(&template.encoding)
                + optional(&template.accept_encoding)
        };
        self.kept.capacity() * size_of::<Template>() + self.kept.iter().map(texts).sum::<usize>()
    }
}

/// The fields of every call of a method: those before `grpc-timeout`, and those after it.
fn lists(head: &CallHead<'_>) -> (FieldList, FieldList) {
    let mut before = FieldList::new();
    before.push_known(Token::Method, b"POST");
    before.push_known(Token::Scheme, if head.secure { b"https" } else { b"http" });
    before.push_known(Token::Path, head.path.as_bytes());
    before.push_known(Token::Authority, head.authority.as_bytes());
    before.push_known(Token::Te, b"trailers");
    let mut after = FieldList::new();
    after.push_known(Token::ContentType, b"application/grpc");
    if let Some(encoding) = head.encoding {
        after.push_known(Token::GrpcEncoding, encoding.as_bytes());
    }
    if let Some(accepted) = head.accept_encoding {
        after.push_known(Token::GrpcAcceptEncoding, accepted.as_bytes());
    }
    if !head.user_agent.is_empty() {
        after.push_known(Token::UserAgent, head.user_agent.as_bytes());
    }
    (before, after)
}

/// Writes a head that is not kept.
#[cold]
fn write_whole(head: &CallHead<'_>, has_timeout: bool, session: &mut Session) -> Pending {
    let (before, after) = lists(head);
    let mut list = session.take_fields();
    list.extend_from(&before);
    if has_timeout {
        // Its place: the value is written when the head is sent.
        list.push_known(Token::GrpcTimeout, b"");
    }
    list.extend_from(&after);
    if let Some(metadata) = head.metadata {
        metadata.append_to(&mut list);
    }
    Pending::Fields(list, Prepared::OWN_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::http2::Side;
    use crate::time::Instant;
    use crate::transmit::Transmit;
    use alloc::format;

    /// A client's templates, and a session that opens the calls made from them.
    struct Client {
        templates: Templates,
        session: Session,
    }

    impl Client {
        fn new() -> Self {
            let session = Session::new(Side::Client, &Config::default(), 0, Instant::ZERO);
            Client { templates: Templates::default(), session }
        }

        /// Opens a call, which waits to be sent; says where its head is kept.
        fn call(&mut self, method: usize) -> Option<Prepared> {
            let path = format!("/a.B/{method}");
            let head = CallHead::new(&path, "localhost");
            let pending = self.templates.head(&head, false, &mut self.session).expect("a head");
            let place = match &pending {
                Pending::Template { place, .. } => Some(*place),
                _ => None,
            };
            self.session.open_with(pending, Instant::ZERO).expect("room for a call");
            place
        }

        fn send(&mut self) {
            self.session.poll_transmit(&mut Transmit::new(), Instant::ZERO);
        }

        fn paths(&self) -> Vec<&str> {
            self.templates.kept.iter().map(|template| template.path.as_str()).collect()
        }
    }

    #[test]
    fn as_many_heads_are_kept_as_there_are_places_and_the_oldest_makes_way() {
        let mut client = Client::new();
        for method in 0..KEPT {
            assert_eq!(client.call(method), Some(Prepared::request(method)));
            client.send();
        }
        for method in KEPT..3 * KEPT {
            assert_eq!(client.call(method), Some(Prepared::request(method % KEPT)));
            client.send();
            assert_eq!(client.paths().len(), KEPT);
            assert_eq!(client.paths()[method % KEPT], format!("/a.B/{method}"));
        }
    }

    #[test]
    fn a_head_that_a_call_waits_to_send_does_not_make_way() {
        let mut client = Client::new();
        for method in 0..KEPT {
            client.call(method);
        }
        assert_eq!(client.call(100), None, "every head is awaited");
        client.send();
        client.call(0);
        client.call(1);
        assert_eq!(client.call(101), Some(Prepared::request(2)));
        // The search goes on behind the last place, and round the end.
        for (method, place) in (102..).zip(3..KEPT) {
            assert_eq!(client.call(method), Some(Prepared::request(place)));
        }
        assert_eq!(client.call(200), None);
        client.send();
        assert_eq!(client.call(201), Some(Prepared::request(0)));
    }
}
