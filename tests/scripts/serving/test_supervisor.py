"""The supervisor and what it stands on, with real processes: started, watched, started again, all of them ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from animegan.errors import BadSetting, ServiceFailed
from animegan_cli.serving import processes
from animegan_cli.serving.signals import Signals, StopRequest
from animegan_cli.serving.supervisor import PAUSES_S, Supervisor

ROOT = Path(__file__).resolve().parents[3]
SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEP}"


@pytest.fixture
def mark() -> Iterator[str]:
    mark = uuid.uuid4().hex
    yield mark
    processes.end(mark, grace_s=0)


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Entered; the handlers of before are back afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    with Signals() as instance:
        yield instance
    for number, handler in before.items():
        signal.signal(number, handler)


def python(code: str, mark: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, processes.MARK: mark}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def up(process: subprocess.Popen[str]) -> None:
    """Return once it has printed a line."""
    assert process.stdout
    assert process.stdout.readline()


@dataclass
class Script:
    """A service that is one Python process."""

    name: str
    mark: str
    code: str = SLEEP
    is_ready: Callable[[], bool] = lambda: True
    patience: float = 60.0
    events: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.events.append(f"{self.name} starts")
        assert not processes.find(self.mark)
        self.process = python(self.code, self.mark)

    def trouble(self) -> str | None:
        assert self.process
        return None if self.process.poll() is None else "ended by itself"

    def ready(self) -> bool:
        return self.is_ready()

    def patience_s(self) -> float:
        return self.patience

    def end(self, hurried: Callable[[], bool]) -> None:
        self.events.append(f"{self.name} ends")
        processes.end(self.mark, grace_s=5, hurried=hurried)
        if self.process:
            self.process.communicate()
            self.process = None

    def last_words(self) -> str:
        return "its last words"


def stop_when(condition: Callable[[], bool]) -> Callable[[], bool]:
    """A `ready` that asks this process to stop once the condition holds."""

    def ready() -> bool:
        if condition():
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    return ready


def test_services_start_in_order_and_end_in_reverse(signals: Signals, mark: str) -> None:
    events: list[str] = []
    services = [Script("one", f"{mark}/1", events=events), Script("two", f"{mark}/2", events=events)]
    services[1].is_ready = stop_when(lambda: True)
    supervisor = Supervisor(services, signals, events.append)
    supervisor.start()
    with pytest.raises(StopRequest) as stop:
        supervisor.watch()
    supervisor.end()
    assert stop.value.number == signal.SIGTERM
    assert events == ["Starting one", "one starts", "Starting two", "two starts", "two ends", "one ends"]
    assert not processes.find(mark)


@pytest.mark.slow
def test_what_dies_is_started_again_and_the_rest_goes_on(signals: Signals, mark: str) -> None:
    messages: list[str] = []
    lasting, dying = Script("lasting", f"{mark}/1"), Script("dying", f"{mark}/2")
    supervisor = Supervisor([lasting, dying], signals, messages.append, pauses_s=(0, 0), steady_s=60)
    supervisor.start()
    first = lasting.process
    assert dying.process
    dying.process.kill()
    dying.is_ready = stop_when(lambda: len(dying.events) == 3)
    with pytest.raises(StopRequest):
        supervisor.watch()
    assert dying.events == ["dying starts", "dying ends", "dying starts"]
    assert lasting.process is first
    assert messages[2:] == ["dying ended by itself; starting it again at once", "dying is ready again"]
    supervisor.end()


@pytest.mark.slow
def test_one_that_dies_again_and_again_is_started_again_and_told_once_a_minute(signals: Signals, mark: str) -> None:
    messages: list[str] = []
    service, lasting = Script("short-lived", f"{mark}/1"), Script("lasting", f"{mark}/2")
    supervisor = Supervisor([lasting, service], signals, messages.append, pauses_s=(0.01, 0.02), steady_s=60)
    supervisor.start()
    first = lasting.process
    assert service.process
    service.process.kill()
    service.code = "import sys; sys.exit(3)"
    service.is_ready = lambda: False
    lasting.is_ready = stop_when(lambda: len(service.events) >= 15)
    with pytest.raises(StopRequest):
        supervisor.watch()
    pauses = [line.rpartition("starting it again ")[2] for line in messages if "again" in line]
    assert pauses == ["at once", "at once", "every 0.02 s.\nits last words"]
    assert "short-lived ended by itself: 3 deaths in a row" in messages[-1]
    assert lasting.process is first
    supervisor.end()
    assert not processes.find(mark)


@pytest.mark.slow
def test_one_that_can_t_be_started_again_for_now_is_tried_again(signals: Signals, mark: str) -> None:
    messages: list[str] = []
    service = Script("homeless", mark)
    supervisor = Supervisor([service], signals, messages.append, pauses_s=(0.01,), steady_s=60)
    supervisor.start()
    start, refusals = service.start, [OSError(28, "No space left on device"), BadSetting("Its file is away.")]

    def refuse() -> None:
        if refusals:
            raise refusals.pop(0)
        start()
        service.is_ready = stop_when(lambda: True)

    service.start = refuse  # type: ignore[method-assign]
    assert service.process
    service.process.kill()
    with pytest.raises(StopRequest):
        supervisor.watch()
    assert "homeless can't be started ([Errno 28] No space left on device)" in messages[2]
    assert messages[-1] == "homeless is ready again"
    supervisor.end()


@pytest.mark.slow
def test_it_pauses_from_one_start_to_the_next(signals: Signals, mark: str) -> None:
    service = Script("short-lived", mark)
    moments: list[float] = []
    start, end = service.start, service.end

    def note_start() -> None:
        moments.append(time.monotonic())
        start()
        if len(moments) > 2:
            service.is_ready = stop_when(lambda: True)

    def note_end(hurried: Callable[[], bool]) -> None:
        end(hurried)
        moments.append(time.monotonic())

    service.start, service.end = note_start, note_end  # type: ignore[method-assign]
    supervisor = Supervisor([service], signals, print, pauses_s=(2.5,), steady_s=60)  # longer than it looks on at most
    supervisor.start()
    assert service.process
    service.process.kill()
    with pytest.raises(StopRequest):
        supervisor.watch()
    first, _, second = moments
    assert second - first >= 2.5
    supervisor.end()


@pytest.mark.slow
def test_a_steady_run_begins_a_new_row(signals: Signals, mark: str) -> None:
    messages: list[str] = []
    service = Script("long-lived", mark)
    stop = stop_when(lambda: len(service.events) > 5)

    def ready_once() -> bool:
        assert service.process
        service.process.kill()
        return stop()

    service.is_ready = ready_once
    supervisor = Supervisor([service], signals, messages.append, pauses_s=(0.01, 0.02), steady_s=0)
    supervisor.start()
    with pytest.raises(StopRequest):
        supervisor.watch()
    assert {line for line in messages if "starting it" in line} == {
        "long-lived ended by itself; starting it again at once"
    }
    supervisor.end()


def test_the_pauses_of_real_services() -> None:
    assert [*PAUSES_S] == sorted(PAUSES_S)
    assert PAUSES_S[0] == 1
    assert PAUSES_S[-1] == 10


def test_a_first_start_that_fails_is_final(signals: Signals, mark: str) -> None:
    service = Script("broken", mark, code="import sys; sys.exit(3)", is_ready=lambda: False)
    with pytest.raises(ServiceFailed, match=r"(?s)broken did not start: it ended by itself.*its last words"):
        Supervisor([service], signals, print).start()
    assert service.events == ["broken starts", "broken ends"]


def test_one_that_never_gets_ready_is_ended(signals: Signals, mark: str) -> None:
    service = Script("slow", mark, is_ready=lambda: False, patience=1)
    with pytest.raises(ServiceFailed, match="was not ready for 1 s"):
        Supervisor([service], signals, print).start()
    assert not processes.find(mark)


def test_one_that_is_no_longer_ready_is_started_again(signals: Signals, mark: str) -> None:
    service = Script("hanging", mark, patience=0.2)
    supervisor = Supervisor([service], signals, print, pauses_s=(0,))
    supervisor.start()
    again = stop_when(lambda: True)
    service.is_ready = lambda: service.events.count("hanging starts") == 2 and again()
    with pytest.raises(StopRequest):
        supervisor.watch()
    assert service.events == ["hanging starts", "hanging ends", "hanging starts"]
    supervisor.end()


def test_a_request_to_stop_while_starting(signals: Signals, mark: str) -> None:
    def never() -> bool:
        os.kill(os.getpid(), signal.SIGHUP)
        return False

    supervisor = Supervisor([Script("slow", mark, is_ready=never)], signals, print)
    with pytest.raises(StopRequest) as stop:
        supervisor.start()
    assert stop.value.number == signal.SIGHUP
    supervisor.end()
    assert not processes.find(mark)


def test_a_signal_cuts_a_pause_short(signals: Signals) -> None:
    sender = subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -INT {os.getpid()}"])
    start = time.monotonic()
    while not signals.requests:
        signals.pause(60)
    assert time.monotonic() - start < 30  # not a speed, but that it did not sit the pause out
    sender.wait()
    assert not signals.hurried()


def test_a_second_request_takes_the_grace_away(signals: Signals, mark: str) -> None:
    stubborn = python(STUBBORN, mark)
    up(stubborn)
    signals.requests += [signal.SIGINT, signal.SIGINT]
    assert processes.end(mark, grace_s=600, hurried=signals.hurried) == []
    stubborn.communicate()
    assert stubborn.returncode == -signal.SIGKILL


def test_every_process_ends_but_those_of_another_mark(mark: str) -> None:
    tree = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], start_new_session=True)\n"  # an orphan, and stubborn
    )
    parent = python(tree, f"{mark}/part")
    up(parent)
    parent.wait()
    stranger = python(SLEEP, f"{mark}0")
    assert len(processes.find(mark)) == 1
    assert processes.end(mark, grace_s=0.2) == []
    assert not processes.find(mark)
    assert stranger.poll() is None
    stranger.kill()
    stranger.communicate()
    parent.communicate()


def test_the_leading_process_is_asked_first(mark: str) -> None:
    program = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up', flush=True);"
    leader = python(f"{program} {SLEEP}", mark, "leader")
    follower = python(f"{program} {SLEEP}", mark)
    up(leader)
    up(follower)
    ended_before_the_leader: list[int] = []

    def leads(process: psutil.Process) -> bool:
        if leader.poll() is None and follower.poll() is not None:
            ended_before_the_leader.append(follower.pid)
        return "leader" in process.cmdline()

    assert processes.end(mark, grace_s=60, leads=leads) == []
    leader.communicate()
    follower.communicate()
    assert (leader.returncode, follower.returncode) == (7, 7)
    assert not ended_before_the_leader


@pytest.mark.slow
def test_the_guard_ends_what_a_killed_supervisor_leaves(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "from animegan_cli.serving import processes, serve\n"
        "with serve.own_instance() as instance:\n"
        "    marked = {**os.environ, processes.MARK: instance.mark}\n"
        f"    subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env=marked, stdout=subprocess.DEVNULL)\n"
        "    print(instance.mark, instance.folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'handler'}:{ROOT / 'scripts'}", "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    mark, folder = parent.stdout.readline().split()
    assert processes.find(mark)
    assert Path(folder).is_dir()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 120
    while processes.find(mark) or Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
