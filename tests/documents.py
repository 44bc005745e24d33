"""What the documents show: their blocks, the commands in them, and how a test runs these."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TOP = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FREE = ("synthetic", "table")  # data sets that are not downloaded
TWO_DOMAINS = ("amazon-food-kitchen", "amazon-food-kitchen-large", "ml-1m-to-100k")
REAL = tuple(sorted({path.stem for path in (TOP / "conf" / "dataset").glob("*.yaml")} - set(FREE)))

# bash expands the block; every program it calls is written down instead of run, but for two that make files.
RECORDER = r"""
note() { printf '%s\036' "$@" >> "$RECORD"; printf '\035' >> "$RECORD"; }
for program in userrep make git cd pip source rm cp; do eval "$program() { note $program \"\$@\"; }"; done
cat() { command -p cat "$@"; }
mkdir() { command -p mkdir "$@"; }
set -eu; PATH=/nowhere
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins in."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that a comment in the first line says this is."""
        found = re.match(r"# ((?:userrep|conf)/[\w/.-]+)\n", self.text)
        return found[1] if found else None

    @property
    def as_it_stands(self) -> bool:
        """Whether it prepares generated data itself, and so runs without a change."""
        return "preprocess dataset=synthetic" in self.text


@dataclass(frozen=True)
class Document:
    """A markdown file of the project."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the top of the project."""
        return str(self.path.relative_to(TOP))

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        found = FENCE.finditer(self.text)
        return [Block(match[1], match[2], self.text.count("\n", 0, match.start()) + 1) for match in found]

    @property
    def shells(self) -> list[Block]:
        """The blocks that hold commands."""
        return [block for block in self.blocks if block.language in ("bash", "console", "sh")]

    @property
    def links(self) -> list[str]:
        """The targets of its links into the project."""
        outside = FENCE.sub("", self.text)
        return [target for target in LINK.findall(outside) if not re.match(r"https?:|mailto:", target)]

    @property
    def anchors(self) -> set[str]:
        """What its headings are called in links."""
        headings = re.findall(r"^#+ (.+)$", FENCE.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def documents() -> list[Document]:
    """Return README.md and all of docs/."""
    return [Document(TOP / "README.md"), *(Document(path) for path in sorted((TOP / "docs").rglob("*.md")))]


def commands(block: Block, folder: Path) -> list[list[str]]:
    """Let bash expand a block in `folder` and return the words of every command in it, loops unrolled."""
    record = folder / ".commands"
    record.write_bytes(b"")
    script = RECORDER + "".join(_lines(block))
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=os.environ | {"RECORD": str(record)}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"line {block.line}: bash says {done.stderr.strip()}"
    texts = record.read_text(encoding="utf-8").split("\035")[:-1]
    return [text.split("\036")[:-1] for text in texts]


def _lines(block: Block) -> Iterator[str]:
    for line in block.text.splitlines(keepends=True):
        if block.language != "console":
            yield line
        elif line.startswith("$ "):
            yield line[2:]


def smoke(words: list[str]) -> list[str]:
    """Return the command on few generated users instead of downloaded ones, one epoch and one block a training."""
    if words[0] in ("sweep", "plan"):
        return [words[0], *smoke(words[1:])]
    short = [_generated(word) for word in words if not word.startswith(("trainer.epochs=", "trainer.patience="))]
    verb = short[0]
    if verb in ("preprocess", "pretrain", "baseline", "import"):
        named = [word for word in short if word.startswith("dataset=")]
        short += [] if named or "--from-file" in short else ["dataset=synthetic"]
        short += ["dataset.n_users=120"] if "dataset=synthetic" in short else []
        two = any(word == f"dataset={name}" for word in words for name in TWO_DOMAINS)
        short += ["dataset.target_items=16", "dataset.labels=[]"] if two else []
    short += ["~task.parts.occupation"] if "task=joint_ml" in short else []  # generated users have none
    stack = all(word.startswith("model=nextitnet") for word in short if word.startswith(("model=", "model.dilations=")))
    if verb == "pretrain" and stack:
        short.append("model.dilations=[1,1]")
    return [*short, "trainer.epochs=1"] if verb in ("pretrain", "transfer", "prune") else short


def _generated(word: str) -> str:
    key, _, value = word.rpartition("=")
    if value in REAL and key in ("", "dataset"):
        return word.replace(value, "synthetic")
    source = {"protocol.source=kitchen": "protocol.source=main", "protocol.source=food": "protocol.source=target"}
    return ({"task=occupation": "task=age", "occupation": "age", "cuda": "cpu"} | source).get(word, word)
