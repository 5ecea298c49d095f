"""Writes statistics.json: what scipy and numpy say about a few samples.

    pip install scipy==1.17.1 numpy && python tests/golden/statistics.py
"""
import json
import math
from pathlib import Path

import numpy as np
from scipy import stats

SAMPLES = [
    ([1.0, 2.0, 3.0, 4.0, 5.5], [2.0, 1.0, 4.0, 3.0, 7.0]),
    ([1.0, 1.0, 2.0, 2.0, 2.0, 9.0], [3.0, 1.0, 1.0, 2.0, 2.0, 0.5]),
    ([-0.3, 12.25, 7.0, 7.0, 0.0, -5.5, 3.125], [120.0, 340.0, 340.0, 15.0, 88.0, 88.0, 88.0]),
    ([0.1, 0.2], [5.0, -5.0]),
]


def sample(x, y):
    return {
        "x": x,
        "y": y,
        "mean": float(np.mean(x)),
        "std": float(np.std(x)),
        "median": float(np.median(x)),
        "q0": float(np.quantile(x, 0.0)),
        "q10": float(np.quantile(x, 0.1)),
        "q75": float(np.quantile(x, 0.75)),
        "q100": float(np.quantile(x, 1.0)),
        "pearson": float(stats.pearsonr(x, y).statistic),
        "spearman": float(stats.spearmanr(x, y).statistic),
        "kendall": float(stats.kendalltau(x, y).statistic),
        "ranks": stats.rankdata(x).tolist(),
    }


def wilson(wins, trials, confidence):
    """scipy takes whole counts only; a tie counts half, so those cases use the textbook formula."""
    if wins == int(wins):
        interval = stats.binomtest(int(wins), trials).proportion_ci(confidence, method="wilson")
        low, high = interval.low, interval.high
    else:
        z = stats.norm.ppf(0.5 + confidence / 2)
        p = wins / trials
        middle = (p + z * z / (2 * trials)) / (1 + z * z / trials)
        half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
        low, high = middle - half, middle + half
    return {"wins": wins, "trials": trials, "confidence": confidence, "low": float(low), "high": float(high)}


def bootstrap():
    """Percentile intervals of a mean difference; 200,000 resamples, so they hold to about 0.01."""
    rng = np.random.default_rng(0)
    a = np.round(rng.normal(0.4, 1.0, 60), 3)
    b = np.round(rng.normal(0.0, 1.0, 60), 3)
    result = stats.bootstrap(
        (a - b,), np.mean, n_resamples=200_000, batch=10_000, method="percentile", rng=np.random.default_rng(1)
    )
    interval = result.confidence_interval
    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "difference": float(np.mean(a - b)),
        "low": float(interval.low),
        "high": float(interval.high),
    }


def mcnemar(a_only, b_only):
    """The exact form: a two-sided binomial test on the pairs where two judges differ."""
    differ = a_only + b_only
    p = stats.binomtest(min(a_only, b_only), differ, 0.5).pvalue if differ else 1.0
    return {"a_only": a_only, "b_only": b_only, "p": float(p)}


probabilities = [1e-300, 1e-20, 1e-9, 0.0005, 0.02, 0.075, 0.2, 0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9999999]
golden = {
    "samples": [sample(x, y) for x, y in SAMPLES],
    "normal_quantile": [{"p": p, "z": float(stats.norm.ppf(p))} for p in probabilities],
    "wilson": [
        wilson(w, n, c)
        for w, n, c in [(0, 1, 0.95), (1, 1, 0.95), (7, 10, 0.95), (61, 100, 0.95), (150, 250, 0.99), (61.5, 100, 0.95), (0.5, 3, 0.9)]
    ],
    "bootstrap": bootstrap(),
    "mcnemar": [
        mcnemar(a, b)
        for a, b in [(0, 0), (1, 0), (5, 5), (3, 10), (0, 9), (12, 25), (101, 59), (700, 650), (1400, 1600)]
    ],
}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
