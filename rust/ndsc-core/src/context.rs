//! What a long call needs from its caller: a way to report and to be stopped, and how much memory it may use.

use crate::error::{Error, Result};

/// Told how far a long call is. Called from the calling thread only, several times a second.
pub trait Monitor: Sync {
    /// `done` of `total` steps are done; [`Error::Interrupted`] stops the call.
    fn report(&self, done: u64, total: u64) -> Result<()>;
}

/// Says nothing and never stops.
pub struct Silent;

impl Monitor for Silent {
    fn report(&self, _done: u64, _total: u64) -> Result<()> {
        Ok(())
    }
}

/// The execution context of a call.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Receives reports of progress, and may stop the call.
    pub monitor: &'a dyn Monitor,
    /// Bytes that the call may hold at once.
    pub memory: u64,
}

impl Context<'static> {
    /// No reports, and 4 GB of memory.
    pub fn quiet() -> Self {
        Self {
            monitor: &Silent,
            memory: 4_000_000_000,
        }
    }
}

impl Context<'_> {
    /// Refuses what would not fit into memory.
    pub fn reserve(&self, bytes: u128, what: &str, advice: &str) -> Result<()> {
        if bytes <= u128::from(self.memory) {
            return Ok(());
        }
        Err(Error::TooLarge(format!(
            "{what} would take about {} of memory, and {} are available; {advice}",
            readable(bytes),
            readable(u128::from(self.memory))
        )))
    }

    /// See [`Monitor::report`].
    pub fn report(&self, done: u64, total: u64) -> Result<()> {
        self.monitor.report(done, total)
    }
}

/// Reports once in so many small steps.
pub struct Ticker {
    next: u64,
}

impl Ticker {
    const STEPS: u64 = 1 << 16;

    /// Starts at zero steps.
    pub fn new() -> Self {
        Self { next: Self::STEPS }
    }

    /// Reports if enough has been done since the last time.
    pub fn tick(&mut self, context: &Context, done: u64, total: u64) -> Result<()> {
        if done < self.next {
            return Ok(());
        }
        self.next = done + Self::STEPS;
        context.report(done, total)
    }
}

impl Default for Ticker {
    fn default() -> Self {
        Self::new()
    }
}

fn readable(bytes: u128) -> String {
    for (unit, name) in [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
    ] {
        if bytes >= unit {
            return format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit);
        }
    }
    format!("{bytes} bytes")
}
