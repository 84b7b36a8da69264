//! Files that seed a replica: a checkpoint, and sealed segments at the log's end.

use super::*;

/// What a sealed segment may take beyond the batches that it holds: its own header and index.
const SEALED_EXTRA_BYTES_MAX: u64 = 16 << 20;

impl Receiver {
    /// A piece arrived. Pieces come in order, into files that fit what the log needs next.
    pub(super) fn chunk(
        &mut self,
        session: SessionId,
        (file, total_bytes, offset, bytes): (SeedFile, u64, u64, &[u8]),
        actions: &mut Vec<Action>,
    ) {
        if offset == 0 {
            if let Err(text) = self.check_file(file, total_bytes) {
                return self.refuse(session, RefusalCode::Dialogue, &text, actions);
            }
            self.incoming = Some(Incoming {
                file,
                total_bytes,
                offset: 0,
            });
        }
        let next = self
            .incoming
            .filter(|i| i.file == file && i.total_bytes == total_bytes && i.offset == offset);
        let Some(mut incoming) = next else {
            let text = "a piece of a file came out of turn";
            return self.refuse(session, RefusalCode::Dialogue, text, actions);
        };
        incoming.offset += bytes.len() as u64;
        actions.push(Action::WriteChunk {
            file,
            offset,
            bytes: bytes.to_vec(),
        });
        if incoming.offset < total_bytes {
            self.incoming = Some(incoming);
            return;
        }
        self.incoming = None;
        let history = self.writer.as_ref().map(|w| w.history.clone());
        self.installing = Some((file, history.unwrap_or_default()));
        actions.push(Action::InstallFile { file });
    }

    fn check_file(&self, file: SeedFile, total_bytes: u64) -> Result<(), String> {
        if self.installing.is_some() || !self.unsynced.is_empty() {
            return Err("a file has no place at this point".to_owned());
        }
        let end = self.synced.lsn.get();
        let segment_bytes = self.state.identity.segment_bytes;
        match file {
            SeedFile::Checkpoint(_) if end == 0 => Ok(()),
            SeedFile::Checkpoint(lsn) => {
                Err(format!("a checkpoint of lsn {lsn} seeds an empty log only"))
            }
            SeedFile::Segment(number) if number.checked_mul(segment_bytes) != Some(end) => Err(
                format!("segment {number} does not begin where the log ends, at {end}"),
            ),
            SeedFile::Segment(number) if total_bytes > segment_bytes + SEALED_EXTRA_BYTES_MAX => {
                Err(format!(
                    "segment {number} of {total_bytes} bytes is too large"
                ))
            }
            SeedFile::Segment(_) => Ok(()),
        }
    }

    /// The file is durable: what the log gained is the writer's, epochs included.
    pub(super) fn file_stored(&mut self, tail: Tail, actions: &mut Vec<Action>) {
        let Some((file, history)) = self.installing.take() else {
            return;
        };
        let log = &mut self.state.log;
        if tail.lsn > log.tail.lsn {
            let known = log.history.last().map_or(Epoch::NONE, |e| e.epoch);
            let gained = history.into_iter();
            let gained = gained.filter(|e| e.epoch > known && e.base.lsn < tail.lsn);
            log.history.extend(gained);
            log.tail = tail;
            self.synced = tail;
        }
        if let Some(writer) = &self.writer
            && writer.stage == WriterStage::Following
        {
            self.send(writer.session, Body::Stored { file, tail }, actions);
        }
        self.apply(actions);
        self.answer_grant(actions);
    }
}
