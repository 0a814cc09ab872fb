#!/usr/bin/env python3
"""Writes the fuzz corpus, tests/fuzz/corpus/<target>/: small files, most of them hostile.

Needs the standard library alone; another zlib may compress differently. Files that a fuzzer finds are
added by hand, named after what they show.
"""
import json
import math
import os
import struct
import zlib

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, content):
    assert len(content) < 4096, name
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, name), "wb") as f:
        f.write(content)


# ---- NPY ----------------------------------------------------------------------------------------

def npy(dictionary, data=b"", version=1, length=None):
    text = dictionary.encode() if isinstance(dictionary, str) else dictionary
    size = len(text) if length is None else length
    form = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(form, size) + text + data


def entry(descr="<f4", order="False", shape="(2, 3)"):
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"


DATA = bytes(range(24))
put("npy", "good_f4", npy(entry(), DATA))
put("npy", "good_padded", npy(entry()[:-1].ljust(117) + "\n", DATA))
put("npy", "good_version2", npy(entry(), DATA, 2))
put("npy", "good_version3", npy(entry(), DATA, 3))
for descr, count in [("<f8", 3), ("|i1", 24), ("|u1", 24), ("<i2", 12), (">u2", 12), (">i4", 6),
                     ("<u4", 6), ("<i8", 3), (">u8", 3), (">f8", 3), ("=f4", 6)]:
    put("npy", "good_" + descr[1:] + ("_big" if descr[0] == ">" else ""),
        npy(entry(descr, shape=f"({count},)"), DATA))
put("npy", "good_b1", npy(entry("|b1", shape="(4,)"), b"\0\1\1\0"))
put("npy", "good_scalar", npy(entry(shape="()"), DATA[:4]))
put("npy", "good_empty", npy(entry(shape="(0, 3)")))
put("npy", "good_empty_huge", npy(entry(shape="(1099511627776, 0, 1099511627776)")))
put("npy", "good_eight_axes", npy(entry(shape="(1, 1, 2, 1, 3, 1, 1, 1)"), DATA))
put("npy", "good_keys_any_order", npy('{"shape":(6,),"fortran_order":True,"descr":"<f4"}', DATA))
put("npy", "good_fortran_column", npy(entry(order="True", shape="(6, 1)"), DATA))
put("npy", "bool_two", npy(entry("|b1", shape="(4,)"), b"\0\1\2\0"))
put("npy", "long_integers", npy(entry("<i8", shape="(2,)"), struct.pack("<qq", -2**63, 2**63 - 1)))
put("npy", "fortran", npy(entry(order="True"), DATA))
put("npy", "object", npy(entry("|O", shape="(3,)"), DATA))
put("npy", "half", npy(entry("<f2", shape="(12,)"), DATA))
put("npy", "complex", npy(entry("<c8", shape="(3,)"), DATA))
put("npy", "structured", npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (6,), }",
                             DATA))
put("npy", "date", npy(entry("<M8[ns]", shape="(3,)"), DATA))
put("npy", "text", npy(entry("<U6", shape="(1,)"), DATA))
put("npy", "unknown_type", npy(entry("<q4"), DATA))
put("npy", "nine_axes", npy(entry(shape="(1, 1, 2, 1, 3, 1, 1, 1, 1)"), DATA))
put("npy", "truncated_data", npy(entry(), DATA[:-1]))
put("npy", "trailing_byte", npy(entry(), DATA + b"\0"))
put("npy", "truncated_header", npy(entry(), length=200))
put("npy", "huge_header", npy(entry(), DATA, 2, length=0xffffffff))
put("npy", "header_just_over", npy(entry(), DATA, 2, length=(16 << 20) + 1))
put("npy", "no_header", npy(""))
put("npy", "version4", npy(entry(), DATA, 4))
put("npy", "magic_alone", b"\x93NUMPY")
put("npy", "magic_wrong", b"\x93NUMPX\x01\x00" + b"\0" * 40)
put("npy", "magic_half", b"\x93NU")
put("npy", "empty", b"")
put("npy", "negative", npy(entry(shape="(-2, 3)"), DATA))
put("npy", "overflow", npy(entry(shape="(4294967296, 4294967296)"), DATA))
put("npy", "overflow_bytes", npy(entry("<f8", shape="(2305843009213693952,)"), DATA))
put("npy", "extent_too_long", npy(entry(shape="(99999999999999999999,)"), DATA))
put("npy", "promises_much", npy(entry(shape="(1000000000000,)"), DATA))
put("npy", "leading_zero", npy(entry(shape="(02, 3)"), DATA))
put("npy", "python2_long", npy(entry(shape="(2L, 3L)"), DATA))
put("npy", "no_tuple", npy(entry(shape="(6)"), DATA))
put("npy", "list_for_tuple", npy(entry(shape="[6]"), DATA))
put("npy", "key_missing", npy("{'descr': '<f4', 'shape': (6,), }", DATA))
put("npy", "key_twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, "
                            "'shape': (6,), }", DATA))
put("npy", "key_unknown", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}",
                              DATA))
put("npy", "key_long", npy("{'" + "k" * 200 + "': 1}", DATA))
put("npy", "call", npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (6,)}", DATA))
put("npy", "escape", npy(r"{'descr': '\x3cf4', 'fortran_order': False, 'shape': (6,)}", DATA))
put("npy", "quote_open", npy("{'descr': '<f4", DATA))
put("npy", "after_brace", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", DATA))
put("npy", "nul_padding", npy(entry()[:-1] + "\0" * 20, DATA))
put("npy", "deep", npy("{'shape': " + "(" * 2000, DATA))
put("npy", "no_comma", npy("{'descr': '<f4' 'fortran_order': False 'shape': (6,)}", DATA))
put("npy", "two_commas", npy("{'descr': '<f4',, 'fortran_order': False, 'shape': (6,)}", DATA))

# ---- IDX ----------------------------------------------------------------------------------------


def idx(code, shape, data=b""):
    return bytes([0, 0, code, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape) + data


for name, code, size in [("u8", 8, 1), ("i8", 9, 1), ("i16", 11, 2), ("i32", 12, 4), ("f32", 13, 4),
                         ("f64", 14, 8)]:
    put("idx", "good_" + name, idx(code, (24 // size,), DATA))
put("idx", "good_images", idx(8, (2, 3, 4), DATA))
put("idx", "good_scalar", idx(8, (), b"\7"))
put("idx", "good_empty", idx(8, (0, 28, 28)))
put("idx", "good_eight_axes", idx(8, (1,) * 7 + (24,), DATA))
put("idx", "type_10", idx(10, (24,), DATA))
put("idx", "type_0", idx(0, (24,), DATA))
put("idx", "nine_axes", idx(8, (1,) * 8 + (24,), DATA))
put("idx", "255_axes", idx(8, (1,) * 255, b"\0"))
put("idx", "truncated_header", idx(8, (2, 3, 4))[:-3])
put("idx", "truncated_data", idx(8, (2, 3, 4), DATA[:-1]))
put("idx", "trailing_byte", idx(8, (2, 3, 4), DATA + b"\0"))
put("idx", "overflow", idx(14, (0xffffffff,) * 4, DATA))
put("idx", "promises_much", idx(8, (0xffffffff,), DATA))
put("idx", "magic_alone", b"\0\0\x08\x03")
put("idx", "magic_half", b"\0\0")
put("idx", "magic_wrong", b"\0\1\x08\x01" + DATA)
put("idx", "nan", idx(13, (1,), struct.pack(">f", float("nan"))))

# ---- gzip ---------------------------------------------------------------------------------------


def gz(content, level=9, name=None, crc=None, size=None):
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = deflate.compress(content) + deflate.flush()
    head = b"\x1f\x8b\x08" + bytes([8 if name else 0]) + b"\0\0\0\0\0\xff"
    head += name.encode() + b"\0" if name else b""
    crc = zlib.crc32(content) if crc is None else crc
    return head + body + struct.pack("<II", crc, len(content) if size is None else size)


GOOD = idx(8, (2, 3, 4), DATA)
put("gzip", "good_idx", gz(GOOD))
put("gzip", "good_npy", gz(npy(entry(), DATA)))
put("gzip", "good_stored", gz(GOOD, 0))
put("gzip", "good_named", gz(GOOD, name="images"))
put("gzip", "good_members", gz(GOOD[:7]) + gz(b"") + gz(GOOD[7:20]) + gz(GOOD[20:]) + gz(b""))
put("gzip", "good_large", gz(idx(8, (100, 1000), bytes(100000))))
put("gzip", "wrong_crc", gz(GOOD, crc=1))
put("gzip", "wrong_size", gz(GOOD, size=1))
put("gzip", "trailing_byte_inside", gz(GOOD + b"\0"))
put("gzip", "trailing_member", gz(GOOD) + gz(b"\0"))
put("gzip", "trailing_byte_outside", gz(GOOD) + b"\0")
put("gzip", "trailing_half_member", gz(GOOD) + b"\x1f")
put("gzip", "truncated_stream", gz(GOOD)[:20])
put("gzip", "truncated_trailer", gz(GOOD)[:-3])
put("gzip", "truncated_inside", gz(GOOD[:-1]))
put("gzip", "header_alone", gz(GOOD)[:10])
put("gzip", "magic_alone", b"\x1f\x8b")
put("gzip", "one_byte", b"\x1f")
put("gzip", "method_7", b"\x1f\x8b\x07" + gz(GOOD)[3:])
put("gzip", "flags_reserved", b"\x1f\x8b\x08\xe0" + gz(GOOD)[4:])
put("gzip", "bad_block", gz(GOOD)[:10] + b"\x07" * 30)
put("gzip", "bad_distance", gz(GOOD)[:10] + bytes([0x4b, 0x04, 0x42, 0x00, 0x10]) + b"\0" * 8)
put("gzip", "twice", gz(gz(GOOD)))
put("gzip", "empty_content", gz(b""))
put("gzip", "text", gz(b"hello"))
put("gzip", "many_empty_members", gz(b"") * 190)
put("gzip", "bomb", gz(idx(8, (24,), bytes(3 << 20))))
put("gzip", "promises_more_than_deflate_can", gz(idx(8, (0xffffffff,), DATA)))

# ---- safetensors --------------------------------------------------------------------------------


def st(header, data=b"", length=None):
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(name="a", dtype="F32", shape="2,3", offsets="0,24"):
    return f'"{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{offsets}]}}'


def many(*entries):
    return "{" + ",".join(entries) + "}"


put("safetensors", "good", st(many(one()), DATA))
put("safetensors", "good_metadata", st(many('"__metadata__":{"equinv":"{\\"format\\":1}"}', one()),
                                       DATA))
put("safetensors", "good_padded", st(many(one()).ljust(96), DATA))
put("safetensors", "good_empty", st("{}"))
for dtype, size in [("BOOL", 1), ("U8", 1), ("I8", 1), ("I16", 2), ("U16", 2), ("F16", 2),
                    ("BF16", 2), ("I32", 4), ("U32", 4), ("F64", 8), ("I64", 8), ("U64", 8)]:
    put("safetensors", "good_" + dtype.lower(),
        st(many(one(dtype=dtype, shape=str(24 // size))), DATA))
put("safetensors", "good_two", st(many(one("b", "U8", "8", "16,24"), one("a", "U8", "16", "0,16")),
                                  DATA))
put("safetensors", "good_zero", st(many(one(), one("z", "F32", "0", "24,24")), DATA))
put("safetensors", "good_escapes", st(many(one("\\u00e9\\n\\\"\\ud834\\udd1e/")), DATA))
put("safetensors", "name_control", st(many(one("\\u001b[2J")), DATA))
put("safetensors", "name_twice", st(many(one(), one()), DATA))
put("safetensors", "key_twice", st('{"a":{"dtype":"U8","dtype":"U8","shape":[],'
                                   '"data_offsets":[0,1]}}', b"\0"))
put("safetensors", "key_unknown", st('{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":1}}',
                                     b"\0"))
put("safetensors", "key_missing", st('{"a":{"dtype":"U8","shape":[]}}', b"\0"))
put("safetensors", "entry_number", st('{"a":1}'))
put("safetensors", "metadata_number", st('{"__metadata__":{"k":1}}'))
put("safetensors", "metadata_list", st('{"__metadata__":[]}'))
put("safetensors", "dtype_unknown", st(many(one(dtype="F31")), DATA))
put("safetensors", "gap", st(many(one("a", "U8", "8", "0,8"), one("b", "U8", "8", "16,24")), DATA))
put("safetensors", "gap_first", st(many(one("a", "U8", "16", "8,24")), DATA))
put("safetensors", "overlap", st(many(one("a", "U8", "16", "0,16"), one("b", "U8", "16", "8,24")),
                                 DATA))
put("safetensors", "same_place", st(many(one("a"), one("b")), DATA))
put("safetensors", "trailing_byte", st(many(one()), DATA + b"\0"))
put("safetensors", "truncated_data", st(many(one()), DATA[:-1]))
put("safetensors", "truncated_header", st(many(one())[:30], length=200))
put("safetensors", "product_mismatch", st(many(one(shape="2,4")), DATA))
put("safetensors", "product_overflow", st(many(one(shape="4294967296,4294967296")), DATA))
put("safetensors", "extent_negative", st(many(one(shape="-2,3")), DATA))
put("safetensors", "extent_fraction", st(many(one(shape="2.5,3")), DATA))
put("safetensors", "extent_2_53", st(many(one(shape="9007199254740992")), DATA))
put("safetensors", "nine_axes", st(many(one(shape="1,1,1,1,1,1,1,2,3")), DATA))
put("safetensors", "offsets_reversed", st(many(one(offsets="24,0")), DATA))
put("safetensors", "offsets_huge", st(many(one(offsets="0,18446744073709551640")), DATA))
put("safetensors", "offsets_one", st(many(one(offsets="0")), DATA))
put("safetensors", "offsets_nested", st(many(one(offsets="[0],24")), DATA))
put("safetensors", "length_huge", st("{}", length=2**64 - 1))
put("safetensors", "length_just_over", st("{}", length=(16 << 20) + 1))
put("safetensors", "length_short", b"\2\0\0\0\0\0\0")
put("safetensors", "length_zero", st(""))
put("safetensors", "empty", b"")
put("safetensors", "deep", st('{"a":' + "[" * 1000 + "]" * 1000 + "}"))
put("safetensors", "deep_objects", st('{"a":' * 500 + "1" + "}" * 500))
put("safetensors", "utf8_overlong", st(b'{"\xc0\x80":1}'))
put("safetensors", "utf8_surrogate", st(b'{"\xed\xa0\x80":1}'))
put("safetensors", "escape_nul", st('{"a\\u0000":1}'))
put("safetensors", "escape_surrogate", st('{"a\\ud800":1}'))
put("safetensors", "number_long", st('{"a":' + "1" * 2000 + "}"))
put("safetensors", "number_exponent", st(many(one(offsets="0,2.4e1")), DATA))
put("safetensors", "bom", st(b"\xef\xbb\xbf{}"))
put("safetensors", "nul_inside", st(b'{"a"\0:1}'))
put("safetensors", "array", st("[]"))
put("safetensors", "comma", st(many(one())[:-1] + ",}", DATA))
put("safetensors", "gzipped", gz(st(many(one()), DATA)))

# ---- models -------------------------------------------------------------------------------------

CONV = dict(op="conv", fields=2, kernel=3, stride=1, padding=1, dilation=1, channel_groups=1,
            padding_mode="zeros", bias=True)
LAYERS = [
    dict(CONV, name="conv1", **{"from": ["input"]}),
    {"name": "norm", "op": "batch-norm", "from": ["conv1"], "epsilon": 1e-5, "momentum": 0.1},
    {"name": "relu", "op": "relu", "from": ["norm"], "slope": 0.25},
    dict(CONV, name="conv2", bias=False, channel_groups=2, **{"from": ["relu"]}),
    {"name": "sum", "op": "add", "from": ["relu", "conv2"]},
    {"name": "drop", "op": "dropout", "from": ["sum"], "p": 0.5},
    {"name": "pool", "op": "pool", "from": ["drop"], "pool": "max", "kernel": 2, "stride": 2,
     "padding": 0},
    dict(CONV, name="plane", op="conv-plane", kernel=1, padding=0, **{"from": ["pool"]}),
    {"name": "mean", "op": "pool", "from": ["plane"], "pool": "global-average"},
    {"name": "logits", "op": "dense", "from": ["mean"], "fields": 3, "bias": True},
]
ARRAYS = {
    "conv1.weights": [2, 1, 3, 3], "conv1.bias": [2], "norm.gamma": [2], "norm.beta": [2],
    "norm.running_mean": [2], "norm.running_var": [2], "conv2.weights": [2, 1, 4, 3, 3],
    "plane.weights": [2, 2, 1, 1], "plane.bias": [2], "logits.weights": [3, 2], "logits.bias": [3],
}


def model(layers=LAYERS, arrays=ARRAYS, **changes):
    text = json.dumps(dict({"format": 1, "group": "C4", "dtype": "f32", "seed": "7",
                            "input": {"shape": [1, 6, 6], "scale": 0.5, "shift": -0.25},
                            "layers": layers}, **changes))
    header, data = {"__metadata__": {"equinv": text}}, b""
    for name, shape in arrays.items():
        values = struct.pack("<f", 0.5) * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    return st(json.dumps(header), data)


def changed(index, **changes):
    return [dict(layer, **(changes if i == index else {})) for i, layer in enumerate(LAYERS)]


put("model", "good", model())
put("model", "good_alone", model([], {}))
put("model", "good_chain", model([{"name": f"r{i}", "op": "relu", "slope": 0,
                                   "from": [f"r{i - 1}" if i else "input"]} for i in range(30)],
                                 {}, group="D4"))
put("model", "good_adds", model([{"name": f"a{i}", "op": "add",
                                  "from": [f"a{i - 1}" if i else "input", "input"]}
                                 for i in range(30)], {}, group="C1"))
put("model", "from_itself", model(changed(2, **{"from": ["relu"]})))
put("model", "from_later", model(changed(1, **{"from": ["logits"]})))
put("model", "name_twice", model(changed(1, name="conv1")))
put("model", "fields_huge", model(changed(0, fields=2**40)))
put("model", "kernel_huge", model(changed(0, kernel=2**31, padding=2**31)))
put("model", "padding_huge", model(changed(0, padding=2**52)))
put("model", "image_huge", model([], {}, input={"shape": [1, 2**40, 2**30], "scale": 1,
                                                "shift": 0}))
put("model", "image_large", model([], {}, input={"shape": [1, 2**20, 2**20], "scale": 1,
                                                 "shift": 0}))
put("model", "tensor_more", model(arrays=dict(ARRAYS, more=[1])))
put("model", "tensor_less", model(arrays={k: v for k, v in ARRAYS.items() if k != "conv1.bias"}))
put("model", "format_2", model(format=2))
put("model", "key_more", model(more=1))
put("model", "group_c8", model(group="C8"))
put("model", "layers_nested", model([[LAYERS]]))
