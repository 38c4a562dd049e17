"""Mutated weights files: each loads or is a WeightsError of one line, fast and in little memory."""

import json
import resource
import struct
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from make_it_real.errors import MirError
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGNConfig
from make_it_real.weights import model_file, pretrained

CONFIG = IGNConfig(image_size=8, channels=1, stem=8, widths=(8, 16), bottleneck=8, blocks=2)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, "F32", "F16", "I64", [], {}]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("fuzz") / "f.safetensors"
    model_file.save(build(CONFIG), model_file.ModelInfo("tiny", asdict(CONFIG)), path)
    return path, path.read_bytes()


def opened(path: Path, raw: bytes) -> None:
    """Load it or be told why not: in a line, under 1 s and 200 MB."""
    path.write_bytes(raw)
    before, start = peak(), time.monotonic()
    for read in (model_file.inspect, pretrained.load):
        said = ""
        try:
            read(path)
        except MirError as error:
            said = str(error)
        assert "\n" not in said
        assert len(said) < 1_000
    assert time.monotonic() - start < 1
    assert peak() - before < 200 * 2**20


def peak() -> int:
    """The most memory that this process has held, in bytes (of Linux's KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def taken_apart(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def put_together(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


fuzzed = settings(
    max_examples=120, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@fuzzed
@given(data=st.data())
def test_changed_bytes(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    path, original = whole
    raw = bytearray(original)
    # Half of the changes go where they hurt: the length and the JSON.
    end = data.draw(st.sampled_from([8, 400, len(taken_apart(original)[0]) * 80, len(raw)]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(end, len(raw)) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    opened(path, bytes(raw))


@fuzzed
@given(data=st.data())
def test_changed_headers(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    path, original = whole
    header, body = taken_apart(original)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([n for n in header if n != "__metadata__"]))
        if not isinstance(header[name], dict) or data.draw(st.integers(0, 3)) == 0:
            header[name] = data.draw(JSON)
        else:
            key = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "more"]))
            header[name][key] = data.draw(JSON | st.lists(st.integers(), max_size=5))
    opened(path, put_together(header, body))


@fuzzed
@given(data=st.data())
def test_changed_configs(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    path, original = whole
    header, body = taken_apart(original)
    mir = json.loads(header["__metadata__"]["mir"])
    target = mir["config"] if data.draw(st.booleans()) else mir
    large = st.sampled_from([8, 16, 2**20, 2**31, 2**62, 10**30, [2**20] * 9, [8] * 500])
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=6))
        target[key] = data.draw(JSON | large)
    header["__metadata__"]["mir"] = json.dumps(mir)
    opened(path, put_together(header, body))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 900_000, '{"a":' * 150_000, '{"a": ' + "9" * 900_000 + "}",
        '{"__metadata__": {"mir": "' + "[" * 900_000 + '"}}', '"' + "x" * 900_000 + '"',
        "{" + ",".join(f'"{i:x}":{{}}' for i in range(80_000)) + "}",
    ],
    ids=["arrays", "objects", "digits", "inner", "text", "names"],
)  # fmt: skip
def test_headers_made_to_hurt(whole: tuple[Path, bytes], text: str) -> None:
    opened(whole[0], struct.pack("<Q", len(text)) + text.encode())


@pytest.mark.parametrize("promised", [2**63, 2**64 - 1, 10**9, 999_999])
def test_lengths_that_are_not_there(whole: tuple[Path, bytes], promised: int) -> None:
    opened(whole[0], struct.pack("<Q", promised) + b"{}" + bytes(100))


def test_a_large_empty_file_is_not_read(whole: tuple[Path, bytes], tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2) + b"{}")
        file.truncate(50 * 2**30)
    start = time.monotonic()
    with pytest.raises(MirError, match="bytes where its header promises"):
        pretrained.load(path)
    assert time.monotonic() - start < 1
