"""The command `sequencing`: what a person types to train a model, to use it and to look at it."""

import sys
from collections.abc import Sequence

from sequencing.process import settle
from sequencing_np.command_line import Command, Program
from sequencing_np.command_line import run as run_program

COMMANDS = {
    "fetch": Command("sequencing.commands.fetch", "a public corpus, with its licence, checked and unpacked"),
    "prepare": Command("sequencing.commands.prepare", "from files to a folder that training reads"),
    "train": Command("sequencing.commands.train", "learn; continues where a stopped run left off"),
    "profile": Command("sequencing.commands.profile", "where the time of a training step goes"),
    "tune": Command("sequencing.commands.tune", "search for hyper-parameters, as runs that share a folder"),
    "translate": Command("sequencing.commands.translate", "one line out for each line in"),
    "score": Command("sequencing.commands.score", "how likely a model finds given translations"),
    "align": Command("sequencing.commands.align", "which source token each target token comes from"),
    "evaluate": Command("sequencing.commands.evaluate", "BLEU, chrF, exact match, error rates, speed"),
    "backtranslate": Command("sequencing.commands.backtranslate", "pairs to train on, from text of one language"),
    "vocab": Command("sequencing.commands.vocab", "build a vocabulary from text"),
    "average": Command("sequencing.commands.average", "one model from several"),
    "export": Command("sequencing.commands.export", "the model folder that runs without PyTorch"),
    "import": Command("sequencing.commands.import_model", "a model of the first framework as a model folder"),
    "report": Command("sequencing.commands.report", "one page: curves, samples, attention, numbers"),
    "watch": Command("sequencing.commands.watch", "follow a run on the terminal while it trains"),
    "inspect": Command("sequencing.commands.inspect", "one page: search trees, attention, doubts, errors"),
    "plot attention": Command("sequencing.commands.plot_attention", "what a model looks at, as a picture"),
}

INSTALL = "pip install 'sequencing-nn[train]'"
MISSING = {
    "torch": f"training needs PyTorch: {INSTALL} (without it, python -m sequencing_np runs an exported model)",
    "sacrebleu": f"BLEU and chrF need sacreBLEU: {INSTALL}",
    "sentencepiece": f"learning subwords needs SentencePiece: {INSTALL}",
    "optuna": "searching for hyper-parameters needs Optuna: pip install 'sequencing-nn[tune]'",
    "matplotlib": f"pictures need Matplotlib: {INSTALL}",
}

PROGRAM = Program(
    name="sequencing",
    call="sequencing",
    description="Train sequence-to-sequence models, use them and look at them.",
    commands=COMMANDS,
    missing=MISSING,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default); the exit code."""
    settle()
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
