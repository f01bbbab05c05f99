"""Messages for people, in English and Chinese."""

from __future__ import annotations

from typing import Literal

from animegan_gateway.queue.board import Place
from animegan_gateway.queue.jobs import Job, State
from animegan_service.protocol import Presence

Language = Literal["en", "zh"]


_STATES = {
    State.RUNNING: ("Being drawn", "正在绘制"),
    State.DONE: ("Done", "已完成"),
    State.FAILED: ("Failed", "未能完成"),
    State.CANCELLED: ("Cancelled", "已取消"),
    State.EXPIRED: ("Deleted", "已删除"),
}


def preferred_language(accept_language: str | None) -> Language:
    """Return the language that an Accept-Language header (RFC 9110, 12.5.4) prefers; English if it names neither."""
    qualities: dict[str, float] = {}
    for entry in (accept_language or "").split(","):
        tag, _, parameters = entry.lower().partition(";")
        _, _, weight = parameters.strip().partition("q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        primary = tag.strip().partition("-")[0]
        if primary in ("en", "zh", "*") and 0 <= quality <= 1:
            qualities[primary] = max(qualities.get(primary, 0.0), quality)
    other = qualities.get("*", 0.0)
    return "zh" if qualities.get("zh", other) > qualities.get("en", other) else "en"


def message(job: Job, place: Place, presence: Presence, language: Language) -> str:
    """Return in a few words where the job stands."""
    english, chinese = _message(job, place, presence)
    return chinese if language == "zh" else english


def _message(job: Job, place: Place, presence: Presence) -> tuple[str, str]:
    if job.state is not State.QUEUED:
        return _STATES[job.state]
    if presence is not Presence.READY:
        return "Waiting for the drawing server", "正在等待绘图服务"
    ahead = (place.position or 1) - 1
    english = f"{ahead} ahead of you" if ahead else "You are next"
    chinese = f"前面还有 {ahead} 张" if ahead else "下一张就是你的"
    if place.eta_s is not None:
        english += f", about {_seconds(place.eta_s)} s"
        chinese += f"，约 {_seconds(place.eta_s)} 秒"
    return english, chinese


def _seconds(value: float) -> int:
    """Return whole seconds; from ten on no more precise than the estimate is."""
    return max(1, round(value)) if value < 10 else 5 * round(value / 5)
