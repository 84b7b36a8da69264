//! A network of the test's own: a namespace for each part, a bridge between them in a namespace
//! too, and packets that are dropped there by who sends them to whom.
//!
//! ```text
//!  client        s1         s2    …      namespaces, each with `eth0` and one address
//!     │veth       │veth      │veth
//!  ┌──┴───────────┴──────────┴───┐
//!  │ br0   nft: (from, to) drop  │       the hub's namespace
//!  └─────────────────────────────┘
//! ```
//!
//! The host's own network is not touched: a thread of the test that wants to speak with a part
//! goes into a namespace itself, and what it starts there lives there.

use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::program::said;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// What every name begins with: then come the test's process id, a number, and the part.
const PREFIX: &str = "kanjo";
/// The name of the test binary's file begins so, which tells a living owner from a recycled id.
const OWNER: &str = "clouds-";
const HUB: &str = "hub";

/// What the hub drops. A set of pairs is changed in one transaction, while traffic flows.
const RULES: &str = "table bridge kanjo {
    set cut { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @cut drop
    }
}";

/// One namespace with one address.
#[derive(Debug)]
pub(crate) struct Namespace {
    part: String,
    file: File,
    address: Ipv4Addr,
}

/// The bridge and everybody on it. Gone when dropped, with every process that still runs there.
#[derive(Debug)]
pub(crate) struct Net {
    prefix: String,
    parts: Vec<Namespace>,
}

/// This thread is in another namespace until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    before: File,
    /// A namespace is the thread's, so this must stay on it.
    thread: PhantomData<*const ()>,
}

impl Net {
    /// Says why there can be no namespaces here. Where they can be but a tool is missing, that is
    /// a failure: a gate that skips without a reason proves nothing.
    pub(crate) fn available() -> Result<(), String> {
        let refused = || "no network namespaces here (need root)".to_owned();
        if !rustix::process::geteuid().is_root() {
            return Err(refused());
        }
        static STALE: Once = Once::new();
        STALE.call_once(remove_stale);
        let probe = format!("{}-probe", own_prefix());
        let added = run("ip", &["netns", "add", &probe]);
        match added {
            Ok(()) => run("ip", &["netns", "del", &probe]).expect("it was just made"),
            Err(why) if why.contains("not permitted") || why.contains("denied") => {
                return Err(refused());
            }
            Err(why) => panic!("ip netns: {why}; install iproute2"),
        }
        if let Err(why) = run("nft", &["--version"]) {
            panic!("nft: {why}; install nftables");
        }
        Ok(())
    }

    /// An empty network; [`Net::available`] must have said yes.
    pub(crate) fn new() -> Self {
        let net = Self {
            prefix: own_prefix(),
            parts: Vec::new(),
        };
        let hub = net.full_name(HUB);
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "name", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "dev", "br0", "up"]);
        net.nft(RULES);
        net
    }

    fn full_name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    /// One more part, on the bridge.
    pub(crate) fn add(&mut self, part: &str, address: Ipv4Addr) {
        let (hub, name) = (self.full_name(HUB), self.full_name(part));
        ip(&["netns", "add", &name]);
        // Kept as soon as it is there, so that it goes again whatever fails next.
        self.parts.push(Namespace {
            part: part.to_owned(),
            file: File::open(path_of(&name)).expect("a new namespace has a name"),
            address,
        });
        let near = ["link", "add", "name", part, "netns", &hub];
        let far = ["type", "veth", "peer", "name", "eth0", "netns", &name];
        ip(&[&near[..], &far[..]].concat());
        ip(&[
            "-n", &hub, "link", "set", "dev", part, "master", "br0", "up",
        ]);
        let address = format!("{address}/16");
        ip(&["-n", &name, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "dev", "lo", "up"]);
        ip(&["-n", &name, "link", "set", "dev", "eth0", "up"]);
    }

    fn part(&self, part: &str) -> &Namespace {
        let found = self.parts.iter().find(|namespace| namespace.part == part);
        found.unwrap_or_else(|| panic!("no part is called {part}"))
    }

    /// This thread speaks as that part until the guard is dropped; so does all that it starts.
    pub(crate) fn enter(&self, part: &str) -> Inside {
        let before = File::open("/proc/thread-self/ns/net").expect("a thread has a namespace");
        move_to(&self.part(part).file);
        Inside {
            before,
            thread: PhantomData,
        }
    }

    /// From now on no packet of the first reaches the second, for each of these pairs. Nobody is
    /// told.
    pub(crate) fn drop_between<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let pairs: Vec<String> = pairs
            .into_iter()
            .map(|(from, to)| format!("{} . {}", self.part(from).address, self.part(to).address))
            .collect();
        if !pairs.is_empty() {
            self.nft(&format!(
                "add element bridge kanjo cut {{ {} }}",
                pairs.join(", ")
            ));
        }
    }

    /// Every packet passes again.
    pub(crate) fn drop_nothing(&self) {
        self.nft("flush set bridge kanjo cut");
    }

    /// Pulls the plug of a part, or puts it in again.
    pub(crate) fn set_link(&self, part: &str, up: bool) {
        let state = if up { "up" } else { "down" };
        let hub = self.full_name(HUB);
        ip(&["-n", &hub, "link", "set", "dev", part, state]);
    }

    fn nft(&self, script: &str) {
        let hub = self.full_name(HUB);
        let spawned = Command::new("ip")
            .args(["netns", "exec", &hub, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.expect("nft can be run");
        let mut input = child.stdin.take().expect("it is piped");
        writeln!(input, "{script}").expect("nft reads its script");
        drop(input);
        let output = child.wait_with_output().expect("nft ends");
        assert!(output.status.success(), "nft {script}: {}", said(&output));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let parts = self.parts.iter().map(|part| part.part.as_str());
        for name in parts.chain([HUB]).map(|part| self.full_name(part)) {
            remove(&name);
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        move_to(&self.before);
    }
}

fn move_to(namespace: &File) {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("root may go into a network namespace");
}

/// A prefix that no other network has, in this process or another.
fn own_prefix() -> String {
    static NETS: AtomicU32 = AtomicU32::new(0);
    let number = NETS.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}-{}-{number}", std::process::id())
}

fn path_of(name: &str) -> PathBuf {
    Path::new(NAMES).join(name)
}

/// Namespaces whose test died without cleaning up, and what runs in them.
fn remove_stale() {
    let Ok(names) = std::fs::read_dir(NAMES) else {
        return;
    };
    for name in names.flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        let mut fields = name.split('-');
        if fields.next() != Some(PREFIX) {
            continue;
        }
        let Some(owner) = fields.next().and_then(|pid| pid.parse::<i32>().ok()) else {
            continue;
        };
        if !is_a_test(owner) {
            remove(&name);
        }
    }
}

/// Whether this process lives and is of a binary like this one.
fn is_a_test(pid: i32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(OWNER)
}

/// Ends what runs in a namespace and removes it. What is gone already is no failure.
fn remove(name: &str) {
    let output = Command::new("ip").args(["netns", "pids", name]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&text).split_ascii_whitespace() {
        let pid = pid.parse().ok().and_then(Pid::from_raw);
        // A thread of this very test may be inside: that is no process of the scene.
        if let Some(pid) = pid.filter(|&pid| pid != rustix::process::getpid()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = run("ip", &["netns", "del", name]);
}

fn ip(arguments: &[&str]) {
    if let Err(why) = run("ip", arguments) {
        panic!("{why}");
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} {}: {}",
            arguments.join(" "),
            said(&output).trim()
        )),
    }
}
