//! The answers that clients got, in a file of their own: an answer is written before it counts.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::posting::Posting;

/// One answered transfer as the file tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) posting: Posting,
    /// Number of the result.
    pub(crate) result: u32,
    /// Nanoseconds, as answered.
    pub(crate) timestamp: u64,
    /// An attempt before this answer had an unknown outcome.
    pub(crate) repeated: bool,
}

/// The file; one line an answer.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    pub(crate) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        let file = Mutex::new(file.expect("the journal can be created"));
        Self {
            path: path.to_owned(),
            file,
        }
    }

    /// Writes answers; they may be counted once this returns.
    pub(crate) fn write(&self, answers: &[Answered]) {
        let text: String = answers.iter().map(line_of).collect();
        let mut file = self.file.lock().expect("no writer panicked");
        file.write_all(text.as_bytes())
            .expect("the journal can be written");
    }

    /// The answers from `offset` on, and where they end. Reads the file, not memory.
    pub(crate) fn read_from(&self, offset: u64) -> (Vec<Answered>, u64) {
        let mut file = File::open(&self.path).expect("the journal can be read");
        file.seek(SeekFrom::Start(offset))
            .expect("the journal can be read");
        let mut answers = Vec::new();
        let mut end = offset;
        let mut lines = BufReader::new(file);
        let mut text = String::new();
        while lines.read_line(&mut text).expect("the journal can be read") > 0 {
            end += text.len() as u64;
            answers.push(parse(&text));
            text.clear();
        }
        (answers, end)
    }
}

fn line_of(answer: &Answered) -> String {
    let Posting {
        id,
        debit,
        credit,
        amount,
        ledger,
        tag,
    } = answer.posting;
    let Answered {
        result,
        timestamp,
        repeated,
        ..
    } = answer;
    let repeated = u8::from(*repeated);
    format!("{id} {debit} {credit} {amount} {ledger} {tag} {result} {timestamp} {repeated}\n")
}

fn parse(line: &str) -> Answered {
    let fields: Vec<u128> = line
        .split_ascii_whitespace()
        .map(|field| field.parse().expect("the journal holds integers"))
        .collect();
    let [
        id,
        debit,
        credit,
        amount,
        ledger,
        tag,
        result,
        timestamp,
        repeated,
    ] = fields[..]
    else {
        panic!("the journal holds {line:?}");
    };
    Answered {
        posting: Posting {
            id,
            debit,
            credit,
            amount: amount as u64,
            ledger: ledger as u32,
            tag: tag as u64,
        },
        result: result as u32,
        timestamp: timestamp as u64,
        repeated: repeated == 1,
    }
}
