//! stub
mod events;
pub use events::{Action, Event, ReceiverStart, SessionId};
/// stub
pub struct Receiver;
#[cfg(test)]
mod tests;
