"""TorchServe's management API, and the one figure of its metrics that the agent needs."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from animegan_agent.errors import TorchServeAway
from animegan_service.protocol import MODEL

ANSWER_WITHIN_S = 5.0
REQUESTS = "ts_inference_requests_total"


@dataclass(frozen=True)
class Worker:
    """A worker's slot as TorchServe describes it; `pid` is that of the process in it, or of the last one."""

    id: str
    pid: int
    status: str
    gpu: bool

    @property
    def ready(self) -> bool:
        return self.status == "READY"


@dataclass(frozen=True)
class Model:
    """`target`: the workers that there should be; `pending`: requests that wait; `startup_s`: the limit of a start."""

    workers: tuple[Worker, ...]
    target: int
    batch_size: int
    pending: int
    startup_s: float

    @property
    def ready(self) -> tuple[Worker, ...]:
        return tuple(worker for worker in self.workers if worker.ready)

    def worker(self, id_: str) -> Worker | None:
        return next((worker for worker in self.workers if worker.id == id_), None)


class Management:
    """A client of the management API at `url` and of the metrics at `metrics_url`."""

    def __init__(self, url: str, metrics_url: str) -> None:
        self._url = url
        self._metrics_url = metrics_url
        self._client = httpx2.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def describe(self) -> Model | None:
        """Return the model, or None while TorchServe does not answer for it."""
        try:
            answer = await self._client.get(f"{self._url}/models/{MODEL}")
            if answer.status_code != HTTPStatus.OK:
                return None
            [description] = answer.json()
            return Model(
                workers=tuple(
                    Worker(str(worker["id"]), int(worker["pid"]), str(worker["status"]), bool(worker["gpu"]))
                    for worker in description["workers"]
                ),
                target=int(description["minWorkers"]),
                batch_size=int(description["batchSize"]),
                pending=int(description["jobQueueStatus"]["pendingRequests"]),
                startup_s=float(description["startupTimeout"]),
            )
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return None

    async def scale(self, workers: int, within_s: float, *, at_most: int) -> None:
        """Have at least that many workers and return once they are ready; surplus ones stay, up to `at_most`.

        Raise `TorchServeAway`.
        """
        await self._put(workers, at_most, "true", within_s, HTTPStatus.OK)

    async def want(self, workers: int, *, at_most: int) -> None:
        """Set TorchServe's target to that many workers, and return at once. Raise `TorchServeAway`."""
        await self._put(workers, at_most, "false", ANSWER_WITHIN_S, HTTPStatus.ACCEPTED)

    async def _put(self, workers: int, at_most: int, synchronous: str, within_s: float, good: HTTPStatus) -> None:
        query: dict[str, str | int] = {"min_worker": workers, "max_worker": at_most, "synchronous": synchronous}
        try:
            answer = await self._client.put(f"{self._url}/models/{MODEL}", params=query, timeout=within_s)
        except httpx2.HTTPError as error:
            raise TorchServeAway(
                f"TorchServe did not answer to workers={workers} ({type(error).__name__}). Look at its log."
            ) from None
        if answer.status_code != good:
            raise TorchServeAway(
                f"TorchServe answered {answer.status_code} to workers={workers}. Its log says why: often there is too "
                "little memory for so many."
            )

    async def requests(self) -> float | None:
        """Return how many requests TorchServe has answered since it started; None where it does not say."""
        try:
            answer = await self._client.get(f"{self._metrics_url}/metrics", params={"name[]": REQUESTS})
            families = list(text_string_to_metric_families(answer.text))
        except (httpx2.HTTPError, ValueError):
            return None
        samples = [sample for family in families for sample in family.samples if sample.name == REQUESTS]
        return sum(sample.value for sample in samples)
