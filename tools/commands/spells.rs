//! Times during which a server answered alone, for people.

use comfy_table::Table;
use kanjo_format::Timestamp;
use kanjo_node::status::Spell;

use crate::output::table;
use crate::quantities::show_count;
use crate::times::show_second;

/// One row a spell, the oldest first. `answering` says whether anybody answers alone at present.
pub(super) fn spells(spells: &[Spell], answering: bool) -> Table {
    let header = [
        "alone since",
        "until",
        "epoch",
        "transfers",
        "amounts",
        "by",
        "why",
    ];
    let mut table = table(&header, &[3]);
    for spell in spells {
        let amounts = spell.unprotected.amounts.iter();
        let amounts = amounts.map(|(ledger, amount)| format!("{amount} in ledger {ledger}"));
        let until = match (spell.until_ns, spell.over) {
            (_, false) if answering => "goes on".to_owned(),
            // What was answered alone stays so until another server has it.
            (_, false) => {
                "nothing more is answered alone; another server has to catch up".to_owned()
            }
            (until, true) => time(until),
        };
        table.add_row([
            time(spell.since_ns),
            until,
            spell.epoch.clone(),
            show_count(spell.unprotected.count),
            amounts.collect::<Vec<_>>().join(", "),
            spell.operator.clone().unwrap_or_default(),
            spell.reason.clone(),
        ]);
    }
    table
}

fn time(ns: Option<u64>) -> String {
    ns.map_or_else(
        || "not seen".to_owned(),
        |ns| show_second(Timestamp::new(ns)),
    )
}

/// What several servers saw, each spell once: as told by the one that saw most of it.
pub(super) fn merged<'s>(told: impl Iterator<Item = &'s [Spell]>) -> Vec<Spell> {
    let mut all: Vec<Spell> = Vec::new();
    for spell in told.flatten() {
        let same =
            |one: &&mut Spell| (one.since_lsn, &one.epoch) == (spell.since_lsn, &spell.epoch);
        match all.iter_mut().find(same) {
            None => all.push(spell.clone()),
            Some(one) => *one = united(one, spell),
        }
    }
    all.sort_by_key(|spell| spell.since_lsn);
    all
}

/// A spell that two servers know of: one that is over for either of them is over, and counted to
/// its end by that one.
fn united(one: &Spell, other: &Spell) -> Spell {
    let (last, first) = match one.over {
        true => (one, other),
        false => (other, one),
    };
    let reason = [&last.reason, &first.reason]
        .into_iter()
        .find(|r| !r.is_empty());
    Spell {
        since_ns: last.since_ns.or(first.since_ns),
        until_ns: last.until_ns.or(first.until_ns),
        until_lsn: last.until_lsn.or(first.until_lsn),
        operator: last.operator.clone().or_else(|| first.operator.clone()),
        reason: reason.cloned().unwrap_or_default(),
        ..last.clone()
    }
}

#[cfg(test)]
mod tests {
    use kanjo_node::status::Unprotected;

    use super::*;

    #[test]
    fn a_spell_that_two_servers_know_of_stands_there_once_with_all_that_either_saw() {
        let begun = Spell {
            epoch: "1.4".to_owned(),
            since_lsn: 8_192,
            since_ns: Some(1_000_000_000),
            operator: Some("somebody".to_owned()),
            reason: "site 2 burnt down".to_owned(),
            ..Spell::default()
        };
        let over = Spell {
            over: true,
            since_ns: None,
            operator: None,
            reason: String::new(),
            unprotected: Unprotected {
                count: 2_000,
                amounts: vec![(203, "70".to_owned())],
            },
            ..begun.clone()
        };
        let earlier = Spell {
            since_lsn: 4_096,
            epoch: "1.2".to_owned(),
            ..Spell::default()
        };
        for order in [[&begun, &over], [&over, &begun]] {
            let told = [order.map(Clone::clone).to_vec(), vec![earlier.clone()]];
            let all = merged(told.iter().map(Vec::as_slice));
            assert_eq!(all.len(), 2);
            assert_eq!(all[0], earlier);
            assert_eq!(all[1].since_ns, begun.since_ns);
            assert_eq!(all[1].reason, begun.reason);
            assert_eq!(all[1].unprotected.count, 2_000);
            let text = spells(&all, true).to_string();
            for word in [
                "not seen",
                "2,000",
                "70 in ledger 203",
                "somebody",
                "goes on",
            ] {
                assert!(text.contains(word), "{word}: {text}");
            }
            assert!(!spells(&all, false).to_string().contains("goes on"));
        }
    }
}
