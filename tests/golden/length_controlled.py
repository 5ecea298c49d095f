"""Writes length_controlled.json: sklearn's fit of AlpacaEval 2's model without the difficulty of the prompts.

    pip install scikit-learn==1.9.1 numpy && python tests/golden/length_controlled.py
"""
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression


def fit(credits, longer):
    """A verdict between 0 and 1 is a win and a loss with those weights; the intercept is not held back, `phi` by C = 1."""
    credits, longer = np.array(credits), np.array(longer)
    x = np.tanh(longer / np.std(longer, ddof=1))[:, None]
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(
        np.concatenate([x, x]),
        np.concatenate([np.ones(len(x)), np.zeros(len(x))]),
        sample_weight=np.concatenate([credits, 1 - credits]),
    )
    theta, phi = float(model.intercept_[0]), float(model.coef_[0, 0])
    return {
        "credits": credits.tolist(),
        "longer": longer.tolist(),
        "theta": theta,
        "phi": phi,
        "win_rate": float(1 / (1 + np.exp(-theta))),
    }


rng = np.random.default_rng(0)


def sample(n, length_bias, lead, ties):
    longer = np.round(rng.normal(40, 300, n))
    p = 1 / (1 + np.exp(-(lead + length_bias * np.tanh(longer / 300))))
    credits = (rng.random(n) < p).astype(float)
    credits[rng.random(n) < ties] = 0.5
    return fit(credits, longer)


golden = [
    sample(60, 1.5, 0.3, 0.1),
    sample(40, 0.0, -0.5, 0.0),
    sample(80, 3.0, 0.0, 0.3),
    fit([1, 1, 1, 0, 0], [5, 10, 200, -5, -90]),
    fit([0.5, 1.0, 0.5], [0, 10, -10]),
]
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
