//! `kanjo completions`: scripts that complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  source <(kanjo completions bash)
  kanjo completions zsh > ~/.zfunc/_kanjo
  kanjo completions fish > ~/.config/fish/completions/kanjo.fish";

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = super::CommandLine::command();
    clap_complete::generate(args.shell, &mut command, "kanjo", &mut script);
    let mut output = Output::new();
    output.line(String::from_utf8_lossy(&script).trim_end())?;
    output.finish()?;
    Ok(Exit::Done)
}
