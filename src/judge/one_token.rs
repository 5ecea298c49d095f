//! Judges that answer with one of two tokens: how likely the first of them is.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::trie::{Sequence, Trie};

/// The probability of `yes` against `no` wherever the sequences score a token: `[targets]`. `what` and `who` name the token and the
/// model in an error.
///
/// # Errors
/// A logit that is not finite.
pub(super) fn probabilities(
    model: &Model,
    [yes, no]: [u32; 2],
    sequences: &[Sequence],
    [what, who]: [&str; 2],
) -> Result<Vec<f64>> {
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let logits = model.decoder.verdicts(&Trie::new(sequences), [yes, no]);
    let logits = logits.into_data().try_into_vec::<f32>();
    let logits = logits.map_err(|e| Error::internal(format!("{e:?}")))?;
    if logits.iter().any(|logit| !logit.is_finite()) {
        return Err(Error::data(format!("{what}'s logit is not finite"))
            .hint(format!("look at the {who}: its training may have diverged")));
    }
    let sigmoid = |logit: &f32| 1.0 / (1.0 + (-f64::from(*logit)).exp());
    Ok(logits.iter().map(sigmoid).collect())
}
