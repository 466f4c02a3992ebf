# SPDX-License-Identifier: Apache-2.0
import dataclasses
import os
import re

import pytest
import yaml

from src.common.dense_encoding import DenseEncoding
from src.common.errors import ConfigError
from src.common.values import INTS, TEXTS
from src.config import (
    DEFAULTS_PATH,
    SETTINGS,
    Config,
    Role,
    Setting,
    given_flags,
    keys_of,
    load_config,
    outputs_of,
    read_help,
)
from tests.conftest import ROOT


def test_defaults_are_the_model_zoos():
    config = load_config([])
    assert (config.dense_dim, config.slot_dim, config.threshold, config.train_line_count) == (13, 26, 100, 45840617)
    assert (config.embedding_size, config.hidden_sizes, config.batch_size) == (80, (1024, 512, 256, 128), 16000)
    assert (config.learning_rate, config.epsilon, config.l2_coef, config.keep_prob) == (5e-4, 5e-8, 8e-5, 0.9)
    assert (config.train_epochs, config.skip_id_convert, config.do_eval) == (5, False, True)


@pytest.mark.parametrize(
    ("flag", "key", "value"),
    [
        ("--do_eval=False", "do_eval", False),
        ("--do_eval=false", "do_eval", False),
        ("--do_eval=0", "do_eval", False),
        ("--skip_id_convert=1", "skip_id_convert", True),
        ("--do_eval=True", "do_eval", True),
        ("--hidden_sizes=[400,400]", "hidden_sizes", (400, 400)),
        ("--hidden_sizes=64", "hidden_sizes", (64,)),
        ("--learning_rate=1e-3", "learning_rate", 1e-3),
        ("--l2_coef=0", "l2_coef", 0.0),
        ("--dataset_path=a b", "dataset_path", "a b"),
        ("--batch_size=2000", "batch_size", 2000),
        ("--dense_encoding=log", "dense_encoding", DenseEncoding.LOG),
    ],
)
def test_flag_takes_the_type_of_its_default(flag, key, value):
    got = getattr(load_config([flag]), key)
    assert got == value
    assert type(got) is type(value)


def test_the_file_overrides_defaults_and_flags_override_the_file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("batch_size: 500\nlearning_rate: 1e-2\nhidden_sizes: [8, 4]\n")
    config = load_config([f"--config_path={path}", "--batch_size", "700"])
    assert (config.batch_size, config.learning_rate, config.hidden_sizes) == (700, 0.01, (8, 4))
    assert config.threshold == 100


@pytest.mark.parametrize(
    ("lines", "flags", "expected"),
    [
        ("", [], ()),
        ("", ["--callback=a.b:C", "--callback", "d:E"], ("a.b:C", "d:E")),
        ("callback: [a.b:C, d:E]", [], ("a.b:C", "d:E")),
        ("callback: a.b:C", [], ("a.b:C",)),
        ("callback: [a.b:C, d:E]", ["--callback=f:G"], ("f:G",)),
        ("callback: [a.b:C, d:E]", ["--callback=none"], ()),
    ],
)
def test_callbacks_are_collected_from_repeated_flags_or_from_a_list(tmp_path, lines, flags, expected):
    (tmp_path / "my.yaml").write_text(f"batch_size: 100\n{lines}\n")
    assert load_config([f"--config_path={tmp_path / 'my.yaml'}", *flags]).callback == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--batchsize=3", "unknown argument --batchsize; did you mean --batch_size?"),
        ("--batch_size=-1", "--batch_size=-1: must be at least 0"),
        ("--batch_size=1.5", "--batch_size=1.5: must be a whole number"),
        ("--hidden_sizes=8,0", "--hidden_sizes=8,0: must be at least 1"),
        ("--hidden_sizes=", "--hidden_sizes=: must be a list of whole numbers, such as 400,400"),
        ("--negative_label=1", "--negative_label=1: must be one of 0, -1"),
        ("--keep_prob=0", "--keep_prob=0: must be more than 0"),
        ("--keep_prob=1.1", "--keep_prob=1.1: must be more than 0 and at most 1"),
        ("--learning_rate=nan", "--learning_rate=nan: must be a number"),
        ("--do_eval=yes", "--do_eval=yes: must be True or False"),
        ("--device_target=TPU", "--device_target=TPU: must be one of auto, Ascend, GPU, CPU"),
        ("--dataset_path=", "--dataset_path=: must be text that is not empty"),
        ("--config_path=/none.yaml", "--config_path=/none.yaml: No such file or directory"),
        ("--callback=collections.Counter", "--callback=collections.Counter: must have the form package.module:Name"),
        ("train", "unknown argument train"),
    ],
)
def test_mistake_in_a_flag_is_named(argument, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config([argument])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bach_size: 5", "my.yaml: bach_size: unknown key; did you mean batch_size?"),
        ("batch_size: true", "my.yaml: batch_size=True: must be a whole number"),
        ("- 1", "expected lines of the form 'key: value'"),
        ("a: [", "my.yaml is not YAML"),
        ("dataset_path:", "must be text that is not empty"),
    ],
)
def test_mistake_in_a_file_is_named(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config([f"--config_path={path}"])
    assert message in str(caught.value)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config([]).batch_size = 1


def test_help_shows_every_flag_with_meaning_and_default_in_the_files_order(capsys):
    with pytest.raises(SystemExit) as caught:
        load_config(["--help"])
    assert caught.value.code == 0
    shown = re.findall(r"^  --(\w+)", capsys.readouterr().out, re.M)
    keys = re.findall(r"^(\w+):", DEFAULTS_PATH.read_text(), re.M)
    assert shown == ["config_path", *keys]


def test_every_key_has_a_comment(capsys):
    for line in DEFAULTS_PATH.read_text().splitlines():
        assert not line or line.startswith("#") or re.match(r"\w+: .*\S\s+# \S", line), line


def test_a_job_ignores_the_flags_that_a_platform_adds_and_does_not_show_their_values(capsys):
    config = load_config(
        ["--enable_modelarts=True", "--platform_token=secret", "--other", "secret", "--bach_size=5", "--batch_size=100"]
    )
    assert config.batch_size == 100
    assert capsys.readouterr().out == (
        "ignored, not settings of this script: --platform_token, --other, --bach_size (did you mean --batch_size?)\n"
    )


def test_a_job_has_its_data_where_the_platform_has_room():
    assert load_config([]).data_path == "./data/"
    assert load_config(["--enable_modelarts=True"]).data_path == "/cache/data"
    assert load_config(["--enable_modelarts=True", "--data_path=./here"]).data_path == "./here"


def test_an_optional_setting_that_is_not_given_is_none():
    config = load_config(["--data_url=obs://bucket/data", "--train_url=none"])
    assert (config.data_url, config.train_url, config.checkpoint_url) == ("obs://bucket/data", None, None)


def test_local_workers_and_those_of_a_scheduler_exclude_each_other():
    assert load_config(["--workers=2"]).workers == 2
    assert load_config(["--scheduler=tcp://host:8786"]).scheduler == "tcp://host:8786"
    with pytest.raises(ConfigError, match=r"--workers=2 starts .*, --scheduler=tcp://host:8786 has"):
        load_config(["--workers=2", "--scheduler=tcp://host:8786"])


@pytest.mark.parametrize(
    ("flags", "is_refused"),
    [
        (("--slot_dim=0",), False),
        (("--slot_dim=0", "--dense_encoding=bucket"), False),
        (("--slot_dim=0", "--dense_encoding=log"), True),
        (("--slot_dim=0", "--dense_encoding=max", "--skip_id_convert=1"), True),
        (("--slot_dim=0", "--dense_dim=0"), True),
        (("--dense_dim=0", "--dense_encoding=max"), False),
    ],
)
def test_raw_rows_without_a_sparse_field_are_refused(flags, is_refused):
    if is_refused:
        with pytest.raises(ConfigError, match=r"--slot_dim=0 with --dense_dim=\d+ and --dense_encoding=\S+ leaves no"):
            load_config(flags)
    else:
        assert load_config(flags).slot_dim in (0, 26)


def values_at_the_limits(setting: Setting):
    """Yield values of a number as (value, is_allowed): each limit, and the next number beyond and within it."""
    step = 1 if setting.value_type in (int, INTS) else 1e-9
    if setting.at_least is not None:
        yield from [(setting.at_least, True), (setting.at_least - step, False)]
    if setting.more_than is not None:
        yield from [(setting.more_than, False), (setting.more_than + step, True)]
    if setting.at_most is not None:
        yield from [(setting.at_most, True), (setting.at_most + step, False)]


@pytest.mark.parametrize("key", [key for key, setting in SETTINGS.items() if setting.bounds()])
def test_each_range_holds_at_its_limits(key):
    for value, is_allowed in values_at_the_limits(SETTINGS[key]):
        if is_allowed:
            parsed = getattr(load_config([f"--{key}={value!r}"]), key)
            assert parsed == ((value,) if SETTINGS[key].value_type == INTS else value)
        else:
            with pytest.raises(ConfigError, match=re.escape(f"--{key}={value!r}: must be {SETTINGS[key].bounds()}")):
                load_config([f"--{key}={value!r}"])


def test_every_number_has_a_limit():
    """Without one a negative count would be accepted."""
    numbers = [key for key, setting in SETTINGS.items() if setting.value_type in (int, float, INTS)]
    assert [key for key in numbers if not SETTINGS[key].bounds() and not SETTINGS[key].choices] == []


@pytest.mark.parametrize("key", [key for key, setting in SETTINGS.items() if setting.choices])
def test_each_choice_is_taken_and_named_in_the_help_text(key):
    for choice in SETTINGS[key].choices:
        assert getattr(load_config([f"--{key}={choice}", "--slot_dim=1"]), key) == choice
        assert re.search(rf"(?<![\w+]){re.escape(str(choice))}(?![\w+])", read_help()[key].meaning), choice


def test_the_fields_are_the_keys_of_the_file_in_its_order():
    keys = re.findall(r"^(\w+):", DEFAULTS_PATH.read_text(), re.M)
    assert [field.name for field in dataclasses.fields(Config)] == keys


def test_every_default_has_the_annotated_type_without_conversion():
    """The file shows a user each value as it is: no number as text, no 1 for 1.0 or True."""
    defaults = yaml.safe_load(DEFAULTS_PATH.read_text())
    for key, setting in SETTINGS.items():
        in_file = {INTS: list, TEXTS: str, DenseEncoding: str}.get(setting.value_type, setting.value_type)
        assert type(defaults[key]) is in_file, key
        assert not setting.is_optional or "none" in read_help()[key].meaning + str(defaults[key]), key


def test_help_texts_start_with_the_thing():
    for key, flag in read_help().items():
        assert not re.match(r"(of|what|which|where|the same)\b", flag.meaning), key


def test_every_setting_has_a_role():
    assert all(isinstance(setting.role, Role) for setting in SETTINGS.values())
    assert sorted(keys_of(*Role)) == sorted(SETTINGS)


def test_results_are_recorded_with_these_settings_in_this_order():
    """dataset_meta.json holds them so; a new one needs a value with which it is left out."""
    assert keys_of(Role.PARSED_ROWS, Role.MINDRECORD) == (
        "dense_dim", "slot_dim", "skip_id_convert", "negative_label", "split", "split_seed", "valid_ratio",
        "test_ratio", "negative_keep_rate", "threshold", "max_vocab_size", "dense_encoding", "line_per_sample",
    )  # fmt: skip
    unrecorded = {key for key, setting in SETTINGS.items() if setting.unrecorded is not None}
    assert unrecorded == {"negative_label", "split", "negative_keep_rate"}


def test_a_resumed_run_must_keep_what_shapes_its_parameters_and_its_batches():
    assert set(keys_of(Role.RUN_IDENTITY)) == {
        "seed", "batch_size", "embedding_size", "hidden_sizes", "keep_prob", "embedding_keep_prob", "value_statistics",
        "ema_decay",
    }  # fmt: skip


def test_every_command_knows_its_outputs():
    assert outputs_of("train") == ("ckpt_path", "loss_file_name", "eval_file_name", "report_path", "tensorboard_dir")
    assert outputs_of("eval") == ("eval_file_name", "report_path", "predictions_path")
    assert outputs_of("export") == ("file_name",)
    assert outputs_of("tune") == ("tune_path",)
    commands = {command for setting in SETTINGS.values() for command in setting.output_of}
    assert all((ROOT / f"{command}.py").is_file() for command in commands)


def test_a_file_of_defaults_without_a_key_is_named(tmp_path, monkeypatch):
    path = tmp_path / "default_config.yaml"
    path.write_text(DEFAULTS_PATH.read_text().replace("\nbatch_size:", "\n#batch_size:"))
    monkeypatch.setattr("src.config.DEFAULTS_PATH", path)
    with pytest.raises(ConfigError, match=r"default_config\.yaml has no line for batch_size"):
        load_config([])


def test_flags_of_the_command_line_are_read_once(monkeypatch):
    """The file of --config_path may be a pipe, which is empty when it is read again."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"batch_size: 300\n")
    os.close(write_end)
    monkeypatch.setattr("sys.argv", ["train.py", f"--config_path=/dev/fd/{read_end}"])
    monkeypatch.setattr("src.config._command_line", [])
    assert load_config().batch_size == 300
    assert load_config() is load_config()
    assert given_flags() == set()
    os.close(read_end)


def test_given_flags_are_those_of_the_command_line_alone(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("batch_size: 500\n")
    assert given_flags([f"--config_path={path}", "--seed=1", "--keep_prob", "0.9"]) == {"seed", "keep_prob"}
