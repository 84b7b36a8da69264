//! On a terminal: history, completion, help, and errors in red.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::bank::{Bank, Unanswered};
use super::completion::Completion;
use super::json::Misread;
use super::operations::{OPERATIONS, help};
use super::reply::Reply;
use crate::exit::{Exit, Failure};

const HISTORY_LINES_MAX: usize = 1_000;
const PROMPT: &str = "kanjo> ";
const WELCOME: &str = "\
Requests are JSON, one a line. Tab completes and offers examples; `help` lists the requests,
`help create_transfers` shows one; Ctrl-D or `quit` ends.";

type Lines = Editor<Completion, FileHistory>;

/// Answers lines until the person has enough.
pub(crate) fn run(bank: &mut Bank) -> Result<Exit, Failure> {
    let broken = |error: ReadlineError| Failure::failed(format!("the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .map_err(broken)?
        .auto_add_history(true)
        .build();
    let mut lines = Lines::with_config(config).map_err(broken)?;
    lines.set_helper(Some(Completion));
    let history = history_file();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = lines.load_history(file);
    }
    say(WELCOME)?;
    loop {
        match lines.readline(PROMPT) {
            Ok(line) if matches!(line.trim(), "quit" | "exit") => break,
            Ok(line) => answer(bank, line.trim())?,
            // The line is given up, not the session.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(broken(error)),
        }
    }
    if let Some(file) = &history {
        // Without a home to write to there is no history next time.
        let _ = file.parent().map(std::fs::create_dir_all);
        let _ = lines.save_history(file);
    }
    Ok(Exit::Done)
}

fn answer(bank: &mut Bank, line: &str) -> Result<(), Failure> {
    if line.is_empty() {
        return Ok(());
    }
    if let Some(about) = line.strip_prefix("help") {
        let name = about.trim();
        let found = OPERATIONS.iter().find(|operation| operation.name == name);
        return say(help(found));
    }
    match bank.answer(line) {
        Ok((_, Reply::Help(text))) => say(text),
        Ok((_, reply)) => say(reply.in_lines()),
        Err(Unanswered::Misread(misread)) => complain(&misread),
        Err(Unanswered::Failed(failure)) => complain(&Misread::new("", failure.line())),
    }
}

fn say(text: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn complain(wrong: &Misread) -> Result<(), Failure> {
    let text = match wrong.field.as_str() {
        "" => wrong.message.clone(),
        field => format!("{field}: {}", wrong.message),
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    if std::io::stdout().is_terminal() && !plain {
        say(format_args!("\x1b[31m{text}\x1b[0m"))
    } else {
        say(text)
    }
}

/// Where lines are kept for the next session, as the XDG base directories say.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty());
    let state = state.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|dir| !dir.is_empty())?;
        Some(PathBuf::from(home).join(".local/state"))
    })?;
    Some(state.join("kanjo").join("repl-history"))
}
