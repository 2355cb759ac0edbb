//! The bank's binary; `bank --help` says what it can do.

use std::process::ExitCode;

use bank::commands::Cli;
use mimalloc::MiMalloc;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Events are read on one thread, folded on another and freed there, which the system's allocator
/// is slow at: see decision 013.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::from_command_line();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            error.exit_code()
        }
    }
}
