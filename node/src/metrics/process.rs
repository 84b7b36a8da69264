//! Memory of this process, as the kernel tells it.

/// Bytes in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// All, the mapped log included, which the kernel takes back when it needs room.
    pub(super) resident_bytes: u64,
    /// What only this process has.
    pub(super) anonymous_bytes: u64,
}

impl Memory {
    /// The present use; nothing where the kernel does not tell.
    pub(super) fn read() -> Self {
        std::fs::read_to_string("/proc/self/status").map_or_else(|_| Self::default(), |t| parse(&t))
    }
}

fn parse(status: &str) -> Memory {
    let bytes_of = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = rest.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0).saturating_mul(1 << 10)
    };
    Memory {
        resident_bytes: bytes_of("VmRSS:"),
        anonymous_bytes: bytes_of("RssAnon:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_this_process_uses() {
        let memory = Memory::read();
        assert!(memory.anonymous_bytes > 0);
        assert!(memory.resident_bytes >= memory.anonymous_bytes);
        assert_eq!(parse("VmRSS:\t x kB\n"), Memory::default());
    }
}
