"""Error messages of the command line: one sentence and an exit code."""

from __future__ import annotations

import errno
from pathlib import Path
from traceback import extract_tb, walk_tb

import typer

from pipelines.errors import MmsslError

#: Modules of models from outside of the package, whose errors are no bugs of mmssl.
OWN_MODULES: set[str] = set()
_FULL = {errno.ENOSPC, errno.EDQUOT}


def explain(problem: Exception) -> tuple[str, int]:
    """Return the sentence for an error (empty for none) and the exit code.

    Codes: 2 for a wrong command line or setting, 1 for everything else.
    """
    if isinstance(problem, MmsslError):
        return str(problem), problem.exit_code
    if isinstance(problem, typer.TyperException):
        return _of_command_line(problem)
    if isinstance(problem, typer.Abort):
        return "Aborted.", 1
    if isinstance(problem, BrokenPipeError):
        return "", 1
    if isinstance(problem, OSError):
        return _of_system(problem), 1
    # By name, as importing torch takes a second.
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":
        return "Out of memory; try a smaller --batch-size or --embedding-dim, or --device cpu.", 1
    if sentence := _of_own_model(problem):
        return sentence, 1
    what = f"{type(problem).__name__}: {problem}".rstrip(": ")
    if OWN_MODULES:
        own = ", ".join(sorted(OWN_MODULES))
        return (
            f"A model of {own} did something that mmssl does not expect, or this is a bug in mmssl ({what}); compare "
            "it with one of `mmssl models --template FILE`, or run the command with -v for the traceback."
        ), 1
    return f"This is a bug in mmssl ({what}); run the command with -v and report what it prints.", 1


def _of_own_model(problem: Exception) -> str:
    """Return the sentence for an error that code of a model of one's own raised; empty if it did not."""
    frames = [frame for frame, _ in walk_tb(problem.__traceback__)]
    traced = extract_tb(problem.__traceback__)
    for frame, place in zip(reversed(frames), reversed(traced), strict=True):
        module = str(frame.f_globals.get("__name__", ""))
        if module in OWN_MODULES:
            message = " ".join(f"{type(problem).__name__}: {problem}".rstrip(": .").split())
            return f"The model failed in {place.name}() ({place.filename}, line {place.lineno}): {message}."
        if module.partition(".")[0] in {"mmssl_cli", "pipelines"}:
            return ""
    return ""


def disk_is_full(problem: BaseException | None) -> bool:
    """Return True if an error or its cause is a full disk or quota."""
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in _FULL:
            return True
        problem = problem.__cause__
    return False


def _of_command_line(problem: typer.TyperException) -> tuple[str, int]:
    if type(problem).__name__ == "NoArgsIsHelpError":  # the help has been printed already
        return "", problem.exit_code
    context = getattr(problem, "ctx", None)
    sentence = problem.format_message().replace("Input should be greater than or equal to", "expected at least")
    sentence = sentence.replace("Input should be less than or equal to", "expected at most")
    if possible := getattr(problem, "possibilities", None):
        sentence = f"{problem.message}; did you mean {' or '.join(sorted(possible))}?"
    if getattr(problem, "option_name", None) == "--import":
        sentence = "--import stands before the command, as in mmssl --import MODULE:CLASS evaluate"
    advice = f" Try '{context.command_path} --help'." if context is not None else ""
    return f"{sentence}{'' if sentence[-1] in '.?!' else '.'}{advice}", problem.exit_code


def _of_system(problem: OSError) -> str:
    where = f" {Path(problem.filename)}" if problem.filename else ""
    if problem.errno in _FULL:
        return f"Cannot write{where}: the disk is full; free some space and run the command again."
    reason = (problem.strerror or str(problem) or type(problem).__name__).rstrip(".")
    return f"Cannot use{where}: {reason[0].lower()}{reason[1:]}." if where else f"{reason}."
