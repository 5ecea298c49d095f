"""The study of best-of-N on sums (R10, R16): best_of.py DUEL [SEEDS]

A policy is taught to solve sums step by step. It draws solutions, which are labelled by their result and step by step by how
the policy goes on. Verifiers of four kinds are trained on the same solutions, each from several seeds, and pick of the first N
solutions of other sums. Nothing here is tuned: one rate, batch and number of epochs for all."""

import json
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "data"
KINDS = ["process", "outcome", "scalar", "reward"]


def problem(draw):
    """Four numbers to add and take away, with the solution in steps."""
    total = draw.randint(1, 9)
    words, steps = [f"Start with {total}."], []
    for _ in range(3):
        change = draw.randint(1, 9)
        down = draw.random() < 0.5 and change < total
        after = total - change if down else total + change
        words.append(f"{'Take away' if down else 'Add'} {change}.")
        steps.append(f"{total} {'-' if down else '+'} {change} = {after}.")
        total = after
    return " ".join(words), "\n\n".join([*steps, f"The answer is {total}."]), str(total)


def write(name, rows):
    (DATA / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(name):
    return [json.loads(line) for line in open(DATA / name)]


def main():
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    DATA.mkdir(exist_ok=True)

    def call(*words):
        words = [str(word) for word in [duel, *words]]
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout

    draw, asked = random.Random(7), set()

    def fresh(count):
        rows = []
        while len(rows) < count:
            question, solution, answer = problem(draw)
            if question not in asked:
                asked.add(question)
                turn = [{"role": "user", "content": question}]
                rows.append({"prompt": turn, "completion": [{"role": "assistant", "content": solution}], "answer": answer})
        return rows

    write("sft.jsonl", fresh(3000))
    for name, count in (("train", 400), ("test", 300)):
        write(f"{name}.jsonl", [{"prompt": row["prompt"], "answer": row["answer"]} for row in fresh(count)])
    here = ["--output-dir", "runs", "--quiet"]
    call("sft", HERE / "arithmetic-policy.toml", *here)
    policy = "runs/study-arithmetic-policy/sft/checkpoint"
    for name, k in (("train", 8), ("test", 64)):
        call("generate", "--model", policy, "--prompts", DATA / f"{name}.jsonl", "--out", DATA / f"{name}-drawn.jsonl",
             "-k", k, "--max-new-tokens", 96)
    call("steps", "--model", policy, "--data", DATA / "train-drawn.jsonl", "--out", DATA / "steps.jsonl", "-k", 8,
         "--max-new-tokens", 96, "--temperature", 0.7)
    call("judge", "--rule", "answer", "--data", DATA / "train-drawn.jsonl", "--out", DATA / "labelled.jsonl", "--force")
    pairs = []
    for row in read("labelled.jsonl"):
        right = [text for text, reward in zip(row["responses"], row["rewards"]) if reward == 1]
        wrong = [text for text, reward in zip(row["responses"], row["rewards"]) if reward == 0]
        pairs += [{"prompt": row["prompt"], "chosen": a, "rejected": b} for a, b in zip(right, wrong)]
    write("solution-pairs.jsonl", pairs)
    curves = []
    for seed in seeds:
        models = []
        for kind in KINDS:
            name = f"study-arithmetic-{kind}-{seed}"
            command = "reward" if kind == "reward" else "verifier"
            call(command, HERE / f"arithmetic-{kind}.toml", "--set", f"seed={seed}", "--name", name,
                 "--set", f"{command}.model_name_or_path={json.dumps(policy)}", *here)
            models.append(f"runs/{name}/{command}/checkpoint")
            print(kind, seed, open(f"runs/{name}/{command}-eval.json").read().replace("\n", " "), file=sys.stderr, flush=True)
        test = ["best-of", "--data", DATA / "test-drawn.jsonl", "--json"]
        three = json.loads(call(*test, "--process", models[0], "--outcome", models[1], "--model", models[2]))["curve"]
        last = json.loads(call(*test, "--model", models[3]))["curve"]
        for point, other in zip(three, last):
            point["judges"] += other["judges"]
        curves.append(three)
    print("| N | KL at most | pass@1 | majority |", " | ".join(KINDS), "| pass@N |")
    print("|---" * (5 + len(KINDS)) + "|")
    for points in zip(*curves):
        def shown(of):
            each = [100 * of(point)["mean"] for point in points]
            return f"{sum(each) / len(each):.1f} [{min(each):.1f}, {max(each):.1f}]"

        first = points[0]
        fixed = [f"{100 * first[key]['mean']:.1f}" for key in ("one", "majority")]
        judges = [shown(lambda point, i=i: point["judges"][i]) for i in range(len(KINDS))]
        print("|", " | ".join([str(first["n"]), f"{first['kl']:.2f}", *fixed, *judges, f"{100 * first['best']['mean']:.1f}"]), "|")


if __name__ == "__main__":
    main()
