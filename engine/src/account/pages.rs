//! A dense array in pages that snapshots share.
//!
//! A page belongs either to the ledger alone, which then writes it without asking, or to the
//! ledger and snapshots. Sharing moves pointers and copies nothing; the first write to a shared
//! page copies it, or takes it back if the snapshots are gone.

use std::sync::Arc;

/// Values of one page; the unit of copy-on-write.
pub(crate) const PAGE_VALUES: usize = 256;

type Page<T> = [T; PAGE_VALUES];

/// A page that snapshots may hold. Moving the box in shares it without copying.
pub(crate) type SharedPage<T> = Arc<Box<Page<T>>>;

/// One of the two is there.
#[derive(Debug)]
struct Slot<T> {
    own: Option<Box<Page<T>>>,
    shared: Option<SharedPage<T>>,
}

#[derive(Debug)]
pub(crate) struct Pages<T> {
    slots: Vec<Slot<T>>,
}

impl<T: Copy + Default> Pages<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new() }
    }

    #[inline]
    pub(crate) fn at(&self, number: u32) -> &T {
        let number = number as usize;
        let slot = &self.slots[number / PAGE_VALUES];
        &slot.page()[number % PAGE_VALUES]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, number: u32) -> &mut T {
        let number = number as usize;
        let slot = &mut self.slots[number / PAGE_VALUES];
        if slot.own.is_none() {
            slot.take_back();
        }
        let own = slot.own.as_mut().expect("just taken back");
        &mut own[number % PAGE_VALUES]
    }

    /// Writes the value of a number, which may be the first one of a new page.
    pub(crate) fn push(&mut self, number: u32, value: T) {
        if number as usize / PAGE_VALUES == self.slots.len() {
            self.slots.push(Slot {
                own: Some(Box::new([T::default(); PAGE_VALUES])),
                shared: None,
            });
        }
        *self.at_mut(number) = value;
    }

    /// The pages as they are now.
    pub(crate) fn share(&mut self) -> Vec<SharedPage<T>> {
        self.slots.iter_mut().map(Slot::share).collect()
    }
}

impl<T: Copy> Slot<T> {
    #[inline]
    fn page(&self) -> &Page<T> {
        match (&self.own, &self.shared) {
            (Some(own), _) => own,
            (None, Some(shared)) => shared,
            (None, None) => unreachable!("a page is owned or shared"),
        }
    }

    fn share(&mut self) -> SharedPage<T> {
        if let Some(own) = self.own.take() {
            self.shared = Some(Arc::new(own));
        }
        let shared = self.shared.as_ref().expect("a page is owned or shared");
        Arc::clone(shared)
    }

    #[cold]
    #[inline(never)]
    fn take_back(&mut self) {
        let shared = self.shared.take().expect("a page is owned or shared");
        self.own = Some(Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_copied_only_while_a_snapshot_holds_it() {
        let mut pages = Pages::new();
        let number = 0;
        pages.push(number, 1_u64);
        let place: *const u64 = pages.at(number);
        drop(pages.share());
        *pages.at_mut(number) = 2;
        assert!(std::ptr::eq(place, pages.at(number)));
        let held = pages.share();
        *pages.at_mut(number) = 3;
        assert!(!std::ptr::eq(place, pages.at(number)));
        assert_eq!((held[0][0], *pages.at(number)), (2, 3));
    }
}
