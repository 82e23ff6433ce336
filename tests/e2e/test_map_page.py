"""The map page in a real browser, on a real service: as a reader uses it, and nothing leaves the host.

Screenshots of what was seen go to CI_ARTIFACTS, or tests/artifacts.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from rasterio.io import MemoryFile

from service.bundle import read_bundle, write_bundle
from service.bundles import DEFAULT, bundle_path
from tests.e2e.conftest import Serve, Served

ARTIFACTS = Path(os.environ.get("CI_ARTIFACTS") or Path(__file__).parents[1] / "artifacts")
CHROMIUM = shutil.which("chromium")
WITHOUT_GPU = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
BEIJING = "#map=3/39.9/116.4"
PATIENCE_MS = 60_000
MINUS = "\N{MINUS SIGN}"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # screenshots are on no map
]


@dataclass
class Opened:
    """A page, and what it did that it should not have done."""

    page: Page
    host: str
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("request", self._on_request)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.host + "/", "data:", "blob:")):
            self.complaints.append(f"left the host: {request.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text}")

    def settle(self, panes: int = 1) -> None:
        """Until every map shows all of what was asked of it."""
        expect(self.page.locator(".pane[aria-busy=false]")).to_have_count(panes)
        self.page.wait_for_load_state("networkidle")

    def seen(self, name: str) -> NDArray[np.uint8]:
        """The pixels of a part of the map without marker, legend or buttons, (3, H, W); the whole is kept."""
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")
        with MemoryFile(self.page.screenshot(clip={"x": 320, "y": 60, "width": 300, "height": 400})) as file:
            return file.open().read([1, 2, 3])

    @property
    def value(self) -> str:
        return self.page.locator(".readout strong").inner_text()

    def click_centre(self) -> None:
        self.page.locator(".maplibregl-canvas").click()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_GPU)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, **context: object) -> Iterator[Opened]:
    """A page of a reader without history. It may have complained of nothing in the end."""
    reader = browser.new_context(**({"viewport": DESKTOP, "accept_downloads": True} | context))  # type: ignore[arg-type]
    reader.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    it = Opened(reader.new_page(), re.match(r"https?://[^/]+", url)[0])  # type: ignore[index]
    it.watch()
    it.page.goto(url)
    yield it
    reader.close()
    assert it.complaints == []


def classification(served: Served) -> str:
    heads = httpx.get(served.url + "/v1/heads").json()["data"]
    return next(head["id"] for head in heads if head["task"] == "classification" and "land" in head["id"])


def test_beijing_similarity_land_cover_and_a_shared_link(browser: Browser, served: Served) -> None:
    with opened(browser, f"{served.url}/{BEIJING}") as it:
        it.settle()
        colours = it.seen("1-embeddings")

        it.click_centre()
        expect(it.page.locator(".readout strong")).to_have_text("1.00")
        it.settle()
        similarity = it.seen("2-similarity")
        assert not np.array_equal(colours, similarity)
        expect(it.page.locator("#places li")).to_have_text(re.compile(r"39\.9° N, 116\.4° E"))
        expect(it.page.locator("#places .worth")).to_have_text(re.compile("^On land"))

        it.page.mouse.move(500, 200)
        expect(it.page.locator(".readout strong")).to_have_text(re.compile(rf"^{MINUS}?0\.\d\d$"))

        it.page.locator(f"input[value='predictions/{classification(served)}']").check()
        it.settle()
        expect(it.page.locator(".legend li").first).to_be_visible()
        it.page.mouse.move(500, 200)
        expect(it.page.locator(".readout strong")).to_have_text(re.compile(r"^\w"))
        expect(it.page.locator(".legend li.here")).to_have_text(it.value)
        it.page.mouse.move(20, 790)
        cover = it.seen("3-land-cover")
        assert not np.array_equal(similarity, cover)
        link = it.page.url

        it.page.go_back()
        it.settle()
        assert np.array_equal(it.seen("4-back"), similarity)

    with opened(browser, link) as shared:
        shared.settle()
        assert np.array_equal(shared.seen("5-shared"), cover)
        assert shared.page.url == link
        expect(shared.page.locator("input[name=layer]:checked")).to_have_value(f"predictions/{classification(served)}")


def test_the_value_under_the_cursor_is_the_one_of_the_api(browser: Browser, served: Served) -> None:
    with opened(browser, f"{served.url}/{BEIJING}&reference=116.4,39.9&negative=2,48") as it:
        it.settle()
        with it.page.expect_response(re.compile("/point/")) as answered:
            it.page.mouse.move(600, 500)
        value = f"{answered.value.json()['value']:.2f}".replace("-", MINUS)
        expect(it.page.locator(".readout strong")).to_have_text(value)


def test_shift_click_and_the_ways_without_a_mouse(browser: Browser, served: Served) -> None:
    with opened(browser, f"{served.url}/{BEIJING}&reference=116.4,39.9") as it:
        it.settle()
        it.page.locator(".maplibregl-canvas").click(modifiers=["Shift"], position={"x": 200, "y": 200})
        expect(it.page.locator("#places li")).to_have_count(2)
        expect(it.page.get_by_role("button", name=re.compile("^Unlike "))).to_have_count(1)
        it.settle()
        it.seen("6-unlike")

        it.page.get_by_role("radio", name="adds").check(force=True)
        it.page.locator(".maplibregl-canvas").click(position={"x": 300, "y": 500})
        expect(it.page.locator("#places li")).to_have_count(3)
        it.page.get_by_role("radio", name="reads").check(force=True)
        it.page.locator(".maplibregl-canvas").click(position={"x": 400, "y": 500})
        expect(it.page.locator("#places li")).to_have_count(3)
        it.page.get_by_role("button", name=re.compile("^Remove ")).first.click()
        expect(it.page.locator("#places li")).to_have_count(2)


def test_by_keys_alone(browser: Browser, served: Served) -> None:
    with opened(browser, f"{served.url}/{BEIJING}") as it:
        it.settle()
        it.page.keyboard.press("Tab")
        expect(it.page.get_by_role("link", name="Skip to the map")).to_be_focused()
        it.page.keyboard.press("Enter")
        expect(it.page.locator(".maplibregl-canvas")).to_be_focused()
        expect(it.page.locator(".crosshair")).to_be_visible()
        it.page.keyboard.press("Enter")
        expect(it.page.locator("#places li")).to_have_text(re.compile("39.9° N, 116.4° E"))
        expect(it.page.locator(".readout strong")).to_have_text("1.00")
        expect(it.page.locator("#news")).to_have_text("Reference: 39.9° N, 116.4° E.")

        it.page.get_by_label("Place", exact=True).fill("95, 100")
        it.page.keyboard.press("Enter")
        expect(it.page.locator("#place-problem")).to_contain_text("latitude of 100")
        it.page.get_by_label("Place", exact=True).fill("48.9 N, 2.4 E")
        it.page.keyboard.press("Enter")
        expect(it.page.locator("#places li")).to_have_text(re.compile("48.9° N, 2.4° E"))
        it.settle()
        it.seen("7-by-keys")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, served: Served, scheme: str) -> None:
    url = f"{served.url}/#map=1/20/100&reference=116.4,39.9"
    with opened(browser, url, viewport=PHONE, color_scheme=scheme, has_touch=True) as it:
        it.settle()
        it.page.screenshot(path=ARTIFACTS / f"8-phone-{scheme}.png")
        assert it.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert it.page.evaluate("document.querySelector('#panel').scrollWidth") == PHONE["width"]
        it.page.locator(".maplibregl-canvas").tap(position={"x": 100, "y": 100})
        expect(it.page.locator("#places li")).not_to_have_text(re.compile("39.9° N"))


@pytest.mark.parametrize(("button", "beginning"), [("GeoTIFF", b"II*\0"), ("PNG", b"\x89PNG")])
def test_what_is_shown_can_be_kept(browser: Browser, served: Served, button: str, beginning: bytes) -> None:
    with opened(browser, f"{served.url}/#map=2/0/180&reference=178,-18") as it:
        it.settle()
        with it.page.expect_download() as download:
            it.page.get_by_role("button", name=button).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(beginning)
        if button == "GeoTIFF":
            with MemoryFile(content) as file, file.open() as raster:
                assert raster.crs.to_epsg() == 4326
                assert raster.bounds.left < 180 < raster.bounds.right or raster.bounds.left < -180
                assert np.nanmax(raster.read(1)) == pytest.approx(1, abs=1e-3)


def test_a_link_to_what_is_not_there_is_explained(browser: Browser, served: Served) -> None:
    with opened(browser, f"{served.url}/#layer=predictions/nothing") as it:
        expect(it.page.locator(".message")).to_contain_text("has no head 'nothing'")
        expect(it.page.locator(".pane[aria-busy=false]")).to_have_count(1)
        assert len(it.complaints) == 1  # the browser's own line about a 404
        assert "404" in it.complaints.pop()


@pytest.fixture
def both(serve: Serve, tmp_path: Path) -> Iterator[Served]:
    """The default model, and another with the same heads: its first dimension is turned round, its card is its own."""
    bundle = read_bundle(bundle_path(DEFAULT))
    paths = (path for path in bundle.path.rglob("*") if path.name not in ("card.json", "manifest.json"))
    files = {path.relative_to(bundle.path).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    card = bundle.card.model_copy(update={"name": "other", "limits": "Knows nothing of the sea.", "raster": None})
    encoder = onnx.load_model_from_string(files[card.encoder])
    turned = onnx.helper.make_node("Neg", ["straight"], ["embedding"])
    for node in encoder.graph.node:
        node.output[:] = ["straight" if name == "embedding" else name for name in node.output]
    encoder.graph.node.append(turned)
    write_bundle(tmp_path / "other", card, files | {card.encoder: encoder.SerializeToString()})
    with serve(SATCLE_BUNDLES=f"{bundle.path},{tmp_path / 'other'}") as served:
        yield served


def test_two_models_side_by_side(browser: Browser, both: Served) -> None:
    with opened(browser, f"{both.url}/{BEIJING}&reference=116.4,39.9") as it:
        it.settle()
        it.page.get_by_label("Beside it").select_option("other")
        it.settle(panes=2)
        it.page.mouse.move(500, 300)
        it.page.mouse.wheel(0, -240)
        it.settle(panes=2)
        it.seen("9-compared")
        zooms = re.findall(r"map=([\d.]+)/", it.page.url)
        assert float(zooms[0]) > 3
        one, other = (it.page.locator(".maplibregl-ctrl-scale").nth(index).inner_text() for index in (0, 1))
        assert one == other


def test_each_side_has_its_model_and_layer_and_is_compared_in_view(browser: Browser, both: Served) -> None:
    with opened(browser, f"{both.url}/{BEIJING}&reference=116.4,39.9") as it:
        it.settle()
        expect(it.page.locator("#agreement")).to_be_empty()
        with it.page.expect_response(re.compile("/v1/compare")) as answered:
            it.page.get_by_label("Beside it").select_option("other")
        (pair,) = answered.value.json()["pairs"]
        assert pair["models"] == [DEFAULT, "other"]
        assert pair["cka"] == pytest.approx(1)  # to turn an embedding round changes neither figure
        assert pair["neighbour_agreement"] == 1
        expect(it.page.locator("#agreement")).to_have_text(
            "At 256 places in view: CKA 1.00; of the 10 places most alike, 100 % are the same."
        )
        it.settle(panes=2)

        with it.page.expect_request(re.compile("/v1/predictions/elevation/tiles/.*model=other")):
            it.page.get_by_label("Its layer").select_option("predictions/elevation")
        it.settle(panes=2)
        first, second = it.page.locator(".pane").all()
        expect(first.locator("h2")).to_have_text("Similarity")
        expect(second.locator("h2")).to_have_text("Elevation (m)")
        it.seen("10-each-its-layer")

        with it.page.expect_response(re.compile("/v1/compare")):  # of what is in view now
            it.page.locator(".maplibregl-ctrl-zoom-in").first.click()
        it.settle(panes=2)
        link = it.page.url

        it.page.get_by_text("Limits of the model").click()
        expect(it.page.locator("#limits dd").nth(1)).to_have_text("Knows nothing of the sea.")
        expect(it.page.locator("#limits dd").first).to_contain_text("Trained on land")
        it.page.get_by_label("Shown", exact=True).select_option("other")
        expect(it.page.locator("#agreement")).to_be_empty()  # a model is not compared with itself
        it.settle(panes=2)

    with opened(browser, link) as shared:
        shared.settle(panes=2)
        expect(shared.page.locator(".pane").nth(1).locator("h2")).to_have_text("Elevation (m)")
        assert "compare-layer=predictions/elevation" in shared.page.url


def test_a_key_is_asked_for_and_kept_for_the_tab(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-good-key\n")
    with serve(SATCLE_API_KEYS_FILE=str(keys)) as served, opened(browser, f"{served.url}/{BEIJING}") as it:
        it.page.get_by_role("textbox", name="API key").fill("a-wrong-key")
        it.page.get_by_role("button", name="Use this key").click()
        expect(it.page.locator("#key-problem")).to_have_text("The API key is wrong.")
        it.page.get_by_role("textbox", name="API key").fill("a-good-key")
        it.page.get_by_role("button", name="Use this key").click()
        it.settle()
        it.click_centre()
        expect(it.page.locator(".readout strong")).to_have_text("1.00")
        it.settle()
        assert {"401" in complaint for complaint in it.complaints} <= {True}
        it.complaints.clear()
