"""The agent's own errors; those of any HTTP service are in `animegan_service.errors`.

AnimeganError
├── UnderWay         409  under_way        another command has not ended yet
├── NotIdle          503  not_idle         pictures are being drawn, on and on
├── NoWorker         503  no_worker        no worker is ready, or became ready in time
└── TorchServeAway   503  torchserve_away  TorchServe does not answer, or not as it should
"""

from __future__ import annotations

from http import HTTPStatus

from animegan.errors import AnimeganError


class UnderWay(AnimeganError):
    code = "under_way"
    status = HTTPStatus.CONFLICT
    title = "Another command is under way"
    retryable = True


class NotIdle(AnimeganError):
    code = "not_idle"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "TorchServe did not become idle"
    retryable = True


class NoWorker(AnimeganError):
    code = "no_worker"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "No worker is ready"
    retryable = True


class TorchServeAway(AnimeganError):
    code = "torchserve_away"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "TorchServe does not answer"
    retryable = True
