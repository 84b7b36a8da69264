//! A TCP link between two nodes that can be held (bytes wait) and cut (bytes in it are lost).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Debug, Default)]
struct State {
    held: bool,
    refusing: bool,
    closed: bool,
    /// Both ends of every live connection.
    streams: Vec<TcpStream>,
    /// Bytes read from one end of a held link and not given to the other.
    waiting: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A relay in front of one address.
#[derive(Debug)]
pub(crate) struct Link {
    address: String,
    shared: Arc<Shared>,
}

impl Link {
    /// Relays a port of its own to `target`.
    pub(crate) fn start(host: Ipv4Addr, target: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let shared = Arc::new(Shared::default());
        let (inner, target) = (Arc::clone(&shared), target.to_owned());
        std::thread::spawn(move || accept(&listener, &target, &inner));
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on nothing passes; nobody is told.
    pub(crate) fn hold(&self) {
        self.change(|state| state.held = true);
    }

    /// Drops all connections with every byte that is in them, and takes no new ones.
    pub(crate) fn cut(&self) {
        self.change(|state| {
            state.refusing = true;
            state.held = false;
            for stream in state.streams.drain(..) {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// As new.
    pub(crate) fn restore(&self) {
        self.change(|state| {
            state.refusing = false;
            state.held = false;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().expect("no relay panicked"));
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
        self.change(|state| state.closed = true);
        // Wakes the thread that accepts; it may have gone with its listener.
        let _ = TcpStream::connect(&self.address);
    }
}

fn accept(listener: &TcpListener, target: &str, shared: &Arc<Shared>) {
    for near in listener.incoming() {
        let Ok(near) = near else { continue };
        let mut state = shared.state.lock().expect("no relay panicked");
        if state.closed {
            return;
        }
        if state.refusing {
            continue;
        }
        let Ok(far) = TcpStream::connect(target) else {
            continue;
        };
        for stream in [&near, &far] {
            stream.set_nodelay(true).expect("a socket option");
            state
                .streams
                .push(stream.try_clone().expect("a socket can be shared"));
        }
        for (from, to) in [(&near, &far), (&far, &near)] {
            let from = from.try_clone().expect("a socket can be shared");
            let to = to.try_clone().expect("a socket can be shared");
            let shared = Arc::clone(shared);
            std::thread::spawn(move || pump(from, to, &shared));
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let state = shared.state.lock().expect("no relay panicked");
        let state = shared
            .changed
            .wait_while(state, |state| state.held)
            .expect("no relay panicked");
        drop(state);
        // After a cut both sockets are shut down and this fails: what was read is lost.
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for stream in [&from, &to] {
        // The other direction may have closed it.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
