//! The living server is nominated, soon, and stays.
