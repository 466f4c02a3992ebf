# SPDX-License-Identifier: Apache-2.0
"""Files at obs:// and s3:// addresses: by moxing where the image of ModelArts has it, else by s3fs."""

import asyncio
import dataclasses
import importlib.util
import os
import pathlib
import re
from collections.abc import Mapping

from src.common.errors import UserError

SCHEMES = ("obs://", "s3://")
CREDENTIALS = {  # the variable of the endpoint: those of the key, the secret and the optional token
    "OBS_ENDPOINT": ("OBS_ACCESS_KEY_ID", "OBS_SECRET_ACCESS_KEY", "OBS_SECURITY_TOKEN"),
    "AWS_ENDPOINT_URL": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
}
CONNECT_SECONDS, READ_SECONDS = 10, 60
MD5 = re.compile("[0-9a-f]{32}")


class StoreError(OSError):
    """A request to a store has failed; a retry may succeed."""


class RefusedError(UserError):
    """A store refuses a request; a retry is useless."""


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """The metadata of a file in a store.

    size: in bytes.  tag: changes with the content; None if the store has none.  md5: of the content; None if unknown.
    """

    size: int
    tag: str | None = None
    md5: str | None = None


def is_remote(url: str) -> bool:
    """Tell whether a path or address is one of an object store."""
    return url.startswith(SCHEMES)


def open_store(environment: Mapping[str, str]) -> "Store":
    """Return a MoxingStore if moxing is installed, else the S3Store that the environment describes."""
    if importlib.util.find_spec("moxing"):
        return MoxingStore()
    for endpoint, (key, secret, token) in CREDENTIALS.items():
        if environment.get(endpoint):
            missing = [name for name in (key, secret) if not environment.get(name)]
            if missing:
                raise UserError(f"{endpoint} is set, but not {' and '.join(missing)}")
            return S3Store(environment[endpoint], environment[key], environment[secret], environment.get(token))
    raise UserError(f"obs:// and s3:// need moxing, or one of {' and '.join(CREDENTIALS)} in the environment")


def endpoint_url(endpoint: str) -> str:
    """Return the URL of an endpoint, which may be given without its scheme."""
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def region_of(endpoint: str) -> str | None:
    """Return the region in the name of an OBS endpoint, such as obs.REGION.myhuaweicloud.com; None for others."""
    found = re.search(r"//obs\.([\w-]+)\.", endpoint_url(endpoint))
    return found and found[1]


class S3Store:
    """A store with the S3 protocol, such as OBS."""

    def __init__(self, endpoint: str, key: str, secret: str, token: str | None = None):
        import botocore.exceptions
        import s3fs
        from aiohttp import ClientError

        url, region = endpoint_url(endpoint), region_of(endpoint)
        self._temporary = (OSError, botocore.exceptions.BotoCoreError, ClientError, asyncio.TimeoutError)
        self._secrets = [text for text in (key, secret, token) if text]
        self._files = s3fs.S3FileSystem(
            key=key,
            secret=secret,
            token=token,
            endpoint_url=url,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": READ_SECONDS,
                "retries": {"max_attempts": 0},  # transfer.retry() retries, for every kind of store
                "request_checksum_calculation": "when_required",  # stores other than Amazon's may lack checksums
                "response_checksum_validation": "when_required",
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._files.retries = 1

    def list(self, url: str) -> dict[str, StoredFile]:
        """Return the files below an address by their names relative to it, without their MD5."""
        found = self._call(url, self._files.find, _path(url), detail=True)
        start = len(_path(url)) + 1
        return {
            path[start:]: StoredFile(info["size"], info["ETag"])
            for path, info in found.items()
            if path[start:] and not path.endswith("/")
        }

    def head(self, url: str) -> StoredFile | None:
        """Return the metadata of the file at an address; None if there is no file."""
        try:
            info = self._call(url, self._files.call_s3, "head_object", **dict(zip(("Bucket", "Key"), _parts(url))))
        except FileNotFoundError:
            return None
        tag = info["ETag"].strip('"')
        # The tag is the MD5 if the object was uploaded in one part and is not encrypted with its own key.
        is_md5 = MD5.fullmatch(tag) and info.get("ServerSideEncryption") in (None, "AES256")
        return StoredFile(info["ContentLength"], info["ETag"], tag if is_md5 else None)

    def get(self, url: str, path: pathlib.Path) -> None:
        """Download a file."""
        self._call(url, self._files.get_file, _path(url), str(path))

    def put(self, path: pathlib.Path, url: str) -> None:
        """Upload a file."""
        self._call(url, self._files.put_file, str(path), _path(url))

    def remove(self, url: str) -> None:
        """Delete a file in the store."""
        self._call(url, self._files.rm_file, _path(url))

    def _call(self, url, method, *arguments, **named):
        """Call a method of s3fs; translate its errors to StoreError, FileNotFoundError or RefusedError."""
        try:
            return method(*arguments, **named)
        except FileNotFoundError:
            raise FileNotFoundError(f"{url}: no such file or bucket") from None
        except PermissionError as error:
            raise RefusedError(f"{url}: the store refuses the credentials: {self._clean(error)}") from None
        except self._temporary as error:
            if getattr(error, "filename", None) or getattr(error, "errno", None) == 28:  # of a local file
                raise
            raise StoreError(f"{url}: {self._clean(error)}") from None

    def _clean(self, error):
        text = str(error) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class MoxingStore:
    """OBS by moxing, which images of ModelArts contain, with the credentials that it finds there."""

    def __init__(self):
        os.environ.setdefault("MOX_SILENT_MODE", "1")
        import moxing

        self._files = moxing.file

    def list(self, url: str) -> dict[str, StoredFile]:
        """Return the StoredFiles below an address by their names relative to it."""
        if not self._call(url, self._files.is_directory, url):
            return {}
        names = self._call(url, self._files.list_directory, url, recursive=True)
        return {
            name: self._stored(f"{url}/{name}")
            for name in names
            if not name.endswith("/") and not self._call(url, self._files.is_directory, f"{url}/{name}")
        }

    def head(self, url: str) -> StoredFile | None:
        """Return the metadata of the file at an address; None if there is no file."""
        exists = self._call(url, self._files.exists, url) and not self._call(url, self._files.is_directory, url)
        return self._stored(url) if exists else None

    def get(self, url: str, path: pathlib.Path) -> None:
        """Download a file."""
        self._call(url, self._files.copy, url, str(path))

    def put(self, path: pathlib.Path, url: str) -> None:
        """Upload a file."""
        self._call(url, self._files.copy, str(path), url)

    def remove(self, url: str) -> None:
        """Delete a file in the store."""
        self._call(url, self._files.remove, url)

    def _stored(self, url):
        return StoredFile(self._call(url, self._files.get_size, url))

    @staticmethod
    def _call(url, method, *arguments, **named):
        try:
            return method(*arguments, **named)
        except Exception as error:  # moxing does not document which errors it raises
            raise StoreError(f"{url}: {error or type(error).__name__}") from error


def _path(url: str) -> str:
    return "/".join(_parts(url)).rstrip("/")


def _parts(url: str) -> tuple[str, str]:
    """Return the bucket and the key of an address."""
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or "@" in bucket:
        raise UserError(f"{url}: must be obs://bucket/key or s3://bucket/key; credentials belong in the environment")
    return bucket, key.rstrip("/")


Store = S3Store | MoxingStore


@dataclasses.dataclass(frozen=True)
class StoreAddress:
    """An address and the store that it is in."""

    store: Store
    url: str

    def __str__(self):
        return self.url


Location = pathlib.Path | StoreAddress  # where a folder or a file is: on this host, or in a store


def locate(urls: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Location]:
    """Return the Location of each path or address, by the same keys; a store is opened only if one is needed."""
    if not any(map(is_remote, urls.values())):
        return {key: pathlib.Path(url) for key, url in urls.items()}
    store = open_store(environment)
    return {key: StoreAddress(store, url) if is_remote(url) else pathlib.Path(url) for key, url in urls.items()}
