//! What memory this process has and how much more there is, as the kernel tells it.

/// Memory of this process that is no file's; `None` where the kernel does not tell.
pub(super) fn own_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    bytes_of(&text, "RssAnon:")
}

/// What could still be had without swapping.
pub(super) fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    bytes_of(&text, "MemAvailable:")
}

/// From lines as `RssAnon:   1234 kB`.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_line_that_names_it() {
        let text = "VmRSS:\t   99 kB\nRssAnon:\t    1234 kB\nRssFile:\t 5 kB\n";
        assert_eq!(bytes_of(text, "RssAnon:"), Some(1234 << 10));
        assert_eq!(bytes_of(text, "MemAvailable:"), None);
        assert_eq!(bytes_of("RssAnon: many kB", "RssAnon:"), None);
        assert!(own_bytes().is_none_or(|bytes| bytes > 0));
    }
}
