import pytest
from PIL import Image

pytestmark = pytest.mark.slow

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
CURVES = [f"{split}-{measure}-chart" for split in ("train", "validation")
          for measure in ("loss", "accuracy")]  # fmt: skip
HOSTILE = "</script><img src=x onerror=alert(1)>'\"\\"


@pytest.fixture
def page(visit):
    return visit(viewport=DESKTOP)


def lines(page, chart, color):
    """The thin lines of a variant's runs."""
    strokes = page.locator(f"#{chart} svg path[stroke*='{color}'][stroke-width='1']").all()
    return [one for one in strokes if one.get_attribute("d")]


def ticks(page, chart):
    return sorted(page.locator(f"#{chart} svg text").all_text_contents())


def settle(page):
    """Waits until what was asked for is drawn."""
    page.evaluate("() => new Promise((drawn) => setTimeout(drawn, 100))")


def shown(page):
    return page.locator(".misread > li:visible")


def test_every_chart_is_drawn(page, specs):
    for chart in specs:
        assert page.locator(f"#{chart} svg").count() == 1
        assert page.locator(f"#{chart} svg [d]").count() > 5
    for chart in CURVES:
        assert len(lines(page, chart, "0072B2")) == len(lines(page, chart, "D55E00")) == 8


def test_each_epoch_is_named_once(page):
    axis = page.locator(f"#{CURVES[0]} .role-axis", has_text="Epoch")
    labels = [one for one in axis.locator("text").all_text_contents() if one.isdigit()]
    assert labels == ["0", "1", "2"]


def test_variants_are_switched_off_and_on(page):
    for box, left in ((False, 0), (True, 8)):
        page.get_by_label("Without BN", exact=True).first.set_checked(box)
        settle(page)
        for chart in CURVES:
            assert len(lines(page, chart, "D55E00")) == left
            assert len(lines(page, chart, "0072B2")) == 8


def test_seeds_are_chosen_one_by_one(page):
    page.get_by_role("button", name="No seed").click()
    settle(page)
    assert lines(page, "train-loss-chart", "0072B2") == []
    page.get_by_label("3", exact=True).check()
    settle(page)
    for chart in CURVES:
        assert len(lines(page, chart, "0072B2")) == len(lines(page, chart, "D55E00")) == 1
    page.get_by_role("button", name="All seeds").click()
    settle(page)
    assert len(lines(page, "train-loss-chart", "0072B2")) == 8


def test_means_are_switched_off(page):
    thick = page.locator("#train-loss-chart svg path[stroke-width='3']")
    assert [bool(one.get_attribute("d")) for one in thick.all()] == [True, True]
    page.get_by_label("mean and interval of all runs").uncheck()
    settle(page)
    assert not [one for one in thick.all() if one.get_attribute("d")]


def test_where_nothing_is_chosen_it_is_said(page):
    said = page.get_by_text("Nothing is chosen")
    for box in ("single runs", "mean and interval of all runs"):
        assert said.is_hidden()
        page.get_by_label(box).uncheck()
    said.wait_for()
    page.get_by_label("single runs").check()
    page.get_by_role("button", name="No seed").click()
    said.wait_for()
    page.get_by_role("button", name="All seeds").click()
    said.wait_for(state="hidden")


def test_pointing_at_a_run_tells_its_seed_epoch_and_value(page, specs):
    chart = page.locator("#validation-loss-chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 0.62 * box["width"], box["y"] + 0.21 * box["height"])
    tooltip = page.locator("#vg-tooltip-element.visible")
    told = dict(line.split("\t") for line in tooltip.inner_text().strip().splitlines())
    assert told.keys() == {"variant", "seed", "epoch", "validation loss"}
    values = {
        (row["label"], str(row["seed"]), str(row["epoch"])): row["value"]
        for row in specs["validation-loss-chart"]["data"]["values"]
    }
    value = values[told["variant"], told["seed"], told["epoch"]]
    assert told["validation loss"] == f"{value:.5f}"


def test_a_tap_tells_the_same_until_the_next_elsewhere(visit):
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    chart = page.locator("#train-loss-chart")
    chart.scroll_into_view_if_needed()
    settle(page)
    box = chart.bounding_box()
    page.touchscreen.tap(box["x"] + 0.62 * box["width"], box["y"] + 0.21 * box["height"])
    tooltip = page.locator("#vg-tooltip-element.visible")
    assert "train loss" in tooltip.inner_text()
    page.touchscreen.tap(5, 5)
    tooltip.wait_for(state="hidden")


def test_on_a_phone_what_is_told_of_a_pair_is_not_cut(visit):
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    page.locator("#differences-chart").scroll_into_view_if_needed()
    settle(page)
    pairs = page.locator("#differences-chart svg .mark-symbol path")
    for place in range(pairs.count()):
        box = pairs.nth(place).bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        told = page.locator("#vg-tooltip-element.visible").bounding_box()
        assert told["x"] >= 0
        assert told["x"] + told["width"] <= PHONE["width"]


def test_pointing_at_a_pair_tells_both_of_its_accuracies(page):
    page.locator(
        "#differences-chart svg path[aria-label], #differences-chart svg .mark-symbol path"
    )
    page.locator("#differences-chart svg .mark-symbol path").first.hover()
    told = page.locator("#vg-tooltip-element.visible").inner_text()
    # The pair of seed 0: 0.98 and 0.95.
    assert "+3.00" in told
    assert "With BN, 98.00%" in told
    assert "Without BN, 95.00%" in told


def test_buttons_zoom_all_curves_and_take_it_back(page):
    before = {chart: ticks(page, chart) for chart in CURVES}
    page.get_by_role("button", name="Zoom in").click()
    settle(page)
    assert all(ticks(page, chart) != before[chart] for chart in CURVES)
    page.get_by_role("button", name="Reset").first.click()
    settle(page)
    assert {chart: ticks(page, chart) for chart in CURVES} == before
    page.get_by_role("button", name="Every point").click()
    settle(page)
    assert ticks(page, CURVES[0])


def test_the_keyboard_moves_and_zooms_the_curve_that_has_the_focus(page):
    first, second = CURVES[:2]
    before = ticks(page, first), ticks(page, second)
    page.locator(f"#{first}").focus()
    for key in ("+", "+", "ArrowUp"):
        page.keyboard.press(key)
        settle(page)
    assert ticks(page, first) != before[0]
    assert ticks(page, second) == before[1]
    page.keyboard.press("0")
    settle(page)
    assert ticks(page, first) == before[0]


def test_the_wheel_scrolls_and_with_control_it_zooms(page):
    chart = page.locator(f"#{CURVES[0]}")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before = ticks(page, CURVES[0])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    settle(page)
    page.keyboard.up("Control")
    zoomed = ticks(page, CURVES[0])
    assert zoomed != before
    page.mouse.wheel(0, 300)
    settle(page)
    assert ticks(page, CURVES[0]) == zoomed


def test_digits_are_chosen_by_what_they_are_and_were_taken_for(page):
    every = shown(page).count()
    assert every == 7
    page.get_by_label("The digit").select_option("3")
    assert {one.get_attribute("data-label") for one in shown(page).all()} == {"3"}
    assert page.locator("#found").inner_text() == f"{shown(page).count()} of 7 digits."
    # A run that read it right is none that took it for something.
    for taken in ("1", "3"):
        page.get_by_label("was taken for").select_option(taken)
        assert page.locator("#found").inner_text() == "No digit matches."
    page.locator("#asked").get_by_role("button", name="Reset").click()
    settle(page)
    assert shown(page).count() == every


def test_a_mistake_in_a_matrix_leads_to_its_digits(page):
    page.locator(".confusion [data-variant='1'][data-label='2'][data-predicted='3']").click()
    chosen = page.evaluate("Object.fromEntries(new FormData(document.getElementById('asked')))")
    assert chosen == {"label": "2", "taken": "3", "by": "1", "best": ""}
    assert shown(page).count() > 0
    for one in shown(page).all():
        assert one.get_attribute("data-label") == "2"
        assert "1:3" in one.get_attribute("data-readings")


def test_where_nothing_was_misread_all_else_is_there(visit, write_page):
    page = visit(write_page(candidate=(1.0,) * 8, baseline=(1.0,) * 8))
    assert page.get_by_text("No run misread a digit.").is_visible()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_window_and_its_theme(visit, tmp_path, viewport, scheme):
    page = visit(viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    scores = page.get_by_role("region", name="Test set")
    assert scores.evaluate("element => element.scrollWidth - element.clientWidth") <= 0
    for chart in page.locator(".chart svg").all():
        box = chart.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == viewport["width"]
        assert picture.getpixel((2, 2))[:3] == {"light": (255,) * 3, "dark": (20, 23, 26)}[scheme]


OWN = {"dataset": "file", "path": "data/own.npz"}
LONG = [f"{'w' * 60} {place} of them, <i>as we call it</i> {HOSTILE}" for place in range(100)]


@pytest.mark.parametrize("kind", ["colour", "rows"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("count", [4, 100])
def test_a_page_with_long_names_fits_the_window(visit, write_page, kind, viewport, count):
    page = visit(write_page(kind=kind, classes=LONG[:count], **OWN), viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    # Nothing that was misread is wider than its place.
    for box in page.locator(".misread > li").all():
        assert box.evaluate("element => element.scrollWidth - element.clientWidth") <= 0
    page.get_by_label("The class").select_option(LONG[3])
    assert {one.get_attribute("data-label") for one in shown(page).all()} == {"3"}


def test_a_mistake_among_the_most_confused_of_many_classes_leads_to_its_rows(visit, write_page):
    page = visit(write_page(kind="rows", classes=LONG, **OWN), viewport=DESKTOP)
    page.locator(".confusion [data-variant='1'][data-label='2'][data-predicted='3']").click()
    rows = page.locator("#found").inner_text()
    assert rows == f"{shown(page).count()} of 7 rows."
    assert {one.get_attribute("data-label") for one in shown(page).all()} == {"2"}


def test_axes_take_the_colour_of_the_text(visit):
    page = visit(color_scheme="dark")
    label = page.locator("#train-loss-chart svg text").first
    assert label.evaluate("(one) => getComputedStyle(one).fill") == "rgb(230, 232, 234)"


def test_without_scripts_pictures_and_tables_are_left(visit):
    page = visit(java_script_enabled=False, is_drawn=False)
    assert page.locator("img.still:visible").count() == 2
    assert page.locator("form:visible, .chart:visible").count() == 0
    assert shown(page).count() == 7
    page.get_by_text("The numbers of each pair", exact=True).first.click()
    assert page.get_by_role("cell", name="+3.00").first.is_visible()


def test_a_browser_that_cannot_draw_shows_the_pictures(visit, write_page):
    path = write_page(javascript="window.vegaEmbed = () => Promise.reject('no');")
    page = visit(path, is_drawn=False, expected=["no"])
    page.wait_for_selector("html:not(.scripted)")
    assert page.locator("img.still:visible").count() == 2
    assert page.locator("form:visible, .chart:visible").count() == 0


def test_in_print_there_are_no_controls_and_dark_is_light(visit):
    page = visit(color_scheme="dark", viewport={"width": 760, "height": 1000})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 760
    assert page.locator("form:visible, nav:visible").count() == 0
    assert page.locator(".chart:visible").count() == 6
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"


def test_in_print_the_colours_are_there_and_said_to_be_whose(visit):
    page = visit(viewport=DESKTOP)
    assert page.locator(".on-paper:visible").count() == 0
    page.emulate_media(media="print")
    curves = page.locator("section", has=page.get_by_role("heading", name="How they learn"))
    assert curves.locator(".on-paper").inner_text().split() == ["With", "BN", "Without", "BN"]
    adjust = "getComputedStyle(document.querySelector('.swatch')).printColorAdjust"
    assert page.evaluate(adjust) == "exact"


def test_in_print_there_are_the_first_of_the_digits_that_were_chosen(visit, write_page):
    # Of a hundred digits, 90 are misread.
    page = visit(write_page(baseline=(0.1,) * 8), viewport=DESKTOP)
    page.get_by_label("The digit").select_option("3")
    chosen = shown(page).count()
    page.emulate_media(media="print")
    assert shown(page).count() == chosen
    assert 0 < chosen < 48
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_text("90 of 90 digits").wait_for()
    page.emulate_media(media="print")
    assert shown(page).count() == 48


def test_the_page_is_one_small_file_that_draws_its_charts(visit, path):
    assert path.stat().st_size < 2_000_000
    page = visit(path, viewport=DESKTOP)
    assert all(lines(page, chart, "0072B2") for chart in CURVES)


def test_the_focus_can_be_seen(page):
    page.keyboard.press("Tab")
    focused = "getComputedStyle(document.activeElement)"
    assert page.evaluate("document.activeElement.textContent") == "Pair by pair"
    assert page.evaluate(f"{focused}.outlineStyle") == "solid"
    assert page.evaluate(f"{focused}.outlineWidth") == "3px"


def test_a_label_that_looks_like_a_program_is_only_shown(visit, write_page):
    page = visit(write_page(label=HOSTILE), viewport=DESKTOP)
    assert HOSTILE in page.locator("h1").inner_text() + page.locator("caption").first.inner_text()
    page.locator("#differences-chart svg .mark-symbol path").first.hover()
    assert HOSTILE in page.locator("#vg-tooltip-element.visible").inner_text()
    assert page.locator("#vg-tooltip-element img").count() == 0
