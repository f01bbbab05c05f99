"""The style registry, read again now and then, so that styles appear and disappear without a restart."""

from __future__ import annotations

import time
from collections.abc import Mapping

from animegan import styles
from animegan.errors import UnknownStyle
from animegan.styles import Style

FRESH_S = 2.0


class Catalogue:
    """The registry, no older than `FRESH_S`."""

    def __init__(self) -> None:
        self._styles: Mapping[str, Style] = {}
        self._read_at = float("-inf")

    def styles(self) -> Mapping[str, Style]:
        """Return all styles by id; those without weights are listed, not installed."""
        if time.monotonic() - self._read_at > FRESH_S:
            self._styles = styles.styles()
            self._read_at = time.monotonic()
        return self._styles

    def require(self, style_id: str) -> Style:
        """Return a style that can be drawn. Raise `UnknownStyle` or `StyleNotInstalled`."""
        registry = self.styles()
        if style_id not in registry:
            installed = ", ".join(style.id for style in registry.values() if style.weights)
            raise UnknownStyle(f"There is no style {style_id!r}. Use one of: {installed}.", style=style_id)
        style = registry[style_id]
        if not style.weights:
            styles.weights_file(style)  # raises, with the command that installs it
        return style
