"""A module's mutants, as Cosmic Ray makes them, without those that nobody could notice."""

import ast
import contextlib
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# In an operator's place come its nearest: any other is easier to notice.
OPERATORS = re.compile(
    r"core/(NumberReplacer|AddNot|ExceptionReplacer|ZeroIterationForLoop"
    r"|Replace(True|False|And|Or|Break|Continue)With\w+|ReplaceUnaryOperator_Delete_\w+"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul"
    r"|BitOr_BitAnd|BitAnd_BitOr)|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is"
    r"|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt))"
)


OPPOSITES = {ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.Eq: ast.NotEq, ast.Is: ast.IsNot}
OPPOSITES |= {value: key for key, value in OPPOSITES.items()}


class Mutant(NamedTuple):
    """A module in which one line reads otherwise."""

    path: Path
    line: int
    change: str
    code: str


def mutants_of(path):
    """Returns a module's mutants, no two of which mean the same."""
    code = path.read_text(encoding="utf-8")
    lines, noise, found = code.splitlines(), [*_noise(ast.parse(code))], {}
    for name in filter(OPERATORS.fullmatch, operator_names()):
        operator = get_operator(name)()
        places = [
            at for node in ast_nodes(get_ast(code)) for at in operator.mutation_positions(node)
        ]
        for occurrence, ((line, column), _) in enumerate(places):
            rest = lines[line - 1][column:]
            # Signs between parameters are no operators, and each `not` is taken away already.
            is_none = rest.startswith(("*,", "/,")) or (
                name.endswith("AddNot") and rest.startswith("not ")
            )
            if not is_none and not any(begin <= (line, column) < end for begin, end in noise):
                mutated = mutate_code(code, operator, occurrence)
                was, now = (text.splitlines()[line - 1].strip() for text in (code, mutated))
                # To Cosmic Ray the stars before a dictionary are an operator too.
                with contextlib.suppress(SyntaxError):
                    meaning = ast.dump(_Plain().visit(ast.parse(mutated)))
                    found.setdefault(meaning, Mutant(path, line, f"{was} -> {now}", mutated))
    return list(found.values())


def sampled(mutants, most):
    """Returns so many of the mutants, or all if there are no more, in the order given.

    Each file gives the same share of its own, and at least one. Which, a hash of file and change
    decides: on every machine the same, whatever else the file says.
    """
    of_file, share = Counter(mutant.path for mutant in mutants), {}
    taken = Counter()
    for mutant in sorted(mutants, key=_drawn):
        share[mutant] = taken[mutant.path] / of_file[mutant.path], _drawn(mutant)
        taken[mutant.path] += 1
    chosen = set(sorted(mutants, key=share.get)[:most])
    return [mutant for mutant in mutants if mutant in chosen]


def _drawn(mutant):
    text = f"{mutant.path.as_posix()} {mutant.change}"
    return hashlib.sha256(text.encode()).hexdigest(), mutant.line


class _Plain(ast.NodeTransformer):
    """Says `not a < b` as `a >= b`."""

    def visit_UnaryOp(self, node):
        match node:
            case ast.UnaryOp(ast.Not(), ast.Compare(left, [sign], right)):
                if other := OPPOSITES.get(type(sign)):
                    return self.generic_visit(ast.Compare(left, [other()], right))
        return self.generic_visit(node)


def _noise(tree):
    """Yields from where to where a module says nothing that a result could depend on."""
    for node in ast.walk(tree):
        parts = []
        match node:
            case ast.arg(annotation=part) | ast.AnnAssign(annotation=part):
                parts = [part]
            case ast.FunctionDef() | ast.ClassDef():
                # How it is compiled, or frozen.
                parts = [getattr(node, "returns", None), *node.decorator_list]
            case ast.Raise(exc=ast.Call(args=message)):
                parts = message
            case ast.keyword(arg="strict"):
                # That two lengths are the same is an assertion.
                parts = [node]
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                parts = [node.test]
            case ast.BinOp():
                yield from _joints(node)
        yield from ((_start(part), _end(part)) for part in parts if part)


def _joints(node):
    """Paths, texts and dictionaries know one operator: any other is a TypeError."""
    chain = [node]
    while isinstance(chain[-1].left, ast.BinOp):
        chain.append(chain[-1].left)
    if any(map(_is_joined, [chain[-1].left, *(one.right for one in chain)])):
        yield from ((_end(one.left), _start(one.right)) for one in chain)


def _is_joined(node):
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text or isinstance(node, ast.JoinedStr | ast.Dict | ast.DictComp)


def _start(node):
    return node.lineno, node.col_offset


def _end(node):
    return node.end_lineno, node.end_col_offset
