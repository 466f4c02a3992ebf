# SPDX-License-Identifier: Apache-2.0
"""The parameters of a network within the files of a package."""

import dataclasses
import itertools
import math

from src.common.memory_estimate import FLOAT_BYTES, NetworkSizes


@dataclasses.dataclass(frozen=True)
class StoredParameter:
    """The place of a parameter, float32 in little endian, within a file of a package."""

    file: str
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def from_dict(cls, content: dict) -> "StoredParameter":
        """Take it from parsed JSON; KeyError, TypeError or ValueError if it is damaged."""
        numbers = (content["offset"], *content["shape"])
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"offset and shape of a parameter are {numbers}, which are not all whole numbers")
        if not isinstance(content["file"], str):
            raise TypeError(f"the file of a parameter is {content['file']!r}")
        return cls(content["file"], content["offset"], tuple(content["shape"]))

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + FLOAT_BYTES * math.prod(self.shape)


def parameter_shapes(sizes: NetworkSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of a folded network by name."""
    rows, dense_fields, width = sizes.vocabulary_size, sizes.dense_field_count, sizes.embedding_size
    shapes = {"folded_linear": (rows, 1), "embedding": (rows, width), "bias": (1,)}
    if dense_fields:
        shapes |= {f"dense_{name}": (dense_fields, 1) for name in ("linear", "squares")}
        shapes["dense_embedding"] = (dense_fields, width)
    statistic_count = 2 * sizes.sparse_field_count
    if sizes.has_statistics:
        shapes |= {"statistics": (rows, 2), "statistic_weight": (statistic_count, 1)}
    if not sizes.hidden_sizes:
        return shapes
    first, *others = sizes.hidden_sizes
    if sizes.has_statistics:
        shapes["deep.statistic_weight"] = (statistic_count, first)
    shapes |= _layer_shapes("deep.first", sizes.sparse_field_count * width, first)
    if dense_fields:
        shapes["projection"] = (dense_fields, first)
    for number, (wide, narrow) in enumerate(itertools.pairwise([first, *others, 1])):
        shapes |= _layer_shapes(f"deep.rest.{number}", wide, narrow)
    return shapes


def _layer_shapes(name, wide, narrow):
    return {f"{name}.weight": (narrow, wide), f"{name}.bias": (narrow,)}
