# SPDX-License-Identifier: Apache-2.0
"""The kinds of click logs that src.synthetic_logs writes: their columns, how they are written, and their schemas.

avazu: the training rows of Kaggle's Avazu challenge, 40,428,967, of 10 days.  Cardinalities: those of ColossalAI's DLRM
example (NUM_EMBEDDINGS_PER_FEATURE of its avazu.py) and of tables of several solutions; the most frequent device_id has
33,358,308 rows, which one of these counted.  Their click rate is 0.17.
kdd12: training.txt of KDD Cup 2012, track 2, 149,639,105 rows, with 8,217,633 clicks of 235,582,879 impressions.  Ads,
queries and users are those of training.txt, counted by several solutions.  Keywords, titles and descriptions are those
of the files of their tokens, which serve the test rows too (Apache Hivemall's guide to the data).  Display URLs and
advertisers are round figures without a source.
wide, narrow: very many fields and very few.  shop: all that a schema can say.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from src.common.splitmix import splitmix64
from src.preprocessing.schema import TextFormat
from src.random_columns import hexadecimal_texts
from src.synthetic_logs.model import (
    SECONDS_OF_A_DAY,
    Category,
    Column,
    Drawn,
    LogModel,
    Number,
    RowId,
    Tags,
    Text,
    Time,
)


@dataclasses.dataclass(frozen=True)
class Label:
    """The column of the clicks.  click, no_click: its cells.  position: in a row, from 0."""

    name: str
    click: str = "1"
    no_click: str = "0"
    position: int = 0


@dataclasses.dataclass(frozen=True)
class LogKind:
    """A kind of log.

    columns: all but the label.  file_name: of the rows; {day}, if it has it, is the number of the day, from 1.
    drift: of the logit, over the log.  is_quoted: some cells hold the separator or quotes.
    """

    label: Label
    columns: tuple[Column, ...]
    file_name: str
    text: TextFormat
    click_rate: float
    drift: float = 0.0
    is_quoted: bool = False

    def model(self, seed: int) -> LogModel:
        """Return the model of the columns and the clicks."""
        return LogModel(self.columns, self.click_rate, self.drift, seed)

    @property
    def column_names(self) -> list[str]:
        """The names of all columns in the order of a row."""
        names = [column.name for column in self.columns]
        names.insert(self.label.position, self.label.name)
        return names

    @property
    def time(self) -> Time | None:
        """The column of the time, if there is one."""
        return next((column for column in self.columns if isinstance(column, Time)), None)

    @property
    def weight_name(self) -> str:
        """The name of the column of the weights, empty if there is none."""
        return next((each.name for each in self.columns if isinstance(each, Number) and each.role == "weight"), "")

    def days(self, drawn: Drawn) -> np.ndarray:
        """Return the number of each row's file, [n] from 1: of its day, or 1 if one file has all rows."""
        if self.time is None or "{day}" not in self.file_name:
            return np.ones(len(next(iter(drawn.values()))), np.int64)
        return drawn[self.time.name] // SECONDS_OF_A_DAY + 1

    def frame(self, labels: np.ndarray, cells: dict[str, pl.Series]) -> pl.DataFrame:
        """Return rows as they are written.  labels: bool [n].  cells: of the other columns."""
        texts = pl.Series([self.label.no_click, self.label.click])
        columns = {self.label.name: texts.gather(labels.astype(np.uint32)), **cells}
        return pl.DataFrame({name: columns[name] for name in self.column_names})

    def schema(self) -> dict[str, Any]:
        """Return the content of the file that --schema_path takes."""
        numbers = [column for column in self.columns if isinstance(column, Number)]
        plain = (self.label.click, self.label.no_click) == ("1", "0") and not self.weight_name
        content = {
            "label": self.label.name if plain else {"column": self.label.name, "click": [self.label.click]},
            "integers": [column.name for column in numbers if column.role == "integers"],
            "floats": [column.name for column in numbers if column.role == "floats"],
            "categories": [column.name for column in self.columns if isinstance(column, Category)],
            "multi_valued": {column.name: column.separator for column in self.columns if isinstance(column, Tags)},
            "ignored": [column.name for column in self.columns if isinstance(column, RowId)],
            "weight": self.weight_name,
            "time": self.time.name if self.time else "",
            "columns": [] if self.text.has_header else self.column_names,
            "missing": list(self.text.missing),
        }
        form = {"separator": self.text.separator, "header": self.text.has_header}
        return {key: value for key, value in content.items() if value} | form


def numbers_from(first: int) -> Text:
    """Return the texts of values as numbers that begin with `first`."""
    return lambda _, values: pl.Series(values.astype(np.int64) + first)


def one_of(*texts: str) -> Text:
    """Return the texts of values as these, the first one that of the most frequent value."""
    return lambda _, values: pl.Series(texts).gather(values)


def hashes(number: int, values: np.ndarray) -> pl.Series:
    """Return values as numbers of up to 20 digits."""
    return pl.Series(splitmix64(number, values.astype(np.uint64)))


def words(word: str) -> Text:
    """Return the texts of values as a word and a number."""
    return lambda _, values: pl.select(pl.format(word + "{}", pl.Series(values))).to_series()


def shop_names(_: int, values: np.ndarray) -> pl.Series:
    """Return the names of brands, of which some hold a comma and some quotes."""
    value = pl.Series("value", values)
    name = pl.when(value % 3 == 1).then(pl.format("Miller {}, Inc.", value))
    name = name.when(value % 5 == 2).then(pl.format('The "{}" Shop', value)).otherwise(pl.format("Brand {}", value))
    return pl.select(name).to_series()


def rises(strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return an effect that rises with the number, or falls if strength is negative."""
    return lambda standard: strength * standard


def rises_and_falls(standard: np.ndarray) -> np.ndarray:
    """Return an effect that is largest for the median and for the ends, and smallest between them."""
    return 0.8 * np.cos(2.5 * standard)


AVAZU = LogKind(
    label=Label("click", position=1),
    columns=(
        RowId("id"),
        Time("hour", days=10, form="%y%m%d%H"),
        Category("C1", 7, one_of("1005", "1002", "1010", "1012", "1007", "1001", "1008")),
        Category("banner_pos", 7, one_of("0", "1", "7", "2", "4", "5", "3"), interacts=True),
        Category("site_id", 4737, hexadecimal_texts, interacts=True),
        Category("site_domain", 7745, hexadecimal_texts),
        Category("site_category", 26, hexadecimal_texts, parent="site_domain", tail_fraction=0.5),
        Category("app_id", 8552, hexadecimal_texts, generations=3, interacts=True, signal=1.5, signal_values=32),
        Category("app_domain", 559, hexadecimal_texts, parent="app_id", tail_fraction=0.5),
        Category("app_category", 36, hexadecimal_texts, parent="app_id", tail_fraction=0.5, interacts=True),
        Category("device_id", 2_686_408, hexadecimal_texts, head_rate=0.825, tail_fraction=0.9, generations=3),
        Category("device_ip", 6_729_486, hexadecimal_texts, tail_fraction=0.6, generations=3),
        Category("device_model", 8251, hexadecimal_texts, interacts=True),
        Category("device_type", 5, one_of("1", "0", "4", "5", "2")),
        Category("device_conn_type", 4, one_of("0", "2", "3", "5")),
        Category("C14", 2626, numbers_from(375), generations=4, interacts=True, signal=2.0, signal_values=32),
        Category(
            "C15", 8, one_of("320", "300", "216", "728", "120", "1024", "480", "768"), parent="C14", tail_fraction=0.5
        ),
        Category(
            "C16",
            9,
            one_of("50", "250", "36", "480", "90", "20", "768", "320", "1024"),
            parent="C14",
            tail_fraction=0.5,
        ),
        Category("C17", 435, numbers_from(112), parent="C14", tail_fraction=0.5),
        Category("C18", 4, one_of("0", "3", "2", "1"), interacts=True),
        Category("C19", 68, numbers_from(33)),
        Category("C20", 172, numbers_from(100_000)),
        Category("C21", 60, numbers_from(1), interacts=True),
    ),
    file_name="day_{day}.csv",
    text=TextFormat(",", True),
    click_rate=0.17,
    drift=0.35,
)
KDD12 = LogKind(
    label=Label("clicks"),
    columns=(
        Number("impressions", "weight", median=1, spread=0.9, smallest=1),
        Category("display_url", 26_000, hashes, signal_values=64),
        Category("ad_id", 641_707, numbers_from(1_000_000), interacts=True, signal_values=64),
        Category(
            "advertiser_id",
            15_000,
            numbers_from(1),
            parent="ad_id",
            tail_fraction=0.5,
            interacts=True,
            signal_values=64,
        ),
        Category("depth", 3, numbers_from(1), interacts=True),
        Category("position", 3, numbers_from(1), at_most="depth", interacts=True),
        Category("query_id", 24_122_076, numbers_from(0), interacts=True, signal_values=64),
        Category("keyword_id", 1_249_785, numbers_from(0)),
        Category("title_id", 4_051_441, numbers_from(0), interacts=True),
        Category("description_id", 3_171_830, numbers_from(0)),
        Category("user_id", 22_023_547, numbers_from(1), interacts=True, signal_values=64),
    ),
    file_name="training.txt",
    text=TextFormat(),
    click_rate=8_217_633 / 235_582_879,
)
WIDE = LogKind(
    label=Label("label"),
    columns=(
        Number("D1", "integers", median=30, spread=1.5, missing_rate=0.1, effect=rises(0.3), interacts=True),
        *(
            Category(f"C{number}", 10 ** (1 + number % 5), hexadecimal_texts, interacts=number % 20 == 0)
            for number in range(1, 201)
        ),
    ),
    file_name="wide.csv",
    text=TextFormat(",", True),
    click_rate=0.2,
)
NARROW = LogKind(
    label=Label("label"),
    columns=(
        Category("C1", 24, hexadecimal_texts, interacts=True),
        Category("C2", 1000, hexadecimal_texts, interacts=True),
        Category("C3", 50_000, hexadecimal_texts, missing_rate=0.05, interacts=True),
    ),
    file_name="narrow.txt",
    text=TextFormat(),
    click_rate=0.2,
)
SHOP = LogKind(
    label=Label("action", "click", "view", position=1),
    columns=(
        Time("timestamp", days=14, form="%Y-%m-%d %H:%M:%S"),
        Category("brand", 2000, shop_names, missing_rate=0.03, interacts=True),
        Category("page", 300, words("/page/"), interacts=True),
        Tags("tags", 400, 6, "|", words("tag"), interacts=True),
        Number(
            "price", "floats", median=20, spread=1.0, smallest=0.01, decimals=2, missing_rate=0.05,
            effect=rises_and_falls,
        ),
        Number("discount", "floats", median=0.2, spread=0.8, largest=1, decimals=3, effect=rises(0.3), interacts=True),
        Number("age_days", "integers", median=40, spread=1.4, missing_rate=0.1, effect=rises(-0.2)),
        Number("weight", "weight", median=1, spread=0.5, smallest=0.001, decimals=3),
    ),
    file_name="shop.csv",
    text=TextFormat(",", True, ("NULL",)),
    click_rate=0.1,
    drift=0.2,
    is_quoted=True,
)  # fmt: skip
KINDS = {"avazu": AVAZU, "kdd12": KDD12, "wide": WIDE, "narrow": NARROW, "shop": SHOP}
