//! The way to the Hugging Face hub, for data sets and for models.

use crate::error::{Error, Result};
use hf_hub::{HFClient, HFError};
use std::path::Path;

/// A client; what is `None` comes from the environment. `retries` are attempts after the first failure.
///
/// # Errors
/// An endpoint or a token that is none.
pub fn client(
    endpoint: Option<&str>,
    cache: Option<&Path>,
    retries: Option<usize>,
) -> Result<HFClient> {
    let mut builder = HFClient::builder();
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint(endpoint);
    }
    if let Some(cache) = cache {
        builder = builder.cache_dir(cache);
    }
    if let Some(retries) = retries {
        builder = builder.retry_max_attempts(retries);
    }
    builder.build().map_err(|error| {
        Error::user(format!("cannot set up the hub client: {error}"))
            .hint("check HF_ENDPOINT and HF_TOKEN")
    })
}

/// Whether `HF_HUB_OFFLINE` asks for the cache alone.
pub fn is_offline() -> bool {
    is_on(&std::env::var("HF_HUB_OFFLINE").unwrap_or_default())
}

/// Whether a switch in the environment is on, as huggingface_hub reads it.
pub fn is_on(flag: &str) -> bool {
    ["1", "on", "yes", "true"]
        .iter()
        .any(|word| flag.eq_ignore_ascii_case(word))
}

/// No answer at all, or none but the server's own trouble.
pub fn unreachable(error: &HFError) -> bool {
    match error {
        HFError::Request { .. } => true,
        HFError::Http { context } => context.status.is_server_error(),
        _ => false,
    }
}
