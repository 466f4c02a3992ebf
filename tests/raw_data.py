# SPDX-License-Identifier: Apache-2.0
"""Raw rows and files of them, and the files of a result, for several tests."""

import hashlib
import io
import pathlib
import tarfile

from src.preprocessing.bad_lines import BadLines
from src.preprocessing.chunks import read_source
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.reading import parse_raw_chunk
from src.preprocessing.source import Source

LARGE_FLAGS = ("--dense_dim=3", "--slot_dim=4", "--line_per_sample=100", "--train_line_count=0", "--threshold=10")


def parse_text(text, schema):
    """Return the frame of the well-formed lines of a text without a last newline."""
    return parse_chunk(text.encode() + b"\n", 0, schema).frame


def parse_file(path, schema, chunk_bytes=1 << 20):
    """Return the frames of the chunks of a file, its malformed lines and the number of its lines."""
    frames, bad_lines, line_count = [], BadLines(), 0
    for chunk in read_source(Source((path,)), schema, chunk_bytes):
        parsed = parse_raw_chunk(chunk)
        frames.append(parsed.frame)
        bad_lines.merge(parsed.bad_lines)
        line_count += parsed.line_count
    return frames, bad_lines, line_count


def archive_of(content, name="./dac/train.txt"):
    """Return the bytes of a .tar.gz that holds a file of this name and content, after another file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member_name, member in (("./dac/readme.txt", b"no rows here"), (name, content)):
            info = tarfile.TarInfo(member_name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return packed.getvalue()


def digests(folder: pathlib.Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def data_digests(folder: pathlib.Path) -> dict[str, str]:
    """Return digests(folder) without the file that says from which raw file the result was made."""
    return {name: digest for name, digest in digests(folder).items() if name != "source.json"}
