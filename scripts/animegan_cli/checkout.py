"""Where the product's files lie: in the checkout that this runs from, or in an installed package."""

from __future__ import annotations

from pathlib import Path

import animegan
from animegan.styles import home

ROOT = Path(__file__).resolve().parents[2]
_PACKED = Path(__file__).resolve().parent / "packed"  # a wheel's copies of what lies outside the import packages
IN_CHECKOUT = not _PACKED.is_dir()
_FILES = ROOT if IN_CHECKOUT else _PACKED

CONFIG = _FILES / "config"
HANDLER = _FILES / "handler"  # the folder of animegan_handler.py
ENGINE = Path(animegan.__file__).resolve().parent
ARCHIVE = (ROOT if IN_CHECKOUT else home()) / "model_store" / "animegan.mar"
