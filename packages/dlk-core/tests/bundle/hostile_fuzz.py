"""Change the configs of a bundle anyhow, seal it again, load it, and watch what is opened.

Run by `test_hostile.py` in a process of its own, since an audit hook stays until the end. Prints
how many were refused and how many worked; any other outcome is an error.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import sysconfig
import warnings
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlk.bundle import Bundle
from dlk.bundle.pack import seal
from dlk.errors import BundleError, DlkError
from dlk.inference import Engine

KEPT, FOLDER, EXAMPLES = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
WORK = FOLDER / "bundle"
SECRET = FOLDER / "secret.json"
SECRET.write_text('{"vocab": ["secret"]}')
(FOLDER / "evil_module.py").write_text("raise SystemExit('evil_module was imported')\n")
sys.path.append(str(FOLDER))
SENTENCES = {"sentence": ["the cat", "some bread near the lake", ""]}

opened: list[str] = []
watching = False


def watch(event: str, args: tuple[object, ...]) -> None:
    if not watching:
        return
    if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
        opened.append(os.path.realpath(os.fsdecode(args[0])))
    elif event == "import" and str(args[0]).startswith("evil"):
        opened.append(f"import of {args[0]}")
    elif event in ("os.system", "subprocess.Popen", "socket.connect", "os.remove", "os.rename"):
        opened.append(f"{event}: {args}")


sys.addaudithook(watch)
Bundle(KEPT).engine().predict(SENTENCES)  # imports what any bundle does

ROOTS = tuple(
    os.path.realpath(path)
    for path in (
        WORK,
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        *(path for path in sys.path if path and path != str(FOLDER)),
    )
)
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/ld.so", "/usr/lib", "/lib")


def is_harmless(path: str) -> bool:
    if path.startswith(SYSTEM):
        return True
    return any(path == root or path.startswith(root + os.sep) for root in ROOTS)


STRINGS = [
    str(SECRET),
    "../secret.json",
    "../../secret.json",
    "/etc/hostname",
    "evil_module",
    "evil_module:Evil",
    "file:///etc/hostname",
    "memory://x",
    "http://127.0.0.1:9/x",
    "@lambda _: 1",
    "@$",
    "@fit.seed",
    "meta.json",
    "bundle.json",
    "fit.json",
    "",
    "\0",
    "a" * 5000,
]
VALUES = st.one_of(
    st.sampled_from(STRINGS),
    st.integers(-(10**12), 10**12),
    st.integers(-3, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from(STRINGS), max_size=2),
    st.dictionaries(st.sampled_from(["@model", "@model@evil_module", "x", "_name"]), st.just({})),
)


def places(value: object, above: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [above] if above else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in items:
        found += places(part, (*above, key))
    return found


def aim_everywhere() -> None:
    """Let each text that looks like a file be a path outside, and those beside it no file."""
    for name in ("process.json", "fit.json"):
        for number, original in enumerate(components(ORIGINALS[name])):
            texts = [key for key, part in original.items() if isinstance(part, str) and "." in part]
            for aimed in texts:
                changed = copy.deepcopy(ORIGINALS[name])
                chosen = components(changed)[number]
                chosen |= dict.fromkeys(texts, "none.json") | {aimed: str(SECRET)}
                check(name, changed)


def components(config: dict[str, object]) -> list[dict[str, object]]:
    found = [config[key] for key in config if key.startswith("@")]
    for above in found:
        found += [part for key, part in above.items() if key.startswith("@")]
    return found


def mutate(data: st.DataObject, changed: dict[str, object]) -> None:
    """Change one to three values or keys."""
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(places(changed)))
        here = changed
        for key in above:
            here = here[key]
        how = data.draw(st.sampled_from(["value", "value", "value", "delete", "rename", "add"]))
        if how == "value":
            here[last] = data.draw(VALUES)
        elif how == "delete":
            del here[last]
        elif isinstance(here, dict):
            key = data.draw(st.sampled_from(["_base", "@subprocessor@evil", "x", *STRINGS[:6]]))
            here[key] = here.pop(last) if how == "rename" else data.draw(VALUES)
        if not places(changed):
            break


ORIGINALS = {
    name: json.loads((KEPT / name).read_text())
    for name in ("bundle.json", "process.json", "fit.json")
}
counts = {"refused": 0, "worked": 0}


def check(name: str, changed: dict[str, object]) -> None:
    """Load a bundle with a changed file: refused, or it predicts; nothing outside is opened."""
    global watching
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(KEPT, WORK)
    manifest = changed if name == "bundle.json" else ORIGINALS["bundle.json"]
    if name != "bundle.json":
        (WORK / name).write_text(json.dumps(changed))
    seal(WORK, manifest)
    opened.clear()
    watching = True
    try:
        engine = Bundle(WORK).engine()
        counts["worked"] += 1
        answer(engine, changed)
    except BundleError:
        counts["refused"] += 1
    finally:
        watching = False
    outside = [path for path in opened if not is_harmless(path)]
    assert not outside, f"{outside}: {json.dumps(changed)}"


def answer(engine: Engine, changed: dict[str, object]) -> None:
    try:
        engine.predict(SENTENCES)
    except DlkError:
        pass
    except Exception as error:
        raise AssertionError(f"predict raised {error!r}; {json.dumps(changed)}") from error


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def attack(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["fit.json", "fit.json", "process.json", "bundle.json"]))
    changed = copy.deepcopy(ORIGINALS[name])
    mutate(data, changed)
    check(name, changed)


warnings.simplefilter("error")
aim_everywhere()
attack()
print(json.dumps(counts))
