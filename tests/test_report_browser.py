"""The report as a person meets it: in headless Chromium, from a file, with a keyboard."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dvrl.cli import app
from dvrl.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
MISSING = [
    name
    for name, found in (
        ("chromium on the path", CHROMIUM),
        ("playwright", importlib.util.find_spec("playwright")),
        ("axe-playwright-python", importlib.util.find_spec("axe_playwright_python")),
    )
    if found is None
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}"),
]
# A busy machine may be slow; nothing here is about time.
PATIENCE = 60_000
N_ROWS = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root, as which tests in containers run.
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "name": [f"r{number:02d}" for number in range(N_ROWS)],
            "size": np.round(rng.normal(size=N_ROWS), 3),
            "note, quoted": rng.choice(['say "hi"', "two\nlines", "plain", "<b>bold</b>"], N_ROWS),
            "label": rng.choice(["cat", "dog", "cow"], N_ROWS),
        }
    )


@pytest.fixture(scope="module")
def rows(table: pd.DataFrame) -> pd.DataFrame:
    """Values in the order of the table, so that r00 is the lowest row."""
    values = np.linspace(0.01, 0.99, N_ROWS)
    expected = table["label"].where(values > 0.3, "cow")
    return pd.DataFrame(
        {
            "data_value": values,
            "data_value_std": 0.01,
            "label": table["label"].to_numpy(),
            "expected_label": expected.to_numpy(),
            "label_probability": values[::-1],
            "reason": np.where(values < 0.3, "Another label is expected.", ""),
            "nearest_agreeing": [table["name"].iloc[(i + 1) % N_ROWS] for i in range(N_ROWS)],
            "nearest_disagreeing": [[table["name"].iloc[(i + 5) % N_ROWS]] for i in range(N_ROWS)],
        },
        index=pd.Index(table["name"], name="name"),
    )


@pytest.fixture(scope="module")
def report(
    tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame, rows: pd.DataFrame
) -> Path:
    rng = np.random.default_rng(0)
    shares = np.linspace(0, 0.5, 6)
    orders = ("lowest first", "highest first", "random")
    removal = pd.DataFrame(
        [(o, s, r, rng.random()) for o in orders for s in shares for r in range(3)],
        columns=["order", "removed", "repeat", "score"],
    )
    return write_report(
        tmp_path_factory.mktemp("report") / "report.html",
        title="Sixty animals",
        headline="Eighteen of 60 rows have another label than expected.",
        warnings=["The run is an example."],
        rows=rows,
        fields=table.drop(columns=["name", "label"]).set_axis(rows.index),
        text="note, quoted",
        images=rng.integers(0, 256, (N_ROWS, 8, 8, 3), dtype=np.uint8),
        facts={"Training rows": "60"},
        history={"iteration": np.arange(40), "reward": np.linspace(0, 1, 40)},
        removal=removal,
        discovery=pd.DataFrame({"share": shares, "found": shares, "random": shares}),
        comparison=pd.DataFrame({"scheme": ["all", "kept"], "rows": [60, 42], "score": [0.8, 0.9]}),
        insights=["Cats carry most."],
        groups=pd.DataFrame({"group": ["cat"], "rows": [20], "mean_value": [0.7]}),
    )


class Visit:
    """A page that remembers what went wrong and what was asked for."""

    def __init__(self, browser: Any, report: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.problems.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.url = report.as_uri()
        self.open()

    def open(self) -> None:
        self.page.goto(self.url)
        self.page.wait_for_selector("html[data-ready]")

    def names(self) -> list[str]:
        """Ids of the rows that the table shows, from the top."""
        script = "() => [...document.querySelectorAll('.tabulator-row [tabulator-field=id]')]"
        return self.page.evaluate(f"({script})().map((cell) => cell.textContent)")

    def shown(self) -> str:
        return self.page.locator("#shown").text_content()

    def wait_for_shown(self, text: str) -> None:
        self.page.wait_for_function(
            "text => document.getElementById('shown').textContent === text", arg=text
        )

    def filter_column(self, title: str, text: str) -> None:
        field = self.page.get_by_label(f"Filter {title}", exact=True)
        field.fill("")
        field.press_sequentially(text)
        field.press("Shift")  # a key for an emptied field, too

    def current(self) -> str:
        return self.page.locator("#card-id").text_content()

    def press(self, keys: str) -> None:
        for key in keys.split():
            self.page.keyboard.press(key)

    def export(self, path: Path) -> Path:
        with self.page.expect_download() as download:
            self.page.click("#export")
        assert download.value.suggested_filename == "review.csv"
        download.value.save_as(path)
        return path


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Visit]:
    visit = Visit(browser, report)
    yield visit
    assert visit.problems == []
    visit.context.close()


def test_it_opens_without_errors_and_asks_for_nothing_but_itself(visit: Visit):
    assert visit.requests == [visit.url]
    assert visit.shown() == "60 of 60 rows"
    headings = visit.page.locator("h2").all_text_contents()
    assert headings[0] == "Read this first"
    assert visit.page.locator("svg.chart").count() == 4
    assert not visit.page.locator(".static").is_visible()


def test_columns_sort_both_ways_by_mouse_and_keyboard(visit: Visit):
    assert visit.names()[:2] == ["r00", "r01"]
    heading = visit.page.locator(".tabulator-col[tabulator-field=id]")
    heading.locator("button").press("Enter")
    heading.locator("button").press("Enter")
    assert visit.names()[:2] == ["r59", "r58"]
    assert heading.get_attribute("aria-sort") == "descending"
    probability = visit.page.locator(".tabulator-col", has_text="Label probability").locator(
        "button"
    )
    probability.click()
    assert visit.names()[0] == "r59"
    probability.click()
    assert visit.names()[0] == "r00"


def test_search_filters_and_clearing(visit: Visit, table: pd.DataFrame, rows: pd.DataFrame):
    page = visit.page
    page.fill("#search", "LINES cat")
    n_both = int((table["note, quoted"].eq("two\nlines") & table["label"].eq("cat")).sum())
    n_both_expected = int(
        (
            table["note, quoted"].eq("two\nlines")
            & (table["label"].eq("cat") | rows["expected_label"].eq("cat").to_numpy())
        ).sum()
    )
    assert n_both == n_both_expected > 0
    visit.wait_for_shown(f"{n_both} of 60 rows")

    page.fill("#search", "")
    page.select_option("#show", "unexpected")
    n_unexpected = int((rows["label"] != rows["expected_label"]).sum())
    visit.wait_for_shown(f"{n_unexpected} of 60 rows")
    page.select_option("#given", "dog")
    n_dogs = int(((rows["label"] != rows["expected_label"]) & (rows["label"] == "dog")).sum())
    visit.wait_for_shown(f"{n_dogs} of 60 rows")

    page.click("#reset")
    visit.wait_for_shown("60 of 60 rows")
    visit.filter_column("Data value", "<0.1")
    visit.wait_for_shown(f"{int((rows['data_value'] < 0.1).sum())} of 60 rows")
    visit.filter_column("Data value", "0.2..0.3")
    visit.wait_for_shown(f"{int(rows['data_value'].between(0.2, 0.3).sum())} of 60 rows")
    visit.filter_column("Data value", "")
    visit.filter_column("Given label", "OW")
    visit.wait_for_shown(f"{int((rows['label'] == 'cow').sum())} of 60 rows")
    page.fill("#search", "no such words")
    visit.wait_for_shown("0 of 60 rows")
    assert page.get_by_text("No row fits these filters.").is_visible()
    page.click("#reset")
    visit.wait_for_shown("60 of 60 rows")


def test_the_keyboard_reviews_and_the_export_gives_exactly_the_edited_table(
    visit: Visit, table: pd.DataFrame, rows: pd.DataFrame, tmp_path: Path
):
    page = visit.page
    page.focus("#card")
    visit.press("D K N N P")  # r00 dropped, r01 kept, on to r03
    assert visit.current() == "r03"
    page.fill("#new-label", "dog, wild")
    page.keyboard.press("Enter")
    assert visit.current() == "r04"
    assert page.evaluate("document.activeElement.id") == "card"
    visit.press("L")
    assert page.evaluate("document.activeElement.id") == "new-label"
    visit.press("Escape D U ArrowRight ArrowLeft")  # decided and taken back
    assert visit.current() == "r04"
    wrong = next(i for i in range(5, 15) if rows["label"].iloc[i] != rows["expected_label"].iloc[i])
    while visit.current() != f"r{wrong:02d}":
        visit.press("N")
    visit.press("R")  # the expected label is filled in
    page.fill("#search", "r59")
    visit.wait_for_shown("1 of 60 rows")
    page.click(".tabulator-row >> nth=0")
    assert page.evaluate("document.activeElement.id") == "card"
    visit.press("d")
    assert page.locator("#summary").text_content() == ("5 decided: 1 keep, 2 relabel, 2 drop.")

    review = visit.export(tmp_path / "review.csv")
    assert review.read_text() == (
        "id,decision,new_label\nr00,drop,\nr01,keep,\n"
        f'r03,relabel,"dog, wild"\nr{wrong:02d},relabel,cow\nr59,drop,\n'
    )
    train, cleaned = tmp_path / "train.csv", tmp_path / "cleaned.csv"
    table.to_csv(train, index=False)
    arguments = [train, "--review", review, "--id", "name", "--target", "label", "-o", cleaned]
    result = CliRunner().invoke(app, ["apply", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    edited = table.copy()
    edited.loc[3, "label"] = "dog, wild"
    edited.loc[wrong, "label"] = "cow"
    edited = edited.drop(index=[0, 59]).reset_index(drop=True)
    assert cleaned.read_text() == edited.to_csv(index=False)


def test_decisions_outlast_a_visit_until_they_are_forgotten(visit: Visit):
    page = visit.page
    page.click("#drop")
    page.click("#keep")
    visit.open()
    assert page.locator("#summary").text_content() == "2 decided: 1 keep, 0 relabel, 1 drop."
    assert page.locator("#drop").get_attribute("aria-pressed") == "true"
    page.select_option("#show", "undecided")
    visit.wait_for_shown("58 of 60 rows")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#forget")
    assert page.locator("#summary").text_content() == "No row decided yet."
    visit.open()
    assert page.locator("#summary").text_content() == "No row decided yet."


def test_keys_do_nothing_outside_the_card(visit: Visit):
    visit.page.focus("#search")
    visit.press("d k r")
    visit.page.locator("body").press("d")
    assert visit.page.locator("#summary").text_content() == "No row decided yet."


def test_the_nearest_rows_can_be_looked_at(visit: Visit):
    visit.page.click("#near button >> nth=1")
    assert visit.current() == "r05"
    assert visit.page.locator("#card-image").get_attribute("alt") == "Image of row r05"


HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"><script>alert(1)</script>"


def test_hostile_data_stays_text(browser: Any, tmp_path: Path):
    """Every text of the caller's holds markup; none of it becomes part of the page."""
    ids = [f"{HOSTILE}{i}" for i in range(3)]
    rows = pd.DataFrame(
        {
            "data_value": [0.1, 0.2, 0.3],
            "label": [HOSTILE, "a", "b"],
            "expected_label": ["a", HOSTILE, "b"],
            "reason": HOSTILE,
            "nearest_agreeing": ids[::-1],
        },
        index=pd.Index(ids, name=HOSTILE),
    )
    path = write_report(
        tmp_path / "report.html",
        title=HOSTILE,
        headline=HOSTILE,
        warnings=[HOSTILE],
        rows=rows,
        fields=pd.DataFrame({HOSTILE: [HOSTILE, "__proto__", "x"], "text": [HOSTILE] * 3}),
        text="text",
        facts={HOSTILE: HOSTILE},
        comparison=pd.DataFrame({"scheme": [HOSTILE], "rows": [1], "score": [1.0]}),
        insights=[HOSTILE],
        groups=pd.DataFrame({HOSTILE: [HOSTILE]}),
        removal=pd.DataFrame({"order": [f"{HOSTILE}$x^"], "removed": [0.0], "score": [1.0]}),
    )
    visit = Visit(browser, path)
    page = visit.page
    assert page.title() == HOSTILE
    assert page.locator("h1").text_content() == HOSTILE
    assert visit.names() == ids
    page.click("#card-fields summary")
    for _ in range(3):
        page.click("#drop")
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 3
    review = visit.export(tmp_path / "review.csv")
    assert list(pd.read_csv(review)["id"]) == ids
    assert visit.problems == []
    assert visit.requests == [visit.url]
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_barrier(browser: Any, report: Path, scheme: str, width: int):
    from axe_playwright_python.sync_playwright import Axe

    viewport = {"width": width, "height": 844}
    visit = Visit(browser, report, color_scheme=scheme, viewport=viewport)
    visit.page.click("#drop")
    visit.page.click("#previous")
    visit.page.click("#card-fields summary")
    visit.page.click(".keys summary")
    found = Axe().run(visit.page).response["violations"]
    serious = {
        violation["id"]: [node["html"][:200] for node in violation["nodes"]]
        for violation in found
        if violation["impact"] in ("serious", "critical")
    }
    assert serious == {}
    overflow = visit.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow == 0
    assert visit.problems == []
    visit.context.close()


def test_every_control_is_reached_with_the_tab_key(visit: Visit):
    visit.page.focus("#search")
    reached = []
    for _ in range(60):
        reached.append(visit.page.evaluate("document.activeElement.id"))
        visit.press("Tab")
    wanted = ["search", "show", "given", "reset", "card", "previous", "next", "keep", "drop"]
    order = [name for name in reached if name in wanted]
    assert order[: len(wanted)] == wanted


def test_it_prints_the_lowest_rows_as_a_plain_table(visit: Visit):
    visit.page.emulate_media(media="print")
    assert visit.page.locator(".static").is_visible()
    assert not visit.page.locator("#table").is_visible()
    assert visit.page.locator(".static tbody tr").count() == 40


def test_without_scripts_the_lowest_rows_are_there(browser: Any, report: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".static").is_visible()
    assert page.locator(".static tbody tr >> nth=0").text_content().startswith("r00")
    context.close()


def test_fifty_thousand_rows_open(browser: Any, tmp_path: Path, record_property: Any):
    rng = np.random.default_rng(0)
    n_rows = 50_000
    labels = rng.choice(["yes", "no"], n_rows)
    rows = pd.DataFrame({"data_value": rng.random(n_rows), "label": labels})
    fields = pd.DataFrame(rng.normal(size=(n_rows, 12))).add_prefix("feature ")
    path = write_report(
        tmp_path / "report.html", title="Large", headline="Many rows.", rows=rows, fields=fields
    )
    visit = Visit(browser, path)
    record_property(
        "milliseconds_to_open", visit.page.evaluate("document.documentElement.dataset.ready")
    )
    assert visit.shown() == "50,000 of 50,000 rows"
    assert visit.page.locator(".tabulator-row").count() < 200  # only those in view
    visit.filter_column("Row", "4999")
    n_found = sum("4999" in str(i) for i in range(n_rows))
    visit.wait_for_shown(f"{n_found} of 50,000 rows")
    assert visit.problems == []
    visit.context.close()
