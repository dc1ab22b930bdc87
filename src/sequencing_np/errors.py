"""Everything that can go wrong through no fault of this program, as one small tree.

    SequencingError          exit code 1
    ├── UsageError           2   a call or command line that makes no sense
    ├── ConfigError          3   a configuration file or an override
    ├── DataError            4   a corpus, a vocabulary, a line of text
    ├── ModelError           5   a model folder, its weights or its manifest
    └── SearchError          6   a search that cannot be run, or a model that says NaN

The text of an error names what was given (file, line, value), what is allowed, and what to do. The command
line prints that text alone, without a traceback, and leaves with the exit code.
"""


class SequencingError(Exception):
    """Any mistake that a user can mend."""

    exit_code = 1


class UsageError(SequencingError):
    """A call or a command line that makes no sense."""

    exit_code = 2


class ConfigError(SequencingError):
    """A configuration file or an override that cannot be used."""

    exit_code = 3


class DataError(SequencingError):
    """A corpus, a vocabulary or a line of text that cannot be read."""

    exit_code = 4


class ModelError(SequencingError):
    """A model folder that is damaged, incomplete or of another version."""

    exit_code = 5


class SearchError(SequencingError):
    """A search that cannot be run as asked, or a model whose answer is not a number."""

    exit_code = 6
