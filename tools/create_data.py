"""Prepare a data set by OpenMMLab's habit: python tools/create_data.py kitti --root-path DIR."""

import argparse
import sys

from kd3d.cli import main as cli


def main() -> None:
    """Translate the arguments and call `kd3d prepare`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=["kitti"])
    parser.add_argument("--root-path", required=True, help="folder of the data set")
    parser.add_argument("--out-dir", help="where to write; the root path by default")
    parser.add_argument("--extra-tag", default="kitti", help="prefix of the infos: only 'kitti'")
    parser.add_argument("--workers", type=int, help="threads")
    args = parser.parse_args()
    if args.extra_tag != args.dataset:
        parser.error("--extra-tag: the infos are always named kitti_infos_*.pkl")
    sys.argv = ["kd3d", "prepare", args.dataset, "--root", args.root_path]
    sys.argv += ["--out", args.out_dir] if args.out_dir else []
    sys.argv += ["--workers", str(args.workers)] if args.workers else []
    cli.main()


if __name__ == "__main__":
    main()
