//! What a command needs before its work: a log with progress bars, ^C, a device, a model.

use super::kept::{self, Keeping, Serving};
use super::{Global, stop};
use crate::error::{Error, Result};
use crate::model::{Model, files::hub};
use crate::pipeline::embedded;
use crate::run::user_cache;
use crate::text::{Chat, Prompt, lacks_template};
use burn::tensor::Device;
use indicatif::ProgressStyle;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_indicatif::IndicatifLayer;
use tracing_indicatif::filter::hide_indicatif_span_fields;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts the log and listens to ^C. Bars appear only on a terminal; a log that is not one gets plain lines.
pub fn start(global: &Global, work: stop::Work) {
    let filter = EnvFilter::try_from_env("DUEL_LOG").unwrap_or_else(|_| {
        // A hub that cannot be reached is an error of duel's own: its client need not say it before.
        EnvFilter::new(if global.quiet {
            "warn,hf_hub::retry=off"
        } else {
            "warn,hf_hub::retry=off,duel=info"
        })
    });
    let style = "{spinner} {span_child_prefix}{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left";
    let bars = !global.quiet && std::io::stderr().is_terminal();
    let layer = IndicatifLayer::new()
        .with_progress_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
        .with_span_field_formatter(hide_indicatif_span_fields(DefaultFields::new()));
    let writer = layer.get_stderr_writer();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line)
        .with_writer(writer)
        // A stderr that nobody reads is told to stderr, which panics.
        .log_internal_errors(false)
        // The messages of some libraries carry fields, which the formatter would colour even in a file.
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_filter(filter);
    // Bars are duel's own spans: those of its libraries say nothing to a person.
    let own = |facts: &Metadata<'_>| facts.is_span() && facts.target().starts_with("duel");
    let bars = bars.then(|| layer.with_filter(filter_fn(own)));
    // A second start (in tests) finds a subscriber already there, which is as good.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(bars)
        .try_init();
    duel_backends::device::keep_kernels_in(&user_cache().join("duel").join("kernels"));
    stop::listen(work);
}

/// Runs `f` on one of the threads that share the numeric work. From any other thread every parallel loop, of which a
/// step has some hundreds, would begin and end with a handover between threads. No other thread may wait for the pool
/// while the command waits for it: with one worker, that is the command's own.
pub fn on_a_worker<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    // As much as a main thread has on most systems: the default of a worker is a quarter of that. A pool that is
    // already there serves as well.
    let _ = rayon::ThreadPoolBuilder::new()
        .stack_size(8 << 20)
        .build_global();
    rayon::scope(|_| f())
}

/// A log line: the message, behind its level only where that matters.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => write!(writer, "error: ")?,
            Level::WARN => write!(writer, "warning: ")?,
            _ => {}
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The device that `--backend` and `--device` name.
pub fn device(global: &Global) -> Result<Device> {
    open_device(&global.backend, global.device.unwrap_or(0))
}

/// What `auto` comes to on this machine; every other name is itself.
pub fn opened(backend: &str) -> String {
    match backend {
        "auto" => {
            let chosen = &duel_backends::device::choose().device;
            format!("{} ({})", chosen.backend, chosen.name)
        }
        name => name.to_owned(),
    }
}

/// A device by name and number.
pub fn open_device(backend: &str, index: usize) -> Result<Device> {
    let known = duel_backends::device::BACKENDS.contains(&backend);
    duel_backends::device::open(backend, index).map_err(|error| match known {
        true => Error::device(error.message).hint(error.hint),
        false => Error::user(error.message).hint(error.hint),
    })
}

/// The path of a model that is named on the command line: a directory, a GGUF, a hub id, or `quickstart`.
pub fn model_path(name: &str) -> Result<PathBuf> {
    if name == crate::recipe::Model::QUICKSTART {
        return embedded::model();
    }
    refuse_run(Path::new(name))?;
    hub::resolve(name, None, false)
}

/// A run's folder holds models, but is none.
fn refuse_run(folder: &Path) -> Result<()> {
    let layout = crate::run::Layout::new(folder);
    if !layout.recipe().exists() || folder.join("config.json").exists() {
        return Ok(());
    }
    let rounds = layout
        .rounds()?
        .into_iter()
        .rev()
        .map(|round| round.checkpoint());
    let stages = [
        "dpo",
        "sft",
        "multi-objective",
        "reward",
        "pairwise",
        "verifier",
    ]
    .map(|stage| folder.join(stage).join("checkpoint"));
    let model = rounds
        .chain(stages)
        .find(|model| model.join("config.json").exists());
    let error = Error::user(format!("{} is a run, not a model", folder.display()));
    Err(match model {
        Some(model) => error.hint(format!("its newest model is {}", model.display())),
        None => error.hint("it has no finished model yet: run the same command again"),
    })
}

/// Says once that no chat template is put around plain prompts, where the model has one.
///
/// # Errors
/// Text that the tokenizer refuses.
pub fn warn_of_plain_text<'a>(
    chat: &Chat,
    prompts: impl Iterator<Item = &'a Prompt>,
) -> Result<()> {
    warn_of_plain(chat, prompts.map(Prompt::plain))
}

/// The same of rows that are no prompts alone.
///
/// # Errors
/// Text that the tokenizer refuses.
pub fn warn_of_plain<'a>(
    chat: &Chat,
    prompts: impl Iterator<Item = Option<&'a str>>,
) -> Result<()> {
    if lacks_template(chat, prompts)? {
        tracing::warn!(
            "the prompts are plain text and are taken as they stand, although the model has a chat template; \
             `--text-as-chat` makes each a user's turn"
        );
    }
    Ok(())
}

/// Loads such a model that can write, to read with it.
///
/// # Errors
/// A reward model, and whatever is wrong with the files.
pub fn writer(name: &str, global: &Global, keeping: Keeping) -> Result<Model> {
    let model = model(name, global, keeping)?;
    model.must_write(name)?;
    Ok(model)
}

/// Loads such a model to write with.
///
/// # Errors
/// The same, and a model that leaves no room for what it writes with.
pub fn drawer(name: &str, global: &Global, keeping: Keeping, serving: Serving) -> Result<Model> {
    let path = model_path(name)?;
    let (device, kept) = kept::write_on(&path, global, keeping, serving)?;
    let model = Model::load_kept(&path, &device, kept)?;
    model.must_write(name)?;
    Ok(model)
}

/// Loads such a model.
///
/// # Errors
/// A model that does not fit the device, and whatever is wrong with the files.
pub fn model(name: &str, global: &Global, keeping: Keeping) -> Result<Model> {
    let path = model_path(name)?;
    let (device, kept) = kept::read_on(&path, global, keeping)?;
    Model::load_kept(&path, &device, kept)
}

/// Warns where a chat model that is asked for verdicts was made by another stage of a run than `stage`: what a model was trained to
/// answer is in none of its files.
pub fn warn_of_other_stage(name: &str, stage: &str) {
    if let Some(other) = made_by(Path::new(name)).filter(|other| !other.starts_with(stage)) {
        tracing::warn!(
            "{name} is what the stage `{other}` of a run made: unless that trained it to answer as `duel {stage}` does, its \
             verdicts mean nothing"
        );
    }
}

/// The stage of a run that made the checkpoint in a folder.
fn made_by(checkpoint: &Path) -> Option<String> {
    let stage = checkpoint.parent()?;
    let run = crate::run::Layout::new(stage.parent()?);
    let name = stage.file_name()?.to_str()?.to_owned();
    run.recipe().exists().then_some(name)
}
