//! Takes one attribute, usually verbosity, out of the others: of each attribute's reward so much of that attribute's is taken
//! away that over a reference set their ranks (nearly) no longer rise together.
//!
//! The result is a matrix that belongs to the model: whoever scores multiplies the rewards with it.

use crate::data::summary::spearman;

/// The shares that are tried, in this order (ArmoRM's grid); where none is enough, 1 is taken.
pub const PENALTIES: [f64; 24] = [
    0.0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55,
    0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
];

/// What was taken away from one attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// How much of the other attribute's reward.
    pub penalty: f64,
    /// Spearman's correlation with it before; none where a reward is constant.
    pub before: Option<f64>,
    /// And after.
    pub after: Option<f64>,
}

/// The matrix `M [n, n]`, row-major: debiased rewards are `rewards M`.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// Its elements.
    pub matrix: Vec<f32>,
    /// What it does to each attribute; nothing where nothing is to be taken out.
    pub taken: Vec<Taken>,
}

impl Transform {
    /// Leaves the rewards of `count` attributes as they are.
    pub fn identity(count: usize) -> Self {
        let one = |i: usize| {
            if i.is_multiple_of(count + 1) {
                1.0
            } else {
                0.0
            }
        };
        Self {
            matrix: (0..count * count).map(one).collect(),
            taken: Vec::new(),
        }
    }

    /// Takes attribute `source` out of the others. For each the smallest of [`PENALTIES`] is taken whose correlation (signed:
    /// an attribute that falls with `source` is left alone) is at most `threshold`. `columns` are the rewards of each
    /// attribute over the reference set. The column of `source` itself becomes 0.
    pub fn without(columns: &[Vec<f64>], source: usize, threshold: f64) -> Self {
        let count = columns.len();
        let verbosity = &columns[source];
        let rho = |column: &[f64], penalty: f64| {
            let left = column.iter().zip(verbosity).map(|(v, s)| v - penalty * s);
            spearman(&left.collect::<Vec<f64>>(), verbosity)
        };
        let mut transform = Self::identity(count);
        for (i, column) in columns.iter().enumerate() {
            // A constant has no correlation.
            let enough = |penalty: &f64| rho(column, *penalty).is_none_or(|rho| rho <= threshold);
            let found = PENALTIES.into_iter().find(|penalty| enough(penalty));
            let penalty = match i == source {
                true => 1.0,
                false => found.unwrap_or(1.0),
            };
            transform.matrix[source * count + i] -= penalty as f32;
            transform.taken.push(Taken {
                penalty,
                before: rho(column, 0.0),
                after: match i == source {
                    true => None,
                    false => rho(column, penalty),
                },
            });
        }
        transform
    }

    /// `rewards M` of one response.
    pub fn apply(&self, rewards: &[f32]) -> Vec<f32> {
        let count = rewards.len();
        let column = |i: usize| {
            let terms = rewards.iter().enumerate();
            terms.map(|(j, r)| r * self.matrix[j * count + i]).sum()
        };
        (0..count).map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Key;
    use rand::RngExt;
    use serde_json::Value;

    /// Attributes that follow the third one by these shares.
    fn columns(rows: usize) -> Vec<Vec<f64>> {
        let mut rng = Key::new(5).fold("debias").rng();
        let mut uniform = || rng.random::<f64>() - 0.5;
        let source: Vec<f64> = (0..rows).map(|_| uniform()).collect();
        let shares = [0.8, 0.0, 1.0, -0.6];
        let mut column = |share: f64| {
            let noise = if share == 1.0 { 0.0 } else { 0.5 };
            source
                .iter()
                .map(|s| share * s + noise * uniform())
                .collect()
        };
        shares.map(&mut column).to_vec()
    }

    #[test]
    fn nothing_rises_with_verbosity_any_more() {
        let columns = columns(2000);
        let transform = Transform::without(&columns, 2, 0.03);
        assert!(transform.taken[0].before.is_some_and(|rho| rho > 0.5));
        assert!(transform.taken[0].penalty > 0.0);
        for (i, taken) in transform.taken.iter().enumerate() {
            assert!(taken.after.is_none_or(|rho| rho <= 0.03), "{i}: {taken:?}");
        }
        // What falls with it is left alone.
        assert_eq!(transform.taken[3].penalty, 0.0);
        assert!(transform.taken[3].after.is_some_and(|rho| rho < -0.3));
    }

    /// D4: the correlation that is reported is that of what the matrix makes of the rewards.
    #[test]
    fn d4_the_matrix_is_what_takes_it_out() {
        let columns = columns(500);
        let transform = Transform::without(&columns, 2, 0.03);
        let rows = (0..500).map(|row| columns.iter().map(|c| c[row] as f32).collect::<Vec<f32>>());
        let debiased: Vec<Vec<f32>> = rows.map(|row| transform.apply(&row)).collect();
        for i in [0, 1, 3] {
            let column: Vec<f64> = debiased.iter().map(|row| f64::from(row[i])).collect();
            let rho = spearman(&column, &columns[2]).expect("not constant");
            let told = transform.taken[i].after.expect("not constant");
            assert!((rho - told).abs() < 1e-3, "{rho} {told}");
        }
        assert!(debiased.iter().all(|row| row[2] == 0.0));
        let same = Transform::identity(3).apply(&[1.0, 2.0, 3.0]);
        assert_eq!(same, [1.0, 2.0, 3.0]);
    }

    /// Penalties and correlations by scipy's `spearmanr`, ratings with ties among them.
    #[test]
    fn penalties_are_those_of_scipy() {
        let text = include_str!("../../../tests/golden/multi_objective.json");
        let golden: Value = serde_json::from_str(text).expect("JSON");
        for case in golden["debias"].as_array().expect("cases") {
            let columns: Vec<Vec<f64>> =
                serde_json::from_value(case["columns"].clone()).expect("columns");
            let source = case["source"].as_u64().expect("an index") as usize;
            let threshold = case["threshold"].as_f64().expect("a number");
            let transform = Transform::without(&columns, source, threshold);
            for (i, taken) in transform.taken.iter().enumerate() {
                let wanted = case["penalties"][i].as_f64().expect("a number");
                assert_eq!(taken.penalty, wanted, "attribute {i}");
                if let (Some(rho), Some(wanted)) = (taken.after, case["after"][i].as_f64()) {
                    assert!((rho - wanted).abs() < 1e-12, "{rho} {wanted}");
                }
            }
        }
    }
}
