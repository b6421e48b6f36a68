"""deploy/Dockerfile without Docker: a linter reads it, and a test runs each of its instructions in file systems of its own.

The file systems are overlays over this machine's, in mount namespaces that go with their last process; so it needs root,
and a Python of the system (not of a version manager) with its venv module.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.system.daemon import DEADLINE_S

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BUILD_S = 600
"""Seconds that an instruction may take: it installs packages."""

ENTER = r"""
set -eu
mount --make-rprivate /
mkdir -p "$STAGE/upper" "$STAGE/work" "$STAGE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$STAGE/upper,workdir=$STAGE/work" "$STAGE/root"
for folder in dev proc sys; do mount --rbind "/$folder" "$STAGE/root/$folder"; done
mount -t tmpfs tmpfs "$STAGE/root/tmp"
# A network of its own: the ports of the image are fixed, and may be in use here.
[ -z "${NETWORK:-}" ] || ip link set lo up
[ -z "${READ_ONLY:-}" ] || mount -o remount,ro "$STAGE/root"
# The volume stays writable where the root is not.
[ -z "${DATA:-}" ] || mount --bind "$DATA" "$STAGE/root/var/lib/slircd"
exec chroot --userspec="$WHO" "$STAGE/root" /bin/sh -c 'cd "$0" && exec "$@"' "$WHERE" "$@"
"""


HELLO = """
import socket
with socket.create_connection(("127.0.0.1", 6667), timeout=60) as client:
    client.sendall(b"NICK ann\\r\\nUSER ann 0 * :ann\\r\\n")
    data = b""
    while b" 001 ann " not in data:
        more = client.recv(4096)
        assert more, data
        data += more
socket.create_connection(("127.0.0.1", 6697), timeout=60).close()
"""


class Stage:
    """A stage of the build: a file system over this machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        # How this machine reaches its package index.
        self.environ |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        self.user = "0:0"
        self.where = "/"

    def command(self, *words: str, **environ: str) -> tuple[list[str], dict[str, str]]:
        """How to run a command in it, and with which environment."""
        around = {"STAGE": str(self.folder), "WHO": self.user, "WHERE": self.where}
        unshare = ["unshare", "--mount", "--fork", "--kill-child", *(["--net"] if "NETWORK" in environ else [])]
        return [*unshare, "bash", "-c", ENTER, "enter", *words], {**self.environ, **around, **environ}

    def run(self, *words: str) -> str:
        """Run a command in it, which must succeed."""
        command, environ = self.command(*words)
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=BUILD_S, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def put(self, source: Path, target: str, *, mode: int | None = None) -> None:
        """COPY: a file, or what is in a folder."""
        path = self.folder / "upper" / target.lstrip("/")
        if source.is_dir():
            shutil.copytree(
                source,
                path,
                symlinks=True,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"),
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, path)
            if mode is not None:
                path.chmod(mode)


class Image:
    """What the Dockerfile makes, instruction by instruction."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stages: dict[str, Stage] = {}
        self.stage: Stage | None = None
        self.settings: dict[str, str] = {}
        """Instructions that only say how the image is to be run."""

    def build(self, instructions: list[dict[str, Any]]) -> None:
        for each in instructions:
            name, value = each["instruction"], each["value"]
            if name in ("ARG", "COMMENT", "LABEL"):
                continue
            getattr(self, f"_{name.lower()}", self._setting)(value, name)

    def _from(self, value: str, _: str) -> None:
        name = value.partition(" AS ")[2] or "final"
        self.stage = self.stages[name] = Stage(self._folder / name)

    @property
    def _now(self) -> Stage:
        assert self.stage is not None
        return self.stage

    def _workdir(self, value: str, _: str) -> None:
        self._now.where = value
        (self._now.folder / "upper" / value.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _copy(self, value: str, _: str) -> None:
        words = value.split()
        source = ROOT
        mode = None
        while words[0].startswith("--"):
            option, _, argument = words.pop(0).partition("=")
            if option == "--from":
                source = self.stages[argument].folder / "upper"
            elif option == "--chmod":
                mode = int(argument, 8)
        *names, target = words
        for name in names:
            path = source / name.lstrip("/")
            inside = f"{target}/{path.name}" if target.endswith("/") else target
            self._now.put(path, str(Path(self._now.where) / inside), mode=mode)

    def _run(self, value: str, _: str) -> None:
        self._now.run("/bin/sh", "-c", value)

    def _env(self, value: str, _: str) -> None:
        for pair in value.split():
            name, _, text = pair.partition("=")
            self._now.environ[name] = text.replace("$PATH", self._now.environ["PATH"])

    def _user(self, value: str, _: str) -> None:
        self._now.user = value

    def _setting(self, value: str, name: str) -> None:
        self.settings[name] = value


def instructions() -> list[dict[str, Any]]:
    with (DEPLOY / "Dockerfile").open("rb") as file:
        parsed: list[dict[str, Any]] = DockerfileParser(fileobj=file).structure
        return parsed


def test_linter_finds_nothing() -> None:
    """hadolint is silent."""
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists() and not os.environ.get("CI"):
        pytest.skip("needs hadolint (the extra dev)")
    done = subprocess.run([hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_copies_what_is_there() -> None:
    """What COPY names exists, and .dockerignore lets it through."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    for each in instructions():
        if each["instruction"] == "COPY" and "--from=" not in each["value"]:
            names = [word for word in each["value"].split() if not word.startswith("--")][:-1]
            for name in names:
                assert (ROOT / name).exists(), name
                assert any(name == entry or name.startswith(f"{entry}/") for entry in allowed), name


def possible() -> str:
    if os.geteuid() != 0:
        return "needs root"
    tried = subprocess.run(["/usr/bin/python3", "-c", "import venv, ensurepip"], capture_output=True, check=False)
    if tried.returncode:
        return "needs the system's Python with venv (Debian: python3-venv)"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return tried.stderr.decode().strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    why_not = possible()
    if why_not:
        pytest.skip(why_not)
    made = Image(tmp_path_factory.mktemp("image"))
    made.build(instructions())
    return made


@pytest.fixture
def container(image: Image, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The image, run as its settings say: not as root, on a root that cannot be written."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    os.chown(data, 4999, 4999)
    stage = image.stages["final"]
    words = json.loads(image.settings["ENTRYPOINT"]) + json.loads(image.settings["CMD"])
    command, environ = stage.command(*words, READ_ONLY="1", NETWORK="1", DATA=str(data))
    environ["SLIRCD_OPER_PASSWORD"] = environ["SLIRCD_ADMIN_PASSWORD"] = "sesame"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    yield process
    # Not by the end of unshare: who changes its user is told no more that its parent has died.
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_S)


def test_the_image_runs(image: Image, container: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Everything of the Dockerfile is done; its command serves IRC on both ports, its health check is content."""
    stage = image.stages["final"]
    assert stage.user == "4999:4999"
    assert image.settings["EXPOSE"].split() == ["6667", "6697"]
    children: list[str] = []
    while not children:  # unshare has not forked yet
        assert container.poll() is None, (tmp_path / "log").read_text()
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    beside = ["nsenter", "--target", children[0], "--net"]
    check = json.loads(image.settings["HEALTHCHECK"].partition("CMD ")[2])
    deadline = time.monotonic() + DEADLINE_S
    command, environ = stage.command(*check)
    while subprocess.run([*beside, *command], env=environ, capture_output=True, check=False).returncode:
        assert container.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
    hello = subprocess.run([*beside, sys.executable, "-c", HELLO], capture_output=True, text=True, check=False)
    assert hello.returncode == 0, hello.stderr
    assert {"slircd.db", "slircd-secrets.toml", "slircd.crt"} <= {path.name for path in (tmp_path / "data").iterdir()}
    assert "Uid:\t4999\t4999" in Path(f"/proc/{children[0]}/status").read_text()
    # Nothing of the build is left in what is shipped.
    assert not (stage.folder / "upper" / "src").exists()


def test_image_is_small(image: Image) -> None:
    """What it adds to its base is counted in tens of megabytes."""
    size = sum(path.stat().st_size for path in (image.stages["final"].folder / "upper").rglob("*") if path.is_file())
    assert size < 150_000_000, size


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
    return document


def test_compose() -> None:
    """What operators rely on: image, ports, folders, restart; what belongs to a profile starts only with it."""
    services = compose()["services"]
    slircd = services["slircd"]
    assert slircd["image"] == "slircd:latest"
    assert slircd["ports"] == ["6667:6667", "6697:6697"]
    assert slircd["volumes"] == ["./config:/etc/slircd:ro", "./data:/var/lib/slircd"]
    assert slircd["restart"] == "unless-stopped"
    assert "profiles" not in slircd
    assert {name: each["profiles"] for name, each in services.items() if name != "slircd"} == {
        "postgresql": ["postgresql"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    for each in services.values():
        for volume in each.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./") and source not in ("./config", "./data"):
                assert (DEPLOY / source).exists(), source


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose")
def test_compose_is_understood() -> None:
    """`docker-compose config` finds no mistake, with every profile."""
    environ = {**os.environ, "SLIRCD_POSTGRES_PASSWORD": "x", "SLIRCD_GRAFANA_PASSWORD": "x"}
    command = ["docker-compose", "-f", str(DEPLOY / "docker-compose.yml")]
    for profile in ("postgresql", "monitoring"):
        command += ["--profile", profile]
    done = subprocess.run([*command, "config", "--quiet"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
