//! Medians, and what is known of the machine.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::Outcome;

/// The middle of some measurements; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that a share `at` of the measurements does not exceed; 0 of none.
pub(crate) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    // Rounded within the bounds of the index.
    let index = (last as f64 * at).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// How much faster one contestant was than another: the median over the rounds, because what else
/// the machine does changes from round to round and hits neighbours alike.
pub(crate) fn ratio(one: &[f64], other: &[f64]) -> f64 {
    let ratios: Vec<f64> = one.iter().zip(other).map(|(a, b)| a / b).collect();
    median(&ratios)
}

pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Where a run took place: absolute figures mean nothing without it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// The median time that a write of 16 KiB takes to reach the disk.
    pub(crate) fsync_micros: f64,
    pub(crate) sqlite: String,
}

impl Machine {
    /// Looks at the machine, and at the disk that `dir` is on.
    pub(crate) fn here(dir: &Path) -> Outcome<Self> {
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            fsync_micros: fsync_micros(dir)?,
            sqlite: rusqlite::version().to_owned(),
        })
    }
}

/// The median of 200 small durable writes into a plain file, over and over the same place, as a
/// write-ahead log is written.
fn fsync_micros(dir: &Path) -> Outcome<f64> {
    let path = dir.join("fsync");
    let mut file = File::create(&path)?;
    let block = [7; 16 * 1024];
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(median(&times))
}

/// The most memory that this process has had, in MiB; 0 where the system does not tell.
pub(crate) fn peak_memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// The processor time that this process has used, in seconds; 0 where the system does not tell.
pub(crate) fn processor_seconds() -> f64 {
    // In ticks of a hundredth of a second (proc_pid_stat(5)); the name before them may have spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements_in_order() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(quantile(&values, 0.99), 5.0);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_ratio_compares_round_with_round() {
        assert_eq!(ratio(&[2.0, 20.0, 9.0], &[1.0, 10.0, 3.0]), 2.0);
    }
}
