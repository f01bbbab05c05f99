"""ShellTorch: TorchServe's second way to load code from an address, workflows, is closed as the first is."""

from __future__ import annotations

import pytest
import requests

from harness.servers import Server

pytestmark = pytest.mark.server


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.war", "https://127.0.0.1:9/x.war", "file:///tmp/x.war"])
def test_no_workflow_comes_from_an_address(server: Server, url: str) -> None:
    answer = requests.post(f"{server.management}/workflows", params={"url": url}, timeout=60)
    assert answer.status_code == 404
    assert "does not match any allowed URL" in answer.json()["message"]
    assert requests.get(f"{server.management}/workflows", timeout=60).json() == {"workflows": []}
