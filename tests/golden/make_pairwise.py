"""A pairwise preference model's answers by transformers: the prompt of RLHFlow's pair-pm scripts, the letters' logits in
f64 at the last token, both orders. Usage: make_pairwise.py MODEL > pairwise.json"""

import json
import os
import sys

import torch
import transformers
from jinja2 import Environment
from transformers import AutoModelForCausalLM, AutoTokenizer

# The context as the scripts render it, with the settings that transformers gives its chat templates.
CONTEXT = (
    "\n{% for message in messages %}{% if loop.index0 % 2 == 0 %}\n\n<turn> user\n {{ message['content'] }}"
    "{% else %}\n\n<turn> assistant\n {{ message['content'] }}{% endif %}{% endfor %}\n\n\n"
)
PROMPT = "[CONTEXT] {context} [RESPONSE A] {a} [RESPONSE B] {b} \n"

path = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
context = Environment(trim_blocks=True, lstrip_blocks=True).from_string(CONTEXT)
letters = [tokenizer.encode(letter, add_special_tokens=False) for letter in "AB"]
assert all(len(ids) == 1 for ids in letters), letters
letters = [ids[0] for ids in letters]

rows = []
for pair in json.load(open(os.path.join(here, "smollm2/pairs.json")))["pairs"]:
    messages = pair["messages"]
    # The second half asks again after a first exchange, so that there is a context of several turns.
    turns = list(messages["prompt"])
    if len(rows) % 2:
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}] + turns
    chosen, rejected = messages["chosen"][0]["content"], messages["rejected"][0]["content"]
    row = {"turns": turns, "chosen": chosen, "rejected": rejected, "orders": []}
    for a, b in ((chosen, rejected), (rejected, chosen)):
        prompt = PROMPT.format(context=context.render(messages=turns), a=a, b=b)
        asked = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1, letters]
        p = torch.softmax(logits, -1)[0].item()
        row["orders"].append({"prompt": prompt, "ids": ids, "logits": logits.tolist(), "p": p})
    row["p_chosen"] = (row["orders"][0]["p"] + 1 - row["orders"][1]["p"]) / 2
    rows.append(row)
json.dump({"transformers": transformers.__version__, "letters": letters, "pairs": rows}, sys.stdout, indent=1)
print()
