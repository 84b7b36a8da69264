//! The values that the fixtures hold, and the bytes that this code makes of them.
//!
//! Every field has a value of its own, so that two that changed places are told apart. What
//! `zstd` compressed is taken as given: another release of it may compress otherwise, and what
//! counts is that the committed bytes still decompress to the same batches.

use kanjo_format::batch::{BatchFields, BatchHeader, FLAG_SEGMENT_END, stored_bytes};
use kanjo_format::client::{self, AccountBody, HelloBody, ResultRun, TransferBody, WelcomeBody};
use kanjo_format::columns::push_group;
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::SEGMENT_BYTES_MIN;
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, DetailedRow, ExpiredRow, FailedRow, ImportedAccountRow,
    PendingRow, Protection, RecordKind, ReignRow, ResolvedRow, TransferRow,
};
use kanjo_format::replication::{
    self, Body, Encoding, EpochEntry, Follow, Granted, Hello, Mark, Purpose, RefusalCode, Refused,
    SeedFile, Welcome, WireBatch,
};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};
use kanjo_format::segment::{
    BlockEntry, SEGMENT_HEADER_BYTES, SealedFooter, SegmentForm, SegmentHeader, block_crc,
    index_crc,
};
use kanjo_format::{
    Chain, ClusterId, Digest, Epoch, Incarnation, Lsn, NodeId, OpeningId, RecordAt, Site, Tail,
    Timestamp,
};
use zerocopy::{Immutable, IntoBytes};

#[path = "samples/client_v2.rs"]
pub(crate) mod client_v2;

/// A fixture's name under `fixtures/`, and its bytes.
pub(crate) type Fixture = (&'static str, Vec<u8>);

pub(crate) const SEGMENT_BYTES: u64 = SEGMENT_BYTES_MIN;

pub(crate) fn cluster() -> ClusterId {
    ClusterId::new(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100)
}

pub(crate) fn incarnation(of: u8) -> Incarnation {
    Incarnation::new(u128::from_be_bytes([of; 16]))
}

pub(crate) fn opening() -> OpeningId {
    OpeningId {
        node: NodeId::new(1),
        incarnation: incarnation(0xa1),
        random: 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00,
    }
}

pub(crate) fn tail(n: u64) -> Tail {
    Tail {
        epoch: Epoch::from_terms(1, n as u32),
        lsn: Lsn::new(n << 12),
        chain: Chain::new([n as u8; 32]),
    }
}

// Batches.

pub(crate) fn epoch_start() -> Vec<ReignRow> {
    let row = ReignRow::new(opening(), tail(3), Protection::Protected)
        .with_member(NodeId::new(2), incarnation(0xb2));
    vec![row]
}

pub(crate) fn set_changes() -> Vec<ReignRow> {
    let alone =
        ReignRow::new(opening(), tail(3), Protection::Alone).with_reason("the other site is dark");
    let waiting = ReignRow::new(opening(), tail(3), Protection::Waiting);
    vec![
        ReignRow {
            unfenced: 1,
            ..alone
        },
        waiting,
    ]
}

pub(crate) fn accounts() -> Vec<AccountRow> {
    (0..3_u32)
        .map(|n| AccountRow {
            id: (0x1000_0000_0000_0000_0000_u128 + u128::from(n)).into(),
            user_data_128: u128::from(0x0101_0101 * n).into(),
            user_data_64: 64.into(),
            number: (40 + n).into(),
            ledger: 203.into(),
            user_data_32: (32 + n).into(),
            code: 11.into(),
            flags: (1_u16 << n).into(),
        })
        .collect()
}

pub(crate) fn transfers(count: u32) -> Vec<TransferRow> {
    (0..count)
        .map(|n| TransferRow {
            id: (0x0123_4567_89ab_cdef_0000_u128 + u128::from(n) * 7_919).into(),
            amount: (100_000 + u128::from(n)).into(),
            user_data_128: 128.into(),
            user_data_64: (20_261_123_u64 + u64::from(n)).into(),
            debit_account: (40 + n % 3).into(),
            credit_account: (40 + (n + 1) % 3).into(),
            user_data_32: 7.into(),
            code: 9.into(),
            flags: 0.into(),
        })
        .collect()
}

pub(crate) fn failures() -> Vec<FailedRow> {
    let number = CreateTransferResult::ExceedsCredits.number();
    let row = |id: u128| FailedRow {
        id: id.into(),
        result: number.into(),
        reserved: 0.into(),
    };
    vec![row(0xdead), row(0xbeef)]
}

/// A payload with groups of every kind of version 1.
pub(crate) fn every_kind() -> (u32, Vec<u8>) {
    let mut payload = Vec::new();
    push_group(&mut payload, RecordKind::EpochStart, &epoch_start());
    push_group(&mut payload, RecordKind::SetChange, &set_changes());
    push_group(&mut payload, RecordKind::AccountOpened, &accounts());
    push_group(&mut payload, RecordKind::TransferPosted, &transfers(5));
    push_group(&mut payload, RecordKind::TransferFailed, &failures());
    (13, payload)
}

/// Where the records that others name stand.
fn place(index: usize) -> RecordAt {
    RecordAt::new(Lsn::new(2 << 12), index)
}

pub(crate) fn pending() -> Vec<PendingRow> {
    let row = |(n, transfer)| PendingRow {
        transfer,
        timeout: (3_600 + n as u32).into(),
        reserved: 0.into(),
    };
    transfers(3).into_iter().enumerate().map(row).collect()
}

pub(crate) fn resolved(first: usize) -> Vec<ResolvedRow> {
    let row = |n: usize| ResolvedRow {
        id: (0xfedc_ba98_0000_u128 + n as u128).into(),
        amount: (70 + n as u128).into(),
        user_data_128: 128.into(),
        user_data_64: 64.into(),
        pending: place(n).packed().into(),
        debit_account: 40.into(),
        credit_account: (41 + n as u32).into(),
        user_data_32: 32.into(),
        code: 9.into(),
        flags: 4.into(),
    };
    (first..first + 2).map(row).collect()
}

pub(crate) fn expired() -> Vec<ExpiredRow> {
    vec![ExpiredRow {
        pending: place(8_191).packed().into(),
        debit_account: 40.into(),
        credit_account: 41.into(),
    }]
}

/// One of each form: posted with dates, imported and pending, a post, a void, a reversal.
pub(crate) fn detailed() -> Vec<DetailedRow> {
    let row = |n: u16| DetailedRow {
        id: (0x0dad_0000_u128 + u128::from(n)).into(),
        amount: (1 << 100).into(),
        user_data_128: 128.into(),
        user_data_64: 64.into(),
        timestamp: 0.into(),
        related: 0.into(),
        debit_account: 40.into(),
        credit_account: 42.into(),
        user_data_32: 32.into(),
        timeout: 0.into(),
        value_date: 20_261_124.into(),
        business_date: (20_261_125 + u32::from(n)).into(),
        code: (11 + n).into(),
        flags: 0.into(),
        reverses: 0,
        reserved: [0; 3],
    };
    let imported = DetailedRow {
        timestamp: 1_700_000_000_000_000_000.into(),
        timeout: 7.into(),
        flags: 0x102.into(),
        ..row(1)
    };
    let posts = DetailedRow {
        flags: 4.into(),
        ..row(2)
    };
    let voids = DetailedRow {
        flags: 8.into(),
        ..row(3)
    };
    let reverses = DetailedRow {
        reverses: 1,
        ..row(4)
    };
    vec![
        row(0),
        imported,
        posts.with_related(place(0)),
        voids.with_related(place(1)),
        reverses.with_related(place(2)),
    ]
}

pub(crate) fn imported() -> Vec<ImportedAccountRow> {
    let row = |account: AccountRow| ImportedAccountRow {
        account,
        timestamp: (1_600_000_000_000_000_000 + u64::from(account.number.get())).into(),
    };
    accounts().into_iter().map(row).collect()
}

pub(crate) fn changes() -> Vec<AccountChangeRow> {
    let row = |account: u32, limit: u128, freeze: u8| AccountChangeRow {
        overdraft_limit: limit.into(),
        account: account.into(),
        has_overdraft_limit: u8::from(limit != 0),
        freeze,
        reserved: [0; 10],
    };
    vec![row(40, 5_000, 0), row(41, 0, 3)]
}

pub(crate) fn days() -> Vec<DayRow> {
    vec![DayRow {
        closed: 20_261_125.into(),
        next: 20_261_126.into(),
    }]
}

/// A payload with groups of every kind that came with version 2, and one that was there.
pub(crate) fn every_kind_of_version_2() -> (u32, Vec<u8>) {
    let mut payload = Vec::new();
    push_group(&mut payload, RecordKind::TransferPosted, &transfers(2));
    push_group(&mut payload, RecordKind::TransferPending, &pending());
    push_group(&mut payload, RecordKind::PendingPosted, &resolved(0));
    push_group(&mut payload, RecordKind::PendingVoided, &resolved(2));
    push_group(&mut payload, RecordKind::PendingExpired, &expired());
    push_group(&mut payload, RecordKind::TransferDetailed, &detailed());
    push_group(&mut payload, RecordKind::AccountImported, &imported());
    push_group(&mut payload, RecordKind::AccountChanged, &changes());
    push_group(&mut payload, RecordKind::DayClosed, &days());
    (21, payload)
}

/// As it stands in a raw segment, padding included.
pub(crate) fn batch_of_version_2() -> Vec<u8> {
    let (record_count, payload) = every_kind_of_version_2();
    let fields = BatchFields {
        record_count,
        ..batch_fields()
    };
    stored(&BatchHeader::build(&fields, &payload), &payload)
}

pub(crate) fn batch_fields() -> BatchFields {
    BatchFields {
        cluster: cluster(),
        epoch: Epoch::from_terms(1, 4),
        lsn: Lsn::new(3 << 12),
        flags: 0,
        record_count: 13,
        timestamp: Timestamp::new(1_795_392_000_000_000_000),
        confirmed: Lsn::new(2 << 12),
        prev_chain: Chain::new([3; 32]),
    }
}

/// As it stands in a raw segment, padding included.
pub(crate) fn batch() -> Vec<u8> {
    let (_, payload) = every_kind();
    stored(&BatchHeader::build(&batch_fields(), &payload), &payload)
}

pub(crate) fn segment_end_fields() -> BatchFields {
    BatchFields {
        flags: FLAG_SEGMENT_END,
        record_count: 0,
        ..batch_fields()
    }
}

fn stored(header: &BatchHeader, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(stored_bytes(payload.len()) as usize, 0);
    bytes
}

// Segments.

pub(crate) fn raw_header() -> SegmentHeader {
    SegmentHeader {
        cluster: cluster(),
        number: 5,
        segment_bytes: SEGMENT_BYTES,
        form: SegmentForm::Raw,
    }
}

pub(crate) fn sealed_header() -> SegmentHeader {
    SegmentHeader {
        number: 0,
        form: SegmentForm::Sealed,
        ..raw_header()
    }
}

/// The batches of the sealed segment: the first ones of a log.
pub(crate) fn sealed_batches() -> Vec<(BatchHeader, Vec<u8>)> {
    let mut first = Vec::new();
    let reign = ReignRow::new(opening(), Tail::empty(cluster()), Protection::Waiting);
    push_group(&mut first, RecordKind::EpochStart, &[reign]);
    let mut second = Vec::new();
    push_group(&mut second, RecordKind::AccountOpened, &accounts());
    push_group(&mut second, RecordKind::TransferPosted, &transfers(200));
    let mut place = (Lsn::ZERO, Chain::genesis(cluster()));
    let payloads = [
        (0, 1, first),
        (0, 203, second),
        (FLAG_SEGMENT_END, 0, vec![]),
    ];
    let mut batches = Vec::new();
    for (n, (flags, record_count, payload)) in payloads.into_iter().enumerate() {
        let fields = BatchFields {
            cluster: cluster(),
            epoch: Epoch::from_terms(1, 1),
            lsn: place.0,
            flags,
            record_count,
            timestamp: Timestamp::new(1_795_392_000_000_000_000 + 1_000 * n as u64),
            confirmed: Lsn::new((n as u64) << 12),
            prev_chain: place.1,
        };
        let header = BatchHeader::build(&fields, &payload);
        place = (header.end(SEGMENT_BYTES), header.chain_after(&payload));
        batches.push((header, payload));
    }
    batches
}

/// What the two blocks of the sealed segment hold: two batches, and one.
pub(crate) fn sealed_blocks() -> [Vec<u8>; 2] {
    let mut blocks = [Vec::new(), Vec::new()];
    for (n, (header, payload)) in sealed_batches().iter().enumerate() {
        blocks[n / 2].extend_from_slice(header.as_bytes());
        blocks[n / 2].extend_from_slice(payload);
    }
    blocks
}

pub(crate) fn sealed_entries(stored: &[Vec<u8>; 2]) -> Vec<BlockEntry> {
    let raw = sealed_blocks();
    let batches = sealed_batches();
    let mut offset = SEGMENT_HEADER_BYTES as u64;
    let mut entries = Vec::new();
    for n in 0..2 {
        let first_lsn = batches[2 * n].0.lsn();
        entries.push(BlockEntry {
            first_lsn,
            offset,
            stored_bytes: stored[n].len() as u32,
            raw_bytes: raw[n].len() as u32,
            batch_count: 2 - n as u32,
            crc: block_crc(cluster(), 0, first_lsn, &stored[n]),
        });
        offset += stored[n].len() as u64;
    }
    entries
}

pub(crate) fn sealed_footer(stored: &[Vec<u8>; 2]) -> SealedFooter {
    let batches = sealed_batches();
    let (last, payload) = batches.last().expect("the sample has three batches");
    let mut index = Vec::new();
    sealed_entries(stored)
        .iter()
        .for_each(|e| e.encode(&mut index));
    let stored_bytes: usize = stored.iter().map(Vec::len).sum();
    SealedFooter {
        cluster: cluster(),
        number: 0,
        segment_bytes: SEGMENT_BYTES,
        index_offset: (SEGMENT_HEADER_BYTES + stored_bytes) as u64,
        block_count: 2,
        index_crc: index_crc(cluster(), 0, &index),
        batch_count: 3,
        record_count: 204,
        raw_bytes: sealed_blocks().iter().map(|b| b.len() as u64).sum(),
        base: Tail::empty(cluster()),
        end: Tail {
            epoch: last.epoch(),
            lsn: last.end(SEGMENT_BYTES),
            chain: last.chain_after(payload),
        },
        last_timestamp: last.last_timestamp(),
        confirmed: last.confirmed(),
    }
}

/// The whole file, around blocks that were compressed before.
pub(crate) fn sealed_segment(stored: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut file = sealed_header().encode();
    stored
        .iter()
        .for_each(|block| file.extend_from_slice(block));
    sealed_entries(stored)
        .iter()
        .for_each(|e| e.encode(&mut file));
    file.extend_from_slice(&sealed_footer(stored).encode());
    file
}

// The control file.

pub(crate) fn control() -> Control {
    Control {
        sequence: 77,
        cluster: cluster(),
        incarnation: incarnation(0xa1),
        node: NodeId::new(1),
        site: Site::Two,
        role: Role::Primary,
        segment_bytes: SEGMENT_BYTES,
        start_count: 6,
        granted_epoch: Epoch::from_terms(2, 5),
        granted_opening: OpeningId {
            node: NodeId::new(3),
            incarnation: incarnation(0xc3),
            random: 0x5151,
        },
        protection: Protection::Alone,
        member: Some((NodeId::new(2), incarnation(0xb2))),
        in_sync: true,
        in_sync_lsn: Lsn::new(7 << 12),
        uncertain: false,
        awaiting_operator: true,
        durable: tail(9),
        confirmed: Lsn::new(8 << 12),
        peer_granted_epoch: Epoch::from_terms(1, 3),
        log_time: Timestamp::new(1_795_392_000_123_456_789),
    }
}

// Client frames.

/// A client frame that owns its body.
#[derive(Clone)]
pub(crate) struct ClientFrame {
    pub(crate) kind: client::FrameKind,
    pub(crate) outcome: client::Outcome,
    pub(crate) request: u64,
    pub(crate) deadline_ms: u32,
    pub(crate) count: u32,
    pub(crate) body: Vec<u8>,
}

impl ClientFrame {
    fn rows<R: IntoBytes + Immutable>(kind: client::FrameKind, request: u64, rows: &[R]) -> Self {
        Self {
            kind,
            outcome: client::Outcome::Done,
            request,
            deadline_ms: 0,
            count: rows.len() as u32,
            body: rows.as_bytes().to_vec(),
        }
    }

    fn within(self, deadline_ms: u32) -> Self {
        Self {
            deadline_ms,
            ..self
        }
    }

    pub(crate) fn frame(&self) -> client::Frame<'_> {
        client::Frame {
            kind: self.kind,
            outcome: self.outcome,
            request: self.request,
            deadline_ms: self.deadline_ms,
            count: self.count,
            body: &self.body,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.frame().encode(&mut bytes);
        bytes
    }
}

pub(crate) fn client_hello() -> HelloBody {
    HelloBody {
        cluster: cluster().get().into(),
        version_min: 1.into(),
        version_max: 2.into(),
        reserved: 0.into(),
    }
}

pub(crate) fn client_welcome() -> WelcomeBody {
    WelcomeBody {
        cluster: cluster().get().into(),
        epoch: Epoch::from_terms(1, 4).get().into(),
        node: 1.into(),
        primary: 1,
        version: 0,
        reserved: [0; 2],
    }
}

pub(crate) fn account_bodies() -> Vec<AccountBody> {
    let account = |id: u128| AccountBody {
        id: id.into(),
        debits_pending: 0.into(),
        debits_posted: (id * 1_000).into(),
        credits_pending: 0.into(),
        credits_posted: (id * 2_000).into(),
        user_data_128: 128.into(),
        user_data_64: 64.into(),
        user_data_32: 32.into(),
        reserved: 0.into(),
        ledger: 203.into(),
        code: 11.into(),
        flags: client::AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS.into(),
        timestamp: 1_795_392_000_000_000_001.into(),
    };
    vec![account(1), account(2)]
}

pub(crate) fn transfer_bodies() -> Vec<TransferBody> {
    let transfer = |id: u128| TransferBody {
        id: id.into(),
        debit_account_id: 1.into(),
        credit_account_id: 2.into(),
        amount: (id * 100).into(),
        pending_id: 0.into(),
        user_data_128: 128.into(),
        user_data_64: 64.into(),
        user_data_32: 32.into(),
        timeout: 0.into(),
        ledger: 203.into(),
        code: 9.into(),
        flags: 0.into(),
        timestamp: 1_795_392_000_000_000_002.into(),
    };
    vec![transfer(501), transfer(502)]
}

pub(crate) fn account_results() -> Vec<ResultRun> {
    let run = |count: u32, result: CreateAccountResult, timestamp: u64| ResultRun {
        count: count.into(),
        result: result.number().into(),
        timestamp: timestamp.into(),
    };
    vec![
        run(2, CreateAccountResult::Created, 1_795_392_000_000_000_001),
        run(1, CreateAccountResult::LedgerMustNotBeZero, 0),
    ]
}

pub(crate) fn transfer_results() -> Vec<ResultRun> {
    let run = |count: u32, result: CreateTransferResult, timestamp: u64| ResultRun {
        count: count.into(),
        result: result.number().into(),
        timestamp: timestamp.into(),
    };
    vec![
        run(1, CreateTransferResult::Exists, 1_795_392_000_000_000_002),
        run(
            7,
            CreateTransferResult::ExceedsCredits,
            1_795_392_000_000_000_009,
        ),
    ]
}

pub(crate) fn lookup_ids() -> Vec<u128> {
    vec![1, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef]
}

pub(crate) fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    use client::FrameKind::{
        CreateAccounts, CreateTransfers, Hello, LookupAccounts, LookupTransfers, Welcome,
    };
    let ids: Vec<[u8; 16]> = lookup_ids().iter().map(|id| id.to_le_bytes()).collect();
    let text = |outcome, request, text: &str| ClientFrame {
        outcome,
        count: 0,
        body: text.as_bytes().to_vec(),
        ..ClientFrame::rows::<ResultRun>(CreateTransfers, request, &[])
    };
    vec![
        (
            "client-v1/hello.frame",
            ClientFrame::rows(Hello, 0, &[client_hello()]),
        ),
        (
            "client-v1/welcome.frame",
            ClientFrame::rows(Welcome, 0, &[client_welcome()]),
        ),
        (
            "client-v1/create-accounts-request.frame",
            ClientFrame::rows(CreateAccounts, 1, &account_bodies()).within(1_500),
        ),
        (
            "client-v1/create-accounts-reply.frame",
            ClientFrame::rows(CreateAccounts, 1, &account_results()),
        ),
        (
            "client-v1/create-transfers-request.frame",
            ClientFrame::rows(CreateTransfers, 2, &transfer_bodies()).within(2_500),
        ),
        (
            "client-v1/create-transfers-reply.frame",
            ClientFrame::rows(CreateTransfers, 2, &transfer_results()),
        ),
        (
            "client-v1/lookup-accounts-request.frame",
            ClientFrame::rows(LookupAccounts, 3, &ids).within(3_500),
        ),
        (
            "client-v1/lookup-accounts-reply.frame",
            ClientFrame::rows(LookupAccounts, 3, &account_bodies()),
        ),
        (
            "client-v1/lookup-transfers-request.frame",
            ClientFrame::rows(LookupTransfers, 4, &ids).within(4_500),
        ),
        (
            "client-v1/lookup-transfers-reply.frame",
            ClientFrame::rows(LookupTransfers, 4, &transfer_bodies()),
        ),
        (
            "client-v1/indeterminate-reply.frame",
            text(
                client::Outcome::Indeterminate,
                5,
                "the deadline came before the commit",
            ),
        ),
        (
            "client-v1/not-primary-reply.frame",
            text(client::Outcome::NotPrimary, 6, "127.0.0.1:7401"),
        ),
        (
            "client-v1/fenced-reply.frame",
            text(client::Outcome::Fenced, 7, "fenced by epoch 2.1"),
        ),
        (
            "client-v1/overloaded-reply.frame",
            text(client::Outcome::Overloaded, 8, "the queue is full"),
        ),
        (
            "client-v1/malformed-reply.frame",
            text(client::Outcome::Malformed, 9, "frame kind 99 is unknown"),
        ),
    ]
}

// Replication frames.

pub(crate) const REPLICATION_EPOCH: Epoch = Epoch::from_terms(1, 4);

fn history() -> Vec<EpochEntry> {
    (1..4)
        .map(|n| EpochEntry {
            epoch: Epoch::from_terms(1, n as u32 + 1),
            base: tail(n),
        })
        .collect()
}

fn replication_hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 2,
        purpose: Purpose::Replicate,
        cluster: cluster(),
        node: NodeId::new(1),
        incarnation: incarnation(0xa1),
        site: Site::One,
        role: Role::Primary,
        segment_bytes: SEGMENT_BYTES,
        start_count: 3,
        highest_epoch: REPLICATION_EPOCH,
        opening: Some(opening()),
        tail: tail(5),
        history: history(),
        client_address: "10.0.0.1:7400".to_owned(),
    }
}

fn replication_welcome() -> Welcome {
    Welcome {
        version: 1,
        cluster: cluster(),
        node: NodeId::new(2),
        incarnation: incarnation(0xb2),
        site: Site::Two,
        role: Role::Replica,
        segment_bytes: SEGMENT_BYTES,
        start_count: 2,
        granted_epoch: Epoch::from_terms(1, 3),
        granted_opening: opening(),
        tail: tail(4),
        confirmed: Lsn::new(3 << 12),
        in_sync: true,
        in_sync_lsn: Lsn::new(2 << 12),
        uncertain: false,
        awaiting_operator: true,
        history: history(),
        client_address: "10.0.0.2:7400".to_owned(),
    }
}

fn handshake_frames() -> Vec<(&'static str, Body<'static>)> {
    let heartbeat = Hello {
        purpose: Purpose::Heartbeat,
        opening: None,
        history: Vec::new(),
        client_address: String::new(),
        ..replication_hello()
    };
    let refused = Refused {
        code: RefusalCode::LowerEpoch,
        granted_epoch: Epoch::from_terms(2, 1),
        granted_opening: opening(),
        text: "fenced by epoch 2.1".to_owned(),
    };
    let granted = Granted {
        opening: opening(),
        tail: tail(4),
        confirmed: Lsn::new(3 << 12),
        in_sync: true,
        in_sync_lsn: Lsn::new(2 << 12),
        uncertain: true,
    };
    let follow = Follow {
        opening: opening(),
        tail: tail(9),
        committed: Lsn::new(8 << 12),
        history: history(),
    };
    vec![
        (
            "replication-v1/hello.frame",
            Body::Hello(Box::new(replication_hello())),
        ),
        (
            "replication-v1/hello-heartbeat.frame",
            Body::Hello(Box::new(heartbeat)),
        ),
        (
            "replication-v1/welcome.frame",
            Body::Welcome(Box::new(replication_welcome())),
        ),
        ("replication-v1/refused.frame", Body::Refused(refused)),
        (
            "replication-v1/seal.frame",
            Body::Seal { opening: opening() },
        ),
        ("replication-v1/granted.frame", Body::Granted(granted)),
        (
            "replication-v1/fetch.frame",
            Body::Fetch {
                from: Lsn::new(6 << 12),
            },
        ),
        (
            "replication-v1/fetch-end.frame",
            Body::FetchEnd { tail: tail(6) },
        ),
        ("replication-v1/follow.frame", Body::Follow(follow)),
        (
            "replication-v1/following.frame",
            Body::Following { tail: tail(8) },
        ),
    ]
}

fn session_frames() -> Vec<(&'static str, Body<'static>)> {
    let mark = Mark {
        turn: 3,
        in_sync: true,
        lsn: Lsn::new(8 << 12),
    };
    let lsn = Lsn::new(5 << 12);
    let digest = Digest::new(0x00ff_11ee_22dd_33cc_44bb_55aa_6699_7788);
    vec![
        (
            "replication-v1/committed.frame",
            Body::Committed {
                lsn,
                digest: Some(digest),
            },
        ),
        (
            "replication-v1/committed-without-digest.frame",
            Body::Committed { lsn, digest: None },
        ),
        (
            "replication-v1/read-check.frame",
            Body::ReadCheck { token: 9 },
        ),
        ("replication-v1/read-ok.frame", Body::ReadOk { token: 9 }),
        ("replication-v1/mark.frame", Body::Mark(mark)),
        (
            "replication-v1/marked.frame",
            Body::Marked(Mark {
                in_sync: false,
                ..mark
            }),
        ),
        (
            "replication-v1/ack.frame",
            Body::Ack {
                tail: tail(3),
                node: NodeId::new(2),
                incarnation: incarnation(0xb2),
            },
        ),
        (
            "replication-v1/applied.frame",
            Body::Applied { lsn, digest },
        ),
        ("replication-v1/ping.frame", Body::Ping { nonce: 15 }),
        (
            "replication-v1/pong.frame",
            Body::Pong {
                nonce: 15,
                durable: Lsn::new(6 << 12),
                applied: lsn,
                syncing: true,
            },
        ),
        (
            "replication-v1/chunk-segment.frame",
            Body::Chunk {
                file: SeedFile::Segment(4),
                total_bytes: 90,
                offset: 80,
                bytes: b"ten bytes.",
            },
        ),
        (
            "replication-v1/chunk-checkpoint.frame",
            Body::Chunk {
                file: SeedFile::Checkpoint(lsn),
                total_bytes: 10,
                offset: 0,
                bytes: b"ten bytes!",
            },
        ),
        (
            "replication-v1/stored.frame",
            Body::Stored {
                file: SeedFile::Checkpoint(lsn),
                tail: tail(1),
            },
        ),
    ]
}

/// Every frame but batches.
pub(crate) fn replication_frames() -> Vec<(&'static str, Body<'static>)> {
    let mut frames = handshake_frames();
    frames.extend(session_frames());
    frames
}

pub(crate) fn replication_bytes(body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let epoch = REPLICATION_EPOCH;
    replication::Frame { epoch, body }.encode(&mut bytes);
    bytes
}

/// The batch of the log fixture, on the wire as `packed`.
pub(crate) fn batch_frame(encoding: Encoding, packed: &[u8]) -> Vec<u8> {
    let (_, payload) = every_kind();
    let header = BatchHeader::build(&batch_fields(), &payload);
    replication_bytes(Body::Batch(WireBatch::new(&header, encoding, packed)))
}

// Results.

/// Number and name of every result, one a line.
pub(crate) fn results() -> String {
    fn lines(request: &str, results: impl Iterator<Item = (u32, &'static str)>) -> String {
        results.fold(String::new(), |text, (number, name)| {
            text + &format!("{request} {number} {name}\n")
        })
    }
    let accounts = CreateAccountResult::ALL.iter();
    let transfers = CreateTransferResult::ALL.iter();
    let changes = ChangeAccountResult::ALL.iter();
    let days = CloseDayResult::ALL.iter();
    let burns = BurnResult::ALL.iter();
    [
        lines("create_accounts", accounts.map(|r| (r.number(), r.name()))),
        lines(
            "create_transfers",
            transfers.map(|r| (r.number(), r.name())),
        ),
        lines("change_accounts", changes.map(|r| (r.number(), r.name()))),
        lines("close_day", days.map(|r| (r.number(), r.name()))),
        lines("burn", burns.map(|r| (r.number(), r.name()))),
    ]
    .concat()
}

/// Every fixture whose bytes follow from the values alone.
pub(crate) fn plain_fixtures() -> Vec<Fixture> {
    let (_, payload) = every_kind();
    let segment_end = BatchHeader::build(&segment_end_fields(), &[]);
    let mut fixtures = vec![
        ("batch-v1.bin", batch()),
        ("batch-v2.bin", batch_of_version_2()),
        ("batch-segment-end-v1.bin", stored(&segment_end, &[])),
        ("segment-raw-header-v1.bin", raw_header().encode()),
        ("control-slot-v1.bin", control().encode()),
        ("results-v2.txt", results().into_bytes()),
        (
            "replication-v1/batch-raw.frame",
            batch_frame(Encoding::Raw, &payload),
        ),
    ];
    for (name, frame) in client_frames().into_iter().chain(client_v2::frames()) {
        fixtures.push((name, frame.bytes()));
    }
    for (name, body) in replication_frames() {
        fixtures.push((name, replication_bytes(body)));
    }
    fixtures
}
