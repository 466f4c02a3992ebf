# SPDX-License-Identifier: Apache-2.0
"""The page of the server in a real browser."""

import io

import matplotlib.image
import numpy as np
import pytest
from playwright.sync_api import expect

from src.package import load_model
from tests.conftest import make_rows

GOOD_ROWS = [line.partition("\t")[2] for line in make_rows(3, 3, 4, seed=4).split("\n")]


@pytest.fixture
def open_page(browser, server):
    """Return a function that opens the page: it returns the browser's page, console messages and requested URLs."""
    opened = []

    def open_server(width=1200, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.append(page)
        messages, requests = [], []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"http://127.0.0.1:{server.port}/")
        expect(page.locator("#model")).to_contain_text("version")
        return page, messages, requests

    yield open_server
    for page in opened:
        page.close()


def score(page, rows):
    """Paste rows, press the button, and return the cells of the table of results."""
    page.fill("#rows", "\n".join(rows))
    page.click("#score")
    expect(page.locator("#message")).to_contain_text("scored")
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    return page.eval_on_selector_all("#results > tbody > tr", cells)


def test_pasted_rows_get_their_probabilities(open_page, packages, server):
    page, messages, requests = open_page()
    assert server.version in page.inner_text("#model") and "7 columns I1 to C4" in page.inner_text("#model")
    cells = score(page, GOOD_ROWS)
    expected = load_model(packages[0]).predict(GOOD_ROWS)
    assert [row[0] for row in cells] == ["1", "2", "3"]
    np.testing.assert_allclose([float(row[1]) for row in cells], expected, atol=6e-6)
    widths = page.eval_on_selector_all(
        "#results > tbody > tr > td > .bar", "bars => bars.map(bar => parseFloat(bar.style.width))"
    )
    np.testing.assert_allclose(widths, 100 * expected, rtol=1e-3)
    assert page.inner_text("#message") == "3 rows scored."
    assert not messages
    assert all(url.startswith((f"http://127.0.0.1:{server.port}/", "data:")) for url in requests)


def test_the_explanation_of_a_row_sums_to_its_logit(open_page, packages):
    page, _, _ = open_page()
    score(page, GOOD_ROWS)
    summary = page.locator("summary").nth(1)
    summary.click()
    table = page.locator("details table").nth(1)
    assert table.is_visible() and not page.locator("details table").first.is_visible()
    parts = dict(row.split("\t")[:2] for row in table.inner_text().split("\n") if "\t" in row)
    logit = float(parts.pop("logit"))
    assert abs(sum(map(float, parts.values())) - logit) < 5e-5 * (len(parts) + 1)
    assert abs(logit - load_model(packages[0]).explain(GOOD_ROWS).logits[1]) < 6e-5


def test_malformed_rows_show_their_reason_next_to_the_scores_of_the_others(open_page):
    page, messages, _ = open_page()
    evil = "<img src=x onerror=alert(1)>"
    cells = score(page, [GOOD_ROWS[0], *[f"{evil}{number}" for number in range(25)], GOOD_ROWS[1]])
    assert [row[1] == "malformed" for row in cells] == [False, *[True] * 25, False]
    assert evil[:10] in cells[1][2] and page.locator("#results img").count() == 0
    assert page.inner_text("#message") == "2 rows scored, 25 malformed."
    assert all("400" in message for message in messages)  # the browser's own notes on the answers


def test_the_example_rows_can_be_scored(open_page):
    page, _, _ = open_page()
    page.click("#example")
    expect(page.locator("#rows")).not_to_have_value("")
    cells = score(page, page.input_value("#rows").split("\n"))
    assert len(cells) == 5 and all(0 <= float(row[1]) <= 1 for row in cells)
    page.click("#clear")
    assert page.input_value("#rows") == "" and page.is_hidden("#results")


def test_without_rows_it_asks_for_some(open_page):
    page, _, _ = open_page()
    page.press("#rows", "Control+Enter")
    assert page.inner_text("#message") == "Paste at least one row."


@pytest.mark.parametrize("width", [360, 1200])
def test_no_part_is_wider_than_the_window(open_page, width):
    page, _, _ = open_page(width)
    score(page, [GOOD_ROWS[0], "x" * 500])
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_light_or_dark_as_the_system_is(open_page):
    brightness = {}
    for scheme in ("light", "dark"):
        page, _, _ = open_page(scheme=scheme)
        score(page, GOOD_ROWS)
        pixels = matplotlib.image.imread(io.BytesIO(page.screenshot()))[:, :, :3]
        brightness[scheme] = float(np.median(pixels))
    assert brightness["light"] > 0.9 and brightness["dark"] < 0.2


def test_nothing_from_elsewhere_may_run_on_it(server):
    policy = server.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
