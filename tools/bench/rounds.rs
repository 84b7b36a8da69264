//! Figures of several rounds: median, least and most of each.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

/// A round whose floor is further from the median of all than this share is repeated.
const STRAY: f64 = 0.25;
/// At most so often.
const REPEATS_MAX: usize = 2;

/// Repeats the rounds in which the machine was not as it was in the others: the floor strays from
/// the median. Gives the rounds that were put aside for it; one that strays every time stays.
pub(super) async fn repeat_strays<R>(
    rounds: &mut [R],
    floor: impl Fn(&R) -> f64,
    mut again: impl AsyncFnMut() -> Result<R>,
) -> Result<Vec<R>> {
    let mut floors: Vec<f64> = rounds.iter().map(&floor).collect();
    floors.sort_by(f64::total_cmp);
    let median = median(&floors);
    let strays = |round: &R| (floor(round) / median - 1.0).abs() > STRAY;
    let mut aside = Vec::new();
    for round in rounds {
        for _ in 0..REPEATS_MAX {
            if strays(round) {
                aside.push(std::mem::replace(round, again().await?));
            }
        }
    }
    Ok(aside)
}

fn median(sorted: &[f64]) -> f64 {
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[low], sorted[high])
}

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
            median: pick(median),
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

    #[tokio::test]
    async fn rounds_of_another_machine_are_repeated_at_most_twice_and_kept() {
        let mut rounds = [100.0, 110.0, 200.0, 90.0, 40.0];
        let mut more = [101.0, 300.0, 301.0].into_iter();
        let again = async || Ok(more.next().expect("three repeats at most"));
        let aside = repeat_strays(&mut rounds, |round| *round, again).await;
        assert_eq!(rounds, [100.0, 110.0, 101.0, 90.0, 301.0]);
        assert_eq!(aside.unwrap(), [200.0, 40.0, 300.0]);
        assert_eq!(more.next(), None);
    }

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
