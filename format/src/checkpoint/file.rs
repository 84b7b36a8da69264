//! Writing a checkpoint front to back, and reading it with every byte checked.

use std::io::{self, Read, Write};

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{
    CheckpointError, CheckpointHeader, CheckpointHeaderRow, EndRow, SECTION_HEADER_BYTES,
    SECTION_ROWS_MAX, SectionHeaderRow, SectionKind, SectionRow,
};

/// One more than the highest number of a kind.
const SECTION_KINDS: usize = SectionKind::Days as usize + 1;

/// Writes a checkpoint front to back.
pub struct CheckpointWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl<'a> CheckpointWriter<'a> {
    /// Writes the header.
    pub fn start(out: &'a mut dyn Write, header: &CheckpointHeader) -> io::Result<Self> {
        let mut writer = Self {
            out,
            hasher: blake3::Hasher::new(),
        };
        writer.put(header.row().as_bytes())?;
        Ok(writer)
    }

    /// Writes rows of one kind, in sections of bounded size. Sections stand in their order.
    pub fn rows<R: SectionRow>(&mut self, rows: &[R]) -> io::Result<()> {
        for rows in rows.chunks(SECTION_ROWS_MAX) {
            let mut header = SectionHeaderRow {
                kind: (R::KIND as u16).into(),
                zero: 0.into(),
                count: (rows.len() as u32).into(),
                crc: 0.into(),
                reserved: 0.into(),
            };
            header.crc = section_crc(&header, rows.as_bytes()).into();
            self.put(header.as_bytes())?;
            self.put(rows.as_bytes())?;
        }
        Ok(())
    }

    /// Writes the end; the caller syncs.
    pub fn finish(mut self) -> io::Result<()> {
        let hash = *self.hasher.finalize().as_bytes();
        self.rows(&[EndRow { hash }])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Rows of one kind, as read.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Their kind.
    pub kind: SectionKind,
    body: &'a [u8],
}

impl<'a> Section<'a> {
    /// The rows. Panics if they are of another kind, which only a bug can cause.
    pub fn rows<R: SectionRow>(&self) -> &'a [R] {
        assert_eq!(R::KIND, self.kind, "rows of another kind");
        <[R]>::ref_from_bytes(self.body).expect("a section's length was checked")
    }
}

/// Reads a checkpoint front to back and checks all of it on the way.
pub struct CheckpointReader<'a> {
    input: &'a mut dyn Read,
    header: CheckpointHeader,
    hasher: blake3::Hasher,
    at: u64,
    last: SectionKind,
    found: [u64; SECTION_KINDS],
    body: Vec<u8>,
}

impl<'a> CheckpointReader<'a> {
    /// Reads the header.
    pub fn start(input: &'a mut dyn Read) -> Result<Self, CheckpointError> {
        let mut row = CheckpointHeaderRow::new_zeroed();
        let read = input.read_exact(row.as_mut_bytes());
        read.map_err(|source| CheckpointError::Read { at: 0, source })?;
        let header = CheckpointHeader::from_row(&row)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(row.as_bytes());
        Ok(Self {
            input,
            header,
            hasher,
            at: size_of::<CheckpointHeaderRow>() as u64,
            last: SectionKind::Reign,
            found: [0; SECTION_KINDS],
            body: Vec::new(),
        })
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The next section; `None` behind the last, when the whole file proved good.
    pub fn next_section(&mut self) -> Result<Option<Section<'_>>, CheckpointError> {
        let at = self.at;
        let before_hash = self.hasher.clone();
        let kind = self.read_section()?;
        if kind != SectionKind::End {
            let body = &self.body;
            return Ok(Some(Section { kind, body }));
        }
        if self.body != before_hash.finalize().as_bytes() {
            return Err(CheckpointError::Hash);
        }
        self.check_counts()?;
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(None),
            Ok(_) => Err(CheckpointError::Trailing { at: self.at }),
            Err(source) => Err(CheckpointError::Read { at, source }),
        }
    }

    fn read_section(&mut self) -> Result<SectionKind, CheckpointError> {
        let at = self.at;
        let failed = |source| CheckpointError::Read { at, source };
        let mut header = SectionHeaderRow::new_zeroed();
        self.input
            .read_exact(header.as_mut_bytes())
            .map_err(failed)?;
        let (number, count) = (header.kind.get(), header.count.get());
        let misplaced = CheckpointError::Section {
            at,
            kind: number,
            count,
        };
        let kind = match SectionKind::from_number(number) {
            Some(kind) if self.may_follow(kind) => kind,
            _ => return Err(misplaced),
        };
        let rows = count as usize;
        let single = matches!(kind, SectionKind::Reign | SectionKind::End);
        let reserved = header.reserved.get() | u32::from(header.zero.get());
        if rows == 0 || rows > SECTION_ROWS_MAX || (single && rows != 1) || reserved != 0 {
            return Err(misplaced);
        }
        self.body.clear();
        self.body.resize(rows * kind.row_bytes(), 0);
        self.input.read_exact(&mut self.body).map_err(failed)?;
        let (found, computed) = (header.crc.get(), section_crc(&header, &self.body));
        if found != computed {
            return Err(CheckpointError::Checksum {
                at,
                found,
                computed,
            });
        }
        self.hasher.update(header.as_bytes());
        self.hasher.update(&self.body);
        self.at += (SECTION_HEADER_BYTES + self.body.len()) as u64;
        self.last = kind;
        self.found[kind as usize] += u64::from(count);
        Ok(kind)
    }

    fn may_follow(&self, kind: SectionKind) -> bool {
        kind.order() >= self.last.order() && kind.version_min() <= self.header.version
    }

    fn check_counts(&self) -> Result<(), CheckpointError> {
        for (number, &found) in self.found.iter().enumerate().skip(1) {
            let kind = SectionKind::from_number(number as u16);
            let kind = kind.expect("all numbers between are kinds");
            let promised = self.header.promised(kind);
            if promised != found {
                return Err(CheckpointError::Rows {
                    kind,
                    promised,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// Reads a whole checkpoint and checks every byte of it, without building anything.
pub fn verify(input: &mut dyn Read) -> Result<CheckpointHeader, CheckpointError> {
    let mut reader = CheckpointReader::start(input)?;
    while reader.next_section()?.is_some() {}
    Ok(*reader.header())
}

fn section_crc(header: &SectionHeaderRow, body: &[u8]) -> u32 {
    let mut unsummed = *header;
    unsummed.crc = 0.into();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(unsummed.as_bytes());
    hasher.update(body);
    hasher.finalize()
}
