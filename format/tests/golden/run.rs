//! A run of the index: read to its rows, which make its bytes again. That the same log makes the
//! same run is a test of the crate `index`.

use kanjo_format::run::ids::{self, IdsBlock};
use kanjo_format::run::lists::{self, ChunkHead, decode_heads};
use kanjo_format::run::rows;
use kanjo_format::run::{
    FENCE_BYTES, Fence, RUN_FOOTER_BYTES, RUN_HEADER_BYTES, RUN_VERSION, RunFooter, RunFormatError,
    RunHeader, RunSection, SectionFacts, decode_fences,
};
use kanjo_format::{ClusterId, Lsn};

use super::fixture;

fn run() -> &'static [u8] {
    fixture("run-v1.run")
}

fn footer() -> RunFooter {
    let bytes = run();
    let at = bytes.len() - RUN_FOOTER_BYTES;
    RunFooter::decode(&bytes[at..], bytes.len() as u64).unwrap()
}

fn rows_of(facts: &SectionFacts) -> &'static [u8] {
    let bytes = facts.block_count as usize * FENCE_BYTES;
    &run()[facts.fences_offset as usize..][..bytes]
}

fn fences(section: RunSection) -> Vec<Fence> {
    let footer = footer();
    decode_fences(&footer, section, rows_of(footer.section(section))).unwrap()
}

/// Reads a block as a reader does, and makes it again.
pub(super) fn remade(section: RunSection, block: &[u8]) -> Result<Vec<u8>, RunFormatError> {
    let mut out = Vec::new();
    match section {
        RunSection::Batches => {
            let mut found = Vec::new();
            rows::decode_batches(block, &mut found)?;
            rows::encode_batches(&mut out, &found);
        }
        RunSection::Ids => {
            let mut found = Vec::new();
            let ids = IdsBlock::decode(block)?;
            ids.find(1 << 40, |_| {});
            ids.entries(&mut found)?;
            ids::encode(&mut out, &found);
        }
        RunSection::Filter => out.extend_from_slice(block),
        RunSection::Lists => {
            let (mut heads, mut items) = (Vec::<ChunkHead>::new(), Vec::new());
            decode_heads(block, &mut heads)?;
            let mut before = None;
            for head in &heads {
                head.items(block, &mut items)?;
                lists::encode(&mut out, before, head.key, &items, &head.sums);
                before = Some(head.key);
            }
        }
        RunSection::Links => {
            let mut found = Vec::new();
            rows::decode_links(block, &mut found)?;
            rows::encode_links(&mut out, &found);
        }
        RunSection::Reserved => {
            let mut found = Vec::new();
            rows::decode_reserved(block, &mut found)?;
            rows::encode_reserved(&mut out, &found);
        }
        RunSection::Accounts => {
            let mut found = Vec::new();
            rows::decode_accounts(block, &mut found)?;
            rows::encode_accounts(&mut out, &found);
        }
    }
    Ok(out)
}

#[test]
fn a_run_of_version_1_is_read_to_its_rows_which_make_it_again() {
    let (bytes, footer) = (run(), footer());
    let header = RunHeader::decode(&bytes[..RUN_HEADER_BYTES]).unwrap();
    assert_eq!(bytes[4..6], RUN_VERSION.to_le_bytes());
    assert_eq!(header.encode(), bytes[..RUN_HEADER_BYTES]);
    assert_eq!(footer.encode(), bytes[bytes.len() - RUN_FOOTER_BYTES..]);
    assert_eq!(footer.check(&header), Ok(()));
    let cluster = ClusterId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    assert_eq!((header.cluster, header.first_lsn), (cluster, Lsn::ZERO));
    assert_eq!((footer.tier, footer.end_lsn), (0, Lsn::new(2 << 20)));
    assert_eq!(
        (footer.records, footer.transfers, footer.failed),
        (314, 308, 1)
    );
    assert_eq!((footer.id_low, footer.id_high), (1_000, 3_000_004));
    assert_eq!((footer.first_account, footer.accounts), (0, 4));
    for section in RunSection::ALL {
        let mut again = Vec::new();
        let fences = fences(section);
        assert_eq!(fences.len(), 1, "{}", section.name());
        for fence in fences {
            fence.encode(&mut again);
            let block = &bytes[fence.offset as usize..][..fence.bytes as usize];
            fence.check_block(section, block).unwrap();
            assert!(
                remade(section, block).unwrap() == block,
                "{}",
                section.name()
            );
        }
        assert_eq!(again, rows_of(footer.section(section)));
    }
}

#[test]
fn every_flipped_byte_of_a_run_is_found() {
    let bytes = run();
    let (end, footer) = (bytes.len() - RUN_FOOTER_BYTES, footer());
    let flips = |part: &[u8], holds: &dyn Fn(&[u8]) -> bool| {
        let mut bad = part.to_vec();
        assert!(holds(&bad));
        for at in 0..bad.len() {
            for bit in [0, 7] {
                bad[at] ^= 1 << bit;
                assert!(!holds(&bad), "bit {bit} of byte {at} flipped unseen");
                bad[at] ^= 1 << bit;
            }
        }
    };
    flips(&bytes[..RUN_HEADER_BYTES], &|b| {
        RunHeader::decode(b).is_ok()
    });
    let file_bytes = bytes.len() as u64;
    flips(&bytes[end..], &|b| RunFooter::decode(b, file_bytes).is_ok());
    for section in RunSection::ALL {
        let rows = rows_of(footer.section(section));
        flips(rows, &|b| decode_fences(&footer, section, b).is_ok());
        for fence in fences(section) {
            let block = &bytes[fence.offset as usize..][..fence.bytes as usize];
            flips(block, &|b| fence.check_block(section, b).is_ok());
        }
    }
}

#[test]
fn bounds_of_a_run_are_checked_before_anything_is_allocated() {
    let (footer, file_bytes) = (footer(), run().len() as u64);
    let with = |change: &dyn Fn(&mut RunFooter)| {
        let mut changed = footer;
        change(&mut changed);
        RunFooter::decode(&changed.encode(), file_bytes)
    };
    assert_eq!(with(&|_| {}), Ok(footer));
    let changes: [&dyn Fn(&mut RunFooter); 9] = [
        &|f| f.tier = 3,
        &|f| f.end_lsn = f.first_lsn,
        &|f| f.first_lsn = Lsn::new(1),
        &|f| f.records = u64::MAX,
        &|f| f.ids += 1,
        &|f| f.filter_lines += 1,
        &|f| (f.first_account, f.accounts) = (1, u32::MAX),
        &|f| f.sections[2].block_count = u32::MAX,
        &|f| f.sections[0].bytes += 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let read = with(change);
        let refused = matches!(read, Err(RunFormatError::Field { .. }));
        assert!(refused, "change {n}: {read:?}");
    }
    assert!(RunFooter::decode(&footer.encode(), file_bytes + 1).is_err());
}
