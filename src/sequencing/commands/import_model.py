"""A model of the first framework's NumPy twin as a model folder, with the vocabularies that it was trained with.

WEIGHTS.npz is what its tools/ckpt2npz.py wrote of a StackBidirectionalRNNEncoder with an AttentionRNNDecoder.
"""

import argparse
import sys
from pathlib import Path

from sequencing_np.errors import UsageError
from sequencing_np.manifest import MANIFEST
from sequencing_np.vocab import LAYOUTS

EXAMPLES = """
examples:
  sequencing import model.ckpt.npz en2zh --source-vocab vocab.en --target-vocab vocab.zh --target-level characters
  echo "how are you" | python -m sequencing_np translate en2zh
"""

LEVELS = {"words": " ", "characters": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", metavar="WEIGHTS.npz", help="the arrays of a trained model by their names")
    parser.add_argument("model", metavar="MODEL", help="the folder to write; a model folder there is replaced")
    for side in ("source", "target"):
        parser.add_argument(
            f"--{side}-vocab", metavar="F", required=True, help=f"its {side} tokens: token or token<TAB>count lines"
        )
        parser.add_argument(
            f"--{side}-level", choices=LEVELS, default="words", help=f"what a {side} token is (default words)"
        )
    parser.add_argument(
        "--layout",
        choices=[name for name in LAYOUTS if name != "sequencing"],
        help="where its special ids lie: after the tokens (readme), before them (head); default: as the weights tell",
    )
    parser.add_argument(
        "--max-length", type=int, default=100, metavar="N", help="longest answer in tokens, its max_step (100)"
    )


def run(arguments: argparse.Namespace) -> None:
    from sequencing.migration import Tokens, migrate
    from sequencing_np.model_folder import write_model_folder

    model = Path(arguments.model)
    if model.exists() and not (model / MANIFEST).is_file() and (not model.is_dir() or any(model.iterdir())):
        raise UsageError(f"{model}: exists and is no model folder; give a new or empty folder")
    if arguments.max_length < 1:
        raise UsageError(f"--max-length {arguments.max_length}: must be 1 or more")
    source = Tokens(Path(arguments.source_vocab), LEVELS[arguments.source_level])
    target = Tokens(Path(arguments.target_vocab), LEVELS[arguments.target_level])
    migrated = migrate(Path(arguments.weights), source, target, arguments.max_length, arguments.layout)
    write_model_folder(model, migrated.model, {"imported_from": Path(arguments.weights).name, "era": migrated.era})
    tokens = migrated.model.target_vocab.tokens
    if arguments.target_level == "words" and all(len(token) == 1 for token in tokens if token):
        hint = "each is one character; if the target was written without spaces, give --target-level characters"
        print(f"sequencing: note: {arguments.target_vocab}: {hint}", file=sys.stderr)
    size = sum(array.size for array in migrated.model.weights.values())
    rows = {"era": migrated.era, "weights": f"{size:,}", "left out": ", ".join(migrated.left_out) or "nothing"}
    for name, value in rows.items():
        print(f"{name:10} {value}")
