//! What contradicts itself in `[multi_objective]`.

use super::Check;
use crate::recipe::MultiObjective;

impl Check<'_> {
    pub(super) fn multi_objective(&mut self, table: &MultiObjective) {
        self.split("multi_objective", &table.data, table.eval.as_ref());
        self.data("multi_objective.ratings", &table.ratings);
        if table.ratings.held_out > 0.0 {
            self.complain(
                "multi_objective.ratings.held_out",
                "nobody evaluates on ratings that are held out",
                "leave `held_out` out: a fifth of the rated prompts chooses the probes' penalties in any case",
            );
        }
        let names = &table.attributes;
        let twice = names
            .iter()
            .enumerate()
            .find(|(i, name)| names[..*i].contains(name));
        if let Some((_, name)) = twice {
            self.complain(
                "multi_objective.attributes",
                format!("`{name}` stands twice among the attributes"),
                "name each column once",
            );
        }
        let unknown = |name: &&String| !names.is_empty() && !names.contains(name);
        if let Some(name) = table.debias.as_ref().filter(unknown) {
            self.complain(
                "multi_objective.debias",
                format!("`{name}` is to be taken out of the others, but is none of the attributes"),
                format!("choose among {}", names.join(", ")),
            );
        }
    }
}
