"""What Schemathesis needs to know of this API that OpenAPI can't say: which bytes are a picture."""

from __future__ import annotations

import base64
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext

from harness.pictures import encoded, photo

PICTURE = encoded(photo(64, 48))

schemathesis.openapi.media_type("image/*", st.just(PICTURE), aliases=["application/octet-stream"])


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """The same for examples, which it makes up without its media types: where valid data is meant, it is valid."""
    body: Any = case.body
    valid = case.meta and case.meta.generation.mode is GenerationMode.POSITIVE
    if valid and isinstance(body, dict) and "image" in body:
        body["image"] = base64.b64encode(PICTURE).decode() if case.media_type == "application/json" else PICTURE
