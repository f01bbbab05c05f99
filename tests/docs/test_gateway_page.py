"""What docs/gateway.md says is what the gateway has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from animegan.errors import AnimeganError
from animegan_gateway import errors
from animegan_gateway.settings import Settings
from animegan_service import errors as service_errors
from docs.pages import prose, tables

PAGE = "docs/gateway.md"
OWN = (errors.__name__, service_errors.__name__)


def kinds(base: type[AnimeganError] = AnimeganError) -> Iterator[type[AnimeganError]]:
    """Yield the errors below `base` that the gateway answers beside the engine's own."""
    for kind in base.__subclasses__():
        if kind.__module__ in OWN and kind not in (errors.Busy, service_errors.ServiceError):
            yield kind
        yield from kinds(kind)


def test_the_errors_are_the_gateways() -> None:
    [rows] = [rows for rows in tables(PAGE) if "`queue_full`" in [row[1] for row in rows]]
    assert [(row[0], row[1].strip("`")) for row in rows] == sorted(
        ((str(int(kind.status)), kind.code) for kind in kinds()), key=lambda pair: pair[0]
    )
    assert {row[1].strip("`") for row in rows if "retryable" in row[2]} == {k.code for k in kinds() if k.retryable}


@pytest.mark.parametrize("name", sorted({"keep_s", "queue_jobs", "share_percent", "hosts", "drain_s", "path_prefix"}))
def test_the_settings_it_names_are_there(name: str) -> None:
    assert f"`{name}`" in prose(PAGE)
    assert name in Settings.model_fields


def test_the_hour_and_the_day_are_the_defaults() -> None:
    assert "after an hour (`keep_s`)" in " ".join(prose(PAGE).split())
    assert (Settings.model_fields["keep_s"].default, Settings.model_fields["expired_for_s"].default) == (3600, 86400)
