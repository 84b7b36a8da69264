//! The readable report of a tail that was cut when its node rejoined.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use kanjo_engine::Entry;
use kanjo_format::columns::PayloadError;
use kanjo_format::movement::{Form, Movement, each_movement};
use kanjo_format::{BatchPlace, Tail, TransferId};

use crate::error::NodeError;
use crate::store::Store;

/// Which transfers were cut, and where that is told.
pub(crate) struct CutRecord {
    ids: Vec<TransferId>,
    path: PathBuf,
    file: File,
}

impl CutRecord {
    /// Writes what stands in the log above `to`, before it is cut.
    pub(crate) fn write(store: &Store, to: Tail) -> Result<Self, NodeError> {
        let name = format!("divergent-{:016x}.txt", to.lsn.get());
        let (file, path) = store.dir.quarantine_file(&name)?;
        let mut out = BufWriter::new(&file);
        let (mut ids, mut all_read) = (Vec::new(), true);
        let place = BatchPlace {
            cluster: store.dir.control().cluster,
            lsn: to.lsn,
            epoch: to.epoch,
            chain: to.chain,
        };
        let failed = |source| NodeError::System {
            what: "write the report of a cut tail",
            source,
        };
        writeln!(
            out,
            "These transfers stood in this node's log above {to}. No other node has them and\n\
             nobody was answered for them. The log bytes are kept beside this file.\n"
        )
        .map_err(failed)?;
        // One that was opened above may not be known here: then by its number in the log.
        let account = |number| match store.ledger.account(number) {
            Some(account) => account.id.to_string(),
            None => format!("#{number}"),
        };
        for batch in store.reader.scan(place) {
            let batch = batch?;
            let told = each_movement(&batch.header, &batch.payload, |at, movement| {
                let Movement::Transfer(transfer) = movement else {
                    return Ok(());
                };
                ids.push(transfer.id);
                writeln!(
                    out,
                    "lsn {} epoch {} transfer {} {} amount {} debit account {} credit account {}",
                    at.lsn(),
                    batch.header.epoch(),
                    transfer.id,
                    form_text(transfer.form),
                    transfer.amount,
                    account(transfer.debit),
                    account(transfer.credit)
                )
                .map_err(|source| Unwritten::System(failed(source)))
            });
            match told {
                Ok(()) => {}
                Err(Unwritten::System(error)) => return Err(error),
                // The raw bytes stand beside the report; a record that no writer makes is theirs to tell.
                Err(Unwritten::Payload(error)) => {
                    all_read = false;
                    writeln!(out, "lsn {}: {error}", batch.header.lsn()).map_err(failed)?;
                }
            }
        }
        if ids.is_empty() && all_read {
            writeln!(out, "None: what was cut holds no transfer.").map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        drop(out);
        file.sync_all().map_err(failed)?;
        Ok(Self { ids, path, file })
    }

    pub(crate) const fn transfers(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds which of them were posted again since, as the followed log tells.
    pub(crate) fn finish(self, store: &mut Store) -> Result<(), NodeError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let failed = |source| NodeError::System {
            what: "write the report of a cut tail",
            source,
        };
        let mut out = BufWriter::new(&self.file);
        let lsn = store.applied().lsn;
        writeln!(
            out,
            "\nIn sync again. By lsn {lsn} of the log that is followed now:"
        )
        .map_err(failed)?;
        for id in &self.ids {
            let since = match store.ledger.find_id(*id, &mut store.history)? {
                Some(Entry::Posted(_)) => "was posted again",
                Some(Entry::Failed(_)) => "was tried again and failed",
                None => "was not posted again",
            };
            writeln!(out, "transfer {id} {since}").map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        drop(out);
        self.file.sync_all().map_err(failed)
    }
}

/// Why a movement is not in the report.
enum Unwritten {
    Payload(PayloadError),
    System(NodeError),
}

impl From<PayloadError> for Unwritten {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}

const fn form_text(form: Form) -> &'static str {
    match form {
        Form::Posts => "posted",
        Form::Reserves => "pending",
        Form::PostsPending(_) => "posted a pending one:",
        Form::VoidsPending(_) => "voided a pending one:",
        Form::Reverses(_) => "reversed another one:",
    }
}
