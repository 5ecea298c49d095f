//! Which part of a recipe a command comes to.

use super::Estimate;
use crate::pipeline::Until;

/// Whether a command reaches a stage, by the stage's name or by what stands before the colon of a line about it.
fn reaches(until: Until, stage: &str) -> bool {
    let is = |table: &str| {
        let rest = stage.strip_prefix(table);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '/', ':', ' ', '.']))
    };
    let online = is("online") || stage.starts_with("round-");
    let objectives = is("multi-objective");
    let later = is("dpo") || is("eval") || online;
    match until {
        Until::Sft => !(later || is("reward") || objectives || is("pairwise") || is("verifier")),
        Until::Reward => !(later || objectives || is("pairwise") || is("verifier")),
        Until::MultiObjective => !(later || is("pairwise") || is("verifier")),
        Until::Pairwise => !(later || is("reward") || objectives || is("verifier")),
        Until::Verifier => !(later || is("reward") || objectives || is("pairwise")),
        Until::Dpo => !(is("reward") || objectives || is("pairwise") || is("verifier") || online),
        Until::Online => !is("dpo"),
        Until::End => true,
    }
}

impl Estimate {
    /// The part that a command's stages make up.
    #[must_use]
    pub fn until(mut self, until: Until) -> Self {
        self.stages.retain(|stage| reaches(until, &stage.stage));
        self.unknown.retain(|fact| reaches(until, fact));
        self.unread = self.unread.filter(|(whose, _)| reaches(until, whose));
        self.peak_bytes = self.stages.iter().map(|stage| stage.peak_bytes).max();
        let seconds: Option<Vec<f64>> = self.stages.iter().map(|stage| stage.seconds).collect();
        let known = self.unknown.is_empty() && !self.stages.is_empty();
        self.seconds = seconds
            .filter(|_| known)
            .map(|seconds| seconds.iter().sum());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::estimate::StageEstimate;

    #[test]
    fn a_command_is_told_of_its_own_stages_only() {
        let stage = |name: &str, seconds: f64| StageEstimate {
            stage: name.to_owned(),
            peak_bytes: seconds as u64,
            sure_bytes: seconds as u64,
            training: None,
            drawing: None,
            steps: None,
            tokens: None,
            seconds: Some(seconds),
            seconds_of_a_full_step: None,
        };
        let whole = || Estimate {
            stages: ["sft", "reward", "dpo", "round-*/checkpoint", "eval"]
                .iter()
                .zip(1..)
                .map(|(name, at)| stage(name, f64::from(at)))
                .collect(),
            unknown: vec!["online: the prompts: cannot open a.jsonl".into()],
            ..Estimate::default()
        };
        let dpo = whole().until(Until::Dpo);
        let names: Vec<&str> = dpo.stages.iter().map(|s| s.stage.as_str()).collect();
        assert_eq!(names, ["sft", "dpo", "eval"]);
        assert_eq!((dpo.seconds, dpo.peak_bytes), (Some(9.0), Some(5)));
        assert_eq!(whole().until(Until::Sft).stages.len(), 1);
        assert_eq!(whole().until(Until::Online).seconds, None);
    }
}
