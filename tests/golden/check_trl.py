"""Evaluates what duel wrote with TRL's own trainers.

    python -P check_trl.py FOLDER

FOLDER holds pairs.json (rows of prompt, chosen and rejected), a model, an adapter of it and a reward model, all
written by duel. The losses that DPOTrainer and RewardTrainer evaluate on the pairs are printed as one JSON object.
TRL tokenises the text itself. Run by tests/laws/interchange.rs.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

FOLDER = Path(sys.argv[1])
PAIRS = json.loads((FOLDER / "pairs.json").read_text())


def causal():
    return AutoModelForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32)


def evaluated(Trainer, Config, model, tokenizer, more=None, **options):
    config = Config(
        output_dir=str(FOLDER / "trl"),
        per_device_eval_batch_size=len(PAIRS),
        max_length=64,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=False,
        **options,
    )
    rows = Dataset.from_list(PAIRS)
    trainer = Trainer(
        model=model,
        args=config,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        **(more or {}),
    )
    return trainer.evaluate()["eval_loss"]


def main():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "model")
    policy = PeftModel.from_pretrained(causal(), FOLDER / "adapter", is_trainable=True)
    # Without a reference TRL takes a copy of the adapter it is given, from which nothing differs yet.
    dpo = evaluated(DPOTrainer, DPOConfig, policy, tokenizer, {"ref_model": causal()}, beta=0.5)

    load = AutoModelForSequenceClassification.from_pretrained
    reward = load(FOLDER / "reward", num_labels=1, dtype=torch.float32)
    bradley_terry = evaluated(RewardTrainer, RewardConfig, reward, tokenizer, eos_token="<|end|>")
    print(json.dumps({"dpo": dpo, "reward": bradley_terry}))


if __name__ == "__main__":
    main()
