//! What befalls a part, and how it ends.

use kanjo_format::Site;

use super::clouds::Cloud;
use super::part::{CLIENT, Part};

/// A part fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// No packet from it or to it, whoever the other end is.
    Cut,
    /// Nobody hears it; it hears everybody.
    Mute,
    /// It hears nobody; everybody hears it.
    Deaf,
    /// No packet between it and the other site; its own site hears it.
    CutFromOtherSite,
}

/// The three that the promise names.
pub(crate) const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Stop, Fault::Cut];

impl Cloud {
    pub(crate) fn hit(&mut self, part: Part, fault: Fault) {
        let mut everybody = self.parts();
        everybody.push(CLIENT);
        everybody.retain(|other| *other != part);
        match fault {
            Fault::Kill => self.process(part).kill(),
            Fault::Stop => self.process(part).stop(),
            Fault::Cut => self.cut(&[part], &everybody),
            Fault::Mute => self.cut_one_way(&[part], &everybody),
            Fault::Deaf => self.cut_one_way(&everybody, &[part]),
            Fault::CutFromOtherSite => self.cut(&[part], &Part::all_of(part.site().other())),
        }
    }

    /// The fault is over. Cuts are healed all at once, whoever was cut.
    pub(crate) fn undo(&mut self, part: Part, fault: Fault) {
        match fault {
            Fault::Kill => self.spawn(part),
            Fault::Stop => self.process(part).cont(),
            Fault::Cut | Fault::Mute | Fault::Deaf | Fault::CutFromOtherSite => self.heal(),
        }
    }

    /// Nothing from any of the first to any of the others, nor back.
    pub(crate) fn cut(&self, from: &[Part], to: &[Part]) {
        let there = pairs(from, to);
        let back = pairs(to, from);
        self.drop_between(there.chain(back));
    }

    /// Nothing from any of the first to any of the others; the other way it goes on.
    pub(crate) fn cut_one_way(&self, from: &[Part], to: &[Part]) {
        self.drop_between(pairs(from, to));
    }

    /// No packet between the sites; clients reach both.
    pub(crate) fn cut_sites(&self) {
        self.cut(&Part::all_of(Site::One), &Part::all_of(Site::Two));
    }

    /// No packet from this site to the other one; the other way it goes on.
    pub(crate) fn cut_sites_one_way(&self, from: Site) {
        self.cut_one_way(&Part::all_of(from), &Part::all_of(from.other()));
    }

    fn drop_between(&self, pairs: impl Iterator<Item = (Part, Part)>) {
        let names: Vec<(String, String)> =
            pairs.map(|(from, to)| (from.name(), to.name())).collect();
        let names = names.iter().map(|(from, to)| (from.as_str(), to.as_str()));
        self.net().drop_between(names);
    }

    /// Every packet passes.
    pub(crate) fn heal(&self) {
        self.net().drop_nothing();
    }
}

fn pairs<'a>(from: &'a [Part], to: &'a [Part]) -> impl Iterator<Item = (Part, Part)> + 'a {
    from.iter()
        .flat_map(move |&from| to.iter().map(move |&to| (from, to)))
}
