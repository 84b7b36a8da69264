//! Puts frames, batches and files on the connection to a peer, as much as it takes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use kanjo_format::limits::FILE_CHUNK_BYTES;
use kanjo_format::replication::{Body, Frame, Hello, Purpose, SeedFile};
use kanjo_format::{Lsn, Tail};
use kanjo_shipper::sender::{Action, Event};

use super::Primary;
use super::session::PeerSession;
use crate::error::NodeError;
use crate::peers::PeerIndex;

/// Most bytes that may wait for the socket before more log is put behind them.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Batches that a session still wants sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    next: Lsn,
    until: Lsn,
}

impl Sending {
    /// The batches that begin within `bytes_max` log bytes from `from` on.
    pub(super) const fn new(from: Lsn, bytes_max: u64) -> Self {
        Self {
            next: from,
            until: from.advance(bytes_max),
        }
    }
}

/// The file that a session sends.
pub(super) struct OpenFile {
    which: SeedFile,
    file: File,
    total_bytes: u64,
    /// The log's end behind a segment; of a checkpoint its own tail.
    end: Tail,
}

/// A piece of it that was put on the connection, and has yet to be told as sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentChunk {
    next_offset: u64,
    total_bytes: u64,
    end: Tail,
}

impl Primary<'_> {
    pub(super) fn send_frame(&mut self, peer: PeerIndex, frame: &Frame<'static>) {
        if let Body::Ping { .. } = frame.body {
            let mut ping = Vec::new();
            frame.encode(&mut ping);
            let hello = self.heartbeat_hello(frame.epoch);
            self.peers[peer].ping(|| hello, ping);
            return;
        }
        if let Some(link) = self.peers[peer].link() {
            frame.encode(link.output());
        }
    }

    fn heartbeat_hello(&self, epoch: kanjo_format::Epoch) -> Vec<u8> {
        let own = self.hot.identity();
        let hello = Hello {
            version_min: kanjo_format::replication::REPLICATION_VERSION_MIN,
            version_max: kanjo_format::replication::REPLICATION_VERSION,
            purpose: Purpose::Heartbeat,
            cluster: own.cluster,
            node: own.node,
            incarnation: own.incarnation,
            site: own.site,
            role: kanjo_format::control::Role::Primary,
            segment_bytes: own.segment_bytes,
            start_count: own.start_count,
            highest_epoch: epoch,
            opening: Some(self.reign.opening),
            tail: Tail::empty(own.cluster),
            history: Vec::new(),
            client_address: own.client_address,
        };
        let mut out = Vec::new();
        Frame {
            epoch,
            body: Body::Hello(Box::new(hello)),
        }
        .encode(&mut out);
        out
    }

    /// Packs what a session wants sent, as long as the socket takes it.
    pub(super) fn continue_sending(&mut self, peer: PeerIndex) -> Result<(), NodeError> {
        let Some(mut sending) = self.reign.session(peer).sending else {
            return Ok(());
        };
        let end = self.hot.store.log.tail().lsn;
        let epoch = self.reign.gate.epoch();
        let live = |session: &&PeerSession| session.sender.is_live();
        let shared = self.reign.sessions.iter().filter(live).count() > 1;
        let mut sent = Vec::new();
        loop {
            let Some(link) = self.peers[peer].link() else {
                return Ok(());
            };
            if link.output_bytes() >= OUTPUT_BYTES_MAX {
                break;
            }
            if sending.next >= end || sending.next >= sending.until {
                self.reign.session(peer).sending = None;
                break;
            }
            let out = link.output();
            let before = out.len();
            let last = &mut self.reign.last;
            let tail = match last.pack(epoch, sending.next, shared, out) {
                Some(tail) => tail,
                None => {
                    let Some(batch) = self.hot.store.reader.read(sending.next)? else {
                        break;
                    };
                    last.pack_older(epoch, &batch.header, &batch.payload, out);
                    let lsn = batch.header.end(self.hot.store.segment_bytes());
                    Tail {
                        epoch: batch.header.epoch(),
                        lsn,
                        chain: batch.chain_after(),
                    }
                }
            };
            self.hot.counters.shipped_bytes += (out.len() - before) as u64;
            sending.next = tail.lsn;
            sent.push(tail);
            self.reign.session(peer).sending = Some(sending);
        }
        let now = Instant::now();
        for tail in sent {
            self.reign.session(peer).unacked.push(tail.lsn, now);
            self.send_event(peer, Event::Sent { tail })?;
        }
        if self.reign.session(peer).sending.is_none() {
            self.send_event(peer, Event::SendDone)?;
        }
        Ok(())
    }

    pub(super) fn send_chunk(
        &mut self,
        peer: PeerIndex,
        which: SeedFile,
        offset: u64,
        more: &mut Vec<Action>,
    ) -> Result<(), NodeError> {
        let is_open = |open: &OpenFile| open.which == which;
        if !self.reign.session(peer).file.as_ref().is_some_and(is_open) {
            self.reign.session(peer).file = self.open_seed_file(which)?;
        }
        let session = self.reign.session(peer);
        let Some(open) = &session.file else {
            session.sender.step(Event::FileGone, more);
            return Ok(());
        };
        let (total_bytes, end) = (open.total_bytes, open.end);
        let length = usize::try_from(total_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(FILE_CHUNK_BYTES)];
        if open.file.read_exact_at(&mut bytes, offset).is_err() {
            session.file = None;
            session.sender.step(Event::FileGone, more);
            return Ok(());
        }
        let next_offset = offset + bytes.len() as u64;
        session.chunk_sent = Some(SentChunk {
            next_offset,
            total_bytes,
            end,
        });
        let body = Body::Chunk {
            file: which,
            total_bytes,
            offset,
            bytes: &bytes,
        };
        let epoch = self.reign.gate.epoch();
        if let Some(link) = self.peers[peer].link() {
            Frame { epoch, body }.encode(link.output());
            self.hot.counters.shipped_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// Says that a piece of a file was sent once the socket took most of it.
    pub(super) fn continue_file(&mut self, peer: PeerIndex) -> Result<(), NodeError> {
        // On until the socket has enough: a piece a wake-up would leave it idle.
        while let Some(chunk) = self.reign.session(peer).chunk_sent {
            let link = self.peers[peer].link();
            if link.map_or(0, |link| link.output_bytes()) >= OUTPUT_BYTES_MAX / 2 {
                return Ok(());
            }
            self.reign.session(peer).chunk_sent = None;
            let SentChunk {
                next_offset,
                total_bytes,
                end,
            } = chunk;
            self.send_event(
                peer,
                Event::ChunkSent {
                    next_offset,
                    total_bytes,
                    end,
                },
            )?;
        }
        Ok(())
    }

    fn open_seed_file(&self, which: SeedFile) -> Result<Option<OpenFile>, NodeError> {
        let store = &self.hot.store;
        let (file, total_bytes, end) = match which {
            SeedFile::Segment(number) => {
                let Some((file, bytes)) = store.reader.sealed_file(number)? else {
                    return Ok(None);
                };
                (file, bytes, Lsn::new((number + 1) * store.segment_bytes()))
            }
            SeedFile::Checkpoint(lsn) => {
                let found = store
                    .dir
                    .checkpoints()?
                    .into_iter()
                    .find(|(at, _)| *at == lsn);
                let Some(file) = found.and_then(|(_, path)| kanjo_disk::open(&path).ok()) else {
                    return Ok(None);
                };
                let Ok(metadata) = file.metadata() else {
                    return Ok(None);
                };
                (file, metadata.len(), lsn)
            }
        };
        Ok(store.tail_at(end)?.map(|end| OpenFile {
            which,
            file,
            total_bytes,
            end,
        }))
    }
}
