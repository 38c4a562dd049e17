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
from make_it_real.inference.gallery import MAX_SIDE, Gallery


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all were closed."""

    VOID = frozenset(("img", "meta", "input", "br"))

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
    assert head == "data:image/png;base64"
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
