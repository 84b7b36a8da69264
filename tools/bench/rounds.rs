//! Figures of several rounds: median, least and most of each.

use std::collections::BTreeMap;

use serde::Serialize;

/// Figures of one round by name.
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// What every JSON result holds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    /// Of each figure the median over the rounds.
    pub(super) median: Figures,
    /// The least.
    pub(super) min: Figures,
    /// The most.
    pub(super) max: Figures,
    /// Each round.
    pub(super) rounds: Vec<Figures>,
}

impl Summary {
    /// Of at least one round.
    pub(super) fn of(rounds: Vec<Figures>) -> Self {
        let mut by_name: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for (name, value) in rounds.iter().flatten() {
            by_name.entry(name).or_default().push(*value);
        }
        let pick = |choose: fn(&[f64]) -> f64| -> Figures {
            let of = |(name, values): (&&'static str, &Vec<f64>)| {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                (*name, choose(&sorted))
            };
            by_name.iter().map(of).collect()
        };
        Self {
            median: pick(|sorted| {
                let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
                f64::midpoint(sorted[low], sorted[high])
            }),
            min: pick(|sorted| sorted[0]),
            max: pick(|sorted| sorted[sorted.len() - 1]),
            rounds,
        }
    }

    /// One figure as `median (min to max)`.
    pub(super) fn range(&self, name: &str, decimals: usize) -> String {
        let at = |figures: &Figures| figures.get(name).copied().unwrap_or(f64::NAN);
        format!(
            "{:.decimals$} ({:.decimals$} to {:.decimals$})",
            at(&self.median),
            at(&self.min),
            at(&self.max)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle_of_any_number_of_rounds() {
        let rounds = |values: &[f64]| {
            let rounds = values.iter().map(|value| Figures::from([("x", *value)]));
            Summary::of(rounds.collect())
        };
        assert_eq!(rounds(&[9.0, 1.0, 3.0]).range("x", 0), "3 (1 to 9)");
        assert_eq!(rounds(&[4.0, 1.0]).range("x", 1), "2.5 (1.0 to 4.0)");
        assert_eq!(rounds(&[7.0]).range("x", 0), "7 (7 to 7)");
    }
}
