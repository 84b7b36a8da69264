//! A transfer with what its record only points to.

use kanjo_format::movement::{Form, Transfer};
use kanjo_format::{RecordAt, TransferId};

use super::calendar::Calendar;
use super::extent::business_date;
use super::past::{BATCH_COST, Budget, Past, PastError, transfer_at};
use super::walk::Event;

/// A transfer, the id of the one that it resolves or reverses, and the date that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// As its record says.
    pub transfer: Transfer,
    /// Of the transfer that it posts, voids or reverses; zero for none.
    pub related: TransferId,
    /// As YYYYMMDD; 0 where there was no calendar.
    pub business_date: u32,
}

impl Told {
    pub(super) fn of<P: Past>(
        past: &mut P,
        budget: &mut Budget,
        calendar: &Calendar,
        at: RecordAt,
        transfer: &Transfer,
    ) -> Result<Self, PastError> {
        let related = match transfer.form.related() {
            None => TransferId::new(0),
            Some(at) => {
                budget.spend(BATCH_COST);
                transfer_at(past, at)?.id
            }
        };
        Ok(Self {
            transfer: *transfer,
            related,
            business_date: business_date(calendar, at, &Event::Transfer(*transfer)),
        })
    }

    /// The pending transfer that it posts or voids; zero for none.
    pub fn pending_id(&self) -> TransferId {
        match self.transfer.form {
            Form::PostsPending(_) | Form::VoidsPending(_) => self.related,
            _ => TransferId::new(0),
        }
    }

    /// The transfer that it reverses; zero for none.
    pub fn reverses(&self) -> TransferId {
        match self.transfer.form {
            Form::Reverses(_) => self.related,
            _ => TransferId::new(0),
        }
    }
}
