"""The figures of looks tell a flat drawing from a noisy one, and the benchmark of looks runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from animegan import looks
from benchmarks.common import result
from benchmarks.pictures import style

PHOTO = Path(__file__).resolve().parents[2] / "docs" / "photos" / "palace.jpg"


def squares() -> torch.Tensor:
    photo = torch.full((96, 128, 3), 200, dtype=torch.uint8)
    photo[30:60, 40:90] = 60
    return photo


def test_a_photo_is_its_own_measure() -> None:
    figures = style.figures(squares(), squares(), torch.roll(squares(), (1, 1), (0, 1)))
    assert figures["edges_kept"] == 1
    assert max(figures["grain"], figures["flicker"], figures["chroma"]) < 1e-3
    assert figures["lightest"] == pytest.approx(200, abs=1)


def test_lost_edges_grain_lines_and_flicker_show() -> None:
    photo, neighbour = squares(), torch.roll(squares(), (1, 1), (0, 1))
    plain = style.figures(photo, photo, neighbour)
    noise = torch.randint(-20, 20, photo.shape, generator=torch.Generator().manual_seed(0))
    noisy = (photo.int() + noise).clamp(0, 255).to(torch.uint8)
    assert style.figures(photo, noisy, neighbour)["grain"] > 5
    assert style.figures(photo, noisy, neighbour)["flicker"] > 5
    assert style.figures(photo, torch.full_like(photo, 128), neighbour)["edges_kept"] == 0
    outlined = photo.clone()
    outlined[28:62, 38:92] = 0
    outlined[30:60, 40:90] = 60
    assert style.figures(photo, outlined, neighbour)["lines"] > plain["lines"] + 10


@pytest.mark.slow
def test_every_look_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "FOLDER", tmp_path)
    with Image.open(PHOTO) as photo:
        (tmp_path / "photos").mkdir()
        photo.resize((120, 80)).save(tmp_path / "photos" / "palace.jpg")
    style.main(["--photos", str(tmp_path / "photos"), "--side", "96"])
    stored = json.loads((tmp_path / "style.json").read_text())
    rows = {row["look"]: row for row in stored["looks"]}
    assert rows.keys() == {"photo", *looks.bundled_looks(), "cel fast"}
    assert rows["ink"]["chroma"] < 0.1 < rows["photo"]["chroma"] < rows["cel"]["chroma"]
    assert (rows["photo"]["cpu_s"], rows["classic"]["cpu_ratio"], rows["classic"]["finish_share"]) == (0, 1, 0)
    assert all(0 < rows[look]["finish_share"] < 1 for look in ("cel", "ink", "gouache"))
    assert next(row["mean"] for row in stored["distances"] if row["looks"] == "cel and cel fast") > 0
    assert len(stored["distances"]) == len(rows) * (len(rows) - 1) // 2
