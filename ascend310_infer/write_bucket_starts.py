# SPDX-License-Identifier: Apache-2.0
"""Print src/bucket_starts.inc, the starts of the buckets of 64-bit integers.

usage, in the folder of the project:
python -m ascend310_infer.write_bucket_starts > ascend310_infer/src/bucket_starts.inc
"""

import textwrap

from src.preprocessing.buckets import bucket_starts


def source_text() -> str:
    """Return the content of the file: a comment, and the numbers separated by commas."""
    numbers = ", ".join(map(str, bucket_starts().tolist()))
    return (
        "// The smallest 64-bit integer of each bucket from 1 on; ascend310_infer/write_bucket_starts.py writes them.\n"
        f"{textwrap.fill(numbers, 118)}\n"
    )


if __name__ == "__main__":
    print(source_text(), end="")
