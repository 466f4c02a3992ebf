# SPDX-License-Identifier: Apache-2.0
"""The summary that predict.py prints at the end."""

from src.evaluation.metrics import describe_metrics
from src.package.raw_encoding import RawEncoding
from src.preprocessing.bad_lines import BadLines
from src.scoring.field_tally import FieldComparison, compare_fields
from src.scoring.row_source import RowSource
from src.scoring.scored_rows import ScoredRows


def describe(rows: ScoredRows, source: RowSource, encoding: RawEncoding, output_path: str) -> str:
    """Return the summary of a scoring.  encoding: that of the model, with the rates of its training rows."""
    comparisons = compare_fields(rows.tally, encoding)
    label = "with" if rows.has_label else "without"
    member = f"{rows.members[0]} in " if len(rows.members) == 1 else ""
    lines = [*describe_fields(comparisons), f"rows         {rows.tally.rows:,} {label} a label, of {member}{source}"]
    if rows.bad_lines.count:
        lines.append(describe_bad_lines(rows.bad_lines, rows.lines))
    if rows.metrics is not None and rows.tally.rows:
        lines += describe_metrics(rows.metrics.compute(), rows.metrics.weight)
        if error := rows.metrics.auc_error_bound():
            lines.append(f"AUC error    at most {error:.1e}, as it comes from a histogram")
    lines.append(f"scores       {output_path}")
    for each in comparisons:
        if drifts := each.drifts():
            lines.append(f"warning: {each.training.name} has drifted from the training rows: {'; '.join(drifts)}")
    return "\n".join(lines)


def describe_bad_lines(bad_lines: BadLines, line_count: int) -> str:
    """Return a line on the malformed lines, of which there are some: their number by reason, and the first fault."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(bad_lines.counts.items()))
    first = bad_lines.diagnoses[0].fault
    return f"malformed    {bad_lines.count:,} of {line_count:,} lines ({reasons}); the first: {first}"


def describe_fields(comparisons: list[FieldComparison]) -> list[str]:
    """Return a table of the missing and OOV rates by column, next to those of the training rows."""
    width = max([5, *(len(each.training.name) for each in comparisons)])
    lines = [f"{'field':{width}}  missing rate  in training  OOV rate  in training"] if comparisons else []
    for each in comparisons:
        training = each.training
        oov = "" if training.oov_rate is None else f"{each.oov_rate:10.4f}{training.oov_rate:13.4f}"
        lines.append(f"{training.name:{width}} {each.missing_rate:13.4f}{training.missing_rate:13.4f}{oov}")
    return [*lines, ""] if lines else []
