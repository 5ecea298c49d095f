//! Bradley-Terry: the reward of the chosen response shall exceed that of the rejected one.

use burn::tensor::Tensor;

use super::stable::log_sigmoid;

/// How the values of a metric become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// -log sigmoid(r_w - r_l - m) + c (r_w + r_l)^2 of each pair, \[B\] from rewards \[B\].
///
/// The first term is the negative log-likelihood of Bradley and Terry (1952), with the margin m
/// \[B\] of Llama 2 (Touvron et al. 2023, eq. 2): a pair that is far apart must be told far apart.
/// The second (Eisenstein et al. 2023, "Helping or herding?") pins the mean reward to 0, which the
/// first leaves free.
pub fn reward_loss(
    chosen: Tensor<1>,
    rejected: Tensor<1>,
    margin: Option<Tensor<1>>,
    center_rewards_coefficient: Option<f64>,
) -> Tensor<1> {
    let apart = chosen.clone().sub(rejected.clone());
    let apart = match margin {
        Some(margin) => apart.sub(margin),
        None => apart,
    };
    let loss = log_sigmoid(apart).neg();
    match center_rewards_coefficient {
        Some(coefficient) => {
            let both = chosen.add(rejected);
            loss.add(both.clone().mul(both).mul_scalar(coefficient))
        }
        None => loss,
    }
}

/// The metrics of TRL's RewardTrainer, a value per pair \[B\] each. A pair of equal rewards counts
/// as wrong.
pub fn reward_metrics(
    chosen: Tensor<1>,
    rejected: Tensor<1>,
) -> Vec<(&'static str, Reduce, Tensor<1>)> {
    let (chosen, rejected) = (chosen.without_autodiff(), rejected.without_autodiff());
    let pairs = || (chosen.clone(), rejected.clone());
    let with = |f: fn(Tensor<1>, Tensor<1>) -> Tensor<1>| {
        let (chosen, rejected) = pairs();
        f(chosen, rejected)
    };
    vec![
        ("accuracy", Reduce::Mean, with(|c, r| c.greater(r).float())),
        ("margin", Reduce::Mean, with(|c, r| c.sub(r))),
        (
            "mean_reward",
            Reduce::Mean,
            with(|c, r| c.add(r).mul_scalar(0.5)),
        ),
        ("min_reward", Reduce::Min, with(|c, r| c.min_pair(r))),
        ("max_reward", Reduce::Max, with(|c, r| c.max_pair(r))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use serde_json::Value;

    fn golden() -> Vec<Value> {
        let text = include_str!("../../tests/golden/reward_losses.json");
        let file: Value = serde_json::from_str(text).expect("the golden file is JSON");
        file["results"]
            .as_array()
            .expect("a list of results")
            .clone()
    }

    fn numbers(value: &Value) -> Vec<f32> {
        serde_json::from_value(value.clone()).expect("a list of numbers")
    }

    fn host(t: Tensor<1>) -> Vec<f32> {
        t.try_into_vec_as().expect("f32 on the host")
    }

    fn mean(values: &[f32]) -> f64 {
        values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_loss_is_trls() {
        let device = Device::flex();
        for row in golden() {
            let tensor = |key: &str| Tensor::from_floats(&numbers(&row[key])[..], &device);
            let margin = row["margin"].is_array().then(|| tensor("margin"));
            let center = row["center_rewards_coefficient"].as_f64();
            let loss = reward_loss(
                tensor("rewards_chosen"),
                tensor("rewards_rejected"),
                margin,
                center,
            );
            let wanted = row["loss"].as_f64().expect("a loss");
            let found = mean(&host(loss));
            assert!(
                (found / wanted - 1.0).abs() < 1e-6,
                "{}: {found} is not {wanted}",
                row["name"]
            );
        }
    }

    /// D10: the released code computes margins, and no loss reads them.
    #[test]
    fn d10_a_margin_counts_and_the_gradient_is_the_probability_of_the_wrong_order() {
        let device = Device::flex().autodiff();
        let (chosen, rejected, margin, center) = ([0.5f32, -1.0], [0.25f32, 2.0], 0.75, 0.01);
        let c = Tensor::<1>::from_floats(chosen, &device).require_grad();
        let r = Tensor::<1>::from_floats(rejected, &device).require_grad();
        let margins = Tensor::full([2], margin, &device);
        let gradients = reward_loss(c.clone(), r.clone(), Some(margins), Some(center))
            .sum()
            .backward();
        let of = |t: &Tensor<1>| host(t.grad(&gradients).expect("a tracked leaf"));
        let (of_c, of_r) = (of(&c), of(&r));
        for i in 0..2 {
            let (c, r) = (f64::from(chosen[i]), f64::from(rejected[i]));
            let wrong = 1.0 / (1.0 + (c - r - margin).exp());
            let pull = 2.0 * center * (c + r);
            assert!((f64::from(of_c[i]) - (pull - wrong)).abs() < 1e-6);
            assert!((f64::from(of_r[i]) - (pull + wrong)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_values_of_the_textbook_hold() {
        let device = Device::flex();
        let of = |c: f32, r: f32| {
            let tensor = |x: f32| Tensor::<1>::from_floats([x], &device);
            host(reward_loss(tensor(c), tensor(r), None, None))[0]
        };
        assert!((of(3.0, 3.0) - std::f32::consts::LN_2).abs() < 1e-6);
        assert!((of(1.0, 0.0) - 0.313_262).abs() < 1e-6);
        assert!((of(0.0, 1.0) - 1.313_262).abs() < 1e-6);
        assert!(of(1e4, -1e4) == 0.0 && of(-1e4, 1e4) == 2e4);
    }

    /// A sum before the log-sigmoid would make one number of the whole batch.
    #[test]
    fn a_pair_does_not_see_its_neighbours() {
        let device = Device::flex();
        let loss = |c: &[f32], r: &[f32]| {
            host(reward_loss(
                Tensor::from_floats(c, &device),
                Tensor::from_floats(r, &device),
                None,
                None,
            ))
        };
        let together = loss(&[1.0, -2.0, 0.5], &[0.0, 3.0, 0.5]);
        assert_eq!(together[1], loss(&[-2.0], &[3.0])[0]);
        assert_eq!(together.len(), 3);
    }

    #[test]
    fn the_metrics_are_trls() {
        let device = Device::flex();
        for row in golden() {
            let tensor = |key: &str| Tensor::from_floats(&numbers(&row[key])[..], &device);
            for (name, reduce, values) in
                reward_metrics(tensor("rewards_chosen"), tensor("rewards_rejected"))
            {
                let values = host(values);
                let found = match reduce {
                    Reduce::Mean => mean(&values),
                    Reduce::Min => values.iter().copied().fold(f32::INFINITY, f32::min).into(),
                    Reduce::Max => values
                        .iter()
                        .copied()
                        .fold(f32::NEG_INFINITY, f32::max)
                        .into(),
                };
                let wanted = row["metrics"][name].as_f64().expect(name);
                assert!(
                    (found - wanted).abs() < 1e-6,
                    "{name}: {found} is not {wanted}"
                );
            }
        }
    }
}
