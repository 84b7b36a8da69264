//! What the witness of a third site keeps: which site may decide alone next, and a count of it.
//!
//! A site that cannot ask the other one may go on alone, or take over, only after this witness
//! gave it the word. Each reign notes the mark that its opening read. The word that follows that
//! mark is given once, to one site: the writer's, which seizes the authority, or the other one,
//! which opens a new site term. Who decides within a site is for its register to say.

use kanjo_format::{ClusterId, Incarnation, Site};
use serde::{Deserialize, Serialize};

use super::Refusal;

/// What a reign notes of the third witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ThirdMark {
    /// Drawn with the file of the witness: another file knows nothing of this one's words.
    pub incarnation: Incarnation,
    /// Words that it had given.
    pub number: u64,
}

/// The third witness's record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Third {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which file it is, and the words that it gave.
    pub mark: ThirdMark,
    /// Who got the last one.
    pub decides: Option<Site>,
}

impl Third {
    /// The record of a fresh file.
    pub const fn new(cluster: ClusterId, incarnation: Incarnation) -> Self {
        Self {
            cluster,
            mark: ThirdMark {
                incarnation,
                number: 0,
            },
            decides: None,
        }
    }

    /// Gives the word that follows this mark to a site, or says that it has it already. Gives
    /// whether anything changed.
    pub fn decide(&mut self, follows: ThirdMark, site: Site) -> Result<bool, Refusal> {
        if self.has_given(follows, site) {
            return Ok(false);
        }
        if self.mark != follows {
            return Err(Refusal::Decided {
                mark: self.mark,
                named: follows,
                decides: self.decides,
            });
        }
        // As many words as that were never given: the mark is its own.
        self.mark.number += 1;
        self.decides = Some(site);
        Ok(true)
    }

    /// Whether the last word is the one that follows this mark, and that site's.
    pub fn has_given(&self, follows: ThirdMark, site: Site) -> bool {
        let next = follows.number.checked_add(1);
        self.mark.incarnation == follows.incarnation
            && Some(self.mark.number) == next
            && self.decides == Some(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_follows_a_mark_is_given_to_one_site() {
        let mut third = Third::new(ClusterId::new(7), Incarnation::new(1));
        let first = third.mark;
        assert_eq!(third.decide(first, Site::Two), Ok(true));
        let kept = third.clone();
        assert_eq!(third.decide(first, Site::Two), Ok(false), "asked again");
        assert!(third.decide(first, Site::One).is_err());
        assert_eq!(third, kept);
        assert_eq!(third.decide(kept.mark, Site::One), Ok(true));
        assert!(third.decide(first, Site::Two).is_err(), "a late copy");
    }

    #[test]
    fn a_witness_that_lost_its_disk_gives_no_word_on_what_it_does_not_know() {
        let mut third = Third::new(ClusterId::new(7), Incarnation::new(2));
        let former = ThirdMark {
            incarnation: Incarnation::new(1),
            number: 0,
        };
        assert!(third.decide(former, Site::One).is_err());
    }
}
