"""The guard of an instance: it ends the instance's processes if the supervisor, which starts it, is killed.

    python -m animegan_cli.serving.guard MARK FOLDER

Standard input is a pipe from the supervisor. It closes when the supervisor ends, however it ends; one that ended its
processes itself has written `CLEAN_END` into it.
"""

from __future__ import annotations

import shutil
import sys

from animegan_cli.serving import processes

CLEAN_END = "done"
GRACE_S = 15.0


def main(mark: str, folder: str) -> None:
    if sys.stdin.read() != CLEAN_END:
        processes.end(mark, grace_s=GRACE_S)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
