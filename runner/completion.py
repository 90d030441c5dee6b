"""What can be typed next: config groups, their options, settings and hyperparameters."""

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
)

from runner.catalogue import CONF, Option, options

NESTED = {"hydra", "pretrained"}


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
    return sorted(keys - {"defaults", "hydra", "paper", "claim", "space", "files", *groups()})


class Plain(ShellComplete):
    """One candidate a line, as it is to stand; a key that ends in = is followed by no blank."""

    def format_completion(self, item: CompletionItem) -> str:
        return str(item.value)


class Bash(Plain, BashComplete):
    """Bash must not break objective=ldr in three words."""

    source_template = """\
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
%(complete_func)s() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        %(complete_var)s=bash_complete %(prog_name)s))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Zsh(Plain, ZshComplete):
    """Zsh is told by -S what follows a candidate."""

    source_template = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a found keys others
    found=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s)}")
    keys=(${(M)found:#*=}) others=(${found:#*=})
    (( ! $#keys )) || compadd -U -V unsorted -S '' -a keys
    (( ! $#others )) || compadd -U -V unsorted -a others
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


class Fish(Plain, FishComplete):
    """Fish by itself puts no blank behind =."""

    source_template = """\
function %(complete_func)s
    COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) \\
        %(complete_var)s=fish_complete %(prog_name)s
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}
