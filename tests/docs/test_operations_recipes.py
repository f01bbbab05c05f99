"""The configurations in the recipes do what the recipes say: real proxies, and the checks of each tool."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from animegan.settings import Settings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.ports import free_port
from animegan_gateway.settings import Settings as GatewaySettings
from docs.pages import CODE, ROOT, tables, text
from harness import MIB
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import wait_until
from harness.stores import RedisServer, redis_server

PAGE = "docs/operations/recipes.md"
NAME = "pictures.example.org"
PICTURE = encoded(photo(64, 48))
UNIT_ONLY = {"TRITON_CACHE_DIR", "ANIMEGAN_JAVA_HEAP_MB"}  # variables of no settings class


def blocks(language: str) -> list[str]:
    return [body for kind, body in CODE.findall(text(PAGE)) if kind == language]


def tool(name: str, package: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    return path or pytest.skip(f"{name} is not installed (Debian: {package})")


def variables() -> dict[str, str]:
    """Return the variables that the recipes put into /etc/animegan.env, as systemd and a shell read them."""
    lines = [line for block in blocks("ini") for line in block.splitlines()]
    return dict("".join(shlex.split(line)).split("=", 1) for line in lines)


# ---- Proxies ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway before no TorchServe, set as the first recipe says, but without keys: its jobs wait."""
    behind = {name: variables()[f"ANIMEGAN_GATEWAY_{name.upper()}"] for name in ("hosts", "trusted_proxies")}
    with running_gateway(tmp_path, None, keys="off", rate_per_minute=2, **behind) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A folder with a certificate for the name, signed by itself, and its key."""
    folder = tmp_path / "certificate"
    folder.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME}"),
            *("-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def nginx(server: str, folder: Path) -> list[str]:
    """The command that runs nginx with the recipe's server, with nothing outside the folder."""
    places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {places}\n{server} }}"
    )
    command = [tool("nginx", "nginx-light"), "-p", str(folder), "-c", str(file)]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    return command


def caddy(sites: str, folder: Path) -> list[str]:
    file = folder / "Caddyfile"
    file.write_text(f"{{\nadmin off\nauto_https disable_redirects\n}}\n{sites}")
    command = tool("caddy", "caddy")
    subprocess.run([command, "validate", "--config", file, "--adapter", "caddyfile"], check=True, capture_output=True)
    return [command, "run", "--config", str(file), "--adapter", "caddyfile"]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(port), "the proxy")
            assert process.poll() is None
            yield
        finally:
            process.terminate()


def listens(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}", timeout=5)
    except requests.ConnectionError:
        return False
    return True


PROXIES: Mapping[str, tuple[Callable[[str, Path], list[str]], str, str]] = {
    "nginx": (nginx, "listen 80;", "listen 127.0.0.1:PORT;"),
    "caddy": (caddy, f"http://{NAME} {{", f"http://{NAME}:PORT {{\nbind 127.0.0.1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROXIES)
def test_through_the_proxy_the_gateway_is_as_without_it(name: str, gateway: Gateway, tmp_path: Path) -> None:
    """It refuses a large file itself, tells callers apart by their true addresses, and sends events at once."""
    make, address, elsewhere = PROXIES[name]
    port = free_port()
    [block, *_] = blocks(name)
    assert block.count(address) == block.count("127.0.0.1:8000") == 1
    block = block.replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}")
    block = block.replace(address, elsewhere.replace("PORT", str(port)))
    url = f"http://127.0.0.1:{port}"
    with running(make(block, tmp_path), port, tmp_path), requests.Session() as caller:
        caller.headers["Host"] = NAME
        large = PICTURE + bytes((Settings().max_upload_mb + 1) * MIB)
        answer = caller.post(f"{url}/v1/stylize", files={"image": large}, timeout=60)
        assert code(answer) == (413, "too_large")
        answers = []
        for number in range(4):
            claim = {"X-Forwarded-For": f"203.0.113.{number}"}
            answers.append(caller.post(f"{url}/v1/jobs", files={"image": PICTURE}, headers=claim, timeout=60))
        assert answers[0].status_code == 202, answers[0].text
        assert code(answers[-1]) == (429, "rate_limited"), "an address that a caller claims makes it no other caller"
        events = answers[0].json()["links"]["events"]
        with caller.get(f"{url}{events}", stream=True, timeout=10) as stream:
            assert b"event: position" in itertools.islice(stream.iter_lines(chunk_size=1), 4)


@pytest.mark.slow
def test_https_by_nginx_with_a_certificate_of_ones_own(gateway: Gateway, certificate: Path, tmp_path: Path) -> None:
    port = free_port()
    server, tls = blocks("nginx")
    tls = tls.replace("/etc/ssl/animegan", str(certificate)).replace("listen 443", f"listen 127.0.0.1:{port}")
    server = server.replace("listen 80;", tls).replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}")
    curl = ["curl", "--silent", "--show-error", "--include", "--cacert", f"{certificate}/fullchain.pem"]
    curl += ["--resolve", f"{NAME}:{port}:127.0.0.1", "--header", f"Origin: https://{NAME}", "--json", "{}"]
    with running(nginx(server, tmp_path), port, tmp_path):
        process = subprocess.run(
            [*curl, f"https://{NAME}:{port}/v1/session"], capture_output=True, text=True, check=True, timeout=30
        )
    [cookie] = re.findall(r"^set-cookie: .*", process.stdout, re.MULTILINE | re.IGNORECASE)
    assert "Secure" in cookie
    assert "Strict-Transport-Security" in process.stdout


# ---- Backups ---------------------------------------------------------------------------------------------------------


def carry_out(block: str, places: Mapping[str, object], **services: Gateway | RedisServer) -> None:
    """Do what a recipe's block says, with these places in place of its own; services are stopped and started here."""
    for line in block.splitlines():
        if service := re.fullmatch(r"systemctl (stop|start) (\S+)", line):
            getattr(services[service[2].partition("-")[0]], service[1])()
            continue
        for there, here in places.items():
            line = line.replace(there, str(here))  # noqa: PLW2901
        subprocess.run(["bash", "-c", f"set -e -o pipefail; {line}"], check=True, capture_output=True)


@pytest.mark.slow
def test_a_queue_of_sqlite_is_backed_up_and_restored(tmp_path: Path) -> None:
    back_up, restore = (block for block in blocks("sh") if "animegan.tgz" in block)
    state = tmp_path / "state"
    places = {"/var/lib/animegan": state, "/root/": f"{tmp_path}/"}
    with running_gateway(state, None) as gateway:
        job = gateway.submit(PICTURE).json()
        carry_out(back_up, places, animegan=gateway)
        later = gateway.submit(PICTURE).json()
        carry_out(restore, places, animegan=gateway)
        assert gateway.job(job["id"])["status"] == "queued"
        assert requests.get(f"{gateway.url}/v1/jobs/{later['id']}", timeout=30).status_code == 404


@pytest.mark.slow
def test_a_queue_of_redis_is_backed_up_and_restored(tmp_path: Path) -> None:
    client = tool("redis-cli", "redis-tools")
    back_up, restore = (block for block in blocks("sh") if "redis.tgz" in block)
    with (
        redis_server(tmp_path / "redis") as server,
        running_gateway(tmp_path / "gateway", None, store=server.url) as gateway,
    ):
        places = {
            "/var/lib/redis": server.folder,
            "/root/": f"{tmp_path}/",
            "redis-cli": f"{client} -p {server.port}",
        }
        job = gateway.submit(PICTURE).json()
        carry_out(back_up, places)
        later = gateway.submit(PICTURE).json()
        gateway.stop()
        carry_out(restore, places, redis=server)
        gateway.start()
        assert gateway.job(job["id"])["status"] == "queued"
        assert requests.get(f"{gateway.url}/v1/jobs/{later['id']}", timeout=30).status_code == 404


# ---- What other tools read -------------------------------------------------------------------------------------------


def test_the_unit_is_one(tmp_path: Path) -> None:
    unit, override = blocks("systemd")
    assert "/opt/animegan/current/scripts/serve" in unit
    for number, body in enumerate((unit, unit + override)):
        file = tmp_path / f"animegan{number}.service"
        file.write_text(body.replace("/opt/animegan/current", str(ROOT)).replace("User=animegan", "User=daemon"))
        command = [tool("systemd-analyze", "systemd"), "verify", "--man=no", "--recursive-errors=one", str(file)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (process.returncode, process.stderr) == (0, "")


def test_the_variables_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    names = set(variables()) - UNIT_ONLY
    for settings in (GatewaySettings, AgentSettings, Settings):
        read = settings.load()
        changes = {name for name in names if any(name == settings.variable(field) for field in settings.model_fields)}
        assert all(
            getattr(read, field) != row.default
            for field, row in settings.model_fields.items()
            if settings.variable(field) in changes
        )
        names -= changes
    assert names == set()


def test_prometheus_has_the_jobs_of_the_rules(tmp_path: Path) -> None:
    [block] = [block for block in blocks("yaml") if "scrape_configs" in block]
    (tmp_path / "prometheus.yml").write_text(block)
    shutil.copytree(ROOT / "deploy" / "prometheus" / "rules", tmp_path / "rules")
    command = [tool("promtool", "prometheus"), "check", "config", str(tmp_path / "prometheus.yml")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    configuration = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    document = yaml.safe_load(block)
    ports = {
        job["job_name"]: job["static_configs"][0]["targets"][0].partition(":")[2]
        for job in configuration["scrape_configs"]
    }
    assert ports == {
        job["job_name"]: job["static_configs"][0]["targets"][0].partition(":")[2] for job in document["scrape_configs"]
    }


def test_the_table_names_settings() -> None:
    [rows] = [rows for rows in tables(PAGE) if "`style`" in [row[0] for row in rows]]
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert names <= set(Settings.model_fields) | set(GatewaySettings.model_fields)
