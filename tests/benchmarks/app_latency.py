"""How fast ``mir app`` follows the pen: python tests/benchmarks/app_latency.py

For digits and faces: milliseconds of a request without server and browser, on the clock and of the
processor; then in Chromium, with a server of its own, the time from a move of the pen to the result
that it makes, one move after the other, and the results a second of a pen that does not wait. The
medians are printed, and 95th percentiles. Nothing is asserted. Needs Playwright and Chromium.
"""

import argparse
import base64
import io
import math
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from make_it_real.app.fields import Fields
from make_it_real.app.models import Models
from make_it_real.app.real import make_real

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIDE, PEN = 448, 26
# A pen that does not wait moves so many times, in so many seconds.
MOVES, SECONDS = 100, 5.0
# When the pen moved, and when the result was there; ``seen`` gives the milliseconds between.
WATCH = """() => {
  const picture = document.querySelector("#real .outcome .picture");
  const watch = window.watch = { answers: 0, seen: null };
  document.querySelector("#real .ink").addEventListener("pointermove", event => {
    watch.moved = event.timeStamp; watch.seen = null;
  }, true);
  new MutationObserver(async () => {
    watch.answers += 1;
    await picture.querySelector("img").decode();
    watch.seen ??= performance.now() - watch.moved;
  }).observe(picture, { subtree: true, childList: true, attributeFilter: ["src"] });
}"""
IDLE = "#real .outcome[aria-busy=false]"


def points(n: int) -> list[tuple[float, float]]:
    """Points of a drawn 3, as shares of the sheet."""
    line = []
    for i in range(n):
        t = 2 * i / n
        angle, middle, radius = (t % 1) * 1.2 * math.pi - 0.1 * math.pi, 0.32, 0.15
        if t >= 1:
            middle, radius = 0.65, 0.19
        line.append((0.45 + radius * math.sin(angle), middle - radius * math.cos(angle)))
    return line


def sheet(n: int) -> str:
    """The sheet after n of 40 moves, in base64."""
    image = Image.new("RGBA", (SIDE, SIDE), "white")
    line = [(SIDE * x, SIDE * y) for x, y in points(40)[:n]]
    ImageDraw.Draw(image).line(line, "#111", PEN, "curve")
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()


def said(values: list[float]) -> str:
    """The median and the 95th percentile, in words."""
    ranked = sorted(values)
    return f"{statistics.median(ranked):.0f} / {ranked[int(0.95 * (len(ranked) - 1))]:.0f} ms"


def requests(models: Models, model: str) -> tuple[list[float], list[float]]:
    """Time requests: (milliseconds on the clock, of the processor)."""
    clock, processor = [], []
    for n in [2, *range(2, 41)]:
        fields = Fields({"picture": sheet(n), "drawn": True, "model": model})
        starts = time.perf_counter(), time.process_time()
        make_real(models, fields)
        clock.append(1000 * (time.perf_counter() - starts[0]))
        processor.append(1000 * (time.process_time() - starts[1]))
    # The first one loads the model.
    return clock[1:], processor[1:]


def draw(page: "Page", model: str, n: int) -> tuple[list[float], float]:
    """Draw with n moves: (milliseconds from each to its result, results a second without waits)."""
    page.click(f"#real [data-value={model}]")
    page.evaluate(WATCH)
    box = page.locator("#real .ink").bounding_box()
    assert box is not None

    def move(x: float, y: float) -> None:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    move(*points(n)[0])
    page.mouse.down()
    waits = []
    # The first result loads the model.
    for i, place in enumerate(points(n + 2)[1:]):
        page.wait_for_selector(IDLE)
        move(*place)
        page.wait_for_function("() => watch.seen !== null")
        if i:
            waits.append(float(page.evaluate("watch.seen")))
    page.wait_for_selector(IDLE)
    page.mouse.up()
    page.click("#real .clear")
    move(*points(MOVES)[0])
    page.mouse.down()
    page.wait_for_selector(IDLE)
    before, start = page.evaluate("watch.answers"), time.perf_counter()
    for i, place in enumerate(points(MOVES)):
        time.sleep(max(0.0, start + i * SECONDS / MOVES - time.perf_counter()))
        move(*place)
    rate = (page.evaluate("watch.answers") - before) / (time.perf_counter() - start)
    page.mouse.up()
    return waits, rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strokes", type=int, default=100, help="moves of the pen for each model")
    parser.add_argument("--models", nargs="+", default=["mnist", "faces"], help="names of models")
    given = parser.parse_args()
    models = Models("auto", "cpu", lambda: None)
    for model in given.models:
        clock, processor = requests(models, model)
        print(f"{model}: request {said(clock)}, processor {said(processor)}", flush=True)

    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "make_it_real", "app", "--no-browser", "--port", "0"]
    server = subprocess.Popen([*command, "-d", "cpu"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for model in given.models:
                page = browser.new_page()
                page.goto(address)
                page.wait_for_selector("body[data-ready]")
                waits, rate = draw(page, model, given.strokes)
                print(f"{model}: move to result {said(waits)}, {rate:.1f} results a second")
                page.close()
            browser.close()
    finally:
        server.kill()
        server.communicate()


if __name__ == "__main__":
    main()
