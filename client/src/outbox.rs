//! Frames on their way to the socket. A large body is not copied: it is written from where the
//! caller's rows were put.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Bodies up to this size are copied behind their heads: one piece is written faster than two.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Bytes in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Written first.
    pieces: VecDeque<Bytes>,
    /// Heads and small bodies behind all pieces.
    tail: BytesMut,
    bytes: usize,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether all of it is one piece.
    pub(crate) fn is_one_piece(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Appends one frame.
    pub(crate) fn push(&mut self, head: &[u8], body: &Bytes) {
        self.bytes += head.len() + body.len();
        self.tail.extend_from_slice(head);
        if body.len() <= COPIED_BYTES_MAX {
            self.tail.extend_from_slice(body);
            return;
        }
        let before = self.tail.split().freeze();
        self.pieces.extend([before, body.clone()]);
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail[..], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().map(|piece| &piece[..]);
        let all = pieces.chain([&self.tail[..]]).filter(|p| !p.is_empty());
        let mut count = 0;
        for (slot, piece) in out.iter_mut().zip(all) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes, "no more than there is");
        self.bytes -= count;
        let mut left = count;
        while left > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                self.tail.advance(left);
                return;
            };
            let taken = left.min(piece.len());
            piece.advance(taken);
            left -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_whole_and_in_order_however_they_are_taken() {
        for step in [1, 7, 4_096, 10_000] {
            let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
            for (n, length) in [0, 5, 10_000, 4_097, 3, 20_000].into_iter().enumerate() {
                let body = Bytes::from(vec![n as u8; length]);
                outbox.push(b"head", &body);
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&body);
            }
            assert_eq!(outbox.len(), expected.len());
            let mut written = Vec::new();
            while !outbox.is_empty() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = outbox.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                assert!(all.starts_with(outbox.chunk()));
                let taken = all.len().min(step);
                written.extend_from_slice(&all[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(outbox.remaining(), 0);
            assert!(written == expected, "step {step}");
        }
    }
}
