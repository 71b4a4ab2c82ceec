"""Breaks the code on purpose, an operator or a number at a time, and tells what no test noticed.

Cosmic Ray would test each mutant in a process of its own, which takes five seconds to import
TensorFlow. Here each is a fork of a process that has imported it, and runs the tests that run its
line. A mutant is only ever in memory: no file of the project is touched.

Of a room with many mutants a sample is tested, unless `--all` is given. rooms.toml has the rooms,
their tests, and what survives for a reason.
"""

import argparse
import contextlib
import functools
import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from importlib.machinery import SourceFileLoader
from pathlib import Path

import coverage
import pytest

from tests.forks import python
from tests.mutants.made import mutants_of, sampled

# Mutants of a room. With more, all rooms would take two processors longer than 20 minutes.
MOST = 110
# CPU seconds of tests for a mutant, the cheapest first, beside what the tests of a file share; what
# outlives them has survived.
BUDGET = 20
LEAST_KILLED = 0.9
# CPU seconds that a test may take beside three times what it takes without a mutant.
SPARE = 20
# Processor time that is used up does not depend on what else the machine does: that is a loop.
ENDS = {0: "survived", -signal.SIGXCPU: "looped", -signal.SIGALRM: "waited"}


class Chosen:
    """Has pytest run these tests in this order, or all; measures what each costs.

    Ends the process by a signal where a test takes too long, if it is told what each should cost.
    """

    def __init__(self, names=None, expected=()):
        self.names, self.expected, self.cost = names, dict(expected), {}

    def pytest_collection(self, session):
        # Beside a room's own tests, tests/conftest.py would measure none.
        places = [Path(argument.partition("::")[0]) for argument in session.config.args]
        rooms = [f"pipeline.{place.relative_to('tests').parts[0]}" for place in places]
        session.config.option.cov_source = rooms
        self._limit(SPARE)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if self.names is not None:
            items[:] = [one for one in items if one.nodeid in self.names]
            items.sort(key=lambda one: self.names.index(one.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        began = time.process_time()
        # The first test of a file also makes what its tests share.
        self._limit(SPARE + 3 * self.expected.get(item.nodeid, 0))
        ended = yield
        self.cost[item.nodeid] = time.process_time() - began
        return ended

    def _limit(self, seconds):
        if self.expected:
            end = int(time.process_time() + seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))
            # For those that wait and do not work.
            signal.alarm(int(5 * seconds))


def run_tests(folder, *arguments, chosen=None):
    """Runs tests until one fails, writing only into that folder; returns pytest's exit code."""
    # With streams of pytest's own, what DVC logs would go to one that the first run has closed.
    options = ["-x", "-q", "-s", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    options.append(f"--basetemp={folder}/{os.getpid()}")
    return pytest.main([*options, *arguments], [chosen or Chosen()])


def forked(work, output=os.devnull):
    """Starts a process that ends with the exit code that the work returns."""
    if pid := os.fork():
        return pid
    _redirect(output)
    os._exit(work())


def _redirect(output):
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)


def measured(files, tests, folder):
    """Returns what each test costs, and which tests run each line of each file."""

    def work():
        chosen = Chosen()
        packages = {f"--cov={file.parent}" for file in files}
        options = ["--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
        code = run_tests(folder, *packages, *options, *tests, chosen=chosen)
        Path(folder, "cost").write_text(json.dumps(chosen.cost), encoding="utf-8")
        return code

    os.environ["COVERAGE_FILE"] = f"{folder}/coverage"
    if os.waitpid(forked(work, f"{folder}/output"), 0)[1]:
        sys.exit(Path(folder, "output").read_text(encoding="utf-8"))
    data = coverage.CoverageData(f"{folder}/coverage")
    data.read()
    ran = {
        file: {
            line: {name.rpartition("|")[0] for name in names} - {""}
            for line, names in data.contexts_by_lineno(str(file.absolute())).items()
        }
        for file in files
    }
    return json.loads(Path(folder, "cost").read_text(encoding="utf-8")), ran


def tests_for(mutant, cost, ran):
    """Returns the tests that may notice: those that run its line, then others of their files.

    Both begin with the tests of its own module. What tests share is known of the first test alone;
    what an import runs, of none.
    """
    own = f"test_{mutant.path.stem}.py"
    file_of = {name: name.partition("::")[0] for name in cost}
    near = ran[mutant.path].get(mutant.line) or set().union(*ran[mutant.path].values())
    spent = Counter()
    for name in near:
        spent[file_of[name]] += cost[name]
    # File by file: with others in between, what its tests share would be made twice.
    rank = {
        name: (name not in near, Path(file).name != own, spent[file], file, cost[name])
        for name, file in file_of.items()
        if file in spent
    }
    # What a file's tests share is in the cost of the first that was measured.
    sharing = {max((cost[name], name) for name in rank if file_of[name] == file) for file in spent}
    names, total = [], 0
    for name in sorted(rank, key=rank.get):
        if total < BUDGET:
            names.append(name)
            total += 0 if (cost[name], name) in sharing else cost[name]
    return names


def survives(mutant, names, cost, folder):
    """Returns 0 if the mutant survives; ends by a signal if a test takes too long."""
    own, path = SourceFileLoader.get_code, str(mutant.path.absolute())
    SourceFileLoader.get_code = lambda loader, name: (
        compile(mutant.code, path, "exec", dont_inherit=True)
        if loader.path == path
        else own(loader, name)
    )
    files = {name.partition("::")[0] for name in names}
    return run_tests(folder, *files, chosen=Chosen(names, cost))


def modules(room):
    """Returns the paths of a room's modules, without those that only hold data."""
    files = [file for at in map(Path, room["code"]) for file in sorted(at.rglob("*.py")) or [at]]
    return [file for file in files if file.as_posix() not in room.get("data", ())]


def outcomes(mutants, tests):
    """Yields each mutant of a room with what became of it: killed, looped, waited or survived."""
    files = sorted({mutant.path for mutant in mutants})
    waiting, running = [*mutants], {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        # One for all: pytest would start one each time.
        forks, end = python.start()
        stack.callback(end)
        os.environ[python.FORKS] = str(forks)
        # Most mutants leave most of what is compiled as it is.
        os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={folder}/compiled"
        out, error = os.dup(1), os.dup(2)
        _redirect(os.devnull)
        run_tests(folder, "--collect-only", *tests)
        os.dup2(out, 1)
        os.dup2(error, 2)
        # What the tests have imported stays, but for the project.
        for name in [*sys.modules]:
            if name.partition(".")[0] in {"pipeline", "tests"}:
                del sys.modules[name]
        gc.freeze()
        cost, ran = measured(files, tests, folder)

        def start(mutant):
            names = tests_for(mutant, cost, ran)
            return forked(functools.partial(survives, mutant, names, cost, folder))

        # What passes for a mutant has to fail because of it.
        unchanged = waiting[0]._replace(code=waiting[0].path.read_text(encoding="utf-8"))
        if os.waitpid(start(unchanged), 0)[1]:
            sys.exit("error: in a fork the tests fail though nothing is changed")
        while waiting or running:
            if waiting and len(running) < os.cpu_count():
                mutant = waiting.pop()
                if any(ran[mutant.path].values()):
                    running[start(mutant)] = mutant
                else:
                    yield mutant, "survived"
            else:
                pid, status = os.wait()
                yield running.pop(pid), ENDS.get(os.waitstatus_to_exitcode(status), "killed")


def main(*arguments):
    """Prints what became of the mutants of these rooms, or of all; returns an exit code."""
    table = tomllib.loads(Path(__file__).with_name("rooms.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--all", action="store_true", help="test all, however many a room has")
    parser.add_argument("rooms", nargs="*", metavar="room", help=", ".join(table["rooms"]))
    given = parser.parse_args(arguments)
    reasons = {
        (path, change): why
        for path, changes in table["survivors"].items()
        for change, why in changes.items()
    }
    total, made, faults = Counter(), 0, 0
    for name in given.rooms or table["rooms"]:
        room = table["rooms"][name]
        mutants = [one for file in modules(room) for one in mutants_of(file)]
        chosen = mutants if given.all else sampled(mutants, MOST)
        began, before = time.monotonic(), sum(os.times()[:4])
        count, lived = tested(chosen, room["tests"], reasons)
        minutes, of_cpu = (time.monotonic() - began) / 60, (sum(os.times()[:4]) - before) / 60
        wrong = lived ^ expected_to_live(mutants, chosen, lived, reasons)
        faults += len(wrong)
        print(
            f"{name}: {killed(count):.1%} killed of {amount(count, len(mutants))};"
            f" {len(lived)} survive, {len(lived - wrong)} of them for a reason;"
            f" {count['looped']} looped, {count['waited']} waited;"
            f" {minutes:.1f} minutes, {of_cpu:.1f} of CPU time",
            flush=True,
        )
        total, made = total + count, made + len(mutants)
    print(f"all: {killed(total):.1%} killed of {amount(total, made)}")
    return int(faults > 0 or killed(total) < LEAST_KILLED)


def tested(mutants, tests, reasons):
    """Tests mutants; returns how many ended in which way, and those that live, which it prints."""
    count, lived = Counter(), set()
    for mutant, ended in outcomes(mutants, tests):
        count[ended] += 1
        if ended in {"survived", "waited"}:
            lived.add(told(mutant))
            why = reasons.get(told(mutant), "nobody knows why")
            print(f"{mutant.path}:{mutant.line} {mutant.change}\n    {ended}: {why}", flush=True)
    return count, lived


def expected_to_live(mutants, chosen, lived, reasons):
    """Returns which of a room's mutants rooms.toml says survive; prints where it is wrong.

    Of those that were not tested nothing is expected but that there are such.
    """
    paths = {mutant.path.as_posix() for mutant in mutants}
    made, known = set(map(told, mutants)), {one for one in reasons if one[0] in paths}
    untested = made - set(map(told, chosen))
    for path, change in sorted(known - lived - untested):
        print(f"{path} {change}\n    is in rooms.toml, but does not survive")
    return known - untested


def told(mutant):
    """Returns what rooms.toml knows a mutant by."""
    return mutant.path.as_posix(), mutant.change


def amount(count, made):
    """Returns how many mutants were tested, in words."""
    if count.total() == made:
        return f"{made} mutants"
    return f"{count.total()} of {made} mutants, sampled"


def killed(count):
    """Returns the share of the mutants that a test noticed."""
    return (count["killed"] + count["looped"]) / count.total()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
