# SPDX-License-Identifier: Apache-2.0
import csv
import hashlib
import json
import math
from datetime import datetime

import numpy as np
import polars as pl
import pytest
import yaml

from src.common.errors import UserError
from src.evaluation.metrics import roc_auc
from src.preprocessing.schema import LABEL
from src.preprocessing.schema_file import load_schema
from src.synthetic_logs.__main__ import KIND_NAMES, main, write_log
from src.synthetic_logs.kinds import KINDS
from src.synthetic_logs.model import Category
from tests import oracles
from tests.raw_data import parse_file

ROWS = 30_000
PUBLISHED_ORDER = {
    "avazu": "id click hour C1 banner_pos site_id site_domain site_category app_id app_domain app_category device_id "
    "device_ip device_model device_type device_conn_type C14 C15 C16 C17 C18 C19 C20 C21",
    "kdd12": "clicks impressions display_url ad_id advertiser_id depth position query_id keyword_id title_id "
    "description_id user_id",
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Return the folder of a log of each kind, by the name of the kind."""
    folders = {name: tmp_path_factory.mktemp(name) for name in KINDS}
    for name, folder in folders.items():
        write_log(folder, name, 2000 if name == "wide" else ROWS, seed=1)
    return folders


def files_of(folder):
    """Return the files of rows, in their order."""
    paths = [path for path in folder.iterdir() if path.suffix in (".csv", ".txt")]
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def read(folder, name):
    """Return all rows of a log as texts."""
    form = {"separator": KINDS[name].text.separator, "has_header": KINDS[name].text.has_header}
    frame = pl.concat([pl.read_csv(path, infer_schema=False, **form) for path in files_of(folder)])
    return frame if form["has_header"] else frame.rename(dict(zip(frame.columns, KINDS[name].column_names)))


def clicks_of(frame, name):
    return (frame[KINDS[name].label.name] == KINDS[name].label.click).to_numpy()


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_gives_the_same_bytes_for_any_chunk_size(tmp_path, name):
    rows = 300 if name == "wide" else 3000
    digests = []
    for seed, chunk_rows in ((4, rows), (4, rows // 4 - 49), (5, rows)):
        folder = tmp_path / f"{seed}_{chunk_rows}"
        write_log(folder, name, rows, seed, chunk_rows)
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files_of(folder)])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", KINDS)
def test_columns_and_click_rate_are_those_of_the_kind(logs, name):
    frame = read(logs[name], name)
    assert frame.columns == PUBLISHED_ORDER.get(name, " ".join(KINDS[name].column_names)).split()
    rate = KINDS[name].click_rate
    expected = pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / frame.height) + 0.003)  # 0.003: calibration
    assert clicks_of(frame, name).mean() == expected
    for column in KINDS[name].columns:
        if isinstance(column, Category):
            distinct = frame[column.name].drop_nulls().n_unique()
            assert distinct <= column.cardinality
            assert distinct == column.cardinality or column.cardinality > 60 or name == "wide"


def test_cardinalities_are_those_published():
    # As in the sources that kinds.py names; in the order of the columns of a row.
    cardinalities = {
        name: [column.cardinality for column in KINDS[name].columns if isinstance(column, Category)]
        for name in ("avazu", "kdd12", "wide", "narrow")
    }
    assert cardinalities["avazu"] == [
        *(7, 7, 4737, 7745, 26, 8552, 559, 36, 2686408, 6729486, 8251, 5, 4),
        *(2626, 8, 9, 435, 4, 68, 172, 60),
    ]
    assert cardinalities["kdd12"][1] == 641_707
    assert (cardinalities["kdd12"][5], cardinalities["kdd12"][-1]) == (24_122_076, 22_023_547)
    assert (len(cardinalities["wide"]), len(cardinalities["narrow"])) == (200, 3)


@pytest.mark.parametrize("name", KINDS)
def test_the_best_metrics_are_those_of_the_true_probabilities(tmp_path, name):
    write_log(tmp_path, name, 400, seed=6)
    labels = clicks_of(read(tmp_path, name), name)
    rows = np.arange(400, dtype=np.uint64)
    _, probabilities, drawn = KINDS[name].model(6).sample(rows, (rows + 0.5) / 400)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["clicks"] == labels.sum()
    assert best["auc"] == pytest.approx(oracles.auc(labels, probabilities.astype(np.float32)), abs=1e-9)
    losses = [-math.log(p if label else 1 - p) for label, p in zip(labels, probabilities)]
    assert best["log_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    weight_name = KINDS[name].weight_name
    assert ("weighted_auc" in best) == bool(weight_name)
    if weight_name:
        weights = drawn[weight_name]
        assert best["weighted_log_loss"] == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_the_best_auc_is_about_that_of_real_logs(logs, name):
    assert 0.74 < json.loads((logs[name] / "best.json").read_text())["auc"] < 0.84


def test_avazu_has_a_file_for_each_day_in_time_order(logs):
    assert [path.name for path in files_of(logs["avazu"])] == [f"day_{day}.csv" for day in range(1, 11)]
    hours = read(logs["avazu"], "avazu")["hour"]
    assert (hours[0], hours[-1], hours.n_unique()) == ("14102100", "14103023", 240)
    assert hours.is_sorted()
    assert pl.read_csv(files_of(logs["avazu"])[1])["hour"].unique().to_list() == [*range(14102200, 14102224)]


def test_avazu_drifts():
    """What the last days hold is less known than a random part, so a random split is optimistic."""
    rows = np.arange(100_000, dtype=np.uint64)
    times = (rows + 0.5) / len(rows)
    clicks, _, drawn = KINDS["avazu"].model(1).sample(rows, times)
    last = times >= 0.8
    unseen, aucs = {}, {}
    for split, is_test in (("time", last), ("random", np.random.default_rng(1).permutation(last))):
        logits = np.zeros(len(rows))
        for name in ("app_id", "C14", "C20"):  # naive: the click rates of their values, smoothed
            size = drawn[name].max() + 1
            shown = np.bincount(drawn[name][~is_test], minlength=size)
            clicked = np.bincount(drawn[name][~is_test], clicks[~is_test], minlength=size)
            logits += np.log((clicked + 17) / (shown + 100))[drawn[name]]
            unseen[split, name] = (shown == 0)[drawn[name][is_test]].mean()
        aucs[split] = roc_auc(clicks[is_test], logits[is_test])
    for name in ("app_id", "C14"):
        assert unseen["time", name] > 0.1 + 2 * unseen["random", name]
    assert unseen["time", "C20"] < 0.01  # this one does not change
    assert aucs["time"] < aucs["random"] - 0.01
    assert clicks[-len(rows) // 4 :].mean() > clicks[: len(rows) // 4].mean() + 0.01


def test_kdd12_shows_no_ad_below_the_depth(logs):
    frame = read(logs["kdd12"], "kdd12").cast(pl.Int64, strict=False)
    assert (frame["position"] <= frame["depth"]).all()
    assert frame["impressions"].min() == 1
    assert frame["impressions"].mean() == pytest.approx(235_582_879 / 149_639_105, rel=0.1)  # published


def test_the_shop_has_all_that_a_schema_can_say(logs):
    path = logs["shop"] / "shop.csv"
    frame = read(logs["shop"], "shop")
    rows = list(csv.reader(path.open()))
    assert {len(row) for row in rows} == {9}
    assert rows[1:] == [list(row) for row in frame.iter_rows()]
    brands = [row[2] for row in rows[1:]]
    assert any("," in brand for brand in brands)
    assert any('"' in brand for brand in brands)
    for name in ("brand", "tags", "price", "age_days"):
        assert 0.02 < (frame[name] == "NULL").mean() < 0.2
    times = [datetime.fromisoformat(each) for each in frame["timestamp"]]
    assert times == sorted(times)
    assert frame["price"].n_unique() > 3000
    assert frame["discount"].cast(pl.Float64).is_between(0, 1).all()
    assert (frame["weight"].cast(pl.Float64) > 0).all()
    assert frame["tags"].str.count_matches("|", literal=True).max() == 5


def test_the_click_rate_of_the_shop_rises_and_falls_with_the_price(logs):
    frame = read(logs["shop"], "shop").filter(pl.col("price") != "NULL")
    clicks, standard = clicks_of(frame, "shop"), np.log(frame["price"].cast(pl.Float64).to_numpy() / 20)
    low, middle, high = (clicks[abs(standard - at) < 0.3].mean() for at in (-1.26, 0, 1.26))
    assert middle > 1.5 * max(low, high)


@pytest.mark.parametrize("name", KIND_NAMES)
def test_the_schema_reads_the_log(logs, name):
    schema = load_schema(str(logs[name] / "schema.yaml"))
    assert schema.label_name == KINDS[name].label.name
    labels = []
    for path in files_of(logs[name]):
        frames, bad_lines, _ = parse_file(path, schema)
        assert bad_lines.count == 0
        labels.extend(frame[LABEL] for frame in frames)
    assert (pl.concat(labels).to_numpy() == clicks_of(read(logs[name], name), name)).all()


def test_the_schemas_name_what_is_special(logs):
    avazu, kdd12, shop = (
        yaml.safe_load((logs[name] / "schema.yaml").read_text()) for name in ("avazu", "kdd12", "shop")
    )
    assert (avazu["label"], avazu["ignored"], avazu["time"], avazu["header"]) == ("click", ["id"], "hour", True)
    assert "hour" not in avazu["categories"]
    assert kdd12["label"] == {"column": "clicks", "click": ["1"]}
    assert (kdd12["weight"], kdd12["separator"], kdd12["columns"][:2]) == (
        "impressions",
        "\t",
        ["clicks", "impressions"],
    )
    assert shop == {
        "label": {"column": "action", "click": ["click"]},
        "integers": ["age_days"],
        "floats": ["price", "discount"],
        "categories": ["brand", "page"],
        "multi_valued": {"tags": "|"},
        "weight": "weight",
        "time": "timestamp",
        "missing": ["NULL"],
        "separator": ",",
        "header": True,
    }


def test_the_command_names_all_kinds_and_refuses_a_folder_that_is_not_empty(tmp_path, capsys):
    assert list(KINDS) == list(KIND_NAMES)
    flags = ["--kind=narrow", "--rows=50", f"--out={tmp_path / 'log'}"]
    main(flags)
    assert "50 rows" in capsys.readouterr().out
    with pytest.raises(UserError, match="is not empty"):
        main(flags)
    with pytest.raises(UserError, match="rows is at least 1"):
        main(["--rows=0"])
