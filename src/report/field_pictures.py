# SPDX-License-Identifier: Apache-2.0
"""The pictures of the effects of fields: their importance, and the strongest pairs of them."""

from collections.abc import Sequence

from src.evaluation.field_pairs import FieldPair
from src.evaluation.importance import FieldImportance
from src.evaluation.paired_metrics import Estimate
from src.report import figures
from src.report.html import Picture, number

FIELDS_SHOWN = 20  # in the plot; the table has all
DECIMALS = 5


def importance_picture(importance: Sequence[FieldImportance]) -> Picture:
    """Return the picture of the importance of fields, of which there is one at least, the most important first."""
    first = importance[0]
    above = sum(each.log_loss_rise.low > 0 for each in importance)
    text = (
        f"{figures.printable(first.field)} matters most: permuted, it raises the log loss by "
        f"{_describe(first.log_loss_rise)}. The intervals of {above} of {len(importance)} fields are above 0."
    )
    header = ("field", "rise of the log loss", "± (95\u00a0%)", "drop of the AUC", "± (95\u00a0%)")
    rows = [(figures.printable(each.field), *_cells(each.log_loss_rise), *_cells(each.auc_drop)) for each in importance]
    return Picture.of("Importance", figures.importance_plot(importance[:FIELDS_SHOWN]), text, header, rows)


def pairs_picture(pairs: Sequence[FieldPair]) -> list[Picture]:
    """Return the picture of the strongest pairs of fields, the strongest first; none if there are no pairs."""
    if not pairs:
        return []
    strongest = figures.pair_name(pairs[0])
    text = (
        "The pairs of fields whose product of embeddings, a term of the logit, differs most among rows: that of "
        f"{strongest} has a standard deviation of {pairs[0].deviation:.4f}. The mean of a term shifts all rows alike "
        "and does not count."
    )
    rows = [(figures.pair_name(pair), number(pair.deviation), number(pair.mean)) for pair in pairs]
    header = ("pair", "standard deviation", "mean")
    return [Picture.of("Field pairs", figures.pairs_plot(pairs), text, header, rows)]


def _describe(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} (95 %: {estimate.low:.4f} to {estimate.high:.4f})"


def _cells(estimate: Estimate) -> tuple[str, ...]:
    return tuple(number(value, DECIMALS) for value in (estimate.value, estimate.high - estimate.value))
