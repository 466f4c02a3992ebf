# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import yaml

from src.common.errors import UserError
from src.preprocessing.schema import FieldSchema, TextFormat
from src.preprocessing.schema_file import describe_schema, load_schema, parse_schema

AVAZU = """
label: click
categories: [hour, C1, site_id]
ignored: [id]
header: true
"""


def test_a_schema_of_a_log_with_a_header_needs_little(tmp_path):
    (tmp_path / "schema.yaml").write_text(AVAZU)
    schema = load_schema(str(tmp_path / "schema.yaml"))
    assert schema == FieldSchema((), ("hour", "C1", "site_id"), label_name="click", text=TextFormat(",", True))
    assert schema.in_file(("id", "click", "hour", "C1", "site_id")).column_names == (
        "id", "<label>", "hour", "C1", "site_id",
    )  # fmt: skip


def test_a_schema_of_a_log_without_a_header_names_its_columns_in_order():
    schema = parse_schema(
        yaml.safe_load(
            """
            label: {column: rating, click: [4, "5"]}
            integers: [age]
            categories: [user, movie]
            columns: [user, movie, rating, age, time]
            separator: ";"
            missing: ["NULL", "-"]
            """
        )
    )
    assert (schema.clicks, schema.integer_names, schema.category_names) == (("4", "5"), ("age",), ("user", "movie"))
    assert schema.column_names == ("user", "movie", "<label>", "age", "time")
    assert schema.text == TextFormat(";", False, ("NULL", "-"))


@pytest.mark.parametrize(
    "schema",
    [
        FieldSchema.criteo(2, 3, text=TextFormat()),
        FieldSchema(("a",), ("b",), label_name="click", clicks=("yes",), text=TextFormat(",", True, ("NA",))),
        FieldSchema((), ("b",), label_name="click", file_columns=("x", "b", "click"), text=TextFormat()),
        FieldSchema(
            (),
            ("b",),
            float_names=("f",),
            list_names=("t", "u"),
            list_separators=("/", "|"),
            weight_name="w",
            time_name="at",
            text=TextFormat(",", True),
        ),
    ],
)
def test_a_schema_comes_back_from_json(schema):
    assert parse_schema(json.loads(json.dumps(describe_schema(schema)))) == schema


GOOD = {"label": "click", "integers": ["age"], "categories": ["site"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "label is missing: name the column of the clicks"),
        ({"label": 3}, "label is a mapping with the keys column, click"),
        ({"label": {"column": "click", "clicks": [1]}}, "unknown key clicks; did you mean click?"),
        ({"label": {"column": "click", "click": [True]}}, "click: True must be text: write it in quotes"),
        ({"label": {"click": [1]}}, "label: the name None must be text"),
        ({"catgories": ["x"]}, "unknown key catgories; did you mean categories?"),
        ({"categories": "site"}, "categories is 'site'; it must be a list"),
        ({"categories": ["site", "age"]}, "column age is named twice"),
        ({"categories": ["site", "click"]}, "column click is named twice"),
        ({"categories": [1]}, "categories: the name 1 must be text"),
        ({"categories": ["<x"]}, "categories: '<x' is no name of a column"),
        ({"categories": ["a\tb"]}, "is no name of a column"),
        ({"categories": [], "integers": None}, "integers, floats and categories are missing"),
        (
            {"ignored": ["id"]},
            "where is id\\? name all columns of the file in their order in columns, or set header: true",
        ),
        ({"weight": "shown"}, r"where is shown\?"),
        ({"floats": ["age"]}, "column age is named twice"),
        ({"time": ["at"]}, r"time: the name \['at'\] must be text"),
        ({"multi_valued": ["tags"]}, r"multi_valued is \['tags'\]; it must name columns with the separator"),
        ({"multi_valued": {"tags": "\t"}}, r"the separator of tags is '\\t'; it must be one ASCII character"),
        ({"multi_valued": {"tags": "||"}}, r"the separator of tags is '\|\|'"),
        ({"multi_valued": {"site": "/"}}, "column site is named twice"),
        ({"columns": ["click", "age"]}, "columns lack site"),
        ({"columns": ["click", "age", "site"], "header": True}, "with header: true leave them out"),
        ({"separator": "ab"}, "separator is 'ab'; it must be one ASCII character"),
        ({"separator": "\n"}, "separator is"),
        ({"header": "yes"}, "header is 'yes'; it must be true or false"),
        ({"missing": [None]}, "missing: None must be text: write it in quotes"),
    ],
)
def test_each_mistake_has_a_message(change, message):
    content = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        parse_schema(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--schema_path=.*schema.yaml: no such file"),
        ("label: [", "schema.yaml is not a schema in YAML: "),
        ("- label", "schema.yaml: a schema is a mapping with the keys label, integers"),
        ("label: x", "schema.yaml: integers, floats and categories are missing"),
    ],
)
def test_a_file_that_is_no_schema_is_named(tmp_path, content, message):
    path = tmp_path / "schema.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_schema(str(path))
