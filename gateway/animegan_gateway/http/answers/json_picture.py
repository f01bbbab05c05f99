"""A drawn picture as JSON, for callers who ask for that: in Base64, encoded while it is sent."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

from pydantic import BaseModel, Field

from animegan_gateway.queue.jobs import Job

JSON = "application/json"


class PictureView(BaseModel):
    """A drawn picture; what was done to it is in the X-Animegan-… headers of the answer."""

    image: str = Field(description="The file, in Base64.")
    content_type: str
    bytes: int
    job: str = Field(description="The id of its job.")


def json_picture(job: Job, chunks: AsyncIterator[bytes]) -> tuple[AsyncIterator[bytes], int]:
    """Return a `PictureView` of a job that is done, as a body and its length in bytes."""
    assert job.result
    view = PictureView(image="", content_type=job.result.content_type, bytes=job.result.bytes, job=job.id)
    before, quotes, after = json.dumps(view.model_dump()).partition('""')
    before, after = before + quotes[0], quotes[1] + after
    length = len(before) + len(after) + (job.result.bytes + 2) // 3 * 4

    async def body() -> AsyncIterator[bytes]:
        yield before.encode()
        rest = b""
        async for chunk in chunks:
            rest += chunk
            whole = len(rest) // 3 * 3
            yield base64.b64encode(rest[:whole])
            rest = rest[whole:]
        yield base64.b64encode(rest) + after.encode()

    return body(), length
