#!/usr/bin/env bash
# Makes every file of datasets/quickstart from SmolLM2-135M-Instruct: about an hour on two cores, most of it the teacher.
#   recipes/quickstart/make.sh SMOLLM2 [WORK_FOLDER]
set -euo pipefail
teacher=${1:?usage: recipes/quickstart/make.sh SMOLLM2 [WORK_FOLDER]}
cd "$(dirname "$0")/../.."
work=${2:-data/quickstart}
out=datasets/quickstart
rule="0.6*feelings + 0.2*sentence + 0.2*no_repeats"
mkdir -p "$work"
cargo build --release --example make_quickstart --bin duel
target=${CARGO_TARGET_DIR:-target}/release
rows=$target/examples/make_quickstart
duel=$target/duel

# The teacher's stories, as running text and as answers to requests.
"$rows" prompts | head -n 434 > "$work/teacher.jsonl"
"$duel" generate --model "$teacher" --prompts "$work/teacher.jsonl" --out "$work/stories.jsonl" \
  -k 6 --max-new-tokens 90 --temperature 0.7 --top-p 0.95 --seed 1
"$rows" text "$work/stories.jsonl" > "$work/text.jsonl"
"$rows" sft "$work/stories.jsonl" > "$out/sft.jsonl"
"$rows" requests > "$out/prompts.jsonl"
"$rows" eval > "$out/eval.jsonl"

# A new model and its tokenizer.
"$duel" run quickstart/pretrain --output-dir "$work/runs"
"$duel" export "$work/runs/quickstart-pretrain/sft/checkpoint" --out "$work/bf16" --dtype bf16 --force
cp "$work"/bf16/* "$out/"

# Pairs of its own stories after SFT, labelled by the gold rule.
"$duel" sft --model "$work/runs/quickstart-pretrain/sft/checkpoint" --data "$out/sft.jsonl" --name sft --output-dir "$work/runs" \
  --set sft.max_length=256 --set sft.train.learning_rate=1e-3 --set sft.train.num_train_epochs=2 \
  --set sft.train.per_device_train_batch_size=32 --set sft.train.gradient_accumulation_steps=1
: > "$out/pairs.jsonl"
for seed in 3 4; do
  "$duel" generate --model "$work/runs/sft/sft/checkpoint" --prompts "$out/prompts.jsonl" --out "$work/drawn-$seed.jsonl" \
    -k 4 --max-new-tokens 96 --seed "$seed" --max-tokens-per-batch 60000
  "$duel" judge --rule "$rule" --data "$work/drawn-$seed.jsonl" --out "$work/scores-$seed.jsonl"
  "$duel" pairs --data "$work/scores-$seed.jsonl" --out "$work/pairs-$seed.jsonl"
  "$rows" pairs "$work/pairs-$seed.jsonl" "$((seed - 3))" >> "$out/pairs.jsonl"
done
