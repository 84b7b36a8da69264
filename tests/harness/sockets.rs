//! Which TCP connections stand in a process's network namespace.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::process::Pid;

/// `ESTABLISHED` in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Established connections, in the namespace of this process, with that host, where one of the
/// two ends has this port: local and remote address.
pub(crate) fn connections(
    pid: Pid,
    with: Ipv4Addr,
    port: u16,
) -> Vec<(SocketAddrV4, SocketAddrV4)> {
    let path = format!("/proc/{}/net/tcp", pid.as_raw_nonzero());
    let table = std::fs::read_to_string(path).expect("a living process has a network");
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        (state == ESTABLISHED).then(|| (parse(local), parse(remote)))
    });
    rows.filter(|(local, remote)| {
        *remote.ip() == with && (local.port() == port || remote.port() == port)
    })
    .collect()
}

/// `0102000A:1B58`: the address as the machine's bytes lie, the port as people write it.
fn parse(text: &str) -> SocketAddrV4 {
    let parsed = text.split_once(':').and_then(|(address, port)| {
        let address = u32::from_str_radix(address, 16).ok()?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(SocketAddrV4::new(address.to_ne_bytes().into(), port))
    });
    parsed.unwrap_or_else(|| panic!("no address: {text}"))
}
