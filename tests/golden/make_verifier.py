"""The probability of `+` after every step of a solution by transformers, as RLHFlow's evaluation of process and outcome
reward models asks for it: one forward pass a step over the conversation so far, with `+` after every step before, the logits of
`+` and `-` in f64 where the mark is predicted. Usage: make_verifier.py MODEL > verifier.json"""

import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

PROBLEMS = [
    {
        "problem": "Ann has 3 apples and buys 4 more. She eats 2. How many are left?",
        "solutions": [
            "Step 1: Ann has 3 + 4 = 7 apples.\n\nStep 2: She eats 2, so 7 - 2 = 5 are left.\n\nThe answer is 5.",
            "Step 1: Ann has 3 + 4 = 8 apples.\n\n\n\n  Step 2: She eats 2, so 8 - 2 = 6 are left. \n\nThe answer is 6.",
        ],
    },
    {
        "problem": "A train goes 60 km in an hour. How far does it go in two and a half hours?",
        "solutions": ["In two hours it goes 120 km.\n\nIn half an hour 30 km, so 150 km.", "It goes 60 km."],
    },
]

path = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
marks = [tokenizer.encode(mark, add_special_tokens=False) for mark in "+-"]
assert all(len(ids) == 1 for ids in marks), marks
marks = [ids[0] for ids in marks]


def plus(turns):
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1, marks]
    return ids, torch.softmax(logits, -1)[0].item()


rows = []
for problem in PROBLEMS:
    for solution in problem["solutions"]:
        steps = [step.strip() for step in solution.split("\n\n") if step.strip()]
        turns, found = [], []
        for step in steps:
            text = f"{problem['problem']} {step}" if not turns else step
            turns.append({"role": "user", "content": text})
            ids, p = plus(turns)
            found.append(p)
            turns.append({"role": "assistant", "content": "+"})
        whole = [{"role": "user", "content": f"{problem['problem']} {solution}"}]
        row = {"problem": problem["problem"], "solution": solution, "steps": steps, "p": found}
        rows.append({**row, "ids": ids, "whole": plus(whole)[1]})
json.dump({"transformers": transformers.__version__, "marks": marks, "solutions": rows}, sys.stdout, indent=1)
print()
