"""The page over a slow line: `scripts/benchmark first_visit [--latency-ms 400] [--kb-per-s 50]`.

Chromium's DevTools slow the line: every answer comes after the latency, and all together at the throughput. A visit
ends when a photo can be drawn: the limits and the styles are there and the buttons work. The first one has an empty
cache, the second is a reload. Bytes are those on the line, headers included, without what `v1/` answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page

from benchmarks.common.result import store, table
from harness.browsing.browsers import opened_page, running_browser
from harness.gateways import running_gateway

READY = "body[data-ready]"
WATCH = """
    new MutationObserver((_, observer) => {
        if (!document.querySelector("body[data-ready]")) return;
        window.readyMs = performance.now();
        observer.disconnect();
    }).observe(document, {subtree: true, attributes: true, childList: true});
"""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=int, default=400)
    parser.add_argument("--kb-per-s", type=int, default=50)
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args(words)
    rows = []
    with tempfile.TemporaryDirectory() as folder, running_gateway(Path(folder), None) as gateway:
        for number in range(1, options.visits + 1):
            with running_browser() as browser, opened_page(browser, "about:blank") as page:
                page.add_init_script(WATCH)
                line = page.context.new_cdp_session(page)
                _slow_down(line, options.latency_ms, options.kb_per_s)
                for visit in ("first", "again"):
                    rows.append({"number": number, "visit": visit, **_visit(page, line, gateway.url)})
    table(("number", "visit", "ready_ms", "requests", "kb"), [tuple(row.values()) for row in rows])
    store("first_visit", {"latency_ms": options.latency_ms, "kb_per_s": options.kb_per_s, "visits": rows})


def _slow_down(line: CDPSession, latency_ms: int, kb_per_s: int) -> None:
    line.send("Network.enable")
    limits = {"downloadThroughput": kb_per_s * 1000, "uploadThroughput": kb_per_s * 1000}
    line.send("Network.emulateNetworkConditions", {"offline": False, "latency": latency_ms, **limits})


def _visit(page: Page, line: CDPSession, url: str) -> dict[str, Any]:
    """Return the milliseconds from the click until it is ready, and the requests and kilobytes until then."""
    addresses: dict[str, str] = {}
    sizes: dict[str, float] = {}
    line.on("Network.requestWillBeSent", lambda event: addresses.update({event["requestId"]: event["request"]["url"]}))
    line.on("Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}))
    page.goto(url, wait_until="commit")
    page.wait_for_selector(READY, state="attached")
    ready_ms = page.evaluate("window.readyMs")
    own = [size for request, size in sizes.items() if size and "/v1/" not in addresses.get(request, "/v1/")]
    return {"ready_ms": round(ready_ms), "requests": len(own), "kb": round(sum(own) / 1000, 1)}


if __name__ == "__main__":
    main(sys.argv[1:])
