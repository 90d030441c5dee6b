"""What can be typed next: config groups, their options, settings and hyperparameters."""

from runner.catalogue import CONF, Option, options

NESTED = {"hydra"}


def candidates(given: list[str], incomplete: str) -> list[str]:
    """Overrides that begin with what was typed.

    Args:
        given: The words before.
        incomplete: The word under the cursor; of a list, `a,b`, the last part is completed.
    """
    key, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{word}=" for word in (*groups(), *settings(given)) if word.startswith(incomplete)]
    before, comma, last = value.rpartition(",")
    names = options(key) if key in groups() else {}
    return [f"{key}={before}{comma}{name}" for name in names if name.startswith(last)]


def groups() -> list[str]:
    """The config groups."""
    return sorted(
        folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in NESTED
    )


def settings(given: list[str]) -> list[str]:
    """Keys that may be set: those of every run, and those that the chosen options bring."""
    keys = set(Option("", "config", CONF / "config.yaml").config)
    chosen = dict(word.partition("=")[::2] for word in given)
    for group in groups():
        for name in chosen.get(group, "").split(","):
            if entry := options(group).get(name):
                keys |= set(entry.config)
    return sorted(keys - {"defaults", "hydra", "paper", "space", "files", *groups()})
