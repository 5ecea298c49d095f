"""Writes decision_tree.json: trees of scikit-learn's DecisionTreeClassifier with the log-loss criterion, depth 3, on differences of
three attributes that decide in part."""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.tree import DecisionTreeClassifier

rng = np.random.default_rng(11)


def nodes(tree, at=0):
    """From the root on, the lesser side first: [attribute, threshold], or [-rows, share of class 1]."""
    if tree.children_left[at] < 0:
        return [[-int(tree.n_node_samples[at]), float(tree.value[at][0][1] / tree.value[at][0].sum())]]
    own = [[int(tree.feature[at]), float(tree.threshold[at])]]
    return own + nodes(tree, tree.children_left[at]) + nodes(tree, tree.children_right[at])


def case(rows, least, digits):
    x = rng.normal(size=(rows, 3)).round(digits).astype(np.float32)
    score = x[:, 0] + 0.8 * np.sign(x[:, 1]) * (x[:, 2] > 0.3) + 0.7 * rng.normal(size=rows)
    first = (score > 0.1).astype(int)
    model = DecisionTreeClassifier(criterion="log_loss", max_depth=3, min_samples_leaf=least, random_state=0).fit(x, first)
    return {
        "differences": [round(float(v), digits) for v in x.ravel()],
        "first": first.tolist(),
        "min_samples_leaf": least,
        "nodes": nodes(model.tree_),
    }


# The third has many equal values.
cases = [case(120, 1, 4), case(90, 8, 4), case(150, 5, 1)]
out = {"made_with": f"scikit-learn {sklearn.__version__}", "cases": cases}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
