"""A real S3 server for tests: moto in a process of its own, which checks every request's signature."""

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import boto3
from botocore.config import Config

from testbed.valkey import free_port
from townsquare.settings import Settings

BUCKET: Final = "town"
FIRST_CALLS: Final = 3
"""Calls that are not checked yet: they make the account whose signatures are checked afterwards."""

# moto's own server, but for its reset address, which would switch the checks off again.
_SERVE: Final = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
_MAY_ALL: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


class S3:
    """One server with one bucket, on a port that it keeps. Whatever was in it is gone when it is started again."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.key_id = self.secret = ""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def settings(self, data: Path, **changed: object) -> Settings:
        """Return settings whose files are in the bucket."""
        given: dict[str, object] = {
            "storage_url": f"s3://{BUCKET}/files",
            "storage_endpoint": self.url,
            "storage_key_id": self.key_id,
            "storage_secret": self.secret,
        }
        return Settings(data=data, **(given | changed))  # type: ignore[arg-type]

    def start(self) -> None:
        """Start the server and make an account and the bucket in it."""
        environment = {"INITIAL_NO_AUTH_ACTION_COUNT": str(FIRST_CALLS), "PATH": "/usr/bin:/bin"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(self.port)], env=environment, stdout=log, stderr=log
            )
        self._wait()
        # Three calls that are not checked; from the fourth on, every signature is.
        people = self._client("iam", "first", "calls")
        people.create_user(UserName="town")
        people.put_user_policy(UserName="town", PolicyName="all", PolicyDocument=_MAY_ALL)
        key = people.create_access_key(UserName="town")["AccessKey"]
        self.key_id, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self._client("s3", self.key_id, self.secret).create_bucket(Bucket=BUCKET)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(which)

    def _client(self, service: str, key_id: str, secret: str):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    def _wait(self) -> None:
        """Ask until it answers; its own pages are not counted among the calls."""
        for _ in range(400):
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5).close()
            except OSError:
                signal.sigtimedwait([], 0.05)
            else:
                return
        raise TimeoutError("moto has not started")


@contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """Lend a server."""
    server = S3(folder / "s3.log")
    server.start()
    try:
        yield server
    finally:
        server.kill()
