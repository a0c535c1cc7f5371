"""An exact calculator as a function expert: arithmetic in digits or in English words, and nothing else.

    answer("What is seventeen times twenty-three?")      # '391'
    answer("3/4 - 1/3")                                  # '5/12 (about 0.4166666667)'
    answer("What is the capital of France?")             # None: another expert's question

A precedence parser (Pratt, Top Down Operator Precedence, 1973) over `calculator_tokens.py` computes with fractions as it reads;
only roots that are no fraction are rounded, and say so. What is ambiguous or larger than `MAX_BITS` is None. No algebra, units,
dates or word problems.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction

from orchestrator.experts.calculator_tokens import NotArithmetic, Token, tokenize

MAX_BITS = 4096
"""Of every numerator and denominator on the way: about 1,200 digits, worked out and written in under a millisecond."""
MAX_DEPTH = 40
SIGNIFICANT_DIGITS = 10
_ROOT_DIGITS = 30
_TIGHT = 30
"""Binding power of what stands after a function, `of`, or a sign: powers bind closer, products don't."""
_END = Token("end")


def answer(question: str) -> str | None:
    """The result of the arithmetic in a question, as text; None when the question is not plainly arithmetic."""
    try:
        parser = _Parser(tokenize(question))
        value = parser.parse()
    except NotArithmetic:
        return None
    except ZeroDivisionError:
        return "undefined: division by zero"
    return format_number(value, exact=parser.exact)


def format_number(value: Fraction, *, exact: bool = True) -> str:
    """Integers and terminating decimals in full; other fractions as such, and rounded; what is not exact, rounded."""
    if not exact:
        return f"about {_rounded(value)}"
    if value.denominator == 1:
        return str(value.numerator)
    twos = (value.denominator & -value.denominator).bit_length() - 1
    fives, rest = 0, value.denominator >> twos
    while rest % 5 == 0:
        fives, rest = fives + 1, rest // 5
    if rest != 1:
        return f"{value.numerator}/{value.denominator} (about {_rounded(value)})"
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


class _Parser:
    """Reads tokens once, from left to right. exact: whether no root was rounded."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._operations = 0
        self._depth = 0
        self.exact = True

    def parse(self) -> Fraction:
        """The value of all tokens. Raises `NotArithmetic`, also for a lone number, and `ZeroDivisionError`."""
        value = self._command(self._next().kind) if self._peek() in _COMMANDS else self._expression(0)
        if self._peek() != "end" or not self._operations:
            raise NotArithmetic("not one whole expression")
        return value

    def _peek(self) -> str:
        return self._tokens[self._position].kind if self._position < len(self._tokens) else "end"

    def _next(self) -> Token:
        token = self._tokens[self._position] if self._position < len(self._tokens) else _END
        self._position += 1
        return token

    def _accept(self, kind: str) -> bool:
        accepted = self._peek() == kind
        self._position += accepted
        return accepted

    def _expect(self, kind: str) -> None:
        if not self._accept(kind):
            raise NotArithmetic(f"expected {kind}")

    def _computed(self, value: Fraction) -> Fraction:
        """Count an operation, and refuse results that are too large."""
        self._operations += 1
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            raise NotArithmetic("too large")
        return value

    def _expression(self, binding: int) -> Fraction:
        """An operand, and every operator after it that binds closer than `binding`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotArithmetic("nested too deeply")
        left = self._operand()
        while True:
            kind = self._peek()
            if kind in _POSTFIX:
                self._next()
                left = self._computed(_POSTFIX[kind](left))
            elif kind in _INFIX and _INFIX[kind][0] > binding:
                self._next()
                left = self._infix(kind, left)
            else:
                self._depth -= 1
                return left

    def _infix(self, kind: str, left: Fraction) -> Fraction:
        power, function = _INFIX[kind]
        right = self._expression(power - (kind == "^"))
        if self._tokens[self._position - 1].kind == "percent" and kind not in ("*", "/"):
            right = _share(kind, left, right)
        return self._computed(function(left, right))

    def _operand(self) -> Fraction:
        token = self._next()
        if token.kind in ("number", "fraction"):
            share = token.kind == "fraction"
            if self._accept("percent"):
                token, share = Token("number", token.value / 100), True
            return self._of(token.value) if share and self._accept("of") else token.value
        if token.kind == "(":
            value = self._expression(0)
            self._expect(")")
            return value
        if token.kind in ("-", "negative"):
            return -self._expression(_TIGHT)
        return self._function(token.kind)

    def _of(self, share: Fraction) -> Fraction:
        return self._computed(share * self._expression(_TIGHT))

    def _function(self, kind: str) -> Fraction:
        """`square root of ...`, `sum of ... and ...`, `remainder when ... is divided by ...`."""
        if kind in _ROOTS:
            return self._computed(self._root(self._expression(_TIGHT), _ROOTS[kind]))
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
        """`add 3, 4 and 5`, `subtract 3 from 10`, `divide 10 by 4`."""
        connector, required, function = _COMMANDS[kind]
        arguments = self._arguments()
        if required and (len(arguments) != 1 or self._peek() != connector):
            raise NotArithmetic(f"expected {connector}")
        if self._accept(connector):
            arguments.append(self._expression(_TIGHT))
            if self._tokens[self._position - 1].kind == "percent":
                arguments[-1] = _share(kind, arguments[0], arguments[-1])
        return self._combined(function, arguments)

    def _arguments(self) -> list[Fraction]:
        """`3`, `3 and 4`, `3, 4, and 5`."""
        arguments = [self._expression(_TIGHT)]
        while self._accept(","):
            self._accept("and")
            arguments.append(self._expression(_TIGHT))
        while self._accept("and"):
            arguments.append(self._expression(_TIGHT))
        return arguments

    def _combined(self, function: Callable[[Fraction, Fraction], Fraction], arguments: Sequence[Fraction]) -> Fraction:
        raise NotImplementedError

    def _root(self, value: Fraction, degree: int) -> Fraction:
        raise NotImplementedError
