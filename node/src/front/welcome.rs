//! The handshake of a client connection.

use std::io;
use std::rc::Rc;

use kanjo_format::client::{
    CLIENT_VERSION, CLIENT_VERSION_MIN, Frame, FrameKind, HelloBody, Outcome, WelcomeBody,
};
use zerocopy::{FromBytes, IntoBytes};

use super::Front;
use super::connection::Connection;

impl Front {
    /// Answers the first frame of a connection; an error closes it.
    pub(super) fn welcome(&self, connection: &Rc<Connection>, hello: &[u8]) -> io::Result<()> {
        let frame = Frame::decode(hello).map_err(io::Error::other)?;
        let refuse = |why: String| -> io::Result<()> {
            self.put(
                connection,
                frame.request,
                FrameKind::Welcome,
                Outcome::Malformed,
                0,
                why.as_bytes(),
            );
            self.flush();
            Err(io::Error::other(why))
        };
        let body = match HelloBody::read_from_bytes(frame.body) {
            Ok(body) if frame.kind == FrameKind::Hello => body,
            _ => return refuse("the first frame must be a Hello".to_owned()),
        };
        let identity = self.identity.get();
        if body.cluster.get() != 0 && body.cluster.get() != identity.cluster.get() {
            return refuse(format!(
                "this node belongs to cluster {}, not to {:032x}",
                identity.cluster,
                body.cluster.get()
            ));
        }
        if body.version_max.get() < CLIENT_VERSION_MIN || body.version_min.get() > CLIENT_VERSION {
            return refuse(format!(
                "this node speaks protocol versions {CLIENT_VERSION_MIN} to {CLIENT_VERSION}, the client {} to {}",
                body.version_min, body.version_max
            ));
        }
        let welcome = WelcomeBody {
            cluster: identity.cluster.get().into(),
            epoch: identity.epoch.get().into(),
            node: identity.node.get().into(),
            primary: identity.primary.into(),
            version: CLIENT_VERSION.min(body.version_max.get()) as u8,
            reserved: [0; 2],
        };
        self.put(
            connection,
            frame.request,
            FrameKind::Welcome,
            Outcome::Done,
            1,
            welcome.as_bytes(),
        );
        self.flush();
        Ok(())
    }
}
