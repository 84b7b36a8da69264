//! Times during which this server answered alone, as it saw them: one file of JSON lines for
//! people, written at the begin and at the end of each. Nothing is decided by it; the figures of
//! the last one are counted by the ledger itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kanjo_engine::ReignState;
use kanjo_format::record::Protection;
use kanjo_format::{Lsn, Timestamp};

use crate::hot::{Hot, unprotected};
use crate::status::Spell;

/// The file's name in the data directory.
const FILE: &str = "protection.log";
/// So many are told in the status; the file has all.
const TOLD_MAX: usize = 16;

/// What the ledger says at one moment, and who let this server answer alone.
struct Seen<'a> {
    reign: &'a ReignState,
    log_time: Timestamp,
    operator: Option<&'a str>,
}

/// The spells of one data directory.
#[derive(Debug)]
pub(crate) struct Spells {
    path: PathBuf,
    /// The last ones, oldest first.
    all: Vec<Spell>,
    /// What was looked at last: where the last spell began, and whether it is over.
    noted: Option<(Lsn, bool)>,
    /// Whether this process saw it going on, so that it sees its end too.
    witnessed: bool,
    /// The file's last line was cut short.
    torn: bool,
}

impl Spells {
    /// Reads what is there. A line that cannot be read is left out and said.
    pub(crate) fn load(data_dir: &Path) -> Self {
        let mut spells = Self {
            path: data_dir.join(FILE),
            all: Vec::new(),
            noted: None,
            witnessed: false,
            torn: false,
        };
        let mut bytes = Vec::new();
        match File::open(&spells.path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = spells.path.display();
                tracing::warn!(%path, %error, "former times alone cannot be read and are not shown");
            }
        }
        spells.torn = bytes.last().is_some_and(|byte| *byte != b'\n');
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(spell) => spells.keep(spell),
                Err(error) => {
                    let (path, line) = (spells.path.display(), number + 1);
                    tracing::warn!(%path, line, %error, "a line about a former time alone cannot be read and is left out");
                }
            }
        }
        spells
    }

    /// Looks at the primary's ledger, and writes down a spell that began or ended.
    fn note(&mut self, seen: &Seen<'_>) {
        let reign = seen.reign;
        let now = (reign.unprotected.since, reign.is_settled());
        if self.noted == Some(now) {
            return;
        }
        self.noted = Some(now);
        let known = self.all.iter().rfind(|spell| is_of(spell, reign)).cloned();
        let next = match (known, reign.is_settled()) {
            (None, false) => begun(seen),
            (Some(spell), false) => {
                // It goes on after a restart.
                self.witnessed = true;
                return drop(spell);
            }
            (Some(spell), true) if !spell.over => ended(spell, seen, self.witnessed),
            // Somebody else answered alone, and this server took over.
            (None, true) if reign.unprotected.count > 0 => ended(inherited(reign), seen, false),
            (_, true) => return,
        };
        self.witnessed = !next.over;
        if let Err(error) = self.append(&next) {
            let path = self.path.display();
            tracing::error!(%path, %error, "a time alone cannot be written down; the log and the status have its figures until the next one begins");
        }
        self.keep(next);
    }

    /// The last ones, oldest first; of one that goes on with the figures of this moment.
    pub(crate) fn told(&self, ledger: &kanjo_engine::Ledger) -> Vec<Spell> {
        let mut all = self.all.clone();
        let going_on = all.iter_mut().filter(|spell| !spell.over);
        for spell in going_on.filter(|spell| is_of(spell, ledger.reign())) {
            spell.unprotected = unprotected(ledger);
        }
        all
    }

    /// The newest line about a spell counts.
    fn keep(&mut self, spell: Spell) {
        let same = |one: &Spell| (one.since_lsn, &one.epoch) == (spell.since_lsn, &spell.epoch);
        self.all.retain(|one| !same(one));
        self.all.push(spell);
        if self.all.len() > TOLD_MAX {
            self.all.remove(0);
        }
    }

    fn append(&mut self, spell: &Spell) -> io::Result<()> {
        let mut line = Vec::new();
        if std::mem::take(&mut self.torn) {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, spell)?;
        line.push(b'\n');
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        file.write_all(&line)?;
        file.sync_all()?;
        match self.path.parent().filter(|_| is_new) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Hot {
    /// Writes down that a spell began or ended, after the record that says so. It is written here,
    /// on this thread: twice a spell, which an operator began.
    pub(crate) fn note_spell(&mut self, operator: Option<&str>) {
        let ledger = &self.store.ledger;
        self.spells.note(&Seen {
            reign: ledger.reign(),
            log_time: ledger.log_time(),
            operator,
        });
    }
}

/// Whether it is the last spell that the ledger knows: the epochs are those of its own history.
fn is_of(spell: &Spell, reign: &ReignState) -> bool {
    spell.since_lsn == reign.unprotected.since.get() && spell.epoch == epoch_of(reign)
}

/// The epoch in which the last spell began.
fn epoch_of(reign: &ReignState) -> String {
    let since = reign.unprotected.since;
    let began = reign.epochs.iter().rfind(|entry| entry.base.lsn <= since);
    began.map_or_else(String::new, |entry| entry.epoch.to_string())
}

fn inherited(reign: &ReignState) -> Spell {
    Spell {
        since_lsn: reign.unprotected.since.get(),
        epoch: epoch_of(reign),
        ..Spell::default()
    }
}

/// What is known of a spell that goes on. Its begin was seen if nothing was appended since.
fn begun(seen: &Seen<'_>) -> Spell {
    let is_new = seen.reign.since == seen.reign.unprotected.since;
    let is_alone = seen.reign.protection == Protection::Alone;
    let spell = inherited(seen.reign);
    if !(is_new && is_alone) {
        return spell;
    }
    Spell {
        since_ns: Some(seen.log_time.get()),
        operator: seen.operator.map(str::to_owned),
        reason: seen.reign.reason.clone(),
        ..spell
    }
}

/// The spell with its sums; with the time of its end if that was just seen.
fn ended(spell: Spell, seen: &Seen<'_>, witnessed: bool) -> Spell {
    let reign = seen.reign;
    let saw = witnessed && reign.protection == Protection::Protected;
    Spell {
        over: true,
        until_ns: saw.then(|| seen.log_time.get()),
        until_lsn: saw.then(|| reign.since.get()),
        unprotected: reign.into(),
        ..spell
    }
}

#[cfg(test)]
mod tests {
    use kanjo_engine::EpochEntry;
    use kanjo_format::{ClusterId, Epoch, LedgerId, Tail};

    use super::*;

    fn reign(term: u32, since: u64) -> ReignState {
        let mut reign = ReignState::default();
        let base = Tail {
            lsn: Lsn::new(since),
            ..Tail::empty(ClusterId::new(1))
        };
        let epoch = Epoch::from_terms(1, term);
        reign.epochs.push(EpochEntry { epoch, base });
        reign.unprotected.since = Lsn::new(since);
        reign.since = Lsn::new(since);
        reign
    }

    fn note(spells: &mut Spells, reign: &ReignState, at: u64) {
        spells.note(&Seen {
            reign,
            log_time: Timestamp::new(at),
            operator: Some("somebody"),
        });
    }

    #[test]
    fn what_was_counted_alone_by_another_server_is_written_down_once_without_times() {
        let dir = tempfile::tempdir().unwrap();
        let mut spells = Spells::load(dir.path());
        let mut inherited = reign(4, 8_192);
        note(&mut spells, &ReignState::default(), 1);
        assert_eq!(spells.all, [], "nothing was ever answered alone");
        inherited.unprotected.count = 3;
        let ledger = LedgerId::new(203);
        let amounts = &mut inherited.unprotected.amounts;
        amounts.entry(ledger).or_default();
        for _ in 0..2 {
            note(&mut spells, &inherited, 2);
        }
        let again = Spells::load(dir.path());
        assert_eq!(again.all, spells.all);
        let [spell] = &again.all[..] else {
            panic!("once: {again:?}");
        };
        assert_eq!((spell.over, spell.unprotected.count), (true, 3));
        assert_eq!((spell.since_ns, spell.until_ns), (None, None));
        assert_eq!((spell.epoch.as_str(), spell.since_lsn), ("1.4", 8_192));
    }

    #[test]
    fn a_torn_line_is_left_out_and_the_next_one_stands_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, b"{\"since_lsn\":1,\"ep").unwrap();
        let mut spells = Spells::load(dir.path());
        assert_eq!(spells.all, []);
        let mut inherited = reign(2, 4_096);
        inherited.unprotected.count = 1;
        note(&mut spells, &inherited, 5);
        assert_eq!(Spells::load(dir.path()).all, spells.all);
        assert_eq!(spells.all.len(), 1);
    }

    #[test]
    fn the_status_tells_the_last_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut spells = Spells::load(dir.path());
        for term in 1..=20 {
            let mut inherited = reign(term, u64::from(term) * 4_096);
            inherited.unprotected.count = 1;
            note(&mut spells, &inherited, 5);
        }
        let told = Spells::load(dir.path()).all;
        assert_eq!(told.len(), TOLD_MAX);
        assert_eq!(told.last().map(|spell| spell.epoch.as_str()), Some("1.20"));
        let lines = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(lines.lines().count(), 20, "the file has all");
    }
}
