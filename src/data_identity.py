# SPDX-License-Identifier: Apache-2.0
"""The identity of encoded data: a model is valid only for data that were encoded in the same way.

Checkpoints, exported models, the inputs of the C++ runner and its predictions carry it; a mismatch is refused.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta, as_tuple

DIGEST_KEY = "data_identity"
TEXT_NAME = "data_identity.txt"  # in folders of raw arrays, for the C++ runner, which has no JSON parser


@dataclasses.dataclass(frozen=True)
class DataIdentity:
    """The properties of the data that a network is bound to: the meaning of each id and of each dense value.

    bucket_edges, list_lengths: as DatasetMeta has them.
    """

    vocabulary_sha256: str
    sparse_fields: tuple
    dense_fields: tuple
    dense_encoding: str
    dense_scales: tuple
    vocabulary_size: int
    bucket_edges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    list_lengths: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def list_width(self) -> int:
        """The number of columns of sparse_ids, the last ones, of multi-valued fields."""
        return sum(self.list_lengths.values())

    @property
    def id_count(self) -> int:
        """The number S of columns of sparse_ids."""
        return len(self.sparse_fields) + self.list_width - len(self.list_lengths)

    @classmethod
    def of_dataset(cls, data: DatasetMeta) -> "DataIdentity":
        """Take it from the metadata of a MindRecord folder."""
        return cls(**{field.name: as_tuple(getattr(data, field.name)) for field in dataclasses.fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields for JSON, without the dicts that are empty: only some data have them."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value != {}}

    def digest(self) -> str:
        """Return the SHA-256, in hexadecimal, of all fields as canonical JSON."""
        content = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode("ascii")).hexdigest()

    def differences(self, other: "DataIdentity") -> list[str]:
        """Return the names of the fields in which `other` differs."""
        names = [field.name for field in dataclasses.fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def to_metadata(self) -> dict[str, str]:
        """Return the digest under DIGEST_KEY and all fields, as text by name; lists are JSON."""
        fields = self.to_dict().items()
        return {DIGEST_KEY: self.digest()} | {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in fields
        }

    def save_text(self, folder: str | os.PathLike) -> None:
        """Write `folder`/data_identity.txt, lines of name=value."""
        lines = [f"{name}={value}\n" for name, value in self.to_metadata().items()]
        pathlib.Path(folder, TEXT_NAME).write_text("".join(lines), encoding="utf-8")


def read_text_digest(folder: str | os.PathLike) -> str | None:
    """Return the digest in `folder`/data_identity.txt, None if there is no such file; UserError if it is damaged."""
    path = pathlib.Path(folder, TEXT_NAME)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        lines = []
    found = [line.removeprefix(f"{DIGEST_KEY}=") for line in lines if line.startswith(f"{DIGEST_KEY}=")]
    if len(found) != 1:
        raise UserError(f"{path} is damaged: it must have one line {DIGEST_KEY}=SHA-256; write the folder again")
    return found[0]
