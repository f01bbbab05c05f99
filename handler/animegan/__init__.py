"""AnimeGANv2's generator as a library: photo in, anime picture out.

>>> from animegan import Stylizer
>>> stylizer = Stylizer(style="cel")
>>> stylizer.stylize("photo.jpg").save("anime.jpg")  # or a PIL image, bytes, a file, an array, a tensor
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animegan.stylizer import Stylizer

__all__ = ["Stylizer"]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return [*__all__, "__version__", "errors", "styles"]


def __getattr__(name: str) -> object:
    # Late, so that `animegan.errors` and `animegan.styles` come without torch.
    if name == "Stylizer":
        from animegan.stylizer import Stylizer  # noqa: PLC0415

        return Stylizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
