//! One file per command; the only place that prints.

mod generate;
mod output;
mod setup;

use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Teach a chat model from preferences on whatever GPU is in the machine.
#[derive(Debug, Parser)]
#[command(name = "duel", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where to compute: auto, cpu, vulkan, metal, webgpu, cuda, rocm
    #[arg(long, global = true, default_value = "auto", value_name = "NAME")]
    pub backend: String,
    /// Which device of that backend
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub device: usize,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress bars
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw responses from a model
    Generate(generate::Generate),
}

/// Parses the command line, runs the command, prints its error, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    setup::start(&cli.global);
    let outcome = match &cli.command {
        Command::Generate(command) => command.run(&cli.global),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
