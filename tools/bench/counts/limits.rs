//! What each figure may be at most, and whether it is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::rounds::Figures;
use crate::bench::say;
use crate::output::table;

/// A figure that is under this share of its limit could let through much that is worse.
const LOOSE: f64 = 0.7;

/// Name of each figure, its decimals, and what it is.
const MEANINGS: [(&str, usize, &str); 17] = [
    (
        "wire_bytes_per_transfer",
        2,
        "full: between the nodes, both directions",
    ),
    ("disk_bytes_per_transfer", 2, "full: of sealed segments"),
    (
        "primary_commit_writes_ratio",
        3,
        "full: written ÷ pages appended",
    ),
    ("auxiliary_commit_writes_ratio", 3, "full: the same"),
    ("primary_instructions_per_transfer", 0, "full: in user mode"),
    ("auxiliary_instructions_per_transfer", 0, "full: the same"),
    ("primary_allocations_per_commit", 1, "full"),
    ("auxiliary_allocations_per_commit", 1, "full"),
    (
        "single_shipped_bytes_per_commit",
        1,
        "single: bytes of the batch on the wire",
    ),
    (
        "single_primary_commit_writes_ratio",
        3,
        "single: written ÷ pages appended",
    ),
    (
        "single_auxiliary_commit_writes_ratio",
        3,
        "single: the same",
    ),
    ("single_primary_system_calls_per_commit", 2, "single"),
    ("single_auxiliary_system_calls_per_commit", 2, "single"),
    ("single_primary_allocations_per_commit", 2, "single"),
    ("single_auxiliary_allocations_per_commit", 2, "single"),
    (
        "single_primary_instructions_per_commit",
        0,
        "single: in user mode",
    ),
    (
        "single_auxiliary_instructions_per_commit",
        0,
        "single: the same",
    ),
];

/// By name of the figure.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Limits(BTreeMap<String, f64>);

impl Limits {
    /// From a file that has a limit for every figure and for nothing else.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the limits in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let limits: Self = toml::from_str(text)?;
        for name in limits.0.keys() {
            let known = MEANINGS.iter().any(|(known, ..)| known == name);
            ensure!(known, "{name} is no figure that is counted");
        }
        for (name, ..) in MEANINGS {
            ensure!(limits.0.contains_key(name), "{name} has no limit");
        }
        Ok(limits)
    }

    /// Whether no figure is over its limit.
    pub(super) fn hold(&self, figures: &Figures) -> bool {
        let over = |(name, limit): (&String, &f64)| figures.get(name.as_str()) > Some(limit);
        !self.0.iter().any(over)
    }

    /// Names the figures that could have a lower limit; fails if one is over its limit.
    pub(super) fn check(&self, figures: &Figures) -> Result<()> {
        let (mut over, mut missing) = (Vec::new(), Vec::new());
        for (name, limit) in &self.0 {
            match figures.get(name.as_str()) {
                Some(figure) if figure > limit => over.push(format!(
                    "{name} is {figure:.2}, {:.1} % over its limit {limit}",
                    (figure / limit - 1.0) * 100.0
                )),
                Some(figure) if *figure < limit * LOOSE => say(format!(
                    "note: {name} is {figure:.2}, far under its limit {limit}: lower the limit"
                )),
                Some(_) => {}
                None => missing.push(name.as_str()),
            }
        }
        ensure!(missing.is_empty(), "not counted: {}", missing.join(", "));
        if !over.is_empty() {
            bail!("over the limit: {}", over.join("; "));
        }
        Ok(())
    }
}

/// All figures, beside their limits if there are any.
pub(super) fn table_of(figures: &Figures, limits: Option<&Limits>) -> comfy_table::Table {
    let header = ["figure", "counted", "limit", "of the limit", "what it is"];
    let mut table = table(&header, &[1, 2, 3]);
    for (name, decimals, meaning) in MEANINGS {
        let figure = figures.get(name).copied().unwrap_or(f64::NAN);
        let limit = limits.and_then(|limits| limits.0.get(name));
        let share = limit.map(|limit| figure / limit * 100.0);
        table.add_row([
            name.to_owned(),
            format!("{figure:.decimals$}"),
            limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
            share.map_or_else(
                || "-".to_owned(),
                |share| match share > 100.0 {
                    true => format!("{share:.0} % OVER"),
                    false => format!("{share:.0} %"),
                },
            ),
            meaning.to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_at(limit: f64) -> String {
        let lines = MEANINGS.map(|(name, ..)| format!("{name} = {limit:.1}\n"));
        lines.concat()
    }

    fn figures(value: f64) -> Figures {
        MEANINGS.map(|(name, ..)| (name, value)).into()
    }

    #[test]
    fn a_figure_over_its_limit_fails_by_name() {
        let limits = Limits::parse(&all_at(10.0)).unwrap();
        assert!(limits.hold(&figures(10.0)));
        limits.check(&figures(10.0)).unwrap();
        let mut figures = figures(5.0);
        limits.check(&figures).unwrap();
        figures.insert("wire_bytes_per_transfer", 12.5);
        assert!(!limits.hold(&figures));
        let error = limits.check(&figures).unwrap_err().to_string();
        assert_eq!(
            error,
            "over the limit: wire_bytes_per_transfer is 12.50, 25.0 % over its limit 10"
        );
    }

    #[test]
    fn no_figure_goes_unchecked() {
        let (lacking, _) = all_at(1.0)
            .rsplit_once("single_")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(Limits::parse(&lacking).is_err());
        assert!(Limits::parse(&(all_at(1.0) + "speed = 1.0\n")).is_err());
        let limits = Limits::parse(&all_at(10.0)).unwrap();
        let mut figures = figures(1.0);
        figures.remove("disk_bytes_per_transfer");
        assert!(limits.check(&figures).is_err());
    }

    #[test]
    fn the_limits_of_the_gate_are_complete() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/limits.toml");
        Limits::read(Path::new(file)).unwrap();
    }
}
