"""Writes multi_objective.json: ridge probes by scikit-learn on ratings with holes, and the shares of verbosity that ArmoRM's
rule takes away, with scipy's Spearman."""

import json
import pathlib

import numpy as np
import scipy
import scipy.stats
import sklearn
from sklearn.linear_model import Ridge

ALPHAS = [10.0**e for e in range(-4, 5)]
PENALTIES = [0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15] + [round(0.05 * k, 2) for k in range(4, 20)]
rng = np.random.default_rng(7)


def ridge_case():
    x = rng.normal(size=(80, 5)).round(3)
    truth = rng.normal(size=(5, 3))
    y = (x @ truth + np.array([0.3, 0.0, 2.0]) + rng.normal(size=(80, 3)) * np.array([0.1, 3.0, 0.5])).round(3)
    # The first two are rated in the same rows, the third in others, and no row has all.
    known = rng.random((80, 2)) < 0.6
    y[~known[:, 0], :2] = np.nan
    y[~known[:, 1], 2] = np.nan
    validation = rng.random(80) < 0.25
    probes = []
    # Read as f32, which is what duel's files hold.
    xs, ys = x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)
    for column in ys.T:
        fit, held = ~np.isnan(column) & ~validation, ~np.isnan(column) & validation
        tried = []
        for alpha in ALPHAS:
            model = Ridge(alpha=alpha, fit_intercept=False, solver="cholesky").fit(xs[fit], column[fit])
            tried.append((np.mean((column[held] - model.predict(xs[held])) ** 2), alpha, model.coef_))
        mse, alpha, weights = min(tried, key=lambda one: one[0])
        mean = np.mean((column[held] - column[fit].mean()) ** 2)
        probes.append({"alpha": alpha, "validation_mse": mse, "mean_mse": mean, "weights": weights.tolist()})
    hole = lambda row: [None if np.isnan(v) else v for v in row]
    return {
        "attributes": ["a", "b", "c"],
        "x": x.tolist(),
        "y": [hole(row) for row in y],
        "validation": validation.tolist(),
        "probes": probes,
    }


def debias_case(rows, digits, threshold):
    source = rng.normal(size=rows)
    shares, scales = [0.4, 1.5, 0.0, -0.7, 1.0, 3.0], [0.5, 0.4, 0.5, 0.5, 0.0, 0.2]
    columns = np.array([share * source + scale * rng.normal(size=rows) for share, scale in zip(shares, scales)]).round(digits)
    source = 4
    penalties, after = [], []
    for i, column in enumerate(columns):
        rho = lambda share: scipy.stats.spearmanr(column - share * columns[source], columns[source])[0]
        enough = [share for share in PENALTIES if i != source and rho(share) <= threshold]
        penalties.append(float(enough[0]) if enough else 1.0)
        after.append(None if i == source else rho(penalties[-1]))
    return {"columns": columns.tolist(), "source": source, "threshold": threshold, "penalties": penalties, "after": after}


golden = {
    "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__},
    "ridge": ridge_case(),
    "debias": [debias_case(40, 6, 0.03), debias_case(60, 1, 0.03), debias_case(30, 6, 0.2)],
}
path = pathlib.Path(__file__).parent / "multi_objective.json"
path.write_text(json.dumps(golden) + "\n")
