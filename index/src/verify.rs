//! Comparing a run with what the log says: runs built anew from the log must hold the same.
//!
//! Chunks of lists depend on how a run was merged, so lists are compared record by record, and
//! the sums of a chunk with those of the chunk that ends with the same record.

use std::sync::Arc;

use kanjo_format::run::lists::{Item, ListKey, Sums};
use kanjo_format::run::{FILTER_LINE_BYTES, RunSection, filter_enter, filter_line};

use crate::error::RunError;
use crate::merge::{Merged, Sources};
use crate::run::Run;
use crate::streams;

/// Checks that `run` holds what `parts` hold together: runs over the same stretch of log, each
/// ending where a source of `run` ended. Every byte of `run` is read.
pub fn same_content(run: &Arc<Run>, parts: &[Arc<Run>]) -> Result<(), RunError> {
    let (whole, parts) = (Sources::of(std::slice::from_ref(run)), Sources::of(parts));
    same_footer(run, &parts)?;
    let differs = |section| move || run.bad_block(section, 0, "what the log does not tell");
    let mut batches = streams::batches(run);
    parts.each_batch(|row| match batches.next()? == Some(row) {
        true => Ok(()),
        false => Err(differs(RunSection::Batches)()),
    })?;
    end(batches.next()?, differs(RunSection::Batches))?;
    same_ids(run, &whole, &parts)?;
    same_rows(
        whole.merged_links(),
        parts.merged_links(),
        differs(RunSection::Links),
    )?;
    let mut reserved = streams::reserved(run);
    parts.each_reserved(|row| match reserved.next()? == Some(row) {
        true => Ok(()),
        false => Err(differs(RunSection::Reserved)()),
    })?;
    end(reserved.next()?, differs(RunSection::Reserved))?;
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    run.accounts(&mut found)?;
    parts.each_run(|part| part.accounts(&mut expected))?;
    if found != expected {
        return Err(differs(RunSection::Accounts)());
    }
    same_lists(&whole, &parts, differs(RunSection::Lists))
}

fn same_footer(run: &Arc<Run>, parts: &Sources<'_>) -> Result<(), RunError> {
    let found = *run.footer();
    let expected = kanjo_format::run::RunFooter {
        sections: found.sections,
        ..parts.footer(found.tier)
    };
    match found == expected {
        true => Ok(()),
        false => Err(RunError::Refused {
            doing: "take this run for what the log says",
            why: format!(
                "{}: its footer says {found:?}, the log says {expected:?}",
                run.path().display()
            ),
        }),
    }
}

fn end<T>(left: Option<T>, differs: impl Fn() -> RunError) -> Result<(), RunError> {
    match left {
        None => Ok(()),
        Some(_) => Err(differs()),
    }
}

/// Ids, and the filter that follows from them.
fn same_ids(run: &Arc<Run>, whole: &Sources<'_>, parts: &Sources<'_>) -> Result<(), RunError> {
    let lines = run.footer().filter_lines;
    let mut filter = vec![0; lines as usize * FILTER_LINE_BYTES];
    let (mut found, mut expected) = (whole.merged_ids(), parts.merged_ids());
    loop {
        let (one, other) = (found.next()?, expected.next()?);
        if one != other {
            return Err(run.bad_block(RunSection::Ids, 0, "what the log does not tell"));
        }
        let Some(entry) = one else {
            break;
        };
        let at = filter_line(entry.hash, lines) as usize * FILTER_LINE_BYTES;
        let line = filter[at..].first_chunk_mut();
        filter_enter(line.expect("a line of the filter"), entry.hash);
    }
    match run.read_filter()? == filter {
        true => Ok(()),
        false => Err(run.bad_block(RunSection::Filter, 0, "what the ids do not tell")),
    }
}

fn same_rows<T: Copy + Ord>(
    mut found: Merged<T>,
    mut expected: Merged<T>,
    differs: impl Fn() -> RunError,
) -> Result<(), RunError> {
    loop {
        let (one, other) = (found.next()?, expected.next()?);
        if one != other {
            return Err(differs());
        }
        if one.is_none() {
            return Ok(());
        }
    }
}

/// Records and sums of a stretch of a list, up to the end of a chunk of the whole run.
struct Piece {
    key: ListKey,
    items: Vec<Item>,
    sums: Sums,
}

fn same_lists(
    whole: &Sources<'_>,
    parts: &Sources<'_>,
    differs: impl Fn() -> RunError,
) -> Result<(), RunError> {
    let mut expected = parts.chunks();
    let mut chunks = whole.chunks();
    while let Some((key, sums)) = chunks.next()? {
        let last = chunks.items().last().map_or(0, Item::last);
        let mut piece = Piece {
            key,
            items: Vec::new(),
            sums: Sums::default(),
        };
        while piece.items.last().is_none_or(|item| item.last() < last) {
            match expected.next()? {
                Some((key, sums)) if key == piece.key => {
                    piece.sums = sums;
                    expected
                        .items()
                        .iter()
                        .for_each(|item| join(&mut piece.items, item));
                }
                _ => return Err(differs()),
            }
        }
        let mut items = Vec::new();
        chunks
            .items()
            .iter()
            .for_each(|item| join(&mut items, item));
        if items != piece.items || sums != piece.sums {
            return Err(differs());
        }
    }
    end(expected.next()?, differs)
}

/// Adds an item, joined with the last one where nothing is between them.
fn join(items: &mut Vec<Item>, item: &Item) {
    match items.last_mut() {
        Some(last) if last.last() + 1 == item.first && last.role == item.role => {
            last.more += 1 + item.more;
        }
        _ => items.push(*item),
    }
}
