"""Files, data, predictions and bundles on other file systems: memory, ftp and http."""

from __future__ import annotations

import functools
import http.server
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import pytest

from dlk import _remote, _remote_folder, io
from dlk._mirror import Mirror
from dlk._remote_run import RemoteRuns, read_index
from dlk.bundle import Bundle
from dlk.cli import main
from dlk.errors import BundleError, ConfigError, DataError, DlkError, StorageError, redact
from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import Train

with warnings.catch_warnings():  # it stands on asyncore, which Python 3.12 leaves out
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import DTPHandler, FTPHandler
    from pyftpdlib.servers import FTPServer

USER, PASSWORD = "anna", "ge heim/1@x"
LOGIN = "anna:ge%20heim%2F1%40x"


@dataclass
class Ftp:
    """An ftp server in a thread, and what it is to do wrong."""

    root: Path
    port: int = 0
    cut: list[int] = field(default_factory=list)  # transfers break after so many bytes
    keeps: bool = False  # refuses to rename over a file
    renames: int = 0

    @property
    def url(self) -> str:
        return f"ftp://{LOGIN}@127.0.0.1:{self.port}"

    @property
    def reader(self) -> str:
        return f"ftp://reader:pass@127.0.0.1:{self.port}"


@pytest.fixture
def ftp(tmp_path):
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    served = Ftp(tmp_path / "served")
    served.root.mkdir()

    class Cut(DTPHandler):
        """Breaks off in the middle of a file."""

        def _breaks(self):
            if served.cut and self.tot_bytes_received + self.tot_bytes_sent >= served.cut[0]:
                served.cut.pop(0)
                self.cmd_channel.close()
                self.close()
                return True
            return False

        def handle_read_event(self):
            super().handle_read()
            self._breaks()

        def initiate_sendfile(self):
            super().initiate_sendfile()
            self._breaks()

    class Handler(FTPHandler):
        authorizer = DummyAuthorizer()
        dtp_handler = Cut
        auth_failed_timeout = 0

        def ftp_RNTO(self, path):  # noqa: N802 - the name of a command
            served.renames += 1
            if served.keeps and os.path.exists(path):
                self.respond("550 File exists.")
                self._rnfr = None
                return None
            return super().ftp_RNTO(path)

    Handler.authorizer.add_user(USER, PASSWORD, str(served.root), perm="elradfmw")
    Handler.authorizer.add_user("reader", "pass", str(served.root), perm="elr")
    server = FTPServer(("127.0.0.1", 0), Handler)
    served.port = server.address[1]
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            server.serve_forever(timeout=0.02, blocking=False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield served
    stop.set()
    thread.join(10)
    server.close_all()


@pytest.fixture
def web(tmp_path):
    """A read-only http server of a folder; gives (url, folder)."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()
    thread.join(10)


def write(url, text):
    with io.atomic_write(url) as handle:
        handle.write(text)


def read(url):
    with io.open_file(url) as handle:
        return handle.read()


# Files --------------------------------------------------------------------------------------------


def test_a_file_goes_to_a_server_and_back(ftp):
    url = f"{ftp.url}/deep/er/f.txt"
    assert not io.exists(url)
    write(url, "é\n" * 50_000)
    assert (ftp.root / "deep/er/f.txt").read_text() == "é\n" * 50_000
    assert os.listdir(ftp.root / "deep/er") == ["f.txt"]
    assert read(url) == "é\n" * 50_000
    assert io.exists(url)
    write(url, "new")
    assert read(url) == "new"
    assert io.sha256_of(url) == io.sha256_of(ftp.root / "deep/er/f.txt")


def test_nobody_sees_a_file_before_it_is_whole(ftp):
    with io.atomic_write(f"{ftp.url}/f") as handle:
        handle.write("x")
        assert os.listdir(ftp.root) == []
    assert ftp.renames == 1


def test_a_server_that_does_not_replace_files_gets_the_old_one_out_of_the_way(ftp):
    ftp.keeps = True
    for text in ("old", "new"):
        write(f"{ftp.url}/f", text)
    assert (ftp.root / "f").read_text() == "new"
    assert os.listdir(ftp.root) == ["f"]


def test_an_upload_that_breaks_once_is_tried_again(ftp):
    ftp.cut = [1000]
    write(f"{ftp.url}/f", "x" * 400_000)
    assert (ftp.root / "f").stat().st_size == 400_000
    assert os.listdir(ftp.root) == ["f"]


def test_an_upload_that_keeps_breaking_leaves_the_old_file_alone(ftp):
    write(f"{ftp.url}/f", "old")
    ftp.cut = [1000] * 4
    with pytest.raises(StorageError, match=r"cannot write ftp://\*\*\*@127") as caught:
        write(f"{ftp.url}/f", "x" * 400_000)
    assert isinstance(caught.value, DlkError)
    assert os.listdir(ftp.root) == ["f"]
    assert (ftp.root / "f").read_text() == "old"


def test_a_download_that_breaks_is_an_error_and_never_a_shorter_file(ftp):
    (ftp.root / "f").write_text("x" * 800_000)
    ftp.cut = [1000] * 4
    with pytest.raises(StorageError, match="cannot read"):
        read(f"{ftp.url}/f")
    ftp.cut = []
    assert len(read(f"{ftp.url}/f")) == 800_000


def test_a_wrong_password_is_told_before_any_work_and_not_shown(ftp):
    url = f"ftp://anna:wr0ngpass@127.0.0.1:{ftp.port}/f"
    with pytest.raises(StorageError, match="refuses this user or password") as caught:  # noqa: SIM117
        with io.atomic_write(url):
            pytest.fail("the block must not begin")
    with pytest.raises(StorageError) as second:
        io.open_file(url)
    for error in (caught.value, second.value):
        shown = f"{error} {error!r} {error.__cause__!r}"
        assert "wr0ngpass" not in shown
        assert "anna" not in shown


def test_a_password_that_a_file_system_repeats_is_taken_out(monkeypatch):
    def refuse(url, **options):
        raise ValueError(f"no login with {options} for ge heim/1@x at {url}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    for url in (f"ftp://{LOGIN}@h/f", f"sftp://{LOGIN}@h/f"):
        with pytest.raises(StorageError, match="no login with") as caught:
            read(url)
        assert caught.value.__cause__ is None
        assert "heim" not in f"{caught.value} {caught.value!r}"


def test_who_may_only_read_is_refused_to_write(ftp):
    (ftp.root / "f").write_text("old")
    assert read(f"{ftp.reader}/f") == "old"
    with pytest.raises(StorageError, match="may not do this"):
        write(f"{ftp.reader}/f", "new")
    with pytest.raises(StorageError, match="may not do this"):
        write(f"{ftp.reader}/deep/f", "new")
    assert os.listdir(ftp.root) == ["f"]
    assert (ftp.root / "f").read_text() == "old"


def test_a_server_that_is_not_there_is_named(ftp):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        url = f"ftp://u:secret@127.0.0.1:{taken.getsockname()[1]}/f"
        with pytest.raises(StorageError, match=r"\*\*\*@127.0.0.1:\d+/f.*refused"):
            read(url)


def test_a_missing_file_is_missing_and_a_folder_is_none(ftp):
    with pytest.raises(FileNotFoundError, match=r"ftp://\*\*\*@.*/none"):
        read(f"{ftp.url}/none")
    (ftp.root / "d").mkdir()
    with pytest.raises(IsADirectoryError):
        read(f"{ftp.url}/d")


def test_patterns_find_files_of_a_server_by_urls_that_can_be_opened(ftp):
    for name in ("b.json", "a.json", "c.txt"):
        (ftp.root / name).write_text(name)
    found = io.glob(f"{ftp.url}/*.json")
    assert found == [f"{ftp.url}/a.json", f"{ftp.url}/b.json"]
    assert [read(url) for url in found] == ["a.json", "b.json"]


def test_a_file_is_fetched_anew_once_it_changed_and_only_then(ftp):
    url = f"{ftp.url}/f"
    (ftp.root / "f").write_text("one")
    first = _remote.fetch(url)
    assert _remote.fetch(url) == first
    (ftp.root / "f").write_text("two and more")
    assert read(url) == "two and more"
    for number in range(20):
        write(f"memory://spool/{number}", "x")
        read(f"memory://spool/{number}")
    assert len(os.listdir(first.parent)) <= 8


def test_http_is_read_whole_and_never_written(web):
    url, folder = web
    (folder / "f.txt").write_text("x" * 100_000)
    assert read(f"{url}/f.txt") == "x" * 100_000
    assert io.exists(f"{url}/f.txt")
    assert not io.exists(f"{url}/none")
    with pytest.raises(FileNotFoundError):
        read(f"{url}/none")
    with pytest.raises(StorageError, match="http is read-only"):  # noqa: SIM117
        with io.atomic_write(f"{url}/new"):
            pytest.fail("the block must not begin")


def test_a_url_is_not_opened_for_writing(ftp):
    with pytest.raises(ValueError, match="atomic_write"):
        io.open_file(f"{ftp.url}/f", "w")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://u:p@h/x and s3://k", "ftp://***@h/x and s3://k"),
        ("ftp://u@h/x", "ftp://***@h/x"),
        ("https://h/x?sig=abc&t=1 gone", "https://h/x?*** gone"),
        ("simplecache::ftp://u:p%40@h:21/x", "simplecache::ftp://***@h:21/x"),
        ("mail a@b.c, c:/x?y", "mail a@b.c, c:/x?y"),
        ("http://h/a@b", "http://h/a@b"),
    ],
)
def test_logins_and_signatures_are_taken_out_of_messages(text, shown):
    assert redact(text) == shown
    assert shown in str(DataError(text))


# Data, predictions, bundles -----------------------------------------------------------------------


def upload(folder, root):
    shutil.copytree(folder, root, dirs_exist_ok=True)


def test_data_is_processed_from_urls_as_from_files(raw_toy, ftp, web):
    url, folder = web
    for split, base in (("train", ftp.root), ("valid", folder), ("test", folder)):
        lines = "".join(json.dumps(row) + "\n" for row in raw_toy.rows(split))
        (base / f"{split}.jsonl").write_text(lines)
    made = Process(raw_toy.process_config).run({
        "train": f"{ftp.url}/tr*.jsonl", "valid": f"{url}/valid.jsonl", "test": f"{url}/test.jsonl"
    })  # fmt: skip
    local = Process(
        raw_toy.process_config, overrides=[f"processor.processed_data_dir={raw_toy.folder}/local"]
    ).run({split: raw_toy.rows(split) for split in ("train", "valid", "test")})
    assert made.rows == local.rows
    for split in ("train", "valid", "test"):
        name = f"{split}/data-00000.arrow"
        assert (Path(made.dir) / name).read_bytes() == (Path(local.dir) / name).read_bytes()
    for file in Path(made.dir).rglob("*"):
        assert not file.is_file() or b"ge%20heim" not in file.read_bytes()


def test_data_that_a_url_does_not_have_is_told_without_the_password(ftp):
    with pytest.raises(DataError, match=r"no file fits .*\*\*\*@127") as caught:
        Process({"@processor@default": {"processed_data_dir": "x"}}).run(
            {"train": f"{ftp.url}/none*.jsonl"}
        )
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_predictions_go_to_a_url_whole(trained, ftp, ending):
    rows = trained.toy.rows("test")
    (ftp.root / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict = Predict(trained.bundle)
    out = f"{ftp.url}/out/answers.{ending}"
    predict.run(f"{ftp.url}/in.jsonl", out)
    predict.run(rows, trained.toy.folder / f"answers.{ending}")
    here = (trained.toy.folder / f"answers.{ending}").read_bytes()
    assert (ftp.root / f"out/answers.{ending}").read_bytes() == here
    assert os.listdir(ftp.root / "out") == [f"answers.{ending}"]


def test_commands_take_urls_and_show_no_password(trained, ftp, capsys):
    upload(trained.bundle, ftp.root / "b")
    rows = trained.toy.rows("test")
    (ftp.root / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for arguments in (
        ["predict", f"{ftp.url}/b", f"{ftp.url}/in.jsonl", "-o", f"{ftp.url}/out.jsonl"],
        ["bundle", "verify", f"{ftp.url}/b", "--format", "json"],
        ["bundle", "inspect", f"{ftp.url}/b", "--format", "json"],
    ):
        assert main(arguments) == 0
    assert len((ftp.root / "out.jsonl").read_text().splitlines()) == len(rows)
    assert main(["bundle", "zip", f"{ftp.url}/b"]) != 0
    assert main(["predict", f"{ftp.url}/b", f"{ftp.url}/none.jsonl"]) != 0
    shown = "".join(capsys.readouterr())
    assert "***@127.0.0.1" in shown
    assert "heim" not in shown
    assert "anna" not in shown


@pytest.mark.parametrize("place", ["ftp", "http", "memory"])
def test_a_bundle_is_served_from_a_url(trained, ftp, web, place):
    upload(trained.bundle, ftp.root / "bundle")
    upload(trained.bundle, web[1] / "bundle")
    urls = {"ftp": f"{ftp.url}/bundle", "http": f"{web[0]}/bundle/", "memory": "memory://b/bundle"}
    if place == "memory":
        for file in trained.bundle.rglob("*"):
            if file.is_file():
                with io.atomic_write(
                    f"{urls[place]}/{file.relative_to(trained.bundle)}", "wb"
                ) as h:
                    h.write(file.read_bytes())
    server = Server(urls[place])
    row = trained.toy.rows("test")[0]
    assert server.fit(row) == Server(trained.bundle).fit(row)


def test_a_bundle_of_a_url_is_checked_to_the_byte_and_fetched_to_a_place_of_its_own(trained, ftp):
    upload(trained.bundle, ftp.root / "b")
    bundle = Bundle(f"{ftp.url}/b")
    folder = bundle.path
    assert folder.is_dir()
    assert "anna" not in bundle.contents.name
    (ftp.root / "b" / "extra.txt").write_text("not listed, not fetched")
    Bundle(f"{ftp.url}/b")
    weights = ftp.root / "b" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=r"\*\*\*@.*model.safetensors is not what was written"):
        Bundle(f"{ftp.url}/b")
    weights.unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors is missing"):
        Bundle(f"{ftp.url}/b")
    with pytest.raises(BundleError, match=r"expected a folder with bundle\.json"):
        Bundle(f"{ftp.url}/none")
    bundle = None
    assert not folder.exists()


def test_a_hostile_list_of_files_fetches_nothing_outside(trained, ftp):
    upload(trained.bundle, ftp.root / "b")
    manifest = json.loads((ftp.root / "b" / "bundle.json").read_text())
    manifest["digests"]["../../evil"] = "0" * 64
    (ftp.root / "b" / "bundle.json").write_text(json.dumps(manifest))
    (ftp.root / "evil").write_text("evil")
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle(f"{ftp.url}/b")
    (ftp.root / "b" / "bundle.json").write_text("[]")
    with pytest.raises(BundleError, match="lists no files"):
        Bundle(f"{ftp.url}/b")


# Processed data -----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_remote_folder, "_fetched", {})
    return tmp_path / "cache" / "dlk"


@pytest.fixture
def login(monkeypatch):
    """User and password as fsspec's settings, so that no config holds them."""
    monkeypatch.setitem(fsspec.config.conf, "ftp", {"username": USER, "password": PASSWORD})


def at_url(toy, url):
    config = json.loads(Path(toy.process_config).read_text())
    config["@processor@default"]["processed_data_dir"] = url
    Path(toy.process_config).write_text(json.dumps(config))
    toy.edit({"processed_data_dir": url})


@pytest.mark.once
@pytest.mark.parametrize("place", ["ftp", "memory"])
def test_data_is_processed_to_a_url_and_trained_on_from_there(raw_toy, ftp, cache, login, place):
    url = f"ftp://127.0.0.1:{ftp.port}/data" if place == "ftp" else "memory://trained/data"
    at_url(raw_toy, url)
    raw_toy.process()
    here = raw_toy.train("trainer.max_steps=2")
    local = raw_toy.train(
        "trainer.max_steps=2",
        f"fit.processed_data_dir={_remote_folder.fetched(url)}",
        f"fit.log_dir={raw_toy.folder}/other",
    )
    assert here.metrics == local.metrics
    assert Server(here.bundle).fit({"sentence": "the cat"})
    # and on another machine, whose cache holds nothing yet
    shutil.rmtree(cache)
    _remote_folder._fetched.clear()
    again = raw_toy.train("trainer.max_steps=2", f"fit.log_dir={raw_toy.folder}/third")
    assert again.metrics == here.metrics


def test_a_new_generation_replaces_the_old_one_and_a_reader_keeps_what_it_has(
    raw_toy, ftp, cache, login
):
    url = f"ftp://127.0.0.1:{ftp.port}/data"
    at_url(raw_toy, url)
    raw_toy.process("train", "valid")
    first = Path(io.local_folder(url))
    raw_toy.process("train", "valid", "test")
    assert len(list((ftp.root / "data").glob("generation-*"))) == 1
    second = Path(io.local_folder(url, anew=True))
    assert first != second
    assert not (first / "test").exists()
    assert (second / "test" / "split.json").is_file()
    # one more split alone goes on from what is there, also where this machine has it not
    shutil.rmtree(cache)
    _remote_folder._fetched.clear()
    Process(raw_toy.process_config, stage="predict").run(raw_toy.rows("test"))
    third = Path(io.local_folder(url, anew=True))
    assert (third / "predict" / "split.json").is_file()
    assert (third / "train" / "split.json").is_file()


def test_an_upload_of_a_folder_that_breaks_leaves_the_old_one(raw_toy, ftp, cache, login):
    url = f"ftp://127.0.0.1:{ftp.port}/data"
    at_url(raw_toy, url)
    raw_toy.process("train", "valid")
    before = io.sha256_of(ftp.root / "data" / "folder.json")
    ftp.cut = [1] * 2
    with pytest.raises(StorageError):
        raw_toy.process("train", "valid", "test")
    ftp.cut = []
    assert io.sha256_of(ftp.root / "data" / "folder.json") == before
    assert not (Path(io.local_folder(url, anew=True)) / "test").exists()
    raw_toy.process("train", "valid", "test")
    assert (Path(io.local_folder(url, anew=True)) / "test").exists()


def test_a_damaged_or_hostile_folder_is_refused_and_a_damaged_copy_fetched_anew(
    raw_toy, ftp, cache, login
):
    url = f"ftp://127.0.0.1:{ftp.port}/data"
    at_url(raw_toy, url)
    raw_toy.process("train")
    here = Path(io.local_folder(url))
    good = (here / "process.json").read_bytes()
    (here / "process.json").write_bytes(b"changed")
    assert (Path(io.local_folder(url, anew=True)) / "process.json").read_bytes() == good
    shutil.rmtree(cache)
    (generation,) = (ftp.root / "data").glob("generation-*")
    (generation / "process.json").write_bytes(b"changed")
    with pytest.raises(DataError, match=r"process\.json is not what was written"):
        io.local_folder(url, anew=True)
    (generation / "process.json").unlink()
    with pytest.raises(DataError, match="names files that lack"):
        io.local_folder(url, anew=True)
    for bad in ("[]", "{", '{"schema": "dlk.folder/1", "files": {"../x": "0"}}'):
        (ftp.root / "data" / "folder.json").write_text(bad)
        with pytest.raises(DataError, match=r"folder\.json is damaged"):
            io.local_folder(url, anew=True)
    with pytest.raises(DataError, match="run `dlk process` first"):
        io.local_folder(f"{url}/none")


def test_a_read_only_place_is_refused_before_any_work(raw_toy, web, cache):
    at_url(raw_toy, f"{web[0]}/data")
    with pytest.raises(StorageError, match="http is read-only"):
        raw_toy.process("train")


def test_configs_hold_no_passwords(toy, ftp, cache):
    secret = f"{ftp.url}/data"
    process = json.loads(Path(toy.process_config).read_text())
    process["@processor@default"]["processed_data_dir"] = secret
    with pytest.raises(ConfigError, match="FSSPEC_FTP_PASSWORD") as caught:
        Process(process)
    for change in ({"processed_data_dir": secret}, {"log_dir": f"{ftp.url}/logs"}):
        toy.edit(change)
        with pytest.raises(ConfigError) as second:
            toy.train()
        for shown in (str(caught.value), str(second.value), repr(second.value)):
            assert "heim" not in shown
            assert "anna" not in shown
        toy.edit({"processed_data_dir": "processed", "log_dir": "logs"})


def test_what_killed_uploads_left_is_removed_once_it_is_old(raw_toy, ftp, cache, login):
    url = f"ftp://127.0.0.1:{ftp.port}/data"
    at_url(raw_toy, url)
    raw_toy.process("train")
    data = ftp.root / "data"
    for name, days in (("generation-0123456789abcdef", 2), ("generation-fedcba9876543210", 0.5)):
        (data / name / "train").mkdir(parents=True)
        file = data / name / "train" / "data-00000.arrow"
        file.write_text("half")
        then = time.time() - days * 86_400
        os.utime(file, (then, then))
    (data / "generation-of-mine").mkdir()
    raw_toy.process("train", "valid")
    assert "generation-0123456789abcdef" not in os.listdir(data)
    assert {"generation-fedcba9876543210", "generation-of-mine"} < set(os.listdir(data))
    assert (Path(io.local_folder(url, anew=True)) / "valid").is_dir()


# Runs ---------------------------------------------------------------------------------------------


KILLED = """
import os
import time
from dlk import _remote_run
from dlk.cli import main
from dlk.imodel.default import DefaultIModel
_remote_run.BEAT = 0.2
real = DefaultIModel.training_step
def step(self, batch, batch_idx):
    while self.trainer.global_step == 9:
        index = _remote_run.read_index("{url}/0")
        if index and any(name.endswith(".state") for name in index.files):
            os.kill(os.getpid(), 9)
        time.sleep(0.1)
    return real(self, batch, batch_idx)
DefaultIModel.training_step = step
main(["train", {fit!r}])
"""


@pytest.mark.once
def test_a_run_killed_on_one_machine_is_ended_on_another(toy, ftp, cache, login, monkeypatch):
    """The other one has nothing but the config, the data and the URL."""
    url = f"ftp://127.0.0.1:{ftp.port}/logs"
    resume = "@trainer@lightning/@callback@resume"
    toy.edit({resume: {"pause": 0.0, "every_n_train_steps": 4}})
    expected = toy.train()
    toy.edit({"log_dir": url})
    variables = {"FSSPEC_FTP_USERNAME": USER, "FSSPEC_FTP_PASSWORD": PASSWORD}
    command = [sys.executable, "-c", KILLED.format(url=url, fit=str(toy.fit_config))]
    killed = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, timeout=300, check=False
    )
    assert killed.returncode == -9, killed.stderr
    assert (ftp.root / "logs/0/owner.json").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "another"))
    said = []
    (done,) = Train(toy.fit_config, resume=True).run(tell=said.append).runs
    assert "or was stopped: waits 1 s for a sign of life" in said[0]
    (step,) = done.resumed  # 8, or another one if a file was being written or sent just then
    assert 4 <= step <= 9
    assert said[1] == f"run 0: goes on from step {step}"
    assert done.metrics == expected.metrics
    for file in Path(expected.bundle).rglob("*"):
        name = file.relative_to(expected.bundle)
        if file.is_file():
            assert (ftp.root / "logs/0/bundle" / name).read_bytes() == file.read_bytes(), name
    assert Server(done.bundle).fit(toy.rows("test")[0])
    assert sorted(path.name for path in ftp.root.rglob(".*")) == []
    assert os.listdir(ftp.root / "logs") == ["0"]


CLAIMS = """
from dlk._remote_run import RemoteRuns
runs = RemoteRuns("{url}")
print(*(runs.claim(print).name for _ in range(8)))
"""


def test_two_processes_never_get_one_number(ftp, cache):
    url = f"ftp://127.0.0.1:{ftp.port}/logs"
    RemoteRuns(f"{ftp.url}/logs").check()
    variables = {"FSSPEC_FTP_USERNAME": USER, "FSSPEC_FTP_PASSWORD": PASSWORD}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS.format(url=url)],
            env={**os.environ, **variables, "XDG_CACHE_HOME": str(cache / str(number))},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    given = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(int, given[0] + given[1])) == list(range(16))


@pytest.mark.once
@pytest.mark.parametrize("keeps", [False, True])
def test_a_run_goes_to_a_server_by_a_url_with_a_login_and_shows_none(
    toy, ftp, cache, login, monkeypatch, capsys, keeps
):
    ftp.keeps = keeps
    url = f"ftp://127.0.0.1:{ftp.port}/logs"
    toy.edit({"log_dir": url, "@trainer@lightning/max_steps": 2})
    done = toy.train()
    assert done.bundle == f"{url}/0/bundle"
    fit = str(toy.fit_config)
    assert main(["train", fit, "--resume", f"{ftp.url}/logs/0"]) == 0
    assert main(["bundle", "verify", done.bundle]) == 0
    assert main(["train", fit, "--resume", f"{ftp.url}/logs/5"]) == 1
    shown = "".join(capsys.readouterr())
    assert "ftp://***@127.0.0.1" in shown
    assert "heim" not in shown
    for file in [*ftp.root.rglob("*"), *cache.rglob("*")]:
        assert not file.is_file() or b"heim" not in file.read_bytes()


def test_a_run_on_a_server_that_is_replaced_is_renamed(ftp, cache, login):
    runs = RemoteRuns(f"ftp://127.0.0.1:{ftp.port}/logs")
    for text in ("one", "two", "three"):
        run = runs.run("a=1/b=2")
        run.take(str)
        Path(run.dir, "checkpoint").mkdir(parents=True)
        Path(run.dir, "checkpoint", "a.ckpt").write_text(text)
        Mirror(run, str).finish(is_done=False)
    found = {}
    for name in ("b=2", "b=2.old"):
        index = read_index(f"{runs.url}/a=1/{name}")
        (stored,) = index.files.values()
        found[name] = (ftp.root / "logs/a=1" / name / stored.place).read_text()
    assert found == {"b=2": "three", "b=2.old": "two"}
    assert sorted(os.listdir(ftp.root / "logs/a=1")) == ["b=2", "b=2.old"]
    assert sorted(os.listdir(ftp.root / "logs/a=1/b=2")) == ["objects", "run.json"]


def test_who_may_only_read_cannot_train_there(toy, ftp, cache, monkeypatch):
    (ftp.root / "logs").mkdir()
    monkeypatch.setitem(fsspec.config.conf, "ftp", {"username": "reader", "password": "pass"})
    toy.edit({"log_dir": f"ftp://127.0.0.1:{ftp.port}/logs"})
    monkeypatch.setattr(Train, "_work", lambda *_: pytest.fail("training must not begin"))
    with pytest.raises(StorageError, match="may not do this"):
        toy.train()
    assert os.listdir(ftp.root / "logs") == []
