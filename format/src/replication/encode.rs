//! Frames to bytes.

use super::codec::*;
use super::rows::*;
use super::*;

/// Appends the body and gives the number of its kind.
pub(super) fn encode_body(body: &Body<'_>, out: &mut Vec<u8>) -> u8 {
    match body {
        Body::Hello(hello) => encode_hello(hello, out),
        Body::Welcome(welcome) => encode_welcome(welcome, out),
        Body::Refused(refused) => encode_refused(refused, out),
        Body::Seal { opening } => {
            let opening = (*opening).into();
            put(out, SEAL, &SealRow { opening })
        }
        Body::Granted(granted) => encode_granted(granted, out),
        Body::Fetch { from } => put(out, FETCH, &lsn_row(*from)),
        Body::FetchEnd { tail } => put(out, FETCH_END, &tail_row(*tail)),
        Body::Follow(follow) => encode_follow(follow, out),
        Body::Following { tail } => put(out, FOLLOWING, &tail_row(*tail)),
        Body::Batch(batch) => encode_batch(batch, out),
        Body::Committed { lsn, digest } => put(
            out,
            COMMITTED,
            &CommittedRow {
                lsn: lsn.get().into(),
                has_digest: digest.is_some().into(),
                zero: [0; 7],
                digest: digest.unwrap_or_default().get().into(),
            },
        ),
        Body::ReadCheck { token } => put(out, READ_CHECK, &token_row(*token)),
        Body::ReadOk { token } => put(out, READ_OK, &token_row(*token)),
        Body::Mark(mark) => put(out, MARK, &mark_row(mark)),
        Body::Marked(mark) => put(out, MARKED, &mark_row(mark)),
        Body::Ack {
            tail,
            node,
            incarnation,
        } => put(
            out,
            ACK,
            &AckRow {
                tail: (*tail).into(),
                incarnation: incarnation.get().into(),
                node: node.get().into(),
                zero: 0.into(),
            },
        ),
        Body::Applied { lsn, digest } => put(
            out,
            APPLIED,
            &AppliedRow {
                lsn: lsn.get().into(),
                digest: digest.get().into(),
            },
        ),
        Body::Ping { nonce } => put(out, PING, &token_row(*nonce)),
        Body::Pong {
            nonce,
            durable,
            applied,
            syncing,
        } => put(
            out,
            PONG,
            &PongRow {
                nonce: (*nonce).into(),
                durable: durable.get().into(),
                applied: applied.get().into(),
                syncing: (*syncing).into(),
                zero: [0; 7],
            },
        ),
        Body::Chunk {
            file,
            total_bytes,
            offset,
            bytes,
        } => {
            let (file, place) = file_numbers(*file);
            let row = ChunkRow {
                file,
                zero: [0; 7],
                place: place.into(),
                total_bytes: (*total_bytes).into(),
                offset: (*offset).into(),
            };
            put(out, CHUNK, &row);
            out.extend_from_slice(bytes);
            CHUNK
        }
        Body::Stored { file, tail } => {
            let (file, place) = file_numbers(*file);
            let row = StoredRow {
                file,
                zero: [0; 7],
                place: place.into(),
                tail: (*tail).into(),
            };
            put(out, STORED, &row)
        }
    }
}

fn encode_hello(hello: &Hello, out: &mut Vec<u8>) -> u8 {
    let history = newest(&hello.history);
    let address = clipped(&hello.client_address, ADDRESS_BYTES_MAX);
    let row = HelloRow {
        version_min: hello.version_min.into(),
        version_max: hello.version_max.into(),
        site: hello.site.number(),
        purpose: hello.purpose as u8,
        has_opening: hello.opening.is_some().into(),
        role: hello.role as u8,
        node: hello.node.get().into(),
        address_bytes: (address.len() as u32).into(),
        cluster: hello.cluster.get().into(),
        incarnation: hello.incarnation.get().into(),
        segment_bytes: hello.segment_bytes.into(),
        start_count: hello.start_count.into(),
        highest_epoch: hello.highest_epoch.get().into(),
        opening: hello.opening.unwrap_or_default().into(),
        tail: hello.tail.into(),
        history_count: (history.len() as u32).into(),
        zero: 0.into(),
        reserved: 0.into(),
    };
    put(out, HELLO, &row);
    put_history(out, history);
    out.extend_from_slice(address.as_bytes());
    HELLO
}

fn encode_welcome(welcome: &Welcome, out: &mut Vec<u8>) -> u8 {
    let history = newest(&welcome.history);
    let address = clipped(&welcome.client_address, ADDRESS_BYTES_MAX);
    let row = WelcomeRow {
        version: welcome.version.into(),
        site: welcome.site.number(),
        role: welcome.role as u8,
        node: welcome.node.get().into(),
        cluster: welcome.cluster.get().into(),
        incarnation: welcome.incarnation.get().into(),
        segment_bytes: welcome.segment_bytes.into(),
        start_count: welcome.start_count.into(),
        granted_epoch: welcome.granted_epoch.get().into(),
        granted_opening: welcome.granted_opening.into(),
        tail: welcome.tail.into(),
        confirmed: welcome.confirmed.get().into(),
        in_sync_lsn: welcome.in_sync_lsn.get().into(),
        in_sync: welcome.in_sync.into(),
        uncertain: welcome.uncertain.into(),
        awaiting_operator: welcome.awaiting_operator.into(),
        zero: 0,
        address_bytes: (address.len() as u32).into(),
        history_count: (history.len() as u32).into(),
        reserved: [0; 12],
    };
    put(out, WELCOME, &row);
    put_history(out, history);
    out.extend_from_slice(address.as_bytes());
    WELCOME
}

fn encode_refused(refused: &Refused, out: &mut Vec<u8>) -> u8 {
    let text = clipped(&refused.text, REFUSAL_BYTES_MAX);
    let row = RefusedRow {
        code: refused.code as u8,
        zero: 0,
        text_bytes: (text.len() as u16).into(),
        granted_epoch: refused.granted_epoch.get().into(),
        granted_opening: refused.granted_opening.into(),
    };
    put(out, REFUSED, &row);
    out.extend_from_slice(text.as_bytes());
    REFUSED
}

fn encode_granted(granted: &Granted, out: &mut Vec<u8>) -> u8 {
    let row = GrantedRow {
        opening: granted.opening.into(),
        tail: granted.tail.into(),
        confirmed: granted.confirmed.get().into(),
        in_sync_lsn: granted.in_sync_lsn.get().into(),
        in_sync: granted.in_sync.into(),
        uncertain: granted.uncertain.into(),
        zero: [0; 6],
    };
    put(out, GRANTED, &row)
}

fn encode_follow(follow: &Follow, out: &mut Vec<u8>) -> u8 {
    let history = newest(&follow.history);
    let row = FollowRow {
        opening: follow.opening.into(),
        tail: follow.tail.into(),
        committed: follow.committed.get().into(),
        history_count: (history.len() as u32).into(),
        zero: 0.into(),
    };
    put(out, FOLLOW, &row);
    put_history(out, history);
    FOLLOW
}

fn encode_batch(batch: &WireBatch<'_>, out: &mut Vec<u8>) -> u8 {
    let row = BatchRow {
        lsn: batch.lsn.get().into(),
        epoch: batch.epoch.get().into(),
        timestamp: batch.timestamp.get().into(),
        confirmed: batch.confirmed.get().into(),
        payload_bytes: batch.payload_bytes.into(),
        record_count: batch.record_count.into(),
        payload_crc: batch.payload_crc.into(),
        header_crc: batch.header_crc.into(),
        flags: batch.flags.into(),
        encoding: batch.encoding as u8,
        zero: 0,
    };
    put(out, BATCH, &row);
    out.extend_from_slice(batch.body);
    BATCH
}

fn put<R: IntoBytes + Immutable>(out: &mut Vec<u8>, kind: u8, row: &R) -> u8 {
    out.extend_from_slice(row.as_bytes());
    kind
}

fn put_history(out: &mut Vec<u8>, history: &[EpochEntry]) {
    for entry in history {
        out.extend_from_slice(EpochRow::from(*entry).as_bytes());
    }
}

const fn file_numbers(file: SeedFile) -> (u8, u64) {
    match file {
        SeedFile::Checkpoint(lsn) => (FILE_CHECKPOINT, lsn.get()),
        SeedFile::Segment(number) => (FILE_SEGMENT, number),
    }
}

fn mark_row(mark: &Mark) -> MarkRow {
    MarkRow {
        turn: mark.turn.into(),
        lsn: mark.lsn.get().into(),
        in_sync: mark.in_sync.into(),
        zero: [0; 7],
    }
}

fn lsn_row(lsn: Lsn) -> LsnRow {
    let lsn = lsn.get().into();
    LsnRow { lsn }
}

fn tail_row(tail: Tail) -> TailOnlyRow {
    let tail = tail.into();
    TailOnlyRow { tail }
}

fn token_row(token: u64) -> TokenRow {
    let token = token.into();
    TokenRow { token }
}

fn newest(history: &[EpochEntry]) -> &[EpochEntry] {
    &history[history.len().saturating_sub(EPOCH_HISTORY_MAX)..]
}

fn clipped(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
