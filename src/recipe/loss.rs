//! The words for losses over preference pairs, spelt as TRL spells them. The maths is in `objective/`.

use super::complaint::closest;
use super::one_or_many::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

use crate::{Error, Result};

/// A loss over the log-probs of a chosen and a rejected response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// DPO: -log sigmoid(beta * margin), with label smoothing as cDPO.
    Sigmoid,
    /// DPO on log-probs divided by the response lengths.
    SigmoidNorm,
    /// The unbiased estimate under label noise (Robust DPO).
    Robust,
    /// EXO for pairs.
    ExoPair,
    /// SLiC's hinge.
    Hinge,
    /// Squared distance of the length-averaged margin from 1 / (2 beta).
    Ipo,
    /// BCO: a classifier of each response, around a running mean if `bco_running_mean`.
    BcoPair,
    /// SPPO with hard labels.
    SppoHard,
    /// NCA for pairs.
    NcaPair,
    /// Distributional alignment: sorted margins of policy against those of the reference. Sorts the pairs of a
    /// micro-batch, so that `max_tokens_per_batch` matters.
    Aot,
    /// Distributional alignment on sorted rewards of chosen and of rejected (`aot_pair` in old TRL), of a micro-batch, too.
    #[serde(alias = "aot_pair")]
    AotUnpaired,
    /// APO: chosen up, rejected down.
    ApoZero,
    /// APO: both down, rejected more.
    ApoDown,
    /// DiscoPOP, the log-ratio modulated loss.
    Discopop,
    /// Negative log-likelihood of the chosen response.
    Sft,
    /// SimPO: no reference, length-normalised, with a target margin.
    Simpo,
    /// ORPO: NLL of the chosen response plus the odds ratio.
    Orpo,
    /// KTO on pairs; its KL is that of a micro-batch.
    KtoPair,
}

impl LossType {
    /// The name in a recipe, as TRL spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::SigmoidNorm => "sigmoid_norm",
            Self::Robust => "robust",
            Self::ExoPair => "exo_pair",
            Self::Hinge => "hinge",
            Self::Ipo => "ipo",
            Self::BcoPair => "bco_pair",
            Self::SppoHard => "sppo_hard",
            Self::NcaPair => "nca_pair",
            Self::Aot => "aot",
            Self::AotUnpaired => "aot_unpaired",
            Self::ApoZero => "apo_zero",
            Self::ApoDown => "apo_down",
            Self::Discopop => "discopop",
            Self::Sft => "sft",
            Self::Simpo => "simpo",
            Self::Orpo => "orpo",
            Self::KtoPair => "kto_pair",
        }
    }

    /// Every loss.
    pub const ALL: [Self; 18] = [
        Self::Sigmoid,
        Self::SigmoidNorm,
        Self::Robust,
        Self::ExoPair,
        Self::Hinge,
        Self::Ipo,
        Self::BcoPair,
        Self::SppoHard,
        Self::NcaPair,
        Self::Aot,
        Self::AotUnpaired,
        Self::ApoZero,
        Self::ApoDown,
        Self::Discopop,
        Self::Sft,
        Self::Simpo,
        Self::Orpo,
        Self::KtoPair,
    ];

    /// Whether the loss reads the log-probs of a reference model.
    pub fn needs_reference(self) -> bool {
        !matches!(self, Self::Sft | Self::Simpo | Self::Orpo)
    }

    /// Whether `label_smoothing` changes the loss.
    pub fn takes_label_smoothing(self) -> bool {
        matches!(
            self,
            Self::Sigmoid
                | Self::SigmoidNorm
                | Self::Robust
                | Self::ExoPair
                | Self::Aot
                | Self::AotUnpaired
                | Self::Simpo
        )
    }

    /// Whether the loss of a pair depends on the pairs beside it in a micro-batch.
    pub fn couples_pairs(self) -> bool {
        matches!(self, Self::Aot | Self::AotUnpaired | Self::KtoPair)
    }

    /// Whether another f-divergence than reverse KL is sound: its normaliser beta log Z(x) cancels
    /// only in the difference of two responses, so losses that look at one response alone lose it.
    pub fn takes_f_divergence(self) -> bool {
        matches!(
            self,
            Self::Sigmoid
                | Self::SigmoidNorm
                | Self::Hinge
                | Self::Ipo
                | Self::ExoPair
                | Self::Robust
                | Self::Discopop
                | Self::Sft
        )
    }
}

impl FromStr for LossType {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        named(word).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let error = Error::user(format!("no loss is called `{word}`"));
            match closest(word, names) {
                Some(likely) => error.hint(format!("did you mean `{likely}`?")),
                None => error.hint(format!("one of {}", names.join(", "))),
            }
        })
    }
}

impl FromStr for FDivergence {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        named(word).ok_or_else(|| {
            Error::user(format!("no divergence is called `{word}`"))
                .hint("one of reverse_kl, forward_kl, js_divergence, alpha_divergence")
        })
    }
}

/// The choice of that name, as recipes spell it.
fn named<T: DeserializeOwned>(word: &str) -> Option<T> {
    let word: StrDeserializer<ValueError> = word.into_deserializer();
    T::deserialize(word).ok()
}

/// How far from the reference: the f of the f-divergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FDivergence {
    /// The usual DPO.
    #[default]
    ReverseKl,
    /// KL of the reference from the policy.
    ForwardKl,
    /// Jensen-Shannon.
    JsDivergence,
    /// Alpha divergence with `f_alpha_divergence_coef`.
    AlphaDivergence,
}

/// Everything that shapes a preference loss; keys and defaults as in TRL's `DPOConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairLoss {
    /// One loss, or several that are added with `loss_weights`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<LossType>")]
    pub loss_type: Vec<LossType>,
    /// Weight of each loss; empty: 1 each.
    pub loss_weights: Vec<f64>,
    /// Strength of the pull to the reference.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub beta: f64,
    /// Share of pairs believed to be labelled wrongly.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub label_smoothing: f64,
    /// The divergence from the reference.
    pub f_divergence_type: FDivergence,
    /// The alpha of `alpha_divergence`.
    pub f_alpha_divergence_coef: f64,
    /// Weight of the NLL of the chosen response, added to the loss (RPO); none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rpo_alpha: Option<f64>,
    /// Take the reference as uniform: its log-probs count as 0.
    pub reference_free: bool,
    /// Temperature of DiscoPOP's modulation.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub discopop_tau: f64,
    /// SimPO's target margin of the rewards: the loss is -log sigmoid(beta * margin - simpo_gamma).
    pub simpo_gamma: f64,
    /// Shift BCO's rewards by their running mean, as the paper and TRL before 1.0 do.
    /// Off by default: TRL 1.16 classifies the bare rewards.
    pub bco_running_mean: bool,
}

impl Default for PairLoss {
    fn default() -> Self {
        Self {
            loss_type: vec![LossType::Sigmoid],
            loss_weights: Vec::new(),
            beta: 0.1,
            label_smoothing: 0.0,
            f_divergence_type: FDivergence::ReverseKl,
            f_alpha_divergence_coef: 0.5,
            rpo_alpha: None,
            reference_free: false,
            discopop_tau: 0.05,
            simpo_gamma: 0.5,
            bco_running_mean: false,
        }
    }
}

impl PairLoss {
    /// The losses with their weights, 1 where none is given.
    pub fn weighted(&self) -> impl Iterator<Item = (LossType, f64)> + '_ {
        let weights = self.loss_weights.iter().copied();
        let weights = weights.chain(std::iter::repeat(1.0));
        self.loss_type.iter().copied().zip(weights)
    }

    /// Whether the log-probs of a reference model are read at all. Without it the reference pass is
    /// left out and zeros stand for its log-probs.
    pub fn needs_reference(&self) -> bool {
        !self.reference_free && self.loss_type.iter().any(|loss| loss.needs_reference())
    }

    /// Combinations of values that no loss can work with, or that would silently do nothing: what the
    /// schema's ranges of single values cannot say.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = self.faults_of_losses();
        faults.extend(self.faults_of_options());
        faults
    }

    /// Refuses what [`faults`](Self::faults) finds and values out of their range. For a loss that does not
    /// come from a recipe, whose values the schema has checked.
    ///
    /// # Errors
    /// A user's error that names the key of the first fault.
    pub fn check(&self) -> Result<()> {
        let mut faults = self.faults_of_numbers().into_iter().chain(self.faults());
        match faults.next() {
            Some(fault) => Err(Error::user(fault.fact).at(fault.key).hint(fault.hint)),
            None => Ok(()),
        }
    }

    fn faults_of_losses(&self) -> Vec<Fault> {
        let (losses, weights) = (self.loss_type.len(), self.loss_weights.len());
        let mut faults = Vec::new();
        if losses == 0 {
            faults.push(Fault::new(
                "loss_type",
                "the list of losses is empty",
                "`sigmoid` is DPO",
            ));
        }
        if weights != 0 && weights != losses {
            faults.push(Fault::new(
                "loss_weights",
                format!("`loss_weights` has {weights} entries and `loss_type` has {losses}"),
                "give each loss of `loss_type` one weight, or none of them",
            ));
        }
        faults
    }

    fn faults_of_numbers(&self) -> Vec<Fault> {
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        let weights = self.loss_weights.iter().all(|weight| weight.is_finite());
        let rpo = self.rpo_alpha.is_none_or(above_0);
        let checks = [
            (
                "beta",
                above_0(self.beta),
                "above 0 (at 0 the loss would stay at ln 2)",
            ),
            ("discopop_tau", above_0(self.discopop_tau), "above 0"),
            (
                "label_smoothing",
                (0.0..=0.5).contains(&self.label_smoothing),
                "at least 0 and at most 0.5",
            ),
            ("rpo_alpha", rpo, "above 0"),
            ("loss_weights", weights, "finite"),
            ("simpo_gamma", self.simpo_gamma.is_finite(), "finite"),
            (
                "f_alpha_divergence_coef",
                self.f_alpha_divergence_coef.is_finite(),
                "finite",
            ),
        ];
        let wrong = checks.into_iter().filter(|(_, sound, _)| !sound);
        let fault = |(key, _, range): (_, _, &str)| {
            Fault::new(
                key,
                format!("`{key}` must be {range}"),
                "leave it out for TRL's default",
            )
        };
        wrong.map(fault).collect()
    }

    fn faults_of_options(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let divergent = self.f_divergence_type != FDivergence::ReverseKl;
        let unfit = self
            .loss_type
            .iter()
            .find(|loss| !loss.takes_f_divergence());
        if let Some(loss) = unfit.filter(|_| divergent) {
            faults.push(Fault::new(
                "f_divergence_type",
                format!(
                    "`f_divergence_type` has no meaning for the loss `{}`",
                    loss.name()
                ),
                "leave it out, or use a loss of the difference of both responses, as `sigmoid`",
            ));
        }
        if self.label_smoothing >= 0.5 && self.loss_type.contains(&LossType::Robust) {
            faults.push(Fault::new(
                "label_smoothing",
                "`robust` divides by 1 - 2 label_smoothing, which is 0 at 0.5",
                "a share of wrong labels below 0.5 can be corrected",
            ));
        }
        let smooths = self
            .loss_type
            .iter()
            .any(|loss| loss.takes_label_smoothing());
        if self.label_smoothing > 0.0 && !smooths {
            faults.push(Fault::new(
                "label_smoothing",
                "no loss of `loss_type` uses label smoothing",
                "leave it out, or use `sigmoid`, `sigmoid_norm`, `robust`, `exo_pair`, `aot`, \
                 `aot_unpaired` or `simpo`",
            ));
        }
        faults
    }
}

/// What is wrong with a loss, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key of [`PairLoss`] to change.
    pub key: &'static str,
    /// What is wrong with it.
    pub fact: String,
    /// What to write instead.
    pub hint: &'static str,
}

impl Fault {
    fn new(key: &'static str, fact: impl Into<String>, hint: &'static str) -> Self {
        Self {
            key,
            fact: fact.into(),
            hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_serde_reads() {
        for loss in LossType::ALL {
            assert_eq!(
                loss.name().parse::<LossType>().expect("a loss of TRL"),
                loss
            );
        }
        let old: LossType = serde_json::from_value("aot_pair".into()).expect("TRL's old name");
        assert_eq!(old, LossType::AotUnpaired);
    }

    #[test]
    fn the_default_is_dpo_and_passes() {
        let config = PairLoss::default();
        config.check().expect("the default is sound");
        assert_eq!(
            config.weighted().collect::<Vec<_>>(),
            [(LossType::Sigmoid, 1.0)]
        );
        assert!(config.needs_reference());
    }

    #[test]
    fn losses_without_a_reference_need_none() {
        let mut config = PairLoss {
            loss_type: vec![LossType::Simpo],
            ..PairLoss::default()
        };
        assert!(!config.needs_reference());
        config.loss_type.push(LossType::Sigmoid);
        assert!(config.needs_reference());
        config.reference_free = true;
        assert!(!config.needs_reference());
    }

    #[test]
    fn a_value_without_meaning_is_refused_by_its_key() {
        let base = PairLoss::default;
        let bad = [
            (
                "beta",
                PairLoss {
                    beta: 0.0,
                    ..base()
                },
            ),
            (
                "beta",
                PairLoss {
                    beta: f64::NAN,
                    ..base()
                },
            ),
            (
                "loss_type",
                PairLoss {
                    loss_type: vec![],
                    ..base()
                },
            ),
            (
                "loss_weights",
                PairLoss {
                    loss_weights: vec![1.0, 2.0],
                    ..base()
                },
            ),
            (
                "label_smoothing",
                PairLoss {
                    loss_type: vec![LossType::Robust],
                    label_smoothing: 0.5,
                    ..base()
                },
            ),
            (
                "label_smoothing",
                PairLoss {
                    loss_type: vec![LossType::Ipo],
                    label_smoothing: 0.1,
                    ..base()
                },
            ),
            (
                "f_divergence_type",
                PairLoss {
                    loss_type: vec![LossType::NcaPair],
                    f_divergence_type: FDivergence::JsDivergence,
                    ..base()
                },
            ),
        ];
        for (key, config) in bad {
            let error = config.check().expect_err(key);
            assert!(error.message.contains(key), "{key}: {}", error.message);
            assert!(error.hint.is_some());
        }
    }
}
