"""A report in words, English and Chinese, for the gateway and the command."""

from __future__ import annotations

from collections.abc import Mapping

from animegan.picture.formats.header import Flaw
from animegan.report import Report

FLAWS: Mapping[Flaw, tuple[str, str]] = {  # in English and Chinese
    "end-missing": ("the file lacks its end; what is there was drawn", "文件末尾缺失，已按现有内容绘制"),
    "metadata-damaged": ("damaged metadata in the file was left out", "文件中损坏的附加信息已忽略"),
}


def notes(report: Report, language: str) -> list[str]:
    """Return what the caller should know, in English (`en`) or Chinese (`zh`)."""
    width, height = report.size
    sentences: list[tuple[str, str]] = []
    if report.fitted:
        sentences.append((f"fitted the size for you: {width}×{height}", f"已为你智能适配分辨率：{width}×{height}"))
    if report.drawn_frames > 1:
        sentences.append((f"drew all {report.drawn_frames} frames", f"已绘制全部 {report.drawn_frames} 帧"))
    elif report.frames > 1:
        sentences.append(
            (f"drew the first of {report.frames} frames", f"文件共 {report.frames} 帧（页），仅绘制第一帧")
        )
    if report.faces:
        faces = "1 face" if report.faces == 1 else f"{report.faces} faces"
        sentences.append((f"drew {faces} with care", f"已单独绘制 {report.faces} 张人脸"))
    elif report.mode == "portrait":
        sentences.append(("found no face, and drew it as a scene", "未找到人脸，已按场景绘制"))
    sentences += [FLAWS[flaw] for flaw in report.flaws]
    return [chinese if language == "zh" else english for english, chinese in sentences]
