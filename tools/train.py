"""Train by OpenMMLab's habit: python tools/train.py CONFIG [--cfg-options key=value ...]."""

import argparse
import sys

import _arguments

from kd3d.cli import main as cli


def main() -> None:
    """Translate the arguments and call `kd3d train`."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=_arguments.EPILOG)
    parser.add_argument("config", help="config file")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    args = _arguments.parse(parser)
    sys.argv = ["kd3d", "train", args.config, *_arguments.common(args)]
    sys.argv += ["--resume"] if args.resume else []
    cli.main()


if __name__ == "__main__":
    main()
