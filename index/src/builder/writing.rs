//! Sorting what was collected, and writing it section by section.

use kanjo_format::run::ids::IdEntry;
use kanjo_format::run::lists::{self, Action, ListKey, Role, Sums};
use kanjo_format::run::rows::{LinkRow, ReservedRow};
use kanjo_format::run::{HASH_BITS, RunFooter, filter_lines};

use super::{RESOLVED, RunBuilder};
use crate::error::RunError;
use crate::run::{Run, RunInfo};
use crate::sort::{sort_by_upper_half, sort_ids};
use crate::writer::RunWriter;
use crate::writers::{
    IdsWriter, ListWriter, batches_writer, links_writer, one, reserved_writer, write_accounts,
};

impl RunBuilder {
    /// Writes the run into the set's folder and syncs it. The set gets it by [`crate::RunSet::with`].
    pub fn finish(mut self) -> Result<RunInfo, RunError> {
        if self.end_lsn == self.first_lsn {
            return Err(RunError::Refused {
                doing: "finish a run",
                why: "it has no batch".into(),
            });
        }
        let params = self.before.params();
        let (first, end, pace) = (self.first_lsn, self.end_lsn, self.pace.clone());
        let mut out = RunWriter::create(&params.dir, params.cluster, first, end, pace)?;
        let mut batches = batches_writer();
        for row in &self.batches {
            batches.push(&mut out, *row)?;
        }
        batches.finish(&mut out)?;
        self.write_lists(&mut out)?;
        self.write_ids(&mut out)?;
        self.links.sort_unstable();
        let mut links = links_writer();
        for row in &self.links {
            links.push(&mut out, *row)?;
        }
        links.finish(&mut out)?;
        self.write_reserved(&mut out)?;
        write_accounts(&mut out, self.before.ledgers().len() as u32, &self.opened)?;
        let footer = self.footer();
        let path = out.finish(footer)?;
        Run::open(path).map(|run| run.info())
    }

    fn write_ids(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        sort_ids(&mut self.ids, HASH_BITS);
        let mut ids = IdsWriter::new(self.ids.len() as u64);
        for row in std::mem::take(&mut self.ids) {
            let ordinal = row.ordinal.into();
            ids.push(
                out,
                IdEntry {
                    hash: row.hash,
                    ordinal,
                },
            )?;
        }
        ids.finish(out)
    }

    fn write_lists(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut lists = ListWriter::default();
        sort_by_upper_half(&mut self.postings);
        for posting in std::mem::take(&mut self.postings) {
            let (value, ordinal) = (posting >> 32, (posting as u32) >> 1);
            let key = ListKey {
                kind: lists::ACCOUNT,
                value,
            };
            let role = self.role(ordinal, posting & 1 == 1);
            let (amount, released) = (self.amounts.get(ordinal), self.released.get(ordinal));
            let change = |sums: &mut Sums| sums.add(role, amount, released);
            lists.add(out, key, one(ordinal.into(), role), change)?;
        }
        for (kind, rows) in [
            (lists::USER_DATA_128, &mut self.user_data_128),
            (lists::USER_DATA_64, &mut self.user_data_64),
            (lists::USER_DATA_32, &mut self.user_data_32),
        ] {
            rows.sort_unstable();
            for (value, ordinal) in std::mem::take(rows) {
                let item = one(ordinal.into(), Role::default());
                lists.add(out, ListKey { kind, value }, item, |_| ())?;
            }
        }
        for (kind, stretches) in [(lists::LEDGER, &self.ledgers), (lists::CODE, &self.codes)] {
            for (value, ordinal, more) in stretches.in_order() {
                let mut item = one(ordinal.into(), Role::default());
                item.more = more.into();
                lists.add(out, ListKey { kind, value }, item, |_| ())?;
            }
        }
        lists.finish(out)
    }

    fn role(&self, ordinal: u32, is_credit: bool) -> Role {
        let action = match self.actions[ordinal as usize] & !RESOLVED {
            0 => Action::Posts,
            1 => Action::Reserves,
            2 => Action::PostsPending,
            3 => Action::VoidsPending,
            4 => Action::Reverses,
            _ => Action::Expires,
        };
        match is_credit {
            false => Role::debit(action),
            true => Role::credit(action),
        }
    }

    fn write_reserved(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut reserved = reserved_writer();
        for (ordinal, action) in (0..).zip(&self.actions) {
            if *action == Action::Reserves as u8 {
                let amount = self.amounts.get(ordinal);
                let ordinal = ordinal.into();
                reserved.push(out, ReservedRow { ordinal, amount })?;
            }
        }
        reserved.finish(out)
    }

    fn footer(&self) -> RunFooter {
        let params = self.before.params();
        let place = |row: Option<&LinkRow>, none| row.map_or(none, |row| row.of.packed());
        let ids = self.transfers + self.failed;
        RunFooter {
            tier: 0,
            cluster: params.cluster,
            first_lsn: self.first_lsn,
            end_lsn: self.end_lsn,
            end_chain: self.end_chain,
            seed: params.seed,
            records: self.records,
            transfers: self.transfers,
            failed: self.failed,
            ids,
            id_low: self.id_low,
            id_high: self.id_high,
            time: self.time,
            first_account: self.before.ledgers().len() as u32,
            accounts: self.opened.len() as u32,
            filter_lines: filter_lines(ids),
            link_low: place(self.links.first(), u64::MAX),
            link_high: place(self.links.last(), 0),
            sections: Default::default(),
        }
    }
}
