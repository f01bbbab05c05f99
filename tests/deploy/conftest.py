"""The image that tests run: over this machine's files; and, marked `image`, the one that the Dockerfile builds."""

from __future__ import annotations

import pytest

from harness.deployment.containers import ContainerImage, built_image, missing
from harness.deployment.light_image import light_image


@pytest.fixture(scope="session", params=["light", pytest.param("built", marks=pytest.mark.image)])
def image(request: pytest.FixtureRequest) -> ContainerImage:
    if lacking := missing():
        pytest.skip(f"no containers here: {lacking}")
    return light_image() if request.param == "light" else built_image()


@pytest.fixture(scope="session")
def whole_image() -> ContainerImage:
    """The image that the Dockerfile builds."""
    if lacking := missing():
        pytest.skip(f"no containers here: {lacking}")
    return built_image()
