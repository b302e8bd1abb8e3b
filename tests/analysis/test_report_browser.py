"""The report in a real browser, where one is installed: nothing overflows a phone, and dark is dark."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.planted import ALL, additive, result

from sde_ray.analysis.effects import Group
from sde_ray.analysis.paired import PairedDifference
from sde_ray.analysis.report import Report, render_page
from sde_ray.analysis.report.chapter import Chapter
from sde_ray.analysis.strategy import assemble
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import BEHIND, BETTER, NO_DIFFERENCE, Comparison, Cost, make_verdict
from sde_ray.design.designs import NAMED

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
METRIC = "weighted_kappa"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")]

MEASURE = """
<iframe id=page style="width:{width}px;height:800px;border:0" srcdoc="{page}"></iframe><pre id=said></pre>
<script>
const scrolling = page => [...page.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth).length
document.getElementById("page").onload = event => {{
  const inner = event.target.contentDocument, root = inner.documentElement
  const body = inner.defaultView.getComputedStyle(inner.body)
  document.getElementById("said").textContent =
    `widest=${{root.scrollWidth}} ground=${{body.backgroundColor}} scrolling=${{scrolling(inner)}}`
}}
</script>"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    trials = [result(d, additive(d), s, tokens=20.0 + 9 * (d["format"] == "json"), ood=additive(d) - 0.1)
              for d in ALL[::5] for s in (0, 1)]  # fmt: skip
    study = Study(Group("masa:d1", "tiny", 100), METRIC, "dev", tuple(trials), tmp_path_factory.mktemp("sweep"))
    strategy = assemble(trials, METRIC)
    paired = PairedDifference(-0.213, -0.325, -0.108, 0.00062, 0.00249, "items", 1)
    rows = [
        Comparison(name, design, split, None, 0.654, 0.867, paired, 3, 500, claim, Cost(226.0, 0.99))
        for split in ("test", "test_ood")
        for (name, design), claim in zip(NAMED.items(), (BEHIND, BEHIND, NO_DIFFERENCE, BETTER), strict=False)
    ]
    verdict = make_verdict(strategy, rows, cost=Cost(157.0, 1.0))
    return render_page(Report("quick", [Chapter(study, strategy, verdict)]))


def look(text: str, folder: Path, width: int, *options: str) -> str:
    """What the page in a frame of this width says of itself."""
    assert BROWSER is not None
    folder.mkdir(exist_ok=True)
    outer = folder / "outer.html"
    outer.write_text(MEASURE.format(width=width, page=html.escape(text)), encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'browser'}",
        *options,
    ]
    done = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", outer.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout)
    assert found and found[1], done.stderr[-2000:]
    return found[1]


@pytest.mark.parametrize("width", [360, 390, 1100])
def test_the_page_never_scrolls_sideways(text: str, tmp_path: Path, width: int) -> None:
    said = look(text, tmp_path, width)
    assert f"widest={width} " in said or f"widest={width - 15} " in said, said  # 15: a vertical scroll bar


def test_no_table_scrolls_on_a_laptop(text: str, tmp_path: Path) -> None:
    assert "Final comparison" in text
    assert "scrolling=0" in look(text, tmp_path, 1300)


def test_dark_is_dark_and_light_is_light(text: str, tmp_path: Path) -> None:
    light = look(text, tmp_path / "light", 800, "--blink-settings=preferredColorScheme=1")
    dark = look(text, tmp_path / "dark", 800, "--blink-settings=preferredColorScheme=0")
    assert "ground=rgb(255, 255, 255)" in light and "ground=rgb(20, 23, 27)" in dark
