"""Create or refresh the environment that `make` works in. Needs nothing but Python 3.11 and pip.

The environment is rebuilt from `constraints.txt` and the pyproject files; a stamp with their hash
inside it tells that there is nothing to do. An installation that was interrupted has no stamp and
is continued by the next call.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST = (3, 11)

# The extras that the tests use; a user installs only those that are needed.
EXTRAS = {"dlk-core": ["hf", "datasets", "export", "yaml"]}

# Installed first and alone: large, and everything else must be resolved against them.
FIRST = ["torch", "torchvision"]


def packages() -> list[Path]:
    """Return the folders of the distributions, core first (the others depend on it)."""
    found = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml"))
    return sorted(found, key=lambda path: path.name != "dlk-core")


def fingerprint() -> str:
    """Return the hash of everything that decides what the environment holds."""
    inputs = [Path(__file__), CONSTRAINTS, ROOT / "pyproject.toml"]
    inputs += [package / "pyproject.toml" for package in packages()]
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def prepare(venv: Path) -> None:
    """Make `venv` what the inputs say; return at once when it already is."""
    stamp, wanted = venv / "dlk-stamp", fingerprint()
    if _read(stamp) == wanted:
        return
    with _alone(venv):
        if _read(stamp) == wanted:  # made by another call while this one waited
            return
        stamp.unlink(missing_ok=True)
        python = venv / "bin" / "python"
        if not _is_same_python(python):
            _say(f"creating {venv} with Python {sys.version.split()[0]}")
            _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _install(python)
        stamp.write_text(wanted, encoding="ascii")
    _say(f"{venv} is ready")


def _install(python: Path) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--constraint", str(CONSTRAINTS)]
    _say("installing PyTorch (several GB where it comes with CUDA, once)")
    _run([*pip, *FIRST])
    with (ROOT / "pyproject.toml").open("rb") as file:
        tools = tomllib.load(file)["dependency-groups"]["dev"]
    _say("installing the tools of checks and tests")
    _run([*pip, *tools])
    editable = []
    for package in packages():
        extras = ",".join(EXTRAS.get(package.name, []))
        editable += ["--editable", f"{package}[{extras}]" if extras else str(package)]
    _say("installing dlk's packages as editable, with what they need")
    _run([*pip, "--no-build-isolation", *editable])


def _is_same_python(python: Path) -> bool:
    """Tell whether an environment is there, runs, and is of this Python's version."""
    try:
        answer = subprocess.run(
            [str(python), "-c", "import sys, pip; print(sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return answer.stdout.strip() == str(sys.version_info[:2])


@contextmanager
def _alone(venv: Path) -> Iterator[None]:
    """Let one call at a time install; a second one waits for the first."""
    import fcntl

    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_name(venv.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii") if path.is_file() else ""


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd=ROOT)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Prepare the environment that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    chosen = parser.parse_args()
    if sys.version_info < OLDEST:
        print(
            f"error: dlk needs Python {OLDEST[0]}.{OLDEST[1]} or newer, this is "
            f"{sys.version.split()[0]}. Name another one: make PYTHON=/path/to/python3.11",
            file=sys.stderr,
        )
        return 1
    try:
        prepare(chosen.venv.resolve())
    except subprocess.CalledProcessError as error:
        print(f"error: failed: {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
