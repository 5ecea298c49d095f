"""Writes nested.parquet with pyarrow: lists of structs, as the hub's preference sets have them.

Run in this folder: python make_parquet.py
"""
import pyarrow as pa
import pyarrow.parquet as pq


def say(role, content):
    return {"role": role, "content": content}


message = pa.struct([("role", pa.string()), ("content", pa.string())])
schema = pa.schema([("prompt", pa.list_(message)), ("chosen", pa.list_(message)), ("rejected", pa.list_(message)),
                    ("margin", pa.float32()), ("score", pa.float64()), ("tags", pa.list_(pa.string()))])
rows = [
    dict(prompt=[say("user", "Hi é 🦀")], chosen=[say("assistant", "Hello")], rejected=[say("assistant", "No")],
         margin=1.5, score=2.0, tags=["a", "b"]),
    dict(prompt=[say("system", "Be brief"), say("user", "Bye")], chosen=[say("assistant", "See you")],
         rejected=[say("assistant", "What?")], margin=None, score=None, tags=[]),
]
pq.write_table(pa.Table.from_pylist(rows, schema), "nested.parquet", compression="zstd")
