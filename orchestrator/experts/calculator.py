"""An exact calculator as a function expert: arithmetic in digits or in English words, and nothing else.

    answer("What is seventeen times twenty-three?")      # '391'
    answer("3/4 - 1/3")                                  # '5/12 (about 0.4166666667)'
    answer("What is the capital of France?")             # None: another expert's question

A precedence parser (Pratt, "Top Down Operator Precedence", 1973) over `calculator_tokens.py` computes with fractions as it reads
(`calculator_numbers.py`); only roots that are no fraction are rounded, and say so. What is ambiguous ("100 + 10%") or large
(9^9^9) is None. No algebra, units, dates or word problems.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod

from orchestrator.experts.calculator_numbers import bounded, factorial, format_number, gcd, lcm, power, root
from orchestrator.experts.calculator_tokens import NotArithmetic, Token, tokenize

MAX_DEPTH = 40
_TIGHT = 30
"""Binding power of what stands after a function, `of`, or a sign: powers bind closer, products don't."""

_Values = Sequence[Fraction]


def answer(question: str) -> str | None:
    """The result of the arithmetic in a question, as text; None when the question is not plainly arithmetic."""
    try:
        parser = _Parser(tokenize(question))
        return format_number(parser.parse(), exact=parser.exact)
    except NotArithmetic:
        return None
    except ZeroDivisionError:
        return "undefined: division by zero"


def _sum(values: _Values) -> Fraction:
    return sum(values, Fraction(0))


def _product(values: _Values) -> Fraction:
    return prod(values, start=Fraction(1))


def _average(values: _Values) -> Fraction:
    return _sum(values) / len(values)


def _pair(function: Callable[[Fraction, Fraction], Fraction]) -> Callable[[_Values], Fraction]:
    """A function of exactly two, as one of a list."""

    def of_list(values: _Values) -> Fraction:
        if len(values) != 2:
            raise NotArithmetic("expected two numbers")
        return function(*values)

    return of_list


def _subtracted_from(left: Fraction, right: Fraction) -> Fraction:
    return right - left


_INFIX: dict[str, tuple[int, Callable[[Fraction, Fraction], Fraction]]] = {
    "+": (10, operator.add),
    "-": (10, operator.sub),
    "subtracted from": (10, _subtracted_from),
    "increased": (10, operator.add),
    "decreased": (10, operator.sub),
    "*": (20, operator.mul),
    "/": (20, operator.truediv),
    "mod": (20, operator.mod),
    "^": (40, power),
}
_POSTFIX: dict[str, Callable[[Fraction], Fraction]] = {
    "squared": lambda value: value**2,
    "cubed": lambda value: value**3,
    "factorial": factorial,
    "dozen": lambda value: value * 12,
}
_PREFIX: dict[str, Callable[[Fraction], Fraction]] = {
    "square": lambda value: value**2,
    "cube": lambda value: value**3,
    "factorial of": factorial,
    "absolute": abs,
    "double": lambda value: value * 2,
    "triple": lambda value: value * 3,
}
_ROOTS = {"square root": 2, "cube root": 3}
_LISTS: dict[str, Callable[[_Values], Fraction]] = {
    "sum": _sum,
    "product": _product,
    "average": _average,
    "difference": _pair(operator.sub),
    "distance": _pair(lambda left, right: abs(left - right)),
    "quotient": _pair(operator.truediv),
    "gcd": gcd,
    "lcm": lcm,
}
_COMMANDS: dict[str, tuple[str, Callable[[_Values], Fraction]]] = {
    "add": ("to", _sum),
    "multiply": ("by", _product),
    "subtract": ("from", _pair(_subtracted_from)),
    "divide": ("by", _pair(operator.truediv)),
    "increase": ("by", _pair(operator.add)),
    "decrease": ("by", _pair(operator.sub)),
}
_NEEDS_CONNECTOR = frozenset({"subtract", "divide", "increase", "decrease"})
_OF_PERCENT = frozenset({"increased", "decreased", "increase", "decrease"})
"""`by 10%` after one of these means ten percent of what is changed."""
_FACTOR = frozenset({"*", "/", "multiply", "divide"})
"""Next to one of these, ten percent is 0.1. Next to anything else it is ambiguous."""


class _Parser:
    """Reads tokens once, from left to right. exact: whether no root had to be rounded."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = [*tokens, Token("end")]
        self._position = 0
        self._operations = 0
        self._depth = 0
        self.exact = True

    def parse(self) -> Fraction:
        """The value of all tokens. Raises `NotArithmetic`, for a lone number too, and `ZeroDivisionError`."""
        value = self._command(self._next().kind) if self._peek() in _COMMANDS else self._expression(0)
        if self._peek() != "end" or not self._operations:
            raise NotArithmetic("not one whole expression")
        return value

    def _peek(self) -> str:
        return self._tokens[self._position].kind

    def _next(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _accept(self, kind: str) -> bool:
        accepted = self._peek() == kind
        self._position += accepted
        return accepted

    def _expect(self, kind: str) -> None:
        if not self._accept(kind):
            raise NotArithmetic(f"expected {kind}")

    def _after_percent(self) -> bool:
        return self._tokens[self._position - 1].kind == "percent"

    def _computed(self, value: Fraction) -> Fraction:
        self._operations += 1
        return bounded(value)

    def _expression(self, binding: int) -> Fraction:
        """An operand, and every operator after it that binds closer than `binding`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotArithmetic("nested too deeply")
        value = self._operand()
        while True:
            kind = self._peek()
            if kind in _POSTFIX:
                self._next()
                value = self._computed(_POSTFIX[kind](value))
            elif kind in _INFIX and _INFIX[kind][0] > binding:
                value = self._infix(value)
            else:
                self._depth -= 1
                return value

    def _infix(self, left: Fraction) -> Fraction:
        if self._after_percent() and self._peek() not in _FACTOR:
            raise NotArithmetic("ambiguous percentage")
        kind = self._next().kind
        binding, function = _INFIX[kind]
        right = self._expression(binding - (kind == "^"))
        return self._computed(function(left, self._share(kind, left, right)))

    def _share(self, kind: str, changed: Fraction, value: Fraction) -> Fraction:
        """The value just read; if it was a bare percentage, what that means after an operator of this kind."""
        if not self._after_percent() or kind in _FACTOR:
            return value
        if kind in _OF_PERCENT:
            return changed * value
        raise NotArithmetic("ambiguous percentage")

    def _operand(self) -> Fraction:
        token = self._next()
        if token.kind in ("number", "fraction"):
            return self._number(token)
        if token.kind == "(":
            value = self._expression(0)
            self._expect(")")
            return value
        if token.kind in ("-", "negative"):
            return -self._expression(_TIGHT)
        return self._function(token.kind)

    def _number(self, token: Token) -> Fraction:
        """A number; a fraction or a percentage may be `of` something."""
        percentage = self._accept("percent")
        share = token.value / 100 if percentage else token.value
        if (percentage or token.kind == "fraction") and self._accept("of"):
            return self._computed(share * self._expression(_TIGHT))
        return share

    def _function(self, kind: str) -> Fraction:
        """`square root of ...`, `sum of ... and ...`, `remainder when ... is divided by ...`."""
        if kind in _ROOTS:
            value, exact = root(self._expression(_TIGHT), _ROOTS[kind])
            self.exact = self.exact and exact
            return self._computed(value)
        if kind in _PREFIX:
            return self._computed(_PREFIX[kind](self._expression(_TIGHT)))
        if kind in _LISTS:
            return self._combined(_LISTS[kind], self._arguments())
        if kind == "remainder":
            dividend = self._expression(_TIGHT)
            self._accept("is")
            self._expect("/")
            return self._computed(dividend % self._expression(_TIGHT))
        raise NotArithmetic(f"{kind} is no operand")

    def _command(self, kind: str) -> Fraction:
        """`add 3, 4 and 5`, `subtract 3 from 10`, `increase 50 by 10%`."""
        connector, function = _COMMANDS[kind]
        arguments = self._arguments()
        if kind in _NEEDS_CONNECTOR and self._peek() != connector:
            raise NotArithmetic(f"expected {connector}")
        if self._accept(connector):
            arguments.append(self._share(kind, arguments[0], self._expression(_TIGHT)))
        return self._combined(function, arguments)

    def _arguments(self) -> list[Fraction]:
        """`3`, `3 and 4`, `3, 4, and 5`."""
        arguments = [self._argument()]
        while self._accept(","):
            self._accept("and")
            arguments.append(self._argument())
        while self._accept("and"):
            arguments.append(self._argument())
        return arguments

    def _argument(self) -> Fraction:
        value = self._expression(_TIGHT)
        if self._after_percent():
            raise NotArithmetic("ambiguous percentage")
        return value

    def _combined(self, function: Callable[[_Values], Fraction], arguments: _Values) -> Fraction:
        if len(arguments) < 2:
            raise NotArithmetic("expected at least two numbers")
        return self._computed(function(arguments))
