//! The parts of two clouds, and where each is.

use std::fmt;
use std::net::Ipv4Addr;

use kanjo_format::Site;

/// A server, a witness, or the client, by the number that the cluster file has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Part(u32);

pub(crate) const S1: Part = Part(1);
pub(crate) const S2: Part = Part(2);
pub(crate) const S3: Part = Part(3);
pub(crate) const S4: Part = Part(4);
pub(crate) const W11: Part = Part(11);
pub(crate) const W12: Part = Part(12);
/// In a third site; runs in the scenes that ask for it.
pub(crate) const T21: Part = Part(21);
/// The test's own thread and its load: no process, but a place on the network.
pub(crate) const CLIENT: Part = Part(99);

pub(crate) const SERVERS: [Part; 4] = [S1, S2, S3, S4];
pub(crate) const WITNESSES: [Part; 2] = [W11, W12];
/// Every process, in the order in which a scene starts them.
pub(crate) const PARTS: [Part; 6] = [W11, W12, S3, S4, S1, S2];

impl Part {
    pub(crate) fn of_node(node: u32) -> Self {
        Self(node)
    }

    pub(crate) const fn node(self) -> u32 {
        self.0
    }

    pub(crate) const fn is_witness(self) -> bool {
        self.0 == W11.0 || self.0 == W12.0 || self.0 == T21.0
    }

    pub(crate) const fn site(self) -> Site {
        match self {
            S1 | S2 | W11 => Site::One,
            _ => Site::Two,
        }
    }

    /// Servers and witness of one site.
    pub(crate) const fn all_of(site: Site) -> [Self; 3] {
        match site {
            Site::One => [S1, S2, W11],
            Site::Two => [S3, S4, W12],
        }
    }

    pub(crate) const fn servers_of(site: Site) -> [Self; 2] {
        let [first, second, _] = Self::all_of(site);
        [first, second]
    }

    pub(crate) const fn witness_of(site: Site) -> Self {
        Self::all_of(site)[2]
    }

    /// The other server of the same site.
    pub(crate) fn neighbour(self) -> Self {
        let [first, second] = Self::servers_of(self.site());
        if self == first { second } else { first }
    }

    /// A short name, which its namespace, its link and its files have.
    pub(crate) fn name(self) -> String {
        match self {
            CLIENT => "client".to_owned(),
            witness if witness.is_witness() => format!("w{}", self.0),
            _ => format!("s{}", self.0),
        }
    }

    pub(crate) const fn address(self) -> Ipv4Addr {
        let site = match self {
            CLIENT => 9,
            T21 => 3,
            _ => self.site().number(),
        };
        Ipv4Addr::new(10, 77, site, self.0 as u8)
    }

    fn port(self, port: u16) -> String {
        format!("{}:{port}", self.address())
    }

    pub(crate) fn client(self) -> String {
        self.port(7001)
    }

    pub(crate) fn replication(self) -> String {
        self.port(REPLICATION_PORT)
    }

    pub(crate) fn admin(self) -> String {
        self.port(7003)
    }

    pub(crate) fn register(self) -> String {
        self.port(7004)
    }

    pub(crate) fn http(self) -> String {
        self.port(7005)
    }
}

/// Where servers connect for the log.
pub(crate) const REPLICATION_PORT: u16 = 7002;

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            &CLIENT => write!(f, "the client"),
            &T21 => write!(f, "the third witness"),
            part if part.is_witness() => write!(f, "witness {}", self.0),
            _ => write!(f, "server {}", self.0),
        }
    }
}
