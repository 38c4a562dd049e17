"""What mir train shows: one line on a terminal of any width, a line a minute elsewhere."""

import io
import re

import pytest
from rich.console import Console

from make_it_real.cli.training_display import Status, live, training_display
from make_it_real.training.events import Logged, Pace, Step, duration, rate

LINE = Logged({
    "step": 25, "lr": 2e-4, "rec": 0.0531, "restore": 0.0812, "idem": 0.01, "real": 0.7,
    "critic": 1.4, "images_per_second": 22.0,
})  # fmt: skip


class Clock:
    """A clock that is set by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def rendered(status: Status, events: list[Step | Logged], width: int) -> str:
    """What a terminal of a width shows in the end."""
    file = io.StringIO()
    with live(status, Console(file=file, width=width, force_terminal=True)) as show:
        for event in events:
            show(event)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()][-1].rstrip()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize(
    ("number", "seconds", "first", "facts"),
    [
        (1_000, 64 / 22, "1,000/12,000", "22 images/s · 8 h 53 min left"),
        (11_999, 64 / 1_022, "11,999/12,000", "1,022 images/s · 0 s left"),
        (10, 640.0, "10/12,000", "0.10 images/s · 88 d 20 h left"),
    ],
)
def test_one_line_has_all_at_any_width(
    width: int, number: int, seconds: float, first: str, facts: str
) -> None:
    clock = Clock()
    status = Status(number - 10, None, clock)
    clock.now += 10 * seconds
    line = rendered(status, [Step(number, 12_000, 64), LINE, Step(number, 12_000, 64)], width)
    assert len(line) == width
    assert line.startswith(f"{first} ")
    assert line.endswith(f" {facts} · rec 0.053 · restore 0.081")
    assert len(re.findall("[━╸╺]", line)) >= 5


def test_what_a_narrow_terminal_has_no_room_for_is_left_out() -> None:
    clock = Clock()
    status = Status(0, None, clock)
    clock.now += 10
    line = rendered(status, [LINE, Step(10, 12_000, 64)], 50)
    assert len(line) <= 50
    assert line.endswith("64 images/s · 3 h 20 min left")


def test_minutes_are_shown_where_they_end_the_run() -> None:
    clock = Clock()
    status = Status(0, 600.0, clock)
    clock.now += 60
    status.add(Step(30, 12_000, 64))
    assert (status.done, status.share) == ("1.0/10 min", 0.1)
    assert status.facts == ["32 images/s", "9 min left"]
    # Fewer steps are left than there is time for.
    status.add(Step(30, 60, 64))
    assert (status.share, status.facts[1]) == (0.5, "1 min left")


def test_the_figures_are_those_that_the_objective_has() -> None:
    status = Status(0, None)
    status.add(Logged({"step": 25, "rec": 0.5, "idem": 0.25, "tight": -0.1}))
    assert status.facts == ["rec 0.500", "idem 0.250"]


def test_figures_are_a_step_s_own_before_there_is_a_log() -> None:
    clock = Clock()
    status = Status(0, None, clock)
    status.add(Step(1, 100, 64, {"rec": 0.5, "real": 1.0}))
    assert status.figures == []
    clock.now += 10
    status.add(Step(2, 100, 64, {"rec": 0.4, "real": 1.0}))
    assert status.figures == ["rec 0.400"]
    status.add(LINE)
    clock.now += 10
    status.add(Step(3, 100, 64, {"rec": 0.3, "real": 1.0}))
    assert status.figures == ["rec 0.053", "restore 0.081"]


def test_elsewhere_there_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with training_display(0, None, clock) as show:
        for number in range(1, 250):
            clock.now += 1
            show(Step(number, 1_000, 64))
            if number == 70:
                show(LINE)
    assert capsys.readouterr().err.splitlines() == [
        "step 60/1,000, 64 images/s, 16 min left",
        "step 120/1,000, 64 images/s, 15 min left, rec 0.053, restore 0.081",
        "step 180/1,000, 64 images/s, 14 min left, rec 0.053, restore 0.081",
        "step 240/1,000, 64 images/s, 13 min left, rec 0.053, restore 0.081",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (59, "59 s"), (60, "1 min"), (3_569, "59 min"), (3_599, "1 h"),
        (34_800, "9 h 40 min"), (172_799, "2 d"), (190_000, "2 d 5 h"),
    ],
)  # fmt: skip
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rates_have_two_digits_at_least() -> None:
    assert [rate(x) for x in (0.123, 1.26, 22.4, 1_022.3)] == [
        "0.12 images/s", "1.3 images/s", "22 images/s", "1,022 images/s",
    ]  # fmt: skip


@pytest.fixture
def pace() -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(100, clock), clock


def test_the_pace_is_that_of_the_last_two_minutes(pace: tuple[Pace, Clock]) -> None:
    measured, clock = pace
    assert measured.seconds is None
    for number in range(101, 111):
        clock.now += 10
        measured.add(number)
    assert measured.seconds == 10
    for number in range(111, 511):
        clock.now += 1
        measured.add(number)
    assert measured.seconds == 1
