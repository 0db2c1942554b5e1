"""Our script is ECMAScript 3 (ECMA-262 3rd edition, 1999), judged by a parser that nobody here wrote."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import esprima
import pytest

TEMPLATES = Path(__file__).parents[2] / "edge_server" / "portal" / "templates"
SCRIPTS = sorted(TEMPLATES.glob("*.js"))
SCRIPT_MAX_BYTES = 16_000
NODES = set(
    [
        "Program",
        "FunctionDeclaration",
        "FunctionExpression",
        "VariableDeclaration",
        "VariableDeclarator",
        "Identifier",
        "Literal",
        "BlockStatement",
        "EmptyStatement",
        "ExpressionStatement",
        "IfStatement",
        "LabeledStatement",
        "BreakStatement",
        "ContinueStatement",
        "WithStatement",
        "SwitchStatement",
        "SwitchCase",
        "ReturnStatement",
        "ThrowStatement",
        "TryStatement",
        "CatchClause",
        "WhileStatement",
        "DoWhileStatement",
        "ForStatement",
        "ForInStatement",
        "ThisExpression",
        "ArrayExpression",
        "ObjectExpression",
        "Property",
        "SequenceExpression",
        "UnaryExpression",
        "BinaryExpression",
        "AssignmentExpression",
        "UpdateExpression",
        "LogicalExpression",
        "ConditionalExpression",
        "CallExpression",
        "NewExpression",
        "MemberExpression",
    ]
)
RESERVED = set(
    [
        "break",
        "case",
        "catch",
        "continue",
        "default",
        "delete",
        "do",
        "else",
        "finally",
        "for",
        "function",
        "if",
        "in",
        "instanceof",
        "new",
        "return",
        "switch",
        "this",
        "throw",
        "try",
        "typeof",
        "var",
        "void",
        "while",
        "with",
        "abstract",
        "boolean",
        "byte",
        "char",
        "class",
        "const",
        "debugger",
        "double",
        "enum",
        "export",
        "extends",
        "final",
        "float",
        "goto",
        "implements",
        "import",
        "int",
        "interface",
        "long",
        "native",
        "package",
        "private",
        "protected",
        "public",
        "short",
        "static",
        "super",
        "synchronized",
        "throws",
        "transient",
        "volatile",
        "null",
        "true",
        "false",
    ]
)


def nodes_of(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from nodes_of(each)
    elif hasattr(value, "type") and isinstance(value.type, str):
        yield value
        for name, each in vars(value).items():
            if name != "type":
                yield from nodes_of(each)


def faults(source: str) -> list[str]:
    """Name what a script engine of 1999 does not know."""
    tree = esprima.parseScript(source, {"tokens": True})
    found = []
    for node in nodes_of(tree.body):
        if node.type not in NODES:
            found.append(node.type)
        elif node.type == "VariableDeclaration" and node.kind != "var":
            found.append(node.kind)
        elif node.type == "Property" and (node.kind != "init" or node.computed or node.shorthand or node.method):
            found.append("property")
        elif node.type == "MemberExpression" and not node.computed and node.property.name in RESERVED:
            found.append(f".{node.property.name}")
        elif node.type == "Property" and node.key.type == "Identifier" and node.key.name in RESERVED:
            found.append(f"{node.key.name}:")
    values = [token.value for token in tree.tokens]
    found += ["comma at the end" for one, two in pairwise(values) if one == "," and two in "]})"]
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_our_scripts_are_ecmascript_3_and_small(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    assert faults(source) == []
    assert source.isascii(), "it is the same in every charset"
    assert len(source) <= SCRIPT_MAX_BYTES


@pytest.mark.parametrize(
    "source",
    [
        "let a = 1;",
        "const a = 1;",
        "(a) => a;",
        "`a`;",
        "class A {}",
        "var a = [1, 2,];",
        "var a = {b: 1,};",
        "a.catch(b);",
        "var a = {get b() { return 1; }};",
        "var a = {default: 1};",
        "for (var a of b) {}",
        "var {a} = b;",
    ],
)
def test_the_check_finds_newer_language(source: str) -> None:
    assert faults(source)
