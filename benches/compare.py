#!/usr/bin/env python3
"""duel beside TRL, transformers and llama.cpp: same model, same rows, in turn on one machine.

    cargo build --release
    python benches/compare.py --duel target/release/duel --model SMOLLM2 --data pairs.jsonl

SMOLLM2 is a Hugging Face folder in f32, pairs.jsonl holds conversational preference rows. Needs torch, transformers,
trl and peft; llama.cpp is measured where xllamacpp and --gguf are there. Every measurement is a process of its own, and
the two sides take turns, so that a noisy machine is noisy for both. Prints a Markdown table: medians over all steps of
all turns with fastest and slowest, and ratios of medians (above 1: duel is faster).
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TRAINED = {
    "dpo": ["dpo"],
    "dpo, LoRA r = 16": ["dpo", "--lora"],
    "reward": ["reward"],
    "sft": ["sft"],
    "sft, packed": ["sft"],
    "start to the first step, reward": ["reward"],
}
# Responses of a prompt, and what duel rounds the weights to.
DRAWN = {"generate, K = 8": (8, "f32"), "generate, K = 1": (1, "f32"), "generate int8, K = 1": (1, "int8")}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--duel")
    options.add_argument("--model", required=True)
    options.add_argument("--data", required=True)
    options.add_argument("--gguf", help="the same weights in f32 for llama.cpp")
    options.add_argument("--gguf-q8", help="the same weights in q8_0 for llama.cpp")
    options.add_argument("--backend", default="cpu", help="where duel computes; TRL takes the card it finds by itself")
    options.add_argument("--compute", help="what duel's products read; left out: f32 on the CPU, and on a card auto, as TRL takes bf16 there")
    options.add_argument("--peak-tflops", type=float, help="what the card's maker promises: prints the share of it that training reaches")
    options.add_argument("--max-length", type=int, default=256)
    options.add_argument("--new-tokens", type=int, default=128)
    options.add_argument("--prompts", type=int, help="prompts that are answered and judged; left out: 1 and 4")
    options.add_argument("--together", type=int, default=8, help="prompts that transformers answers in one batch")
    options.add_argument("--turns", type=int, default=2)
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--warm", type=int, default=2)
    options.add_argument("--pairs", type=int, default=2)
    options.add_argument("--only", default="", help="kinds that begin with one of these, comma-separated")
    options.add_argument("--peer", help=argparse.SUPPRESS)
    options.add_argument("--launched", type=float, help=argparse.SUPPRESS)
    asked = options.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    if asked.peer:
        print(json.dumps(peer(asked.peer, asked)))
        return
    wanted = [kind for kind in [*TRAINED, *DRAWN, "judge, K = 8"] if kind.startswith(tuple(asked.only.split(",")))]
    wanted = [kind for kind in wanted if peers(kind, asked)]
    print("| work | duel | peer | ratio of medians | peak memory, MiB | ratio | on the card, MiB |")
    print("|---|---|---|---|---|---|---|")
    for kind in wanted:
        sides = {"duel": []}
        for _ in range(asked.turns):
            sides["duel"].append(ours(kind, asked))
            for name in peers(kind, asked):
                sides.setdefault(name, []).append(theirs(name, kind, asked))
        for name in list(sides)[1:]:
            print(row(kind, name, sides["duel"], sides[name]), flush=True)


def peers(kind, asked):
    if kind in TRAINED:
        return ["TRL"]
    # llama.cpp is asked for one prompt, on the processor.
    alone = asked.backend == "cpu" and asked.prompts in (None, 1)
    llama = ["llama.cpp"] if kind in DRAWN and gguf(kind, asked) and alone else []
    return llama if "int8" in kind else ["transformers", *llama]


def gguf(kind, asked):
    return asked.gguf_q8 if "int8" in kind else asked.gguf


def row(kind, name, own, other):
    """Seconds a step where a step is measured, tokens or responses a second elsewhere."""
    mine, its = ([value for turn in side for value in turn["values"]] for side in (own, other))
    unit = own[0]["unit"]
    ratio = statistics.median(mine) / statistics.median(its)
    if unit == "s":
        ratio = 1 / ratio
    memory = [max(turn["peak_rss_mib"] for turn in side) for side in (own, other)]
    card = [max(turn["card_mib"] or 0 for turn in side) for side in (own, other)]
    card = ", ".join(f"{mib:,.0f}" for mib in card) if all(card) else "-"

    def shown(values):
        return f"{statistics.median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"

    return (
        f"| {kind} | {shown(mine)} | {name}: {shown(its)} | **{ratio:.2f}** "
        f"| {memory[0]:,.0f}, {memory[1]:,.0f} | {memory[0] / memory[1]:.2f} | {card} |"
    )


def ours(kind, asked):
    common = ["--model", asked.model, "--data", asked.data, "--max-length", str(asked.max_length), "--json"]
    common += ["--backend", asked.backend]
    common += ["--compute", asked.compute or ("f32" if asked.backend == "cpu" else "auto")]
    if asked.peak_tflops:
        common += ["--peak-tflops", str(asked.peak_tflops)]
    memory = lambda said: {name: said[name] for name in ("peak_rss_mib", "card_mib")}
    if kind in TRAINED:
        steps, warm = counted(kind, asked)
        counts = ["--pairs", str(asked.pairs), "--steps", str(steps), "--warm", str(warm)]
        launched = time.time()
        said = run([asked.duel, "bench", *TRAINED[kind], *counts, *common])
        if asked.peak_tflops:
            # The peer's share is this one by the ratio of the times: both have done the same work.
            print(f"{kind}: {100 * said['model_flops_utilisation']:.1f} % of the promised operations", file=sys.stderr)
        if kind.startswith("start"):
            return {"values": [said["first_step_unix"] - launched], "unit": "s", **memory(said)}
        if kind == "sft, packed":
            rates = [tokens / seconds for tokens, seconds in zip(said["step_tokens"], said["step_seconds"])]
            return {"values": rates, "unit": "tokens/s", **memory(said)}
        return {"values": said["step_seconds"], "unit": "s", **memory(said)}
    if kind in DRAWN:
        k, dtype = DRAWN[kind]
        # One response is drawn greedily, several must differ.
        words = ["--temperature", "0"] if k == 1 else []
        words += ["--pairs", str(asked.prompts or 1), "-k", str(k), "--max-new-tokens", str(asked.new_tokens), "--dtype", dtype]
        said = run([asked.duel, "bench", "generate", *words, *common])
        return {"values": [said["tokens_per_second"]], "unit": "tokens/s", **memory(said)}
    said = run([asked.duel, "bench", "judge", "--pairs", str(asked.prompts or 4), "-k", "8", *common])
    return {"values": [said["responses_per_second"]], "unit": "responses/s", **memory(said)}


def counted(kind, asked):
    """Steps that are measured and steps before them."""
    return (1, 1) if kind.startswith("start") else (asked.steps, asked.warm)


def theirs(name, kind, asked):
    steps, warm = counted(kind, asked)
    words = ["--model", asked.model, "--data", asked.data, "--steps", str(steps), "--warm", str(warm)]
    words += ["--launched", repr(time.time()), "--backend", asked.backend]
    words += ["--max-length", str(asked.max_length), "--new-tokens", str(asked.new_tokens), "--together", str(asked.together)]
    words += ["--prompts", str(asked.prompts)] if asked.prompts else []
    words += ["--pairs", str(asked.pairs)] + (["--gguf", gguf(kind, asked)] if gguf(kind, asked) else [])
    return run([sys.executable, __file__, "--peer", f"{name}: {kind}", *words])


def run(words):
    """What a command says in its last line, with the most that it held on the card."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        command = subprocess.Popen(words, stdout=out, stderr=err)
        card = None
        while command.poll() is None:
            card = max(filter(None, (card, on_card(command.pid))), default=None)
            time.sleep(0.1)
        out.seek(0)
        err.seek(0)
        if command.returncode:
            sys.exit(f"{' '.join(words)}\n{err.read()[-2000:]}")
        return json.loads(out.read().strip().splitlines()[-1]) | {"card_mib": card}


def on_card(pid):
    """MiB that a process holds on an NVIDIA card, as its driver says: one meter for both sides. None elsewhere."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    held = [line.split(",") for line in lines if line.count(",") == 1]
    mib = [float(memory) for owner, memory in held if owner.strip() == str(pid) and memory.strip().isdigit()]
    return sum(mib) or None


def peer(named, asked):
    import resource

    name, kind = named.split(": ", 1)
    measure = {"TRL": train, "transformers": judge if kind.startswith("judge") else generate, "llama.cpp": llama}[name]
    values, unit = measure(kind, asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"values": values, "unit": unit, "peak_rss_mib": peak}


def rows_of(asked):
    with open(asked.data) as lines:
        return [json.loads(line) for line in lines]


def torch_on_these_cores():
    import torch

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    return torch


def train(kind, asked):
    """TRL's trainers as a user would call them: f32 weights, AdamW, no gradient checkpointing; on a card, bf16 by autocast."""
    torch = torch_on_these_cores()
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    lengths = lambda row: [len(tokenizer.apply_chat_template(row["prompt"] + row[side])["input_ids"]) for side in ("chosen", "rejected")]
    sft = kind.startswith("sft")
    per_step = 2 * asked.pairs if sft else asked.pairs
    fitting = (row for row in rows_of(asked) if max(lengths(row)) <= asked.max_length)
    rows = list(itertools.islice(fitting, (asked.steps + asked.warm) * per_step))
    lora = kind == "dpo, LoRA r = 16"
    settings = dict(
        output_dir=os.path.join(os.environ.get("TMPDIR", "/tmp"), "compare-trl"),
        max_steps=asked.steps + asked.warm,
        per_device_train_batch_size=per_step,
        max_length=asked.max_length,
        learning_rate=1e-5 if lora else 1e-6,
        lr_scheduler_type="constant",
        use_cpu=asked.backend == "cpu",
        bf16=asked.backend != "cpu",
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        logging_steps=1000,
        seed=0,
        train_sampling_strategy="sequential",  # the same rows in the same steps on both sides
    )
    adapter = None
    if lora:
        from peft import LoraConfig

        adapter = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    f32 = dict(dtype=torch.float32)
    if "reward" in kind:
        model = AutoModelForSequenceClassification.from_pretrained(asked.model, num_labels=1, **f32)
        trainer = trl.RewardTrainer(model=model, args=trl.RewardConfig(**settings), train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    else:
        model = AutoModelForCausalLM.from_pretrained(asked.model, **f32)
    if sft:
        # duel learns whole sequences in this measurement, as TRL does with its default.
        texts = [{"messages": row["prompt"] + row["chosen"]} for row in rows]
        if kind == "sft, packed":
            # Packed rows are all of one length: more texts, so that there are enough of them for every step.
            texts *= 3
            settings |= dict(packing=True, per_device_train_batch_size=asked.pairs)
        trainer = trl.SFTTrainer(model=model, args=trl.SFTConfig(**settings), train_dataset=Dataset.from_list(texts), processing_class=tokenizer)
    elif kind.startswith("dpo"):
        trainer = trl.DPOTrainer(
            model=model,
            args=trl.DPOConfig(beta=0.1, **settings),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=adapter,
        )
    moments, tokens, first = [], [], []
    collate = trainer.data_collator

    def count_tokens(examples):
        batch = collate(examples)
        labels = batch.get("labels")
        tokens.append(int(labels.ne(-100).sum()) if labels is not None else 0)
        return batch

    trainer.data_collator = count_tokens

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__):
            first.append(time.time() - asked.launched)
            moments.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            moments.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    steps = [after - before for before, after in zip(moments, moments[1:])]
    if kind.startswith("start"):
        return first, "s"
    if kind == "sft, packed":
        return [count / seconds for count, seconds in zip(tokens[asked.warm :], steps[asked.warm :])], "tokens/s"
    return steps[asked.warm :], "s"


def placed(asked, torch):
    """Where transformers computes and in which format: on a card in bf16, as duel's products read there."""
    card = asked.backend != "cpu" and torch.cuda.is_available()
    return ("cuda", torch.bfloat16) if card else ("cpu", torch.float32)


def generate(kind, asked):
    torch = torch_on_these_cores()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    k, _ = DRAWN[kind]
    device, dtype = placed(asked, torch)
    tokenizer = AutoTokenizer.from_pretrained(asked.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=dtype).eval().to(device)
    batches = []
    rows = rows_of(asked)[: asked.prompts or 1]
    for at in range(0, len(rows), asked.together):
        chats = [row["prompt"] for row in rows[at : at + asked.together]]
        prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True)
        batches.append({name: tensor.repeat_interleave(k, 0).to(device) for name, tensor in prompts.items()})

    def draw(batches):
        count = asked.new_tokens
        with torch.no_grad():
            for batch in batches:
                # What comes back is read, so that nothing is still to be computed.
                model.generate(**batch, max_new_tokens=count, min_new_tokens=count, do_sample=k > 1).cpu()

    draw(batches[:1])
    began = time.perf_counter()
    draw(batches)
    return [len(rows) * k * asked.new_tokens / (time.perf_counter() - began)], "tokens/s"


def llama(kind, asked):
    """llama.cpp through xllamacpp: K sequences of one prompt in one context."""
    import xllamacpp
    from transformers import AutoTokenizer

    k, _ = DRAWN[kind]
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    text = tokenizer.apply_chat_template(rows_of(asked)[0]["prompt"], add_generation_prompt=True, tokenize=False)
    how = xllamacpp.CommonParams()
    how.model.path = asked.gguf
    how.n_parallel = k
    how.n_ctx = 1024 * k
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = os.cpu_count()
    how.warmup = False
    server = xllamacpp.Server(how)

    def one(count, seed):
        asked_for = {"prompt": text, "n_predict": count, "ignore_eos": True, "temperature": 1.0 if k > 1 else 0.0, "seed": seed, "cache_prompt": False}
        return server.handle_completions(asked_for)

    from concurrent.futures import ThreadPoolExecutor

    def draw(count):
        with ThreadPoolExecutor(k) as pool:
            list(pool.map(lambda seed: one(count, seed), range(k)))

    draw(asked.new_tokens)
    began = time.perf_counter()
    draw(asked.new_tokens)
    return [k * asked.new_tokens / (time.perf_counter() - began)], "tokens/s"


def judge(_kind, asked):
    """A sequence classifier over the K responses of each prompt, padded to one batch."""
    torch = torch_on_these_cores()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    device, dtype = placed(asked, torch)
    model = AutoModelForSequenceClassification.from_pretrained(asked.model, num_labels=1, dtype=dtype).eval().to(device)
    model.config.pad_token_id = tokenizer.pad_token_id
    batches = []
    for row in rows_of(asked)[: asked.prompts or 4]:
        answers = [row["chosen" if i % 2 == 0 else "rejected"][-1]["content"].strip() + f" ({i})" for i in range(8)]
        chats = [row["prompt"] + [{"role": "assistant", "content": answer}] for answer in answers]
        texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
        batches.append(tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(device))
    with torch.no_grad():
        model(**batches[0]).logits.cpu()
        began = time.perf_counter()
        for batch in batches:
            model(**batch).logits.cpu()
    return [8 * len(batches) / (time.perf_counter() - began)], "responses/s"


if __name__ == "__main__":
    main()
