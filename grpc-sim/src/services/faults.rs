//! Faults of a scenario, on the links of a world of services.

use std::rc::Rc;
use std::time::Duration;

use super::{Stage, address};
use crate::scenario::Fault;
use crate::service::NetworkFault;

impl Stage {
    /// A fault, from the start of the world to its end.
    pub(super) async fn suffer(self: Rc<Self>, index: usize) {
        let plan = &self.scenario.faults[index];
        self.sleep_us(plan.at_us).await;
        let span = |us: u32| Duration::from_micros(us.into());
        // Long enough for a timer of either end to fire, if its limits are short.
        let long = |us: u32| us > 40_000;
        let links = self.scenario.links.len();
        let link = |link: u16| (usize::from(link) < links).then_some(usize::from(link));
        match plan.fault {
            Fault::Stall { link: n, up, for_us } => {
                let stall = if up { NetworkFault::StallUp } else { NetworkFault::StallDown };
                self.strike(link(n), long(for_us), |at| stall(at, span(for_us)));
            }
            Fault::Partition { link: n, for_us } => {
                self.strike(link(n), long(for_us), |at| NetworkFault::Stall(at, span(for_us)));
            }
            Fault::Clog { link: n, bandwidth, for_us } => {
                let clog = |at| NetworkFault::Clog(at, bandwidth, span(for_us));
                self.strike(link(n), bandwidth < 100, clog);
            }
            Fault::Reset { link: n } => self.strike(link(n), true, NetworkFault::Reset),
            Fault::HalfClose { link: n, up } => {
                self.reach(crate::marks::Mark::HalfClosed);
                let close =
                    if up { NetworkFault::HalfCloseClients } else { NetworkFault::HalfClose };
                self.strike(link(n), true, close);
            }
            Fault::Refuse { link: n, for_us } => {
                self.strike(link(n), false, |at| NetworkFault::Refuse(at, span(for_us)));
            }
            Fault::Crash { server, for_us } => {
                let server = usize::from(server);
                if server >= self.scenario.servers.len() {
                    return;
                }
                for link in self.links_to(server) {
                    let crash = |at| NetworkFault::Crash(at, span(for_us));
                    self.strike(Some(link), true, crash);
                    self.links.borrow_mut()[link].restarted = true;
                }
                self.start_server(server);
            }
            Fault::Drain { server } => {
                for link in self.links_to(server.into()) {
                    self.leave(Some(link), NetworkFault::Drain);
                }
            }
            // Their ends are tasks, which the host schedules.
            Fault::Freeze { .. } => {}
            Fault::Leave { link: n } => self.leave(link(n), NetworkFault::Leave),
            Fault::Close { link: n, client } => {
                let abort = if client { NetworkFault::AbortClients } else { NetworkFault::Abort };
                self.strike(link(n), true, abort);
            }
        }
    }

    fn strike(&self, link: Option<usize>, blamed: bool, fault: impl Fn(String) -> NetworkFault) {
        let Some(link) = link else { return };
        if blamed {
            let state = &mut self.links.borrow_mut()[link];
            state.blamed.happen(state.connections, self.now());
        }
        self.sim.plan(Duration::ZERO, fault(address(link)));
    }

    fn leave(&self, link: Option<usize>, fault: impl Fn(String) -> NetworkFault) {
        let Some(link) = link else { return };
        {
            let state = &mut self.links.borrow_mut()[link];
            state.leaving.happen(state.connections, self.now());
        }
        self.sim.plan(Duration::ZERO, fault(address(link)));
    }
}
