//! From a pipe: one result line a request line, each flushed before the next is read.

use std::io::{self, BufRead, Read, Write};

use super::bank::{Bank, Unanswered};
use super::json::Misread;
use super::reply::error_line;
use crate::exit::{Exit, Failure};

/// Longest line that is read: a request of the most rows, with room for long names and numbers.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// Answers every line of standard input.
pub(crate) fn run(bank: &mut Bank) -> Result<Exit, Failure> {
    run_on(bank, &mut io::stdin().lock(), &mut io::stdout().lock())
}

fn run_on(
    bank: &mut Bank,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<Exit, Failure> {
    let mut ended = Exit::Done;
    while let Some(line) = next_line(input)? {
        let answered = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => bank.answer(line.trim()),
            Err(misread) => Err(misread.into()),
        };
        let shown = match answered {
            Ok((name, reply)) => reply.line(name),
            Err(Unanswered::Misread(misread)) => {
                ended = Exit::Usage;
                error_line(&misread)
            }
            Err(Unanswered::Failed(failure)) => {
                if ended == Exit::Done {
                    ended = failure.exit();
                }
                error_line(&Misread::new("", failure.line()))
            }
        };
        writeln!(output, "{shown}")?;
        output.flush()?;
    }
    Ok(ended)
}

/// The next line; `None` at the end. A line that is no text or too long is passed over.
fn next_line(input: &mut impl BufRead) -> Result<Option<Result<String, Misread>>, Failure> {
    let unreadable = |error: io::Error| Failure::failed(format!("cannot read: {error}"));
    let mut line = Vec::new();
    let read = input
        .by_ref()
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(unreadable)?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n').map_err(unreadable)?;
        let why = format!("the line is longer than {LINE_BYTES_MAX} bytes");
        return Ok(Some(Err(Misread::new("", why))));
    }
    let text = String::from_utf8(line).map_err(|_| Misread::new("", "the line is not UTF-8"));
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piped(input: &[u8]) -> (Exit, Vec<String>) {
        let mut output = Vec::new();
        let mut input = input;
        let exit = run_on(&mut Bank::embedded(), &mut input, &mut output).expect("it runs");
        let output = String::from_utf8(output).expect("UTF-8");
        (exit, output.lines().map(str::to_owned).collect())
    }

    #[test]
    fn every_line_gets_one_line_and_a_bad_one_the_exit_code() {
        let input = b"{\"lookup_accounts\":[1]}\n\n{\"no\":1}\n\xff\n{\"lookup_accounts\":[]}";
        let (exit, lines) = piped(input);
        assert_eq!(exit, Exit::Usage);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], r#"{"lookup_accounts":[]}"#);
        assert!(lines[1].contains(r#""field":"no""#), "{}", lines[1]);
        assert_eq!(lines[3], r#"{"lookup_accounts":[]}"#);
        assert_eq!(piped(b"{\"trial_balance\":{}}\n").0, Exit::Done);
    }
}
