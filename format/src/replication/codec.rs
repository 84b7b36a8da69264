//! Frames to bytes and back.

use super::rows::*;
use super::*;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const SEAL: u8 = 4;
const GRANTED: u8 = 5;
const FETCH: u8 = 6;
const FETCH_END: u8 = 7;
const FOLLOW: u8 = 8;
const FOLLOWING: u8 = 9;
const BATCH: u8 = 10;
const COMMITTED: u8 = 11;
const READ_CHECK: u8 = 12;
const READ_OK: u8 = 13;
const MARK: u8 = 14;
const MARKED: u8 = 15;
const ACK: u8 = 16;
const APPLIED: u8 = 17;
const PING: u8 = 18;
const PONG: u8 = 19;
const CHUNK: u8 = 20;
const STORED: u8 = 21;

const FILE_CHECKPOINT: u8 = 1;
const FILE_SEGMENT: u8 = 2;

impl<'a> Frame<'a> {
    /// Appends the frame, its length in front. Panics over the frame limit, which only a bug
    /// can cause.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let header_at = start + REPLICATION_LENGTH_BYTES;
        let body_at = header_at + REPLICATION_HEADER_BYTES;
        out.resize(body_at, 0);
        let kind = encode_body(&self.body, out);
        let length = out.len() - header_at;
        assert!(
            length <= REPLICATION_FRAME_BYTES_MAX,
            "frame over the limit"
        );
        let mut header = HeaderRow {
            magic: REPLICATION_MAGIC,
            kind,
            flags: 0,
            version: REPLICATION_VERSION.into(),
            epoch: self.epoch.get().into(),
            crc: 0.into(),
        };
        header.crc = frame_crc(&header, &out[body_at..]).into();
        out[start..header_at].copy_from_slice(&(length as u32).to_le_bytes());
        out[header_at..body_at].copy_from_slice(header.as_bytes());
    }

    /// Reads a frame without its length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if bytes.len() > REPLICATION_FRAME_BYTES_MAX {
            return Err(FrameError::Long(bytes.len()));
        }
        let (header, body) =
            HeaderRow::read_from_prefix(bytes).map_err(|_| FrameError::Short(bytes.len()))?;
        if header.magic != REPLICATION_MAGIC {
            return Err(FrameError::Magic(header.magic));
        }
        let (found, computed) = (header.crc.get(), frame_crc(&header, body));
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        let version = header.version.get();
        if !(REPLICATION_VERSION_MIN..=REPLICATION_VERSION).contains(&version) {
            return Err(FrameError::Version(version));
        }
        if header.flags != 0 {
            return Err(field("flags", header.flags));
        }
        Ok(Self {
            epoch: Epoch::new(header.epoch.get()),
            body: decode_body(header.kind, body)?,
        })
    }
}

/// Of a batch only the fixed part counts: its payload has a checksum of its own.
fn frame_crc(header: &HeaderRow, body: &[u8]) -> u32 {
    let covered = if header.kind == BATCH {
        &body[..body.len().min(size_of::<BatchRow>())]
    } else {
        body
    };
    let bytes = header.as_bytes();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..bytes.len() - 4]);
    hasher.update(covered);
    hasher.finalize()
}

/// Appends the body and gives the number of its kind.
fn encode_body(body: &Body<'_>, out: &mut Vec<u8>) -> u8 {
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

fn decode_body(kind: u8, body: &[u8]) -> Result<Body<'_>, FrameError> {
    match kind {
        HELLO => decode_hello(body),
        WELCOME => decode_welcome(body),
        REFUSED => decode_refused(body),
        SEAL => {
            let row: SealRow = whole(kind, body)?;
            let opening = row.opening.into();
            Ok(Body::Seal { opening })
        }
        GRANTED => decode_granted(body),
        FETCH => {
            let from = read_lsn(whole(kind, body)?);
            Ok(Body::Fetch { from })
        }
        FETCH_END => {
            let tail = read_tail(whole(kind, body)?);
            Ok(Body::FetchEnd { tail })
        }
        FOLLOW => decode_follow(body),
        FOLLOWING => {
            let tail = read_tail(whole(kind, body)?);
            Ok(Body::Following { tail })
        }
        BATCH => decode_batch(body),
        COMMITTED => decode_committed(body),
        READ_CHECK => {
            let token = read_token(whole(kind, body)?);
            Ok(Body::ReadCheck { token })
        }
        READ_OK => {
            let token = read_token(whole(kind, body)?);
            Ok(Body::ReadOk { token })
        }
        MARK => Ok(Body::Mark(read_mark(whole(kind, body)?)?)),
        MARKED => Ok(Body::Marked(read_mark(whole(kind, body)?)?)),
        ACK => {
            let row: AckRow = whole(kind, body)?;
            Ok(Body::Ack {
                tail: row.tail.into(),
                node: NodeId::new(row.node.get()),
                incarnation: Incarnation::new(row.incarnation.get()),
            })
        }
        APPLIED => {
            let row: AppliedRow = whole(kind, body)?;
            Ok(Body::Applied {
                lsn: Lsn::new(row.lsn.get()),
                digest: Digest::new(row.digest.get()),
            })
        }
        PING => {
            let nonce = read_token(whole(kind, body)?);
            Ok(Body::Ping { nonce })
        }
        PONG => {
            let row: PongRow = whole(kind, body)?;
            Ok(Body::Pong {
                nonce: row.nonce.get(),
                durable: Lsn::new(row.durable.get()),
                applied: Lsn::new(row.applied.get()),
                syncing: truth("syncing", row.syncing)?,
            })
        }
        CHUNK => decode_chunk(body),
        STORED => {
            let row: StoredRow = whole(kind, body)?;
            Ok(Body::Stored {
                file: read_file(row.file, row.place.get())?,
                tail: row.tail.into(),
            })
        }
        other => Err(FrameError::Kind(other)),
    }
}

fn decode_hello(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let (row, rest): (HelloRow, _) = front(body)?;
    let (history, rest) = read_history(HELLO, row.history_count.get(), rest)?;
    let client_address = read_text(HELLO, row.address_bytes.get(), ADDRESS_BYTES_MAX, rest)?;
    let has_opening = truth("has_opening", row.has_opening)?;
    Ok(Body::Hello(Box::new(Hello {
        version_min: row.version_min.get(),
        version_max: row.version_max.get(),
        purpose: match row.purpose {
            1 => Purpose::Replicate,
            2 => Purpose::Heartbeat,
            other => return Err(field("purpose", other)),
        },
        cluster: ClusterId::new(row.cluster.get()),
        node: NodeId::new(row.node.get()),
        incarnation: Incarnation::new(row.incarnation.get()),
        site: read_site(row.site)?,
        role: read_role(row.role)?,
        segment_bytes: row.segment_bytes.get(),
        start_count: row.start_count.get(),
        highest_epoch: Epoch::new(row.highest_epoch.get()),
        opening: has_opening.then(|| row.opening.into()),
        tail: row.tail.into(),
        history,
        client_address,
    })))
}

fn decode_welcome(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let (row, rest): (WelcomeRow, _) = front(body)?;
    let (history, rest) = read_history(WELCOME, row.history_count.get(), rest)?;
    let client_address = read_text(WELCOME, row.address_bytes.get(), ADDRESS_BYTES_MAX, rest)?;
    Ok(Body::Welcome(Box::new(Welcome {
        version: row.version.get(),
        cluster: ClusterId::new(row.cluster.get()),
        node: NodeId::new(row.node.get()),
        incarnation: Incarnation::new(row.incarnation.get()),
        site: read_site(row.site)?,
        role: read_role(row.role)?,
        segment_bytes: row.segment_bytes.get(),
        start_count: row.start_count.get(),
        granted_epoch: Epoch::new(row.granted_epoch.get()),
        granted_opening: row.granted_opening.into(),
        tail: row.tail.into(),
        confirmed: Lsn::new(row.confirmed.get()),
        in_sync: truth("in_sync", row.in_sync)?,
        in_sync_lsn: Lsn::new(row.in_sync_lsn.get()),
        uncertain: truth("uncertain", row.uncertain)?,
        awaiting_operator: truth("awaiting_operator", row.awaiting_operator)?,
        history,
        client_address,
    })))
}

fn decode_refused(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let (row, rest): (RefusedRow, _) = front(body)?;
    let text_bytes = u32::from(row.text_bytes.get());
    Ok(Body::Refused(Refused {
        code: RefusalCode::from_number(row.code).ok_or(field("code", row.code))?,
        granted_epoch: Epoch::new(row.granted_epoch.get()),
        granted_opening: row.granted_opening.into(),
        text: read_text(REFUSED, text_bytes, REFUSAL_BYTES_MAX, rest)?,
    }))
}

fn decode_granted(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let row: GrantedRow = whole(GRANTED, body)?;
    Ok(Body::Granted(Granted {
        opening: row.opening.into(),
        tail: row.tail.into(),
        confirmed: Lsn::new(row.confirmed.get()),
        in_sync: truth("in_sync", row.in_sync)?,
        in_sync_lsn: Lsn::new(row.in_sync_lsn.get()),
        uncertain: truth("uncertain", row.uncertain)?,
    }))
}

fn decode_follow(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let (row, rest): (FollowRow, _) = front(body)?;
    let (history, rest) = read_history(FOLLOW, row.history_count.get(), rest)?;
    if !rest.is_empty() {
        return Err(size(FOLLOW, rest.len()));
    }
    Ok(Body::Follow(Follow {
        opening: row.opening.into(),
        tail: row.tail.into(),
        committed: Lsn::new(row.committed.get()),
        history,
    }))
}

fn decode_batch(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let (row, rest): (BatchRow, _) = front(body)?;
    let payload_bytes = row.payload_bytes.get();
    let bounds = [
        ("payload_bytes", payload_bytes, BATCH_PAYLOAD_BYTES_MAX),
        ("record_count", row.record_count.get(), BATCH_RECORDS_MAX),
    ];
    for (name, value, max) in bounds {
        if value as usize > max {
            return Err(field(name, value));
        }
    }
    let lsn = row.lsn.get();
    if !lsn.is_multiple_of(PAGE_BYTES) {
        return Err(field("lsn", lsn));
    }
    let encoding = Encoding::from_number(row.encoding).ok_or(field("encoding", row.encoding))?;
    let fits = match encoding {
        Encoding::Raw => rest.len() == payload_bytes as usize,
        Encoding::Zstd | Encoding::ZstdDictionary1 => rest.len() < payload_bytes as usize,
    };
    if !fits {
        return Err(size(BATCH, rest.len()));
    }
    Ok(Body::Batch(WireBatch {
        lsn: Lsn::new(lsn),
        epoch: Epoch::new(row.epoch.get()),
        flags: row.flags.get(),
        payload_bytes,
        record_count: row.record_count.get(),
        timestamp: Timestamp::new(row.timestamp.get()),
        confirmed: Lsn::new(row.confirmed.get()),
        payload_crc: row.payload_crc.get(),
        header_crc: row.header_crc.get(),
        encoding,
        body: rest,
    }))
}

fn decode_committed(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let row: CommittedRow = whole(COMMITTED, body)?;
    let digest = Digest::new(row.digest.get());
    Ok(Body::Committed {
        lsn: Lsn::new(row.lsn.get()),
        digest: truth("has_digest", row.has_digest)?.then_some(digest),
    })
}

fn decode_chunk(body: &[u8]) -> Result<Body<'_>, FrameError> {
    let (row, bytes): (ChunkRow, _) = front(body)?;
    let (total_bytes, offset) = (row.total_bytes.get(), row.offset.get());
    let end = offset.checked_add(bytes.len() as u64);
    if bytes.is_empty() || end.is_none_or(|end| end > total_bytes) {
        return Err(size(CHUNK, bytes.len()));
    }
    Ok(Body::Chunk {
        file: read_file(row.file, row.place.get())?,
        total_bytes,
        offset,
        bytes,
    })
}

impl RefusalCode {
    /// The code of that number, if this version knows it.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::LowerEpoch,
            2 => Self::OtherOpening,
            3 => Self::NotGranted,
            4 => Self::Version,
            5 => Self::Cluster,
            6 => Self::SegmentBytes,
            7 => Self::DivergentAnswered,
            8 => Self::History,
            9 => Self::Dialogue,
            10 => Self::Unable,
            _ => return None,
        })
    }
}

impl Encoding {
    /// The encoding of that number, if this version knows it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::ZstdDictionary1),
            _ => None,
        }
    }
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

/// A fixed part and what follows it.
fn front<R: FromBytes + KnownLayout + Immutable + Unaligned>(
    body: &[u8],
) -> Result<(R, &[u8]), FrameError> {
    R::read_from_prefix(body).map_err(|_| FrameError::Short(body.len()))
}

/// A fixed part that nothing follows.
fn whole<R: FromBytes + KnownLayout + Immutable + Unaligned>(
    kind: u8,
    body: &[u8],
) -> Result<R, FrameError> {
    R::read_from_bytes(body).map_err(|_| size(kind, body.len()))
}

fn read_history(kind: u8, count: u32, rest: &[u8]) -> Result<(Vec<EpochEntry>, &[u8]), FrameError> {
    if count as usize > EPOCH_HISTORY_MAX {
        return Err(field("history_count", count));
    }
    let (rows, rest) = <[EpochRow]>::ref_from_prefix_with_elems(rest, count as usize)
        .map_err(|_| size(kind, rest.len()))?;
    Ok((rows.iter().map(|row| (*row).into()).collect(), rest))
}

fn read_text(kind: u8, bytes: u32, max: usize, rest: &[u8]) -> Result<String, FrameError> {
    if bytes as usize != rest.len() || rest.len() > max {
        return Err(size(kind, rest.len()));
    }
    let text = std::str::from_utf8(rest).map_err(|_| size(kind, rest.len()))?;
    Ok(text.to_owned())
}

fn read_site(number: u8) -> Result<Site, FrameError> {
    Site::from_number(number).ok_or(field("site", number))
}

fn read_role(number: u8) -> Result<Role, FrameError> {
    match number {
        0 => Ok(Role::Replica),
        1 => Ok(Role::Primary),
        other => Err(field("role", other)),
    }
}

fn read_file(file: u8, place: u64) -> Result<SeedFile, FrameError> {
    match file {
        FILE_CHECKPOINT => Ok(SeedFile::Checkpoint(Lsn::new(place))),
        FILE_SEGMENT => Ok(SeedFile::Segment(place)),
        other => Err(field("file", other)),
    }
}

const fn file_numbers(file: SeedFile) -> (u8, u64) {
    match file {
        SeedFile::Checkpoint(lsn) => (FILE_CHECKPOINT, lsn.get()),
        SeedFile::Segment(number) => (FILE_SEGMENT, number),
    }
}

fn read_mark(row: MarkRow) -> Result<Mark, FrameError> {
    Ok(Mark {
        turn: row.turn.get(),
        in_sync: truth("in_sync", row.in_sync)?,
        lsn: Lsn::new(row.lsn.get()),
    })
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

fn read_lsn(row: LsnRow) -> Lsn {
    Lsn::new(row.lsn.get())
}

fn tail_row(tail: Tail) -> TailOnlyRow {
    let tail = tail.into();
    TailOnlyRow { tail }
}

fn read_tail(row: TailOnlyRow) -> Tail {
    row.tail.into()
}

fn token_row(token: u64) -> TokenRow {
    let token = token.into();
    TokenRow { token }
}

fn read_token(row: TokenRow) -> u64 {
    row.token.get()
}

fn truth(name: &'static str, value: u8) -> Result<bool, FrameError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(field(name, other)),
    }
}

fn field(field: &'static str, value: impl Into<u64>) -> FrameError {
    let value = value.into();
    FrameError::Field { field, value }
}

const fn size(kind: u8, bytes: usize) -> FrameError {
    FrameError::Size { kind, bytes }
}

fn newest(history: &[EpochEntry]) -> &[EpochEntry] {
    &history[history.len().saturating_sub(EPOCH_HISTORY_MAX)..]
}

fn clipped(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
