//! One file per command; the only place that prints.

mod bench;
mod best_of;
mod chat;
mod claim;
mod crash;
mod data;
mod devices;
mod dry_run;
mod eval;
mod exam;
mod explain;
mod export;
mod faults;
mod generate;
mod judge;
mod kept;
mod loss;
mod numbers;
mod output;
mod pairs;
pub mod plan;
mod quickstart;
mod reading;
mod recipe;
pub mod reference;
mod run;
mod runs;
mod score;
mod setup;
mod steps;
mod stop;
mod summary;

use crate::error::{Error, Kind, Result};
use crate::pipeline::Until;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
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
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where to compute: auto, cpu, vulkan, metal, dx12, webgpu, cuda, rocm
    #[arg(long, global = true, default_value = "auto", value_name = "NAME")]
    pub backend: String,
    /// Which device of that backend; left out, the first
    #[arg(long, global = true, value_name = "N")]
    pub device: Option<usize>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress bars and no line a step
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

// A doc comment on a variant takes the place of its struct's, the example included.
#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::Quickstart),
    Run(run::Run),
    /// Fine-tune on conversations: the recipe's [sft]
    ///
    /// Example: duel sft --model HuggingFaceTB/SmolLM2-135M --data chats.jsonl --name my-sft
    Sft(run::Run),
    /// Train a reward model: the recipe's [reward], after its [sft]
    ///
    /// Example: duel reward --model runs/my-sft/sft/checkpoint --data pairs.jsonl --name my-reward
    Reward(run::Run),
    /// Fit a multi-objective reward model: the recipe's [multi_objective], after its [sft] and [reward]
    ///
    /// Example: duel multi-objective --model runs/my-reward/reward/checkpoint --data pairs.jsonl --set
    /// multi_objective.ratings.files=ratings.jsonl --name my-objectives
    MultiObjective(run::Run),
    /// Train a pairwise preference model: the recipe's [pairwise], after its [sft]
    ///
    /// Example: duel pairwise --model runs/my-sft/sft/checkpoint --data pairs.jsonl --name my-judge
    Pairwise(run::Run),
    /// Train a process or an outcome reward model: the recipe's [verifier], after its [sft]
    ///
    /// Example: duel verifier --model runs/my-sft/sft/checkpoint --data steps.jsonl --name my-verifier
    Verifier(run::Run),
    /// Train on a fixed file of pairs: the recipe's [dpo], after its [sft]
    ///
    /// Example: duel dpo --model runs/my-sft/sft/checkpoint --data pairs.jsonl --name my-dpo
    Dpo(run::Run),
    /// Online iterative DPO: the recipe's [online], after its [sft], [reward] and [pairwise]
    ///
    /// Example: duel online smollm2-hh/online --set online.rounds=1
    Online(run::Run),
    Generate(generate::Generate),
    Judge(judge::Judge),
    Pairs(pairs::Pairs),
    Score(score::Score),
    Eval(eval::Eval),
    Exam(exam::Exam),
    Steps(steps::Steps),
    BestOf(best_of::BestOfN),
    Chat(chat::Chat),
    Bench(bench::Bench),
    Data(data::Data),
    Plan(plan::Plan),
    Runs(runs::Runs),
    Recipe(recipe::Recipe),
    Export(export::Export),
    Devices(devices::Devices),
}

impl Command {
    /// Runs the command.
    fn run(&self, global: &Global) -> Result<()> {
        match self {
            Self::Quickstart(command) => command.run(global),
            Self::Run(command) => command.run(global, Until::End),
            Self::Sft(command) => command.run(global, Until::Sft),
            Self::Reward(command) => command.run(global, Until::Reward),
            Self::MultiObjective(command) => command.run(global, Until::MultiObjective),
            Self::Pairwise(command) => command.run(global, Until::Pairwise),
            Self::Verifier(command) => command.run(global, Until::Verifier),
            Self::Dpo(command) => command.run(global, Until::Dpo),
            Self::Online(command) => command.run(global, Until::Online),
            Self::Judge(command) => command.run(global),
            Self::Pairs(command) => command.run(global),
            Self::Score(command) => command.run(global),
            Self::Eval(command) => command.run(global),
            Self::Exam(command) => command.run(global),
            Self::Steps(command) => command.run(global),
            Self::BestOf(command) => command.run(global),
            Self::Chat(command) => command.run(global),
            Self::Bench(command) => command.run(global),
            Self::Generate(command) => command.run(global),
            Self::Data(command) => command.run(global),
            Self::Plan(command) => command.run(global),
            Self::Runs(command) => command.run(global),
            Self::Recipe(command) => command.run(global),
            Self::Export(command) => command.run(global),
            Self::Devices(command) => command.run(global),
        }
    }

    /// Whether the same command goes on where it was stopped. The others keep nothing of what they computed.
    fn continues(&self) -> bool {
        use Command::{
            Dpo, Generate, MultiObjective, Online, Pairwise, Quickstart, Reward, Run, Sft, Steps,
            Verifier,
        };
        matches!(
            self,
            Quickstart(_)
                | Run(_)
                | Sft(_)
                | Reward(_)
                | MultiObjective(_)
                | Pairwise(_)
                | Verifier(_)
                | Dpo(_)
                | Online(_)
                | Generate(_)
                | Steps(_)
        ) || matches!(self, Self::Judge(judge) if judge.asks_an_endpoint())
            || matches!(self, Self::Exam(exam) if exam.continues())
    }

    /// What ^C stops.
    fn work(&self) -> stop::Work {
        match self {
            Self::Quickstart(_)
            | Self::Run(_)
            | Self::Sft(_)
            | Self::Reward(_)
            | Self::MultiObjective(_)
            | Self::Pairwise(_)
            | Self::Verifier(_)
            | Self::Dpo(_)
            | Self::Online(_) => stop::Work::Run,
            Self::Chat(_) => stop::Work::Talk,
            Self::Exam(exam) if exam.continues() => stop::Work::Rows,
            Self::Exam(_) | Self::Eval(_) | Self::BestOf(_) => stop::Work::Whole,
            _ => stop::Work::Rows,
        }
    }
}

/// What the library says of ^C is said for runs: that everything is saved.
fn nothing_kept(error: Error) -> Error {
    match error.kind {
        Kind::Interrupted => stop::nothing_kept(),
        _ => error,
    }
}

/// `--beta -1` shall reach the one who says what is wrong with -1, not be taken for a flag.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action().takes_values() {
            true => argument.allow_negative_numbers(true),
            false => argument,
        })
        .mut_subcommands(with_negative_numbers)
}

/// Parses the command line, runs the command, prints its error, and returns the exit code.
pub fn main() -> ExitCode {
    let matches = with_negative_numbers(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let continues = cli.command.continues();
    setup::start(&cli.global, cli.command.work());
    let outcome = crash::guard(|| setup::on_a_worker(|| cli.command.run(&cli.global)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = if continues {
                error
            } else {
                nothing_kept(error)
            };
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exam_that_keeps_something_is_not_thrown_away_by_the_first_interrupt() {
        let work = |more: &[&str]| {
            let words = ["duel", "exam", "mt_bench", "--data", "q.jsonl"];
            let words = words.iter().chain(more);
            Cli::try_parse_from(words)
                .expect("a command")
                .command
                .work()
        };
        let elsewhere = ["--remote", "http://127.0.0.1", "--remote-model", "m"];
        let given = [&["--responses", "r.jsonl"][..], &elsewhere].concat();
        assert_eq!(work(&given), stop::Work::Rows);
        let kept = ["--model", "m", "--answers", "a.jsonl", "--rule", "length:3"];
        assert_eq!(work(&kept), stop::Work::Rows);
        let drawn = [&["--model", "m"][..], &elsewhere].concat();
        assert_eq!(work(&drawn), stop::Work::Whole);
    }
}
