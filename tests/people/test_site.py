"""The site, built and read as a reader does: every page, on a phone, in the dark, by keyboard."""

import re
import shutil
import subprocess
import sys
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup

import unlearnlib
from unlearnlib.lab import notebooks
from unlearnlib.lab.files import repository_root

pytest.importorskip("sphinx", reason="no Sphinx: pip install -e '.[site]'")

ROOT = repository_root()
PHONE, DESK = {"width": 380, "height": 800}, {"width": 1280, "height": 900}
CONTRAST = 4.5  # WCAG 2.2, level AA, for text
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
LOADED = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src"}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built site; a warning of the build is an error."""
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "site"]
    command += ["-d", str(folder.with_name("doctrees")), ".", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site):
    """Every page, parsed, by its path."""
    paths = sorted(site.rglob("*.html"))
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in paths}


def ours(pages):
    """The pages that a person wrote: not the search, and not the first page, which leads home."""
    search = "search.html"
    return {path: page for path, page in pages.items() if page.article and path.name != search}


# What is there


def test_every_notebook_and_document_is_a_page(site):
    expected = [path.relative_to(ROOT) for path in notebooks.all_in(ROOT / "notebooks")]
    expected += [path.relative_to(ROOT) for path in ROOT.glob("notebooks/solutions/[0-9]*.ipynb")]
    for pattern in ("*.md", "figures/*.md", "notebooks/*.md", "notebooks/coursework/**/*.md"):
        expected += [path.relative_to(ROOT) for path in ROOT.glob(pattern)]
    assert len(expected) > 20
    missing = [path for path in expected if not (site / path).with_suffix(".html").exists()]
    assert missing == []


def test_assignments_are_no_pages(site):
    assert list(ROOT.glob("notebooks/coursework/[0-9]*.ipynb"))
    assert list((site / "notebooks" / "coursework").glob("[0-9]*")) == []
    assert [p.name for p in site.rglob("*.html") if "### BEGIN SOLUTION" in p.read_text()] == []


def test_every_public_name_is_in_the_reference(pages):
    named = {element["id"] for page in pages.values() for element in page.select("[id]")}
    own = [n for n in unlearnlib.__all__ if not is_of_torch(getattr(unlearnlib, n))]
    assert len(own) > 30
    missing = [n for n in own if not {f"unlearnlib.{n}", f"module-unlearnlib.{n}"} & named]
    assert missing == []


def is_of_torch(thing):
    return getattr(thing, "__module__", "").startswith("torch")


# What can be seen without a browser


def test_every_link_and_image_leads_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for element in page.select("[href], [src]"):
            link = element.get("href") or element.get("src") or ""
            if urlsplit(link).scheme:
                continue
            target, fragment = urldefrag(link)
            there = (path.parent / unquote(urlsplit(target).path)).resolve() if target else path
            assert there.is_relative_to(site.resolve()), (path.name, link)
            if not there.is_file() or not has_anchor(pages, there, fragment):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def has_anchor(pages, path, fragment):
    if not fragment or path not in pages:
        return True
    return pages[path].find(id=unquote(fragment)) is not None


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        for tag, attribute in LOADED.items():
            for element in page.find_all(tag):
                assert not urlsplit(element.get(attribute, "")).netloc, (path.name, str(element))
    for sheet in site.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)]*", sheet.read_text())
        assert outside == [], sheet.name


def test_every_page_has_a_title_and_every_image_a_text(pages):
    for path, page in pages.items():
        assert page.title.string.strip(), path.name
        assert page.html["lang"] == "en", path.name
    for path, page in ours(pages).items():
        assert len(page.find_all("h1")) == 1, path.name
        for image in page.find_all("img"):
            assert image.get("alt", "").strip(), (path.name, image.get("src"))
            assert image.get("alt") != image.get("src"), path.name


def test_figures_of_a_notebook_have_different_texts(site, pages):
    for path in notebooks.all_in(ROOT / "notebooks"):
        images = list(pages[site / "notebooks" / f"{path.stem}.html"].find_all("img"))
        assert len({image.get("alt") for image in images}) == len(images) > 0, path.name


def test_no_page_names_a_place_on_this_machine(site):
    named = {path.name for path in site.rglob("*.html") if str(ROOT) in path.read_text()}
    assert named == set()


# What only a browser shows


@pytest.fixture(scope="session")
def browser():
    sync = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install playwright"
    )
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("no browser: install Chromium (apt-get install chromium, or another way)")
    with sync.sync_playwright() as playwright:
        # a container often runs as root, where Chromium's sandbox does not start
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page in the browser, and what went wrong while it was open."""

    def __init__(self, browser, **look):
        self.context = browser.new_context(**look)
        self.page, self.wrong = self.context.new_page(), []
        self.context.route(lambda url: not url.startswith("file:"), self.refuse)
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))

    def refuse(self, route):
        self.wrong.append(f"asked for {route.request.url}")
        route.abort()

    def hear(self, message):
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def open(self, path):
        """Open a page and wait until its formulas are set."""
        self.wrong.clear()
        self.page.goto(path.as_uri())
        self.page.evaluate("window.MathJax?.startup?.promise")
        return self.page


@pytest.fixture(scope="session")
def phone(browser):
    return Visit(browser, viewport=PHONE, color_scheme="light")


@pytest.fixture(scope="session")
def dark(browser):
    return Visit(browser, viewport=DESK, color_scheme="dark")


# of the page and of its text, which scrolls in the theme where the page does not
WIDTH = """Math.max(...[...document.querySelectorAll("html, .content")].map(e => e.scrollWidth))"""


def test_pages_load_in_silence_and_fit_a_phone(phone, site, pages):
    for path in pages.keys() - {site / "index.html"}:  # which leads on at once
        page = phone.open(path)
        assert phone.wrong == [], path.name
        width = page.evaluate(WIDTH)
        assert width <= PHONE["width"], f"{path.name} is {width} pixels wide"
        size = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
        assert size >= 16, path.name


FORMULA = re.compile(r"\$[^$\n]+\$")


def test_every_formula_is_set(phone, pages):
    counted = 0
    for path, parsed in pages.items():
        formulas = len(parsed.select(".math"))
        if not formulas:
            continue
        page = phone.open(path)
        assert page.locator("mjx-container").count() >= formulas, path.name
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0, path.name
        counted += formulas
    assert counted > 300


def test_no_formula_is_left_as_source(pages):
    for path, page in ours(pages).items():
        prose = BeautifulSoup(str(page.article), "html.parser")
        for shown_as_it_is in prose.select("pre, code, script, .math"):
            shown_as_it_is.extract()
        assert FORMULA.findall(prose.get_text()) == [], path.name


# the least contrast of a text with its ground, and the text
CONTRASTS = """() => {
  const channels = c => (c.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length == 3 || c[3] == 1) return c;
    }
    return [255, 255, 255];
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    if (e.closest("mjx-container, script, style, .headerlink, svg")) continue;
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(ground(e))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.slice(0, 40)]);
  }
  return found.sort((p, q) => p[0] - q[0])[0] ?? [21, ""];
}"""


@pytest.mark.parametrize("look", ["phone", "dark"])
def test_text_stands_out_from_its_ground(look, request, pages):
    visit = request.getfixturevalue(look)
    for path in ours(pages):
        page = visit.open(path)
        contrast, text = page.evaluate(CONTRASTS)
        assert contrast >= CONTRAST, f"{path.name}: {text!r} has a contrast of {contrast:.2f}"


def test_the_dark_is_dark(dark, site):
    page = dark.open(site / "site" / "index.html")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 64


FOCUSED = "[document.activeElement.name ?? '', !!document.activeElement.closest('.sidebar-tree')]"


def test_the_keyboard_reaches_search_and_navigation(dark, site):
    page, reached = dark.open(site / "site" / "index.html"), []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert ["q", False] in reached
    assert ["", True] in reached


def test_search_finds_a_word_of_a_notebook(dark, site):
    page = dark.open(site / "site" / "index.html")
    page.locator("input[name=q]").fill("Lanczos")
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.search li a")
    assert "03. Where a certificate" in page.locator("ul.search").inner_text()
    assert dark.wrong == []


def test_the_first_page_leads_home(dark, site):
    dark.page.goto((site / "index.html").as_uri())
    dark.page.wait_for_url("**/site/index.html")
