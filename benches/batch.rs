//! What a full batch of transfers costs: pack into columns, hash, compress, and the way back.
//!
//! The transfers are those that the performance figures speak of: time-ordered ids of 48 bits of
//! milliseconds and 80 random bits, accounts uniform over 10,000, amounts uniform over 1 to
//! 10,000. Every figure is of one batch of 8,189; divide by that for one transfer.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kanjo_format::batch::{BatchFields, BatchHeader};
use kanjo_format::columns::{Groups, push_group};
use kanjo_format::record::{RecordKind, TransferRow};
use kanjo_format::replication::{Body, Frame};
use kanjo_format::{BatchPlace, Chain, ClusterId, Epoch, Lsn, Timestamp};
use kanjo_shipper::{Packer, Unpacker};

const TRANSFERS: usize = 8_189;

/// A small generator (xorshift64*), so that every run sees the same transfers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn transfers() -> Vec<TransferRow> {
    let mut random = Random(7);
    (0..TRANSFERS as u128)
        .map(|i| {
            let millis = 1_780_000_000_000 + i / 2_000;
            let noise = u128::from(random.next()) << 16 | u128::from(random.next() >> 48);
            TransferRow {
                id: (millis << 80 | noise).into(),
                amount: u128::from(1 + random.next() % 10_000).into(),
                debit_account: ((random.next() % 10_000) as u32).into(),
                credit_account: ((random.next() % 10_000) as u32).into(),
                code: 1.into(),
                ..TransferRow::default()
            }
        })
        .collect()
}

fn batch(criterion: &mut Criterion) {
    let rows = transfers();
    let mut payload = Vec::new();
    push_group(&mut payload, RecordKind::TransferPosted, &rows);
    let cluster = ClusterId::new(7);
    let place = BatchPlace {
        cluster,
        lsn: Lsn::ZERO,
        epoch: Epoch::NONE,
        chain: Chain::genesis(cluster),
    };
    let fields = BatchFields {
        cluster,
        epoch: Epoch::from_terms(1, 1),
        lsn: place.lsn,
        flags: 0,
        record_count: TRANSFERS as u32,
        timestamp: Timestamp::new(1),
        confirmed: Lsn::ZERO,
        prev_chain: place.chain,
    };
    let header = BatchHeader::build(&fields, &payload);
    let mut frame = Vec::new();
    let mut packer = Packer::new();
    packer.pack(fields.epoch, &header, &payload, &mut frame);
    println!(
        "a transfer takes {:.2} bytes in the payload, {:.2} on the wire",
        payload.len() as f64 / TRANSFERS as f64,
        frame.len() as f64 / TRANSFERS as f64
    );

    let mut group = criterion.benchmark_group("batch of 8,189 transfers");
    group.throughput(Throughput::Elements(TRANSFERS as u64));
    group.bench_function("pack into columns", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            push_group(&mut out, RecordKind::TransferPosted, black_box(&rows));
        });
    });
    group.bench_function("unpack from columns", |b| {
        let mut out: Vec<TransferRow> = Vec::new();
        b.iter(|| {
            for found in Groups::new(black_box(&payload), TRANSFERS as u32) {
                found.expect("a good payload").read_rows(&mut out);
            }
        });
    });
    group.bench_function("header with both checksums", |b| {
        b.iter(|| BatchHeader::build(&fields, black_box(&payload)));
    });
    group.bench_function("chain", |b| {
        b.iter(|| header.chain_after(black_box(&payload)));
    });
    group.bench_function("compress for the wire", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            packer.pack(fields.epoch, &header, black_box(&payload), &mut out);
        });
    });
    group.bench_function("decompress and rebuild the header", |b| {
        let decoded = Frame::decode(&frame[4..]).expect("just packed");
        let Body::Batch(wire) = decoded.body else {
            panic!("a batch was packed");
        };
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        b.iter(|| unpacker.unpack(black_box(&wire), &place, &mut out));
    });
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
