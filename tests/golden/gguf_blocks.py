"""Random blocks of ggml's formats and what gguf-py 0.19 makes of them, as f32 bits -> gguf_blocks.json.

    python gguf_blocks.py > gguf_blocks.json
"""

import json

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

# Where the f16 scales lie in a block: random bits there would be NaN now and then.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}

random = np.random.default_rng(0)
cases = {}
for kind, places in SCALES.items():
    weights, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (2, size), dtype=np.uint8)
    for place in places:
        scales = random.normal(0, 0.05, 2).astype(np.float16)
        blocks[:, place:place + 2] = scales[:, None].view(np.uint8)
    values = dequantize(blocks, kind).astype(np.float32).reshape(-1)
    cases[int(kind)] = {"name": kind.name, "bytes": blocks.tobytes().hex(), "bits": values.view(np.uint32).tolist()}
halves = random.normal(0, 1, 8).astype(np.float16)
cases[int(T.F16)] = {"name": "F16", "bytes": halves.tobytes().hex(),
                     "bits": halves.astype(np.float32).view(np.uint32).tolist()}
print(json.dumps(cases, separators=(",", ":")))
