//! A wiped directory is another voter.
