# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import sys

import pytest

from src.modelarts.object_store import MoxingStore, StoredFile, endpoint_url, open_store, region_of
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("endpoint", "url", "region"),
    [
        ("obs.cn-north-4.myhuaweicloud.com", "https://obs.cn-north-4.myhuaweicloud.com", "cn-north-4"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", None),
    ],
)
def test_the_region_is_read_from_the_endpoint(endpoint, url, region):
    assert (endpoint_url(endpoint), region_of(endpoint)) == (url, region)


@pytest.mark.parametrize("scheme", ["s3", "obs"])
def test_a_file_is_uploaded_and_downloaded_with_the_variables_of_aws(s3_server, bucket, tmp_path, scheme):
    obs = s3_server.environment
    store = open_store(
        {
            "AWS_ENDPOINT_URL": obs["OBS_ENDPOINT"],
            "AWS_ACCESS_KEY_ID": obs["OBS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": obs["OBS_SECRET_ACCESS_KEY"],
        }
    )
    url = f"{scheme}://{bucket.partition('://')[2]}/a b/é+&.txt"
    (tmp_path / "file").write_bytes(b"hello")
    store.put(tmp_path / "file", url)
    store.get(url, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"hello"
    assert store.head(url).md5 == "5d41402abc4b2a76b9719d911017c592"
    assert [(name, file.size) for name, file in store.list(url.rpartition("/")[0]).items()] == [("é+&.txt", 5)]
    store.remove(url)
    assert store.head(url) is None


def test_a_multipart_upload_has_no_md5(s3_server, bucket, tmp_path):
    store, parts = open_store(os.environ), [os.urandom(5 << 20), b"the last part"]
    s3_server.upload_in_parts(bucket.removeprefix("obs://"), "large", parts)
    stored = store.head(f"{bucket}/large")
    assert stored == StoredFile((5 << 20) + 13, stored.tag, None)
    assert stored.tag.strip('"')[32] == "-"  # the tag is that of a list of MD5s
    store.get(f"{bucket}/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"".join(parts)


def test_the_store_of_moxing_copies_lists_and_deletes(tmp_path, monkeypatch, request):
    request.addfinalizer(lambda: sys.modules.pop("moxing", None))
    (tmp_path / "modules").mkdir()
    shutil.copy(ROOT / "tests" / "moxing_stand_in.py", tmp_path / "modules" / "moxing.py")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    store = open_store({})
    assert isinstance(store, MoxingStore)
    (tmp_path / "file").write_bytes(b"hello")
    store.put(tmp_path / "file", "obs://bucket/a/b.txt")
    assert store.list("obs://bucket") == {"a/b.txt": StoredFile(5)}
    assert store.head("obs://bucket/a/b.txt") == StoredFile(5)
    assert store.head("obs://bucket/a") is None  # a folder is no file
    store.get("obs://bucket/a/b.txt", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"hello"
    store.remove("obs://bucket/a/b.txt")
    assert store.list("obs://bucket/none") == {}
