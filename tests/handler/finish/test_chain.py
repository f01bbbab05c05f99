"""A finish in bands is the finish of the whole, in the memory that was predicted."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from animegan import looks
from animegan.finish import blend
from animegan.finish.chain import CALL_BYTES, Chain, shrink
from animegan.finish.fit import fit
from animegan.finish.frame import Frame, scale

LOOKS = ("cel", "ink", "gouache")


def photo(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Soft hills with edges, (H, W, 3) in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, max(2, height // 24), max(2, width // 24), generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]
    patches = (fine[:1] * 5).floor() / 5
    return (0.5 * fine + 0.5 * patches).permute(1, 2, 0).contiguous()


def chain(name: str) -> Chain:
    return Chain(looks.read(looks.bundled_looks()[name]).finish)


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize(("height", "width", "rows"), [(301, 190, 64), (301, 190, 2), (120, 333, 37), (97, 64, 96)])
def test_bands_are_the_whole(name: str, height: int, width: int, rows: int) -> None:
    picture = photo(height, width)
    finish = chain(name)
    if rows == 2:
        picture = picture[:60]
    whole, bands = finish.apply(picture), finish.apply(picture, rows)
    difference = (whole.int() - bands.int()).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 1e-3


def test_a_halo_that_is_too_small_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would fail without the halo."""
    finish = chain("gouache")
    picture = photo(301, 190)
    whole = finish.apply(picture)
    monkeypatch.setattr(finish, "halo", lambda *_: 0)
    assert int((whole.int() - finish.apply(picture, 64).int()).abs().max()) > 1


@pytest.mark.parametrize("name", LOOKS)
def test_a_step_reads_no_row_beyond_its_halo(name: str) -> None:
    height, width, last = 400, 48, 100  # a band ends before an even row
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(3, height, width, generator=generator)
    for step in chain(name).steps:
        frame = Frame(height, width, 0, step.measure(picture))
        other = picture.clone()
        beyond = last + step.halo(scale(height, width))
        assert beyond < height
        other[:, beyond:] = torch.rand(3, height - beyond, width, generator=generator)
        output, again = step.apply(picture, frame), step.apply(other, frame)
        torch.testing.assert_close(output[:, :last], again[:, :last], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (2, 3), (17, 5), (33, 256)])
def test_any_size_is_finished(name: str, height: int, width: int) -> None:
    output = chain(name).apply(torch.rand(height, width, 3), 8)
    assert output.shape == (height, width, 3)
    assert output.dtype == torch.uint8


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16])
def test_pictures_of_other_types_are_finished_alike(name: str, dtype: torch.dtype) -> None:
    picture = photo(90, 70)
    other = (picture * 255).round().to(dtype) if dtype == torch.uint8 else picture.to(dtype)
    difference = (chain(name).apply(picture).float() - chain(name).apply(other).float()).abs().mean()
    assert float(difference) < 3


def test_no_finish_gives_the_picture() -> None:
    picture = (photo(20, 30) * 255).round().to(torch.uint8)
    assert torch.equal(Chain(()).apply(picture, 7), picture)


def test_ink_has_no_colour() -> None:
    red, green, blue = chain("ink").apply(photo(64, 64)).unbind(2)
    assert torch.equal(red, green)
    assert torch.equal(green, blue)


def test_ink_keeps_skin_from_paper() -> None:
    """A dark face before a black wall, under a lamp: brown stays between black and white."""
    picture = torch.full((64, 64, 3), 0.08)
    picture[16:48, 16:48] = torch.tensor([0.55, 0.36, 0.25])
    picture[20:24, 20:24] = 0.7
    face = chain("ink").apply(picture)[30:40, 30:40].float().mean()
    assert 60 < float(face) < 225


@pytest.mark.parametrize("name", LOOKS)
def test_white_stays_white(name: str) -> None:
    assert float(chain(name).apply(torch.ones(64, 64, 3)).float().mean()) >= 250


def test_cel_leaves_a_night_dark() -> None:
    night = torch.full((64, 64, 3), 18 / 255)
    assert float(chain("cel").apply(night).float().mean()) <= 24
    night[20:24, 20:24] = 0.9
    assert float(chain("cel").apply(night).float().mean()) <= 30


class _Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes of new storages alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.storages: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key, size = storage.data_ptr(), storage.nbytes()
                if size and key not in self.storages:
                    self.storages.add(key)
                    self.now += size
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self._release, key, size)
        return out

    def _release(self, key: int, size: int) -> None:
        self.storages.discard(key)
        self.now -= size


@pytest.mark.parametrize("name", LOOKS)
def test_memory_is_within_what_was_predicted(name: str) -> None:
    height, width, rows = 1400, 512, 512
    picture, finish = photo(height, width), chain(name)
    finish.apply(picture[:64])  # what is cached lies there already
    with _Peak() as peak:
        finish.apply(picture, rows)
    predicted = finish.peak_bytes(height, width, rows) + height * width * 3
    assert peak.most <= predicted
    assert peak.most >= 0.5 * (predicted - CALL_BYTES)


def test_rows_fit_the_budget() -> None:
    finish = chain("cel")
    whole = finish.peak_bytes(1000, 800, 1000)
    assert finish.rows(1000, 800, whole) == 1000
    rows = finish.rows(1000, 800, whole // 2)
    assert 0 < rows < 1000
    assert finish.peak_bytes(1000, 800, rows) <= whole // 2
    assert finish.rows(1000, 800, 1) == 0


def test_the_small_copy_is_the_mean_of_what_it_covers() -> None:
    picture = photo(512, 300)
    small = shrink(picture)
    assert small.shape == (3, 256, 150)
    torch.testing.assert_close(small, picture.view(256, 2, 150, 2, 3).mean((1, 3)).permute(2, 0, 1))


def test_strength_has_exact_ends() -> None:
    photo_, drawing = (torch.randint(0, 256, (9, 7, 3), dtype=torch.uint8) for _ in range(2))
    assert torch.equal(blend.with_strength(photo_, drawing, 0), photo_)
    assert torch.equal(blend.with_strength(photo_, drawing, 1), drawing)
    half = (photo_.double() + drawing.double()) / 2
    assert float((blend.with_strength(photo_, drawing, 0.5) - half).abs().max()) <= 0.5


def test_the_photos_colour_lies_under_the_drawings_lightness() -> None:
    flat = torch.tensor([120, 130, 160], dtype=torch.uint8).expand(4, 4, 3)
    grey = torch.full((4, 4, 3), 150, dtype=torch.uint8)
    out = blend.with_photo_color(flat, grey)
    assert int(out[0, 0, 2]) > int(out[0, 0, 0])
    assert int((blend.with_photo_color(flat, flat).int() - flat.int()).abs().max()) <= 1
    assert int((blend.with_photo_color(grey, flat).int().float().std(2)).max()) == 0


def test_a_grade_is_fitted_to_pictures() -> None:
    pale = [0.6 + 0.4 * photo(60, 80, seed).mean(2, keepdim=True).expand(-1, -1, 3) for seed in range(10)]
    vivid = [photo(60, 80, seed) * torch.tensor([1.0, 0.6, 0.3]) for seed in range(10)]
    grades = {}
    for name, pictures in (("pale", pale), ("vivid", vivid)):
        look = looks.parse(fit(pictures), name)
        [grades[name]] = [step for step in look.finish if isinstance(step, looks.GradeStep)]
    assert grades["pale"].chroma < 0.5 < grades["vivid"].chroma
    assert grades["pale"].tone[4] > grades["vivid"].tone[4]
    assert grades["vivid"].light_tint[1] > 0.03 > abs(grades["pale"].light_tint[1])
    odd = looks.parse(fit([*vivid[:7], *pale[:3]]), "odd")
    [grade] = [step for step in odd.finish if isinstance(step, looks.GradeStep)]
    assert grades["vivid"].chroma - grade.chroma < 0.3 * (grade.chroma - grades["pale"].chroma)
    with pytest.raises(ValueError, match="at least one"):
        fit([])
