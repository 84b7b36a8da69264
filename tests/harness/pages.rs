//! The HTTP pages of servers in two clouds.

use super::PATIENCE;
use super::clouds::Cloud;
use super::exposition::Page;
use super::http::{Answer, ask};
use super::part::Part;

impl Cloud {
    /// Asks a server's HTTP port from inside its namespace.
    pub(crate) fn page(&self, server: Part, path: &str) -> Answer {
        let _inside = self.net().enter(&server.name());
        ask(&server.http(), "GET", path, &[])
    }

    /// Waits until a probe is answered with this status.
    pub(crate) fn expect_probe(&mut self, server: Part, path: &str, status: u16) -> Answer {
        let what = format!("{server} answers {path} with {status}");
        self.look(&what, PATIENCE, |cloud| {
            Some(cloud.page(server, path)).filter(|answer| answer.status == status)
        })
    }

    /// Waits until exactly these protections are told, named in alphabetical order.
    pub(crate) fn expect_protections(&mut self, server: Part, told: &[&str]) {
        let what = format!("{server} tells {told:?} in its metrics");
        self.look(&what, PATIENCE, |cloud| {
            let page = Page::read(&cloud.page(server, "/metrics").body, false);
            (page.protections() == told).then_some(())
        });
    }
}
