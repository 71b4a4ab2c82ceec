import io
import sys
from multiprocessing.pool import ThreadPool

import pytest

from pipeline.execution.progress import EpochProgress
from pipeline.runs.epochs import EpochScores, Scores

EPOCH = EpochScores(2, 4, train=Scores(0.12345, 0.75), validation=Scores(0.5, 0.98765))
SHOWN = "seed 2 epoch 4: train loss 0.1235, validation accuracy 0.9877"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("epochs", "told"),
    [
        (1, [1]),
        (2, [1, 2]),
        (4, [1, 2, 3, 4]),
        (7, [2, 4, 6, 7]),
        (100, [25, 50, 75, 100]),
        (1000, [250, 500, 750, 1000]),
    ],
)
def test_away_from_a_terminal_each_quarter_is_a_line(capsys, epochs, told):
    with EpochProgress("With BN", epochs) as progress:
        for _ in range(epochs):
            progress.tell(EPOCH)

    lines = [f"With BN: {SHOWN} ({count} of {epochs})\n" for count in told]
    assert capsys.readouterr() == ("", "".join(lines))


def test_on_a_terminal_epochs_move_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with EpochProgress("With BN", 2) as progress:
        progress.tell(EPOCH)
        progress.tell(EPOCH)

    last = terminal.getvalue().rstrip().rpartition("\r")[2]
    assert last.startswith("With BN: 100%")
    assert "2/2" in last
    assert SHOWN in last
    assert terminal.getvalue().count("\n") == 1


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_line_of_text_is_shown_above_the_bar(monkeypatch, is_terminal):
    screen = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)

    with EpochProgress("With BN", 2) as progress:
        progress.say("10 runs are here")

    assert "With BN: 10 runs are here\n" in screen.getvalue()
    assert ("0/2" in screen.getvalue()) is is_terminal


def test_where_nothing_is_to_be_done_there_is_no_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with EpochProgress("With BN", 0) as progress:
        progress.say("10 runs are here")

    assert terminal.getvalue() == "With BN: 10 runs are here\n"


def test_epochs_from_many_threads_are_all_counted(capsys):
    with EpochProgress("With BN", 200) as progress, ThreadPool(8) as pool:
        pool.map(progress.tell, [EPOCH] * 200)

    lines = capsys.readouterr().err.splitlines()
    told = [f"{count} of 200)" for count in (50, 100, 150, 200)]
    assert [line.rpartition("(")[2] for line in lines] == told


def test_an_error_passes(capsys):
    with pytest.raises(ValueError, match="diverged"), EpochProgress("With BN", 2):
        raise ValueError("diverged")

    assert capsys.readouterr().err == ""
