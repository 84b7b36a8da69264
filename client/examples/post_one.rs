//! Opens two accounts, posts one transfer, reads it back.
//!
//! ```text
//! cargo run -p kanjo-client --example post_one -- 127.0.0.1:7401 127.0.0.1:7501
//! ```
//!
//! The arguments are the client ports of a cluster's nodes, in any order.

use std::time::Duration;

use kanjo_client::{AccountBody, AccountId, Client, ClientConfig, TransferBody, new_transfer_id};

const LEDGER: u32 = 203;
const CASH: u128 = 1;
const CUSTOMER: u128 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        return Err("give the client address of at least one node".into());
    }
    let client = Client::connect(ClientConfig::new(addresses)).await?;

    // Opening an account twice with the same content answers `exists`, which is fine here.
    let account = |id: u128| AccountBody {
        id: id.into(),
        ledger: LEDGER.into(),
        code: 1.into(),
        ..AccountBody::default()
    };
    for opened in client
        .create_accounts(&[account(CASH), account(CUSTOMER)])
        .await?
    {
        if !opened.created() && !opened.account_exists() {
            return Err(format!("an account was refused: result {}", opened.result).into());
        }
    }

    // The id is drawn once, before the first attempt: it makes every repetition safe.
    let transfer = TransferBody {
        id: new_transfer_id().get().into(),
        debit_account_id: CASH.into(),
        credit_account_id: CUSTOMER.into(),
        amount: 12_50.into(),
        ledger: LEDGER.into(),
        code: 1.into(),
        ..TransferBody::default()
    };
    let overall = Duration::from_secs(30);
    let resolved = client
        .create_transfers_resolved(&[transfer], overall)
        .await?[0];
    if !resolved.posted() {
        return Err(format!("rejected: result {}", resolved.result.result).into());
    }
    println!("posted {:032x}, on the disks of both sites", transfer.id);

    let balances = client.lookup_accounts(&[AccountId::new(CUSTOMER)]).await?;
    for account in balances {
        println!(
            "account {} has credits of {}",
            account.id, account.credits_posted
        );
    }
    Ok(())
}
