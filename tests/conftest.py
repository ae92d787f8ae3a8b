"""What all tests share: an environment of their own, and one real Prefect server for those that need it."""

from __future__ import annotations

import os

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
