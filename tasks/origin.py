"""Where a data set comes from: a folder of the user's, or the Hugging Face hub.

A set is looked for under `data=` in the folder that its own archive unpacks to; where that is
not there, in the hub's layout (parquet, or a folder of images a class) in a folder of the set's
name; and last on the hub by name, whose library downloads whole files or none and keeps them.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from objectives.errors import InputError

REACH = 5.0
"""Seconds in which the hub has to answer; its own library would try for half a minute."""


@dataclass(frozen=True)
class Origin:
    """What a user has to know to place a set by hand.

    Attributes:
        name: What people call it.
        folder: The folder under `data=` that holds the set's own files.
        files: Pattern of their names.
        how: How to fill that folder.
        hub: Its name on the Hugging Face hub; "" where it is not there.
        instead: An embedded task of the same kind.
        part: What names the part of the set on the hub, as arguments of `load_dataset`.
    """

    name: str
    folder: str
    files: str
    how: str
    hub: str
    instead: str
    part: Mapping[str, str] = field(default_factory=dict)

    def own_files(self, data: str) -> Path | None:
        """The folder of the set's own files, where there is one."""
        folder = Path(data) / self.folder
        return folder if any(folder.glob(self.files)) else None

    def splits(self, data: str) -> Any:
        """The set as a `datasets.DatasetDict`, from a folder in the hub's layout or the hub.

        Raises:
            InputError: It is neither here nor there, or what is here cannot be read.
        """
        folder = Path(data) / self.hub.rpartition("/")[2] / self.part.get("data_dir", "")
        if self.hub and folder.is_dir():
            try:
                return _library().load_dataset(str(folder))
            except Exception as error:
                reason = error.__cause__ or error
                raise InputError(f"{folder} cannot be read as a data set: {reason}") from None
        return self._from_hub(data)

    def _from_hub(self, data: str) -> Any:
        if not self.hub:
            raise self.missing(data, "")
        reason = unreachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
        library = _library()
        if reason:
            use_downloads_only()
        try:
            return library.load_dataset(self.hub, **self.part)
        except Exception as error:
            raise self.missing(data, reason or str(error)) from None

    def missing(self, data: str, reason: str) -> InputError:
        """What is missing, where it was looked for, how to place it, what to do instead."""
        place = Path(data).absolute() / self.folder
        lack = f"{place} has no {self.files}" if place.is_dir() else f"there is no {place}"
        hub = f", and the hub does not give {self.hub} ({reason})" if reason else ""
        return InputError(
            f"{self.name} is not here: {lack}{hub}.\n"
            f"{self.how}, name another folder with data=PATH or the environment variable "
            f"RUNNER_DATA, or start with {self.instead}, which needs no files."
        )


def unreachable(url: str) -> str:
    """Why a server cannot be reached, or ""."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=REACH):
            return ""
    except OSError as error:
        return f"{parts.hostname}: {error.strerror or error}"


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(
            "this data set is read by the datasets library: pip install 'runner[hub]'"
        ) from None
    return datasets


def use_downloads_only() -> None:
    """Do not try for a minute; what was downloaded before is still found."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True  # the environment variable is read but once
