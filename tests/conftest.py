"""What all tests share: an environment of their own, and one real Prefect server for those that need it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory):
    """No credentials, no Prefect profile and no network of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("AWS_", "PREFECT_", "GOOGLE_", "AZURE_", "SENSORIUM_", "OPENAI_")):
                patch.delenv(name)
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect-home")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def prefect_server(own_environment):
    """URL of the API of a real server process."""
    from flows.local_server import LocalServer

    server = LocalServer()
    server.wait()
    yield f"{server.url}/api"
    server.stop()


@pytest.fixture(scope="session")
def s3_server():
    """Endpoint of a real S3 server process on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def _wait_for(port, process):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "the S3 server did not start"
            time.sleep(0.1)
    raise TimeoutError("the S3 server did not answer within 30 s")
