//! How a command ends: exit codes that scripts can use, and one line on a failure.

use std::io;
use std::process::ExitCode;

use kanjo_client::ClientError;
use kanjo_group::GroupError;
use kanjo_index::RunError;
use kanjo_node::NodeError;
use kanjo_wal::{DirError, LogError};

/// Exit codes, the same for every command. Usage errors (2) are mostly clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed or refused.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The outcome is not known, or a condition did not hold in time.
    Unknown = 3,
    /// Nobody was reached, or nobody reached is the primary.
    Unreached = 4,
}

/// What every command's long help ends with.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed or refused; nothing, or no more than the message says, was changed
  2  wrong arguments
  3  outcome unknown, or timed out: ask again with the same ids
  4  not the primary, or not reachable: nothing was done";

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl ToString) -> Self {
        let message = message.to_string();
        Self { exit, message }
    }

    /// Failed or refused.
    pub(crate) fn failed(message: impl ToString) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The arguments cannot be meant so.
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same with more said behind.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(more);
        self
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, in one line.
    pub(crate) fn line(&self) -> String {
        one_line(&self.message)
    }
}

impl Exit {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Joins the lines of a message. Excerpts of files (`6 | key = …`), as parsers draw them, are
/// left out: what they show is named in the other lines.
fn one_line(message: &str) -> String {
    let mut joined = String::new();
    for line in message.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let behind_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
        if behind_number.trim_start().starts_with('|') {
            continue;
        }
        if !joined.is_empty() {
            joined.push_str(if joined.ends_with(':') { " " } else { ": " });
        }
        joined.push_str(line);
    }
    joined
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<DirError> for Failure {
    fn from(error: DirError) -> Self {
        Self::failed(error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::failed(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::failed(error)
    }
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        Self::failed(error)
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let exit = match &error {
            NodeError::Admin { what, .. } if what.starts_with("connect") => Exit::Unreached,
            // The command was sent, or may have been.
            NodeError::Admin { .. }
            | NodeError::AdminSilent { .. }
            | NodeError::AdminAnswer { .. } => Exit::Unknown,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            error if error.outcome_unknown() => Exit::Unknown,
            ClientError::Deadline { .. } => Exit::Unknown,
            ClientError::NotPrimary { .. } => Exit::Unreached,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

/// Standard output: whoever reads it may stop reading, which is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::failed(format!("cannot write to standard output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsers_drawing_becomes_one_line_that_still_names_the_key() {
        let text = "the configuration a.toml is wrong: TOML parse error at line 6, column 1\n  |\n\
                    6 | sync_mode = \"off\"\n  | ^^^^^^^^^\nunknown field `sync_mode`, expected one of `data_dir`\n";
        assert_eq!(
            one_line(text),
            "the configuration a.toml is wrong: TOML parse error at line 6, column 1: \
             unknown field `sync_mode`, expected one of `data_dir`"
        );
    }

    #[test]
    fn an_unknown_outcome_has_a_code_of_its_own() {
        let cause = "x".to_owned();
        let unknown = Failure::from(ClientError::Indeterminate { cause });
        assert_eq!(unknown.exit(), Exit::Unknown);
        let text = "x".to_owned();
        let nobody = Failure::from(ClientError::NotPrimary { hint: None, text });
        assert_eq!(nobody.exit(), Exit::Unreached);
    }
}
