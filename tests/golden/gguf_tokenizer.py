"""A small SentencePiece vocabulary as GGUF metadata lists it, and the ids transformers 5.23 gives -> gguf_tokenizer.json.

    python gguf_tokenizer.py > gguf_tokenizer.json

The merges are recovered from the scores by transformers' `generate_merges`; normaliser and decoder are those of
Llama 2's own tokenizer.json (a prepended blank, bytes for what is unknown).
"""

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers.tokenization_utils_base import generate_merges

words = "the he th er in there re on an and ▁t ▁the ▁there ▁in ▁a ▁an ▁and ▁th ▁▁ ▁▁▁▁ ll lo ▁hello ▁he ▁hell hello hell".split()
letters = sorted(set("".join(words)) | set("dwy.,!\n"))
tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + words + letters + ["<turn>"]
first = 3 + 256
scores = [0.0] * first + [-float(i) for i in range(len(words) + len(letters))] + [0.0]
types = [2, 3, 3] + [6] * 256 + [1] * (len(words) + len(letters)) + [4]

vocab = {token: i for i, token in enumerate(tokens)}
merges = generate_merges(vocab, dict(zip(tokens, scores)))
tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(content=" ", left=1)])
tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in tokens[:3]])
tokenizer.add_tokens([AddedToken("<turn>", normalized=False)])
texts = ["hello there", "the hen and   the lion", "  in", "an é and 日", "there.<turn>hello!</s>", "", "\nwall"]
cases = [{"text": t, "ids": (ids := tokenizer.encode(t).ids), "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
         for t in texts]
print(json.dumps({"tokens": tokens, "scores": scores, "types": types, "cases": cases}, ensure_ascii=False))
