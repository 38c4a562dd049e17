"""Weights files: what is saved comes back, and no damaged or foreign file gets through."""

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import make_it_real
from make_it_real.errors import WeightsError
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.weights import model_file, pretrained
from make_it_real.weights.model_file import ModelInfo

Header = dict[str, Any]


def parts(path: Path) -> tuple[Header, bytes]:
    """A safetensors file's header and what follows it."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header: Header = json.loads(raw[8 : 8 + length])
    return header, raw[8 + length :]


def put_together(path: Path, header: object, body: bytes) -> None:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def change(path: Path, how: Callable[[Header], object]) -> None:
    """Rewrite the file with another safetensors header."""
    header, body = parts(path)
    how(header)
    put_together(path, header, body)


def change_mir(path: Path, **changes: object) -> None:
    """Rewrite the file with other fields in mir's own header; None leaves a field out."""

    def how(header: Header) -> None:
        mir = json.loads(header["__metadata__"]["mir"]) | changes
        mir = {k: v for k, v in mir.items() if v is not None}
        header["__metadata__"]["mir"] = json.dumps(mir)

    change(path, how)


def change_tensors(path: Path, how: Callable[[dict[str, Tensor]], object]) -> None:
    """Rewrite the file, well formed, with other tensors."""
    metadata = parts(path)[0]["__metadata__"]
    tensors = safetensors.torch.load_file(path)
    how(tensors)
    safetensors.torch.save_file(tensors, path, metadata)


def config_of(path: Path) -> Header:
    config: Header = json.loads(parts(path)[0]["__metadata__"]["mir"])["config"]
    return config


def refused(path: Path, message: str, *, by_inspect: bool = True) -> None:
    """Loading gives one line that names the file and says what is wrong."""
    for read in (model_file.inspect, pretrained.load) if by_inspect else (pretrained.load,):
        with pytest.raises(WeightsError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 4


# --- What is saved comes back ---


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_model_comes_back_bit_by_bit(tmp_path: Path, channels_last: bool) -> None:
    torch.manual_seed(1)
    f = build(IGNConfig(12, 3, 8, (8, 16), 8, 2))
    f.source.fit(torch.randn(9, 3, 12, 12, generator=torch.Generator().manual_seed(0)))
    if channels_last:
        place(f, torch.device("cpu"))
    info = ModelInfo(
        name="colour", config=asdict(f.config), framing={"background": -1.0}, data="made up",
        objective="none", steps=7, version="0", licence="CC0-1.0", training={"lr": 0.1},
        figures={"psnr": 1.5},
    )  # fmt: skip
    path = tmp_path / "deep" / "down" / "f.safetensors"
    model_file.save(f, info, path)

    loaded = pretrained.load(path)
    state = loaded.state_dict()
    assert list(state) == list(f.state_dict())
    assert all(torch.equal(state[name], value) for name, value in f.state_dict().items())
    assert loaded.config == f.config
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    found = asdict(model_file.inspect(path))
    assert found == json.loads(json.dumps(asdict(info)))
    assert os.listdir(path.parent) == ["f.safetensors"]


def test_saving_twice_gives_the_same_bytes(tiny_f: IGN, tmp_path: Path) -> None:
    info = ModelInfo("tiny", asdict(tiny_f.config))
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        model_file.save(tiny_f, info, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert model_file.fingerprint(paths[0]) == model_file.fingerprint(paths[1])


def test_the_fingerprint_is_the_start_of_the_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert model_file.fingerprint(path) == "ba7816bf8f01cfea"


def test_half_precision_weights_load_as_float32(tiny_model: Path, tiny_f: IGN) -> None:
    change_tensors(tiny_model, lambda t: t.update({k: v.bfloat16() for k, v in t.items()}))
    loaded = pretrained.load(tiny_model).state_dict()
    for name, value in tiny_f.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], value.bfloat16().float())


def test_the_package_s_load_takes_a_file(tiny_model: Path, tiny_f: IGN) -> None:
    f = make_it_real.load(str(tiny_model), "cpu")
    x = torch.zeros(1, 1, 28, 28)
    torch.testing.assert_close(f(x), tiny_f(x))


def test_inspect_reads_the_header_without_torch(tiny_model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from make_it_real.weights import model_file;"
        "print(model_file.inspect(Path(sys.argv[1])).name);"
        "print([m for m in ('torch', 'numpy', 'safetensors', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_model], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["tiny", "[]"]


def test_inspect_reads_no_more_than_the_header(tiny_model: Path) -> None:
    header, body = parts(tiny_model)
    put_together(tiny_model, header, b"\xff" * len(body))
    assert model_file.inspect(tiny_model).name == "tiny"
    refused(tiny_model, "not finite", by_inspect=False)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tiny_f: IGN, tmp_path: Path) -> None:
    taken = tmp_path / "f.safetensors"
    taken.mkdir()
    info = ModelInfo("tiny", asdict(tiny_f.config))
    with pytest.raises(WeightsError, match=r"can't write .*f\.safetensors: Is a directory"):
        model_file.save(tiny_f, info, taken)
    below = tmp_path / "file"
    below.write_text("no folder")
    with pytest.raises(WeightsError, match=r"can't write"):
        model_file.save(tiny_f, info, below / "f.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["f.safetensors", "file"]


def test_a_full_disk_keeps_the_file_that_was_there(
    tiny_f: IGN, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    before = tiny_model.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WeightsError, match=r"can't write .*: No space left"):
        model_file.save(tiny_f, ModelInfo("new", asdict(tiny_f.config)), tiny_model)
    assert tiny_model.read_bytes() == before
    assert os.listdir(tiny_model.parent) == [tiny_model.name]


# --- Damaged files ---


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.1, 0.5, 0.99, -1])
def test_a_file_cut_short_is_refused(tiny_model: Path, keep: float) -> None:
    raw = tiny_model.read_bytes()
    length = round(keep * len(raw)) if isinstance(keep, float) else keep
    tiny_model.write_bytes(raw[:length])
    refused(tiny_model, "cut off in its header|bytes where its header promises")


def test_a_file_with_more_behind_it_is_refused(tiny_model: Path) -> None:
    raw = tiny_model.read_bytes()
    tiny_model.write_bytes(raw + b"\0")
    refused(tiny_model, f"{len(raw) + 1:,} bytes where its header promises {len(raw):,}")


def test_a_missing_file_is_a_weights_error(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "No such file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (b"This is a text about safetensors, and nothing else.\n", "not a safetensors file"),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00modelq\x01", "not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 2**64 - 1) + b"{}" * 100, "not a safetensors file"),
        (struct.pack("<Q", 0) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 2_000_000) + b" " * 2_000_000, "not a safetensors file"),
        (struct.pack("<Q", 10) + b"{{{{{{{{{{", "not a readable safetensors file"),
        (struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe", "not a readable safetensors file"),
        (struct.pack("<Q", 4) + b"null", "not a readable safetensors file"),
        (struct.pack("<Q", 6) + b'["mir"]'[:5] + b"]", "not a readable safetensors file"),
        (struct.pack("<Q", 2) + b"{}", "not a mir model"),
        (struct.pack("<Q", 500_000) + b"[" * 500_000, "nested too deep"),
        (struct.pack("<Q", 500_000) + b'{"a":' * 100_000, "nested too deep"),
    ],
    ids=[
        "empty", "text", "pickle", "length-2^63", "length-2^64", "length-0", "length-2MB",
        "no-json", "no-utf8", "null", "cut-list", "no-metadata", "deep-lists", "deep-objects",
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    refused(path, message)


def test_another_program_s_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(3)}, path, {"format": "pt"})
    refused(path, "a safetensors file, but not a mir model")


@pytest.mark.parametrize("metadata", [None, "mir", ["mir"], 3])
def test_metadata_that_is_no_object_is_refused(tiny_model: Path, metadata: object) -> None:
    change(tiny_model, lambda header: header.update(__metadata__=metadata))
    refused(tiny_model, "not a readable safetensors file")


@pytest.mark.parametrize(
    "entry",
    [
        {}, [], None, {"dtype": "F32", "shape": [1]}, {"data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1], "data_offsets": ["a", "b"]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, float("inf")]},
        {"dtype": "F32", "shape": None, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "ab", "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [[1]], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 4]},
    ],
)  # fmt: skip
def test_a_table_with_nonsense_in_it_is_refused(tiny_model: Path, entry: object) -> None:
    change(tiny_model, lambda header: header.update({"stem.bias": entry}))
    refused(tiny_model, "not a readable safetensors file")


def test_offsets_that_overlap_are_refused(tiny_model: Path) -> None:
    def how(header: Header) -> None:
        names = [n for n in header if n.startswith("encode") and n.endswith("norm1.bias")]
        header["encode.0.norm2.bias"]["data_offsets"] = header[names[0]]["data_offsets"]

    change(tiny_model, how)
    refused(tiny_model, "tensors that overlap or leave gaps")


def test_an_unknown_kind_of_number_is_refused(tiny_model: Path) -> None:
    change(tiny_model, lambda header: header["stem.bias"].update(dtype="F7"))
    refused(tiny_model, "a tensor of type 'F7'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged mir header"), ("{", "damaged mir header"), ("[]", "damaged mir header"),
        ("null", "damaged mir header"), ("{}", "damaged mir header"),
        ('{"format": 1}', "damaged mir header"), ("[" * 100_000, "damaged mir header"),
    ],
    ids=["empty", "cut", "list", "null", "no-format", "no-name", "deep"],
)  # fmt: skip
def test_a_damaged_mir_header_is_refused(tiny_model: Path, text: str, message: str) -> None:
    change(tiny_model, lambda header: header["__metadata__"].update(mir=text))
    refused(tiny_model, message)


@pytest.mark.parametrize("version", [2, 99, 0, "1", [1]])
def test_another_format_is_refused(tiny_model: Path, version: object) -> None:
    change_mir(tiny_model, format=version)
    refused(tiny_model, "model format .*, this mir reads 1; update make-it-real")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 3}, {"name": "two\nlines"}, {"name": "\x1b[2J"}, {"name": None},
        {"config": None}, {"config": [28]}, {"config": "28"},
        {"framing": [1]}, {"training": 1}, {"figures": "good"}, {"steps": "many"},
        {"licence": {}}, {"colour": "blue"},
    ],
    ids=str,
)  # fmt: skip
def test_fields_of_the_wrong_kind_are_refused(tiny_model: Path, changes: Header) -> None:
    change_mir(tiny_model, **changes)
    refused(tiny_model, "a damaged mir header")


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 3}, {"image_size": 30}, {"image_size": "28"}, {"image_size": 28.0},
        {"image_size": 2**40}, {"image_size": -28}, {"channels": 2}, {"widths": 8},
        {"widths": []}, {"widths": [8] * 3000}, {"widths": [8, 2**62]}, {"stem": 2**70},
        {"bottleneck": float("inf")}, {"blocks": 1}, {"blocks": float("inf")}, {"blocks": None},
        {"dead_zone": 2}, {"dead_zone": "none"}, {"dead_zone": float("nan")},
    ],
    ids=lambda changes: str(changes)[:24],
)  # fmt: skip
def test_a_config_that_builds_no_network_is_refused(tiny_model: Path, changes: Header) -> None:
    change_mir(tiny_model, config=config_of(tiny_model) | changes)
    refused(tiny_model, "a config that this mir can't build", by_inspect=False)


@pytest.mark.parametrize("kind", ["blocks", "fine", "patches"])
def test_a_config_of_a_billion_blocks_is_not_even_tried(tiny_model: Path, kind: str) -> None:
    change_mir(tiny_model, config=config_of(tiny_model) | {"blocks": 2, kind: 10**9 + 2})
    refused(tiny_model, "100000000[24] blocks out of", by_inspect=False)


@pytest.mark.parametrize("shape", [[3_000_000_000], [2**62, 2**62], [10**4000], [9], [8, 1, 0]])
def test_a_shape_that_its_bytes_do_not_hold_is_refused_before_anything_is_built(
    tiny_model: Path, shape: list[int]
) -> None:
    change(tiny_model, lambda header: header["stem.bias"].update(shape=shape))
    refused(tiny_model, "'stem.bias' has not the bytes that its shape takes")


@pytest.mark.parametrize("shape", [[1] * 9, {"0": 8}, "8", [8.0], [True], [-8], [[8]], [None]])
def test_a_shape_that_is_none_is_refused(tiny_model: Path, shape: object) -> None:
    change(tiny_model, lambda header: header["stem.bias"].update(shape=shape))
    refused(tiny_model, "not a readable safetensors file")


def test_tensors_of_whole_numbers_are_refused(tiny_model: Path) -> None:
    change_tensors(tiny_model, lambda t: t.update({"stem.bias": torch.zeros(8).long()}))
    refused(tiny_model, "stem.bias is of I64, not of torch.float32", by_inspect=False)


def test_too_many_tensors_are_refused(tiny_model: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    change(tiny_model, lambda header: header.update({f"{i:x}": entry for i in range(10_001)}))
    refused(tiny_model, "tensors are over the limit of 10,000")


def test_a_gap_between_tensors_is_refused(tiny_model: Path) -> None:
    header, body = parts(tiny_model)
    for entry in header.values():
        if "data_offsets" in entry:
            entry["data_offsets"] = [offset + 4 for offset in entry["data_offsets"]]
    put_together(tiny_model, header, bytes(4) + body)
    refused(tiny_model, "tensors that overlap or leave gaps")


def test_a_missing_tensor_is_refused(tiny_model: Path) -> None:
    change_tensors(tiny_model, lambda tensors: tensors.pop("stem.bias"))
    refused(tiny_model, "1 tensors missing, the first stem.bias", by_inspect=False)


def test_missing_source_statistics_are_refused(tiny_model: Path) -> None:
    change_tensors(tiny_model, lambda tensors: tensors.pop("source.std"))
    refused(tiny_model, "1 tensors missing, the first source.std", by_inspect=False)


def test_lower_triangular_matrices_of_earlier_files_are_read(tmp_path: Path) -> None:
    """They were stored with their zeros."""
    f = build(IGNConfig(8, 3, stem=8, widths=(8,), bottleneck=8, blocks=2, source="mixture"))
    whole = torch.rand(32, 128, 128).tril()
    path = tmp_path / "earlier.safetensors"
    model_file.save(f, ModelInfo(name="earlier", config=asdict(f.config)), path)
    change_tensors(path, lambda tensors: tensors.update({"source.factors": whole}))
    source = pretrained.load(path).source
    assert torch.equal(source.get_buffer("factors")[:, -128:], whole[:, -1])
    change_tensors(
        path, lambda tensors: tensors.update({"source.factors": whole[:, :5].contiguous()})
    )
    refused(path, r"source.factors has shape \[32, 5, 128\]", by_inspect=False)


def test_an_extra_tensor_is_refused(tiny_model: Path) -> None:
    change_tensors(tiny_model, lambda tensors: tensors.update(extra=torch.zeros(2)))
    refused(tiny_model, "1 tensors too many, the first 'extra'", by_inspect=False)


def test_a_tensor_of_another_shape_is_refused(tiny_model: Path) -> None:
    change_tensors(tiny_model, lambda t: t.update({"stem.bias": torch.zeros(4)}))
    refused(tiny_model, r"stem.bias has shape \[4\], not \[8\]", by_inspect=False)


def test_a_tensor_of_the_same_size_and_another_shape_is_refused(tiny_model: Path) -> None:
    change_tensors(tiny_model, lambda t: t.update({"stem.bias": torch.zeros(2, 4)}))
    refused(tiny_model, r"stem.bias has shape \[2, 4\], not \[8\]", by_inspect=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(tiny_model: Path, value: float) -> None:
    change_tensors(tiny_model, lambda tensors: tensors["last.bias"].fill_(value))
    refused(tiny_model, "last.bias holds values that are not finite", by_inspect=False)


# --- Names of models ---


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_f: IGN) -> Path:
    """A folder of bundled models: faces and mnist, and a file that is no model."""
    folder = tmp_path / "shelf"
    for name in ("faces", "mnist"):
        model_file.save(
            tiny_f, ModelInfo(name, asdict(tiny_f.config)), folder / f"{name}.safetensors"
        )
    safetensors.torch.save_file({"a": torch.zeros(3)}, folder / "judge.safetensors")
    monkeypatch.setattr(model_file, "bundled_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_bundled_models_are_listed_without_other_files(shelf: Path) -> None:
    names = ("faces", "mnist")
    assert model_file.bundled() == {name: shelf / f"{name}.safetensors" for name in names}


def test_a_bundled_name_is_found(shelf: Path) -> None:
    assert model_file.resolve("mnist") == shelf / "mnist.safetensors"
    assert model_file.resolve(model_file.DEFAULT_MODEL) == shelf / "faces.safetensors"


def test_a_file_is_taken_by_its_path(tiny_model: Path) -> None:
    assert model_file.resolve(str(tiny_model)) == tiny_model


def test_a_path_below_home_is_found(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    assert model_file.resolve(f"~/{tiny_model.name}") == tiny_model


def test_of_a_folder_the_model_is_taken_and_no_checkpoint(tiny_model: Path) -> None:
    folder = tiny_model.parent
    safetensors.torch.save_file({"a": torch.zeros(3)}, folder / "checkpoint.safetensors")
    assert model_file.resolve(str(folder)) == tiny_model
    (folder / "a.safetensors").write_bytes(tiny_model.read_bytes())
    tiny_model.rename(folder / "model.safetensors")
    assert model_file.resolve(str(folder)) == folder / "model.safetensors"


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="this folder holds no model"):
        model_file.resolve(str(tmp_path))
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="this folder holds no model"):
        model_file.resolve(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "minst", "", "none.safetensors", "some/where/deep", "/owner/name", "./name", "../name",
        "owner/name.safetensors", "owner/", "/",
    ],
)  # fmt: skip
def test_an_unknown_name_says_what_there_is(
    shelf: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(name: str) -> Path:
        raise AssertionError(f"asked the hub for {name}")

    monkeypatch.setattr("make_it_real.weights.hub.fetch", no_network)
    # "" and "/" are folders; neither holds a model that has been asked for.
    empty = shelf.parent / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(WeightsError, match=r"bundled models are faces, mnist|holds no model"):
        model_file.resolve(name)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/model", "x" * 5000])
def test_a_name_that_no_file_can_have_is_a_weights_error(name: str) -> None:
    with pytest.raises(WeightsError, match="no model"):
        model_file.resolve(name)


@pytest.mark.parametrize("name", ["owner/name", "owner/name@v1.0", "owner/na--me"])
def test_a_name_of_the_hubs_form_is_asked_for_there(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[str] = []

    def fetch(name: str) -> Path:
        asked.append(name)
        return Path("/cache/model.safetensors")

    monkeypatch.setattr("make_it_real.weights.hub.fetch", fetch)
    assert model_file.resolve(name) == Path("/cache/model.safetensors")
    assert asked == [name]


def test_offline_the_hub_gives_an_error_of_one_line(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(shelf.parent / "cache"))
    with pytest.raises(WeightsError, match="owner/name") as caught:
        model_file.resolve("owner/name")
    assert "\n" not in str(caught.value)


def test_what_no_hub_can_have_is_refused_unasked() -> None:
    with pytest.raises(WeightsError, match="is no model on a hub"):
        model_file.resolve("a b/c d")


def test_a_bundled_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_file.resolve("mnist") == model_file.bundled()["mnist"]
    with pytest.raises(WeightsError, match="holds no model"):
        model_file.resolve("./mnist")
