"""The page of `jitprop serve` in a real browser: Chromium without a window, driven by Playwright.

`SCREENSHOTS=docs/images` keeps the pictures there.
"""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser is driven by playwright")
pytest.importorskip("starlette", reason="the page needs the extra web")
pytest.importorskip("uvicorn", reason="the page needs the extra web")
pytest.importorskip("PIL", reason="the page needs the extra web")

from PIL import Image, ImageDraw
from playwright import sync_api as sync

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
LONG = 120_000  # milliseconds: kernels may have to be compiled
STROKES = [[(70, 70), (130, 66), (205, 72), (160, 140), (125, 225)]]  # a seven, of 280 x 280

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-m", "jitprop", "serve", "--no-browser"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip()
    assert process.poll() is None  # whatever the page has asked for
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def chromium():
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, address, request):
    """A page at a width and in a colour scheme; nothing it did may be wrong in the end."""
    width, height, scheme = request.param
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        has_touch=width < 500,
        reduced_motion="reduce",
    )
    page = context.new_page()
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if said.type != "info" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: wrong.append(asked.url) if is_elsewhere(asked.url) else None)
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=LONG)
    yield page
    narrow = page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert narrow  # it does not scroll sideways
    assert wrong == []


def is_elsewhere(url):
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def draw(page, strokes):
    """Draw with the mouse."""
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    scale = box["width"] / 280
    for first, *others in strokes:
        page.mouse.move(box["x"] + scale * first[0], box["y"] + scale * first[1])
        page.mouse.down()
        for x, y in others:
            page.mouse.move(box["x"] + scale * x, box["y"] + scale * y, steps=6)
        page.mouse.up()


def says(page, pattern):
    sync.expect(page.locator("#said")).to_have_text(re.compile(pattern), timeout=LONG)


def shares(page):
    """The probabilities as they stand there: "<0.1%", "98.3%"."""
    found = page.locator(".answer .share").all_inner_texts()
    return [float(text.removeprefix("<").removesuffix("%")) for text in found]


def keep(page, name, tmp_path):
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    width = page.viewport_size["width"]
    path = folder / f"serve-{name}{'' if width > 500 else '-phone'}.png"
    top = "() => document.querySelector('%s').scrollIntoView()"
    page.evaluate(top % ("header" if width > 500 else "#panels"))
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    assert len(picture.getcolors(2**24)) > 50  # not blank
    picture.quantize(128).save(path, optimize=True)


SIZES = [(1200, 860, "light"), (390, 844, "dark")]


@pytest.mark.parametrize("opened", SIZES, indirect=True, ids=["1200", "390"])
def test_all_parts(opened, tmp_path):
    page, expect = opened, sync.expect
    draw(page, STROKES)
    says(page, "It says 7")
    assert shares(page)[7] > 90
    assert sum(shares(page)) == pytest.approx(100, abs=1.5)
    grid = page.locator("#panel-draw canvas.grid").nth(1)
    grid.scroll_into_view_if_needed()
    grid.hover(position={"x": 60, "y": 50})
    expect(page.locator("#tip")).to_have_text(re.compile(r"unit \d+: y = "))
    expect(page.locator(".detail .sum")).to_have_text(re.compile(r"w·x \+ b = .*\+ b= "))
    keep(page, "draw", tmp_path)

    page.locator("input[name=target][value='2']").check()
    page.locator("#tab-backwards").click()
    expect(page.locator("#loss")).to_have_text(re.compile(r"E = \d+"))
    for line in ("kernels.matmul_tn(x, dy, self.dw)", "kernels.matmul_nt(dy, self.w, dx)"):
        expect(page.locator(".line code", has_text=line).first).to_be_visible()
    overlay = page.locator("#panel-backwards canvas.grid").last
    overlay.scroll_into_view_if_needed()
    overlay.hover(position={"x": 110, "y": 90})
    sums = page.locator("#panel-backwards .sum", has_text="of the pixel")
    expect(sums).to_have_text(re.compile(r"dE/dx of the pixel \d+ = .* = "))
    keep(page, "backwards", tmp_path)

    page.locator("#tab-teach").click()
    page.locator("#teach").click()
    says(page, "taught 1 time")
    assert shares(page)[2] > 0.1
    page.locator("#teach10").click()
    says(page, "It says 2.*taught 11 times")
    keep(page, "teach", tmp_path)
    page.locator("input[name=target][value='5']").check()  # 2 is learned, its gradient is 0
    page.locator("#rate").fill("3")
    page.locator("#teach").click()
    expect(page.locator(".notice")).to_have_text(re.compile("It broke"))
    page.locator("#forget").click()
    says(page, r"It says 7, with [\d.]+%\.$")

    page.locator("#tab-check").click()
    page.locator("#check").click()
    expect(page.locator("#verdict")).to_have_text(re.compile("✓"), timeout=LONG)
    keep(page, "check", tmp_path)
    page.locator("#plant").click()
    page.locator("#all").click()
    differ = re.compile(r"[1-9]\d* of 19 differ")
    expect(page.locator("#summary")).to_have_text(differ, timeout=LONG)
    right = []
    for place in range(page.locator("#guesses button").count()):
        with page.expect_response("**/api/guess") as answer:
            page.locator("#guesses button").nth(place).click()
        right.append(answer.value.json()["right"])
        said = "Found" if right[-1] else "No, that one is right"
        expect(page.locator("#panel-check .notice")).to_have_text(re.compile(said))
    assert (right.count(True), len(right)) == (1, 11)

    page.locator("#tab-train").click()
    page.locator("#both").click()
    for name in "AB":
        line = page.locator(f"#{name}-line")
        expect(line).to_have_text(re.compile("Training: epoch [2-5]|Done"), timeout=LONG)
    keep(page, "train", tmp_path)
    for name in "AB":
        button, line = page.locator(f"#{name}-stop"), page.locator(f"#{name}-line")
        if button.inner_text() == "Stop":
            button.click()
        expect(line).to_have_text(re.compile("Stopped|Done"), timeout=LONG)


@pytest.mark.parametrize("opened", SIZES[:1], indirect=True, ids=["1200"])
def test_by_keyboard(opened):
    page = opened
    page.locator("#tab-draw").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-backwards").get_attribute("aria-selected") == "true"
    page.keyboard.press("Home")
    page.locator("#canvas").focus()
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    for _ in range(18):
        page.keyboard.press("Shift+ArrowDown")
    says(page, "It says 1")
    page.locator("#panel-draw canvas.grid").nth(1).focus()
    page.keyboard.press("ArrowRight")
    sync.expect(page.locator("#tip")).to_have_text(re.compile("unit 0: y = "))
    page.locator("#clear").focus()
    page.keyboard.press("Enter")
    says(page, "Draw a digit")


@pytest.mark.parametrize("opened", SIZES[1:], indirect=True, ids=["390"])
def test_touch_a_picture_and_a_closed_tab(opened, address, tmp_path):
    page, file = opened, tmp_path / "one.png"
    page.locator("#canvas").tap(position={"x": 150, "y": 100})
    says(page, "It says")
    picture = Image.new("L", (300, 400), 240)
    ImageDraw.Draw(picture).line((150, 80, 150, 320), 20, 30)
    picture.save(file)
    page.locator("#file").set_input_files(file)
    says(page, "It says 1")
    page.locator("#example").click()
    page.locator("#tab-train").click()
    page.locator("#A-start").click()
    sync.expect(page.locator("#A-line")).to_have_text(re.compile("Training: "), timeout=LONG)
    again = page.context.new_page()
    again.goto(f"{address}#train")
    sync.expect(again.locator("#A-line")).to_have_text(re.compile("Training: |Done"), timeout=LONG)
    if again.locator("#A-stop").inner_text() == "Stop":
        again.locator("#A-stop").click()
    sync.expect(again.locator("#A-line")).to_have_text(re.compile("Stopped|Done"), timeout=LONG)
    again.close()
