"""Commands on the results as a whole: they need to know only where these are."""

import os
import sys
from pathlib import Path

from objectives.errors import InputError
from runner.console import console
from runner.track.follow import finish, start, store_uri


def places(given: tuple[str, ...], **defaults: str) -> dict[str, str]:
    """Root, store and further settings, given as KEY=VALUE like those of a run.

    Raises:
        InputError: A key is not known.
    """
    known = {
        "root": os.environ.get("RUNNER_ROOT", "."),
        "tracking": os.environ.get("RUNNER_TRACKING", "auto"),
        **defaults,
    }
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            raise InputError(f"{word} is not one of {', '.join(f'{name}=...' for name in known)}.")
        known[key] = value
    return known | {"tracking": store_uri(known["tracking"], Path(known["root"]))}


def _store(where: dict[str, str]) -> str:
    if not where["tracking"]:
        raise InputError("tracking=off: there is no store to look at.")
    return where["tracking"]


def serve(given: tuple[str, ...]) -> None:
    """Serve MLflow's UI on the loopback interface until interrupted.

    Raises:
        InputError: There are no results, or they are on a server with a UI of its own.
    """
    where = places(given, port="5000")
    uri = _store(where)
    if uri.startswith("http"):
        raise InputError(f"the results are on a server that shows them itself: {uri}")
    if not Path(where["root"], "runs").is_dir():
        raise InputError(f"there are no runs under {where['root']}; name another with root=PATH.")
    console.print(f"http://127.0.0.1:{where['port']}  (Ctrl-C stops it)")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        uri,
        "--workers",
        "1",
        "--host",
        "127.0.0.1",
        "--port",
        where["port"],
    ]
    os.execv(sys.executable, command)


def synchronize(given: tuple[str, ...]) -> None:
    """Replay every run directory into the store.

    Raises:
        InputError: The store cannot be reached.
    """
    where = places(given)
    uri = _store(where)
    with console.status("bringing the results into MLflow"):
        reason = finish(start(Path(where["root"]), uri), patience=24 * 3600)
    if reason:
        raise InputError(f"{uri} was not brought up to date: {reason}.")
    console.print(f"{uri} is up to date")
