//! What pending transfers reserved before the run.

use std::sync::Arc;

use kanjo_format::RecordAt;
use kanjo_format::run::rows::ReservedRow;

use crate::cursor::Places;
use crate::error::RunError;
use crate::run::Run;
use crate::set::RunSet;

/// What was reserved before the run. Pending transfers are mostly settled about in their order,
/// so the block that was read last is kept.
#[derive(Debug, Default)]
pub(super) struct ReservedBefore {
    run: Option<Arc<Run>>,
    places: Places,
    rows: Vec<ReservedRow>,
    loaded: Option<usize>,
}

impl ReservedBefore {
    pub(super) fn amount(
        &mut self,
        before: &RunSet,
        at: RecordAt,
    ) -> Result<Option<u128>, RunError> {
        let Some(run) = before.run_at(at) else {
            return Ok(None);
        };
        if self.run.as_ref().is_none_or(|last| !Arc::ptr_eq(last, run)) {
            *self = Self {
                run: Some(Arc::clone(run)),
                ..Self::default()
            };
        }
        let ordinal = self.places.ordinal_of(run, at)?;
        let Some(n) = run.reserved_block(ordinal) else {
            return Ok(None);
        };
        if self.loaded != Some(n) {
            self.loaded = None;
            run.reserved_rows(n, &mut self.rows)?;
            self.loaded = Some(n);
        }
        let found = self.rows.binary_search_by_key(&ordinal, |row| row.ordinal);
        Ok(found.ok().map(|found| self.rows[found].amount))
    }
}
