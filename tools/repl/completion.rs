//! What Tab offers: requests at the start, then fields, flags and results of the one that the
//! line holds.

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::operations::{OPERATIONS, Operation, flag_names, result_names};

#[derive(Debug, Default)]
pub(crate) struct Completion;

impl Helper for Completion {}

impl Highlighter for Completion {}

impl Hinter for Completion {
    type Hint = String;
}

impl Validator for Completion {}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(offer(&line[..cursor]))
    }
}

/// Where the word before the cursor begins, and what it could become.
fn offer(before: &str) -> (usize, Vec<Pair>) {
    if before.trim().is_empty() {
        let example = |operation: &Operation| Pair {
            display: operation.name.to_owned(),
            replacement: operation.example.to_owned(),
        };
        return (before.len(), OPERATIONS.iter().map(example).collect());
    }
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = before
        .rfind(|c: char| !is_of_word(c))
        .map_or(0, |at| at + 1);
    let word = &before[start..];
    let plain = |name: &str| Pair {
        display: name.to_owned(),
        replacement: name.to_owned(),
    };
    let names = names_at(&before[..start]);
    let fitting = names.iter().filter(|name| name.starts_with(word));
    (start, fitting.map(|name| plain(name)).collect())
}

fn names_at(before: &str) -> Vec<&'static str> {
    let all = || OPERATIONS.iter().map(|operation| operation.name);
    if before.is_empty() {
        return all().chain(["help", "quit"]).collect();
    }
    let asked = OPERATIONS
        .iter()
        .find(|operation| before.contains(&format!("\"{}\"", operation.name)));
    match asked {
        None => all().collect(),
        Some(operation) if operation.name == "help" => all().collect(),
        Some(operation) => {
            let mut names = operation.fields.to_vec();
            names.extend(flag_names(operation.name));
            names.extend(result_names(operation.name));
            names
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(before: &str) -> Vec<String> {
        offer(before).1.into_iter().map(|p| p.replacement).collect()
    }

    #[test]
    fn a_word_is_completed_by_what_fits_its_place() {
        assert_eq!(offered("{\"create_t"), ["create_transfers"]);
        assert_eq!(offered("help create_a"), ["create_accounts"]);
        let line = "{\"create_transfers\":[{\"deb";
        assert_eq!(offered(line)[0], "debit_account_id");
        let line = "{\"create_transfers\":[{\"flags\":[\"void";
        assert_eq!(offered(line), ["void_pending_transfer"]);
        assert_eq!(offered("").len(), OPERATIONS.len());
    }
}
