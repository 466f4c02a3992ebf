# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest
import yaml

from src.common.errors import UserError
from src.criteo_like import write_rows
from src.infer_schema import main
from src.preprocessing.schema_file import load_schema
from tests.raw_data import parse_file

ROWS = 30


def text_of(separator, header, *columns):
    rows = [*([header] if header else []), *zip(*columns)]
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


LABELS = [int(row % 3 == 0) for row in range(ROWS)]
AVAZU = text_of(
    ",",
    ["id", "click", "hour", "C1", "site_id", "C14"],
    [10**19 + row for row in range(ROWS)],
    LABELS,
    ["14102100"] * ROWS,
    [1005] * ROWS,
    [f"{row // 2:08x}" for row in range(ROWS)],
    [15700 + row // 2 for row in range(ROWS)],
)
AVAZU_KEYS = {
    "label": "click", "time": "hour", "integers": ["C14"], "categories": ["C1", "site_id"], "ignored": ["id"],
    "separator": ",", "header": True,
}  # fmt: skip
PLAIN = AVAZU.replace("hour", "zone")  # whose keys are label, integers, categories and ignored alone
PLAIN_KEYS = {key: value for key, value in AVAZU_KEYS.items() if key != "time"}
PLAIN_KEYS["categories"] = ["zone", "C1", "site_id"]
KDD12 = text_of(
    "\t",
    None,
    LABELS,
    [row % 3 + 1 for row in range(ROWS)],
    [10**18 + row * row for row in range(ROWS)],
    [f"{row % 5} {row % 7} {row % 4}" if row % 2 else row % 6 for row in range(ROWS)],
    [row // 2 for row in range(ROWS)],
)
KDD12_KEYS = {
    "label": "label", "integers": ["c5"], "categories": ["c2"], "multi_valued": {"c4": " "}, "ignored": ["c3"],
    "columns": ["label", "c2", "c3", "c4", "c5"], "separator": "\t", "header": False,
}  # fmt: skip
LOG = text_of(
    ",",
    ["", "clicked", "price", "tags", "yes", "sample_weight", "city: a"],
    range(ROWS),
    ["yes" if label else "no" for label in LABELS],
    [row / 8 if row % 4 else "NULL" for row in range(ROWS)],
    ['"a"', '"a,b"', '"a,b,c"', "c", "b"] * (ROWS // 5),
    ["#x" if row % 2 else r"\N" for row in range(ROWS)],
    [0.5] * ROWS,
    ['"New York, NY"' if row % 2 else "Paris" for row in range(ROWS)],
)
LOG_KEYS = {
    "label": {"column": "clicked", "click": ["yes"]}, "weight": "sample_weight", "floats": ["price"],
    "categories": ["yes", "city: a"], "multi_valued": {"tags": ","}, "separator": ",", "header": True,
    "missing": ["NULL", r"\N"],
}  # fmt: skip
TEXTS = {
    "plain": (PLAIN, PLAIN_KEYS),
    "avazu": (AVAZU, AVAZU_KEYS),
    "kdd12": (KDD12, KDD12_KEYS),
    "log": (LOG, LOG_KEYS),
}


def infer(path, *flags):
    """Return the text of the schema of a file."""
    main([str(path), f"--out={path.parent / 'schema.yaml'}", *flags])
    return (path.parent / "schema.yaml").read_text()


@pytest.mark.parametrize(("text", "keys"), TEXTS.values(), ids=TEXTS)
def test_the_keys_of_text_are_inferred(tmp_path, text, keys):
    (tmp_path / "log.txt").write_text(text)
    assert yaml.safe_load(infer(tmp_path / "log.txt")) == keys


@pytest.mark.parametrize("text", [text for text, _ in TEXTS.values()], ids=TEXTS)
def test_all_rows_of_text_are_read_by_the_schema_that_is_inferred_from_them(tmp_path, text):
    (tmp_path / "log.txt").write_text(text)
    infer(tmp_path / "log.txt")
    frames, bad_lines, line_count = parse_file(tmp_path / "log.txt", load_schema(str(tmp_path / "schema.yaml")))
    assert (sum(frame.height for frame in frames), bad_lines.count, line_count) == (ROWS, 0, ROWS)


def parquet_of(path, with_lists):
    lists = {"tags": [["a", "b|c"] if label else ["d"] for label in LABELS]} if with_lists else {}
    pl.DataFrame(
        {
            "label": LABELS,
            "age": [float(row // 2) for row in range(ROWS)],
            "user_id": [row // 2 for row in range(ROWS)],
            "key": [f"k{row}" for row in range(ROWS)],
            **lists,
        }
    ).write_parquet(path)


def test_the_keys_of_parquet_are_inferred(tmp_path):
    parquet_of(tmp_path / "log.parquet", with_lists=True)
    assert yaml.safe_load(infer(tmp_path / "log.parquet")) == {
        "label": "label", "integers": ["age"], "categories": ["user_id"], "multi_valued": {"tags": ";"},
        "ignored": ["key"], "header": True,
    }  # fmt: skip


@pytest.mark.parametrize("with_lists", [False, True])
def test_all_rows_of_parquet_are_read_by_the_schema_that_is_inferred_from_them(tmp_path, with_lists):
    parquet_of(tmp_path / "log.parquet", with_lists)
    infer(tmp_path / "log.parquet")
    frames, bad_lines, _ = parse_file(tmp_path / "log.parquet", load_schema(str(tmp_path / "schema.yaml")))
    assert (sum(frame.height for frame in frames), bad_lines.count) == (ROWS, 0)


def test_comments_give_the_decisions_and_the_cells(tmp_path):
    (tmp_path / "log.txt").write_text(LOG)
    lines = infer(tmp_path / "log.txt").splitlines()
    assert lines[0] == "# A first schema, inferred from 30 rows of log.txt."
    assert "# - label: clicked, by its name; of its values these are clicks: yes" in lines
    assert r"# - missing, in every column: NULL, \N" in lines
    assert "# - not used, since no schema can have their names: ''" in lines
    # 10 of 30 rows are clicks; 8 of 30 have no price: rows 0, 4 .. 28
    assert 'label: {column: clicked, click: ["yes"]}  # text, 2 values, 0.00% missing: no, yes; 33.33% clicks' in lines
    assert "  - price  # floats, 22 values, 26.67% missing: 0.125, 0.25, 0.375" in lines


def test_a_label_that_is_not_found_is_left_to_the_user(tmp_path, capsys):
    (tmp_path / "log.txt").write_text("age,site\n5,x\n7,y\n")
    assert "label:  # ??? the name of the column of clicks" in infer(tmp_path / "log.txt").splitlines()
    assert "note: the label is not found: no column has the name of a label" in capsys.readouterr().err
    with pytest.raises(UserError, match="label is missing: name the column of the clicks"):
        load_schema(str(tmp_path / "schema.yaml"))


def test_the_rows_of_criteo_need_no_schema(tmp_path, capsys):
    write_rows(tmp_path / "train.txt", 100, seed=1)
    main([str(tmp_path), f"--out={tmp_path / 'new' / 'schema.yaml'}"])
    assert capsys.readouterr().err.endswith("train.txt has Criteo's form: it needs no schema\n")
    assert not (tmp_path / "new").exists()


def test_the_schema_is_printed_from_the_first_rows(tmp_path, capsys):
    (tmp_path / "log.txt").write_text(PLAIN)
    main([str(tmp_path / "log.txt"), "--rows=10"])
    assert capsys.readouterr().out.startswith("# A first schema, inferred from 10 rows of log.txt.\n")


def test_a_file_that_exists_stays(tmp_path):
    (tmp_path / "log.txt").write_text(PLAIN)
    infer(tmp_path / "log.txt")
    with pytest.raises(UserError, match=r"schema\.yaml exists"):
        infer(tmp_path / "log.txt")


@pytest.mark.parametrize(("flags", "message"), [(["--rows=0"], "--rows=0: must be"), ([], "FILE=none: no such file")])
def test_mistakes_are_refused(flags, message):
    with pytest.raises(UserError, match=message):
        main(["none", *flags])
