//! What a statement needs beside its lines: the balances before the first one.

use kanjo_format::client::{AccountBalanceBody, BalanceAsOfBody, Span, StatementBody};

use crate::{Client, ClientError};

impl Client {
    /// The balances of a statement's account before its first line.
    ///
    /// ```no_run
    /// # use kanjo_client::{Client, ClientError, Span, StatementBody};
    /// # async fn example(client: Client) -> Result<(), ClientError> {
    /// let january = StatementBody {
    ///     account_id: 77.into(),
    ///     unit: (Span::BusinessDate as u32).into(),
    ///     from: 20260101.into(),
    ///     to: 20260131.into(),
    ///     limit: u32::MAX.into(),
    ///     ..StatementBody::default()
    /// };
    /// let opening = client.opening_balance(&january).await?;
    /// println!("opening {} {}", opening.debits_posted, opening.credits_posted);
    /// for line in client.statement(&january).await? {
    ///     println!("{} {}", line.debits_posted, line.credits_posted);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn opening_balance(
        &self,
        statement: &StatementBody,
    ) -> Result<AccountBalanceBody, ClientError> {
        let Some(at) = before(statement.unit.get(), statement.from.get()) else {
            return Ok(AccountBalanceBody::default());
        };
        let asked = BalanceAsOfBody {
            account_id: statement.account_id,
            at: at.into(),
            unit: statement.unit,
            ..BalanceAsOfBody::default()
        };
        Ok(self.balances_as_of(&[asked]).await?[0])
    }
}

/// The last moment or date before `from`; `None` where everything begins with it.
fn before(unit: u32, from: u64) -> Option<u64> {
    match Span::from_number(unit) {
        Some(Span::BusinessDate) => day_before(from),
        // At a position of the log stands what is in front of it.
        Some(Span::Lsn) => (from > 0).then_some(from),
        _ => from.checked_sub(1),
    }
}

/// The date before, both as YYYYMMDD. What is no date gives the number before, which stands
/// between the same dates.
fn day_before(date: u64) -> Option<u64> {
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let last = match month {
        1 if day == 1 => return Some(year.checked_sub(1)? * 10_000 + 1_231),
        3 if leap => 29,
        3 => 28,
        5 | 7 | 10 | 12 => 30,
        _ => 31,
    };
    match day {
        1 if (2..=12).contains(&month) => Some(date - 101 + last),
        _ => date.checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_before_a_first_is_the_last_of_the_month_before() {
        let cases = [
            (20260101, 20251231),
            (20260131, 20260130),
            (20260201, 20260131),
            (20260301, 20260228),
            (20240301, 20240229),
            (19000301, 19000228),
            (20000301, 20000229),
            (20260501, 20260430),
            (20261201, 20261130),
        ];
        for (date, before) in cases {
            assert_eq!(day_before(date), Some(before), "{date}");
        }
    }

    #[test]
    fn a_statement_from_the_start_has_nothing_before_it() {
        assert_eq!(before(Span::Timestamp as u32, 0), None);
        assert_eq!(before(Span::BusinessDate as u32, 0), None);
        assert_eq!(before(Span::Lsn as u32, 0), None);
        assert_eq!(before(Span::Lsn as u32, 4_096), Some(4_096));
    }
}
