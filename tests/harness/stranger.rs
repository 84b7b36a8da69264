//! Connections from programs that have no business with a node.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Random;

/// Most time that a stranger waits to be sent away.
const WAIT: Duration = Duration::from_secs(10);

/// Says one of many kinds of nonsense on a port; gives true once the node has closed the
/// connection, or left it alone while it was quiet.
pub(crate) fn talk_nonsense(address: &str, magic: [u8; 4], random: &mut Random) {
    let mut stream = TcpStream::connect(address).expect("the port accepts");
    stream
        .set_read_timeout(Some(WAIT))
        .expect("a socket option");
    let bytes = nonsense(magic, random);
    // The node may close before it has read all.
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    // Whatever it says, or a reset: it must end.
    let ended = stream.read_to_end(&mut answer);
    if let Err(error) = ended {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        assert!(
            !matches!(error.kind(), TimedOut | WouldBlock),
            "{address} keeps a stranger waiting"
        );
    }
}

fn nonsense(magic: [u8; 4], random: &mut Random) -> Vec<u8> {
    let framed = |length: u32, body: &[u8]| [&length.to_le_bytes()[..], body].concat();
    match random.below(8) {
        // Plain noise.
        0 => {
            let count = 1 + random.below(4_000) as usize;
            random.bytes(count)
        }
        // The largest length there is, and a little less than too much.
        1 => framed(u32::MAX, &random.bytes(64)),
        2 => framed(u32::MAX >> 1, b""),
        // Over the limit by a byte more than any frame may have.
        3 => framed(64 << 20, &random.bytes(1 << 16)),
        // An empty frame.
        4 => framed(0, b""),
        // A whole frame of noise, with the right first bytes.
        5 => {
            let body = [&magic[..], &random.bytes(200)].concat();
            framed(body.len() as u32, &body)
        }
        // A frame that stops in the middle.
        6 => {
            let body = [&magic[..], &random.bytes(20)].concat();
            framed(5_000, &body)
        }
        // Another protocol.
        _ => b"GET / HTTP/1.1\r\nHost: kanjo\r\n\r\n".to_vec(),
    }
}

/// Connections that are opened and never used; some say half a hello first.
pub(crate) fn half_open(address: &str, count: usize, random: &mut Random) -> Vec<TcpStream> {
    (0..count)
        .map(|number| {
            let mut stream = TcpStream::connect(address).expect("the port accepts");
            if number % 2 == 0 {
                let bytes = random.bytes(3);
                stream.write_all(&bytes).expect("a few bytes can be sent");
            }
            stream
        })
        .collect()
}
