"""The hub, spoken to on loopback: fetched, pinned, resumed, refused, sent and back again."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from make_it_real import installation
from make_it_real.errors import WeightsError
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN
from make_it_real.training.checkpoint import save_critic
from make_it_real.weights import hub, model_file, verify
from tests.weights.hub_server import Hub, Repo

NAME = "owner/tiny"


@pytest.fixture
def server() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.stop()


@pytest.fixture
def model(tiny_f: IGN, tmp_path: Path) -> Path:
    """A model file with its probe."""
    path = tmp_path / "model" / "model.safetensors"
    info = model_file.ModelInfo("tiny", {}, licence="CC BY-SA 3.0", data="mnist, 5 images")
    verify.save(tiny_f, info, path)
    return path


@pytest.fixture
def repo(server: Hub, model: Path, tiny_f: IGN) -> Repo:
    """The model on the server: main, an older commit under the tag v1, and other files."""
    repo = server.repos[NAME] = Repo()
    config = json.dumps(asdict(tiny_f.config)).encode()
    older = {"model.safetensors": model.read_bytes(), "config.json": config}
    repo.commit(older, "v1")
    repo.commit({**older, "README.md": b"# tiny", "huge.bin": bytes(10)})
    return repo


@pytest.fixture
def mir(server: Hub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs mir in a process of its own against the server, with a cache of its own."""

    def run(
        *words: str, program: tuple[str, ...] = ("-m", "make_it_real"), **more: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        environment = {
            **kept, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more,
        }  # fmt: skip
        command = [sys.executable, *program, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


Mir = Callable[..., subprocess.CompletedProcess[str]]


def failed(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 4, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("fetching")]
    assert len(said) == 1, done.stderr
    assert message in said[0]
    assert done.stdout == ""


def test_pull_fetches_what_a_model_needs_once(server: Hub, repo: Repo, mir: Mir) -> None:
    done = mir("models", "pull", NAME)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.read_bytes() == repo.commits[repo.refs["main"]]["model.safetensors"]
    assert path.parent.name == repo.refs["main"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["config.json", "model.safetensors"]
    server.requests.clear()
    assert mir("models", "pull", NAME, "-q").stdout == done.stdout
    assert not [r for r in server.requests if r[0] == "GET" and "/resolve/" in r[1]]
    listed = mir("models", "list", "--json").stdout.splitlines()
    entry = next(e for e in map(json.loads, listed) if e["where"] == "cached")
    assert entry["model"] == f"{NAME}@{path.parent.name[:12]}"
    assert (entry["licence"], entry["resolution"]) == ("CC BY-SA 3.0", "1×28×28")


def test_a_revision_is_pinned_by_tag_or_commit(server: Hub, repo: Repo, mir: Mir) -> None:
    for revision in ("v1", repo.refs["v1"]):
        done = mir("models", "pull", f"{NAME}@{revision}", "--json")
        assert json.loads(done.stdout)["commit"] == repo.refs["v1"], done.stderr
    repo.commit({"README.md": b"emptied"})
    assert mir("models", "pull", f"{NAME}@{repo.refs['v1']}").returncode == 0
    failed(mir("models", "pull", NAME), "no mir model: it has no model.safetensors")


def test_a_broken_download_goes_on_where_it_stopped(server: Hub, repo: Repo, mir: Mir) -> None:
    # huggingface_hub keeps what came in pieces of 10 MiB: the file must be larger than one.
    large = (installation.bundled_folder() / "faces.safetensors").read_bytes()
    repo.commit({"model.safetensors": large}, "large")
    server.cut = 11 * 2**20
    done = mir("models", "pull", f"{NAME}@large")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == large
    ranges = [r[2] for r in server.requests if r[0] == "GET" and "model.safe" in r[1]]
    assert ranges == ["", f"bytes={10 * 2**20}-"]


def test_offline_the_cache_answers_and_only_it(server: Hub, repo: Repo, mir: Mir) -> None:
    failed(mir("--offline", "models", "pull", NAME), "not in the cache, and the network is off")
    online = mir("models", "pull", NAME)
    server.requests.clear()
    for done in (
        mir("--offline", "models", "pull", NAME), mir("models", "pull", NAME, HF_HUB_OFFLINE="1")
    ):  # fmt: skip
        assert done.stdout == online.stdout, done.stderr
    assert server.requests == []
    failed(mir("--offline", "models", "push", online.stdout.strip(), "me/x"), "the network is off")


def test_a_gated_model_asks_for_a_token(repo: Repo, mir: Mir) -> None:
    repo.gated = True
    failed(mir("models", "pull", NAME), "gated: accept its terms at http://127.0.0.1")
    assert mir("models", "pull", NAME, HF_TOKEN="hf_good").returncode == 0


def test_what_is_not_there_is_said(server: Hub, repo: Repo, mir: Mir) -> None:
    failed(mir("models", "pull", "owner/none"), "not on the hub, or private")
    failed(mir("models", "pull", f"{NAME}@v9"), "the hub has no revision 'v9'")
    failed(mir("models", "pull", "no-owner"), "is no model on a hub")
    repo.commit({"model.safetensors": b"not a model at all", "config.json": b"{}"}, "bad")
    failed(mir("models", "pull", f"{NAME}@bad"), "not a safetensors file")
    server.stop()
    failed(mir("models", "pull", NAME), "can't be reached")


def test_a_failing_hub_is_asked_again(server: Hub, repo: Repo, mir: Mir) -> None:
    server.failures = [500]
    assert mir("models", "pull", NAME).returncode == 0
    assert server.failures == []
    server.failures = [500] * 40
    failed(mir("models", "pull", f"{NAME}@v1"), "the hub answered 500; try again later")
    assert 30 <= len(server.failures) < 40


def test_a_wrong_hash_is_refused_and_the_copy_deleted(server: Hub, repo: Repo, mir: Mir) -> None:
    server.lie = True
    failed(mir("models", "pull", NAME), "model.safetensors has another checksum than the hub")
    server.lie = False
    assert mir("models", "pull", NAME).returncode == 0


SESSION = """
import sys
from pathlib import Path
import torch
import make_it_real
from make_it_real.errors import WeightsError

f = make_it_real.IGN.from_pretrained(sys.argv[1])
f.save_pretrained(sys.argv[2])
assert "me/again" in f.push_to_hub("me/again", token="hf_good")
again = make_it_real.IGN.from_pretrained("me/again", revision="main")
assert all(torch.equal(a, b) for a, b in zip(f.state_dict().values(), again.state_dict().values()))
assert again.info.licence == f.info.licence == "CC BY-SA 3.0"
assert not again.training
assert torch.equal(make_it_real.generate(f, [3]), make_it_real.generate(again, [3]))
config = Path(sys.argv[2], "config.json")
kept = config.read_text()
for text in (kept.replace("{", '{"colour": 3,'), kept.replace("28", "32")):
    config.write_text(text)
    try:
        make_it_real.IGN.from_pretrained(sys.argv[2])
    except WeightsError as error:
        assert "config" in str(error) and "\\n" not in str(error)
    else:
        raise AssertionError(text)
    config.write_text(kept)
"""


def test_pushed_and_pulled_back_a_model_is_the_same_bit_by_bit(
    server: Hub, model: Path, mir: Mir, tmp_path: Path
) -> None:
    save_critic(Critic(28, 1, (8, 16)), model.with_name("critic.safetensors"))
    denied = mir("models", "push", str(model), "me/tiny")
    failed(denied, "set HF_TOKEN to a token that may do this")
    done = mir("models", "push", str(model), "me/tiny", HF_TOKEN="hf_good")
    assert done.returncode == 0, done.stderr
    sha = server.repos["me/tiny"].refs["main"]
    assert done.stdout == f"{server.url}/me/tiny/commit/{sha}\n"
    files = server.repos["me/tiny"].commits[sha]
    assert sorted(files) == [
        "README.md", "config.json", "critic.safetensors", "model.safetensors", "samples.png",
    ]  # fmt: skip
    card = files["README.md"].decode()
    for line in (
        "license: cc-by-sa-3.0", "library_name: make-it-real", "- mnist", "![What it makes",
        "pipeline_tag: unconditional-image-generation", "mir generate -m me/tiny",
    ):  # fmt: skip
        assert line in card, line
    pulled = mir("models", "pull", "me/tiny")
    path = Path(pulled.stdout.strip())
    for name in ("model.safetensors", "critic.safetensors"):
        assert path.with_name(name).read_bytes() == model.with_name(name).read_bytes()
    assert mir("models", "verify", "me/tiny").returncode == 0


def test_from_pretrained_save_pretrained_and_push_to_hub(
    server: Hub, repo: Repo, mir: Mir, tmp_path: Path
) -> None:
    done = mir(NAME, str(tmp_path / "saved"), program=("-c", SESSION))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    names = sorted(p.name for p in (tmp_path / "saved").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors", "samples.png"]


def test_names_are_taken_apart() -> None:
    assert hub.split_name("a/b") == ("a/b", None)
    assert hub.split_name("a/b@v1/x") == ("a/b", "v1/x")
    for name in ("a", "a/b/c", "../b c", "a/b c", "@v1", "a/"):
        with pytest.raises(WeightsError, match="is no model on a hub"):
            hub.split_name(name)


@pytest.mark.parametrize(
    ("number", "message"), [(28, "the disk is full; make room"), (13, "Permission denied")]
)
def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, number: int, message: str) -> None:
    def full(*arguments: object) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(hub, "_snapshot", full)
    with pytest.raises(WeightsError, match=message):
        hub.fetch("a/b")
