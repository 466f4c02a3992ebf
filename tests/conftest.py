# SPDX-License-Identifier: Apache-2.0
"""What several tests share: a device, small raw data, the MindRecord made of it, and model packages."""

import fcntl
import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
with_bfloat16 = pytest.mark.skipif(
    "avx512_bf16" not in pathlib.Path("/proc/cpuinfo").read_text().split(), reason="this processor has no bfloat16"
)
# gRPC's handlers of a fork end one in thirty processes that a test starts, once another test has opened a channel.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of some hundred processes compiles src anew


@pytest.fixture(scope="session")
def cpu():
    """MindSpore in graph mode on the CPU, as the entry points set it."""
    from src.distributed.device import select_device

    select_device("CPU", 0)


@pytest.fixture
def seeded(cpu):
    from src.distributed.device import set_seed

    set_seed(1)


@pytest.fixture(scope="session")
def run():
    """Run an entry point of the project as a user does; return the finished process."""

    def run_script(*arguments, cwd=ROOT, **options):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,
        )

    return run_script


@pytest.fixture(scope="module")
def browser():
    """The browser in which pages are opened."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "chromium is missing; scripts/run_tests.sh installs it"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def s3_server():
    """A real S3 server with an empty store."""
    from tests.s3_server import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """The address of a new bucket of the S3 server, which the environment names."""
    import uuid

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
        # The names that Amazon's own libraries read.
        aws = {"OBS_ENDPOINT": "AWS_ENDPOINT_URL"}.get(name, name.replace("OBS", "AWS"))
        monkeypatch.setenv(aws, value)
    name = f"test-{uuid.uuid4()}"
    s3_server.create_bucket(name)
    s3_server.requests.clear()
    s3_server.released.clear()
    return f"obs://{name}"


@pytest.fixture(params=["directory", "s3"])
def storage(request, tmp_path):
    """A folder for the workers of a cluster, in a directory and in a real object store."""
    from src.preprocessing.cluster.storage import storage_at

    if request.param == "directory":
        return storage_at(str(tmp_path / "shared"))
    return storage_at(request.getfixturevalue("bucket").replace("obs://", "s3://") + "/shared")


def make_rows(count, dense_dim, slot_dim, seed, ending="\n"):
    """Return raw rows with missing values, negative integers, skewed categories and some that are not ASCII."""
    dice = random.Random(seed)
    values = ["", "05db9164", "a", "b", "é", "中文", "x y", '"q', "#", *(f"rare{number}" for number in range(40))]
    lines = []
    for _ in range(count):
        label = str(int(dice.random() < 0.4))
        integers = [
            dice.choice(["", str(int(dice.lognormvariate(2, 2))), str(dice.randint(-3, 3))]) for _ in range(dense_dim)
        ]
        categories = [values[min(int(dice.expovariate(0.25)), len(values) - 1)] for _ in range(slot_dim)]
        lines.append("\t".join([label, *integers, *categories]))
    return ending.join(lines)


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory):
    """Return a function (flags, content=None) -> MindRecord folder of 1,203 rows with 3 integers and 4 categories."""
    from src.preprocess_data import main

    def build(*flags, content=None):
        data_path = tmp_path_factory.mktemp("data")
        (data_path / "train.txt").write_text(make_rows(1203, 3, 4, seed=5) if content is None else content, newline="")
        main(
            [
                f"--data_path={data_path}",
                "--dense_dim=3",
                "--slot_dim=4",
                "--threshold=3",
                "--line_per_sample=50",
                "--train_line_count=0",
                *flags,
            ]
        )
        return data_path / "mindrecord"

    return build


@pytest.fixture(scope="session")
def dataset(make_dataset):
    """The MindRecord folder of make_dataset with the default encoding."""
    return make_dataset()


WEIGHTED_SCHEMA = """
label: label
integers: [I1, I2, I3]
categories: [C1, C2, C3, C4]
weight: shown
columns: [label, I1, I2, I3, C1, C2, C3, C4, shown]
separator: "\\t"
header: false
"""


@pytest.fixture(scope="session")
def weighted_dataset(make_dataset, tmp_path_factory):
    """The MindRecord folder of make_dataset's rows with a weight of 0, 0.5, 1 or 7.25 in a last column."""
    path = tmp_path_factory.mktemp("schema") / "schema.yaml"
    path.write_text(WEIGHTED_SCHEMA)
    return make_dataset(f"--schema_path={path}", content=make_weighted_rows(1203, seed=5))


def make_weighted_rows(count, seed):
    """Return the rows of make_rows with 3 integers and 4 categories, and a last column with weights."""
    dice = random.Random(seed)
    lines = make_rows(count, 3, 4, seed).split("\n")
    return "\n".join(f"{line}\t{dice.choice(['0', '0.5', '1', '7.25'])}" for line in lines)


@pytest.fixture(scope="session")
def click_log_data(tmp_path_factory):
    """The MindRecord folder of 2,000 rows of tests.click_log."""
    from src.preprocess_data import main
    from tests import click_log

    folder = tmp_path_factory.mktemp("click_log")
    (folder / "schema.yaml").write_text(click_log.SCHEMA)
    (folder / "log.csv").write_bytes(b"\n".join(click_log.well_formed_lines(1, 2000)))
    flags = ("--threshold=3", "--line_per_sample=50", "--train_line_count=0", "--dense_encoding=log+bin")
    main([f"--data_path={folder / 'log.csv'}", f"--schema_path={folder / 'schema.yaml'}", *flags])
    return next(folder.rglob("vocabulary.tsv")).parent


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """Return a function (name, make) -> the folder of that name, which the first of the suite's processes makes.

    make: is called with the folder, which does not exist yet.
    """
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def folder_of(name, make):
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (base / name).exists():
                make(base / name)
        return base / name

    return folder_of


@pytest.fixture(scope="session")
def packages(once, dataset, cpu):
    """The folders of two model packages of the same network, without and with a recalibration."""
    from src.dataset_meta import DatasetMeta
    from tests.packages import RECALIBRATION, write_random_package

    recalibrations = {"plain": None, "recalibrated": RECALIBRATION}

    def write(folder):
        for name, recalibration in recalibrations.items():
            write_random_package(folder / name, DatasetMeta.load(dataset), recalibration)

    folder = once("packages", write)
    return [folder / name for name in recalibrations]
