# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from src.modelarts.object_store import S3Store, StoredFile, open_store


@pytest.mark.parametrize(
    ("endpoint", "url", "region"),
    [
        ("obs.cn-north-4.myhuaweicloud.com", "https://obs.cn-north-4.myhuaweicloud.com", "cn-north-4"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", None),
    ],
)
def test_the_endpoint_says_the_region(endpoint, url, region):
    files = S3Store(endpoint, "key", "secret")._files
    assert (files.endpoint_url, files.client_kwargs.get("region_name")) == (url, region)


@pytest.mark.parametrize("scheme", ["s3", "obs"])
def test_files_go_there_and_back_under_the_variables_of_aws(s3_server, bucket, tmp_path, scheme):
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


def test_a_file_that_goes_up_in_parts_has_no_md5(bucket, tmp_path):
    store = open_store(os.environ)
    content = os.urandom(110 << 20)  # s3fs sends more than 100 MB in parts
    (tmp_path / "file").write_bytes(content)
    store.put(tmp_path / "file", f"{bucket}/large")
    stored = store.head(f"{bucket}/large")
    assert stored == StoredFile(len(content), stored.tag, None)
    assert stored.tag.strip('"')[32] == "-"
    store.get(f"{bucket}/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
