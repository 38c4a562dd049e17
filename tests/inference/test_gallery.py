"""The HTML gallery: one file, no network, what it is given and nothing that escapes."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from make_it_real.errors import ImageError
from make_it_real.images import encode
from make_it_real.inference.gallery import MAX_SIDE, Gallery, changed_part


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all were closed."""

    VOID = frozenset(("img", "meta", "input", "br", "wbr"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def grey(value: float, size: int = 8) -> torch.Tensor:
    return torch.full((1, size, size), value)


def pixels(uri: str | None) -> Image.Image:
    assert uri is not None
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_page_holds_its_images_and_asks_for_nothing_else() -> None:
    page = Gallery("Digits", score="drift", about="of two")
    page.add("a.png", grey(1.0), grey(-1.0), score=0.25, figures={"rest": "exact", "since": 3})
    page.add("b.png", grey(0.0))
    tags = Tags(page.html())
    assert tags.open == []
    images = tags.all("img")
    assert [pixels(i["src"]).getpixel((0, 0)) for i in images] == [0, 255, 128]
    for _, attributes in tags.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "action", "data"):
                assert value is not None
                assert value.startswith("data:")
    assert not re.search(r"https?://|@import|url\(", page.html())
    assert any("default-src 'none'" in (m.get("content") or "") for m in tags.all("meta"))
    figures = tags.all("figure")
    assert [f["data-score"] for f in figures] == ["0.25", ""]
    # One slider for the pair, and the one for all.
    assert len(tags.all("input")) == 2


def test_names_and_figures_are_text_and_not_code() -> None:
    page = Gallery("<b>T</b>", score="<s>", about="&")
    name = '"><script>alert(1)</script>.png'
    page.add(name, grey(0.0), grey(0.0), score=1.0, figures={"<i>": "<u>"})
    html = page.html()
    tags = Tags(html)
    assert len(tags.all("script")) == 1
    assert tags.all("figure")[0]["data-name"] == name
    assert not {"b", "s", "u"} & {tag for tag, _ in tags.tags}
    assert "&lt;b&gt;T&lt;/b&gt;" in html


def test_files_and_bytes_are_shown_too_and_large_ones_smaller(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (900, 300), (255, 0, 0)).save(path)
    page = Gallery("Files")
    page.add("large", path, path.read_bytes())
    for image in Tags(page.html()).all("img"):
        shown = pixels(image["src"])
        assert shown.size == (MAX_SIDE, round(MAX_SIDE / 3))
        assert shown.getpixel((5, 5)) == pytest.approx((254, 0, 0), abs=3)


def changed(
    size: tuple[int, int], rows: slice, columns: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of three channels before and after a change to some rows and columns."""
    before = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) - 0.5
    after = before + 0.01
    after[:, rows, columns] += 0.6
    return before, after


def test_of_a_large_picture_the_part_that_changed_is_shown() -> None:
    before, after = changed((1000, 1600), slice(400, 500), slice(1200, 1300))
    found = changed_part(before, after)
    assert found is not None
    rows, columns = found
    assert 300 < rows.start <= 400 < 500 <= rows.stop < 600
    assert 1100 < columns.start <= 1200 < 1300 <= columns.stop < 1400
    page = Gallery("Photos")
    page.add("photo.jpg", after, before)
    for shown, whole in zip(Tags(page.html()).all("img"), (before, after), strict=True):
        part = encode.to_pillow(whole[:, rows, columns])
        assert pixels(shown["src"]).tobytes() == part.tobytes()
    assert f"{columns.stop - columns.start}×{rows.stop - rows.start} of 1600×1000" in page.html()


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((400, 500), slice(0, 20), slice(0, 20)), ((900, 900), slice(0, 0), slice(0, 0)),
        ((900, 900), slice(20, 880), slice(20, 880)),
    ],
    ids=["small", "unchanged", "nearly all"],
)  # fmt: skip
def test_all_is_shown_where_there_is_no_part_to_choose(
    size: tuple[int, int], rows: slice, columns: slice
) -> None:
    before, after = changed(size, rows, columns)
    assert changed_part(before, after) is None
    assert changed_part(before, after[:, :-1]) is None


def test_changes_at_the_edges_and_far_apart_are_all_in_the_part() -> None:
    before, after = changed((1200, 1200), slice(0, 5), slice(1195, 1200))
    after[:, 300, 800:900] -= 0.9
    rows, columns = changed_part(before, after) or (slice(0), slice(0))
    assert (rows.start, columns.stop) == (0, 1200)
    assert rows.stop > 300
    assert columns.start < 800


def test_a_large_photograph_links_to_its_files_beside_the_page(tmp_path: Path) -> None:
    for name, level in (("a #1.png", 0), ("out/a #1.png", 255)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (900, 600), level).save(tmp_path / name)
    before, after = tmp_path / "a #1.png", tmp_path / "out/a #1.png"
    page = Gallery("Photos", folder=tmp_path / "out")
    page.add("files", after, before)
    page.add("one of them", after, before.read_bytes())
    page.add("tensors", torch.zeros(1, 900, 900), torch.ones(1, 900, 900))
    page.add("one size each", after, torch.zeros(1, 900, 600))
    page.add("alone", after)
    html = page.html()
    files, *others = Tags(html).all("figure")
    assert (files["data-before"], files["data-after"]) == ("../a%20%231.png", "a%20%231.png")
    assert not any("data-after" in other for other in others)
    assert "img-src data: file: 'self';" in html
    assert "img-src data:;" in Gallery("None").html()


def test_a_link_says_where_the_part_that_changed_lies(tmp_path: Path) -> None:
    before, after = changed((1000, 1600), slice(400, 500), slice(1200, 1300))
    for name, image in (("a.png", before), ("b.png", after)):
        (tmp_path / name).write_bytes(encode.encode(image))
    page = Gallery("Photos", folder=tmp_path)
    page.add("photo", tmp_path / "b.png", tmp_path / "a.png")
    (figure,) = Tags(page.html()).all("figure")
    assert int(figure["data-x"] or 0) == pytest.approx(1250, abs=8)
    assert int(figure["data-y"] or 0) == pytest.approx(450, abs=8)


def test_a_name_breaks_behind_its_separators_alone() -> None:
    page = Gallery("Names")
    name = "2026/IMG_20260712-1<b>.png"
    page.add(name, grey(0.0))
    html = page.html()
    assert "2026/<wbr>IMG_<wbr>20260712-<wbr>1&lt;b&gt;.png</figcaption>" in html
    assert Tags(html).all("figcaption")[0]["title"] == name
    assert "anywhere" not in html


def test_a_click_or_a_key_enlarges_and_dark_mode_is_followed() -> None:
    page = Gallery("Digits")
    page.add("a", grey(0.0), grey(1.0))
    html = page.html()
    tags = Tags(html)
    assert len(tags.all("dialog")) == 1
    (pair,) = [a for a in tags.all("div") if "pair" in str(a.get("class"))]
    assert (pair["role"], pair["tabindex"]) == ("button", "0")
    assert "showModal()" in html
    assert "prefers-color-scheme: dark" in html


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    page = Gallery("None")
    (tmp_path / "x.png").write_bytes(b"text")
    for shown in (tmp_path / "x.png", tmp_path / "none.png", b"", torch.zeros(2, 1, 3, 3)):
        with pytest.raises(ImageError):
            page.add("x", shown)
    assert len(page) == 0


def test_a_page_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.html"
    Gallery("One").write(path)
    with pytest.raises(ImageError, match="overwrite"):
        Gallery("Two").write(path)
    Gallery("Two").write(path, overwrite=True)
    assert "<title>Two</title>" in path.read_text(encoding="utf-8")


def test_a_name_that_is_no_text_does_not_stop_the_page(tmp_path: Path) -> None:
    page = Gallery("Bytes")
    page.add("caf\udce9.png", grey(0.0))
    page.write(tmp_path / "x.html")
    assert "caf?.png" in (tmp_path / "x.html").read_text(encoding="utf-8")
