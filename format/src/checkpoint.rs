//! To be laid out by its owner.
