"""Faces are found, cut out upright, and blended back; where there is none, nothing changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animegan.drawing import EVEN_FACES, SHRUNK_FACES, Photo
from animegan.errors import BadWeights
from animegan.faces import detector
from animegan.faces.crops import Room, crops, most_side
from animegan.faces.detector import Face, find
from animegan.options import Wish
from animegan.pipeline.pipeline import Pipeline
from animegan.report import Report
from animegan.settings import Settings
from animegan.stylizer import Stylizer
from animegan_service.notes import notes
from harness.engine.peaks import counted_peak

PHOTOS = Path(__file__).parents[3] / "docs" / "photos"
ASTRONAUT = Image.open(PHOTOS / "astronaut.jpg").convert("RGB")
NOSE = (226, 122)  # of the astronaut's, in px; her face is 110 px high


def test_the_detectors_weights_are_checked_and_have_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PHOTOS.parents[1] / "model_store"
    assert detector.SHA256 in (store / "faces.md").read_text()
    assert "Copyright (c) 2019 Timothy Esler" in (store / "LICENSE.md").read_text()
    monkeypatch.setattr(detector, "bundled_dir", lambda: tmp_path)
    with pytest.raises(BadWeights, match="can't be read"):
        detector.load.__wrapped__()
    (tmp_path / "faces.safetensors").write_bytes((store / "faces.safetensors").read_bytes()[:-1] + b"x")
    with pytest.raises(BadWeights, match="SHA-256"):
        detector.load.__wrapped__()


def is_hers(face: Face, x: float, y: float, side: float = 110) -> bool:
    return max(abs(face.x - x), abs(face.y - y)) < side / 6 and abs(face.side / side - 1) < 0.25


@pytest.mark.parametrize("name", ["mountain_path.jpg", "palace.jpg", "dogs_window.jpg"])
def test_scenes_and_animals_hold_no_face(name: str) -> None:
    photo = Image.open(PHOTOS / name).convert("RGB")
    assert find(photo, "auto") == ()
    assert find(photo, "scene") == ()


def test_a_face_and_its_points_are_found() -> None:
    [face] = find(ASTRONAUT, "auto")
    assert is_hers(face, *NOSE)
    (left_eye, right_eye, nose, *mouth) = face.points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < mouth[0][1]
    assert find(ASTRONAUT, "scene") == ()


def test_several_faces_small_and_large_and_leaning() -> None:
    group = Image.new("RGB", (1024, 640), "gray")
    head = ASTRONAUT.crop((110, 0, 330, 220))
    group.paste(head.resize((440, 440)), (500, 100))
    group.paste(head.resize((90, 90)), (250, 60))
    group.paste(head.rotate(30, Image.Resampling.BICUBIC, fillcolor="gray"), (230, 320))
    faces = find(group, "auto")
    assert len(faces) == 3
    assert is_hers(faces[0], 500 + 2 * (NOSE[0] - 110), 100 + 2 * NOSE[1], 220)
    assert min(face.side for face in faces) < 60
    [leaning] = [face for face in faces if abs(face.lean_deg) > 20]
    assert leaning.lean_deg == pytest.approx(-27, abs=8)


@pytest.mark.parametrize("left", [200, 226])
def test_half_a_face_at_the_border_is_found(left: int) -> None:
    [face] = find(ASTRONAUT.crop((left, 0, 512, 512)), "portrait")
    assert is_hers(face, NOSE[0] - left, NOSE[1])


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270])
def test_a_portrait_that_lies_is_found_where_it_is_said_to_be_one(turn: Image.Transpose) -> None:
    lying = ASTRONAUT.transpose(turn)
    [face] = find(lying, "portrait")
    place = {
        Image.Transpose.ROTATE_90: (NOSE[1], 512 - NOSE[0]),
        Image.Transpose.ROTATE_180: (512 - NOSE[0], 512 - NOSE[1]),
        Image.Transpose.ROTATE_270: (512 - NOSE[1], NOSE[0]),
    }[turn]
    assert is_hers(face, *place)
    [crop] = crops([face], SHRUNK_FACES, 0.25)
    upright = crop.cut(lying, SHRUNK_FACES)
    assert [abs(again.lean_deg) < 15 for again in find(upright.resize((480, 480)), "auto")] == [True]


@pytest.mark.parametrize("lean_deg", [0.0, 25.0, -140.0])
@pytest.mark.parametrize(("x", "y"), [(260, 250), (5, 300), (505, 8)])
def test_what_is_cut_out_comes_back_to_its_place(x: int, y: int, lean_deg: float) -> None:
    rows, columns = np.mgrid[:512, :512]
    smooth = np.stack([rows / 2, columns / 2, (rows + columns) / 4], -1).astype(np.uint8)
    photo = Image.fromarray(smooth)
    [crop] = crops([Face(x, y, 72, lean_deg, 1.0, ())], SHRUNK_FACES, 0.25)
    scene = torch.from_numpy(smooth.copy())
    crop.paste(torch.from_numpy(np.array(crop.cut(photo, SHRUNK_FACES))), scene, match_scene=False)
    off = np.abs(scene.numpy().astype(int) - smooth)
    assert off[8:-8, 8:-8].max() <= 3  # mirrored edges bend the slope a little


def test_a_crop_of_another_tone_takes_the_scenes() -> None:
    generator = torch.Generator().manual_seed(1)
    scene = torch.randint(60, 160, (512, 512, 3), generator=generator, dtype=torch.uint8)
    darker = (scene.float() * 0.7).to(torch.uint8)
    [crop] = crops([Face(256, 256, 180, 0, 1.0, ())], EVEN_FACES, 0.8)
    left, top, side = crop.left, crop.top, crop.side
    before = scene.float().mean()
    crop.paste(darker[top : top + side, left : left + side], scene, match_scene=True)
    assert scene.float().mean() == pytest.approx(before.item(), abs=1)


def test_a_face_that_the_scene_shows_well_is_left() -> None:
    large, middle, small = (Face(500, 500, side, 0, 1.0, ()) for side in (300, 130, 40))
    assert len(crops([large, middle, small], SHRUNK_FACES, 0.25)) == 2
    assert all(crop.side <= most_side(SHRUNK_FACES, 0.25) for crop in crops([large, middle, small], SHRUNK_FACES, 0.25))


@pytest.mark.slow
@pytest.mark.parametrize(("style", "room"), [("cel", Room(48, 24)), ("classic", Room(96, 84))])  # small: they are fast
def test_only_the_face_changes_and_within_the_plan(style: str, room: Room) -> None:
    stylizer = Stylizer(style, device="cpu", precision="fp32", warmup_px=0)
    stylizer._drawing.room = room
    photo = ASTRONAUT.crop((64, 0, 384, 240)).resize((200, 150), Image.Resampling.LANCZOS)
    faces = find(photo, "auto")
    assert len(faces) == 1
    wish = Wish(detail="bold" if style == "cel" else "auto")
    scene = stylizer.run([Photo(photo)], wish)
    portrait = stylizer.run([Photo(photo, faces=faces)], wish)
    assert scene.face_seconds == 0 < portrait.face_seconds
    mask = (scene.batch[0].int() - portrait.batch[0].int()).abs().amax(2) > 24
    rows, columns = mask.nonzero(as_tuple=True)
    assert len(rows) > 100
    reach = 1.2 * faces[0].side
    assert float((rows - faces[0].y).abs().max()) < reach
    assert float((columns - faces[0].x).abs().max()) < reach
    drawing = stylizer._drawing
    plans = list(drawing.plans(photo.size, 1, drawing.details(wish.detail), faces=True))
    for plan in (plans[0], *(plan for plan in plans[-3:] if plan.face)):
        peak = counted_peak(lambda plan=plan: drawing.draw([Photo(photo, faces=faces)], plan, wish))  # type: ignore[misc]
        assert peak <= plan.peak_bytes


def test_where_memory_is_too_short_for_faces_the_scene_is_drawn() -> None:
    drawing = Stylizer("cel", device="cpu", precision="fp32", warmup_px=0)._drawing
    plans = list(drawing.plans((200, 150), 1, ("bold",), faces=True))
    assert plans[0].face
    assert plans[-1].face is None
    assert plans[-1].peak_bytes < min(plan.peak_bytes for plan in plans if plan.face)


@pytest.mark.parametrize(
    ("name", "mode", "expected", "faces", "fields"),
    [
        ("astronaut.jpg", "auto", "portrait", 1, ["drew 1 face with care"]),
        ("astronaut.jpg", "scene", "scene", 0, []),
        ("palace.jpg", "auto", "scene", 0, []),
        ("palace.jpg", "portrait", "portrait", 0, ["found no face, and drew it as a scene"]),
    ],
)
def test_the_answer_says_whether_faces_were_drawn(
    name: str, mode: str, expected: str, faces: int, fields: list[str]
) -> None:
    pipeline = Pipeline(Settings(device="cpu", precision="fp32", warmup_px=0))
    options = {"mode": mode, "max_side": "200", "style": "cel", "quality": "fast"}
    _, report = pipeline.stylize((PHOTOS / name).read_bytes(), options)
    headers = report.headers()
    assert (headers["X-Animegan-Mode"], headers["X-Animegan-Faces"]) == (expected, str(faces))
    assert Report.from_headers(headers).faces == faces
    assert [note for note in notes(report, "en") if "face" in note] == fields
    assert ("faces" in report.seconds) == (mode != "scene")
