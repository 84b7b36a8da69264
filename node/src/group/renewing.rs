//! The primary opens the next epoch itself where the third witness's word would be of no use to it:
//! the witness was silent when this epoch was opened, it was replaced, it gave a word that was not
//! used, or the register nominated this server anew. As long as that is so, the site that has no
//! word to get could not go on without the other one.

use std::time::{Duration, Instant};

use super::{HEARD_OF_LATE, WasRead};
use crate::error::NodeError;
use crate::node::{Node, Part};

/// Between two renewals, whatever became of the first one: each lets clients wait for a moment.
const REST: Duration = Duration::from_secs(60);
/// What was under way commits within this time, or it goes on as it was.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// The witness was heard so lately that it will be heard by an opening, too.
const THIRD_HEARD: Duration = Duration::from_secs(1);
/// A reign that is younger may have noted what this server has yet to hear of witness and register.
const YOUNG: Duration = Duration::from_secs(3);

impl Node {
    /// Looks whether this reign should be renewed, and does so once nothing is under way in it.
    pub(super) fn watch_mark(&mut self) -> Result<(), NodeError> {
        let Some(read) = self.renewal() else {
            return self.go_on_as_it_was();
        };
        let drained = self.is_drained() && self.has_committed_all();
        let Some(primary) = self.primary() else {
            return Ok(());
        };
        let since = primary.reign.renews_since(Instant::now());
        if !drained {
            if since.elapsed() >= DRAIN_MAX {
                self.rest_from_renewing();
                return self.go_on_as_it_was();
            }
            return Ok(());
        }
        tracing::info!(
            "the third witness does not know this epoch, or another mark of it: the next one is opened"
        );
        self.rest_from_renewing();
        self.reopen(read)
    }

    /// The register to open the next epoch in, if this one should be renewed.
    fn renewal(&mut self) -> Option<WasRead> {
        let group = self.group.as_ref()?;
        group.topology.third_witness.as_ref()?;
        let resting = group.renew_rest_until.is_some_and(|t| t > Instant::now());
        if resting || group.protecting.is_some() || !group.both_lead() {
            return None;
        }
        let nominee = group.nominee()?;
        let view = group.view();
        let (third, heard) = view.third?;
        let (other, seen) = view.other?;
        let fresh = heard.elapsed() < THIRD_HEARD && seen.elapsed() < HEARD_OF_LATE;
        let primary = self.primary()?;
        if primary.reign.age()? < YOUNG {
            return None;
        }
        let (epoch, opening) = primary.reign.writer();
        let cleared = primary.reign.cleared()?;
        let fits = cleared.mark == Some(third.mark) && cleared.nomination == nominee.number;
        let its_own = other.register.reign.is(epoch, opening) && other.register.holds_authority();
        let quiet = primary.reign.is_renewing() || primary.can_serve();
        (fresh && !fits && its_own && quiet && primary.reign.is_attached())
            .then(|| WasRead::of(&other.register))
    }

    fn has_committed_all(&self) -> bool {
        match &self.part {
            Part::Primary(reign) => reign.committed() == self.hot.store.log.tail().lsn,
            _ => false,
        }
    }

    fn rest_from_renewing(&mut self) {
        if let Some(group) = &mut self.group {
            group.renew_rest_until = Some(Instant::now() + REST);
        }
    }

    fn go_on_as_it_was(&mut self) -> Result<(), NodeError> {
        if let Some(primary) = self.primary() {
            primary.reign.renew_not();
        }
        Ok(())
    }
}
