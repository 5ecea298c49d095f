"""Runs the studies of judges and prints a table: study.py DUEL [SEEDS] [NAMES]

Each recipe beside this file is trained from several seeds, which also draw its held-out pairs. A share is that of all
held-out pairs of all seeds, with Wilson's 95 % interval over them; after it stand the least and the most of one seed."""

import json
import math
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["bradley-terry", "odin", "pairwise", "rrm", "rrm-filtered", "labelled", "ssrm", "supervised"]


def split():
    """A fifth of the quickstart's prompts to test, a quarter of the others with labels, the rest without."""
    pairs = [json.loads(line) for line in open(HERE / "../../datasets/quickstart/pairs.jsonl")]
    prompts = sorted({json.dumps(pair["prompt"]) for pair in pairs})
    random.Random(13).shuffle(prompts)
    place = {prompt: i / len(prompts) for i, prompt in enumerate(prompts)}
    parts = {"test": [], "labelled": [], "unlabelled": []}
    for pair in pairs:
        at = place[json.dumps(pair["prompt"])]
        part = "test" if at < 0.2 else "labelled" if at < 0.4 else "unlabelled"
        parts[part].append(pair)
    (HERE / "data").mkdir(exist_ok=True)
    for name, rows in parts.items():
        (HERE / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def wilson(right, count, z=1.959964):
    p, zz = right / count, z * z / count
    middle = (p + zz / 2) / (1 + zz)
    half = z / (1 + zz) * math.sqrt(p * (1 - p) / count + zz / (4 * count))
    return f"{100 * p:.1f} ({100 * (middle - half):.1f} to {100 * (middle + half):.1f})"


def share(reports, of):
    found = [of(report) for report in reports]
    right = sum(part["accuracy"] * part["pairs"] for part in found)
    each = [100 * part["accuracy"] for part in found]
    return f"{wilson(right, sum(part['pairs'] for part in found))} [{min(each):.1f}, {max(each):.1f}]"


def spread(reports, of):
    each = [of(report) for report in reports]
    return f"{sum(each) / len(each):.2f} [{min(each):.2f}, {max(each):.2f}]"


def main():
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    split()
    print("| judge | right | chosen longer | rejected longer | score and length | one order | other order turns over |")
    print("|---|---|---|---|---|---|---|")
    for name in sys.argv[3:] or NAMES:
        reports = []
        command = "reward" if name in ("bradley-terry", "odin") else "pairwise"
        for seed in seeds:
            run = f"study-{name}-{seed}"
            words = [HERE / f"{name}.toml", "--set", f"seed={seed}", "--name", run, "--output-dir", "runs", "--quiet"]
            subprocess.run([duel, command, *words], check=True, stdout=subprocess.DEVNULL)
            reports.append(json.load(open(f"runs/{run}/{command}-eval.json")))
        longer = [share(reports, lambda r: r["length"][part]) for part in ("chosen_longer", "rejected_longer")]
        place = ["", ""]
        if command == "pairwise":
            place = [spread(reports, lambda r: r["position"][part]) for part in ("one_order", "turned_over")]
        rho = spread(reports, lambda r: r["length"]["pearson"])
        print("|", " | ".join([name, share(reports, lambda r: r["judge"]), *longer, rho, *place]), "|", flush=True)
        told = [f"runs/study-{name}-{seed}/pairwise-ssrm.json" for seed in seeds if name == "ssrm"]
        for path in told:
            for row in json.load(open(path)):
                at = [f"{a['threshold']}: {a['kept']} kept, {100 * a['precision']['accuracy']:.1f} % right" for a in row["at"] if a["precision"]]
                print(f"{path}, iteration {row['iteration']}: " + "; ".join(at), file=sys.stderr, flush=True)


main()
