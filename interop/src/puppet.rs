//! What makes a server of the standard services show them.

use std::rc::Rc;

use grpc_service::{Code, Cx, Router, Status};
use grpc_standard::errors::ErrorDetails;
use grpc_standard::health::HealthReporter;

use crate::LARGEST;
use crate::puppeteer::{Done, FailRequest, Puppet, SetHealthRequest, register_puppet};

/// Lets `router` serve the puppet.
pub fn register(router: &mut Router, reporter: &HealthReporter) {
    register_puppet(router, Rc::new(Puppeteer { reporter: reporter.clone() }));
}

struct Puppeteer {
    reporter: HealthReporter,
}

impl Puppet for Puppeteer {
    async fn set_health<'a>(
        &self,
        _: &Cx<'a>,
        request: SetHealthRequest<'a>,
    ) -> Result<Done<'a>, Status> {
        if request.serving {
            self.reporter.set_serving(request.service);
        } else {
            self.reporter.set_not_serving(request.service);
        }
        Ok(Done::EMPTY)
    }

    async fn fail<'a>(&self, _: &Cx<'a>, request: FailRequest<'a>) -> Result<Done<'a>, Status> {
        let violations: Vec<(&str, &str)> =
            request.violations.iter().map(|(field, what)| (*field, *what)).collect();
        let mut details = ErrorDetails::new().bad_request(&violations);
        let bytes = usize::try_from(request.debug_bytes).unwrap_or(0).min(LARGEST);
        if bytes > 0 {
            details = details.debug_info(&[], &"x".repeat(bytes));
        }
        Err(details.status(Code::from_i32(request.code), request.message.to_owned()))
    }
}
