//! What a full batch of transfers costs: pack into columns, hash, compress, and the way back; and
//! how long a batch is under way from its payload here to its payload and header there.
//!
//! The transfers are those that the performance figures speak of. Every figure is of one batch of
//! 8,189 unless it says "one transfer"; divide by that for one transfer.

mod rows;

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kanjo_format::batch::{BatchFields, BatchHeader};
use kanjo_format::columns::{Groups, push_group};
use kanjo_format::record::{RecordKind, TransferRow};
use kanjo_format::replication::{Body, Frame};
use kanjo_format::{BatchPlace, Chain, ClusterId, Epoch, Lsn, Timestamp};
use kanjo_shipper::{Packer, Unpacker};
use rows::{TRANSFERS, transfers};

/// Bytes before a frame, which say how long it is.
const LENGTH_BYTES: usize = 4;

/// Where every batch stands.
fn first_place() -> BatchPlace {
    let cluster = ClusterId::new(7);
    BatchPlace {
        cluster,
        lsn: Lsn::ZERO,
        epoch: Epoch::NONE,
        chain: Chain::genesis(cluster),
    }
}

fn fields_of(place: &BatchPlace, transfers: usize) -> BatchFields {
    BatchFields {
        cluster: place.cluster,
        epoch: Epoch::from_terms(1, 1),
        lsn: place.lsn,
        flags: 0,
        record_count: transfers as u32,
        timestamp: Timestamp::new(1),
        confirmed: Lsn::ZERO,
        prev_chain: place.chain,
    }
}

fn payload_of(rows: &[TransferRow]) -> Vec<u8> {
    let mut payload = Vec::new();
    push_group(&mut payload, RecordKind::TransferPosted, rows);
    payload
}

fn batch(criterion: &mut Criterion) {
    let rows = transfers(TRANSFERS);
    let payload = payload_of(&rows);
    let place = first_place();
    let fields = fields_of(&place, TRANSFERS);
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

/// The other end of a connection: unpacks whatever comes and answers with one byte.
fn unpack_all(mut from: TcpStream) -> std::io::Result<()> {
    let (place, mut unpacker) = (first_place(), Unpacker::new());
    let (mut frame, mut payload) = (Vec::new(), Vec::new());
    let mut length = [0; LENGTH_BYTES];
    loop {
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        frame.resize(u32::from_le_bytes(length) as usize, 0);
        from.read_exact(&mut frame)?;
        let Body::Batch(wire) = Frame::decode(&frame).expect("a good frame").body else {
            panic!("only batches are sent");
        };
        unpacker
            .unpack(&wire, &place, &mut payload)
            .expect("it belongs there");
        from.write_all(&[1])?;
    }
}

fn ship(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ship over loopback: pack, send, unpack, answer");
    group.sample_size(20);
    group.measurement_time(Duration::from_secs(1));
    for (name, count) in [("one transfer", 1), ("8,189 transfers", TRANSFERS)] {
        let payload = payload_of(&transfers(count));
        let fields = fields_of(&first_place(), count);
        let header = BatchHeader::build(&fields, &payload);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut to = TcpStream::connect(address).expect("a connection");
        to.set_nodelay(true).expect("an option of every socket");
        let (from, _) = listener.accept().expect("the connection");
        from.set_nodelay(true).expect("an option of every socket");
        let other_end = std::thread::spawn(move || unpack_all(from));
        let (mut packer, mut frame) = (Packer::new(), Vec::new());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                frame.clear();
                packer.pack(fields.epoch, &header, black_box(&payload), &mut frame);
                to.write_all(&frame).expect("the other end reads");
                to.read_exact(&mut [0]).expect("it answers");
            });
        });
        drop(to);
        let ended = other_end.join().expect("no panic at the other end");
        ended.expect("all was read");
    }
    group.finish();
}

criterion_group!(benches, batch, ship);
criterion_main!(benches);
