//! docs/cli.md, generated from the commands themselves.

use super::Cli;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;

/// Every command with its arguments, their defaults and what they do, as Markdown.
pub fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from(
        "# Command reference\n\n\
         Generated from the commands; `duel COMMAND --help` says the same.\n\n\
         Exit codes: 0 done, 1 the data, the device or duel failed, 2 the command or recipe is wrong, 130 stopped by\n\
         ^C. What a program may want to read goes to stdout, everything else to stderr.\n\n\
         ## Every command takes\n",
    );
    let global: Vec<&Arg> = shown(&root).filter(|arg| arg.is_global_set()).collect();
    write_arguments(&mut text, &global);
    let inherited: Vec<&str> = global.iter().map(|arg| arg.get_id().as_str()).collect();
    for command in commands(&root) {
        write_command(&mut text, "duel", command, &inherited);
    }
    text
}

/// The subcommands, without clap's own `help`.
fn commands(command: &Command) -> impl Iterator<Item = &Command> {
    let own = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    command.get_subcommands().filter(own)
}

/// The arguments, without clap's own `--help` and `--version`.
fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    let own =
        |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    command.get_arguments().filter(own)
}

fn write_command(text: &mut String, parent: &str, command: &Command, inherited: &[&str]) {
    let path = format!("{parent} {}", command.get_name());
    let _ = write!(text, "\n## {path}\n");
    let about = command.get_long_about().or_else(|| command.get_about());
    for paragraph in plain(about).split("\n\n").filter(|p| !p.is_empty()) {
        let _ = match paragraph.strip_prefix("Example: ") {
            Some(example) => write!(text, "\n    {}\n", example.trim_end_matches('.')),
            None => write!(text, "\n{}.\n", paragraph.trim_end_matches('.')),
        };
    }
    let inner: Vec<&Command> = commands(command).collect();
    if inner.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim().trim_start_matches("Usage: ");
        let _ = write!(text, "\nUsage: `{usage}`\n");
    }
    let own: Vec<&Arg> = shown(command)
        .filter(|arg| !inherited.contains(&arg.get_id().as_str()))
        .collect();
    write_arguments(text, &own);
    let inherited: Vec<&str> = inherited
        .iter()
        .copied()
        .chain(
            own.iter()
                .filter(|arg| arg.is_global_set())
                .map(|arg| arg.get_id().as_str()),
        )
        .collect();
    for command in inner {
        write_command(text, &path, command, &inherited);
    }
}

fn write_arguments(text: &mut String, arguments: &[&Arg]) {
    if arguments.is_empty() {
        return;
    }
    text.push_str("\n| argument | default | what it does |\n|---|---|---|\n");
    for argument in arguments {
        let cells = [name(argument), default(argument), what(argument)];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// `-k`, `--out <DIR>`, `<FILE>...`
fn name(argument: &Arg) -> String {
    let takes_values = argument.get_action().takes_values();
    let values: Vec<String> = match argument.get_value_names() {
        Some(names) if takes_values => names.iter().map(|name| format!("<{name}>")).collect(),
        None if takes_values => vec![format!("<{}>", argument.get_id().as_str().to_uppercase())],
        _ => Vec::new(),
    };
    let mut flags = Vec::new();
    flags.extend(argument.get_short().map(|short| format!("-{short}")));
    flags.extend(argument.get_long().map(|long| format!("--{long}")));
    let more = match argument.get_num_args() {
        Some(count) if count.max_values() > 1 => "...",
        _ => "",
    };
    let mut last = flags
        .pop()
        .into_iter()
        .chain(values)
        .collect::<Vec<_>>()
        .join(" ");
    last.push_str(more);
    flags.push(last);
    let flags: Vec<String> = flags.iter().map(|flag| format!("`{flag}`")).collect();
    flags.join(", ")
}

fn default(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return String::new();
    }
    let values = argument.get_default_values().iter();
    let values: Vec<String> = values
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    match (values.is_empty(), argument.is_required_set()) {
        (true, true) => "required".to_owned(),
        _ => values.join(", "),
    }
}

fn what(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = plain(help).split_whitespace().collect::<Vec<_>>().join(" ");
    let choices = argument.get_possible_values();
    if argument.get_action().takes_values() && !choices.is_empty() {
        let names: Vec<String> = choices
            .iter()
            .map(|choice| format!("`{}`", choice.get_name()))
            .collect();
        let _ = write!(text, " ({})", names.join(", "));
    }
    text
}

fn plain(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
