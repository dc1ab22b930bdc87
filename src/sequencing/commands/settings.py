"""The option that lays values over a configuration file, as `train` and `prepare` take it."""

import argparse


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """Add --set key=value …"""
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="key=value",
        help="lay a value over the configuration's; values are TOML, or else text",
    )
