"""Write `docs/settings.md` and `config/*.toml` from the settings' rows: `python -m tools.settings_reference`."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from animegan.settings import Rows, Settings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.checkout import ROOT
from animegan_gateway.settings import Settings as GatewaySettings

REFERENCE = ROOT / "docs" / "settings.md"
CONFIG = ROOT / "config"
WIDTH = 118  # characters of a comment, without "# "

_INTRODUCTION = """\
# Settings

Generated from where each setting stands by `python -m tools.settings_reference`; a test fails when they differ.

## The handler

Set one as `ANIMEGAN_<NAME>` in the environment (`ANIMEGAN_MAX_SIDE_PX=2048 ./scripts/serve`) or as `name = value` in
`config/animegan.toml`; the environment wins. A worker reads them when it starts; the archive need not be rebuilt. The
`animegan` command takes the environment, and a file only where `ANIMEGAN_CONFIG` names it; but `animegan profile` takes
what the server would. Two variables are not settings of the handler: `ANIMEGAN_CONFIG` names another TOML file, and
`ANIMEGAN_HOME` moves the folder of the styles that you installed.
"""
_GATEWAY = """\
## The gateway

Set one as `ANIMEGAN_GATEWAY_<NAME>` in the environment or as `name = value` in `config/gateway.toml`; the environment
wins. `scripts/serve` sets the addresses of TorchServe and its agent, and the ports that are free where 0 is asked for.
`ANIMEGAN_GATEWAY_CONFIG` names another TOML file. What a picture may weigh and measure is the handler's, above.
"""
_AGENT = """\
## The agent

Set one as `ANIMEGAN_AGENT_<NAME>` in the environment or as `name = value` in `config/agent.toml`; the environment wins.
`scripts/serve` sets TorchServe's addresses by itself. `ANIMEGAN_AGENT_CONFIG` names another TOML file.
"""
_SERVER = """\
## TorchServe

`config/config.properties`, read at start. `scripts/serve` replaces the ports (`--inference-port`, `--management-port`,
`--metrics-port`, or `ANIMEGAN_INFERENCE_PORT`, `ANIMEGAN_MANAGEMENT_PORT`, `ANIMEGAN_METRICS_PORT`) and the paths by
those of its instance. `ANIMEGAN_INFERENCE_HOST` and `ANIMEGAN_METRICS_HOST` move those two off loopback, for a network
that others can't reach; the management API has no such variable. `ANIMEGAN_JAVA_HEAP_MB` sets Java's heap, else a
quarter of the memory there is, at most 2 GiB.
"""
_MODEL = """\
## The model

`config/model-config.yaml`, packed into the archive: after a change `scripts/serve` builds the archive anew.
"""


_FILES: dict[str, tuple[type[Rows], str]] = {
    "animegan.toml": (Settings, "The handler's settings, read when a worker starts; the archive need not be rebuilt."),
    "gateway.toml": (GatewaySettings, "The gateway's settings, read when the gateway starts."),
    "agent.toml": (AgentSettings, "The agent's settings, read when the agent starts."),
}


def render_files() -> dict[Path, str]:
    """Return the text of each TOML file of `config/`: every setting with its default, commented out."""
    return {CONFIG / name: _toml(settings, opening) for name, (settings, opening) in _FILES.items()}


def _toml(settings: type[Rows], opening: str) -> str:
    prefix = settings.model_config["env_prefix"]
    words = (
        f"{opening} Each is shown with its default; to set one, remove the # before its name. {prefix}<NAME> in the "
        "environment wins over this file. docs/settings.md has the same as a table."
    )
    lines = [_comment(words)]
    for name, row in settings.model_fields.items():
        value = '"PATH"' if row.default is None else json.dumps(row.default)
        lines.append(f"{_comment(row.description or '')}# {name} = {value}\n")
    return "\n".join(lines)


def _comment(words: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(words, WIDTH, break_on_hyphens=False))


def render() -> str:
    """Return `docs/settings.md`."""
    tables = (
        (_INTRODUCTION, ("Setting", "Default", "What it does"), _rows(Settings)),
        (_GATEWAY, ("Setting", "Default", "What it does"), _rows(GatewaySettings)),
        (_AGENT, ("Setting", "Default", "What it does"), _rows(AgentSettings)),
        (_SERVER, ("Key", "Value", "Why"), _commented_rows(ROOT / "config" / "config.properties", "=")),
        (_MODEL, ("Key", "Value", "Why"), _commented_rows(ROOT / "config" / "model-config.yaml", ":")),
    )
    return "\n".join(f"{words}\n{_table(head, rows)}" for words, head, rows in tables)


def _rows(settings: type[Rows]) -> Iterator[tuple[str, str, str]]:
    for name, row in settings.model_fields.items():
        yield f"`{name}`", f"`{row.default}`", row.description or ""


def _commented_rows(file: Path, separator: str) -> Iterator[tuple[str, str, str]]:
    """Yield each `key<separator>value` line with the comment line right above it."""
    why = ""
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            why = line.lstrip("# ")
            continue
        if match := re.fullmatch(rf"([\w.-]+){separator}\s*(.*)", line):
            yield f"`{match[1]}`", f"`{match[2]}`", why
        why = ""


def _table(head: tuple[str, str, str], rows: Iterator[tuple[str, str, str]]) -> str:
    lines = [head, ("---",) * 3, *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    for file, text in {REFERENCE: render(), **render_files()}.items():
        file.write_text(text)
