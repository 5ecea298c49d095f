//! Linear probes: for each attribute the ridge regression of its ratings on hidden states, without intercept.
//!
//! `w = (X'X + alpha I)^-1 X'y` over the rows that have the rating. Everything that is asked of rows is a sum over them
//! (`X'X`, `X'y`, `y'y`), so shards are read one by one, and attributes that are rated in the same rows share one `X'X`.

use crate::error::{Error, Result};
use faer::linalg::matmul::matmul;
use faer::prelude::Solve;
use faer::{Accum, Mat, Par, Side};

/// What is tried for every attribute; the least error on the validation rows wins (ArmoRM's grid).
pub const ALPHAS: [f64; 9] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4];

/// Rows that are multiplied at once.
const CHUNK: usize = 512;

/// Hidden states with their ratings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rated {
    /// `[rows, hidden]`, row-major.
    pub embeddings: Vec<f32>,
    /// `[rows, attributes]`, row-major; NaN where nobody rated.
    pub labels: Vec<f32>,
    /// Of each row whether it only chooses `alpha`.
    pub validation: Vec<bool>,
}

/// The probe of one attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// `[hidden]`.
    pub weights: Vec<f32>,
    /// The penalty that was best on the validation rows.
    pub alpha: f64,
    /// Rows that it was fitted on.
    pub rows: usize,
    /// Rows that chose `alpha`.
    pub validation_rows: usize,
    /// Mean squared error on the validation rows.
    pub validation_mse: f64,
    /// The error there of always saying the mean rating of the fitted rows: what the probe has to beat.
    pub mean_mse: f64,
}

/// `X'X`, `[hidden, hidden]`, of the rows in which some attributes are rated.
struct Gram {
    rated: Vec<bool>,
    fit: Mat<f64>,
    validation: Mat<f64>,
}

/// What an attribute needs to know of some rows beside `X'X`.
#[derive(Debug, Clone, PartialEq)]
struct Sums {
    rows: usize,
    xy: Vec<f64>,
    y: f64,
    yy: f64,
}

impl Sums {
    fn new(hidden: usize) -> Self {
        Self {
            rows: 0,
            xy: vec![0.0; hidden],
            y: 0.0,
            yy: 0.0,
        }
    }

    fn add(&mut self, x: &[f32], y: f64) {
        self.rows += 1;
        self.y += y;
        self.yy += y * y;
        for (sum, x) in self.xy.iter_mut().zip(x) {
            *sum += f64::from(*x) * y;
        }
    }
}

/// The probes of `attributes`, in their order, from `shards` shards that `read` gives by number. Each is read twice.
///
/// # Errors
/// A shard that cannot be read, or an attribute without a rating among the rows to fit or the rows to validate.
pub fn probes(
    attributes: &[String],
    hidden: usize,
    shards: usize,
    read: &dyn Fn(usize) -> Result<Rated>,
) -> Result<Vec<Probe>> {
    let count = attributes.len();
    let (mut groups, group_of) = groups(count, hidden, shards, read)?;
    let mut sums = vec![[Sums::new(hidden), Sums::new(hidden)]; count];
    let mut before = 0;
    for shard in 0..shards {
        let rows = read(shard)?;
        for group in &mut groups {
            group.add(&rows, hidden, before);
        }
        for (row, labels) in rows.labels.chunks_exact(count).enumerate() {
            let x = &rows.embeddings[row * hidden..][..hidden];
            let part = usize::from(rows.validation[row]);
            for (sums, label) in sums.iter_mut().zip(labels).filter(|(_, y)| !y.is_nan()) {
                sums[part].add(x, f64::from(*label));
            }
        }
        before += rows.validation.len();
    }
    let each = attributes.iter().zip(&sums).zip(group_of);
    each.map(|((name, sums), group)| probe(name, &groups[group], sums))
        .collect()
}

/// The sets of rows that attributes are rated in, and the set of each attribute.
fn groups(
    count: usize,
    hidden: usize,
    shards: usize,
    read: &dyn Fn(usize) -> Result<Rated>,
) -> Result<(Vec<Gram>, Vec<usize>)> {
    let mut rated = vec![Vec::new(); count];
    for shard in 0..shards {
        for labels in read(shard)?.labels.chunks_exact(count) {
            for (rated, label) in rated.iter_mut().zip(labels) {
                rated.push(!label.is_nan());
            }
        }
    }
    let mut groups: Vec<Gram> = Vec::new();
    let mut of = Vec::with_capacity(count);
    for rated in rated {
        let known = groups.iter().position(|group| group.rated == rated);
        of.push(known.unwrap_or(groups.len()));
        if known.is_none() {
            groups.push(Gram {
                rated,
                fit: Mat::zeros(hidden, hidden),
                validation: Mat::zeros(hidden, hidden),
            });
        }
    }
    Ok((groups, of))
}

impl Gram {
    /// Adds the rows of a shard before which `before` rows lie in others.
    fn add(&mut self, rows: &Rated, hidden: usize, before: usize) {
        for part in [false, true] {
            let wanted: Vec<usize> = (0..rows.validation.len())
                .filter(|&row| self.rated[before + row] && rows.validation[row] == part)
                .collect();
            let sum = if part {
                &mut self.validation
            } else {
                &mut self.fit
            };
            for chunk in wanted.chunks(CHUNK) {
                let x = Mat::from_fn(chunk.len(), hidden, |row, column| {
                    f64::from(rows.embeddings[chunk[row] * hidden + column])
                });
                let par = Par::rayon(0);
                matmul(sum.as_mut(), Accum::Add, x.transpose(), &x, 1.0, par);
            }
        }
    }
}

fn probe(name: &str, gram: &Gram, [fit, validation]: &[Sums; 2]) -> Result<Probe> {
    if fit.rows == 0 || validation.rows == 0 {
        return Err(Error::data(format!(
            "the attribute `{name}` is rated in {} rows to learn from and in {} to choose the penalty by: it needs both",
            fit.rows, validation.rows
        ))
        .hint("give more rated rows, or take the attribute out of multi_objective.attributes"));
    }
    let mut best: Option<(f64, f64, Vec<f64>)> = None;
    for alpha in ALPHAS {
        let Some(weights) = ridge(&gram.fit, &fit.xy, alpha) else {
            continue;
        };
        let error = squared_error(&gram.validation, validation, &weights);
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, alpha, weights));
        }
    }
    let (validation_mse, alpha, weights) = best.ok_or_else(|| {
        Error::data(format!(
            "the attribute `{name}` has no probe: its rows give no finite equations"
        ))
        .hint("look at the ratings and at the base model: a hidden state may not be finite")
    })?;
    let mean = fit.y / fit.rows as f64;
    let n = validation.rows as f64;
    Ok(Probe {
        weights: weights.iter().map(|w| *w as f32).collect(),
        alpha,
        rows: fit.rows,
        validation_rows: validation.rows,
        validation_mse,
        mean_mse: (validation.yy - 2.0 * mean * validation.y) / n + mean * mean,
    })
}

/// `(X'X + alpha I)^-1 X'y`; none where that has no Cholesky decomposition or no finite solution.
fn ridge(xx: &Mat<f64>, xy: &[f64], alpha: f64) -> Option<Vec<f64>> {
    let mut penalised = xx.clone();
    for i in 0..xy.len() {
        penalised[(i, i)] += alpha;
    }
    let right = Mat::from_fn(xy.len(), 1, |row, _| xy[row]);
    let solution = penalised.llt(Side::Lower).ok()?.solve(&right);
    let weights: Vec<f64> = (0..xy.len()).map(|row| solution[(row, 0)]).collect();
    weights.iter().all(|w| w.is_finite()).then_some(weights)
}

/// The mean of `(y - Xw)^2`, from sums: `(y'y - 2 w'X'y + w'X'Xw) / n`.
fn squared_error(xx: &Mat<f64>, sums: &Sums, weights: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let quadratic: f64 = (0..weights.len())
        .map(|j| {
            weights[j]
                * (0..weights.len())
                    .map(|i| xx[(i, j)] * weights[i])
                    .sum::<f64>()
        })
        .sum();
    // A perfect fit may come out a rounding error below 0.
    ((sums.yy - 2.0 * dot(weights, &sums.xy) + quadratic) / sums.rows as f64).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Key;
    use rand::RngExt;
    use serde_json::Value;

    const HIDDEN: usize = 7;

    /// Random hidden states; the second attribute is rated in two rows of three.
    fn rated(rows: usize) -> Rated {
        let mut rng = Key::new(3).fold("ridge").rng();
        let mut made = Rated::default();
        for row in 0..rows {
            let x: Vec<f32> = (0..HIDDEN).map(|_| rng.random::<f32>() - 0.5).collect();
            let noise = 0.1 * (rng.random::<f32>() - 0.5);
            made.labels.push(x[0] - 2.0 * x[3] + 0.3 + noise);
            made.labels.push(match row % 3 {
                0 => f32::NAN,
                _ => x[1] * 5.0 + noise,
            });
            made.embeddings.extend(x);
            made.validation.push(row % 5 == 0);
        }
        made
    }

    fn names() -> Vec<String> {
        vec!["first".into(), "second".into()]
    }

    fn cut(all: &Rated, size: usize) -> Vec<Rated> {
        let rows = all.validation.len();
        let starts = (0..rows).step_by(size);
        starts
            .map(|start| {
                let end = rows.min(start + size);
                Rated {
                    embeddings: all.embeddings[start * HIDDEN..end * HIDDEN].to_vec(),
                    labels: all.labels[start * 2..end * 2].to_vec(),
                    validation: all.validation[start..end].to_vec(),
                }
            })
            .collect()
    }

    fn fitted(shards: &[Rated]) -> Vec<Probe> {
        probes(&names(), HIDDEN, shards.len(), &|i| Ok(shards[i].clone())).expect("fitted")
    }

    /// The oracle of the normal equations: `X'(y - Xw) = alpha w` over the rows that have the rating.
    #[test]
    fn the_residual_is_alpha_times_the_weights() {
        let all = rated(900);
        for (attribute, probe) in fitted(std::slice::from_ref(&all)).iter().enumerate() {
            let mut left = [0.0f64; HIDDEN];
            let mut rows = 0;
            for row in 0..all.validation.len() {
                let y = all.labels[2 * row + attribute];
                if y.is_nan() || all.validation[row] {
                    continue;
                }
                rows += 1;
                let x = &all.embeddings[row * HIDDEN..][..HIDDEN];
                let said: f64 = x
                    .iter()
                    .zip(&probe.weights)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w))
                    .sum();
                for (left, x) in left.iter_mut().zip(x) {
                    *left += f64::from(*x) * (f64::from(y) - said);
                }
            }
            assert_eq!(rows, probe.rows);
            for (left, w) in left.iter().zip(&probe.weights) {
                let wanted = probe.alpha * f64::from(*w);
                assert!((left - wanted).abs() < 1e-4, "{left} {wanted}");
            }
        }
    }

    #[test]
    fn shards_of_any_size_give_the_same_probes() {
        let all = rated(300);
        let whole = fitted(std::slice::from_ref(&all));
        for size in [1, 64, 299] {
            for (cut, whole) in fitted(&cut(&all, size)).iter().zip(&whole) {
                assert_eq!(cut.alpha, whole.alpha);
                assert_eq!(
                    (cut.rows, cut.validation_rows),
                    (whole.rows, whole.validation_rows)
                );
                assert!((cut.validation_mse - whole.validation_mse).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn an_attribute_that_nobody_rated_is_named() {
        let mut all = rated(60);
        for labels in all.labels.chunks_exact_mut(2) {
            labels[1] = f32::NAN;
        }
        let shards = [all];
        let refused = probes(&names(), HIDDEN, 1, &|i| Ok(shards[i].clone()));
        let error = refused.expect_err("no rating");
        assert!(error.message.contains("`second`"), "{error}");
    }

    /// Weights, penalty and errors of scikit-learn's `Ridge(fit_intercept=False)`.
    #[test]
    fn probes_are_those_of_scikit_learn() {
        let text = include_str!("../../../tests/golden/multi_objective.json");
        let golden: Value = serde_json::from_str(text).expect("JSON");
        let case = &golden["ridge"];
        let floats = |value: &Value| -> Vec<f64> {
            let values = value.as_array().expect("a list").iter();
            values.map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
        };
        let flat = |value: &Value| -> Vec<f32> {
            let rows = value.as_array().expect("rows").iter();
            rows.flat_map(floats).map(|v| v as f32).collect()
        };
        let hidden = case["x"][0].as_array().expect("a row").len();
        let names: Vec<String> = serde_json::from_value(case["attributes"].clone()).expect("names");
        let rows = Rated {
            embeddings: flat(&case["x"]),
            labels: flat(&case["y"]),
            validation: serde_json::from_value(case["validation"].clone()).expect("flags"),
        };
        let found = probes(&names, hidden, 1, &|_| Ok(rows.clone())).expect("fitted");
        assert_eq!(found.len(), 3);
        for (probe, wanted) in found.iter().zip(case["probes"].as_array().expect("probes")) {
            assert_eq!(Some(probe.alpha), wanted["alpha"].as_f64());
            let mse = wanted["validation_mse"].as_f64().expect("a number");
            assert!((probe.validation_mse - mse).abs() < 1e-7 * mse.max(1.0));
            let mse = wanted["mean_mse"].as_f64().expect("a number");
            assert!((probe.mean_mse - mse).abs() < 1e-7 * mse.max(1.0));
            for (w, wanted) in probe.weights.iter().zip(floats(&wanted["weights"])) {
                assert!(
                    (f64::from(*w) - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                    "{w} {wanted}"
                );
            }
        }
    }
}
