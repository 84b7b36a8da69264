//! Equal cases in one line, so that a person can read all of them.

use kanjo_format::NodeId;
use serde::Serialize;

use super::words::{Words, joined};
use super::{Case, Fault, Verdict};

/// Cases of which the same is to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is lost or cut.
    pub what: String,
    /// What comes of it.
    pub verdict: Verdict,
    /// Who processes.
    pub then: String,
    /// Which rule decides.
    pub why: String,
    /// What a person can do.
    pub to_do: String,
    /// Whether it is otherwise if the parts are lost one after the other; empty if not.
    pub one_after_the_other: String,
    /// How many cases it stands for.
    pub cases: usize,
}

/// Puts together what is alike, in the order of the first of each.
pub(super) fn lines(words: &Words<'_>, cases: &[Case]) -> Vec<Line> {
    let mut groups: Vec<Vec<&Case>> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|group| is_alike(group[0], case)) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    let line = |group: Vec<&Case>| Line {
        what: what(words, &group),
        verdict: group[0].verdict,
        then: group[0].then.clone(),
        why: group[0].why.clone(),
        to_do: group[0].to_do.clone(),
        one_after_the_other: group[0].one_after_the_other.clone(),
        cases: group.len(),
    };
    groups.into_iter().map(line).collect()
}

fn is_alike(one: &Case, other: &Case) -> bool {
    let key = |case: &Case| {
        (
            case.then.clone(),
            case.why.clone(),
            case.to_do.clone(),
            case.one_after_the_other.clone(),
        )
    };
    one.verdict == other.verdict && key(one) == key(other)
}

/// What happens to one part alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cuts {
    lost: bool,
    own_site: bool,
    other_site: bool,
}

impl Cuts {
    fn words(self) -> &'static str {
        match (self.lost, self.own_site, self.other_site) {
            (true, false, false) => "lost",
            (true, true, false) => "lost, or cut off from its own site",
            (true, false, true) => "lost, or cut off from the other site",
            (true, true, true) => "lost, or cut off from either site",
            (false, true, false) => "cut off from its own site",
            (false, false, true) => "cut off from the other site",
            (false, true, true) => "cut off from either site",
            (false, false, false) => "cut off in one direction",
        }
    }
}

fn what(words: &Words<'_>, group: &[&Case]) -> String {
    let mut alone: Vec<(NodeId, Cuts)> = Vec::new();
    let mut together: Vec<&[NodeId]> = Vec::new();
    let mut rest = Vec::new();
    for case in group {
        let (node, mark): (NodeId, fn(&mut Cuts)) = match &case.fault {
            Fault::Lost { nodes } if nodes.len() > 1 => {
                together.push(nodes);
                continue;
            }
            Fault::Lost { nodes } => (nodes[0], |cuts| cuts.lost = true),
            Fault::Deaf { node } | Fault::Mute { node } => (*node, |_| {}),
            Fault::CutFromOwnSite { node } => (*node, |cuts| cuts.own_site = true),
            Fault::CutFromOtherSite { node } => (*node, |cuts| cuts.other_site = true),
            _ => {
                rest.push(case.what.clone());
                continue;
            }
        };
        match alone.iter_mut().find(|(known, _)| *known == node) {
            Some((_, cuts)) => mark(cuts),
            None => {
                let mut cuts = Cuts::default();
                mark(&mut cuts);
                alone.push((node, cuts));
            }
        }
    }
    let mut parts = singles(words, &alone);
    parts.extend(combinations(words, &together));
    parts.append(&mut rest);
    parts.join("; ")
}

/// Parts to which the same may happen, together.
fn singles(words: &Words<'_>, alone: &[(NodeId, Cuts)]) -> Vec<String> {
    let mut kinds: Vec<(Cuts, Vec<String>)> = Vec::new();
    for (node, cuts) in alone {
        let title = words.title(*node);
        match kinds.iter_mut().find(|(kind, _)| kind == cuts) {
            Some((_, titles)) => titles.push(title),
            None => kinds.push((*cuts, vec![title])),
        }
    }
    let said =
        |(cuts, titles): (Cuts, Vec<String>)| format!("{} {}", joined(titles, "or"), cuts.words());
    kinds.into_iter().map(said).collect()
}

/// Several parts at once: `server 1 and any two of server 2, server 3 and witness 11 lost` where
/// all of these are meant, each choice by itself otherwise.
fn combinations(words: &Words<'_>, together: &[&[NodeId]]) -> Vec<String> {
    let mut said = Vec::new();
    let most = together.iter().map(|nodes| nodes.len()).max().unwrap_or(0);
    for size in 2..=most {
        let choices: Vec<&[NodeId]> = together
            .iter()
            .copied()
            .filter(|nodes| nodes.len() == size)
            .collect();
        let Some(first) = choices.first() else {
            continue;
        };
        let in_all = |node: &&NodeId| choices.iter().all(|one| one.contains(node));
        let common: Vec<NodeId> = first.iter().filter(in_all).copied().collect();
        let mut varied: Vec<NodeId> = Vec::new();
        for node in choices.iter().flat_map(|one| one.iter()) {
            if !common.contains(node) && !varied.contains(node) {
                varied.push(*node);
            }
        }
        let of_varied = size - common.len();
        let is_every_choice = choices.len() == choose(varied.len(), of_varied);
        if choices.len() == 1 || !is_every_choice {
            let each = choices.iter().map(|nodes| {
                let titles = nodes.iter().map(|&node| words.title(node)).collect();
                format!("{} lost", joined(titles, "and"))
            });
            said.extend(each);
            continue;
        }
        let titles = |nodes: &[NodeId], word| {
            joined(nodes.iter().map(|&node| words.title(node)).collect(), word)
        };
        let some = match of_varied {
            1 => titles(&varied, "or"),
            2 => format!("any two of {}", titles(&varied, "and")),
            3 => format!("any three of {}", titles(&varied, "and")),
            more => format!("any {more} of {}", titles(&varied, "and")),
        };
        said.push(match common.is_empty() {
            true => format!("{some} lost"),
            false => format!("{} and {some} lost", titles(&common, "and")),
        });
    }
    said
}

fn choose(of: usize, size: usize) -> usize {
    (0..size).fold(1, |product, n| product * (of - n) / (n + 1))
}
