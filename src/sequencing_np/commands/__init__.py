"""The commands of `python -m sequencing_np`, a module each, and the options that the commands of both floors share."""
