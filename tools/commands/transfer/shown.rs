//! Transfers as they are printed.

use kanjo_client::{TransferBody, TransferDetailBody};
use kanjo_format::Timestamp;
use serde::Serialize;

use crate::amounts::AmountArgs;
use crate::dates::show_date;
use crate::flags::transfer_flag_names;
use crate::output::{facts, table};
use crate::times::show_time;

/// A transfer as JSON shows it.
#[derive(Serialize)]
pub(crate) struct ShownTransfer {
    id: String,
    debit_account_id: String,
    credit_account_id: String,
    amount: String,
    pending_id: String,
    ledger: u32,
    code: u16,
    flags: Vec<&'static str>,
    timeout: u32,
    user_data_128: String,
    user_data_64: u64,
    user_data_32: u32,
    timestamp: u64,
    posted: String,
}

/// The same with what goes beyond the documented model.
#[derive(Serialize)]
pub(crate) struct ShownDetail {
    #[serde(flatten)]
    transfer: ShownTransfer,
    reverses: String,
    value_date: Option<String>,
    business_date: Option<String>,
}

pub(crate) fn shown_plain(transfer: &TransferBody) -> ShownTransfer {
    ShownTransfer {
        id: transfer.id.get().to_string(),
        debit_account_id: transfer.debit_account_id.get().to_string(),
        credit_account_id: transfer.credit_account_id.get().to_string(),
        amount: transfer.amount.get().to_string(),
        pending_id: transfer.pending_id.get().to_string(),
        ledger: transfer.ledger.get(),
        code: transfer.code.get(),
        flags: transfer_flag_names(transfer.flags.get()),
        timeout: transfer.timeout.get(),
        user_data_128: transfer.user_data_128.get().to_string(),
        user_data_64: transfer.user_data_64.get(),
        user_data_32: transfer.user_data_32.get(),
        timestamp: transfer.timestamp.get(),
        posted: show_time(Timestamp::new(transfer.timestamp.get())),
    }
}

pub(crate) fn shown_detail(detail: &TransferDetailBody) -> ShownDetail {
    let date = |number: u32| match number {
        0 => None,
        number => Some(show_date(number)),
    };
    ShownDetail {
        transfer: shown_plain(&detail.transfer),
        reverses: detail.reverses.get().to_string(),
        value_date: date(detail.value_date.get()),
        business_date: date(detail.business_date.get()),
    }
}

/// Transfers, one a line.
pub(crate) fn transfers_table(transfers: &[TransferBody]) -> comfy_table::Table {
    let header = [
        "transfer",
        "debit",
        "credit",
        "amount",
        "ledger",
        "code",
        "flags",
        "user data 128/64/32",
        "posted",
    ];
    let mut table = table(&header, &[0, 1, 2, 3, 4, 5]);
    for one in transfers {
        let data = (one.user_data_128, one.user_data_64, one.user_data_32);
        table.add_row([
            one.id.get().to_string(),
            one.debit_account_id.get().to_string(),
            one.credit_account_id.get().to_string(),
            AmountArgs::default().show(one.amount.get()),
            one.ledger.get().to_string(),
            one.code.get().to_string(),
            transfer_flag_names(one.flags.get()).join(" "),
            format!("{}/{}/{}", data.0, data.1, data.2),
            show_time(Timestamp::new(one.timestamp.get())),
        ]);
    }
    table
}

/// A transfer, one fact a line.
pub(super) fn describe(detail: &TransferDetailBody, amounts: AmountArgs) -> String {
    let one = &detail.transfer;
    let flags = transfer_flag_names(one.flags.get());
    let data = (one.user_data_128, one.user_data_64, one.user_data_32);
    let mut shown = vec![
        ("transfer", one.id.get().to_string()),
        ("debit account", one.debit_account_id.get().to_string()),
        ("credit account", one.credit_account_id.get().to_string()),
        ("amount", amounts.show(one.amount.get())),
        ("ledger, code", format!("{}, {}", one.ledger, one.code)),
        (
            "flags",
            match flags.is_empty() {
                true => "none".to_owned(),
                false => flags.join(" "),
            },
        ),
    ];
    if one.timeout.get() != 0 {
        shown.push(("expires after", format!("{} s", one.timeout)));
    }
    if one.pending_id.get() != 0 {
        shown.push(("pending transfer", one.pending_id.to_string()));
    }
    if detail.reverses.get() != 0 {
        shown.push(("reverses", detail.reverses.to_string()));
    }
    for (name, date) in [
        ("value date", detail.value_date.get()),
        ("business date", detail.business_date.get()),
    ] {
        if date != 0 {
            shown.push((name, show_date(date)));
        }
    }
    shown.push((
        "user data 128/64/32",
        format!("{}/{}/{}", data.0, data.1, data.2),
    ));
    let posted = Timestamp::new(one.timestamp.get());
    shown.push(("posted", show_time(posted)));
    facts(&shown)
}
