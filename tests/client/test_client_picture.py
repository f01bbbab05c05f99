"""What the client draws, as a value: an image, a short text, and HTML for a notebook."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from animegan_client import AsyncClient, Client
from animegan_client.client import Source
from client.fake_gateway import FakeGateway
from harness.pictures import encoded, photo

PHOTO = photo(600, 400)


def test_a_picture_shows_itself_and_its_photo(client: Client) -> None:
    picture = replace(client.stylize(PHOTO), data=encoded(photo(64, 48), "PNG"), content_type="image/png")
    assert repr(picture) == f"<Picture cel 1024×683 png, {len(picture.data):,} bytes>"
    assert (picture.image.format, picture.image.size) == ("PNG", (64, 48))
    assert picture.photo is not None
    with Image.open(io.BytesIO(picture.photo)) as source:
        assert (source.format, source.size) == ("PNG", (600, 400))
    html = picture._repr_html_()
    assert html.count("<img ") == 2
    assert "&lt;Picture cel" in html
    assert len(html) < 200_000
    assert replace(picture, photo=b"no picture")._repr_html_().count("<img ") == 1


def test_photos_of_any_kind_are_drawn_some_at_a_time(gateway: FakeGateway, client: Client) -> None:
    sources: list[Source] = [b"one", io.BytesIO(b"two"), PHOTO, b"bad"]
    outcomes = {id(outcome.source): outcome for outcome in client.stylize_all(sources, concurrency=2)}
    assert [bool(outcomes[id(source)].picture) for source in sources] == [True, True, True, False]
    assert gateway.most_at_once <= 2


def test_what_is_no_photo_is_told_by_its_type(client: Client) -> None:
    with pytest.raises(TypeError, match="NoneType"):
        client.stylize(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not list\. Several photos are for stylize_all"):
        client.stylize([b"one", b"two"])  # type: ignore[arg-type]


def test_a_client_shows_its_address_and_never_its_key() -> None:
    assert repr(Client("http://127.0.0.1:8000/anime")) == "Client('http://127.0.0.1:8000/anime')"
    assert repr(Client("http://127.0.0.1:8000", key="ag_secret")) == "Client('http://127.0.0.1:8000', key=…)"
    assert repr(AsyncClient("http://127.0.0.1:8000")) == "AsyncClient('http://127.0.0.1:8000')"
