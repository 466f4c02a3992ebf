# SPDX-License-Identifier: Apache-2.0
"""Every command of the documents is run as printed, in a copy of the repository, in the order of DOCUMENTS.

SMALLER makes data and networks smaller.  A fixture runs the quick start.  Commands that a comment marks as for Ascend
or GPU, or as run by hand, are not run; those of docs/callbacks.md and docs/serving.md have tests of their own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from src.criteo_like import write_rows
from src.dataset_meta import DatasetMeta
from src.modelarts.object_store import open_store
from src.package import load_model
from src.report.quickstart import read_test_metrics
from tests import oracles
from tests.conftest import ROOT
from tests.documents import code_blocks
from tests.records import read_rows
from tests.repository import QUICK_START, copy_repository

DOCUMENTS = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "preprocessing",
            "click_logs",
            "training",
            "tuning",
            "evaluation",
            "export",
            "scoring",
            "ascend",
            "modelarts",
        )
    ),
    "docs/benchmarks.md",
    "CONTRIBUTING.md",
)
LEFT_OUT = re.compile(r"# (needs (Ascend|GPU)|by hand, not in the tests)")
SMALL = """\
train_epochs: 1
line_per_sample: 100
threshold: 10
train_line_count: 0
batch_size: 200
embedding_size: 4
hidden_sizes: [16, 8]
overwrite: True
memory_limit: 0.1
report_path: none
"""
# What is printed, and what is run instead: smaller numbers, files that are there.
SMALLER = (
    (r"/path/dac\.tar\.gz", "dac.tar.gz"),
    (r"data/train\.txt", "own/train.txt"),
    (r"(run_tests\.sh).*", r"\1 tests/unit/test_splitmix.py"),  # not from within: the tests
    (r"--rows=200000", "--rows=6000"),
    (r"--rows=4000000", "--rows=6000 --runs=1"),
    (r"--rows=8000000", "--rows=6000 --runs=1 --pieces=10"),
    (r"(benchmarks/training\.py)", r"\1 --sizes quickstart --steps=1 --rounds=1"),
    (r"(benchmarks/scaling\.py)", r"\1 --batch_size=100 --steps=1 --runs=1 --kinds one parts"),
    (r"(benchmarks/inference\.py)", r"\1 --rounds=1 --most_rows=1"),
    (r"(benchmarks/scoring\.py)", r"\1 --rows=6000 --rounds=1"),
    (r"--config_path=config/quickstart\.yaml", "--config_path=small.yaml"),
    (r"^export .*", "true"),  # the environment is that of the S3 server here
    (r"(--enable_modelarts=True)", r"\1 --config_path=job.yaml"),
    (r"(python (train|eval|src/preprocess_data)\.py(?!.*--config_path))", r"\1 --config_path=small.yaml"),
    (r"(run_(standalone_train|eval|distribute_train)\.sh .*)", r"\1 --config_path=small.yaml"),
    (r"(python tune\.py) --minutes=\d+", r"\1 --config_path=small.yaml --trials=1"),
    (r"--mindir_version=1", "--mindir_version=1 --file_name=deepfm"),
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The files of the repository, with this environment as .venv, and rows for those who have some."""
    folder = tmp_path_factory.mktemp("clone")
    copy_repository(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "small.yaml").write_text(SMALL)
    job = "data_path: cache/data\noutput_path: cache/train\nload_path: cache/checkpoint\n"
    (folder / "job.yaml").write_text(SMALL + job)
    write_rows(folder / "own" / "train.txt", 6000, seed=2)
    with tarfile.open(folder / "dac.tar.gz", "w:gz") as archive:
        archive.add(folder / "own" / "train.txt", "train.txt")
    (folder / "data").mkdir()
    shutil.copy(folder / "dac.tar.gz", folder / "data")
    return folder


@pytest.fixture(scope="module")
def environment(s3_server, clone):
    """That of a shell in which the environment is active; the store has the bucket of the README, with the rows."""
    for name, value in s3_server.environment.items():
        os.environ.setdefault(name, value)
    files = open_store(s3_server.environment)._files
    files.mkdir("bucket")
    files.put(str(clone / "dac.tar.gz"), "bucket/criteo/dac.tar.gz")
    path = f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **s3_server.environment, "PATH": path, "WAIT": "1"}


def commands(block):
    """Return the commands of a block as they are run here."""
    lines = block.replace("\\\n", " ").splitlines()
    kept = [line for line in lines if not LEFT_OUT.search(line)]
    for pattern, smaller in SMALLER:
        kept = [re.sub(pattern, smaller, re.sub(r" +# .*", "", line)) for line in kept]
    return kept


def blocks():
    """Yield each document and the commands of a block; the tests, which leave nothing behind, are run once."""
    done = {QUICK_START}
    for name in DOCUMENTS:
        for block in code_blocks((ROOT / name).read_text(encoding="utf-8"), "bash"):
            kept = []
            for command in commands(block):
                if command not in done:
                    kept.append(command)
                if "run_tests.sh" in command:
                    done.add(command)
            if kept:
                yield name, kept


BLOCKS = list(blocks())


def test_no_document_with_commands_is_left_out():
    documents = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    names = {path.relative_to(ROOT).as_posix() for path in documents if code_blocks(path.read_text(), "bash")}
    assert names == {*DOCUMENTS, "docs/callbacks.md", "docs/serving.md"}


@pytest.mark.slow
@pytest.mark.parametrize("block", [pytest.param(block, id=f"{name}: {block[0][:40]}") for name, block in BLOCKS])
def test_the_commands_work(block, clone, environment):
    for command in block:
        finished = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"


@pytest.mark.slow
def test_the_quick_start_comes_close_to_the_best_possible_auc_and_a_linear_model_does_not(quickstart):
    assert [QUICK_START] in map(commands, code_blocks((ROOT / "README.md").read_text(encoding="utf-8"), "bash"))
    auc, log_loss = read_test_metrics(quickstart / "auc.log")
    best = json.loads((quickstart / "data" / "origin_data" / "train.txt.best.json").read_text())
    assert best["auc"] - 0.02 < auc < best["auc"] + 0.01
    assert log_loss < best["log_loss"] + 0.025
    assert linear_auc(quickstart / "data" / "mindrecord") < best["auc"] - 0.05
    assert f"<strong>{auc:.4f}</strong>" in (quickstart / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "README_CN.md"])
def test_the_readme_prints_about_what_this_version_computes(quickstart, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    printed = re.search(r"^test +AUC ([\d.]+)  log loss ([\d.]+)$", text, re.MULTILINE).groups()
    # Another processor rounds otherwise, and another training differs by more.
    assert [float(each) for each in printed] == pytest.approx(read_test_metrics(quickstart / "auc.log"), abs=0.001)
    served = json.loads(re.search(r'^\{"model_name".*\}$', text, re.MULTILINE).group())["outputs"][0]["data"]
    with open(quickstart / "data" / "origin_data" / "train.txt", encoding="utf-8") as file:
        rows = [next(file), next(file)]
    assert served == pytest.approx(load_model(quickstart / "checkpoint").predict(rows), abs=0.03)


def linear_auc(folder):
    """Return the test AUC of logistic regression on the same features."""
    columns = {}
    for split in ("train", "test"):
        sparse_ids, dense_values, labels = read_rows(folder, split)
        ends = np.arange(0, sparse_ids.size + 1, sparse_ids.shape[1])
        width = DatasetMeta.load(folder).vocabulary_size
        one_hot = csr_matrix((np.ones(sparse_ids.size), sparse_ids.ravel(), ends), shape=(len(sparse_ids), width))
        columns[split] = hstack([one_hot, csr_matrix(dense_values)]).tocsr(), labels
    model = LogisticRegression(C=0.03, tol=1e-3, max_iter=300).fit(*columns["train"])
    features, labels = columns["test"]
    some = slice(0, 4000)  # the oracle counts pairs
    return oracles.auc(labels[some], model.decision_function(features[some]))
