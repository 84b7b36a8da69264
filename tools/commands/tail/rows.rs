//! Records of the feed as they are printed.

use kanjo_client::{
    AccountBody, AccountTermsBody, Epoch, FeedRowBody, RecordKind, TransferDetailBody,
    TransferFlags,
};
use kanjo_format::Timestamp;
use kanjo_format::client::{CloseDayBody, OutcomeBody};
use serde::Serialize;
use zerocopy::FromBytes;

use crate::commands::transfer::{ShownDetail, result_name, shown_detail};
use crate::dates::show_date;
use crate::flags::{account_flag_names, freeze_names, transfer_flag_names};
use crate::quantities::show_count;
use crate::times::show_time;

/// A record as JSON shows it.
#[derive(Serialize)]
pub(super) struct ShownRow {
    kind: &'static str,
    lsn: u64,
    index: u32,
    epoch: String,
    timestamp: u64,
    time: String,
    #[serde(flatten)]
    what: What,
}

/// What a record says.
#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Account {
        id: String,
        ledger: u32,
        code: u16,
        flags: Vec<&'static str>,
        user_data_128: String,
        user_data_64: u64,
        user_data_32: u32,
        opened: u64,
    },
    Terms {
        id: String,
        overdraft_limit: Option<String>,
        freeze: Vec<&'static str>,
    },
    Transfer {
        transfer: Box<ShownDetail>,
    },
    Failed {
        id: String,
        result: String,
    },
    Day {
        closed: Option<String>,
        next: String,
    },
    Nothing {},
}

/// What a record is called, as `kanjo log dump` has it: what happened, in whichever form it is
/// kept.
fn kind_name(kind: RecordKind, row: &FeedRowBody) -> &'static str {
    match kind {
        RecordKind::EpochStart => "epoch_start",
        RecordKind::SetChange => "set_change",
        RecordKind::AccountOpened | RecordKind::AccountImported => "account_opened",
        RecordKind::TransferPosted => "transfer_posted",
        RecordKind::TransferFailed => "transfer_failed",
        RecordKind::TransferPending => "transfer_pending",
        RecordKind::PendingPosted => "pending_posted",
        RecordKind::PendingVoided => "pending_voided",
        RecordKind::PendingExpired => "pending_expired",
        RecordKind::TransferDetailed => form_name(&read(row)),
        RecordKind::AccountChanged => "account_changed",
        RecordKind::DayClosed => "day_closed",
    }
}

/// What a detailed transfer is.
fn form_name(detail: &TransferDetailBody) -> &'static str {
    let flags = detail.transfer.flags.get();
    if detail.reverses.get() != 0 {
        "transfer_reversed"
    } else if flags & TransferFlags::PENDING != 0 {
        "transfer_pending"
    } else if flags & TransferFlags::POST_PENDING_TRANSFER != 0 {
        "pending_posted"
    } else if flags & TransferFlags::VOID_PENDING_TRANSFER != 0 {
        "pending_voided"
    } else {
        "transfer_posted"
    }
}

/// The row of another kind at the front of the body.
fn read<B: FromBytes>(row: &FeedRowBody) -> B {
    let (body, _) = B::read_from_prefix(&row.body).expect("every body fits its place");
    body
}

pub(super) fn shown(row: &FeedRowBody) -> ShownRow {
    let kind = RecordKind::from_number(row.kind.get());
    ShownRow {
        kind: kind.map_or("unknown", |kind| kind_name(kind, row)),
        lsn: row.lsn.get(),
        index: row.index.get(),
        epoch: Epoch::new(row.epoch.get()).to_string(),
        timestamp: row.timestamp.get(),
        time: show_time(Timestamp::new(row.timestamp.get())),
        what: what(kind, row),
    }
}

fn what(kind: Option<RecordKind>, row: &FeedRowBody) -> What {
    match kind {
        Some(RecordKind::AccountOpened | RecordKind::AccountImported) => {
            let account: AccountBody = read(row);
            What::Account {
                id: account.id.to_string(),
                ledger: account.ledger.get(),
                code: account.code.get(),
                flags: account_flag_names(account.flags.get()),
                user_data_128: account.user_data_128.to_string(),
                user_data_64: account.user_data_64.get(),
                user_data_32: account.user_data_32.get(),
                opened: account.timestamp.get(),
            }
        }
        Some(RecordKind::AccountChanged) => {
            let terms: AccountTermsBody = read(row);
            What::Terms {
                id: terms.id.to_string(),
                overdraft_limit: (terms.has_overdraft_limit.get() != 0)
                    .then(|| terms.overdraft_limit.to_string()),
                freeze: freeze_names(terms.freeze.get()),
            }
        }
        Some(RecordKind::TransferFailed) => {
            let failed: OutcomeBody = read(row);
            What::Failed {
                id: failed.id.to_string(),
                result: result_name(failed.result.get()),
            }
        }
        Some(RecordKind::DayClosed) => {
            let day: CloseDayBody = read(row);
            What::Day {
                closed: Some(day.date.get())
                    .filter(|date| *date != 0)
                    .map(show_date),
                next: show_date(day.next.get()),
            }
        }
        Some(RecordKind::EpochStart | RecordKind::SetChange) | None => What::Nothing {},
        Some(_) => What::Transfer {
            transfer: Box::new(shown_detail(&read(row))),
        },
    }
}

/// A record in one line, for people.
pub(super) fn row_line(row: &FeedRowBody) -> String {
    let kind = RecordKind::from_number(row.kind.get());
    let time = show_time(Timestamp::new(row.timestamp.get()));
    let place = format!("{}/{} {time}", row.lsn, row.index);
    let said = match kind {
        Some(RecordKind::AccountOpened | RecordKind::AccountImported) => {
            let account: AccountBody = read(row);
            format!(
                "account {} opened ledger {} code {}{}",
                account.id,
                account.ledger,
                account.code,
                behind(&account_flag_names(account.flags.get()))
            )
        }
        Some(RecordKind::AccountChanged) => {
            let terms: AccountTermsBody = read(row);
            let limit = match terms.has_overdraft_limit.get() {
                0 => "none".to_owned(),
                _ => show_count(terms.overdraft_limit.get()),
            };
            let frozen = freeze_names(terms.freeze.get());
            let frozen = match frozen.is_empty() {
                true => "none".to_owned(),
                false => frozen.join(","),
            };
            format!(
                "account {} overdraft limit {limit} frozen {frozen}",
                terms.id
            )
        }
        Some(RecordKind::TransferFailed) => {
            let failed: OutcomeBody = read(row);
            format!(
                "transfer {} failed {}",
                failed.id,
                result_name(failed.result.get())
            )
        }
        Some(RecordKind::DayClosed) => {
            let day: CloseDayBody = read(row);
            let (closed, next) = (show_date(day.date.get()), show_date(day.next.get()));
            match closed.is_empty() {
                true => format!("business dates begin with {next}"),
                false => format!("business date {closed} closed, {next} is current"),
            }
        }
        Some(RecordKind::EpochStart) => {
            format!("epoch {} begins", Epoch::new(row.epoch.get()))
        }
        Some(RecordKind::SetChange) => "the in-sync set changed".to_owned(),
        Some(kind) => transfer_line(kind_name(kind, row), &read(row)),
        None => format!(
            "a record of kind {}, which this program does not know",
            row.kind
        ),
    };
    format!("{place} {said}")
}

fn transfer_line(kind: &str, detail: &TransferDetailBody) -> String {
    let one = &detail.transfer;
    let done = match kind {
        "transfer_pending" => "reserved",
        "pending_voided" => "voided",
        "pending_expired" => "expired",
        _ => "posted",
    };
    let mut line = format!(
        "transfer {} {done} {} from {} to {} ledger {} code {}{}",
        one.id,
        show_count(one.amount.get()),
        one.debit_account_id,
        one.credit_account_id,
        one.ledger,
        one.code,
        behind(&transfer_flag_names(one.flags.get()))
    );
    if one.pending_id.get() != 0 {
        line.push_str(&format!(" of {}", one.pending_id));
    }
    if detail.reverses.get() != 0 {
        line.push_str(&format!(" reverses {}", detail.reverses));
    }
    line
}

fn behind(names: &[&str]) -> String {
    match names.is_empty() {
        true => String::new(),
        false => format!(" {}", names.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kanjo_client::TransferBody;
    use zerocopy::IntoBytes;

    fn row(kind: RecordKind, content: &[u8]) -> FeedRowBody {
        let mut body = [0; 160];
        body[..content.len()].copy_from_slice(content);
        FeedRowBody {
            lsn: 4_096.into(),
            index: 2.into(),
            epoch: (1_u64 << 32 | 3).into(),
            kind: (kind as u16).into(),
            body,
            ..FeedRowBody::default()
        }
    }

    #[test]
    fn every_kind_of_record_has_a_line_and_a_name() {
        let detail = TransferDetailBody {
            transfer: TransferBody {
                id: 5.into(),
                debit_account_id: 1.into(),
                credit_account_id: 77.into(),
                amount: 1_250.into(),
                pending_id: 4.into(),
                ..TransferBody::default()
            },
            ..TransferDetailBody::default()
        };
        let voided = row(RecordKind::PendingVoided, detail.as_bytes());
        let line = row_line(&voided);
        assert!(line.starts_with("4096/2 1970-01-01T"), "{line}");
        assert!(
            line.contains("transfer 5 voided 1,250 from 1 to 77"),
            "{line}"
        );
        assert!(line.ends_with(" of 4"), "{line}");
        let json = serde_json::to_value(shown(&voided)).unwrap();
        assert_eq!(json["kind"], "pending_voided");
        assert_eq!(json["transfer"]["amount"], "1250");
        let dated = TransferDetailBody {
            value_date: 20_260_131.into(),
            ..detail
        };
        let dated = row(RecordKind::TransferDetailed, dated.as_bytes());
        assert_eq!(shown(&dated).kind, "transfer_posted");
        let day = CloseDayBody {
            next: 20_260_130.into(),
            ..CloseDayBody::default()
        };
        let begun = row(RecordKind::DayClosed, day.as_bytes());
        assert!(row_line(&begun).ends_with("business dates begin with 2026-01-30"));
        for number in 1..=13 {
            let kind = RecordKind::from_number(number).unwrap();
            let (line, json) = (row_line(&row(kind, &[])), shown(&row(kind, &[])));
            assert!(!line.is_empty() && json.kind != "unknown");
        }
        let strange = FeedRowBody {
            kind: 99.into(),
            ..voided
        };
        assert!(row_line(&strange).contains("kind 99"));
    }
}
