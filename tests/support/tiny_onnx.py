"""A cross-encoder of a few hundred bytes: its logit is the number of tokens in the second segment. And a tokenizer for it.

The file is written by hand in protobuf's wire format, since onnxruntime only reads ONNX.
"""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

_FLOAT, _INT64 = 1, 7


def write_cross_encoder(path: Path) -> Path:
    """Fields are numbered as in onnx.proto."""
    cast = _node("Cast", "token_type_ids", "second", _integer("to", _FLOAT))
    total = _node("ReduceSum", "second", "logits", _integers("axes", [1]) + _integer("keepdims", 1))
    inputs = b"".join(
        _field(11, _tensor(name, _INT64, "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    graph = _field(1, cast) + _field(1, total) + _field(2, b"tiny") + inputs + _field(12, _tensor("logits", _FLOAT, 1))
    path.write_bytes(_number(1, 7) + _field(8, _number(2, 11)) + _field(7, graph))
    return path


def write_tokenizer(path: Path) -> Path:
    """Every word is a token; pairs end in a separator each, which belongs to its segment."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[SEP]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 1)]
    )
    tokenizer.save(str(path))
    return path


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3, value])


def _field(field: int, payload: bytes) -> bytes:
    length = len(payload)
    size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return bytes([field << 3 | 2]) + size + payload


def _node(op: str, source: str, target: str, attributes: bytes) -> bytes:
    return _field(1, source.encode()) + _field(2, target.encode()) + _field(4, op.encode()) + attributes


def _integer(name: str, value: int) -> bytes:
    return _field(5, _field(1, name.encode()) + _number(3, value) + bytes([20 << 3 & 127 | 128, 1, 2]))


def _integers(name: str, values: list[int]) -> bytes:
    items = b"".join(_number(8, value) for value in values)
    return _field(5, _field(1, name.encode()) + items + bytes([20 << 3 & 127 | 128, 1, 7]))


def _tensor(name: str, kind: int, second: str | int) -> bytes:
    last = _number(1, second) if isinstance(second, int) else _field(2, second.encode())
    shape = _field(1, _field(2, b"batch")) + _field(1, last)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, kind) + _field(2, shape)))
