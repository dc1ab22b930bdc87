"""The pages, README.md and docs/*.md, run as they stand: what they show is what happens.

`run_page` runs the fences of a page in their order, in one folder:

* a fence whose info string has a second word (`toml numbers.toml`) is written to a file of that name;
* a `python` fence runs, all of them in one namespace: one that begins with `>>>` as a session, with what it shows;
  any other whole, and a `text` fence right after it is what it prints;
* a `console` fence runs: lines that begin with `$ ` go to bash one by one and must succeed (in a pipe all of it), the
  lines below a command are what it prints (no lines: anything);
* `<!-- not run: the reason -->` right above a fence leaves it out; fences of other languages are only read.

In what is printed, `...` stands for anything. `python` and `sequencing` are those under test, installed or not.
"""

import contextlib
import doctest
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


class Fence(NamedTuple):
    """What stands between three backticks and three backticks."""

    language: str  # the first word of the info string: python, console, text, or nothing
    file: str  # its second word, or nothing
    body: str
    page: str
    line: int  # where its first backtick stands
    above: str  # the last line above it that is not empty
    follows: bool  # nothing but empty lines between it and the fence before

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def fences(page: Path) -> list[Fence]:
    """The fences of a page in their order."""
    found: list[Fence] = []
    opened: tuple[str, str, int] | None = None
    body: list[str] = []
    above, follows = "", False
    for number, line in enumerate(page.read_text("utf-8").split("\n"), start=1):
        if opened is None and line.startswith("```"):
            language, _, file = line.strip("`").strip().partition(" ")
            opened, body = (language, file, number), []
        elif opened is not None and line.rstrip() == "```":
            language, file, first = opened
            text = "".join(f"{each}\n" for each in body)
            found.append(Fence(language, file, text, page.name, first, above, follows))
            opened, above, follows = None, "```", True
        elif opened is not None:
            body.append(line)
        elif line.strip():
            above, follows = line.strip(), False
    assert opened is None, f"{page.name}:{opened and opened[2]}: this fence is never closed"
    return found


def run_page(page: Path, folder: Path) -> int:
    """Run a page in a folder; how many of its fences ran."""
    shown, ran = fences(page), 0
    environment, namespace = surroundings(folder), {"__name__": page.stem}
    with contextlib.chdir(folder):
        for fence, after in zip(shown, [*shown[1:], None], strict=True):
            if fence.above.startswith("<!-- not run: "):
                continue
            if fence.file:
                (folder / fence.file).write_bytes(fence.body.encode())
            elif fence.language == "console":
                run_console(fence, environment)
            elif fence.language == "python" and fence.body.startswith(">>>"):
                run_session(fence, namespace)
            elif fence.language == "python":
                printed = after.body if after and after.language == "text" and after.follows else None
                run_whole(page, fence, namespace, printed)
            ran += fence.language in ("console", "python") and not fence.file
    return ran


def surroundings(folder: Path) -> dict[str, str]:
    """The environment in which a page's commands run."""
    programs = folder / ".bin"
    programs.mkdir()
    for name, arguments in {"python": "", "sequencing": " -m sequencing"}.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n', "utf-8")
        script.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def same(expected: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)


def run_console(fence: Fence, environment: dict[str, str]) -> None:
    """Each `$ ` line to bash; what stands below it is what it must print."""
    commands: list[tuple[str, str]] = []
    for line in fence.body.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        else:
            assert commands, f"{fence.place}: a console fence begins with a '$ ' line"
            commands[-1] = (commands[-1][0], f"{commands[-1][1]}{line}\n")
    for command, expected in commands:
        bash = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(bash, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, f"{fence.place}: {command}\nexit {done.returncode}\n{done.stderr}"
        wrong = f"{fence.place}: {command}\n{done.stdout}\nbut the page says\n{expected}"
        assert not expected or same(expected, done.stdout), wrong


def run_session(fence: Fence, namespace: dict[str, Any]) -> None:
    """What a person types at a prompt, and what they see."""
    session = doctest.DocTestParser().get_doctest(fence.body, namespace, fence.place, fence.page, fence.line)
    failed = doctest.DocTestRunner().run(session, clear_globs=False).failed
    assert failed == 0, f"{fence.place}: {failed} examples of the session fail, see above"
    namespace.update(session.globs)


def run_whole(page: Path, fence: Fence, namespace: dict[str, Any], expected: str | None) -> None:
    """A piece of a program."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * fence.line + fence.body, str(page), "exec"), namespace)
    said = printed.getvalue()
    assert expected is None or same(expected, said), f"{fence.place} prints\n{said}"
