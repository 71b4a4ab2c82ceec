"""The Python file that `network.code` names: the class in it, and what is wrong with it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import PydanticUndefinedAnnotation, PydanticUserError

from pipeline.errors import ParamsError, first_line, printable
from pipeline.params import Network


def network_class(code: str) -> type[Network]:
    """Returns the class in a Python file whose fields are the keys beside `code`.

    Keras is imported only when the class is used, so that checking params.yaml costs no TensorFlow.

    Raises:
        ParamsError: if the file cannot be read, fails, or does not define one such class.
    """
    try:
        source = Path(code).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ParamsError(f"`code` must be a Python file, got {code!r}: {reason}") from None
    return _network_class(code, source)


def fault(code: str, error: Exception) -> ParamsError:
    """Returns an error of one line that names the line of the file where another was raised."""
    if isinstance(error, SyntaxError) and error.filename == code:
        line, said = error.lineno, error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == code), None)
        said = first_line(error)
    if isinstance(error, PydanticUserError) and error.code == "model-field-missing-annotation":
        said = f"{said.partition('. ')[0]}: give each field a type, as in `width: int`"
    where = f"{code}, line {line}" if line else code
    return ParamsError(printable(f"{where}: {type(error).__name__}: {said}"))


@functools.lru_cache
def _network_class(code: str, source: str) -> type[Network]:
    # Pydantic looks up the types of fields in the module, by its name.
    digest = hashlib.sha256(f"{code} {source}".encode()).hexdigest()
    module = ModuleType(f"network_{digest}")
    sys.modules[module.__name__] = module
    try:
        tree = ast.parse(source, code)
        _expect_no_other_files(tree, code)
        tree = _with_keras_on_demand(tree, module)
        exec(compile(tree, code, "exec", dont_inherit=True), vars(module))  # noqa: S102
    except ParamsError:
        raise
    except Exception as error:  # noqa: BLE001
        raise fault(code, error) from None
    classes = [each for each in vars(module).values() if inspect.isclass(each)]
    found = [
        each for each in classes if issubclass(each, Network) and each.__module__ == module.__name__
    ]
    if len(found) != 1:
        has = ", ".join(each.__name__ for each in found) or "none"
        raise ParamsError(f"{code} must have one class that extends Network, and has {has}")
    if inspect.isabstract(found[0]):
        raise ParamsError(f"{code}: {found[0].__name__} must have a method `hidden`")
    try:
        # Types may have been left as text, and mean nothing.
        found[0].model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise fault(code, error) from None
    return found[0]


def _expect_no_other_files(tree: ast.Module, code: str) -> None:
    """Refuses imports from the project but of the package: DVC would not see their changes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else [""]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            is_here = not top or Path(top).is_dir() or Path(f"{top}.py").exists()
            if is_here and top != "pipeline":
                raise ParamsError(
                    f"{code}, line {node.lineno}: imports another file of the project, whose "
                    "changes would go unnoticed; put all code of a network into one file"
                )


class _OnDemand(ModuleType):
    """Stands for a module that is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _with_keras_on_demand(tree: ast.Module, module: ModuleType) -> ast.Module:
    """Returns the tree without `import keras`, which is done when the network is built."""
    keras = [ast.dump(node) for node in ast.parse("import keras").body]
    body = [node for node in tree.body if ast.dump(node) not in keras]
    if len(body) < len(tree.body):
        vars(module)["keras"] = _OnDemand("keras")
    return ast.Module(body, tree.type_ignores)
