//! The one error type of the core. Every variant carries the values that explain it.

use thiserror::Error;

/// Everything that can go wrong in the core.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// An exact integer result does not fit into 64 bits.
    #[error("integer overflow in {0}: the exact result does not fit into 64 bits; use smaller numbers")]
    Overflow(&'static str),
    /// The request makes no sense; the text says what, why and what to do.
    #[error("{0}")]
    Input(String),
    /// The request makes sense but would take too much memory or time; the text has the estimate.
    #[error("{0}")]
    TooLarge(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A state that the mathematics excludes: a bug of this crate.
    #[error("internal error in {0}")]
    Internal(&'static str),
}

/// Result of the core.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A bad request, explained.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }
}
