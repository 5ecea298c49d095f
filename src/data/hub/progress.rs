//! Bytes of a download that have arrived, summed over its files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;
use tracing_indicatif::style::ProgressStyle;

/// Told the bytes that have arrived and the bytes of the whole download; must return at once.
pub type Watch = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A bar of bytes, their rate and the time left, that appears with the first byte that has to come over the network.
pub fn bar(name: &str) -> Watch {
    let span = info_span!("download");
    span.pb_set_message(&format!("download {name}"));
    let style = "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        span.pb_set_style(&style);
    }
    let seen = Once::new();
    Arc::new(move |arrived, total| {
        if arrived >= total && !seen.is_completed() {
            return;
        }
        // It stays until the span is gone, with the download's last handle on this function.
        seen.call_once(|| span.in_scope(|| ()));
        span.pb_set_length(total);
        span.pb_set_position(arrived);
    })
}

/// Turns the client's events about single files and batches into one running sum.
pub struct Sum {
    watch: Watch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: u64,
    /// Files that arrive by themselves.
    files: HashMap<String, u64>,
    /// Files that arrive as one batch.
    batch: u64,
}

impl Sum {
    /// Tells `watch` the sum.
    pub fn new(watch: Watch) -> Self {
        Self {
            watch,
            state: Mutex::default(),
        }
    }
}

impl ProgressHandler for Sum {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else {
            return;
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // Each file of a snapshot announces itself too, with its own size only.
            DownloadEvent::Start { total_bytes, .. } => state.total = state.total.max(*total_bytes),
            DownloadEvent::Progress { files } => {
                for file in files {
                    state
                        .files
                        .insert(file.filename.clone(), file.bytes_completed);
                }
            }
            DownloadEvent::AggregateProgress {
                bytes_completed, ..
            } => state.batch = *bytes_completed,
            DownloadEvent::Complete => {}
        }
        let arrived = state.batch + state.files.values().sum::<u64>();
        let total = state.total;
        drop(state);
        (self.watch)(arrived.min(total), total);
    }
}
