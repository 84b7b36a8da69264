//! A terminal with a person before it, who looks at what a command draws and presses keys.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::PATIENCE;

/// What moves the cursor home and clears the screen: with it a picture begins.
const HOME: &[u8] = b"\x1b[H\x1b[J";
/// What the terminal makes of ^C.
const INTERRUPT: &[u8] = b"\x03";
/// What a person's window has.
const WINDOW: Winsize = Winsize {
    ws_row: 40,
    ws_col: 132,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A pseudoterminal and the command that it belongs to, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    controller: File,
    child: Child,
    /// What was drawn since the begin of the picture that is not whole yet.
    drawn: Vec<u8>,
}

impl Terminal {
    /// Runs `kanjo` with these arguments on a terminal of its own.
    pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).expect("a pseudoterminal");
        grantpt(&controller).expect("it may be used");
        unlockpt(&controller).expect("its other end may be opened");
        tcsetwinsize(&controller, WINDOW).expect("a terminal has a size");
        let user = ioctl_tiocgptpeer(&controller, flags).expect("it has another end");
        let user = || user.try_clone().expect("a file can be shared");
        // Keys become signals only for whom the terminal controls, in a session of its own.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_kanjo")])
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(user())
            .stdout(user())
            .stderr(user())
            .spawn();
        Self {
            controller: File::from(controller),
            child: child.expect("setsid is there"),
            drawn: Vec::new(),
        }
    }

    /// Looks at one picture after the other, each when it is whole, until something is seen.
    pub(crate) fn look<T>(&mut self, what: &str, see: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some(picture) = self.next_picture() {
                if let Some(seen) = see(&picture) {
                    return seen;
                }
            }
            let more = self.read_until(until);
            assert!(more, "it never showed {what}:\n{}", text(&self.drawn));
        }
    }

    /// The next picture that is whole, since another one began behind it.
    fn next_picture(&mut self) -> Option<String> {
        let begin = find(&self.drawn, HOME)? + HOME.len();
        let end = begin + find(&self.drawn[begin..], HOME)?;
        let picture = text(&self.drawn[begin..end]);
        self.drawn.drain(..end);
        Some(picture)
    }

    /// Takes what comes; `false` if nothing does, or the other end is closed.
    fn read_until(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        let mut watched = [PollFd::from_borrowed_fd(
            self.controller.as_fd(),
            PollFlags::IN,
        )];
        if poll(&mut watched, Some(&left)).expect("a terminal can be polled") == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let Ok(count) = self.controller.read(&mut bytes) else {
            return false;
        };
        self.drawn.extend_from_slice(&bytes[..count]);
        count > 0
    }

    /// Presses ^C and waits for the end.
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        self.controller
            .write_all(INTERRUPT)
            .expect("keys can be pressed");
        let until = Instant::now() + PATIENCE;
        // As long as anybody has the other end open, reading goes on.
        while self.read_until(until) {}
        assert!(Instant::now() < until, "it goes on:\n{}", text(&self.drawn));
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A terminal ends each line with a carriage return as well.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}
