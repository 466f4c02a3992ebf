# SPDX-License-Identifier: Apache-2.0
import dataclasses
import re

import pytest

from src.common.errors import ConfigError
from src.config import DEFAULTS_PATH, load_config


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
    ],
)
def test_flag_takes_the_type_of_its_default(flag, key, value):
    got = getattr(load_config([flag]), key)
    assert got == value
    assert type(got) is type(value)


def test_file_goes_before_defaults_and_flag_before_file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("batch_size: 500\nlearning_rate: 1e-2\nhidden_sizes: [8, 4]\n")
    config = load_config([f"--config_path={path}", "--batch_size", "700"])
    assert (config.batch_size, config.learning_rate, config.hidden_sizes) == (700, 0.01, (8, 4))
    assert config.threshold == 100


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
        ("--keep_prob=1.1", "--keep_prob=1.1: must be at least 0 and at most 1"),
        ("--learning_rate=nan", "--learning_rate=nan: must be a number"),
        ("--do_eval=yes", "--do_eval=yes: must be True or False"),
        ("--device_target=TPU", "--device_target=TPU: must be one of auto, Ascend, GPU, CPU"),
        ("--dataset_path=", "--dataset_path=: must be text that is not empty"),
        ("--config_path=/none.yaml", "--config_path=/none.yaml: No such file or directory"),
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


def test_what_is_not_given_is_none():
    config = load_config(["--data_url=obs://bucket/data", "--train_url=none"])
    assert (config.data_url, config.train_url, config.checkpoint_url) == ("obs://bucket/data", None, None)


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


def test_callbacks_of_repeated_flags_or_of_a_list_are_collected(tmp_path):
    assert load_config(["--callback=a:A", "--callback", "b:B"]).callback == ("a:A", "b:B")
    path = tmp_path / "my.yaml"
    path.write_text("callback: [a:A, b:B]\n")
    assert load_config([f"--config_path={path}"]).callback == ("a:A", "b:B")
    assert load_config([f"--config_path={path}", "--callback=c:C"]).callback == ("c:C",)
    assert load_config([]).callback == load_config([f"--config_path={path}", "--callback=none"]).callback == ()
