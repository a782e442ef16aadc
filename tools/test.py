"""Test by OpenMMLab's habit: python tools/test.py CONFIG CHECKPOINT [--cfg-options ...]."""

import argparse
import sys

import _arguments

from kd3d.cli import main as cli


def main() -> None:
    """Translate the arguments and call `kd3d test`."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=_arguments.EPILOG)
    parser.add_argument("config", help="the config the model was trained with")
    parser.add_argument("checkpoint", help="student.pth or a training checkpoint")
    args = _arguments.parse(parser)
    sys.argv = ["kd3d", "test", args.config, args.checkpoint, *_arguments.common(args)]
    cli.main()


if __name__ == "__main__":
    main()
