//! Typed messages, for layers that ask for them.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use grpc_proto::Status;

use super::CallView;
use crate::{Method, Request, Response};

/// Sees each message of a method between the wire and the handler; an error ends the call.
///
/// It is put around a service with [`Routes::watched`](crate::Routes::watched). A method of it is generic over the called
/// method: of a message it knows that it is one ([`Encode`](crate::Encode)), and [`Validate`] tells types apart.
pub trait Watch {
    /// A request that was decoded, before the handler has it.
    ///
    /// # Errors
    /// The status that the call ends with.
    fn on_request<M: Method>(
        &self,
        call: CallView<'_>,
        request: &Request<'_, M>,
    ) -> Result<(), Status> {
        let _ = (call, request);
        Ok(())
    }

    /// A response that the handler has given, before it is encoded.
    ///
    /// # Errors
    /// The status that the call ends with.
    fn on_response<M: Method>(
        &self,
        call: CallView<'_>,
        response: &Response<'_, M>,
    ) -> Result<(), Status> {
        let _ = (call, response);
        Ok(())
    }
}

impl<W: Watch> Watch for Rc<W> {
    fn on_request<M: Method>(
        &self,
        call: CallView<'_>,
        request: &Request<'_, M>,
    ) -> Result<(), Status> {
        (**self).on_request::<M>(call, request)
    }

    fn on_response<M: Method>(
        &self,
        call: CallView<'_>,
        response: &Response<'_, M>,
    ) -> Result<(), Status> {
        (**self).on_response::<M>(call, response)
    }
}

type Check<M> = dyn for<'c, 'm> Fn(CallView<'c>, &Request<'m, M>) -> Result<(), Status>;

/// The rule of one method; its type tells whether it is that of the method at hand.
struct Rule<M: Method>(Box<Check<M>>);

/// Rules for the requests of some methods, each of which sees the message by its own type.
///
/// ```
/// use grpc_service::layers::Validate;
/// use grpc_service::{Method, Status, layers::CallView};
/// # enum Put {}
/// # impl Method for Put {
/// #     const PATH: &'static str = "/a.B/Put";
/// #     type Request = grpc_arena::wkt::StringValue<'static>;
/// #     type Response = grpc_arena::wkt::StringValue<'static>;
/// # }
///
/// let rules = Validate::new().rule::<Put>(|_, request| match request.value {
///     "" => Err(Status::invalid_argument("a value is needed")),
///     _ => Ok(()),
/// });
/// // register_store(&mut router.watched(rules), service);
/// # let _ = rules;
/// ```
#[derive(Default)]
pub struct Validate {
    rules: Vec<Box<dyn Any>>,
}

impl Validate {
    /// No rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule for the requests of `M`; the first one of a method counts.
    ///
    /// A request is compared with the types of all rules: keep those of one service together.
    #[must_use]
    pub fn rule<M: Method>(
        mut self,
        check: impl for<'c, 'm> Fn(CallView<'c>, &Request<'m, M>) -> Result<(), Status> + 'static,
    ) -> Self {
        self.rules.push(Box::new(Rule::<M>(Box::new(check))));
        self
    }
}

impl Watch for Validate {
    fn on_request<M: Method>(
        &self,
        call: CallView<'_>,
        request: &Request<'_, M>,
    ) -> Result<(), Status> {
        match self.rules.iter().find_map(|rule| rule.downcast_ref::<Rule<M>>()) {
            Some(rule) => (rule.0)(call, request),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Validate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validate").field("rules", &self.rules.len()).finish()
    }
}
