//! Which account a transfer touches: all alike, or a few far more often than the rest.

use crate::random::Random;

/// Draws account numbers from 0 on.
pub(super) enum Choice {
    /// All equally likely.
    Uniform {
        /// How many there are.
        accounts: u64,
    },
    /// As [`Zipf`] weighs them.
    Skewed(Zipf),
}

/// Zipf's law: the account of rank `k` is drawn in proportion to `1 / k^exponent`. The ranks are
/// scattered over the accounts, so that hot ones are no neighbours.
///
/// An alias table (Walker, 1977; built as Vose, 1991): one random number and one look-up a draw.
pub(super) struct Zipf(Vec<Slot>);

/// A slot is drawn uniformly; then it gives itself, or its alias.
#[derive(Clone, Copy)]
struct Slot {
    /// Of 2^32: how often it gives itself.
    own: u32,
    alias: u32,
}

impl Choice {
    /// Among so many accounts; skewed if there is an exponent.
    pub(super) fn new(accounts: u64, zipf: Option<f64>, random: &mut Random) -> Self {
        match zipf {
            Some(exponent) => Self::Skewed(Zipf::new(accounts as usize, exponent, random)),
            None => Self::Uniform { accounts },
        }
    }

    /// How many accounts there are.
    pub(super) fn accounts(&self) -> u64 {
        match self {
            Self::Uniform { accounts } => *accounts,
            Self::Skewed(Zipf(slots)) => slots.len() as u64,
        }
    }

    /// The next account.
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform { accounts } => random.below(*accounts),
            Self::Skewed(zipf) => zipf.draw(random),
        }
    }
}

impl Zipf {
    fn new(accounts: usize, exponent: f64, random: &mut Random) -> Self {
        let mut numbers: Vec<u32> = (0..accounts as u32).collect();
        for last in (1..accounts).rev() {
            numbers.swap(last, random.below(last as u64 + 1) as usize);
        }
        let mut weights = vec![0.0; accounts];
        for (rank, number) in numbers.iter().enumerate() {
            weights[*number as usize] = (rank as f64 + 1.0).powf(-exponent);
        }
        // From here on 1 is the mean: what a slot must give in all.
        let scale = accounts as f64 / weights.iter().sum::<f64>();
        weights.iter_mut().for_each(|weight| *weight *= scale);
        let (mut scant, mut ample): (Vec<u32>, Vec<u32>) = numbers
            .into_iter()
            .partition(|number| weights[*number as usize] < 1.0);
        let mut slots: Vec<Slot> = (0..accounts as u32)
            .map(|alias| Slot {
                own: u32::MAX,
                alias,
            })
            .collect();
        // The scant one's slot is filled up by an ample one, which then has less to give. What is
        // left at the end differs from 1 only by rounding and gives itself.
        while let (Some(low), Some(high)) = (scant.pop(), ample.last().copied()) {
            let own = weights[low as usize];
            slots[low as usize] = Slot {
                own: (own * 2_f64.powi(32)) as u32,
                alias: high,
            };
            weights[high as usize] -= 1.0 - own;
            if weights[high as usize] < 1.0 {
                ample.pop();
                scant.push(high);
            }
        }
        Self(slots)
    }

    fn draw(&self, random: &mut Random) -> u64 {
        // The whole part of the product is the slot, the fraction the coin.
        let product = u128::from(random.next()) * self.0.len() as u128;
        let place = (product >> 64) as usize;
        let coin = (product as u64 >> 32) as u32;
        let slot = self.0[place];
        match coin < slot.own {
            true => place as u64,
            false => u64::from(slot.alias),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 400_000;

    /// How often each account was drawn, the most frequent first, and where the first ten are.
    fn counts(accounts: u64, exponent: f64) -> (Vec<u64>, Vec<usize>) {
        let mut random = Random::new(7);
        let choice = Choice::new(accounts, Some(exponent), &mut random);
        let mut counts = vec![0; accounts as usize];
        for _ in 0..DRAWS {
            counts[choice.draw(&mut random) as usize] += 1;
        }
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|number| std::cmp::Reverse(counts[*number]));
        let hot = order[..10].to_vec();
        (
            order.into_iter().map(|number| counts[number]).collect(),
            hot,
        )
    }

    #[test]
    fn ranks_are_drawn_as_zipf_says() {
        for exponent in [0.5, 1.0, 1.3] {
            let (counts, _) = counts(1_000, exponent);
            let total: f64 = (1..=1_000).map(|k| f64::from(k).powf(-exponent)).sum();
            for rank in [1_u32, 2, 5, 10] {
                let expected = f64::from(rank).powf(-exponent) / total * DRAWS as f64;
                let ratio = counts[rank as usize - 1] as f64 / expected;
                assert!((0.9..1.1).contains(&ratio), "{exponent} {rank}: {ratio}");
            }
        }
    }

    #[test]
    fn no_exponent_is_as_good_as_uniform() {
        let (counts, _) = counts(100, 0.0);
        let expected = DRAWS / 100;
        assert!(counts[0] < expected * 11 / 10 && counts[99] > expected * 9 / 10);
    }

    #[test]
    fn hot_accounts_are_scattered() {
        let (_, hot) = counts(1_000, 1.0);
        let gaps = hot.windows(2).map(|pair| pair[0].abs_diff(pair[1]));
        assert!(gaps.filter(|gap| *gap > 10).count() >= 7, "{hot:?}");
    }
}
