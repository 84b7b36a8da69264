//! Bytes to frames. Bytes are a stranger's: every count is bounded before it is used.

use super::codec::*;
use super::rows::*;
use super::*;

pub(super) fn decode_body(kind: u8, body: &[u8]) -> Result<Body<'_>, FrameError> {
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

fn read_mark(row: MarkRow) -> Result<Mark, FrameError> {
    Ok(Mark {
        turn: row.turn.get(),
        in_sync: truth("in_sync", row.in_sync)?,
        lsn: Lsn::new(row.lsn.get()),
    })
}

fn read_lsn(row: LsnRow) -> Lsn {
    Lsn::new(row.lsn.get())
}

fn read_tail(row: TailOnlyRow) -> Tail {
    row.tail.into()
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

pub(super) fn field(field: &'static str, value: impl Into<u64>) -> FrameError {
    let value = value.into();
    FrameError::Field { field, value }
}

const fn size(kind: u8, bytes: usize) -> FrameError {
    FrameError::Size { kind, bytes }
}
