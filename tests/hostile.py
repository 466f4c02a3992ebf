# SPDX-License-Identifier: Apache-2.0
"""Hostile requests: each kind is invalid by construction, so that nothing but a refusal is right."""

import copy
import json
import random
import string

from tests.inference_requests import tensor
from tests.serving import INFER

JUNK = (None, True, -1, 0, 1.5, 10**30, "", "x", "\0", "é" * 50, [], [[]], {}, {"name": "rows"}, [None] * 50, [{}] * 5)
DATATYPES = ("", "bytes", "FP32", "FP64", "BOOL", "UINT8", "INT32", "STRING", "BYTES ", "\0" * 40, "x" * 5000)
NESTINGS = ("[", '{"a":', '{"inputs":[', '{"inputs":[{"data":[', "[{")
LITERALS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "01",
    "+1",
    ".5",
    "'a'",
    "undefined",
    '"\\ud800"',
    '"\\x"',
    "1" * 5000,
)
GOOD_ROW = "1\t2\t3\ta\tb\tc\td"
BAD_ROWS = (
    *("", "x", "1\t2", "1\n2", "\0", "\t" * 5000, f"{GOOD_ROW}\te\tf", f"2\t{GOOD_ROW}", f"q{GOOD_ROW}"),
    *("1\t2\t1e400\ta\tb\tc\td", "9223372036854775808\t\t\t\t\t\t", f"{GOOD_ROW}\n\n"),
)
COLUMNS = {"I1": [1], "I2": [2], "I3": [3], "C1": ["a"], "C2": ["b"], "C3": ["c"], "C4": ["d"]}


def valid_request():
    """Return a request that the server accepts."""
    inputs, outputs = [tensor("rows", [GOOD_ROW, GOOD_ROW])], [{"name": "probability"}]
    return {"id": "1", "inputs": inputs, "outputs": outputs, "parameters": {"explain": False}}


def column_request():
    """Return the tensors of a request by columns that the server accepts."""
    return [tensor(name, data, "INT64" if name[0] == "I" else "BYTES") for name, data in COLUMNS.items()]


def random_bytes(dice):
    return dice.randbytes(dice.choice([0, 1, 10, 300, 5000]))


def cut_json(dice):
    text = json.dumps(valid_request()).encode()
    return text[: dice.randrange(1, len(text))]


def bytes_that_are_no_text(dice):
    text = json.dumps(valid_request()).encode()
    at = dice.randrange(len(text) + 1)
    return text[:at] + dice.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\x00", b"\xf5\x80"]) + text[at:]


def deep_nesting(dice):
    opening = dice.choice(NESTINGS)
    return (opening * dice.choice([10, 500, 1020, 1024, 1030, 20_000])).encode() + random_bytes(dice)[:20]


def deep_but_valid_json(dice):
    depth = dice.choice([10, 500, 900, 1000])
    request = json.dumps(valid_request()).encode()
    data = b"[" * depth + b'"x"' + b"]" * depth
    return dice.choice([data, b'{"inputs":%s}' % data, request.replace(b'["1', b'[%s,"1' % data, 1)])


def literals(dice):
    frames = (
        "%s",
        '{"inputs":%s}',
        '{"inputs":[{"name":"rows","shape":[%s],"datatype":"BYTES","data":["x"]}]}',
        '{"inputs":[{"name":"I1","shape":[1],"datatype":"INT64","data":[%s]}]}',
    )
    return (dice.choice(frames) % dice.choice(LITERALS)).encode()


def wrong_types(dice):
    """Replace one value of a valid request by one of another type."""
    request = valid_request()
    positions = [
        (request, "inputs"),
        (request, "outputs"),
        (request, "id"),
        (request, "parameters"),
        (request["inputs"], 0),
    ]
    positions += [(request["parameters"], "explain")]
    positions += [(request["inputs"][0], key) for key in ("name", "shape", "datatype", "data")]
    positions += [(request["inputs"][0]["data"], 1), (request["inputs"][0]["shape"], 0)]
    holder, key = dice.choice(positions)
    is_optional = key in ("outputs", "id", "parameters", "explain")
    others = [junk for junk in JUNK if type(junk) is not type(holder[key]) and not (is_optional and junk is None)]
    holder[key] = dice.choice(others)
    return json.dumps(request).encode()


def missing_keys(dice):
    request = valid_request()
    holder, key = dice.choice([(request, "inputs"), *[(request["inputs"][0], key) for key in request["inputs"][0]]])
    del holder[key]
    return json.dumps(request).encode()


def wrong_shapes(dice):
    request = valid_request()
    numbers = (-1, 0, 1, 3, 2**31, 2**63, 10**18, -(2**63), 2.0, True, "2", None, [2])
    shape = [dice.choice(numbers) for _ in range(dice.choice([0, 1, 2, 3, 40]))]
    request["inputs"][0]["shape"] = shape
    return json.dumps(request).encode()


def wrong_datatypes(dice):
    request = valid_request()
    request["inputs"][0]["datatype"] = dice.choice(DATATYPES)
    return json.dumps(request).encode()


def malformed_rows(dice):
    rows = [dice.choice(BAD_ROWS), *[dice.choice([GOOD_ROW, *BAD_ROWS]) for _ in range(dice.choice([0, 1, 30]))]]
    dice.shuffle(rows)
    return json.dumps({"inputs": [tensor("rows", rows)]}).encode()


def wrong_columns(dice):
    inputs = column_request()
    change = dice.randrange(6)
    if change == 0:
        del inputs[dice.randrange(len(inputs))]
    elif change == 1:
        inputs.append(copy.deepcopy(dice.choice(inputs)))
    elif change == 2:
        inputs.append(tensor("".join(dice.choices(string.printable, k=8)) + "!", ["a"]))
    elif change == 3:
        inputs[dice.randrange(len(inputs))].update(shape=[2], data=["a", "b"], datatype="BYTES")
    elif change == 4:
        inputs[dice.randrange(3)].update(data=[dice.choice([2**63, -(2**63) - 1, 1.5, "1", None, True])])
    else:
        inputs[dice.randrange(3, 7)].update(data=[dice.choice(["a\tb", "\n", 1, None, ["a", "b"]])])
    return json.dumps({"inputs": inputs}).encode()


def wrong_outputs(dice):
    return json.dumps(valid_request() | {"outputs": [dice.choice(JUNK)]}).encode()


BODIES = (random_bytes, cut_json, bytes_that_are_no_text, deep_nesting, deep_but_valid_json, literals, wrong_types,
          missing_keys, wrong_shapes, wrong_datatypes, malformed_rows, wrong_columns, wrong_outputs)  # fmt: skip
HEADERS = ({"Content-Encoding": "gzip"}, {"Content-Encoding": "x" * 500}, {"Inference-Header-Content-Length": "10"})
PATHS = (
    *("/", "/v2", "/v2/models/x/infer", "/v2/models/deepfm/versions/0/infer", "/v2/models/deepfm/infer/", "//", "/%00"),
    *("/v2/models/%ff/infer", "/../../etc/passwd", "/v2/repository/models/deepfm/unload"),
)


def hostile_request(dice: random.Random):
    """Return the path, body and headers of a POST request, and the name of its kind."""
    kind = dice.choice(BODIES)
    valid = json.dumps(valid_request()).encode()
    draw = dice.random()
    if draw < 0.02:
        return INFER, valid, dice.choice(HEADERS), "headers"
    if draw < 0.04:
        return dice.choice(PATHS), valid, {}, "path"
    return INFER, kind(dice), {}, kind.__name__


_ROWS = b'{"inputs":[{"name":"rows","shape":[1],"datatype":"BYTES","data":[%s]}]}'
# Bodies just below the limit that consist of as many parts as possible.
LABORIOUS = (
    _ROWS % (b'"%s"' % (b"\\t" * 3_900_000)),
    _ROWS % b",".join([b'"\\t"'] * 1_500_000),
    _ROWS % (b'"%s\\t\\t\\ta\\tb\\tc\\td"' % (b"9" * 7_000_000)),
    _ROWS % b",".join([b"[]"] * 2_600_000),
    b'{"inputs":[],"outputs":[%s]}' % b",".join([b"{}"] * 2_600_000),
    b'{"inputs":[%s]}' % b",".join([b'{"name":"rows","shape":[1],"datatype":"BYTES","data":[""]}'] * 130_000),
)

_HEAD = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n"
_BODY = json.dumps(valid_request())
# Bytes of a connection that hold no valid request.
CONNECTIONS = (
    *("\0" * 100, "\x16\x03\x01\x02\0\1\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"),
    *(
        f"{_HEAD}Content-Length: {length}\r\n\r\n{_BODY}"
        for length in (-5, "x", "9" * 50, len(_BODY) - 5, len(_BODY) + 5)
    ),
    f"{_HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    *(f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n{length}\r\n" for length in ("zz", "-1", "5")),
    f"{_HEAD}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    *(f"{_HEAD}{header}\r\n\r\n" for header in (": x", "a" * 100_000 + ": x", "a: b" * 50_000)),
    "GET /" + "a" * 100_000,
    f"{_HEAD}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
)
