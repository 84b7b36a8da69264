//! The text formats of metrics, read by their grammar: whatever does not fit it panics.

use std::collections::{BTreeMap, BTreeSet};

/// A page of metrics: each series, with its labels in the order in which they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Type of each family.
    families: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Page {
    /// Reads a page in the text format 0.0.4, or in OpenMetrics, which must say its end.
    pub(crate) fn read(text: &str, open_metrics: bool) -> Self {
        let mut page = Self::default();
        let mut current = None;
        assert!(text.ends_with('\n'), "the last line has an end");
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        for (at, line) in lines.iter().enumerate() {
            match line.strip_prefix("# ") {
                Some("EOF") => assert_eq!(at, lines.len() - 1, "nothing follows the end"),
                Some(comment) => page.comment(comment, &mut current),
                None => page.sample(line, current.as_deref(), open_metrics),
            }
        }
        assert_eq!(lines.last() == Some(&"# EOF"), open_metrics);
        page.check_histograms();
        page
    }

    /// The value of a series, which must be there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.series.get(series);
        *value.unwrap_or_else(|| panic!("no {series} in {:#?}", self.series))
    }

    /// The protections that are told, in alphabetical order.
    pub(crate) fn protections(&self) -> Vec<&str> {
        let told = self.series.iter().filter(|(_, value)| **value == 1.0);
        let names = told.filter_map(|(series, _)| {
            let name = series.strip_prefix("kanjo_protection{protection=\"")?;
            name.strip_suffix("\"}")
        });
        names.collect()
    }

    /// Every series of a counter or histogram has at least the value that it had before.
    pub(crate) fn expect_no_counter_fell(&self, earlier: &Self) {
        for (series, before) in &earlier.series {
            let family = family_of(&name_of(series), &self.families);
            let kind = family.map(|family| self.families[&family].as_str());
            if matches!(kind, Some("counter" | "histogram")) {
                assert!(self.value(series) >= *before, "{series} was {before}");
            }
        }
    }

    fn comment(&mut self, comment: &str, current: &mut Option<String>) {
        let mut words = comment.splitn(3, ' ');
        let (kind, name, rest) = (words.next(), words.next(), words.next());
        let name = name.expect("a comment names a family");
        let rest = rest.expect("a comment says something");
        assert!(is_name(name), "{name}");
        match kind {
            Some("HELP") => {
                assert!(!self.families.contains_key(name), "{name} comes once");
                *current = Some(name.to_owned());
            }
            Some("TYPE") => {
                assert_eq!(current.as_deref(), Some(name));
                let known = ["counter", "gauge", "histogram", "info"];
                assert!(known.contains(&rest), "{rest}");
                let before = self.families.insert(name.to_owned(), rest.to_owned());
                assert_eq!(before, None, "{name} comes once");
            }
            Some("UNIT") => assert!(name.ends_with(&format!("_{rest}")), "{comment}"),
            _ => panic!("not a comment of this format: {comment}"),
        }
    }

    fn sample(&mut self, line: &str, current: Option<&str>, open_metrics: bool) {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let name = name_of(series);
        assert!(is_name(&name) && name.starts_with("kanjo_"), "{line}");
        let current = current.expect("a family is declared before its samples");
        let kind = self.families[current].as_str();
        let suffix = name.strip_prefix(current);
        let suffix = suffix.unwrap_or_else(|| panic!("{line} stands under {current}"));
        let fits = match (kind, open_metrics) {
            ("histogram", _) => matches!(suffix, "_bucket" | "_sum" | "_count"),
            ("counter", true) => suffix == "_total",
            ("info", true) => suffix == "_info",
            _ => suffix.is_empty(),
        };
        assert!(fits, "{line} is no sample of a {kind}");
        if let Some(labels) = series.strip_prefix(&name).filter(|l| !l.is_empty()) {
            check_labels(labels);
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let before = self.series.insert(series.to_owned(), value);
        assert_eq!(before, None, "{series} comes once");
    }

    /// Buckets never fall and end in one that holds all.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &self.series {
            let Some((name, labels)) = series.split_once("_bucket{le=\"") else {
                continue;
            };
            let (bound, others) = labels.split_once('"').expect("a bound in quotes");
            let bound = bound.parse::<f64>().expect("+Inf is a float too");
            let others = others.trim_start_matches(',').trim_end_matches('}');
            let others = match others {
                "" => String::new(),
                others => format!("{{{others}}}"),
            };
            let of = format!("{name}_count{others}");
            buckets.entry(of).or_default().push((bound, *value));
        }
        assert!(!buckets.is_empty(), "there are histograms");
        for (count, mut of) in buckets {
            of.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(of.is_sorted_by(|a, b| a.1 <= b.1), "{count}: {of:?}");
            let last = of.last().expect("at least one");
            assert_eq!(last.0, f64::INFINITY, "{count}");
            assert_eq!(last.1, self.value(&count), "{count}");
        }
    }
}

fn name_of(series: &str) -> String {
    series.split('{').next().unwrap_or_default().to_owned()
}

/// The family that a sample's name belongs to.
fn family_of(name: &str, families: &BTreeMap<String, String>) -> Option<String> {
    let suffixes = ["", "_bucket", "_sum", "_count", "_total", "_info"];
    let mut candidates = suffixes.iter().filter_map(|s| name.strip_suffix(s));
    let found = candidates.find(|family| families.contains_key(*family));
    found.map(str::to_owned)
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `{name="value",…}`, values with escapes.
fn check_labels(labels: &str) {
    let mut names = BTreeSet::new();
    let inner = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
    let mut rest = inner.unwrap_or_else(|| panic!("{labels} are no labels"));
    loop {
        let (name, after) = rest.split_once("=\"").expect("a name and a value");
        assert!(is_name(name), "{labels}");
        assert!(names.insert(name.to_owned()), "{labels}: {name} comes once");
        let mut escaped = false;
        let end = after.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (end, _) = end.expect("a value ends");
        match after[end + 1..].strip_prefix(',') {
            Some(next) => rest = next,
            None => return assert_eq!(&after[end + 1..], "", "{labels}"),
        }
    }
}
