//! Progress on standard error: a bar on a terminal, a line a second otherwise.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    error::print_line,
    shown::{count, duration, per_second},
};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// How often the bar is drawn, at most.
const DRAWS_PER_SECOND: u8 = 10;

/// Shows how far a piece of work has come: percent, speed and time left.
#[derive(Debug)]
pub struct Meter {
    doing: String,
    things: &'static str,
    started: Instant,
    /// What was done before this run began, which says nothing about its speed.
    before: Option<u64>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Meter {
    /// A meter for something like `rebuilding user_balance`, counted in something like `events`.
    #[must_use]
    pub fn new(doing: impl Into<String>, things: &'static str) -> Self {
        let started = Instant::now();
        let shown = if std::io::stderr().is_terminal() {
            Shown::Bar(bar())
        } else {
            Shown::Lines { last: started }
        };
        Self {
            doing: doing.into(),
            things,
            started,
            before: None,
            shown,
        }
    }

    /// So many are done, of so many as far as is known now.
    pub fn at(&mut self, done: u64, total: u64) {
        let before = *self.before.get_or_insert(done);
        let speed = per_second(done.saturating_sub(before), self.started.elapsed());
        self.show(done, total.max(done), speed);
    }

    /// As [`at`](Self::at), where the speed is known from elsewhere.
    pub fn at_speed(&mut self, done: u64, total: u64, speed: u64) {
        self.show(done, total.max(done), speed);
    }

    /// Says what it waits for, with no progress to show.
    pub fn waiting(&mut self, what: &str) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_prefix(self.doing.clone());
                bar.set_message(what.to_owned());
            }
            Shown::Lines { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                print_line(&format!("{}: {what}", self.doing));
            }
            Shown::Lines { .. } => {}
        }
    }

    fn show(&mut self, done: u64, total: u64, speed: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_prefix(self.doing.clone());
                bar.set_message(pace(done, total, speed, self.things));
            }
            Shown::Lines { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let pace = pace(done, total, speed, self.things);
                print_line(&format!(
                    "{}: {} % ({} of {}), {pace}",
                    self.doing,
                    percent(done, total),
                    count(done),
                    count(total),
                ));
            }
            Shown::Lines { .. } => {}
        }
    }

    /// How long it has taken so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Meter {
    /// Takes the bar off the terminal: what remains is the summary that the command prints.
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(
        Some(0),
        ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
    );
    // The bar takes what the text leaves: a line that wraps can't be drawn in place.
    let template = "{prefix} [{wide_bar}] {percent:>3} %  {msg}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        // A template that indicatif does not take costs the looks only.
        Err(_) => bar,
    }
}

fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    u64::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(100)
}

fn pace(done: u64, total: u64, speed: u64, things: &str) -> String {
    let left = match total.saturating_sub(done).checked_div(speed) {
        Some(seconds @ 0..10) => format!("{seconds} s left"),
        Some(seconds) => format!("{} left", duration(Duration::from_secs(seconds))),
        None => "time left unknown".to_owned(),
    };
    format!("{} {things}/s, {left}", count(speed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_tells_speed_and_time_left() {
        assert_eq!(
            pace(100_000, 400_000, 25_000, "events"),
            "25,000 events/s, 12 s left"
        );
        assert_eq!(
            pace(0, 400_000, 0, "events"),
            "0 events/s, time left unknown"
        );
    }

    #[test]
    fn nothing_to_do_is_all_done() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
