//! Where imported transfers come from, read as often as needed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use kanjo_client::{AccountBody, TransferBody, TransferDetailBody};

use crate::bank;
use crate::berka::{Movement, carried_movements, read_movements};
use crate::exit::Failure;
use crate::transfer_csv::TransferCsv;

/// A transfer with the line that it stands on, or what is wrong.
pub(super) type Row = Result<(u64, TransferDetailBody), Failure>;

/// A source that can be opened.
pub(super) enum Source {
    /// A CSV file of the documented columns.
    Csv(PathBuf),
    /// The bank's movements, all of them checked.
    Berka(Vec<Movement>),
}

/// What a whole source holds.
pub(super) struct Contents {
    pub(super) rows: u64,
    /// Every account that a transfer names.
    pub(super) accounts: BTreeSet<u128>,
    /// Whether any transfer has a date or reverses another one.
    pub(super) detailed: bool,
    /// How the accounts are opened, where the source knows.
    pub(super) openings: Option<Vec<AccountBody>>,
}

impl Source {
    /// The bank's movements: those in `file`, or those that the program carries.
    pub(super) fn berka(file: Option<PathBuf>) -> Result<Self, Failure> {
        let movements = match file {
            None => carried_movements().map_err(Failure::failed)?,
            Some(path) => read_movements(BufReader::new(open(&path)?))
                .map_err(|error| in_file(&path, error))?,
        };
        Ok(Self::Berka(movements))
    }

    /// Reads all of it once: a source with one wrong row is refused whole.
    pub(super) fn contents(&self) -> Result<Contents, Failure> {
        let (mut rows, mut accounts, mut detailed) = (0, BTreeSet::new(), false);
        for row in self.rows()? {
            let (_, detail) = row?;
            let transfer = detail.transfer;
            detailed |= detail != plain(transfer);
            rows += 1;
            accounts.insert(transfer.debit_account_id.get());
            accounts.insert(transfer.credit_account_id.get());
        }
        let openings = match self {
            Self::Csv(_) => None,
            Self::Berka(movements) => Some(bank::accounts(movements)),
        };
        Ok(Contents {
            rows,
            accounts,
            detailed,
            openings,
        })
    }

    /// The transfers in order.
    pub(super) fn rows(&self) -> Result<Box<dyn Iterator<Item = Row> + '_>, Failure> {
        match self {
            Self::Csv(path) => {
                let file = BufReader::with_capacity(1 << 20, open(path)?);
                let rows = TransferCsv::new(file).map_err(|error| in_file(path, error))?;
                Ok(Box::new(
                    rows.map(|row| row.map_err(|error| in_file(path, error))),
                ))
            }
            Self::Berka(movements) => {
                // The first line names the columns.
                let rows = (2..).zip(movements);
                Ok(Box::new(
                    rows.map(|(line, one)| Ok((line, plain(bank::transfer(one))))),
                ))
            }
        }
    }
}

/// Without anything beyond the documented model.
fn plain(transfer: TransferBody) -> TransferDetailBody {
    TransferDetailBody {
        transfer,
        ..TransferDetailBody::default()
    }
}

fn open(path: &PathBuf) -> Result<File, Failure> {
    File::open(path).map_err(|error| in_file(path, format!("cannot be opened: {error}")))
}

fn in_file(path: &std::path::Path, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_one_wrong_row_is_refused_whole_and_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.csv");
        let head = "id,debit_account_id,credit_account_id,amount,ledger,code";
        std::fs::write(&path, format!("{head}\n1,2,3,4,5,6\n2,2,3,x,5,6\n")).unwrap();
        let Err(failure) = Source::Csv(path.clone()).contents() else {
            panic!("a wrong row is taken");
        };
        assert!(failure.line().contains("rows.csv: line 3, column amount"));
        std::fs::write(&path, format!("{head}\n1,2,3,4,5,6\n2,2,4,5,5,6\n")).unwrap();
        let contents = Source::Csv(path).contents().unwrap();
        assert_eq!(contents.rows, 2);
        assert_eq!(contents.accounts, BTreeSet::from([2, 3, 4]));
    }

    #[test]
    fn the_carried_movements_open_every_account_that_they_name() {
        let contents = Source::berka(None).unwrap().contents().unwrap();
        assert_eq!(contents.rows, 28_205);
        let opened = contents.openings.unwrap();
        let opened: BTreeSet<u128> = opened.iter().map(|one| one.id.get()).collect();
        assert_eq!(opened, contents.accounts);
    }
}
