"""Runs the studies of policies and prints their tables: policies.py DUEL [SEEDS]

For each seed SFT and the judges are trained once; all arms begin there. The gold rule named the winners of the judges' pairs and
measures the policies on prompts that no stage trains on. A value of a prompt is its mean over the seeds, and the interval
(95 %, by the normal) is over the prompts; after it stand the least and the most of one seed."""

import json
import math
import pathlib
import random
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
LOOP = 3
ROUNDS = 8  # of the loop that over_optimisation.py draws; its first three are the arm `iterative`
# Each arm: its recipe, its judge, and what is set beside.
ARMS = {
    "offline": ("policy-offline", None, []),
    "once": ("policy-once", "policy", []),
    "iterative": ("policy", "policy", [f"online.rounds={ROUNDS}", "eval.every_round=true"]),
    "concise 0.001": ("policy-concise", "policy", []),
    "concise 0.01": ("policy-concise", "policy", ["online.pairs.length_penalty=0.01"]),
    "max_random": ("policy", "policy", ['online.pairs.choose="max_random"']),
    "max_max": ("policy", "policy", ['online.pairs.choose="max_max"']),
    "random": ("policy", "policy", ['online.pairs.choose="random"']),
    "previous": ("policy-previous", "policy", []),
    "judge odin": ("policy-odin", "policy-odin", []),
    "judge longer": ("policy-longer", "policy-longer", []),
}
DIFFERENCES = [("iterative", "once"), ("iterative", "offline"), ("iterative", "SFT"), ("once", "SFT"), ("offline", "SFT")]
DIFFERENCES += [(arm, "iterative") for arm in list(ARMS)[3:]] + [("judge longer", "judge odin")]


def lines(path):
    return [json.loads(line) for line in open(path)]


def prepare():
    """As many pairs as three rounds make; and all pairs, half of them with the longer response chosen."""
    pairs = lines(HERE / "../../datasets/quickstart/pairs.jsonl")
    draw = random.Random(16)
    few = draw.sample(pairs, LOOP * 128)
    for pair in pairs:
        if draw.random() < 0.5 and len(pair["rejected"]) > len(pair["chosen"]):
            pair["chosen"], pair["rejected"] = pair["rejected"], pair["chosen"]
    (HERE / "data").mkdir(exist_ok=True)
    for name, rows in (("policy-pairs", few), ("policy-longer", pairs)):
        (HERE / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def folder(arm, seed):
    return pathlib.Path("runs") / f"study-policy-{arm.replace(' ', '-')}-{seed}"


def call(duel, command, recipe, run, seed, *settings):
    words = [word for setting in (f"seed={seed}", *settings) for word in ("--set", setting)]
    subprocess.run([duel, command, HERE / f"{recipe}.toml", *words, "--name", run.name, "--output-dir", "runs", "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)


def train(duel, seed):
    start = folder("start", seed)
    call(duel, "reward", "policy", start, seed)
    begin = ["sft=false", f"model.model_name_or_path={json.dumps(str(start / 'sft/checkpoint'))}"]
    judges = {"policy": start / "reward/checkpoint"}
    for judge in ("policy-odin", "policy-longer"):
        call(duel, "reward", judge, folder(f"start-{judge}", seed), seed, *begin)
        judges[judge] = folder(f"start-{judge}", seed) / "reward/checkpoint"
    for arm, (recipe, judge, settings) in ARMS.items():
        own = [f"online.judge.reward.model_name_or_path={json.dumps(str(judges[judge]))}"] if judge else []
        # The second model of [reward], of another seed, judges nothing but the end.
        other = f"eval.reward.model_name_or_path={json.dumps(str(start / 'reward-second/checkpoint'))}"
        call(duel, "run", recipe, folder(arm, seed), seed, *begin, "reward=false", *own, other, *settings)
        print(f"seed {seed}: {arm}", file=sys.stderr, flush=True)


def measured(arm, seed):
    """Of each prompt: the gold reward, whether it is above the start's, and characters; and the evaluation."""
    run = folder("iterative" if arm == "SFT" else arm, seed)
    end = {"offline": "eval", "once": "round-1/eval"}.get(arm, f"round-{LOOP}/eval")
    before = next(run.glob("eval-start-*-scores/scores-1.jsonl"))
    mean = lambda row: statistics.fmean(row["rewards"])
    start = {row["id"]: mean(row) for row in lines(before)}
    of = {"gold": {}, "won": {}, "chars": {}}
    for row in lines(before if arm == "SFT" else run / end / "scores-1.jsonl"):
        gold = mean(row)
        of["gold"][row["id"]] = gold
        less = gold - start[row["id"]]
        of["won"][row["id"]] = 0.5 + 0.5 * ((less > 1e-6) - (less < -1e-6))
        of["chars"][row["id"]] = statistics.fmean(len(text) for text in row["responses"])
    of["result"] = json.load(open(run / end / "result.json"))
    return of


def shown(each, digits=3, scale=1):
    """Values of prompts, one dictionary a seed."""
    prompts = [scale * statistics.fmean(values) for values in zip(*([of[id] for id in sorted(of)] for of in each))]
    mean, half = statistics.fmean(prompts), 1.959964 * statistics.stdev(prompts) / math.sqrt(len(prompts))
    return f"{mean:.{digits}f} ({mean - half:.{digits}f} to {mean + half:.{digits}f}) {spread([scale * statistics.fmean(of.values()) for of in each], digits, False)}"


def spread(values, digits=2, mean=True):
    return (f"{statistics.fmean(values):.{digits}f} " if mean else "") + f"[{min(values):.{digits}f}, {max(values):.{digits}f}]"


def main():
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    prepare()
    for seed in seeds:
        train(duel, seed)
    found = {arm: [measured(arm, seed) for seed in seeds] for arm in ["SFT", *ARMS]}
    print("| arm | gold reward | gold win rate over SFT, % | at equal length, % | second judge, % | characters | KL |\n|---" + "|---" * 6 + "|")
    for arm, each in found.items():
        values = lambda of: [of(one["result"]) for one in each]
        cells = [shown([one["gold"] for one in each]), "", "", "", shown([one["chars"] for one in each], 0), "0"]
        if arm != "SFT":
            cells[1] = shown([one["won"] for one in each], 1, 100)
            cells[2] = spread(values(lambda r: 100 * r["opinions"][0]["length_controlled"][0]), 1)
            cells[3] = spread(values(lambda r: 100 * r["opinions"][-1]["win_rate"]), 1)
            cells[5] = spread(values(lambda r: r["kl"]), 2)
        print(f"| {arm} |", " | ".join(cells), "|")
    print("\n| less | gold reward | characters | KL |\n|---|---|---|---|")
    for a, b in DIFFERENCES:
        less = lambda part: [{id: x[part][id] - y[part][id] for id in x[part]} for x, y in zip(found[a], found[b])]
        kl = [x["result"]["kl"] - (y["result"]["kl"] if b != "SFT" else 0) for x, y in zip(found[a], found[b])]
        print(f"| {a} - {b} | {shown(less('gold'))} | {shown(less('chars'), 0)} | {spread(kl)} |")
    print("\n| arm | round | mean reward | top-1 | reward and length | tokens | cut off, % | KL of the policy that drew |\n|---" + "|---" * 7 + "|")
    for arm in list(ARMS)[1:]:
        for number in range(1, 1 + (1 if arm == "once" else LOOP)):
            rows = [json.load(open(folder(arm, seed) / f"round-{number}" / "eval.json")) for seed in seeds]
            parts = ["reward_mean", "reward_top1", "reward_length_correlation", "length_samples"]
            cells = [spread([row[part] for row in rows]) for part in parts]
            cells += [spread([100 * row["truncated"] for row in rows], 0), spread([row["kl_samples"] for row in rows])]
            print(f"| {arm} | {number} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
