//! At which times there are transfers: spans of nanoseconds, rising like the log.

/// Consecutive nanoseconds with a transfer each.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Times {
    spans: Vec<Span>,
}

impl Times {
    /// Notes `count` transfers from `first` on, which is later than all before.
    #[inline]
    pub(super) fn note(&mut self, first: u64, count: u64) {
        match self.spans.last_mut() {
            Some(span) if span.first + span.count == first => span.count += count,
            _ => self.spans.push(Span { first, count }),
        }
    }

    /// Forgets the last one.
    pub(super) fn forget_last(&mut self) {
        let span = self.spans.last_mut().expect("an undone time is there");
        span.count -= 1;
        if span.count == 0 {
            self.spans.pop();
        }
    }

    pub(super) fn holds(&self, timestamp: u64) -> bool {
        let after = self.spans.partition_point(|span| span.first <= timestamp);
        let span = after.checked_sub(1).map(|n| self.spans[n]);
        span.is_some_and(|span| timestamp - span.first < span.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_noted_times_are_held() {
        let mut times = Times::default();
        times.note(10, 3);
        times.note(13, 1);
        times.note(20, 1);
        times.note(21, 1);
        times.forget_last();
        let held: Vec<u64> = (0..30).filter(|&t| times.holds(t)).collect();
        assert_eq!(held, [10, 11, 12, 13, 20]);
    }
}
