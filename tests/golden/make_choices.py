"""Writes choices.json: what lm-evaluation-harness 0.4.9 asks, computes and marks on a few rows that were written for this,
with the model in datasets/quickstart.

    pip install lm_eval==0.4.9 "transformers<5" "datasets<4" && python tests/golden/make_choices.py

The tasks are the harness' own definitions; only where their rows come from is replaced.
"""
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import lm_eval
from lm_eval.tasks import TaskManager

HERE = Path(__file__).parent
TASKS = Path(lm_eval.__file__).parent / "tasks"
MODEL = HERE.parent.parent / "datasets" / "quickstart"

HELLASWAG = [
    {
        "activity_label": "Baking bread",
        "ctx_a": "A woman mixes flour and water [substeps] in a bowl.",
        "ctx_b": "the Dough",
        "endings": ["is left to rise.", "flies out of the window and sings.", "[header] reads the newspaper  aloud.", "é."],
        "label": "0",
    },
    {
        "activity_label": "How to plant a tree [title] Dig a hole",
        "ctx_a": "Use a spade.",
        "ctx_b": "",
        "endings": ["Then eat it.", "Put the tree in and water it well every day.", "Go home.", "The tree is in the car."],
        "label": "1",
    },
]
ARC = [
    {
        "question": "What gives the earth its light by day?",
        "choices": {"text": ["the moon", "the sun", "a lamp in the house of my friend"], "label": ["A", "B", "C"]},
        "answerKey": "B",
    },
    {
        "question": "Which animal can fly?",
        "choices": {"text": ["a cat", "a dog", "a bird", "a fish"], "label": ["1", "2", "3", "4"]},
        "answerKey": "3",
    },
]
MMLU = [
    {"question": " Which is a colour? ", "choices": ["blue", "cat", "seven", "to run"], "answer": 0, "subject": "world_things"},
    {"question": "How many legs has a dog?", "choices": ["one", "two", "three", "four"], "answer": 3, "subject": "world_things"},
]
MMLU_SHOTS = [
    {"question": "Which is a fruit?", "choices": ["stone", "apple", "shoe", "rain"], "answer": 1, "subject": "world_things"},
    {"question": "Which is wet?", "choices": ["fire", "dust", "water", "wood"], "answer": 2, "subject": "world_things"},
]
TRUTHFULQA = [
    {
        "question": "Can a stone swim?",
        "mc1_targets": {"choices": ["No, it goes down", "Yes, it swims", "Only at night"], "labels": [1, 0, 0]},
        "mc2_targets": {
            "choices": ["No, it goes down", "A stone cannot swim", "Yes, it swims", "Only at night"],
            "labels": [1, 1, 0, 0],
        },
    },
]


def definition(file):
    """A task's definition without where its rows are and without its group."""
    keys = "tag|task|task_alias|include|group|dataset_path|dataset_name|dataset_kwargs|training_split|validation_split|test_split|fewshot_split"
    kept, skipping = [], False
    for line in file.read_text().splitlines():
        if re.match(rf'"?({keys})"?:', line):
            skipping = True
        elif re.match(r"\S", line):
            skipping = False
        if not skipping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def write(folder, name, text, rows, shown=None):
    files = {"test": rows, **({"dev": shown} if shown else {})}
    text += f"task: {name}\ndataset_path: json\ntest_split: test\ndataset_kwargs:\n  data_files:\n"
    for split, content in files.items():
        path = folder / f"{name}-{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        text += f"    {split}: {path}\n"
    if shown:
        text += "fewshot_split: dev\n"
    (folder / f"{name}.yaml").write_text(text)


def asked(folder, name, shots=0):
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={MODEL},dtype=float32",
        tasks=[name],
        num_fewshot=shots,
        batch_size=1,
        device="cpu",
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
    )
    questions = []
    for sample in sorted(found["samples"][name], key=lambda sample: sample["doc_id"]):
        arguments = [call[0] if isinstance(call[0], (list, tuple)) else call for call in sample["arguments"]]
        questions.append(
            {
                "prompt": arguments[0][0],
                "choices": [argument[1] for argument in arguments],
                "logps": [float(response[0][0]) for response in sample["resps"]],
                "marks": {metric: float(sample[metric]) for metric in ("acc", "acc_norm") if metric in sample},
            }
        )
    return questions


golden = []
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    shutil.copy(TASKS / "hellaswag" / "utils.py", folder / "hellaswag_utils.py")
    shutil.copy(TASKS / "truthfulqa" / "utils.py", folder / "truthfulqa_utils.py")
    hellaswag = definition(TASKS / "hellaswag" / "hellaswag.yaml").replace("utils.", "hellaswag_utils.")
    mmlu = definition(TASKS / "mmlu" / "default" / "_default_template_yaml")
    headline = 'description: "The following are multiple choice questions (with answers) about world things.\\n\\n"\n'
    mc1 = definition(TASKS / "truthfulqa" / "truthfulqa_mc1.yaml")
    write(folder, "hellaswag_here", hellaswag, HELLASWAG)
    write(folder, "arc_here", definition(TASKS / "arc" / "arc_easy.yaml"), ARC)
    write(folder, "mmlu_here", headline + mmlu, MMLU, MMLU_SHOTS)
    write(folder, "mc1_here", mc1, TRUTHFULQA)
    mc2 = mc1.replace("mc1_targets", "mc2_targets") + "process_results: !function truthfulqa_utils.process_results_mc2\n"
    write(folder, "mc2_here", mc2, TRUTHFULQA)
    for exam, name, rows, shown in [
        ("hellaswag", "hellaswag_here", HELLASWAG, []),
        ("arc", "arc_here", ARC, []),
        ("mmlu", "mmlu_here", MMLU, MMLU_SHOTS),
        ("truthfulqa_mc1", "mc1_here", TRUTHFULQA, []),
        ("truthfulqa_mc2", "mc2_here", TRUTHFULQA, []),
    ]:
        questions = asked(folder, name, len(shown))
        golden.append({"exam": exam, "rows": rows, "shown": shown, "questions": questions})
(HERE / "choices.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
