//! Connections to either side, as a load drives them.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use kanjo_client::{Client, TransferBody};
use tokio_postgres::Statement;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use super::super::load::Target;

/// Transfers that were answered as created.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Posted {
    pub(super) transfers: u64,
    /// Their sum.
    pub(super) amount: u128,
}

/// A connection that counts what it posted.
#[derive(Clone)]
pub(super) struct Poster {
    connection: Connection,
    posted: Rc<Cell<Posted>>,
}

#[derive(Clone)]
enum Connection {
    Kanjo(Client),
    Postgres(Rc<Statements>),
}

/// A connection to PostgreSQL with its prepared statements.
struct Statements {
    client: tokio_postgres::Client,
    post: Statement,
    post_all: Statement,
}

type Value<'a> = &'a (dyn ToSql + Sync);

impl Poster {
    /// A client of its own; counts into `posted`.
    pub(super) fn kanjo(client: Client, posted: Rc<Cell<Posted>>) -> Self {
        Self {
            connection: Connection::Kanjo(client),
            posted,
        }
    }

    /// Prepares the statements of a connection; counts into `posted`.
    pub(super) async fn postgres(
        client: tokio_postgres::Client,
        posted: Rc<Cell<Posted>>,
    ) -> Result<Self> {
        let prepare = async |statement: &str| {
            let prepared = client.prepare(statement).await;
            prepared.with_context(|| format!("preparing {statement}"))
        };
        let post = prepare("SELECT post($1, $2, $3, $4, $5, $6)").await?;
        let post_all = prepare("SELECT post_all($1, $2, $3, $4, $5, $6)").await?;
        let statements = Statements {
            client,
            post,
            post_all,
        };
        Ok(Self {
            connection: Connection::Postgres(Rc::new(statements)),
            posted,
        })
    }
}

impl Target for Poster {
    async fn post(&self, transfers: &[TransferBody]) -> Result<()> {
        match &self.connection {
            Connection::Kanjo(client) => Target::post(client, transfers).await?,
            Connection::Postgres(statements) => match transfers {
                [one] => statements.post_one(one).await?,
                many => statements.post_many(many).await?,
            },
        }
        let Posted {
            transfers: before,
            amount,
        } = self.posted.get();
        let more = transfers.iter().map(|one| one.amount.get());
        self.posted.set(Posted {
            transfers: before + transfers.len() as u64,
            amount: amount + more.sum::<u128>(),
        });
        Ok(())
    }
}

impl Statements {
    async fn post_one(&self, transfer: &TransferBody) -> Result<()> {
        let id = Uuid(transfer.id.get());
        let debit = Uuid(transfer.debit_account_id.get());
        let credit = Uuid(transfer.credit_account_id.get());
        let amount = i64::try_from(transfer.amount.get())?;
        let ledger = i32::try_from(transfer.ledger.get())?;
        let code = i16::try_from(transfer.code.get())?;
        let values: [Value<'_>; 6] = [&id, &debit, &credit, &amount, &ledger, &code];
        let row = self.client.query_one(&self.post, &values).await;
        let row = row.context("a measured call of post")?;
        let said: &str = row.get(0);
        ensure!(said == "created", "PostgreSQL answered {said:?}");
        Ok(())
    }

    async fn post_many(&self, transfers: &[TransferBody]) -> Result<()> {
        let each = |of: fn(&TransferBody) -> u128| -> Vec<Uuid> {
            transfers.iter().map(|one| Uuid(of(one))).collect()
        };
        let ids = each(|one| one.id.get());
        let debits = each(|one| one.debit_account_id.get());
        let credits = each(|one| one.credit_account_id.get());
        let amounts = transfers.iter().map(|one| i64::try_from(one.amount.get()));
        let amounts = amounts.collect::<Result<Vec<_>, _>>()?;
        // Of all of them, as they are drawn.
        let ledger = i32::try_from(transfers[0].ledger.get())?;
        let code = i16::try_from(transfers[0].code.get())?;
        let values: [Value<'_>; 6] = [&ids, &debits, &credits, &amounts, &ledger, &code];
        let row = self.client.query_one(&self.post_all, &values).await;
        let row = row.context("a measured call of post_all")?;
        let posted: i64 = row.get(0);
        ensure!(
            posted == transfers.len() as i64,
            "PostgreSQL posted {posted} of {} transfers",
            transfers.len()
        );
        Ok(())
    }
}

/// 128 bits as PostgreSQL's `uuid`, which orders them as numbers.
#[derive(Debug)]
pub(super) struct Uuid(pub(super) u128);

impl ToSql for Uuid {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}
