"""Recomputes the ids in tokenizer.json and pairs.json with transformers, from the texts and messages they hold.

Run in this folder: python make_ids.py MODEL_DIR   (SmolLM2-135M-Instruct, or its tokenizer files alone)
"""
import json
import sys
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])


def ids(messages, prompt):
    return tokenizer.apply_chat_template(messages, add_generation_prompt=prompt)["input_ids"]


golden = json.load(open("tokenizer.json"))
golden["plain"][1] = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in golden["plain"][0]]
for case in golden["chat"]:
    case["text"] = tokenizer.apply_chat_template(case["messages"], add_generation_prompt=True, tokenize=False)
    case["ids"] = ids(case["messages"], True)
json.dump(golden, open("tokenizer.json", "w"), indent=1)

golden = json.load(open("pairs.json"))
for pair in golden["pairs"]:
    messages = pair["messages"]
    pair["prompt_ids"] = ids(messages["prompt"], True)
    for name in ("chosen", "rejected"):
        whole = ids(messages["prompt"] + messages[name], False)
        assert whole[: len(pair["prompt_ids"])] == pair["prompt_ids"]
        pair[f"{name}_ids"] = whole[len(pair["prompt_ids"]):]
json.dump(golden, open("pairs.json", "w"), ensure_ascii=False)
